"""What goes out, in every method, encoding and kind of proof, and what an answer makes of it."""

from __future__ import annotations

import base64
import html
import json
import re
from itertools import product
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.domain.changes import Change, ChangeKind, Outcome
from syncd.domain.errors import ThrottledError, UnauthorisedError, UnavailableError
from syncd.emulators.http import basic
from syncd.providers.http.adapter import SHOWN_MAX
from syncd.providers.protocol import CanLookup, CanNotify, CanSnapshot, CanTry, capabilities_of
from syncd.wire import Request, Response, converse
from tests.providers.http.conftest import (
    BASE,
    PLAIN,
    TELLING,
    adapter,
    described,
    receiver,
    send,
    subscribe,
    unsubscribe,
)

METHODS = ("POST", "PUT", "GET")
ENCODINGS = ("json", "form", "text", "xml")
PROOFS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "none": ({"kind": "none"}, {}),
    "basic": ({"kind": "basic", "username": "us", "password": "p:w"}, dict(basic("us", "p:w"))),
    "api_key": ({"kind": "api_key", "header": "X-Key", "key": "k-1"}, {"x-key": "k-1"}),
    "client": (
        {"kind": "client", "client_id": "id-1", "client_secret": "s-1"},
        {"x-client-id": "id-1", "x-client-secret": "s-1"},
    ),
    "bearer": ({"kind": "bearer", "token": "t-1"}, {"authorization": "Bearer t-1"}),
}
ODD = 'Zoë "O\'Neil" <b>&amp; = %20\nsecond=line\r\n]]> {"a":1}'
NESTED = {"email": "person.email", "first_name": "person.name.first", "last_name": "person.name.last", "list": "list"}


@pytest.mark.parametrize(("method", "encoding", "proof"), list(product(METHODS, ENCODINGS, PROOFS)))
def test_every_method_encoding_and_proof_delivers_the_same_record(method: str, encoding: str, proof: str):
    auth, headers = PROOFS[proof]
    crm = receiver(method=method, encoding=encoding, proof=headers, address="person.email", required={"person.email"})
    crm.known = {*NESTED.values(), "source", "consent"}
    connection = adapter(
        method=method,
        encoding=encoding,
        auth=auth,
        fields=NESTED,
        constants={"source": "a&b", "consent": True},
        xml_root="person",
    )
    crm.xml_root = "person"
    ack = send(connection, subscribe("Ann@example.org", "L-1", first_name=ODD, last_name="Lee"), crm)
    assert ack.outcome is Outcome.ACCEPTED
    (record,) = crm.deliveries
    assert record == {
        "person.email": "Ann@example.org",
        "person.name.first": 'Zoë "O\'Neil" <b>&amp; = %20 second=line  ]]> {"a":1}',
        "person.name.last": "Lee",
        "list": "L-1",
        "source": "a&b",
        "consent": "true",
    }
    if headers:
        crm.proof = {name: f"{value}x" for name, value in headers.items()}
        with pytest.raises(UnauthorisedError):
            send(connection, subscribe("ben@example.org"), crm)


@pytest.mark.quirk("http-nothing-can-be-read-back")
def test_nobody_can_be_listed_or_looked_up_and_a_no_is_taken_only_where_it_is_configured():
    for keys, accepts in ((PLAIN, {ChangeKind.SUBSCRIBE}), (TELLING, {ChangeKind.SUBSCRIBE, ChangeKind.UNSUBSCRIBE})):
        connection = adapter(**keys)
        can = capabilities_of(connection)
        assert can.accepts == accepts
        assert not isinstance(connection, CanSnapshot | CanLookup | CanNotify)
        assert (can.readable, can.connection) == (False, True)
        assert isinstance(connection, CanTry)
        assert converse(connection.check(), lambda _: pytest.fail("nothing is asked")) is None


def test_a_field_of_which_nothing_is_known_is_left_out():
    crm = receiver()
    send(adapter(), subscribe(first_name="  ", last_name="Lee"), crm)
    assert crm.deliveries == [{"email": "ann@example.org", "last_name": "Lee"}]


