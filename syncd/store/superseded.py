"""Plans that were: which id stood for what, how each ended, and what moved in them since.

Kept for a bounded time, so that an approval that comes too late hears why it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.store.tables import PlanItemRow, PlanMoveRow, PlanPastRow

past = PlanPastRow.__table__  # type: ignore[attr-defined]
move = PlanMoveRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]

KEPT = timedelta(days=14)

PlanGroup = tuple[str, str, str, str]
"""Account, container, kind and hold: what a plan is a plan of."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What is other than in the plan that somebody saw. `what`: added, gone, changed."""

    identity: str
    account: str
    container: str
    kind: str
    what: str


def end(connection: Connection, row: Any, ended: str, at: datetime) -> None:
    """A plan's id stands for nothing any more. `ended`: moved, approved or rejected."""
    connection.execute(past.delete().where(past.c.id == row.id))
    connection.execute(
        past.insert().values(
            id=row.id, account=row.account, container=row.container, kind=row.kind, hold=row.hold, count=row.count,
            seq=row.seq, ended=ended, ended_at=at,
        )
    )  # fmt: skip
    connection.execute(past.delete().where(past.c.ended_at < at - KEPT))
    connection.execute(move.delete().where(move.c.at < at - KEPT))


def note(connection: Connection, group: PlanGroup, identity: str, what: str, seq: int, at: datetime) -> None:
    account, container, kind, hold = group
    connection.execute(
        move.insert().values(
            account=account, container=container, kind=kind, hold=hold, identity=identity, what=what, seq=seq, at=at
        )
    )


def find(connection: Connection, plan_id: str) -> Any:
    """The plan that had this id, or None if none had, or too long ago."""
    return connection.execute(sa.select(past).where(past.c.id == plan_id)).one_or_none()


def was_seen(connection: Connection, group: PlanGroup) -> bool:
    """Whether anybody may have seen an earlier plan of this group."""
    return connection.scalar(sa.select(past.c.id).where(*_of(past, group)).limit(1)) is not None


def moved_since(connection: Connection, group: PlanGroup, seq: int) -> list[Moved]:
    """What moved in a group after the planning `seq`, by person; what moved and moved back is left out."""
    account, container, kind, _ = group
    query = sa.select(move.c.identity, move.c.what).where(*_of(move, group), move.c.seq > seq).order_by(move.c.id)
    first: dict[str, str] = {}
    for identity, what in connection.execute(query):
        first.setdefault(identity, what)
    waits = sa.select(item.c.identity).where(*_of(item, group), item.c.state == "held")
    there = set(connection.scalars(waits))
    found = []
    for identity, what in sorted(first.items()):
        was, is_now = what != "added", identity in there
        if was or is_now:
            word = "changed" if was and is_now else "added" if is_now else "gone"
            found.append(Moved(identity, account, container, kind, word))
    return found


def _of(table: sa.Table, group: PlanGroup) -> tuple[sa.ColumnElement[bool], ...]:
    names = ("account", "container", "kind", "hold")
    return tuple(table.c[name] == value for name, value in zip(names, group, strict=True))
