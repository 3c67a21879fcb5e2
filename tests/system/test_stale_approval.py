"""An approval covers what somebody saw: whatever moved since is named, and nothing of the plan goes."""

from __future__ import annotations

import pytest

from syncd.domain.errors import ApprovalError
from syncd.sync.approve import approve, look_at, reject
from tests.scenes import (
    JOINED,
    configured,
    contacts,
    people,
    person,
    plans,
    standing,
    subscriber,
)
from tests.world import World


def refused(world: World, plan_id: str, decide=approve) -> tuple[dict[str, str], str | None, str]:
    """What moved, by address; the id that it has now; and the sentence, which names nobody."""
    with pytest.raises(ApprovalError) as caught:
        decide(world.app.context, plan_id)
    error = caught.value
    assert "@" not in error.message
    return {entry["email"]: entry["what"] for entry in error.moved}, error.plan, error.message


def waiting(world: World) -> list[str]:
    """A first contact that waits; gives the addresses."""
    emails = list(people(world, 4))
    world.settle(2)
    return emails


def edit(world: World, email: str, **fields: str) -> None:
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == email)
    world.rocs.edit_customer(customer, **fields)


@pytest.mark.parametrize("decide", [approve, reject])
def test_whatever_moved_in_a_plan_since_it_was_shown_is_named(open_world, decide):
    world = open_world(first_sync="hold")
    emails = waiting(world)
    (seen,) = plans(world, account="sales")
    world.rocs.unsubscribe_member("L-1", emails[0])
    edit(world, emails[1], first_name="Anna")
    person(world, "late@example.org")
    world.wait(60)
    world.round()
    (now,) = plans(world, account="sales")
    moved, plan, message = refused(world, seen["id"], decide)
    assert moved == {emails[0]: "gone", emails[1]: "changed", "late@example.org": "added"}
    assert plan == now["id"]
    assert now["id"] in message
    world.settle(2)
    assert [contacts(world, email) for email in emails] == [[]] * 4
    assert subscriber(world, emails[0]) is None
    # What waits now can be decided about, and is what was seen.
    _, items = look_at(world.app.context, now["id"])
    assert {item.identity for item in items} == {*emails[1:], "late@example.org"}
    decide(world.app.context, now["id"])
    world.settle(2)
    assert len(contacts(world, emails[1])) == (decide is approve)


def test_a_record_read_anew_and_not_planned_yet_makes_an_approval_stale_too(open_world):
    world = open_world(first_sync="hold")
    emails = waiting(world)
    (seen,) = plans(world, account="sales")
    # They add themselves at the very place that the plan would write to, and that is read while nobody plans.
    world.sales.add_contact(world.sales_list, emails[0], "First0 Last0")
    world.rocs.unsubscribe_member("L-1", emails[1])
    read_only(world, "sales", "crm")
    moved, plan, _ = refused(world, seen["id"])
    assert moved == {emails[0]: "gone", emails[1]: "gone"}
    assert plan is not None
    world.round()
    assert plans(world, account="sales")[0]["id"] == plan, "it was foreseen"


def read_only(world: World, *names: str) -> None:
    """The reading of a round, broken off before anybody plans."""
    from syncd.sync.pull import pull
    from tests.virtual import run

    for name in names:
        run(world.loop, pull(world.app.context.lanes[name], world.app.context))


def test_only_what_moved_back_as_it_was_is_the_same_plan_again(open_small_world):
    world = open_small_world(first_sync="hold")
    waiting(world)
    (seen,) = plans(world, account="sales")
    person(world, "late@example.org")
    world.wait(60)
    world.round()
    world.rocs.unsubscribe_member("L-1", "late@example.org")
    world.wait(60)
    world.round()
    assert plans(world, account="sales")[0]["id"] == seen["id"]
    approve(world.app.context, seen["id"])


def test_an_approved_change_whose_record_is_read_anew_before_it_is_sent_waits_again(open_small_world):
    world = open_small_world(first_sync="hold", config=configured(sales='fields.phone = "phone"'))
    person(world, "ann@example.org", "Ann", "Bee")
    person(world, "bob@example.org")  # another plan waits there, so that first contact goes on
    world.sales.add_contact(world.sales_list, "ann@example.org", "Anna Bee")
    world.settle(2)
    (plan,) = plans(world, account="sales", kind="update")
    approve(world.app.context, plan["id"])
    world.sales.set_field(world.sales_list, "ann@example.org", "phone", "+4312345678")
    world.wait(60)
    world.round()
    assert contacts(world, "ann@example.org")[0]["name"] == "Anna Bee"
    assert plans(world, account="sales", kind="update")[0]["id"] != plan["id"]


def test_what_was_decided_says_so(open_small_world):
    world = open_small_world(first_sync="hold")
    emails = waiting(world)
    sales, mail = (plans(world, account=name)[0]["id"] for name in ("sales", "mail"))
    approve(world.app.context, sales)
    reject(world.app.context, mail)
    assert "was approved already" in refused(world, sales)[2]
    assert "was rejected already" in refused(world, mail)[2]
    assert "none did lately" in refused(world, "0123456789ab")[2]
    world.settle(2)
    assert standing(world, emails[0]) == JOINED | {"mail": None}


def test_a_loss_that_grew_names_both_sizes(open_small_world):
    world = open_small_world(max_count=1)
    emails = list(people(world, 6))
    world.settle(2)
    for email in emails[:3]:
        world.sales.remove_contact(world.sales_list, email)
    world.wait(300)
    world.round()
    (seen,) = plans(world)
    world.sales.remove_contact(world.sales_list, emails[3])
    world.wait(300)
    world.round()
    moved, plan, message = refused(world, seen["id"])
    assert (moved, plan) == ({}, plans(world)[0]["id"])
    assert "counted 3 and counts 2" in message
