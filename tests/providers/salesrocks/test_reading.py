"""Lists, whole listings, look-ups and the translation of one contact."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.domain.errors import MalformedError, RefusedError
from syncd.domain.records import ContainerId, Record, Status
from syncd.providers.protocol import (
    CanApply,
    CanList,
    CanLogin,
    CanLookup,
    CanReport,
    CanSnapshot,
    CanVet,
    capabilities_of,
)
from syncd.providers.salesrocks.warmer import create_list
from syncd.sync.context import resolve
from syncd.wire import converse
from tests.schemas import ROOT

L = ContainerId("3eOWdnMBeufg1eXhALxM")


def filled(account, count, uuid=str(L)):
    account.emulator.add_list("News", uuid)
    return [account.emulator.add_contact(uuid, f"p{n}@example.org", f"P {n}") for n in range(count)]


def record(row, key="610293b84fc684655e4eeb93"):
    raw = row if isinstance(row, bytes) else json.dumps({"_id": {"$oid": key}, **row}).encode()
    return Record(key, raw)


def test_the_adapter_has_exactly_its_capabilities(account):
    adapter = account.adapter
    for able in (CanLogin, CanList, CanSnapshot, CanLookup, CanReport, CanApply, CanVet):
        assert isinstance(adapter, able)
    capabilities = capabilities_of(adapter)
    assert not capabilities.feed
    assert not capabilities.notify


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("salesrocks-data-calls-take-uuid")
def test_lists_carry_their_uuid_and_the_number_that_other_calls_use(account):
    account.emulator.add_list("News", str(L))
    (found,) = account.talk(account.adapter.containers())
    assert (found.id, found.name) == (L, "News")
    assert found.remote == {
        "id": "26454",
        "updated_at": "2026-11-21 09:00:00",
        "created_at": "2026-11-21 09:00:00",
        "permissions": "private",
    }
    oid = account.emulator.add_contact(str(L), "ann@example.org")
    assert [seen.key for seen in account.walk(found.id)] == [oid]
    assert account.last_body()["list_id"] == L


@pytest.mark.quirk("salesrocks-get-lists-without-page")
def test_lists_are_always_asked_for_page_by_page_although_both_may_be_left_out(account_with, client_of):
    """What comes then, and how much of it at most, nobody says."""
    account = account_with(lists_page_size=2)
    wanted = [account.emulator.add_list(f"List {n}") for n in range(3)]
    assert client_of(account)("editable-lists/getLists", []) == 200
    asked = [call.body for call in account.emulator.calls].count(b"[]")
    assert [found.id for found in account.talk(account.adapter.containers())] == wanted
    sent = [json.loads(call.body) for call in account.emulator.calls if call.path.endswith("getLists")]
    assert sent[asked:] == [{"page": 1, "size": 2}, {"page": 2, "size": 2}]


@pytest.mark.quirk("salesrocks-three-list-ids")
@pytest.mark.parametrize("takes_created", [False, True])
def test_a_list_is_one_by_its_uuid_and_its_number_and_another_by_the_id_it_was_created_with(account, takes_created):
    """Data calls may take the last or not; it is read where they do, and refused where they do not, never guessed."""
    account.emulator.accept_list_id = takes_created
    created = account.talk(create_list(account.adapter.calls, "News", "company"))
    (uuid,) = account.emulator.lists
    account.emulator.add_contact(uuid, "ann@example.org")
    number = account.emulator.lists[uuid].id
    assert [len(created), len(uuid), number.isdigit()] == [12, 20, True]
    account.linked = frozenset({created, uuid, number})
    rows = [
        SimpleNamespace(account="sales", container=one.id, remote=one.remote)
        for one in account.talk(account.adapter.containers())
    ]
    assert {written: resolve("sales", written, rows) for written in (uuid, number, created)} == {
        uuid: uuid, number: uuid, created: created,
    }  # fmt: skip
    if takes_created:
        assert [seen.identity for seen in account.walk(created)] == ["ann@example.org"]
    else:
        with pytest.raises(RefusedError, match="getListData: 404"):
            account.walk(created)


def test_whose_a_list_is_and_its_type_are_in_the_answer_and_are_no_name_of_it(account):
    """What we keep beside a list are names that a link may be written by: an owner's id there would be one."""
    uuid = account.emulator.add_list("News", str(L))
    (found,) = account.talk(account.adapter.containers())
    request = account.adapter.calls.request("editable-lists/getLists", {"page": 1, "size": 5})
    raw = json.loads(account.answer(account.adapter.authorise(request, account.token)).body)["data"]
    owned = {"user_id": "634", "company_id": "333", "type": "editable"}
    assert owned.items() <= raw[0].items()
    described = json.loads((ROOT / "salesrocks" / "getLists.response.schema.json").read_text())
    assert owned.keys() <= set(described["properties"]["data"]["items"]["required"])
    assert not owned.keys() & found.remote.keys()
    known = [SimpleNamespace(account="sales", container=uuid, remote=found.remote)]
    assert [resolve("sales", written, known) for written in (found.remote["id"], "634", "333", "editable")] == [
        uuid, "634", "333", "editable",
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("cap", [None, 100, 40, 1])
def test_all_lists_are_read_once_each_whatever_the_provider_cuts(account, count, cap):
    wanted = [account.emulator.add_list(f"List {n}") for n in range(count)]
    account.emulator.page_size_max = cap
    assert [found.id for found in account.talk(account.adapter.containers())] == wanted


@pytest.mark.quirk("salesrocks-created-id-unlisted")
def test_linked_ids_that_getlists_never_shows_are_containers_all_the_same(account):
    uuid = account.emulator.add_list("News", str(L))
    number = account.emulator.lists[uuid].id
    account.linked = frozenset({"whczyk8bluyl", uuid, number, "News"})
    found = account.talk(account.adapter.containers())
    assert [one.id for one in found] == [L, "whczyk8bluyl"]
    assert found[1].name == "whczyk8bluyl"


def test_an_odd_list_is_left_out_and_numbers_are_kept_digit_by_digit(account, answered, in_turn):
    rows = [
        {"id": 90071992547409931234567890, "uuid": None, "name": "Big"},
        "odd",
        {"name": "no id"},
        {"id": [1]},
        {"id": ""},
        {"id": None},
    ]
    found = converse(account.adapter.containers(), in_turn(answered({"data": rows}), answered({"data": []})))
    assert [(one.id, one.name) for one in found] == [("90071992547409931234567890", "Big")]


def test_a_list_whose_id_is_not_text_is_left_out_alone(account, answered, in_turn):
    rows = b'{"data":[{"id":"\xff"},{"id":"2","name":"Two"}]}'
    found = converse(account.adapter.containers(), in_turn(answered(rows), answered({"data": []})))
    assert [one.id for one in found] == ["2"]


def test_a_provider_that_does_not_turn_the_page_is_noticed(account, answered):
    same = answered({"data": [{"id": "1", "uuid": "u", "name": "n"}]})
    with pytest.raises(MalformedError, match="nothing but what earlier pages held"):
        converse(account.adapter.containers(), same)


# -- a whole listing --------------------------------------------------------------------------------------------------


@pytest.mark.quirk("salesrocks-paging-without-total")
@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(0, 60),
    size=st.integers(1, 25),
    cap=st.none() | st.integers(1, 30),
    skips_asked_size=st.booleans(),
)
def test_every_contact_is_listed_exactly_once_however_pages_are_cut(account_with, count, size, cap, skips_asked_size):
    account = account_with(page_size=size)
    oids = filled(account, count)
    account.emulator.page_size_max = cap
    account.emulator.skips_asked_size = skips_asked_size
    keys = [one.key for page in account.pages(L) for one in page]
    assert keys == oids


