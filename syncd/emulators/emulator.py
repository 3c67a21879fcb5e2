"""What every emulator has: state one can look at, a log of calls, and faults on request.

An emulator is driven in three ways: `handle` called directly (rules, simulation), behind a transport of the carrier
(carrier and adapter together), or
on a loopback port (`syncd emulate`). It enforces what the real service would: signatures, token lifetimes, validation.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from syncd.wire import Request, Response


class FaultKind(StrEnum):
    THROTTLED = "throttled"  # 429
    UNAVAILABLE = "unavailable"  # 503
    FAILED = "failed"  # 500
    HTML = "html"  # 200 with a page instead of JSON
    TRUNCATED = "truncated"  # the answer ends early, as JSON
    EMPTY = "empty"  # 200 without a body
    NO_CONNECTION = "no-connection"  # nothing happened at the provider
    ANSWER_LOST = "answer-lost"  # everything happened at the provider, no answer came


@dataclass(slots=True)
class Fault:
    """The next `times` calls whose path contains `path` go wrong in this way."""

    kind: FaultKind
    path: str = ""
    times: int = 1
    retry_after: str | None = None


class NoConnectionError(Exception):
    """The request never reached the provider."""


class LostAnswerError(Exception):
    """The provider did as asked, and the answer was lost on the way."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the provider saw it.

    `write`: it asked for a change of contacts or lists (logins and reads do not).
    """

    at: datetime
    method: str
    path: str
    status: int
    write: bool
    body: bytes = field(repr=False, default=b"")


class Emulator(ABC):
    """One provider. `now` is its clock: it may be skewed against ours.

    `outgoing` holds requests that this provider wants to send to us (webhooks, leads); whoever runs the emulator
    carries them. `delivered_on`: the statuses of ours with which they count as taken; after any other they come again,
    `retries` times (as often as RocketResponder says of its notices, on its webhook page).
    """

    name: str
    delivered_on: Container[int] = range(200, 300)
    retries = 4

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0) -> None:
        self.now = now
        self.rng = random.Random(f"{self.name}/{seed}")
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.fault_rate = 0.0
        self.fault_kinds: tuple[FaultKind, ...] = tuple(FaultKind)
        self.outgoing: deque[Request] = deque()

    @abstractmethod
    def answer(self, request: Request) -> Response:
        """What the real service would answer; changes state."""

    @abstractmethod
    def is_write(self, request: Request) -> bool:
        """Whether the call asks for a change of contacts, lists or consent."""

    @property
    def writes(self) -> int:
        return sum(call.write for call in self.calls)

    def handle(self, request: Request) -> Response:
        """Answer, or go wrong as told. Raises `NoConnectionError` or `LostAnswerError` for faults of the network."""
        fault = self._next_fault(request)
        if fault is not None and (before := _before(fault)) is not None:
            if isinstance(before, Exception):
                raise before
            self._log(request, before)
            return before
        response = self.answer(request)
        self._log(request, response)
        return response if fault is None else _after(fault, response)

    def _log(self, request: Request, response: Response) -> None:
        path = request.url.partition("://")[2].partition("/")[2].partition("?")[0]
        self.calls.append(
            Call(self.now(), request.method, f"/{path}", response.status, self.is_write(request), request.body)
        )

    def _next_fault(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.path in request.url:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        if self.fault_rate and self.rng.random() < self.fault_rate:
            return Fault(self.rng.choice(self.fault_kinds))
        return None


def _before(fault: Fault) -> Response | Exception | None:
    """Faults that strike before anything happens at the provider; None for those that strike after."""
    json_headers = {"content-type": "application/json"}
    match fault.kind:
        case FaultKind.NO_CONNECTION:
            return NoConnectionError()
        case FaultKind.THROTTLED:
            extra = {"retry-after": fault.retry_after} if fault.retry_after is not None else {}
            return Response(429, json_headers | extra, b'{"message":"too many requests"}')
        case FaultKind.UNAVAILABLE:
            return Response(503, {"content-type": "text/plain"}, b"Service Unavailable")
        case FaultKind.FAILED:
            return Response(500, json_headers, b'{"message":"Internal Server Error"}')
        case FaultKind.HTML:
            return Response(200, {"content-type": "text/html"}, b"<!doctype html><title>Maintenance</title>")
        case FaultKind.TRUNCATED | FaultKind.EMPTY | FaultKind.ANSWER_LOST:
            return None


def _after(fault: Fault, response: Response) -> Response:
    if fault.kind is FaultKind.ANSWER_LOST:
        raise LostAnswerError
    body = response.body[: len(response.body) // 2] if fault.kind is FaultKind.TRUNCATED else b""
    return Response(response.status, response.headers, body)
