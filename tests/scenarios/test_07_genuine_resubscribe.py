"""7: who said no everywhere and confirms one list anew is left there, and stays suppressed everywhere else."""

from __future__ import annotations

from tests.scenes import (
    CID,
    LEFT,
    comes_back,
    command,
    contacts,
    explained,
    gone,
    marks,
    operations,
    plans,
    standing,
    suppressed,
    written,
)

OPENED = LEFT | {"mail": "Confirmed"}


def test_07_a_confirmation_after_the_no_exempts_its_own_cell_and_no_other(open_world):
    world = open_world()
    gone(world)
    done = operations(world, kind="unsubscribe", identity=CID)
    assert {row["account"]: row["state"] for row in done} == {
        "crm": "verified", "sales": "verified", "mail": "verified",
    }  # fmt: skip
    before = marks(world)
    comes_back(world)
    world.round()
    assert world.rows("SELECT * FROM exemption") == [], "seen once may be a replica that lags"
    assert written(world, before) == [], "and nothing is undone before it was seen twice"
    world.settle(3)
    (row,) = world.rows("SELECT * FROM exemption")
    assert (row["account"], row["container"], row["identity"], row["ended_seq"]) == ("mail", "154", CID, None)
    # The others stay as they are: nobody is subscribed anywhere because of it, and nothing is undone.
    for _ in range(2):
        assert standing(world, CID) == OPENED
        assert contacts(world, CID) == []
        assert written(world, before) == []
        assert suppressed(world, "global") == {CID}
        world.wait(300)
        assert world.round(full=True).planned.put == 0
    assert world.rows("SELECT * FROM claim") == plans(world) == world.rows("SELECT * FROM v_drift") == []
    # The evidence: two times by the provider's own clock, the later of them the confirmation.
    there = world.mail.subscribers["154", CID]
    assert there.confirm_time > there.unsub_time > 0
    told = {name: " ".join(entry["sentences"]) for name, entry in explained(world, CID).items()}
    evidence = f"confirmed at {there.confirm_time}, after the unsubscribe at {there.unsub_time}, by its own clock"
    assert f"list 154 exempt for {CID}: {evidence}." in told["mail"]
    assert "which is exempt" in told["mail"]
    assert not [name for name in ("crm", "sales", "leads") if "exempt" in told[name]]
    assert 'A "no" for everything reaches list L-1 (newsletter), and nobody can be mailed through it.' in told["crm"]
    assert evidence in command(world, "explain", CID).out
    status = command(world, "status", "--json")
    assert (status.code, status.data["converged"], status.data["claims"]) == (0, True, 0)
    assert status.data["reachable"] == 0, "who may be mailed there is not one who should not"
