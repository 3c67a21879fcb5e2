from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from syncd.domain.changes import Target
from syncd.domain.errors import (
    MalformedError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Record, Status
from syncd.emulators.emulator import Fault, FaultKind
from syncd.providers.protocol import (
    CanApply,
    CanFeed,
    CanList,
    CanLogin,
    CanLookup,
    CanNotify,
    CanRegister,
    CanReport,
    CanSnapshot,
    capabilities_of,
)
from syncd.wire import Response, converse


def query(request):
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def test_it_can_do_everything_a_provider_can(crm):
    for ability in (CanApply, CanFeed, CanList, CanLogin, CanLookup, CanNotify, CanRegister, CanReport, CanSnapshot):
        assert isinstance(crm.adapter, ability)
    facts = capabilities_of(crm.adapter).facts
    assert facts.fields == {"first_name", "last_name", "phone"}
    assert not facts.keeps_duplicates  # two customers of one address are two claims on it, not copies
    assert facts.looks_before_subscribe
    assert facts.has_lists
    assert not facts.blind_unsubscribe


def test_containers_are_the_customers_and_every_list_with_its_count(crm):
    crm.emulator.add_list("L-1", "Spring")
    crm.emulator.add_list("L/2 ä", "Odd id")
    crm.emulator.add_member("L-1", crm.emulator.add_customer("ann@example.org"))
    found = crm.carry(crm.adapter.containers())
    assert [(one.id, one.name, one.active) for one in found] == [
        ("*", "customers", None),
        ("L-1", "Spring", 1),
        ("L/2 ä", "Odd id", 0),
    ]


def test_a_list_without_id_is_left_out_and_odd_members_do_no_harm(crm):
    body = b'[{"name":"x"},{"id":7,"name":3,"memberCount":"many"},5,{"id":"L","memberCount":true}]'
    found = converse(crm.adapter.containers(), lambda _: Response(200, {}, body))
    assert [(one.id, one.name, one.active) for one in found] == [
        ("*", "customers", None),
        ("7", "7", None),
        ("L", "L", None),
    ]


def test_a_customer_is_read_with_consent_and_fields(crm):
    key = crm.emulator.add_customer("Ann@Example.org", "Ann", "Berg", mobile="+46701234567")
    seen = crm.everyone()[key]
    assert seen.container == WHOLE_ACCOUNT
    assert (seen.key, seen.remote_id) == (key, key)
    assert (seen.address, seen.identity) == ("Ann@Example.org", "ann@example.org")
    assert seen.status is Status.SUBSCRIBED
    assert seen.fields == {"first_name": "Ann", "last_name": "Berg", "phone": "+46701234567"}
    assert json.loads(seen.raw)["id"] == key
    assert seen.unsubscribed_at is None


@pytest.mark.parametrize(
    ("consent", "status"),
    [
        (True, Status.SUBSCRIBED),
        (False, Status.UNSUBSCRIBED),
        (None, Status.UNKNOWN),
        ("false", Status.UNKNOWN),
        (0, Status.UNKNOWN),
        ([], Status.UNKNOWN),
    ],
)
def test_only_a_boolean_is_a_consent(crm, consent, status):
    record = Record("C", json.dumps({"id": "C", "email": "a@example.org", "emailConsent": consent}).encode())
    assert crm.adapter.read(WHOLE_ACCOUNT, record).status is status


def test_a_missing_consent_is_nobodys_consent(crm):
    seen = crm.adapter.read(WHOLE_ACCOUNT, Record("C", b'{"id":"C","email":"a@example.org"}'))
    assert seen.status is Status.UNKNOWN
    assert seen.identity == "a@example.org"


@pytest.mark.parametrize(
    ("mobile", "region", "phone"),
    [
        ("+46701234567", None, "+46701234567"),
        ("+46 70-123 45 67", None, "+46701234567"),
        ("070-123 45 67", "SE", "+46701234567"),
        ("070-123 45 67", None, "070-123 45 67"),
        ("call me", None, "call me"),
        ("  ", None, None),
        (["+46701234567"], None, None),
    ],
)
def test_phones_are_e164_or_as_they_came(crm, mobile, region, phone):
    crm.use(phone_region=region) if region else None
    record = Record("C", json.dumps({"id": "C", "email": "a@example.org", "mobile": mobile}).encode())
    assert crm.adapter.read(WHOLE_ACCOUNT, record).fields.get("phone") == phone


def test_a_blank_field_is_not_in_the_observation(crm):
    key = crm.emulator.add_customer("ann@example.org", "", "  ")
    assert crm.everyone()[key].fields == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"5",
        b"null",
        b'"x"',
        b"[]",
        b"{}",
        b'{"id":null,"email":"a@example.org"}',
        b'{"id":"","email":"a@example.org"}',
        b'{"id":"C","email":7,"emailConsent":true}',
        b'{"id":"C"}',
        b'{"id":"C","email":"nobody"}',
        b'{"id":"C","email":"\xff@example.org"}',
        b'{"id":true,"email":"a@example.org"}',
        b'{"id":"C","email":' + b"[" * 3000,
    ],
)
@pytest.mark.parametrize("container", [WHOLE_ACCOUNT, ContainerId("L-1")])
def test_odd_content_is_marked_and_never_raises(crm, container, raw):
    seen = crm.adapter.read(container, Record("k", raw))
    assert seen.identity is None
    assert seen.raw == raw
    assert seen.key == "k"


