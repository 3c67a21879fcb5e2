"""A pretend ROCS and its token service.

Real, from the page of ROCS (https://api.msp-cloud.com, read 2026-11-21): OAuth2 client credentials from Azure AD, 200
for every success, 401 for authentication, 500 for everything else, and that there are customers, dynamic fields, lists,
campaign statistics and webhooks. **Assumed**: every path, member, event, paging rule and signature here.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from syncd.emulators.rocs_state import (
    DYNAMIC_TYPES,
    EVENTS,
    MEMBER_WORDS,
    Campaign,
    Customer,
    MailingList,
    Member,
    Registration,
    RocsState,
    as_json,
    iso,
    spell_customer,
    spell_member,
)
from syncd.wire import Request, Response

CUSTOMER_MEMBERS: Mapping[str, type] = {
    "email": str,
    "firstName": str,
    "lastName": str,
    "mobile": str,
    "emailConsent": bool,
}

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_MOBILE = re.compile(r"(?:\+?[0-9 ()-]{5,24})?")
_JSON = {"content-type": "application/json; charset=utf-8"}


class _FaultError(Exception):
    """What ROCS answers with 500 and a message."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One authorised call, taken apart."""

    ids: tuple[str, ...]
    query: dict[str, str]
    request: Request

    def body(self, known: Iterable[str]) -> dict[str, Any]:
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise _FaultError("unsupported content type")
        try:
            found = msgspec.json.decode(self.request.body, type=dict[str, Any])
        except (ValueError, RecursionError):
            raise _FaultError("the body is not a JSON object") from None
        if strange := sorted(found.keys() - set(known)):
            raise _FaultError(f"unknown member '{strange[0]}'")
        return found


