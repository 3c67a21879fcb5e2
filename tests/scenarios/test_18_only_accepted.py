"""18: where a no cannot be read back it is called accepted, with the provider's receipt, and not verified."""

from __future__ import annotations

import re

import pytest

from syncd.sync.ingest import unsubscribe
from tests.scenes import DAY, LEFT, agreed, command, explained, operations, standing

FIRST, SLOW = 20.0, 40.0


def test_18_of_four_that_took_a_no_three_are_verified_and_rokt_has_only_accepted_it(open_world):
    # A no is a mark here, so that something is left to be read at Sales.Rocks too.
    world = open_world(on_unsubscribe="field")
    (email,) = agreed(world)
    world.rokt.send_lead(email, "First0", "Last0")
    world.settle(2)
    assert world.rokt.leads[email]
    # ROCS shows late what was written there.
    world.rocs.stale_for_s = SLOW
    unsubscribe(world.app.context, email, source="operator", evidence="by phone")
    # As long as nothing was sent every place has all of its time.
    waiting = command(world, "status", "--json").data["unsubscribes"]
    assert (waiting["within_s"], waiting["open"], waiting["overdue"]) == (2 * DAY, 5, 0)
    assert waiting["worst"]["time_left_s"] == 2 * DAY
    assert "unsubscribes: 5 not accepted yet; the first is due at" in command(world, "status").out
    world.wait(FIRST)
    world.round()
    assert standing(world, email) == LEFT | {"sales": ["unsubscribed"]}
    world.wait(2 * SLOW)
    world.settle(2)
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
    # The ledger: for each place how well it is known, how long that took, and what was left of the 48 hours.
    arrivals = {
        (row["account"], row["remote_list"]): row for account in told.values() for row in account["propagation"]
    }
    assert {place: row["grade"] for place, row in arrivals.items()} == {
        ("crm", "*"): "verified", ("crm", "L-1"): "verified", ("sales", world.sales_list): "verified",
        ("mail", "154"): "verified", ("leads", "*"): "accepted",
    }  # fmt: skip
    for (name, _), row in arrivals.items():
        assert row["accepted_after_s"] == pytest.approx(FIRST, abs=5), name
        assert row["time_left_s"] == pytest.approx(2 * DAY - row["accepted_after_s"], abs=0.01)
        assert (row["source"], row["overdue"]) == ("operator", False)
    assert arrivals["leads", "*"]["read_back_after_s"] is None
    assert arrivals["crm", "L-1"]["read_back_after_s"] > FIRST + SLOW > arrivals["mail", "154"]["read_back_after_s"]
    assert "accepted 20 s later, 172780 s before its deadline" in " ".join(told["leads"]["sentences"])
    # In `status` so for each target, Rokt's with the id that it gave.
    targets = {row["account"]: row for row in status.data["unsubscribes"]["targets"]}
    grades = ("verified", "accepted", "assumed", "unknown")
    assert {name: tuple(row[grade] for grade in grades) for name, row in targets.items()} == {
        "crm": (2, 0, 0, 0), "sales": (1, 0, 0, 0), "mail": (1, 0, 0, 0), "leads": (0, 1, 0, 0),
    }  # fmt: skip
    assert targets["leads"]["receipt"] == receipt
    for name, row in targets.items():
        mine = [arrival["accepted_after_s"] for (account, _), arrival in arrivals.items() if account == name]
        assert row["slowest_s"] == max(mine)
    assert (status.data["unsubscribes"]["open"], status.data["unsubscribes"]["worst"]) == (0, None)
    assert re.search(rf"leads +rokt +0 +1 +0 +0 +\S+ +{re.escape(receipt)}", command(world, "status").out)