def test_one_without_what_is_required_is_not_sent():
    crm = receiver()
    connection = adapter(fields={"email": "email", "phone": "phone"}, required=["email", "phone"])
    ack = send(connection, subscribe(), crm)
    assert (ack.outcome, ack.reason) == (Outcome.REFUSED, "required there, and not known: phone")
    assert crm.calls == []


def test_the_headers_of_the_connection_go_with_every_call():
    connection = adapter(headers={"X-Source": "syncd", "Accept": "application/json"})
    request = next(connection.apply([subscribe()]))
    assert request.headers == {
        "content-type": "application/json",
        "x-source": "syncd",
        "accept": "application/json",
        "x-api-key": "http-key",
    }
    assert (request.repeatable, request.token, request.label) == (False, False, "http deliver")


def test_a_query_of_the_endpoint_stays():
    request = next(adapter(endpoint=f"{BASE}/subscribers/?form=7", method="GET").apply([subscribe()]))
    assert request.url == f"{BASE}/subscribers/?form=7&email=ann%40example.org"
    assert request.body == b""


@pytest.mark.parametrize(("method", "encoding"), list(product((*METHODS, "DELETE"), ENCODINGS)))
def test_who_said_no_is_told_of_by_every_method_in_every_encoding(method: str, encoding: str):
    crm = receiver(encoding=encoding, unsubscribe_method=method)
    connection = adapter(encoding=encoding, unsubscribe={"endpoint": f"{BASE}/unsubscribes", "method": method})
    send(connection, subscribe("Ann+b@example.org"), crm)
    assert send(connection, unsubscribe("Ann+b@example.org"), crm).outcome is Outcome.ACCEPTED
    assert set(crm.unsubscribed) == {"ann+b@example.org"}
    assert [call.method for call in crm.calls] == ["POST", method]
    refused = send(connection, unsubscribe("ben@example.org"), crm)
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "answered 422 (as usual: 4xx: rejected)")


def test_an_unsubscribe_has_a_method_names_and_rules_of_its_own():
    there = {
        "endpoint": f"{BASE}/unsubscribes",
        "method": "DELETE",
        "fields": {"email": "who", "list": "which"},
        "constants": {"why": "unsubscribed"},
        "rules": [{"status": [404], "verdict": "duplicate"}],
    }
    exchange = adapter(unsubscribe=there).apply([unsubscribe()])
    request = next(exchange)
    assert (request.method, request.body) == ("DELETE", b"")
    assert request.url == f"{BASE}/unsubscribes?why=unsubscribed&who=ann%40example.org&which=%2A"
    with pytest.raises(StopIteration) as ended:
        exchange.send(Response(404))
    assert ended.value.value[0].outcome is Outcome.ACCEPTED


def test_a_connection_that_cannot_be_told_of_a_no_is_not():
    (ack,) = converse(adapter().apply([unsubscribe()]), lambda _: pytest.fail("something was sent"))
    assert ack.outcome is Outcome.REFUSED


def test_a_duplicate_is_there_and_a_rejected_one_says_which_rule_said_so():
    crm = receiver(unwanted={"ben@example.org"})
    connection = adapter()
    send(connection, subscribe(), crm)
    again = send(connection, subscribe(), crm)
    assert (again.outcome, again.reason) == (Outcome.ACCEPTED, "known there already")
    refused = send(connection, subscribe("ben@example.org"), crm)
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "answered 422 (as usual: 4xx: rejected)")
    assert "ben" not in refused.reason


