"""What providers send us.

Kept raw before it is answered, read afterwards; a delivery is one more observation and never acts by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from syncd.domain.consent import GLOBAL, ConsentEvent, ConsentState, Level, Scope
from syncd.domain.errors import DeliveryError, SyncdError
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId, Delivery, Hint, Observation, digest_of
from syncd.providers.contact_points import read_address
from syncd.providers.protocol import CanBeTried, CanNotify
from syncd.reconcile.desired import LookUp
from syncd.reconcile.exempt import ends_something
from syncd.reconcile.rename import heirs
from syncd.store import containers, erasure, hashed, inbox, leads, lookups, mirror, outbox, people, renames
from syncd.store.scrub import REASON
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context, Lane
from syncd.sync.heirs import pass_on
from syncd.sync.leads import note_test
from syncd.sync.ledger import keep_ledger
from syncd.sync.seen import observe
from syncd.sync.veil import veiled, veiled_identity

BATCH = 100

UNSUBSCRIBES = ("unsubscribes",)
"""The route on which every delivery is a "no", and whose senders number none of them."""


@dataclass(slots=True)
class Ingested:
    """What was read, what was parked, and whether there may be more."""

    read: int = 0
    parked: int = 0
    more: bool = False


def accept(lane: Lane, context: Context, delivery: Delivery) -> tuple[str, bool]:
    """Take a delivery in: proved to come from the provider, readable, and durable when this returns.

    Returns its id and whether it is new. Raises `DeliveryError` with the status to answer. An unsubscribe that looks
    like one we had today may still be a second "no", said after the person came back: it is read again.
    """
    provider = lane.provider
    if not isinstance(provider, CanNotify):
        raise DeliveryError(404, "this account receives nothing")
    provider.verify(delivery)
    found = provider.read_delivery(delivery)  # refused now rather than parked later: the sender is there to be told
    delivery_id = provider.delivery_id(delivery)
    if not delivery_id.isprintable():
        raise DeliveryError(400, "the id of the delivery is not text")
    if isinstance(provider, CanBeTried) and provider.is_test(delivery):
        with writing(context.engine) as connection:
            about = next((entry for entry in found if isinstance(entry, Observation)), None)
            shown = None if _names_erased(connection, found) else about
            return note_test(connection, context, lane.name, provider.tests_kept, delivery, delivery_id, shown)
    seq = context.sequence.take()
    again = delivery.route == UNSUBSCRIBES
    with writing(context.engine) as connection:
        if not _names_erased(connection, found):
            return inbox.put_delivery(
                connection, lane.name, delivery_id, delivery, id=context.new_id(), seq=seq, read_again=again
            )
        # Read at once, so that nothing of it need be kept: not even for a moment does its content stand in the mirror.
        empty = replace(delivery, body=b"", query=(), headers={})
        kept, new = inbox.put_delivery(
            connection, lane.name, delivery_id, empty, id=context.new_id(), seq=seq, read_again=again
        )
        if new or again:
            _take(connection, lane, context, found, seq)
            inbox.empty_delivery(connection, kept, REASON)
        return kept, new


def _names_erased(connection: Connection, found: Sequence[Observation | Hint]) -> bool:
    veil = erasure.veil_of(connection)
    if veil is None:
        return False
    named = [entry.identity if isinstance(entry, Observation) else read_address(entry.address) for entry in found]
    nameless = {entry.address for entry in found if isinstance(entry, Observation) and entry.identity is None}
    return bool(veil.among(name for name in named if name is not None) or veil.digests(nameless))


async def ingest_all(context: Context) -> Ingested:
    """Read what has been taken in, in the order of arrival. After each hundred others have the loop."""
    done = ingest(context)
    while done.more:
        context.alive()
        await asyncio.sleep(0)
        some = ingest(context)
        done = Ingested(done.read + some.read, done.parked + some.parked, some.more)
    return done


def ingest(context: Context) -> Ingested:
    """Read the first of what has been taken in, in the order of arrival, in one transaction."""
    done = Ingested()
    if not _anything_new(context):
        return done
    with writing(context.engine) as connection:
        batch = inbox.new_deliveries(connection, BATCH)
        before = hashed.unjoined(connection)
        for row, delivery in batch:
            lane = context.lanes.get(row.account)
            reason = _read(connection, lane, context, row.id, delivery, row.seq)
            done.parked += bool(reason)
            done.read += not reason
        _join_digests(connection, context, before)
    done.more = len(batch) == BATCH
    return done


def _join_digests(connection: Connection, context: Context, before: Container[str]) -> None:
    """Whoever came in known by digest alone may be somebody whom we know by address."""
    fresh = {digest: found for digest, found in hashed.unjoined(connection).items() if digest not in before}
    if fresh:
        for identity, address in list(hashed.addresses(connection)):
            if hashed.join(connection, fresh, identity, address):
                people.put_on_agenda(connection, [suppression_key(identity)], context.now())


def _anything_new(context: Context) -> bool:
    with reading(context.engine) as connection:
        return bool(inbox.new_deliveries(connection, 1))


def read_now(connection: Connection, context: Context, row: Any, delivery: Delivery) -> str:
    """Read one delivery out of its turn, with the number it came under. Returns why it cannot be, or nothing."""
    return _read(connection, context.lanes.get(row.account), context, row.id, delivery, row.seq)


def _read(connection: Connection, lane: Lane | None, context: Context, kept: str, delivery: Delivery, seq: int) -> str:
    """Read one delivery. Returns why it cannot be, or nothing."""
    found = _entries(lane, context, delivery)
    if lane is None or isinstance(found, str):
        inbox.settle_delivery(connection, kept, "parked", str(found))
        return str(found)
    _take(connection, lane, context, found, seq)
    if _names_erased(connection, found):
        inbox.empty_delivery(connection, kept, REASON)
    else:
        inbox.settle_delivery(connection, kept, "done")
    return ""


def _entries(lane: Lane | None, context: Context, delivery: Delivery) -> Sequence[Observation | Hint] | str:
    """What a delivery says, or why it cannot be read."""
    if lane is None or not isinstance(lane.provider, CanNotify):
        return "its account is not configured any more"
    try:
        return lane.provider.read_delivery(delivery)
    except DeliveryError as error:
        return error.message
    except Exception as error:  # noqa: BLE001 (one delivery must not keep the others, and every round, from going on)
        # Not the traceback: its last line may quote the delivery.
        context.log.error("delivery.fault", account=lane.name, error=type(error).__name__)  # noqa: TRY400
        return f"a fault of syncd while reading it: {type(error).__name__}"


def _take(connection: Connection, lane: Lane, context: Context, found: Sequence[Observation | Hint], seq: int) -> None:
    for entry in found:
        if isinstance(entry, Hint):
            identity = read_address(entry.address)
            if identity is not None and lane.capabilities.lookup:
                known = veiled_identity(connection, identity)
                spelt = entry.address
                if known != identity:
                    erasure.carry(connection, lane.name, known, spelt)
                    spelt = known
                wish = LookUp(lane.name, entry.container, known, spelt, "the provider sent a notice")
                lookups.want(connection, [wish], context.now(), urgent=True)
                lane.noticed = True
                if entry.modified:
                    _note_change(connection, lane, context, entry.container, identity, seq)
        else:
            take_observation(connection, lane, context, entry, seq)


def _note_change(
    connection: Connection, lane: Lane, context: Context, container: ContainerId, identity: Identity, seq: int
) -> None:
    """Something was changed for this address, unless the notice is the echo of a name that we wrote."""
    now = context.now()
    since = now - timedelta(seconds=lane.rename_wait_s)
    if not outbox.wrote_fields(connection, lane.name, container, identity, since):
        renames.begin(connection, lane.name, container, identity, seq=seq, at=now)


def take_observation(connection: Connection, lane: Lane, context: Context, entry: Observation, seq: int) -> None:
    """Write down what one delivery says of one record, and look at whom it is about."""
    if not lane.capabilities.facts.has_lists:
        entry = entry._replace(container=ContainerId(leads.place_of(connection, lane.name, entry.container)))
        containers.ensure_container(
            connection, lane.name, entry.container, "everything" if entry.container == "*" else entry.container
        )
    before = mirror.known_cells(connection, lane.name, entry.container, [entry.key])
    joined = before[entry.key].identity if entry.key in before else None
    if entry.identity is None and joined is not None:  # known by digest alone there, and by name to us
        entry = entry._replace(identity=Identity(joined), address=joined)
    readings = veiled(connection, context, lane.name, [mirror.Reading(entry, digest_of(entry.raw))])
    keys = [reading.observation.key for reading in readings]
    known = mirror.known_cells(connection, lane.name, entry.container, keys)
    lane.news += 1
    seen = observe(connection, context, lane, readings, known, seq=seq, route="delivery")
    people.put_on_agenda(connection, seen.people | seen.newcomers, context.now(), urgent=True)


def unsubscribe(context: Context, address: str, scope: Scope = GLOBAL, *, source: str, evidence: str) -> Identity:
    """A person's "no" that reached us directly.

    Durable when this returns; raises `DeliveryError(400)` for what is no address.
    """
    return _record(context, address, scope, Level.UNSUBSCRIBED, source=source, evidence=evidence)


def resubscribe(context: Context, address: str, scope: Scope, *, evidence: str) -> Identity:
    """A person's own word, vouched for by an operator, opens the next epoch of one scope.

    What says "no" elsewhere stays.
    """
    return _record(context, address, scope, Level.SUBSCRIBED, source="operator", evidence=evidence)


def _record(context: Context, address: str, scope: Scope, level: Level, *, source: str, evidence: str) -> Identity:
    identity = read_address(address)
    if identity is None:
        raise DeliveryError(400, "not an e-mail address")
    seq = context.sequence.take()
    with writing(context.engine) as connection:
        record(connection, context, identity, scope, level, source=source, evidence=evidence, seq=seq)
    return identity


def record(
    connection: Connection,
    context: Context,
    identity: Identity,
    scope: Scope,
    level: Level,
    *,
    source: str,
    evidence: str,
    seq: int,
) -> None:
    """Take down a person's own word, in a transaction of the caller's. Raises for a "yes" of somebody erased."""
    known = veiled_identity(connection, identity)
    if known != identity and not level.suppresses:
        raise SyncdError("this person was erased; no yes is taken for them any more", hint="syncd explain EMAIL")
    key = suppression_key(known)
    state = people.load_consent(connection, key).get(scope, ConsentState())
    if not level.suppresses:
        # A command runs beside the daemon, whose numbers come from another block and may be lower for days. What
        # the mirror has seen of the person so far is what a "yes" is newer than; any "no" seen after it counts.
        seq = min(seq, people.last_turn(connection, key))
    else:  # for the same reason: no reading that is known by now came after this "no"
        seq = max(seq, people.last_turn(connection, key))
    (before,) = people.load_people(connection, [key])
    again = level.suppresses and (ends_something(before) or any(heirs(before)))
    event = ConsentEvent(
        key=key,
        identity=known,
        scope=scope,
        epoch=state.epoch if level.suppresses else state.epoch + 1,
        level=level,
        at=context.now(),
        seq=seq,
        source=source,
        route="command",
        evidence=evidence if known == identity else "erased",
        again=again,
    )
    people.record_consent(connection, [event])
    topology = context.topology(connection)
    if level.suppresses:  # now, as somebody may come back to a former address before anything is planned
        pass_on(connection, context, topology, [key], seq)
    person = people.load_people(connection, [key])[0].at_accounts(topology.accounts)
    keep_ledger(connection, context, topology, [person])
    people.put_on_agenda(connection, [key], context.now(), urgent=True)
