"""What was seen, read as consent: the one place where a status becomes a fact about what a person wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from syncd.domain.consent import GLOBAL, LEVEL_OF, ConsentEvent, ConsentState, Level, Scope, scope_of_status
from syncd.domain.records import Status
from syncd.reconcile.person import Cell, No, Person, Topology
from syncd.reconcile.rename import Reading, reading_of

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
    everything stands, or if it is from before the current epoch began, or if it shows what we wrote before that. While
    an exemption stands, a "no" that ends it is news whatever is known, and so is one after the address that took the
    place of theirs took it back. An absence is news only where the configuration reads it as an opt-out.
    """
    known, said = dict(person.consent), set[Scope]()
    events: list[ConsentEvent] = []
    for cell in person.cells:
        level, inferred = _level_of(cell, topology)
        if level is None or cell.route == OWN_ANSWER or reading_of(person, topology, cell, now) is not Reading.NO:
            continue
        for place in topology.scopes_of(cell.account, cell.container):
            scope = scope_of_status(cell.status, place)
            state = known.get(scope, ConsentState())
            overall = known.get(GLOBAL, ConsentState())
            past = state.epoch > 0 and (cell.status_seq <= state.seq or person.own_echo(cell))
            ends = _ends_exemption(person, topology, scope, cell) or _was_undone(person, scope, cell)
            again = not inferred and not past and scope not in said and ends
            better = not inferred and level == state.level and _rests_on_less(person, scope, cell)
            echo = level <= overall.level and _written_by_us(person, cell)
            if past or ((echo or (level <= state.level and not better)) and not again):
                continue
            said.add(scope)
            known[scope] = state.join(ConsentState(state.epoch, level, state.seq))
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
                    evidence=_evidence(cell, inferred=inferred),
                    container=cell.container,
                    inferred=inferred,
                    again=again and level <= state.level,
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


def _ends_exemption(person: Person, topology: Topology, scope: Scope, cell: Cell) -> bool:
    return any(
        scope in topology.reaching(entry.account, entry.container) and cell.status_seq > entry.seq
        for entry in person.exemptions
    ) and not person.own_echo(cell)


def _was_undone(person: Person, scope: Scope, cell: Cell) -> bool:
    """Whether the address that took the place of theirs said yes since it was last said, and this is said later."""
    undone = [at for rename in person.renames for of, at in rename.undone if of in {None, scope}]
    if not undone or cell.status_at <= min(undone) or person.own_echo(cell):
        return False
    # Of what was read: a command beside the daemon has its number from another block, which may run ahead for days.
    return all(no.seq < cell.status_seq for no in person.noes if no.scope == scope and no.container)


def taught(person: Person, events: Sequence[ConsentEvent]) -> Person:
    """The person with what was just learnt."""
    consent = dict(person.consent)
    for event in events:
        state = consent.get(event.scope, ConsentState())
        consent[event.scope] = state.join(ConsentState(event.epoch, event.level, state.seq))
    noes = [No(e.scope, e.seq, e.epoch, e.source, e.container, e.identity) for e in events]
    concluded = {e.scope for e in events if e.inferred and e.scope not in person.consent}
    said = {e.scope for e in events if not e.inferred}
    inferred = (person.inferred_scopes | concluded) - said
    return replace(person, consent=consent, noes=[*person.noes, *noes], inferred_scopes=inferred)


def _evidence(cell: Cell, *, inferred: bool) -> str:
    if inferred:
        return "gone from two whole listings"
    return "unsubscribed anew, by its own clock" if cell.left_and_came_back else f"read as {cell.status}"


def _level_of(cell: Cell, topology: Topology) -> tuple[Level | None, bool]:
    if cell.status in LEVEL_OF:
        return LEVEL_OF[cell.status], False
    if cell.left_and_came_back:
        return Level.UNSUBSCRIBED, False
    facts = topology.accounts[cell.account].capabilities.facts
    if cell.status is Status.REMOVED and facts.absence_is_unsubscribe and topology.linked(cell.account, cell.container):
        return Level.UNSUBSCRIBED, True
    return None, False


def claims(person: Person, topology: Topology, now: datetime) -> list[Claim]:
    """Records that said no, were seen to say no, and now read subscribed, seen so for longer than the provider needs
    to settle; and what a provider that cannot be asked told us of somebody of whose "no" we knew.
    """
    found: list[Claim] = []
    if person.erased:
        return found  # no record says yes for somebody who was erased
    exempt = {entry.place for entry in person.exemptions}
    for cell in person.cells:
        if cell.status is not Status.SUBSCRIBED or cell.place in exempt:
            continue
        if topology.accounts[cell.account].capabilities.facts.blind_unsubscribe:
            known = _known_noes(person, topology, cell)
        elif cell.reverted and seen_twice(cell, topology, now):
            known = claimed_scopes(person, topology, cell)
        else:
            continue
        found += [Claim(cell, scope) for scope in known]
    return found


def claimed_scopes(person: Person, topology: Topology, cell: Cell) -> list[Scope]:
    """The scopes in which somebody is suppressed and would not be by the claim that this cell makes."""
    if topology.accounts[cell.account].capabilities.facts.blind_unsubscribe:
        return sorted(scope for scope in topology.reaching_record(cell) if person.said_no(scope))
    return [scope for scope in topology.scopes_of(cell.account, cell.container) if person.suppressed(scope)]


def _known_noes(person: Person, topology: Topology, cell: Cell) -> list[Scope]:
    """The scopes of which a "no" stands that reaches this cell, and was known when the cell came to be as it is."""
    return [
        scope
        for scope in claimed_scopes(person, topology, cell)
        if any(
            no.scope == scope and no.epoch == person.consent[scope].epoch and no.seq < cell.status_seq
            for no in person.noes
        )
    ]


def seen_twice(cell: Cell, topology: Topology, now: datetime) -> bool:
    """Once is not enough: it may be a replica that lags."""
    settled = (now - cell.status_at).total_seconds() >= topology.accounts[cell.account].settle_s
    return settled and _last_seen(cell, topology) > cell.status_seq


def _last_seen(cell: Cell, topology: Topology) -> int:
    """A record on a page that stayed the same is not read again; the latest whole listing saw it all the same."""
    return cell.seq if cell.missing_seq else max(cell.seq, topology.whole.get((cell.account, cell.container), 0))
