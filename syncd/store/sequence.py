"""One local, ever-growing number orders everything: which read began after which write ended.

Wall clocks are shown to people and never compared across systems. Numbers are taken in blocks, so a request costs no
transaction; after a restart
the next block is above all that were handed out before.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from syncd.store import journal
from syncd.store.session import inside_writing, writing
from syncd.store.tables import Meta

BLOCK = 1000
KEY = "sequence"
meta = Meta.__table__  # type: ignore[attr-defined]


class Sequence:
    """Hands out numbers. One holder at a time works on a mirror, so numbers of one process are in order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next = 0
        self._end = 0

    def take(self) -> int:
        """The next number. Never inside a transaction that writes:

        a block that is rolled back would be handed out twice.
        """
        assert not inside_writing()
        if self._next >= self._end:
            self._reserve()
        self._next += 1
        return self._next

    def _reserve(self) -> None:
        with writing(self._engine) as connection:
            at = connection.scalar(sa.select(meta.c.value).where(meta.c.key == KEY).with_for_update())
            start = int(at or 0)
            if at is None:
                connection.execute(meta.insert().values(key=KEY, value=str(start + BLOCK)))
            else:
                connection.execute(meta.update().where(meta.c.key == KEY).values(value=str(start + BLOCK)))
        self._next, self._end = start, start + BLOCK


def reached(connection: Connection) -> int:
    """Up to where numbers may have been handed out."""
    return int(connection.scalar(sa.select(meta.c.value).where(meta.c.key == KEY)) or 0)


def raise_to(connection: Connection, number: int) -> None:
    """Hand out nothing up to this number any more."""
    if number > reached(connection):
        journal.set_value(connection, KEY, str(number))
