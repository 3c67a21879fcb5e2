"""Everything that waits for a moment of the wall clock only so as not to be tried too often."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.reconcile.person import OpState
from syncd.store.tables import AccountRow, AgendaRow, LookUpRow, OpRow

account = AccountRow.__table__  # type: ignore[attr-defined]
agenda = AgendaRow.__table__  # type: ignore[attr-defined]
lookup = LookUpRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]


def from_later(connection: Connection, now: datetime) -> bool:
    """Whether the mirror was worked on at a time that has yet to come: the clock has gone back since."""
    latest = connection.scalar(sa.select(sa.func.max(account.c.last_attempt)))
    return latest is not None and latest > now


def end(connection: Connection, now: datetime) -> None:
    """Whoever is left alone is tried, whatever is put off is sent, and everybody is planned, from now on.

    For a clock that went back: nobody can tell which of these times were meant. To try too soon does no harm. What
    waits for a person to have seen it (a mass of unsubscribes, a plan) is none of these, and waits on.
    """
    connection.execute(account.update().where(account.c.held_until > now).values(held_until=None))
    connection.execute(
        op.update().where(op.c.state == OpState.READY.value, op.c.not_before > now).values(not_before=now)
    )
    connection.execute(agenda.update().where(agenda.c.due_at > now).values(due_at=now))
    connection.execute(lookup.update().where(lookup.c.wanted_at > now).values(wanted_at=now))
