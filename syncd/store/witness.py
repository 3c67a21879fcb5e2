"""Is this mirror the one that was worked on last, or an older copy of it?

Whoever holds the mirror counts a beat in it each time the hold is renewed, and notes it beside the mirror once that is
durable. A mirror behind its note was put back by hand, or lost. Postgres has no place beside it that is ours; there the
table's own number tells: a dump that is loaded makes the table anew. (A whole cluster that is set back in time keeps
its numbers and cannot be told: then `syncd resync --reread` is for a person to ask for.)
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from syncd.store.tables import HolderRow

holder = HolderRow.__table__  # type: ignore[attr-defined]

LOST = "the mirror was put back from an older copy, or lost"


def doubt(connection: Connection) -> str:
    """Why this mirror cannot be taken for the one that was worked on last, or nothing."""
    row = connection.execute(sa.select(holder.c.beat, holder.c.place)).first()
    noted = _noted(connection.engine)
    if noted and (row is None or row.beat < noted):
        return LOST
    return LOST if row is not None and row.place and row.place != _place(connection) else ""


def settle(connection: Connection) -> None:
    """From here on this mirror is the one."""
    beat = sa.case((holder.c.beat < _noted(connection.engine), _noted(connection.engine)), else_=holder.c.beat)
    connection.execute(holder.update().values(beat=beat, place=_place(connection)))


def note(engine: Engine, beat: int) -> None:
    """Write down beside the mirror how far it is. After the commit: a note is never ahead of what it is about."""
    path = _path(engine)
    if path is not None:
        with contextlib.suppress(OSError):  # without it an older copy is not noticed, and nothing else
            unfinished = path.with_name(f"{path.name}.unfinished")
            unfinished.write_text(f"{beat}\n")
            unfinished.replace(path)


def _noted(engine: Engine) -> int:
    path = _path(engine)
    try:
        return 0 if path is None else int(path.read_text())
    except (OSError, ValueError):
        return 0


def _path(engine: Engine) -> Path | None:
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:":
        return None
    return Path(f"{name}.witness")


def _place(connection: Connection) -> str:
    if connection.dialect.name == "sqlite":
        return ""
    return str(connection.scalar(sa.text("SELECT CAST(CAST('holder' AS regclass) AS oid)")))
