"""What was seen, read as consent: the one place where a status becomes a fact about what a person wants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncd.domain.consent import GLOBAL, LEVEL_OF, ConsentEvent, ConsentState, Level, Scope, scope_of_status
from syncd.domain.records import Status
from syncd.reconcile.person import Cell, Person, Topology

ABSENCES_NEEDED = 2
"""Whole listings in a row that must not show somebody before the absence counts."""


OWN_ANSWER = "answer"
"""The route of a cell that holds what a provider accepted from us: our own words, and no news."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A record that stood unsubscribed and now reads subscribed. Not a change: a person decides."""

    cell: Cell
    scope: Scope


def learn(person: Person, topology: Topology, now: datetime, seq: int) -> list[ConsentEvent]:
    """Consent events that follow from the cells and are not yet in the consent state.

    A suppressed reading is news if nothing suppresses its scope yet, if it says more than what is known, or if it is
    somebody's own word where only less stood for it so far. It is none if it is our own echo while a "no" to
    everything stands, or if it is from before the current epoch began. An absence is news only where the
    configuration reads it as an opt-out.
    """
    known = dict(person.consent)
    events: list[ConsentEvent] = []
    for cell in person.cells:
        level, inferred = _level_of(cell, topology)
        if level is None or cell.route == OWN_ANSWER:
            continue
        for place in topology.scopes_of(cell.account, cell.container):
            scope = scope_of_status(cell.status, place)
            state = known.get(scope, ConsentState())
            overall = known.get(GLOBAL, ConsentState())
            past = state.epoch > 0 and cell.status_seq <= state.seq
            better = not inferred and level == state.level and _rests_on_less(person, scope, cell)
            echo = level <= overall.level and _written_by_us(person, cell)
            if past or echo or (level <= state.level and not better):
                continue
            known[scope] = ConsentState(state.epoch, level, state.seq)
            events.append(
                ConsentEvent(
                    key=person.key,
                    identity=cell.identity,
                    scope=scope,
                    epoch=state.epoch,
                    level=level,
                    at=now,
                    seq=seq,
                    source=cell.account,
                    route=cell.route,
                    evidence="gone from two whole listings" if inferred else f"read as {cell.status}",
                    container=cell.container,
                    inferred=inferred,
                )
            )
    return events


def _rests_on_less(person: Person, scope: Scope, cell: Cell) -> bool:
    """Whether a "no" rests on a conclusion or on a listing that flipped, and this cell is neither that nor our echo."""
    if scope not in person.inferred_scopes | person.mass_scopes:
        return False
    return not _written_by_us(person, cell) and (scope, cell.account, cell.container) not in person.mass_sources


def _written_by_us(person: Person, cell: Cell) -> bool:
    return (cell.account, cell.container, cell.identity) in person.noes_written


def _level_of(cell: Cell, topology: Topology) -> tuple[Level | None, bool]:
    if cell.status in LEVEL_OF:
        return LEVEL_OF[cell.status], False
    facts = topology.accounts[cell.account].capabilities.facts
    if cell.status is Status.REMOVED and facts.absence_is_unsubscribe and topology.linked(cell.account, cell.container):
        return Level.UNSUBSCRIBED, True
    return None, False


def claims(person: Person, topology: Topology, now: datetime) -> list[Claim]:
    """Records that said no, were seen to say no, and now read subscribed, seen so for longer than the provider needs
    to settle.
    """
    found: list[Claim] = []
    if person.erased:
        return found  # no record says yes for somebody who was erased
    for cell in person.cells:
        if cell.status is not Status.SUBSCRIBED or not _reverted(cell):
            continue
        settle_s = topology.accounts[cell.account].settle_s
        if (now - cell.status_at).total_seconds() < settle_s or _last_seen(cell, topology) <= cell.status_seq:
            continue  # once is not enough: it may be a replica that lags
        found += [
            Claim(cell, scope) for scope in topology.scopes_of(cell.account, cell.container) if person.suppressed(scope)
        ]
    return found


def _last_seen(cell: Cell, topology: Topology) -> int:
    """A record on a page that stayed the same is not read again; the latest whole listing saw it all the same."""
    return cell.seq if cell.missing_seq else max(cell.seq, topology.whole.get((cell.account, cell.container), 0))


def _reverted(cell: Cell) -> bool:
    return 0 < cell.said_no_seq < cell.status_seq
