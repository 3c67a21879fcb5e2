"""The door: leads, unsubscribes and notices come in here, and here one sees how syncd stands.

A delivery is bounded, handed raw to `sync.ingest.accept`, and answered with 2xx once it is durable; nothing is done
about it here. No body, address, secret or path is ever logged or repeated in an answer.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from syncd import pages
from syncd.domain.errors import DeliveryError, MirrorError
from syncd.domain.records import Delivery
from syncd.providers.protocol import CanNotify
from syncd.settings import ReceiverSettings
from syncd.store import meters
from syncd.store.session import reading, require_current
from syncd.sync import ingest, one_click
from syncd.sync.context import Context, Lane

ONE_CLICK = "one-click"
"""What `wake` is told when it was a person, and no account, that said something."""

NUMBERED = frozenset({("leads",), ("unsubscribes",)})
"""Routes on which a new delivery gets 201. Notices get 200: RocketResponder sends again after any other answer."""

RETRY_AFTER_S = 30
BODY_S = 30.0
"""How long the body of a delivery may take."""

QUERY_NAMES_MAX = 500
RUNS_SHOWN = 20

_SAFE = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


def receiver(
    context: Context,
    settings: ReceiverSettings,
    *,
    wake: Callable[[str], None],
    status: Callable[[], Mapping[str, Any]],
    ready: Callable[[], str] = lambda: "",
) -> FastAPI:
    """The application. `wake` is called with the account once something of it is durable, or with `ONE_CLICK`.

    `status` gives what `syncd status --json` prints; `ready` says why deliveries should go elsewhere, or nothing.
    """
    door = _Door(context, settings, wake=wake, status=status, ready=ready)
    app = FastAPI(title="syncd", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for path, methods, endpoint in door.routes():
        app.add_api_route(path, endpoint, methods=list(methods), response_model=None)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_middleware(_Shell, log=context.log)
    return app


class _Door:
    """What the routes share."""

    def __init__(
        self,
        context: Context,
        settings: ReceiverSettings,
        *,
        wake: Callable[[str], None],
        status: Callable[[], Mapping[str, Any]],
        ready: Callable[[], str],
    ) -> None:
        self._context = context
        self._body_bytes_max = settings.body_bytes_max
        self._wake = wake
        self._status = status
        self._ready = ready
        self._key = one_click.signing_key(context.engine)
        self._document: dict[str, Any] = msgspec.json.decode(document_path().read_bytes())

    def routes(self) -> tuple[tuple[str, tuple[str, ...], Callable[[Request], Awaitable[Response]]], ...]:
        """One entry for each path, so that 405 names every method that it has."""
        show = ("GET", "HEAD")
        return (
            ("/in/{account}/leads", ("GET", "POST", "PUT"), self.deliver),
            ("/in/{account}/unsubscribes", ("POST", "PUT"), self.deliver),
            ("/in/{account}/webhook", ("POST", "HEAD"), self.notice),
            ("/in/{account}/{list}/{action}/{secret}", ("POST", "HEAD"), self.notice),
            ("/unsubscribe/{token}", (*show, "POST"), self.unsubscribe),
            ("/livez", show, self.livez),
            ("/readyz", show, self.readyz),
            ("/metrics", show, self.metrics),
            ("/openapi.json", show, self.openapi),
            ("/docs", show, self.docs),
            ("/", show, self.overview),
        )

    # Deliveries ------------------------------------------------------------------------------------------------------

    async def deliver(self, request: Request) -> Response:
        """Take one delivery in and say what became of it."""
        account, delivery = "", None
        try:
            account, route = _address_of(request)
            lane = self._lane(account)
            delivery = await self._delivery(request, route)
            delivery_id, new = ingest.accept(lane, self._context, delivery)
        except DeliveryError as error:
            return self._refused(account, delivery, error)
        self._context.log.info("delivery.taken", account=account, delivery_id=delivery_id, new=new)
        self._wake(account)
        created = HTTPStatus.CREATED if new and delivery.route in NUMBERED else HTTPStatus.OK
        return JSONResponse({"status": "created" if new else "duplicate", "id": delivery_id}, created)

    async def notice(self, request: Request) -> Response:
        """As `deliver`; senders may first look whether somebody is there."""
        if request.method != "HEAD":
            return await self.deliver(request)
        try:
            account, _ = _address_of(request)
            taken = isinstance(self._lane(account).provider, CanNotify)
        except DeliveryError:
            taken = False
        return Response(status_code=200 if taken else 404)

    def _lane(self, account: str) -> Lane:
        lane = self._context.lanes.get(account)
        if lane is None:
            raise DeliveryError(404, "no such account")
        return lane

    async def _delivery(self, request: Request, route: tuple[str, ...]) -> Delivery:
        return Delivery(
            route=route,
            method=request.method,
            headers={name.lower(): value for name, value in request.headers.items()},
            query=_query_of(request),
            body=await _body_of(request, self._body_bytes_max),
            received_at=self._context.now(),
        )

    def _refused(self, account: str, delivery: Delivery | None, error: DeliveryError) -> Response:
        known = account if account in self._context.lanes else None
        self._context.log.warning("delivery.refused", account=known, status=error.status, reason=error.message)
        headers = {}
        if error.status == 401 and error.challenge:
            headers["www-authenticate"] = error.challenge
        if error.status == 405 and delivery is not None:
            headers["allow"] = ", ".join(_methods_taken(self._lane(account), delivery))
        if error.status == 408:
            # Not so after 413: a connection that is closed while the sender still sends loses it the answer.
            headers["connection"] = "close"
        return _rejected(error.status, error.message, headers)

    # One click -------------------------------------------------------------------------------------------------------

    async def unsubscribe(self, request: Request) -> Response:
        """POST acts, whatever its body; GET and HEAD never do, since programs follow links (RFC 8058, 3.1 and 4)."""
        ticket = one_click.read_token(self._key, request.path_params["token"])
        if ticket is None:
            return _html(pages.no_such_link_page(), 404)
        if request.method != "POST":
            return _html(pages.unsubscribe_page(ticket.scope))
        evidence = "the person used a one-click link"
        ingest.unsubscribe(self._context, ticket.identity, ticket.scope, source=ONE_CLICK, evidence=evidence)
        self._context.log.info("one_click.taken", scope=ticket.scope)
        self._wake(ONE_CLICK)
        return _html(pages.unsubscribed_page(ticket.scope))

    # How things stand ------------------------------------------------------------------------------------------------

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

    async def openapi(self, _request: Request) -> Response:
        return JSONResponse(self._document)

    async def docs(self, _request: Request) -> Response:
        return _html(pages.docs_page(self._document))

    async def overview(self, _request: Request) -> Response:
        with reading(self._context.engine) as connection:
            runs = meters.last_runs(connection, RUNS_SHOWN)
        return _html(pages.status_page(self._status(), runs, self._context.now()))


# What came -----------------------------------------------------------------------------------------------------------


def _address_of(request: Request) -> tuple[str, tuple[str, ...]]:
    """The account, and the rest of the path in its parts. From the path as it was sent: a part may hold a `%2F`."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    _, _, account, *route = (unquote(part) for part in raw.decode("latin-1").partition("?")[0].split("/"))
    if any(not part.isprintable() for part in route):
        raise DeliveryError(404, "no such route")
    return account, tuple(route)


