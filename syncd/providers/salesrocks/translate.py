"""Sales.Rocks payloads as records, and changes as payloads: contacts, lists, campaigns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from syncd.domain.changes import Change
from syncd.domain.errors import MalformedError
from syncd.domain.records import CampaignStats, ContainerId, Observation, Record, Status
from syncd.providers.contact_points import join_name, read_address, read_phone, split_name
from syncd.providers.fields import NAMES, unread
from syncd.providers.json_text import SPOILT, mended
from syncd.providers.salesrocks.answers import NOTHING, UNREADABLE, count, read_rows, words
from syncd.providers.salesrocks.options import SalesRocksOptions

# --- Contacts --------------------------------------------------------------------------------------------------------

OPT_OUT_WORDS = frozenset({"unsubscribed", "opted_out", "opt_out", "optout"})
"""Words that say no, as a value of `unsubscribe_field` or as the name of a member. Contacts are free of schema and
imported from everywhere, so the word may stand in either place; a no is a no in both modes."""

YES = frozenset({"true", "yes", "y", "1", "x", "on"}) | OPT_OUT_WORDS
NO = frozenset({"false", "no", "n", "0", "", "off", "none", "null", "never"})

_json = msgspec.json.Decoder().decode
_E164 = re.compile(r"\+[1-9]\d{7,14}", re.ASCII)


@lru_cache(maxsize=4096)
def _word(text: str) -> str:
    """One spelling for "Opted Out", "opted-out" and "opted_out"."""
    return re.sub(r"[\s-]+", "_", text.strip().lower())


@lru_cache(maxsize=4096)
def _opt_outs(members: tuple[str, ...]) -> tuple[str, ...]:
    """Those whose very name says no. The contacts of a list have the same members nearly always."""
    return tuple(member for member in members if _word(member) in OPT_OUT_WORDS)


def _text(value: Any) -> str | None:
    """A value as text, None if it is a structure."""
    if isinstance(value, str):  # nearly always
        return value.strip()
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else str(value)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class ContactTable:
    """Which member of a contact holds what, for one account."""

    email: str
    name: str
    members: Mapping[str, str]  # canonical -> member, names apart
    first: str
    last: str
    one_name_field: bool
    status: str
    unsubscribed: str
    subscribed: str
    region: str | None

    @classmethod
    def of(cls, options: SalesRocksOptions) -> ContactTable:
        members = options.member_of
        return cls(
            email=options.email_field,
            name=options.name_field,
            first=members.pop("first_name"),
            last=members.pop("last_name"),
            members=members,
            one_name_field=options.one_name_field,
            status=options.unsubscribe_field,
            unsubscribed=options.unsubscribe_value.strip().lower(),
            subscribed=options.subscribe_value,
            region=options.phone_region,
        )

    def read(self, container: ContainerId, record: Record) -> Observation:
        """One contact. Odd content is marked, never raised."""
        remote_id = None if record.key.startswith(ROW_DIGEST) else record.key
        row = _row(record.raw)
        if row is None:
            return Observation(container, record.key, "", None, Status.UNKNOWN, {}, record.raw, remote_id)
        email = row.get(self.email)
        address = email if isinstance(email, str) else ""
        return Observation(
            container,
            record.key,
            address,
            read_address(address) if address and SPOILT not in address else None,
            self._status(row),
            self._fields(row),
            record.raw,
            remote_id,
        )

    def _status(self, row: dict[str, Any]) -> Status:
        """Presence on an editable list is membership; a word against it is a no."""
        said = _text(row.get(self.status))
        if said and (said.lower() == self.unsubscribed or _word(said) in OPT_OUT_WORDS):
            return Status.UNSUBSCRIBED
        unclear = said is None
        for member in _opt_outs(tuple(row)):
            flag = _flag(row[member])
            if flag:
                return Status.UNSUBSCRIBED
            unclear |= flag is None and (_text(row[member]) or "").lower() != self.subscribed.lower()
        return Status.UNKNOWN if unclear else Status.SUBSCRIBED

    def _fields(self, row: dict[str, Any]) -> dict[str, str]:
        first, last = _text(row.get(self.first)) or "", _text(row.get(self.last)) or ""
        if not (first and last):
            first, last = _halves(first, last, _text(row.get(self.name)) or "")
        fields = {}
        if first:
            fields["first_name"] = first
        if last:
            fields["last_name"] = last
        for canonical, member in self.members.items():
            value = _text(row.get(member))
            if value and canonical == "phone" and not _E164.fullmatch(value):
                value = (
                    read_phone(value, self.region) or value
                )  # kept as it came; what it is worth is judged by its kind
            if value is None:
                fields[unread(canonical)] = _as_it_came(row[member])
            elif value:
                fields[canonical] = value
        if first and last:
            return fields
        for canonical, member in (("first_name", self.first), ("last_name", self.last)):
            for place in (self.name, member):  # a structure is no name: neither a whole one, nor a half
                if canonical not in fields and _text(row.get(place)) is None:
                    fields[unread(canonical)] = _as_it_came(row[place])
        return fields

    def hides_name(self, seen: Observation) -> bool:
        """Whether the record holds a name that cannot be read."""
        return any(unread(half) in seen.fields or SPOILT in seen.fields.get(half, "") for half in NAMES)

    def row_to_add(self, change: Change) -> dict[str, str]:
        """A new contact: what the sample of addToList names, and the members that the configuration maps."""
        fields = change.fields
        whole = join_name(fields.get("first_name", ""), fields.get("last_name", ""))
        row = {self.name: whole, self.email: change.address}
        return row | {member: value for member, value in self._given(fields).items() if value}

    def rows_to_update(self, change: Change, keys: Sequence[str]) -> list[dict[str, str]]:
        """Partial rows, one for each record; members that are not named stay (docs.sales.rocks, Update List Data)."""
        given = self._given(change.fields)
        return [{"_id": key} | given for key in keys] if given else []

    def _given(self, fields: Mapping[str, str]) -> dict[str, str]:
        places = dict(self.members)
        if not self.one_name_field:
            places |= {"first_name": self.first, "last_name": self.last}
        return {places[field]: value for field, value in fields.items() if field in places}

    def name_to_update(self, names: Mapping[str, str], seen: Observation) -> dict[str, str]:
        """The members of one record that make it show this name.

        A record that holds a half as a member of its own must change there, or that member would hide the new name.
        """
        row = msgspec.json.decode(seen.raw)
        own = {"first_name": self.first, "last_name": self.last}
        apart = any(_text(row.get(member)) for member in own.values())
        update = {own[half]: value for half, value in names.items()} if apart else {}
        if not apart or _text(row.get(self.name)):
            whole = {half: names.get(half, seen.fields.get(half, "")) for half in own}
            update[self.name] = join_name(whole["first_name"], whole["last_name"])
        return update

    def row_to_subscribe(self, seen: Observation) -> dict[str, str | bool]:
        """What takes every no off a record that is there."""
        row = msgspec.json.decode(seen.raw)
        flags: dict[str, str | bool] = dict.fromkeys(_opt_outs(tuple(row)), False)
        return {"_id": seen.key} | flags | {self.status: self.subscribed}

    def row_to_unsubscribe(self, key: str, value: str) -> dict[str, str]:
        return {"_id": key, self.status: value}

    def place(self, raw: bytes) -> str:
        """The list that a contact says it belongs to, empty if it does not say."""
        return words(msgspec.json.decode(raw).get("list_id"))


def _halves(first: str, last: str, whole: str) -> tuple[str, str]:
    """A half that has no member of its own is what the whole name holds beside the other half."""
    if not (first or last):
        return split_name(whole)
    whole = " ".join(whole.split())
    if first and f"{whole} ".startswith(f"{first} "):
        return first, whole[len(first) + 1 :]
    if last and f" {whole}".endswith(f" {last}"):
        return whole[: -len(last) - 1], last
    halves = split_name(whole)
    return first or halves[0], last or halves[1]


def _flag(value: Any) -> bool | None:
    """What a member named "unsubscribed" says; None if it is neither yes nor no."""
    text = _text(value)
    if text is None:
        return None
    word = _word(text)
    return True if word in YES else False if word in NO else None


def _row(raw: bytes) -> dict[str, Any] | None:
    """A contact as an object; bytes that are no text cost the value that holds them."""
    try:
        row = _json(raw)
    except UNREADABLE:
        try:
            row = _json(mended(raw))
        except UNREADABLE:
            return None
    return row if isinstance(row, dict) else None


def _as_it_came(structure: Any) -> str:
    """What stands where a text was expected, for a person to see."""
    return msgspec.json.encode(structure).decode()


# --- Ids and counts --------------------------------------------------------------------------------------------------

ROW_DIGEST = "~"
"""Begins the key of a row that came without a usable `_id`. No id begins so, and such a key is never sent."""


class _Oid(msgspec.Struct):
    oid: str = msgspec.field(name="$oid")


class _Keyed(msgspec.Struct):
    key: _Oid | str = msgspec.field(name="_id")


_keyed = msgspec.json.Decoder(_Keyed)
_all_keyed = msgspec.json.Decoder(list[_Keyed])
_oids = msgspec.json.Decoder(list[_Oid | str])


def id_in(raw: bytes | msgspec.Raw) -> str | None:
    """The `_id` of a row: ``{"$oid": …}`` in the samples, "string" in the tables."""
    try:
        return _id(_keyed.decode(raw))
    except UNREADABLE:
        return None


def _id(row: _Keyed) -> str | None:
    text = row.key if isinstance(row.key, str) else row.key.oid
    return text if text and "\x00" not in text else None  # no text of a database holds a NUL


def records_of(rows: Sequence[msgspec.Raw]) -> tuple[Record, ...]:
    """The rows of a page with their keys; a row without one is told from others by its bytes."""
    raws = [bytes(row) for row in rows]
    try:
        keys = [_id(row) for row in _all_keyed.decode(b"[%b]" % b",".join(raws))]
    except UNREADABLE:  # one of them: the others have theirs all the same
        keys = [id_in(raw) for raw in raws]
    return tuple(Record(key or _digest_key(raw), raw) for key, raw in zip(keys, raws, strict=True))


def _digest_key(raw: bytes) -> str:
    return ROW_DIGEST + blake2b(raw, digest_size=12).hexdigest()


def read_contact(data: msgspec.Raw, key: str, call: str) -> Record | None:
    """The contact that getContact found, None if it says null. PHP's empty array counts as null."""
    raw = bytes(data).strip()
    if raw == b"null" or (raw.startswith(b"[") and not read_rows(data, call)):
        return None
    try:
        msgspec.json.decode(raw)
    except UNREADABLE:
        raise MalformedError(f"{call}: the contact cannot be read", call=call) from None
    if id_in(raw) != key:
        raise MalformedError(f"{call}: the answer is not the contact that was asked for", call=call)
    return Record(key, raw)


