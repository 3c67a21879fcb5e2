"""The status page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from syncd import pages
from syncd.receiver.answers import SHOW, Route, html_page
from syncd.store import meters
from syncd.store.session import reading
from syncd.sync.context import Context

RUNS_SHOWN = 20


class Overview:
    """`status` gives what `syncd status --json` prints."""

    def __init__(self, context: Context, status: Callable[[], Mapping[str, Any]]) -> None:
        self._context = context
        self._status = status

    def routes(self) -> tuple[Route, ...]:
        return (("/", SHOW, self.overview),)

    async def overview(self, _request: Request) -> Response:
        with reading(self._context.engine) as connection:
            runs = meters.last_runs(connection, RUNS_SHOWN)
        return html_page(pages.render("overview.html", status=self._status(), runs=runs, now=self._context.now()))
