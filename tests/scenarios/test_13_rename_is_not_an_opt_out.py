"""13: an address that gave way to another of the same person said no to nothing; whoever does not confirm, left."""

from __future__ import annotations

from tests.scenes import (
    JOINED,
    LEFT,
    added,
    changes_address,
    explained,
    marks,
    member,
    operations,
    standing,
    subscriber,
    suppressed,
    written,
)

OLD, NEW = "olga@example.org", "olga.new@example.net"


def test_13_an_address_that_gave_way_to_a_confirmed_one_is_retired_and_no_no_goes_anywhere(open_world):
    world = open_world()
    changes_address(world, OLD, NEW)
    before = marks(world)
    world.mail.confirm("154", NEW)
    assert [subscriber(world, email) for email in (OLD, NEW)] == ["Unsubscribed", "Confirmed"]
    world.settle(3)
    assert suppressed(world, "newsletter") == suppressed(world, "global") == set()
    assert operations(world, kind="unsubscribe") == world.rows("SELECT * FROM consent_event") == []
    assert standing(world, OLD) == JOINED | {"mail": "Unsubscribed"}
    assert standing(world, NEW) == JOINED, "somebody who joined the list"
    (row,) = world.rows("SELECT * FROM rename")
    assert (row["identity"], row["successor"]) == (OLD, NEW)
    assert row["retired_at"] is not None
    assert f"gave way to {NEW}" in " ".join(explained(world, OLD)["mail"]["sentences"])
    # Nor later, when it is looked at again; and the old address is not put back where it was retired.
    world.wait(2 * 86_400)
    world.settle(2)
    assert operations(world, kind="unsubscribe") == []
    assert subscriber(world, OLD) == "Unsubscribed"
    assert {name for name, _, _ in written(world, before)} <= {"rocs", "salesrocks"}
    assert not [who for _, who in added(world, before) if who == OLD]
    assert "Nothing suppresses list L-1 (newsletter)." in explained(world, OLD)["crm"]["sentences"]
    world.rokt.person_unsubscribes(OLD)
    world.settle(2)
    assert member(world, OLD) == "unsubscribed", "a later no is one"
    assert standing(world, NEW) == LEFT, "and one of the address that they go by since"


def test_13_where_the_new_address_is_never_confirmed_it_was_a_no_and_goes_everywhere(open_world):
    world = open_world()
    changes_address(world, OLD, NEW)
    before = marks(world)
    world.mail.person_unsubscribes("154", OLD)
    assert subscriber(world, NEW) != "Confirmed"
    world.round()
    assert suppressed(world, "newsletter") == set(), "the new address may yet be seen"
    assert not [path for _, path, body in written(world, before) if OLD in body]
    world.wait(900)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
    assert standing(world, OLD) == LEFT
    assert added(world, before) == []
    done = operations(world, kind="unsubscribe", identity=OLD)
    assert {row["account"]: row["state"] for row in done} == {"crm": "verified", "sales": "verified", "leads": "done"}