def read_ids(ids: msgspec.Raw) -> tuple[str, ...]:
    """The ids that addToList gave, in the order of the rows; empty if any of them cannot be read."""
    try:
        found = [key if isinstance(key, str) else key.oid for key in _oids.decode(ids)]
    except UNREADABLE:
        return ()
    return tuple(found) if all(found) and len(set(found)) == len(found) else ()


# Counts of what was done exist only in English sentences (docs.sales.rocks, samples of the three calls).
INSERTED = re.compile(r"\binserted (\d+)\b", re.IGNORECASE)
DELETED = re.compile(r"\bdeleted (\d+)\b", re.IGNORECASE)
MATCHED = re.compile(r"\b(\d+) matched\b", re.IGNORECASE)


def counted(pattern: re.Pattern[str], message: Any) -> int | None:
    """The count in a sentence, None if it does not say."""
    found = pattern.search(message) if isinstance(message, str) else None
    return int(found[1]) if found else None


# --- Lists -----------------------------------------------------------------------------------------------------------


class ListRow(NamedTuple):
    """A list by its names: `uuid` for data calls, `id` (digits) in getListNameAndIds."""

    uuid: str
    id: str
    name: str
    remote: Mapping[str, str]


class _List(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")
    uuid: Any = None
    name: Any = None
    updated_at: Any = None
    created_at: Any = None
    permissions: Any = None


_list = msgspec.json.Decoder(_List)


def read_list(raw: msgspec.Raw) -> ListRow | None:
    """One list of getLists, None if it has no id that a call could take."""
    try:
        row = _list.decode(raw)
    except UNREADABLE:
        return None
    number = _id_text(row.id)
    uuid = words(row.uuid) or number
    if not uuid:
        return None
    remote = {"id": number, "updated_at": words(row.updated_at), "created_at": words(row.created_at)}
    remote["permissions"] = words(row.permissions)
    return ListRow(uuid, number, words(row.name) or uuid, {name: text for name, text in remote.items() if text})


def _id_text(raw: msgspec.Raw) -> str:
    """An id as text, digit by digit: numbers here may exceed what other languages hold exactly."""
    text = bytes(raw).strip()
    if text.isdigit():
        return text.decode()
    try:
        value = msgspec.json.decode(text) if text.startswith(b'"') else ""
    except UNREADABLE:
        return ""
    return words(value)


# --- Campaigns -------------------------------------------------------------------------------------------------------


class FoundList(NamedTuple):
    """What getListNameAndIds says of one list. `campaigns`: id -> name. `date_of_creation` names no zone."""

    id: str
    campaigns: Mapping[str, str]
    list_name: str | None = None
    date_of_creation: str | None = None


class _Found(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")
    list_name: Any = None
    date_of_creation: Any = None
    campaigns: msgspec.Raw = msgspec.Raw(b"")


class _FoundCampaign(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")
    name: Any = None


_found = msgspec.json.Decoder(_Found)
_found_campaign = msgspec.json.Decoder(_FoundCampaign)


def read_found(data: msgspec.Raw, call: str) -> Sequence[FoundList]:
    found = []
    for raw in read_rows(data, call) if bytes(data) != b"null" else ():
        try:
            row = _found.decode(raw)
            rows = read_rows(row.campaigns, call) if bytes(row.campaigns) not in NOTHING else []
            campaigns = [_found_campaign.decode(campaign) for campaign in rows]
        except UNREADABLE:
            raise MalformedError(f"{call}: a list that cannot be read", call=call) from None
        named = {_id_text(campaign.id): words(campaign.name) for campaign in campaigns}
        known = {number: name for number, name in named.items() if number}
        about = words(row.list_name) or None, words(row.date_of_creation) or None
        found.append(FoundList(_id_text(row.id), known, *about))
    return found


def campaign_id_to_send(campaign: str) -> msgspec.Raw:
    """A number where it is one: the sample asks for `1`, not for `"1"`."""
    return msgspec.Raw(campaign if re.fullmatch(r"0|[1-9]\d*", campaign, re.ASCII) else msgspec.json.encode(campaign))


class _Statistics(msgspec.Struct):
    campaign_name: Any = None
    campaign_status: Any = None
    sent: Any = None
    opened: Any = None
    clicked: Any = None
    bounced: Any = None
    opted_out: Any = None
    replied: Any = None
    to_send: Any = None
    total_scheduled: Any = None  # in the sample, not in the table
    campaign_created_at: Any = None  # the table has lost its underscores


_statistics = msgspec.json.Decoder(_Statistics)


def read_statistics(data: msgspec.Raw, campaign: str, name: str, zone: tzinfo, call: str) -> CampaignStats:
    try:
        row = _statistics.decode(data)
    except UNREADABLE:
        raise MalformedError(f"{call}: the statistics cannot be read", call=call) from None
    extra = {"replied": count(row.replied), "to_send": count(row.to_send)}
    extra["total_scheduled"] = count(row.total_scheduled)
    return CampaignStats(
        campaign_id=campaign,
        name=words(row.campaign_name) or name,
        sent=count(row.sent),
        opened=count(row.opened),
        clicked=count(row.clicked),
        bounced=count(row.bounced),
        unsubscribed=count(row.opted_out),
        status=words(row.campaign_status) or None,
        remote_at=utc_text(row.campaign_created_at, zone),
        extra={name: number for name, number in extra.items() if number is not None},
    )


def utc_text(value: Any, zone: tzinfo) -> str | None:
    """A time of theirs, which names no zone, as ISO 8601 in UTC; None if it is not a time."""
    try:
        at = datetime.fromisoformat(words(value))
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None
