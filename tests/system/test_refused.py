"""Unsubscribes that a provider refuses: never given up while a record stands, and ended once none does."""

from __future__ import annotations

import json

import pytest

from syncd.reconcile.close import NOTHING_LEFT
from tests.scenes import LEFT, agreed, command, configured, consent, member, operations, person, standing
from tests.world import World

P0, MOVED = "p0@example.org", "p0.new@example.org"
FEW_TRIES = configured(push="attempts_max = 2")


def refused(world: World) -> str:
    """Somebody on the newsletter everywhere has said no, and ROCS cannot save their record; returns its id."""
    agreed(world, 2)
    key = next(one.id for one in world.rocs.customers.values() if one.email == P0)
    world.rocs.poison.add(key)
    world.rokt.person_unsubscribes(P0)
    rounds(world, 3)
    assert still_for(world) == {"*": [key], "L-1": [key]}
    assert command(world, "status", "--json").data["unsubscribes"]["refused"] == 2
    return key


def still_for(world: World) -> dict[str, list[str]]:
    """The records at ROCS that unsubscribes have yet to reach, by container."""
    waiting = operations(world, account="crm", state="ready", kind="unsubscribe", identity=P0)
    kept = {row["container"]: row["keys"] for row in waiting}
    return {place: json.loads(keys) if isinstance(keys, str) else keys for place, keys in kept.items()}


def rounds(world: World, count: int, full: bool = False) -> None:
    for _ in range(count):
        world.wait(3600)
        world.round(full=full)


def ended(world: World) -> None:
    """Nothing is open any more, every "no" has arrived, and nothing is tried at ROCS again."""
    assert still_for(world) == {}
    shown = command(world, "status", "--json").data
    assert [shown["unsubscribes"][count] for count in ("open", "overdue", "refused")] == [0, 0, 0]
    assert shown["converged"]
    before = world.writes
    rounds(world, 2, full=True)
    assert world.writes == before


def test_an_unsubscribe_whose_record_is_gone_is_not_tried_for_ever(open_world):
    world = open_world(config=FEW_TRIES)
    world.rocs.remove_customer(refused(world))
    rounds(world, 3, full=True)
    ended(world)
    reasons = {row["reason"] for row in operations(world, account="crm", state="superseded", identity=P0)}
    assert reasons == {NOTHING_LEFT}


def test_nor_is_one_where_what_still_stands_of_the_address_reads_as_asked(open_small_world):
    world = open_small_world(config=FEW_TRIES)
    double = person(world, P0)
    key = refused_both(world, double)
    world.rocs.remove_customer(key)
    rounds(world, 3, full=True)
    assert (consent(world, P0), member(world, P0)) == ([False], "unsubscribed")
    ended(world)


def refused_both(world: World, double: str) -> str:
    """One of their two records was written, and the other is refused; returns its id."""
    agreed_one = person(world, P0)
    world.settle(2)
    world.rocs.poison.add(agreed_one)
    world.rokt.person_unsubscribes(P0)
    rounds(world, 3)
    assert not world.rocs.customers[double].consent
    assert still_for(world).keys() == {"*", "L-1"}
    return agreed_one


def test_a_record_that_takes_the_place_of_a_refused_one_is_unsubscribed(open_small_world):
    world = open_small_world(config=FEW_TRIES)
    world.rocs.remove_customer(refused(world))
    person(world, P0)
    rounds(world, 4, full=True)
    assert (consent(world, P0), member(world, P0)) == ([False], "unsubscribed")
    assert standing(world, P0) == LEFT
    ended(world)


def test_one_is_not_given_up_while_a_record_that_can_be_mailed_is_refused(open_small_world):
    world = open_small_world(config=FEW_TRIES)
    double = person(world, P0)
    key = refused_both(world, double)
    world.rocs.remove_customer(double)
    rounds(world, 4, full=True)
    assert still_for(world) == {"*": [key], "L-1": [key]}, "and those that are gone are not tried again"
    world.rocs.poison.clear()
    rounds(world, 3)
    assert (consent(world, P0), member(world, P0)) == ([False], "unsubscribed")
    ended(world)


@pytest.mark.parametrize("stays", [False, True])
def test_a_refused_record_that_goes_by_another_address_meanwhile_is_unsubscribed_all_the_same(open_small_world, stays):
    world = open_small_world(config=FEW_TRIES)
    key = refused(world)
    world.rocs.edit_customer(key, email=MOVED)
    if stays:  # somebody else's record under the former address
        person(world, P0)
    rounds(world, 3, full=True)
    world.rocs.poison.clear()
    rounds(world, 4, full=True)
    assert not world.rocs.customers[key].consent
    assert not any(consent(world, P0))
    ended(world)
