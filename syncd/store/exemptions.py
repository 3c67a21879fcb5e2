"""Cells that stay subscribed although a "no" stands. None is ever deleted: one that ended says by what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import ContainerId
from syncd.reconcile.person import Exemption, Place
from syncd.store.bulk import chunks, one_of
from syncd.store.tables import ExemptionRow

exemption = ExemptionRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500


def load_open(connection: Connection, keys: Sequence[SuppressionKey]) -> dict[SuppressionKey, list[Exemption]]:
    """The exemptions of these people that nothing has ended yet."""
    found: defaultdict[SuppressionKey, list[Exemption]] = defaultdict(list)
    for part in chunks(keys, IN_MAX):
        for row in connection.execute(_OPEN, {"people": part}):
            place = row.account, ContainerId(row.container), Identity(row.identity)
            found[SuppressionKey(row.person_key)].append(Exemption(*place, seq=row.granted_seq, evidence=row.evidence))
    return dict(found)


_OPEN = (
    sa.select(exemption)
    .where(one_of(exemption.c.person_key, "people"), exemption.c.ended_seq.is_(None))
    .order_by(exemption.c.id)
)


def grant(connection: Connection, key: SuppressionKey, place: Place, evidence: str, *, seq: int, at: datetime) -> None:
    account, container, identity = place
    connection.execute(
        exemption.insert().values(
            account=account,
            container=container,
            identity=identity,
            person_key=key,
            evidence=evidence,
            granted_seq=seq,
            granted_at=at,
            ended_by="",
        )
    )


def end(connection: Connection, ended: Exemption, scope: str, *, seq: int, at: datetime) -> None:
    """A later "no" to this scope ends it."""
    account, container, identity = ended.place
    connection.execute(
        exemption.update()
        .where(
            exemption.c.account == account,
            exemption.c.container == container,
            exemption.c.identity == identity,
            exemption.c.granted_seq == ended.seq,
            exemption.c.ended_seq.is_(None),
        )
        .values(ended_seq=seq, ended_at=at, ended_by=scope)
    )
