"""What stands in the mirror, as printed: the same from both engines, and of the published shape."""

from __future__ import annotations

import json

import pytest

from syncd.cli.inspect import TABLES
from syncd.domain.records import Delivery
from syncd.store import inbox
from syncd.store.session import open_engine, writing
from tests.cli.conftest import Desk

NOON = "2026-11-21T12:00:00.000Z"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_can_be_shown_of_a_mirror_with_nothing_in_it(desk: Desk, name: str) -> None:
    assert desk.data("inspect", name) == []
    done = desk.run("inspect", name)
    assert done.code == 0
    assert TABLES[name][1][0] in done.out


def test_contacts_lists_and_runs(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.customer("bob@example.org", "Bob", "Ray")
    desk.run("sync", "crm")
    both = {"accounts": 2, "records": 3, "observed_at": NOON}
    assert desk.data("inspect", "contacts") == [
        {"email": "ann@example.org", "fields": {"first_name": "Ann", "last_name": "Lee"}} | both,
        {"email": "bob@example.org", "fields": {"first_name": "Bob", "last_name": "Ray"}} | both,
    ]
    [newsletter] = [row for row in desk.data("inspect", "lists", "--account", "crm") if row["list"]]
    assert (newsletter["list"], newsletter["remote_list"], newsletter["whole_at"]) == ("newsletter", "L-1", NOON)
    [run] = desk.data("inspect", "runs")
    assert (run["account"], run["result"], run["started_at"], run["counts"]["rows"]) == ("crm", "success", NOON, 4)


def test_rows_of_one_account_and_no_more_than_asked_for(desk: Desk) -> None:
    for n in range(5):
        desk.customer(f"p{n}@example.org")
    desk.sales.add_contact(desk.sales_list, "sam@example.org", "Sam Sung")
    desk.run("sync", "crm")
    assert [row["email"] for row in desk.data("inspect", "contacts", "--limit", "2")] == [
        "p0@example.org",
        "p1@example.org",
    ]
    cut = desk.run("inspect", "contacts", "--limit", "2")
    assert "more with --limit" in cut.err
    assert desk.data("inspect", "contacts", "--account", "leads") == []
    assert len(desk.data("inspect", "contacts", "--account", "crm")) == 5
    assert {row["account"] for row in desk.data("inspect", "lists", "--account", "crm")} == {"crm"}
    assert desk.run("inspect", "lists", "--account", "cmr").code == 2
    assert desk.run("inspect", "lists", "--limit", "0").code == 2


def test_campaigns_have_the_numbers_of_the_contract(desk: Desk) -> None:
    desk.rocs.add_campaign("K-1", "Autumn", sent=100, opened=40, clicked=7, bounced=2, unsubscribed=1)
    desk.run("sync")
    assert desk.data("inspect", "campaigns") == [
        {
            "account": "crm", "provider": "rocs", "campaign_id": "K-1", "name": "Autumn", "status": "sent", "sent": 100,
            "opened": 40, "clicked": 7, "bounced": 2, "unsubscribed": 1, "observed_at": NOON,
        }
    ]  # fmt: skip
    assert desk.data("inspect", "campaigns", "--account", "sales") == []


def test_a_contact_is_found_however_its_address_is_spelt(desk: Desk) -> None:
    desk.customer("Ann@Example.org")
    desk.run("sync")
    shown = desk.data("inspect", "contact", " ANN@example.ORG")
    assert shown["email"] == "ann@example.org"
    at = {(m["account"], m["remote_list"]): m for m in shown["memberships"]}
    assert set(at) == {("crm", "*"), ("crm", "L-1"), ("sales", desk.sales_list), ("mail", "154")}
    assert at["crm", "*"]["list"] is None
    assert at["crm", "L-1"] | {"remote_id": ""} == {
        "list": "newsletter", "account": "crm", "provider": "rocs", "remote_list": "L-1", "remote_id": "",
        "address": "Ann@Example.org", "status": "subscribed", "grade": "verified", "observed_at": NOON, "fields": {},
        "counters": None,
    }  # fmt: skip
    assert at["mail", "154"]["counters"] == {"sent": 0, "opened": 0, "clicked": 0, "bounced": 0}
    assert shown["fields"] == {"first_name": "Ann", "last_name": "Lee"}
    printed = desk.run("inspect", "contact", "ann@example.org")
    assert "newsletter" in printed.out
    assert "syncd explain ann@example.org" in printed.err


def test_somebody_who_only_stands_on_a_list_agreed_to_it_when_first_seen(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.wait(600)
    desk.run("sync", "--full")
    consent = desk.data("inspect", "contact", "ann@example.org")["consent"]
    assert consent == [{"scope": "newsletter", "level": "subscribed", "since": NOON, "source": "crm"}]


def test_what_somebody_said_takes_the_place_of_what_was_derived(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org", "--list", "newsletter", "--no-push")
    [said] = desk.data("inspect", "contact", "ann@example.org")["consent"]
    assert (said["scope"], said["level"], said["source"], said["since"]) == (
        "newsletter",
        "unsubscribed",
        "operator",
        NOON,
    )


def test_nothing_is_derived_beside_a_no_to_everything(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org", "--no-push")
    assert [c["scope"] for c in desk.data("inspect", "contact", "ann@example.org")["consent"]] == ["global"]


def test_somebody_who_was_asked_about_and_never_there_has_no_membership_there(desk: Desk) -> None:
    desk.configure(first_sync="hold")
    desk.customer("ann@example.org")
    desk.run("sync")
    assert desk.mail.calls
    shown = desk.data("inspect", "contact", "ann@example.org")
    assert {m["account"] for m in shown["memberships"]} == {"crm"}


def test_whose_mailbox_is_the_same_is_named(small: Desk) -> None:
    small.customer("dora@example.org")
    small.customer("dora+news@example.org")
    small.run("sync")
    assert small.data("inspect", "contact", "dora@example.org")["also_known_as"] == ["dora+news@example.org"]


def test_an_address_nobody_knows(small: Desk) -> None:
    done = small.run("inspect", "contact", "nobody@example.org", "--json")
    assert done.code == 1
    assert done.data("unknown")["known"] is False
    assert "nobody@example.org is unknown to all" in small.run("inspect", "contact", "nobody@example.org").out


def test_what_is_no_address_at_all(small: Desk) -> None:
    done = small.run("inspect", "contact", "nobody", "--json")
    assert done.code == 2
    assert "nobody" not in done.data("error")["error"]["message"]


def test_what_is_on_its_way_and_where_it_differs(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.mail.private_key = "another"
    desk.run("unsubscribe", "ann@example.org")
    [waiting] = desk.data("inspect", "outbox")
    assert (waiting["account"], waiting["email"]) == ("mail", "ann@example.org")
    assert (waiting["kind"], waiting["state"]) == ("unsubscribe", "ready")
    assert desk.data("inspect", "outbox", "--account", "crm") == []
    [drift] = desk.data("inspect", "drift")
    assert (drift["kind"], drift["account"], drift["remote_list"], drift["since"]) == ("reachable", "mail", "154", NOON)
    [said] = desk.data("inspect", "consent")
    assert (said["email"], said["scope"]) == ("ann@example.org", "global")
    assert (said["level"], said["route"]) == ("unsubscribed", "command")
    assert desk.data("inspect", "consent", "--account", "crm") == []


def test_everything_that_is_parked(desk: Desk) -> None:
    desk.mail.strict_emails = True
    desk.customer("o'hara@example.org")
    desk.customer("not an address")
    park_delivery(desk)
    desk.run("sync")
    rows = desk.data("inspect", "parked")
    assert {(row["what"], row["account"]) for row in rows} == {
        ("change", "mail"),
        ("delivery", "leads"),
        ("record", "crm"),
    }
    assert {row["kind"] for row in rows if row["what"] == "change"} == {"subscribe"}
    assert {row["what"] for row in desk.data("inspect", "parked", "--account", "leads")} == {"delivery"}


def park_delivery(desk: Desk) -> str:
    """A delivery that was taken in and could not be read afterwards."""
    engine = open_engine(desk.url)
    body = json.dumps({"email": "lea@example.org"}).encode()
    delivery = Delivery(("leads",), "POST", {"content-type": "application/json"}, (), body, desk.at)
    with writing(engine) as connection:
        found, _ = inbox.put_delivery(connection, "leads", "d-1", delivery, id="id-parked", seq=1)
        inbox.settle_delivery(connection, found, "parked", "could not be read")
    engine.dispose()
    return found


def test_proof_of_one_unsubscribe_and_of_all(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.customer("bob@example.org")
    desk.run("sync")
    assert desk.data("inspect", "propagation") == []
    desk.run("unsubscribe", "ann@example.org", "--evidence", "a letter")
    desk.run("unsubscribe", "bob@example.org", "--no-push")
    rows = desk.data("inspect", "propagation", " Ann@Example.ORG")
    assert {(row["account"], row["remote_list"], row["grade"]) for row in rows} == {
        ("crm", "*", "verified"), ("crm", "L-1", "verified"), ("sales", desk.sales_list, "verified"),
        ("mail", "154", "verified"), ("leads", "*", "accepted"),
    }  # fmt: skip
    [told] = [row for row in rows if row["account"] == "leads"]
    assert told["receipt"] in desk.rokt.receipts
    assert (told["learnt_at"], told["accepted_at"], told["read_back_at"]) == (NOON, NOON, None)
    assert (told["accepted_after_s"], told["time_left_s"], told["overdue"]) == (0, 48 * 3600, False)
    assert {row["email"] for row in desk.data("inspect", "propagation")} == {"ann@example.org", "bob@example.org"}
    assert len(desk.data("inspect", "propagation", "--account", "leads")) == 2
    assert len(desk.data("inspect", "propagation", "--limit", "3")) == 3
    assert desk.data("inspect", "propagation", "--overdue") == []
    assert desk.data("inspect", "propagation", "nobody@example.org") == []
    desk.wait(49 * 3600)
    late = desk.data("inspect", "propagation", "--overdue")
    assert {(row["email"], row["time_left_s"], row["overdue"]) for row in late} == {("bob@example.org", -3600, True)}
    printed = desk.run("inspect", "propagation", "ann@example.org")
    assert told["receipt"] in printed.out
    assert desk.run("inspect", "propagation", "--account", "cmr").code == 2


def test_how_long_a_no_took_is_said_of_everybody_and_of_one(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    small.mail.private_key = "another"
    small.run("unsubscribe", "ann@example.org")
    shown = small.run("status")
    assert "unsubscribes of the last 48 h" in shown.out
    assert "1 not accepted yet; the first is due at mail, 154: 48 h left of 48 h" in shown.out
    assert "accepted 0 s later, 172800 s before its deadline" in small.run("explain", "ann@example.org").out
    small.wait(48 * 3600 + 61)
    assert "overdue for 1 min 1 s of 48 h" in small.run("status").out
    assert "not accepted yet; overdue for 61 s" in small.run("explain", "ann@example.org").out
