"""Lists of ours linked by command: to campaigns that bring leads, and to outbound connections that take subscribers.

An ended link is kept. Nothing new comes or goes under it, what was not sent is given up, and a "no" to the list still
reaches whoever came while it stood.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncd.domain.errors import SyncdError
from syncd.domain.records import WHOLE_ACCOUNT
from syncd.store import containers, journal, leads, links, people
from syncd.store.links import Commanded
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context

CONFIGURATION = "configuration"
COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link or an unlink came to. `by`: what links the two now, or linked them before. `people`: how many are
    known from there, who are looked at again.
    """

    changed: bool
    by: str
    people: int


def link(context: Context, account: str, list_name: str, container: str) -> Linked:
    """From now on leads of a campaign go to a list, those that waited included; or who joins a list is delivered.

    Repeating changes nothing. At a connection, another id takes the place of the one before, and first contact begins
    anew: those who are on the list already wait for a person.
    """
    named = context.lists[list_name].places.get(account, ())
    lane = context.lanes[account]
    only_one = lane.capabilities.connection
    if container in named or (WHOLE_ACCOUNT in named and not only_one):
        return Linked(changed=False, by=CONFIGURATION, people=0)
    if named and only_one:
        raise SyncdError(
            f'the configuration links {list_name} to {account} as "{named[0]}", and a command does not change it',
            hint=f"edit `{account}` in [lists.{list_name}]",
        )
    with writing(context.engine) as connection:
        before = _standing(connection, context, account, list_name)
        if container in {made.container for made in before}:
            return Linked(changed=False, by=COMMAND, people=0)
        now = context.now()
        links.link(connection, Commanded(list_name, account, container, lane.provider_name, now))
        if only_one:
            for made in before:
                links.unlink(connection, made, now)
            journal.update_account(connection, account, joined=False)
        else:
            containers.ensure_container(connection, account, container, leads.name_of(connection, account, container))
        return Linked(changed=True, by=COMMAND, people=_look_again(connection, context, account, container))


def unlink(context: Context, account: str, list_name: str, container: str | None = None) -> Linked:
    """End a link; without a container, whatever a command linked. Who is on the list, or was delivered, stays there.

    Raises `SyncdError` where no command linked them.
    """
    with writing(context.engine) as connection:
        before = _standing(connection, context, account, list_name)
        ending = [made for made in before if container in {None, made.container}]
        for made in ending:
            links.unlink(connection, made, context.now())
        if ending:
            who = _look_again(connection, context, account, ending[0].container)
            return Linked(changed=True, by=COMMAND, people=who)
    named = context.lists[list_name].places.get(account, ())
    written = next((one for one in named if container is None or one in {container, WHOLE_ACCOUNT}), None)
    if written is not None:
        raise SyncdError(
            f'the configuration links {list_name} to {account} as "{written}"; a command ends what a command linked',
            hint=f"edit `{account}` in [lists.{list_name}] and restart the daemon",
        )
    what = account if container is None else f"{container} at {account}"
    raise SyncdError(f"{list_name} is not linked to {what}", hint=f"syncd {_SHOWN[container is None]}")


_SHOWN = {True: "connection list", False: "leads campaigns"}


def _standing(connection: Connection, context: Context, account: str, list_name: str) -> list[Commanded]:
    return [
        made
        for made in context.commanded(connection)
        if (made.list, made.account) == (list_name, account) and made.unlinked_at is None
    ]


def _look_again(connection: Connection, context: Context, account: str, container: str) -> int:
    """Decide anew about everybody whom it may concern."""
    context.write_links(connection)
    known = links.people_at(connection, account, container)
    if context.lanes[account].capabilities.connection:
        people.everybody_on_agenda(connection, context.now())
    else:
        people.put_on_agenda(connection, known, context.now())
    return len(known)


def commanded(context: Context) -> list[Commanded]:
    """Every link that a command made, those that were ended too."""
    with reading(context.engine) as connection:
        return context.commanded(connection)
