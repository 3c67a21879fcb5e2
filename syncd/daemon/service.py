"""Start, serve, drain, stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import uvicorn

from syncd.app import App, Turned
from syncd.config import load
from syncd.control import mirror_of, place_to_listen
from syncd.daemon.acts import Acts
from syncd.daemon.control import Control, control_listening
from syncd.daemon.faults import again_and_again, report
from syncd.daemon.hold import keep, take
from syncd.daemon.listening import address_of, listening, server, started
from syncd.daemon.live import Live
from syncd.daemon.notify import Systemd
from syncd.daemon.pace import PACE, Pace
from syncd.daemon.registration import Registration
from syncd.daemon.reload import Current, Reload, end_later
from syncd.daemon.rounds import Rounds
from syncd.daemon.timers import Timers
from syncd.daemon.watchdog import Watchdog, line_of, tell_status
from syncd.domain.errors import MirrorError
from syncd.notices import Notices
from syncd.receiver import receiver
from syncd.receiver.letters import Letters
from syncd.receiver.operator import Sessions
from syncd.settings import Settings
from syncd.store import journal, waits
from syncd.store.session import writing
from syncd.sync.check import conclude, due, examine
from syncd.sync.standing import standing

EXTEND_S = 1.0
"""How often systemd is told that the end takes longer."""

CLOSE_S = 1.0
"""How long the server may take to leave its loop."""

ROUNDS_SHARE = 0.9
"""Of the time for stopping: what rounds and answers under way are given. The rest is for writing down how they end."""


async def run_until_signalled(app: App, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a second one cuts off at once what is still under way. SIGHUP reads the
    configuration anew.
    """
    stop, cut, reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def stop_or_cut() -> None:
        (cut if stop.is_set() else stop).set()

    for number in signals:
        loop.add_signal_handler(number, reload.set if number is signal.SIGHUP else stop_or_cut)
    try:
        await serve(app, stop=stop, cut=cut, reload=reload, ready=ready)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def serve(
    app: App,
    *,
    stop: asyncio.Event,
    cut: asyncio.Event | None = None,
    reload: asyncio.Event | None = None,
    reread: Callable[[], Settings] | None = None,
    ready: Callable[[str], None] | None = None,
    pace: Pace = PACE,
) -> None:
    """Be the daemon of this mirror until `stop` is set; `cut` ends the wait for what is under way then. `reload` has
    the configuration read anew, which `reread` does. `ready` is called with the address of the receiver.

    Raises `MirrorError` if another process has the mirror, now or later, and `ConfigurationError` if the address cannot
    be listened on.
    """
    take(app)
    try:
        place = place_to_listen(app.settings, os.environ)
        with listening(app.settings.receiver) as sock, control_listening(place) as control:
            daemon = Daemon(app, pace, cut or asyncio.Event(), reload or asyncio.Event(), reread)
            await daemon.serve(sock, stop, ready, control)
    finally:
        app.leave()


