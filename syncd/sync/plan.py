"""Decide about whoever is due, and put what follows into the outbox. No call to anybody.

First everything that was seen is read as consent, for all who are due; only then is anything decided, so that one
listing that turned very many people at once is known as such before the first change follows from it.

A hundred people are one transaction. More are several: in between others have the mirror, and the loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import Status
from syncd.reconcile.close import lost
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.desired import Closing, Desired
from syncd.reconcile.guard import Held, guarded, sift
from syncd.reconcile.person import Cell, OpState, Person, Topology
from syncd.store import (
    caution,
    containers,
    erasure,
    hashed,
    hygiene,
    journal,
    lookups,
    mirror,
    outbox,
    people,
    plans,
    renames,
    traces,
)
from syncd.store.bulk import chunks
from syncd.store.session import Connection, reading, rehearsing, writing
from syncd.sync.context import Context
from syncd.sync.learning import Learnt, flag_mass, learn_all, load, take_note
from syncd.sync.ledger import keep_ledger

CHUNK = 400
EVERYBODY = 2**31


@dataclass(slots=True)
class Planned:
    """What a planning pass came to. `retired`: addresses that gave way to others; `exempted`: exemptions that began or
    ended; `by_hand`: what should be done and no interface can do; `elsewhere`: another round is at the rest.
    """

    people: int = 0
    learnt: int = 0
    put: int = 0
    held: int = 0
    look_ups: int = 0
    closed: int = 0
    claims: int = 0
    retired: int = 0
    exempted: int = 0
    by_hand: Counter[str] = field(default_factory=Counter)
    wishes: list[Desired] = field(default_factory=list)
    waiting: list[Held] = field(default_factory=list)
    elsewhere: bool = False

    def take_note(self, learnt: Learnt) -> None:
        self.learnt += learnt.events
        self.retired += learnt.retired
        self.exempted += learnt.exempted
        self.claims += learnt.claims

    def join(self, part: Planned) -> None:
        """Others were planned as well."""
        for name in ("people", "learnt", "put", "held", "look_ups", "closed", "claims", "retired", "exempted"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.by_hand.update(part.by_hand)


async def plan(context: Context, *, patient: bool = True) -> Planned:
    """Decide about everybody who is due; only one round at a time does.

    `patient=False`: while another one is at it, only those for whom there is more than a listing, before the others.
    """
    planning = context.planning
    if planning.lock.locked() and not patient:
        return Planned(elsewhere=True) if planning.learning else _plan_urgent(context)
    async with planning.lock:
        with reading(context.engine) as connection:
            due = people.due_people(connection, context.now(), context.policy.plan_at_once + 1)
            broke_off = journal.get_value(connection, _BEHIND) is not None
        if broke_off or len(due) > context.policy.plan_at_once:
            return await _plan_many(context)
        return plan_at_once(context)


def plan_at_once(context: Context) -> Planned:
    """Decide about everybody who is due, in one transaction."""
    now = context.now()
    with reading(context.engine) as connection:
        if not people.anybody_due(connection, now) and not plans.due_releases(connection, now):
            return Planned()
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        planned = _plan(connection, context, seq)
        arrived = erasure.arrive(connection)
    if arrived:
        traces.wipe_transit(context.engine)
    return planned


def _plan_urgent(context: Context) -> Planned:
    """All that has to be known was learnt already, and the others have their turn later."""
    with reading(context.engine) as connection:
        them = people.urgent_people(connection, context.now(), context.policy.plan_at_once)
    planned = _plan_part(context, them) if them else Planned()
    planned.elsewhere = True
    return planned


async def _plan_many(context: Context) -> Planned:
    """Decide about everybody who is due, part by part, after all that was said was learnt.

    A kill in between loses nothing: whoever was not decided about is still due, and what was learnt is judged with
    what is learnt then.
    """
    size = context.policy.plan_at_once
    context.planning.learning = True
    try:
        everybody = _begin(context)
        moved = []
        for part in chunks(everybody, size):
            moved += _take_note(context, part)
            await _others(context)
        _judge(context)
        for part in chunks(moved, size):
            _pass_on(context, part)
            await _others(context)
    finally:
        context.planning.learning = False
    planned = Planned()
    for part in chunks(everybody, size):
        planned.join(_plan_part(context, part))
        await _others(context)
    with writing(context.engine) as connection:
        arrived = erasure.arrive(connection)
    if arrived:
        traces.wipe_transit(context.engine)
    return planned


async def _others(context: Context) -> None:
    """Let others have the loop."""
    context.alive()
    await asyncio.sleep(0)


_BEHIND = "learning"
"""Where `meta` keeps the event behind which was learnt what is still to be judged as a whole."""


def _begin(context: Context) -> list[SuppressionKey]:
    now = context.now()
    with writing(context.engine) as connection:
        _release_due_plans(connection, context)
        if journal.get_value(connection, _BEHIND) is None:
            journal.set_value(connection, _BEHIND, str(people.last_event(connection)))
        return people.due_people(connection, now, EVERYBODY)


def _take_note(context: Context, them: Sequence[SuppressionKey]) -> list[SuppressionKey]:
    """Take note of what these people said. Returns those of them who go by another address, or may."""
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        return take_note(connection, context, context.topology(connection), seq, them)


def _judge(context: Context) -> None:
    with writing(context.engine) as connection:
        flag_mass(connection, context, int(journal.get_value(connection, _BEHIND) or 0))
        journal.drop_value(connection, _BEHIND)


def _pass_on(context: Context, them: Sequence[SuppressionKey]) -> None:
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        learn_all(connection, context, context.topology(connection), seq, [list(them)])


def _plan_part(context: Context, them: Sequence[SuppressionKey]) -> Planned:
    """Those of them who are still due: others may have been decided about meanwhile."""
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        return _plan(connection, context, seq, people.due_among(connection, them, context.now()))


def rehearse(context: Context, *, everybody: bool = True) -> Planned:
    """What `plan` would come to, with nothing kept. With `wishes` and `waiting` filled."""
    seq = context.sequence.take()
    with rehearsing(context.engine) as connection:
        if everybody:
            people.everybody_on_agenda(connection, context.now())
        return _plan(connection, context, seq)


def plan_within(connection: Connection, context: Context, seq: int) -> Planned:
    """Plan everybody who is due in a transaction of the caller's, who takes it back."""
    return _plan(connection, context, seq)


