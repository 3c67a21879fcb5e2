"""A mirror that may be behind the world: everything is read anew, and nothing but unsubscribes goes out meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.reconcile.person import OpState
from syncd.store import journal, people
from syncd.store.tables import AccountRow, ContainerRow, OpRow, PlanItemRow

account = AccountRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]

ASK_AGAIN = "ask everybody again"
"""The mark under which whoever takes the mirror next is told to ask about everybody where nobody is listed."""


def protect(connection: Connection, why: str, at: datetime) -> None:
    """Back into first contact with every account. What was approved or decided on an older state does not go out."""
    connection.execute(account.update().where(account.c.protected == "").values(protected=why))
    connection.execute(account.update().values(joined=False))
    connection.execute(container.update().values(reread=True))
    unsent = (op.c.state == OpState.READY.value, op.c.kind != ChangeKind.UNSUBSCRIBE.value)
    connection.execute(
        op.update().where(*unsent).values(state=OpState.SUPERSEDED.value, closed_at=at, reason=f"{why}: decided anew")
    )
    connection.execute(item.delete().where(item.c.state == "approved"))
    people.everybody_on_agenda(connection, at)
    journal.set_value(connection, ASK_AGAIN, "yes")


def take_mark(connection: Connection) -> bool:
    """Whether everybody is to be asked about again, said once."""
    marked = journal.get_value(connection, ASK_AGAIN) == "yes"
    if marked:
        journal.set_value(connection, ASK_AGAIN, "")
    return marked


def list_nobody(connection: Connection, accounts: Sequence[str]) -> None:
    """These accounts list nobody: there is nothing to read anew there."""
    connection.execute(container.update().where(container.c.account.in_(accounts)).values(reread=False))


def accounts_to_reread(connection: Connection) -> set[str]:
    """Accounts with lists that are to be read anew and were not yet."""
    where = (container.c.reread.is_(True), container.c.present.is_(True))
    return set(connection.scalars(sa.select(container.c.account).where(*where).distinct()))