def test_a_listing_takes_no_more_calls_than_needed(account_with):
    for count, calls in ((0, 1), (3, 2), (9, 2), (10, 2), (11, 2), (20, 3), (25, 3)):
        account = account_with(page_size=10)
        filled(account, count)
        list(account.pages(L))
        assert account.paths().count("getListData") == calls, count


def test_records_are_the_providers_own_bytes_under_its_own_id(account):
    (oid,) = filled(account, 1)
    page = account.talk(account.adapter.snapshot(L, None))
    (only,) = page.records
    assert only.key == oid
    assert only.raw in page.body
    assert json.loads(only.raw)["email"] == "p0@example.org"
    assert account.adapter.read(L, only).remote_id == oid


def test_rows_without_a_usable_id_keep_a_key_of_their_own(account, answered):
    rows = [
        {"_id": "plain", "email": "a@example.org"},
        {"email": "b@example.org"},
        {"_id": 5, "email": "c@example.org"},
    ]
    rows += [{"_id": {"$oid": ""}, "email": "d@example.org"}, {"_id": {"oid": "x"}}, 7, None, {"_id": "a\x00b"}]
    page = converse(account.adapter.snapshot(L, None), answered({"data": rows}))
    again = converse(account.adapter.snapshot(L, None), answered({"data": rows}))
    keys = [one.key for one in page.records]
    assert keys[0] == "plain"
    assert len(set(keys)) == 8
    assert all(key.startswith("~") for key in keys[1:])
    assert [one.key for one in again.records] == keys
    seen = [account.adapter.read(L, one) for one in page.records]
    assert [one.identity for one in seen] == [
        "a@example.org",
        "b@example.org",
        "c@example.org",
        "d@example.org",
        *[None] * 4,
    ]
    assert seen[1].remote_id is None