def test_one_odd_record_does_not_spoil_its_page(crm):
    ann = {"id": "C-1", "email": "a@example.org", "emailConsent": True}
    found = [ann, 5, {"id": [1]}, {"id": "C-2", "email": {}}, {"id": 2**70}, {"id": "a\x00b"}]
    body = json.dumps({"page": 1, "pageSize": 500, "totalCount": 6, "customers": found}).encode()
    page = converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body))
    seen = [crm.adapter.read(WHOLE_ACCOUNT, record) for record in page.records]
    assert [one.identity for one in seen] == ["a@example.org", *[None] * 5]
    assert page.records[4].key == str(2**70)
    assert "\x00" not in page.records[5].key
    assert len({record.key for record in page.records}) == 6
    again = converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body))
    assert again.records == page.records


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("subscribed", Status.SUBSCRIBED),
        ("Unsubscribed", Status.UNSUBSCRIBED),
        ("bounced", Status.BOUNCED),
        ("complained", Status.COMPLAINED),
        ("paused", Status.UNKNOWN),
        ("", Status.UNKNOWN),
        (None, Status.UNKNOWN),
        (1, Status.UNKNOWN),
    ],
)
def test_member_words_are_translated_and_unknown_ones_kept(crm, word, status):
    raw = json.dumps({"customerId": "C", "email": "a@example.org", "status": word, "changedAt": "2026-01-01T00:00:00Z"})
    seen = crm.adapter.read(ContainerId("L-1"), Record("C", raw.encode()))
    assert seen.status is status
    assert seen.fields == {}
    assert json.loads(seen.raw)["status"] == word


def test_status_words_can_be_added_and_replaced(crm):
    crm.use(status_words={"Paused": "pending", "bounced": "unsubscribed"})
    for word, status in (
        ("paused", Status.PENDING),
        ("bounced", Status.UNSUBSCRIBED),
        ("subscribed", Status.SUBSCRIBED),
    ):
        raw = json.dumps({"customerId": "C", "email": "a@example.org", "status": word}).encode()
        assert crm.adapter.read(ContainerId("L-1"), Record("C", raw)).status is status


@pytest.mark.quirk("rocs-modified-for-any-reason")
def test_the_time_of_an_unsubscribe_is_the_members_own_and_never_a_customers(crm):
    crm.emulator.add_list("L-1", "Spring")
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.add_member("L-1", key)
    assert crm.everyone("L-1")[key].unsubscribed_at is None
    crm.pass_time()
    crm.emulator.unsubscribe_member("L-1", "ann@example.org")
    assert crm.everyone("L-1")[key].unsubscribed_at == "2026-11-21T12:01:00.000Z"
    crm.emulator.withdraw_consent("ann@example.org")
    assert crm.everyone()[key].unsubscribed_at is None


# Paging


def test_a_listing_walks_all_pages_and_tells_the_total(crm):
    crm.use(page_size=3)
    keys = [crm.emulator.add_customer(f"p{n}@example.org") for n in range(7)]
    pages = crm.pages()
    assert [len(page.records) for page in pages] == [3, 3, 1]
    assert [page.next for page in pages] == ["2", "3", None]
    assert {page.total for page in pages} == {7}
    assert [record.key for page in pages for record in page.records] == keys


def test_a_page_that_is_just_full_is_the_last(crm):
    crm.use(page_size=3)
    for n in range(6):
        crm.emulator.add_customer(f"p{n}@example.org")
    assert [len(page.records) for page in crm.pages()] == [3, 3]


