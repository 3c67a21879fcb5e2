"""What was said under an address that gave way, handed to the addresses that the person goes by since."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.reconcile.exempt import ends_something
from syncd.reconcile.person import Person, Rename, Topology
from syncd.reconcile.rename import gave_way, heirs, inherited
from syncd.store import people, renames
from syncd.store.session import Connection
from syncd.sync.context import Context


class Gone(NamedTuple):
    """An address of this person that gave way just now."""

    key: SuppressionKey
    rename: Rename
    successor: Identity


def retire(connection: Connection, context: Context, topology: Topology, person: Person) -> list[Gone]:
    """Note which addresses of a person gave way to others."""
    gone = []
    for rename, successor, retired_at in gave_way(person, topology):
        renames.retire(connection, rename, successor, retired_at)
        people.put_on_agenda(connection, [suppression_key(successor)], context.now())
        gone.append(Gone(person.key, rename, successor))
    return gone


def hand_over(
    connection: Connection, context: Context, topology: Topology, gone: Sequence[Gone], seq: int
) -> list[SuppressionKey]:
    """Hand each "no" on from addresses that gave way just now, as well founded as it is by now, whatever the other one
    took back before: nobody is subscribed by a change of address. Returns to whom.
    """
    found = []
    for key, rename, successor in gone:
        if suppression_key(successor) == key:
            continue
        person = _Loaded(connection, topology)[key]
        if _hand_down(connection, context, person, rename, successor, noes(person), seq):
            found.append(suppression_key(successor))
    return found


def pass_on(
    connection: Connection, context: Context, topology: Topology, keys: Sequence[SuppressionKey], seq: int
) -> bool:
    """A "no" under an address that gave way is one under that which they go by since, unless it took it back later.

    Down to the last of them, each by itself, as the one between may have had nothing to learn of it; but not past one
    that took it back. It is as well founded as the one that it comes from, by the guard too. True if anybody learnt.
    """
    passed = False
    known = _Loaded(connection, topology)
    known.fetch(keys)
    known.fetch([suppression_key(successor) for key in keys for _, successor in heirs(known[key])])
    for key in dict.fromkeys(keys):
        person = known[key]
        if person.erased:
            continue
        met, left = {key}, deque([(person, noes(person))])  # addresses may have given way to each other
        while left:
            before, scopes = left.popleft()
            for rename, successor in heirs(before):
                theirs = suppression_key(successor)
                if theirs in met:
                    continue
                met.add(theirs)
                later = scopes & people.said_later(connection, key, theirs)
                if _hand_down(connection, context, person, rename, successor, later, seq):
                    known.pop(theirs, None)
                    passed = True
                left.append((known[theirs], scopes & noes(known[theirs])))
    return passed


class _Loaded(dict[SuppressionKey, Person]):
    """People as they stand, each loaded when first asked for; several at once by `fetch`."""

    def __init__(self, connection: Connection, topology: Topology) -> None:
        super().__init__()
        self._connection = connection
        self._topology = topology

    def fetch(self, keys: Sequence[SuppressionKey]) -> None:
        new = [key for key in dict.fromkeys(keys) if key not in self]
        for person in people.load_people(self._connection, new) if new else ():
            self[person.key] = person.at_accounts(self._topology.accounts)

    def __missing__(self, key: SuppressionKey) -> Person:
        self.fetch([key])
        return self[key]


def noes(person: Person) -> set[Scope]:
    """What somebody said no to, and did not take back."""
    return {scope for scope in person.consent if person.said_no(scope)}


def _hand_down(
    connection: Connection,
    context: Context,
    person: Person,
    rename: Rename,
    successor: Identity,
    scopes: set[Scope],
    seq: int,
) -> bool:
    """Whether there was anything, of these scopes, that the successor had yet to learn of."""
    key, now = suppression_key(successor), context.now()
    known = people.load_consent(connection, key)
    events = [event for event in inherited(person, successor, known, rename, now, seq) if event.scope in scopes]
    if not events:
        return False
    (theirs,) = people.load_people(connection, [key])
    again = ends_something(theirs)
    if not people.record_consent(connection, [replace(event, again=again) for event in events]):
        return False
    people.put_on_agenda(connection, [key], now)
    return True
