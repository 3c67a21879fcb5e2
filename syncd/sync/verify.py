"""Read back what was accepted, and look up what nobody answered for. What differs is observed like anything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from syncd.domain.changes import Target
from syncd.domain.errors import FailedError
from syncd.domain.identity import SuppressionKey
from syncd.domain.records import ContainerId
from syncd.providers.protocol import CanFeed, CanLookup, CanSnapshot
from syncd.store import containers, lookups, outbox, people
from syncd.store.session import reading, writing
from syncd.sync.context import Context, Lane
from syncd.sync.lookups import ask, note_unanswered
from syncd.sync.outage import endure
from syncd.sync.pull import read_feed, read_whole
from syncd.sync.pulled import Between, Pulled, nothing

ASKED_ONE_BY_ONE = 25
"""With more than this many to read back in one container, listing it is cheaper than asking."""


async def verify(lane: Lane, context: Context, between: Between = nothing) -> Pulled:
    """Read back every operation that waits for it, by the cheapest way the provider has.

    `between` is awaited between two reads.
    """
    pulled = Pulled()
    with reading(context.engine) as connection:
        waiting = outbox.awaiting_read(connection, lane.name)
        if not waiting:
            return pulled
        rows = {row.container: row for row in containers.load_containers(connection, lane.name)}
        unanswered = lookups.unanswered(connection, lane.name)
        targets: dict[ContainerId, list[Target]] = {}
        for container, identity, address, keys, _ in waiting:
            if (container, identity) in unanswered:
                continue  # their turn comes, if they were not given up
            target = lookups.target_of(connection, lane.name, container, identity, address)
            known = tuple(sorted({*target.keys, *keys}))
            targets.setdefault(container, []).append(Target(container, identity, address, known, target.account_key))
    for container, wanted in sorted(targets.items()):
        await between()
        row = rows.get(container)
        many = len(wanted) > ASKED_ONE_BY_ONE and isinstance(lane.provider, CanSnapshot)
        if isinstance(lane.provider, CanLookup) and not many and await _ask_all(lane, context, wanted, pulled, between):
            continue
        if row is not None and isinstance(lane.provider, CanFeed) and row.watermark:
            await read_feed(lane, context, container, row.watermark, pulled)
            await _list_if_unread(lane, context, row, pulled, between)
        elif row is not None and isinstance(lane.provider, CanSnapshot):
            await read_whole(lane, context, row, pulled, between)
            _look_again(lane, context, container, _unread(lane, context, container))
    return pulled


async def _list_if_unread(lane: Lane, context: Context, row: Any, pulled: Pulled, between: Between) -> None:
    """A feed shows what changed, and a call that changed nothing leaves nothing in it.

    So what a feed does not show, once the provider has had time to settle, is listed whole.
    """
    container = ContainerId(row.container)
    unread = _unread(lane, context, container)
    if any(seq >= row.whole_seq for _, seq in unread):
        await read_whole(lane, context, row, pulled, between)
    _look_again(lane, context, container, unread)


def _unread(lane: Lane, context: Context, container: ContainerId) -> list[tuple[SuppressionKey, int]]:
    """What had its time to settle, and was not read since; with the number from which on a reading counts."""
    before = context.now() - timedelta(seconds=lane.settle_s)
    with reading(context.engine) as connection:
        return outbox.unread_since(connection, lane.name, container, before)


def _look_again(
    lane: Lane, context: Context, container: ContainerId, unread: Sequence[tuple[SuppressionKey, int]]
) -> None:
    """Whoever a whole listing showed as before is planned again: a record that did not change put nobody there."""
    if not unread:
        return
    with reading(context.engine) as connection:
        whole_seq = containers.whole_seq_of(connection, lane.name, container)
    with writing(context.engine) as connection:
        listed = [key for key, seq in unread if seq < whole_seq]
        people.put_on_agenda(connection, listed, context.now())


async def _ask_all(lane: Lane, context: Context, wanted: list[Target], pulled: Pulled, between: Between) -> bool:
    """Ask about each; False as soon as the provider cannot tell, so that a listing must.

    Somebody at whom it fails keeps no other from being read back: they are asked about in later rounds.
    """
    failures = 0
    for target in wanted:
        await between()
        try:
            told = await ask(lane, context, target, pulled)
            failures = 0
        except FailedError as error:
            failures += 1
            await endure(lane, error, failures)
            note_unanswered(lane, context, target, error)
            continue
        if not told:
            return False
    return True
