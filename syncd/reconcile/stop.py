"""What is still sent while an invariant is broken: what people said themselves, where it is certain who is meant."""

from __future__ import annotations

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL
from syncd.domain.records import ContainerId
from syncd.reconcile.person import Person, Topology
from syncd.reconcile.suppress import concerning, suppressing, suppressing_at

CERTAIN = "ok"
"""The state of an account that was read well the last time: only there is it certain whose records are written to."""


def goes_on(person: Person, topology: Topology, account: str, container: ContainerId, kind: ChangeKind) -> bool:
    """Whether a change is an unsubscribe that rests on the person's own word.

    Not on a conclusion, and not on a listing that flipped very many at once: a broken rule may be why it did.
    """
    if kind is not ChangeKind.UNSUBSCRIBE:
        return False
    said = suppressing(person, topology, account, container) | suppressing_at(
        person, topology, person.at(account, container)
    )
    if topology.accounts[account].capabilities.facts.blind_unsubscribe:
        lists = concerning(person, topology, topology.accounts[account])
        said |= {scope for scope in (GLOBAL, *(entry.scope for entry in lists)) if person.said_no(scope)}
    return bool(said - person.inferred_scopes) and not said <= person.mass_scopes
