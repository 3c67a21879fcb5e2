"""People as the core decides about them, their consent, and the agenda of who is to be looked at when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import ConsentEvent, ConsentState, Level, Scope
from syncd.domain.facts import Grade
from syncd.domain.hygiene import Checked
from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import UNREAD_FIELD, ContainerId, Status
from syncd.reconcile.close import STICKS_MAX
from syncd.reconcile.person import OPEN, Cell, Exemption, Former, No, Operation, OpState, Person, Place, Rename
from syncd.store import exemptions, hygiene, renames
from syncd.store.bulk import chunks, one_of, spelled
from syncd.store.tables import (
    AgendaRow,
    CellRow,
    ConsentEventRow,
    ConsentRow,
    Meta,
    OpRow,
    PersonRow,
    PlanItemRow,
)

agenda = AgendaRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
consent = ConsentRow.__table__  # type: ignore[attr-defined]
consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]
meta = Meta.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
person = PersonRow.__table__  # type: ignore[attr-defined]

_decoded = msgspec.json.Decoder(dict[str, str]).decode


_NONE: frozenset[str] = frozenset()


def _fields(text: str) -> tuple[dict[str, str], frozenset[str]]:
    """The fields that could be read, and the names of those that could not."""
    fields = _decoded(text)
    if f'"{UNREAD_FIELD}' not in text:
        return fields, _NONE
    unread = frozenset(name.removeprefix(UNREAD_FIELD) for name in fields if name.startswith(UNREAD_FIELD))
    return {name: value for name, value in fields.items() if not name.startswith(UNREAD_FIELD)}, unread


_encode = msgspec.json.Encoder().encode

IN_MAX = 500


# The agenda ----------------------------------------------------------------------------------------------------------


def put_on_agenda(
    connection: Connection, people: Iterable[SuppressionKey], due_at: datetime, *, urgent: bool = False
) -> None:
    """Look at these people at `due_at` or, if they are due earlier already, then. `urgent`: before all the others."""
    for part in chunks(sorted(set(people)), IN_MAX):
        known = set(connection.scalars(_ON_AGENDA, {"people": part}))
        if known:
            connection.execute(_SOONER, {"people": sorted(known), "than": due_at, "due_at": due_at})
        if known and urgent:
            connection.execute(_URGENT, {"people": sorted(known)})
        rows = [{"person_key": key, "due_at": due_at, "urgent": urgent} for key in part if key not in known]
        if rows:
            connection.execute(agenda.insert(), rows)


def anybody_due(connection: Connection, now: datetime) -> bool:
    return connection.scalar(_ANYBODY_DUE, {"now": now}) is not None


def urgent_people(connection: Connection, now: datetime, limit: int) -> list[SuppressionKey]:
    """Who is due before all the others, the longest waiting first."""
    return [SuppressionKey(key) for key in connection.scalars(_URGENT_DUE, {"now": now, "most": limit})]


def due_people(connection: Connection, now: datetime, limit: int, after: str = "") -> list[SuppressionKey]:
    """Who is due, in the order of their keys, beginning behind `after`."""
    due = connection.scalars(_DUE, {"now": now, "behind": after, "most": limit})
    return [SuppressionKey(key) for key in due]


_DUE = (
    sa.select(agenda.c.person_key)
    .where(agenda.c.due_at <= sa.bindparam("now"), agenda.c.person_key > sa.bindparam("behind"))
    .order_by(agenda.c.person_key)
    .limit(sa.bindparam("most"))
)
_ANYBODY_DUE = sa.select(agenda.c.person_key).where(agenda.c.due_at <= sa.bindparam("now")).limit(1)
_URGENT_DUE = (
    sa.select(agenda.c.person_key)
    .where(agenda.c.urgent, agenda.c.due_at <= sa.bindparam("now"))
    .order_by(agenda.c.due_at, agenda.c.person_key)
    .limit(sa.bindparam("most"))
)
_THESE = one_of(agenda.c.person_key, "people")
_ON_AGENDA = sa.select(agenda.c.person_key).where(_THESE)
_SOONER = agenda.update().where(_THESE, agenda.c.due_at > sa.bindparam("than", type_=agenda.c.due_at.type))
_URGENT = agenda.update().where(_THESE).values(urgent=True)
_OFF_AGENDA = agenda.delete().where(_THESE)


def accounts_due(connection: Connection, accounts: Sequence[str], now: datetime) -> set[str]:
    """Those of the accounts at which somebody stands subscribed about whom is to be decided now."""
    query = (
        sa.select(cell.c.account)
        .join(agenda, agenda.c.person_key == cell.c.person_key)
        .where(agenda.c.due_at <= now, cell.c.account.in_(accounts), cell.c.status == Status.SUBSCRIBED.value)
    )
    return set(connection.scalars(query.distinct()))


def due_among(connection: Connection, people: Sequence[SuppressionKey], now: datetime) -> list[SuppressionKey]:
    """Those of them who are due."""
    found: list[SuppressionKey] = []
    for part in chunks(sorted(people), IN_MAX):
        query = sa.select(agenda.c.person_key).where(agenda.c.person_key.in_(part), agenda.c.due_at <= now)
        found += [SuppressionKey(key) for key in connection.scalars(query.order_by(agenda.c.person_key))]
    return found


def take_off_agenda(
    connection: Connection, people: Sequence[SuppressionKey], later: Mapping[SuppressionKey, datetime]
) -> None:
    """These people were looked at; those in `later` are to be looked at again then."""
    for part in chunks(people, IN_MAX):
        connection.execute(_OFF_AGENDA, {"people": part})
    if later:
        rows = [{"person_key": key, "due_at": at, "urgent": False} for key, at in later.items()]
        connection.execute(agenda.insert(), rows)


def everybody_on_agenda(connection: Connection, due_at: datetime) -> None:
    """Look at everyone: after a change of the configuration, and now and then so that no notice is ever relied on."""
    known = sa.select(agenda.c.person_key)
    everyone = (
        sa.select(cell.c.person_key, sa.literal(due_at, type_=agenda.c.due_at.type), sa.false())
        .where(cell.c.person_key.is_not(None), cell.c.person_key.not_in(known))
        .distinct()
    )
    connection.execute(agenda.update().where(agenda.c.due_at > due_at).values(due_at=due_at))
    connection.execute(agenda.insert().from_select(["person_key", "due_at", "urgent"], everyone))


def suppressed_among(connection: Connection, people: Iterable[SuppressionKey]) -> set[SuppressionKey]:
    """Those of whom any "no" is known."""
    found: set[SuppressionKey] = set()
    if connection.scalar(_ANY_CONSENT) is None:
        return found
    for part in chunks(sorted(people), IN_MAX):
        query = sa.select(consent.c.person_key).where(consent.c.person_key.in_(part))
        found.update(SuppressionKey(key) for key in connection.scalars(query))
    return found


_ANY_CONSENT = sa.select(consent.c.person_key).limit(1)


# People --------------------------------------------------------------------------------------------------------------


def load_people(connection: Connection, keys: Sequence[SuppressionKey]) -> list[Person]:
    """Everything the core needs to decide about these people, in the order asked for."""
    cells: defaultdict[str, list[Cell]] = defaultdict(list)
    operations: defaultdict[str, list[Any]] = defaultdict(list)
    states: defaultdict[str, dict[Scope, ConsentState]] = defaultdict(dict)
    fields: defaultdict[str, dict[Identity, Mapping[str, str]]] = defaultdict(dict)
    for part in chunks(keys, IN_MAX):
        these = {"people": part}
        for row in connection.execute(_CELLS, these):
            cells[row.person_key].append(_cell(row))
        for row in connection.execute(_OPERATIONS, these):
            operations[row.person_key].append(row)
        for row in connection.execute(_STATES, these):
            states[row.person_key][Scope(row.scope)] = ConsentState(row.epoch, Level(row.level), row.seq)
        for row in connection.execute(_FIELDS, these):
            fields[row.person_key][Identity(row.identity)] = row.fields
    suppressed = [key for key in keys if states[key]]
    said = _said(connection, suppressed) if suppressed else {}
    exempt = exemptions.load_open(connection, suppressed) if suppressed else {}
    renamed = renames.load(connection, keys, frozenset(suppressed))
    checked = hygiene.load(connection, keys)
    former = renames.formers(connection, sorted({entry.identity for known in cells.values() for entry in known}))
    return [
        _person(
            key, cells[key], operations[key], states[key], fields[key],
            said.get(key, _Said()), exempt.get(key, []), renamed.get(key, []), former, checked.get(key, {}),
        )
        for key in keys
    ]  # fmt: skip


_UNREAD = frozenset({"raw", "digest", "remote_id", "observed_at", "receipt", "asked_at"})
_CELLS = sa.select(*(column for column in cell.columns if column.name not in _UNREAD)).where(
    one_of(cell.c.person_key, "people")
)
_STATES = sa.select(consent).where(one_of(consent.c.person_key, "people"))
_FIELDS = sa.select(person).where(one_of(person.c.person_key, "people"))
_OPERATION = (
    "id",
    "person_key",
    "account",
    "container",
    "identity",
    "kind",
    "state",
    "fields",
    "ended_seq",
    "settled_seq",
    "ended_at",
    "closed_seq",
    "keys",
    "reason",
    "replaces",
)
_TELLING = [*OPEN, OpState.REFUTED, OpState.BLOCKED, OpState.PARKED, OpState.VERIFIED, OpState.DONE]
_CARRIED_OUT = [OpState.ACCEPTED, OpState.VERIFIED, OpState.DONE]
_OPERATIONS = (
    sa.select(*(op.c[name] for name in _OPERATION))
    .where(one_of(op.c.person_key, "people"), spelled(op.c.state, _TELLING))
    .order_by(op.c.id)
)


def _cell(row: Any) -> Cell:
    fields, unread = _fields(row.fields)
    return Cell(
        account=row.account,
        container=ContainerId(row.container),
        key=row.key,
        identity=Identity(row.identity),
        address=row.address,
        status=Status(row.status),
        seq=row.seq,
        status_seq=row.status_seq,
        status_at=row.status_at,
        route=row.route,
        fields=fields,
        base=None if row.base is None else _decoded(row.base),
        unread=unread,
        said_no_seq=row.said_no_seq,
        missing_seq=row.missing_seq,
        missing_count=row.missing_count,
        unsubscribed_at=row.unsubscribed_at,
        confirmed_at=row.confirmed_at,
        confirmed_seq=row.confirmed_seq,
        grade=Grade(row.grade),
    )


def _person(
    key: SuppressionKey,
    cells: list[Cell],
    rows: list[Any],
    states: dict[Scope, ConsentState],
    fields: dict[Identity, Mapping[str, str]],
    said: _Said,
    exempt: list[Exemption],
    renamed: list[Rename],
    former: Mapping[Identity, list[Former]],
    checked: Mapping[Identity, Checked],
) -> Person:
    refuted: dict[tuple[Place, ChangeKind], int] = {}
    parked: dict[tuple[Place, ChangeKind], Mapping[str, str]] = {}
    open_ones: list[Operation] = []
    noes: set[Place] = set()
    added: set[Place] = set()
    carried_out: list[Operation] = []
    for row in rows:  # in the order in which they were decided
        if row.kind == ChangeKind.UNSUBSCRIBE and row.state in _CARRIED_OUT:
            carried_out.append(_operation(row))
        at = (row.account, ContainerId(row.container), Identity(row.identity)), ChangeKind(row.kind)
        if row.kind == ChangeKind.SUBSCRIBE and row.state != OpState.READY:
            added.add(at[0])
        if row.state == OpState.REFUTED:
            refuted[at] = refuted.get(at, 0) + 1
        elif row.state == OpState.BLOCKED:
            refuted[at] = max(refuted.get(at, 0) + 1, STICKS_MAX)
        elif row.state == OpState.VERIFIED:
            refuted.pop(at, None)
            noes |= {at[0]} if at[1] is ChangeKind.UNSUBSCRIBE else set()
        elif row.state == OpState.PARKED:
            parked[at] = row.fields
        elif row.state != OpState.DONE:
            open_ones.append(_operation(row))
            noes |= {at[0]} if at[1] is ChangeKind.UNSUBSCRIBE and row.state != OpState.READY else set()
    cells.sort(key=lambda entry: (entry.account, entry.container, entry.key))
    return Person(
        key=key,
        cells=cells,
        consent=states,
        operations=open_ones,
        fields=fields,
        refuted=refuted,
        parked=parked,
        named=frozenset(said.identities),
        inferred_scopes=frozenset(said.scopes - said.well_founded),
        mass_scopes=frozenset(said.scopes - said.released),
        mass_sources=frozenset(said.mass_sources),
        noes_written=frozenset(noes),
        added=frozenset(added),
        carried_out=carried_out,
        noes=said.noes,
        exemptions=exempt,
        renames=renamed,
        formers=[entry for identity in dict.fromkeys(c.identity for c in cells) for entry in former.get(identity, ())],
        checked=checked,
    )


def _operation(row: Any) -> Operation:
    return Operation(
        id=row.id,
        account=row.account,
        container=ContainerId(row.container),
        identity=Identity(row.identity),
        kind=ChangeKind(row.kind),
        state=OpState(row.state),
        fields=row.fields,
        # Once it had time to settle, what was read before says nothing of it any more: it may only have lagged.
        ended_seq=row.ended_seq,
        settled_seq=row.settled_seq,
        ended_at=row.ended_at,
        closed_seq=row.closed_seq,
        keys=tuple(row.keys),
        reason=row.reason,
        replaces=row.replaces,
    )


def save_merged(
    connection: Connection, people: Sequence[tuple[Person, Mapping[Identity, Mapping[str, str]]]], at: datetime
) -> None:
    """Keep the merged fields, and what each record showed when they were merged: the base of the next merge."""
    new: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    bases: list[dict[str, Any]] = []
    for who, merged in people:
        for identity, values in merged.items():
            row = {"identity": identity, "person_key": who.key, "fields": dict(values), "updated_at": at}
            if identity not in who.fields:
                new.append(row)
            elif who.fields[identity] != values:
                moved.append({"of": identity, "to": dict(values), "at": at})
        for entry in who.cells:
            base = _next_base(entry)
            if base and entry.base != base:
                text = _encode(base).decode()
                bases.append({"a": entry.account, "c": entry.container, "k": entry.key, "b": text})
    if new:
        connection.execute(person.insert(), new)
    if moved:
        statement = person.update().where(person.c.identity == sa.bindparam("of"))
        connection.execute(
            statement.values(
                fields=sa.bindparam("to", type_=person.c.fields.type),
                updated_at=sa.bindparam("at", type_=person.c.updated_at.type),
            ),
            moved,
        )
    if bases:
        place = (
            cell.c.account == sa.bindparam("a"),
            cell.c.container == sa.bindparam("c"),
            cell.c.key == sa.bindparam("k"),
        )
        connection.execute(cell.update().where(*place).values(base=sa.bindparam("b")), bases)


def _next_base(entry: Cell) -> Mapping[str, str]:
    """What the record shows; of what could not be read, what it showed before: so it can be told, once it can be, if
    anybody changed it.
    """
    if not entry.unread or not entry.base:
        return entry.fields
    return {**{name: text for name, text in entry.base.items() if name in entry.unread}, **entry.fields}


# Consent -------------------------------------------------------------------------------------------------------------


def record_consent(connection: Connection, events: Sequence[ConsentEvent]) -> list[ConsentEvent]:
    """Append events and fold them into the state, in one go;

    those that change nothing are not written. Returns what was written.
    """
    written = []
    for event in events:
        state = load_consent(connection, event.key).get(event.scope, ConsentState())
        joined = state.join(
            ConsentState(event.epoch, event.level, event.seq if event.epoch > state.epoch else state.seq)
        )
        unchanged = (joined.epoch, joined.level) == (state.epoch, state.level)
        if unchanged and not event.again and not _is_better(connection, event):
            continue
        inserted = connection.execute(
            consent_event.insert().values(
                seq=event.seq,
                at=event.at,
                person_key=event.key,
                identity=event.identity,
                scope=event.scope,
                epoch=event.epoch,
                level=int(event.level),
                source=event.source,
                container=event.container,
                route=event.route,
                evidence=event.evidence,
                inferred=event.inferred,
                mass=event.mass,
            )
        )
        values = {
            "epoch": joined.epoch, "level": int(joined.level), "seq": joined.seq, "since": event.at,
            "source": event.source, "event_id": (inserted.inserted_primary_key or (None,))[0],
        }  # fmt: skip
        written.append(event)
        if unchanged:
            continue
        place = (consent.c.person_key == event.key, consent.c.scope == event.scope)
        if not connection.execute(consent.update().where(*place).values(values)).rowcount:
            connection.execute(consent.insert().values(person_key=event.key, scope=event.scope, **values))
    return written


def _is_better(connection: Connection, event: ConsentEvent) -> bool:
    """Whether this is somebody's own word, and all that stood for their "no" so far is less than that."""
    if event.inferred or event.mass or not event.level.suppresses:
        return False
    said = (consent_event.c.person_key == event.key, consent_event.c.scope == event.scope)
    query = sa.select(consent_event.c.inferred, consent_event.c.mass).where(
        *said, consent_event.c.level >= int(Level.UNSUBSCRIBED)
    )
    known = connection.execute(query).all()
    return bool(known) and (all(row.inferred for row in known) or all(row.mass for row in known))


