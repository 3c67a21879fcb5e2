"""What there is at the pretend ROCS, and what people and operators there do with it.

Whatever changes, whoever changes it, moves the times that ROCS shows and causes the notices that it sends.
"""

from __future__ import annotations

import hmac
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec

from syncd.emulators.emulator import Emulator
from syncd.wire import Request

EVENTS = ("customer.created", "customer.updated", "customer.deleted", "list.subscribed", "list.unsubscribed")
HALF = "\ue000"
"""In any text: half a letter, as a column that is too narrow leaves it. Answers spell it as a lone surrogate."""

MEMBER_WORDS = frozenset({"subscribed", "unsubscribed"})
DYNAMIC_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "date": (str,),
}


@dataclass(slots=True)
class Customer:
    """`odd` replaces or adds members of the answer as they are: how a record with content nobody expects is made."""

    id: str
    email: str
    first_name: str
    last_name: str
    mobile: str | None
    consent: bool
    created_at: datetime
    modified_at: datetime
    dynamic: dict[str, Any] = field(default_factory=dict)
    odd: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Member:
    customer_id: str
    email: str
    status: str
    changed_at: datetime
    odd: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class MailingList:
    id: str
    name: str
    modified_at: datetime
    members: dict[str, Member] = field(default_factory=dict)


@dataclass(slots=True)
class Campaign:
    id: str
    name: str
    status: str
    sent_at: datetime
    updated_at: datetime
    stats: dict[str, int]


@dataclass(frozen=True, slots=True)
class Registration:
    id: str
    url: str
    events: tuple[str, ...]
    secret: str = field(repr=False)