def test_half_an_emoji_in_one_record_does_not_cost_the_page(account, answered):
    rows = rb"""[{"_id":"a","email":"a@x.org","name":"Ann \ud83d"},
        {"_id":"b","email":"b@x.org","name":"\udc00\ud83d\ude00\\ud83d\n"},{"_id":"c","email":"c@x.org","name":"\ud83dx\u00e9"}]"""
    page = converse(account.adapter.snapshot(L, None), answered(b'{"data":' + rows + b"}"))
    seen = [account.adapter.read(L, one) for one in page.records]
    assert [one.identity for one in seen] == ["a@x.org", "b@x.org", "c@x.org"]
    names = [" ".join(one.fields.values()) for one in seen]
    assert names == [
        "Ann \N{REPLACEMENT CHARACTER}",
        "\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}\\ud83d",
        "\N{REPLACEMENT CHARACTER}xé",
    ]


def test_bytes_that_are_not_utf8_spoil_their_record_alone(account, answered):
    rows = b'[{"_id":"a","email":"a@x.org","name":"\xff"},{"_id":"b","email":"b@x.org"}]'
    page = converse(account.adapter.snapshot(L, None), answered(b'{"data":' + rows + b"}"))
    assert [account.adapter.read(L, one).identity for one in page.records] == ["a@x.org", "b@x.org"]
    assert page.records[1].key == "b"


def test_a_listing_that_repeats_its_page_is_an_error_and_not_a_list(account, answered):
    same = answered({"data": [{"_id": "k", "email": "a@example.org"}]})
    page = converse(account.adapter.snapshot(L, None), same)
    with pytest.raises(MalformedError):
        converse(account.adapter.snapshot(L, page.next), same)


@pytest.mark.parametrize("data", [None, {}, "x", 5])
def test_a_page_without_rows_is_not_an_empty_list(account, answered, data):
    with pytest.raises(MalformedError):
        converse(account.adapter.snapshot(L, None), answered({"status_code": 200, "data": data}))


def test_a_page_without_data_is_not_an_empty_list(account, answered):
    with pytest.raises(MalformedError):
        converse(account.adapter.snapshot(L, None), answered({"status": "success", "status_code": 200}))


def test_a_list_under_its_created_id_can_be_read_where_the_provider_takes_it(account):
    filled(account, 2)
    created = account.emulator.lists[L].list_id
    with pytest.raises(RefusedError):
        account.walk(created)
    account.emulator.accept_list_id = True
    assert [one.identity for one in account.walk(created)] == ["p0@example.org", "p1@example.org"]


# -- one contact ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"name": "Ann Smith"}, {"first_name": "Ann", "last_name": "Smith"}),
        ({"name": "  Ann   van  Smith "}, {"first_name": "Ann", "last_name": "van Smith"}),
        ({"name": "Ann"}, {"first_name": "Ann"}),
        ({"name": "Nebojsha", "last_name": "Mitikj"}, {"first_name": "Nebojsha", "last_name": "Mitikj"}),
        ({"name": "A B", "first_name": "Ann", "last_name": "Smith"}, {"first_name": "Ann", "last_name": "Smith"}),
        ({"first_name": "", "last_name": None, "name": "Ann Smith"}, {"first_name": "Ann", "last_name": "Smith"}),
        ({"name": "Anna Maria Smith", "first_name": "Anna Maria"}, {"first_name": "Anna Maria", "last_name": "Smith"}),
        ({"name": "Anna Maria Smith", "last_name": "Smith"}, {"first_name": "Anna Maria", "last_name": "Smith"}),
        ({"name": "Anna Maria", "first_name": "Anna Maria"}, {"first_name": "Anna Maria"}),
        ({"name": "Smith", "last_name": "Smith"}, {"last_name": "Smith"}),
        ({"name": ["Ann"], "first_name": {}}, {"?first_name": "{}", "?last_name": '["Ann"]'}),
        ({"name": ["Ann"], "first_name": "Ann", "last_name": "Bee"}, {"first_name": "Ann", "last_name": "Bee"}),
        ({"name": None}, {}),
        ({}, {}),
    ],
)
def test_names_come_from_their_own_members_or_out_of_one(account, row, fields):
    assert account.adapter.read(L, record({"email": "a@example.org", **row})).fields == fields


