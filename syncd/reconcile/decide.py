"""Base, observed, desired: one decision per person, with its reasons.

Level-triggered: a decision follows from how things stand, never from the notice that made us look. So planning twice
adds nothing, and
what was planned, sent and read back plans to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import Identity
from syncd.domain.records import Status
from syncd.reconcile.close import STICKS_MAX, close, lost
from syncd.reconcile.correct import NOT_THERE, correct
from syncd.reconcile.desired import Closing, Desired, LookUp, Withheld
from syncd.reconcile.fields import merge
from syncd.reconcile.hygiene import screen
from syncd.reconcile.learn import ABSENCES_NEEDED
from syncd.reconcile.person import OPEN, Operation, OpState, Person, Place, Topology
from syncd.reconcile.rename import waiting
from syncd.reconcile.spread import spread
from syncd.reconcile.suppress import suppress

Found = Closing | Desired | LookUp | Withheld | datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """All that follows for one person.

    `fields` are the merged values per identity. `by_hand` says what should be done and no provider's interface can do.
    `withheld`: whose additions are kept back, verified or to be verified. `again_at`: when to look at this person again
    although nothing new was seen.
    """

    desired: tuple[Desired, ...] = ()
    look_ups: tuple[LookUp, ...] = ()
    closings: tuple[Closing, ...] = ()
    fields: Mapping[Identity, Mapping[str, str]] = field(default_factory=dict)
    by_hand: tuple[str, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    again_at: datetime | None = None


def decide(person: Person, topology: Topology, now: datetime) -> Decision:
    """What is to be done about one person. The same arguments give the same decision, in the same order."""
    found: list[Found] = [*close(person, topology, now)]
    fields = {identity: _merged(person, topology, identity) for identity in person.identities}
    for identity in person.identities:
        found += suppress(person, topology, identity, now)
        joins = list(spread(person, topology, identity, fields[identity]))
        found += screen(person, topology, identity, joins, fields[identity].get("phone", ""), now)
        found += correct(person, topology, identity, fields[identity])
    waits = list(waiting(person, topology, now))
    if waits:
        found = [*(item for item in found if not _adds(item)), *waits]
    closings = [item for item in found if isinstance(item, Closing)]
    closed = {closing.operation.id for closing in closings}
    found += _confirm_absences(person)
    found += _ask_after(person, topology, closed)
    desired = [item for item in found if isinstance(item, Desired)]
    told = {OpState.VERIFIED, OpState.PARKED}
    settled = {_place(item.operation) for item in closings if item.state in told or lost(item)}
    if settled:
        found.append(now)  # what is known of it says so from here on: whatever else is wanted there is decided next
    sendable, by_hand = _sendable(person, topology, [w for w in desired if _place_of(w) not in settled], closings)
    return Decision(
        desired=tuple(sendable),
        look_ups=tuple(dict.fromkeys(item for item in found if isinstance(item, LookUp))),
        closings=tuple(closings),
        fields=fields,
        by_hand=tuple(by_hand),
        withheld=tuple(item for item in found if isinstance(item, Withheld)),
        again_at=min((item for item in found if isinstance(item, datetime)), default=None),
    )


def _adds(item: Found) -> bool:
    return isinstance(item, Desired) and item.change.kind is ChangeKind.SUBSCRIBE


def _sendable(
    person: Person, topology: Topology, desired: list[Desired], closings: list[Closing]
) -> tuple[list[Desired], list[str]]:
    """Leave out what is under way already, what does not stick, and what the provider's interface cannot do."""
    closed = {closing.operation.id for closing in closings}
    just_refuted = Counter(
        (_place(closing.operation), closing.operation.kind)
        for closing in closings
        if closing.state in {OpState.REFUTED, OpState.BLOCKED}
    )
    busy = {_place(op): op for op in person.operations if op.state in OPEN and op.id not in closed}
    sendable: list[Desired] = []
    by_hand: list[str] = []
    taken: set[Place] = set()
    for wish in desired:
        change = wish.change
        place = _place_of(wish)
        tries = person.refuted.get((place, change.kind), 0) + just_refuted[place, change.kind]
        parked = person.parked.get((place, change.kind))
        if change.kind not in topology.accounts[wish.account].capabilities.accepts:
            by_hand.append(f"{change.kind} at {wish.account}, whose interface cannot: {wish.why}")
        elif change.kind is not ChangeKind.UNSUBSCRIBE and tries >= STICKS_MAX:
            by_hand.append(f"{change.kind} at {wish.account} did not stick after {tries} tries: {wish.why}")
        elif change.kind is not ChangeKind.UNSUBSCRIBE and parked is not None and dict(parked) == dict(change.fields):
            continue  # refused as it is; a person, or another value, opens it again
        elif place not in taken and (place not in busy or _replaces(wish, busy[place], person, topology)):
            taken.add(place)  # one operation per cell; unsubscribes were decided first
            sendable.append(_with_what_moved(wish, busy.get(place), person))
    return sendable, by_hand


