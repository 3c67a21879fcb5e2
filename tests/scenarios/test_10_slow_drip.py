"""10: losses that are small in each run are held once they add up to too much within the window."""

from __future__ import annotations

from tests.scenes import command, configured, last_run, member, memberships, people, plans, suppressed, without
from tests.world import CONFIG

MEMBERS, LOST, RUNS = 34, 1, 10
TWO_SIDES = configured(without(CONFIG, 'mail = "154"', 'leads = "*"'), guard="max_share = 0.05")


def test_10_removals_are_held_when_the_window_is_over_the_limit_although_no_single_run_was(open_world):
    world = open_world(config=TWO_SIDES, max_count=0, on_absence="unsubscribe")
    emails = list(people(world, MEMBERS))
    world.settle(2)
    went: list[int] = []
    for run in range(RUNS):
        for email in emails[run * LOST : (run + 1) * LOST]:
            world.sales.remove_contact(world.sales_list, email)
        world.wait(300)
        assert world.round().failed == []
        assert last_run(world, "sales")["result"] == "success", "three in a hundred are no reason for doubt"
        went.append(sum(member(world, email) == "unsubscribed" for email in emails))
    # Somebody counts as gone after the second listing without them.
    assert went == [0] + [LOST] * (RUNS - 1), "three in a hundred went, and six would be more than five"
    held = {(row["account"], row["kind"], row["hold"], row["count"]) for row in plans(world)}
    assert held == {("crm", "unsubscribe", "guard", (RUNS - 2) * LOST)}
    assert len(suppressed(world, "newsletter")) == (RUNS - 1) * LOST, "they are believed; others are not told"
    assert command(world, "status", "--json").code == 4
    # Whoever says so does not wait, though many do.
    one = next(email for email in emails[LOST:] if memberships(world, email)["sales", world.sales_list] == "removed")
    world.rokt.person_unsubscribes(one)
    world.wait(300)
    world.round()
    assert [email for email in emails if member(world, email) == "unsubscribed"] == [*emails[:LOST], one]
