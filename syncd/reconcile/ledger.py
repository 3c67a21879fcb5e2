"""The ledger: for every "no", each place that has to learn of it, and what became of it there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Scope
from syncd.domain.facts import Grade
from syncd.domain.records import WHOLE_ACCOUNT, Status
from syncd.reconcile.exempt import lifted
from syncd.reconcile.learn import OWN_ANSWER
from syncd.reconcile.person import OPEN, Cell, OpState, Person, Place, Topology, stands
from syncd.reconcile.suppress import concerning, told


class Arrival(StrEnum):
    """What became of a "no" at one place. All but the first are the end of it."""

    OPEN = "open"  # it has not arrived, as far as we know
    CARRIED = "carried"  # an unsubscribe of ours brought it there
    ALREADY = "already"  # it reads so there without one
    WITHDRAWN = "withdrawn"  # the person said yes since, or came back there


@dataclass(frozen=True, slots=True)
class Said:
    """A "no" as it was recorded."""

    id: int
    scope: Scope
    epoch: int
    at: datetime
    source: str
    container: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An unsubscribe of ours, open or not."""

    id: int
    place: Place
    state: OpState
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One "no" at one place.

    `known_at`: when both were known, the "no" and that the place has to learn of it; from then on time runs.
    """

    event_id: int
    place: Place
    known_at: datetime
    arrival: Arrival = Arrival.OPEN
    op_id: int | None = None
    grade: Grade = Grade.UNKNOWN
    settled_at: datetime | None = None


def follow(
    person: Person,
    topology: Topology,
    said: Sequence[Said],
    entries: Sequence[Entry],
    sent: Sequence[Sent],
    now: datetime,
) -> Iterator[Entry]:
    """Entries that are missing, and those that have moved. Whatever is settled stays as it is: it is a proof."""
    unsubscribes: defaultdict[Place, list[Sent]] = defaultdict(list)
    for op in sorted(sent, key=lambda op: op.id):
        unsubscribes[op.place].append(op)
    known: defaultdict[int, dict[Place, Entry]] = defaultdict(dict)
    for entry in entries:
        known[entry.event_id][entry.place] = entry
    for event in said:
        mine = known[event.id]
        stands_still = person.consent.get(event.scope, ConsentState()).epoch == event.epoch
        wanted = set(targets(person, topology, event)) if stands_still else set()
        for place in sorted({*wanted, *mine}):
            before = mine.get(place)
            if place[0] not in topology.accounts or (before is not None and before.arrival is not Arrival.OPEN):
                continue
            entry = before or Entry(event.id, place, _known_at(person, event, place, mine, now))
            if stands_still and not _opened(person, topology, place):
                after = _moved(entry, person, topology, unsubscribes[place], now if before else entry.known_at)
            else:
                after = replace(entry, arrival=Arrival.WITHDRAWN, settled_at=now)
            if after != before:
                yield after


def targets(person: Person, topology: Topology, event: Said) -> Iterator[Place]:
    """Every place that has to learn of a "no" and can: where the person is known and the "no" reaches, where it was
    said, and every provider that is told of people it never named to us.
    """
    for account in topology.accounts.values():
        if ChangeKind.UNSUBSCRIBE not in account.capabilities.accepts:
            continue
        if account.capabilities.facts.blind_unsubscribe:
            if event.scope == GLOBAL or any(e.scope == event.scope for e in concerning(person, topology, account)):
                for identity in person.identities:
                    yield account.name, WHOLE_ACCOUNT, identity
            continue
        for cell in person.cells:
            if cell.account == account.name and _has_to_learn(cell, person, topology, event):
                yield cell.account, cell.container, cell.identity


def _has_to_learn(cell: Cell, person: Person, topology: Topology, event: Said) -> bool:
    if (event.source, event.container) == (cell.account, cell.container):
        return cell.status is not Status.ABSENT
    if _opened(person, topology, cell.place):
        return False
    if cell.status is Status.ABSENT or (cell.status is Status.REMOVED and cell.place not in person.noes_written):
        return False
    return event.scope in topology.reaching_record(cell)


def _opened(person: Person, topology: Topology, place: Place) -> bool:
    """Whether the person came back there. A provider that cannot be read is told of every "no" all the same."""
    blind = topology.accounts[place[0]].capabilities.facts.blind_unsubscribe
    return not blind and lifted(person, topology, place)


def _known_at(person: Person, event: Said, place: Place, others: Mapping[Place, Entry], now: datetime) -> datetime:
    """Somebody who is seen at a place only later, or a place that is new, counts from then."""
    since = min((cell.status_at for cell in person.at(*place) if stands(cell)), default=now if others else event.at)
    return max(event.at, since)


def _moved(entry: Entry, person: Person, topology: Topology, sent: Sequence[Sent], at: datetime) -> Entry:
    latest = sent[-1] if sent else None
    if latest is not None and latest.state in OPEN:
        return replace(entry, op_id=latest.id)
    ours = latest is not None and (latest.id == entry.op_id or latest.created_at >= entry.known_at)
    if latest is not None and ours and latest.state in {OpState.VERIFIED, OpState.DONE}:
        grade = Grade.VERIFIED if latest.state is OpState.VERIFIED else Grade.ACCEPTED
        return replace(entry, arrival=Arrival.CARRIED, op_id=latest.id, grade=grade, settled_at=at)
    if not _still_to_learn(person, topology, entry.place):
        here = person.at(*entry.place)
        answered = any(cell.route == OWN_ANSWER for cell in here)
        earlier = latest.id if latest is not None and answered else None  # its receipt holds for this "no" too
        grade = Grade.ACCEPTED if answered else Grade.VERIFIED
        return replace(entry, arrival=Arrival.ALREADY, op_id=earlier, grade=grade, settled_at=at)
    return replace(entry, op_id=latest.id) if latest is not None and ours else entry


def _still_to_learn(person: Person, topology: Topology, place: Place) -> bool:
    account = topology.accounts[place[0]]
    if account.capabilities.facts.blind_unsubscribe:
        return not told(person, topology, account, place[2])
    return any(stands(cell) for cell in person.at(*place))
