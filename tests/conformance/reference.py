"""The reference adapter: a whole provider in under 100 lines (docs/adding-a-provider.md leads through it).

Postbox is invented: lists of people, read by page or by address, written one at a time, with notices by webhook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome, Target
from syncd.domain.errors import DeliveryError, RefusedError
from syncd.domain.facts import Facts
from syncd.domain.records import Container, ContainerId, Delivery, Hint, Observation, Page, Record, Status
from syncd.providers.contact_points import read_address
from syncd.providers.options import Secret
from syncd.providers.plain import PlainAdapter, PlainOptions, is_same, records_of
from syncd.wire import Exchange

WORDS = {"on": Status.SUBSCRIBED, "off": Status.UNSUBSCRIBED}
FIELDS = {"first_name": "first", "last_name": "last"}


class PostboxOptions(PlainOptions):
    api_key: Secret
    webhook_secret: Secret


class Keyed(msgspec.Struct):
    id: str
    name: str = ""


class Lists(msgspec.Struct):
    lists: list[Keyed]


class People(msgspec.Struct):
    people: list[msgspec.Raw]
    next: int | None = None


class PostboxAdapter(PlainAdapter[PostboxOptions]):
    accepts = frozenset(ChangeKind)
    facts = Facts(fields=frozenset(FIELDS), looks_before_subscribe=True)

    def proof(self) -> Mapping[str, str]:
        return {"x-api-key": self.options.api_key.get_secret_value()}

    def containers(self) -> Exchange[Sequence[Container]]:
        answer = yield from self.call("GET", "/lists", "lists", Lists)
        return [Container(ContainerId(one.id), one.name) for one in answer.lists]

    def snapshot(self, container: ContainerId, at: str | None) -> Exchange[Page]:
        answer = yield from self.call("GET", f"/lists/{quote(container)}/people?page={at or 1}", "people", People)
        records = records_of(answer.people, "id", "people")
        return Page(b"".join(answer.people), len(records), lambda: records, str(answer.next) if answer.next else None)

    def read(self, container: ContainerId, record: Record) -> Observation:
        members = msgspec.json.decode(record.raw, type=dict[str, Any])
        told = {name: value.strip() for name, value in members.items() if isinstance(value, str)}
        fields = {name: told[theirs] for name, theirs in FIELDS.items() if told.get(theirs)}
        address, status = told.get("email", ""), WORDS.get(told.get("status", ""), Status.UNKNOWN)
        return Observation(container, record.key, address, read_address(address), status, fields, record.raw)

    def lookup(self, target: Target) -> Exchange[Sequence[Observation]]:
        path = f"/lists/{quote(target.container)}/people?email={quote(target.address, safe='')}"
        answer = yield from self.call("GET", path, "people by address", People)
        return [self.read(target.container, one) for one in records_of(answer.people, "id", "people by address")]

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        (change,) = changes
        body = {theirs: change.fields[name] for name, theirs in FIELDS.items() if name in change.fields}
        if no := change.kind is ChangeKind.UNSUBSCRIBE:
            body = {"status": "off"}
        elif change.kind is ChangeKind.SUBSCRIBE:
            if seen := (yield from self.lookup(change.target)):  # to write "on" over somebody's "off" would undo it
                return [Ack(Outcome.STALE, seen=tuple(seen), reason="is on the list already")]
            body["status"] = "on"
        path = f"/lists/{quote(change.container)}/people/{quote(change.address, safe='')}"
        try:  # a "no" may come twice; a "yes" that did would undo a "no" said in between
            written = yield from self.call("PUT", path, "write person", Keyed, body, repeatable=no)
        except RefusedError as error:
            return [Ack(Outcome.REFUSED, reason=error.message)]
        return [Ack(Outcome.ACCEPTED, keys=(written.id,))]

    def verify(self, delivery: Delivery) -> None:
        if not is_same(delivery.headers.get("x-postbox-secret", ""), self.options.webhook_secret):
            raise DeliveryError(401, "the webhook secret is missing or wrong")

    def read_delivery(self, delivery: Delivery) -> Sequence[Hint]:
        try:
            told = msgspec.json.decode(delivery.body, type=dict[str, str])
            return [Hint(ContainerId(told["list"]), told["email"])]
        except (ValueError, KeyError):
            raise DeliveryError(400, "the notice cannot be read") from None