def _query_of(request: Request) -> tuple[tuple[str, str], ...]:
    text = request.scope["query_string"].decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_NAMES_MAX)
    except ValueError:
        raise DeliveryError(400, "the parameters of the address cannot be read") from None
    if any("\x00" in part for pair in pairs for part in pair):
        raise DeliveryError(400, "a parameter of the address holds a NUL")
    return tuple(pairs)


async def _body_of(request: Request, limit: int) -> bytes:
    """The body, if it is not too large, whether it says so beforehand or not, and comes in time."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise DeliveryError(413, f"more than {limit} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise DeliveryError(413, f"more than {limit} bytes")
    except TimeoutError:
        raise DeliveryError(408, "the body did not come in time") from None
    return bytes(body)


def _methods_taken(lane: Lane, delivery: Delivery) -> list[str]:
    """The methods that the account takes there: those it does not refuse as such."""
    assert isinstance(lane.provider, CanNotify)
    taken = []
    for method in ("GET", "POST", "PUT"):
        try:
            lane.provider.verify(_by(delivery, method))
        except DeliveryError as error:
            if error.status == 405:
                continue
        taken.append(method)
    return taken


def _by(delivery: Delivery, method: str) -> Delivery:
    return Delivery(delivery.route, method, delivery.headers, delivery.query, delivery.body, delivery.received_at)


# What is answered ----------------------------------------------------------------------------------------------------


def _rejected(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"status": "rejected", "error": message}, status, dict(headers or {}))


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, _SAFE)


async def _not_served(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _rejected(error.status_code, HTTPStatus(error.status_code).phrase.lower(), error.headers)


async def _not_valid(_request: Request, _error: Exception) -> Response:
    # FastAPI's own answer repeats what was sent.
    return _rejected(400, "the request is not as described")


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


# Around everything ---------------------------------------------------------------------------------------------------


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
                answer = _rejected(503, "not now; send it again", {"retry-after": str(RETRY_AFTER_S)})
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


def places_of(error: BaseException) -> list[str]:
    """Where an error came from, without its message, which may quote a person."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
    frames = traceback.extract_tb(error.__traceback__)
    found = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return found if inner is None else [*found, type(inner).__name__, *places_of(inner)]


def document_path() -> Path:
    """Where our description lies, as JSON: inside an installed wheel, else at the top of the checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "_schemas"
    return (installed if installed.is_dir() else here.parent / "schemas") / "receiver.openapi.json"
