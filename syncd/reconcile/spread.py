"""Who newly joined one of our lists at one provider joins it at the others; nobody else does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL
from syncd.domain.identity import Identity
from syncd.domain.records import SUPPRESSED, WHOLE_ACCOUNT, ContainerId, Status
from syncd.reconcile.desired import Desired, LookUp, Why, change_for
from syncd.reconcile.learn import OWN_ANSWER
from syncd.reconcile.person import Account, Cell, MailingList, Person, Topology
from syncd.reconcile.rename import pending, place_of_former, under_way
from syncd.reconcile.suppress import suppressing

STOPS_SPREADING = frozenset({Status.BOUNCED, Status.COMPLAINED})
"""A hard bounce is not consent, but nobody hands on an address that does not take mail."""


UNFOUNDED = "nothing brings them there any more: a list was unlinked, or they are not on it"
"""Why an addition that was not sent yet is given up."""


def spread(
    person: Person, topology: Topology, identity: Identity, fields: Mapping[str, str]
) -> Iterator[Desired | LookUp]:
    """Additions, and the questions that must be answered before one may be decided.

    Added is only who was never there: somebody who was removed, unsubscribed or bounced at a place is not added again.
    A place counts as not holding somebody only after it was listed whole, or was asked about this one person; where
    nobody can be read, everybody is new who was never sent there.
    """
    for entry in topology.lists.values():
        cells = _on_list(person, entry, identity)
        joined = _spreads(person, topology, entry, identity, cells)
        for account in topology.accounts.values():
            containers = entry.places.get(account.name, ())
            if not containers or not account.capabilities.facts.has_lists:
                continue
            here = [cell for cell in cells if cell.account == account.name]
            asks = account.capabilities.lookup and not account.capabilities.snapshot
            if asks and not here:
                for container in containers:
                    yield LookUp(account.name, container, identity, identity, "known elsewhere, never asked about here")
            elif (
                joined
                and _never_there(topology, account, entry, here)
                and not _refuses(person, topology, account, containers[0], identity)
                and not any(pending(person, account.name, container, identity) for container in containers)
                and not (
                    account.capabilities.facts.changes_addresses
                    and any(under_way(person, account.name, container, identity) for container in containers)
                )
            ):
                yield _join(person, topology, entry, account, identity, fields, cells)


def joins(person: Person, topology: Topology, account: str, container: ContainerId, identity: Identity) -> bool:
    """Whether somebody joined, elsewhere, a list that lives in this container: else an addition there is unfounded."""
    return any(
        _spreads(person, topology, entry, identity, _on_list(person, entry, identity))
        for entry in topology.lists.values()
        if container in entry.places.get(account, ())
    )


def _on_list(person: Person, entry: MailingList, identity: Identity) -> list[Cell]:
    return [c for c in person.cells if c.identity == identity and entry.holds(c.account, c.container)]


def _spreads(person: Person, topology: Topology, entry: MailingList, identity: Identity, cells: list[Cell]) -> bool:
    if not entry.spread or person.suppressed(entry.scope) or _said_no_before(person, entry, identity):
        return False
    if any(cell.status in STOPS_SPREADING for cell in cells):
        return False
    return any(_is_source(cell) and topology.accounts[cell.account].spread for cell in cells)


def _said_no_before(person: Person, entry: MailingList, identity: Identity) -> bool:
    """Whether they said no under the address that this one took the place of."""
    formers = [former for former in person.formers if former.successor == identity]
    return any(former.waits or {entry.scope, GLOBAL} & former.noes for former in formers)


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
    unmet = _unmet(person, topology, cells)
    unsafe = any(source.protected for source in unmet)
    waits_there = account.protected or not (account.joined or unsafe)
    container, former = entry.places[account.name][0], None
    if account.capabilities.facts.changes_addresses:
        container, former = _with_former(person, entry.places[account.name], account.name, identity)
    return Desired(
        account=account.name,
        change=change_for(
            ChangeKind.SUBSCRIBE, person, account.name, container, identity, fields=fields, replaces=former
        ),
        why=Why.JOINED if former is None else Why.MOVED,
        explicit=False,
        first_contact=not account.joined or bool(unmet),
        protected=account.protected or unsafe,
        unmet=() if waits_there else tuple(sorted({source.name for source in unmet})),
        lists=(entry.name,),
    )


def _unmet(person: Person, topology: Topology, cells: list[Cell]) -> list[Account]:
    """The accounts they come from whose first contact goes on; none, if they joined at one that was agreed with.

    Where they were added by us they did not join: one addition that was approved approves no other.
    """
    sources = [cell for cell in cells if _is_source(cell)]
    if any(topology.accounts[cell.account].joined and cell.place not in person.added for cell in sources):
        return []
    return [topology.accounts[cell.account] for cell in sources if not topology.accounts[cell.account].joined]


def _with_former(
    person: Person, containers: Sequence[ContainerId], account: str, identity: Identity
) -> tuple[ContainerId, str | None]:
    """The container in which their former address stands, with its spelling there; else the first, and nobody."""
    for container in containers:
        if (former := place_of_former(person, account, container, identity)) is not None:
            return container, former
    return containers[0], None
