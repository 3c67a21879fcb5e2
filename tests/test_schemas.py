"""The witness of the schemas: it sees what does not fit, and only that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.wire import Request, Response
from tests.emulated import watch
from tests.schemas import VIOLATIONS, witness_delivery, witness_request

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TOKEN = "http://127.0.0.1:8701/oauth2/token"
FORM = {"content-type": "application/x-www-form-urlencoded"}
GRANT = b"grant_type=client_credentials&client_id=rocs-client&client_secret=rocs-secret&resource=r"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """What is seen here is meant to be, and no fault of these tests."""
    yield
    VIOLATIONS.clear()


def answers(emulator: RocsEmulator, answer: Response) -> None:
    emulator.answer = lambda request: answer  # type: ignore[method-assign]
    watch(emulator)


def test_what_fits_is_not_noted() -> None:
    emulator = RocsEmulator(lambda: AT)
    watch(emulator)
    request = Request("POST", TOKEN, FORM, GRANT)
    witness_request(emulator, request)
    assert emulator.handle(request).status == 200
    emulator.faults.append(Fault(FaultKind.HTML))
    emulator.handle(request)  # a fault on the way is not the service's word
    assert VIOLATIONS == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Response(200, {}, b'{"access_token": 3}'), "token.response.schema.json"),
        (Response(200, {}, b"<html>"), "not application/json"),
        (Response(418, {}, b"{}"), "not a documented status"),
    ],
)
def test_an_answer_that_the_document_does_not_know_is_noted(answer: Response, told: str) -> None:
    emulator = RocsEmulator(lambda: AT)
    answers(emulator, answer)
    emulator.handle(Request("POST", TOKEN, FORM, GRANT))
    assert len(VIOLATIONS) == 1
    assert told in VIOLATIONS[0]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request("POST", TOKEN, FORM, b"grant=x"), "token.request.schema.json"),
        (Request("POST", "http://127.0.0.1:8701/nothing"), "not in the index"),
        (Request("GET", "http://127.0.0.1:8701/lists", {}, b"{}"), "documented without a body"),
        (Request("GET", "http://127.0.0.1:8701/customers?page=1&pageSize=9&q=x"), "customers.query"),
        (Request("POST", "http://127.0.0.1:8701/customers?q=x", {}, b'{"email": "a@b.se"}'), "without a query"),
        (Request("PUT", "http://127.0.0.1:8701/lists/L-1/members/3", {}, b'{"status": "perhaps"}'), "member.request"),
    ],
)
def test_a_request_that_the_document_does_not_know_is_noted(request_: Request, told: str) -> None:
    witness_request(RocsEmulator(lambda: AT), request_)
    assert len(VIOLATIONS) == 1
    assert told in VIOLATIONS[0]


@pytest.mark.parametrize(
    ("method", "url", "told"),
    [
        ("GET", "/v1/query/accounts?page=2", "without a query"),
        ("POST", "/1.0/nurture/unsubscribe?email=ann@example.org", "without a query"),
        ("GET", "/v1/query/accounts", ""),
    ],
)
def test_parameters_of_an_address_are_held_against_the_document_too(method: str, url: str, told: str) -> None:
    body = b'{"email":"ann@example.org"}' if method == "POST" else b""
    witness_request(RoktEmulator(lambda: AT), Request(method, f"http://127.0.0.1:8704{url}", {}, body))
    assert len(VIOLATIONS) == bool(told)
    assert all(told in one for one in VIOLATIONS)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("email=ann@example.org&zipcode=01234&test=true", ""),
        ("firstname=Ann", "lead.query.schema.json"),
        ("email=ann@example.org&email=bob@example.org", "lead.query.schema.json: email"),
        ("emailmd5=f00", "lead.query.schema.json"),
    ],
)
def test_a_lead_by_get_is_held_against_the_parameters_it_may_have(query: str, told: str) -> None:
    url = f"http://127.0.0.1:8480/in/leads/leads?{query}"
    witness_delivery(RoktEmulator(lambda: AT), Request("GET", url, label="rokt leads"))
    assert len(VIOLATIONS) == bool(told)
    assert all(told in one for one in VIOLATIONS)


def test_the_status_in_the_body_is_the_one_that_counts_where_it_is_told_there() -> None:
    emulator = SalesRocksEmulator(lambda: AT)
    emulator.errors_in_200 = True
    watch(emulator)
    body = json.dumps({"username": "x", "password": "y"}).encode()
    told = emulator.handle(
        Request("POST", f"{emulator.base_url}/auth/accessToken", {"content-type": "application/json"}, body)
    )
    assert told.status == 200
    assert VIOLATIONS == []


def test_what_is_sent_to_us_is_seen_too() -> None:
    emulator = RocketResponderEmulator(lambda: AT)
    url = "http://127.0.0.1:8480/in/mail/154/open/secret"
    witness_delivery(emulator, Request("POST", url, FORM, b"Nothing=known", label="webhook/open"))
    assert len(VIOLATIONS) == 1
    assert "webhook.request.schema.json" in VIOLATIONS[0]
