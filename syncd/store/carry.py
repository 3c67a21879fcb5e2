"""What an older backup must not take back: who said no since, and who was erased.

Suppression only grows. So whatever the mirror that is replaced knows of it goes over into the one that takes its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.consent import ConsentEvent, ConsentState, Level, Scope
from syncd.domain.errors import MirrorError
from syncd.domain.identity import Identity, SuppressionKey
from syncd.store import erasure, inbox, journal, people, scrub, sequence
from syncd.store.session import current, known_head, open_engine, reading
from syncd.store.tables import ConsentEventRow, ConsentRow, ErasureRow

consent = ConsentRow.__table__  # type: ignore[attr-defined]
consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
erased = ErasureRow.__table__  # type: ignore[attr-defined]

Place = tuple[SuppressionKey, Scope]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is carried over, in memory."""

    key: str | None
    erasures: list[Mapping[str, Any]]
    states: dict[Place, ConsentState]
    events: list[ConsentEvent]
    deliveries: list[dict[str, Any]]
    sequence: int


def remember(url: str) -> Kept | None:
    """What the mirror knows that a backup may not. None if there is no mirror, or none that can be read."""
    engine = open_engine(url)
    try:
        with contextlib.suppress(MirrorError, sa.exc.DBAPIError):  # what cannot be read is what a backup is for
            if current(engine) != known_head():
                return None
            with reading(engine) as connection:
                return Kept(
                    key=journal.get_value(connection, erasure.KEY),
                    erasures=[dict(row) for row in connection.execute(sa.select(erased)).mappings()],
                    states=_states(connection),
                    events=[_event(row) for row in connection.execute(_EVENTS)],
                    deliveries=[dict(row) for row in connection.execute(_UNREAD).mappings()],
                    sequence=sequence.reached(connection),
                )
    finally:
        engine.dispose()
    return None


_UNREAD = sa.select(inbox.inbox).where(inbox.inbox.c.state == "new")
_EVENTS = sa.select(consent_event).order_by(consent_event.c.id)


def _states(connection: Connection) -> dict[Place, ConsentState]:
    return {
        (SuppressionKey(row.person_key), Scope(row.scope)): ConsentState(row.epoch, Level(row.level), row.seq)
        for row in connection.execute(sa.select(consent))
    }


def _event(row: Any) -> ConsentEvent:
    return ConsentEvent(
        key=SuppressionKey(row.person_key), identity=Identity(row.identity), scope=Scope(row.scope), epoch=row.epoch,
        level=Level(row.level), at=row.at, seq=row.seq, source=row.source, route=row.route, evidence=row.evidence,
        container=row.container, inferred=row.inferred, mass=row.mass,
    )  # fmt: skip


def carry_over(connection: Connection, kept: Kept, now: datetime) -> int:
    """Put it into the mirror that was restored, and erase again who came back with it.

    Returns how many facts about consent, and deliveries not read yet, the backup did not know.
    """
    # Numbers go on where they were: what was seen before now must never count as newer than what follows.
    sequence.raise_to(connection, kept.sequence)
    _carry_erasures(connection, kept)
    scrub.erase_again(connection, seq=sequence.reached(connection), at=now)
    return _carry_consent(connection, kept, now) + _carry_deliveries(connection, kept)


def _carry_erasures(connection: Connection, kept: Kept) -> None:
    if kept.key is None:
        return
    key = journal.get_value(connection, erasure.KEY)
    if key not in {None, kept.key}:
        raise MirrorError(
            "the backup is of another mirror: who was erased in this one would be known in it again",
            hint="restore it to another place, and erase them there by syncd erase",
        )
    journal.set_value(connection, erasure.KEY, kept.key)
    known = set(connection.scalars(sa.select(erased.c.hash)))
    rows = [dict(row) for row in kept.erasures if row["hash"] not in known]
    if rows:
        connection.execute(erased.insert(), rows)


def _carry_consent(connection: Connection, kept: Kept, now: datetime) -> int:
    restored = _states(connection)
    news = {
        place
        for place, state in kept.states.items()
        if restored.get(place, ConsentState()).join(state) != restored.get(place)
    }
    written = people.record_consent(connection, [event for event in kept.events if (event.key, event.scope) in news])
    people.put_on_agenda(connection, [event.key for event in written], now)
    return len(written)


def _carry_deliveries(connection: Connection, kept: Kept) -> int:
    table = inbox.inbox
    known = {tuple(row) for row in connection.execute(sa.select(table.c.account, table.c.delivery_id))}
    fresh = [row for row in kept.deliveries if (row["account"], row["delivery_id"]) not in known]
    if fresh:
        connection.execute(table.insert(), fresh)
    return len(fresh)
