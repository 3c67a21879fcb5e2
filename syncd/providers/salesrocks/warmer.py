"""What is made anew at the service: e-mail connections, warm-ups, lists (docs.sales.rocks).

None of these calls may be repeated by itself: each makes another one. The answer of createEmailConnection brings the
mailbox's secret back, in some other form; it is not read, so nothing can print, log or keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syncd.domain.errors import MalformedError
from syncd.providers.salesrocks.answers import count
from syncd.providers.salesrocks.calls import Calls, flag, read_object, text
from syncd.wire import Exchange


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox to connect. The service wants `username` to be the address. `imap_*` may be left out, together."""

    sender_name: str
    email: str
    secret: str = field(repr=False)
    smtp_host: str
    smtp_port: str
    smtp_encryption: str
    permission: str
    receiving_email: str
    imap_host: str | None = None
    imap_port: str | None = None
    imap_encryption: str | None = None
    bcc: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection as it was made; its secret is not part of it."""

    id: str
    user_id: str | None
    type: str | None
    name: str | None
    email: str | None
    bcc: str | None
    username: str | None
    permission: str | None
    host: str | None
    port: str | None
    encryption: str | None
    imap_host: str | None
    imap_port: str | None
    imap_encryption: str | None


@dataclass(frozen=True, slots=True)
class Warming:
    """A warm-up to begin. `start_date` is a time of `timezone`, as ``2026-11-22 09:00:00``; the sample writes the zone
    as ``America/Regina (GMT-06:00)``.
    """

    connection_email: str
    ramp_up_increment: int
    ramp_up_limit: int
    start_date: str
    timezone: str
    mature: bool = False
    stop_on_limit_reach: bool = False


@dataclass(frozen=True, slots=True)
class Warmer:
    """A warm-up as it was made. Flags go in as true and false and come out as "1" and "0"; times name no zone."""

    id: str
    user_id: str | None
    connection_id: str | None
    ramp_up_increment: int | None
    ramp_up_limit: int | None
    stop_on_limit_reach: bool | None
    start_date: str | None
    scheduled_today: int | None
    timezone: str | None
    mature: bool | None
    active: bool | None
    created_at: str | None
    updated_at: str | None


def create_email_connection(calls: Calls, mailbox: Mailbox) -> Exchange[Connection]:
    call = "createEmailConnection"
    given = {name: value for name in _ORDER if (value := getattr(mailbox, name)) is not None}
    body = given | {"username": mailbox.email}
    found = yield from calls.find(f"connections/{call}", body, repeatable=False)
    inner = found.get("data")
    data = inner if isinstance(inner, dict) else {}
    return Connection(
        id=_made(found, call),
        user_id=text(found.get("user_id")),
        type=text(found.get("type")),
        name=text(found.get("name")),
        email=text(found.get("email")),
        bcc=text(found.get("bcc")),
        **{name: text(data.get(name)) for name in _SHOWN},
    )


_ORDER = tuple(Mailbox.__dataclass_fields__)
_SHOWN = ("username", "permission", "host", "port", "encryption", "imap_host", "imap_port", "imap_encryption")
"""What is read of a connection's own data: by name, so that a new member of theirs is not shown by accident."""


def create_email_warmer(calls: Calls, warming: Warming) -> Exchange[Warmer]:
    call = "createEmailWarmer"
    body = {name: getattr(warming, name) for name in Warming.__dataclass_fields__}
    found = yield from calls.find(f"email-warmer/{call}", body, repeatable=False)
    return Warmer(
        id=_made(found, call),
        user_id=text(found.get("user_ID")),
        connection_id=text(found.get("connection_ID")),
        ramp_up_increment=count(found.get("ramp_up_increment")),
        ramp_up_limit=count(found.get("ramp_up_limit")),
        stop_on_limit_reach=flag(found.get("stop_on_limit_reach"), yes="yes", no="no"),
        start_date=text(found.get("start_date")),
        scheduled_today=count(found.get("scheduled_today")),
        timezone=text(found.get("timezone")),
        mature=flag(found.get("mature"), yes="yes", no="no"),
        active=flag(found.get("status"), yes="yes", no="no"),
        created_at=text(found.get("created_at")),
        updated_at=text(found.get("updated_at")),
    )


def create_list(calls: Calls, name: str, permission: str) -> Exchange[str]:
    """A new editable list; returns the id of the answer, which `getLists` never shows."""
    call = "createList"
    body = {"list_name": name, "permission": permission}
    answer = yield from calls.post(f"editable-lists/{call}", body, repeatable=False)
    made = text(read_object(answer.body, call).get("list_id"))
    if made is None:
        raise MalformedError(f"{call}: the answer holds no list_id", call=call)
    return made


def _made(found: Mapping[str, Any], call: str) -> str:
    made = text(found.get("id"))
    if made is None:
        raise MalformedError(f"{call}: the answer holds no id", call=call)
    return made
