"""One process of syncd under simulation: a seeded loop, an in-process network, a mirror that outlives it, failpoints.

Rounds run as in the daemon: one task for each account, one for what comes in, and any number that a person asks for.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import sqlalchemy as sa

from syncd.app import App
from syncd.store.session import open_engine, reading, upgrade
from syncd.sync.cycle import UNEXPECTED, Round, run_round
from tests.virtual import VirtualLoop


class KilledError(BaseException):
    """The process was killed."""


class SeededLoop(VirtualLoop):
    """Whoever is ready at once runs in an order that the seed decides."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(f"loop/{seed}")

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            shuffled = list(ready)
            self._rng.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc]


# The mirror ----------------------------------------------------------------------------------------------------------


class Mirror:
    """A database that outlives the processes which work on it.

    A dead process can neither begin nor commit, so what survives is what was committed before. `commit` is told of
    every transaction that changed something, by the function that made it, and may raise `KilledError`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.dead = False
        self._changes: int | None = 0
        self.commit: Callable[[str, str], None] = lambda _when, _where: None
        # As events of the engine these would make each statement look for listeners.
        self._do_begin, self._do_commit = engine.dialect.do_begin, engine.dialect.do_commit
        engine.dialect.do_begin = self._begin  # type: ignore[method-assign,assignment]
        engine.dialect.do_commit = self._committed  # type: ignore[method-assign,assignment]

    def _begin(self, connection: Any) -> None:
        if self.dead:
            raise KilledError
        self._do_begin(connection)

    def _committed(self, connection: Any) -> None:
        if not self._changed(connection):
            self._do_commit(connection)
            return
        where = _writer()
        self.commit("before", where)
        self._do_commit(connection)
        self.commit("after", where)

    def _changed(self, connection: Any) -> bool:
        """Whether the transaction changed a row. Only SQLite counts them; elsewhere each is taken to have."""
        changes = getattr(connection, "total_changes", None)
        before, self._changes = self._changes, changes
        return changes is None or changes != before

    def rows(self, query: str, **values: Any) -> list[Any]:
        """Rows by SQL, for whoever looks from outside, also while nobody is alive."""
        dead, self.dead = self.dead, False
        try:
            with reading(self.engine) as connection:
                return list(connection.execute(_text(query), values))
        finally:
            self.dead = dead


class _Kept(sqlite3.Connection):
    """In memory, and so not to be closed: a pool closes what a killed process leaves behind."""

    def close(self) -> None:
        if self.in_transaction:
            self.rollback()


class MemoryMirror(Mirror):
    """An SQLite mirror in memory, made anew from a template as often as wanted: a file costs more than the work."""

    def __init__(self, template: Path) -> None:
        engine = open_engine("sqlite://")
        self._kept = sqlite3.connect(":memory:", check_same_thread=False, factory=_Kept)
        engine.dialect.connect = lambda *_args, **_options: self._kept  # type: ignore[method-assign,assignment]
        super().__init__(engine)
        self._template = sqlite3.connect(":memory:", check_same_thread=False)
        with sqlite3.connect(template) as file:
            file.backup(self._template)
        file.close()

    def renew(self) -> None:
        """As nobody ever had worked on it."""
        self.dead = False
        self.commit = lambda _when, _where: None
        self._kept.close()
        self._template.backup(self._kept)


def template(folder: Path) -> Path:
    path = folder / "template.db"
    upgrade(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


_TEXTS: dict[str, Any] = {}


def _text(query: str) -> Any:
    return _TEXTS.setdefault(query, sa.text(query))


def _writer() -> str:
    """The function of ours in whose transaction this is: the first one outside the store."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/syncd/" in name and "/syncd/store/" not in name and frame.f_code.co_name != "__exit__":
            return frame.f_code.co_name
        frame = frame.f_back
    return "?"


# The network ---------------------------------------------------------------------------------------------------------


class Network(httpx.AsyncBaseTransport):
    """Carries requests, each of which takes its time both ways; others happen meanwhile."""

    def __init__(self, inner: httpx.MockTransport, rng: random.Random) -> None:
        self._inner = inner
        self._rng = rng
        self.dead = False
        self.sending: Callable[[httpx.Request], None] = lambda _: None
        self.ended: Callable[[httpx.Request, httpx.Response | None], None] = lambda _request, _response: None
        self.silent: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.dead:
            raise KilledError
        self.sending(request)
        await asyncio.sleep(self._rng.choice((0.0, 0.05, 0.3)))
        if self.dead:
            raise KilledError
        response: httpx.Response | None = None
        try:
            response = await self._inner.handle_async_request(request)
        finally:
            self.ended(request, response)
        host = request.url.netloc.decode()
        if host in self.silent:
            self.silent.discard(host)
            await asyncio.sleep(86_400)  # the deadline of the carrier comes first
        await asyncio.sleep(self._rng.choice((0.0, 0.05, 1.5)))
        if self.dead:
            raise KilledError
        return response


# The daemon ----------------------------------------------------------------------------------------------------------


class Daemon:
    """The tasks of one process. `fault` is told of what must never happen: a fault in our own code."""

    def __init__(self, app: App, fault: Callable[[str], None], finished: Callable[[str, Round], None]) -> None:
        self.app = app
        self._fault = fault
        self._finished = finished
        self.dead = False
        self._wakes = {name: asyncio.Event() for name in app.context.lanes}
        self._came_in = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        for name, event in self._wakes.items():
            self._spawn(self._tend(event, name, [name]))
        self._spawn(self._tend(self._came_in, "press", [], pull_first=False))

    def wake(self, name: str) -> None:
        self._wakes[name].set()

    def press(self) -> None:
        self._came_in.set()

    def sync(self, name: str, *, full: bool) -> None:
        self._spawn(self._round("sync", [name], full=full, patient=True))

    async def everything(self) -> Round | None:
        return await self._round("everything", [], full=True, patient=True)

    @property
    def idle(self) -> bool:
        return not any(lane.lock.locked() for lane in self.app.context.lanes.values())

    async def end(self) -> None:
        """Stop every task; of a dead process none gets to do anything any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tend(self, event: asyncio.Event, what: str, names: list[str], *, pull_first: bool = True) -> None:
        while True:
            await event.wait()
            event.clear()
            await self._round(what, names, pull_first=pull_first)

    async def _round(self, what: str, names: list[str], **how: Any) -> Round | None:
        try:
            done = await run_round(self.app.context, names, **{"patient": False, **how})
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001
            if self.dead:
                raise asyncio.CancelledError from None
            self._fault(f"a round broke off: {error!r}")
            return None
        for outcome in done.failed:
            if outcome.reason.startswith(UNEXPECTED):
                self._fault(f"{outcome.name}: {outcome.reason}")
        self._finished(what, done)
        return done


def skewed(clock: Callable[[], Any], seconds: float) -> Callable[[], Any]:
    """A provider's clock, off against ours."""
    shift = timedelta(seconds=seconds)
    return lambda: clock() + shift
