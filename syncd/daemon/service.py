"""Start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import uvicorn
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from syncd.app import App
from syncd.daemon.faults import again_and_again
from syncd.daemon.hold import keep, take
from syncd.daemon.listening import address_of, listening, server, started
from syncd.daemon.notify import notify
from syncd.daemon.pace import PACE, Pace
from syncd.daemon.registration import Registration
from syncd.daemon.rounds import Rounds
from syncd.receiver import receiver
from syncd.store import journal
from syncd.store.session import writing
from syncd.sync.check import conclude, due, examine
from syncd.sync.standing import standing


async def run_until_signalled(app: App, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(app, stop=stop, ready=ready)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def serve(
    app: App,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None] | None = None,
    pace: Pace = PACE,
) -> None:
    """Be the daemon of this mirror until `stop` is set. `ready` is called with the address of the receiver.

    Raises `MirrorError` if another process has the mirror, now or later, and `ConfigurationError` if the address cannot
    be listened on.
    """
    take(app)
    try:
        with listening(app.settings.receiver) as sock:
            await Daemon(app, pace).serve(sock, stop, ready)
    finally:
        app.leave()


class Daemon:
    def __init__(self, app: App, pace: Pace) -> None:
        self._app = app
        self._context = app.context
        self._pace = pace
        self._log = app.log
        self._rounds = Rounds(app, pace)
        self._registration = Registration(app, pace)
        self._draining = False

    async def serve(self, sock: socket.socket, stop: asyncio.Event, ready: Callable[[str], None] | None) -> None:
        serving_server = server(self.receiver(), self._pace.drain_s)
        scheduler = self._rounds.scheduler()
        serving = asyncio.create_task(serving_server.serve(sockets=[sock]), name="receiver")
        tasks = [asyncio.create_task(work, name=name) for name, work in self._works()]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        address = address_of(sock)
        try:
            scheduler.start()
            await started(serving_server, serving)
            accounts = sorted(self._context.lanes)
            notify(f"READY=1\nSTATUS={len(accounts)} accounts; {address}")
            self._log.info("daemon.ready", address=address, accounts=accounts)
            if ready is not None:
                ready(address)
            await asyncio.wait({stopped, serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._drain(scheduler, serving_server, serving, [stopped, *tasks])
        for task in (serving, *tasks):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _works(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        pace, rounds, registration = self._pace, self._rounds, self._registration
        return [
            ("keep", keep(self._app, pace)),
            ("press", rounds.press()),
            ("check", self._again_and_again("check", self._check, self._until_next_check)),
            ("answer", self._again_and_again("answer", rounds.take_requests, lambda: pace.tick_s)),
            ("register", self._again_and_again("register", registration.register, registration.wait_s)),
            *((f"account {name}", rounds.tend(name)) for name in self._context.lanes),
        ]

    def _again_and_again(
        self, name: str, step: Callable[[], Awaitable[None]], wait_s: Callable[[], float]
    ) -> Coroutine[Any, Any, None]:
        return again_and_again(name, self._log, self._pace, step, wait_s)

    def receiver(self) -> Any:
        return receiver(
            self._context,
            self._app.settings.receiver,
            wake=lambda _who: self._rounds.came_in.set(),
            status=lambda: standing(self._context, self._rounds.intervals)[1],
            ready=lambda: "syncd is stopping" if self._draining else "",
        )

    # Invariants ------------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        """Hold the mirror against its invariants, if that is due. Looking at a large one takes a thread its time."""
        schedule = self._app.settings.schedule
        wait_s, full = due(self._context, schedule.check_every, schedule.check_full_every)
        if wait_s <= 0:
            conclude(self._context, await asyncio.to_thread(examine, self._context, full=full))

    def _until_next_check(self) -> float:
        schedule = self._app.settings.schedule
        wait_s, _ = due(self._context, schedule.check_every, schedule.check_full_every)
        return max(self._pace.tick_s, wait_s)

    # The end ---------------------------------------------------------------------------------------------------------

    async def _drain(
        self,
        scheduler: AsyncIOScheduler,
        serving_server: uvicorn.Server,
        serving: asyncio.Task[None],
        tasks: Sequence[asyncio.Task[Any]],
    ) -> None:
        """Begin nothing new, let what is under way end, and cut off what takes too long."""
        rounds = self._rounds.under_way
        self._draining = True
        notify("STOPPING=1")
        self._log.info("daemon.stopping", rounds=len(rounds))
        if scheduler.running:
            scheduler.shutdown(wait=False)
        serving_server.should_exit = True
        await _cut_off(tasks)
        under_way = set(rounds)
        if under_way:
            await asyncio.wait(under_way, timeout=self._pace.drain_s)
        late = [task for task in under_way | rounds if not task.done()]
        await _cut_off(late)
        await asyncio.wait({serving})
        if late:
            with writing(self._context.engine) as connection:
                journal.abandon_runs(connection, self._context.now())
        self._log.info("daemon.stopped", cut_off=len(late))


async def _cut_off(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
