"""The three ways to begin again with what is known: read it anew, send it anew, agree on it anew.

Each only takes something away that made us leave a thing alone; none writes a fact about anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.domain.facts import Grade
from syncd.domain.identity import SuppressionKey
from syncd.domain.records import SUPPRESSED, ContainerId
from syncd.reconcile.learn import OWN_ANSWER
from syncd.reconcile.person import OpState
from syncd.store.tables import AgendaRow, CautionRow, CellRow, ConsentRow, ContainerRow, LookUpRow, OpRow, PersonRow

agenda = AgendaRow.__table__  # type: ignore[attr-defined]
caution = CautionRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
consent = ConsentRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
lookup = LookUpRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
person = PersonRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Extent:
    """What a resync is about. `places`: containers by account, None for all of them.

    `scopes`: the consent scopes concerned, None for all. `key`: one person, None for everybody.
    """

    places: dict[str, tuple[ContainerId, ...] | None]
    scopes: frozenset[Scope] | None = None
    key: SuppressionKey | None = None

    def of(self, table: sa.Table, accounts: Sequence[str] | None = None) -> sa.ColumnElement[bool]:
        """Rows of a table with `account`, `container` and `person_key`, as far as they are meant."""
        named = [name for name in self.places if accounts is None or name in accounts]
        place = [
            sa.and_(table.c.account == name, sa.true() if ids is None else table.c.container.in_(ids))
            for name in named
            for ids in [self.places[name]]
        ]
        where = sa.or_(sa.false(), *place)
        return where if self.key is None or "person_key" not in table.c else where & (table.c.person_key == self.key)


def concerned(extent: Extent) -> sa.Select[tuple[str]]:
    """Who is known in these places."""
    return sa.select(cell.c.person_key).where(extent.of(cell), cell.c.person_key.is_not(None)).distinct()


def said_no(extent: Extent) -> sa.Select[tuple[str]]:
    """Who said no, in these scopes, known anywhere or not."""
    where = [consent.c.level >= int(Level.UNSUBSCRIBED)]
    if extent.scopes is not None:
        where.append(consent.c.scope.in_([*extent.scopes, GLOBAL]))
    if extent.key is not None:
        where.append(consent.c.person_key == extent.key)
    return sa.select(consent.c.person_key).where(*where).distinct()


def look_at(connection: Connection, who: sa.SelectBase, at: datetime, *, plan: bool = True) -> int:
    """Take care with these people and, if `plan`, put them on the agenda. Says how many they are."""
    people = who.subquery()
    number = connection.scalar(sa.select(sa.func.count()).select_from(people)) or 0
    keys = sa.select(people.c.person_key)
    for table, column in ((caution, caution.c.since), (agenda, agenda.c.due_at))[: 2 if plan else 1]:
        known = sa.select(table.c.person_key)
        rows = sa.select(people.c.person_key, sa.literal(at, type_=column.type)).where(
            people.c.person_key.not_in(known)
        )
        if table is agenda:
            connection.execute(
                agenda.update().where(agenda.c.person_key.in_(keys), agenda.c.due_at > at).values(due_at=at)
            )
        connection.execute(table.insert().from_select(["person_key", column.name], rows))
    return number


# Read anew -----------------------------------------------------------------------------------------------------------


def forget_pages(connection: Connection, extent: Extent, accounts: Sequence[str]) -> int:
    """The next listing of these containers is whole, and reads every record. Says how many containers."""
    where = [extent.of(container, accounts), container.c.present.is_(True)]
    if extent.key is not None:
        where.append(
            sa.exists().where(
                cell.c.account == container.c.account,
                cell.c.container == container.c.container,
                cell.c.person_key == extent.key,
            )
        )
    return connection.execute(container.update().where(*where).values(reread=True)).rowcount


def forget_ages(connection: Connection, extent: Extent, accounts: Sequence[str], at: datetime) -> int:
    """Everybody known there is asked about again. Says how many questions are new."""
    known = sa.exists().where(
        lookup.c.account == cell.c.account,
        lookup.c.container == cell.c.container,
        lookup.c.identity == cell.c.identity,
    )
    rows = (
        sa.select(
            cell.c.account,
            cell.c.container,
            cell.c.identity,
            sa.func.min(cell.c.address),
            sa.literal("a person wants it read again"),
            sa.literal(value=False),
            sa.literal(at, type_=lookup.c.wanted_at.type),
        )
        .where(extent.of(cell, accounts), cell.c.identity.is_not(None), ~known)
        .group_by(cell.c.account, cell.c.container, cell.c.identity)
    )
    new = connection.scalar(sa.select(sa.func.count()).select_from(rows.subquery())) or 0
    names = ["account", "container", "identity", "address", "reason", "urgent", "wanted_at"]
    connection.execute(lookup.insert().from_select(names, rows))
    return new


# Send anew -----------------------------------------------------------------------------------------------------------


def reopen(connection: Connection, extent: Extent, at: datetime) -> int:
    """What waits to be tried again goes now, and what was given up is planned again; additions are not.

    Says how many changes.
    """
    mine = extent.of(op)
    waiting = (mine, op.c.state == OpState.READY.value, op.c.kind != ChangeKind.SUBSCRIBE.value, op.c.not_before > at)
    hurried = connection.execute(op.update().where(*waiting).values(not_before=at)).rowcount
    given_up = [OpState.PARKED.value, OpState.BLOCKED.value]
    again = (mine, op.c.kind == ChangeKind.UPDATE.value)
    reopened = connection.scalar(sa.select(sa.func.count()).select_from(op).where(*again, op.c.state.in_(given_up)))
    connection.execute(
        op.update()
        .where(*again, op.c.state.in_([*given_up, OpState.REFUTED.value]))
        .values(state=OpState.SUPERSEDED.value, closed_at=at, reason="a person asked for another try")
    )
    return hurried + (reopened or 0)


def forget_told(connection: Connection, extent: Extent, accounts: Sequence[str]) -> int:
    """That these accounts know of each "no" is only assumed from here on: they are told again. Says of how many."""
    told = (
        cell.c.account.in_([name for name in extent.places if name in accounts]),
        cell.c.status.in_([status.value for status in SUPPRESSED]),
        cell.c.route == OWN_ANSWER,
        cell.c.person_key.in_(said_no(extent)),
    )
    return connection.execute(cell.update().where(*told).values(grade=Grade.ASSUMED.value)).rowcount


# Agree anew ----------------------------------------------------------------------------------------------------------


def forget_base(connection: Connection, extent: Extent, at: datetime) -> int:
    """What these records show now is what the next merge begins with. Says how many records.

    Merged values are forgotten with it, and so are changes of fields that were not sent yet.
    """
    who = concerned(extent)
    accounts = list(extent.places)
    unsent = (op.c.state == OpState.READY.value, op.c.kind == ChangeKind.UPDATE.value, op.c.account.in_(accounts))
    connection.execute(
        op.update()
        .where(*unsent, op.c.person_key.in_(who))
        .values(state=OpState.SUPERSEDED.value, closed_at=at, reason="a person wants what is there to stay")
    )
    connection.execute(person.delete().where(person.c.person_key.in_(who)))
    shown = (cell.c.account.in_(accounts), cell.c.person_key.in_(who), cell.c.fields != "{}")
    return connection.execute(cell.update().where(*shown).values(base=cell.c.fields)).rowcount