def test_an_empty_account_is_one_empty_page(crm):
    (page,) = crm.pages()
    assert (page.records, page.next, page.total, page.watermark) == ((), None, 0, None)


@pytest.mark.quirk("rocs-page-size-capped")
def test_a_page_size_that_is_capped_without_a_word_loses_nobody(crm):
    crm.emulator.page_size_max = 2
    keys = {crm.emulator.add_customer(f"p{n}@example.org") for n in range(7)}
    assert crm.everyone().keys() == keys
    assert len(crm.pages()) == 4


def test_an_empty_page_before_the_total_ends_the_listing_with_fewer_than_counted(crm):
    body = b'{"page":3,"pageSize":500,"totalCount":5000,"customers":[]}'
    page = converse(crm.adapter.snapshot(WHOLE_ACCOUNT, "3"), lambda _: Response(200, {}, body))
    assert page.next is None
    assert page.total == 5000


def test_a_service_that_answers_another_page_than_asked_is_not_followed(crm):
    body = b'{"page":1,"pageSize":1,"totalCount":9,"customers":[{"id":"C"}]}'
    with pytest.raises(MalformedError, match="another page"):
        converse(crm.adapter.snapshot(WHOLE_ACCOUNT, "2"), lambda _: Response(200, {}, body))


@pytest.mark.parametrize("size", ["null", "0", "-5"])
def test_a_page_that_does_not_tell_its_size_is_taken_for_what_was_asked(crm, size):
    body = f'{{"page":1,"pageSize":{size},"totalCount":501,"customers":[{{"id":"C"}}]}}'.encode()
    page = converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body))
    assert page.next == "2"


def test_members_are_listed_under_their_list_whatever_its_id_holds(crm):
    crm.use(page_size=2)
    crm.emulator.add_list("a/b ?ä", "Odd id")
    keys = [crm.emulator.add_customer(f"p{n}@example.org") for n in range(3)]
    for key in keys:
        crm.emulator.add_member("a/b ?ä", key)
    assert list(crm.everyone("a/b ?ä")) == keys


# Feeds


def test_a_feed_names_only_what_changed_and_the_last_one_again(crm):
    ann, bo = crm.emulator.add_customer("ann@example.org"), crm.emulator.add_customer("bo@example.org")
    crm.pass_time()
    crm.emulator.edit_customer(bo, first_name="Bo")
    (page,) = crm.pages()
    assert page.watermark == "2026-11-21T12:01:00.000Z"
    assert crm.everyone(since=page.watermark).keys() == {bo}
    crm.pass_time()
    crm.emulator.withdraw_consent("ann@example.org")
    found = crm.everyone(since=page.watermark)
    assert found.keys() == {ann, bo}
    assert found[ann].status is Status.UNSUBSCRIBED
    assert query(crm.asked[-1])["modifiedSince"] == page.watermark


def test_a_list_has_a_feed_of_its_own(crm):
    crm.emulator.add_list("L-1", "Spring")
    keys = [crm.emulator.add_customer(f"p{n}@example.org") for n in range(3)]
    for key in keys:
        crm.emulator.add_member("L-1", key)
    (page,) = crm.pages("L-1")
    crm.pass_time()
    crm.emulator.unsubscribe_member("L-1", "p1@example.org")
    crm.pass_time()
    crm.emulator.mark_member("L-1", "p2@example.org", "complained")
    found = crm.everyone("L-1", since=page.watermark.replace("12:00:00", "12:00:01"))
    assert {key: one.status for key, one in found.items()} == {keys[1]: Status.UNSUBSCRIBED, keys[2]: Status.COMPLAINED}
    assert "changedSince" in query(crm.asked[-1])


def test_the_watermark_is_the_newest_time_in_its_own_spelling(crm):
    times = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.900Z", "2026-01-02T04:04:05+01:00", "never", None, 7]
    customers = [{"id": str(n), "modifiedAt": time} for n, time in enumerate(times)]
    body = json.dumps({"page": 1, "pageSize": 500, "totalCount": 6, "customers": customers}).encode()
    page = converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body))
    assert page.watermark == "2026-01-02T03:04:05.900Z"


# Looking somebody up


def test_a_customer_is_found_by_address_in_any_case(crm):
    key = crm.emulator.add_customer("Dora+News@Example.com")
    (seen,) = crm.look("dora+news@example.com")
    assert seen.key == key
    assert seen.address == "Dora+News@Example.com"
    assert query(crm.asked[-1])["email"] == "dora+news@example.com"


