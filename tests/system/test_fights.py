"""A program that subscribes people again as often as we undo it: the "no" holds, and somebody is told."""

from __future__ import annotations

from syncd.domain.identity import Identity
from syncd.sync.approve import reject
from syncd.sync.explain import explain
from syncd.sync.standing import standing as how_it_stands
from tests.scenes import LEFT, configured, contacts, member, operations, person, standing
from tests.world import World

EVE = Identity("eve@example.org")
FOUGHT = "somebody else subscribes them again as often as it is undone"


def gone(world: World) -> str:
    customer = person(world, EVE, "Eve", "Eel")
    world.settle(2)
    world.rokt.person_unsubscribes(EVE)
    world.settle(2)
    assert standing(world, EVE) == LEFT
    world.wait(600)
    return customer


def drift(world: World) -> list[tuple[str, str]]:
    return [(row["kind"], row["account"]) for row in world.rows("SELECT kind, account FROM v_drift ORDER BY kind")]


def flap(world: World, customer: str) -> None:
    """Subscribed again at ROCS, and seen twice."""
    world.rocs.add_member("L-1", customer)
    world.settle(3)
    world.wait(600)


def test_a_program_that_never_gives_in_becomes_one_thing_to_decide_and_unsubscribes_go_on(open_world):
    world = open_world()
    customer = gone(world)
    for number in range(1, 6):
        flap(world, customer)
        assert drift(world) == [("claim" if number < 3 else "fight", "crm")], number
        assert member(world, EVE) == "unsubscribed", "it is undone every time"
    assert len(operations(world, account="crm", container="L-1", kind="unsubscribe")) == 6
    verdict, _ = how_it_stands(world.app.context, dict.fromkeys(world.app.context.lanes, 1e6))
    assert verdict.condition.value == "waits"
    said = explain(world.app.context, EVE)
    assert said is not None
    (crm,) = [entry for entry in said["accounts"] if entry["account"] == "crm"]
    assert any(FOUGHT in sentence and "5 times" in sentence for sentence in crm["sentences"])


def test_rows_that_are_made_anew_are_a_fight_too(open_small_world):
    """Where a "no" takes the row away there is no record that reads otherwise: only ever a new one."""
    world = open_small_world()
    gone(world)
    for _ in range(3):
        assert drift(world) == []
        world.sales.add_contact(world.sales_list, EVE, "Eve Eel")
        world.settle(3)
        assert contacts(world, EVE) == []
    assert drift(world) == [("fight", "sales")]


def test_a_fight_that_a_person_dismissed_comes_back_with_the_next_flap_only(open_small_world):
    world = open_small_world(config=configured(guard="flaps_max = 1"))
    customer = gone(world)
    flap(world, customer)
    (claim,) = world.rows("SELECT id FROM claim WHERE state = 'open'")
    reject(world.app.context, claim["id"])
    world.settle(3)
    assert drift(world) == []
    flap(world, customer)
    assert drift(world) == [("fight", "crm")]


def test_flaps_long_ago_are_no_fight(open_small_world):
    world = open_small_world()
    customer = gone(world)
    for _ in range(4):
        flap(world, customer)
        world.wait(86_400)
    assert drift(world) == [("claim", "crm")]


def test_in_a_fight_a_record_is_unsubscribed_no_faster_than_the_provider_settles(open_small_world):
    world = open_small_world(config=configured(guard="flaps_max = 1"))
    gone(world)
    before = len(operations(world, account="sales", kind="unsubscribe"))
    for _ in range(20):
        world.sales.add_contact(world.sales_list, EVE, "Eve Eel") if not contacts(world, EVE) else None
        world.round()
        world.wait(5)
    sent = len(operations(world, account="sales", kind="unsubscribe")) - before
    assert 2 <= sent <= 1 + 100 // 30
    world.settle(3)
    assert contacts(world, EVE) == []