def test_other_fields_are_read_where_the_configuration_says(account_with):
    account = account_with(
        fields={"phone": "Mobile", "country": "Land", "postal_code": "zip", "email": "mail"}, phone_region="SE"
    )
    row = {
        "mail": "a@example.org",
        "email": "other@example.org",
        "Mobile": "070-174 06 05",
        "Land": " SE ",
        "zip": 11122,
    }
    seen = account.adapter.read(L, record(row))
    assert seen.identity == "a@example.org"
    assert seen.fields == {"phone": "+46701740605", "country": "SE", "postal_code": "11122"}
    assert (
        account.adapter.read(L, record({"mail": "a@x.org", "Mobile": "+46701740605"})).fields["phone"] == "+46701740605"
    )
    assert account.adapter.read(
        L, record({"mail": "a@x.org", "Mobile": "ask Ann", "Land": [1], "zip": 1.5})
    ).fields == {"phone": "ask Ann", "?country": "[1]", "postal_code": "1.5"}


@pytest.mark.parametrize("email", [5, None, [], {}, True, "", "not an address", "a@b@c"])
def test_an_unusable_address_makes_a_record_without_identity(account, email):
    assert account.adapter.read(L, record({"email": email})).identity is None


def test_the_address_stays_as_it_is_spelt_there(account):
    seen = account.adapter.read(L, record({"email": "Ann.Smith@Example.ORG"}))
    assert (seen.address, seen.identity) == ("Ann.Smith@Example.ORG", "ann.smith@example.org")


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({}, Status.SUBSCRIBED),
        ({"status": "active"}, Status.SUBSCRIBED),
        ({"status": None}, Status.SUBSCRIBED),
        ({"status": "subscribed"}, Status.SUBSCRIBED),
        ({"status": "unsubscribed"}, Status.UNSUBSCRIBED),
        ({"status": " UnSubscribed "}, Status.UNSUBSCRIBED),
        ({"status": "Opted Out"}, Status.UNSUBSCRIBED),
        ({"status": "opt-out"}, Status.UNSUBSCRIBED),
        ({"status": "optout"}, Status.UNSUBSCRIBED),
        ({"status": {"is": "unsubscribed"}}, Status.UNKNOWN),
        ({"unsubscribed": True}, Status.UNSUBSCRIBED),
        ({"Opted Out": "yes"}, Status.UNSUBSCRIBED),
        ({"opt_out": 1}, Status.UNSUBSCRIBED),
        ({"unsubscribed": False}, Status.SUBSCRIBED),
        ({"unsubscribed": 0, "optout": "", "opt_out": None}, Status.SUBSCRIBED),
        ({"unsubscribed": "subscribed"}, Status.SUBSCRIBED),
        ({"unsubscribed": "last week"}, Status.UNKNOWN),
        ({"unsubscribed": [1], "optout": "true"}, Status.UNSUBSCRIBED),
    ],
)
@pytest.mark.parametrize("mode", ["remove", "field"])
def test_a_no_is_a_no_in_both_modes_and_presence_is_membership(account_with, row, status, mode):
    account = account_with(on_unsubscribe=mode)
    assert account.adapter.read(L, record({"email": "a@example.org", **row})).status is status


@pytest.mark.parametrize(
    ("value", "status"), [(1, Status.UNSUBSCRIBED), ("1", Status.UNSUBSCRIBED), (0, Status.SUBSCRIBED)]
)
def test_the_configured_field_and_value_say_no_too(account_with, value, status):
    account = account_with(unsubscribe_field="do_not_mail", unsubscribe_value="1", subscribe_value="0")
    assert account.adapter.read(L, record({"email": "a@example.org", "do_not_mail": value})).status is status


@pytest.mark.parametrize("raw", [b"null", b"[]", b"5", b"{", b""])
def test_a_record_that_cannot_be_read_is_marked_and_never_raises(account, raw):
    seen = account.adapter.read(L, record(raw))
    assert (seen.identity, seen.status, seen.raw) == (None, Status.UNKNOWN, raw)


