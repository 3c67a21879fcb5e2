"""Not being listed is not a "no", and a listing that lost very many is not believed at all."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from syncd.sync.approve import approve
from tests.scenes import (
    JOINED,
    LEFT,
    account,
    calls,
    configured,
    contacts,
    last_run,
    listing_hides,
    marks,
    member,
    memberships,
    names_of,
    people,
    person,
    plans,
    standing,
    suppressed,
    written,
)
from tests.world import World

ABSENCE = pytest.mark.parametrize("on_absence", ["ignore", "unsubscribe"])


def agreed(world: World, count: int) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


@ABSENCE
def test_an_empty_list_where_many_were_known_is_held_and_nothing_follows_but_what_others_say(
    open_small_world, on_absence
):
    world = open_small_world(on_absence=on_absence)
    emails = agreed(world, 5)
    listing_hides(world, lambda _: True)
    before = marks(world)
    world.rokt.person_unsubscribes(emails[4])
    for _ in range(3):
        world.wait(300)
        world.round()
    assert last_run(world, "sales")["result"] == "partial"
    assert "empty, where " in last_run(world, "sales")["reason"]
    (plan,) = plans(world)
    assert (plan["account"], plan["hold"], plan["kind"]) == ("sales", "absence", "absence")
    assert "empty" in plan["reason"]
    assert suppressed(world, "newsletter") == set()
    assert {memberships(world, email)["sales", world.sales_list] for email in emails[:4]} == {"subscribed"}
    assert standing(world, emails[4])["mail"] == "Unsubscribed"
    assert standing(world, emails[4])["crm"] == "unsubscribed"
    touched = {body for name, _, body in written(world, before) if name != "salesrocks"}
    assert all(not any(email.split("@")[0] in body for email in emails[:4]) for body in touched)
    # The list comes back, and all is as it was.
    listing_hides(world)
    world.settle(2)
    assert plans(world) == []
    assert last_run(world, "sales")["result"] == "success"
    assert [standing(world, email) for email in emails[:4]] == [JOINED] * 4
    assert standing(world, emails[4]) == LEFT


def test_a_partial_loss_above_the_guard_is_held_until_a_person_accepts_the_smaller_size(open_world):
    world = open_world(max_count=2, on_absence="ignore")
    emails = agreed(world, 6)
    for email in emails[:3]:
        world.sales.remove_contact(world.sales_list, email)
    for _ in range(3):
        world.wait(300)
        world.round()
    (plan,) = plans(world)
    assert (plan["hold"], plan["reason"]) == ("absence", "3 of 6 are gone at once")
    assert {memberships(world, email)["sales", world.sales_list] for email in emails} == {"subscribed"}
    approve(world.app.context, plan["id"])
    for _ in range(2):
        world.wait(300)
        world.round()
    assert plans(world) == []
    assert [memberships(world, email)["sales", world.sales_list] for email in emails] == ["removed"] * 3 + [
        "subscribed"
    ] * 3
    assert [standing(world, email)["crm"] for email in emails] == ["subscribed"] * 6


def test_a_slow_drip_of_losses_is_held_once_it_adds_up_within_the_window(open_small_world):
    world = open_small_world(max_count=3, on_absence="unsubscribe")
    emails = agreed(world, 9)
    for start in range(0, 8, 2):
        for email in emails[start : start + 2]:
            world.sales.remove_contact(world.sales_list, email)
        for _ in range(2):
            world.wait(300)
            world.round()
    left = [email for email in emails if standing(world, email)["crm"] == "unsubscribed"]
    assert len(left) <= 3, "no single listing lost more than the limit, and together they did"
    assert "guard" in {row["hold"] for row in plans(world)} or "absence" in {row["hold"] for row in plans(world)}


@ABSENCE
def test_somebody_whom_a_listing_missed_because_rows_shifted_is_not_absent(open_small_world, on_absence):
    world = open_small_world(on_absence=on_absence, config=configured(sales="page_size = 2"))
    emails = agreed(world, 6)
    before = world.writes
    for _ in range(3):
        # Once a listing does not show them, the next one does.
        listing_hides(world, emails[3].__eq__)
        world.wait(300)
        world.round()
        listing_hides(world)
        world.wait(300)
        world.round()
    assert world.writes == before
    assert [standing(world, email) for email in emails] == [JOINED] * 6
    assert {memberships(world, email)["sales", world.sales_list] for email in emails} == {"subscribed"}
    assert suppressed(world, "newsletter") == set()


def test_somebody_whom_two_listings_missed_and_who_is_there_when_asked_for_is_not_absent(open_small_world):
    world = open_small_world(on_absence="unsubscribe", config=configured(sales="page_size = 2"))
    emails = agreed(world, 6)
    missed = emails[3]
    listing_hides(world, missed.__eq__)
    before = world.writes
    for _ in range(4):
        world.wait(300)
        world.round()
    assert "getContact" in names_of(calls(world)["salesrocks"])
    assert world.writes == before
    assert memberships(world, missed)["sales", world.sales_list] == "subscribed"
    assert suppressed(world, "newsletter") == set()


def test_somebody_gone_for_good_is_removed_and_neither_added_again_nor_unsubscribed_elsewhere(open_world):
    world = open_world(on_absence="ignore")
    gone, _, _ = agreed(world, 3)
    world.sales.remove_contact(world.sales_list, gone)
    before = world.writes
    for _ in range(4):
        world.wait(300)
        world.round()
    world.round(full=True)
    assert memberships(world, gone)["sales", world.sales_list] == "removed"
    assert world.writes == before
    assert standing(world, gone) == JOINED | {"sales": []}
    assert suppressed(world, "newsletter") == set()


def test_somebody_who_comes_back_under_another_id_is_one_person_on_the_list_again(open_world):
    world = open_world(on_absence="ignore")
    email, _ = agreed(world, 2)
    world.sales.remove_contact(world.sales_list, email)
    for _ in range(2):
        world.wait(300)
        world.round()
    world.sales.add_contact(world.sales_list, email, "First0 Last0")
    before = world.writes
    world.settle(3)
    assert world.writes == before
    rows = world.rows(
        "SELECT key, status FROM cell WHERE account = 'sales' AND identity = :email ORDER BY status", email=email
    )
    assert [row["status"] for row in rows] == ["removed", "subscribed"]
    assert standing(world, email) == JOINED
    world.rocs.unsubscribe_member("L-1", email)
    world.round()
    assert contacts(world, email) == []


def test_a_customer_deleted_at_rocs_is_no_unsubscribe_and_is_not_made_again(open_small_world):
    world = open_small_world()
    email, other = agreed(world, 2)
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == email)
    world.rocs.remove_customer(customer)
    before = world.writes
    for _ in range(3):
        world.wait(300)
        world.round(full=True)
    assert world.writes == before
    assert member(world, email) is None
    assert memberships(world, email)["crm", "*"] == "removed"
    assert standing(world, email) | {"crm": None} == JOINED | {"crm": None}
    assert suppressed(world, "global") == suppressed(world, "newsletter") == set()
    assert standing(world, other) == JOINED


def test_a_list_that_the_account_does_not_show_any_more_removes_nobody(open_small_world):
    world = open_small_world(on_absence="unsubscribe")
    emails = agreed(world, 3)
    entry = world.sales.lists.pop(world.sales_list)
    before = world.writes
    for _ in range(3):
        world.wait(300)
        world.round()
    assert world.writes == before
    assert {memberships(world, email)["sales", world.sales_list] for email in emails} == {"subscribed"}
    world.sales.lists[world.sales_list] = entry
    world.settle(2)
    assert last_run(world, "sales")["result"] == "success"
    assert account(world, "sales")["state"] == "ok"
    person(world, "new@example.org")
    world.settle(2)
    assert standing(world, "new@example.org") == JOINED


def evidence(world: World) -> Any:
    (row,) = world.rows("SELECT rests_on FROM v_lists WHERE account = 'sales' AND list = 'newsletter'")
    return json.loads(row["rests_on"])


def first_pages(world: World, since: dict[str, int]) -> int:
    bodies = [json.loads(call.body) for call in calls(world, since)["salesrocks"] if call.path.endswith("/getListData")]
    return sum(body.get("page") == 1 for body in bodies)


def test_the_first_page_is_read_once_more_only_when_somebody_is_missing(open_world):
    world = open_world(on_absence="ignore", config=configured(sales="page_size = 2"))
    emails = agreed(world, 5)
    since = marks(world)
    world.wait(300)
    world.round()
    assert first_pages(world, since) == 1
    assert (evidence(world)["missing"], evidence(world)["first_page_same"]) == (0, None)
    world.sales.remove_contact(world.sales_list, emails[4])
    since = marks(world)
    world.wait(300)
    world.round()
    assert first_pages(world, since) == 2
    found = evidence(world)
    assert (found["rows"], found["expected"], found["missing"], found["first_page_same"]) == (4, 5, 1, True)


def test_nobody_is_missing_from_a_listing_whose_first_page_moved_meanwhile(open_small_world):
    world = open_small_world(on_absence="ignore", config=configured(sales="page_size = 2"))
    emails = agreed(world, 6)
    # Each listing misses one for good, and somebody joins at the top before it is over.
    newest = type(world.sales)._rows
    reads = itertools.count(1)

    def rows(entry):
        listed = [row for row in newest(world.sales, entry) if row[1].get("email") != emails[3]]
        return listed[1:] + listed[:1] if next(reads) % 4 == 0 else listed  # three pages, and the first once more

    world.sales._rows = rows
    since = marks(world)
    for _ in range(3):
        world.wait(300)
        world.round()
    assert evidence(world)["first_page_same"] is False
    assert "first page changed" in last_run(world, "sales")["reason"]
    assert plans(world) == [], "no person is asked: the next listing is compared anew"
    assert world.rows("SELECT key FROM cell WHERE missing_count > 0") == []
    assert "getContact" not in names_of(calls(world, since)["salesrocks"])
    listing_hides(world)
    world.settle(2)
    assert last_run(world, "sales")["result"] == "success"
