"""Too much at once waits for a person; a person's own "no" never does."""

from __future__ import annotations

from syncd.domain.consent import Scope
from syncd.sync.approve import approve, reject
from syncd.sync.ingest import unsubscribe
from tests.scenes import (
    JOINED,
    LEFT,
    configured,
    contacts,
    member,
    memberships,
    operations,
    people,
    person,
    plans,
    standing,
    suppressed,
    without,
    written,
)
from tests.world import CONFIG, World

FOUR_MINUTES = 240.0
ONLY_SALES_AND_LEADS = without(CONFIG, 'crm = "L-1"', 'mail = "154"')


def agreed(world: World, count: int) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert plans(world) == []
    return emails


def test_more_additions_than_both_limits_wait_as_a_whole_and_everything_else_goes_on(open_small_world):
    world = open_small_world(max_count=2)
    gone, stays = agreed(world, 2)
    newcomers = [f"n{n}@example.org" for n in range(3)]
    for email in newcomers:
        person(world, email)
    world.rocs.unsubscribe_member("L-1", gone)
    world.sales.add_contact(world.sales_list, "sam@example.org", "Sam Sung")
    world.settle(2)
    held = {(row["account"], row["kind"], row["hold"], row["count"]) for row in plans(world)}
    # Sam makes four at RocketResponder, and is alone at ROCS, below the limit.
    assert held == {("sales", "subscribe", "guard", 3), ("mail", "subscribe", "guard", 4)}
    assert all(contacts(world, email) == [] for email in newcomers)
    assert standing(world, gone) == LEFT
    assert member(world, "sam@example.org") == "subscribed"
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == stays)
    world.rocs.edit_customer(customer, first_name="Anna")
    world.settle(2)
    assert contacts(world, stays)[0]["name"].startswith("Anna ")
    for row in plans(world):
        approve(world.app.context, row["id"])
    world.settle(2)
    assert [standing(world, email) for email in newcomers] == [JOINED] * 3
    assert plans(world) == []


def test_as_many_additions_as_the_count_allows_go(open_small_world):
    world = open_small_world(max_count=2)
    agreed(world, 2)
    for n in range(2):
        person(world, f"n{n}@example.org")
    world.settle(2)
    assert plans(world) == []
    assert standing(world, "n1@example.org") == JOINED


def test_as_many_additions_as_the_share_allows_go(open_small_world):
    world = open_small_world(max_count=2, config=configured(guard="max_share = 0.5"))
    agreed(world, 8)
    for n in range(4):
        person(world, f"n{n}@example.org")
    world.settle(2)
    assert plans(world) == []
    assert standing(world, "n3@example.org") == JOINED


def test_the_window_rolls_so_that_a_drip_is_held_too_and_lets_go_after_it(open_small_world):
    world = open_small_world(max_count=2)
    agreed(world, 2)
    world.wait(FOUR_MINUTES)
    for n in range(4):
        person(world, f"n{n}@example.org")
        world.round()
        world.wait(FOUR_MINUTES)
    assert len(contacts(world, "n1@example.org")) == 1
    assert contacts(world, "n2@example.org") == contacts(world, "n3@example.org") == []
    assert {row["hold"] for row in plans(world)} == {"guard"}
    reject(world.app.context, plans(world, account="sales")[0]["id"])
    reject(world.app.context, plans(world, account="mail")[0]["id"])
    world.wait(86_400)
    person(world, "next@example.org")
    world.settle(2)
    assert standing(world, "next@example.org") == JOINED


def test_a_hundred_people_who_say_no_at_once_are_never_held(open_world):
    world = open_world(max_count=2, config=ONLY_SALES_AND_LEADS)
    emails = [f"p{n}@example.org" for n in range(100)]
    for email in emails:
        world.sales.add_contact(world.sales_list, email, "Ann Bee")
    world.round()
    for email in emails:
        world.rokt.person_unsubscribes(email)
    world.round()
    assert plans(world) == []
    assert suppressed(world, "global") == set(emails)
    assert world.sales.contacts_of(world.sales_list) == []
    assert len([path for _, path, _ in written(world) if path.endswith("deleteListData")]) == 1


def flipped(world: World) -> list[str]:
    """Everybody agrees; then one listing of Sales.Rocks shows many as having left."""
    emails = agreed(world, 6)
    for email in emails[:4]:
        world.sales.set_field(world.sales_list, email, "status", "unsubscribed")
    world.wait(60)
    world.round()
    return emails


