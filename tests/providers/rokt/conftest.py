"""An adapter and an emulator of Rokt with a clock in between; every call is held against the schemas on its way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from jsonschema import Draft202012Validator

from syncd.domain.records import Delivery
from syncd.emulators.rokt import RoktEmulator
from syncd.providers.protocol import Token
from syncd.providers.rokt.adapter import RoktAdapter, RoktReportingAdapter, rokt_adapter
from syncd.providers.rokt.options import RoktOptions
from syncd.wire import Exchange, Request, Response, converse

T = TypeVar("T")

SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "rokt"
INDEX: dict[str, Any] = json.loads((SCHEMAS / "index.json").read_text())
BASE = "http://127.0.0.1:8704"
QUERY = {
    "query_url": f"{BASE}/v1/query",
    "query_token_url": f"{BASE}/auth/oauth2/token",
    "app_id": "rokt-app",
    "app_secret": "rokt-app-secret",
    "account_id": "2581697744617019994",
}
PLAIN = {
    "provider": "rokt",
    "unsubscribe_url": f"{BASE}/1.0/nurture/unsubscribe",
    "api_key": "rokt-key",
    "inbound_auth": {"kind": "basic", "username": "rokt", "password": "rokt-secret"},
}


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def skip(self, **span: float) -> None:
        self.time += timedelta(**span)


def validate(file: str, document: Any) -> None:
    schema = json.loads((SCHEMAS / file).read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)


def entry_of(request: Request) -> Any:
    path = urlsplit(request.url).path
    for template, entry in INDEX.items():
        method, _, shape = template.partition(" ")
        if method == request.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", shape), path):
            return entry
    raise AssertionError(f"no schema for {request.method} {path}")


def body_of(request: Request) -> Any:
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(request.body.decode()))
    return json.loads(request.body)


def witness(request: Request, response: Response) -> None:
    """Hold a call that our adapter made against the documents."""
    entry = entry_of(request)
    if entry["request"] is None:
        assert request.body == b""
    else:
        validate(entry["request"], body_of(request))
    validate(entry["response"][str(response.status)], json.loads(response.body))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rokt(clock: Clock) -> RoktEmulator:
    return RoktEmulator(clock)


@pytest.fixture
def options() -> Callable[..., RoktOptions]:
    """Keys of an account as they are read; `context`: what else the configuration says."""
    return lambda context=None, **keys: RoktOptions.model_validate(PLAIN | keys, context=context)


@pytest.fixture
def adapter(clock: Clock) -> Callable[..., RoktAdapter]:
    def build(linked: frozenset[str] = frozenset(), **keys: Any) -> RoktAdapter:
        return rokt_adapter(RoktOptions.model_validate(PLAIN | keys), linked=linked, now=clock)

    return build


@pytest.fixture
def reporting(adapter: Callable[..., RoktAdapter]) -> Callable[..., RoktReportingAdapter]:
    def build(**keys: Any) -> RoktReportingAdapter:
        built = adapter(**(QUERY | keys))
        assert isinstance(built, RoktReportingAdapter)
        return built

    return build


@pytest.fixture
def drive(rokt: RoktEmulator) -> Callable[[RoktAdapter, Exchange[T]], T]:
    """Carry an exchange to the emulator, logging in where it is wanted and once more after a refusal."""

    def carry(adapter: RoktAdapter, exchange: Exchange[T]) -> T:
        tokens: list[Token] = []

        def once(request: Request) -> Response:
            response = rokt.handle(request)
            witness(request, response)
            return response

        def answer(request: Request) -> Response:
            if not (request.token and isinstance(adapter, RoktReportingAdapter)):
                return once(request)
            if not tokens:
                tokens.append(converse(adapter.login(), once))
            response = once(adapter.authorise(request, tokens[-1]))
            if response.status in adapter.login_again_on:
                tokens.append(converse(adapter.login(), once))
                response = once(adapter.authorise(request, tokens[-1]))
            return response

        return converse(exchange, answer)

    return carry


@pytest.fixture
def arrived(clock: Clock) -> Callable[..., Delivery]:
    """What our receiver makes of a request that the emulator sends."""

    def receive(request: Request) -> Delivery:
        url = urlsplit(request.url)
        return Delivery(
            route=tuple(url.path.split("/")[3:]),
            method=request.method,
            headers=dict(request.headers),
            query=tuple(parse_qsl(url.query, keep_blank_values=True)),
            body=request.body,
            received_at=clock(),
        )

    return receive


@pytest.fixture
def lead(clock: Clock) -> Callable[..., Delivery]:
    """A delivery written by hand."""

    def write(body: bytes | str = b"", content_type: str | None = "application/json", **changes: Any) -> Delivery:
        headers = {"authorization": "Basic cm9rdDpyb2t0LXNlY3JldA=="}
        if content_type is not None:
            headers["content-type"] = content_type
        values: dict[str, Any] = {
            "route": ("leads",),
            "method": "POST",
            "headers": headers,
            "query": (),
            "body": body.encode() if isinstance(body, str) else body,
            "received_at": clock(),
        }
        return Delivery(**(values | changes))

    return write