class Daemon:
    """Must be made in the loop that it is to run in."""

    def __init__(
        self,
        app: App,
        pace: Pace,
        cut: asyncio.Event,
        reload: asyncio.Event,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        self._app = app
        self._context = app.context
        self._pace = pace
        self._cut = cut
        self._reload_asked = reload
        self._reload_asking: list[asyncio.Future[Turned]] = []
        self._log = app.log
        self._systemd = Systemd(os.environ, os.getpid())
        hang_s = pace.hang_s or app.settings.daemon.hang_after
        clock, now = asyncio.get_running_loop().time, app.outside.now
        self._live = Live(clock, now, hang_s)
        self._watchdog = Watchdog(self._live, self._systemd, clock, app.log)
        self._timers = Timers(clock, now, app.outside.jitter, app.log, pace.jitter_max_s, self._clock_went_back)
        self._sessions = Sessions()
        self._rounds = Rounds(app, pace, self._live, self._timers)
        self._registration = Registration(app, pace)
        self._reload = Reload(app, self._systemd, reread or partial(load, app.settings.source, os.environ))
        self._application = Current(self.receiver())
        self._notices = Notices(app.context, lambda: app.settings)
        self._draining = False
        acts = Acts(app, self._rounds, self._timers, self._live, self.reload)
        hello = {"who": app.who, "mirror": mirror_of(app.settings)}
        self._control = Control(hello, acts.by_name(), acts.watch, app.log)
        app.on_request, app.on_wait = self._live.requested, self._live.waits
        app.context.progress, app.context.at_work = self._live.progress, self._live.at_work
        app.context.alive = self._watchdog.alive

    async def serve(
        self,
        sock: socket.socket,
        stop: asyncio.Event,
        ready: Callable[[str], None] | None,
        control: socket.socket | None = None,
    ) -> None:
        settings = self._app.settings
        drain_s = self._pace.drain_s or settings.daemon.drain
        serving_server = server(self._application, settings.receiver, drain_s)
        serving = asyncio.create_task(serving_server.serve(sockets=[sock]), name="receiver")
        keeping = asyncio.create_task(keep(self._app, self._pace, self._live), name="keep")
        tasks = [asyncio.create_task(work, name=name) for name, work in self._works()]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        address = address_of(sock)
        try:
            self._timers.start()
            await started(serving_server, serving)
            self._systemd.ready(self._status())
            self._log.info("daemon.ready", address=address, accounts=sorted(self._context.lanes))
            if ready is not None:
                ready(address)
            async with self._control.serving(control):
                await self._until_one_ends({stopped, serving, keeping, *tasks})
        finally:
            if not stop.is_set():
                self._cut.set()  # something broke: who may not work on this mirror any more has nothing to finish
            tasks += self._rounds.tending.values()
            await self._drain(serving_server, serving, [stopped, *tasks])
            await _cut_off([keeping])
        for task in (keeping, serving, *tasks):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _works(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        pace, rounds, registration = self._pace, self._rounds, self._registration
        return [
            ("press", rounds.press()),
            ("clock", self._timers.supervise(self._live, pace.tick_s)),
            ("watch", self._watchdog.watch()),
            ("status", tell_status(self._status, self._live, self._systemd, self._log, pace)),
            ("check", self._again_and_again("check", self._check, self._until_next_check)),
            ("answer", self._again_and_again("answer", rounds.take_requests, lambda: pace.tick_s)),
            ("register", self._again_and_again("register", registration.register, registration.wait_s)),
            ("notices", self._again_and_again("notices", self._notices.step, self._notices.wait_s)),
            ("letters", self._again_and_again("letters", self._send_letters, lambda: pace.tick_s)),
        ]

    async def _until_one_ends(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Until the daemon is to stop, or something of it that goes on for ever ends."""
        self._rounds.tend_all()
        while True:
            asked = asyncio.create_task(self._reload_asked.wait())
            watched = {*tasks, *self._rounds.tending.values()}
            await asyncio.wait({*watched, asked}, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() for task in watched):
                await _cut_off([asked])
                return
            self._reload_asked.clear()
            asking, self._reload_asking = self._reload_asking, []
            try:
                turned = self._turn()
            except Exception as error:  # noqa: BLE001  said in the log, and to systemd: the old one goes on
                for future in _waited_for(asking):
                    future.set_exception(error)
            else:
                for future in _waited_for(asking):
                    future.set_result(turned)

    async def reload(self) -> Turned:
        """Go on with what the configuration says by now. Raises where that is no good, and all goes on as before."""
        future: asyncio.Future[Turned] = asyncio.get_running_loop().create_future()
        self._reload_asking.append(future)
        self._reload_asked.set()
        return await future

    def _turn(self) -> Turned:
        turned = self._reload.turn(self._status)
        self._live.slack_s = self._pace.hang_s or self._app.settings.daemon.hang_after
        self._rounds.tend_all(at_once=turned.changed)
        end_later(self._app, turned, self._rounds.errand)
        self._rounds.errand(self._exchange_receiver())
        self._rounds.errand(self._registration.again())
        return turned

    async def _exchange_receiver(self) -> None:
        """The receiver as it is configured by now; the mirror, which has its keys, may be away just now."""
        settings = self._app.settings
        while settings is self._app.settings:  # another reload sees to it itself
            try:
                self._application.application = self.receiver()
            except Exception as error:  # noqa: BLE001  the old one goes on meanwhile
                report(self._log, "receiver", error)
                await asyncio.sleep(self._pace.tick_s)
            else:
                return

    def _status(self) -> str:
        line = line_of(*standing(self._context, self._app.intervals))
        return f"{line}; {self._reload.refused}" if self._reload.refused else line

    def _again_and_again(
        self, name: str, step: Callable[[], Awaitable[None]], wait_s: Callable[[], float]
    ) -> Coroutine[Any, Any, None]:
        return again_and_again(name, self._log, self._pace, self._live, step, wait_s)

    def receiver(self) -> Any:
        return receiver(
            self._context,
            self._app.settings.receiver,
            wake=lambda _who: self._rounds.came_in.set(),
            status=lambda: standing(self._context, self._app.intervals)[1],
            ready=lambda: "syncd is stopping" if self._draining else "",
            form=self._app.settings.subscribe_form,
            sessions=self._sessions,
        )

    def _clock_went_back(self) -> None:
        """What waits until a time of the old clock waits no more: that time may be days away."""
        try:
            with writing(self._context.engine) as connection:
                waits.end(connection, self._context.now())
        except MirrorError as error:
            report(self._log, "clock", error)
        self._rounds.came_in.set()

    async def _send_letters(self) -> None:
        """Confirmation links are mailed where there is a form that asks for them."""
        form, public_url = self._app.settings.subscribe_form, self._app.settings.receiver.public_url
        if form.lists and public_url is not None:
            await Letters(self._context, form, public_url).send_due()

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
        serving_server: uvicorn.Server,
        serving: asyncio.Task[None],
        tasks: Sequence[asyncio.Task[Any]],
    ) -> None:
        """Begin nothing new, let what is under way end, and cut off what takes too long."""
        clock = asyncio.get_running_loop().time
        drain_s = ROUNDS_SHARE * (self._pace.drain_s or self._app.settings.daemon.drain)
        until = clock() + drain_s
        rounds = self._rounds.under_way
        self._draining = True
        self._systemd.stopping("stopping: what is under way may end")
        self._log.info("daemon.stopping", rounds=len(rounds))
        self._timers.stop()
        serving_server.should_exit = True
        await _cut_off(tasks)
        cutting = asyncio.create_task(self._cut.wait())
        while (under_way := {serving, *rounds} - _done(serving)) and not cutting.done() and clock() < until:
            self._systemd.extend(until - clock() + 2 * EXTEND_S)
            turn_s = min(EXTEND_S, max(0.0, until - clock()))
            await asyncio.wait({*under_way, cutting}, timeout=turn_s, return_when=asyncio.FIRST_COMPLETED)
        late = [task for task in rounds if not task.done()]
        serving_server.force_exit = True
        await _cut_off([*late, cutting])
        await _close(serving_server, serving)
        if late:
            with writing(self._context.engine) as connection:
                journal.abandon_runs(connection, self._context.now())
        self._log.info("daemon.stopped", cut_off=len(late))


def _waited_for(asking: Sequence[asyncio.Future[Turned]]) -> list[asyncio.Future[Turned]]:
    """Without those whose asker hung up."""
    return [future for future in asking if not future.done()]


def _done(task: asyncio.Task[Any]) -> set[asyncio.Task[Any]]:
    return {task} if task.done() else set()


async def _close(serving_server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Wait for the server, which leaves its loop at once by now; answers that are still on their way are cut off."""
    await asyncio.wait({serving}, timeout=CLOSE_S)
    await _cut_off([*serving_server.server_state.tasks, *([] if serving.done() else [serving])])


async def _cut_off(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
