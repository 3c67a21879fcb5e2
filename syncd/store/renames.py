"""Addresses that may be about to give way to others: what a provider's notice of a change began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import PRESENT, SUPPRESSED, UNREAD_FIELD, ContainerId, Status
from syncd.reconcile.fields import full_name
from syncd.reconcile.person import Candidate, Rename
from syncd.store.bulk import chunks
from syncd.store.tables import CellRow, RenameRow

cell = CellRow.__table__  # type: ignore[attr-defined]
rename = RenameRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500
_STANDING = sorted(PRESENT - SUPPRESSED)
_fields = msgspec.json.Decoder(dict[str, str]).decode


def begin(connection: Connection, account: str, container: str, identity: Identity, *, seq: int, at: datetime) -> None:
    """Something was changed for this address, perhaps the address. Of one that does not stand there nothing follows."""
    standing = sa.select(cell.c.key).where(
        cell.c.account == account,
        cell.c.container == container,
        cell.c.identity == identity,
        cell.c.status.in_(_STANDING),
    )
    if connection.scalar(standing.limit(1)) is None:
        return
    place = (rename.c.account == account, rename.c.container == container, rename.c.identity == identity)
    values = {"opened_seq": seq, "opened_at": at, "retired_at": None, "successor": None}
    if connection.execute(rename.update().where(*place).values(values)).rowcount:
        return
    key = suppression_key(identity)
    connection.execute(
        rename.insert().values(account=account, container=container, identity=identity, person_key=key, **values)
    )


def load(connection: Connection, keys: Sequence[SuppressionKey]) -> dict[SuppressionKey, list[Rename]]:
    found: defaultdict[SuppressionKey, list[Rename]] = defaultdict(list)
    for part in chunks(keys, IN_MAX):
        for row in connection.execute(_OF_PEOPLE, {"people": part}).all():
            found[SuppressionKey(row.person_key)].append(_rename(connection, row))
    return dict(found)


_OF_PEOPLE = (
    sa.select(rename)
    .where(rename.c.person_key.in_(sa.bindparam("people", expanding=True)))
    .order_by(rename.c.account, rename.c.container)
)


def retire(connection: Connection, of: Rename, successor: Identity, retired_at: str | None) -> None:
    """The address gave way to this one."""
    account, container, identity = of.place
    connection.execute(
        rename.update()
        .where(rename.c.account == account, rename.c.container == container, rename.c.identity == identity)
        .values(retired_at=retired_at, successor=successor)
    )


def _rename(connection: Connection, row: Any) -> Rename:
    return Rename(
        account=row.account,
        container=ContainerId(row.container),
        identity=Identity(row.identity),
        seq=row.opened_seq,
        at=row.opened_at,
        retired_at=row.retired_at,
        candidates=() if row.retired_at is not None else _candidates(connection, row),
    )


def _candidates(connection: Connection, row: Any) -> tuple[Candidate, ...]:
    """Who was seen confirmed there since, and was not before."""
    beside = {"of_account": row.account, "of_container": row.container, "besides": row.identity}
    return tuple(
        Candidate(Identity(identity), confirmed_at, full_name(_as_shown(_fields(fields))))
        for identity, confirmed_at, fields in connection.execute(_CONFIRMED, {**beside, "since": row.opened_seq})
    )


def _as_shown(fields: Mapping[str, str]) -> Mapping[str, str]:
    """With what could not be read, so that it is not taken for no name at all."""
    return {name.removeprefix(UNREAD_FIELD): text for name, text in fields.items()}


_CONFIRMED = (
    sa.select(cell.c.identity, cell.c.confirmed_at, cell.c.fields)
    .where(
        cell.c.account == sa.bindparam("of_account"),
        cell.c.container == sa.bindparam("of_container"),
        cell.c.identity != sa.bindparam("besides"),
        cell.c.status == Status.SUBSCRIBED.value,
        cell.c.confirmed_seq > sa.bindparam("since"),
    )
    .order_by(cell.c.key)
)
