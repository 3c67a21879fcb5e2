"""An HTTP conversation as values.

An adapter yields `Request`s and is sent `Response`s; it never sees a socket. Whoever drives it (the carrier over
httpx, a test straight into an emulator) decides how the bytes travel. Compare httpx's ``Auth.auth_flow``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `label` names the call for logs and metrics and holds no person and no id.

    `repeatable`: a read, or a write whose repetition changes nothing *and* needs no look in between; the carrier may
    send
    it again by itself. `token`: wants the account's token where the provider has one (see `CanLogin`).
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    label: str = ""
    repeatable: bool = False
    token: bool = True

    def __repr__(self) -> str:
        # Bodies and headers hold persons and secrets; so may a query.
        return f"<Request {self.method} {self.label or '?'}>"


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"


Exchange = Generator[Request, Response, T]


def converse(exchange: Exchange[T], answer: Callable[[Request], Response]) -> T:
    """Drive an exchange against a function: how tests and rehearsals talk straight to an emulator."""
    try:
        request = next(exchange)
        while True:
            request = exchange.send(answer(request))
    except StopIteration as stop:
        result: T = stop.value
        return result
