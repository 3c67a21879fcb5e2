"""The conversation with Rokt.

Rokt gives leads and unsubscribes away by calling us, takes unsubscribes one by one, and answers nothing about a person.
So this adapter writes and is notified, and cannot list, follow or look up anybody; with the Query API configured it
reads campaign statistics as well.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome
from syncd.domain.errors import (
    MalformedError,
    ProviderError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.domain.facts import Facts
from syncd.domain.records import CampaignStats, Delivery, Hint, Observation
from syncd.providers.protocol import Retention, Token
from syncd.providers.rokt import webhook
from syncd.providers.rokt.options import RoktOptions
from syncd.providers.rokt.translate import (
    DIMENSIONS,
    METRICS,
    QueryAccount,
    Words,
    accounts_of,
    explanation_of,
    is_error,
    query_body,
    receipt_of,
    rows_of,
    stats_of,
    token_of,
    unsubscribe_body,
    words_of,
)
from syncd.wire import Exchange, Request, Response

UNSUBSCRIBE = "rokt unsubscribe"
LOGIN = "rokt login"
ACCOUNT = "rokt account"
ACCOUNTS = "rokt accounts"
WORDS = "rokt help"
TRANSACTIONS = "rokt transactions"
CAMPAIGNS = "rokt campaign statistics"

KEY_HINT = "compare api_key with One Platform, OP1 - Data, Settings, Webhook API Key"


def rokt_adapter(options: RoktOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> RoktAdapter:
    """The adapter for what is configured: only one with the Query API can report, and its type says so."""
    kind = RoktReportingAdapter if options.reports else RoktAdapter
    return kind(options, linked=linked, now=now)


class RoktAdapter:
    """Unsubscribes to Rokt; leads and unsubscribes from Rokt."""

    facts = Facts(has_lists=False, blind_unsubscribe=True, unsubscribe_is_global=True)
    accepts = frozenset({ChangeKind.UNSUBSCRIBE})

    def __init__(self, options: RoktOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        del linked  # a lead is in its campaign; which campaigns go to a list of ours may change while we run
        self.options = options
        self.now = now

    def check(self) -> Exchange[None]:
        """Ask nothing.

        The import is production only, and its one call ends somebody's mail (Unsubscribe Import API, Testing the API).
        A wrong key shows at the first unsubscribe and pauses the account then.
        """
        yield from ()

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Unsubscribe one person from all that Rokt sends. Whatever the container, since Rokt knows no lists."""
        (change,) = changes
        if change.kind is not ChangeKind.UNSUBSCRIBE:
            return [Ack(Outcome.REFUSED, reason=f"Rokt takes unsubscribes only, not {change.kind}")]
        if "@" not in change.address:
            # Leads may be known by digest alone, and the import documents the raw address as its only key.
            return [Ack(Outcome.REFUSED, reason="only a digest of the address is known, and Rokt takes raw addresses")]
        response = yield Request(
            "POST",
            self.options.unsubscribe_url,
            {
                "authorization": self.options.api_key.get_secret_value(),  # bare, without a scheme
                "content-type": "application/json",
                "accept": "application/json",
            },
            unsubscribe_body(change.address),
            label=UNSUBSCRIBE,
            token=False,
        )
        return [self._ack(response)]

    def _ack(self, response: Response) -> Ack:
        status = response.status
        if status == 201:
            receipt = receipt_of(response.body)
            return Ack(Outcome.ACCEPTED, receipt, reason="" if receipt else "received; the answer names no readable id")
        if 200 <= status < 300:
            # 201 is the only documented yes; a page of some proxy in between comes with 200.
            return Ack(Outcome.UNCERTAIN, reason=f"answered {status}, where 201 is the documented yes")
        if status == 400:
            return Ack(Outcome.REFUSED, reason="Rokt refuses the request: a field is missing or badly formed (400)")
        if status in {413, 415, 422}:
            return Ack(Outcome.REFUSED, reason=f"Rokt refuses the request ({status})")
        raise self._fault(response, UNSUBSCRIBE, unauthorised_hint=KEY_HINT)

    def _fault(self, response: Response, call: str, *, unauthorised_hint: str) -> ProviderError:
        """The error for an answer that is not the one hoped for."""
        status = response.status
        told = explanation_of(response.body, self._secrets())
        what = f"{call}: answered {status}" + (f": {told}" if told else "")
        if status in {401, 403}:
            return UnauthorisedError(what, call=call, hint=unauthorised_hint)
        if status == 429:
            return ThrottledError(what, call=call, retry_after_s=_retry_after_s(response.headers, self.now()))
        if status >= 500 or status in {408, 425}:
            return UnavailableError(what, call=call)
        if status < 400 or status in {404, 405, 410}:
            # Says nothing of the person or the query: whatever answered is not the service.
            return MalformedError(what, call=call, hint="compare the account's URLs with Rokt's documentation")
        return RefusedError(what, call=call)

    def _secrets(self) -> Sequence[str]:
        secrets = (self.options.api_key, self.options.app_secret)
        return [secret.get_secret_value() for secret in secrets if secret is not None]

    def verify(self, delivery: Delivery) -> None:
        webhook.verify(delivery, self.options)

    def delivery_id(self, delivery: Delivery) -> str:
        return webhook.delivery_id(delivery)

    def read_delivery(self, delivery: Delivery) -> Sequence[Observation | Hint]:
        return [webhook.read_delivery(delivery, self.options)]

    @property
    def tests_kept(self) -> Retention:
        return Retention(self.options.test_leads.keep, self.options.test_leads.keep_max)

    def is_test(self, delivery: Delivery) -> bool:
        return webhook.is_test(delivery, self.options)


