"""Lists of ours that a person linked to outbound connections, beside what the configuration links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.reconcile.person import OpState
from syncd.store.tables import ConnectionLinkRow, OpRow

linked = ConnectionLinkRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]


def load_links(connection: Connection) -> list[sa.Row[Any]]:
    """All of them, also those that were ended: what was delivered through them is still there."""
    return list(connection.execute(_ALL))


_ALL = sa.select(linked).order_by(linked.c.account, linked.c.list)


def link(connection: Connection, account: str, list_name: str, container: str, at: datetime) -> None:
    """From now on whoever joins the list is delivered there, under this id. Repeating changes nothing but the time."""
    connection.execute(linked.delete().where(*_of(account, list_name)))
    connection.execute(
        linked.insert().values(account=account, list=list_name, container=container, linked_at=at, unlinked_at=None)
    )


def unlink(connection: Connection, account: str, list_name: str, at: datetime) -> bool:
    """End a link, and give up what it was about to deliver; says whether there was one."""
    ended = linked.update().where(*_of(account, list_name), linked.c.unlinked_at.is_(None)).values(unlinked_at=at)
    if not connection.execute(ended).rowcount:
        return False
    unsent = (op.c.account == account, op.c.kind == ChangeKind.SUBSCRIBE.value, op.c.state == OpState.READY.value)
    given_up = {"state": OpState.SUPERSEDED.value, "closed_at": at, "reason": "a list was unlinked: planned again"}
    connection.execute(op.update().where(*unsent).values(given_up))
    return True


def _of(account: str, list_name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return linked.c.account == account, linked.c.list == list_name
