"""Hold the mirror against its invariants, and stop all but unsubscribes while one of them is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from syncd.domain.changes import ChangeKind
from syncd.store import invariants, journal
from syncd.store.inspect import shown_time
from syncd.store.invariants import Finding, Look, Snapshot
from syncd.store.session import reading, writing
from syncd.sync.context import Context

EXAMPLES = 10
"""How many of what breaks an invariant are kept and shown."""

_KEPT = "check"


class _Kept(msgspec.Struct):
    """What one check leaves for the next."""

    at: datetime
    full_at: datetime | None = None
    snapshot: Snapshot = Snapshot()
    free_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to. `broken`: what stands broken after it, as kept in the mirror."""

    at: datetime
    full: bool
    findings: Sequence[Finding]
    broken: Mapping[str, Mapping[str, Any]]


def check(context: Context, *, full: bool = False, accept: bool = False) -> Checked:
    """Look at everything, and keep what is broken: from then on pushes stop, until a check finds all of it whole."""
    return conclude(context, examine(context, full=full), accept=accept)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was looked at: the findings, and what the next check is to compare with."""

    look: Look
    findings: Sequence[Finding]
    snapshot: Snapshot


def examine(context: Context, *, full: bool = False) -> Examined:
    """The part that only reads. While something is broken every check is full: a sample could miss it."""
    lanes = context.lanes.values()
    with reading(context.engine) as connection:
        kept, broken = _kept(connection), journal.broken(connection)
    look = Look(
        now=context.now(),
        accounts=sorted(context.lanes),
        takes_noes=sorted(lane.name for lane in lanes if ChangeKind.UNSUBSCRIBE in lane.capabilities.accepts),
        limits=context.policy.limits,
        draw=context.jitter,
        before=kept.snapshot if kept else Snapshot(),
        full=full or bool(broken),
        stopped=bool(broken),
        free_since=kept.free_since if kept else None,
    )
    with reading(context.engine) as connection:
        findings = invariants.examine(connection, look)
        snapshot = invariants.snapshot(connection, look.before, full=look.full)
    return Examined(look, findings, snapshot)


def conclude(context: Context, examined: Examined, *, accept: bool = False) -> Checked:
    """Keep what was found. `accept`: what is left of suppression is what the next check compares with."""
    look = examined.look
    found = {one.invariant.name: one for one in examined.findings if not one.whole}
    grown = "suppression-only-grows"
    if accept and grown in found:
        context.log.warning("invariant.accepted", invariant=grown, faults=list(found.pop(grown).broken))
    findings = [one if one.invariant.name in found else replace(one, broken=()) for one in examined.findings]
    with writing(context.engine) as connection:
        before, kept = journal.broken(connection), _kept(connection)
        broken = {
            name: {
                "since": before[name]["since"] if name in before else shown_time(look.now),
                "count": len(one.broken),
                "examples": list(one.broken[:EXAMPLES]),
            }
            for name, one in found.items()
        }
        journal.note_broken(connection, broken)
        # What is gone must stay missed: a mirror that lost something is nothing to compare with.
        snapshot = look.before if grown in found else examined.snapshot
        full_at = look.now if look.full else kept.full_at if kept else None
        free_since = look.now if before and not broken else look.free_since
        _keep(connection, _Kept(look.now, full_at, snapshot, free_since))
    for name in sorted(broken.keys() - before.keys()):
        context.log.error("invariant.broken", invariant=name, **_told(broken[name]), next=found[name].invariant.next)
    for name in sorted(before.keys() - broken.keys()):
        context.log.warning("invariant.whole", invariant=name, since=before[name]["since"])
    return Checked(look.now, look.full, findings, broken)


def due(context: Context, every_s: float, full_every_s: float) -> tuple[float, bool]:
    """In how many seconds the next check is due, and whether it is to be a full one."""
    with reading(context.engine) as connection:
        kept = _kept(connection)
    if kept is None:
        return 0.0, True
    now = context.now()
    full = kept.full_at is None or now - kept.full_at >= timedelta(seconds=full_every_s)
    return max(0.0, every_s - (now - kept.at).total_seconds()), full


def broken_as_shown(broken: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What stands broken, for a status."""
    return [{"invariant": name, **entry} for name, entry in sorted(broken.items())]


def checked_as_shown(checked: Checked) -> dict[str, Any]:
    """A check as plain values."""
    return {
        "whole": not checked.broken,
        "full": checked.full,
        "at": shown_time(checked.at),
        "invariants": [
            {
                "name": one.invariant.name,
                "state": "ok" if one.whole else "breach",
                "asserts": one.invariant.asserts,
                "count": len(one.broken),
                "of": one.invariant.examples,
                "examples": list(one.broken[:EXAMPLES]),
                "means": one.invariant.means,
                "next": one.invariant.next,
            }
            for one in checked.findings
        ],
        "breach": broken_as_shown(checked.broken),
    }


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"count": entry["count"], "examples": entry["examples"]}


def _kept(connection: Any) -> _Kept | None:
    found = journal.get_value(connection, _KEPT)
    return None if found is None else msgspec.json.decode(found, type=_Kept)


def _keep(connection: Any, kept: _Kept) -> None:
    plain = {
        "at": kept.at,
        "full_at": kept.full_at,
        "snapshot": asdict(kept.snapshot),
        "free_since": kept.free_since,
    }
    journal.set_value(connection, _KEPT, msgspec.json.encode(plain).decode())
