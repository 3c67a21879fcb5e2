"""The daemon: takes the mirror, keeps every account in step, takes deliveries in, and stops cleanly.

Every account has one task that runs its rounds, woken by a timer. What comes in between (a delivery, a click, something
that falls due) is worked on at once, beside them. A fault in one round is written down and stops nothing else; losing
the mirror stops everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import quote

import uvicorn
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from pydantic import SecretStr

from syncd.app import HOLD_S, App
from syncd.domain.errors import ConfigurationError, MirrorError, Problem, ProviderError
from syncd.providers.options import AccountOptions
from syncd.providers.protocol import CanRegister
from syncd.receiver import places_of, receiver
from syncd.settings import ReceiverSettings
from syncd.store import journal, meters
from syncd.store.session import reading, writing
from syncd.sync.check import conclude, due, examine
from syncd.sync.context import Lane
from syncd.sync.cycle import Round, run_round
from syncd.sync.outcome import outcome_of
from syncd.sync.standing import standing


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are looked at, and how long is waited."""

    tick_s: float = 1.0
    idle_max_s: float = 60.0
    keep_s: float = 20.0
    drain_s: float = 10.0
    register_again_s: float = 900.0
    pause_s: float = 1.0
    pause_max_s: float = 300.0
    jitter_max_s: float = 30.0


PACE = Pace()


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
    _take(app)
    try:
        with _listening(app.settings.receiver) as sock:
            await _Daemon(app, pace).serve(sock, stop, ready)
    finally:
        app.leave()


def _take(app: App) -> None:
    if app.take():
        return
    with reading(app.engine) as connection:
        who = journal.holding(connection, app.outside.now())
    raise MirrorError(
        f"another syncd works on this mirror: {who or 'one that has just left'}",
        hint="syncd sync asks it for a round; to replace it, stop it first: systemctl stop syncd",
    )


