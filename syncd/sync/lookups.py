"""Ask about single people: who is wanted by name, and who is due where only asking shows anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from syncd.domain.changes import Target
from syncd.domain.erasure import is_pseudonym
from syncd.domain.errors import FailedError, RefusedError
from syncd.domain.identity import suppression_key
from syncd.domain.records import SUPPRESSED, ContainerId, Observation, Status, digest_of
from syncd.providers.protocol import CanLookup
from syncd.reconcile.desired import LookUp
from syncd.store import containers, dark, lookups, mirror, outbox, people
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context, Lane
from syncd.sync.outage import endure
from syncd.sync.pulled import Between, Pulled, nothing
from syncd.sync.seen import observe
from syncd.sync.veil import spoken, veiled, veiled_identity


async def heed_notices(lane: Lane, context: Context, pulled: Pulled) -> None:
    """Ask about those of whom the provider gave notice, and about nobody else."""
    lane.noticed = False
    if isinstance(lane.provider, CanLookup):
        with reading(context.engine) as connection:
            targets = lookups.wanted(connection, lane.name, context.now(), lane.look_ups_max, only_urgent=True)
        await _ask_each(lane, context, targets, pulled, nothing)


async def look_up(
    lane: Lane, context: Context, pulled: Pulled, *, due: bool = True, between: Between = nothing
) -> None:
    """Ask about whoever is wanted by name, then about known pairs that are `due`, within the budget."""
    if not isinstance(lane.provider, CanLookup):
        return
    lane.noticed = False  # they are among those that are wanted by name
    with reading(context.engine) as connection:
        targets = lookups.wanted(connection, lane.name, context.now(), lane.look_ups_max)
        if due and lane.asks_only and len(targets) < lane.look_ups_max:
            older_than = context.now() - timedelta(seconds=lane.max_age_s)
            linked = [
                container
                for entry in context.topology(connection).lists.values()
                for container in entry.places.get(lane.name, ())
            ]
            more = lookups.due(connection, lane.name, linked, older_than, lane.look_ups_max - len(targets))
            asked = {(target.container, target.identity) for target in targets}
            targets += [target for target in more if (target.container, target.identity) not in asked]
    if due and lane.capabilities.facts.looked_up and len(targets) < lane.look_ups_max:
        older_than = context.now() - timedelta(seconds=lane.max_age_s)
        with reading(context.engine) as connection:
            more = lookups.due_for_fields(connection, lane.name, older_than, lane.look_ups_max - len(targets))
        asked = {(target.container, target.identity) for target in targets}
        targets += [target for target in more if (target.container, target.identity) not in asked]
    await _ask_each(lane, context, targets, pulled, between)
    if due and lane.asks_only:
        with writing(context.engine) as connection:
            for row in containers.load_containers(connection, lane.name):
                if row.moved_at is not None and not lookups.moved_left(connection, lane.name, row.container):
                    _explain_movement(connection, lane, row, context.now())


def note_unanswered(lane: Lane, context: Context, target: Target, error: FailedError) -> None:
    """Others are served, and this one is not: asked again in later rounds, and in the end given up for a person.

    Of somebody who was erased nothing is left to give up: there is nobody whom a person could ask about once more.
    """
    policy = context.policy
    with writing(context.engine) as connection:
        target = _as_known_now(connection, target)
        place = (lane.name, target.container, target.identity)
        wish = LookUp(lane.name, target.container, target.identity, target.address, "the provider failed when asked")
        lookups.want(connection, [wish], context.now())
        failures = lookups.failures_of(connection, *place) + 1
        wait = outbox.backoff(failures, context.jitter(), base_s=policy.backoff_s, max_s=policy.backoff_max_s)
        given_up = f"{error.message}, {failures} times" if failures >= policy.attempts_max else ""
        if given_up and is_pseudonym(target.identity):
            lookups.done(connection, *place)
        else:
            lookups.note_failure(connection, *place, until=context.now() + wait, given_up=given_up)
    tell = context.log.warning if given_up else context.log.info
    tell("lookup.failed", account=lane.name, call=error.call, reason=given_up or error.message)


async def _ask_each(lane: Lane, context: Context, targets: Sequence[Target], pulled: Pulled, between: Between) -> None:
    failures = 0
    for number, target in enumerate(targets, 1):
        await between()
        try:
            await ask(lane, context, target, pulled)
            failures = 0
        except FailedError as error:
            failures += 1
            await endure(lane, error, failures)
            note_unanswered(lane, context, target, error)
        context.progress(lane.name, "look-ups", number, len(targets))


async def ask(lane: Lane, context: Context, target: Target, pulled: Pulled) -> bool:
    """Ask about one person in one container. False if the provider cannot tell."""
    provider = lane.provider
    assert isinstance(provider, CanLookup)
    seq = context.sequence.take()
    with reading(context.engine) as connection:
        (asked,) = spoken(connection, lane.name, [target])
    if asked is None:
        with writing(context.engine) as connection:
            lookups.done(connection, lane.name, target.container, target.identity)
        return True  # erased, and nobody knows the address any more: no answer could be about them
    try:
        found = await lane.carrier.carry(provider.lookup(asked))
    except RefusedError as error:
        if target.keys:
            # Nothing is inferred about somebody who is known there: they stay as they were last seen.
            context.log.warning("lookup.refused", account=lane.name, call=error.call, reason=error.message)
            with writing(context.engine) as connection:
                lookups.done(connection, lane.name, target.container, target.identity)
                _note_turn(connection, lane, target, context.now())
            return True
        found = ()  # an address that this provider will not even look for cannot be added there either
    now = context.now()
    nameless, gone = False, 0
    with writing(context.engine) as connection:
        target = _as_known_now(connection, target)
        if target.identity in outbox.fenced(connection, lane.name, target.container, seq):
            pulled.looked_up += 1
            return True  # a write came between: asked again when it has ended
        if found is None:
            gone = mirror.remove(connection, lane.name, target.container, target.identity, seq=seq, at=now)
        elif not found:
            mirror.record_absence(
                connection, lane.name, target.container, target.identity, target.address, seq=seq, at=now
            )
        else:
            fresh = [mirror.Reading(entry, digest_of(entry.raw)) for entry in found]
            readings = veiled(connection, context, lane.name, fresh)
            found = [entry.observation for entry in readings]
            keys = [entry.key for entry in found]
            known = mirror.known_cells(connection, lane.name, target.container, keys)
            seen = observe(connection, context, lane, readings, known, seq=seq, route="lookup")
            pulled.new += seen.new
            nameless = bool(keys) and seen.nameless.issuperset(keys)
            _note_discovered(connection, lane, target.container, found, known, now)
            lost = sorted(set(target.keys) - set(keys))
            mirror.remove_records(connection, lane.name, target.container, lost, seq=seq, at=now)
        if not nameless:
            lookups.done(connection, lane.name, target.container, target.identity)
        _note_turn(connection, lane, target, now)
        if found is not None or gone:  # who learnt nothing has nothing to do: to plan them anew would ask again at once
            pulled.looked_up += 1
            people.put_on_agenda(connection, [suppression_key(target.identity)], now, urgent=True)
    if nameless:  # it stands there, and said nothing of anybody: as good as no answer
        reason = FailedError("what stands there shows no address that can be read", call="look-up")
        note_unanswered(lane, context, target, reason)
    return found is not None


def _note_turn(connection: Connection, lane: Lane, target: Target, at: datetime) -> None:
    if lane.capabilities.facts.looked_up:
        lookups.note_asked(connection, lane.name, target.container, target.identity, at)


def _as_known_now(connection: Connection, target: Target) -> Target:
    """Whom we asked about may have been erased meanwhile."""
    identity = veiled_identity(connection, target.identity)
    return target if identity == target.identity else replace(target, identity=identity, address=identity)


def _note_discovered(
    connection: Connection,
    lane: Lane,
    container: ContainerId,
    found: Sequence[Observation],
    known: Mapping[str, mirror.Known],
    at: datetime,
) -> None:
    """Somebody who stood there all along and whom we did not know moves no count but ours.

    One who had left before anybody knew them explains an opt-out that was dark.
    """
    left = sum(entry.key not in known and entry.status in SUPPRESSED for entry in found)
    if lane.asks_only and left:
        dark.explain_list(connection, lane.name, container, left, at)
    strangers = sum(entry.key not in known and entry.status is Status.SUBSCRIBED for entry in found)
    if lane.asks_only and strangers:
        # Somebody may be asked about before the lists were ever read: then there is no count yet to explain.
        for row in containers.load_containers(connection, lane.name):
            if row.container == container:
                known_explained = (row.known_explained or 0) + strangers
                containers.update_container(connection, lane.name, container, known_explained=known_explained)


def note_movements(connection: Connection, lane: Lane, context: Context) -> None:
    """A count that moved by other than what we know of means that somebody there must be asked about."""
    for row in containers.load_containers(connection, lane.name):
        if row.active is None or row.moved_at is not None:
            continue
        known = containers.subscribed(connection, lane.name, row.container)
        if (row.active, known) == (row.active_explained, row.known_explained):
            continue
        if row.active_explained is not None and row.active - row.active_explained != known - (row.known_explained or 0):
            containers.update_container(connection, lane.name, row.container, moved_at=context.now())
        else:
            containers.update_container(
                connection, lane.name, row.container, active_explained=row.active, known_explained=known
            )


def _explain_movement(connection: Connection, lane: Lane, row: Any, at: datetime) -> None:
    """Everybody known there was asked since the count moved: what that does not explain was somebody unknown."""
    known = containers.subscribed(connection, lane.name, row.container)
    if row.active is not None and row.active_explained is not None:
        fell, explained = row.active_explained - row.active, (row.known_explained or 0) - known
        dark.reckon_list(connection, lane.name, row.container, row.name, fell=fell, explained=explained, at=at)
    containers.update_container(
        connection, lane.name, row.container, moved_at=None, active_explained=row.active, known_explained=known
    )