def last_turn(connection: Connection, key: SuppressionKey) -> int:
    """The number of the latest reading at which any record of this person changed its status; 0 if there is none."""
    return connection.scalar(sa.select(sa.func.max(cell.c.status_seq)).where(cell.c.person_key == key)) or 0


def load_consent(connection: Connection, key: SuppressionKey) -> dict[Scope, ConsentState]:
    known = connection.execute(_CONSENT, {"of_person": key})
    return {Scope(scope): ConsentState(epoch, Level(level), seq) for scope, epoch, level, seq in known}


def said_no_since(connection: Connection, key: SuppressionKey, scopes: Iterable[Scope], since: datetime) -> bool:
    """Whether we learnt of a "no" of theirs to one of these after that moment, by our clock."""
    query = sa.select(consent_event.c.id).where(
        consent_event.c.person_key == key,
        consent_event.c.scope.in_(sorted(scopes)),
        consent_event.c.level >= int(Level.UNSUBSCRIBED),
        consent_event.c.at > since,
    )
    return connection.scalar(query.limit(1)) is not None


def said_later(connection: Connection, key: SuppressionKey, than: SuppressionKey) -> set[Scope]:
    """The scopes in which the last word of the one came after that of the other."""
    theirs = {row.scope: row.last for row in connection.execute(_LAST_WORDS, {"of_person": than})}
    mine = connection.execute(_LAST_WORDS, {"of_person": key})
    return {Scope(scope) for scope, last in mine if last > theirs.get(scope, 0)}


