"""Readings, wishes and rows, small enough to see in a test what matters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from syncd.domain.changes import Change, ChangeKind
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import ContainerId, Observation, Status
from syncd.reconcile.desired import Desired, Why
from syncd.store import mirror, outbox
from syncd.store.mirror import Observed, Reading
from syncd.store.session import Engine, reading, writing

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN, BOB = Identity("ann@example.org"), Identity("bob@example.org")
KEY = suppression_key(ANN)
R1 = ContainerId("R1")


def later(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def person(number: int) -> Identity:
    return Identity(f"p{number:04}@example.org")


def key_of(identity: Identity) -> SuppressionKey:
    return suppression_key(identity)


def seen(
    key: str = "1",
    status: Status = Status.SUBSCRIBED,
    *,
    identity: Identity | None = ANN,
    container: str = "R1",
    fields: Mapping[str, str] | None = None,
    **more: Any,
) -> Reading:
    content = dict(fields or {})
    raw = f"{key}|{status}|{identity}|{content}|{more}".encode()
    found = Observation(
        container=ContainerId(container),
        key=key,
        address=str(identity or "nobody"),
        identity=identity,
        status=status,
        fields=content,
        raw=raw,
        **more,
    )
    return Reading(found, hashlib.blake2b(raw, digest_size=16).digest())


def observe(
    engine: Engine, *readings: Reading, seq: int, at: datetime = NOW, account: str = "rocs", route: str = "listing"
) -> Observed:
    container = readings[0].observation.container
    with writing(engine) as connection:
        known = mirror.known_cells(connection, account, container, [r.observation.key for r in readings])
        return mirror.observe(connection, account, readings, known, seq=seq, at=at, route=route)


def cells(engine: Engine, account: str = "rocs") -> dict[str, sa.Row[Any]]:
    with reading(engine) as connection:
        rows = connection.execute(sa.select(mirror.cell).where(mirror.cell.c.account == account)).all()
    return {row.key: row for row in rows}


def rows(engine: Engine, table: sa.Table) -> list[sa.Row[Any]]:
    with reading(engine) as connection:
        return list(connection.execute(sa.select(table)))


def wish(
    kind: ChangeKind = ChangeKind.UNSUBSCRIBE,
    identity: Identity = ANN,
    *,
    account: str = "rocs",
    container: str = "R1",
    fields: Mapping[str, str] | None = None,
    keys: tuple[str, ...] = ("1",),
    account_key: str | None = None,
    **more: Any,
) -> Desired:
    change = Change(kind, ContainerId(container), identity, str(identity), keys, account_key, dict(fields or {}))
    defaults: dict[str, Any] = {"why": Why.SUPPRESSED, "explicit": True}
    return Desired(account=account, change=change, **(defaults | more))


def put(engine: Engine, *wishes: Desired, guarded: bool = False, at: datetime = NOW) -> int:
    with writing(engine) as connection:
        return outbox.put(connection, [(entry, guarded) for entry in wishes], at)


def operations(engine: Engine) -> list[sa.Row[Any]]:
    with reading(engine) as connection:
        return list(connection.execute(sa.select(outbox.op).order_by(outbox.op.c.id)))


def begin(engine: Engine, *ids: int, seq: int = 10, at: datetime = NOW) -> set[int]:
    with writing(engine) as connection:
        return outbox.begin(connection, ids, seq, at)