def test_an_unknown_address_is_not_there(crm):
    crm.emulator.add_customer("ann@example.org")
    assert crm.look("bo@example.org") == []


@pytest.mark.quirk("rocs-two-customers-one-address")
def test_all_customers_that_share_an_address_are_found(crm):
    keys = [crm.emulator.add_customer("ann@example.org"), crm.emulator.add_customer("ANN@example.org")]
    assert [one.key for one in crm.look("ann@example.org")] == keys


def test_the_normal_form_is_tried_where_the_known_spelling_finds_nobody(crm):
    asked = []

    def exact(request):
        asked.append(query(request)["email"])
        body = {"page": 1, "pageSize": 500, "totalCount": 0, "customers": []}
        if asked[-1] == "ann@example.org":
            body |= {"totalCount": 1, "customers": [{"id": "C", "email": "ann@example.org", "emailConsent": False}]}
        return Response(200, {}, json.dumps(body).encode())

    found = converse(crm.adapter.lookup(Target(WHOLE_ACCOUNT, Identity("ann@example.org"), "Ann@example.org")), exact)
    assert asked == ["Ann@example.org", "ann@example.org"]
    assert [one.status for one in found] == [Status.UNSUBSCRIBED]


def test_a_known_customer_who_moved_to_another_address_is_found_by_key(crm):
    key = crm.emulator.add_customer("old@example.org")
    crm.emulator.edit_customer(key, email="new@example.org")
    (seen,) = crm.look("old@example.org", keys=(key,), account_key=key)
    assert seen.identity == "new@example.org"


