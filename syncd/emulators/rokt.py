"""Rokt as its clients meet it: the unsubscribe import, the Query API, and the sender of leads and unsubscribes.

What no document settles is a switch with the likelier answer as its default, and says so where it is declared.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree.ElementTree import Element, SubElement, tostring

from syncd.emulators.emulator import Emulator
from syncd.wire import Request, Response

Encoding = Literal["json", "form", "text", "xml"]
Verdict = Literal["delivered", "duplicate", "rejected"]
Digest = Literal["sha256", "md5"]

UNSUBSCRIBE_PATH = "/1.0/nurture/unsubscribe"
TOKEN_PATH = "/auth/oauth2/token"
QUERY_PATH = "/v1/query"

CONTENT_TYPES: Mapping[Encoding, str] = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "text": "text/plain; charset=utf-8",
    "xml": "application/xml",
}

METRICS = ("impressions", "referrals", "gross_cost", "net_cost", "acquisitions", "conversions")
DIMENSIONS = ("campaign_id", "campaign_name")
TRANSACTION_METRICS = ("transactions", "transaction_value")
QUERY_MEMBERS = frozenset(
    {
        "interval", "startDate", "endDate", "metrics", "dimensions", "dimensionFilters", "orderBys",
        "timezoneVariation", "currencyCode",
    }
)  # fmt: skip


@dataclass(slots=True)
class Lead:
    """A person that Rokt has referred."""

    email: str
    first: str
    last: str
    campaign: str | None
    attributes: dict[str, object]
    unsubscribed: bool = False


@dataclass(slots=True)
class Campaign:
    """One campaign and what its days will have come to once they are no longer restated."""

    id: str
    name: str
    days: dict[date, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a connection's response handling: by status, by what the body holds, or by both."""

    verdict: Verdict
    status: int | None = None
    holds: bytes = b""

    def fits(self, response: Response) -> bool:
        return self.status in {None, response.status} and self.holds in response.body


RULES = (Rule("delivered", 201), Rule("duplicate", 200, b'"duplicate"'))
"""By status and body, as our sheet asks for it. What fits none is rejected."""


class QueryRefusedError(Exception):
    """A query that is answered with 400."""


