"""12: an approval of what is not as it was any more is refused, and each no in it has gone out by itself."""

from __future__ import annotations

from tests.scenes import (
    LEFT,
    agreed,
    command,
    consent,
    marks,
    operations,
    plans,
    standing,
    suppressed,
    written,
)


def test_12_a_plan_in_which_one_cell_moved_is_refused_by_name_and_the_noes_in_it_are_out(open_world):
    world = open_world(max_count=3, on_unsubscribe="field")
    emails = agreed(world, 6)
    # Four that read unsubscribed at one place, all at once: as a program would do it, and more than the guard lets by.
    for email in emails[:4]:
        world.sales.set_field(world.sales_list, email, "status", "unsubscribed")
    world.wait(60)
    world.round()
    (seen,) = plans(world, account="crm")
    assert (seen["kind"], seen["hold"], seen["count"]) == ("unsubscribe", "mass", 4)
    # One of them says so, in so many words, elsewhere; and that is read before anybody decides.
    said_no = emails[0]
    world.mail.person_unsubscribes("154", said_no)
    world.wait(60)
    world.round()
    assert standing(world, said_no) == LEFT | {"sales": ["unsubscribed"]}, "it waited for nobody"
    before = marks(world)
    refused = command(world, "approve", seen["id"], "--json")
    assert refused.code == 4
    (now,) = plans(world, account="crm")
    error = refused.data["error"]
    assert error["plan"] == now["id"] != seen["id"]
    (moved,) = error["moved"]
    assert moved == {
        "email": said_no, "account": "crm", "remote_list": "L-1", "kind": "unsubscribe", "what": "gone",
    }  # fmt: skip
    assert now["id"] in error["message"]
    assert "@" not in error["message"], "whom it is about is told to the person who asks, and to no log"
    told = command(world, "approve", seen["id"])
    assert (told.code, said_no in told.out) == (4, True)
    # Nothing of it goes: the other three stand as they were, here and in every later round.
    world.settle(2)
    assert written(world, before) == []
    assert [standing(world, email)["crm"] for email in emails[1:4]] == ["subscribed"] * 3
    assert {row["identity"] for row in operations(world, account="crm", kind="unsubscribe")} == {said_no}
    assert suppressed(world, "newsletter") == set(emails[:4])
    assert consent(world, emails[5]) == [True]
    # What was looked at again, and has not moved since, goes.
    assert command(world, "approve", now["id"], "--json").code == 0
    world.settle(2)
    assert [standing(world, email)["crm"] for email in emails] == ["unsubscribed"] * 4 + ["subscribed"] * 2
