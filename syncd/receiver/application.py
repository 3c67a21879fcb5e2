"""The routes put together, and what stands around all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from syncd.receiver.acts import Acts
from syncd.receiver.answers import rejected
from syncd.receiver.deliveries import Deliveries
from syncd.receiver.describe import Description
from syncd.receiver.health import Health
from syncd.receiver.operator import Operator, Sessions
from syncd.receiver.overview import Overview
from syncd.receiver.people import People
from syncd.receiver.shell import Shell
from syncd.settings import ReceiverSettings, SubscribeFormSettings
from syncd.sync.context import Context

_NO_FORM = SubscribeFormSettings()


def receiver(
    context: Context,
    settings: ReceiverSettings,
    *,
    wake: Callable[[str], None],
    status: Callable[[], Mapping[str, Any]],
    ready: Callable[[], str] = lambda: "",
    form: SubscribeFormSettings = _NO_FORM,
    sessions: Sessions | None = None,
) -> FastAPI:
    """The application. `wake` is called with the account once something of it is durable, or with `ONE_CLICK`
    or `OPERATOR`.

    `status` gives what `syncd status --json` prints; `ready` says why deliveries should go elsewhere, or nothing.
    `form`: with what people subscribe. `sessions`: those of operators, which go on when the application is made anew.
    """
    operator = Operator(context, settings, sessions)
    page = Overview(context, operator, status)
    app = FastAPI(title="syncd", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for part in (
        Deliveries(context, settings, wake),
        People(context, settings, form, wake),
        Health(context, status, ready),
        Description(),
        page,
        Acts(context, operator, page, wake),
    ):
        for path, methods, endpoint in part.routes():
            app.add_api_route(path, endpoint, methods=list(methods), response_model=None)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_middleware(Shell, log=context.log, settings=settings, accounts=context.lanes)
    return app


async def _not_served(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return rejected(error.status_code, HTTPStatus(error.status_code).phrase.lower(), error.headers)


async def _not_valid(_request: Request, _error: Exception) -> Response:
    # FastAPI's own answer repeats what was sent.
    return rejected(400, "the request is not as described")
