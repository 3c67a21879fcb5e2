"""Operations on their way out. Written down before the call, so that no crash can forget what may have been sent.

ready ──▶ inflight ──▶ accepted ──▶ verified
  │          │  ╲          └──────▶ refuted   (planned again)
  │          │   └──▶ unknown ──▶ verified | refuted   (looked up, never repeated blindly)
  │          └──────▶ ready (nothing was sent) | parked (refused for good) | done (cannot be read back)
  └──▶ superseded
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import Change, ChangeKind
from syncd.domain.errors import SuppressedError
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import ContainerId
from syncd.reconcile.desired import Closing, Desired
from syncd.reconcile.guard import Group
from syncd.reconcile.person import OPEN, OpState
from syncd.store.bulk import chunks, spelled
from syncd.store.session import respecting
from syncd.store.tables import CellRow, OpRow

op = OpRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]

PRIORITY = {ChangeKind.UNSUBSCRIBE: 0, ChangeKind.UPDATE: 1, ChangeKind.SUBSCRIBE: 2}
"""Unsubscribes first, then corrections, then the rest."""

_SENT = (OpState.ACCEPTED, OpState.UNKNOWN)
"""States in which an operation waits to be read back."""
IN_MAX = 500

REFUSED_BY_THE_MIRROR = "the person has said no: the mirror let nothing else be sent"


@dataclass(frozen=True, slots=True)
class Sendable:
    """One operation as the push needs it."""

    id: int
    key: SuppressionKey
    change: Change
    attempts: int


def put(connection: Connection, wishes: Sequence[tuple[Desired, bool]], at: datetime) -> int:
    """Put changes into the outbox; the flag says whether a change counts against the guard. Returns how many are new.

    A cell holds one open operation: an unsent one is replaced, any other keeps its place. What the mirror refuses,
    because the person said no, is written down as given up and holds back nothing else.
    """
    if not wishes:
        return 0
    try:
        with respecting(connection):
            return sum(_put(connection, wish, guarded, at) for wish, guarded in wishes)
    except SuppressedError:
        return sum(_put_or_give_up(connection, wish, guarded, at) for wish, guarded in wishes)


def _put(connection: Connection, wish: Desired, guarded: bool, at: datetime) -> int:
    change = wish.change
    place = {"of_account": wish.account, "of_container": change.container, "of_identity": change.identity}
    known = connection.execute(_OPEN_AT, place).one_or_none()
    if known is not None and known.state != OpState.READY:
        return 0
    if known is not None:
        _close(connection, [known.id], OpState.SUPERSEDED, "a newer decision took its place", at)
    connection.execute(op.insert(), _row(wish, guarded, at))
    return 1


def _put_or_give_up(connection: Connection, wish: Desired, guarded: bool, at: datetime) -> int:
    try:
        with respecting(connection):
            return _put(connection, wish, guarded, at)
    except SuppressedError:
        given_up = {"state": OpState.SUPERSEDED.value, "reason": REFUSED_BY_THE_MIRROR, "closed_at": at}
        connection.execute(op.insert().values(_row(wish, guarded, at) | given_up))
        return 0


def _row(wish: Desired, guarded: bool, at: datetime) -> dict[str, Any]:
    change = wish.change
    return {
        "account": wish.account,
        "container": change.container,
        "identity": change.identity,
        "person_key": suppression_key(change.identity),
        "kind": change.kind.value,
        "address": change.address,
        "keys": list(change.keys),
        "account_key": change.account_key,
        "fields": dict(change.fields),
        "replaces": change.replaces,
        "state": OpState.READY.value,
        "priority": PRIORITY[change.kind],
        "why": wish.why.value,
        "guarded": guarded,
        "attempts": 0,
        "not_before": at,
        "created_at": at,
        "began_seq": 0,
        "ended_seq": 0,
        "settled_seq": 0,
        "closed_seq": 0,
        "reason": "",
    }


_OPEN_AT = sa.select(op.c.id, op.c.state).where(
    op.c.account == sa.bindparam("of_account"),
    op.c.container == sa.bindparam("of_container"),
    op.c.identity == sa.bindparam("of_identity"),
    spelled(op.c.state, OPEN),
)


def close_operations(connection: Connection, closings: Iterable[Closing], at: datetime, *, seq: int) -> None:
    for closing in closings:
        _close(connection, [closing.operation.id], closing.state, closing.reason, at, seq=seq)


def sendable(
    connection: Connection, account: str, now: datetime, limit: int, *, urgent: bool = False
) -> list[Sendable]:
    """What may be sent now, unsubscribes first, oldest first; if `urgent`, only those."""
    lowest = PRIORITY[ChangeKind.UNSUBSCRIBE] if urgent else max(PRIORITY.values())
    asked = {"of_account": account, "now": now, "lowest": lowest, "most": limit}
    return [
        Sendable(
            id=row.id,
            key=SuppressionKey(row.person_key),
            change=Change(
                kind=ChangeKind(row.kind),
                container=ContainerId(row.container),
                identity=Identity(row.identity),
                address=row.address,
                keys=tuple(row.keys),
                account_key=row.account_key,
                fields=row.fields,
                replaces=row.replaces,
            ),
            attempts=row.attempts,
        )
        for row in connection.execute(_SENDABLE, asked)
    ]


_SENDABLE = (
    sa.select(op)
    .where(
        op.c.account == sa.bindparam("of_account"),
        op.c.state == OpState.READY.value,
        op.c.not_before <= sa.bindparam("now"),
        op.c.priority <= sa.bindparam("lowest"),
    )
    .order_by(op.c.priority, op.c.container, op.c.id)
    .limit(sa.bindparam("most"))
)


def begin(connection: Connection, ids: Sequence[int], seq: int, at: datetime) -> set[int]:
    """Put operations under way; committed before the first byte leaves. Returns those that still were ready."""
    under_way = {"state": OpState.INFLIGHT.value, "began_seq": seq, "sent_at": at, "attempts": op.c.attempts + 1}
    _keep_open(connection, ids, op.update().where(op.c.state == OpState.READY.value).values(under_way))
    return set(connection.scalars(_BEGUN, {"ids": ids, "since": seq}))


_IDS = op.c.id.in_(sa.bindparam("ids", expanding=True))
_BEGUN = sa.select(op.c.id).where(_IDS, op.c.began_seq == sa.bindparam("since"))


def sent_at(connection: Connection, id: int) -> datetime | None:
    """When an operation was put under way last."""
    at: datetime | None = connection.scalar(_SENT_AT, {"of_id": id})
    return at


_SENT_AT = sa.select(op.c.sent_at).where(op.c.id == sa.bindparam("of_id"))


def finish(
    connection: Connection,
    id: int,
    state: OpState,
    seq: int,
    at: datetime,
    *,
    receipt: str | None = None,
    keys: Sequence[str] = (),
    reason: str = "",
) -> None:  # fmt: skip
    """The call ended; `seq` fences: no reading that began before it says anything about this operation."""
    values: dict[str, Any] = {
        "state": state.value, "ended_seq": seq, "settled_seq": 0, "ended_at": at, "reason": reason,
    }  # fmt: skip
    if receipt is not None:
        values["receipt"] = receipt
    if keys:
        values["keys"] = list(keys)
    if state in _TAKEN:
        values["accepted_at"] = at
    if state not in OPEN:
        values["closed_at"] = at
    connection.execute(_FINISH, {"of_id": id, **values})


_FINISH = op.update().where(op.c.id == sa.bindparam("of_id"))


_TAKEN = frozenset({OpState.ACCEPTED, OpState.DONE})


def postpone(connection: Connection, ids: Sequence[int], until: datetime, reason: str, *, counts: bool = True) -> None:
    """Nothing reached the provider, or it asked to wait:

    back into the outbox. `counts=False` takes the attempt back.
    """
    attempts = op.c.attempts if counts else sa.case((op.c.attempts > 0, op.c.attempts - 1), else_=0)
    waiting = {"state": OpState.READY.value, "not_before": until, "reason": reason, "attempts": attempts}
    _keep_open(connection, ids, op.update().values(waiting))


def _keep_open(connection: Connection, ids: Sequence[int], statement: sa.Update) -> None:
    """Let operations wait or go; those whose person said no meanwhile, which the mirror refuses, are given up."""
    try:
        with respecting(connection):
            connection.execute(statement.where(op.c.id.in_(ids)))
    except SuppressedError:
        if len(ids) > 1:
            for one in ids:
                _keep_open(connection, [one], statement)
            return
        at = sa.func.coalesce(op.c.sent_at, op.c.created_at)
        given_up = {"state": OpState.SUPERSEDED.value, "reason": REFUSED_BY_THE_MIRROR, "closed_at": at}
        connection.execute(op.update().where(op.c.id.in_(ids)).values(given_up))


def accounts_unsettled(connection: Connection) -> set[str]:
    """Accounts with something sent that has not had its time to settle, as far as was noted."""
    return set(connection.scalars(_UNSETTLED))


def note_settled(connection: Connection, account: str, ended_before: datetime, seq: int) -> None:
    """What ended before then has had its time to settle:

    from `seq` on a reading may contradict it, and none that began before.
    """
    connection.execute(_NOTE_SETTLED, {"of_account": account, "before": ended_before, "settled_seq": seq})


_WAITS = spelled(op.c.state, _SENT) & (op.c.settled_seq == 0)
_UNSETTLED = sa.select(op.c.account).where(_WAITS).distinct()
_NOTE_SETTLED = op.update().where(
    op.c.account == sa.bindparam("of_account"), _WAITS, op.c.ended_at <= sa.bindparam("before")
)


def in_flight(connection: Connection, account: str) -> bool:
    """Whether anything is under way at an account, as far as is written down."""
    return connection.scalar(_IN_FLIGHT, {"of_account": account}) is not None


_IN_FLIGHT = (
    sa.select(op.c.id)
    .where(op.c.account == sa.bindparam("of_account"), spelled(op.c.state, [OpState.INFLIGHT]))
    .limit(1)
)


def recover(
    connection: Connection, seq: int, at: datetime, reason: str, *, account: str | None = None
) -> list[SuppressionKey]:
    """Nobody is calling any more: whatever was under way, at all accounts or one, may or may not have arrived.

    Returns whom it concerns.
    """
    under_way = [op.c.state == OpState.INFLIGHT.value, *([] if account is None else [op.c.account == account])]
    concerned = [SuppressionKey(key) for key in connection.scalars(sa.select(op.c.person_key).where(*under_way))]
    connection.execute(
        op.update()
        .where(*under_way)
        .values(state=OpState.UNKNOWN.value, ended_seq=seq, settled_seq=0, ended_at=at, reason=reason)
    )
    return concerned


def no_waits(connection: Connection, account: str, now: datetime) -> bool:
    """Whether an unsubscribe is due at an account."""
    return connection.scalar(_NO_WAITS, {"of_account": account, "now": now}) is not None


_NO_WAITS = (
    sa.select(op.c.id)
    .where(
        op.c.account == sa.bindparam("of_account"),
        op.c.kind == ChangeKind.UNSUBSCRIBE.value,
        spelled(op.c.state, [OpState.READY]),
        op.c.not_before <= sa.bindparam("now", type_=op.c.not_before.type),
    )
    .limit(1)
)


def accounts_with_work(connection: Connection, now: datetime) -> set[str]:
    """Accounts with something to send now, or something sent that waits to be read back or to be heard of."""
    return set(connection.scalars(_WITH_WORK, {"now": now}))


_TO_READ = spelled(op.c.state, _SENT)
_WITH_WORK = (
    sa.select(op.c.account)
    .where(
        sa.or_(
            sa.and_(op.c.state == OpState.READY.value, op.c.not_before <= sa.bindparam("now")),
            op.c.state == OpState.INFLIGHT.value,
            _TO_READ,
        )
    )
    .distinct()
)


def fenced(connection: Connection, account: str, container: ContainerId, seq: int) -> set[Identity]:
    """Identities about whom a read that began at `seq` must not be believed:

    one of our writes ended after that, or is under way.
    """
    found = connection.scalars(_FENCED, {"of_account": account, "of_container": container, "since": seq})
    return {Identity(value) for value in found}


_FENCED = sa.select(op.c.identity).where(
    op.c.account == sa.bindparam("of_account"),
    op.c.container == sa.bindparam("of_container"),
    sa.or_(op.c.state == OpState.INFLIGHT.value, op.c.ended_seq > sa.bindparam("since")),
)


def wrote_fields(
    connection: Connection, account: str, container: ContainerId, identity: Identity, since: datetime
) -> bool:
    """Whether a write of fields to this cell is under way, or ended since then."""
    query = sa.select(op.c.id).where(
        op.c.account == account,
        op.c.container == container,
        op.c.identity == identity,
        op.c.kind == ChangeKind.UPDATE.value,
        sa.or_(op.c.state == OpState.INFLIGHT.value, op.c.ended_at >= since),
    )
    return connection.scalar(query.limit(1)) is not None


def count_guarded(connection: Connection, since: datetime) -> dict[Group, int]:
    """Guarded operations decided within the window, by group; superseded ones never went out and do not count."""
    query = (
        sa.select(op.c.account, op.c.container, op.c.kind, sa.func.count())
        .where(op.c.guarded, op.c.created_at >= since, op.c.state != OpState.SUPERSEDED.value)
        .group_by(op.c.account, op.c.container, op.c.kind)
    )
    return {(account, ContainerId(cid), ChangeKind(kind)): n for account, cid, kind, n in connection.execute(query)}


class Awaited(NamedTuple):
    """An operation that a read would settle, and whom to ask about."""

    id: int
    container: ContainerId
    identity: Identity
    address: str
    keys: tuple[str, ...]


def awaiting_read(connection: Connection, account: str) -> list[Awaited]:
    """Operations that a read would settle: accepted or unknown ones."""
    rows = connection.execute(_AWAITING_READ, {"of_account": account})
    return [
        Awaited(op_id, ContainerId(cid), Identity(identity), address, tuple(keys))
        for op_id, cid, identity, address, keys in rows
    ]


_AWAITING_READ = (
    sa.select(op.c.id, op.c.container, op.c.identity, op.c.address, op.c["keys"])
    .where(op.c.account == sa.bindparam("of_account"), _TO_READ)
    .order_by(op.c.priority, op.c.id)
)


def unread_since(connection: Connection, account: str, container: ContainerId, before: datetime) -> list[int]:
    """For each operation that ended before then, and of whose record nothing was read since that may contradict it:
    the number from which on it may.
    """
    since = sa.case((op.c.settled_seq > 0, op.c.settled_seq), else_=op.c.ended_seq)
    read = sa.exists().where(
        cell.c.account == op.c.account,
        cell.c.container == op.c.container,
        cell.c.identity == op.c.identity,
        sa.or_(cell.c.seq > since, cell.c.missing_seq > since),
    )
    query = sa.select(since).where(
        op.c.account == account,
        op.c.container == container,
        spelled(op.c.state, _SENT),
        op.c.ended_at <= before,
        ~read,
    )
    return list(connection.scalars(query))


def taken_away(connection: Connection, account: str, container: ContainerId, since: int) -> int:
    """How many we took out of a container ourselves, or may have, after the listing that began at `since`."""
    query = sa.select(sa.func.count()).where(
        op.c.account == account,
        op.c.container == container,
        op.c.kind == ChangeKind.UNSUBSCRIBE.value,
        op.c.ended_seq > since,
        op.c.state.in_([OpState.ACCEPTED.value, OpState.UNKNOWN.value, OpState.VERIFIED.value]),
    )
    return connection.scalar(query) or 0


def retry_parked(connection: Connection, id: int, at: datetime) -> bool:
    """Let an operation that was given up be planned again; says whether there was one.

    An unsubscribe is never given up: a refused one is sent once more at once.
    """
    refused = (op.c.id == id, op.c.state == OpState.READY.value, op.c.kind == ChangeKind.UNSUBSCRIBE.value)
    if connection.execute(op.update().where(*refused).values(not_before=at)).rowcount:
        return True
    given_up = [OpState.PARKED.value, OpState.BLOCKED.value]
    row = connection.execute(sa.select(op).where(op.c.id == id, op.c.state.in_(given_up))).one_or_none()
    if row is None:
        return False
    same = (
        op.c.account == row.account,
        op.c.container == row.container,
        op.c.identity == row.identity,
        op.c.kind == row.kind,
        op.c.state.in_([*given_up, OpState.REFUTED.value]),
    )
    reason = "a person asked for another try"
    connection.execute(op.update().where(*same).values(state=OpState.SUPERSEDED.value, closed_at=at, reason=reason))
    return True


def backoff(attempts: int, jitter: float, *, base_s: float, max_s: float) -> timedelta:
    """How long to wait after so many attempts; `jitter` in 0…1 spreads it over the upper half."""
    ceiling = min(max_s, base_s * 2.0 ** min(attempts, 16))
    return timedelta(seconds=ceiling * (0.5 + jitter / 2))


def _close(
    connection: Connection, ids: Sequence[int], state: OpState, reason: str, at: datetime, *, seq: int = 0
) -> None:
    values = {"state": state.value, "reason": reason, "closed_at": at, "closed_seq": seq}
    for part in chunks(ids, IN_MAX):
        connection.execute(_CLOSE, {"ids": part, **values})


_CLOSE = op.update().where(_IDS)
