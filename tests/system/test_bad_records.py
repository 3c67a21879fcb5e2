"""A provider that says the same to a bad record and in an outage: the record is put aside with its reason, the others
go on, and an outage is still an outage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncd.domain.records import UNREAD
from syncd.wire import Request, Response
from tests.faults.agreement import answering
from tests.scenes import (
    DAY,
    JOINED,
    LEFT,
    account,
    agreed,
    calls,
    command,
    configured,
    contacts,
    explained,
    last_run,
    logged,
    marks,
    member,
    memberships,
    notices,
    operations,
    person,
    standing,
    suppressed,
    written,
)
from tests.world import World

REASON = "get-members: HTTP 500: Object reference not set to an instance of an object."


def of(world: World, email: str) -> str:
    return next(one.id for one in world.rocs.customers.values() if one.email == email)


def parked(world: World, what: str = "record") -> list[tuple[str, str]]:
    rows = world.rows("SELECT remote_list, reason FROM v_parked WHERE what = :what ORDER BY 1", what=what)
    return [(row["remote_list"], row["reason"]) for row in rows]


def well(world: World) -> None:
    assert account(world, "crm")["state"] == "ok"
    assert last_run(world, "crm")["result"] != "failed"


@pytest.mark.quirk("rocs-500-means-anything")
def test_a_record_that_cannot_be_given_out_is_put_aside_and_the_others_go_on(open_world):
    world = open_world()
    bad, leaves, _ = agreed(world, 3)
    known = memberships(world, bad)
    world.rocs.unreadable.add(of(world, bad))
    world.rocs.unsubscribe_member("L-1", leaves)
    world.round(full=True)
    well(world)
    assert standing(world, leaves) == LEFT
    assert ("L-1", REASON) in parked(world)
    assert len(parked(world)) == 2, "the customer and the member"
    world.wait(300)
    world.round(full=True)
    assert memberships(world, bad) == known, "nobody is missing while somebody cannot be read"
    (row,) = world.rows("SELECT id FROM v_parked WHERE remote_list = 'L-1'")
    refused = command(world, "parked", "retry", row["id"])
    assert refused.code == 1
    # What was said there meanwhile is read as soon as it can be.
    world.rocs.unsubscribe_member("L-1", bad)
    world.rocs.unreadable.clear()
    world.settle(2)
    assert standing(world, bad) == LEFT
    world.round(full=True)
    assert parked(world) == []


def test_behind_a_record_that_cannot_be_read_may_be_anybody_so_nobody_is_added_there(open_small_world):
    world = open_small_world()
    agreed(world, 2)
    email = "gus@example.org"
    person(world, email)
    world.rocs.unsubscribe_member("L-1", email)
    world.rocs.unreadable.add(of(world, email))
    world.sales.add_contact(world.sales_list, email, "Gus Gone")
    for _ in range(3):
        world.wait(300)
        world.round(full=True)
    assert operations(world, account="crm", identity=email) == []
    world.rocs.unreadable.clear()
    world.settle(2)
    assert memberships(world, email)["crm", "L-1"] == "unsubscribed"
    assert standing(world, email)["sales"] == []


def test_a_feed_with_a_bad_record_brings_the_others_and_comes_back_for_it(open_small_world):
    world = open_small_world()
    bad, leaves, _ = agreed(world, 3)
    world.wait(300)
    for email in (bad, leaves):
        world.rocs.unsubscribe_member("L-1", email)
        world.wait(5)  # the bad one is not the newest
    world.rocs.unreadable.add(of(world, bad))
    world.round()
    well(world)
    assert standing(world, leaves) == LEFT
    assert ("L-1", REASON) in parked(world)
    world.wait(300)
    world.round()
    well(world)
    assert len(parked(world)) == 2, "one record is one thing to see to, however often it is asked for"
    world.rocs.unreadable.clear()
    world.wait(300)
    world.round()
    assert standing(world, bad) == LEFT
    assert parked(world) == []


def test_who_was_hidden_behind_a_bad_record_and_is_gone_is_missed_once_all_can_be_read(open_small_world):
    world = open_small_world()
    bad, gone, _ = agreed(world, 3)
    world.rocs.unreadable.add(of(world, bad))
    world.rocs.remove_member("L-1", of(world, gone))
    for _ in range(3):
        world.wait(300)
        world.round(full=True)
    assert memberships(world, gone)["crm", "L-1"] == "subscribed"
    assert command(world, "check", "--full", "--json").code == 0
    world.rocs.unreadable.clear()
    for _ in range(3):
        world.wait(300)
        world.round(full=True)
    assert memberships(world, gone)["crm", "L-1"] == "removed"
    assert memberships(world, bad)["crm", "L-1"] == "subscribed"
    keys = world.rows("SELECT key FROM cell WHERE key LIKE :unread", unread=f"{UNREAD}%")
    assert keys == []
    assert command(world, "check", "--full", "--json").code == 0


SPOILT = "p0\ufffd@example.org"


def shows(world: World, oid: str, row: dict[str, Any] | None) -> None:
    """From now on the listing of Sales.Rocks has this contact under an id, or none."""
    if row is None:
        del world.sales.lists[world.sales_list].contacts[oid]
    else:
        world.sales.lists[world.sales_list].contacts[oid] = row
    world.sales._pages.clear()


def listed(world: World, email: str) -> tuple[str, dict[str, Any]]:
    (found,) = ((oid, r) for oid, r in world.sales.lists[world.sales_list].contacts.items() if r["email"] == email)
    return found


def rounds(world: World, count: int = 2) -> None:
    for _ in range(count):
        world.wait(61)
        world.round()


@pytest.mark.parametrize("address", [SPOILT, "gone", None])
def test_a_known_record_that_is_listed_again_without_a_readable_address_is_not_missing(open_small_world, address):
    world = open_small_world(on_absence="unsubscribe")
    email, _ = agreed(world, 2)
    oid, row = listed(world, email)
    shows(world, oid, None)
    rounds(world, 1)
    missing = "SELECT key FROM cell WHERE missing_count > 0"
    assert world.rows(missing) == [{"key": oid}]
    shows(world, oid, row | {"email": address})
    before = world.writes
    rounds(world, 3)
    assert world.rows(missing) == []
    assert memberships(world, email)["sales", world.sales_list] == "subscribed"
    assert suppressed(world, "newsletter") == set()
    assert world.writes == before
    # It shows exactly what it did before: it is theirs, and read.
    shows(world, oid, row)
    world.rocs.edit_customer(of(world, email), first_name="Anna")
    rounds(world)
    assert contacts(world, email)[0]["name"] == "Anna Last0"


def test_what_a_record_says_that_has_another_address_which_cannot_be_read_is_nobodys_word(open_small_world):
    world = open_small_world(on_unsubscribe="field")
    email, _ = agreed(world, 2)
    oid, row = listed(world, email)
    shows(world, oid, row | {"email": SPOILT, "status": "unsubscribed", "name": "Else Body"})
    with logged() as lines:
        rounds(world)
    assert [line["records"] for line in lines if line["event"] == "record.nameless"] == [1]
    assert "example.org" not in str(lines)
    assert suppressed(world, "newsletter") == suppressed(world, "global") == set()
    assert member(world, email) == "subscribed"
    before = marks(world)
    world.rocs.edit_customer(of(world, email), first_name="Anna")
    rounds(world)
    assert [name for name, _, _ in written(world, before)] == ["rocketresponder"], "nothing goes to that record"
    told = explained(world, email)["sales"]["sentences"]
    assert any("shows no address any more that can be read" in line for line in told)
    # What they say themselves holds there too, whoever's it is.
    command(world, "unsubscribe", email)
    rounds(world)
    assert member(world, email) == "unsubscribed"


@pytest.mark.quirk("rocs-500-means-anything")
def test_five_bad_records_in_a_row_keep_no_other_unsubscribe_waiting_and_are_an_alarm(open_small_world):
    world = open_small_world(config=configured(push="attempts_max = 3"))
    *bad, last = agreed(world, 6)
    world.rocs.poison.update(of(world, email) for email in bad)
    for email in (*bad, last):
        world.rokt.person_unsubscribes(email)
    world.round()
    well(world)
    assert not world.rocs.customers[of(world, last)].consent
    assert all(world.rocs.customers[of(world, email)].consent for email in bad)
    shown = command(world, "status", "--json")
    assert (shown.data["unsubscribes"]["refused"], shown.data["condition"]) == (0, "pending")
    for _ in range(6):
        world.wait(1200)
        world.round()
    well(world)
    shown = command(world, "status", "--json")
    assert (shown.data["unsubscribes"]["refused"], shown.data["condition"], shown.code) == (10, "waits", 4)
    assert "10 refused by the provider" in command(world, "status").out
    assert {reason.partition(",")[0] for _, reason in parked(world, "change")} == {
        f"refused: put-{what}: HTTP 500: The record could not be saved." for what in ("customer", "member")
    }
    # A person has mended one of them there, and does not wait for the next attempt.
    world.rocs.poison.discard(of(world, bad[0]))
    for row in world.rows("SELECT id FROM v_parked WHERE email = :email", email=bad[0]):
        assert command(world, "parked", "retry", row["id"]).code == 0
    world.settle(2)
    assert not world.rocs.customers[of(world, bad[0])].consent
    assert command(world, "status", "--json").data["unsubscribes"]["refused"] == 8


def test_a_service_that_writes_for_nobody_is_an_outage_although_it_can_be_read(open_small_world):
    world = open_small_world()
    emails = agreed(world, 14)
    for email in emails:
        world.rokt.person_unsubscribes(email)
    world.rocs.poison.update(world.rocs.customers)
    world.round()
    assert account(world, "crm")["state"] == "failing"
    world.rocs.poison.clear()
    for _ in range(2):
        world.wait(300)
        world.round()
    well(world)
    assert {standing(world, email)["crm"] for email in emails} == {LEFT["crm"]}


def test_somebody_who_cannot_be_asked_about_is_given_up_and_the_others_are_asked(open_small_world):
    world = open_small_world(config=configured(push="attempts_max = 2"))
    notices(world)
    twin, other = person(world, "bad@example.org"), person(world, "ann@example.org")
    first = world.rocs.add_customer("bad@example.org")
    world.settle(2)
    world.rocs.unreadable.add(twin)
    for customer in (first, other):
        world.rocs.remove_customer(customer)  # a notice of that only makes us look
    world.round()
    well(world)
    assert world.rows("SELECT identity FROM lookup") == [{"identity": "bad@example.org"}]
    assert parked(world, "look-up") == []
    world.wait(300)
    world.round()
    well(world)
    ((where, reason),) = parked(world, "look-up")
    assert (where, reason.partition("HTTP")[0]) == ("*", "get-customers: ")
    assert reason.endswith(", 2 times")
    assert command(world, "status", "--json").data["look_ups"] == 0
    (row,) = world.rows("SELECT id FROM v_parked WHERE what = 'look-up'")
    world.rocs.unreadable.clear()
    assert command(world, "parked", "retry", row["id"]).code == 0
    assert command(world, "status", "--json").data["look_ups"] == 1
    world.wait(300)
    world.round()
    assert parked(world, "look-up") == []


def test_somebody_who_cannot_be_read_back_keeps_no_other_from_it(open_small_world):
    world = open_small_world(config=configured(push="attempts_max = 2"))
    bad, *others = agreed(world, 4)
    world.wait(60)
    for email in (bad, *others):
        world.rokt.person_unsubscribes(email)
    world.rocs.unreadable.add(of(world, bad))
    world.round()
    well(world)
    assert {op["state"] for email in others for op in operations(world, account="crm", identity=email)} == {"verified"}
    assert {op["state"] for op in operations(world, account="crm", identity=bad)} == {"accepted"}
    rows = world.rows("SELECT container, identity, failures FROM lookup ORDER BY 1")
    assert rows == [{"container": "*", "identity": bad, "failures": 1}], "on the list nobody can be asked about at all"
    for _ in range(4):
        world.wait(1200)
        world.round()
    well(world)
    assert [where for where, _ in parked(world, "look-up")] == ["*"], "given up, and asked about no more"
    assert world.rows("SELECT failures FROM lookup") == [{"failures": 2}]
    world.rocs.unreadable.clear()
    for row in world.rows("SELECT id FROM v_parked WHERE what = 'look-up'"):
        assert command(world, "parked", "retry", row["id"]).code == 0
    world.settle(2)
    assert {op["state"] for op in operations(world, account="crm", identity=bad)} == {"verified"}


def test_who_shows_no_readable_address_when_asked_about_is_asked_again_less_often_and_given_up(open_small_world):
    world = open_small_world(config=configured(push="attempts_max = 3"))
    email, _ = agreed(world, 2)
    world.wait(DAY + 61)

    def spoilt(real: Response) -> Response:
        return Response(real.status, real.headers, real.body.replace(f'"{email}"'.encode(), b'"p0\xff@example.org"'))

    def looked() -> list[str]:
        return [call.body.decode() for call in calls(world)["rocketresponder"] if call.path.endswith("/lookup")]

    with answering(world.mail, "/subscriber/lookup", spoilt):
        before = len(looked())
        for _ in range(12):
            world.wait(120)
            world.round()
        asked = sum("p0" in body for body in looked()[before:])
    assert asked == 3
    assert parked(world, "look-up") == [("154", "what stands there shows no address that can be read, 3 times")]
    assert memberships(world, email)["mail", "154"] == "subscribed"
    assert suppressed(world, "newsletter") == set()


def test_an_outage_that_begins_with_a_look_up_is_one(open_small_world):
    world = open_small_world()
    notices(world)
    email, other = agreed(world, 2)
    world.rocs.remove_customer(of(world, email))  # a notice of that makes us look
    real: Callable[[Request], Response] = world.rocs.answer

    def failing(request: Request) -> Response:
        world.rocs.broken = world.rocs.broken or "email=" in request.url
        answer: Response = real(request)
        return answer

    world.rocs.answer = failing
    world.wait(300)
    world.round()
    assert account(world, "crm")["state"] == "failing"
    assert world.rows("SELECT identity, failures FROM lookup") == [{"identity": email, "failures": 0}]
    world.rocs.answer = real
    world.rocs.broken = False
    world.wait(300)
    world.round()
    well(world)
    assert standing(world, other) == JOINED


def test_customers_whose_dynamic_fields_fail_keep_no_others_from_being_asked(open_small_world):
    fields = 'fields = {{ country = "dynamic:Land" }}'
    world = open_small_world(config=configured(crm=fields, push="attempts_max = 1"))
    world.rocs.define_dynamic("Land")
    emails = agreed(world, 16)
    keys = [of(world, email) for email in emails]
    # Only the interface of dynamic fields fails, and for most of them.
    world.rocs.dynamic_touches = True
    for key in keys:
        world.rocs.set_dynamic(key, {"Land": "SE"})
    world.rocs.no_dynamic.update(keys[:11])
    for _ in range(2):
        world.wait(300)
        world.round()
        well(world)
    assert len(parked(world, "look-up")) == 11
    read = world.rows("SELECT COUNT(*) AS n FROM cell WHERE container = '*' AND fields LIKE '%SE%'")
    assert read == [{"n": 5}]