def test_a_listing_that_turned_many_is_believed_at_once_and_spreads_only_after_an_approval(open_world):
    world = open_world(max_count=3, on_unsubscribe="field")
    emails = flipped(world)
    assert suppressed(world, "newsletter") == set(emails[:4])
    assert [standing(world, email)["mail"] for email in emails] == ["Confirmed"] * 6
    assert [standing(world, email)["crm"] for email in emails] == ["subscribed"] * 6
    assert memberships(world, emails[0])["sales", world.sales_list] == "unsubscribed"
    assert {(row["account"], row["kind"], row["hold"], row["count"]) for row in plans(world)} == {
        (name, "unsubscribe", "mass", 4) for name in ("crm", "mail", "leads")
    }
    for row in plans(world):
        approve(world.app.context, row["id"])
    world.settle(2)
    for email in emails[:4]:
        assert standing(world, email) == LEFT | {"sales": ["unsubscribed"]}
    assert standing(world, emails[5]) == JOINED


def test_what_a_listing_turned_spreads_by_itself_after_the_time_to_look_at_it(open_small_world):
    world = open_small_world(max_count=3, on_unsubscribe="field")
    emails = flipped(world)
    world.wait(11 * 3600)
    world.round()
    assert standing(world, emails[0])["crm"] == "subscribed"
    world.wait(3600)
    world.round()
    for email in emails[:4]:
        assert standing(world, email) == LEFT | {"sales": ["unsubscribed"]}
    assert plans(world) == []


def test_while_they_wait_nobody_of_a_mass_flip_is_added_or_edited_anywhere(open_small_world):
    world = open_small_world(max_count=3, on_unsubscribe="field")
    emails = flipped(world)
    before = world.writes
    world.rocs.edit_customer(next(iter(world.rocs.customers)), first_name="Anna")
    world.wait(300)
    world.round()
    assert world.writes == before, emails
    assert operations(world, state="ready") == []


def test_somebody_of_a_mass_flip_who_says_so_elsewhere_too_does_not_wait_any_more(open_world):
    world = open_world(max_count=3, on_unsubscribe="field")
    emails = flipped(world)
    world.mail.person_unsubscribes("154", emails[0])
    unsubscribe(world.app.context, emails[1], Scope("newsletter"), source="operator", evidence="by phone")
    world.wait(60)
    world.round()
    for email in emails[:2]:
        assert standing(world, email) == LEFT | {"sales": ["unsubscribed"]}
    assert [standing(world, email)["crm"] for email in emails[2:]] == ["subscribed"] * 4
    assert {row["count"] for row in plans(world)} == {2}


def test_a_rejected_mass_flip_holds_nobody_back_who_says_so_afterwards(open_world):
    world = open_world(max_count=3, on_unsubscribe="field")
    emails = flipped(world)
    for row in plans(world):
        reject(world.app.context, row["id"])
    unsubscribe(world.app.context, emails[0], Scope("newsletter"), source="operator", evidence="by phone")
    world.wait(60)
    world.round()
    assert standing(world, emails[0]) == LEFT | {"sales": ["unsubscribed"]}
    assert [standing(world, email)["crm"] for email in emails[1:]] == ["subscribed"] * 5


def test_an_opt_out_that_was_only_inferred_waits_above_the_limits_until_somebody_says_it(open_world):
    world = open_world(max_count=3, on_absence="unsubscribe", config=configured(guard="max_share = 0.3"))
    emails = agreed(world, 7)
    for lost in (emails[:3], emails[3:6]):  # no listing alone loses more than the limits allow
        for email in lost:
            world.sales.remove_contact(world.sales_list, email)
        for _ in range(2):
            world.wait(60)
            world.round()
    assert [standing(world, email) for email in emails[:3]] == [LEFT] * 3
    assert {(row["account"], row["kind"], row["hold"], row["count"]) for row in plans(world)} == {
        (name, "unsubscribe", "guard", 3) for name in ("crm", "mail", "leads")
    }
    world.mail.person_unsubscribes("154", emails[3])
    world.wait(60)
    world.round()
    assert standing(world, emails[3]) == LEFT
    assert [standing(world, email)["crm"] for email in emails[4:]] == ["subscribed"] * 3
    for row in plans(world):
        approve(world.app.context, row["id"])
    world.settle(2)
    assert [standing(world, email) for email in emails] == [LEFT] * 6 + [JOINED]
