"""19: a provider that refuses our credentials for a night: said once, waited for, and made good by itself."""

from __future__ import annotations

from tests.scenes import JOINED, LEFT, account, agreed, calls, command, logged, marks, operations, person, standing

NIGHT = 8 * 3600
EVERY = 1800


def test_19_a_night_without_credentials_is_one_alert_no_attempts_and_one_notice_when_it_is_over(open_world):
    world = open_world()
    stays, leaves = agreed(world, 2)
    world.sales.password = "renewed"
    world.sales.revoke_tokens()
    with logged() as night:
        for hour in range(NIGHT // EVERY):
            if hour == 4:
                world.rokt.person_unsubscribes(leaves)
                person(world, "new@example.org", "New", "Comer")
            world.wait(EVERY)
            world.round()
    (alert,) = [line for line in night if line["log_level"] in {"warning", "error", "critical"}]
    assert (alert["event"], alert["account"], alert["error"]) == ("account.failed", "sales", "UnauthorisedError")
    assert "sales-secret" not in str(night)
    assert stays not in str(night)
    row = account(world, "sales")
    assert (row["state"], row["failures"]) == ("quarantined", NIGHT // EVERY)
    # Its age, and nothing else, is what is wrong; the others were read all night.
    status = command(world, "status", "--json")
    assert (status.code, status.data["condition"]) == (7, "unreachable")
    assert [one["name"] for one in status.data["accounts"] if one["stale"]] == ["sales"]
    assert status.data["overdue"] == status.data["held"] == status.data["claims"] == 0
    assert {one["name"]: one["parked"] for one in status.data["accounts"]} == dict.fromkeys(world.app.context.lanes, 0)
    assert standing(world, leaves) == LEFT | {"sales": ["listed"]}
    # No record paid for it: what waits was never tried, and only the login was.
    waiting = operations(world, account="sales", state="ready")
    assert {row["kind"] for row in waiting} == {"unsubscribe", "subscribe"}
    assert {row["attempts"] for row in waiting} == {0}
    # Morning: the credentials hold again.
    world.sales.password = "sales-secret"
    before = marks(world)
    world.wait(EVERY)
    with logged() as morning:
        for _ in range(3):
            world.round()
            world.wait(60)
    assert [line["event"] for line in morning].count("account.recovered") == 1
    assert not [line for line in morning if line["log_level"] in {"warning", "error", "critical"}]
    assert standing(world, leaves) == LEFT
    assert standing(world, stays) == standing(world, "new@example.org") == JOINED
    assert [call.path.rpartition("/")[2] for call in calls(world, before)["salesrocks"]].count("accessToken") == 1
    status = command(world, "status", "--json")
    assert (status.code, status.data["converged"]) == (0, True)