@pytest.mark.parametrize("raw", [b'{"email":"\\ud800"}', b'{"email":"\xff@x.org"}', b'{"email":"a\\ud800@x.org"}'])
def test_an_address_that_cannot_be_read_is_nobodys(account, raw):
    assert account.adapter.read(L, record(raw)).identity is None


@settings(max_examples=200, deadline=None)
@given(
    row=st.dictionaries(
        st.sampled_from(["email", "name", "first_name", "last_name", "status", "unsubscribed", "_id", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_no_content_makes_reading_raise(account_with, row):
    seen = account_with().adapter.read(L, Record("k", json.dumps(row).encode("utf-8", "surrogatepass")))
    assert all(isinstance(value, str) and value for value in seen.fields.values())
    assert isinstance(seen.address, str)


# -- one person -------------------------------------------------------------------------------------------------------


def test_a_person_is_looked_up_by_every_known_record(account, asked_for):
    filled(account, 1)
    one = account.emulator.add_contact(L, "ann@example.org", "Ann")
    two = account.emulator.add_contact(L, "Ann@Example.org", "Ann S")
    seen = account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", one, two, "0" * 24, "~digest")))
    assert [(o.key, o.address) for o in seen] == [(one, "ann@example.org"), (two, "Ann@Example.org")]
    assert account.paths() == ["getContact"] * 3


@pytest.mark.parametrize("missing", ["404", "200", "null"])
def test_a_contact_that_is_gone_is_not_there_however_the_provider_says_so(account, asked_for, missing):
    filled(account, 1)
    account.emulator.missing_contact = missing
    assert account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", "0" * 24))) == []


def test_without_a_usable_key_nobody_can_be_looked_up(account, asked_for):
    assert account.talk(account.adapter.lookup(asked_for(L, "ann@example.org"))) is None
    assert account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", "~digest"))) is None
    assert not account.requests


def test_a_record_that_is_somebody_elses_by_now_does_not_stand_for_the_person(account, asked_for):
    filled(account, 0)
    oid = account.emulator.add_contact(L, "ann@example.org")
    account.emulator.set_field(L, "ann@example.org", "email", "bob@example.org")
    assert account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", oid))) == []


def test_a_record_of_another_list_does_not_stand_for_the_person(account, asked_for):
    filled(account, 0)
    other = account.emulator.add_list("Other")
    oid = account.emulator.add_contact(other, "ann@example.org")
    assert account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", oid))) == []
    assert len(account.talk(account.adapter.lookup(asked_for(other, "ann@example.org", oid)))) == 1


def test_a_contact_that_names_its_list_by_another_kind_of_id_is_there(account, asked_for):
    filled(account, 0)
    account.emulator.row_list_id = "list_id"
    oid = account.emulator.add_contact(L, "ann@example.org")
    assert len(account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", oid)))) == 1


@pytest.mark.parametrize("body", [{"data": []}, {"status_code": 200, "data": None}])
def test_empty_data_means_not_there(account, asked_for, answered, body):
    assert converse(account.adapter.lookup(asked_for(L, "a@x.org", "k")), answered(body)) == []


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"_id": "other", "email": "a@x.org"}},
        b'{"data":{"_id":"k","name":"\xff"}}',
        {"data": {}},
        {"data": [1]},
        {},
        "[]x",
    ],
)
def test_an_answer_about_something_else_proves_nobodys_absence(account, asked_for, answered, body):
    with pytest.raises(MalformedError):
        converse(account.adapter.lookup(asked_for(L, "a@x.org", "k")), answered(body))


def test_a_404_that_sales_rocks_did_not_write_proves_nobodys_absence(account, asked_for, answered):
    page = answered("<html><h1>404</h1></html>", 404)
    with pytest.raises(MalformedError):
        converse(account.adapter.lookup(asked_for(L, "a@x.org", "k")), page)


def test_reads_may_lag_and_show_how_things_stood(account, asked_for):
    account.emulator.stale_for_s = 60
    account.emulator.add_list("News", str(L))
    oid = account.emulator.add_contact(L, "ann@example.org")
    account.later(61)
    account.emulator.remove_contact(L, "ann@example.org")
    assert [one.key for one in account.walk(L)] == [oid]
    assert len(account.talk(account.adapter.lookup(asked_for(L, "ann@example.org", oid)))) == 1
    account.later(61)
    assert account.walk(L) == []
