"""ROCS: customers with one consent for everything, lists of them, campaign statistics, notices.

Every path and name is assumed and comes from `table.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from syncd.domain.changes import Ack, Change, ChangeKind, Target
from syncd.domain.errors import MalformedError, RefusedError
from syncd.domain.facts import Facts
from syncd.domain.records import (
    UNREAD,
    WHOLE_ACCOUNT,
    CampaignStats,
    Container,
    ContainerId,
    Delivery,
    Hint,
    Observation,
    Page,
    Record,
)
from syncd.providers.protocol import Token
from syncd.providers.rocs import webhook
from syncd.providers.rocs.answer import decode, is_secret_refused, raise_for, text_of, token_error
from syncd.providers.rocs.calls import Calls
from syncd.providers.rocs.options import RocsOptions
from syncd.providers.rocs.pages import Listing, Pages, Part
from syncd.providers.rocs.translate import Translator, id_of
from syncd.providers.rocs.writes import Writes
from syncd.wire import Exchange, Request

LIFETIME_UNSTATED_S = 300.0  # Azure AD always states one; short enough to be wrong about without harm


class RocsAdapter:
    """One account at ROCS."""

    accepts = frozenset({ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE})
    login_again_on = frozenset({401})

    def __init__(
        self,
        options: RocsOptions,
        *,
        linked: frozenset[str],  # noqa: ARG002 - every adapter is built alike; here each list can be read by itself
        now: Callable[[], datetime],
    ) -> None:
        self.options = options
        self._translator = Translator(options)
        self._calls = Calls(options, self._translator, now)
        self._pages = Pages(self._calls, self._translator)
        self._writes = Writes(self._calls)
        self._now = now
        self.facts = Facts(
            fields=frozenset({*self._translator.standard, *self._translator.dynamic}),
            looked_up=frozenset(self._translator.dynamic),
            looks_before_subscribe=True,
        )

    def check(self) -> Exchange[None]:
        yield from self.containers()

    # Logging in

    def login(self) -> Exchange[Token]:
        """Client credentials at Azure AD; v1.0 is told the `resource`, v2.0 the `scope`. There is no refresh token.

        Of several secrets the first that is not refused is used, newest first.
        """
        *rotated, last = self.options.client_secrets()
        for secret in rotated:
            # While secrets are rotated the newest may not be known there yet, and the oldest not any more.
            response = yield self._token_request(secret)
            if not is_secret_refused(response):
                break
        else:
            response = yield self._token_request(last)
        if not 200 <= response.status < 300:
            raise token_error(response, now=self._now)
        answer = decode(text_of(response), dict[str, Any], call="token")
        if "error" in answer:
            raise token_error(response, now=self._now)
        value = answer.get("access_token")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
            raise MalformedError("token: the answer holds no usable token", call="token")
        return Token(value, _lifetime_s(answer.get("expires_in")))

    def _token_request(self, secret: str) -> Request:
        options = self.options
        audience = {"resource": options.resource} if options.resource else {"scope": options.scope}
        form = {
            "grant_type": "client_credentials",
            "client_id": options.client_id,
            "client_secret": secret,
            **audience,
        }
        return Request(
            "POST",
            options.token_url,
            {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"},
            urlencode(form).encode(),
            label="token",
            repeatable=True,
            token=False,
        )

    def authorise(self, request: Request, token: Token) -> Request:
        return replace(request, headers={**request.headers, "authorization": f"Bearer {token.value}"})

    # Reading

    def containers(self) -> Exchange[Sequence[Container]]:
        body = yield from self._calls.get("lists")
        return self._translator.containers(body, call="get-lists")

    def snapshot(self, container: ContainerId, at: str | None) -> Exchange[Page]:
        return (yield from self._page(container, at, None))

    def feed(self, container: ContainerId, since: str, at: str | None) -> Exchange[Page]:
        return (yield from self._page(container, at, since))

    def read(self, container: ContainerId, record: Record) -> Observation:
        return self._translator.read(container, record)

    def lookup(self, target: Target) -> Exchange[Sequence[Observation] | None]:
        """A customer can be asked for; a single member cannot, so the list's own feed has to tell."""
        if target.container != WHOLE_ACCOUNT:
            return None
        found = yield from self._calls.search(target.address, target.identity)
        shown = {one.key for one in found}
        for key in dict.fromkeys((*target.keys, *filter(None, [target.account_key]))):
            if key not in shown:
                # Known, and not under this address any more: moved to another address, or gone.
                one = yield from self._calls.customer(key)
                if one is None:
                    return None
                found.append(one)
        if self._translator.dynamic:
            found = yield from self._with_dynamic(found)
        return found

    def dynamic_fields(self) -> Exchange[Mapping[str, str]]:
        """Names and types of the fields that this client has defined for its customers."""
        return (yield from self._calls.dynamic_types())

    def campaigns(self, known_addresses: Sequence[str], since: datetime | None) -> Exchange[Sequence[CampaignStats]]:  # noqa: ARG002 - all campaigns can be listed, and old ones still move
        found: list[CampaignStats] = []
        at: str | None = "1"
        while at is not None and len(found) < self.options.campaigns_max:
            number, size = int(at), self.options.campaign_page_size
            parts, extent = yield from self._pages.read(Listing("campaigns", {}, {}), number, size)
            for part in parts:
                if part.body is None:
                    continue  # this campaign alone cannot be given out
                campaigns, at = self._translator.campaigns(
                    part.body, number=part.number, size=part.size, call="get-campaigns"
                )
                for campaign in campaigns:
                    if (key := self._translator.campaign_id(campaign)) is not None:
                        stats = yield from self._stats(key, campaign)
                        found.append(stats)
            if extent is not None:
                at = extent.after(number)
        return found

    def _page(self, container: ContainerId, at: str | None, since: str | None) -> Exchange[Page]:
        whole = container == WHOLE_ACCOUNT
        row, ids = ("customers", {}) if whole else ("members", {"list": container})
        number, size = int(at or "1"), self.options.page_size
        parameter = self._calls.table.names["query.modified_since" if whole else "query.changed_since"]
        listing = Listing(row, ids, {parameter: since} if since else {})
        parts, extent = yield from self._pages.read(listing, number, size)
        pages = [self._part(container, part, row, since) for part in parts]
        if extent is None:
            return pages[0]
        return _joined(pages, extent.after(number), extent.total)

    def _part(self, container: ContainerId, part: Part, row: str, since: str | None) -> Page:
        if part.body is not None:
            return self._translator.page(container, part.body, number=part.number, size=part.size, call=f"get-{row}")
        where = "changed-" if since else ""
        stands_for = Record(f"{UNREAD}{where}{part.position + 1}", part.reason.encode())
        return Page(part.reason.encode(), 1, lambda: (stands_for,), None)

    def _with_dynamic(self, found: Sequence[Observation]) -> Exchange[list[Observation]]:
        whole = []
        for one in found:
            values = yield from self._calls.dynamic_values(one.key)
            whole.append(self._translator.customer(Record(one.key, one.raw), values))
        return whole

    def _stats(self, key: str, campaign: Mapping[str, Any]) -> Exchange[CampaignStats]:
        """One campaign's statistics. A 500 may be about this campaign alone: it is kept, without counters."""
        request = self._calls.request("GET", "campaign_stats", repeatable=True, ids={"id": key})
        response = yield request
        if response.status == 500:
            return self._translator.campaign_stats(key, campaign, None, call=request.label)
        raise_for(response, call=request.label, now=self._now)
        return self._translator.campaign_stats(key, campaign, text_of(response), call=request.label)

    # Writing

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        acks = []
        for change in changes:
            ack = yield from self._writes.apply(change)
            acks.append(ack)
        return acks

    def delete_customer(self, key: str) -> Exchange[None]:
        """Take a customer away. The sync never does: a record that is gone keeps nobody from being added again."""
        request = self._calls.request("DELETE", "customer", repeatable=True, ids={"id": key})
        raise_for((yield request), call=request.label, now=self._now)

    # Being told

    def verify(self, delivery: Delivery) -> None:
        header = self._calls.table.names["delivery.signature"]
        signing = webhook.Signing(header, self.options.webhook_timestamp_header, self.options.webhook_window)
        webhook.verify(delivery, self.options.webhook_secrets(), signing)

    def delivery_id(self, delivery: Delivery) -> str:
        return webhook.delivery_id(delivery, self._translator)

    def read_delivery(self, delivery: Delivery) -> Sequence[Observation | Hint]:
        return webhook.read_delivery(delivery, self._translator)

    def register(self, callback_url: str, *, anew: bool = False) -> Exchange[str]:
        """One registration for this address, with exactly our events. A new one is made before old ones are removed."""
        secrets = self.options.webhook_secrets()
        if not secrets:
            raise RefusedError("post-webhooks: no webhook_secret is configured", call="post-webhooks")
        name = self._calls.table.names
        body = yield from self._calls.get("webhooks")
        registered = self._translator.registrations(body, call="get-webhooks")
        ours = [one for one in registered if one.get(name["webhook.url"]) == callback_url]
        kept = None if anew else next((key for one in ours if (key := self._registered(one))), None)
        if kept is None:
            kept = yield from self._post_webhook(callback_url, secrets[0])
        for one in ours:
            key = id_of(one.get(name["webhook.id"]))
            if key is not None and key != kept:
                request = self._calls.request("DELETE", "webhook", repeatable=True, ids={"id": key})
                raise_for((yield request), call=request.label, now=self._now)
        return kept

    def _registered(self, registration: Mapping[str, Any]) -> str | None:
        """The id of a registration that serves as it is. One whose secret is shown and is not the newest does not."""
        name = self._calls.table.names
        events, secret = registration.get(name["webhook.events"]), registration.get(name["webhook.secret"])
        wanted = self._calls.table.events()
        if not isinstance(events, list) or sorted(map(str, events)) != sorted(wanted):
            return None
        if isinstance(secret, str) and secret.strip("*") and secret.encode() != self.options.webhook_secrets()[0]:
            return None
        return id_of(registration.get(name["webhook.id"]))

    def _post_webhook(self, callback_url: str, secret: bytes) -> Exchange[str]:
        request = self._calls.request("POST", "webhooks", body=self._translator.webhook_body(callback_url, secret))
        response = yield request
        raise_for(response, call=request.label, now=self._now, sent=(secret.decode(), callback_url))
        answer = decode(text_of(response), dict[str, Any], call=request.label)
        if (key := id_of(answer.get(self._calls.table.names["webhook.id"]))) is None:
            raise MalformedError(f"{request.label}: not the documented shape", call=request.label)
        return key


def _joined(pages: Sequence[Page], following: str | None, total: int) -> Page:
    """One page out of the parts that it had to be taken into."""
    newest = max((page.watermark for page in pages if page.watermark), default=None)
    return Page(
        b"".join(page.body for page in pages),
        sum(page.count for page in pages),
        lambda: tuple(record for page in pages for record in page.records),
        following,
        total=total,
        watermark=newest,
    )


def _lifetime_s(expires_in: Any) -> float:
    """Azure AD v1.0 states it as a JSON string, v2.0 as a number."""
    text = expires_in if isinstance(expires_in, (str, int, float)) and not isinstance(expires_in, bool) else None
    try:
        seconds = float(msgspec.convert(text, float, strict=False)) if text is not None else LIFETIME_UNSTATED_S
    except msgspec.ValidationError:
        return LIFETIME_UNSTATED_S
    return seconds if 0 < seconds < 10 * 86_400 else LIFETIME_UNSTATED_S
