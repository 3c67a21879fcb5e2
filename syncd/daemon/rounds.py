"""The rounds: those of each account by its timer, those for what came in or fell due, and those that people ask for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any

from syncd.app import App
from syncd.daemon.faults import report
from syncd.daemon.live import Live
from syncd.daemon.pace import Pace
from syncd.daemon.timers import Timers
from syncd.domain.errors import MirrorError, TakenOverError
from syncd.store import journal, meters
from syncd.store.session import reading, writing
from syncd.sync.cycle import Round, run_round
from syncd.sync.outcome import outcome_of


class Rounds:
    def __init__(self, app: App, pace: Pace, live: Live, timers: Timers) -> None:
        self._app = app
        self._timers = timers
        self._live = live
        self._context = app.context
        self._pace = pace
        self._log = app.log
        self.wakes: dict[str, asyncio.Event] = {}
        self.tending: dict[str, asyncio.Task[None]] = {}
        self.came_in = asyncio.Event()
        app.context.stir = self.came_in.set
        self.under_way: set[asyncio.Task[Any]] = set()
        self._asked: set[str] = set()

    def tend_all(self, *, at_once: Collection[str] = ()) -> None:
        """Every account that is configured is tended, and no other. `at_once`: those that are read right away although
        they are tended already.
        """
        for name in self.tending.keys() - self._app.settings.accounts.keys():
            self.tending.pop(name).cancel()
            self._timers.disarm(name)
            self._live.rest(_timer(name))
            del self.wakes[name]
        for name in self._app.settings.accounts:
            wake = self.wakes.setdefault(name, asyncio.Event())
            self._timers.arm(name, self._app.intervals[name], wake)
            if name not in self.tending:
                self.tending[name] = asyncio.create_task(self._tend(name, wake), name=f"account {name}")
            self._live.expect_still(_timer(name), self._timers.longest_s(self._app.intervals[name]))
            if name in at_once:
                wake.set()

    def wake(self, name: str) -> None:
        """Have a round of an account begin now."""
        self.wakes[name].set()

    async def _tend(self, name: str, wake: asyncio.Event) -> None:
        """The rounds of one account: the first at once, then whenever it is woken."""
        wake.set()
        failures = 0
        while True:
            self._live.expect(_timer(name), self._timers.longest_s(self._app.intervals[name]))
            await wake.wait()
            wake.clear()
            self._live.rest(_timer(name))
            if await self._round([name]) is not None:
                failures = 0
                continue
            failures += 1
            await asyncio.sleep(self._pace.pause(failures))

    async def press(self) -> None:
        """Work on what came in, or has fallen due, at once.

        Such a round leaves alone the accounts that somebody works on, so one that takes long keeps no other waiting;
        each that is still under way holds at least one account, so there are never many. When one moves nothing
        although something is due, the next waits longer.
        """
        idle = 0
        under_way: set[asyncio.Task[Round | None]] = set()
        self.came_in.set()
        while True:
            wait_s = min(self._pace.tick_s * 2**idle, self._pace.idle_max_s)
            self._live.expect("press", wait_s)
            came = await self._came(wait_s)
            self._live.rest("press")
            ended = {task for task in under_way if task.done()}
            under_way -= ended
            if came or any(_moved(task.result()) for task in ended):
                idle = 0
            elif ended:
                idle = min(idle + 1, 16)
            if not came and not self._anything_due():
                continue
            if len(under_way) > len(self.wakes):
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way.add(self.errand(self._round([], pull_first=False)))

    async def _came(self, wait_s: float) -> bool:
        """Whether something came in within this time."""
        # Not `wait_for`: it loses a cancellation that comes together with the event, and the daemon would never end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.came_in.wait()
        came = self.came_in.is_set()
        self.came_in.clear()
        return came

    def _anything_due(self) -> bool:
        busy = [name for name, lane in self._context.lanes.items() if lane.lock.locked()]
        try:
            with reading(self._context.engine) as connection:
                return meters.anything_due(connection, self._context.now(), busy)
        except Exception as error:  # noqa: BLE001  the mirror may be back at the next tick
            report(self._log, "tick", error)
            return False

    async def _round(
        self, accounts: Sequence[str], *, full: bool = False, pull_first: bool = True, patient: bool = False
    ) -> Round | None:
        """A round, which goes on if whoever waits for it is stopped. None if it broke in a way that nobody foresaw."""
        work = run_round(self._context, accounts, full=full, pull_first=pull_first, patient=patient)
        try:
            return await asyncio.shield(self.errand(work))
        except TakenOverError:
            raise  # nothing of ours may go on
        except Exception as error:  # noqa: BLE001  the other accounts go on
            report(self._log, "round", error, accounts=list(accounts))
            return None

    def errand(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Something that is given time to end when the daemon stops."""
        task = asyncio.create_task(work)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return task

    # Requests of people ----------------------------------------------------------------------------------------------

    async def take_requests(self) -> None:
        with reading(self._context.engine) as connection:
            rows = journal.asked_rounds(connection)
        for row in rows:
            if row.id not in self._asked:
                self._asked.add(row.id)
                self.errand(self._answer(row))

    async def _answer(self, row: Any) -> None:
        """Run the round that somebody asked for, and leave what became of it."""
        try:
            outcome = await self.asked_for(row.accounts, full=row.full)
            with writing(self._context.engine) as connection:
                journal.answer_round(connection, row.id, outcome, self._context.now())
        except MirrorError as error:
            report(self._log, "answer", error)
            self._asked.discard(row.id)

    async def asked_for(self, accounts: Sequence[str], *, full: bool) -> Mapping[str, Any]:
        """A round that somebody waits for: what became of it, or an `error`."""
        unknown = sorted(set(accounts) - set(self._context.lanes))
        if unknown:
            return {"error": f"no such account: {', '.join(unknown)}"}
        done = await self._round(accounts, full=full, patient=True)
        return {"error": "the round broke off: see the log of the daemon"} if done is None else outcome_of(done)


def _timer(name: str) -> str:
    return f"the timer of {name}"


def _moved(done: Round | None) -> bool:
    """Whether a round found anything to do."""
    if done is None:
        return False
    planned = done.planned
    sent = any(outcome.pushed.sent or outcome.pulled.looked_up for outcome in done.accounts.values())
    return bool(sent or done.deliveries or planned.put or planned.closed or planned.look_ups)
