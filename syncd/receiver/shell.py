"""What stands around every route: what is no request for us is refused, faults are answered, and one line is logged.

The line names method, route, status, time and sizes, and the account; never a path, a parameter or who asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any
from urllib.parse import unquote

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncd.domain.errors import MirrorError
from syncd.receiver.answers import RETRY_AFTER_S, rejected
from syncd.settings import ReceiverSettings
from syncd.telemetry import places_of

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked by programs every few seconds: their lines are for whoever looks closely."""

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others are logged without their name: it is the sender's to choose."""


class Shell:
    """Whatever goes wrong inside is answered with 503: nothing was taken, and the sender has to come again."""

    def __init__(self, app: ASGIApp, *, log: Any, settings: ReceiverSettings, accounts: Container[str]) -> None:
        self._app = app
        self._log = log
        self._settings = settings
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(asyncio.get_running_loop().time(), receive, send)
        routed = {**scope, "path": _routed(scope)}
        try:
            refused = self._refused(scope)
            await (refused or self._app)(routed, seen.receive, seen.send)
        except ClientDisconnect:
            pass
        except Exception as error:  # noqa: BLE001  a sender is told to come again, whatever it was
            self._report(error)
            if not seen.status:
                answer = rejected(503, "not now; send it again", {"retry-after": str(RETRY_AFTER_S)})
                await answer(scope, receive, seen.send)
        finally:
            if self._settings.access_log:
                self._note(routed, seen)

    def _refused(self, scope: Scope) -> Response | None:
        """The answer to what two readers could read as two requests, and to more headers than are read."""
        headers = scope["headers"]
        raw = scope.get("raw_path", b"/")
        if not raw.startswith(b"/"):
            return _closing(400, "ask for a path, not for a whole address")
        names = [name.lower() for name, _ in headers]
        if b"transfer-encoding" in names and (b"content-length" in names or scope.get("http_version") == "1.0"):
            return _closing(400, "the end of the body is told in two ways")
        size = sum(len(name) + len(value) + 4 for name, value in headers) + len(raw) + len(scope["query_string"])
        if len(headers) > self._settings.headers_max or size > self._settings.header_bytes_max:
            return _closing(431, "more headers than are read")
        return None

    def _note(self, routed: Scope, seen: _Seen) -> None:
        route = getattr(routed.get("route"), "path", "")
        account = routed.get("path_params", {}).get("account")
        method = routed["method"]
        tell = self._log.debug if route in PROBES and seen.status < 500 else self._log.info
        tell(
            "request",
            method=method if method in KNOWN_METHODS else "other",
            route=route or None,
            status=seen.status or None,
            ms=round((asyncio.get_running_loop().time() - seen.began) * 1000, 1),
            taken=seen.taken,
            given=seen.given,
            account=account if account in self._accounts else None,
        )

    def _report(self, error: Exception) -> None:
        if isinstance(error, MirrorError):
            self._log.error("receiver.mirror", reason=error.message, hint=error.hint)
        else:
            self._log.error("receiver.broke", error=type(error).__name__, at=places_of(error))


class _Seen:
    """What passes in both directions, counted. `status`: of the answer, 0 before it began."""

    def __init__(self, began: float, receive: Receive, send: Send) -> None:
        self.began = began
        self.status = self.taken = self.given = 0
        self._receive, self._send = receive, send

    async def receive(self) -> Message:
        message = await self._receive()
        self.taken += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.given += len(message.get("body", b""))
        await self._send(message)


def _closing(status: int, message: str) -> Response:
    return rejected(status, message, {"connection": "close"})


def _routed(scope: Scope) -> str:
    """The path to find the route by, in which an escaped slash parts nothing."""
    raw = scope.get("raw_path")
    if not raw:
        return str(scope["path"])
    text = raw.decode("latin-1").partition("?")[0]
    return unquote(text.replace("%2f", "%252F").replace("%2F", "%252F"))
