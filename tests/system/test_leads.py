"""Leads from the sender to the mirror: whatever they look like, whichever campaign they come from, or only a test."""

from __future__ import annotations

import hashlib
import json

import pytest

from syncd.domain.errors import DeliveryError
from syncd.emulators.emulator import Fault, FaultKind
from tests.scenes import (
    DAY,
    QUERY_API,
    TWO_LISTS,
    command,
    configured,
    contacts,
    member,
    memberships,
    standing,
    values,
    with_two_lists,
)
from tests.world import CONFIG, World

BIG = "9007199254740993"  # 2^53 + 1, the first whole number that a float cannot hold
BY_CAMPAIGN = TWO_LISTS.replace('leads = "*"', 'leads = "77"')


def by_campaign(open_world, **given):
    return with_two_lists(open_world(config=BY_CAMPAIGN, **given))


def lead_fields(world: World, email: str) -> dict[str, str]:
    (row,) = world.rows("SELECT fields FROM cell WHERE account = 'leads' AND identity = :email", email=email)
    found: dict[str, str] = json.loads(row["fields"])
    return found


def parked(world: World) -> list[str]:
    return [row["email"] for row in world.rows("SELECT email FROM v_parked WHERE what = 'lead' ORDER BY email")]


def nothing_came_of_it(world: World) -> bool:
    tables = ("cell", "person", "consent_event", "op", "inbox", "agenda", "plan_item", "lookup")
    return all(values(world, table) == 0 for table in tables)


# What they look like -------------------------------------------------------------------------------------------------


@pytest.mark.quirk("rokt-ids-exceed-doubles")
def test_a_campaign_above_2_to_the_53_is_the_same_campaign_as_text_and_as_number(open_small_world):
    world = open_small_world(config=CONFIG.replace('leads = "*"', f'leads = "{BIG}"'))
    for name, spelt in (("ann", int(BIG)), ("bob", BIG)):
        world.rokt.send_lead(f"{name}@example.org", campaign_id=spelt)
    world.settle(2)
    for name in ("ann", "bob"):
        assert memberships(world, f"{name}@example.org")["leads", BIG] == "subscribed"
        assert member(world, f"{name}@example.org") == "subscribed"


@pytest.mark.quirk("rokt-spreadsheet-dates")
@pytest.mark.quirk("rokt-postal-codes-look-like-numbers")
def test_spreadsheet_dates_and_postal_codes_arrive_as_what_they_are_in_each_encoding(open_small_world):
    world = open_small_world()
    for encoding in ("json", "form", "text", "xml"):
        world.rokt.send_lead(f"{encoding}@a.example", encoding=encoding, dob=33569, zipcode="01234")
        world.rokt.send_lead(f"{encoding}@b.example", encoding=encoding, dob="33569.07083", zipcode=10010)
    world.round()
    for encoding in ("json", "form", "text", "xml"):
        assert lead_fields(world, f"{encoding}@a.example") == {"birth_date": "1991-11-27", "postal_code": "01234"}
        assert lead_fields(world, f"{encoding}@b.example") == {"birth_date": "1991-11-27", "postal_code": "10010"}


@pytest.mark.quirk("rokt-two-spellings-of-one-attribute")
def test_the_same_attribute_in_two_spellings_stays_as_it_came(open_small_world):
    world = open_small_world()
    world.rokt.send_lead("ann@example.org", gender="Male", country="Australia", mobile="0412 345 678", lastname=None)
    world.rokt.send_lead("bob@example.org", gender="M", country="AU", mobile="0412 345 678", lastname="")
    world.round()
    ann, bob = (lead_fields(world, email) for email in ("ann@example.org", "bob@example.org"))
    assert (ann["phone"], bob["phone"]) == ("+61412345678",) * 2
    raws = [json.loads(row["raw"]) for row in world.rows("SELECT raw FROM cell WHERE account = 'leads' ORDER BY key")]
    assert [raw["gender"] for raw in raws] == ["Male", "M"]
    assert "last_name" not in ann | bob


