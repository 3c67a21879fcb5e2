"""18: where a no cannot be read back it is called accepted, with the provider's receipt, and not verified."""

from __future__ import annotations

from syncd.sync.ingest import unsubscribe
from tests.scenes import LEFT, agreed, command, explained, operations, standing


def test_18_of_four_that_took_a_no_three_are_verified_and_rokt_has_only_accepted_it(open_world):
    # A no is a mark here, so that something is left to be read at Sales.Rocks too.
    world = open_world(on_unsubscribe="field")
    (email,) = agreed(world)
    world.rokt.send_lead(email, "First0", "Last0")
    world.settle(2)
    assert world.rokt.leads[email]
    unsubscribe(world.app.context, email, source="operator", evidence="by phone")
    world.round()
    assert standing(world, email) == LEFT | {"sales": ["unsubscribed"]}
    states = {row["account"]: row["state"] for row in operations(world, kind="unsubscribe")}
    assert states == {"crm": "verified", "sales": "verified", "mail": "verified", "leads": "done"}
    (receipt,) = world.rokt.receipts
    status = command(world, "status", "--json")
    assert status.code == 0
    # Two records at ROCS: the customer, and the place on the list.
    assert status.data["grades"] == {"verified": 4, "accepted": 1, "assumed": 0, "unknown": 0}
    assert (status.data["overdue"], status.data["reachable"]) == (0, 0)
    assert "4 verified, 1 accepted" in command(world, "status").out
    told = explained(world, email)
    for name in ("crm", "sales", "mail"):
        assert {row["grade"] for row in told[name]["seen"]} == {"verified"}
        assert "accepted and read back" in " ".join(told[name]["sentences"])
    assert {row["grade"] for row in told["leads"]["seen"]} == {"accepted"}
    assert told["leads"]["sent"][-1]["receipt"] == receipt
    assert f"cannot be read back there, receipt {receipt}" in " ".join(told["leads"]["sentences"])
