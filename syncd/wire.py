"""An HTTP conversation as values.

An adapter yields `Request`s and is sent `Response`s; it never sees a socket. Whoever drives it (the carrier over
httpx, a test straight into an emulator) decides how the bytes travel. Compare httpx's ``Auth.auth_flow``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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


def retry_after(response: Response, now: datetime) -> float | None:
    """Seconds that the provider asks us to wait; None if it does not say, or nothing that makes sense.

    A date is counted from the answer's own `Date` where there is one, since its clock may be off against ours.
    """
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    until, sent = _http_date(text), _http_date(response.headers.get("date", ""))
    if until is None:
        return None
    wait_s = (until - (sent or now)).total_seconds()
    return wait_s if wait_s > 0 else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
