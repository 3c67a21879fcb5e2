"""Outbound connections: which lists of ours they deliver, and a test record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.domain.changes import ChangeKind
from syncd.domain.errors import SyncdError
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import WHOLE_ACCOUNT
from syncd.providers.protocol import CanTry, Trial
from syncd.store import connections, journal, people
from syncd.store.session import reading, writing
from syncd.sync.context import Context, Lane


@dataclass(frozen=True, slots=True)
class Link:
    """One list of ours at a connection. `source`: `configuration` or `command`; `since`: when a command linked it."""

    list: str
    container: str
    source: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Connected:
    """One outbound connection. `takes_noes`: whether it can be told that somebody said no."""

    account: str
    takes_noes: bool
    links: Sequence[Link]


def names_of(context: Context) -> list[str]:
    return [name for name, lane in context.lanes.items() if lane.capabilities.connection]


def listed(context: Context) -> list[Connected]:
    """All connections, with what each delivers."""
    with reading(context.engine) as connection:
        rows = [row for row in connections.load_links(connection) if row.unlinked_at is None]
    found = []
    for name in names_of(context):
        links = [
            Link(entry.name, container, "configuration", None)
            for entry in context.lists.values()
            for container in entry.places.get(name, ())
        ]
        configured = {one.list for one in links}
        links += [
            Link(row.list, row.container, "command", row.linked_at)
            for row in rows
            if row.account == name and row.list in context.lists and row.list not in configured
        ]
        takes_noes = ChangeKind.UNSUBSCRIBE in context.lanes[name].capabilities.accepts
        found.append(Connected(name, takes_noes, links))
    return found


def link(context: Context, account: str, list_name: str, container: str = WHOLE_ACCOUNT) -> None:
    """Deliver whoever joins this list from now on.

    First contact begins anew: those who are on the list already wait for a person.
    """
    _must_not_be_configured(context, account, list_name)
    with writing(context.engine) as connection:
        connections.link(connection, account, list_name, container, context.now())
        journal.update_account(connection, account, joined=False)
    _look_at_everybody(context)


def unlink(context: Context, account: str, list_name: str) -> None:
    """Deliver nobody of this list any more. Whoever was delivered stays there, and a "no" still reaches them."""
    _must_not_be_configured(context, account, list_name)
    with writing(context.engine) as connection:
        if not connections.unlink(connection, account, list_name, context.now()):
            raise SyncdError(f"{list_name} is not linked to {account}", hint="syncd connection list")
    _look_at_everybody(context)


def _must_not_be_configured(context: Context, account: str, list_name: str) -> None:
    if account in context.lists[list_name].places:
        raise SyncdError(
            f"the configuration links {list_name} to {account}, and a command does not change it",
            hint=f"edit `{account}` in [lists.{list_name}]",
        )


def _look_at_everybody(context: Context) -> None:
    context.save_links()
    with writing(context.engine) as connection:
        people.everybody_on_agenda(connection, context.now())


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
