"""Cells that stay subscribed although a "no" stands: granted by fresh evidence, for one cell, until the next "no"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from syncd.domain.consent import Scope
from syncd.domain.records import SUPPRESSED, later
from syncd.reconcile.learn import claims
from syncd.reconcile.person import Cell, Exemption, Person, Place, Topology


@dataclass(frozen=True, slots=True)
class Grant:
    """A claim that needs nobody: the cell is left as it is, and nothing else follows from it."""

    cell: Cell
    evidence: str


def grants(person: Person, topology: Topology, now: datetime) -> list[Grant]:
    """The claims that hold by themselves. One of a cell that a write of ours is on its way to is left for later."""
    busy = {op.place for op in person.operations}
    found = {
        claim.cell.place: Grant(claim.cell, evidence_of(claim.cell))
        for claim in claims(person, topology, now)
        if claim.cell.place not in busy and promising(person, claim.cell)
    }
    return list(found.values())


def promising(person: Person, cell: Cell) -> bool:
    """Whether a cell that said no and reads subscribed shows that the person themselves came back, and came back last.

    The provider's own clock must tell of a confirmation that is later than the unsubscribe and was not known when the
    cell last read unsubscribed. And everything that the person ever said no to was known before that reading: of a
    later "no" nobody can say whether it came before the confirmation or after.
    """
    last_no = cell.said_no_seq
    confirmed = cell.confirmed_seq > last_no and later(cell.confirmed_at, cell.unsubscribed_at)
    return cell.reverted and confirmed and all(seq < last_no for seq in _noes(person, cell))


def _noes(person: Person, besides: Cell) -> Iterator[int]:
    """When each "no" of the person was learnt of, and those that were read and raised nothing."""
    yield from (no.seq for no in person.noes if no.place != besides.place)  # its own are told apart by its own clock
    for cell in person.cells:
        if cell.place != besides.place and cell.status in SUPPRESSED and not person.own_echo(cell):
            yield cell.status_seq


def evidence_of(cell: Cell) -> str:
    return f"confirmed at {cell.confirmed_at}, after the unsubscribe at {cell.unsubscribed_at}, by its own clock"


def lifted(person: Person, topology: Topology, place: Place) -> bool:
    """Whether an exemption stands for this cell."""
    return any(entry.place == place and ended_by(person, topology, entry) is None for entry in person.exemptions)


def ended_by(person: Person, topology: Topology, exemption: Exemption) -> Scope | None:
    """The scope of a "no" that reaches the cell and was learnt of after the grant."""
    reaching = topology.reaching(exemption.account, exemption.container)
    return next((no.scope for no in person.noes if no.scope in reaching and no.seq > exemption.seq), None)


def ends_something(person: Person) -> bool:
    """Whether a "no" that stands already is news all the same: it ends an exemption, or keeps one from being granted to
    whoever confirmed elsewhere before it, which may not have been read yet.
    """
    latest = max((no.seq for no in person.noes), default=0)
    return bool(person.exemptions) or any(cell.said_no_seq >= latest > 0 for cell in person.cells)
