"""Who newly joined one of our lists at one provider joins it at the others; nobody else does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import Identity
from syncd.domain.records import SUPPRESSED, WHOLE_ACCOUNT, ContainerId, Status
from syncd.reconcile.desired import Desired, LookUp, Why, change_for
from syncd.reconcile.learn import OWN_ANSWER
from syncd.reconcile.person import Account, Cell, MailingList, Person, Topology
from syncd.reconcile.suppress import suppressing

STOPS_SPREADING = frozenset({Status.BOUNCED, Status.COMPLAINED})
"""A hard bounce is not consent, but nobody hands on an address that does not take mail."""


def spread(
    person: Person, topology: Topology, identity: Identity, fields: Mapping[str, str]
) -> Iterator[Desired | LookUp]:
    """Additions, and the questions that must be answered before one may be decided.

    Added is only who was never there: somebody who was removed, unsubscribed or bounced at a place is not added again.
    A place counts as not holding somebody only after it was listed whole, or was asked about this one person; where
    nobody can be read, everybody is new who was never sent there.
    """
    for entry in topology.lists.values():
        cells = [
            cell for cell in person.cells if cell.identity == identity and entry.holds(cell.account, cell.container)
        ]
        joins = _spreads(person, topology, entry, cells)
        for account in topology.accounts.values():
            containers = entry.places.get(account.name, ())
            if not containers or not account.capabilities.facts.has_lists or account.name in entry.unlinked:
                continue
            here = [cell for cell in cells if cell.account == account.name]
            asks = account.capabilities.lookup and not account.capabilities.snapshot
            if asks and not here:
                for container in containers:
                    yield LookUp(account.name, container, identity, identity, "known elsewhere, never asked about here")
            elif (
                joins
                and _never_there(topology, account, entry, here)
                and not _refuses(person, topology, account, containers[0], identity)
            ):
                yield _join(person, topology, entry, account, identity, fields, cells)


def _spreads(person: Person, topology: Topology, entry: MailingList, cells: list[Cell]) -> bool:
    if not entry.spread or person.suppressed(entry.scope) or any(cell.status in STOPS_SPREADING for cell in cells):
        return False
    return any(_is_source(cell) and topology.accounts[cell.account].spread for cell in cells)


def _is_source(cell: Cell) -> bool:
    """Whether it was seen that they joined there: what we delivered ourselves is no word of theirs, nor is a record of
    which nobody knows whose it is by now.
    """
    return cell.status is Status.SUBSCRIBED and cell.route != OWN_ANSWER and not cell.nameless


def _never_there(topology: Topology, account: Account, entry: MailingList, here: list[Cell]) -> bool:
    if here:
        again = account.capabilities.facts.deduplicates
        return all(cell.status is Status.ABSENT or (cell.lost and again) for cell in here)
    if not account.capabilities.readable:
        return True
    return all((account.name, container) in topology.whole for container in entry.places[account.name])


def _refuses(person: Person, topology: Topology, account: Account, container: ContainerId, identity: Identity) -> bool:
    """Whether the account as a whole reads "no", also where that is no news any more: only they can take it back.

    Or whether a "no" to another list reaches the container: several lists may live in one.
    """
    said = any(cell.status in SUPPRESSED for cell in person.at(account.name, WHOLE_ACCOUNT, identity))
    return said or bool(suppressing(person, topology, account.name, container))


def _join(
    person: Person,
    topology: Topology,
    entry: MailingList,
    account: Account,
    identity: Identity,
    fields: Mapping[str, str],
    cells: list[Cell],
) -> Desired:
    sources = [topology.accounts[cell.account] for cell in cells if _is_source(cell)]
    unmet = not any(source.joined for source in sources)
    container = entry.places[account.name][0]
    return Desired(
        account=account.name,
        change=change_for(ChangeKind.SUBSCRIBE, person, account.name, container, identity, fields=fields),
        why=Why.JOINED,
        explicit=False,
        first_contact=not account.joined or unmet,
        protected=account.protected or (unmet and any(source.protected for source in sources)),
        lists=(entry.name,),
    )
