"""An address that gave way to another is no "no": where the provider itself unsubscribes it as the new one confirms.

A notice says that something was changed for an address. Nobody says what; so the unsubscribe that follows is taken for
the change only if exactly one newcomer of the same name confirmed at that very moment, on the provider's own clock.
Where we asked for the change ourselves the newcomer is known. A record that goes by another address than before says it
outright.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from syncd.domain.consent import ConsentEvent, ConsentState, Level, Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId, Status, later, seconds_of
from syncd.reconcile.fields import NAME_FIELDS, full_name
from syncd.reconcile.person import Candidate, Cell, Person, Rename, Topology, stands


class Reading(StrEnum):
    """What an unsubscribed reading is."""

    NO = "no"  # the person's own word
    RETIRED = "retired"  # the address gave way to another
    WAITS = "waits"  # the other address may yet be seen


def reading_of(person: Person, topology: Topology, cell: Cell, now: datetime) -> Reading:
    """What to take an unsubscribed cell for."""
    rename = rename_of(person, topology, cell)
    if rename is None:
        return Reading.NO
    if rename.retired_at is not None:
        return Reading.RETIRED if rename.retired_at == cell.unsubscribed_at else Reading.NO
    if successor(cell, rename, topology) is not None:
        return Reading.RETIRED
    if person.own_echo(cell):
        return Reading.NO  # it needs no other explanation
    return Reading.WAITS if now < _until(cell, topology) else Reading.NO


def waiting(person: Person, topology: Topology, now: datetime) -> Iterator[datetime]:
    """Until when to wait for the other address. As long as one does, nobody is added anywhere."""
    for cell in person.cells:
        if cell.status is Status.UNSUBSCRIBED and reading_of(person, topology, cell, now) is Reading.WAITS:
            yield _until(cell, topology)


def rename_of(person: Person, topology: Topology, cell: Cell) -> Rename | None:
    """The change of address that may explain why this cell reads unsubscribed."""
    if cell.status is not Status.UNSUBSCRIBED:
        return None
    limit = timedelta(seconds=topology.accounts[cell.account].rename_open_s)
    for rename in person.renames:
        fresh = rename.seq < cell.status_seq and cell.status_at - rename.at <= limit
        if rename.place == cell.place and (rename.retired_at is not None or fresh):
            return rename
    return None


def successor(cell: Cell, rename: Rename, topology: Topology) -> Candidate | None:
    """The one newcomer who confirmed as this address was unsubscribed; None also where there are several."""
    tolerance_s = topology.accounts[cell.account].rename_tolerance_s
    left, name = seconds_of(cell.unsubscribed_at), full_name(cell.fields)
    found = []
    for candidate in rename.candidates:
        confirmed = seconds_of(candidate.confirmed_at)
        if left is not None and confirmed is not None and abs(left - confirmed) <= tolerance_s:
            found.append(candidate)
    if named := [candidate for candidate in found if candidate.identity == rename.successor]:
        return named[0]
    if cell.unread.intersection(NAME_FIELDS):
        return None  # of what name this one was cannot be told
    return found[0] if len(found) == 1 and found[0].name.casefold() == name.casefold() else None


def gave_way(person: Person, topology: Topology) -> Iterator[tuple[Rename, Identity, str | None]]:
    """The addresses that are seen to have given way: to which, and when by the provider's own clock."""
    for cell in person.cells:
        rename = rename_of(person, topology, cell)
        found = None if rename is None or rename.retired_at is not None else successor(cell, rename, topology)
        if rename is not None and found is not None:
            yield rename, found.identity, cell.unsubscribed_at
    for rename in person.renames:
        here = person.at(*rename.place)
        gone = here and all(cell.status is Status.REMOVED for cell in here)
        if gone and rename.successor is not None and rename.retired_at is None:
            yield rename, rename.successor, ""


def heirs(person: Person) -> Iterator[tuple[Rename, Identity]]:
    """The addresses that the person goes by since theirs gave way; none after somebody came back to it."""
    gone = [rename for rename in person.renames if rename.retired_at is not None]
    back = max((cell.status_seq for rename in gone for cell in _came_back(person, rename)), default=0)
    found: set[Identity] = set()
    for rename in gone:
        successor = rename.successor
        if successor is None or suppression_key(successor) == person.key or back > rename.seq or successor in found:
            continue
        found.add(successor)
        yield rename, successor


def _came_back(person: Person, rename: Rename) -> Iterator[Cell]:
    """Where the address stands, or stood, again in the very place in which it gave way: somebody goes by it anew."""
    for cell in person.at(*rename.place):
        if cell.status_seq > rename.seq and cell.status not in {Status.REMOVED, Status.ABSENT}:
            stood = not rename.retired_at or later(cell.confirmed_at, rename.retired_at)
            if stood or stands(cell):
                yield cell


def place_of_former(person: Person, account: str, container: ContainerId, identity: Identity) -> str | None:
    """The former address of this one that stands in a container, as it is spelt there: the one to take the place of."""
    for former in person.formers:
        if former.successor == identity and former.gave_way and (account, container) in former.stands:
            return former.stands[account, container]
    return None


def under_way(person: Person, account: str, container: ContainerId, identity: Identity) -> bool:
    """Whether something is under way for a former address of theirs there: it is to be over before another follows."""
    return any(former.successor == identity and (account, container) in former.busy for former in person.formers)


def pending(person: Person, account: str, container: ContainerId, identity: Identity) -> bool:
    """Whether this address was asked to confirm that it takes the place of another there, and did not yet."""
    return any(
        former.successor == identity and (former.account, former.container) == (account, container)
        for former in person.formers
        if not former.gave_way
    )


def inherited(
    person: Person, identity: Identity, known: Mapping[Scope, ConsentState], rename: Rename, now: datetime, seq: int
) -> list[ConsentEvent]:
    """Each "no" of a person as one of the address that they go by from now on, as well founded as it is.

    It was said in no container in which that one stands: there, too, it has yet to arrive.
    """
    return [
        ConsentEvent(
            key=suppression_key(identity),
            identity=identity,
            scope=scope,
            epoch=known.get(scope, ConsentState()).epoch,
            level=state.level,
            at=now,
            seq=seq,
            source=rename.account,
            route="rename",
            evidence="said under the address that this one took the place of",
            inferred=scope in person.inferred_scopes,
            mass=scope in person.mass_scopes,
        )
        for scope, state in sorted(person.consent.items())
        if state.level.suppresses and state.level is not Level.ERASED
    ]


def _until(cell: Cell, topology: Topology) -> datetime:
    return cell.status_at + timedelta(seconds=topology.accounts[cell.account].rename_wait_s)