def test_a_known_key_that_is_found_by_address_costs_no_further_call(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.carry(crm.adapter.check())
    before = len(crm.asked)
    crm.look("ann@example.org", keys=(key,), account_key=key)
    assert len(crm.asked) == before + 1


@pytest.mark.quirk("rocs-unknown-id-is-500")
def test_a_known_customer_who_answers_as_if_unknown_cannot_be_told(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.remove_customer(key)
    assert crm.look("ann@example.org", keys=(key,)) is None


def test_an_outage_during_a_look_up_is_an_outage(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.edit_customer(key, email="b@example.org")
    crm.emulator.faults.append(Fault(FaultKind.FAILED, f"/customers/{key}"))
    with pytest.raises(UnavailableError):
        crm.look("ann@example.org", keys=(key,))


def test_a_single_member_cannot_be_looked_up(crm):
    crm.emulator.add_list("L-1", "Spring")
    assert crm.look("ann@example.org", "L-1") is None
    assert crm.asked == []


@pytest.mark.quirk("rocs-parameter-passed-over")
def test_a_search_that_is_not_honoured_is_noticed(crm):
    strangers = [{"id": "1", "email": "x@example.org"}] * 2
    body = json.dumps({"page": 1, "pageSize": 2, "totalCount": 9, "customers": strangers}).encode()
    target = Target(WHOLE_ACCOUNT, Identity("ann@example.org"), "ann@example.org")
    with pytest.raises(MalformedError, match="not honoured"):
        converse(crm.adapter.lookup(target), lambda _: Response(200, {}, body))


def test_strangers_in_a_search_result_are_not_taken_for_the_person(crm):
    customers = [{"id": "1", "email": "xann@example.org"}, {"id": "2", "email": "Ann@example.org"}]
    body = json.dumps({"page": 1, "pageSize": 500, "totalCount": 2, "customers": customers}).encode()
    target = Target(WHOLE_ACCOUNT, Identity("ann@example.org"), "ann@example.org")
    found = converse(crm.adapter.lookup(target), lambda _: Response(200, {}, body))
    assert [one.key for one in found] == ["2"]


# Dynamic fields


def test_dynamic_fields_are_named_with_their_types(crm):
    crm.emulator.define_dynamic("land")
    crm.emulator.define_dynamic("zip", "number")
    assert crm.carry(crm.adapter.dynamic_fields()) == {"land": "string", "zip": "number"}


@pytest.mark.quirk("rocs-dynamic-fields-apart")
def test_mapped_dynamic_fields_are_read_with_a_look_up(crm):
    crm.use(fields={"country": "dynamic:land", "postal_code": "dynamic:zip", "language": "dynamic:flag"})
    for name, kind in (("land", "string"), ("zip", "number"), ("flag", "boolean"), ("shoes", "number")):
        crm.emulator.define_dynamic(name, kind)
    key = crm.emulator.add_customer("ann@example.org", "Ann")
    crm.emulator.set_dynamic(key, {"land": " SE ", "zip": 12345678901234567890, "flag": True, "shoes": 41})
    (seen,) = crm.look("ann@example.org")
    assert seen.fields == {
        "first_name": "Ann",
        "country": "SE",
        "postal_code": "12345678901234567890",
        "language": "true",
    }
    assert crm.adapter.facts.fields == {"first_name", "last_name", "phone", "country", "postal_code", "language"}


def test_dynamic_fields_that_are_missing_or_null_are_not_there(crm):
    crm.use(fields={"country": "dynamic:land", "language": "dynamic:lang"})
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.set_dynamic(key, {"land": None})
    (seen,) = crm.look("ann@example.org")
    assert seen.fields == {}


def test_dynamic_fields_are_not_asked_for_unless_mapped(crm):
    crm.emulator.add_customer("ann@example.org")
    crm.look("ann@example.org")
    assert not [request for request in crm.asked if "dynamic" in request.url]


# Other names than the assumed ones


@pytest.mark.quirk("rocs-names-are-assumed")
def test_every_path_and_name_can_be_another(crm):
    crm.use(
        paths={"customers": "/v2/kunden"},
        names={
            "customer.id": "nr",
            "customer.email": "post",
            "customer.consent": "ja",
            "customer.modified": "stand",
            "customer.first_name": "vorname",
            "page.customers": "kunden",
            "page.total": "anzahl",
            "page.size": "je",
            "page.number": "seite",
            "query.page": "s",
            "query.size": "j",
            "query.modified_since": "seit",
        },
    )
    asked = []

    def answer(request):
        asked.append(request)
        kunde = {"nr": 9, "post": "ann@example.org", "ja": False, "stand": "2026-01-01T00:00:00Z", "vorname": "Ann"}
        body = {"seite": 1, "je": 500, "anzahl": 1, "kunden": [kunde], "totalCount": "x", "customers": None}
        return Response(200, {}, json.dumps(body).encode())

    page = converse(crm.adapter.feed(WHOLE_ACCOUNT, "2025-01-01T00:00:00+00:00", None), answer)
    (record,) = page.records
    seen = crm.adapter.read(WHOLE_ACCOUNT, record)
    assert (seen.key, seen.identity, seen.status) == ("9", "ann@example.org", Status.UNSUBSCRIBED)
    assert seen.fields == {"first_name": "Ann"}
    assert page.watermark == "2026-01-01T00:00:00Z"
    assert urlsplit(asked[0].url).path == "/v2/kunden"
    assert query(asked[0]) == {"s": "1", "j": "500", "seit": "2025-01-01T00:00:00+00:00"}


# What goes wrong


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html>",
        b'{"page":1,"totalCount":1,"customers":[{"id"',
        b"null",
        b"[]",
        b"{}",
        b'{"page":1,"pageSize":500,"totalCount":1}',
        b'{"page":1,"pageSize":500,"customers":[]}',
        b'{"page":1,"pageSize":500,"totalCount":"1","customers":[]}',
        b'{"error":"nope"}',
        b'{"message":"nope"}',
        b"[" * 5000,
        b'{"page":1,"pageSize":500,"totalCount":NaN,"customers":[]}',
    ],
)
def test_an_answer_of_another_shape_says_nothing(crm, body):
    with pytest.raises(MalformedError) as raised:
        converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body))
    assert raised.value.call == "get-customers"


@pytest.mark.quirk("rocs-charset-checked")
def test_a_byte_order_mark_does_no_harm(crm):
    body = b'\xef\xbb\xbf{"page":1,"pageSize":500,"totalCount":0,"customers":[]}'
    assert converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body)).total == 0


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.TRUNCATED, FaultKind.EMPTY])
@pytest.mark.parametrize("call", ["check", "containers", "dynamic_fields"])
def test_pages_and_torsos_instead_of_json_are_malformed(crm, kind, call):
    crm.emulator.add_list("L-1", "Spring")
    crm.emulator.define_dynamic("land")
    crm.carry(crm.adapter.check())
    crm.emulator.faults.append(Fault(kind))
    with pytest.raises(MalformedError):
        crm.carry(getattr(crm.adapter, call)())


