"""Another address of the same person: what gives way to it said no to nothing; whoever does not confirm, left."""

from __future__ import annotations

import pytest

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity
from syncd.sync.ingest import unsubscribe
from tests.scenes import (
    TWO_LISTS,
    changes_address,
    marks,
    member,
    notices,
    person,
    subscriber,
    suppressed,
    with_two_lists,
    written,
)

OLD, NEW = Identity("olga@example.org"), Identity("olga.new@example.net")


@pytest.mark.parametrize("somebody", ["a stranger", "a namesake much later", "two of that name"])
def test_who_leaves_as_somebody_else_turns_up_said_no(open_small_world, somebody):
    world = open_small_world()
    changes_address(world, OLD, NEW)
    before = marks(world)
    world.mail.person_unsubscribes("154", OLD)
    world.wait(60 if somebody == "a namesake much later" else 0)
    name = "Somebody Else" if somebody == "a stranger" else "Olga Old"
    for number in range(2 if somebody == "two of that name" else 1):
        world.mail.add_subscriber("154", f"other{number}@example.org", name)
        world.mail.open_mail("154", f"other{number}@example.org")
    world.round()
    assert suppressed(world, "newsletter") == set(), "the new address may yet be seen"
    assert not [path for _, path, body in written(world, before) if OLD in body]
    world.wait(900)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
    assert member(world, OLD) == "unsubscribed"


def test_nobody_is_added_while_it_is_open_whether_they_left(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    changes_address(world, OLD, NEW)
    world.mail.person_unsubscribes("154", OLD)
    world.round(["mail"])
    before = marks(world)
    world.rocs.add_member("L-2", next(iter(world.rocs.customers)))
    world.round()
    assert written(world, before) == []
    world.wait(900)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
    assert subscriber(world, OLD, "155") == "Confirmed", "another list, to which they said nothing"


def test_the_new_address_inherits_every_no_of_the_person(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    changes_address(world, OLD, NEW, lists=("L-1", "L-2"))
    unsubscribe(world.app.context, OLD, Scope("events"), source="operator", evidence="by phone")
    world.settle(2)
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()
    assert suppressed(world, "events") == {OLD, NEW}


def test_who_leaves_again_after_coming_back_to_the_old_address_said_no(open_small_world):
    world = open_small_world()
    changes_address(world, OLD, NEW)
    world.mail.confirm("154", NEW)
    world.settle(2)
    world.mail.person_joins_again("154", OLD)
    world.mail.confirm("154", OLD)
    world.settle(2)
    world.wait(600)
    world.mail.person_unsubscribes("154", OLD)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}


def test_the_echo_of_a_name_that_we_wrote_begins_nothing(open_small_world):
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.rocs.edit_customer(customer, last_name="Young")
    world.settle(2)
    told = [row["route"] for row in world.rows("SELECT route FROM inbox WHERE account = 'mail'")]
    assert any("modify" in route for route in told), "they tell us of what we did ourselves"
    assert world.rows("SELECT * FROM rename") == []
    world.mail.person_unsubscribes("154", OLD)
    world.settle(2)
    assert suppressed(world, "newsletter") == {OLD}, "nobody waits for another address"
    assert member(world, OLD) == "unsubscribed"


def test_a_name_that_somebody_else_wrote_may_be_more_than_a_name(open_small_world):
    world = open_small_world()
    notices(world)
    person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.mail.edit_name("154", OLD, "Olga Young")
    world.settle(2)
    assert [row["identity"] for row in world.rows("SELECT identity FROM rename")] == [OLD]
    assert member(world, OLD) == "subscribed"
