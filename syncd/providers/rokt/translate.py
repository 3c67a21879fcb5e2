"""Rokt's payloads as records: lead attributes, the answers of the unsubscribe import, rows of the Query API."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import msgspec

from syncd.domain.errors import MalformedError
from syncd.domain.records import CampaignStats
from syncd.domain.stars import starred
from syncd.providers.contact_points import read_phone
from syncd.providers.protocol import Token

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# --- Leads -----------------------------------------------------------------------------------------------------------

REGIONS: Mapping[str, str] = {
    # A lead may name its country in English ("Access referral data" shows Australia) where the attribute lists ask for
    # two letters, and `mobile` comes without the country's code: without a region the number cannot be read.
    "australia": "AU",
    "austria": "AT",
    "belgium": "BE",
    "brazil": "BR",
    "canada": "CA",
    "denmark": "DK",
    "finland": "FI",
    "france": "FR",
    "germany": "DE",
    "ireland": "IE",
    "italy": "IT",
    "japan": "JP",
    "mexico": "MX",
    "netherlands": "NL",
    "new zealand": "NZ",
    "norway": "NO",
    "poland": "PL",
    "portugal": "PT",
    "singapore": "SG",
    "south korea": "KR",
    "spain": "ES",
    "sweden": "SE",
    "switzerland": "CH",
    "united kingdom": "GB",
    "united states": "US",
    "united states of america": "US",
    "usa": "US",
    "uk": "GB",  # the code is GB; two letters that everybody writes and no standard knows
}

_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_COMPACT_DAY = re.compile(r"[0-9]{8}")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")
_SERIAL_DAY = re.compile(r"([0-9]{1,5})(?:\.[0-9]+)?")
_SERIAL_ZERO = date(1899, 12, 30)
_SERIAL_MIN = 61  # spreadsheets believe in 29 February 1900, so smaller numbers are a day off
_BORN_MIN = date(1900, 1, 1)

_NO_FIELDS = frozenset({"email", "email_sha256", "email_md5", "campaign", "phone", "birth_date"})
"""What says who it is and where from, and what is read with more care."""


def fields_of(attributes: Mapping[str, object], names: Mapping[str, str], today: date) -> Mapping[str, str]:
    """Canonical fields of a lead. What is missing, empty or unreadable is not in it; the raw record still has it."""
    given = {
        canonical: value.strip()
        for canonical, name in names.items()
        if isinstance(value := attributes.get(name), str) and value.strip()
    }
    fields = {name: value for name, value in given.items() if name not in _NO_FIELDS}
    if phone := _phone(given.get("phone", ""), given.get("country", "")):
        fields["phone"] = phone
    if born := birth_date(given.get("birth_date", ""), today):
        fields["birth_date"] = born
    return fields


def _phone(raw: str, country: str) -> str | None:
    if not raw or _E164.fullmatch(raw):
        return raw or None
    region = REGIONS.get(country.lower())
    if region is None and len(country) == 2 and country.isascii() and country.isalpha():
        region = country.upper()
    return read_phone(raw, region)


def birth_date(raw: str, today: date) -> str | None:
    """The ISO date behind any of the three spellings Rokt uses, or None.

    `yyyymmdd` (attribute lists), ISO, and the serial day of a spreadsheet ("Access referral data" shows 33569). A date
    with day and month in an order of its own is not guessed at.
    """
    try:
        if _COMPACT_DAY.fullmatch(raw):
            born = date.fromisoformat(raw)
        elif _ISO_DAY.fullmatch(raw):
            born = date.fromisoformat(raw[:10])
        elif (match := _SERIAL_DAY.fullmatch(raw)) and int(match[1]) >= _SERIAL_MIN:
            born = _SERIAL_ZERO + timedelta(days=int(match[1]))
        else:
            return None
    except ValueError:
        return None
    return born.isoformat() if _BORN_MIN <= born <= today else None


# --- Unsubscribe import ----------------------------------------------------------------------------------------------


def unsubscribe_body(address: str) -> bytes:
    # Exactly one key, the address as it is spelt there (Unsubscribe Import API, Parameters).
    return msgspec.json.encode({"email": address})


class _Receipt(msgspec.Struct):
    id: str = ""


def receipt_of(body: bytes) -> str | None:
    """The id in the answer, or None: it serves Rokt's support and decides nothing."""
    try:
        return msgspec.json.decode(body, type=_Receipt).id.strip() or None
    except _UNREADABLE:
        return None


