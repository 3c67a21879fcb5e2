"""One account at an emulated Sales.Rocks, carried as the carrier would: login, token, one more login after a refusal.

Every body that our adapter sends and every answer of the emulator is held against `schemas/providers/salesrocks`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from jsonschema import Draft202012Validator

from syncd.domain.changes import Ack, Change, ChangeKind, Target
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId, Observation, Record
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.providers.protocol import Token
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from syncd.providers.salesrocks.options import SalesRocksOptions
from syncd.wire import Exchange, Request, Response, converse

T = TypeVar("T")
BASE = "http://127.0.0.1:8702"
SCHEMAS = Path(__file__).parents[3] / "schemas" / "providers" / "salesrocks"
INDEX: dict[str, Any] = json.loads((SCHEMAS / "index.json").read_text())
VALIDATORS = {
    path.name: Draft202012Validator(json.loads(path.read_text())) for path in sorted(SCHEMAS.glob("*.schema.json"))
}


def validate(request: Request, response: Response) -> None:
    entry = INDEX[f"{request.method} {request.url.removeprefix(BASE)}"]
    VALIDATORS[entry["request"]].validate(json.loads(request.body))
    answer = json.loads(response.body)
    said = answer["error"]["status_code"] if isinstance(answer, dict) and "error" in answer else response.status
    VALIDATORS[entry["response"][str(said)]].validate(answer)


class Account:
    def __init__(self, **options: Any) -> None:
        self.at = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
        self.emulator = SalesRocksEmulator(lambda: self.at, seed=7, base_url=BASE)
        self.linked: frozenset[str] = frozenset()
        self.options = SalesRocksOptions.model_validate(
            {
                "provider": "salesrocks",
                "base_url": BASE,
                "username": self.emulator.username,
                "password": self.emulator.password,
                **options,
            }
        )
        self.token: Token | None = None
        self.requests: list[Request] = []

    @property
    def adapter(self) -> SalesRocksAdapter:
        return SalesRocksAdapter(self.options, linked=self.linked, now=lambda: self.at)

    def later(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        faulty = bool(self.emulator.faults)
        response = self.emulator.handle(request)
        if not faulty:
            validate(request, response)
        return response

    def carry(self, request: Request) -> Response:
        if not request.token:
            return self.answer(request)
        response = self._authorised(request)
        if response.status in self.adapter.login_again_on:
            self.token = None
            response = self._authorised(request)
        return response

    def _authorised(self, request: Request) -> Response:
        if self.token is None:
            self.token = converse(self.adapter.login(), self.answer)
        return self.answer(self.adapter.authorise(request, self.token))

    def talk(self, exchange: Exchange[T]) -> T:
        return converse(exchange, self.carry)

    def pages(self, container: str) -> Iterator[Sequence[Record]]:
        at: str | None = None
        while True:
            page = self.talk(self.adapter.snapshot(ContainerId(container), at))
            yield page.records
            if page.next is None:
                return
            at = page.next

    def walk(self, container: str) -> list[Observation]:
        return [self.adapter.read(ContainerId(container), record) for page in self.pages(container) for record in page]

    def apply(self, *changes: Change) -> list[Ack]:
        return list(self.talk(self.adapter.apply(changes)))

    def paths(self, *, logins: bool = False) -> list[str]:
        """The calls so far, by their last word."""
        names = [request.url.rpartition("/")[2] for request in self.requests]
        return [name for name in names if logins or name != "accessToken"]

    def last_body(self) -> Any:
        return json.loads(self.requests[-1].body)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture(scope="session")
def account_with() -> Callable[..., Account]:
    return Account


def change(kind: ChangeKind, container: str, address: str, *keys: str, **fields: str) -> Change:
    return Change(kind, ContainerId(container), Identity(address.lower()), address, tuple(keys), None, fields)


def target(container: str, address: str, *keys: str) -> Target:
    return Target(ContainerId(container), Identity(address.lower()), address, tuple(keys))


@pytest.fixture(scope="session")
def subscribe() -> Callable[..., Change]:
    return lambda container, address, *keys, **fields: change(ChangeKind.SUBSCRIBE, container, address, *keys, **fields)


@pytest.fixture(scope="session")
def unsubscribe() -> Callable[..., Change]:
    return lambda container, address, *keys: change(ChangeKind.UNSUBSCRIBE, container, address, *keys)


@pytest.fixture(scope="session")
def update() -> Callable[..., Change]:
    return lambda container, address, *keys, **fields: change(ChangeKind.UPDATE, container, address, *keys, **fields)


@pytest.fixture(scope="session")
def asked_for() -> Callable[..., Target]:
    return target


@pytest.fixture(scope="session")
def answered() -> Callable[..., Callable[[Request], Response]]:
    """A provider that answers every call with one status and body."""

    def make(
        body: bytes | str | list[Any] | dict[str, Any], status: int = 200, **headers: str
    ) -> Callable[[Request], Response]:
        raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda _request: Response(status, named, raw)

    return make


@pytest.fixture(scope="session")
def in_turn() -> Callable[..., Callable[[Request], Response]]:
    """A provider that gives one answer after the other."""

    def make(*answers: Callable[[Request], Response]) -> Callable[[Request], Response]:
        rest = list(answers)

        def answer(request: Request) -> Response:
            return rest.pop(0)(request)

        return answer

    return make


@pytest.fixture(scope="session")
def client_of() -> Callable[[Account], Callable[[str, Any], int]]:
    """Somebody who calls by hand, logged in: path and body in, status out."""

    def make(account: Account) -> Callable[[str, Any], int]:
        account.token = converse(account.adapter.login(), account.answer)

        def call(path: str, body: Any) -> int:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            request = Request("POST", f"{BASE}/{path}", {"content-type": "application/json"}, raw)
            assert account.token is not None
            return account.emulator.handle(account.adapter.authorise(request, account.token)).status

        return call

    return make
