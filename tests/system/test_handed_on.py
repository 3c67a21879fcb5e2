"""What is handed on from one address to the next: again and again, down a chain, around a circle, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId
from syncd.store import exemptions, people, renames
from syncd.store.sequence import Sequence
from syncd.store.session import writing
from syncd.sync.ingest import resubscribe, unsubscribe
from syncd.sync.plan import plan_at_once
from tests.scenes import JOINED, TWO_LISTS, command, person, standing, suppressed, with_two_lists
from tests.system.test_heirs import THIRD, by_phone, by_reading, moved
from tests.system.test_rename import NEW, OLD
from tests.world import World

NEWSLETTER = Scope("newsletter")
EVENTS = Scope("events")


def moved_twice(world: World) -> None:
    moved(world)
    world.rocs.edit_customer(next(iter(world.rocs.customers)), email=THIRD)
    world.settle(4)


def says_yes(world: World, who: Identity, scope: Scope = GLOBAL) -> None:
    resubscribe(world.app.context, who, scope, evidence="signed form")
    world.settle(3)


def sound(world: World) -> bool:
    return command(world, "check", "--full").code == 0


def beside(world: World, act: Callable[..., Any], *given: Any, **more: Any) -> None:
    """By a command beside the daemon: its numbers come from a block of their own, which is ahead."""
    context = world.app.context
    ours, context.sequence = context.sequence, Sequence(world.app.engine)
    try:
        act(context, *given, **more)
    finally:
        context.sequence = ours


def test_each_no_under_the_first_address_reaches_the_last_one_however_often_it_took_one_back(open_small_world):
    world = open_small_world()
    moved_twice(world)
    for _ in range(4):
        by_phone(world)
        world.settle(3)
        assert suppressed(world, "global") == {OLD, NEW, THIRD}
        says_yes(world, THIRD)
        assert suppressed(world, "global") == {OLD, NEW}
    assert sound(world)


def test_so_does_one_that_is_read(open_small_world):
    world = open_small_world(on_unsubscribe="field")
    moved_twice(world)
    by_reading(world)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, NEW, THIRD}
    says_yes(world, THIRD, NEWSLETTER)
    world.wait(600)
    world.sales.set_field(world.sales_list, OLD, "status", "")
    world.round()
    by_reading(world)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, NEW, THIRD}


def test_so_does_one_where_nobody_ever_stood_under_the_address_between(open_small_world):
    world = open_small_world()
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    by_phone(world)
    world.settle(3)
    for email in (NEW, THIRD):
        world.rocs.edit_customer(customer, email=email)
        world.settle(3)
    for _ in range(3):
        assert suppressed(world, "global") == {OLD, NEW, THIRD}
        says_yes(world, THIRD)
        assert suppressed(world, "global") == {OLD, NEW}
        by_phone(world)
        world.settle(3)


def test_what_the_one_between_took_back_is_not_handed_past_it(open_small_world):
    world = open_small_world()
    moved(world)
    by_phone(world, EVENTS)
    world.settle(3)
    assert suppressed(world, "events") == {OLD, NEW}
    says_yes(world, NEW, EVENTS)
    world.rocs.edit_customer(next(iter(world.rocs.customers)), email=THIRD)
    world.settle(4)
    world.wait(90_000)
    world.settle(3)
    assert suppressed(world, "events") == {OLD}
    assert sound(world)


def test_it_goes_on_beyond_an_address_that_was_erased(open_small_world):
    world = open_small_world()
    moved_twice(world)
    assert command(world, "erase", NEW, "--yes").code == 0
    world.settle(3)
    assert suppressed(world, "global") == set()
    by_phone(world)
    world.settle(3)
    assert suppressed(world, "global") == {OLD, THIRD}
    assert sound(world)


def test_a_no_by_a_command_beside_the_daemon_hides_none_that_is_read_after_it(open_small_world):
    world = open_small_world(on_unsubscribe="field")
    moved(world)
    beside(world, unsubscribe, OLD, NEWSLETTER, source="operator", evidence="by phone")
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, NEW}
    beside(world, resubscribe, NEW, NEWSLETTER, evidence="signed form")
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
    world.wait(600)
    world.sales.set_field(world.sales_list, OLD, "status", "")
    world.round()
    by_reading(world)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, NEW}


def test_a_no_from_before_somebody_came_back_to_the_old_address_is_handed_on(open_small_world):
    world = open_small_world()
    moved(world)
    by_phone(world)
    person(world, OLD, "Olga", "Other")
    world.settle(3)
    assert suppressed(world, "global") == {OLD, NEW}
    assert sound(world)


def test_a_concluded_no_is_as_sound_under_the_next_address(open_small_world):
    world = open_small_world(on_absence="unsubscribe")
    moved(world)
    world.sales.remove_contact(world.sales_list, OLD)
    world.wait(90_000)
    world.settle(4)
    assert sound(world)


def test_a_listing_that_flips_very_many_is_under_the_guard_for_their_next_addresses_too(open_small_world):
    world = open_small_world(on_unsubscribe="field", max_count=2)
    olds = [f"o{n}@example.org" for n in range(6)]
    customers = [person(world, email, f"F{n}", f"L{n}") for n, email in enumerate(olds)]
    world.settle(3)
    assert [standing(world, email) for email in olds] == [JOINED] * 6
    for number, customer in enumerate(customers):
        world.rocs.edit_customer(customer, email=f"n{number}@example.org")
    for email in olds:
        world.sales.set_field(world.sales_list, email, "status", "unsubscribed")
    world.settle(3)
    events = world.rows("SELECT identity, mass FROM consent_event ORDER BY id")
    assert len(events) == 12
    assert all(event["mass"] for event in events)


def test_with_the_change_itself_every_no_goes_along_whatever_the_other_one_took_back_before(open_small_world):
    world = open_small_world()
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    by_phone(world, EVENTS)
    unsubscribe(world.app.context, NEW, EVENTS, source="operator", evidence="by phone")
    world.settle(2)
    says_yes(world, NEW, EVENTS)
    world.rocs.edit_customer(customer, email=NEW)
    world.settle(3)
    assert suppressed(world, "events") == {OLD, NEW}


def test_a_slip_that_was_put_right_hands_nothing_on(open_small_world):
    """Ann's record is called Bob's by mistake, and Ann's again; much later Bob's own record is deleted."""
    world = open_small_world()
    ann, bob = Identity("ann@example.org"), Identity("bob@example.org")
    hers, his = person(world, ann, "Ann", "A"), person(world, bob, "Bob", "B")
    world.settle(2)
    for email in (bob, ann):
        world.rocs.edit_customer(hers, email=email)
        world.settle(2)
    world.wait(10 * 86_400)
    world.rocs.remove_customer(his)
    for _ in range(3):
        world.round(full=True)
        world.wait(600)
    unsubscribe(world.app.context, bob, GLOBAL, source="operator", evidence="by phone")
    world.settle(3)
    assert suppressed(world, "global") == {bob}


@pytest.mark.timeout(60)
def test_two_addresses_that_gave_way_to_each_other_come_to_rest(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    moved(world)
    seq = world.app.context.sequence.take()
    with writing(world.app.engine) as connection:  # to OLD in turn, on another list, where both confirmed since
        back = {"account": "mail", "container": "155", "identity": NEW, "person_key": suppression_key(NEW)}
        since = {"opened_seq": 5, "opened_at": world.clock(), "retired_at": "1", "successor": OLD}
        connection.execute(renames.rename.insert().values(**back, **since))
        for who in (OLD, NEW):
            place = ("mail", ContainerId("155"), who)
            exemptions.grant(connection, suppression_key(who), place, "confirmed", seq=seq, at=world.clock())
    by_phone(world, NEWSLETTER)
    world.settle(3)
    assert suppressed(world, "newsletter") >= {OLD}
    assert sound(world)


def test_whoever_moved_and_said_no_to_nothing_costs_no_question_each(open_small_world):
    world = open_small_world(max_count=100_000)
    count = 60
    for number in range(count):
        person(world, f"o{number}@example.org", f"F{number}", f"L{number}")
    world.settle(2)

    def questions() -> int:
        with writing(world.app.engine) as connection:
            people.everybody_on_agenda(connection, world.clock())
        asked: list[str] = []
        note = lambda *given: asked.append(given[2])  # noqa: E731
        sa.event.listen(world.app.engine, "before_cursor_execute", note)
        plan_at_once(world.app.context)
        sa.event.remove(world.app.engine, "before_cursor_execute", note)
        return len(asked)

    before = questions()
    with writing(world.app.engine) as connection:
        for number in range(count):
            old = Identity(f"o{number}@example.org")
            moved_on = {"account": "crm", "container": "L-7", "identity": old, "person_key": suppression_key(old)}
            since = {"opened_seq": 5, "opened_at": world.clock(), "retired_at": ""}
            connection.execute(renames.rename.insert().values(**moved_on, **since, successor=f"n{number}@example.org"))
    assert questions() < before + count