class _Daemon:
    def __init__(self, app: App, pace: Pace) -> None:
        self._app = app
        self._context = app.context
        self._pace = pace
        self._intervals = {name: app.settings.schedule_of(name).interval for name in app.context.lanes}
        self._log = app.log
        self._wakes = {name: asyncio.Event() for name in app.context.lanes}
        self._came_in = asyncio.Event()
        self._rounds: set[asyncio.Task[Any]] = set()
        self._asked: set[str] = set()
        self._unregistered = False
        self._draining = False

    async def serve(self, sock: socket.socket, stop: asyncio.Event, ready: Callable[[str], None] | None) -> None:
        server = _server(self._receiver(), self._pace.drain_s)
        scheduler = self._scheduler()
        serving = asyncio.create_task(server.serve(sockets=[sock]), name="receiver")
        tasks = [asyncio.create_task(work, name=name) for name, work in self._works()]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        address = address_of(sock)
        try:
            scheduler.start()
            await _started(server, serving)
            notify(f"READY=1\nSTATUS={len(self._wakes)} accounts; {address}")
            self._log.info("daemon.ready", address=address, accounts=sorted(self._wakes))
            if ready is not None:
                ready(address)
            await asyncio.wait({stopped, serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._drain(scheduler, server, serving, [stopped, *tasks])
        for task in (serving, *tasks):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _works(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        pace = self._pace
        return [
            ("keep", self._keep()),
            ("press", self._press()),
            ("check", self._again_and_again("check", self._check, self._until_next_check)),
            ("answer", self._again_and_again("answer", self._take_requests, lambda: pace.tick_s)),
            ("register", self._again_and_again("register", self._register, self._until_next_registration)),
            *((f"account {name}", self._tend(name)) for name in self._wakes),
        ]

    def _receiver(self) -> Any:
        return receiver(
            self._context,
            self._app.settings.receiver,
            wake=lambda _who: self._came_in.set(),
            status=lambda: standing(self._context, self._intervals)[1],
            ready=lambda: "syncd is stopping" if self._draining else "",
        )

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _scheduler(self) -> AsyncIOScheduler:
        """Timers that do nothing but wake: one for each account."""
        scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        for name, event in self._wakes.items():
            interval = self._intervals[name]
            jitter = min(self._pace.jitter_max_s, interval / 10)
            scheduler.add_job(_wake, "interval", args=[event], id=name, seconds=interval, jitter=jitter)
        return scheduler

    async def _tend(self, name: str) -> None:
        """The rounds of one account: the first at once, then whenever it is woken."""
        self._wakes[name].set()
        failures = 0
        while True:
            await self._wakes[name].wait()
            self._wakes[name].clear()
            if await self._round([name]) is not None:
                failures = 0
                continue
            failures += 1
            await asyncio.sleep(self._pause(failures))

    async def _press(self) -> None:
        """Work on what came in, or has fallen due, at once.

        Such a round leaves alone the accounts that somebody works on, so one that takes long keeps no other waiting;
        each that is still under way holds at least one account, so there are never many. When one moves nothing
        although something is due, the next waits longer.
        """
        idle = 0
        under_way: set[asyncio.Task[Round | None]] = set()
        self._came_in.set()
        while True:
            came = await self._came(min(self._pace.tick_s * 2**idle, self._pace.idle_max_s))
            ended = {task for task in under_way if task.done()}
            under_way -= ended
            if came or any(_moved(task.result()) for task in ended):
                idle = 0
            elif ended:
                idle = min(idle + 1, 16)
            if not came and not self._anything_due():
                continue
            if len(under_way) > len(self._wakes):
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way.add(self._errand(self._round([], pull_first=False)))

    async def _came(self, wait_s: float) -> bool:
        """Whether something came in within this time."""
        # Not `wait_for`: it loses a cancellation that comes together with the event, and the daemon would never end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._came_in.wait()
        came = self._came_in.is_set()
        self._came_in.clear()
        return came

    def _anything_due(self) -> bool:
        busy = [name for name, lane in self._context.lanes.items() if lane.lock.locked()]
        try:
            with reading(self._context.engine) as connection:
                return meters.anything_due(connection, self._context.now(), busy)
        except Exception as error:  # noqa: BLE001  the mirror may be back at the next tick
            self._broke("tick", error)
            return False

    async def _round(
        self, accounts: Sequence[str], *, full: bool = False, pull_first: bool = True, patient: bool = False
    ) -> Round | None:
        """A round, which goes on if whoever waits for it is stopped. None if it broke in a way that nobody foresaw."""
        work = run_round(self._context, accounts, full=full, pull_first=pull_first, patient=patient)
        try:
            return await asyncio.shield(self._errand(work))
        except Exception as error:  # noqa: BLE001  the other accounts go on
            self._broke("round", error, accounts=list(accounts))
            return None

    def _errand(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Something that is given time to end when the daemon stops."""
        task = asyncio.create_task(work)
        self._rounds.add(task)
        task.add_done_callback(self._rounds.discard)
        return task

    # Requests of people ----------------------------------------------------------------------------------------------

    async def _take_requests(self) -> None:
        with reading(self._context.engine) as connection:
            rows = journal.asked_rounds(connection)
        for row in rows:
            if row.id not in self._asked:
                self._asked.add(row.id)
                self._errand(self._answer(row))

    async def _answer(self, row: Any) -> None:
        """Run the round that somebody asked for, and leave what became of it."""
        unknown = sorted(set(row.accounts) - set(self._context.lanes))
        if unknown:
            outcome: Mapping[str, Any] = {"error": f"no such account: {', '.join(unknown)}"}
        else:
            done = await self._round(row.accounts, full=row.full, patient=True)
            outcome = {"error": "the round broke off: see the log of the daemon"} if done is None else outcome_of(done)
        try:
            with writing(self._context.engine) as connection:
                journal.answer_round(connection, row.id, outcome, self._context.now())
        except MirrorError as error:
            self._broke("answer", error)
            self._asked.discard(row.id)

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

    # Webhooks --------------------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        """Tell providers where to send notices, where they take that and have a secret to sign with."""
        self._unregistered = False
        for lane in self._context.lanes.values():
            provider, options = lane.provider, self._app.settings.accounts[lane.name]
            public_url = self._app.settings.receiver.public_url
            if (
                public_url is None
                or not isinstance(provider, CanRegister)
                or not getattr(options, "webhook_secret", ())
            ):
                continue
            callback_url = f"{public_url}/in/{quote(lane.name, safe='')}/webhook"
            await self._register_at(lane, provider, callback_url, mark_of(callback_url, options))

    async def _register_at(self, lane: Lane, provider: CanRegister, callback_url: str, mark: str) -> None:
        """Registered once, and once more where it was lost there or where our secret is another one by now."""
        place = f"webhook/{lane.name}"
        with reading(self._context.engine) as connection:
            before = journal.get_value(connection, place)
        rotated = before is not None and before != mark
        try:
            await lane.carrier.carry(
                provider.register(callback_url, anew=True) if rotated else provider.register(callback_url)
            )
        except ProviderError as error:
            self._unregistered = True
            self._log.warning("webhook.not_registered", account=lane.name, call=error.call, reason=error.message)
        else:
            if before != mark:
                with writing(self._context.engine) as connection:
                    journal.set_value(connection, place, mark)
                self._log.info("webhook.registered", account=lane.name, rotated=rotated)

    def _until_next_registration(self) -> float:
        every = self._app.settings.schedule.register_every
        return min(self._pace.register_again_s, every) if self._unregistered else every

    # The mirror ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Renew the hold. Who cannot in time must stop: another process may have taken over."""
        loop = asyncio.get_running_loop()
        kept_at = loop.time()
        while True:
            await asyncio.sleep(self._pace.keep_s)
            try:
                kept = self._app.keep()
            except Exception as error:
                self._broke("keep", error)
                if loop.time() - kept_at + self._pace.keep_s >= HOLD_S:
                    raise
                continue
            if not kept:
                raise MirrorError("another syncd has taken over this mirror", hint="look for a second `syncd run`")
            kept_at = loop.time()

    # Faults and the end ----------------------------------------------------------------------------------------------

    async def _again_and_again(
        self, name: str, step: Callable[[], Awaitable[None]], wait_s: Callable[[], float]
    ) -> None:
        failures = 0
        while True:
            try:
                await step()
            except Exception as error:  # noqa: BLE001  tried again
                failures += 1
                self._broke(name, error)
            else:
                failures = 0
            await asyncio.sleep(self._pause(failures) if failures else wait_s())

    def _pause(self, failures: int) -> float:
        return min(self._pace.pause_max_s, self._pace.pause_s * 2.0 ** min(failures - 1, 16))

    def _broke(self, what: str, error: BaseException, **about: Any) -> None:
        if isinstance(error, MirrorError):
            self._log.error("daemon.mirror", what=what, reason=error.message, hint=error.hint, **about)
        else:
            self._log.error("daemon.broke", what=what, error=type(error).__name__, at=places_of(error), **about)

    async def _drain(
        self,
        scheduler: AsyncIOScheduler,
        server: uvicorn.Server,
        serving: asyncio.Task[None],
        tasks: Sequence[asyncio.Task[Any]],
    ) -> None:
        """Begin nothing new, let what is under way end, and cut off what takes too long."""
        self._draining = True
        notify("STOPPING=1")
        self._log.info("daemon.stopping", rounds=len(self._rounds))
        if scheduler.running:
            scheduler.shutdown(wait=False)
        server.should_exit = True
        await _cut_off(tasks)
        under_way = set(self._rounds)
        if under_way:
            await asyncio.wait(under_way, timeout=self._pace.drain_s)
        late = [task for task in under_way | self._rounds if not task.done()]
        await _cut_off(late)
        await asyncio.wait({serving})
        if late:
            with writing(self._context.engine) as connection:
                journal.abandon_runs(connection, self._context.now())
        self._log.info("daemon.stopped", cut_off=len(late))


def mark_of(callback_url: str, options: AccountOptions) -> str:
    """Of an address and the newest secret: other if either is, and nothing that a secret could be guessed from."""
    newest = getattr(options, "webhook_secret", ("",))[0]
    secret = newest.get_secret_value() if isinstance(newest, SecretStr) else str(newest)
    return hashlib.scrypt(secret.encode(), salt=callback_url.encode(), n=2**14, r=8, p=1, dklen=8).hex()


async def _wake(event: asyncio.Event) -> None:
    # A coroutine, so that the scheduler runs it in the loop: events are not for other threads.
    event.set()


async def _cut_off(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _moved(done: Round | None) -> bool:
    """Whether a round found anything to do."""
    if done is None:
        return False
    planned = done.planned
    sent = any(outcome.pushed.sent or outcome.pulled.looked_up for outcome in done.accounts.values())
    return bool(sent or done.deliveries or planned.put or planned.closed or planned.look_ups)


# The receiver's server -----------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """Leaves the process's signals alone: whoever runs the daemon has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(application: Any, drain_s: float) -> _Server:
    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )
    return _Server(config)


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving
            raise RuntimeError("the receiver ended before it began")
        await asyncio.sleep(0.005)


@contextlib.contextmanager
def _listening(settings: ReceiverSettings) -> Iterator[socket.socket]:
    """A socket at the configured address. Bound before anything else, so that port 0 is known and a fault is ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((settings.host, settings.port))
            sock.listen()
        except OSError as error:
            what = f"cannot listen on {settings.listen}: {error.strerror}"
            problem = Problem("receiver.listen", what, "what has the port: ss -ltnp; or choose another")
            raise ConfigurationError("receiver", [problem]) from error
        sock.setblocking(False)
        yield sock


def address_of(sock: socket.socket) -> str:
    """The base URL under which a listening socket is reached."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def notify(state: str) -> None:
    """Tell systemd how we are, if it asked (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sock.sendall(state.encode())
