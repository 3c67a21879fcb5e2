"""The routes put together, and what stands around all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncd.domain.errors import MirrorError
from syncd.receiver.acts import Acts
from syncd.receiver.answers import RETRY_AFTER_S, rejected
from syncd.receiver.deliveries import Deliveries
from syncd.receiver.describe import Description
from syncd.receiver.health import Health
from syncd.receiver.operator import Operator
from syncd.receiver.overview import Overview
from syncd.receiver.people import People
from syncd.settings import ReceiverSettings
from syncd.sync.context import Context
from syncd.telemetry import places_of


def receiver(
    context: Context,
    settings: ReceiverSettings,
    *,
    wake: Callable[[str], None],
    status: Callable[[], Mapping[str, Any]],
    ready: Callable[[], str] = lambda: "",
) -> FastAPI:
    """The application. `wake` is called with the account once something of it is durable, or with `ONE_CLICK`
    or `OPERATOR`.

    `status` gives what `syncd status --json` prints; `ready` says why deliveries should go elsewhere, or nothing.
    """
    operator = Operator(context, settings)
    page = Overview(context, operator, status)
    app = FastAPI(title="syncd", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for part in (
        Deliveries(context, settings, wake),
        People(context, wake),
        Health(context, status, ready),
        Description(),
        page,
        Acts(context, operator, page, wake),
    ):
        for path, methods, endpoint in part.routes():
            app.add_api_route(path, endpoint, methods=list(methods), response_model=None)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_middleware(_Shell, log=context.log)
    return app


async def _not_served(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return rejected(error.status_code, HTTPStatus(error.status_code).phrase.lower(), error.headers)


async def _not_valid(_request: Request, _error: Exception) -> Response:
    # FastAPI's own answer repeats what was sent.
    return rejected(400, "the request is not as described")


class _Shell:
    """Whatever goes wrong inside is answered with 503: nothing was taken, and the sender has to come again."""

    def __init__(self, app: ASGIApp, *, log: Any) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app({**scope, "path": _routed(scope)}, receive, note)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  a sender is told to come again, whatever it was
            self._report(error)
            if not began:
                answer = rejected(503, "not now; send it again", {"retry-after": str(RETRY_AFTER_S)})
                await answer(scope, receive, send)

    def _report(self, error: Exception) -> None:
        if isinstance(error, MirrorError):
            self._log.error("receiver.mirror", reason=error.message, hint=error.hint)
        else:
            self._log.error("receiver.broke", error=type(error).__name__, at=places_of(error))


def _routed(scope: Scope) -> str:
    """The path to find the route by, in which an escaped slash parts nothing."""
    raw = scope.get("raw_path")
    if not raw:
        return str(scope["path"])
    text = raw.decode("latin-1").partition("?")[0]
    return unquote(text.replace("%2f", "%252F").replace("%2F", "%252F"))
