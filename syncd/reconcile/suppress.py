"""Every "no" everywhere: the changes that make a suppression hold at each provider."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.facts import Grade
from syncd.domain.identity import Identity
from syncd.domain.records import SUPPRESSED, WHOLE_ACCOUNT, ContainerId
from syncd.reconcile.desired import Desired, Why, change_for
from syncd.reconcile.person import Account, Cell, Person, Topology, stands


def suppress(person: Person, topology: Topology, identity: Identity, now: datetime) -> Iterator[Desired | datetime]:
    """Unsubscribes to send, and the times at which to look again at records that may only lag behind."""
    for account in topology.accounts.values():
        if account.capabilities.facts.blind_unsubscribe:
            yield from _tell(person, topology, account, identity)
            continue
        cells = [cell for cell in person.cells if cell.account == account.name and cell.identity == identity]
        for container in sorted({cell.container for cell in cells}):
            said = suppressing(person, topology, account.name, container)
            reachable = [cell for cell in cells if cell.container == container and stands(cell)]
            if said and reachable:
                yield _unsubscribe(person, topology, account, reachable, said, now)


def suppressing(person: Person, topology: Topology, account: str, container: ContainerId) -> frozenset[Scope]:
    """The scopes whose "no" reaches this container.

    One that no list of ours names is reached by a global "no" alone, and so is the whole account, unless it is itself
    where a list of ours lives.
    """
    scopes = {GLOBAL, *(entry.scope for entry in topology.lists_of(account, container))}
    return frozenset(scope for scope in scopes if person.said_no(scope))


def _unsubscribe(
    person: Person, topology: Topology, account: Account, reachable: list[Cell], said: frozenset[Scope], now: datetime
) -> Desired | datetime:
    reverted = [cell for cell in reachable if 0 < cell.said_no_seq < cell.status_seq]
    if len(reverted) == len(reachable):
        settled_at = max(cell.status_at for cell in reverted) + timedelta(seconds=account.settle_s)
        if settled_at > now:
            return settled_at  # a lower reading so soon after the "no" may be a replica that lags
    container, identity = reachable[0].container, reachable[0].identity
    return Desired(
        account=account.name,
        change=change_for(ChangeKind.UNSUBSCRIBE, person, account.name, container, identity, cells=reachable),
        why=Why.REASSERTED if reverted else Why.SUPPRESSED,
        explicit=bool(said - person.inferred_scopes),
        mass=said <= person.mass_scopes,
        protected=any(entry.protected for entry in topology.accounts.values()),
        lists=tuple(entry.name for entry in topology.lists_of(account.name, container)),
    )


def _tell(person: Person, topology: Topology, account: Account, identity: Identity) -> Iterator[Desired]:
    """A provider without lists is told of every "no" that concerns it, whether or not it ever named the person to us.

    Once: it cannot be read back, so what it accepted stands until a newer reading from there says otherwise, or until
    a person wants it told again (then it is only assumed to know).
    """
    lists = [entry for entry in topology.lists.values() if account.name in entry.places]
    said = {scope for scope in (GLOBAL, *(entry.scope for entry in lists)) if person.said_no(scope)}
    if not said:
        return
    cells = [cell for cell in person.cells if cell.account == account.name and cell.identity == identity]
    told = [cell for cell in cells if cell.container == WHOLE_ACCOUNT and cell.status in SUPPRESSED]
    newer = [cell for cell in cells if stands(cell) and all(cell.status_seq > known.status_seq for known in told)]
    if told and not newer and not any(cell.grade is Grade.ASSUMED for cell in told):
        return
    yield Desired(
        account=account.name,
        change=change_for(ChangeKind.UNSUBSCRIBE, person, account.name, WHOLE_ACCOUNT, identity, cells=cells),
        why=Why.REASSERTED if told else Why.TOLD,
        explicit=bool(said - person.inferred_scopes),
        mass=said <= person.mass_scopes,
        protected=any(entry.protected for entry in topology.accounts.values()),
        lists=tuple(entry.name for entry in lists),
    )
