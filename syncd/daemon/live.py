"""What runs right now, and whether it moves.

Every part of the daemon says by when it will be heard of again: a loop before it waits, an account with every page,
every batch and every request, a request before it is sent. Whatever is not heard of in time hangs, and the watchdog is
no longer fed. A provider that is slow is none of that: each request has its own deadline, and is heard of by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class Work:
    """What is done at one account. `calls`: requests since it began."""

    since: datetime
    phase: str = ""
    records: int = 0
    total: int | None = None
    calls: int = 0


class Live:
    def __init__(self, clock: Callable[[], float], now: Callable[[], datetime], slack_s: float) -> None:
        """`clock` is the loop's. `slack_s`: how long after its time something may be heard of."""
        self._clock = clock
        self._now = now
        self.slack_s = slack_s
        self._by: dict[str, float] = {}
        self._works: dict[str, Work] = {}

    # By when something is heard of again -----------------------------------------------------------------------------

    def expect(self, what: str, within_s: float) -> None:
        self._by[what] = self._clock() + within_s

    def expect_still(self, what: str, within_s: float) -> None:
        """As `expect`, where anything is expected of it at all."""
        if what in self._by:
            self.expect(what, within_s)

    def rest(self, what: str) -> None:
        """Nothing is expected of this any more."""
        self._by.pop(what, None)

    def late(self) -> dict[str, float]:
        """What hangs, and for how many seconds it should have been heard of."""
        now = self._clock()
        return {what: now - by for what, by in self._by.items() if now - by > self.slack_s}

    def stood_still(self, seconds: float) -> None:
        """The loop was at one step for so long: nobody could be heard of, and it counts for nobody."""
        for what in self._by:
            self._by[what] += seconds

    # At the accounts -------------------------------------------------------------------------------------------------

    def at_work(self, account: str, busy: bool) -> None:
        """Somebody begins, or ends, to work at an account."""
        if busy:
            self._works[account] = Work(self._now())
            self.expect(_at(account), 0)
        else:
            self._works.pop(account, None)
            self.rest(_at(account))

    def progress(self, account: str, what: str, done: int, total: int | None) -> None:
        work = self._works.get(account)
        if work is not None:
            work.phase, work.records, work.total = what, done, total
            self.waits(account, 0)

    def waits(self, account: str, within_s: float) -> None:
        """A wait at an account begins that is over within this time. One that is longer already is not made shorter."""
        if account in self._works:
            by = self._by[_at(account)]
            self._by[_at(account)] = max(by, self._clock() + within_s)

    def requested(self, account: str, _label: str, _status: int | None) -> None:
        work = self._works.get(account)
        if work is not None:
            work.calls += 1
            self.waits(account, 0)

    def work(self, account: str) -> Work | None:
        return self._works.get(account)


def _at(account: str) -> str:
    return f"work at {account}"