@pytest.mark.quirk("rokt-hashed-addresses-in-either-case")
def test_leads_known_by_digest_are_joined_when_the_addresses_turn_up(open_small_world):
    world = open_small_world()
    known = {}
    for hashed in ("sha256", "md5"):
        for upper in (False, True):
            email = f"{hashed}.{upper}@example.org".lower()
            world.rokt.upper_case_digests = frozenset({hashed} if upper else ())
            world.rokt.send_lead(email.title(), "Ann", hashed=hashed)
            known[f"{hashed}:{hashlib.new(hashed, email.encode()).hexdigest()}"] = email
    world.settle(2)
    rows = world.rows("SELECT key, identity FROM cell WHERE account = 'leads'")
    assert {row["key"]: row["identity"] for row in rows} == dict.fromkeys(known)
    for email in known.values():
        assert contacts(world, email) == []
        world.rocs.add_member("L-1", world.rocs.add_customer(email, "Ann", "Bee"))
    world.settle(3)
    assert {memberships(world, email)["leads", "*"] for email in known.values()} == {"subscribed"}


def test_a_lead_without_what_is_required_is_refused_with_all_that_it_lacks(open_small_world):
    world = open_small_world(config=configured(CONFIG, leads='required = ["email", "first_name", "postal_code"]'))
    world.rokt.send_lead("ann@example.org", "Ann", zipcode=" ")
    with pytest.raises(DeliveryError, match=r"^zipcode: missing$") as caught:
        world.deliver()
    assert caught.value.status == 400
    world.rokt.send_lead("ann@example.org", hashed="sha256")
    with pytest.raises(DeliveryError, match=r"^email: missing; firstname: missing; zipcode: missing$"):
        world.deliver()
    world.rokt.send_lead(hashlib.sha256(b"ann@example.org").hexdigest(), "Ann", zipcode="01234")
    with pytest.raises(DeliveryError, match=r"^email: not an e-mail address$"):
        world.deliver()
    world.rokt.person_unsubscribes("ann@example.org")
    world.rokt.send_lead("bob@example.org", "Bob", zipcode="01234")
    assert world.deliver() == 2, "a no needs nothing but the person"


OWN = (
    configured(
        CONFIG,
        crm='fields = {{ shoe_size = "dynamic:Shoe", source = "dynamic:Source" }}',
        leads='fields = {{ shoe_size = "schuh", source = "utm-source" }}\nrequired = ["shoe_size", "source"]',
    )
    + '\n[fields.shoe_size]\nowner = "leads"\n'
)


def test_a_lead_may_have_to_carry_its_source_and_fields_of_ones_own_and_both_arrive_elsewhere(open_small_world):
    world = open_small_world(config=OWN)
    world.rocs.define_dynamic("Shoe", "string")
    world.rocs.define_dynamic("Source", "string")
    world.rokt.parameters["source"] = "utm-source"
    world.rokt.send_lead("ann@example.org", "Ann")
    with pytest.raises(DeliveryError, match=r"^schuh: missing; utm-source: missing$"):
        world.deliver()
    world.rokt.send_lead("ann@example.org", "Ann", source="checkout", schuh=41)
    world.settle(3)
    assert lead_fields(world, "ann@example.org") == {"first_name": "Ann", "shoe_size": "41", "source": "checkout"}
    (found,) = (one for one in world.rocs.customers.values() if one.email == "ann@example.org")
    assert found.dynamic == {"Shoe": "41", "Source": "checkout"}


# Campaigns and lists -------------------------------------------------------------------------------------------------