class RocsEmulator(RocsState):
    """State is in the public attributes; whoever acts at ROCS does so by the methods of `RocsState`.

    Switches: `poison` (ids or addresses whose writes answer 500), `unreadable` (ids whose reads do, and every page that
    would show them), `no_dynamic` (ids whose dynamic fields cannot be read), `broken` (everything but the token service
    answers 500; for a while or for ever, as whoever sets it likes), `page_size_max` (caps without a word),
    `broken_stats` (campaigns whose statistics answer 500), `charset` (of all answers, which say so), `more_secrets` and
    `expired_secrets` of the application, `echo` (our own writes cause notices too), `delivery_drop_rate`,
    `delivery_duplicate_rate` and `delivery_shuffle` (notices lost, twice, out of order), `stale_for_s` (reads show what
    was true so long ago; set it before the changes that shall be hidden), `touch_unchanged` (a PUT that changes nothing
    still moves `modifiedAt`), `dynamic_touches` (a change of dynamic fields moves it as well).
    """

    name = "rocs"

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        base_url: str = "http://127.0.0.1:8701",
        token_path: str = "/oauth2/token",  # noqa: S107 - a path
        client_id: str = "rocs-client",
        client_secret: str = "rocs-secret",  # noqa: S107 - opens nothing but this emulator
        resource: str | None = None,
        token_lifetime_s: int = 3599,
    ) -> None:
        super().__init__(now, seed=seed)
        self.base_url = base_url.rstrip("/")
        self.token_path = token_path
        self.client_id = client_id
        self.client_secret = client_secret
        self.more_secrets: set[str] = set()
        self.expired_secrets: set[str] = set()
        self.resource = resource  # None: any audience is known
        self.token_lifetime_s = token_lifetime_s
        self.tokens: dict[str, datetime] = {}
        self.poison: set[str] = set()
        self.unreadable: set[str] = set()
        self.no_dynamic: set[str] = set()
        self.broken = False
        self.charset = "utf-8"
        self.page_size_max = 1000
        self.broken_stats: set[str] = set()

    @property
    def token_url(self) -> str:
        return f"{self.base_url}{self.token_path}"

    def revoke_tokens(self) -> None:
        self.tokens.clear()

    def is_write(self, request: Request) -> bool:
        path = self._path(request)
        return request.method != "GET" and path.startswith(("/customers", "/lists"))

    def answer(self, request: Request) -> Response:
        path = self._path(request)
        if path == self.token_path:
            return self._token(request)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or self.tokens.get(token, datetime.min.replace(tzinfo=UTC)) <= self.now():
            return _json(401, {"message": "Authorization has been denied for this request."})
        if self.broken:
            return _json(500, {"message": "An error has occurred."})
        try:
            for method, pattern, call in self._routes:
                if method == request.method and (match := pattern.fullmatch(path)):
                    query = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
                    asked = _Asked(tuple(unquote(part) for part in match.groups()), query, request)
                    return self._spelt(_json(200, call(self, asked)))
        except _FaultError as fault:
            return _json(500, {"message": str(fault)})
        return _json(500, {"message": "no such resource"})

    def _spelt(self, response: Response) -> Response:
        if self.charset == "utf-8":
            return response
        body = response.body.decode().encode(self.charset, "backslashreplace")
        return Response(response.status, {"content-type": f"application/json; charset={self.charset}"}, body)

    def _path(self, request: Request) -> str:
        return urlsplit(request.url).path.removeprefix(urlsplit(self.base_url).path)

    # Tokens, as Azure AD issues them

    def _token(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        audience = form.get("resource") or form.get("scope")
        if request.method != "POST" or kind != "application/x-www-form-urlencoded" or not form.get("grant_type"):
            return self._denied(400, "invalid_request", 900144, "The body must contain 'grant_type'.")
        if form["grant_type"] != "client_credentials":
            return self._denied(400, "unsupported_grant_type", 70003, "The grant type is not supported.")
        if form.get("client_id") != self.client_id:
            return self._denied(400, "unauthorized_client", 700016, "The application was not found in the directory.")
        given = form.get("client_secret", "").encode()
        if any(hmac.compare_digest(given, secret.encode()) for secret in self.expired_secrets):
            return self._denied(401, "invalid_client", 7000222, "The provided client secret keys are expired.")
        known = (self.client_secret, *self.more_secrets)  # an application may have several at once
        if not any(hmac.compare_digest(given, secret.encode()) for secret in known):
            return self._denied(401, "invalid_client", 7000215, "Invalid client secret provided.")
        if audience is None:
            return self._denied(400, "invalid_request", 900144, "The body must contain 'resource'.")
        if "resource" in form and "scope" in form:
            return self._denied(400, "invalid_request", 901002, "The 'resource' parameter is not supported.")
        if "scope" in form and not form["scope"].endswith("/.default"):
            return self._denied(400, "invalid_scope", 70011, "The provided value for 'scope' is not valid.")
        if self.resource is not None and audience.removesuffix("/.default") != self.resource:
            return self._denied(400, "invalid_resource", 500011, "The resource principal was not found.")
        value = f"eyJ.{self.rng.getrandbits(256):064x}"
        issued, lifetime = self.now(), self.token_lifetime_s
        self.tokens[value] = issued + timedelta(seconds=lifetime)
        answer: dict[str, Any] = {"token_type": "Bearer", "access_token": value}
        if "scope" in form:
            return _json(200, answer | {"expires_in": lifetime, "ext_expires_in": lifetime})
        return _json(
            200,
            answer
            | {
                "expires_in": str(lifetime),
                "ext_expires_in": str(lifetime),
                "expires_on": str(int(issued.timestamp()) + lifetime),
                "not_before": str(int(issued.timestamp()) - 300),
                "resource": audience,
            },
        )

    def _denied(self, status: int, error: str, code: int, text: str) -> Response:
        trace, correlation, at = self._uuid(), self._uuid(), f"{self.now():%Y-%m-%d %H:%M:%SZ}"
        description = f"AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {at}"
        return _json(
            status,
            {
                "error": error,
                "error_description": description,
                "error_codes": [code],
                "timestamp": at,
                "trace_id": trace,
                "correlation_id": correlation,
            },
        )

    # Customers

    def _get_customers(self, asked: _Asked) -> Any:
        since = _since(asked, "modifiedSince")
        known = self._seen(self.customers)
        found: list[Customer] = [known[key] for key in sorted(known)]
        if since is not None:
            found = [one for one in found if one.modified_at >= since]
        if (email := asked.query.get("email")) is not None:
            found = [one for one in found if one.email.lower() == email.strip().lower()]
        return self._page(asked, "customers", found, spell_customer, {"modifiedSince", "email"})

    def _get_customer(self, asked: _Asked) -> Any:
        customer = self._known(asked.ids[0], self._seen(self.customers))
        self._refuse_unreadable([customer])
        return spell_customer(customer)

    def _post_customer(self, asked: _Asked) -> Any:
        body = self._customer_body(asked)
        if "email" not in body:
            raise _FaultError("validation: 'email' is required")
        self._refuse_poison(body["email"])
        customer = self._made(
            body["email"],
            body.get("firstName", ""),
            body.get("lastName", ""),
            body.get("mobile"),
            body.get("emailConsent", False),
            None,
        )
        self._notify("customer.created", customer, own=False)
        return spell_customer(customer)

    def _put_customer(self, asked: _Asked) -> Any:
        customer = self._known(asked.ids[0])
        self._refuse_poison(customer.id, customer.email)
        own = {"firstName": "first_name", "lastName": "last_name", "emailConsent": "consent"}
        changes = {own.get(name, name): value for name, value in self._customer_body(asked).items()}
        self._changed(customer, changes, own=False)
        return spell_customer(customer)

    def _delete_customer(self, asked: _Asked) -> Any:
        customer = self._known(asked.ids[0])
        self._refuse_poison(customer.id, customer.email)
        self._removed(customer, own=False)
        return {}

    def _customer_body(self, asked: _Asked) -> dict[str, Any]:
        body = asked.body(CUSTOMER_MEMBERS)
        for name, value in body.items():
            if not isinstance(value, CUSTOMER_MEMBERS[name]):
                raise _FaultError(f"validation: '{name}' has the wrong type")
        if not _ADDRESS.fullmatch(body.get("email", "a@b.c")):
            raise _FaultError(f"validation: '{body['email']}' is not an e-mail address")
        if not _MOBILE.fullmatch(body.get("mobile", "")):
            raise _FaultError("validation: 'mobile' is not a phone number")
        return body

    # Dynamic fields

    def _get_dynamic(self, asked: _Asked) -> Any:
        customer = self._known(asked.ids[0])
        self._refuse_unreadable([customer])
        if customer.id in self.no_dynamic:
            raise _FaultError("Object reference not set to an instance of an object.")
        return customer.dynamic

    def _put_dynamic(self, asked: _Asked) -> Any:
        customer = self._known(asked.ids[0])
        self._refuse_poison(customer.id, customer.email)
        body = asked.body(self.dynamic_fields)
        for name, value in body.items():
            kind = self.dynamic_fields[name]
            if not isinstance(value, DYNAMIC_TYPES[kind]) or (kind == "number" and isinstance(value, bool)):
                raise _FaultError(f"validation: '{name}' takes a {kind}")
        self.set_dynamic(customer.id, body)
        return customer.dynamic

    def _get_dynamic_fields(self, _: _Asked) -> Any:
        return [{"name": name, "type": kind} for name, kind in self.dynamic_fields.items()]

    # Lists

    def _get_lists(self, _: _Asked) -> Any:
        return [
            {
                "id": one.id,
                "name": one.name,
                "memberCount": len(self._seen(one.members)),
                "modifiedAt": iso(one.modified_at),
            }
            for one in self.lists.values()
        ]

    def _get_members(self, asked: _Asked) -> Any:
        since = _since(asked, "changedSince")
        known = self._seen(self._list(asked.ids[0]).members)
        found: list[Member] = [known[key] for key in sorted(known)]
        if since is not None:
            found = [one for one in found if one.changed_at >= since]
        return self._page(asked, "members", found, spell_member, {"changedSince"})

    def _put_member(self, asked: _Asked) -> Any:
        mailing_list, customer = self._list(asked.ids[0]), self._known(asked.ids[1])
        self._refuse_poison(customer.id, customer.email)
        body = asked.body({"status"})
        if body.get("status") not in MEMBER_WORDS:
            raise _FaultError("validation: 'status' is subscribed or unsubscribed")
        return spell_member(self._joined(mailing_list, customer, body["status"], own=False))

    # Campaigns and webhooks

    def _get_campaigns(self, asked: _Asked) -> Any:
        found = [self.campaigns[key] for key in sorted(self.campaigns)]
        return self._page(asked, "campaigns", found, _campaign, set())

    def _get_stats(self, asked: _Asked) -> Any:
        campaign = self.campaigns.get(asked.ids[0])
        if campaign is None or campaign.id in self.broken_stats:
            raise _FaultError("statistics are not available")
        words = ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed", "complained")
        counters = {word: campaign.stats.get(word, 0) for word in words}
        return {"campaignId": campaign.id, **counters, "updatedAt": iso(campaign.updated_at)}

    def _get_webhooks(self, _: _Asked) -> Any:
        return [_registration(one) for one in self.registrations.values()]

    def _post_webhook(self, asked: _Asked) -> Any:
        body = asked.body({"url", "events", "secret"})
        url, events, secret = body.get("url"), body.get("events"), body.get("secret")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise _FaultError("validation: 'url' is not an address")
        if not isinstance(events, list) or not events or not set(events) <= set(EVENTS):
            raise _FaultError("validation: 'events' holds an unknown event")
        if not isinstance(secret, str) or not secret:
            raise _FaultError("validation: 'secret' is required")
        return _registration(self.registrations[self.register_webhook(url, secret, events)])

    def _delete_webhook(self, asked: _Asked) -> Any:
        if self.registrations.pop(asked.ids[0], None) is None:
            raise _FaultError(f"unknown id '{asked.ids[0]}'")
        return {}

    # Small things

    def _page(
        self, asked: _Asked, name: str, found: Sequence[Any], spell: Callable[[Any], Any], filters: set[str]
    ) -> Any:
        if strange := sorted(asked.query.keys() - filters - {"page", "pageSize"}):
            raise _FaultError(f"unknown parameter '{strange[0]}'")
        number, size = asked.query.get("page", "1"), asked.query.get("pageSize", "100")
        if not number.isdecimal() or not size.isdecimal() or not int(number) or not int(size):
            raise _FaultError("validation: 'page' and 'pageSize' count from 1")
        used = min(int(size), self.page_size_max)
        first = (int(number) - 1) * used
        self._refuse_unreadable(found[first : first + used])
        items = [spell(one) for one in found[first : first + used]]
        return {"page": int(number), "pageSize": used, "totalCount": len(found), name: items}

    def _known(self, key: str, customers: Mapping[str, Customer] | None = None) -> Customer:
        customer = (self.customers if customers is None else customers).get(key)
        if customer is None:
            raise _FaultError(f"unknown customer '{key}'")
        return customer

    def _list(self, key: str) -> MailingList:
        if key not in self.lists:
            raise _FaultError(f"unknown list '{key}'")
        return self.lists[key]

    def _refuse_unreadable(self, found: Sequence[Any]) -> None:
        ids = {one.customer_id if isinstance(one, Member) else one.id for one in found}
        if self.unreadable & ids:
            raise _FaultError("Object reference not set to an instance of an object.")

    def _refuse_poison(self, *names: str) -> None:
        if self.poison.intersection(names):
            raise _FaultError("The record could not be saved.")

    _routes: ClassVar[tuple[tuple[str, re.Pattern[str], Callable[[RocsEmulator, _Asked], Any]], ...]] = tuple(
        (method, re.compile(pattern), call)
        for method, pattern, call in (
            ("GET", r"/customers", _get_customers),
            ("POST", r"/customers", _post_customer),
            ("GET", r"/customers/([^/]+)", _get_customer),
            ("PUT", r"/customers/([^/]+)", _put_customer),
            ("DELETE", r"/customers/([^/]+)", _delete_customer),
            ("GET", r"/customers/([^/]+)/dynamic", _get_dynamic),
            ("PUT", r"/customers/([^/]+)/dynamic", _put_dynamic),
            ("GET", r"/dynamic/fields", _get_dynamic_fields),
            ("GET", r"/lists", _get_lists),
            ("GET", r"/lists/([^/]+)/members", _get_members),
            ("PUT", r"/lists/([^/]+)/members/([^/]+)", _put_member),
            ("GET", r"/campaigns", _get_campaigns),
            ("GET", r"/campaigns/([^/]+)/stats", _get_stats),
            ("GET", r"/webhooks", _get_webhooks),
            ("POST", r"/webhooks", _post_webhook),
            ("DELETE", r"/webhooks/([^/]+)", _delete_webhook),
        )
    )


def _campaign(one: Campaign) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "status": one.status, "sentAt": iso(one.sent_at)}


def _registration(one: Registration) -> dict[str, Any]:
    return {"id": one.id, "url": one.url, "events": list(one.events)}


def _since(asked: _Asked, name: str) -> datetime | None:
    text = asked.query.get(name)
    if text is None:
        return None
    try:
        since = datetime.fromisoformat(text)
    except ValueError:
        raise _FaultError(f"validation: '{name}' is not a time") from None
    return since if since.tzinfo else since.replace(tzinfo=UTC)


def _json(status: int, payload: Any) -> Response:
    return Response(status, _JSON, as_json(payload))
