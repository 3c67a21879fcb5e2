"""Opt-outs that a provider counts and nobody we know of explains: how many, where, since when.

Counts and nothing else: no person follows from one, and nothing is ever done to anybody because of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.consent import GLOBAL, Level
from syncd.domain.records import SUPPRESSED, CampaignStats, ContainerId, Status
from syncd.store.tables import CellRow, ConsentRow, DarkRow, LinkRow

dark = DarkRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
consent = ConsentRow.__table__  # type: ignore[attr-defined]
link = LinkRow.__table__  # type: ignore[attr-defined]

_GONE = [status.value for status in (*SUPPRESSED, Status.REMOVED)]


def reckon_campaign(
    connection: Connection, account: str, stats: CampaignStats, lists: Sequence[ContainerId], at: datetime
) -> None:
    """Set a campaign's total of opt-outs against the people of its lists who said no or went since the last time.

    The first look is where counting begins. Who becomes known later explains what was dark before.
    """
    if stats.unsubscribed is None:
        return
    known = _gone(connection, account, lists)
    row = _load(connection, account, "campaign", stats.campaign_id)
    rose = 0 if row is None else max(0, stats.unsubscribed - row.total)
    explained = 0 if row is None else max(0, known - row.known)
    values = {"name": stats.name, "total": stats.unsubscribed, "known": known}
    _save(connection, row, account, "campaign", stats.campaign_id, rose - explained, values, at)


def reckon_list(
    connection: Connection, account: str, container: str, name: str, *, fell: int, explained: int, at: datetime
) -> None:
    """A list whose count fell, when everybody known there was asked: who left without being known is dark.

    `explained`: how many known people left. A rise that nobody explains takes back what the last fall added, at most:
    it may be the same people, seen at two moments, or others.
    """
    row = _load(connection, account, "list", container)
    unexplained = fell - explained
    if unexplained < 0:
        unexplained = -min(-unexplained, max(explained, 0 if row is None else row.latest))
    if unexplained or row is not None:
        _save(connection, row, account, "list", container, unexplained, {"name": name, "total": 0, "known": 0}, at)


def explain_list(connection: Connection, account: str, container: str, people: int, at: datetime) -> None:
    """People who had left before anybody knew them became known."""
    row = _load(connection, account, "list", container)
    if row is not None and people:
        values = {"name": row.name, "total": row.total, "known": row.known}
        _save(connection, row, account, "list", container, -people, values, at)


def load_dark(connection: Connection, accounts: Sequence[str]) -> list[sa.Row[Any]]:
    """Where opt-outs are dark right now."""
    query = sa.select(dark).where(dark.c.dark > 0, dark.c.account.in_(accounts))
    return list(connection.execute(query.order_by(dark.c.account, dark.c.what, dark.c.id)))


def _load(connection: Connection, account: str, what: str, id: str) -> Any:
    place = (dark.c.account == account, dark.c.what == what, dark.c.id == id)
    return connection.execute(sa.select(dark).where(*place)).one_or_none()


def _save(
    connection: Connection, row: Any, account: str, what: str, id: str, more: int, values: dict[str, Any], at: datetime
) -> None:
    before = 0 if row is None else row.dark
    now = max(0, before + more)
    given = {**values, "dark": now, "latest": max(0, more), "since": at if row is None or not before else row.since}
    if row is None:
        connection.execute(dark.insert().values(account=account, what=what, id=id, **given))
        return
    place = (dark.c.account == account, dark.c.what == what, dark.c.id == id)
    connection.execute(dark.update().where(*place).values(**given))


def _gone(connection: Connection, account: str, lists: Sequence[ContainerId]) -> int:
    """How many people of these lists are known to have left them, or to have said no anywhere."""
    named = (link.c.account == account, link.c.container.in_(lists), link.c.until.is_(None))
    scopes = sa.select(link.c.scope).where(*named)
    said_no = sa.exists().where(
        consent.c.person_key == cell.c.person_key,
        consent.c.level >= int(Level.UNSUBSCRIBED),
        sa.or_(consent.c.scope == GLOBAL, consent.c.scope.in_(scopes)),
    )
    query = sa.select(sa.func.count(sa.distinct(cell.c.person_key))).where(
        cell.c.account == account, cell.c.container.in_(lists), sa.or_(cell.c.status.in_(_GONE), said_no)
    )
    return connection.scalar(query) or 0