def test_leads_of_a_campaign_that_goes_to_no_list_wait_and_a_link_releases_them(open_world):
    world = by_campaign(open_world)
    world.rokt.send_lead("ann@example.org", "Ann", campaign="77")
    world.rokt.send_lead("bob@example.org", "Bob", campaign="88")
    world.settle(2)
    assert (member(world, "ann@example.org"), member(world, "bob@example.org")) == ("subscribed", None)
    assert parked(world) == ["bob@example.org"]
    (waiting,) = command(world, "inspect", "parked", "--json").data
    assert (waiting["what"], waiting["remote_list"]) == ("lead", "88")

    told = command(world, "leads", "link", "88", "events", "--json").data
    assert told == {
        "account": "leads", "campaign": "88", "list": "events", "state": "linked", "changed": True, "by": "command",
        "leads": 1, "next": "syncd sync",
    }  # fmt: skip
    world.settle(2)
    assert member(world, "bob@example.org", "L-2") == "subscribed"
    assert member(world, "bob@example.org") is None
    assert parked(world) == []


def test_a_link_by_command_survives_a_restart_and_takes_what_comes_later(open_small_world, tmp_path):
    world = by_campaign(open_small_world)
    assert command(world, "leads", "link", "88", "events").code == 0
    assert command(world, "leads", "link", "88", "events", "--json").data["changed"] is False
    world.restart()
    world.rokt.send_lead("bob@example.org", "Bob", campaign="88")
    world.settle(2)
    assert member(world, "bob@example.org", "L-2") == "subscribed"
    shown = {(row["remote_list"], row["list"]) for row in command(world, "inspect", "lists", "--json").data}
    assert {("88", "events")} <= shown
    rows = {row["campaign_id"]: row for row in command(world, "leads", "campaigns", "--json").data}
    assert [entry["by"] for entry in rows["88"]["lists"]] == ["command"]
    assert (rows["88"]["leads"], rows["88"]["parked"]) == (1, 0)
    assert rows["77"]["lists"] == [{"list": "newsletter", "by": "configuration", "linked_at": None}]


def test_after_an_unlink_leads_wait_again_and_who_is_on_the_list_stays(open_small_world):
    world = by_campaign(open_small_world)
    command(world, "leads", "link", "88", "events")
    world.rokt.send_lead("bob@example.org", "Bob", campaign="88")
    world.settle(2)
    assert command(world, "leads", "unlink", "88", "events").code == 0
    world.rokt.send_lead("cid@example.org", "Cid", campaign="88")
    world.settle(2)
    assert member(world, "bob@example.org", "L-2") == "subscribed"
    assert member(world, "cid@example.org", "L-2") is None
    assert parked(world) == ["bob@example.org", "cid@example.org"]
    assert world.rows("SELECT * FROM op WHERE kind = 'unsubscribe'") == []


@pytest.mark.parametrize("scope", [(), ("--list", "newsletter")])
def test_what_rokt_was_told_holds_for_leads_of_every_campaign(open_small_world, scope):
    world = by_campaign(open_small_world)
    world.rokt.send_lead("ann@example.org", "Ann", campaign="77")
    world.settle(2)
    command(world, "unsubscribe", "ann@example.org", *scope, "--no-push")
    drift = "SELECT account FROM v_drift WHERE account = 'leads'"
    assert len(world.rows(drift)) == 1
    world.settle(2)
    assert standing(world, "ann@example.org")["leads"] == "told"
    assert world.rows(drift) == []
    assert command(world, "check", "--full").code == 0
    assert command(world, "status", "--json").data["converged"]


def test_a_link_adds_nobody_who_said_no_while_they_waited(open_small_world):
    world = by_campaign(open_small_world)
    for name in ("bob", "cid"):
        world.rokt.send_lead(f"{name}@example.org", name.title(), campaign="88")
    world.settle(2)
    command(world, "unsubscribe", "bob@example.org", "--list", "events")
    world.rokt.person_unsubscribes("cid@example.org")
    world.settle(2)
    assert parked(world) == ["bob@example.org"], "who said no to everything does not wait for anything"
    command(world, "leads", "link", "88", "events")
    world.settle(3)
    assert [member(world, f"{name}@example.org", "L-2") for name in ("bob", "cid")] == [None, None]
    assert standing(world, "bob@example.org")["sales"] == []


