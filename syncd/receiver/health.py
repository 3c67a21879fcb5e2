"""What programs that watch ask: is it alive, is it ready, and how do things stand in numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from syncd.domain.errors import MirrorError
from syncd.receiver.answers import RETRY_AFTER_S, SHOW, Route
from syncd.receiver.exposition import exposition
from syncd.store import meters
from syncd.store.session import reading, require_current
from syncd.sync.context import Context


class Health:
    """`status` gives what `syncd status --json` prints; `ready` says why deliveries should go elsewhere, or nothing."""

    def __init__(self, context: Context, status: Callable[[], Mapping[str, Any]], ready: Callable[[], str]) -> None:
        self._context = context
        self._status = status
        self._ready = ready

    def routes(self) -> tuple[Route, ...]:
        return (("/livez", SHOW, self.livez), ("/readyz", SHOW, self.readyz), ("/metrics", SHOW, self.metrics))

    async def livez(self, _request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(self, _request: Request) -> Response:
        reason = self._ready()
        if not reason:
            try:
                require_current(self._context.engine)
            except MirrorError as error:
                reason = error.message
        if reason:
            return JSONResponse({"ready": False, "reason": reason}, 503, {"retry-after": str(RETRY_AFTER_S)})
        return JSONResponse({"ready": True})

    async def metrics(self, _request: Request) -> Response:
        counted, engine = self._context.counted.taken(), str(self._context.engine.dialect.name)
        # In a thread: of a large mirror this takes its time, and deliveries are not to wait for whoever looks on.
        status, found, now = await asyncio.to_thread(self._looked)
        return Response(exposition(status, found, counted, engine, now), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def _looked(self) -> tuple[Mapping[str, Any], meters.Meters, datetime]:
        now = self._context.now()
        with reading(self._context.engine) as connection:
            found = meters.read_meters(connection, self._context.lanes, now)
        return self._status(), found, now