_LAST_WORDS = (
    sa.select(consent_event.c.scope, sa.func.max(consent_event.c.id).label("last"))
    .where(consent_event.c.person_key == sa.bindparam("of_person"))
    .group_by(consent_event.c.scope)
)
_CONSENT = sa.select(consent.c.scope, consent.c.epoch, consent.c.level, consent.c.seq).where(
    consent.c.person_key == sa.bindparam("of_person")
)


@dataclass(slots=True)
class _Said:
    """What the consent events of one person say beyond the folded state."""

    identities: set[Identity] = field(default_factory=set)
    well_founded: set[Scope] = field(default_factory=set)
    released: set[Scope] = field(default_factory=set)
    scopes: set[Scope] = field(default_factory=set)
    mass_sources: set[tuple[Scope, str, str]] = field(default_factory=set)
    noes: list[No] = field(default_factory=list)


def _said(connection: Connection, keys: Sequence[SuppressionKey]) -> dict[str, _Said]:
    """Under which addresses each said it, for which scopes more than inference stands, and more than an unreleased
    mass flip.
    """
    found: defaultdict[str, _Said] = defaultdict(_Said)
    for part in chunks(keys, IN_MAX):
        for row in connection.execute(_EVENTS, {"people": part}):
            key, identity, scope, inferred, mass, source, container, seq, epoch, level = row
            said = found[key]
            said.identities.add(Identity(identity))
            said.scopes.add(Scope(scope))
            if Level(level).suppresses:
                said.noes.append(No(Scope(scope), seq, epoch, source, container, identity))
            if not inferred:
                said.well_founded.add(Scope(scope))
            if mass:
                said.mass_sources.add((Scope(scope), source, container))
            else:
                said.released.add(Scope(scope))
    return found


