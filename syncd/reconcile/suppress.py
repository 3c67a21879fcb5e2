"""Every "no" everywhere: the changes that make a suppression hold at each provider."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.facts import Grade
from syncd.domain.identity import Identity
from syncd.domain.records import SUPPRESSED, WHOLE_ACCOUNT, ContainerId, Status
from syncd.reconcile.desired import Desired, LookUp, Why, change_for
from syncd.reconcile.exempt import lifted, promising
from syncd.reconcile.fights import fought_over
from syncd.reconcile.learn import seen_twice
from syncd.reconcile.person import Account, Cell, MailingList, Person, Topology, stands

PATIENCE = 20
"""Settle times within which the second look at a record that reads subscribed again should have come."""


def suppress(
    person: Person, topology: Topology, identity: Identity, now: datetime
) -> Iterator[Desired | LookUp | datetime]:
    """Unsubscribes to send, the times at which to look again at records that may only lag behind, and whom to ask about
    once more before anything is undone.
    """
    for account in topology.accounts.values():
        if account.capabilities.facts.blind_unsubscribe:
            yield from _tell(person, topology, account, identity)
            continue
        cells = [cell for cell in person.cells if cell.account == account.name and cell.identity == identity]
        for container in sorted({cell.container for cell in cells}):
            reachable = [c for c in cells if c.container == container and (stands(c) or _untold(c, account))]
            said = suppressing_at(person, topology, reachable)
            if said and reachable and not lifted(person, topology, (account.name, container, identity)):
                yield from _unsubscribe(person, topology, account, reachable, said, now)


def _untold(cell: Cell, account: Account) -> bool:
    """Whether a provider that nobody can read is only assumed to know of a "no": a person wants it told again."""
    return not account.capabilities.readable and cell.status in SUPPRESSED and cell.grade is Grade.ASSUMED


def suppressing(person: Person, topology: Topology, account: str, container: ContainerId) -> frozenset[Scope]:
    """The scopes whose "no" stands and keeps somebody out of this container."""
    return frozenset(scope for scope in topology.reaching(account, container) if person.said_no(scope))


def suppressing_at(person: Person, topology: Topology, cells: Iterable[Cell]) -> frozenset[Scope]:
    """The scopes whose "no" stands and reaches one of these records."""
    return frozenset(scope for cell in cells for scope in topology.reaching_record(cell) if person.said_no(scope))


def _unsubscribe(
    person: Person, topology: Topology, account: Account, reachable: list[Cell], said: frozenset[Scope], now: datetime
) -> Iterator[Desired | LookUp | datetime]:
    reverted = [cell for cell in reachable if cell.reverted]
    fought = fought_over(person, topology, reachable[0].place, now)
    if len(reverted) == len(reachable) or fought:
        settled_at = max(cell.status_at for cell in reachable) + timedelta(seconds=account.settle_s)
        if settled_at > now:
            yield settled_at  # a lower reading so soon after the "no" may be a replica that lags
            return
        if reverted and account.capabilities.lookup and _to_be_seen_twice(person, topology, reachable, now):
            cell = reachable[0]
            yield LookUp(account.name, cell.container, cell.identity, cell.address, "said no and reads otherwise, once")
            yield now + timedelta(seconds=account.settle_s)
            return
    container, identity = reachable[0].container, reachable[0].identity
    yield Desired(
        account=account.name,
        change=change_for(ChangeKind.UNSUBSCRIBE, person, account.name, container, identity, cells=reachable),
        why=Why.REASSERTED if reverted else Why.SUPPRESSED,
        explicit=bool(said - person.inferred_scopes),
        mass=said <= person.mass_scopes,
        protected=any(entry.protected for entry in topology.accounts.values()),
        lists=tuple(dict.fromkeys(entry.name for cell in reachable for entry in topology.lists_reaching(cell))),
    )


def _to_be_seen_twice(person: Person, topology: Topology, cells: list[Cell], now: datetime) -> bool:
    """Whether to look once more before anything is undone: not for ever, unless the person may have come back."""
    for cell in cells:
        late = timedelta(seconds=PATIENCE * topology.accounts[cell.account].settle_s)
        if not seen_twice(cell, topology, now) and (promising(person, cell) or now < cell.status_at + late):
            return True
    return False


def _tell(person: Person, topology: Topology, account: Account, identity: Identity) -> Iterator[Desired]:
    """A provider without lists is told of every "no" that concerns it, whether or not it ever named the person to us.

    Once: it cannot be read back, so what it accepted stands until a newer reading from there says otherwise, or until
    a person wants it told again (then it is only assumed to know).
    """
    concerned, said = concerning(person, topology, account), _said(person, topology, account)
    if not said or told(person, topology, account, identity):
        return
    cells = [cell for cell in person.cells if cell.account == account.name and cell.identity == identity]
    known = _known(cells)
    again = bool(known) and all(_heard(person, scope, account, known) for scope in said)
    yield Desired(
        account=account.name,
        change=change_for(ChangeKind.UNSUBSCRIBE, person, account.name, WHOLE_ACCOUNT, identity, cells=cells),
        why=Why.REASSERTED if again else Why.TOLD,
        explicit=bool(said - person.inferred_scopes),
        mass=said <= person.mass_scopes,
        protected=any(entry.protected for entry in topology.accounts.values()),
        lists=tuple(entry.name for entry in concerned),
    )


def concerning(person: Person, topology: Topology, account: Account) -> list[MailingList]:
    """The lists whose "no" concerns an account as a whole: they live there, or lived there when the person came."""
    here = [cell for cell in person.cells if cell.account == account.name and cell.status is not Status.ABSENT]
    return [
        entry
        for entry in topology.lists.values()
        if account.name in entry.places or any(entry.brought(cell) for cell in here)
    ]


def told(person: Person, topology: Topology, account: Account, identity: Identity) -> bool:
    """Whether an account without lists reads, or was told, that this person said no, and nothing newer from there, and
    no newer word of theirs, says otherwise. What is only assumed was never told, or is to be told again.
    """
    cells = [cell for cell in person.cells if cell.account == account.name and cell.identity == identity]
    known = _known(cells)
    if not known or any(cell.grade is Grade.ASSUMED for cell in known):
        return False
    if not all(_heard(person, scope, account, known) for scope in _said(person, topology, account)):
        return False
    return not any(stands(cell) and all(cell.status_seq > no.status_seq for no in known) for cell in cells)


def _said(person: Person, topology: Topology, account: Account) -> set[Scope]:
    """What they said no to, of what concerns an account without lists."""
    scopes = (GLOBAL, *(entry.scope for entry in concerning(person, topology, account)))
    return {scope for scope in scopes if person.said_no(scope)}


def _known(cells: Iterable[Cell]) -> list[Cell]:
    """Where an account without lists reads, or was told, that they said no."""
    return [cell for cell in cells if cell.container == WHOLE_ACCOUNT and cell.status in SUPPRESSED]


def _heard(person: Person, scope: Scope, account: Account, known: Sequence[Cell]) -> bool:
    """Whether what it knows is this "no", and not one that the person took back before they said it again."""
    epoch = person.consent[scope].epoch
    noes = [no for no in person.noes if (no.scope, no.epoch) == (scope, epoch)]
    if not epoch or not noes or any(no.account == account.name for no in noes):
        return True
    return any(cell.status_seq > min(no.seq for no in noes) for cell in known)
