"""An adapter wired to its emulator; every request and answer that passes between them is held against the schemas."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from jsonschema import Draft202012Validator

from syncd.domain.changes import Change, ChangeKind, Target
from syncd.domain.identity import identity_of
from syncd.domain.records import ContainerId
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.providers.rocketresponder.adapter import RocketResponderAdapter
from syncd.providers.rocketresponder.options import RocketResponderOptions
from syncd.wire import Exchange, Request, Response, converse

T = TypeVar("T")

BASE_URL = "http://127.0.0.1:8703/api"
SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "rocketresponder"
INDEX: dict[str, Any] = json.loads((SCHEMAS / "index.json").read_text())


def validator(file: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / file).read_text()))


@dataclass
class Clock:
    at: datetime = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class Line:
    """Carries exchanges to an emulator and checks both directions."""

    emulator: RocketResponderEmulator
    sent: list[Request] = field(default_factory=list)

    def __call__(self, exchange: Exchange[T]) -> T:
        return converse(exchange, self.carry)

    def carry(self, request: Request) -> Response:
        self.sent.append(request)
        schemas = INDEX[f"{request.method} {urlsplit(request.url).path}"]
        fields = parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert len(dict(fields)) == len(fields)
        validator(schemas["request"]).validate(dict(fields))
        planned = bool(self.emulator.faults)
        response = self.emulator.handle(request)
        if not planned:
            validator(schemas["response"][str(response.status)]).validate(json.loads(response.body))
        return response

    def fields(self, index: int = -1) -> dict[str, str]:
        return dict(parse_qsl(self.sent[index].body.decode(), keep_blank_values=True))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> RocketResponderEmulator:
    return RocketResponderEmulator(clock)


@pytest.fixture
def line(emulator: RocketResponderEmulator) -> Line:
    return Line(emulator)


@pytest.fixture
def make_adapter(clock: Clock) -> Callable[..., RocketResponderAdapter]:
    def make(**keys: Any) -> RocketResponderAdapter:
        now = keys.pop("now", clock)
        given = {"base_url": BASE_URL, "public_key": "pub_emulated", "private_key": "priv_emulated", **keys}
        options = RocketResponderOptions.model_validate({"provider": "rocketresponder", **given})
        return RocketResponderAdapter(options, linked=frozenset({"154"}), now=now)

    return make


@pytest.fixture
def adapter(make_adapter: Callable[..., RocketResponderAdapter]) -> RocketResponderAdapter:
    return make_adapter()


@pytest.fixture
def lid(emulator: RocketResponderEmulator) -> str:
    return emulator.add_list("Tips", "tips")


@pytest.fixture
def target() -> Callable[..., Target]:
    def make(email: str, lid: str = "154") -> Target:
        identity = identity_of(email)
        assert identity is not None
        return Target(ContainerId(lid), identity, email)

    return make


@pytest.fixture
def change() -> Callable[..., Change]:
    def make(kind: ChangeKind, email: str, lid: str = "154", **fields: str) -> Change:
        identity = identity_of(email)
        assert identity is not None
        return Change(kind, ContainerId(lid), identity, email, fields=fields)

    return make


@pytest.fixture
def replying() -> Callable[..., Any]:
    """Drive an exchange against one fixed answer."""

    def reply(exchange: Exchange[T], body: object, status: int = 200, **headers: str) -> T:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return converse(exchange, lambda _: Response(status, {"content-type": "application/json", **named}, raw))

    return reply
