"""What the daemon and its pages read besides the status: ages, the latest runs, and whether anything is due."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.reconcile.person import OpState
from syncd.store.tables import AccountRow, AgendaRow, InboxRow, OpRow, RunRow

account = AccountRow.__table__  # type: ignore[attr-defined]
agenda = AgendaRow.__table__  # type: ignore[attr-defined]
inbox = InboxRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
run = RunRow.__table__  # type: ignore[attr-defined]

UNPUSHED = (OpState.READY.value, OpState.INFLIGHT.value, OpState.UNKNOWN.value)
NOT_SENT_TO = ("failing", "quarantined", "paused")
"""States of accounts to which nothing is sent between their own rounds: the next one that can read them sends."""


@dataclass(frozen=True, slots=True)
class Meters:
    """`last_success`: when the latest run of each account ended that succeeded. Else: since when the oldest waits."""

    last_success: dict[str, datetime]
    inbox_since: datetime | None
    unsubscribe_since: datetime | None


def read_meters(connection: Connection) -> Meters:
    ended = (
        sa.select(run.c.account, sa.func.max(run.c.ended_at)).where(run.c.result == "success").group_by(run.c.account)
    )
    waiting = sa.select(sa.func.min(op.c.created_at)).where(
        op.c.kind == ChangeKind.UNSUBSCRIBE.value, op.c.state.in_(UNPUSHED)
    )
    unread = sa.select(sa.func.min(inbox.c.received_at)).where(inbox.c.state == "new")
    return Meters(
        last_success={name: at for name, at in connection.execute(ended) if at is not None},
        inbox_since=connection.scalar(unread),
        unsubscribe_since=connection.scalar(waiting),
    )


def last_runs(connection: Connection, limit: int) -> list[sa.Row[Any]]:
    """The latest runs, newest first."""
    return list(connection.execute(sa.select(run).order_by(run.c.started_at.desc(), run.c.id.desc()).limit(limit)))


def anything_due(connection: Connection, now: datetime, busy: Collection[str]) -> bool:
    """Whether there is something to do now that nobody does: somebody to plan, a delivery to read, a change to send.

    Changes for `busy` accounts have somebody who sends them.
    """
    people = sa.select(agenda.c.person_key).where(agenda.c.due_at <= now)
    deliveries = sa.select(inbox.c.id).where(inbox.c.state == "new")
    changes = (
        sa.select(op.c.id)
        .join(account, account.c.name == op.c.account)
        .where(
            op.c.state == OpState.READY.value,
            op.c.not_before <= now,
            account.c.state.not_in(NOT_SENT_TO),
            account.c.name.not_in(sorted(busy)),
        )
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in (people, deliveries, changes))
