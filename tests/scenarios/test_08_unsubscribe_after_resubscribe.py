"""8: the next no of somebody who had come back to one list ends that, and reaches this list like any other."""

from __future__ import annotations

from tests.scenes import (
    CID,
    DAY,
    LEFT,
    calls,
    comes_back,
    command,
    explained,
    gone,
    marks,
    names_of,
    standing,
    suppressed,
    written,
)


def test_08_a_no_at_rokt_ends_the_exemption_and_the_list_is_unsubscribed_again_at_once(open_world):
    world = open_world()
    gone(world)
    comes_back(world)
    world.settle(3)
    assert standing(world, CID) == LEFT | {"mail": "Confirmed"}
    world.wait(DAY)  # the same day, the same delivery would be the same
    world.round()
    before = marks(world)
    world.rokt.person_unsubscribes(CID)
    world.round()
    # In the very round that learnt of it, without a second look and without a person.
    assert standing(world, CID) == LEFT
    (row,) = world.rows("SELECT * FROM exemption")
    assert row["ended_seq"] > row["granted_seq"]
    assert row["ended_by"] == "global"
    assert [(name, path.rpartition("/")[2]) for name, path, _ in written(world, before)] == [
        ("rocketresponder", "unsubscribe")
    ], "the others show it already"
    world.settle(2)
    assert names_of(calls(world, before)["rocketresponder"]).count("unsubscribe") == 1
    told = explained(world, CID)["mail"]
    latest = max(told["propagation"], key=lambda line: line["learnt_at"])
    assert (latest["grade"], latest["overdue"]) == ("verified", False)
    assert latest["accepted_after_s"] < 60
    assert latest["time_left_s"] > 2 * DAY - 60
    assert "ended at" in " ".join(told["sentences"])
    assert "by a no to everything" in " ".join(told["sentences"])
    assert suppressed(world, "global") == {CID}
    assert world.rows("SELECT * FROM v_outbox") == world.rows("SELECT * FROM claim") == []
    status = command(world, "status", "--json")
    assert (status.code, status.data["converged"]) == (0, True)
