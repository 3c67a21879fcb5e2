"""What providers send: bounded, handed raw to `sync.ingest.accept`, and answered with 2xx once it is durable.

Nothing is done about it here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncd.domain.errors import DeliveryError
from syncd.domain.records import Delivery
from syncd.providers.protocol import CanNotify
from syncd.receiver.answers import Route, rejected
from syncd.settings import ReceiverSettings
from syncd.sync import ingest
from syncd.sync.context import Context, Lane

NUMBERED = frozenset({("leads",), ("unsubscribes",)})
"""Routes on which a new delivery gets 201. Notices get 200: RocketResponder sends again after any other answer."""

BODY_S = 30.0
"""How long the body of a delivery may take."""

QUERY_NAMES_MAX = 500


class Deliveries:
    """`wake` is called with the account once something of it is durable."""

    def __init__(self, context: Context, settings: ReceiverSettings, wake: Callable[[str], None]) -> None:
        self._context = context
        self._body_bytes_max = settings.body_bytes_max
        self._wake = wake

    def routes(self) -> tuple[Route, ...]:
        return (
            ("/in/{account}/leads", ("GET", "POST", "PUT"), self.deliver),
            ("/in/{account}/unsubscribes", ("POST", "PUT"), self.deliver),
            ("/in/{account}/webhook", ("POST", "HEAD"), self.notice),
            ("/in/{account}/{list}/{action}/{secret}", ("POST", "HEAD"), self.notice),
        )

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
        return rejected(error.status, error.message, headers)


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
