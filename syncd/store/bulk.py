"""Rows in bulk: prepared once per statement, sent to the driver as tuples.

SQLAlchemy's own executemany costs about as much per row again as SQLite's insert does; a first pull is almost nothing
but inserts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

COPY_FROM = 200
"""From so many rows on, Postgres takes them faster by COPY."""


COUNT_MAX = 2**63 - 1


def fitting(count: int | None) -> int | None:
    """A provider's count as a column can hold it: none for one that is beyond anything countable."""
    return None if count is None or abs(count) > COUNT_MAX else count


def insert_rows(
    connection: Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows that are known not to exist. Times must have been made by `native_time`."""
    if not rows:
        return
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        driver = connection.connection.driver_connection
        assert driver is not None
        names = ", ".join(f'"{name}"' for name in columns)
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
        return
    connection.exec_driver_sql(_insert(table, tuple(columns), connection.dialect.paramstyle), list(rows))


@lru_cache(maxsize=64)
def _insert(table: sa.Table, columns: tuple[str, ...], paramstyle: str) -> str:
    mark = "?" if paramstyle == "qmark" else "%s"
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join([mark] * len(columns))})'  # noqa: S608 (names are ours)


def native_time(connection: Connection, at: datetime) -> datetime | str:
    """A time as the driver wants it when SQLAlchemy does not stand between: SQLite keeps text."""
    if connection.dialect.name == "sqlite":
        return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return at


class _Texts(sa.types.TypeDecorator[Any]):
    """Many texts as one parameter. None may hold a NUL, where SQLite ends a value and Postgres refuses it."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return dialect.type_descriptor(ARRAY(sa.Text()) if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return list(value) if dialect.name == "postgresql" else msgspec.json.encode(value).decode()


class _OneOf(FunctionElement[bool]):
    inherit_cache = True
    name = "one_of"
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002  its signature is SQLAlchemy's
        # Else SQLite, which has no booleans, is asked for `… = 1`, and uses no index for that.
        return self


def one_of(column: sa.ColumnElement[str], name: str) -> sa.ColumnElement[bool]:
    """`column IN (…)` with one parameter, however many texts it holds: a place for each of them would make another
    statement for each number, put together at each execution for twice the cost of the rest.
    """
    return _OneOf(column, sa.bindparam(name, type_=_Texts()))


@compiles(_OneOf)
def _one_of(element: _OneOf, compiler: Any, **given: Any) -> str:
    column, texts = (compiler.process(part, **given) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 (compiled parts)


@compiles(_OneOf, "postgresql")
def _one_of_postgres(element: _OneOf, compiler: Any, **given: Any) -> str:
    column, texts = (compiler.process(part, **given) for part in element.clauses)
    return f"{column} = ANY ({texts})"


def spelled(column: sa.ColumnElement[str], words: Iterable[str]) -> sa.ColumnElement[bool]:
    """`column IN (…)` for words of ours, which never change: written into the statement, not given to it each time."""
    return column.in_([sa.literal_column(f"'{word}'", sa.Text()) for word in sorted(words)])


def chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