# --- Query API -------------------------------------------------------------------------------------------------------


METRICS = ("impressions", "referrals", "gross_cost", "acquisitions")
DIMENSIONS = ("campaign_id", "campaign_name")


def query_body(
    start: date,
    end: date,
    *,
    metrics: Sequence[str] = METRICS,
    dimensions: Sequence[str] = DIMENSIONS,
    timezone: str | None = None,
    currency: str | None = None,
) -> bytes:
    """Day rows, of every campaign unless other dimensions are given.

    No `orderBys`: the API refuses to order by the day it answers with. Members are named as the Query API names them;
    the Reporting API before it said `dateStart`, `timeZoneVariation` and `currency`.
    """
    body: dict[str, object] = {
        "interval": "day",
        "startDate": start.isoformat(),
        "endDate": end.isoformat(),
        "metrics": metrics,
        "dimensions": dimensions,
    }
    if timezone is not None:
        body["timezoneVariation"] = timezone
    if currency is not None:
        body["currencyCode"] = currency
    return msgspec.json.encode(body)


class _Slug(msgspec.Struct):
    slug: str


class _Words(msgspec.Struct):
    dimensions: list[_Slug]
    metrics: list[_Slug]


@dataclass(frozen=True, slots=True)
class Words:
    """What a query of one account may ask for."""

    dimensions: tuple[str, ...]
    metrics: tuple[str, ...]


def words_of(body: bytes, call: str) -> Words:
    try:
        found = msgspec.json.decode(body, type=_Words)
    except _UNREADABLE:
        raise MalformedError("the words of the account cannot be read", call=call) from None
    return Words(tuple(one.slug for one in found.dimensions), tuple(one.slug for one in found.metrics))


class _Account(msgspec.Struct):
    accountId: int | str  # noqa: N815 - as it is spelt there
    accountName: str = ""  # noqa: N815
    accountCurrencyCode: str | None = None  # noqa: N815
    accountTimezone: str | None = None  # noqa: N815
    accountTimezoneOffset: int | None = None  # noqa: N815
    accountOwner: str | None = None  # noqa: N815
    countryCode: str | None = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class QueryAccount:
    """An account as the Query API shows it. `id` is text: it exceeds what a float can hold.

    `timezone` is an Olson name, `timezone_offset_min` what it is off UTC now; `owner` is who looks after it at Rokt.
    """

    id: str
    name: str
    currency: str | None
    timezone: str | None
    timezone_offset_min: int | None = None
    owner: str | None = None
    country: str | None = None


def accounts_of(body: bytes, call: str) -> list[QueryAccount]:
    """All accounts that the credentials reach: a bare list, or a single one."""
    try:
        found = msgspec.json.decode(body, type=list[_Account] | _Account)
    except _UNREADABLE:
        raise MalformedError("the accounts cannot be read", call=call) from None
    several = found if isinstance(found, list) else [found]
    return [
        QueryAccount(
            str(one.accountId),
            one.accountName,
            one.accountCurrencyCode,
            one.accountTimezone,
            one.accountTimezoneOffset,
            one.accountOwner,
            one.countryCode,
        )
        for one in several
    ]


