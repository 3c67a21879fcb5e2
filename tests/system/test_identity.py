"""Who is who: a "no" reaches every spelling of a mailbox, a "yes" only the one that said it."""

from __future__ import annotations

import pytest

from syncd.sync.ingest import unsubscribe
from syncd.sync.standing import standing as how_it_stands
from tests.scenes import (
    JOINED,
    LEFT,
    calls,
    contacts,
    marks,
    member,
    memberships,
    person,
    sent_to,
    standing,
    subscriber,
    suppressed,
    written,
)
from tests.world import World

CRM, SALES, MAIL = "Dora@Example.com", "dora@example.com", "dora+x@example.com"


def three_spellings(world: World) -> None:
    """One mailbox, spelt in three ways, each known to one provider."""
    person(world, CRM, "Dora", "Dee")
    world.sales.add_contact(world.sales_list, SALES, "Dora Dee")
    world.mail.add_subscriber("154", MAIL, "Dora Dee")
    world.settle(3)


def test_one_global_no_suppresses_every_spelling_at_the_provider_that_knows_it_as_it_knows_it(open_world):
    world = open_world()
    three_spellings(world)
    # RocketResponder lists nobody: it has to say of itself that it knows the third spelling.
    world.mail.webhook_urls["154", "open"] = "http://127.0.0.1:8480/in/mail/154/open/mail-hook"
    world.mail.open_mail("154", MAIL)
    world.settle(2)
    before = marks(world)
    world.rokt.person_unsubscribes("dora@example.com")
    world.settle(2)
    assert member(world, CRM) == "unsubscribed"
    assert [one.consent for one in world.rocs.customers.values()] == [False] * len(world.rocs.customers)
    assert contacts(world, SALES) == []
    assert subscriber(world, MAIL) == "Unsubscribed"
    assert not [
        row for row in world.sales.contacts_of(world.sales_list) if str(row["email"]).lower().startswith("dora")
    ]
    sent = {
        body.partition("email=")[2].partition("&")[0]
        for name, path, body in written(world, before)
        if name == "rocketresponder" and path.endswith("/unsubscribe")
    }
    assert "dora%2Bx%40example.com" in sent
    assert suppressed(world, "global") != set()
    assert [row["person"] for row in world.rows("SELECT person FROM v_consent WHERE scope = 'global'")] == [
        "dora@example.com"
    ]


def test_a_spelling_with_a_tag_that_says_no_ends_it_for_the_plain_one_too(open_small_world):
    world = open_small_world()
    person(world, CRM, "Dora", "Dee")
    world.settle(2)
    world.rokt.person_unsubscribes(MAIL)
    world.settle(2)
    assert member(world, CRM) == "unsubscribed"
    assert contacts(world, SALES) == []
    assert subscriber(world, SALES) == "Unsubscribed"


def test_providers_are_spoken_to_in_their_own_spelling(open_small_world):
    world = open_small_world()
    customer = person(world, CRM, "Dora", "Dee")
    world.sales.add_contact(world.sales_list, "DORA@example.com", "Dora Dee")
    world.mail.add_subscriber("154", "Dora@EXAMPLE.com", "Dora Dee")
    world.settle(2)
    assert len(world.rocs.customers) == len(world.mail.subscribers) == 1
    assert len(world.sales.contacts_of(world.sales_list)) == 1
    before = marks(world)
    unsubscribe(world.app.context, "dora@example.com", source="operator", evidence="by phone")
    world.settle(2)
    done = {(name, path.rpartition("/")[2]): body for name, path, body in written(world, before)}
    assert "email=Dora%40EXAMPLE.com" in done["rocketresponder", "unsubscribe"]
    assert ("rocs", customer) in done
    assert world.sales.contacts_of(world.sales_list) == []


def test_the_yes_of_one_spelling_subscribes_no_other(open_small_world):
    world = open_small_world()
    world.rocs.add_customer(CRM, "Dora", "Dee")  # known, and on no list
    world.sales.add_contact(world.sales_list, MAIL, "Dora Dee")
    world.settle(3)
    assert member(world, CRM) is None
    assert subscriber(world, SALES) is None
    assert standing(world, MAIL) == JOINED
    assert memberships(world, "dora@example.com") == {("crm", "*"): "subscribed"}


