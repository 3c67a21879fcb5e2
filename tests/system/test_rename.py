"""Another address of the same person: what gives way to it said no to nothing; whoever does not confirm, left."""

from __future__ import annotations

import pytest

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity
from syncd.sync.explain import explain
from syncd.sync.ingest import unsubscribe
from tests.scenes import (
    JOINED,
    TWO_LISTS,
    marks,
    member,
    notices,
    operations,
    person,
    standing,
    subscriber,
    suppressed,
    with_two_lists,
    written,
)
from tests.world import World

OLD, NEW = Identity("olga@example.org"), Identity("olga.new@example.net")


def changing(world: World, **more: object) -> None:
    """Somebody who is everywhere enters another address at RocketResponder."""
    notices(world)
    person(world, OLD, "Olga", "Old", **more)  # type: ignore[arg-type]
    world.settle(2)
    assert subscriber(world, OLD) == "Confirmed"
    world.wait(600)
    world.mail.person_changes_address("154", OLD, NEW)
    world.settle(2)
    world.wait(3600)


def test_an_address_that_gave_way_to_another_said_no_to_nothing(open_world):
    world = open_world()
    changing(world)
    before = marks(world)
    world.mail.confirm("154", NEW)
    assert [subscriber(world, email) for email in (OLD, NEW)] == ["Unsubscribed", "Confirmed"]
    world.settle(3)
    assert suppressed(world, "newsletter") == suppressed(world, "global") == set()
    assert operations(world, kind="unsubscribe") == []
    assert standing(world, OLD) == JOINED | {"mail": "Unsubscribed"}
    assert standing(world, NEW) == JOINED, "somebody who joined the list"
    (row,) = world.rows("SELECT * FROM rename")
    assert (row["identity"], row["successor"]) == (OLD, NEW)
    said = explain(world.app.context, OLD)
    assert said is not None
    (mail,) = [entry for entry in said["accounts"] if entry["account"] == "mail"]
    assert any(f"gave way to {NEW}" in sentence for sentence in mail["sentences"])
    world.wait(2 * 86_400)
    world.settle(2)
    assert operations(world, kind="unsubscribe") == []
    assert {name for name, _, _ in written(world, before)} <= {"rocs", "salesrocks"}
    world.rokt.person_unsubscribes(OLD)
    world.settle(2)
    assert member(world, OLD) == "unsubscribed", "a later no is one"
    assert standing(world, NEW) == JOINED


@pytest.mark.parametrize("somebody", ["nobody", "a stranger", "a namesake much later", "two of that name"])
def test_who_leaves_instead_of_confirming_said_no(open_small_world, somebody):
    world = open_small_world()
    changing(world)
    before = marks(world)
    world.mail.person_unsubscribes("154", OLD)
    if somebody != "nobody":
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
    changing(world)
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
    changing(world, lists=("L-1", "L-2"))
    unsubscribe(world.app.context, OLD, Scope("events"), source="operator", evidence="by phone")
    world.settle(2)
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()
    assert suppressed(world, "events") == {OLD, NEW}


def test_who_leaves_again_after_coming_back_to_the_old_address_said_no(open_small_world):
    world = open_small_world()
    changing(world)
    world.mail.confirm("154", NEW)
    world.settle(2)
    world.mail.person_joins_again("154", OLD)
    world.mail.confirm("154", OLD)
    world.settle(2)
    world.wait(600)
    world.mail.person_unsubscribes("154", OLD)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
