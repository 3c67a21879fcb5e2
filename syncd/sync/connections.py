"""Outbound connections: what each delivers, and a test record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.domain.changes import ChangeKind
from syncd.domain.errors import SyncdError
from syncd.domain.identity import Identity, suppression_key
from syncd.providers.protocol import CanTry, Trial
from syncd.store import people
from syncd.store.session import reading
from syncd.sync.context import Context, Lane
from syncd.sync.links import COMMAND, CONFIGURATION, commanded


@dataclass(frozen=True, slots=True)
class Link:
    """One list of ours at a connection. `source`: `configuration` or `command`; `since`: when a command linked it.

    `until`: when it was ended; who was delivered under it is still told of there when they say no.
    """

    list: str
    container: str
    source: str
    since: datetime | None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """One outbound connection. `takes_noes`: whether it can be told that somebody said no."""

    account: str
    takes_noes: bool
    links: Sequence[Link]
    ended: Sequence[Link]


def names_of(context: Context) -> list[str]:
    return [name for name, lane in context.lanes.items() if lane.capabilities.connection]


def listed(context: Context) -> list[Connected]:
    """All connections, with what each delivers, and what it delivered."""
    made = commanded(context)
    found = []
    for name in names_of(context):
        links = [
            Link(entry.name, container, CONFIGURATION, None)
            for entry in context.lists.values()
            for container in entry.places.get(name, ())
        ]
        by_command = [
            Link(one.list, one.container, COMMAND, one.linked_at, one.unlinked_at)
            for one in made
            if one.account == name
        ]
        links += [one for one in by_command if one.until is None]
        ended = [one for one in by_command if one.until is not None]
        takes_noes = ChangeKind.UNSUBSCRIBE in context.lanes[name].capabilities.accepts
        found.append(Connected(name, takes_noes, links, ended))
    return found


def trial(context: Context, lane: Lane, identity: Identity | None, *, live: bool) -> Trial | None:
    """A test record for this connection, ready to be carried; None if it has no endpoint for tests.

    Not with the address of somebody who said no.
    """
    assert isinstance(lane.provider, CanTry)
    if identity is not None:
        with reading(context.engine) as connection:
            consent = people.load_consent(connection, suppression_key(identity))
        if any(state.level.suppresses for state in consent.values()):
            raise SyncdError("this person said no: their address is not sent, not even as a test", hint="--email EMAIL")
    return lane.provider.trial(identity, live=live)
