"""The daemon over emulators, with its receiver on a real loopback port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from syncd.app import App, Outside, wall_clock
from syncd.config import load
from syncd.daemon import PACE, Pace, serve
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.settings import Settings
from syncd.store import journal
from syncd.store.session import reading
from tests.emulated import transport_for
from tests.world import CONFIG, hasty

FAST = replace(PACE, tick_s=0.05, keep_s=0.1, drain_s=0.5, pause_s=0.05, pause_max_s=0.2, register_again_s=0.1)
AUTH = httpx.BasicAuth("rokt", "rokt-secret")
ANN = {"email": "ann@example.org"}
DEADLINE_S = 30.0


class Gate(httpx.AsyncBaseTransport):
    """The emulators, of which one may be made to hang; others answer after `delay_s`, by host."""

    def __init__(self, inner: httpx.MockTransport) -> None:
        self._inner = inner
        self.hanging = ""
        self.hung = 0
        self.delay_s: dict[str, float] = {}
        self.opens = asyncio.Event()
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        if self.hanging and self.hanging in str(request.url):
            self.hung += 1
            await self.opens.wait()
        if delay_s := self.delay_s.get(request.url.netloc.decode()):
            await asyncio.sleep(delay_s)
        return await self._inner.handle_async_request(request)


class Scene:
    """Four providers that know Ann and Bob, and the settings of one syncd."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.rocs = RocsEmulator(wall_clock, resource="https://api.msp-cloud.com")
        self.sales = SalesRocksEmulator(wall_clock)
        self.mail = RocketResponderEmulator(wall_clock)
        self.mail.double_opt_in = False
        self.rokt = RoktEmulator(wall_clock)
        self.rocs.add_list("L-1", "Newsletter")
        self.sales_list = self.sales.add_list("Newsletter")
        self.mail.add_list("Newsletter", lid="154")
        for email in ("ann@example.org", "bob@example.org"):
            self.rocs.add_member("L-1", self.rocs.add_customer(email))
        self.gate = Gate(
            transport_for(
                {
                    "127.0.0.1:8701": self.rocs,
                    "127.0.0.1:8702": self.sales,
                    "127.0.0.1:8703": self.mail,
                    "127.0.0.1:8704": self.rokt,
                }
            )
        )
        self.folder = folder
        self.path = folder / "syncd.toml"
        self.path.write_text(
            CONFIG.format(
                url=url,
                first_sync="go",
                max_count=20,
                on_unsubscribe="remove",
                on_absence="ignore",
                sales_list=self.sales_list,
            )
        )
        self.apps: list[App] = []

    def settings(self, *, interval: str = "1h", **environ: str) -> Settings:
        """What the file and the environment say now."""
        given = {
            "SYNCD_MIRROR__URL": self.url,
            "SYNCD_RECEIVER__LISTEN": "127.0.0.1:0",
            "SYNCD_SCHEDULE__INTERVAL": interval,
            "SYNCD_SCHEDULE__SETTLE": "0s",
        }
        return load(self.path, given | environ)

    def app(self, *, interval: str = "1h", **environ: str) -> App:
        app = App(
            self.settings(interval=interval, **environ),
            Outside(transport=self.gate, read_backoff_s=0.001, engine_for=hasty),
        )
        self.apps.append(app)
        return app

    def mirror_away(self) -> None:
        """The mirror cannot be used any more."""
        Path(self.url.removeprefix("sqlite:///")).write_bytes(b"no database")

    def known(self, app: App) -> list[dict[str, Any]]:
        """What a mirror holds of records and of what goes out."""
        return rows(app, "SELECT account, email, status FROM v_memberships ORDER BY 1, 2") + rows(
            app, "SELECT id, state FROM op ORDER BY 1"
        )

    @property
    def in_mail(self) -> dict[str, str]:
        return {email: one.status for (_, email), one in self.mail.subscribers.items()}

    @property
    def in_sales(self) -> set[str]:
        return {row["email"] for row in self.sales.contacts_of(self.sales_list)}

    @property
    def in_rocs(self) -> dict[str, str]:
        return {member.email: member.status for member in self.rocs.lists["L-1"].members.values()}

    def everywhere(self, email: str) -> bool:
        return email in self.in_sales and self.in_mail.get(email, "").lower() not in {"", "unsubscribed"}

    def nowhere(self, email: str) -> bool:
        return (
            email not in self.in_sales
            and self.in_mail.get(email, "unsubscribed").lower() == "unsubscribed"
            and self.in_rocs.get(email, "unsubscribed") == "unsubscribed"
        )


class Running:
    def __init__(
        self, app: App, address: str, stop: asyncio.Event, task: asyncio.Task[None], reload: asyncio.Event
    ) -> None:
        self.app = app
        self.address = address
        self.stop = stop
        self.task = task
        self.reload = reload

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, trust_env=False, timeout=DEADLINE_S)

    async def says_no(self, person: dict[str, str]) -> httpx.Response:
        async with self.client() as client:
            return await client.post("/in/leads/unsubscribes", json=person, auth=AUTH)


@contextlib.asynccontextmanager
async def running(
    app: App, pace: Pace = FAST, *, reread: Callable[[], Settings] | None = None
) -> AsyncIterator[Running]:
    stop, reload = asyncio.Event(), asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, stop=stop, reload=reload, reread=reread, ready=address.set_result, pace=pace))
    waited: set[asyncio.Future[Any]] = {task, address}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    if task.done():
        await task
    try:
        yield Running(app, await address, stop, task, reload)
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=DEADLINE_S)
        await app.aclose()
    await task


async def until(condition: Callable[[], Any], what: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not condition():
        assert loop.time() < deadline, f"in {DEADLINE_S:.0f} s not: {what}"
        await asyncio.sleep(0.01)


def rows(app: App, query: str) -> list[dict[str, Any]]:
    with reading(app.engine) as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def quiet(app: App) -> bool:
    """Every first round is over, and nobody works anywhere."""
    ended = {row["account"] for row in rows(app, "SELECT account FROM run WHERE ended_at IS NOT NULL")}
    return ended == set(app.context.lanes) and not any(lane.lock.locked() for lane in app.context.lanes.values())


def value(app: App, key: str) -> str:
    with reading(app.engine) as connection:
        return journal.get_value(connection, key) or ""