@pytest.mark.quirk("http-verdict-by-body")
def test_a_receiver_may_answer_200_to_everything_and_tell_in_the_body():
    crm = receiver(says_by_body=True, unwanted={"ben@example.org"})
    connection = adapter(
        rules=[
            {"status": ["200"], "pointer": "/status", "equals": word, "verdict": verdict}
            for word, verdict in (("created", "delivered"), ("duplicate", "duplicate"), ("rejected", "rejected"))
        ]
    )
    assert send(connection, subscribe(), crm).outcome is Outcome.ACCEPTED
    assert send(connection, subscribe(), crm).reason == "known there already"
    assert send(connection, subscribe("ben@example.org"), crm).outcome is Outcome.REFUSED
    exchange = connection.apply([subscribe("cid@example.org")])
    next(exchange)
    with pytest.raises(StopIteration) as ended:
        exchange.send(Response(200, {}, b"<html>maintenance</html>"))
    (ack,) = ended.value.value
    assert ack.outcome is Outcome.UNCERTAIN


@pytest.mark.parametrize("change", [subscribe(), unsubscribe()], ids=["subscribe", "unsubscribe"])
@pytest.mark.parametrize("method", [*METHODS, "DELETE"])
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response(429, {"retry-after": "90"}), ThrottledError),
        (Response(429, {"retry-after": "Sat, 21 Nov 2026 09:01:30 GMT"}), ThrottledError),
        (Response(429, {"retry-after": "soon"}), ThrottledError),
        (Response(503), UnavailableError),
        (Response(401), UnauthorisedError),
        (Response(404), UnauthorisedError),
    ],
)
def test_an_answer_that_says_nothing_of_the_person_is_an_error_of_the_call(
    response: Response, error: type[Exception], method: str, change: Change
):
    there = {"endpoint": f"{BASE}/unsubscribes", "method": method}
    exchange = adapter(method="POST" if method == "DELETE" else method, unsubscribe=there).apply([change])
    request = next(exchange)
    assert not request.repeatable, "whether a call is made again is decided where it is known what was sent"
    with pytest.raises(error) as raised:
        exchange.send(response)
    assert "ann" not in str(raised.value)
    assert "http-key" not in str(raised.value)
    if isinstance(raised.value, ThrottledError):
        assert raised.value.retry_after_s == (None if response.headers["retry-after"] == "soon" else 90)


# The test button -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_test_record_is_marked_goes_to_the_test_endpoint_and_shows_no_secret(method: str):
    crm = receiver(method=method, proof={"authorization": "Bearer t-1"})
    crm.known |= {"key", "api_token"}
    connection = adapter(
        method=method,
        auth={"kind": "bearer", "token": "t-1"},
        test_endpoint=f"{BASE}/test/subscribers?key=canary-1",
        constants={"api_token": "canary-2"},
    )
    trial = connection.trial(None, live=False)
    assert trial is not None
    tried = converse(trial.exchange, lambda request: described(crm, request))
    assert (tried.status, tried.verdict, tried.rule) == (201, "delivered", "as usual: 2xx: delivered")
    expected = {"email": "test@example.com", "first_name": "Test", "last_name": "Lead", "test": "true"}
    expected["api_token"] = "canary-2"
    assert crm.tests in ([expected], [expected | {"key": "canary-1"}])
    assert crm.subscribers == {}
    shown = f"{trial.url} {trial.headers} {trial.body}"
    assert "t-1" not in shown
    assert "canary" not in shown
    assert trial.url.startswith(f"{BASE}/**********"), "a key may stand in the path as well"
    assert "api_token" in shown


@pytest.mark.parametrize("proof", sorted(PROOFS.keys() - {"none"}))
def test_an_answer_that_repeats_the_secret_is_shown_without_it(proof: str):
    auth, headers = PROOFS[proof]
    trial = adapter(auth=auth).trial("ann@example.org", live=True)
    assert trial is not None
    echo = f"{headers} {auth}"
    tried = converse(trial.exchange, lambda _: Response(200, {}, echo.encode()))
    secrets = [str(auth[name]) for name in ("password", "key", "client_secret", "token") if name in auth]
    assert not any(secret in tried.body for secret in secrets)
    assert headers.get("authorization", "-").rpartition(" ")[2] not in tried.body or proof != "basic"
    assert "**********" in tried.body


