"""Campaigns: found through contacts, read one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from syncd.domain.errors import MalformedError, RefusedError, UnauthorisedError
from syncd.domain.records import CampaignStats
from syncd.providers.salesrocks.translate import campaign_id_to_send, read_statistics, utc_text
from syncd.wire import converse
from tests.schemas import ROOT

SCHEMAS = ROOT / "salesrocks"

FIGURES = {
    "to_send": 0,
    "sent": 6,
    "total_scheduled": 6,
    "opened": 4,
    "clicked": 1,
    "replied": 1,
    "bounced": 1,
    "opted_out": 2,
}


def report(account, *addresses):
    return account.talk(account.adapter.campaigns(addresses, None))


@pytest.mark.quirk("salesrocks-total-scheduled")
@pytest.mark.quirk("salesrocks-campaign-created-at")
def test_figures_arrive_under_our_names(account_with):
    account = account_with(timezone="Europe/Skopje")
    account.emulator.zone = ZoneInfo("Europe/Skopje")
    one = account.emulator.add_list("One")
    account.emulator.add_contact(one, "ann@example.org")
    number = account.emulator.add_campaign("First", [one], status="inactive", **FIGURES)
    assert report(account, "ann@example.org") == [
        CampaignStats(
            campaign_id=number,
            name="First",
            sent=6,
            opened=4,
            clicked=1,
            bounced=1,
            unsubscribed=2,
            status="inactive",
            remote_at="2026-11-21T09:00:00Z",
            extra={"replied": 1, "to_send": 0, "total_scheduled": 6},
            lists=(account.emulator.lists[one].id,),
        )
    ]
    assert account.last_body() == {"campaign_id": int(number)}


def test_who_sends_a_campaign_is_in_the_answer_and_in_nothing_of_ours(account, answered):
    """`sender_email` is a colleague's address. Nothing follows from it, and who asked to be forgotten is not in it."""
    one = account.emulator.add_list("One")
    account.emulator.add_contact(one, "ann@example.org")
    account.emulator.add_campaign("First", [one], sent=6)
    (stats,) = report(account, "ann@example.org")
    path = "/drip-campaign/getCampaignStatistics"
    raw = json.loads(account.answer(account.adapter.authorise(account.requests[-1], account.token)).body)["data"]
    assert account.requests[-1].url.endswith(path)
    assert raw["sender_email"] == "sales@example.org"
    described = json.loads((SCHEMAS / "getCampaignStatistics.response.schema.json").read_text())
    assert "sender_email" in described["properties"]["data"]["required"]
    assert "sales@example.org" not in repr(stats)
    without = {name: value for name, value in raw.items() if name != "sender_email"}
    for data in (raw, without):
        read = read_statistics(msgspec.Raw(json.dumps(data).encode()), stats.campaign_id, "n", UTC, "x")
        assert (read.sent, read.name) == (6, "First")


def test_each_given_contact_is_asked_about_once_and_each_campaign_read_once(account):
    emulator = account.emulator
    one, two = emulator.add_list("One"), emulator.add_list("Two")
    for uuid, address in ((one, "a@x.org"), (two, "b@x.org")):
        emulator.add_contact(uuid, address)
    numbers = [emulator.add_campaign("First", [one, two]), emulator.add_campaign("Second", [two])]
    assert [stats.campaign_id for stats in report(account, "a@x.org", "b@x.org")] == numbers
    assert account.paths().count("getListNameAndIds") == 2
    assert account.paths().count("getCampaignStatistics") == 2
    assert account.paths().count("getLists") == 0


@pytest.mark.quirk("salesrocks-whose-address")
def test_the_accounts_own_address_is_asked_about_once_if_contacts_bring_nothing(account):
    account.emulator.finds_by_owner = True
    one = account.emulator.add_list("One")
    account.emulator.add_contact(one, "a@x.org")
    account.emulator.add_campaign("First", [one])
    assert [stats.name for stats in report(account, "a@x.org")] == ["First"]
    asked = [json.loads(r.body)["email"] for r in account.requests if r.label == "getListNameAndIds"]
    assert asked == ["a@x.org", account.emulator.username]


def test_a_user_name_that_is_no_address_is_not_asked_about(account_with):
    account = account_with(username="randomusername")
    account.emulator.username = "randomusername"
    account.emulator.add_list("One")
    assert report(account) == []
    assert account.paths().count("getListNameAndIds") == 0


def test_a_list_without_contacts_does_not_keep_others_from_being_reported(account):
    one, _ = account.emulator.add_list("One"), account.emulator.add_list("Empty")
    account.emulator.add_contact(one, "a@x.org")
    account.emulator.add_campaign("First", [one])
    assert len(report(account, "a@x.org", "b@x.org")) == 1
    assert account.paths().count("getListNameAndIds") == 2


def found(*campaigns, number=1):
    return [{"id": number, "list_name": "n", "date_of_creation": "2021-04-09 10:00:13", "campaigns": list(campaigns)}]


NOT_FOUND = {"error": {"status_code": 404, "message": "Campaign not found"}}
FORBIDDEN = {"error": {"status_code": 403, "message": "no permission"}}