class RocsState(Emulator):
    """Customers, lists, campaigns and registrations; no HTTP yet."""

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0) -> None:
        super().__init__(now, seed=seed)
        self.customers: dict[str, Customer] = {}
        self.lists: dict[str, MailingList] = {}
        self.campaigns: dict[str, Campaign] = {}
        self.dynamic_fields: dict[str, str] = {}
        self.registrations: dict[str, Registration] = {}

        self.echo = False
        self.delivery_drop_rate = 0.0
        self.delivery_duplicate_rate = 0.0
        self.delivery_shuffle = False
        self.stale_for_s = 0.0
        self.touch_unchanged = False
        self.dynamic_touches = False

        self._last_id = 100_000
        self._past: deque[tuple[datetime, dict[str, Any], str, Any]] = deque(maxlen=100_000)

    # People and operators at ROCS

    def add_list(self, list_id: str, name: str) -> MailingList:
        self.lists[list_id] = MailingList(list_id, name, self._moment())
        return self.lists[list_id]

    def add_customer(
        self,
        email: str,
        first: str = "",
        last: str = "",
        consent: bool = True,
        mobile: str | None = None,
        *,
        customer_id: str | None = None,
    ) -> str:
        customer = self._made(email, first, last, mobile, consent, customer_id)
        self._notify("customer.created", customer)
        return customer.id

    def edit_customer(self, customer_id: str, **changes: Any) -> None:
        """Change `email`, `first_name`, `last_name`, `mobile`, `consent` or `odd`."""
        self._changed(self.customers[customer_id], changes)

    def withdraw_consent(self, email: str) -> None:
        for customer in self._found(email):
            self._changed(customer, {"consent": False})

    def give_consent(self, email: str) -> None:
        for customer in self._found(email):
            self._changed(customer, {"consent": True})

    def remove_customer(self, customer_id: str) -> None:
        self._removed(self.customers[customer_id])

    def add_member(self, list_id: str, customer_id: str, status: str = "subscribed") -> Member:
        return self._joined(self.lists[list_id], self.customers[customer_id], status)

    def unsubscribe_member(self, list_id: str, email: str) -> None:
        self.mark_member(list_id, email, "unsubscribed")

    def mark_member(self, list_id: str, email: str, status: str) -> None:
        """Any status word, those that ROCS never documented too."""
        found = [one for one in self._found(email) if one.id in self.lists[list_id].members]
        if not found:
            raise KeyError("nobody in that list has this address")
        for customer in found:
            self._joined(self.lists[list_id], customer, status)

    def remove_member(self, list_id: str, customer_id: str) -> None:
        mailing_list = self.lists[list_id]
        self._keep(mailing_list.members, customer_id)
        del mailing_list.members[customer_id]
        mailing_list.modified_at = self._moment()

    def define_dynamic(self, name: str, kind: str = "string") -> None:
        if kind not in DYNAMIC_TYPES:
            raise ValueError(f"a dynamic field is one of {', '.join(DYNAMIC_TYPES)}")
        self.dynamic_fields[name] = kind

    def set_dynamic(self, customer_id: str, values: Mapping[str, Any]) -> None:
        """Change dynamic fields. `modifiedAt` moves only if `dynamic_touches`, and no notice is sent."""
        customer = self.customers[customer_id]
        customer.dynamic.update(values)
        if self.dynamic_touches:
            self._keep(self.customers, customer_id)
            customer.modified_at = self._moment()

    def add_campaign(self, campaign_id: str, name: str, status: str = "sent", **stats: int) -> Campaign:
        at = self._moment()
        self.campaigns[campaign_id] = Campaign(campaign_id, name, status, at, at, dict(stats))
        return self.campaigns[campaign_id]

    def count(self, campaign_id: str, **stats: int) -> None:
        """Set counters of a campaign."""
        campaign = self.campaigns[campaign_id]
        campaign.stats.update(stats)
        campaign.updated_at = self._moment()

    def register_webhook(self, url: str, secret: str, events: Sequence[str] = EVENTS) -> str:
        registration = Registration(f"W-{self._next_id()}", url, tuple(events), secret)
        self.registrations[registration.id] = registration
        return registration.id

    # Changes, whoever makes them

    def _made(
        self, email: str, first: str, last: str, mobile: str | None, consent: bool, customer_id: str | None
    ) -> Customer:
        at = self._moment()
        key = customer_id or f"C-{self._next_id()}"
        self._keep(self.customers, key)
        self.customers[key] = Customer(key, email, first, last, mobile, consent, at, at)
        return self.customers[key]

    def _changed(self, customer: Customer, changes: Mapping[str, Any], *, own: bool = True) -> None:
        differs = any(getattr(customer, name) != value for name, value in changes.items())
        if not differs and not self.touch_unchanged:
            return
        self._keep(self.customers, customer.id)
        for name, value in changes.items():
            setattr(customer, name, value)
        customer.modified_at = self._moment()
        for mailing_list in self.lists.values():
            member = mailing_list.members.get(customer.id)
            if member is not None and member.email != customer.email:
                self._keep(mailing_list.members, customer.id)
                member.email, member.changed_at = customer.email, self._moment()
        self._notify("customer.updated", customer, own=own)

    def _removed(self, customer: Customer, *, own: bool = True) -> None:
        self._keep(self.customers, customer.id)
        del self.customers[customer.id]
        for mailing_list in self.lists.values():
            if customer.id in mailing_list.members:
                self.remove_member(mailing_list.id, customer.id)
        self._notify("customer.deleted", customer, own=own)

    def _joined(self, mailing_list: MailingList, customer: Customer, status: str, *, own: bool = True) -> Member:
        before = mailing_list.members.get(customer.id)
        if before is not None and before.status == status and not self.touch_unchanged:
            return before
        self._keep(mailing_list.members, customer.id)
        member = Member(customer.id, customer.email, status, self._moment(), before.odd if before else {})
        mailing_list.members[customer.id] = member
        mailing_list.modified_at = self._moment()
        if status in MEMBER_WORDS:
            self._notify(f"list.{status}", member, mailing_list, own=own)
        return member

    # Notices

    def _notify(
        self, event: str, about: Customer | Member, mailing_list: MailingList | None = None, *, own: bool = True
    ) -> None:
        """Queue a signed notice for every registration that wants it; `own` False: caused by a call of ours."""
        if not own and not self.echo:
            return
        notice: dict[str, Any] = {"id": self._uuid(), "event": event, "occurredAt": iso(self._moment())}
        if isinstance(about, Customer):
            notice["customer"] = spell_customer(about)
        if isinstance(about, Member) and mailing_list is not None:
            notice |= {"list": {"id": mailing_list.id}, "member": spell_member(about)}
        body = as_json(notice)
        for registration in self.registrations.values():
            if event in registration.events:
                self._send(registration, body)

    def _send(self, registration: Registration, body: bytes) -> None:
        if self.delivery_drop_rate and self.rng.random() < self.delivery_drop_rate:
            return
        signature = hmac.new(registration.secret.encode(), body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-rocs-signature": f"sha256={signature}"}
        notice = Request("POST", registration.url, headers, body, label="webhook", token=False)
        twice = self.delivery_duplicate_rate and self.rng.random() < self.delivery_duplicate_rate
        for _ in range(2 if twice else 1):
            place = self.rng.randint(0, len(self.outgoing)) if self.delivery_shuffle else len(self.outgoing)
            self.outgoing.insert(place, notice)

    # Small things

    def _found(self, email: str) -> list[Customer]:
        found = [one for one in self.customers.values() if one.email.lower() == email.lower()]
        if not found:
            raise KeyError("no customer has this address")
        return found

    def _keep(self, table: dict[str, Any], key: str) -> None:
        if self.stale_for_s:
            self._past.append((self._moment(), table, key, deepcopy(table.get(key))))

    def _seen(self, table: dict[str, Any]) -> dict[str, Any]:
        """The table as reads show it: without what happened in the last `stale_for_s` seconds."""
        horizon = self.now() - timedelta(seconds=self.stale_for_s)
        if not self.stale_for_s or not self._past or self._past[-1][0] <= horizon:
            return table
        seen = dict(table)
        for at, changed, key, before in reversed(self._past):
            if at <= horizon:
                break
            if changed is table:
                seen.pop(key, None)
                if before is not None:
                    seen[key] = before
        return seen

    def _moment(self) -> datetime:
        now = self.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))


def spell_customer(one: Customer) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": one.id,
        "email": one.email,
        "firstName": one.first_name,
        "lastName": one.last_name,
        "emailConsent": one.consent,
        "createdAt": iso(one.created_at),
        "modifiedAt": iso(one.modified_at),
    }
    if one.mobile is not None:
        shown["mobile"] = one.mobile
    return shown | one.odd


def spell_member(one: Member) -> dict[str, Any]:
    shown = {"customerId": one.customer_id, "email": one.email, "status": one.status, "changedAt": iso(one.changed_at)}
    return shown | one.odd


def as_json(payload: Any) -> bytes:
    return msgspec.json.encode(payload).replace(HALF.encode(), rb"\ud83d")


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
