"""Send what stands in the outbox, unsubscribes first.

Written down before the first byte leaves; consent is read again in that same transaction. An answer that did not come
leaves the operation *unknown*: it is looked up, never repeated blindly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import groupby

from syncd.domain.changes import Change, ChangeKind
from syncd.domain.errors import FailedError, ProviderError, RefusedError
from syncd.providers.contact_points import read_address
from syncd.providers.protocol import CanApply
from syncd.reconcile.learn import learn
from syncd.reconcile.person import OpState, Person, Topology
from syncd.reconcile.rename import place_of_former, waiting
from syncd.reconcile.spread import UNFOUNDED, joins
from syncd.reconcile.stop import CERTAIN, goes_on
from syncd.reconcile.suppress import suppressing
from syncd.store import journal, outbox, people, renames
from syncd.store.outbox import Sendable
from syncd.store.session import Connection, reading, writing
from syncd.sync.answers import Ended, Pushed
from syncd.sync.context import Context, Lane
from syncd.sync.outage import endure
from syncd.sync.veil import spoken


async def push(lane: Lane, context: Context, *, urgent: bool = False) -> Pushed:
    """Send what is due at one account; if `urgent`, unsubscribes only, and none of people of whom there is news that
    nobody has thought about yet: they may have said yes.

    Only with the lane's lock. Raises `ProviderError` when it makes no sense to go on; whatever was sent is accounted
    for.
    """
    pushed = Pushed()
    lane.urgent = False
    if not isinstance(lane.provider, CanApply):
        return pushed
    _take_up(lane, context)
    tried: set[int] = set()
    while True:
        with reading(context.engine) as connection:
            now, most = context.now(), context.policy.push_batch
            if journal.broken(connection):
                urgent, most = True, most + len(tried)  # what may not go keeps its place before what may
            due = outbox.sendable(connection, lane.name, now, most, urgent=urgent)
            unplanned = set(people.due_among(connection, [op.key for op in due], now)) if urgent else set()
        due = [op for op in due if op.id not in tried and op.key not in unplanned]
        if not due:
            return pushed
        for number, batch in enumerate(_batches(lane, due), 1):
            tried |= {op.id for op in batch}
            await _send(lane, context, batch, pushed)
            context.progress(lane.name, "push", number, None)
            if lane.urgent and not urgent:
                lane.urgent = False
                break  # a "no" came meanwhile, and what is due next begins with it


def _take_up(lane: Lane, context: Context) -> None:
    """What is still in flight although nobody is calling: the mirror was away when the answer was to be written down.

    Whether it arrived is not known, so it is looked up like anything else that nobody answered for.
    """
    with reading(context.engine) as connection:
        if not outbox.in_flight(connection, lane.name):
            return
    seq, now = context.sequence.take(), context.now()
    with writing(context.engine) as connection:
        concerned = outbox.recover(connection, seq, now, "the mirror was away as the call ended", account=lane.name)
        people.put_on_agenda(connection, concerned, now)
    context.log.warning("push.taken_up", account=lane.name, operations=len(concerned))


def _batches(lane: Lane, due: Sequence[Sendable]) -> Iterator[list[Sendable]]:
    """Consecutive changes of one kind in one container, as many as one call takes."""
    for (kind, _), group in groupby(due, key=lambda op: (op.change.kind, op.change.container)):
        same = list(group)
        size = max(1, lane.capabilities.facts.batch.get(kind, 1))
        for start in range(0, len(same), size):
            yield same[start : start + size]


async def _send(lane: Lane, context: Context, batch: list[Sendable], pushed: Pushed) -> None:
    provider = lane.provider
    assert isinstance(provider, CanApply)
    began = context.sequence.take()
    with writing(context.engine) as connection:
        batch = _let_through(connection, lane, context, _still_allowed(connection, lane, context, batch))
        batch, changes = _said(connection, lane, context, batch)
        changes = [replace(change, fields=lane.rules.spelt(change.fields)) for change in changes]
        begun = outbox.begin(connection, [op.id for op in batch], began, context.now())
        _note_changes(connection, lane, context, [op.change for op in batch if op.id in begun], began)
    changes = [change for op, change in zip(batch, changes, strict=True) if op.id in begun]
    batch = [op for op in batch if op.id in begun]
    if not batch:
        return
    try:
        acks = await lane.carrier.carry(provider.apply(changes))
    except RefusedError as error:
        await _refused(lane, context, batch, error, pushed, began)
    except ProviderError as error:
        with _ended(lane, context, pushed, began) as ended:
            give_up = ended.failed(batch, error)
        if give_up and isinstance(error, FailedError):
            await endure(lane, error, pushed.failures)
        elif give_up:
            raise
    except BaseException:
        with _ended(lane, context, pushed, began) as ended:
            ended.unknown(batch, "stopped during the call")
        raise
    else:
        pushed.failures = 0
        pushed.sent += len(batch)
        with _ended(lane, context, pushed, began) as ended:
            for op, ack in zip(batch, acks, strict=True):
                ended.answered(op, ack)


def _said(
    connection: Connection, lane: Lane, context: Context, batch: list[Sendable]
) -> tuple[list[Sendable], list[Change]]:
    """Changes as the provider is to hear them. One about somebody erased whom nobody can name any more is given up."""
    kept: list[Sendable] = []
    changes: list[Change] = []
    for op, change in zip(batch, spoken(connection, lane.name, [op.change for op in batch]), strict=True):
        if change is None:
            reason = "erased, and the address is not known any more"
            outbox.finish(connection, op.id, OpState.SUPERSEDED, 0, context.now(), reason=reason)
        else:
            kept.append(op)
            changes.append(change)
    return kept, changes


def _note_changes(connection: Connection, lane: Lane, context: Context, changes: Sequence[Change], began: int) -> None:
    """Addresses that are about to give way to others: whoever is unsubscribed for that has not said no."""
    now = context.now()
    since = now - timedelta(seconds=lane.rename_open_s)
    for change in changes:
        former = None if change.replaces is None else read_address(change.replaces)
        if former is not None:
            renames.begin(connection, lane.name, change.container, former, seq=began - 1, at=now, open_since=since)


async def _refused(
    lane: Lane, context: Context, batch: list[Sendable], error: RefusedError, pushed: Pushed, began: int
) -> None:
    """A refused batch is taken apart: one bad record must not keep the others back."""
    if len(batch) == 1:
        with _ended(lane, context, pushed, began) as ended:
            ended.refused(batch[0], error.message)
        return
    with writing(context.engine) as connection:
        outbox.postpone(connection, [op.id for op in batch], context.now(), "its batch was refused", counts=False)
    for op in batch:
        await _send(lane, context, [op], pushed)
        if lane.urgent and batch[0].change.kind is not ChangeKind.UNSUBSCRIBE:
            return  # a "no" came meanwhile; the others wait in the outbox


@contextmanager
def _ended(lane: Lane, context: Context, pushed: Pushed, began: int) -> Iterator[Ended]:
    """The call is over: one transaction for everything that follows from its answer."""
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        yield Ended(connection, lane, context, pushed, began, seq)


def _undecided(person: Person, topology: Topology, context: Context) -> bool:
    return any(waiting(person, topology, context.now()))


# The last look at consent --------------------------------------------------------------------------------------------


def _unfounded(person: Person, topology: Topology, account: str, change: Change) -> str:
    """Why a change that is no "no" must not go out any more, or nothing: somebody said no, or a list was unlinked."""
    if suppressing(person, topology, account, change.container):
        return "the person has said no since"
    if change.kind is ChangeKind.SUBSCRIBE and not joins(person, topology, account, change.container, change.identity):
        return UNFOUNDED
    return ""


def _still_allowed(connection: Connection, lane: Lane, context: Context, batch: list[Sendable]) -> list[Sendable]:
    """Without what became unfounded since it was planned: a "no" that is sent never does.

    In the transaction that puts it under way. A "no" that was seen and not yet taken note of counts as well.
    """
    risky = {op.key for op in batch if op.change.kind is not ChangeKind.UNSUBSCRIBE}
    if not risky:
        return batch
    topology = context.topology(connection)
    known = {
        person.key: person.at_accounts(topology.accounts) for person in people.load_people(connection, sorted(risky))
    }
    allowed = []
    for op in batch:
        if op.key not in risky:
            allowed.append(op)
        elif reason := _unfounded(known[op.key], topology, lane.name, op.change):
            outbox.finish(connection, op.id, OpState.SUPERSEDED, 0, context.now(), reason=reason)
            people.put_on_agenda(connection, [op.key], context.now())
        elif op.change.replaces not in {None, _former(known[op.key], lane, op.change)}:
            reason = "their former address does not stand there any more"
            outbox.finish(connection, op.id, OpState.SUPERSEDED, 0, context.now(), reason=reason)
            people.put_on_agenda(connection, [op.key], context.now())
        elif not learn(known[op.key], topology, context.now(), 0) and not _undecided(known[op.key], topology, context):
            allowed.append(op)  # nothing that was seen says no: otherwise it waits until that is taken note of
    return allowed


def _former(person: Person, lane: Lane, change: Change) -> str | None:
    return place_of_former(person, lane.name, change.container, change.identity)


def _let_through(connection: Connection, lane: Lane, context: Context, batch: list[Sendable]) -> list[Sendable]:
    """All of them; while an invariant is broken only what people said themselves. The rest stays in the outbox."""
    if not batch or not journal.broken(connection):
        return batch
    if journal.load_account(connection, lane.name).state != CERTAIN:
        return []
    topology = context.topology(connection)
    known = {person.key: person for person in people.load_people(connection, sorted({op.key for op in batch}))}
    return [
        op
        for op in batch
        if goes_on(
            known[op.key].at_accounts(topology.accounts), topology, lane.name, op.change.container, op.change.kind
        )
    ]