def forms(request: Request, body: str) -> list[str]:
    """What a receiver that repeats what came may make of it."""
    told = f"{request.method} {request.url}\n{dict(request.headers)}\n{request.body.decode()}\n{body}"
    return [
        told,
        quote(told),
        quote_plus(told).lower(),
        json.dumps({"got": told}),
        json.dumps({"got": told}, ensure_ascii=False).replace("/", "\\/"),
        json.dumps(json.dumps([told])),
        html.escape(told),
        f"<got>{escape(told)}</got>",
    ]


# As a key may be; `!` begins and ends it, so that half of one would be seen, and a letter makes it no mere ornament.
KEYS = st.text(st.sampled_from("aZ09-._~/+=&%?#\"'<>\\;:@!$"), min_size=8, max_size=16).map(lambda key: f"!a{key}!")


@settings(max_examples=25)
@given(KEYS, KEYS, KEYS, st.sampled_from(["basic", "api_key", "bearer"]), st.sampled_from(METHODS), st.data())
def test_nothing_secret_is_shown_whatever_a_receiver_makes_of_it(
    key: str, step: str, value: str, kind: str, method: str, data: st.DataObject
):
    auth = {"basic": {"username": "us", "password": key}, "api_key": {"key": key}, "bearer": {"token": key}}[kind]
    url = f"{BASE}/in/{quote(step, safe='')}?f=1&code={quote(value, safe='')}"
    trial = adapter(auth={"kind": kind, **auth}, method=method, endpoint=url).trial(None, live=True)
    assert trial is not None
    pair = base64.b64encode(f"us:{key}".encode()).decode() if kind == "basic" else key

    def repeating(request: Request) -> Response:
        told = data.draw(st.sampled_from(forms(request, f"{key} {step} {value} {pair}")))
        return Response(200, {}, told.encode())

    tried = converse(trial.exchange, repeating)
    for shown in (trial.url, str(trial.headers), trial.body, tried.body):
        for read in (str, unquote, unquote_plus, html.unescape, unbackslashed):
            assert not any(secret in read(shown) for secret in (key, step, value, pair))


def unbackslashed(text: str) -> str:
    return re.sub(r"\\+(.)", r"\1", text)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-8-sig"])
def test_a_secret_is_starred_in_an_answer_of_any_encoding(encoding: str):
    trial = adapter(auth={"kind": "bearer", "token": "schlüssel-1"}).trial(None, live=True)
    assert trial is not None
    tried = converse(trial.exchange, lambda _: Response(200, {}, "unknown: schlüssel-1".encode(encoding)))
    assert tried.body == "unknown: **********"


def test_without_a_test_endpoint_only_a_live_test_is_possible():
    connection = adapter(test_endpoint=None)
    assert connection.trial(None, live=False) is None
    crm = receiver()
    trial = connection.trial("ann@example.org", live=True)
    assert trial is not None
    converse(trial.exchange, crm.handle)
    assert list(crm.subscribers) == ["ann@example.org"]


def test_a_secret_across_the_cut_is_not_shown_in_part():
    key = "k" * 40
    trial = adapter(auth={"kind": "api_key", "key": key}).trial("ann@example.org", live=True)
    assert trial is not None
    told = converse(trial.exchange, lambda _: Response(200, {}, b"." * (SHOWN_MAX - 20) + key.encode())).body
    assert "kk" not in told
    assert len(told) <= SHOWN_MAX


@pytest.mark.parametrize("before", range(0, 77, 7))
def test_of_an_answer_full_of_secrets_none_is_shown_in_part(before: int):
    key = "".join(map(chr, range(48, 123)))
    trial = adapter(auth={"kind": "bearer", "token": key}).trial(None, live=True)
    assert trial is not None
    answer = Response(200, {}, b"." * before + f"{key} ".encode() * 1000)
    told = converse(trial.exchange, lambda _: answer).body
    assert set(told) <= set(". *"), told[-100:]
