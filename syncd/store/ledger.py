"""The ledger: each "no" at each place that has to learn of it. Kept as the core says, read for whoever wants proof."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import Level, Scope
from syncd.domain.facts import Grade
from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import ContainerId
from syncd.reconcile.ledger import Arrival, Entry, Said, Sent
from syncd.reconcile.person import OPEN, OpState
from syncd.store.bulk import chunks, insert_rows, native_time, one_of
from syncd.store.inspect import Shown, shown_rows
from syncd.store.tables import ConsentEventRow, OpRow, PropagationRow

consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
propagation = PropagationRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500

HELD = "held"
"""The state of an entry whose unsubscribe a person holds back, or turned down: no deadline of theirs passes."""


# Kept ----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Page:
    """What the ledger holds of one person, and what it is made of."""

    said: list[Said] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)


def load_pages(connection: Connection, keys: Sequence[SuppressionKey]) -> dict[SuppressionKey, Page]:
    """The ledger of these people."""
    found: defaultdict[SuppressionKey, Page] = defaultdict(Page)
    for part in chunks(keys, IN_MAX):
        these = {"people": part}
        for row in connection.execute(_SAID, these):
            said = Said(row.id, Scope(row.scope), row.epoch, row.at, row.source, row.container)
            found[SuppressionKey(row.person_key)].said.append(said)
        for row in connection.execute(_KEPT, these):
            found[SuppressionKey(row.person_key)].entries.append(_entry(row))
        for row in connection.execute(_SENT, these):
            place = row.account, ContainerId(row.container), Identity(row.identity)
            sent = Sent(row.id, place, OpState(row.state), row.created_at)
            found[SuppressionKey(row.person_key)].sent.append(sent)
    return found


_KEPT = sa.select(propagation).where(one_of(propagation.c.person_key, "people"))
_SAID = (
    sa.select(*(consent_event.c[name] for name in ("person_key", "id", "scope", "epoch", "at", "source", "container")))
    .where(one_of(consent_event.c.person_key, "people"), consent_event.c.level >= int(Level.UNSUBSCRIBED))
    .order_by(consent_event.c.id)
)
_SENT = sa.select(
    *(op.c[name] for name in ("person_key", "id", "account", "container", "identity", "state", "created_at"))
).where(one_of(op.c.person_key, "people"), op.c.kind == ChangeKind.UNSUBSCRIBE.value)


def _entry(row: Any) -> Entry:
    return Entry(
        event_id=row.event_id,
        place=(row.account, ContainerId(row.container), Identity(row.identity)),
        known_at=row.known_at,
        arrival=Arrival(row.state),
        op_id=row.op_id,
        grade=Grade(row.grade),
        settled_at=row.settled_at,
    )


_COLUMNS = (
    "event_id", "account", "container", "identity", "person_key", "known_at", "due_at", "state", "op_id", "grade",
    "settled_at",
)  # fmt: skip


def save_entries(
    connection: Connection, new: Sequence[tuple[SuppressionKey, Entry]], moved: Sequence[Entry], within: timedelta
) -> None:
    """Write entries down; `within` is how long a "no" may take from the moment it and its place are known."""

    def time(at: datetime | None) -> Any:
        return None if at is None else native_time(connection, at)

    rows = [
        (
            entry.event_id, *entry.place, key, time(entry.known_at), time(entry.known_at + within),
            entry.arrival.value, entry.op_id, entry.grade.value, time(entry.settled_at),
        )
        for key, entry in new
    ]  # fmt: skip
    insert_rows(connection, propagation, _COLUMNS, rows)
    if moved:
        names = ("state", "op_id", "grade", "settled_at")
        place = ("event_id", "account", "container", "identity")
        statement = (
            propagation.update()
            .where(*(propagation.c[name] == sa.bindparam(f"of_{name}") for name in place))
            .values({name: sa.bindparam(f"to_{name}", type_=propagation.c[name].type) for name in names})
        )
        connection.execute(statement, [_moved(entry) for entry in moved])


def _moved(entry: Entry) -> dict[str, Any]:
    account, container, identity = entry.place
    return {
        "of_event_id": entry.event_id, "of_account": account, "of_container": container, "of_identity": identity,
        "to_state": entry.arrival.value, "to_op_id": entry.op_id, "to_grade": entry.grade.value,
        "to_settled_at": entry.settled_at,
    }  # fmt: skip


# Read ----------------------------------------------------------------------------------------------------------------

_TIME = propagation.c.due_at.type
_VIEW = sa.table(
    "v_propagation",
    *(sa.column(name) for name in ("event", "person", "account", "provider", "remote_list", "known_as")),
    *(sa.column(name) for name in ("state", "grade", "receipt", "accepted_after_s")),
    *(sa.column(name, _TIME) for name in ("learnt_at", "deadline", "accepted_at")),
)
_NOT_THERE = sa.and_(
    _VIEW.c.event.in_(sa.select(propagation.c.event_id).where(propagation.c.settled_at.is_(None))),
    _VIEW.c.grade.in_([Grade.UNKNOWN.value, Grade.ASSUMED.value]),
    _VIEW.c.state.not_in([HELD, Arrival.WITHDRAWN.value]),
)
"""What nobody has accepted nor was read back, and no person holds back."""


def rows_of(
    connection: Connection,
    now: datetime,
    *,
    limit: int,
    key: SuppressionKey | None = None,
    account: str | None = None,
    overdue: bool = False,
) -> list[Shown]:
    """The ledger, the latest "no" first: of everybody, of one person, at one account.

    With `overdue` only what was not accepted in time, the longest overdue first.
    """
    query = sa.select(sa.text("*")).select_from(_VIEW).where(_VIEW.c.account.is_not(None)).limit(limit)
    if key is not None:
        query = query.where(_VIEW.c.person == key)
    if account is not None:
        query = query.where(_VIEW.c.account == account)
    if overdue:
        query = query.where(_NOT_THERE, _VIEW.c.deadline < now).order_by(_VIEW.c.deadline, _VIEW.c.event)
    else:
        query = query.order_by(_VIEW.c.learnt_at.desc(), _VIEW.c.event.desc())
    query = query.order_by(_VIEW.c.account, _VIEW.c.remote_list, _VIEW.c.known_as)
    return [_timed(row, now) for row in shown_rows(connection, query)]


def _timed(row: Shown, now: datetime) -> Shown:
    """With what depends on the time, by our clock: how much was left when it arrived, or is left now."""
    arrived = row["accepted_at"] or row["read_back_at"]
    waits = row["grade"] in {Grade.UNKNOWN, Grade.ASSUMED} and row["state"] not in {HELD, Arrival.WITHDRAWN}
    until = datetime.fromisoformat(max(arrived, row["known_at"])) if arrived else now
    left = None if row["state"] == Arrival.WITHDRAWN else (datetime.fromisoformat(row["deadline"]) - until)
    seconds = None if left is None else round(left.total_seconds(), 3)
    return row | {"time_left_s": seconds, "overdue": bool(waits and seconds is not None and seconds < 0)}


@dataclass(frozen=True, slots=True)
class Underway:
    """How the unsubscribes stand. `open`: those that have not arrived, each place counted; `overdue`: too late of them;
    `refused`: those that a provider does not take, and that are tried all the same.

    `worst`: the open one whose deadline is, or was, the first. `targets`: for each account what became of those that
    were learnt within the time an unsubscribe may take.
    """

    open: int
    overdue: int
    refused: int
    worst: Shown | None
    targets: list[Shown]


def underway(connection: Connection, accounts: Sequence[str], now: datetime, within: timedelta) -> Underway:
    """How the unsubscribes stand at these accounts. What has long arrived is not looked at."""
    there = (_NOT_THERE, _VIEW.c.account.in_(accounts))
    place = (_VIEW.c.account, _VIEW.c.remote_list, _VIEW.c.known_as)
    late = {tuple(row) for row in connection.execute(sa.select(*place).where(*there, _VIEW.c.deadline < now))}
    first = sa.select(sa.text("*")).select_from(_VIEW).where(*there).order_by(_VIEW.c.deadline, _VIEW.c.event).limit(1)
    worst = [_timed(row, now) for row in shown_rows(connection, first)]
    return Underway(
        open=connection.scalar(sa.select(sa.func.count()).select_from(_VIEW).where(*there)) or 0,
        overdue=len(late | _waiting(connection, accounts, now - within)),
        refused=_refused(connection, accounts),
        worst={name: worst[0][name] for name in _WORST} if worst else None,
        targets=_targets(connection, accounts, now),
    )


_WORST = ("account", "remote_list", "state", "learnt_at", "deadline", "time_left_s")
"""Nothing that names the person: the status is shown on a page."""


def _refused(connection: Connection, accounts: Sequence[str]) -> int:
    parked = sa.table("v_parked", sa.column("what"), sa.column("kind"), sa.column("account"))
    query = sa.select(sa.func.count()).select_from(parked)
    here = (parked.c.what == "change", parked.c.kind == ChangeKind.UNSUBSCRIBE.value, parked.c.account.in_(accounts))
    return connection.scalar(query.where(*here)) or 0


def _waiting(connection: Connection, accounts: Sequence[str], since: datetime) -> set[tuple[Any, ...]]:
    """Unsubscribes in the outbox that nobody has accepted since then, also such as repeat one that had arrived."""
    states = [state.value for state in OPEN - {OpState.ACCEPTED}]
    query = sa.select(op.c.account, op.c.container, op.c.identity).where(
        op.c.account.in_(accounts),
        op.c.kind == ChangeKind.UNSUBSCRIBE.value,
        op.c.state.in_(states),
        op.c.created_at <= since,
    )
    return {tuple(row) for row in connection.execute(query)}


def _targets(connection: Connection, accounts: Sequence[str], now: datetime) -> list[Shown]:
    """For each account, of the latest unsubscribes: how well they are known to have arrived, the slowest, the last."""
    recent = (
        _VIEW.c.event.in_(sa.select(propagation.c.event_id).where(propagation.c.due_at > now)),
        _VIEW.c.deadline > now,
        _VIEW.c.account.in_(accounts),
        _VIEW.c.state != Arrival.WITHDRAWN.value,
    )
    counted = sa.select(
        _VIEW.c.account, _VIEW.c.provider, _VIEW.c.grade, sa.func.count(), sa.func.max(_VIEW.c.accepted_after_s)
    ).where(*recent)
    found: dict[str, Shown] = {}
    for account, provider, grade, number, slowest in connection.execute(
        counted.group_by(_VIEW.c.account, _VIEW.c.provider, _VIEW.c.grade)
    ):
        row = found.setdefault(
            account,
            {
                "account": account,
                "provider": provider,
                **dict.fromkeys((grade.value for grade in Grade), 0),
                "slowest_s": None,
            },
        )
        row[grade] = number
        row["slowest_s"] = max((s for s in (row["slowest_s"], slowest) if s is not None), default=None)
    last = sa.select(_VIEW.c.receipt).where(*recent, _VIEW.c.receipt.is_not(None)).limit(1)
    for account, row in found.items():
        row["receipt"] = connection.scalar(
            last.where(_VIEW.c.account == account).order_by(_VIEW.c.accepted_at.desc(), _VIEW.c.event.desc())
        )
    return [found[account] for account in sorted(found)]
