"""The whole system in one process:

four emulators, the real carriers over an in-process transport, the real store, a virtual clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import sqlalchemy as sa
import structlog

from syncd.app import App, Outside
from syncd.config import load
from syncd.domain.records import Delivery
from syncd.emulators.emulator import Emulator
from syncd.emulators.http import HttpEmulator
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.store.backup import restore
from syncd.store.session import open_engine, reading
from syncd.sync.cycle import Round, run_round
from syncd.sync.ingest import accept
from tests.emulated import transport_for
from tests.schemas import witness_delivery
from tests.virtual import Clock, VirtualLoop, run

CONFIG = """
[mirror]
url = "{url}"

[schedule]
settle = "30s"

[guard]
first_sync = "{first_sync}"
max_count = {max_count}

[accounts.crm]
provider = "rocs"
base_url = "http://127.0.0.1:8701"
token_url = "http://127.0.0.1:8701/oauth2/token"
client_id = "rocs-client"
client_secret = "rocs-secret"
resource = "https://api.msp-cloud.com"
webhook_secret = "hook-secret"

[accounts.sales]
provider = "salesrocks"
base_url = "http://127.0.0.1:8702"
username = "sales@example.org"
password = "sales-secret"
on_unsubscribe = "{on_unsubscribe}"
on_absence = "{on_absence}"

[accounts.mail]
provider = "rocketresponder"
base_url = "http://127.0.0.1:8703/api"
public_key = "pub_emulated"
private_key = "priv_emulated"
webhook_secret = "mail-hook"

[accounts.leads]
provider = "rokt"
unsubscribe_url = "http://127.0.0.1:8704/1.0/nurture/unsubscribe"
api_key = "rokt-key"
inbound_auth = {{ kind = "basic", username = "rokt", password = "rokt-secret" }}

