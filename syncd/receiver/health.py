"""What programs that watch ask: is it alive, is it ready, and how do things stand in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from syncd import pages
from syncd.domain.errors import MirrorError
from syncd.receiver.answers import RETRY_AFTER_S, SHOW, Route
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
        with reading(self._context.engine) as connection:
            found = meters.read_meters(connection)
        now, status = self._context.now(), self._status()
        text = pages.exposition(_families(status, found, lambda at: (now - at).total_seconds() if at else 0.0))
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _families(
    status: Mapping[str, Any], found: meters.Meters, age: Callable[[Any], float]
) -> list[tuple[str, str, list[pages.Sample]]]:
    accounts = list(status.get("accounts", ()))

    def each(name: str) -> list[pages.Sample]:
        return [({"account": str(entry["name"])}, int(entry.get(name) or 0)) for entry in accounts]

    held = sum(int(entry.get("held") or 0) for entry in accounts)
    ended: list[pages.Sample] = [({"account": name}, at.timestamp()) for name, at in sorted(found.last_success.items())]
    states: list[pages.Sample] = [
        ({"account": str(entry["name"]), "state": str(entry.get("state", ""))}, 1) for entry in accounts
    ]
    return [
        ("syncd_converged", "1 if nothing is left to do", [({}, int(bool(status.get("converged"))))]),
        ("syncd_distance", "How much is left to do", [({}, int(status.get("distance") or 0))]),
        ("syncd_invariant_breaches", "Invariants that do not hold", [({}, len(status.get("breach") or ()))]),
        ("syncd_account_state", "1 for the state each account is in", states),
        ("syncd_outbox_depth", "Changes on their way to the account", each("outbox")),
        ("syncd_parked", "What was given up and waits for a person", each("parked")),
        ("syncd_held", "Changes that wait for approval", [({}, held)]),
        ("syncd_run_last_success_timestamp_seconds", "When the latest run ended that succeeded", ended),
        ("syncd_inbox_oldest_seconds", "Age of the oldest delivery nobody has read", [({}, age(found.inbox_since))]),
        (
            "syncd_oldest_unpushed_unsubscribe_seconds",
            "Age of the oldest unsubscribe that no provider has accepted yet",
            [({}, age(found.unsubscribe_since))],
        ),
    ]
