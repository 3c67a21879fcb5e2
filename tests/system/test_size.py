"""What a "no" costs in the mirror does not grow with how many others are in it, nor with what happened before."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.sync.cycle import run_round
from tests.scenes import LEFT, command, notices, people, standing
from tests.virtual import run
from tests.world import World, quiet

STEP = 10
"""SQLite tells after so many of its instructions that they are done."""

GROWN = 2
LEAST = 200
"""Instructions by which a statement may differ for no reason that grows."""


@contextmanager
def counting(engine: sa.Engine) -> Iterator[Counter[str]]:
    """How many instructions SQLite needs for each statement."""
    done: Counter[str] = Counter()
    statement = [""]

    def counted() -> None:
        done[statement[0]] += STEP

    def begins(_: Any, __: Any, text: str, *___: Any) -> None:
        statement[0] = text

    def taken(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(counted, STEP)

    def given_back(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(None, STEP)

    listeners = (("before_cursor_execute", begins), ("checkout", taken), ("checkin", given_back))
    for name, listener in listeners:
        sa.event.listen(engine, name, listener)
    try:
        yield done
    finally:
        for name, listener in listeners:
            sa.event.remove(engine, name, listener)


ALL_WAYS = 4


@pytest.fixture
def open_own_world(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """A world with a mirror of its own under each name."""
    quiet()
    opened: list[World] = []

    def opening(name: str) -> World:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copyfile(sqlite_template, folder / "mirror.db")
        opened.append(World(f"sqlite:///{folder}/mirror.db", folder=folder, max_count=10_000))
        return opened[-1]

    yield opening
    for world in opened:
        world.close()


def most_have_left(world: World, count: int) -> list[str]:
    """So many people everywhere, of whom half have left; four of the others."""
    notices(world)
    emails = list(people(world, count))
    world.settle(2)
    for email in emails[: count // 2]:
        world.rocs.withdraw_consent(email)
    world.settle(3)
    world.wait(3600)
    world.rocs.withdraw_consent(emails[count // 2])  # ROCS is asked for what changed since the latest change
    world.settle(2)
    assert standing(world, emails[0]) == LEFT
    return emails[-ALL_WAYS:]


def cost(world: World, count: int) -> Counter[str]:
    """What is done in rounds that read nothing beforehand, after four people left, each by another way."""
    said, crm, mail, leads = last = most_have_left(world, count)
    assert command(world, "unsubscribe", said, "--no-push").code == 0
    world.rocs.withdraw_consent(crm)
    world.mail.person_unsubscribes("154", mail)
    world.rokt.person_unsubscribes(leads)
    world.deliver()
    with counting(world.app.engine) as done:
        for _ in range(3):
            run(world.loop, run_round(world.app.context, pull_first=False))
            world.wait(60)
    for email in last:
        assert standing(world, email) == LEFT
    return done


def test_a_no_costs_as_much_among_many_as_among_few(open_own_world):
    few, many = cost(open_own_world("few"), 20), cost(open_own_world("many"), 160)
    grown = {text: (few[text], number) for text, number in many.items() if number > GROWN * few[text] + LEAST}
    told = [f"{was} -> {now}: {text}" for text, (was, now) in sorted(grown.items(), key=lambda item: -item[1][1])]
    assert not told, "\n".join(told)
