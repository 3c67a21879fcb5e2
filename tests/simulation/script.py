"""What happens in one history: a list of happenings, drawn from a seed before anything runs.

A list of plain values, so that a failing history can be made smaller by leaving happenings out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from syncd.emulators.emulator import FaultKind

ACCOUNTS = ("crm", "sales", "mail", "leads")
LISTS = ("newsletter", "events")
PEOPLE = tuple(f"p{n}@example.org" for n in range(5))
NEXT = {email: f"q{n}@example.net" for n, email in enumerate(PEOPLE)}
"""The other address that each may come to go by."""
ADDRESSES = (*PEOPLE, *NEXT.values())

FAULTS = (
    FaultKind.THROTTLED,
    FaultKind.UNAVAILABLE,
    FaultKind.FAILED,
    FaultKind.HTML,
    FaultKind.TRUNCATED,
    FaultKind.EMPTY,
    FaultKind.NO_CONNECTION,
    FaultKind.ANSWER_LOST,
    FaultKind.ANSWER_LOST,
)
"""The lost answer twice: it is the one that a repetition makes worse."""

FAILPOINTS = (
    "before a request leaves",
    "before an answer comes",
    "before commit",
    "after commit",
    "before commit of accept",
    "after commit of accept",
    "before commit of ingest",
    "before commit of plan",
    "after commit of plan",
    "before commit of _send",
    "after commit of _send",
    "before commit of _ended",
    "after commit of _ended",
    "before commit of _write_down",
    "after commit of _write_down",
    "before commit of _conclude",
    "before commit of read_feed",
    "before commit of ask",
    "before commit of _record",
    "after commit of _record",
    "after commit of take",
)
"""Where a process may be killed: at a request, or at the next transaction (of the function named) that writes."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens, `after` so many seconds since the one before. Its meaning is in `stage`."""

    after: float
    kind: str
    args: tuple[Any, ...] = ()


def script(seed: int, rounds: int) -> list[Happening]:
    """A history with so many wakes of a round; everything else falls between them."""
    rng = random.Random(f"script/{seed}")
    kinds, weights = zip(*((kind, weight) for kind, (weight, _) in DRAWS.items()), strict=True)
    found: list[Happening] = []
    woken = 0
    while woken < rounds:
        (kind,) = rng.choices(kinds, weights)
        after = rng.choice((0.0, 0.0, 0.1, 0.4, 1.0, 3.0, 20.0, 45.0)) if rng.random() < 0.97 else 1800.0
        found.append(Happening(after, kind, DRAWS[kind][1](rng)))
        woken += kind in {"wake", "press", "sync"}
    return found


def _address(rng: random.Random) -> str:
    email = rng.choice(PEOPLE)
    return NEXT[email] if rng.random() < 0.2 else email


def _person(rng: random.Random) -> tuple[Any, ...]:
    return (_address(rng),)


def _person_list(rng: random.Random) -> tuple[Any, ...]:
    return (_address(rng), rng.choice(LISTS))


def _move(rng: random.Random) -> tuple[Any, ...]:
    """From one address to the next; now and then back, or to one that is somebody else's."""
    email, other = rng.sample(PEOPLE, 2)
    return rng.choices(((email, NEXT[email]), (NEXT[email], email), (email, other)), (8, 2, 1))[0]


def _number(rng: random.Random) -> tuple[Any, ...]:
    return (rng.randrange(8),)


def _one_of(*values: Any) -> Callable[[random.Random], tuple[Any, ...]]:
    return lambda rng: (rng.choice(values),)


DRAWS: dict[str, tuple[float, Callable[[random.Random], tuple[Any, ...]]]] = {
    # What people do at the providers.
    "join": (9, lambda rng: (*_person_list(rng), rng.choice(ACCOUNTS))),
    "leave crm": (3, _person_list),
    "withdraw": (2, _person),
    "leave mail": (3, _person_list),
    "complain": (0.5, _person_list),
    "leave sales": (3, _person_list),
    "leave leads": (2, _person),
    "edit crm": (4, lambda rng: (_address(rng), rng.choice(("Ann", "Bea", "Cid")))),
    "edit sales": (2, lambda rng: (*_person_list(rng), rng.choice(("Ann Lee", "Bea Lee")))),
    "vanish sales": (1, _person_list),
    # Who goes by another address from now on, in the CRM, or at RocketResponder once it is confirmed.
    "move crm": (2, _move),
    "move mail": (1.5, lambda rng: (*_move(rng), rng.choice(LISTS))),
    "confirm mail": (4, _number),
    # What a foreign program does: it subscribes people again who left.
    "re-subscribe": (6, lambda rng: (*_person_list(rng), rng.choice(ACCOUNTS))),
    # What goes wrong.
    "fault": (8, lambda rng: (rng.choice(ACCOUNTS), rng.choice(FAULTS).value, rng.choice((1, 1, 1, 2, 4)))),
    "silence": (1, _one_of(*ACCOUNTS)),
    "lag": (3, lambda rng: (rng.choice(ACCOUNTS[:3]), rng.choice((0.0, 0.0, 3.0, 12.0, 28.0)))),
    "log out": (0.5, _one_of(*ACCOUNTS[:2])),
    "crash": (1.2, lambda rng: (rng.choice(FAILPOINTS), rng.choice((1, 1, 2, 5)))),
    # How what the providers send reaches us.
    "deliver": (12, lambda rng: (rng.choice(("in order", "in order", "last first", "twice")),)),
    "lose delivery": (0.7, _one_of("crm", "mail")),
    # What operators do.
    "approve": (1, _number),
    "reject": (0.5, _number),
    "pause": (0.4, _one_of(*ACCOUNTS)),
    "resume": (1.2, _one_of(*ACCOUNTS)),
    "unsubscribe": (1.5, lambda rng: (_address(rng), rng.choice((*LISTS, "global")))),
    "resubscribe": (1.5, lambda rng: (_address(rng), rng.choice((*LISTS, "global")))),
    "retry": (0.3, _number),
    "sync": (1.2, lambda rng: (rng.choice(ACCOUNTS), rng.random() < 0.3)),
    # What wakes the daemon.
    "wake": (11, _one_of(*ACCOUNTS)),
    "press": (4, lambda _: ()),
}
