"""What became of what was sent: a newer reading confirms an operation, or refutes it, or says nothing yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL
from syncd.domain.records import Status
from syncd.reconcile.correct import NOT_THERE
from syncd.reconcile.desired import Closing
from syncd.reconcile.fields import NAME_FIELDS, full_name
from syncd.reconcile.person import Cell, Operation, OpState, Person, Topology, stands
from syncd.reconcile.rename import pending
from syncd.reconcile.spread import UNFOUNDED, joins
from syncd.reconcile.suppress import concerning, suppressing

LOST = "it may have arrived, and is not repeated: look there, then syncd parked retry ID if it has not"
"""What a person reads of a delivery whose answer was lost, where nobody can be asked."""

ASKED_PERHAPS = "the new address may be asked to confirm already: look there, then syncd parked retry ID if it is not"
"""What a person reads of a change of address whose answer was lost, where what has yet to confirm need not be shown."""

NOTHING_LEFT = "nothing is left there to unsubscribe: the records are gone, or read as asked"
"""Why an unsubscribe that has not been carried out ends all the same."""

STICKS_MAX = 3
"""Writes of one kind to one cell that were accepted and then read back otherwise, before we stop.

Unsubscribes never stop.
"""


def close(person: Person, topology: Topology, now: datetime) -> Iterator[Closing | datetime]:
    """Closings, and the times at which to look again at what may only lag behind.

    A reading counts only if its request began after the operation ended; one that contradicts it counts only once the
    provider has had time to settle.
    """
    for op in person.operations:
        if op.state is OpState.READY:
            if (reason := _unwanted(op, person, topology)) is not None:
                yield Closing(op, OpState.SUPERSEDED, reason)
        elif op.state is OpState.UNKNOWN and not topology.accounts[op.account].capabilities.readable:
            yield _unasked(op, topology)
        elif op.state in {OpState.UNKNOWN, OpState.ACCEPTED}:
            verdict = _verdict(op, person.at(op.account, op.container, op.identity), topology)
            settled_at = (op.ended_at or now) + timedelta(seconds=topology.accounts[op.account].settle_s)
            if verdict is True:
                yield Closing(op, OpState.VERIFIED, "read back as asked")
            elif verdict is False and now < settled_at:
                yield settled_at
            elif verdict is False and _waits_for_word(op, person):
                yield Closing(op, OpState.DONE, "the new address has yet to confirm")
            elif verdict is False and op.state is OpState.UNKNOWN and op.replaces is not None:
                yield Closing(op, OpState.PARKED, f"{op.reason or 'no answer came'}; {ASKED_PERHAPS}")
            elif verdict is False:
                yield _refuted(op, person)


def _waits_for_word(op: Operation, person: Person) -> bool:
    """Whether it took an address that is to take the place of another; it may show it only once that confirms."""
    return op.state is OpState.ACCEPTED and pending(person, op.account, op.container, op.identity)


def lost(closing: Closing) -> bool:
    """Whether it leaves open if somebody is there: a delivery that nobody answered, where nobody can be asked."""
    unanswered = closing.operation.state is OpState.UNKNOWN and closing.state in {OpState.PARKED, OpState.REFUTED}
    return unanswered and closing.operation.kind is ChangeKind.SUBSCRIBE and closing.unasked


def _unasked(op: Operation, topology: Topology) -> Closing:
    """What to do about a call of which nobody can be asked what became of it.

    Telling twice of a "no" changes nothing. Delivering somebody twice does, unless the receiver is known to notice.
    """
    if op.kind is ChangeKind.UNSUBSCRIBE or topology.accounts[op.account].capabilities.facts.deduplicates:
        return Closing(op, OpState.REFUTED, "nobody there can be asked what became of it: told again", unasked=True)
    return Closing(op, OpState.PARKED, f"{op.reason or 'no answer came'}; {LOST}", unasked=True)


def _refuted(op: Operation, person: Person) -> Closing:
    """Planned again, or given up for a person to see. An unsubscribe is never given up."""
    tries = person.refuted.get(((op.account, op.container, op.identity), op.kind), 0) + 1
    if op.kind is not ChangeKind.UNSUBSCRIBE and tries >= STICKS_MAX:
        return Closing(op, OpState.BLOCKED, f"accepted and read back otherwise, {tries} times in a row")
    return Closing(op, OpState.REFUTED, "read back otherwise, after time to settle")


def _unwanted(op: Operation, person: Person, topology: Topology) -> str | None:
    """Why an operation that was not sent yet must not go out any more, or None."""
    if op.kind is ChangeKind.UNSUBSCRIBE:
        if _taken_back(op, person, topology):
            return "the person has said yes since"
        return NOTHING_LEFT if _nothing_left(op, person, topology) else None
    if suppressing(person, topology, op.account, op.container):
        return "the person has said no since"
    here = person.at(op.account, op.container, op.identity)
    if op.kind is ChangeKind.SUBSCRIBE and any(cell.status is not Status.ABSENT and not cell.lost for cell in here):
        return "the person is known there by now"
    if op.kind is ChangeKind.SUBSCRIBE and not joins(person, topology, *op.place):
        return UNFOUNDED
    if op.kind is ChangeKind.UPDATE and any(cell.nameless or op.fields.keys() & cell.unread for cell in here):
        return "what stands there by now cannot be read"
    return None


def _taken_back(op: Operation, person: Person, topology: Topology) -> bool:
    """Whether the "no" that an unsubscribe carries was ended by the person's own word.

    That no list of ours names its place any more, say, is no reason to stop one.
    """
    account = topology.accounts[op.account]
    here = person.at(op.account, op.container, op.identity)
    if account.capabilities.facts.blind_unsubscribe:
        scopes = frozenset({GLOBAL, *(entry.scope for entry in concerning(person, topology, account))})
    else:
        scopes = topology.reaching(op.account, op.container).union(*map(topology.reaching_record, here))
    return any(person.said_yes(scope) for scope in scopes) and not any(person.said_no(scope) for scope in scopes)


def _nothing_left(op: Operation, person: Person, topology: Topology) -> bool:
    """Whether none of the records that an unsubscribe is for can be mailed any more, whatever became of it.

    One that cannot be read may be; so may one that goes by another address now, until that has inherited the "no".
    """
    here = person.at(op.account, op.container, op.identity)
    if not here or not topology.accounts[op.account].capabilities.readable:
        return False
    elsewhere = set(op.keys).difference(cell.key for cell in here)
    inherited = any(rename.place == op.place and rename.retired_at is not None for rename in person.renames)
    return not any(stands(cell) or cell.nameless for cell in here) and (inherited or not elsewhere)


def _verdict(op: Operation, cells: Sequence[Cell], topology: Topology) -> bool | None:
    """True: read back as asked. False: read back otherwise. None: not read since."""
    whole = topology.whole.get((op.account, op.container), 0)
    if op.kind is ChangeKind.SUBSCRIBE:
        there = [cell for cell in cells if cell.status is not Status.ABSENT]
        if not there:
            return False if max([whole, *(cell.seq for cell in cells)]) > max(op.ended_seq, op.settled_seq) else None
        return True if any(_reading(op, cell, whole) for cell in there) else None
    # What is left of records that are gone need not be read again: it is not what was written to.
    written = [cell for cell in cells if cell.status not in NOT_THERE] or list(cells)
    readings = [_reading(op, cell, whole) for cell in written]
    if not readings or None in readings:
        return None
    return all(readings)


def _reading(op: Operation, cell: Cell, whole: int) -> bool | None:
    # A record that is listed was seen by the latest whole listing too, even where that had nothing new to say of it.
    seen = cell.missing_seq or max(cell.seq, whole)
    if cell.missing_seq and cell.missing_seq <= op.ended_seq:
        seen = cell.seq
    if seen <= op.ended_seq:
        return None
    as_asked = _as_asked(op, cell)
    return as_asked if as_asked or seen > op.settled_seq else None


def _as_asked(op: Operation, cell: Cell) -> bool:
    if cell.missing_seq > op.ended_seq:
        return op.kind is ChangeKind.UNSUBSCRIBE  # gone is as good as unsubscribed, and no good otherwise
    match op.kind:
        case ChangeKind.UNSUBSCRIBE:
            return not stands(cell)
        case ChangeKind.SUBSCRIBE:
            return cell.status is not Status.REMOVED
        case _:  # an update
            return _shows(op, cell)


def _shows(op: Operation, cell: Cell) -> bool:
    """Whether the record shows what was written.

    Names may have been written as one field, so they are compared joined.
    """
    rest = {name for name in op.fields if name not in NAME_FIELDS}
    if any(cell.fields.get(name) != op.fields[name] for name in rest):
        return False
    names = {name: op.fields[name] for name in NAME_FIELDS if name in op.fields}
    return all(cell.fields.get(n) == v for n, v in names.items()) or full_name(names) == full_name(cell.fields)
