"""ROCS payloads to records and back. All names come from the account's table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from syncd.domain.errors import MalformedError
from syncd.domain.records import (
    SUPPRESSED,
    WHOLE_ACCOUNT,
    CampaignStats,
    Container,
    ContainerId,
    Observation,
    Page,
    Record,
    Status,
)
from syncd.providers.contact_points import read_address, read_phone
from syncd.providers.fields import unread
from syncd.providers.json_text import SPOILT, mended
from syncd.providers.rocs.answer import decode
from syncd.providers.rocs.options import RocsOptions

_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

# `emailConsent` is a consent and not a word; a value that is no boolean is nobody's consent.
_CONSENT = {True: Status.SUBSCRIBED, False: Status.UNSUBSCRIBED}


class _Listing(msgspec.Struct):
    items: list[msgspec.Raw]
    total: int
    number: int | None = None
    size: int | None = None


class _Head(msgspec.Struct, gc=False):
    key: Any = None
    changed: Any = None


class Translator:
    """Reads and writes the payloads of one account."""

    def __init__(self, options: RocsOptions) -> None:
        self.table = options.table()
        self.standard = options.standard_fields()
        self.dynamic = options.dynamic_fields()
        self._region = options.phone_region
        name = self.table.names
        self._id, self._email = name["customer.id"], name["customer.email"]
        self._consent, self._modified = name["customer.consent"], name["customer.modified"]
        self._object = msgspec.json.Decoder(dict[str, Any])
        self._customers = self._listing("page.customers")
        self._members = self._listing("page.members")
        self._campaigns = self._listing("page.campaigns")
        self._listings = {"customers": self._customers, "members": self._members, "campaigns": self._campaigns}
        self._customer_head = _head(self._id, self._modified)
        self._member_head = _head(name["member.customer"], name["member.changed"])

    # Listings

    def page(self, container: ContainerId, body: bytes, *, number: int, size: int, call: str) -> Page:
        """One page of customers or members. Records stay unread but for their key and the time of their change."""
        whole = container == WHOLE_ACCOUNT
        listing = self._read_listing(body, self._customers if whole else self._members, number, call)
        head = self._customer_head if whole else self._member_head
        records, newest, watermark = [], None, None
        for item in listing.items:
            raw = bytes(item)
            key, changed = self._peek(head, raw)
            records.append(Record(key, raw))
            moment = _moment(changed)
            if moment is not None and (newest is None or moment > newest):
                newest, watermark = moment, str(changed)
        following = _next(listing, number, size)
        return Page(body, len(records), lambda: tuple(records), following, total=listing.total, watermark=watermark)

    def extent(self, row: str, body: bytes, *, number: int, size: int) -> tuple[int, int, bool]:
        """Of a page: how many records there are in all, how many ROCS puts on a page, whether this one has any."""
        listing = self._read_listing(body, self._listings[row], number, f"get-{row}")
        return listing.total, _used(listing, size), bool(listing.items)

    def campaigns(self, body: bytes, *, number: int, size: int, call: str) -> tuple[list[dict[str, Any]], str | None]:
        listing = self._read_listing(body, self._campaigns, number, call)
        return [self._loose(bytes(item)) for item in listing.items], _next(listing, number, size)

    def _listing(self, items: str) -> type[_Listing]:
        name = self.table.names
        listing = msgspec.defstruct(
            "Listing",
            [("items", list[msgspec.Raw]), ("total", int), ("number", int | None, None), ("size", int | None, None)],
            bases=(_Listing,),
            rename={
                "items": name[items],
                "total": name["page.total"],
                "number": name["page.number"],
                "size": name["page.size"],
            },
        )
        assert issubclass(listing, _Listing)
        return listing

    @staticmethod
    def _read_listing(body: bytes, as_: type[_Listing], number: int, call: str) -> _Listing:
        listing = decode(body, as_, call=call)
        if listing.number is not None and listing.number != number:
            # Going on would read the same page for ever.
            raise MalformedError(f"{call}: answered with another page than the one asked for", call=call)
        return listing

    @staticmethod
    def _peek(head: msgspec.json.Decoder[_Head], raw: bytes) -> tuple[str, Any]:
        try:
            found = head.decode(raw)
        except (ValueError, RecursionError):
            try:
                found = head.decode(mended(raw))
            except (ValueError, RecursionError):
                return _keyless(raw), None
        return id_of(found.key) or _keyless(raw), found.changed

    # Records

    def read(self, container: ContainerId, record: Record) -> Observation:
        return self.customer(record) if container == WHOLE_ACCOUNT else self.member(container, record)

    def customer(self, record: Record, dynamic: Mapping[str, str] | None = None) -> Observation:
        """A customer. `dynamic` are its dynamic fields, where they were asked for."""
        found = self._loose(record.raw)
        fields = dict(dynamic or {})
        for canonical, name in self.standard.items():
            fields |= self._field(canonical, found.get(name))
        consent = found.get(self._consent)
        status = _CONSENT[consent] if isinstance(consent, bool) else Status.UNKNOWN
        return self._observation(WHOLE_ACCOUNT, record, found, self._id, self._email, status, fields)

    def member(self, container: ContainerId, record: Record) -> Observation:
        name = self.table.names
        found = self._loose(record.raw)
        status = self.status(found.get(name["member.status"]))
        observation = self._observation(
            container, record, found, name["member.customer"], name["member.email"], status, {}
        )
        # A member holds nothing but its standing, so the time of its change is the time of the unsubscribe. A customer
        # has a dozen other reasons to change: there `modifiedAt` says nothing of the consent.
        changed = found.get(name["member.changed"])
        return (
            observation._replace(unsubscribed_at=changed) if status in SUPPRESSED and _moment(changed) else observation
        )

    def status(self, word: Any) -> Status:
        return (
            self.table.status_words.get(word.strip().lower(), Status.UNKNOWN)
            if isinstance(word, str)
            else Status.UNKNOWN
        )

    def record(self, container: ContainerId, raw: bytes) -> Record:
        """One record that came by itself and not in a listing."""
        return Record(self._peek(self._customer_head if container == WHOLE_ACCOUNT else self._member_head, raw)[0], raw)

    def _observation(
        self,
        container: ContainerId,
        record: Record,
        found: Mapping[str, Any],
        id_name: str,
        email_name: str,
        status: Status,
        fields: Mapping[str, str],
    ) -> Observation:
        address = found.get(email_name)
        address = address.strip() if isinstance(address, str) else ""
        # Without an id nothing can be written to it, so it is nobody's.
        known = id_of(found.get(id_name)) is not None
        identity = read_address(address) if known and address and SPOILT not in address else None
        return Observation(container, record.key, address, identity, status, fields, record.raw, remote_id=record.key)

    def _field(self, canonical: str, value: Any) -> dict[str, str]:
        """What a member holds for one field: nothing, a value, or something that cannot be read."""
        match value:
            case None:
                return {}
            case bool():
                text = "true" if value else "false"
            case str():
                text = value.strip()
            case int():
                text = str(value)
            case _:
                return {unread(canonical): msgspec.json.encode(value).decode()}
        if not text:
            return {}
        if SPOILT in text:
            return {unread(canonical): text}
        if canonical == "phone" and not _E164.fullmatch(text):
            text = read_phone(text, self._region) or text
        return {canonical: text}

    def _loose(self, raw: bytes) -> dict[str, Any]:
        try:
            return self._object.decode(raw)
        except (ValueError, RecursionError):
            pass
        try:
            return self._object.decode(mended(raw))
        except (ValueError, RecursionError):
            return {}

    # Dynamic fields

    def dynamic_types(self, body: bytes, *, call: str) -> dict[str, str]:
        name, kind = self.table.names["dynamic.name"], self.table.names["dynamic.type"]
        found = [self._loose(bytes(item)) for item in decode(body, list[msgspec.Raw], call=call)]
        return {
            str(entry[name]): entry[kind] if isinstance(entry.get(kind), str) else "string"
            for entry in found
            if isinstance(entry.get(name), str)
        }

    def dynamic_values(self, body: bytes, *, call: str) -> dict[str, str]:
        """Canonical fields out of a customer's dynamic fields. Numbers keep the digits that they came with."""
        found = decode(body, dict[str, msgspec.Raw], call=call)
        fields: dict[str, str] = {}
        for canonical, name in self.dynamic.items():
            raw = bytes(found[name]).strip() if name in found else b"null"
            value = raw.decode() if _NUMBER.fullmatch(raw.decode(errors="replace")) else self._scalar(raw)
            fields |= self._field(canonical, value)
        return fields

    @staticmethod
    def _scalar(raw: bytes) -> Any:
        try:
            return msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return SPOILT  # something stands there

    def dynamic_body(self, fields: Mapping[str, str], types: Mapping[str, str]) -> bytes | str:
        """The body that writes dynamic fields, or why there is none: an undeclared field, a value of another type."""
        body: dict[str, Any] = {}
        for canonical, text in fields.items():
            name = self.dynamic[canonical]
            match types.get(name):
                case None:
                    return f"no dynamic field is called {name!r} there"
                case "number":
                    if not _NUMBER.fullmatch(text):
                        return f"the dynamic field {name!r} takes a number"
                    body[name] = msgspec.Raw(text.encode())
                case "boolean":
                    if text not in {"true", "false"}:
                        return f"the dynamic field {name!r} takes true or false"
                    body[name] = text == "true"
                case _:
                    body[name] = text
        return msgspec.json.encode(body)

    # Everything else that is read

    def containers(self, body: bytes, *, call: str) -> list[Container]:
        name = self.table.names
        found = [Container(WHOLE_ACCOUNT, "customers")]
        items = decode(body, list[msgspec.Raw], call=call)
        for item in items:
            entry = self._loose(bytes(item))
            if key := id_of(entry.get(name["list.id"])):  # one without an id cannot be asked for
                title = entry.get(name["list.name"])
                count = _count(entry.get(name["list.count"]))
                found.append(Container(ContainerId(key), title if isinstance(title, str) else key, active=count))
        if items and len(found) == 1:
            raise MalformedError(f"{call}: the answer holds no list", call=call)
        return found

    def campaign_id(self, campaign: Mapping[str, Any]) -> str | None:
        return id_of(campaign.get(self.table.names["campaign.id"]))

    def campaign_stats(self, key: str, campaign: Mapping[str, Any], body: bytes | None, *, call: str) -> CampaignStats:
        """Counters of one campaign; all None where its statistics could not be had (`body` None)."""
        name = self.table.names
        stats = {} if body is None else decode(body, dict[str, Any], call=call)
        if body is not None and not any(name[row] in stats for row in name if row.startswith("stats.")):
            raise MalformedError(f"{call}: not the documented shape", call=call)
        extra: dict[str, int | float | str] = {}
        for row in ("delivered", "complained"):
            if (count := _count(stats.get(name[f"stats.{row}"]))) is not None:
                extra[row] = count
        if (sent_at := _text(campaign.get(name["campaign.sent_at"]))) is not None:
            extra["sent_at"] = sent_at
        return CampaignStats(
            campaign_id=key,
            name=_text(campaign.get(name["campaign.name"])) or key,
            sent=_count(stats.get(name["stats.sent"])),
            opened=_count(stats.get(name["stats.opened"])),
            clicked=_count(stats.get(name["stats.clicked"])),
            bounced=_count(stats.get(name["stats.bounced"])),
            unsubscribed=_count(stats.get(name["stats.unsubscribed"])),
            status=_text(campaign.get(name["campaign.status"])),
            remote_at=_text(stats.get(name["stats.updated"])),
            extra=extra,
        )

    # What is written

    def consent_body(self, consent: bool) -> bytes:
        return msgspec.json.encode({self._consent: consent})

    def member_body(self, status: Status) -> bytes:
        name = self.table.names
        word = name["member.subscribed" if status is Status.SUBSCRIBED else "member.unsubscribed"]
        return msgspec.json.encode({name["member.status"]: word})

    def fields_body(self, fields: Mapping[str, str]) -> bytes:
        return msgspec.json.encode(self._own(fields))

    def new_customer(self, address: str, fields: Mapping[str, str]) -> bytes:
        return msgspec.json.encode({self._email: address, **self._own(fields), self._consent: True})

    def _own(self, fields: Mapping[str, str]) -> dict[str, str]:
        return {self.standard[field]: text for field, text in fields.items() if field in self.standard}

    def webhook_body(self, url: str, secret: bytes) -> bytes:
        name = self.table.names
        return msgspec.json.encode(
            {
                name["webhook.url"]: url,
                name["webhook.events"]: self.table.events(),
                name["webhook.secret"]: secret.decode(),
            }
        )

    def registrations(self, body: bytes, *, call: str) -> Sequence[Mapping[str, Any]]:
        return [self._loose(bytes(item)) for item in decode(body, list[msgspec.Raw], call=call)]


def id_of(value: Any) -> str | None:
    """An id as text. A number is spelt out: it may be larger than what a float can hold."""
    if isinstance(value, str):
        # No text of a database holds a NUL, and an id that could not be read whole is another's, or nobody's.
        return value if value and "\x00" not in value and SPOILT not in value else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _head(key: str, changed: str) -> msgspec.json.Decoder[_Head]:
    struct = msgspec.defstruct(
        "Head",
        [("key", Any, None), ("changed", Any, None)],
        bases=(_Head,),
        rename={"key": key, "changed": changed},
        gc=False,
    )
    return msgspec.json.Decoder(struct)


def _keyless(raw: bytes) -> str:
    # It must still be countable and comparable from one read to the next.
    return f"?{sha256(raw).hexdigest()[:20]}"


def _next(listing: _Listing, number: int, asked: int) -> str | None:
    # Nothing on a page means the end whatever the total says; the caller sees that fewer came than were counted.
    return str(number + 1) if listing.items and number * _used(listing, asked) < listing.total else None


def _used(listing: _Listing, asked: int) -> int:
    # A service may cap the page size without a word, so the size that it says it used decides.
    return listing.size if listing.size is not None and listing.size > 0 else asked


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
