"""Begin again with what is known: read it anew, send it anew, or agree on it anew. Three acts, never one word.

Each is one transaction, and holds while another process works on the mirror: whoever reads or plans next finds it.
None of them adds anybody anywhere: an addition that follows from one waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import WHOLE_ACCOUNT
from syncd.reconcile.person import Topology
from syncd.store import resync as stored
from syncd.store.resync import Extent
from syncd.store.session import Connection, rehearsing, writing
from syncd.sync.context import Context, Lane
from syncd.sync.plan import Planned, plan_within


class Verb(StrEnum):
    """What is begun again."""

    REREAD = "reread"  # nothing is skipped because it looks the same: no change of meaning
    REASSERT = "reassert"  # what is desired is planned again, and told again where nobody can be asked
    REBASE = "rebase"  # what records show now is what the next merge of fields begins with


@dataclass(frozen=True, slots=True)
class Resynced:
    """What it came to, or would. `planned`: of a rehearsal, what would be sent because of it, and what would wait."""

    people: int = 0
    containers: int = 0
    look_ups: int = 0
    told_again: int = 0
    reopened: int = 0
    records: int = 0
    planned: Planned | None = None


def resync(
    context: Context,
    verb: Verb,
    *,
    account: str | None = None,
    list_name: str | None = None,
    identity: Identity | None = None,
    dry_run: bool = False,
) -> Resynced:
    """Do it for everything, or as far as an account, a list of ours and a person narrow it down."""
    if not dry_run:
        with writing(context.engine) as connection:
            return _done(connection, context, verb, _extent(connection, context, account, list_name, identity))
    seq = context.sequence.take()
    with rehearsing(context.engine) as connection:
        done = _done(connection, context, verb, _extent(connection, context, account, list_name, identity))
        planned = plan_within(connection, context, seq) if verb is not Verb.REREAD else None
        return Resynced(**_counts(done), planned=planned)


def _counts(done: Resynced) -> dict[str, Any]:
    names = ("people", "containers", "look_ups", "told_again", "reopened", "records")
    return {name: getattr(done, name) for name in names}


def _extent(
    connection: Connection, context: Context, account: str | None, list_name: str | None, identity: Identity | None
) -> Extent:
    topology: Topology = context.topology(connection)
    key = None if identity is None else suppression_key(identity)
    names = [name for name in topology.accounts if account in {None, name}]
    if list_name is None:
        return Extent(dict.fromkeys(names), key=key)
    entry = topology.lists[list_name]
    places = {name: entry.places[name] for name in names if name in entry.places}
    for name, container in entry.ended:  # what is known there still has to hear a "no"
        if name in names:
            places[name] = (*places.get(name, ()), container)
    return Extent(
        {name: None if WHOLE_ACCOUNT in ids else ids for name, ids in places.items()}, frozenset({entry.scope}), key
    )


def _done(connection: Connection, context: Context, verb: Verb, extent: Extent) -> Resynced:
    now = context.now()
    lanes = [context.lanes[name] for name in extent.places]
    if verb is Verb.REREAD:
        asked = [lane.name for lane in lanes if _is_asked(lane, extent)]
        listed = [lane.name for lane in lanes if lane.capabilities.snapshot and lane.name not in asked]
        return Resynced(
            people=stored.look_at(connection, stored.concerned(extent), now, plan=False),
            containers=stored.forget_pages(connection, extent, listed),
            look_ups=stored.forget_ages(connection, extent, asked, now),
        )
    if verb is Verb.REASSERT:
        blind = [lane.name for lane in lanes if not lane.capabilities.readable]
        reopened = stored.reopen(connection, extent, now)
        told = stored.forget_told(connection, extent, blind)
        everybody = stored.concerned(extent).union(stored.said_no(extent))
        return Resynced(people=stored.look_at(connection, everybody, now), told_again=told, reopened=reopened)
    records = stored.forget_base(connection, extent, now)
    return Resynced(people=stored.look_at(connection, stored.concerned(extent), now), records=records)


def _is_asked(lane: Lane, extent: Extent) -> bool:
    """Whether reading it anew means asking: where nobody is listed, and about one person wherever that is possible."""
    return lane.asks_only or (extent.key is not None and lane.capabilities.lookup)
