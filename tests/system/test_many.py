"""Very many people are decided about part by part: others have their turn in between, and nothing else comes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from syncd.store import people as agenda
from syncd.store.session import reading, writing
from syncd.sync.context import Context
from syncd.sync.cycle import run_round
from syncd.sync.ingest import BATCH, ingest_all, unsubscribe
from syncd.sync.plan import plan
from tests.scenes import JOINED, LEFT, people, plans, standing
from tests.virtual import run
from tests.world import KilledError, World

PART = 3


def in_parts(world: World, part: int = PART) -> None:
    world.app.context.policy = replace(world.app.context.policy, plan_at_once=part)


def due(world: World) -> int:
    with reading(world.app.engine) as connection:
        return len(agenda.due_people(connection, world.clock(), 1_000))


def everybody_is_due(world: World) -> None:
    with writing(world.app.engine) as connection:
        agenda.everybody_on_agenda(connection, world.clock())


async def began(context: Context, *, learning: bool) -> None:
    """Until another round takes note of what was said, or has done so and decides what follows."""
    for _ in range(1_000):
        if context.planning.lock.locked() and context.planning.learning is learning:
            return
        await asyncio.sleep(0)
    raise AssertionError("nobody plans part by part")


def unsubscribes(world: World) -> set[str]:
    return {row["identity"] for row in world.rows("SELECT identity FROM op WHERE kind = 'unsubscribe'")}


def test_part_by_part_all_come_to_agree_as_they_do_at_once(open_world):
    world = open_world()
    in_parts(world)
    emails = list(people(world, 4 * PART))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * len(emails)
    for email in emails[PART:]:
        world.rocs.unsubscribe_member("L-1", email)
    world.settle(3)
    assert [standing(world, email) for email in emails] == [JOINED] * PART + [LEFT] * 3 * PART
    assert due(world) == 0


def test_others_have_the_loop_between_two_parts_and_whoever_said_no_is_decided_about_first(open_small_world):
    """While one round plans everybody, who said no meanwhile does not wait for the end of it."""
    world = open_small_world()
    emails = list(people(world, 8 * PART))
    world.settle(2)
    everybody_is_due(world)
    in_parts(world)
    context, last = world.app.context, emails[-1]
    left: list[int] = []

    async def beside() -> None:
        await began(context, learning=False)
        unsubscribe(context, last, source="one-click", evidence="one click")
        await plan(context, patient=False)
        left.append(due(world))

    async def both() -> None:
        await asyncio.gather(plan(context), beside())

    run(world.loop, both())
    assert last in unsubscribes(world)
    assert left[0] > 3 * PART  # there were others, who had waited longer
    assert due(world) == 0


def test_nobody_is_decided_about_while_what_was_said_is_still_taken_note_of(open_small_world):
    world = open_small_world()
    emails = list(people(world, 4 * PART))
    world.settle(2)
    everybody_is_due(world)
    in_parts(world)
    context, seen = world.app.context, []

    async def beside() -> None:
        await began(context, learning=True)
        unsubscribe(context, emails[0], source="one-click", evidence="one click")
        seen.append((await plan(context, patient=False)).people)

    async def both() -> None:
        await asyncio.gather(plan(context), beside())

    run(world.loop, both())
    assert seen == [0]
    assert unsubscribes(world) == {emails[0]}


def flipped(world: World, count: int) -> list[str]:
    """A list in which very many read unsubscribed at once."""
    emails = list(people(world, count))
    world.settle(2)
    in_parts(world)
    for email in emails:
        world.rocs.unsubscribe_member("L-1", email)
    return emails


def test_a_mass_flip_is_known_as_one_before_the_first_of_it_is_passed_on(open_world):
    world = open_world(max_count=PART + 1)
    flipped(world, 4 * PART)
    world.settle(2)
    assert {(row["kind"], row["hold"], row["count"]) for row in plans(world)} == {("unsubscribe", "mass", 4 * PART)}
    assert unsubscribes(world) == set()


def dying_after(parts: int) -> Callable[[], None]:
    """A kill of the process, where so many parts are done."""
    left = itertools.count(parts - 1, -1)

    def dies() -> None:
        if not next(left):
            raise KilledError

    return dies


@pytest.mark.parametrize("parts", [1, 2, 3, 4], ids=lambda parts: f"after {parts} parts")
def test_a_mass_flip_is_known_as_one_after_a_kill_in_between(open_small_world, parts: int):
    """What was learnt before the kill is part of it, although nobody has to learn it any more."""
    world = open_small_world(max_count=PART + 1)
    flipped(world, 4 * PART)
    world.app.context.alive = dying_after(parts)
    with pytest.raises(KilledError):
        world.round()
    world.restart()
    in_parts(world)
    world.settle(2)
    assert {(row["kind"], row["hold"], row["count"]) for row in plans(world)} == {("unsubscribe", "mass", 4 * PART)}
    assert unsubscribes(world) == set()
    assert world.rows("SELECT * FROM meta WHERE key = 'learning'") == []


def test_what_a_kill_left_to_be_judged_is_judged_also_where_few_are_due_by_then(open_small_world):
    world = open_small_world(max_count=PART + 1)
    flipped(world, 4 * PART)
    world.app.context.alive = dying_after(3)
    with pytest.raises(KilledError):
        world.round()
    world.restart()
    world.settle(2)  # all in one part
    assert {(row["kind"], row["hold"], row["count"]) for row in plans(world)} == {("unsubscribe", "mass", 4 * PART)}


def test_after_a_kill_between_two_decisions_the_others_are_decided_about(open_small_world):
    world = open_small_world(max_count=1_000)
    emails = flipped(world, 4 * PART)
    world.app.context.alive = dying_after(7)
    with pytest.raises(KilledError):
        world.round()
    assert 0 < len(unsubscribes(world)) < 4 * PART
    world.restart()
    in_parts(world)
    world.settle(2)
    assert [standing(world, email) for email in emails] == [LEFT] * len(emails)


@pytest.mark.parametrize("learning", [True, False], ids=["what was said", "what follows"])
def test_a_round_that_does_not_wait_leaves_the_rest_to_whoever_plans(open_small_world, learning: bool):
    world = open_small_world()
    people(world, 4 * PART)
    world.settle(2)
    everybody_is_due(world)
    in_parts(world)
    context = world.app.context
    passes = []

    async def beside() -> None:
        await began(context, learning=learning)
        done = await run_round(context, pull_first=False, patient=False)
        passes.append((done.passes, due(world) > 0))

    async def both() -> None:
        await asyncio.gather(plan(context), beside())

    run(world.loop, both())
    assert passes == [(1, True)]


def test_others_have_the_loop_while_very_much_is_read_that_was_taken_in(open_small_world):
    world = open_small_world()
    for n in range(BATCH + 1):
        world.rokt.send_lead(f"l{n}@example.org", f"First{n}", "Dee")
    assert world.deliver() == BATCH + 1
    new = []

    async def beside() -> None:
        new.append(world.rows("SELECT count(*) AS n FROM inbox WHERE state = 'new'")[0]["n"])

    async def both() -> None:
        await asyncio.gather(ingest_all(world.app.context), beside())

    run(world.loop, both())
    assert new == [1]
    assert world.rows("SELECT count(*) AS n FROM inbox WHERE state = 'new'") == [{"n": 0}]
