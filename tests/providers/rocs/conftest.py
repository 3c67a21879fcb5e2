"""A pretend ROCS, an adapter, and a small driver that logs in as the carrier would.

Every request and every answer on the way is held against the schemas, which were written from the provider's document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from jsonschema import Draft202012Validator

from syncd.domain.changes import Ack, Change, ChangeKind, Target
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Delivery, Observation, Page
from syncd.emulators.rocs import RocsEmulator
from syncd.providers.protocol import Token
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.rocs.options import RocsOptions
from syncd.wire import Exchange, Request, Response, converse
from tests.schemas import parameters_of

T = TypeVar("T")

SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "rocs"
SECRET = "notice-secret"


@cache
def index() -> dict[str, Any]:
    return json.loads((SCHEMAS / "index.json").read_text())  # type: ignore[no-any-return]


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def entry_for(method: str, path: str) -> dict[str, Any]:
    for name, entry in index().items():
        its_method, _, template = name.partition(" ")
        if its_method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return entry  # type: ignore[no-any-return]
    raise AssertionError(f"no schema for {method} {path}")


class Crm:
    """One account at the pretend ROCS."""

    def __init__(self, **options: Any) -> None:
        self.clock = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        self.emulator = RocsEmulator(lambda: self.clock)
        self.token: Token | None = None
        self.logins = 0
        self.asked: list[Request] = []
        self.use(**options)

    def use(self, **options: Any) -> RocsAdapter:
        """Another adapter on the same account."""
        settings = {
            "provider": "rocs",
            "base_url": self.emulator.base_url,
            "token_url": self.emulator.token_url,
            "client_id": self.emulator.client_id,
            "client_secret": self.emulator.client_secret,
            "webhook_secret": SECRET,
        }
        if "scope" not in options:
            settings["resource"] = "https://api.msp-cloud.com"
        self.adapter = RocsAdapter(
            RocsOptions.model_validate(settings | options), linked=frozenset({"L-1"}), now=lambda: self.clock
        )
        return self.adapter

    def pass_time(self, seconds: float = 60) -> None:
        self.clock += timedelta(seconds=seconds)

    # The carrier's part

    def carry(self, exchange: Exchange[T]) -> T:
        return converse(exchange, self._authorised)

    def _authorised(self, request: Request) -> Response:
        if not request.token:
            return self.send(request)
        response = self.send(self.adapter.authorise(request, self.token or self._log_in()))
        if response.status in self.adapter.login_again_on:
            response = self.send(self.adapter.authorise(request, self._log_in()))
        return response

    def _log_in(self) -> Token:
        self.logins += 1
        self.token = converse(self.adapter.login(), self.send)
        return self.token

    def send(self, request: Request) -> Response:
        self.asked.append(request)
        usual = not self.emulator.faults
        response = self.emulator.handle(request)
        if usual:
            hold_against_schemas(request, response)
        return response

    # Shorthand

    def pages(self, container: str = WHOLE_ACCOUNT, since: str | None = None) -> list[Page]:
        where, at, found = ContainerId(container), None, []
        for _ in range(100):
            exchange = self.adapter.snapshot(where, at) if since is None else self.adapter.feed(where, since, at)
            found.append(self.carry(exchange))
            at = found[-1].next
            if at is None:
                return found
        raise AssertionError("the listing does not end")

    def everyone(self, container: str = WHOLE_ACCOUNT, since: str | None = None) -> dict[str, Observation]:
        where = ContainerId(container)
        return {
            record.key: self.adapter.read(where, record)
            for page in self.pages(container, since)
            for record in page.records
        }

    def look(self, address: str, container: str = WHOLE_ACCOUNT, **more: Any) -> Any:
        target = Target(ContainerId(container), Identity(address.lower()), address, **more)
        return self.carry(self.adapter.lookup(target))

    def change(self, kind: ChangeKind, address: str, container: str = WHOLE_ACCOUNT, **more: Any) -> Ack:
        change = Change(kind, ContainerId(container), Identity(address.lower()), address, **more)
        (ack,) = self.carry(self.adapter.apply([change]))
        return ack

    def writes(self) -> list[tuple[str, str]]:
        return [(call.method, call.path) for call in self.emulator.calls if call.write]

    def deliveries(self) -> list[Delivery]:
        """What ROCS has sent to us, as the receiver would hand it over."""
        found = []
        while self.emulator.outgoing:
            request = self.emulator.outgoing.popleft()
            validator("notice.request.schema.json").validate(json.loads(request.body))
            found.append(delivery(request.body, dict(request.headers)))
        return found


def delivery(
    body: bytes, headers: dict[str, str], route: tuple[str, ...] = ("webhook",), method: str = "POST"
) -> Delivery:
    return Delivery(route, method, headers, (), body, datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


def hold_against_schemas(request: Request, response: Response) -> None:
    path = urlsplit(request.url).path
    entry = entry_for(request.method, path)
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    # A refused request may be as wrong as a test wants it to be.
    if response.status == 200:
        parameters = parameters_of(urlsplit(request.url).query)
        if entry.get("query"):
            validator(entry["query"]).validate(parameters)
        else:
            assert parameters == {}
        if entry["request"] is None:
            assert request.body == b""
        else:
            sent = dict(parse_qsl(request.body.decode())) if form else json.loads(request.body)
            validator(entry["request"]).validate(sent)
    charset = response.headers["content-type"].rpartition("charset=")[2]
    validator(entry["response"][str(response.status)]).validate(json.loads(response.body.decode(charset)))


@pytest.fixture
def crm() -> Crm:
    return Crm()


@pytest.fixture
def crm_with() -> Callable[..., Crm]:
    return Crm


@pytest.fixture
def deliver() -> Callable[..., Delivery]:
    return delivery


@pytest.fixture
def schemas() -> Callable[[str], Draft202012Validator]:
    return validator