class RoktReportingAdapter(RoktAdapter):
    """The same with the Query API, which has credentials and a token of its own."""

    login_again_on = frozenset({401})

    def check(self) -> Exchange[None]:
        """Read the account at the Query API. The unsubscribe key stays unproven; see `RoktAdapter.check`."""
        yield from self.account()

    def account(self) -> Exchange[QueryAccount]:
        """The configured account as the Query API shows it."""
        response = yield self._query("GET", f"/accounts/{self.options.account_id}", ACCOUNT)
        self._expect(response, ACCOUNT)
        found = accounts_of(response.body, ACCOUNT)
        if len(found) != 1:
            raise MalformedError("the answer is not one account", call=ACCOUNT)
        return found[0]

    def accounts(self) -> Exchange[Sequence[QueryAccount]]:
        """All accounts that the credentials reach."""
        response = yield self._query("GET", "/accounts", ACCOUNTS)
        self._expect(response, ACCOUNTS)
        return accounts_of(response.body, ACCOUNTS)

    def words(self, about: Literal["campaigns", "transactions"]) -> Exchange[Words]:
        """What a query may ask for; every account has words of its own."""
        response = yield self._query("GET", f"/accounts/{self.options.account_id}/{about}/help", WORDS)
        self._expect(response, WORDS)
        return words_of(response.body, WORDS)

    def transactions(self, start: date, end: date) -> Exchange[Sequence[Mapping[str, object]]]:
        """Day rows of all that the account counts of transactions, from `start` up to but not including `end`."""
        known = yield from self.words("transactions")
        last = end - timedelta(days=1) if self.options.end_date_inclusive else end
        response = yield self._query(
            "POST",
            f"/accounts/{self.options.account_id}/transactions",  # without the last slash that campaigns want
            TRANSACTIONS,
            self._body(start, last, metrics=known.metrics, dimensions=()),
        )
        self._expect(response, TRANSACTIONS)
        return rows_of(response.body, TRANSACTIONS)

    def login(self) -> Exchange[Token]:
        options = self.options
        secret = options.app_secret.get_secret_value() if options.app_secret is not None else ""
        pair = base64.b64encode(f"{options.app_id}:{secret}".encode()).decode()
        response = yield Request(
            "POST",
            options.query_token_url or "",
            {
                "authorization": f"Basic {pair}",
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
            },
            b"grant_type=client_credentials",
            label=LOGIN,
            repeatable=True,
            token=False,
        )
        if response.status == 400:
            # OAuth2 tells of a wrong client with 400 too (RFC 6749, 5.2), as Rokt's older Reporting API did.
            told = explanation_of(response.body, self._secrets())
            raise UnauthorisedError(f"{LOGIN}: answered 400: {told}", call=LOGIN, hint="compare app_id and app_secret")
        self._expect(response, LOGIN)
        return token_of(response.body, LOGIN)

    def authorise(self, request: Request, token: Token) -> Request:
        return replace(request, headers={**request.headers, "authorization": f"Bearer {token.value}"})

    def campaigns(self, known_addresses: Sequence[str], since: datetime | None) -> Exchange[Sequence[CampaignStats]]:
        """Statistics by campaign and day; `known_addresses` are not needed.

        Days shortly before `since` are read again, as acquisitions are counted back to the day of the referral.
        """
        del known_addresses
        today = self.now().astimezone(UTC).date()
        found: dict[tuple[str, str], CampaignStats] = {}
        for start, end in self._windows(today, since):
            last = min(end - timedelta(days=1), today) if self.options.end_date_inclusive else end
            response = yield self._query(
                "POST",
                f"/accounts/{self.options.account_id}/campaigns/",  # 404 without the last slash
                CAMPAIGNS,
                self._body(start, last),
            )
            self._expect(response, CAMPAIGNS)
            found |= stats_of(response.body, start, end, CAMPAIGNS)
        return list(found.values())

    def _windows(self, today: date, since: datetime | None) -> Sequence[tuple[date, date]]:
        """Half-open windows without overlap, up to and including today."""
        options = self.options
        if since is None:
            start = today - timedelta(days=options.report_back_days)
        else:
            # A last report in the future is a clock that was set back; the last days are due all the same.
            start = min(since.astimezone(UTC).date(), today) - timedelta(days=options.restated_days)
        tomorrow = today + timedelta(days=1)
        days = range(0, (tomorrow - start).days, options.report_window_days)
        starts = [start + timedelta(days=offset) for offset in days]
        return list(zip(starts, [*starts[1:], tomorrow], strict=True))

    def _body(
        self, start: date, last: date, *, metrics: Sequence[str] = METRICS, dimensions: Sequence[str] = DIMENSIONS
    ) -> bytes:
        zone, currency = self.options.report_timezone, self.options.report_currency
        return query_body(start, last, metrics=metrics, dimensions=dimensions, timezone=zone, currency=currency)

    def _query(self, method: str, path: str, label: str, body: bytes = b"") -> Request:
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if body else {})
        return Request(method, f"{self.options.query_url}{path}", headers, body, label=label, repeatable=True)

    def _expect(self, response: Response, call: str) -> None:
        """Raise unless the answer is a plain yes. A fault told with 200 is a fault."""
        if response.status != 200:
            fault = self._fault(response, call, unauthorised_hint="compare app_id, app_secret and account_id")
            if call == CAMPAIGNS and response.status == 400:
                fault.hint = "if it speaks of a future endDate, set end_date_inclusive = true"
            raise fault
        if is_error(response.body):
            told = explanation_of(response.body, self._secrets())
            raise RefusedError(f"{call}: answered 200 with an error: {told}", call=call)


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds, or a date of HTTP, from now on; None if absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None