[lists.newsletter]
crm = "L-1"
sales = "{sales_list}"
mail = "154"
leads = "*"
"""


class KilledError(BaseException):
    """The process was killed."""


class Late:
    """An answer that is on its way: the provider has done as asked, and we do not know yet."""

    def __init__(self, path: str, body: bytes) -> None:
        self.path, self.body = path, body
        self.given = asyncio.Event()
        self.arrives = asyncio.Event()

    def is_to(self, request: httpx.Request) -> bool:
        return self.path in str(request.url) and self.body in request.content


class Mortal(httpx.AsyncBaseTransport):
    """A transport under which the process can be killed: from then on nothing passes any more.

    It can also keep one answer on its way for as long as a test likes.
    """

    def __init__(self, inner: httpx.MockTransport) -> None:
        self._inner = inner
        self._late: Late | None = None
        self.live_on()

    def live_on(self) -> None:
        self._left: int | None = None
        self.killed = False

    def kill_at(self, request: int, *, after_effect: bool, snapshot: Callable[[], None], path: str = "") -> None:
        self._left, self._after_effect, self._snapshot, self._path = request, after_effect, snapshot, path

    def keep_back(self, path: str, body: bytes = b"") -> Late:
        """The next answer to such a request arrives only when the test says so."""
        self._late = Late(path, body)
        return self._late

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.killed:
            raise KilledError
        if self._left is not None and self._path in str(request.url):
            self._left -= 1
            if self._left <= 0:
                if self._after_effect:
                    with contextlib.suppress(httpx.TransportError):
                        await self._inner.handle_async_request(request)
                self.killed = True
                self._snapshot()
                raise KilledError
        answer = await self._inner.handle_async_request(request)
        if self._late is not None and self._late.is_to(request):
            late, self._late = self._late, None
            late.given.set()
            await late.arrives.wait()
        return answer


class World:
    """Four providers and one syncd.

    `act…` methods are what people do at the providers; `round` is one round of ours.
    """

    make_loop: Callable[[], Any] = VirtualLoop

    def __init__(
        self,
        url: str,
        *,
        seed: int = 0,
        first_sync: str = "go",
        max_count: int = 20,
        on_unsubscribe: str = "remove",
        on_absence: str = "ignore",
        config: str = CONFIG,
        folder: Path | None = None,
    ) -> None:
        self.loop = self.make_loop()
        self.clock = Clock(self.loop)
        self.rng = random.Random(seed)
        self.rocs = RocsEmulator(
            self.clock, seed=seed, base_url="http://127.0.0.1:8701", resource="https://api.msp-cloud.com"
        )
        self.sales = SalesRocksEmulator(self.clock, seed=seed, base_url="http://127.0.0.1:8702")
        self.mail = RocketResponderEmulator(self.clock, seed=seed, base_url="http://127.0.0.1:8703/api")
        self.mail.double_opt_in = False
        self.rokt = RoktEmulator(self.clock, seed=seed, base_url="http://127.0.0.1:8704")
        self.emulators: dict[str, Emulator] = {
            "127.0.0.1:8701": self.rocs,
            "127.0.0.1:8702": self.sales,
            "127.0.0.1:8703": self.mail,
            "127.0.0.1:8704": self.rokt,
        }
        self.partner = HttpEmulator(self.clock, seed=seed, base_url="http://127.0.0.1:8705")
        if 'provider = "http"' in config:
            self.emulators["127.0.0.1:8705"] = self.partner
        self.rocs.add_list("L-1", "Newsletter")
        self.sales_list = self.sales.add_list("Newsletter")
        self.mail.add_list("Newsletter", lid="154")
        self._config = config.format(
            url=url,
            first_sync=first_sync,
            max_count=max_count,
            on_unsubscribe=on_unsubscribe,
            on_absence=on_absence,
            sales_list=self.sales_list,
        )
        self.url = url
        self._survivor: Path | None = None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="world-"))
        self._ids = itertools.count(1)
        self.transport = Mortal(transport_for(self.emulators))
        self.app = self._start()

    def _start(self) -> App:
        path = self._folder / "syncd.toml"
        path.write_text(self._config)
        settings = load(path, {"SYNCD_MIRROR__URL": self.url})
        outside = Outside(
            now=self.clock,
            jitter=self.rng.random,
            new_id=lambda: f"id-{next(self._ids):08d}",
            transport=self.transport,
            read_backoff_s=0.5,
        )
        app = App(settings, outside, engine=hasty(self.url))
        assert app.take()
        return app

    def killed_round(self, accounts: Iterable[str], *, request: int, after_effect: bool, path: str = "") -> bool:
        """A round whose process is killed at its n-th request (of those to `path`), before or after the provider did
        as asked; then a new process starts.

        What survives is what was committed at that moment. False if the round ended before.
        """
        self.transport.kill_at(request, after_effect=after_effect, snapshot=self._snapshot, path=path)
        self.deliver()
        with contextlib.suppress(BaseExceptionGroup):
            run(self.loop, run_round(self.app.context, list(accounts)))
        killed = self.transport.killed
        self.transport.live_on()
        with contextlib.suppress(KilledError):
            run(self.loop, self.app.aclose())
        self.app.engine.dispose()
        if killed and self._survivor is not None:
            self.url = f"sqlite:///{self._survivor}"
        self.app = self._start()
        return killed

    def restart(self) -> None:
        """The process stops and starts again, with the configuration as it is by now."""
        run(self.loop, self.app.aclose())
        self.app = self._start()

    def put_back(self, saved: Path) -> None:
        """The process stops, an operator restores a backup, and it starts again."""
        run(self.loop, self.app.aclose())
        restore(self.url, saved, self.clock())
        self.app = self._start()

    def _snapshot(self) -> None:
        """What a power cut would leave: transactions never span a request, so all of it is committed.

        An SQLite mirror is copied; to a Postgres one the dead process says nothing any more.
        """
        if self.app.engine.dialect.name != "sqlite":
            sa.event.listen(self.app.engine, "before_cursor_execute", _dead)
            return
        self._survivor = self._folder / f"survivor-{next(self._ids)}.db"
        with sqlite3.connect(self.url.removeprefix("sqlite:///")) as old, sqlite3.connect(self._survivor) as new:
            old.backup(new)
        old.close()
        new.close()

    def round(self, accounts: Iterable[str] = (), *, full: bool = False) -> Round:
        """One round. What the providers sent to us meanwhile is delivered before."""
        self.deliver()
        return run(self.loop, run_round(self.app.context, list(accounts), full=full))

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds)

    def settle(self, rounds: int = 3) -> Round:
        """Rounds with enough time between them for everything to be read back."""
        last = self.round()
        for _ in range(rounds - 1):
            self.wait(60)
            last = self.round()
        return last

    def deliver(self) -> int:
        """Hand over what the providers want to send to us, as the receiver would."""
        taken = 0
        for emulator in self.emulators.values():
            while emulator.outgoing:
                request = emulator.outgoing.popleft()
                witness_delivery(emulator, request)
                path, _, query = request.url.partition("://")[2].partition("/")[2].partition("?")
                _, account, *route = path.split("/")
                pairs = tuple(parse_qsl(query, keep_blank_values=True))
                headers = {name.lower(): value for name, value in request.headers.items()}
                delivery = Delivery(tuple(route), request.method, headers, pairs, request.body, self.clock())
                accept(self.app.context.lanes[account], self.app.context, delivery)
                taken += 1
        return taken

    @property
    def writes(self) -> dict[str, int]:
        return {emulator.name: emulator.writes for emulator in self.emulators.values()}

    def rows(self, query: str, **values: Any) -> list[Mapping[str, Any]]:
        """Rows of the mirror, by SQL."""
        with reading(self.app.engine) as connection:
            return [dict(row._mapping) for row in connection.execute(sa.text(query), values)]

    def close(self) -> None:
        run(self.loop, self.app.aclose())
        self.loop.close()


def _dead(*_: Any) -> None:
    raise KilledError


def hasty(url: str) -> sa.Engine:
    """A mirror that does not wait for the disk, as here a kill never takes the machine with it, and that compiles no
    statement that another test of this process has compiled: a sixth of what a test of whole rounds takes.
    """
    engine = open_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    else:
        engine.pool._pre_ping = False  # no server restarts here
    # What is compiled belongs to a dialect, of which each engine has its own.
    engine.dialect, compiled = _COMPILED.setdefault(engine.dialect.name, (engine.dialect, {}))
    engine.update_execution_options(compiled_cache=compiled)
    return engine


_COMPILED: dict[str, tuple[sa.Dialect, dict[Any, Any]]] = {}


def quiet() -> None:
    """No log lines from whole rounds in tests."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
