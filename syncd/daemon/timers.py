"""The timers: they wake each account at its interval, and do nothing else.

APScheduler lives on the wall clock. Where that goes back it would fire nothing until the old time has come again, and
where it goes forward everything at once. When each account is due is therefore kept on the loop's clock, which nothing
moves; a jump of the wall clock is seen by comparing the two, and everything is set anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from syncd.daemon.live import Live

JUMP_S = 5.0
"""From how far on the two clocks are apart by a jump, and not because somebody was late to look."""


@dataclass(slots=True)
class Timer:
    interval_s: float
    wake: asyncio.Event
    due: float = 0.0


class Timers:
    def __init__(
        self,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        log: Any,
        jitter_max_s: float,
        went_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` is the loop's, `now` the wall's; `jitter` gives 0…1, of which each wait is made longer by a tenth.
        `went_back` is called when the wall clock did.
        """
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._jitter_max_s = jitter_max_s
        self._log = log
        self._went_back = went_back
        self._timers: dict[str, Timer] = {}
        self._seen = (now(), clock())
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def arm(self, name: str, interval_s: float, wake: asyncio.Event) -> None:
        """Set `wake` after each interval from now on. One that has the same interval already goes on as it is."""
        timer = self._timers.get(name)
        if timer is None or timer.interval_s != interval_s or timer.wake is not wake:
            self._timers[name] = Timer(interval_s, wake)
            self._begin(name)

    def disarm(self, name: str) -> None:
        if self._timers.pop(name, None) is not None and self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)

    def longest_s(self, interval_s: float) -> float:
        """How long a wait may last."""
        return interval_s + min(self._jitter_max_s, interval_s / 10)

    def wakes_in(self, name: str) -> float | None:
        """In how many seconds an account is woken, or None for one that has no timer."""
        timer = self._timers.get(name)
        return None if timer is None else max(0.0, timer.due - self._clock())

    def look(self) -> None:
        """Compare the clocks. After a jump everything is set anew; where time was lost (a machine that slept tells it
        by a jump forward), whoever would have been due meanwhile is woken once.
        """
        (wall, steady), self._seen = self._seen, (self._now(), self._clock())
        jumped_s = (self._seen[0] - wall).total_seconds() - (self._seen[1] - steady)
        if abs(jumped_s) < JUMP_S:
            return
        self._log.warning("clock.jumped", seconds=round(jumped_s, 1))
        for name, timer in self._timers.items():
            if jumped_s >= timer.due - self._clock():
                timer.wake.set()
                self._begin(name)
            else:
                self._set(name)
        if jumped_s < 0:
            self._went_back()

    async def supervise(self, live: Live, tick_s: float) -> None:
        while True:
            live.expect("clock", tick_s)
            await asyncio.sleep(tick_s)
            self.look()

    def _begin(self, name: str) -> None:
        """The next wait begins."""
        timer = self._timers[name]
        spread = (self.longest_s(timer.interval_s) - timer.interval_s) * self._jitter()
        timer.due = self._clock() + timer.interval_s + spread
        self._set(name)

    def _set(self, name: str) -> None:
        at = self._now() + timedelta(seconds=self._timers[name].due - self._clock())
        self._scheduler.add_job(self._wake, "date", run_date=at, args=[name], id=name, replace_existing=True)

    async def _wake(self, name: str) -> None:
        # A coroutine, so that the scheduler runs it in the loop: events are not for other threads.
        if name in self._timers:
            self._timers[name].wake.set()
            self._begin(name)
