"""Read back what was accepted, and look up what nobody answered for. What differs is observed like anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from syncd.domain.changes import Target
from syncd.domain.errors import FailedError
from syncd.domain.identity import suppression_key
from syncd.domain.records import ContainerId
from syncd.providers.protocol import CanFeed, CanLookup, CanSnapshot
from syncd.store import containers, lookups, outbox, people
from syncd.store.session import reading, writing
from syncd.sync.context import Context, Lane
from syncd.sync.lookups import ask, note_unanswered
from syncd.sync.outage import endure
from syncd.sync.pull import read_feed, read_whole
from syncd.sync.pulled import Pulled

ASKED_ONE_BY_ONE = 25
"""With more than this many to read back in one container, listing it is cheaper than asking."""


async def verify(lane: Lane, context: Context, read: set[int]) -> Pulled:
    """Read back every operation that waits for it, by the cheapest way the provider has.

    `read`: the operations that were read back in this round; it is added to. A provider that does not show yet what it
    took is not asked again and again at the same moment.
    """
    pulled = Pulled()
    with reading(context.engine) as connection:
        waiting = [one for one in outbox.awaiting_read(connection, lane.name) if one.id not in read]
        if not waiting:
            return pulled
        unanswered = lookups.unanswered(connection, lane.name)  # their turn comes, if they were not given up
        waiting = [one for one in waiting if (one.container, one.identity) not in unanswered]
        rows = {row.container: row for row in containers.load_containers(connection, lane.name)}
        targets: dict[ContainerId, list[Target]] = {}
        for one in waiting:
            target = lookups.target_of(connection, lane.name, one.container, one.identity, one.address)
            known = tuple(sorted({*target.keys, *one.keys}))
            targets.setdefault(one.container, []).append(replace(target, keys=known))
    for container, wanted in sorted(targets.items()):
        row = rows.get(container)
        many = len(wanted) > ASKED_ONE_BY_ONE and isinstance(lane.provider, CanSnapshot)
        if isinstance(lane.provider, CanLookup) and not many and await _ask_all(lane, context, wanted, pulled):
            continue
        if row is not None and isinstance(lane.provider, CanFeed) and row.watermark:
            await read_feed(lane, context, container, row.watermark, pulled)
            await _list_if_unread(lane, context, row, pulled)
        elif row is not None and isinstance(lane.provider, CanSnapshot):
            await read_whole(lane, context, row, pulled)
        _plan_again(context, wanted)
    read.update(one.id for one in waiting)
    return pulled


async def _list_if_unread(lane: Lane, context: Context, row: Any, pulled: Pulled) -> None:
    """A feed shows what changed, and a call that changed nothing leaves nothing in it.

    So what a feed does not show, once the provider has had time to settle, is listed whole.
    """
    before = context.now() - timedelta(seconds=lane.settle_s)
    with reading(context.engine) as connection:
        unread = outbox.unread_since(connection, lane.name, ContainerId(row.container), before)
    if any(seq >= row.whole_seq for seq in unread):
        await read_whole(lane, context, row, pulled)


def _plan_again(context: Context, wanted: Sequence[Target]) -> None:
    """A record that reads as before puts nobody on the agenda, and what was sent to it may have arrived by now."""
    with writing(context.engine) as connection:
        people.put_on_agenda(connection, [suppression_key(target.identity) for target in wanted], context.now())


async def _ask_all(lane: Lane, context: Context, wanted: list[Target], pulled: Pulled) -> bool:
    """Ask about each; False as soon as the provider cannot tell, so that a listing must.

    Somebody at whom it fails keeps no other from being read back: they are asked about in later rounds.
    """
    failures = 0
    for target in wanted:
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
