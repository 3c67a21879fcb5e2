"""Which of two consent facts prevails.

The state of a person in a scope is (epoch, level); of two states the larger epoch wins, then the higher level. That
join is
commutative, associative and idempotent, so any order and any repetition of what was seen ends in the same state.
Within an epoch levels only rise; only a person's own word, with its evidence kept, opens the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, NewType

from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import Status

Scope = NewType("Scope", str)
"""An area of consent: `GLOBAL`, one of our lists, or several lists that the configuration merges."""

GLOBAL = Scope("global")


class Level(IntEnum):
    UNKNOWN = 0
    PENDING = 1
    SUBSCRIBED = 2
    UNSUBSCRIBED = 3
    COMPLAINT = 4
    ERASED = 5

    @property
    def suppresses(self) -> bool:
        return self >= Level.UNSUBSCRIBED

    @property
    def word(self) -> str:
        return self.name.lower()


class ConsentState(NamedTuple):
    """`seq` is our sequence number of the fact that opened the epoch: readings from before it belong to the past."""

    epoch: int = 0
    level: Level = Level.UNKNOWN
    seq: int = 0

    def join(self, other: ConsentState) -> ConsentState:
        if self.epoch != other.epoch:
            return self if self.epoch > other.epoch else other
        return ConsentState(self.epoch, max(self.level, other.level), max(self.seq, other.seq))


def fold(states: Iterable[ConsentState]) -> ConsentState:
    """What is to be believed after all of these, whatever their order."""
    joined = ConsentState()
    for state in states:
        joined = joined.join(state)
    return joined


LEVEL_OF = {
    Status.UNSUBSCRIBED: Level.UNSUBSCRIBED,
    Status.COMPLAINED: Level.COMPLAINT,  # a spam complaint ends everything, see `scope_of_status`
}
"""Statuses that are consent events. Bounced, removed, absent, pending and unknown are none."""


def scope_of_status(status: Status, scope: Scope) -> Scope:
    """A complaint is said to the sender, not to one list."""
    return GLOBAL if status is Status.COMPLAINED else scope


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One fact about consent as we learnt it.

    `source` is the account it came from, or `operator` or `one-click`. `route` says how it reached us: listing, feed,
    lookup, delivery, command.
    `inferred`: concluded, not said (somebody vanished); such events stand under the guard. `mass`: part of a listing
    that flipped very many at once. `again`: raises no level, and is kept because it ends an exemption.
    """

    key: SuppressionKey
    identity: Identity
    scope: Scope
    epoch: int
    level: Level
    at: datetime
    seq: int
    source: str
    route: str
    evidence: str
    container: str = ""
    inferred: bool = False
    mass: bool = False
    again: bool = False
