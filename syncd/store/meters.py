"""What the daemon and its pages read besides the status: ages, the latest runs, and whether anything is due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.reconcile.person import OpState
from syncd.store import notices
from syncd.store.tables import AccountRow, AgendaRow, InboxRow, OpRow, PropagationRow, RunRow

account = AccountRow.__table__  # type: ignore[attr-defined]
agenda = AgendaRow.__table__  # type: ignore[attr-defined]
inbox = InboxRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
propagation = PropagationRow.__table__  # type: ignore[attr-defined]
run = RunRow.__table__  # type: ignore[attr-defined]

UNPUSHED = (OpState.READY.value, OpState.INFLIGHT.value, OpState.UNKNOWN.value)
NOT_SENT_TO = ("failing", "quarantined", "paused")
"""States of accounts to which nothing is sent between their own rounds: the next one that can read them sends."""


TIMED_MAX = 10_000
"""So many of the latest unsubscribes say how long one takes."""


@dataclass(frozen=True, slots=True)
class Meters:
    """`last_success`: when the latest run of each account ended that succeeded; `took_s`: how long the latest one took
    that ended. `left_alone_until`: until when accounts asked to be left alone. `arrived_s`: in how many seconds each of
    the unsubscribes of late was accepted, by account, the quickest first. `drift`: rows of `v_drift` by account and
    kind. `notices`: how many have yet to reach somebody, by channel. Else: since when the oldest waits.
    """

    last_success: Mapping[str, datetime]
    took_s: Mapping[str, float]
    left_alone_until: Mapping[str, datetime]
    arrived_s: Mapping[str, Sequence[float]]
    drift: Mapping[tuple[str, str], int]
    notices: Mapping[str, int]
    inbox_since: datetime | None
    unsubscribe_since: datetime | None


def read_meters(connection: Connection, accounts: Iterable[str], now: datetime) -> Meters:
    names = list(accounts)
    waiting = sa.select(sa.func.min(op.c.created_at)).where(
        op.c.kind == ChangeKind.UNSUBSCRIBE.value, op.c.state.in_(UNPUSHED)
    )
    unread = sa.select(sa.func.min(inbox.c.received_at)).where(inbox.c.state == "new")
    held = sa.select(account.c.name, account.c.held_until).where(account.c.held_until > now, account.c.name.in_(names))
    ended = {name: _latest(connection, name) for name in names}
    succeeded = {name: _latest(connection, name, result="success") for name in names}
    return Meters(
        last_success={name: row.ended_at for name, row in succeeded.items() if row},
        took_s={name: (row.ended_at - row.started_at).total_seconds() for name, row in ended.items() if row},
        left_alone_until={row.name: row.held_until for row in connection.execute(held)},
        arrived_s=_arrived(connection, names, now),
        drift=_drift(connection, names),
        notices=notices.waiting(connection),
        inbox_since=connection.scalar(unread),
        unsubscribe_since=connection.scalar(waiting),
    )


def _latest(connection: Connection, name: str, **where: str) -> sa.Row[Any] | None:
    """The latest run of an account that ended, as its index has them: the newest first, and no further."""
    query = sa.select(run.c.started_at, run.c.ended_at).where(
        run.c.account == name, run.c.ended_at.is_not(None), *(run.c[key] == value for key, value in where.items())
    )
    return connection.execute(query.order_by(run.c.started_at.desc()).limit(1)).one_or_none()


def _arrived(connection: Connection, accounts: Sequence[str], now: datetime) -> Mapping[str, Sequence[float]]:
    """What was learnt within the time that an unsubscribe may take, and was accepted."""
    view = sa.table(
        "v_propagation", *(sa.column(name) for name in ("event", "account", "deadline", "accepted_after_s"))
    )
    deadline: sa.ColumnElement[Any] = sa.type_coerce(view.c.deadline, propagation.c.due_at.type)
    query = (
        sa.select(view.c.account, view.c.accepted_after_s)
        .where(
            view.c.event.in_(sa.select(propagation.c.event_id).where(propagation.c.due_at > now)),
            deadline > now,
            view.c.account.in_(accounts),
            view.c.accepted_after_s.is_not(None),
        )
        .order_by(view.c.event.desc())
        .limit(TIMED_MAX)
    )
    found: defaultdict[str, list[float]] = defaultdict(list)
    for name, seconds in connection.execute(query):
        found[name].append(float(seconds))
    return {name: sorted(seconds) for name, seconds in found.items()}


def _drift(connection: Connection, accounts: Sequence[str]) -> Mapping[tuple[str, str], int]:
    view = sa.table("v_drift", sa.column("kind"), sa.column("account"))
    query = sa.select(view.c.account, view.c.kind, sa.func.count()).where(view.c.account.in_(accounts))
    return {
        (name, kind): number for name, kind, number in connection.execute(query.group_by(view.c.account, view.c.kind))
    }


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
