"""Is everything in agreement, and if not, how far away is it? Numbers in, verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

STALE_AFTER = 3
"""Intervals without a good read after which nothing may be said of an account any more."""

IN_TROUBLE = frozenset({"failing", "quarantined"})


class Condition(StrEnum):
    """The one thing to know first; the earlier of those that hold."""

    CONVERGED = "converged"
    BROKEN = "broken"  # an invariant does not hold: only unsubscribes are sent
    OVERDUE = "overdue"  # an unsubscribe was not accepted in time
    UNREACHABLE = "unreachable"  # an account fails or refuses our credentials
    WAITS = "waits"  # something waits for a person
    PENDING = "pending"  # the next rounds will see to it


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """How one configured account stands. `state` as in the mirror: new, ok, failing, quarantined, paused."""

    name: str
    state: str
    last_good_read: datetime | None
    interval_s: float

    def stale(self, now: datetime) -> bool:
        if self.last_good_read is None:
            return True
        return now - self.last_good_read > timedelta(seconds=STALE_AFTER * self.interval_s)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open, in numbers. Parked changes are not among them: nothing will happen to them by itself.

    `due`: people to be looked at now. `deliveries`: taken in, not read yet. `reachable`: records through which somebody
    who said no could still be mailed. `ambiguous`: addresses that several records of one account claim. `overdue`:
    unsubscribes that a provider did not accept in time; `refused`: those that it does not take. `broken`: invariants
    that do not hold.
    """

    accounts: Sequence[AccountStanding]
    operations: int = 0
    due: int = 0
    look_ups: int = 0
    deliveries: int = 0
    held: int = 0
    claims: int = 0
    reachable: int = 0
    ambiguous: int = 0
    overdue: int = 0
    refused: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    condition: Condition
    distance: int
    stale: tuple[str, ...]

    @property
    def converged(self) -> bool:
        return self.condition is Condition.CONVERGED


def judge(standing: Standing, now: datetime) -> Verdict:
    """Everything that is open counts one; agreement is when nothing is, and every account was read lately and well."""
    stale = tuple(account.name for account in standing.accounts if account.stale(now))
    distance = sum(
        (
            standing.operations,
            standing.due,
            standing.look_ups,
            standing.deliveries,
            standing.held,
            standing.claims,
            standing.reachable,
            standing.ambiguous,
            len(stale),
        )
    )
    return Verdict(_condition(standing, distance), distance, stale)


def _condition(standing: Standing, distance: int) -> Condition:
    states = {account.state for account in standing.accounts}
    if standing.broken:
        return Condition.BROKEN
    if standing.overdue:
        return Condition.OVERDUE
    if states & IN_TROUBLE:
        return Condition.UNREACHABLE
    if distance == 0:
        return Condition.CONVERGED
    if standing.held or standing.claims or standing.ambiguous or standing.refused or "paused" in states:
        return Condition.WAITS
    return Condition.PENDING
