"""How large SQLite takes the tables to be when it chooses an index.

Unless told, it takes all of them to be alike and a container's records for ten: to find one person there it reads the
whole list. What is told here fits any mirror, so that no way of reading changes while one grows. `ANALYZE` would
replace it by what is found at that moment. Postgres finds out by itself.
"""

from __future__ import annotations

from math import prod

import sqlalchemy as sa

ROWS = 100_000
FEW = 20
SMALL = frozenset({
    "alembic_version", "meta", "account", "container", "link", "commanded_link", "caution", "erasure", "plan",
    "plan_past", "plan_move", "dark", "campaign", "transit", "wake", "notice", "notice_due", "holder",
})  # fmt: skip

CHOSEN = 1_000
"""Rows of an index that has only some of a table's."""

ALIKE = {"account": 5, "container": 4, "kind": 4, "scope": 4, "list": 4, "source": 6, "hold": 3, "state": 1_000}
"""How many values a column has; of any other, a few rows share one. What is asked for is the rare states."""

SHARED = 3


def tell(connection: sa.Connection) -> None:
    """Write down the sizes of all tables; a connection that is opened afterwards goes by them."""
    if connection.dialect.name != "sqlite":
        return
    connection.exec_driver_sql("PRAGMA analysis_limit = 1")  # only for the table that this makes
    connection.exec_driver_sql("ANALYZE")
    connection.exec_driver_sql("DELETE FROM sqlite_stat1")
    named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
    tables = connection.exec_driver_sql(named).scalars().all()
    rows = [(table, *told) for table in tables for told in _indexes(connection, table)]
    connection.exec_driver_sql("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", rows)


def _indexes(connection: sa.Connection, table: str) -> list[tuple[str, str]]:
    """Each index of a table, and for how many rows its first column stands, its first two, and so on."""
    whole = FEW if table in SMALL else ROWS
    found = []
    for _, name, unique, _, partial in connection.exec_driver_sql(f'PRAGMA index_list("{table}")').all():
        rows = min(whole, CHOSEN) if partial else whole
        columns = [row[2] for row in connection.exec_driver_sql(f'PRAGMA index_info("{name}")')]
        shares = [_rows_alike(rows, columns[: number + 1]) for number in range(len(columns))]
        if unique:
            shares[-1] = 1
        found.append((name, " ".join(str(number) for number in (rows, *shares))))
    return found


def _rows_alike(rows: int, columns: list[str]) -> int:
    return max(1, round(rows / prod(ALIKE.get(name, rows / SHARED) for name in columns)))
