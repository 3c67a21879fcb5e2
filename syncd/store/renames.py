"""Addresses that gave way to others, or may be about to: what a notice, a record or a call of ours began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.consent import Level, Scope
from syncd.domain.identity import Identity, SuppressionKey, identity_of, suppression_key
from syncd.domain.records import PRESENT, SUPPRESSED, UNREAD_FIELD, ContainerId, Status
from syncd.reconcile.fields import full_name
from syncd.reconcile.person import OPEN, Candidate, Former, Rename
from syncd.store.bulk import chunks, one_of, spelled
from syncd.store.records import of_address
from syncd.store.tables import CellRow, ConsentEventRow, ConsentRow, ExemptionRow, OpRow, RenameRow

cell = CellRow.__table__  # type: ignore[attr-defined]
consent = ConsentRow.__table__  # type: ignore[attr-defined]
consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
exemption = ExemptionRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
rename = RenameRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500
_STANDING = sorted(PRESENT - SUPPRESSED)
_fields = msgspec.json.Decoder(dict[str, str]).decode


def begin(
    connection: Connection,
    account: str,
    container: str,
    identity: Identity,
    *,
    seq: int,
    at: datetime,
    open_since: datetime | None = None,
) -> None:
    """Something was changed for this address, perhaps the address. Of one that does not stand there nothing follows.

    What it is known to give way to stays known: the notice may be of that very change. A change that began later than
    `open_since` goes on as it is.
    """
    here = of_address(account, container, identity)
    standing = sa.select(cell.c.key).where(*here, spelled(cell.c.status, _STANDING))
    if connection.scalar(standing.limit(1)) is None:
        return
    place = (rename.c.account == account, rename.c.container == container, rename.c.identity == identity)
    expected = sa.case((rename.c.retired_at.is_(None), rename.c.successor), else_=None)
    if open_since is not None:
        goes_on = (rename.c.retired_at.is_(None), rename.c.opened_at > open_since)
        if connection.scalar(sa.select(rename.c.identity).where(*place, *goes_on)) is not None:
            return
    values: dict[str, Any] = {"opened_seq": seq, "opened_at": at, "retired_at": None}
    if not connection.execute(rename.update().where(*place).values({**values, "successor": expected})).rowcount:
        connection.execute(rename.insert().values(_row(account, container, identity) | values))


def withdraw(connection: Connection, account: str, container: str, identity: Identity, *, seq: int) -> None:
    """What began at `seq` came to nothing: nobody asked this address to give way. What began otherwise goes on."""
    place = (rename.c.account == account, rename.c.container == container, rename.c.identity == identity)
    connection.execute(rename.delete().where(*place, rename.c.opened_seq == seq, rename.c.retired_at.is_(None)))


def expect(
    connection: Connection,
    account: str,
    container: str,
    identity: Identity,
    successor: Identity,
    *,
    at: datetime | None = None,
) -> None:
    """The provider took our word, at `at`, that this address gives way to that one, once its owner confirms."""
    place = (rename.c.account == account, rename.c.container == container, rename.c.identity == identity)
    values: dict[str, Any] = {"successor": successor, **({} if at is None else {"opened_at": at})}
    connection.execute(rename.update().where(*place, rename.c.retired_at.is_(None)).values(values))


def took_over(connection: Connection, op_id: int) -> None:
    """An operation was read back, or may have been carried out: the address that it was to take the place of gives way
    to its own.
    """
    if (taken := _taken(connection, op_id)) is not None:
        expect(connection, *taken)


def ask_again(connection: Connection, op_id: int) -> None:
    """A person has looked: nobody asked the address that an operation names to take the place of another."""
    if (taken := _taken(connection, op_id)) is not None:
        account, container, former, identity = taken
        place = (rename.c.account == account, rename.c.container == container, rename.c.identity == former)
        waits = (rename.c.successor == identity, rename.c.retired_at.is_(None))
        connection.execute(rename.delete().where(*place, *waits))


def _taken(connection: Connection, op_id: int) -> tuple[str, str, Identity, Identity] | None:
    """Where an operation puts which address in the place of which: account, container, the former, its own."""
    row = connection.execute(
        sa.select(op.c.account, op.c.container, op.c.identity, op.c.replaces).where(op.c.id == op_id)
    ).one()
    former = None if row.replaces is None else identity_of(row.replaces)
    return None if former is None else (row.account, row.container, former, Identity(row.identity))


def note_moved(
    connection: Connection,
    account: str,
    container: str,
    identity: Identity,
    successor: Identity,
    *,
    seq: int,
    at: datetime,
) -> None:
    """A record that went by the one address goes by the other now; of a former change at its place nothing is left.

    One that was called like somebody else who stands there, and is called as before again, says nothing of them.
    """
    here = (rename.c.account == account, rename.c.container == container)
    undone = (rename.c.identity == successor, rename.c.successor == identity)
    back = connection.scalar(sa.select(rename.c.identity).where(*here, *undone)) is not None
    connection.execute(rename.delete().where(*here, rename.c.identity.in_([identity, successor])))
    if back and connection.scalar(_others(account, container, identity)) is not None:
        return
    values = {"opened_seq": seq, "opened_at": at, "successor": successor}
    connection.execute(rename.insert().values(_row(account, container, identity) | values))


def _others(account: str, container: str, identity: Identity) -> sa.Select[tuple[str]]:
    """A record there that goes by the address, if any does."""
    gone = [Status.REMOVED.value, Status.ABSENT.value]
    there = of_address(account, container, identity)
    return sa.select(cell.c.key).where(*there, cell.c.status.not_in(gone)).limit(1)


def _row(account: str, container: str, identity: Identity) -> dict[str, Any]:
    key = suppression_key(identity)
    return {"account": account, "container": container, "identity": identity, "person_key": key}


def load(
    connection: Connection, keys: Sequence[SuppressionKey], said: Collection[SuppressionKey]
) -> dict[SuppressionKey, list[Rename]]:
    """Changes of address of these people; what was taken back since, for those of them who `said` anything."""
    rows = [row for part in chunks(keys, IN_MAX) for row in connection.execute(_OF_PEOPLE, {"people": part})]
    heirs = {row.successor for row in rows if row.person_key in said and row.retired_at is not None} - {None}
    undone = _undone(connection, heirs) if heirs else {}
    found: defaultdict[SuppressionKey, list[Rename]] = defaultdict(list)
    for row in rows:
        asked = row.person_key in said and row.retired_at is not None
        found[SuppressionKey(row.person_key)].append(
            _rename(connection, row, undone.get(row.successor, ()) if asked else ())
        )
    return dict(found)


_OF_PEOPLE = (
    sa.select(rename).where(one_of(rename.c.person_key, "people")).order_by(rename.c.account, rename.c.container)
)


def retire(connection: Connection, of: Rename, successor: Identity, retired_at: str | None) -> None:
    """The address gave way to this one."""
    account, container, identity = of.place
    connection.execute(
        rename.update()
        .where(rename.c.account == account, rename.c.container == container, rename.c.identity == identity)
        .values(retired_at=retired_at, successor=successor)
    )


def _rename(connection: Connection, row: Any, undone: tuple[tuple[Scope | None, datetime], ...]) -> Rename:
    return Rename(
        account=row.account,
        container=ContainerId(row.container),
        identity=Identity(row.identity),
        seq=row.opened_seq,
        at=row.opened_at,
        retired_at=row.retired_at,
        successor=None if row.successor is None else Identity(row.successor),
        candidates=() if row.retired_at is not None else _candidates(connection, row),
        undone=undone,
    )


def _undone(
    connection: Connection, successors: Collection[str]
) -> dict[str, tuple[tuple[Scope | None, datetime], ...]]:
    """What each address that took the place of another, or one that took its place in turn, took back, and when."""
    nexts = _nexts(connection, {suppression_key(Identity(one)) for one in successors})
    taken_back: defaultdict[str, list[tuple[Scope | None, datetime]]] = defaultdict(list)
    for part in chunks(sorted(nexts), IN_MAX):
        for row in connection.execute(_SAID_YES, {"people": part}):
            taken_back[row.person_key].append((Scope(row.scope), row.since))
        for row in connection.execute(_CAME_BACK, {"people": part}):
            taken_back[row.person_key].append((None, row.granted_at))
    return {
        one: tuple(entry for key in _reached(nexts, suppression_key(Identity(one))) for entry in taken_back[key])
        for one in successors
    }


def _nexts(connection: Connection, keys: Collection[SuppressionKey]) -> dict[SuppressionKey, list[SuppressionKey]]:
    """Who took the place of each of these, and of those in turn, by whose place it was."""
    found: dict[SuppressionKey, list[SuppressionKey]] = {}
    left = set(keys)
    while left:
        found |= {key: [] for key in left}
        for part in chunks(sorted(left), IN_MAX):
            for row in connection.execute(_NEXT, {"people": part}):
                found[SuppressionKey(row.person_key)].append(suppression_key(Identity(row.successor)))
        left = {after for key in left for after in found[key]} - set(found)
    return found


def _reached(nexts: Mapping[SuppressionKey, Sequence[SuppressionKey]], first: SuppressionKey) -> list[SuppressionKey]:
    found = [first]
    for key in found:  # which grows meanwhile
        found += [after for after in dict.fromkeys(nexts[key]) if after not in found]
    return found


_NEXT = sa.select(rename.c.person_key, rename.c.successor).where(
    one_of(rename.c.person_key, "people"), rename.c.retired_at.is_not(None), rename.c.successor.is_not(None)
)
_SAID_YES = sa.select(consent.c.person_key, consent.c.scope, consent.c.since).where(
    one_of(consent.c.person_key, "people"), consent.c.epoch > 0, consent.c.level < int(Level.UNSUBSCRIBED)
)
_CAME_BACK = sa.select(exemption.c.person_key, exemption.c.granted_at).where(
    one_of(exemption.c.person_key, "people"), exemption.c.ended_seq.is_(None)
)


def _candidates(connection: Connection, row: Any) -> tuple[Candidate, ...]:
    """Who was seen confirmed there since, and was not before."""
    beside = {"of_account": row.account, "of_container": row.container, "besides": row.identity}
    return tuple(
        Candidate(Identity(identity), confirmed_at, full_name(_as_shown(_fields(fields))))
        for identity, confirmed_at, fields in connection.execute(_CONFIRMED, {**beside, "since": row.opened_seq})
    )


def _as_shown(fields: Mapping[str, str]) -> Mapping[str, str]:
    """With what could not be read, so that it is not taken for no name at all."""
    return {name.removeprefix(UNREAD_FIELD): text for name, text in fields.items()}


_CONFIRMED = (
    sa.select(cell.c.identity, cell.c.confirmed_at, cell.c.fields)
    .where(
        cell.c.account == sa.bindparam("of_account"),
        cell.c.container == sa.bindparam("of_container"),
        cell.c.identity != sa.bindparam("besides"),
        cell.c.status == Status.SUBSCRIBED.value,
        cell.c.confirmed_seq > sa.bindparam("since"),
    )
    .order_by(cell.c.key)
)


# Former addresses ----------------------------------------------------------------------------------------------------


def formers(connection: Connection, identities: Sequence[Identity]) -> dict[Identity, list[Former]]:
    """The addresses whose place these took or are to take, and those whose place those had taken, by the latter."""
    chains = [chain for part in chunks(identities, IN_MAX) for chain in _chains(connection, part)]
    if not chains:
        return {}
    known = _known(connection, chains)
    found: defaultdict[Identity, list[Former]] = defaultdict(list)
    for row, last in chains:
        found[last].append(_former(row, last, known))
    return found


def _chains(connection: Connection, identities: Sequence[Identity]) -> Iterator[tuple[Any, Identity]]:
    """Each change of address that leads to one of these, with that one; the nearest first."""
    reached = {(identity, identity) for identity in identities}
    seen = set(reached)
    while reached:
        next_: set[tuple[Identity, Identity]] = set()
        for row in connection.execute(_FORMERS, {"these": sorted({by for by, _ in reached})}):
            for by, last in sorted(reached):
                former = Identity(row.identity)
                direct = by == last
                if by != row.successor or former == last or not (direct or row.retired_at is not None):
                    continue
                yield row, last
                if row.retired_at is not None and (former, last) not in seen:
                    next_.add((former, last))
        seen |= next_
        reached = next_


@dataclass(frozen=True, slots=True)
class _Known:
    """By person what they said; by address where it stands, and since when it does not."""

    said: Mapping[str, Sequence[Any]]
    stands: Mapping[str, Sequence[Any]]
    left: Mapping[str, Sequence[datetime]]


def _known(connection: Connection, chains: Sequence[tuple[Any, Identity]]) -> _Known:
    said: defaultdict[str, list[Any]] = defaultdict(list)
    stands: defaultdict[str, list[Any]] = defaultdict(list)
    left: defaultdict[str, list[datetime]] = defaultdict(list)
    before = {row.person_key for row, _ in chains}
    for part in chunks(sorted(before | {suppression_key(last) for _, last in chains}), IN_MAX):
        for entry in connection.execute(_SAID, {"people": part}):
            said[entry.person_key].append(entry)
    for part in chunks(sorted(before), IN_MAX):
        for one in connection.execute(_STANDS, {"people": part}):
            stands[one.identity].append(one)
        for one in connection.execute(_LEFT, {"people": part}):
            left[one.identity].append(one.status_at)
    return _Known(said, stands, left)


def _former(row: Any, last: Identity, known: _Known) -> Former:
    said = known.said.get(row.person_key, ())
    words = {entry.scope: entry.last for entry in known.said.get(suppression_key(last), ())}
    here = known.stands.get(row.identity, ())
    learnt = max((entry.since for entry in said), default=None)
    return Former(
        identity=Identity(row.identity),
        successor=last,
        account=row.account,
        container=ContainerId(row.container),
        gave_way=row.retired_at is not None,
        stands={(one.account, ContainerId(one.container)): one.address for one in here if not one.busy},
        noes=frozenset(
            Scope(entry.scope)
            for entry in said
            if Level(entry.level).suppresses and entry.last > words.get(entry.scope, 0)
        ),
        busy=frozenset((one.account, ContainerId(one.container)) for one in here if one.busy),
        waits=any(learnt is None or learnt < at for at in known.left.get(row.identity, ())),
    )


_FORMERS = (
    sa.select(rename)
    .where(one_of(rename.c.successor, "these"))
    .order_by(rename.c.account, rename.c.container, rename.c.identity)
)
_SAID = (
    sa.select(
        consent.c.person_key,
        consent.c.scope,
        consent.c.level,
        consent.c.since,
        sa.func.max(consent_event.c.id).label("last"),
    )
    .join(
        consent_event,
        sa.and_(consent_event.c.person_key == consent.c.person_key, consent_event.c.scope == consent.c.scope),
    )
    .where(one_of(consent.c.person_key, "people"))
    .group_by(consent.c.person_key, consent.c.scope, consent.c.level, consent.c.since)
)
_BUSY = sa.exists().where(
    op.c.account == cell.c.account,
    op.c.container == cell.c.container,
    op.c.identity == cell.c.identity,
    spelled(op.c.state, OPEN),
)
_STANDS = (
    sa.select(cell.c.identity, cell.c.account, cell.c.container, cell.c.address, _BUSY.label("busy"))
    .where(one_of(cell.c.person_key, "people"), cell.c.status == Status.SUBSCRIBED.value)
    .order_by(cell.c.account, cell.c.container, cell.c.key)
)
_LEFT = sa.select(cell.c.identity, cell.c.status_at).where(
    one_of(cell.c.person_key, "people"),
    cell.c.status == Status.UNSUBSCRIBED.value,
    sa.exists().where(
        rename.c.account == cell.c.account,
        rename.c.container == cell.c.container,
        rename.c.identity == cell.c.identity,
        rename.c.retired_at.is_(None),
        rename.c.opened_seq < cell.c.status_seq,
    ),
)
