"""9: a list that suddenly answers with nobody on it is not believed, and stops nobody's no."""

from __future__ import annotations

from tests.scenes import (
    JOINED,
    LEFT,
    account,
    agreed,
    command,
    last_run,
    listing_hides,
    logged,
    marks,
    memberships,
    plans,
    standing,
    suppressed,
    written,
)

MANY = 8
"""They stand for forty thousand: that nobody is left counts, and not how many there were."""


def test_09_a_list_that_answers_with_no_rows_is_suspect_and_nothing_is_deleted_or_unsubscribed(open_world):
    # As if absence were an opt-out: there it could do the most harm.
    world = open_world(on_absence="unsubscribe")
    *emails, gone = agreed(world, MANY)
    before = marks(world)
    listing_hides(world, lambda _: True)
    world.rokt.person_unsubscribes(gone)
    with logged() as lines:
        for _ in range(3):
            world.wait(300)
            world.round(full=True)
    run = last_run(world, "sales")
    assert run["result"] == "partial"
    assert f"empty, where {MANY} were known" in run["reason"] or f"empty, where {MANY - 1} were known" in run["reason"]
    (alert,) = [line for line in lines if line["log_level"] in {"warning", "error"}]
    assert (alert["event"], alert["account"], alert["container"]) == ("listing.doubted", "sales", world.sales_list)
    (plan,) = plans(world)
    assert (plan["account"], plan["hold"]) == ("sales", "absence")
    assert command(world, "status", "--json").code == 4
    # Nobody else is touched, anywhere.
    assert {memberships(world, email)["sales", world.sales_list] for email in emails} == {"subscribed"}
    assert [standing(world, email) for email in emails] == [JOINED] * len(emails)
    assert suppressed(world, "newsletter") == set()
    assert suppressed(world, "global") == {gone}
    assert not any(email in body for _, _, body in written(world, before) for email in emails)
    # What somebody said elsewhere has gone everywhere meanwhile, to this very provider too.
    assert standing(world, gone) == LEFT
    # The list is back: so are we, by ourselves.
    listing_hides(world)
    world.wait(300)
    with logged() as lines:
        world.round()
        world.wait(300)
        world.round()
    assert [line["event"] for line in lines].count("listing.whole_again") == 1
    assert plans(world) == []
    assert account(world, "sales")["state"] == "ok"
    assert command(world, "status", "--json").code == 0