@pytest.mark.quirk("rocs-statuses-not-mentioned")
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, UnauthorisedError),
        (403, UnauthorisedError),
        (404, RefusedError),
        (400, RefusedError),
        (408, UnavailableError),
        (429, ThrottledError),
        (500, UnavailableError),
        (503, UnavailableError),
        (302, MalformedError),
        (304, MalformedError),
    ],
)
def test_each_status_says_what_to_do_next(crm, status, error):
    body = b'{"message":"no room for Ann@Example.org,\\n call +46 70-123 45 67"}'
    with pytest.raises(error) as raised:
        converse(
            crm.adapter.check(), lambda _: Response(status, {"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, body)
        )
    assert raised.value.call == "get-lists"
    assert "xample" not in raised.value.message
    assert "123" not in raised.value.message
    if error is ThrottledError:
        assert raised.value.retry_after_s == 30


@pytest.mark.parametrize(
    ("header", "wait"), [("12", 12), ("", None), ("soon", None), ("-3", None), ("Sat, 21 Nov 2026 11:00:00 GMT", 0)]
)
def test_retry_after_is_seconds_or_a_date_or_nothing(crm, header, wait):
    with pytest.raises(ThrottledError) as raised:
        converse(crm.adapter.check(), lambda _: Response(429, {"retry-after": header}, b""))
    assert raised.value.retry_after_s == wait


def test_a_customer_who_answers_as_another_is_malformed(crm):
    def answer(request):
        if "email=" in request.url:
            return Response(200, {}, b'{"page":1,"pageSize":500,"totalCount":0,"customers":[]}')
        return Response(200, {}, b'{"id":"C-2","email":"bo@example.org","emailConsent":true}')

    target = Target(WHOLE_ACCOUNT, Identity("ann@example.org"), "ann@example.org", keys=("C-1",))
    with pytest.raises(MalformedError):
        converse(crm.adapter.lookup(target), answer)


def test_labels_name_calls_and_nobody(crm):
    crm.use(fields={"country": "dynamic:land"})
    crm.emulator.add_list("L-1", "Spring")
    key = crm.emulator.add_customer("ann@example.org", "Ann")
    crm.emulator.edit_customer(key, email="ann2@example.org")
    crm.look("ann@example.org", keys=(key,))
    crm.pages("L-1")
    assert {request.label for request in crm.asked} == {
        "token",
        "get-customers",
        "get-customer",
        "get-customer_dynamic",
        "get-members",
    }
    assert all(request.repeatable for request in crm.asked)


def test_a_customer_without_dynamic_fields_and_one_with_odd_ones(crm):
    crm.use(fields={"country": "dynamic:land"})
    ann = {"id": "C", "email": "ann@example.org", "firstName": 5, "lastName": 1.5, "emailConsent": True}
    target = Target(WHOLE_ACCOUNT, Identity("ann@example.org"), "ann@example.org")

    def fields(dynamic):
        def answer(request):
            page = {"page": 1, "pageSize": 500, "totalCount": 1, "customers": [ann]}
            return dynamic if request.label == "get-customer_dynamic" else Response(200, {}, json.dumps(page).encode())

        (seen,) = converse(crm.adapter.lookup(target), answer)
        return seen.fields

    name = {"first_name": "5", "?last_name": "1.5"}
    assert fields(Response(500, {}, b'{"message":"Customer not found"}')) == name
    assert fields(Response(404, {}, b"")) == name
    assert fields(Response(200, {}, b'{"land":"\xff"}')) == name | {"?country": "\ufffd"}
    assert fields(Response(200, {}, b'{"land":["SE"]}')) == name | {"?country": '["SE"]'}
    assert fields(Response(200, {}, b'{"land":null}')) == name
    assert fields(Response(200, {}, b'{"land":1.50}')) == name | {"country": "1.50"}
    with pytest.raises(UnavailableError):
        fields(Response(500, {}, b'{"message":"disk full"}'))
    with pytest.raises(MalformedError):
        fields(Response(200, {}, b"<html>"))


def test_customers_keep_their_consent_apart_from_their_lists(crm):
    crm.emulator.add_list("L-1", "Spring")
    key = crm.emulator.add_customer("ann@example.org", consent=False)
    crm.emulator.add_member("L-1", key)
    assert crm.everyone()[key].status is Status.UNSUBSCRIBED
    assert crm.everyone("L-1")[key].status is Status.SUBSCRIBED
    crm.emulator.give_consent("ann@example.org")
    assert crm.everyone()[key].status is Status.SUBSCRIBED
