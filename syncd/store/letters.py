"""Mails with a confirmation link that are still to be sent: who asked for what, and nothing once they are out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import SuppressionKey
from syncd.store.tables import LetterRow

letter = LetterRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Letter:
    """`attempts`: how often it could not be sent."""

    id: str
    address: str
    lists: tuple[str, ...]
    fields: Mapping[str, str]
    asked_at: datetime
    attempts: int


def put(
    connection: Connection,
    letter_id: str,
    key: SuppressionKey,
    address: str,
    lists: Sequence[str],
    fields: Mapping[str, str],
    now: datetime,
) -> None:
    connection.execute(
        letter.insert(),
        {
            "id": letter_id, "person_key": key, "address": address, "lists": list(lists), "fields": dict(fields),
            "asked_at": now, "due_at": now, "attempts": 0,
        },
    )  # fmt: skip


def waits(connection: Connection, address: str, lists: Sequence[str]) -> bool:
    """Whether the same mail is to be sent already."""
    found = connection.execute(sa.select(letter.c.lists).where(letter.c.address == address))
    return any(row.lists == list(lists) for row in found)


def count(connection: Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(letter)) or 0


def due(connection: Connection, now: datetime, limit: int) -> list[Letter]:
    query = sa.select(letter).where(letter.c.due_at <= now).order_by(letter.c.due_at, letter.c.id).limit(limit)
    return [
        Letter(row.id, row.address, tuple(row.lists), row.fields, row.asked_at, row.attempts)
        for row in connection.execute(query)
    ]


def drop(connection: Connection, letter_id: str) -> None:
    connection.execute(letter.delete().where(letter.c.id == letter_id))


def postpone(connection: Connection, letter_id: str, until: datetime) -> None:
    later = letter.update().where(letter.c.id == letter_id)
    connection.execute(later.values(due_at=until, attempts=letter.c.attempts + 1))