_EVENT = ("person_key", "identity", "scope", "inferred", "mass", "source", "container", "seq", "epoch", "level")
_EVENTS = (
    sa.select(*(consent_event.c[name] for name in _EVENT))
    .where(one_of(consent_event.c.person_key, "people"))
    .order_by(consent_event.c.id)
)


def count_events(connection: Connection, source: str, container: str, since: datetime) -> int:
    """How many said no in one container, by listing, since then."""
    query = sa.select(sa.func.count()).where(
        consent_event.c.source == source,
        consent_event.c.container == container,
        consent_event.c.at >= since,
        consent_event.c.route.in_(["listing", "feed"]),
    )
    return connection.scalar(query) or 0


def last_event(connection: Connection) -> int:
    """The id of the latest event, or zero."""
    return connection.scalar(sa.select(sa.func.max(consent_event.c.id))) or 0


def listed_behind(connection: Connection, event_id: int) -> list[tuple[str, str]]:
    """The containers in which listings showed people to have said something, of the events behind this one."""
    places = sa.select(consent_event.c.source, consent_event.c.container).where(*_listed(event_id))
    return sorted({(source, container) for source, container in connection.execute(places)})


def flag_mass(connection: Connection, source: str, container: str, event_id: int) -> None:
    """Mark what listings of one container showed behind this event as part of one that flipped very many at once."""
    place = (consent_event.c.source == source, consent_event.c.container == container)
    connection.execute(consent_event.update().where(*place, *_listed(event_id)).values(mass=True))


