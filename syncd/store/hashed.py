"""People of whom only a digest of their address is known: kept, never sent, and joined when the address turns up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import Identity, SuppressionKey, digests_of, suppression_key
from syncd.store.bulk import chunks
from syncd.store.tables import CellRow

cell = CellRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500


class Unjoined(NamedTuple):
    """One record that names nobody."""

    account: str
    container: str
    key: str


def unjoined(connection: Connection) -> dict[str, list[Unjoined]]:
    """Records known by digest alone, by their digest."""
    found: dict[str, list[Unjoined]] = {}
    for row in connection.execute(_UNJOINED):
        found.setdefault(row.key, []).append(Unjoined(*row))
    return found


_UNJOINED = sa.select(cell.c.account, cell.c.container, cell.c.key).where(
    cell.c.identity.is_(None), sa.or_(cell.c.key.like("sha256:%"), cell.c.key.like("md5:%"))
)


def join(connection: Connection, waiting: Mapping[str, list[Unjoined]], identity: Identity, address: str) -> int:
    """Give the records of this address their name. Returns how many."""
    joined = 0
    for digest in {*digests_of(identity), *digests_of(address)}:
        for record in waiting.get(digest, ()):
            place = (cell.c.account == record.account, cell.c.container == record.container, cell.c.key == record.key)
            values = {"identity": identity, "person_key": suppression_key(identity), "address": identity}
            joined += connection.execute(cell.update().where(*place, cell.c.identity.is_(None)).values(values)).rowcount
    return joined


def addresses(connection: Connection, people: Iterable[SuppressionKey] | None = None) -> Iterator[tuple[Identity, str]]:
    """The addresses of these people, or of everybody, as each provider spells them."""
    query = sa.select(cell.c.identity, cell.c.address).where(cell.c.identity.is_not(None)).distinct()
    if people is None:
        yield from ((Identity(identity), address) for identity, address in connection.execute(query))
        return
    for part in chunks(sorted(people), IN_MAX):
        for identity, address in connection.execute(query.where(cell.c.person_key.in_(part))):
            yield Identity(identity), address
