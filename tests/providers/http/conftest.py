"""A connection and the receiver it is meant for, talking without a socket; what passes is held against the schemas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from syncd.domain.changes import Ack, Change, ChangeKind
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId
from syncd.emulators.http import HttpEmulator
from syncd.providers.http.adapter import HttpAdapter, http_adapter
from syncd.providers.http.options import HttpOptions
from syncd.wire import Request, Response, converse
from tests.schemas import witness_answer, witness_request

BASE = "http://127.0.0.1:8705"
PLAIN: dict[str, Any] = {
    "provider": "http",
    "endpoint": f"{BASE}/subscribers",
    "test_endpoint": f"{BASE}/test/subscribers",
    "auth": {"kind": "api_key", "key": "http-key"},
}
TELLING = PLAIN | {"unsubscribe": {"endpoint": f"{BASE}/unsubscribes"}}


def now() -> datetime:
    return datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def receiver(**switches: Any) -> HttpEmulator:
    emulator = HttpEmulator(now, base_url=BASE)
    for name, value in switches.items():
        setattr(emulator, name, value)
    return emulator


def options(**given: Any) -> HttpOptions:
    return HttpOptions.model_validate(PLAIN | given)


def adapter(**given: Any) -> HttpAdapter:
    return http_adapter(options(**given), linked=frozenset(), now=now)


def subscribe(email: str = "ann@example.org", container: str = "*", **fields: str) -> Change:
    return Change(ChangeKind.SUBSCRIBE, ContainerId(container), Identity(email.lower()), email, fields=fields)


def unsubscribe(email: str = "ann@example.org") -> Change:
    return Change(ChangeKind.UNSUBSCRIBE, ContainerId("*"), Identity(email.lower()), email)


def send(connection: HttpAdapter, change: Change, emulator: HttpEmulator) -> Ack:
    (ack,) = converse(connection.apply([change]), lambda request: described(emulator, request))
    return ack


def described(emulator: HttpEmulator, request: Request) -> Response:
    """The answer of the receiver. It is what the schemas say, and so is what was sent, unless it was refused."""
    response = emulator.handle(request)
    if response.status in {200, 201, 409}:
        witness_request(emulator, request)
    witness_answer(emulator, request, response)
    return response