def test_two_customers_with_one_address_are_both_unsubscribed_and_neither_is_written_to(open_small_world):
    world = open_small_world()
    email = "twin@example.org"
    one = person(world, email, "Tim", "Twin")
    two = person(world, email.upper(), "Tom", "Twin")
    world.sales.add_contact(world.sales_list, email, "Tam Twin")
    world.settle(2)
    before = marks(world)
    world.sales.set_field(world.sales_list, email, "name", "Tem Twin")
    world.settle(3)
    assert [call for call in calls(world, before)["rocs"] if call.write] == []
    assert [world.rocs.customers[key].first_name for key in (one, two)] == ["Tim", "Tom"]
    assert {row["kind"] for row in world.rows("SELECT kind FROM v_drift")} == {"two records"}
    verdict, shown = how_it_stands(world.app.context, dict.fromkeys(world.app.context.lanes, 1e6))
    assert (verdict.condition.value, shown["ambiguous"]) == ("waits", 1)
    world.rokt.person_unsubscribes(email)
    world.settle(2)
    assert [world.rocs.customers[key].consent for key in (one, two)] == [False, False]
    assert [world.rocs.lists["L-1"].members[key].status for key in (one, two)] == ["unsubscribed"] * 2
    consent = [call for call in calls(world, before)["rocs"] if call.write and "/members/" not in call.path]
    assert sent_to(consent) == [{"emailConsent": False}] * 2
    assert contacts(world, email) == []


def test_a_record_that_goes_by_another_address_now_is_not_made_again_under_the_former_one(open_world):
    world = open_world()
    customer = person(world, "old@example.org", "Olga", "Old")
    world.settle(2)
    world.rocs.edit_customer(customer, email="new@example.org")
    world.settle(3)
    assert list(world.rocs.customers) == [customer]
    assert memberships(world, "new@example.org")["crm", "*"] == "subscribed"
    assert memberships(world, "old@example.org")["crm", "*"] == "removed"
    moved = JOINED | {"mail": "Unconfirmed"}  # they are asked there whether it is theirs
    assert standing(world, "new@example.org") == moved
    assert suppressed(world, "global") == suppressed(world, "newsletter") == set()
    world.rokt.person_unsubscribes("old@example.org")
    world.settle(2)
    assert contacts(world, "old@example.org") == contacts(world, "new@example.org") == []
    assert subscriber(world, "old@example.org") == "Unsubscribed"
    assert standing(world, "new@example.org") == LEFT | {"mail": "Unsubscribed"}, "whoever says no is not mailed"
    assert [one.consent for one in world.rocs.customers.values()] == [False]


@pytest.mark.parametrize("digest", ["sha256", "md5"])
def test_a_lead_known_by_digest_alone_is_kept_and_becomes_somebody_when_their_address_turns_up(open_world, digest):
    world = open_world()
    email = "hidden@example.org"
    world.rokt.send_lead(email, "Hilda", "Hid", hashed=digest)
    world.settle(2)
    (row,) = world.rows("SELECT identity, address FROM cell WHERE account = 'leads'")
    assert row["identity"] is None
    assert row["address"].startswith(f"{digest}:")
    assert written(world) == []
    assert world.rows("SELECT * FROM v_parked") == [], "nothing is wrong with it"
    person(world, "Hidden@Example.org", "Hilda", "Hid")
    world.settle(3)
    assert memberships(world, email)["leads", "*"] == "subscribed"
    world.rokt.send_lead(email, "Hilda", "Hid", hashed=digest, zipcode="1")
    world.settle(2)
    assert [row["identity"] for row in world.rows("SELECT identity FROM cell WHERE account = 'leads'")] == [email]
    world.rocs.withdraw_consent("Hidden@Example.org")
    world.settle(2)
    assert email in world.rokt.unsubscribed
    assert not [body for _, _, body in written(world) if f"{digest}:" in body]


def test_a_lead_by_digest_of_somebody_who_said_no_is_a_claim(open_small_world):
    world = open_small_world()
    email = "hidden@example.org"
    person(world, email, "Hilda", "Hid")
    world.settle(2)
    world.rocs.withdraw_consent(email)
    world.settle(2)
    world.rokt.send_lead(email, "Hilda", "Hid", hashed="sha256")
    world.settle(3)
    assert [row["identity"] for row in world.rows("SELECT identity FROM claim WHERE state = 'open'")] == [email]
    assert standing(world, email)["leads"] == "told"
    assert contacts(world, email) == []
