"""Lists of ours that a person linked by command to campaigns and outbound connections, beside the configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.errors import MirrorError
from syncd.domain.identity import SuppressionKey
from syncd.store.inspect import schema
from syncd.store.session import open_engine, reading
from syncd.store.tables import CellRow, CommandedLinkRow

commanded = CommandedLinkRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Commanded:
    """One link. `provider`: whose account it was made for. `unlinked_at`: when it was ended."""

    list: str
    account: str
    container: str
    provider: str
    linked_at: datetime
    unlinked_at: datetime | None = None


def load(connection: Connection, providers: Mapping[str, str]) -> list[Commanded]:
    """All that were made for these accounts, in the order in which they were; those that were ended too.

    An account that has another provider by now inherits none.
    """
    rows = [Commanded(*row) for row in connection.execute(_ALL)]
    return [row for row in rows if providers.get(row.account) == row.provider]


_ALL = sa.select(*(commanded.c[name] for name in Commanded.__dataclass_fields__)).order_by(
    commanded.c.linked_at, commanded.c.list, commanded.c.account, commanded.c.container
)


def peek(url: str, providers: Mapping[str, str]) -> list[Commanded] | None:
    """As `load`, from a mirror that nobody has opened. None where there is none yet, or none that can be read."""
    with contextlib.suppress(MirrorError, sa.exc.DBAPIError):
        if schema(url)["state"] != "current":
            return None
        engine = open_engine(url)
        try:
            with reading(engine) as connection:
                return load(connection, providers)
        finally:
            engine.dispose()
    return None


def link(connection: Connection, entry: Commanded) -> None:
    """From now on; one that was ended begins again."""
    connection.execute(commanded.delete().where(*_of(entry)))
    connection.execute(
        commanded.insert().values({name: getattr(entry, name) for name in Commanded.__dataclass_fields__})
    )


def unlink(connection: Connection, entry: Commanded, at: datetime) -> None:
    connection.execute(commanded.update().where(*_of(entry)).values(unlinked_at=at))


def _of(entry: Commanded) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        commanded.c.list == entry.list,
        commanded.c.account == entry.account,
        commanded.c.container == entry.container,
    )


def people_at(connection: Connection, account: str, container: str) -> list[SuppressionKey]:
    """Everybody of whom a record in this container is known."""
    query = sa.select(cell.c.person_key).where(
        cell.c.account == account, cell.c.container == container, cell.c.person_key.is_not(None)
    )
    return [SuppressionKey(key) for key in connection.scalars(query.distinct())]
