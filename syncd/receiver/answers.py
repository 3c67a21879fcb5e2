"""What is answered, whoever asks: refusals without what was sent, and pages that a browser keeps to itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from syncd import pages

Route = tuple[str, tuple[str, ...], Callable[[Request], Awaitable[Response]]]
"""A path, the methods that it takes, and what answers them. One for each path, so that 405 names every method."""

SHOW = ("GET", "HEAD")

RETRY_AFTER_S = 30

PRIVATE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
"""That what is answered is kept by nobody, and no address of ours is told elsewhere."""

_SAFE = {
    **PRIVATE,
    "content-security-policy": pages.POLICY,
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


def rejected(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"status": "rejected", "error": message}, status, dict(headers or {}))


def html_page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, _SAFE)
