"""Every path, field name, event name and status word of the ROCS API, in one table.

ROCS publishes none of them: its page (https://api.msp-cloud.com, read 2026-11-21) promises customers, dynamic fields,
lists, campaign statistics and webhooks, and leaves paths and payloads to a document that only its clients receive. So
all that stands here is an assumption, and the configuration of the account may override any row (`paths`, `names`,
`status_words`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import quote

from syncd.domain.records import Status

PATHS: dict[str, str] = {
    "customers": "/customers",
    "customer": "/customers/{id}",
    "customer_dynamic": "/customers/{id}/dynamic",
    "dynamic_fields": "/dynamic/fields",
    "lists": "/lists",
    "members": "/lists/{list}/members",
    "member": "/lists/{list}/members/{id}",
    "campaigns": "/campaigns",
    "campaign_stats": "/campaigns/{id}/stats",
    "webhooks": "/webhooks",
    "webhook": "/webhooks/{id}",
}

NAMES: dict[str, str] = {
    "customer.id": "id",
    "customer.email": "email",
    "customer.first_name": "firstName",
    "customer.last_name": "lastName",
    "customer.phone": "mobile",
    "customer.consent": "emailConsent",
    "customer.modified": "modifiedAt",
    "dynamic.name": "name",
    "dynamic.type": "type",
    "list.id": "id",
    "list.name": "name",
    "list.count": "memberCount",
    "member.customer": "customerId",
    "member.email": "email",
    "member.status": "status",
    "member.changed": "changedAt",
    "member.subscribed": "subscribed",  # the two words that we write
    "member.unsubscribed": "unsubscribed",
    "page.number": "page",
    "page.size": "pageSize",
    "page.total": "totalCount",
    "page.customers": "customers",
    "page.members": "members",
    "page.campaigns": "campaigns",
    "query.page": "page",
    "query.size": "pageSize",
    "query.email": "email",
    "query.modified_since": "modifiedSince",
    "query.changed_since": "changedSince",
    "campaign.id": "id",
    "campaign.name": "name",
    "campaign.status": "status",
    "campaign.sent_at": "sentAt",
    "stats.sent": "sent",
    "stats.delivered": "delivered",
    "stats.opened": "opened",
    "stats.clicked": "clicked",
    "stats.bounced": "bounced",
    "stats.unsubscribed": "unsubscribed",
    "stats.complained": "complained",
    "stats.updated": "updatedAt",
    "webhook.id": "id",
    "webhook.url": "url",
    "webhook.events": "events",
    "webhook.secret": "secret",
    "delivery.id": "id",
    "delivery.event": "event",
    "delivery.customer": "customer",
    "delivery.list": "list",
    "delivery.member": "member",
    "delivery.signature": "X-ROCS-Signature",
    "event.customer_created": "customer.created",
    "event.customer_updated": "customer.updated",
    "event.customer_deleted": "customer.deleted",
    "event.list_subscribed": "list.subscribed",
    "event.list_unsubscribed": "list.unsubscribed",
}

STATUS_WORDS: dict[str, Status] = {
    "subscribed": Status.SUBSCRIBED,
    "unsubscribed": Status.UNSUBSCRIBED,
    "bounced": Status.BOUNCED,
    "complained": Status.COMPLAINED,
}

# A record that can be read cannot be gone, so these two are no meaning of a word.
WORDS_MEAN = frozenset(Status) - {Status.REMOVED, Status.ABSENT}

_PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class Table:
    """The table as one account uses it."""

    paths: Mapping[str, str]
    names: Mapping[str, str]
    status_words: Mapping[str, Status]

    @classmethod
    def overridden(
        cls,
        paths: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
        status_words: Mapping[str, str] | None = None,
    ) -> Table:
        words = {word.lower(): Status(meaning) for word, meaning in (status_words or {}).items()}
        return cls(PATHS | dict(paths or {}), NAMES | dict(names or {}), STATUS_WORDS | words)

    def path(self, row: str, ids: Mapping[str, str]) -> str:
        """The path with ids filled in; an id may hold any character, a slash too."""
        return self.paths[row].format_map({name: quote(value, safe="") for name, value in ids.items()})

    def events(self) -> tuple[str, ...]:
        return tuple(name for row, name in self.names.items() if row.startswith("event."))


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of an override that overrides nothing."""
    nearest = get_close_matches(key, list(known), n=1, cutoff=0.0)
    return f"unknown key {key!r}; the nearest known one is {nearest[0]!r}"


def path_fault(row: str, path: str) -> str | None:
    """Why a path cannot stand in for the row's default, or None."""
    if not path.startswith("/"):
        return f"{row}: a path begins with '/'"
    wanted, given = (sorted(_PLACEHOLDER.findall(text)) for text in (PATHS[row], path))
    # A stray brace would fail at the first call instead of here.
    if wanted != given or set("{}") & set(_PLACEHOLDER.sub("", path)):
        return f"{row}: must hold exactly the placeholders of the default {PATHS[row]!r}"
    return None


def shared_name(names: Mapping[str, str]) -> str | None:
    """Two rows of one object that would read the same member, or None."""
    seen: dict[tuple[str, str], str] = {}
    for row, name in names.items():
        if row in {"member.subscribed", "member.unsubscribed"}:
            group = "member status word"
        elif row == "delivery.signature":
            continue
        else:
            group = row.partition(".")[0]
        other = seen.setdefault((group, name), row)
        if other != row:
            return f"{other} and {row} are both {name!r}"
    return None
