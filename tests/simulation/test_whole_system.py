"""Nobody who said no is subscribed, added or moved by us, and no "no" is lost: many histories of the whole system.

The program itself runs (rounds, carriers, adapters, store) against four emulators, on a virtual clock, in an order that
a seed decides. `make sim` plays more of the same; a failure here names its seed and the command that plays it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from syncd.store.session import open_engine
from tests.simulation.__main__ import fresh
from tests.simulation.history import Told, play
from tests.simulation.oracle import BrokenError
from tests.simulation.process import Mirror
from tests.simulation.script import ACCOUNTS, Happening, script
from tests.simulation.shrink import shrink
from tests.world import quiet

WAKES = 250
SEEDS = 30
SEEDS_IN_SUITE = 6
ROUNDS = 340
"""ROUNDS x SEEDS on SQLite: more than ten thousand rounds that ran to their end; a wake, a delivery, a command of an
operator each begin one. The first of them are in the suite, all of them in `make long`.
"""


def played(seed: int, wakes: int, mirror: Mirror) -> Told:
    try:
        return play(seed, wakes, mirror)
    except BrokenError as error:
        again = f"python -m tests.simulation --seed {seed} --seeds 1 --rounds {wakes} --jobs 1"
        raise AssertionError(f"seed {seed}: {error}; again, and the smallest history: {again}") from error


FURTHER = [pytest.param(part, marks=pytest.mark.long) for part in range(SEEDS_IN_SUITE, SEEDS)]


@pytest.mark.simulation
@pytest.mark.parametrize("part", [*range(SEEDS_IN_SUITE), *FURTHER])
def test_nobody_who_said_no_is_added_by_us_sqlite(part: int, seed_base: int):
    told = played(seed_base + part, WAKES, fresh())
    assert told.rounds >= ROUNDS
    assert told.rounds_to_converge <= 3


@pytest.mark.simulation
@pytest.mark.parametrize("part", [pytest.param(part, marks=pytest.mark.long) for part in range(8)])
def test_nobody_who_said_no_is_added_by_us_postgres(part: int, seed_base: int, postgres: Any, postgres_template: str):
    quiet()
    url = postgres.create(template=postgres_template)
    engine = open_engine(url)
    try:
        played(seed_base + 1000 + part, 60, Mirror(engine))
    finally:
        engine.dispose()
        postgres.drop(url)


def test_the_same_seed_is_the_same_history(seed_base: int):
    first, again, other = (play(seed, 40, fresh()) for seed in (seed_base, seed_base, seed_base + 1))
    assert (first.hash, first.steps) == (again.hash, again.steps)
    assert other.hash != first.hash


def test_a_history_that_breaks_is_made_smaller():
    happenings = script(1, 60)

    def breaks_after(few: Sequence[Happening]) -> None:
        if sum(happening.kind == "join" for happening in few) > 1:
            raise BrokenError("lost", "two joined")

    smallest = shrink(happenings, "lost", breaks_after, seconds=10)
    assert [happening.kind for happening in smallest] == ["join", "join"]


def test_what_counts_as_wrongful_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """A program that tells consent wrong, on a mirror that refuses nothing, is caught by its calls alone."""
    for name in ("sync.push.suppressing", "reconcile.close.suppressing", "reconcile.spread.suppressing"):
        monkeypatch.setattr(f"syncd.{name}", lambda *_: frozenset())
    monkeypatch.setattr("syncd.sync.push.learn", lambda *_: [])
    monkeypatch.setattr("syncd.reconcile.person.Person.suppressed", lambda *_: False)
    wakes = [Happening(30.0, "wake", (name,)) for name in ACCOUNTS] * 2
    somebody = ("p0@example.org", "newsletter")
    joins_and_says_no = [Happening(1.0, "join", (*somebody, "sales")), Happening(1.0, "unsubscribe", somebody)]
    found: BrokenError | None = None
    for seed in range(20):
        mirror = fresh()
        with mirror.engine.begin() as connection:
            for guard in ("guard_op_insert", "guard_op_update"):
                connection.exec_driver_sql(f"DROP TRIGGER {guard}")
        try:
            play(seed, len(wakes), mirror, [*wakes, *joins_and_says_no, *wakes])
        except BrokenError as error:
            found = error
            break
    assert found is not None
    assert found.kind == "wrongful"
