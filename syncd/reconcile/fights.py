"""Is somebody subscribing a person again as often as we undo it? People should know; the "no" goes on holding."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.reconcile.learn import Claim, claimed_scopes
from syncd.reconcile.person import OpState, Person, Place, Topology, stands

HELD = frozenset({OpState.VERIFIED, OpState.DONE})
"""States of an unsubscribe that took effect."""


@dataclass(frozen=True, slots=True)
class Fight:
    """A cell that stands subscribed again, once more than can be chance."""

    claim: Claim
    flaps: int


def fights(person: Person, topology: Topology, now: datetime) -> list[Fight]:
    """The cells that are fought over and stand subscribed right now: each time it happens, and only then."""
    found = []
    for place in sorted({op.place for op in person.carried_out}):
        flaps = flaps_at(person, topology, place, now)
        here = [cell for cell in person.at(*place) if stands(cell)]
        if flaps >= topology.flaps_max and here:
            newest = max(here, key=lambda cell: cell.status_seq)
            found += [Fight(Claim(newest, scope), flaps) for scope in claimed_scopes(person, topology, newest)]
    return found


def fought_over(person: Person, topology: Topology, place: Place, now: datetime) -> bool:
    return flaps_at(person, topology, place, now) >= topology.flaps_max


def flaps_at(person: Person, topology: Topology, place: Place, now: datetime) -> int:
    """How often within the window a cell was subscribed again after we had unsubscribed it.

    Each unsubscribe but the first had to be sent because of that; what was sent before the person's own latest word
    does not count.
    """
    since = now - timedelta(seconds=topology.flaps_window_s)
    reaching = topology.reaching(*place[:2])
    word = max((state.seq for scope, state in person.consent.items() if scope in reaching), default=0)
    held = [
        op.ended_seq
        for op in person.carried_out
        if op.place == place and op.state in HELD and op.ended_seq > word and op.ended_at and op.ended_at >= since
    ]
    if not held:
        return 0
    again = any(stands(cell) and cell.status_seq > max(held) for cell in person.at(*place))
    return len(held) - 1 + again
