"""The reference adapter: a whole provider in under 100 lines of code (docs/adding-a-provider.md leads through it).

Postbox is invented: lists of people, read by page or by address, written one at a time, with notices by webhook.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from syncd.domain import errors
from syncd.domain.changes import Ack, Change, ChangeKind, Outcome, Target
from syncd.domain.facts import Facts
from syncd.domain.records import Container, ContainerId, Delivery, Hint, Observation, Page, Record, Status
from syncd.providers.contact_points import read_address
from syncd.providers.options import AccountOptions, Secret, Url
from syncd.wire import Exchange, Request

T = TypeVar("T")
WORDS = {"on": Status.SUBSCRIBED, "off": Status.UNSUBSCRIBED}
FIELDS = {"first_name": "first", "last_name": "last"}


class PostboxOptions(AccountOptions):
    base_url: Url
    api_key: Secret
    webhook_secret: Secret


class Keyed(msgspec.Struct):
    id: str


class Named(Keyed):
    name: str


class Lists(msgspec.Struct):
    lists: list[Named]


class People(msgspec.Struct):
    people: list[msgspec.Raw]
    next: int | None = None


class PostboxAdapter:
    accepts = frozenset(ChangeKind)
    facts = Facts(fields=frozenset(FIELDS), looks_before_subscribe=True)

    def __init__(self, options: PostboxOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        self.options = options

    def check(self) -> Exchange[None]:
        yield from self.containers()

    def containers(self) -> Exchange[Sequence[Container]]:
        answer = yield from self._call("GET", "/lists", "lists", Lists)
        return [Container(ContainerId(one.id), one.name) for one in answer.lists]

    def snapshot(self, container: ContainerId, at: str | None) -> Exchange[Page]:
        answer = yield from self._call("GET", f"/lists/{quote(container)}/people?page={at or 1}", "people", People)
        records, body = _records(answer, "people"), b"".join(bytes(raw) for raw in answer.people)
        return Page(body, len(records), lambda: records, str(answer.next) if answer.next else None)

    def read(self, container: ContainerId, record: Record) -> Observation:
        members = msgspec.json.decode(record.raw, type=dict[str, Any])
        told = {name: value.strip() for name, value in members.items() if isinstance(value, str)}
        fields = {name: told[theirs] for name, theirs in FIELDS.items() if told.get(theirs)}
        address, status = told.get("email", ""), WORDS.get(told.get("status", ""), Status.UNKNOWN)
        return Observation(container, record.key, address, read_address(address), status, fields, record.raw)

    def lookup(self, target: Target) -> Exchange[Sequence[Observation]]:
        path = f"/lists/{quote(target.container)}/people?email={quote(target.address, safe='')}"
        answer = yield from self._call("GET", path, "people by address", People)
        return [self.read(target.container, record) for record in _records(answer, "people by address")]

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        (change,) = changes
        body = {theirs: change.fields[name] for name, theirs in FIELDS.items() if name in change.fields}
        if change.kind is ChangeKind.UNSUBSCRIBE:
            body = {"status": "off"}
        elif change.kind is ChangeKind.SUBSCRIBE:
            target = Target(change.container, change.identity, change.address)
            if seen := (yield from self.lookup(target)):  # to write "on" over somebody's "off" would undo it
                return [Ack(Outcome.STALE, seen=tuple(seen), reason="is on the list already")]
            body["status"] = "on"
        path = f"/lists/{quote(change.container)}/people/{quote(change.address, safe='')}"
        try:
            written = yield from self._call("PUT", path, "write person", Keyed, body)
        except errors.RefusedError as error:
            return [Ack(Outcome.REFUSED, reason=error.message)]
        return [Ack(Outcome.ACCEPTED, keys=(written.id,))]

    def verify(self, delivery: Delivery) -> None:
        given = delivery.headers.get("x-postbox-secret", "").encode()
        if not hmac.compare_digest(given, self.options.webhook_secret.get_secret_value().encode()):
            raise errors.DeliveryError(401, "the webhook secret is missing or wrong")

    def delivery_id(self, delivery: Delivery) -> str:
        return sha256(delivery.body).hexdigest()

    def read_delivery(self, delivery: Delivery) -> Sequence[Hint]:
        try:
            told = msgspec.json.decode(delivery.body, type=dict[str, str])
            return [Hint(ContainerId(told["list"]), told["email"])]
        except (ValueError, KeyError):
            raise errors.DeliveryError(400, "the notice cannot be read") from None

    def _call(
        self, method: str, path: str, call: str, shape: type[T], body: dict[str, str] | None = None
    ) -> Exchange[T]:
        headers = {"x-api-key": self.options.api_key.get_secret_value(), "content-type": "application/json"}
        sent = b"" if body is None else msgspec.json.encode(body)
        again = body in (None, {"status": "off"})  # a read or a "no"; a "yes" would undo a "no" said in between
        url = f"{self.options.base_url}{path}"
        answer = yield Request(method, url, headers, sent, label=call, repeatable=again, token=False)
        if answer.status in {401, 403}:
            raise errors.UnauthorisedError(f"{call}: HTTP {answer.status}", call=call)
        if answer.status == 429:
            wait = answer.headers.get("retry-after", "")
            raise errors.ThrottledError(f"{call}: HTTP 429", retry_after_s=float(wait) if wait.isdigit() else None)
        if answer.status >= 400:
            kind = errors.UnavailableError if answer.status >= 500 else errors.RefusedError
            raise kind(f"{call}: HTTP {answer.status}", call=call)
        return _decoded(answer.body, shape, call)


def _records(answer: People, call: str) -> tuple[Record, ...]:
    return tuple(Record(_decoded(bytes(raw), Keyed, call).id, bytes(raw)) for raw in answer.people)


def _decoded(body: bytes, shape: type[T], call: str) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except ValueError:
        raise errors.MalformedError(f"{call}: not the documented shape", call=call) from None