def conversation(account, answered, in_turn, *bodies, addresses=("a@x.org",)):
    answers = in_turn(*(answered(body) for body in bodies))
    return converse(account.adapter.campaigns(addresses, None), answers)


@pytest.mark.parametrize("error", [NOT_FOUND, FORBIDDEN])
def test_one_campaign_that_may_not_be_read_does_not_stop_the_report(account, answered, in_turn, error):
    two = found({"id": 1, "name": "gone"}, {"id": "x-2", "name": "there"})
    stats = conversation(account, answered, in_turn, two, error, {"status_code": 200, "data": {"sent": "7"}})
    assert [(one.campaign_id, one.name, one.sent, one.opened) for one in stats] == [("x-2", "there", 7, None)]


def test_a_refused_token_stops_the_report(account, answered, in_turn):
    with pytest.raises(UnauthorisedError):
        conversation(
            account, answered, in_turn, found({"id": 1, "name": "x"}), {"error": {"status_code": 401, "message": ""}}
        )


def test_refused_questions_are_an_error_only_if_no_other_was_answered(account, answered, in_turn):
    refused = {"error": {"status_code": 400, "message": "Invalid email"}}
    assert conversation(account, answered, in_turn, refused, found()) == []
    assert conversation(account, answered, in_turn, refused, NOT_FOUND) == []
    with pytest.raises(RefusedError):
        conversation(account, answered, in_turn, refused, refused)


@pytest.mark.parametrize("body", [{}, {"data": 5}, ["x"], [{"id": 1, "campaigns": 5}], [{"id": 1, "campaigns": [7]}]])
def test_lists_that_cannot_be_read_are_an_error(account, answered, in_turn, body):
    with pytest.raises(MalformedError):
        conversation(account, answered, in_turn, body)


@pytest.mark.parametrize("body", [{"status_code": 200}, {"data": None}, {"data": []}, []])
def test_figures_that_cannot_be_read_are_an_error(account, answered, in_turn, body):
    with pytest.raises(MalformedError):
        conversation(account, answered, in_turn, found({"id": 1, "name": "x"}), body)


def test_null_and_missing_campaigns_are_none(account, answered, in_turn):
    for lists in (
        [{"id": 1, "campaigns": None}, {"id": 2}, {"id": 3, "campaigns": [{"name": "no id"}]}],
        {"data": None},
    ):
        assert conversation(account, answered, in_turn, lists, []) == []


def test_a_wrapped_array_is_read_as_well(account, answered, in_turn):
    lists = {"status_code": 200, "data": found({"id": 9, "name": "x"})}
    (stats,) = conversation(account, answered, in_turn, lists, {"data": {"sent": 1}})
    assert stats.campaign_id == "9"


@pytest.mark.parametrize(
    ("value", "read"),
    [(6, 6), ("6", 6), (6.0, 6), (6.5, None), (-1, None), (True, None), ("six", None), (None, None), ([], None)],
)
def test_a_counter_is_a_number_or_digits_or_unknown(value, read):
    raw = msgspec.Raw(json.dumps({"sent": value, "replied": value, "campaign_status": value}).encode())
    stats = read_statistics(raw, "1", "n", UTC, "getCampaignStatistics")
    assert stats.sent == read
    assert stats.extra == ({} if read is None else {"replied": read})


@pytest.mark.parametrize(
    ("number", "sent"),
    [("582", b"582"), ("0", b"0"), ("007", b'"007"'), ("x", b'"x"'), ("9" * 40, b"9" * 40), ("٣", '"٣"'.encode())],
)
def test_a_campaign_is_asked_for_by_number_where_it_has_one(number, sent):
    assert msgspec.json.encode({"id": campaign_id_to_send(number)}) == b'{"id":' + sent + b"}"


@pytest.mark.quirk("salesrocks-times-without-zone")
@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2020-07-03 14:46:10", "Europe/Skopje", "2020-07-03T12:46:10Z"),
        ("2020-01-03 14:46:10", "Europe/Skopje", "2020-01-03T13:46:10Z"),
        ("2020-07-03 14:46:10", "America/Regina", "2020-07-03T20:46:10Z"),
        ("2020-07-03T14:46:10+02:00", "America/Regina", "2020-07-03T12:46:10Z"),
        ("0000-00-00 00:00:00", "UTC", None),
        ("0001-01-01 00:00:00", "Asia/Tokyo", None),
        ("", "UTC", None),
        (None, "UTC", None),
        (5, "UTC", None),
    ],
)
def test_times_without_a_zone_are_read_in_the_accounts(text, zone, utc):
    assert utc_text(text, ZoneInfo(zone)) == utc


def test_the_report_does_not_depend_on_the_last_one(account):
    one = account.emulator.add_list("One")
    account.emulator.add_contact(one, "a@x.org")
    account.emulator.add_campaign("First", [one])
    since = datetime(2026, 11, 20, tzinfo=UTC)
    assert account.talk(account.adapter.campaigns(["a@x.org"], since)) == report(account, "a@x.org")
