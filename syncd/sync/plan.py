"""Decide about whoever is due, and put what follows into the outbox. One transaction, and no call to anybody.

First everything that was seen is read as consent, for all who are due; only then is anything decided, so that one
listing that turned very many
people at once is known as such before the first change follows from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import ConsentEvent
from syncd.domain.identity import SuppressionKey
from syncd.domain.records import ContainerId
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.desired import Closing, Desired
from syncd.reconcile.guard import Held, guarded, sift
from syncd.reconcile.learn import claims, learn
from syncd.reconcile.person import OpState, Person, Topology
from syncd.store import containers, erasure, lookups, mirror, outbox, people, plans, traces
from syncd.store.session import Connection, reading, rehearsing, writing
from syncd.sync.context import Context

CHUNK = 400


@dataclass(slots=True)
class Planned:
    """What a planning pass came to. `by_hand` counts what should be done and no interface can do."""

    people: int = 0
    learnt: int = 0
    put: int = 0
    held: int = 0
    look_ups: int = 0
    closed: int = 0
    claims: int = 0
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


def _plan(connection: Connection, context: Context, seq: int) -> Planned:
    planned = Planned()
    _release_due_plans(connection, context)
    topology = context.topology(connection)
    _learn(connection, context, topology, seq, planned)
    for chunk in _due(connection, context):
        _decide(connection, context, topology, chunk, seq, planned)
    return planned


def _due(connection: Connection, context: Context) -> Iterator[list[SuppressionKey]]:
    now, after = context.now(), ""
    while chunk := people.due_people(connection, now, CHUNK, after):
        after = chunk[-1]
        yield chunk


def _load(connection: Connection, topology: Topology, chunk: list[SuppressionKey]) -> list[Person]:
    return [person.at_accounts(topology.accounts) for person in people.load_people(connection, chunk)]


# Learn ---------------------------------------------------------------------------------------------------------------


def _learn(connection: Connection, context: Context, topology: Topology, seq: int, planned: Planned) -> None:
    written: list[ConsentEvent] = []
    for chunk in _due(connection, context):
        for person in _load(connection, topology, chunk):
            events = learn(person, topology, context.now(), seq)
            written += people.record_consent(connection, events)
            for claim in claims(person, topology, context.now()):
                planned.claims += plans.record_claim(
                    connection, account=claim.cell.account, container=claim.cell.container, key=claim.cell.key,
                    identity=claim.cell.identity, scope=claim.scope, status_seq=claim.cell.status_seq, at=context.now(),
                )  # fmt: skip
    planned.learnt = len(written)
    _flag_mass(connection, context, written)


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
    seq: int,
    planned: Planned,
) -> None:
    now = context.now()
    decided = [(person, decide(person, topology, now)) for person in _load(connection, topology, chunk)]
    closings = [closing for _, decision in decided for closing in decision.closings]
    outbox.close_operations(connection, closings, now)
    for closing in closings:
        _note_verified(connection, context, closing, seq)
    wishes = [wish for _, decision in decided for wish in decision.desired]
    look_ups = [look for _, decision in decided for look in decision.look_ups]
    nobody = erasure.unknown_among(connection, [*(wish.change for wish in wishes), *look_ups])
    wishes = [wish for wish in wishes if wish.change.identity not in nobody]
    go, held = _sift(connection, context, chunk, wishes)
    release_at = now + timedelta(seconds=context.policy.mass_release_s)
    plans.replace_items(connection, chunk, held, wishes, now, release_at)
    planned.put += outbox.put(connection, go, now)
    for wish, _ in go:
        if wish.change.kind is ChangeKind.UNSUBSCRIBE:
            context.lanes[wish.account].urgent = True
    planned.look_ups += lookups.want(connection, [look for look in look_ups if look.identity not in nobody], now)
    people.save_merged(connection, [(person, decision.fields) for person, decision in decided], now)
    people.take_off_agenda(connection, chunk, {p.key: d.again_at for p, d in decided if d.again_at is not None})
    _count(planned, decided, closings, go, held)


def _sift(
    connection: Connection, context: Context, chunk: list[SuppressionKey], wishes: list[Desired]
) -> tuple[list[tuple[Desired, bool]], list[Held]]:
    """Part what may go, with a flag for what counts against the guard, from what waits."""
    if not wishes:
        return [], []
    approved = plans.decided_items(connection, chunk, "approved")
    rejected = plans.decided_items(connection, chunk, "rejected")
    marked = [(wish, plans.mark_of(wish)) for wish in wishes]
    passed = [wish for wish, mark in marked if mark in approved]
    undecided = [wish for wish, mark in marked if mark not in approved and (mark not in rejected or _own_word(wish))]
    policy = context.policy
    counted = Counter(outbox.count_guarded(connection, context.now() - timedelta(seconds=policy.limits.window_s)))
    counted.update(plans.count_held(connection, besides=chunk))
    go, held = sift(
        undecided,
        limits=policy.limits,
        hold_first_contact=policy.hold_first_contact,
        counted=counted,
        sizes=containers.sizes(connection),
    )
    flagged = [(wish, guarded(wish)) for wish in go]
    return [(wish, False) for wish in passed] + flagged, held


def _own_word(wish: Desired) -> bool:
    """A person's own "no", which nobody's rejection of a conclusion can hold back."""
    return wish.change.kind is ChangeKind.UNSUBSCRIBE and wish.explicit and not wish.mass


def _note_verified(connection: Connection, context: Context, closing: Closing, seq: int) -> None:
    op = closing.operation
    if closing.state is OpState.VERIFIED and op.kind is ChangeKind.UNSUBSCRIBE:
        mirror.remove(connection, op.account, op.container, op.identity, seq=seq, at=context.now())
        mirror.note_said_no(connection, op.account, op.container, op.identity, seq)


def _release_due_plans(connection: Connection, context: Context) -> None:
    now = context.now()
    for plan_id in plans.due_releases(connection, now):
        _, released = plans.decide_plan(connection, plan_id, "approved")
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
