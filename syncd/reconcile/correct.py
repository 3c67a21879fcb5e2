"""Ordinary fields: the writes that make every record of a person show the merged values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Status
from syncd.reconcile.desired import Desired, Why, change_for
from syncd.reconcile.fields import differing
from syncd.reconcile.person import Account, Cell, Person, Topology, stands
from syncd.reconcile.suppress import suppressing

NOT_THERE = frozenset({Status.REMOVED, Status.ABSENT})
"""What a place without the person leaves behind; it keeps nobody from writing to a record that is there by now."""


def correct(person: Person, topology: Topology, identity: Identity, fields: Mapping[str, str]) -> Iterator[Desired]:
    """Only fields that differ are written, only in containers of ours, and nothing of somebody who said no there."""
    for account in topology.accounts.values():
        if ChangeKind.UPDATE not in account.capabilities.accepts:
            continue
        cells = [cell for cell in person.cells if cell.account == account.name and cell.identity == identity]
        # Where the account as a whole is listed, fields are there; a record that shows none at all is to be filled too.
        at_whole = (account.name, WHOLE_ACCOUNT) in topology.whole
        holds_fields = {
            c.container for c in cells if c.fields or c.unread or (c.container == WHOLE_ACCOUNT) == at_whole
        }
        for container in sorted(holds_fields):
            here = [cell for cell in cells if cell.container == container and cell.status not in NOT_THERE]
            if not _writable(person, topology, account, container, cells, here):
                continue
            # What stands there and cannot be read is no blank to fill. One write is for all records of the address:
            # what one of them holds unread is written to none.
            unread = {name for cell in here for name in cell.unread}
            readable = {name: value for name, value in fields.items() if name not in unread}
            differs: dict[str, str] = {}
            for cell in here:
                differs |= differing(readable, cell, account)
            if differs:
                yield Desired(
                    account=account.name,
                    change=change_for(
                        ChangeKind.UPDATE, person, account.name, container, identity, cells=here, fields=differs
                    ),
                    why=Why.EDITED,
                    explicit=False,
                    first_contact=not account.joined,
                    protected=account.protected,
                    lists=tuple(entry.name for entry in topology.lists_of(account.name, container)),
                )


def _writable(
    person: Person, topology: Topology, account: Account, container: ContainerId, cells: list[Cell], here: list[Cell]
) -> bool:
    if len(here) > 1 and not account.capabilities.facts.keeps_duplicates:
        return False  # two records claim one address: nobody can say to which a value belongs
    if any(cell.nameless for cell in here):
        return False
    if not all(stands(cell) for cell in here) or suppressing(person, topology, account.name, container):
        return False
    if container != WHOLE_ACCOUNT:
        return topology.linked(account.name, container)
    return any(topology.linked(account.name, cell.container) for cell in cells if cell.container != WHOLE_ACCOUNT)
