"""What providers send: bounded, handed raw to `sync.ingest.accept`, and answered with 2xx once it is durable.

Nothing is done about it here.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from syncd.domain.errors import DeliveryError
from syncd.domain.records import Delivery
from syncd.providers.protocol import CanNotify
from syncd.receiver.answers import Route, rejected
from syncd.receiver.bounds import body_of, depth_of
from syncd.receiver.limits import Limit
from syncd.settings import ReceiverSettings
from syncd.sync import ingest
from syncd.sync.context import Context, Lane

NUMBERED = frozenset({("leads",), ("unsubscribes",)})
"""Routes on which a new delivery gets 201. Notices get 200: RocketResponder sends again after any other answer."""

QUERY_NAMES_MAX = 500

LEADS, NOTICES, UNSUBSCRIBES, REFUSED = "leads", "notices", "unsubscribes", "refused"
"""Kinds of deliveries that have a limit of their own at each account; those without a good credential are one."""


class Deliveries:
    """`wake` is called with the account once something of it is durable."""

    def __init__(self, context: Context, settings: ReceiverSettings, wake: Callable[[str], None]) -> None:
        self._context = context
        self._settings = settings
        self._wake = wake
        self._limits = {
            LEADS: Limit(settings.leads_per_minute),
            NOTICES: Limit(settings.notices_per_minute),
            UNSUBSCRIBES: Limit(settings.unsubscribes_per_minute),
            REFUSED: Limit(settings.refused_per_minute),
        }

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
            self._admit(lane, delivery)
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
        headers = _headers_of(request)
        if headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
            raise DeliveryError(415, "compressed bodies are not read")
        body = await body_of(request, self._settings.body_bytes_max, self._settings.body_timeout)
        return Delivery(
            route=route,
            method=request.method,
            headers=headers,
            query=_query_of(request),
            body=body,
            received_at=self._context.now(),
        )

    def _admit(self, lane: Lane, delivery: Delivery) -> None:
        """Refuse who cannot prove to be the provider, who sends too much, and what is nested too deep.

        Who cannot prove it uses nothing up of what the provider may send.
        """
        kind = _kind_of(delivery)
        try:
            if isinstance(lane.provider, CanNotify):
                lane.provider.verify(delivery)
        except DeliveryError as error:
            if error.status in {401, 403} and (wait_s := self._limits[REFUSED].take(lane.name)):
                raise _TooMuchError(wait_s) from None
            raise
        if wait_s := self._limits[kind].take(lane.name):
            raise _TooMuchError(wait_s)
        if depth_of(delivery.body) > self._settings.depth_max:
            raise DeliveryError(400, f"nested more than {self._settings.depth_max} deep")

    def _refused(self, account: str, delivery: Delivery | None, error: DeliveryError) -> Response:
        known = account if account in self._context.lanes else None
        self._context.log.warning("delivery.refused", account=known, status=error.status, reason=error.message)
        headers = {}
        if error.status == 401 and error.challenge:
            headers["www-authenticate"] = error.challenge
        if error.status == 405 and delivery is not None:
            headers["allow"] = ", ".join(_methods_taken(self._lane(account), delivery))
        if isinstance(error, _TooMuchError):
            headers["retry-after"] = str(error.wait_s)
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


class _TooMuchError(DeliveryError):
    def __init__(self, wait_s: int) -> None:
        super().__init__(429, "too many at once; send it again later")
        self.wait_s = wait_s


def _kind_of(delivery: Delivery) -> str:
    """A "no" is never kept waiting by leads, nor by other notices where it can be told from them unread."""
    if UNSUBSCRIBES in delivery.route or "unsubscribe" in delivery.route[1:2]:
        return UNSUBSCRIBES
    return LEADS if delivery.route == (LEADS,) else NOTICES


def _headers_of(request: Request) -> dict[str, str]:
    """By name in lower case. One that came twice is joined by a comma, so that no two readers see two credentials."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
    return found


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