def _place(op: Operation) -> Place:
    return op.account, op.container, op.identity


def _place_of(wish: Desired) -> Place:
    return wish.account, wish.change.container, wish.change.identity


def _replaces(wish: Desired, op: Operation, person: Person, topology: Topology) -> bool:
    """A newer desire takes the place of an unsent one; an operation under way or in doubt keeps its cell."""
    if op.state is not OpState.READY:
        return False
    differs = wish.change.kind != op.kind or dict(wish.change.fields) != dict(op.fields)
    return differs or _misses(wish, op, person, topology)


def _misses(wish: Desired, op: Operation, person: Person, topology: Topology) -> bool:
    """Whether an unsubscribe is for records that are gone, or not for all that stand there by now: as it is, it may be
    refused for ever, or leave somebody who can be mailed.
    """
    readable = topology.accounts[op.account].capabilities.readable
    if op.kind is not ChangeKind.UNSUBSCRIBE or not op.keys or not readable:
        return False
    gone = {cell.key for cell in person.at(*op.place) if cell.status in NOT_THERE}
    return not gone.isdisjoint(op.keys) or not set(wish.change.keys) <= set(op.keys)


def _with_what_moved(wish: Desired, op: Operation | None, person: Person) -> Desired:
    """An unsubscribe that takes the place of another is also for its records that go by another address by now."""
    if op is None or op.kind is not wish.change.kind or op.kind is not ChangeKind.UNSUBSCRIBE:
        return wish
    moved = set(op.keys).difference(cell.key for cell in person.at(*op.place))
    return replace(wish, change=replace(wish.change, keys=tuple(sorted({*wish.change.keys, *moved}))))


def _merged(person: Person, topology: Topology, identity: Identity) -> Mapping[str, str]:
    cells = [cell for cell in person.cells if cell.identity == identity and cell.fields]
    return merge(person.fields.get(identity, {}), cells, tuple(topology.accounts), topology.accounts, topology.owners)


def _confirm_absences(person: Person) -> Iterator[LookUp]:
    open_at = {op.place for op in person.operations}
    for cell in person.cells:
        if person.erased and cell.place not in open_at:
            continue  # whoever is gone for good need not be asked about, unless work of ours would wait for ever
        if cell.missing_count >= ABSENCES_NEEDED and cell.status not in {Status.REMOVED, Status.ABSENT}:
            yield LookUp(cell.account, cell.container, cell.identity, cell.address, "gone from two whole listings")


def _ask_after(person: Person, topology: Topology, closed: set[int]) -> Iterator[LookUp]:
    """An operation whose outcome nobody knows is asked after, where the provider can be asked."""
    for op in person.operations:
        if op.state is OpState.UNKNOWN and op.id not in closed and topology.accounts[op.account].capabilities.lookup:
            here = person.at(op.account, op.container, op.identity)
            address = here[0].address if here else str(op.identity)
            yield LookUp(op.account, op.container, op.identity, address, "what became of a call is unknown")