class RoktEmulator(Emulator):
    """Rokt with one account. Public attributes are its state and its switches.

    `deliver_to` is our receiver's address for this account; below it are `/leads` and `/unsubscribes`.
    """

    name = "rokt"

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        base_url: str = "http://127.0.0.1:8704",
        api_key: str = "rokt-key",
        deliver_to: str = "http://127.0.0.1:8480/in/leads",
        inbound_auth: tuple[str, str] = ("rokt", "rokt-secret"),
        app_id: str = "rokt-app",
        app_secret: str = "rokt-app-secret",  # noqa: S107 - a pretend one, for a pretend provider
        account_id: str = "2581697744617019994",
    ) -> None:
        super().__init__(now, seed=seed)
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.deliver_to = deliver_to.rstrip("/")
        self.inbound_auth = inbound_auth
        self.app_id = app_id
        self.app_secret = app_secret
        self.account_id = account_id

        self.leads: dict[str, Lead] = {}
        self.campaigns: dict[str, Campaign] = {}
        self.receipts: dict[str, str] = {}
        """The id of each accepted import -> the address."""
        self.tokens: dict[str, datetime] = {}
        """Token -> when it ends."""
        self._unsubscribed: dict[str, datetime] = {}
        self._imports: list[tuple[datetime, str]] = []

        # Import
        self.apply_delay_s = 0.0
        self.bad_key_status = 401  # not documented for the import; the old reporting pages name 400 and 403
        self.echoes_imports = False  # whether an import comes back to us as an unsubscribe is not documented
        # Query API
        self.token_lifetime_s = 3600.0
        self.end_date_inclusive = False  # two clients disagree; True also refuses a future endDate
        self.restated_days = 7
        self.odd_rows = True  # `[]` and rows without a campaign among the rest
        self.numeric_ids = False  # ids as JSON numbers, above 2^53
        self.metrics = METRICS  # they differ by account; the help call names them
        self.dimensions = DIMENSIONS
        self.transactions: dict[date, dict[str, float]] = {}
        """Figures by day and metric, of all campaigns together."""
        # Sender
        self.parameters = {
            "email": "email", "first": "firstname", "last": "lastname", "campaign": "campaign_id", "source": "source",
        }  # fmt: skip
        """The names our side asked for."""
        self.upper_case_digests: frozenset[Digest] = frozenset({"sha256"})  # as the documented samples are spelt
        self.unlinked: set[str] = set()
        """Campaigns not linked to the connection: their leads stay at Rokt."""
        self.repeats = 0  # how often a delivery is sent once more although it was taken
        self.retries = 4  # how often one that was not taken is sent again; not documented: 0 is as likely
        self.sender_headers: Mapping[str, str] | None = None
        """What the connection sends to prove itself; None: Basic with `inbound_auth`."""
        self.rules: tuple[Rule, ...] = RULES

    # --- Seeding, and what people at Rokt do -------------------------------------------------------------------------

    @property
    def unsubscribed(self) -> dict[str, datetime]:
        """Address in lower case -> since when nothing of Rokt is sent there."""
        self._settle()
        return self._unsubscribed

    def add_campaign(
        self, campaign_id: str, name: str, days: Mapping[str, Mapping[str, float]] | None = None
    ) -> Campaign:
        """A campaign with its figures by ISO day: any of `METRICS`, the rest count as 0."""
        campaign = Campaign(campaign_id, name)
        for day, figures in (days or {}).items():
            campaign.days[date.fromisoformat(day)] = dict(figures)
        self.campaigns[campaign_id] = campaign
        return campaign

    def send_lead(
        self,
        email: str,
        first: str = "",
        last: str = "",
        *,
        campaign: str | None = None,
        source: str = "",
        method: str = "POST",
        encoding: Encoding = "json",
        hashed: Digest | None = None,
        **attributes: object,
    ) -> None:
        """A person says yes to an offer. `attributes` are named as Rokt sends them, such as `mobile` and `zipcode`."""
        folded = _folded(email)
        self.leads[folded] = Lead(email, first, last, campaign, dict(attributes), folded in self.unsubscribed)
        if campaign in self.campaigns:
            figures = self.campaigns[campaign].days.setdefault(self.now().astimezone(UTC).date(), {})
            figures["referrals"] = figures.get("referrals", 0) + 1
        if campaign in self.unlinked:
            return
        names = self.parameters
        person = {names["first"]: first, names["last"]: last, names["campaign"]: campaign, names["source"]: source}
        given = {name: value for name, value in person.items() if value}
        self._send("leads", self._address(email, hashed) | given | attributes, method, encoding)

    def person_unsubscribes(
        self,
        email: str,
        *,
        method: str = "POST",
        encoding: Encoding = "json",
        hashed: Digest | None = None,
        **attributes: object,
    ) -> None:
        """Somebody follows the unsubscribe link in a mail of Rokt's, which tells us."""
        self._unsubscribe(_folded(email), self.now())
        self._send("unsubscribes", self._address(email, hashed) | attributes, method, encoding)

    def press_test(
        self, *, method: str = "POST", encoding: Encoding = "json", query: str = "", **attributes: object
    ) -> None:
        """The Test button of the connection: a lead that is nobody.

        What it sends, and to which address, is in the settings of the connection: `attributes`, and `query` for an
        address of its own.
        """
        names = self.parameters
        person: dict[str, object] = {names["email"]: "test@example.com", names["first"]: "Test", names["last"]: "Lead"}
        self._send("leads", person | attributes, method, encoding, query)

    def shuffle_outgoing(self) -> None:
        """Deliveries overtake each other: no order is promised."""
        waiting = list(self.outgoing)
        self.rng.shuffle(waiting)
        self.outgoing.clear()
        self.outgoing.extend(waiting)

    def verdict(self, response: Response) -> Verdict:
        """How the connection's response handling files our answer: the first rule that fits."""
        return next((rule.verdict for rule in self.rules if rule.fits(response)), "rejected")

    def _address(self, email: str, hashed: Digest | None) -> dict[str, object]:
        if hashed is None:
            return {self.parameters["email"]: email}
        digest = hashlib.new(hashed, _folded(email).encode()).hexdigest()
        return {f"email{hashed}": digest.upper() if hashed in self.upper_case_digests else digest}

    def _send(
        self, route: str, attributes: Mapping[str, object], method: str, encoding: Encoding, query: str = ""
    ) -> None:
        pair = base64.b64encode(":".join(self.inbound_auth).encode()).decode()
        headers = {"authorization": f"Basic {pair}"} if self.sender_headers is None else dict(self.sender_headers)
        url, body = f"{self.deliver_to}/{route}", b""
        if query:
            url += f"?{query}"
        if method == "GET":
            given = urlencode({name: _spelt(value) for name, value in attributes.items()})
            url += f"{'&' if query else '?'}{given}"
        else:
            headers["content-type"] = CONTENT_TYPES[encoding]
            body = _encoded(attributes, encoding)
        request = Request(method, url, headers, body, label=f"rokt {route}", token=False)
        self.outgoing.extend([request] * (1 + self.repeats))

    # --- What is asked of Rokt ---------------------------------------------------------------------------------------

    def is_write(self, request: Request) -> bool:
        return request.method == "POST" and self._path(request) == UNSUBSCRIBE_PATH

    def answer(self, request: Request) -> Response:
        self._settle()
        path = self._path(request)
        if path == UNSUBSCRIBE_PATH:
            return self._import(request)
        if path == TOKEN_PATH:
            return self._login(request)
        if path.startswith(f"{QUERY_PATH}/"):
            return self._query(request, path.removeprefix(QUERY_PATH))
        return _told(404, "Not Found")

    def _path(self, request: Request) -> str:
        url = request.url
        path = url.removeprefix(self.base_url) if url.startswith(f"{self.base_url}/") else urlsplit(url).path
        return path.partition("?")[0]

    def _import(self, request: Request) -> Response:
        headers = _lower(request.headers)
        if request.method != "POST":
            return _told(405, "Method Not Allowed")
        if headers.get("authorization", "") != self.api_key:
            return _told(self.bad_key_status, "Unauthorized")
        accepted = {part.partition(";")[0].strip() for part in headers.get("accept", "*/*").split(",")}
        if _media_type(headers) != "application/json" or not accepted & {"*/*", "application/*", "application/json"}:
            return _told(400, "Bad Request")
        try:
            sent = json.loads(request.body)
        except ValueError:
            return _told(400, "Bad Request")
        if not isinstance(sent, dict) or sent.keys() != {"email"} or not _is_address(sent["email"]):
            return _told(400, "Bad Request")
        receipt = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.receipts[receipt] = sent["email"]
        self._imports.append((self.now() + timedelta(seconds=self.apply_delay_s), _folded(sent["email"])))
        return _json(201, {"id": receipt})

    def _settle(self) -> None:
        """Apply the imports whose time has come."""
        now = self.now()
        due = [entry for entry in self._imports if entry[0] <= now]
        self._imports = [entry for entry in self._imports if entry[0] > now]
        for at, email in due:
            if self._unsubscribe(email, at) and self.echoes_imports:
                self._send("unsubscribes", self._address(email, None), "POST", "json")

    def _unsubscribe(self, email: str, at: datetime) -> bool:
        """Whether that was news."""
        if lead := self.leads.get(email):
            lead.unsubscribed = True
        known = email in self._unsubscribed
        self._unsubscribed.setdefault(email, at)
        return not known

    def _login(self, request: Request) -> Response:
        headers = _lower(request.headers)
        if request.method != "POST":
            return _told(405, "Method Not Allowed")
        pair = base64.b64encode(f"{self.app_id}:{self.app_secret}".encode()).decode()
        if headers.get("authorization") != f"Basic {pair}":
            return _json(401, {"error": "invalid_client"})
        form = dict(parse_qsl(request.body.decode("ascii", "replace")))
        if _media_type(headers) != CONTENT_TYPES["form"] or form != {"grant_type": "client_credentials"}:
            return _json(400, {"error": "unsupported_grant_type"})
        token = f"{self.rng.getrandbits(256):064x}"
        self.tokens[token] = self.now() + timedelta(seconds=self.token_lifetime_s)
        return _json(200, {"access_token": token, "token_type": "Bearer", "expires_in": int(self.token_lifetime_s)})

    # --- Query API ---------------------------------------------------------------------------------------------------

    def _query(self, request: Request, path: str) -> Response:
        scheme, _, token = _lower(request.headers).get("authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, self.now()) <= self.now():
            return _told(401, "Unauthorized")
        account = f"/accounts/{self.account_id}"
        help_answers = {
            f"{account}/campaigns/help": {"dimensions": _slugs(self.dimensions), "metrics": _slugs(self.metrics)},
            f"{account}/transactions/help": {"dimensions": [], "metrics": _slugs(TRANSACTION_METRICS)},
        }
        if request.method == "GET" and path == "/accounts":
            return _json(200, [self._account()])
        if request.method == "GET" and path == account:
            return _json(200, self._account())
        if request.method == "GET" and path in help_answers:
            return _json(200, help_answers[path])
        # The campaigns call wants its last slash; its neighbour for transactions has none.
        rows = {f"{account}/campaigns/": self._rows, f"{account}/transactions": self._transaction_rows}.get(path)
        if request.method != "POST" or rows is None:
            return _told(404, "Not Found")
        try:
            return _json(200, {"accountId": self.account_id, "queryTimeMs": 42, "data": rows(request)})
        except QueryRefusedError as refusal:
            return _told(400, str(refusal))

    def _account(self) -> dict[str, object]:
        return {
            "accountId": self.account_id,
            "accountName": "Example Brand",
            "countryCode": "US",
            "accountOwner": "Rokt",
            "accountCurrencyCode": "USD",
            "accountTimezone": "America/New_York",
            "accountTimezoneOffset": -300,
        }

    def _rows(self, request: Request) -> list[object]:
        query = self._read_query(request, self.metrics, self.dimensions)
        start, end = self._span(query)
        metrics, dimensions = query["metrics"], query["dimensions"]
        groups: dict[tuple[str, ...], dict[str, object]] = {}
        for campaign in self.campaigns.values():
            identity: dict[str, object] = {
                "campaign_id": int(campaign.id) if self.numeric_ids and campaign.id.isdigit() else campaign.id,
                "campaign_name": campaign.name,
            }
            for day in sorted(day for day in campaign.days if start <= day < end):
                row = {name: identity[name] for name in dimensions}
                if "interval" in query:
                    row["datetime"] = f"{day.isoformat()}T00:00:00Z"
                kept = groups.setdefault(tuple(str(value) for value in row.values()), row)
                for metric in metrics:
                    so_far = kept.get(metric, 0)
                    kept[metric] = self._figure(campaign, day, metric) + (
                        so_far if isinstance(so_far, int | float) else 0
                    )
        rows: list[object] = list(groups.values())
        if self.odd_rows and rows:
            stray: dict[str, object] = dict.fromkeys(dimensions) | dict.fromkeys(metrics, 0)
            rows += [[], stray | ({"datetime": f"{start.isoformat()}T00:00:00Z"} if "interval" in query else {})]
        return rows

    def _transaction_rows(self, request: Request) -> list[object]:
        query = self._read_query(request, TRANSACTION_METRICS, ())
        start, end = self._span(query)
        found: list[object] = []
        for day in sorted(day for day in self.transactions if start <= day < end):
            figures = {metric: self.transactions[day].get(metric, 0) for metric in query["metrics"]}
            found.append({"datetime": f"{day.isoformat()}T00:00:00Z", **figures})
        return found

    def _figure(self, campaign: Campaign, day: date, metric: str) -> float:
        """A figure as it is shown today: acquisitions come in over the days after the referral and count back to it."""
        final = campaign.days[day].get(metric, 0)
        age = (self.now().astimezone(UTC).date() - day).days
        if metric not in {"acquisitions", "conversions"} or age >= self.restated_days:
            return final
        return int(final * (max(age, 0) + 1) / (self.restated_days + 1))

    def _read_query(
        self, request: Request, metrics: tuple[str, ...], dimensions: tuple[str, ...]
    ) -> dict[str, list[str]]:
        try:
            query = json.loads(request.body)
        except ValueError:
            raise QueryRefusedError("body is not JSON") from None
        if not isinstance(query, dict) or _media_type(_lower(request.headers)) != "application/json":
            raise QueryRefusedError("body is not a JSON object")
        if unknown := query.keys() - QUERY_MEMBERS:
            raise QueryRefusedError(f"unknown member {min(unknown)}")
        if query.get("interval", "day") != "day":
            raise QueryRefusedError("interval is not supported")
        for member, known in (("metrics", metrics), ("dimensions", dimensions)):
            asked = query.get(member)
            if not isinstance(asked, list) or (member == "metrics" and not asked):
                raise QueryRefusedError(f"{member} is required")
            if any(slug not in known for slug in asked):
                raise QueryRefusedError(f"unknown slug in {member}")
        for order in query.get("orderBys", []):
            if not isinstance(order, dict) or order.get("column") not in query["metrics"] + query["dimensions"]:
                # `datetime` is in the answer and still no column.
                raise QueryRefusedError("cannot order by that column")
        return query

    def _span(self, query: Mapping[str, object]) -> tuple[date, date]:
        """First day and the day after the last."""
        try:
            start, end = (date.fromisoformat(str(query[member])[:10]) for member in ("startDate", "endDate"))
        except (KeyError, ValueError):
            raise QueryRefusedError("startDate and endDate are required") from None
        if self.end_date_inclusive:
            if end > self.now().astimezone(UTC).date():
                raise QueryRefusedError("endDate cannot be in the future")
            end += timedelta(days=1)
        if start >= end:
            raise QueryRefusedError("startDate must be before endDate")
        return start, end


def _encoded(attributes: Mapping[str, object], encoding: Encoding) -> bytes:
    spelt = {name: _spelt(value) for name, value in attributes.items()}
    match encoding:
        case "json":
            return json.dumps(attributes, ensure_ascii=False).encode()
        case "form":
            return urlencode(spelt).encode()
        case "text":
            return "".join(f"{name}={' '.join(value.splitlines())}\r\n" for name, value in spelt.items()).encode()
        case "xml":
            root = Element("lead")
            for name, value in spelt.items():
                SubElement(root, name).text = value
            document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
            return document


def _spelt(value: object) -> str:
    return "" if value is None else str(value)


def _folded(email: str) -> str:
    return email.strip().lower()


def _is_address(value: object) -> bool:
    if not isinstance(value, str) or any(ch.isspace() for ch in value):
        return False
    local, at, domain = value.rpartition("@")
    return bool(local and at and domain)


def _slugs(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"slug": name} for name in names]


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _told(status: int, message: str) -> Response:
    return _json(status, {"message": message})


def _json(status: int, value: object) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(value).encode())
