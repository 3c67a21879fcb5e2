from __future__ import annotations

import json
import uuid

import pytest

from syncd.domain.changes import Change, ChangeKind, Outcome
from syncd.domain.errors import (
    MalformedError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT
from syncd.emulators.emulator import Fault, FaultKind
from syncd.providers.protocol import CanFeed, CanLogin, CanLookup, CanReport, CanSnapshot, capabilities_of
from syncd.wire import Response, converse


def change(address="Ann+X@Example.org", kind=ChangeKind.UNSUBSCRIBE):
    return Change(kind, WHOLE_ACCOUNT, Identity(address.lower()), address)


def answered(adapter, status, body=b"", headers=None):
    return converse(adapter.apply([change()]), lambda _: Response(status, headers or {}, body))


@pytest.mark.quirk("rokt-nobody-can-be-read-back")
def test_the_type_claims_what_rokt_can_do_and_no_more(adapter, reporting):
    can = capabilities_of(adapter())
    assert (can.accepts, can.notify) == (frozenset({ChangeKind.UNSUBSCRIBE}), True)
    assert {can.snapshot, can.feed, can.lookup, can.report} == {False}
    assert not isinstance(adapter(), CanLogin)
    assert not can.facts.has_lists
    assert can.facts.blind_unsubscribe
    assert can.facts.unsubscribe_is_global
    assert isinstance(reporting(), CanReport)
    assert isinstance(reporting(), CanLogin)
    assert not isinstance(reporting(), CanSnapshot | CanFeed | CanLookup)


def test_an_unsubscribe_ends_the_mail_and_leaves_its_receipt(adapter, rokt, drive):
    (ack,) = drive(adapter(), adapter().apply([change()]))
    assert ack.outcome is Outcome.ACCEPTED
    assert uuid.UUID(ack.receipt).version == 4
    assert rokt.receipts == {ack.receipt: "Ann+X@Example.org"}
    assert set(rokt.unsubscribed) == {"ann+x@example.org"}
    assert rokt.writes == 1


def test_the_request_is_as_documented_and_not_to_be_repeated_blindly(adapter):
    request = next(adapter().apply([change()]))
    assert json.loads(request.body) == {"email": "Ann+X@Example.org"}
    assert request.headers["authorization"] == "rokt-key"
    assert request.headers["accept"] == "application/json"
    assert not request.token
    assert not request.repeatable
    assert "example" not in request.label


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id":', b'{"id":5}', b"[]", b"{}", b"\xff"])
def test_received_is_received_even_where_the_id_cannot_be_read(adapter, body):
    (ack,) = answered(adapter(), 201, body)
    assert (ack.outcome, ack.receipt) == (Outcome.ACCEPTED, None)
    assert ack.reason


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_other_success_is_no_promise(adapter, status):
    (ack,) = answered(adapter(), status, b'{"id":"x"}')
    assert (ack.outcome, ack.receipt) == (Outcome.UNCERTAIN, None)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_record_is_refused_with_a_reason_that_names_nobody(adapter, status):
    (ack,) = answered(adapter(), status, b'{"message":"bad ann+x@example.org"}')
    assert ack.outcome is Outcome.REFUSED
    assert str(status) in ack.reason
    assert "example" not in ack.reason


@pytest.mark.quirk("rokt-import-status-of-a-wrong-key")
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, UnauthorisedError),
        (403, UnauthorisedError),
        (429, ThrottledError),
        (500, UnavailableError),
        (503, UnavailableError),
        (408, UnavailableError),
        (301, MalformedError),
        (404, MalformedError),
        (405, MalformedError),
        (409, RefusedError),
    ],
)
def test_each_other_answer_has_its_error(adapter, status, error):
    with pytest.raises(error) as caught:
        answered(adapter(), status, b'{"error":{"message":"no ann@example.org with rokt-key"}}')
    assert type(caught.value) is error
    assert "example" not in str(caught.value)
    assert "rokt-key" not in str(caught.value)
    assert str(status) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120.0), ("Sat, 21 Nov 2026 09:01:30 GMT", 90.0), ("Sat, 21 Nov 2026 08:00:00 GMT", 0.0), ("soon", None)],
)
def test_the_wait_asked_for_is_read(adapter, value, seconds):
    with pytest.raises(ThrottledError) as caught:
        answered(adapter(), 429, b"", {"retry-after": value})
    assert caught.value.retry_after_s == seconds


def test_a_wrong_key_says_where_the_right_one_is(adapter, rokt, drive):
    wrong = adapter(api_key="other")
    with pytest.raises(UnauthorisedError) as caught:
        drive(wrong, wrong.apply([change()]))
    assert "Webhook API Key" in caught.value.hint
    assert not rokt.unsubscribed


def test_an_address_rokt_calls_malformed_is_refused(adapter, rokt):
    (ack,) = converse(adapter().apply([change("no one@example.org")]), rokt.handle)
    assert ack.outcome is Outcome.REFUSED
    assert not rokt.unsubscribed


@pytest.mark.parametrize("address", ["sha256:" + "a" * 64, "md5:" + "b" * 32])
def test_a_person_known_by_digest_is_refused_without_a_call(adapter, rokt, address):
    exchange = adapter().apply([change(address)])
    (ack,) = converse(exchange, rokt.handle)
    assert ack.outcome is Outcome.REFUSED
    assert not rokt.calls


@pytest.mark.parametrize("kind", [ChangeKind.SUBSCRIBE, ChangeKind.UPDATE])
def test_nothing_but_an_unsubscribe_is_sent(adapter, rokt, kind):
    (ack,) = converse(adapter().apply([change(kind=kind)]), rokt.handle)
    assert ack.outcome is Outcome.REFUSED
    assert not rokt.calls


def test_html_with_200_is_not_taken_for_a_yes(adapter, rokt):
    rokt.faults.append(Fault(FaultKind.HTML))
    (ack,) = converse(adapter().apply([change()]), rokt.handle)
    assert ack.outcome is Outcome.UNCERTAIN


def test_an_answer_that_ends_early_loses_only_the_receipt(adapter, rokt):
    rokt.faults.append(Fault(FaultKind.TRUNCATED))
    (ack,) = converse(adapter().apply([change()]), rokt.handle)
    assert (ack.outcome, ack.receipt) == (Outcome.ACCEPTED, None)
    assert rokt.unsubscribed


@pytest.mark.quirk("rokt-import-is-production-only")
def test_the_check_asks_nothing_of_a_service_that_has_no_harmless_call(adapter, rokt):
    assert converse(adapter().check(), rokt.handle) is None
    assert not rokt.calls
