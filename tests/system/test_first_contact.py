"""With an account that was never agreed with, nobody is added before a person has looked; a "no" does not wait."""

from __future__ import annotations

import pytest

from syncd.domain.errors import ApprovalError
from syncd.sync.approve import approve, reject
from syncd.sync.steer import pause
from tests.scenes import JOINED, account, contacts, people, person, plans, standing, subscriber, written
from tests.world import World


def held_everywhere(world: World) -> list[str]:
    """Three people at ROCS, of whom one has left there and is on the lists elsewhere."""
    emails = list(people(world, 3))
    world.rocs.unsubscribe_member("L-1", emails[2])
    world.sales.add_contact(world.sales_list, emails[2], "First2 Last2")
    world.mail.add_subscriber("154", emails[2], "First2 Last2")
    world.settle(2)
    return emails


def test_a_no_goes_out_at_once_and_additions_wait_in_plans_with_ids(open_world):
    world = open_world(first_sync="hold")
    _, _, gone = held_everywhere(world)
    assert contacts(world, gone) == []
    assert subscriber(world, gone) == "Unsubscribed"
    assert gone in world.rokt.unsubscribed
    assert not [path for _, path, _ in written(world) if path.endswith(("/addToList", "/subscribe"))]
    waiting = {(row["account"], row["kind"], row["hold"]): row["count"] for row in plans(world)}
    assert waiting == {("mail", "subscribe", "first-contact"): 2, ("sales", "subscribe", "first-contact"): 2}
    assert len({row["id"] for row in plans(world)}) == 2
    assert not account(world, "sales")["joined"]


def test_an_approval_lets_exactly_those_go_that_were_in_the_plan(open_world):
    world = open_world(first_sync="hold")
    one, two, _ = held_everywhere(world)
    (plan,) = plans(world, account="sales")
    approve(world.app.context, plan["id"])
    person(world, "late@example.org")
    world.settle(2)
    assert [len(contacts(world, email)) for email in (one, two)] == [1, 1]
    assert [subscriber(world, email) for email in (one, two)] == [None, None], "another account, another plan"
    assert subscriber(world, "late@example.org") is None
    approve(world.app.context, plans(world, account="mail")[0]["id"])
    world.settle(2)
    assert standing(world, one) == standing(world, two) == JOINED
    assert plans(world) == []
    # First contact is over: whoever joins from now on passes.
    person(world, "later@example.org")
    world.settle(2)
    assert standing(world, "later@example.org") == JOINED


def test_a_plan_whose_content_moved_has_another_id_and_the_old_one_is_refused(open_small_world):
    world = open_small_world(first_sync="hold")
    held_everywhere(world)
    (seen,) = plans(world, account="sales")
    person(world, "late@example.org")
    world.wait(300)
    world.round()
    (now,) = plans(world, account="sales")
    assert now["id"] != seen["id"]
    assert now["count"] == 3
    with pytest.raises(ApprovalError, match="another id"):
        approve(world.app.context, seen["id"])
    world.round()
    assert contacts(world, "late@example.org") == []


def test_an_edit_of_somebody_in_a_plan_changes_its_id_too(open_small_world):
    world = open_small_world(first_sync="hold")
    held_everywhere(world)
    (seen,) = plans(world, account="sales")
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == "p0@example.org")
    world.rocs.edit_customer(customer, first_name="Anna")
    world.wait(300)
    world.round()
    assert plans(world, account="sales")[0]["id"] != seen["id"]


def test_a_rejected_plan_is_not_asked_again_and_nobody_of_it_is_added(open_small_world):
    world = open_small_world(first_sync="hold")
    one, two, _ = held_everywhere(world)
    reject(world.app.context, plans(world, account="sales")[0]["id"])
    for _ in range(3):
        world.wait(300)
        world.round()
    assert plans(world, account="sales") == []
    assert contacts(world, one) == contacts(world, two) == []


def test_a_rejected_addition_is_not_asked_again_though_the_person_is_called_otherwise(open_small_world):
    world = open_small_world(first_sync="hold")
    customer = person(world, "ann@example.org", "Ann", "Bee")
    world.settle(2)
    for row in plans(world):
        reject(world.app.context, row["id"])
    world.settle(2)
    world.rocs.edit_customer(customer, last_name="Dee")
    world.settle(2)
    assert plans(world) == []
    assert subscriber(world, "ann@example.org") is None


def test_somebody_who_says_no_while_the_plan_waits_leaves_it(open_small_world):
    world = open_small_world(first_sync="hold")
    one, two, _ = held_everywhere(world)
    world.rocs.unsubscribe_member("L-1", one)
    world.wait(60)
    world.round()
    (plan,) = plans(world, account="sales")
    assert plan["count"] == 1
    approve(world.app.context, plan["id"])
    world.settle(2)
    assert contacts(world, one) == []
    assert len(contacts(world, two)) == 1


def test_allowed_to_go_a_first_contact_passes_even_above_the_limits_of_the_guard(open_small_world):
    world = open_small_world(first_sync="go", max_count=2)
    emails = list(people(world, 5))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * 5
    assert plans(world) == []
    assert all(account(world, name)["joined"] for name in ("crm", "sales", "mail", "leads"))


def test_first_contact_does_not_end_before_the_others_are_met(open_small_world):
    world = open_small_world(first_sync="hold")
    emails = list(people(world, 3))
    world.round(["mail", "leads"])
    assert not account(world, "mail")["joined"], "nobody was there yet to be compared with"
    world.settle(2)
    assert [subscriber(world, email) for email in emails] == [None] * 3
    assert {(row["account"], row["hold"]) for row in plans(world)} == {
        ("mail", "first-contact"),
        ("sales", "first-contact"),
    }


def test_an_account_that_a_person_paused_keeps_nobody_waiting(open_small_world):
    world = open_small_world(first_sync="go")
    pause(world.app.context, "sales")
    world.settle(2)
    assert account(world, "mail")["joined"]
    assert not account(world, "sales")["joined"]
