"""Keeps the ledger: whoever said no, every place that has to learn of it gets its line, and each line its end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from syncd.domain.identity import SuppressionKey
from syncd.reconcile.ledger import Entry, follow
from syncd.reconcile.person import Person, Topology
from syncd.store import ledger
from syncd.store.session import Connection
from syncd.sync.context import Context


def keep_ledger(connection: Connection, context: Context, topology: Topology, people: Iterable[Person]) -> None:
    """Write down what is new or has moved for these people, in the transaction that learnt of it or decided it."""
    said_something = [person for person in people if person.consent]
    if not said_something:
        return
    now = context.now()
    pages = ledger.load_pages(connection, [person.key for person in said_something])
    new: list[tuple[SuppressionKey, Entry]] = []
    moved: list[Entry] = []
    for person in said_something:
        page = pages.get(person.key, ledger.Page())
        known = {(entry.event_id, entry.place) for entry in page.entries}
        for entry in follow(person, topology, page.said, page.entries, page.sent, now):
            if (entry.event_id, entry.place) in known:
                moved.append(entry)
            else:
                new.append((person.key, entry))
    ledger.save_entries(connection, new, moved, timedelta(seconds=context.policy.unsubscribe_within_s))