def _listed(event_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    shown = consent_event.c.route.in_(["listing", "feed"])
    return consent_event.c.id > event_id, shown, consent_event.c.inferred.is_(False)


@contextmanager
def erasing(connection: Connection) -> Iterator[None]:
    """Within this, what names a person may be overwritten in `consent_event` and `consent`, which else never change.

    Part of one transaction: the door is closed again at the end, and after an error nothing of it is kept.
    """
    connection.execute(meta.insert().values(key=_ERASING, value="this transaction"))
    yield
    connection.execute(meta.delete().where(meta.c.key == _ERASING))


_ERASING = "erasing"


def release_mass(connection: Connection, people: Sequence[SuppressionKey]) -> None:
    """What a mass flip said is taken as said from here on."""
    for part in chunks(people, IN_MAX):
        connection.execute(consent_event.update().where(consent_event.c.person_key.in_(part)).values(mass=False))


def release_outlived(connection: Connection, people: Sequence[SuppressionKey], before: datetime) -> bool:
    """The same for what was learnt before that, of whom nothing waits and nobody forbade anything. True if any was."""
    if not people:
        return False
    of_whom = consent_event.c.person_key.in_(people)
    waits = sa.exists().where(item.c.person_key == consent_event.c.person_key, item.c.kind == "unsubscribe")
    old = (consent_event.c.mass, consent_event.c.at <= before)
    return connection.execute(consent_event.update().where(of_whom, *old, ~waits).values(mass=False)).rowcount > 0
