"""Decide about whoever is due, and put what follows into the outbox. One transaction, and no call to anybody.

First everything that was seen is read as consent, for all who are due; only then is anything decided, so that one
listing that turned very many
people at once is known as such before the first change follows from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import ConsentEvent
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.close import lost
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.desired import Closing, Desired
from syncd.reconcile.exempt import ended_by, grants
from syncd.reconcile.fights import fights
from syncd.reconcile.guard import Held, guarded, sift
from syncd.reconcile.learn import claims, learn, taught
from syncd.reconcile.person import Cell, OpState, Person, Topology
from syncd.reconcile.rename import heirs
from syncd.store import (
    caution,
    containers,
    erasure,
    exemptions,
    hashed,
    hygiene,
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
from syncd.sync.heirs import Gone, hand_over, noes, pass_on, retire
from syncd.sync.ledger import keep_ledger

CHUNK = 400


@dataclass(slots=True)
class Planned:
    """What a planning pass came to. `retired`: addresses that gave way to others; `exempted`: exemptions that began or
    ended; `by_hand`: what should be done and no interface can do.
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


def plan(context: Context) -> Planned:
    """Decide about everybody who is due."""
    now = context.now()
    with reading(context.engine) as connection:
        if not people.due_people(connection, now, 1) and not plans.due_releases(connection, now):
            return Planned()
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        planned = _plan(connection, context, seq)
        arrived = erasure.arrive(connection)
    if arrived:
        traces.wipe_transit(context.engine)
    return planned


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
    _join_digests(connection, context)
    as_they_are = _learn(connection, context, topology, seq, planned, among)
    for chunk in _due(connection, context, among):
        them = as_they_are or _load(connection, topology, chunk)
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
        yield chunk
        if len(chunk) < CHUNK:
            return
        after = chunk[-1]


def _load(connection: Connection, topology: Topology, chunk: list[SuppressionKey]) -> list[Person]:
    return [person.at_accounts(topology.accounts) for person in people.load_people(connection, chunk)]


def _join_digests(connection: Connection, context: Context) -> None:
    """Of whom only a digest was known becomes somebody as soon as a provider shows their address."""
    waiting = hashed.unjoined(connection)
    for chunk in _due(connection, context, None) if waiting else ():
        for identity, address in list(hashed.addresses(connection, chunk)):
            hashed.join(connection, waiting, identity, address)


# Learn ---------------------------------------------------------------------------------------------------------------


def _learn(
    connection: Connection,
    context: Context,
    topology: Topology,
    seq: int,
    planned: Planned,
    among: Sequence[SuppressionKey] | None,
) -> list[Person] | None:
    """Take note of all that was said. Returns the people if they are still what they were loaded as: as nothing was
    learnt, and as they are no more than one chunk.
    """
    written: list[ConsentEvent] = []
    them: list[Person] = []
    gone: list[Gone] = []
    gave: list[SuppressionKey] = []
    chunk_count = 0
    for chunk_count, chunk in enumerate(_due(connection, context, among), 1):  # noqa: B007
        them = _load(connection, topology, chunk)
        outlived = context.now() - timedelta(seconds=context.policy.mass_release_s)
        if people.release_outlived(connection, [person.key for person in them if person.mass_scopes], outlived):
            them = _load(connection, topology, chunk)
        for person in them:
            events = learn(person, topology, context.now(), seq)
            written += people.record_consent(connection, events)
            knowing = taught(person, events)
            gone += retire(connection, context, topology, knowing)
            gave += [person.key] if noes(knowing) and any(heirs(person)) else []
            planned.claims += _judge_claims(connection, context, topology, knowing, seq, planned)
    planned.learnt = len(written)
    if written:
        _flag_mass(connection, context, written)
    planned.retired = len(gone)
    heard = hand_over(connection, context, topology, gone, seq)
    passed = pass_on(connection, context, topology, [*gave, *heard], seq) or bool(heard)
    untouched = not (written or passed or planned.retired or planned.exempted)
    return them if untouched and chunk_count == 1 else None


def _judge_claims(
    connection: Connection, context: Context, topology: Topology, person: Person, seq: int, planned: Planned
) -> int:
    """End the exemptions that a later "no" ends; grant the claims that need nobody; write down those that wait."""
    now = context.now()
    for exemption in person.exemptions:
        if (scope := ended_by(person, topology, exemption)) is not None:
            exemptions.end(connection, exemption, scope, seq=seq, at=now)
            planned.exempted += 1
    granted = grants(person, topology, now)
    for grant in granted:
        cell = grant.cell
        exemptions.grant(connection, person.key, cell.place, grant.evidence, seq=seq, at=now)
        plans.grant_claims_of(connection, cell.account, cell.container, cell.identity)
        planned.exempted += 1
    places = {grant.cell.place for grant in granted}
    waiting = [(claim, False) for claim in claims(person, topology, now) if claim.cell.place not in places]
    waiting += [(fight.claim, True) for fight in fights(person, topology, now)]
    return sum(
        plans.record_claim(
            connection, account=claim.cell.account, container=claim.cell.container, key=claim.cell.key, at=now,
            identity=claim.cell.identity, scope=claim.scope, status_seq=claim.cell.status_seq, fight=fight,
        )
        for claim, fight in waiting
    )  # fmt: skip


def _flag_mass(connection: Connection, context: Context, written: list[ConsentEvent]) -> None:
    """A listing in which too many said no at once is believed for the people in it, and spreads only after a person,
    or time, let it.
    """
    listed = [event for event in written if event.route in {"listing", "feed"} and not event.inferred]
    since = context.now() - timedelta(seconds=context.policy.limits.window_s)
    sizes = containers.sizes(connection)
    for source, container in sorted({(event.source, event.container) for event in listed}):
        within = people.count_events(connection, source, container, since)
        if context.policy.limits.exceeded(within, sizes.get((source, ContainerId(container)), 0)):
            people.flag_mass(connection, [e for e in listed if (e.source, e.container) == (source, container)])


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
