"""What the commands show of the mirror. Reads only; plain values that JSON can hold, the same from both engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.consent import GLOBAL, Level
from syncd.domain.facts import Grade
from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import WHOLE_ACCOUNT, Status
from syncd.reconcile.guard import Hold
from syncd.reconcile.person import OPEN, OpState
from syncd.store import journal
from syncd.store.session import current, describe, known_head, open_engine, reading, revisions
from syncd.store.tables import (
    AgendaRow,
    CellRow,
    ClaimRow,
    ConsentEventRow,
    ConsentRow,
    ExemptionRow,
    HygieneRow,
    InboxRow,
    LinkRow,
    LookUpRow,
    OpRow,
    PersonRow,
    PlanItemRow,
    PlanRow,
    RenameRow,
)

agenda = AgendaRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
claim = ClaimRow.__table__  # type: ignore[attr-defined]
consent = ConsentRow.__table__  # type: ignore[attr-defined]
consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
hygiene = HygieneRow.__table__  # type: ignore[attr-defined]
inbox = InboxRow.__table__  # type: ignore[attr-defined]
link = LinkRow.__table__  # type: ignore[attr-defined]
lookup = LookUpRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
person = PersonRow.__table__  # type: ignore[attr-defined]
plan = PlanRow.__table__  # type: ignore[attr-defined]
exemption = ExemptionRow.__table__  # type: ignore[attr-defined]
rename = RenameRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]

Shown = dict[str, Any]

_TIMES = frozenset({"at", "since", "not_before", "deadline"})
_JSON = frozenset({"fields", "counters", "counts", "extra", "rests_on"})
_GONE = (Status.REMOVED.value, Status.ABSENT.value)


# Plain values --------------------------------------------------------------------------------------------------------


def shown_time(value: datetime | str | None) -> str | None:
    """ISO 8601 in UTC with `Z`. Views give times as text on SQLite, which keeps them so, and as times on Postgres."""
    if value is None:
        return None
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def shown_rows(connection: Connection, query: sa.Select[Any]) -> list[Shown]:
    """What a query finds, as plain values by the names of its columns."""
    return [
        {str(name): _plain(str(name), value) for name, value in row.items()}
        for row in connection.execute(query).mappings()
    ]


def _plain(name: str, value: Any) -> Any:
    if name in _TIMES or name.endswith("_at"):
        return shown_time(value)
    if name in _JSON and isinstance(value, str):
        return msgspec.json.decode(value)
    return int(value) if isinstance(value, Decimal) else value


# Lists of things -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _View:
    """A view as a command shows it: which of its columns names the account, and in what order."""

    name: str
    order: Sequence[str]
    account: str = "account"


VIEWS = {
    "contacts": _View("v_contacts", ("email",), account=""),
    "lists": _View("v_lists", ("account", "name", "remote_list")),
    "campaigns": _View("v_campaigns", ("account", "campaign_id")),
    "runs": _View("v_runs", ("-started_at", "account")),
    "outbox": _View("v_outbox", ("created_at", "id")),
    "parked": _View("v_parked", ("-at", "id")),
    "drift": _View("v_drift", ("kind", "since", "email")),
    "consent": _View("v_consent", ("email", "scope"), account="source"),
}


def rows_of(connection: Connection, what: str, *, limit: int, account: str | None = None) -> list[Shown]:
    """The first rows of one view, of one account if it is named."""
    view = VIEWS[what]
    query = sa.select(sa.text("*")).select_from(sa.table(view.name)).limit(limit)
    for name in view.order:
        column: sa.ColumnClause[Any] = sa.column(name.removeprefix("-"))
        query = query.order_by(column.desc() if name.startswith("-") else column)
    if account is not None and view.account:
        query = query.where(sa.column(view.account) == account)
    elif account is not None:
        there = sa.select(cell.c.identity).where(cell.c.account == account, cell.c.status != Status.ABSENT.value)
        query = query.where(sa.column("email").in_(there))
    return shown_rows(connection, query)


# One person ----------------------------------------------------------------------------------------------------------


def contact(connection: Connection, identity: Identity, key: SuppressionKey) -> Shown | None:
    """Everything known of one address, or None if nothing is."""
    seen = (
        sa.select(*_columns("list account provider remote_list remote_id address status grade observed_at fields"))
        .select_from(sa.table("v_memberships"))
        .where(sa.column("email") == identity)
        .order_by(*_columns("account remote_list list remote_id"))
    )
    counted = (
        sa.select(*_columns("account remote_list remote_id counters"))
        .select_from(sa.table("v_counters"))
        .where(sa.column("email") == identity)
    )
    counters = {(row[0], row[1], row[2]): _plain("counters", row[3]) for row in connection.execute(counted)}
    memberships = [
        row | {"counters": counters.get((row["account"], row["remote_list"], row["remote_id"]))}
        for row in shown_rows(connection, seen)
    ]
    stored = consent_of(connection, key)
    if not memberships and not stored:
        return None
    merged = connection.scalar(sa.select(person.c.fields).where(person.c.identity == identity))
    others = connection.scalars(
        sa.select(cell.c.identity).where(cell.c.person_key == key, cell.c.identity != identity).distinct()
    )
    return {
        "email": str(identity),
        "memberships": memberships,
        "consent": stored + _standing_subscribed(connection, identity, stored),
        "fields": merged or {},
        "also_known_as": sorted(others),
    }


def consent_of(connection: Connection, key: SuppressionKey) -> list[Shown]:
    query = (
        sa.select(*_columns("scope level since source route evidence epoch"))
        .select_from(sa.table("v_consent"))
        .where(sa.column("person") == key)
        .order_by(sa.column("scope"))
    )
    return shown_rows(connection, query)


def _columns(names: str) -> list[sa.ColumnClause[Any]]:
    """Columns of a view, by their names."""
    return [sa.column(name) for name in names.split()]


def _standing_subscribed(connection: Connection, identity: Identity, stored: Sequence[Shown]) -> list[Shown]:
    """Scopes of which nothing was ever said and where the person stands subscribed.

    None while a "no" for everything stands: a record that reads otherwise only lags behind.
    """
    known = {entry["scope"] for entry in stored}
    silent = (Level.UNKNOWN.word, Level.PENDING.word, Level.SUBSCRIBED.word)
    if any(entry["scope"] == GLOBAL and entry["level"] not in silent for entry in stored):
        return []
    query = (
        sa.select(link.c.scope, cell.c.account, sa.func.min(cell.c.status_at).label("since"))
        .select_from(cell.join(link, _linked()))
        .where(cell.c.identity == identity, cell.c.status == Status.SUBSCRIBED.value, cell.c.missing_count == 0)
        .group_by(link.c.scope, cell.c.account)
        .order_by(link.c.scope, sa.text("since"), cell.c.account)
    )
    found: dict[str, Shown] = {}
    for scope, account, since in connection.execute(query):
        if scope not in known and scope not in found:
            at = shown_time(since)
            found[scope] = {"scope": scope, "level": Level.SUBSCRIBED.word, "since": at, "source": account}
    return list(found.values())


def _linked() -> sa.ColumnElement[bool]:
    """A record lies in a container that one of our lists names."""
    return sa.and_(
        link.c.account == cell.c.account,
        link.c.until.is_(None),
        sa.or_(link.c.container == cell.c.container, link.c.container == WHOLE_ACCOUNT),
    )


@dataclass(frozen=True, slots=True)
class History:
    """What explains where a person stands: what was seen, what they said, what was sent, what waits."""

    cells: list[Shown]
    events: list[Shown]
    operations: list[Shown]
    held: list[Shown]
    look_ups: list[Shown]
    claims: list[Shown]
    exemptions: list[Shown]
    renames: list[Shown]
    hygiene: list[Shown]


def open_operations(connection: Connection, key: SuppressionKey) -> int:
    """How much of what was decided about a person is still on its way."""
    return _count(connection, op, op.c.person_key == key, op.c.state.in_(_words(OPEN)))


_RENAMES = sa.select(
    *(rename.c[name] for name in ("account", "container", "identity", "opened_at", "successor")),
    rename.c.retired_at.is_not(None).label("gave_way"),
).order_by(rename.c.account, rename.c.container, rename.c.identity)


def history(connection: Connection, key: SuppressionKey) -> History:
    def rows(table: sa.Table, names: str, order: str) -> list[Shown]:
        query = sa.select(*(table.c[name] for name in names.split())).where(table.c.person_key == key)
        return shown_rows(connection, query.order_by(*(table.c[name] for name in order.split())))

    asked = (
        sa.select(lookup)
        .where(lookup.c.identity.in_(sa.select(cell.c.identity).where(cell.c.person_key == key)))
        .order_by(lookup.c.account, lookup.c.container, lookup.c.identity)
    )
    events = rows(
        consent_event, "at identity scope epoch level source container route evidence inferred mass", order="id"
    )
    return History(
        cells=rows(
            cell,
            "account container key remote_id identity address status grade observed_at status_at route "
            "missing_count fields receipt",
            order="account container key",
        ),
        events=[entry | {"level": Level(entry["level"]).word} for entry in events],
        operations=rows(
            op,
            "id account container identity kind state why fields attempts created_at sent_at ended_at closed_at "
            "not_before receipt reason",
            order="id",
        ),
        held=rows(
            item,
            "account container identity kind hold why state created_at",
            order="account container kind identity",
        ),
        look_ups=shown_rows(connection, asked),
        claims=rows(claim, "id account container identity scope seen_at state times fight", order="seen_at id"),
        exemptions=rows(exemption, "account container identity evidence granted_at ended_at ended_by", order="id"),
        renames=shown_rows(connection, _RENAMES.where(rename.c.person_key == key)),
        hygiene=rows(
            hygiene,
            "identity account state since checked_at score word phone_sound phone_word reason trouble",
            order="identity",
        ),
    )


# How everything stands -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What is left to do, counted. Only of the accounts asked for: nobody works on others."""

    operations: Mapping[str, int]
    held: Mapping[str, int]
    due: int
    look_ups: int
    deliveries: int
    claims: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What is left to do, and how good what we have is: the second costs a look at every record."""

    open: OpenWork
    parked: Mapping[str, int]
    grades: Mapping[str, int]
    reachable: int
    ambiguous: int
    by_hand: int


def counts(connection: Connection, accounts: Sequence[str], now: datetime, takes_noes: Sequence[str]) -> Counts:
    """What is left to do, and how good what we have is.

    `takes_noes`: the accounts that can be told of a "no". Whoever stands at another one and said no is by hand.
    """
    deaf = [name for name in accounts if name not in takes_noes]
    parked = sa.table("v_parked", sa.column("account"))
    return Counts(
        open=open_work(connection, accounts, now),
        parked=_by_account(connection, parked, parked.c.account.in_(accounts)),
        grades=_grades(connection, accounts),
        reachable=_drifting(connection, takes_noes, "reachable"),
        ambiguous=_drifting(connection, accounts, "two records"),
        by_hand=_drifting(connection, deaf, "reachable") if deaf else 0,
    )


def open_work(connection: Connection, accounts: Sequence[str], now: datetime) -> OpenWork:
    """What is left to do."""
    held = _by_account(connection, item, item.c.state == "held", item.c.account.in_(accounts))
    for account, waiting in _by_account(
        connection, plan, plan.c.hold == Hold.ABSENCE.value, plan.c.account.in_(accounts)
    ).items():
        held[account] = held.get(account, 0) + waiting
    return OpenWork(
        operations=_by_account(connection, op, op.c.state.in_(_words(OPEN)), op.c.account.in_(accounts)),
        held=held,
        due=_count(connection, agenda, agenda.c.due_at <= now),
        look_ups=_count(connection, lookup, lookup.c.given_up == "", lookup.c.account.in_(accounts))
        + _count(connection, hygiene, hygiene.c.state == "waiting", hygiene.c.account.in_(accounts)),
        deliveries=_count(connection, inbox, inbox.c.state == "new", inbox.c.account.in_(accounts)),
        claims=_count(connection, claim, claim.c.state == "open", claim.c.account.in_(accounts)),
    )


def _by_account(connection: Connection, table: Any, *where: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(table.c.account, sa.func.count()).where(*where).group_by(table.c.account)
    return {str(account): int(number) for account, number in connection.execute(query)}


def _count(connection: Connection, table: Any, *where: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0


def _words(states: Iterable[OpState]) -> list[str]:
    return sorted(state.value for state in states)


def _grades(connection: Connection, accounts: Sequence[str]) -> dict[str, int]:
    """How well the records that we keep in agreement are known."""
    ours = sa.or_(cell.c.container == WHOLE_ACCOUNT, sa.exists().where(_linked()))
    query = (
        sa.select(cell.c.grade, sa.func.count())
        .where(cell.c.account.in_(accounts), cell.c.status.not_in(_GONE), ours)
        .group_by(cell.c.grade)
    )
    found = {str(grade): int(number) for grade, number in connection.execute(query)}
    return {grade.value: 0 for grade in Grade} | found


def _drifting(connection: Connection, accounts: Sequence[str], kind: str) -> int:
    drift = sa.table("v_drift", sa.column("kind"), sa.column("account"))
    return _count(connection, drift, drift.c.kind == kind, drift.c.account.in_(accounts))


# The schema ----------------------------------------------------------------------------------------------------------


def schema(url: str, now: datetime | None = None) -> Shown:
    """At which revision a mirror is, against what this program needs. Makes no file where there is none.

    With `now`: also who works on it.
    """
    parsed = sa.make_url(url)
    found: Shown = {"mirror": describe(url), "revision": None, "needed": known_head(), "state": "empty", "holder": None}
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        return found
    engine = open_engine(url)
    try:
        found["revision"] = current(engine)
        if found["revision"] == found["needed"]:
            found["state"] = "current"
        elif found["revision"] is not None:
            found["state"] = "behind" if found["revision"] in revisions() else "newer"
        if now is not None and found["revision"] is not None:
            with reading(engine) as connection:
                found["holder"] = journal.holding(connection, now)
    finally:
        engine.dispose()
    return found


# Parked things -------------------------------------------------------------------------------------------------------


def parked(connection: Connection, parked_id: str) -> Shown | None:
    """One parked thing: a change that was refused, a delivery that cannot be read, or a record without an address."""
    query = sa.select(sa.text("*")).select_from(sa.table("v_parked")).where(sa.column("id") == parked_id)
    return next(iter(shown_rows(connection, query)), None)


def person_of(connection: Connection, operation: int) -> SuppressionKey:
    """Whom an operation concerns."""
    return SuppressionKey(str(connection.scalar(sa.select(op.c.person_key).where(op.c.id == operation))))