@contextmanager
def foreseen(connection: Connection, context: Context, seq: int, among: Sequence[SuppressionKey]) -> Iterator[Planned]:
    """Inside: the mirror as it will be once these people are planned. Afterwards it is as it was."""
    point = connection.begin_nested()
    try:
        yield _plan(connection, context, seq, among)
    finally:
        point.rollback()


def _plan(connection: Connection, context: Context, seq: int, among: Sequence[SuppressionKey] | None = None) -> Planned:
    """Plan everybody who is due, or, if given, exactly those `among` us."""
    planned = Planned()
    if among is None:
        _release_due_plans(connection, context)
    topology = context.topology(connection)
    for name in outbox.accounts_unsettled(connection) & topology.accounts.keys():
        before = context.now() - timedelta(seconds=topology.accounts[name].settle_s)
        outbox.note_settled(connection, name, before, seq)
    _join_digests(connection, context, among)
    learnt = learn_all(connection, context, topology, seq, _due(connection, context, among))
    planned.take_note(learnt)
    for chunk in _due(connection, context, among):
        them = learnt.them or load(connection, context, topology, chunk)
        _decide(connection, context, topology, chunk, them, seq, planned)
    return planned


def _due(
    connection: Connection, context: Context, among: Sequence[SuppressionKey] | None
) -> Iterator[list[SuppressionKey]]:
    if among is not None:
        yield from (list(part) for part in chunks(among, CHUNK))
        return
    now, after = context.now(), ""
    while chunk := people.due_people(connection, now, CHUNK, after):
        context.alive()
        yield chunk
        if len(chunk) < CHUNK:
            return
        after = chunk[-1]


def _join_digests(connection: Connection, context: Context, among: Sequence[SuppressionKey] | None) -> None:
    """Of whom only a digest was known becomes somebody as soon as a provider shows their address."""
    waiting = hashed.unjoined(connection)
    for chunk in _due(connection, context, among) if waiting else ():
        for identity, address in list(hashed.addresses(connection, chunk)):
            hashed.join(connection, waiting, identity, address)


# Decide --------------------------------------------------------------------------------------------------------------


def _decide(
    connection: Connection,
    context: Context,
    topology: Topology,
    chunk: list[SuppressionKey],
    them: list[Person],
    seq: int,
    planned: Planned,
) -> None:
    now = context.now()
    decided = [(person, decide(person, topology, now)) for person in them]
    closings = [closing for _, decision in decided for closing in decision.closings]
    outbox.close_operations(connection, closings, now, seq=seq)
    for closing in closings:
        _note_closed(connection, context, closing, seq)
    wishes = [wish for _, decision in decided for wish in decision.desired]
    look_ups = [look for _, decision in decided for look in decision.look_ups]
    nobody = erasure.unknown_among(connection, [*(wish.change for wish in wishes), *look_ups])
    wishes = [wish for wish in wishes if wish.change.identity not in nobody]
    cells = {identity: person.cells for person, _ in decided for identity in person.identities}
    go, held = _sift(connection, context, chunk, wishes, cells)
    release_at = now + timedelta(seconds=context.policy.mass_release_s)
    plans.replace_items(connection, chunk, held, wishes, now, release_at, seq=seq, cells=cells)
    planned.put += outbox.put(connection, go, now)
    for wish, _ in go:
        if wish.change.kind is ChangeKind.UNSUBSCRIBE:
            context.lanes[wish.account].urgent = True
    planned.look_ups += lookups.want(connection, [look for look in look_ups if look.identity not in nobody], now)
    keep_ledger(connection, context, topology, [person for person, _ in decided])
    hygiene.keep(connection, [(person.key, decision.withheld) for person, decision in decided], now)
    people.save_merged(connection, [(person, decision.fields) for person, decision in decided], now)
    _end_caution(connection, decided)
    people.take_off_agenda(connection, chunk, {p.key: d.again_at for p, d in decided if d.again_at is not None})
    _count(planned, decided, closings, go, held)


