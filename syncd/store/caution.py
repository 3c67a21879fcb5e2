"""People of whom nothing is added anywhere before somebody has looked, whatever the configuration lets pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import SuppressionKey
from syncd.store.bulk import chunks
from syncd.store.tables import CautionRow

caution = CautionRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500


def begin(connection: Connection, people: Iterable[SuppressionKey], at: datetime) -> None:
    wanted = sorted(set(people))
    known = among(connection, wanted)
    rows = [{"person_key": key, "since": at} for key in wanted if key not in known]
    if rows:
        connection.execute(caution.insert(), rows)


def begin_with(connection: Connection, people: sa.SelectBase, at: datetime) -> None:
    """As `begin`, with whom a query finds."""
    found = people.subquery()
    known = sa.select(caution.c.person_key)
    rows = sa.select(*found.c, sa.literal(at, type_=caution.c.since.type)).where(found.c[0].not_in(known))
    connection.execute(caution.insert().from_select(["person_key", "since"], rows))


def among(connection: Connection, people: Sequence[SuppressionKey]) -> set[SuppressionKey]:
    """Those of them with whom care is taken."""
    found: set[SuppressionKey] = set()
    if connection.scalar(_ANY) is None:
        return found
    for part in chunks(people, IN_MAX):
        query = sa.select(caution.c.person_key).where(caution.c.person_key.in_(part))
        found |= {SuppressionKey(key) for key in connection.scalars(query)}
    return found


_ANY = sa.select(caution.c.person_key).limit(1)


def end(connection: Connection, people: Iterable[SuppressionKey]) -> None:
    for part in chunks(sorted(people), IN_MAX):
        connection.execute(caution.delete().where(caution.c.person_key.in_(part)))