def rows_of(body: bytes, call: str) -> list[dict[str, object]]:
    """The rows of an answer as they are, without those that are no rows."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except _UNREADABLE:
        raise MalformedError("the statistics cannot be read", call=call) from None
    decoded = (msgspec.json.decode(raw) for raw in answer.data)
    return [row for row in decoded if isinstance(row, dict)]


class _Login(msgspec.Struct):
    access_token: str = ""
    expires_in: float | str | None = None


TOKEN_LIFETIME_S = 3600.0  # Query API, Authentication: one hour; used where the answer names no lifetime


def token_of(body: bytes, call: str) -> Token:
    try:
        login = msgspec.json.decode(body, type=_Login)
        lifetime_s = TOKEN_LIFETIME_S if login.expires_in is None else float(login.expires_in)
    except (*_UNREADABLE, ValueError):
        raise MalformedError("the login's answer cannot be read", call=call) from None
    if not login.access_token or not math.isfinite(lifetime_s):
        raise MalformedError("the login's answer holds no token", call=call)
    return Token(login.access_token, lifetime_s)


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw]


class _Row(msgspec.Struct):
    datetime: str
    campaign_id: int | str | None = None
    campaign_name: str | None = None
    impressions: int | float | str | None = None
    referrals: int | float | str | None = None
    gross_cost: int | float | str | None = None
    acquisitions: int | float | str | None = None


@dataclass(slots=True)
class _Tally:
    name: str = ""
    counts: dict[str, int | float] = field(default_factory=dict)


def stats_of(body: bytes, start: date, end: date, call: str) -> Mapping[tuple[str, str], CampaignStats]:
    """Statistics by campaign and day, of the days from `start` up to but not including `end`.

    Days outside are left out: whether the API counts its last day in is not settled, and a day must not be seen twice.
    A campaign that was renamed within a day has two rows for it, which are added. Rows that are lists or name no
    campaign do occur (tap-rokt skips them too) and are skipped, as are rows that cannot be read.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except _UNREADABLE:
        raise MalformedError("the statistics cannot be read", call=call) from None
    tallies: dict[tuple[str, str], _Tally] = {}
    for raw in answer.data:
        try:
            row = msgspec.json.decode(raw, type=_Row)
            day = date.fromisoformat(row.datetime[:10])
        except (*_UNREADABLE, ValueError):
            continue
        campaign = "" if row.campaign_id is None else str(row.campaign_id).strip()
        if not campaign or not start <= day < end:
            continue
        tally = tallies.setdefault((campaign, day.isoformat()), _Tally())
        tally.name = row.campaign_name or tally.name
        for metric in METRICS:
            if (count := _number(getattr(row, metric))) is not None:
                tally.counts[metric] = tally.counts.get(metric, 0) + count
    return {
        (campaign, day): CampaignStats(campaign, tally.name or campaign, extra=tally.counts, day=day)
        for (campaign, day), tally in tallies.items()
    }


def _number(value: float | str | None) -> int | float | None:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value.strip().encode(), type=int | float)
    except _UNREADABLE:
        return None


# --- Errors ----------------------------------------------------------------------------------------------------------

ERROR_KEYS = ("message", "error", "detail", "errors")  # the shape is undocumented; these are seen by its other clients
_READ_MAX = 2000
_SHOWN_MAX = 200
_ADDRESS = re.compile(r"[^\s\"'<>,;:()]+(?:@|%40)[^\s\"'<>,;()]+")
_CREDENTIAL = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")


def explanation_of(body: bytes, secrets: Iterable[str] = ()) -> str:
    """What an error's body says, without addresses, the given secrets and what looks like one. Empty if nothing."""
    try:
        decoded = msgspec.json.decode(body)
    except _UNREADABLE:
        return ""
    return _scrubbed(_told(decoded), secrets) if isinstance(decoded, dict) else ""


def is_error(body: bytes) -> bool:
    """Whether an answer with a good status tells of a fault instead."""
    try:
        decoded = msgspec.json.decode(body)
    except _UNREADABLE:
        return False
    return isinstance(decoded, dict) and "data" not in decoded and any(decoded.get(key) for key in ("error", "errors"))


def _told(decoded: object, depth: int = 4) -> str:
    if isinstance(decoded, str):
        return decoded
    if depth and isinstance(decoded, list):
        return "; ".join(told for member in decoded[:10] if (told := _told(member, depth - 1)))
    if depth and isinstance(decoded, dict):
        return next((told for key in ERROR_KEYS if (told := _told(decoded.get(key), depth - 1))), "")
    return ""


def _scrubbed(text: str, secrets: Iterable[str]) -> str:
    line = " ".join("".join(ch if ch.isprintable() else " " for ch in text[:_READ_MAX]).split())
    if len(text) > _READ_MAX:
        line = line.rpartition(" ")[0]  # a word that was cut may be half an address
    line = starred(line, secrets)
    line = _CREDENTIAL.sub("…", _ADDRESS.sub("…", line))
    return line if len(line) <= _SHOWN_MAX else line[: _SHOWN_MAX - 1] + "…"
