"""Notices: how things stand as far as a person may be needed, what people were told, and what has yet to reach them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.reconcile.convergence import AccountStanding
from syncd.reconcile.notices import About, Kept, Sight, WaitingPlan
from syncd.store import dark, journal, ledger
from syncd.store.tables import ClaimRow, NoticeDueRow, NoticeRow, PlanRow

claim = ClaimRow.__table__  # type: ignore[attr-defined]
notice = NoticeRow.__table__  # type: ignore[attr-defined]
notice_due = NoticeDueRow.__table__  # type: ignore[attr-defined]
plan = PlanRow.__table__  # type: ignore[attr-defined]

DUE_MAX = 1000
"""Of one channel. Who could not be reached for so long is told the latest."""


# How things stand ----------------------------------------------------------------------------------------------------


def look(connection: Connection, intervals: Mapping[str, float], now: datetime, within: timedelta) -> Sight:
    """What may need a person, at these accounts. Nothing that costs a look at every record."""
    names = sorted(intervals)
    rows = [row for row in journal.load_accounts(connection) if row.name in intervals]
    unseen: dict[str, int] = {}
    for row in dark.load_dark(connection, names):
        unseen[row.account] = unseen.get(row.account, 0) + row.dark
    return Sight(
        accounts=[AccountStanding(row.name, row.state, row.last_good_read, intervals[row.name]) for row in rows],
        protected={row.name: row.protected for row in rows if row.protected},
        plans=_plans(connection, names),
        parked=_counted(connection, sa.table("v_parked", sa.column("account")), names),
        claims=_counted(connection, claim, names, claim.c.state == "open", ~claim.c.fight),
        fights=_counted(connection, claim, names, claim.c.state == "open", claim.c.fight),
        dark=unseen,
        overdue=ledger.underway(connection, names, now, within).overdue,
        broken=sorted(journal.broken(connection)),
    )


def _plans(connection: Connection, accounts: Sequence[str]) -> list[WaitingPlan]:
    columns = (plan.c[name] for name in ("account", "container", "kind", "hold", "id", "count"))
    query = sa.select(*columns).where(plan.c.account.in_(accounts)).order_by(plan.c.account, plan.c.id)
    return [
        WaitingPlan(account, f"{container} {kind} {hold}", plan_id, count)
        for account, container, kind, hold, plan_id, count in connection.execute(query)
    ]


def _counted(
    connection: Connection, table: Any, accounts: Sequence[str], *where: sa.ColumnElement[bool]
) -> dict[str, int]:
    query = sa.select(table.c.account, sa.func.count()).where(table.c.account.in_(accounts), *where)
    return {str(name): int(number) for name, number in connection.execute(query.group_by(table.c.account))}


# What people were told -----------------------------------------------------------------------------------------------


def load(connection: Connection) -> list[Kept]:
    """What is known from before, in the order of its keys, which is not that of every database."""
    found = [
        Kept(About(row.about), row.account, _times(row.seen), _times(row.told), row.raised_at)
        for row in connection.execute(sa.select(notice))
        if row.about in _ABOUT
    ]
    return sorted(found, key=lambda one: (one.about, one.account))


_ABOUT = frozenset(About)


def save(connection: Connection, kept: Iterable[Kept]) -> None:
    """What is kept is exactly this. A few rows."""
    connection.execute(notice.delete())
    rows = [
        {
            "about": one.about.value,
            "account": one.account,
            "seen": {name: at.isoformat() for name, at in one.seen.items()},
            "told": {name: at.isoformat() for name, at in one.told.items()},
            "raised_at": one.raised_at,
        }
        for one in kept
    ]
    if rows:
        connection.execute(notice.insert(), rows)


def _times(texts: Mapping[str, str]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(text) for name, text in texts.items()}


# What has yet to reach somebody --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """One notice on its way by one channel."""

    channel: str
    id: str
    content: Mapping[str, Any]
    created_at: datetime
    attempts: int


def put(connection: Connection, channels: Collection[str], content: Mapping[str, Any], at: datetime) -> None:
    """Have a notice, which has an `id`, go out by each of the channels."""
    rows = [
        {
            "channel": channel,
            "id": content["id"],
            "content": dict(content),
            "created_at": at,
            "attempts": 0,
            "not_before": at,
        }
        for channel in sorted(channels)
    ]
    connection.execute(notice_due.insert(), rows)


def trim(connection: Connection, channels: Collection[str]) -> int:
    """Drop what no channel takes any more, and the oldest of what is too much for one; says how many."""
    dropped = connection.execute(notice_due.delete().where(notice_due.c.channel.not_in(sorted(channels)))).rowcount
    for channel in sorted(channels):
        mine = sa.select(notice_due.c.id).where(notice_due.c.channel == channel).order_by(*_LATEST)
        beyond = connection.scalars(mine.offset(DUE_MAX)).all()
        if beyond:
            here = (notice_due.c.channel == channel, notice_due.c.id.in_(beyond))
            dropped += connection.execute(notice_due.delete().where(*here)).rowcount
    return dropped


_LATEST = (notice_due.c.created_at.desc(), notice_due.c.id.desc())
_OLDEST = (notice_due.c.created_at, notice_due.c.id)


def first(connection: Connection, channel: str, now: datetime) -> Due | None:
    """The oldest notice of a channel, if it is due: the others wait for it, so that an end never comes before its
    beginning.
    """
    row = connection.execute(
        sa.select(notice_due).where(notice_due.c.channel == channel).order_by(*_OLDEST).limit(1)
    ).one_or_none()
    if row is None or row.not_before > now:
        return None
    return Due(row.channel, row.id, row.content, row.created_at, row.attempts)


def done(connection: Connection, due: Due) -> None:
    """It has arrived, or was given up."""
    connection.execute(notice_due.delete().where(*_at(due)))


def postpone(connection: Connection, due: Due, until: datetime) -> None:
    connection.execute(
        notice_due.update().where(*_at(due)).values(attempts=notice_due.c.attempts + 1, not_before=until)
    )


def waiting(connection: Connection) -> dict[str, int]:
    """How many have yet to arrive, by channel."""
    query = sa.select(notice_due.c.channel, sa.func.count()).group_by(notice_due.c.channel)
    return {str(channel): int(number) for channel, number in connection.execute(query)}


def _at(due: Due) -> tuple[sa.ColumnElement[bool], ...]:
    return notice_due.c.channel == due.channel, notice_due.c.id == due.id