def test_a_campaign_linked_by_command_leaves_the_list_that_takes_all_of_them(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    world.rokt.send_lead("ann@example.org", "Ann", campaign="88")
    world.round()
    assert memberships(world, "ann@example.org").keys() >= {("leads", "*")}
    command(world, "leads", "link", "88", "events")
    world.rokt.send_lead("bob@example.org", "Bob", campaign="88")
    world.settle(2)
    assert memberships(world, "bob@example.org").keys() >= {("leads", "88")}
    assert member(world, "bob@example.org", "L-2") == "subscribed"
    assert member(world, "bob@example.org") == "subscribed", 'the newsletter takes "*", which is every campaign'


def test_what_a_command_cannot_link_is_said(open_small_world):
    world = by_campaign(open_small_world)
    for arguments, code, said in (
        (("link", "77", "newsletter"), 0, '"by":"configuration"'),
        (("unlink", "77", "newsletter"), 1, "the configuration links"),
        (("unlink", "99", "newsletter"), 1, "not linked"),
        (("link", "88", "newslettr"), 2, "newsletter"),
        (("link", "*", "newsletter"), 2, "not the id"),
        (("link", "88", "newsletter", "--account", "crm"), 2, "leads"),
    ):
        told = command(world, "leads", *arguments, "--json")
        assert (told.code, said in told.out) == (code, True), arguments


def test_a_parked_lead_is_released_by_a_link_and_not_by_a_retry(open_small_world):
    world = by_campaign(open_small_world)
    world.rokt.send_lead("bob@example.org", campaign="88")
    world.round()
    (waiting,) = command(world, "inspect", "parked", "--json").data
    refused = command(world, "parked", "retry", waiting["id"], "--json")
    assert refused.code == 1
    assert refused.data["error"]["hint"] == "syncd leads link 88 LIST --account leads"


# Tests ---------------------------------------------------------------------------------------------------------------

MARKED = (
    'test_leads = {{ parameter = "test", value = "yes", addresses = ["Probe@rokt.com"], domains = ["trial.example"], '
    'query = "probe", keep = "2d", keep_max = 3 }}'
)


@pytest.mark.beside_the_schemas
def test_test_leads_are_answered_as_real_ones_and_nothing_comes_of_them(open_small_world):
    world = open_small_world(config=configured(CONFIG, leads=f'methods = ["POST", "GET"]\n{MARKED}'))
    for sent in (
        {"test": "YES"},
        {"query": "probe=true"},
        {"query": "probe=1", "method": "GET"},
        {"email": "probe@rokt.com"},
        {"email": "", "emailsha256": hashlib.sha256(b"probe@rokt.com").hexdigest().upper()},
        {"email": "ann@trial.example"},
        {"email": "ann@Deep.Trial.Example", "encoding": "xml"},
    ):
        world.rokt.press_test(**sent)
        assert world.deliver() == 1
        world.round()
        assert nothing_came_of_it(world), sent
        latest = command(world, "leads", "test", "--json").data[0]
        assert (latest["account"], latest["times"], latest["fields"]["first_name"]) == ("leads", 1, "Test")
        assert latest["method"] == sent.get("method", "POST")
        world.wait(60)
    assert sum(emulator.writes for emulator in world.emulators.values()) == 0


CONTACT = 'contact = {{ name = "Jo Doe", role = "Technical Support", email = "jo@example.org" }}\n'


def test_the_contact_of_the_sheet_can_see_whether_a_test_lead_arrived(open_small_world):
    world = open_small_world(config=configured(CONFIG, leads=CONTACT + 'required = ["postal_code"]'))
    said = command(world, "leads", "sheet").out.partition("## 2. Technical contact")[2].partition("\n## ")[0]
    for line in ("| Name | Jo Doe |", "| Role | Technical Support |", "| E-mail | jo@example.org |"):
        assert line in said
    assert "Ask here whether a test lead has arrived" in said
    world.rokt.press_test(query="test=true")
    with pytest.raises(DeliveryError, match=r"^zipcode: missing$"):
        world.deliver()
    assert command(world, "leads", "test", "--json").data == []
    world.rokt.press_test(query="test=true", zipcode="01234")
    world.deliver()
    (arrived,) = command(world, "leads", "test", "--json").data
    assert (arrived["address"], arrived["fields"]["postal_code"]) == ("test@example.com", "01234")


def test_what_is_not_marked_is_a_real_lead(open_small_world):
    world = open_small_world(config=configured(CONFIG, leads=MARKED))
    for n, sent in enumerate(({"test": "no"}, {"query": "probe="}, {"query": "test=true"})):
        world.rokt.press_test(email=f"real{n}@example.com", **sent)
    world.settle(2)
    assert [member(world, f"real{n}@example.com") for n in range(3)] == ["subscribed"] * 3
    assert command(world, "leads", "test", "--json").data == []


def test_an_unsubscribe_is_never_only_a_test(open_small_world):
    world = open_small_world(config=configured(CONFIG, leads=MARKED))
    world.rokt.person_unsubscribes("probe@rokt.com", test="yes")
    world.settle(2)
    assert [row["email"] for row in world.rows("SELECT email FROM v_consent")] == ["probe@rokt.com"]


def test_tests_vanish_with_time_and_when_they_are_too_many(open_small_world):
    world = open_small_world(config=configured(CONFIG, leads=MARKED))
    for n in range(5):
        world.rokt.press_test(query="probe=true", n=n)
        world.deliver()
        world.wait(60)
    assert [row["attributes"]["n"] for row in command(world, "leads", "test", "--json").data] == ["4", "3", "2"]
    world.wait(2 * DAY)
    world.round()
    assert values(world, "lead_test") == 0


def test_tests_of_somebody_who_is_erased_go_and_none_is_kept_again(open_world):
    world = open_world(config=configured(CONFIG, leads=MARKED))
    world.rokt.press_test(email="Dora@Example.org", query="probe=true")
    world.rokt.press_test(contact="d.ora+x@example.org", query="probe=true")
    world.rokt.press_test(query="probe=true")
    world.round()
    assert values(world, "lead_test") == 3
    assert command(world, "erase", "dora@example.org", "--json").data["rows"]["lead_test"] == 2
    world.rokt.press_test(email="dora@example.org", query="probe=true", firstname="Dora")
    world.round()
    assert command(world, "erase", "dora@example.org", "--verify", "--json").data["clean"]
    rows = command(world, "leads", "test", "--json").data
    assert sorted((row["address"], bool(row["attributes"])) for row in rows) == [
        ("", False),
        ("test@example.com", True),
    ]


# Statistics ----------------------------------------------------------------------------------------------------------


def test_a_query_api_that_throttles_is_left_alone_for_as_long_as_it_asks(open_small_world):
    world = open_small_world(config=configured(leads=QUERY_API))
    world.rokt.faults.append(Fault(FaultKind.THROTTLED, "/campaigns/", times=9, retry_after="600"))
    world.rokt.add_campaign("7", "A", {"2026-11-20": {"referrals": 2}})
    assert world.round().accounts["leads"].result == "failed"
    calls = len(world.rokt.calls)
    world.wait(300)
    world.round()
    assert len(world.rokt.calls) == calls
    world.rokt.faults.clear()
    world.wait(600)
    world.round()
    assert [row["campaign_id"] for row in world.rows("SELECT campaign_id FROM campaign WHERE account = 'leads'")] == [
        "7"
    ]
