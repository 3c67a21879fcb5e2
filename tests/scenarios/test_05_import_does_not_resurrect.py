"""5: who said no and is imported again at one provider is taken away there again, and nowhere subscribed."""

from __future__ import annotations

import pytest

from tests.scenes import LEFT, added, agreed, command, contacts, marks, standing, suppressed, written
from tests.world import World


@pytest.fixture(params=["remove", "field"])
def world_after(request, open_world) -> tuple[World, str]:
    """Bob, who said no at Rokt, and of whom everybody knows it."""
    world = open_world(on_unsubscribe=request.param)
    (bob,) = agreed(world)
    world.rokt.person_unsubscribes(bob)
    world.settle(2)
    assert standing(world, bob) == LEFT | ({"sales": ["unsubscribed"]} if request.param == "field" else {})
    world.wait(300)
    return world, request.param


def test_05_an_import_is_undone_a_claim_is_held_and_nobody_is_subscribed(world_after):
    world, representation = world_after
    (bob,) = suppressed(world, "global")
    before = marks(world)
    if representation == "remove":
        world.sales.add_contact(world.sales_list, bob, "Bob Bee", status="subscribed")
    else:
        world.sales.set_field(world.sales_list, bob, "status", "subscribed")
    for _ in range(4):
        world.round()
        world.wait(60)
    assert [row["status"] for row in contacts(world, bob)] == ([] if representation == "remove" else ["unsubscribed"])
    assert added(world, before) == []
    assert {name for name, _, _ in written(world, before)} == {"salesrocks"}
    assert standing(world, bob)["crm"] == "unsubscribed"
    assert standing(world, bob)["mail"] == "Unsubscribed"
    assert suppressed(world, "global") == {bob}
    # A record that said no and reads subscribed is a claim; without evidence it waits, whatever becomes of the record.
    claims = world.rows("SELECT account, identity, state FROM claim")
    if representation == "field":
        assert [dict(row) for row in claims] == [{"account": "sales", "identity": bob, "state": "open"}]
        status = command(world, "status", "--json")
        assert (status.code, status.data["claims"]) == (4, 1)
    assert {row["state"] for row in claims} <= {"open"}
