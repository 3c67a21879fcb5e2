"""The description of the door itself, for programs and for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncd import pages
from syncd.receiver.answers import SHOW, Route, html_page


class Description:
    def __init__(self) -> None:
        self._document: dict[str, Any] = msgspec.json.decode(document_path().read_bytes())

    def routes(self) -> tuple[Route, ...]:
        return (("/openapi.json", SHOW, self.openapi), ("/docs", SHOW, self.docs))

    async def openapi(self, _request: Request) -> Response:
        return JSONResponse(self._document)

    async def docs(self, _request: Request) -> Response:
        return html_page(pages.docs_page(self._document))


def document_path() -> Path:
    """Where our description lies, as JSON: inside an installed wheel, else at the top of the checkout."""
    here = Path(__file__).resolve().parents[1]
    installed = here / "_schemas"
    return (installed if installed.is_dir() else here.parent / "schemas") / "receiver.openapi.json"