def _sift(
    connection: Connection,
    context: Context,
    chunk: list[SuppressionKey],
    wishes: list[Desired],
    cells: Mapping[Identity, Sequence[Cell]],
) -> tuple[list[tuple[Desired, bool]], list[Held]]:
    """Part what may go, with a flag for what counts against the guard, from what waits.

    An approval covers a change on the records that it was shown with, and no other.
    """
    if not wishes:
        return [], []
    approved = plans.approved_items(connection, chunk)
    rejected = plans.rejected_items(connection, chunk)
    passed, undecided = [], []
    for wish in wishes:
        mark = plans.mark_of(wish)
        if approved and (mark, plans.basis_of(wish, cells.get(wish.change.identity, ()))) in approved:
            passed.append(wish)
        elif plans.refused(mark) not in rejected or _own_word(wish):
            undecided.append(wish)
    policy = context.policy
    counted = Counter(outbox.count_guarded(connection, context.now() - timedelta(seconds=policy.limits.window_s)))
    counted.update(plans.count_held(connection, besides=chunk))
    go, held = sift(
        undecided,
        limits=policy.limits,
        hold_first_contact=policy.hold_first_contact,
        counted=counted,
        sizes=containers.sizes(connection),
        cautious=caution.among(connection, chunk),
    )
    flagged = [(wish, guarded(wish)) for wish in go]
    return [(wish, False) for wish in passed] + flagged, held


def _end_caution(connection: Connection, decided: list[tuple[Person, Decision]]) -> None:
    """Nothing follows for them and nobody is asked about them any more: whatever comes from here on is news."""
    quiet = [
        person
        for person, decision in decided
        if not (decision.desired or decision.look_ups or decision.closings or decision.again_at or person.operations)
        and not decision.withheld
    ]
    careful = caution.among(connection, [person.key for person in quiet])
    if careful:
        identities = [identity for person in quiet if person.key in careful for identity in person.identities]
        asked = {suppression_key(identity) for identity in lookups.wanted_among(connection, identities)}
        caution.end(connection, careful - asked)


def _own_word(wish: Desired) -> bool:
    """A person's own "no", which nobody's rejection of a conclusion can hold back."""
    return wish.change.kind is ChangeKind.UNSUBSCRIBE and wish.explicit and not wish.mass


def _note_closed(connection: Connection, context: Context, closing: Closing, seq: int) -> None:
    """What follows for the cell: an unsubscribe that was read back holds, a delivery that was lost may have arrived."""
    op = closing.operation
    if closing.state is OpState.VERIFIED and op.kind is ChangeKind.UNSUBSCRIBE:
        mirror.remove(connection, op.account, op.container, op.identity, seq=seq, at=context.now())
        mirror.note_said_no(connection, op.account, op.container, op.identity)
    if closing.state in {OpState.VERIFIED, OpState.PARKED} and op.kind is ChangeKind.SUBSCRIBE:
        renames.took_over(connection, op.id)
    if lost(closing):
        mirror.write_told(
            connection, op.account, op.container, op.identity, Status.UNKNOWN,
            seq=seq, at=context.now(), receipt=None, sent_at=outbox.sent_at(connection, op.id),
        )  # fmt: skip


def _release_due_plans(connection: Connection, context: Context) -> None:
    now = context.now()
    for row in plans.due_releases(connection, now):
        released = plans.decide_plan(connection, row, "approved", now)
        people.release_mass(connection, released)
        people.put_on_agenda(connection, released, now)


def _count(
    planned: Planned,
    decided: list[tuple[Person, Decision]],
    closings: list[Closing],
    go: list[tuple[Desired, bool]],
    held: list[Held],
) -> None:
    planned.people += len(decided)
    planned.closed += len(closings)
    planned.held += len(held)
    planned.wishes += [wish for wish, _ in go]
    planned.waiting += held
    for _, decision in decided:
        planned.by_hand.update(decision.by_hand)
