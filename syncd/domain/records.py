"""What is seen at a provider: lists, contacts in them, campaigns, each as it stood at one moment."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, NewType

from syncd.domain.identity import Identity

ContainerId = NewType("ContainerId", str)
"""The provider's id of one list, or `WHOLE_ACCOUNT`."""

WHOLE_ACCOUNT = ContainerId("*")
"""The container of facts that hold for a whole account: a ROCS customer, everything at Rokt."""


class Status(StrEnum):
    """Where a contact stands in one container.

    Provider words that no table knows become `UNKNOWN`, never `SUBSCRIBED`.
    """

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    PENDING = "pending"  # waits for its own confirmation: no consent to spread
    BOUNCED = "bounced"  # deliverability, not consent
    COMPLAINED = "complained"
    REMOVED = "removed"  # we knew it there and it is gone; says nothing about consent
    UNKNOWN = "unknown"
    ABSENT = "absent"  # asked for by address, and never was there


SUPPRESSED = frozenset({Status.UNSUBSCRIBED, Status.COMPLAINED})
"""Statuses that say no."""

PRESENT = frozenset({Status.SUBSCRIBED, Status.PENDING, Status.BOUNCED, Status.UNKNOWN}) | SUPPRESSED
"""Statuses of a contact that is there, in whatever standing."""


_SECONDS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")


def seconds_of(text: str | None) -> Decimal | None:
    """A provider's time in seconds on its own clock, or None where there is none or it counts otherwise."""
    return Decimal(text) if text is not None and _SECONDS.fullmatch(text) else None


def later(one: str | None, other: str | None) -> bool:
    """Whether the first of two times of one provider is the later; no, where they cannot be compared."""
    first, second = seconds_of(one), seconds_of(other)
    return first is not None and second is not None and first > second


UNREAD = "unread:"
"""Begins the key of what stands in a listing for a record that the provider cannot give out; `raw` says why."""


_KEYLESS = re.compile(r"[~?](?:[0-9a-f]{20}|[0-9a-f]{24})\Z")
_HIDES = re.compile(f"{UNREAD}|{_KEYLESS.pattern}")


def keyless(key: str) -> bool:
    """Whether this key is but a digest that an adapter gave to a record whose own id could not be read."""
    return _KEYLESS.match(key) is not None


def hides(key: str) -> bool:
    """Whether somebody known under another key may stand behind this one."""
    return _HIDES.match(key) is not None


UNREAD_FIELD = "?"
"""Before the name of a field whose value could not be read: kept as it came, told to nobody and written over by nobody.
"""


NAMELESS = "email"
"""Stands as an unread field in a known record that does not show any more whose it is."""


class Record(NamedTuple):
    """One contact as it came: enough to tell whether it changed, without reading it.

    `key` names the record in its container and stays the same from read to read; `raw` is the provider's own bytes.
    """

    key: str
    raw: bytes


def digest_of(data: bytes) -> bytes:
    """The digest by which a record or a page is known again."""
    return hashlib.sha256(data).digest()[:16]  # on processors that have it built in, three times as fast as others


class Observation(NamedTuple):
    """What one provider said of one contact in one container, read from one record.

    `address` is the provider's spelling and the one to use when speaking to it. `identity` is None when the
    address cannot be mailed: such a record is mirrored and never acted upon. `fields` holds canonical names
    (`first_name`, `last_name`, `phone`, …); a field that is missing or empty there is simply not in it, since
    a blank is not a deletion. One that holds something which cannot be read is in it under its name behind
    `UNREAD_FIELD`: left out, it would be taken for a blank, and filled. `counters` are telemetry and never part of any
    comparison.

    `unsubscribed_at` and `confirmed_at` are the provider's own times of the latest unsubscribe and of the latest
    confirmation, as it gave them. They are compared with that provider's times only (`later`): an unsubscribe that
    moved is a new one, whatever the status says.
    """

    container: ContainerId
    key: str
    address: str
    identity: Identity | None
    status: Status
    fields: Mapping[str, str]
    raw: bytes
    remote_id: str | None = None  # what people at the provider call it; None: same as key
    unsubscribed_at: str | None = None
    confirmed_at: str | None = None
    counters: Mapping[str, int] | None = None


class Hint(NamedTuple):
    """Something moved for this address: look it up. What providers whose notices carry no state send us.

    `modified`: the notice says that name or address was changed there; the address may be about to be replaced.
    """

    container: ContainerId
    address: str
    modified: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """One list as the provider shows it.

    `active` is its own count of members where it gives one: a cheap sign of change. `shown`: the provider itself named
    it, and not only our configuration.
    """

    id: ContainerId
    name: str
    active: int | None = None
    remote: Mapping[str, str] = field(default_factory=dict)  # other ids of the same list
    shown: bool = True


@dataclass(slots=True)
class Page:
    """One page of a listing.

    `next` is None on the last; `total` is the provider's own count where it gives one. `watermark` is the newest change
    time seen on this page, in the provider's own spelling and clock. `records` are told apart only when somebody asks
    for them: a page that is the same as last time is not worked on.
    """

    body: bytes
    count: int
    decode: Callable[[], tuple[Record, ...]]
    next: str | None
    total: int | None = None
    watermark: str | None = None
    _records: tuple[Record, ...] | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        if self._records is None:
            self._records = self.decode()
        return self._records


@dataclass(frozen=True, slots=True)
class CampaignStats:
    """Counters of one campaign at one moment; None where the provider does not say."""

    campaign_id: str
    name: str
    sent: int | None = None
    opened: int | None = None
    clicked: int | None = None
    bounced: int | None = None
    unsubscribed: int | None = None
    status: str | None = None
    remote_at: str | None = None
    extra: Mapping[str, int | float | str] = field(default_factory=dict)
    lists: tuple[str, ...] = ()  # the provider's ids of the lists it goes to, where they are known
    day: str | None = None  # set where the provider reports by day and restates days

    @property
    def counters(self) -> Mapping[str, int | None]:
        return {
            "sent": self.sent,
            "opened": self.opened,
            "clicked": self.clicked,
            "bounced": self.bounced,
            "unsubscribed": self.unsubscribed,
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something a provider sent to us, as it arrived. `route` is the rest of the path after the account."""

    route: tuple[str, ...]
    method: str
    headers: Mapping[str, str]  # lower-case names
    query: tuple[tuple[str, str], ...]
    body: bytes
    received_at: datetime
