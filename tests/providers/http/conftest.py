"""A connection and the receiver it is meant for, talking without a socket; JSON is held against the schemas."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from syncd.domain.changes import Ack, Change, ChangeKind
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId
from syncd.emulators.http import HttpEmulator
from syncd.providers.http.adapter import HttpAdapter, http_adapter
from syncd.providers.http.options import HttpOptions
from syncd.wire import Request, Response, converse

SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "http"
INDEX: dict[str, Any] = json.loads((SCHEMAS / "index.json").read_text())
BASE = "http://127.0.0.1:8705"
PLAIN: dict[str, Any] = {
    "provider": "http",
    "endpoint": f"{BASE}/subscribers",
    "test_endpoint": f"{BASE}/test/subscribers",
    "auth": {"kind": "api_key", "key": "http-key"},
}
TELLING = PLAIN | {"unsubscribe": {"endpoint": f"{BASE}/unsubscribes"}}
PLACES = {"/subscribers": "{endpoint}", "/test/subscribers": "{test_endpoint}", "/unsubscribes": "{unsubscribe}"}


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
    """The answer of the receiver; where both are JSON of the usual shape, they are what the schemas say."""
    response = emulator.handle(request)
    path = request.url.removeprefix(BASE).partition("?")[0]
    entry = INDEX.get(f"{request.method} {PLACES.get(path, path)}")
    if entry is None or request.headers.get("content-type") != "application/json":
        return response
    if 200 <= response.status < 300 and emulator.address == "email":
        _validate(entry["request"], request.body)
    if (name := entry["response"].get(str(response.status))) is not None:
        _validate(name, response.body)
    return response


def _validate(name: str, body: bytes) -> None:
    Draft202012Validator(json.loads((SCHEMAS / name).read_text())).validate(json.loads(body))
