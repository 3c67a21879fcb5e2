"""Campaigns that bring leads, and the lists of ours that they go to; leads that are only tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import msgspec

from syncd.domain.errors import SyncdError
from syncd.domain.identity import suppression_key
from syncd.domain.records import WHOLE_ACCOUNT, Delivery, Observation
from syncd.providers.protocol import CanBeTried, Retention
from syncd.store import containers, leads, people
from syncd.store.inspect import Shown
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context

CONFIGURATION = "configuration"
COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link or an unlink came to. `by`: what links the two now, or linked them before. `leads`: how many people
    are known from the campaign, who are looked at again.
    """

    changed: bool
    by: str
    leads: int


def accounts_with_leads(context: Context) -> list[str]:
    """The accounts that send leads by campaign: those without lists of their own that speak to us."""
    return [
        name
        for name, lane in context.lanes.items()
        if lane.capabilities.notify and not lane.capabilities.facts.has_lists
    ]


def link(context: Context, account: str, campaign: str, entry: str) -> Linked:
    """From now on leads of a campaign go to a list of ours, those that waited included. Repeating changes nothing."""
    places = context.lists[entry].places.get(account, ())
    with writing(context.engine) as connection:
        if campaign in places or WHOLE_ACCOUNT in places:
            return Linked(changed=False, by=CONFIGURATION, leads=0)
        if campaign in leads.links_by_command(connection).get(entry, {}).get(account, ()):
            return Linked(changed=False, by=COMMAND, leads=0)
        leads.add_link(connection, entry, account, campaign, context.now())
        containers.ensure_container(connection, account, campaign, leads.name_of(connection, account, campaign))
        return Linked(changed=True, by=COMMAND, leads=_look_again(connection, context, account, campaign))


def unlink(context: Context, account: str, campaign: str, entry: str) -> Linked:
    """From now on leads of a campaign do not go to a list of ours. Who is on it stays there.

    Raises `SyncdError` where no command linked them.
    """
    places = context.lists[entry].places.get(account, ())
    with writing(context.engine) as connection:
        if leads.drop_link(connection, entry, account, campaign):
            return Linked(changed=True, by=COMMAND, leads=_look_again(connection, context, account, campaign))
    if campaign in places or WHOLE_ACCOUNT in places:
        written = campaign if campaign in places else WHOLE_ACCOUNT
        raise SyncdError(
            f'the configuration links {account} = "{written}" to {entry}; a command takes back what a command linked',
            hint=f"name the campaigns that go to it in [lists.{entry}], without {written}, and restart the daemon",
        )
    raise SyncdError(f"{campaign} is not linked to {entry}", hint=f"syncd leads campaigns --account {account}")


def _look_again(connection: Connection, context: Context, account: str, campaign: str) -> int:
    context.write_links(connection)
    known = leads.people_of(connection, account, campaign)
    people.put_on_agenda(connection, known, context.now())
    return len(known)


def campaigns(context: Context, accounts: list[str]) -> list[Shown]:
    with reading(context.engine) as connection:
        return [row for account in accounts for row in leads.campaigns(connection, account)]


# Tests ---------------------------------------------------------------------------------------------------------------


def note_test(
    connection: Connection,
    context: Context,
    account: str,
    kept: Retention,
    delivery: Delivery,
    delivery_id: str,
    about: Observation | None,
) -> tuple[str, bool]:
    """Keep a test for people to see; nothing else follows. Of somebody who was erased (None), only that it came."""
    now = context.now()
    values = {
        "id": context.new_id(),
        "account": account,
        "delivery_id": delivery_id,
        "person_key": None if about is None or about.identity is None else suppression_key(about.identity),
        "address": "" if about is None else about.address,
        "campaign": "" if about is None or about.container == WHOLE_ACCOUNT else about.container,
        "fields": {} if about is None else dict(about.fields),
        "attributes": {} if about is None else msgspec.json.decode(about.raw),
        "method": delivery.method,
        "encoding": delivery.headers.get("content-type", "").partition(";")[0].strip().lower(),
        "received_at": delivery.received_at,
    }
    noted = leads.put_test(connection, values)
    leads.forget_tests(connection, account, now - timedelta(seconds=kept.seconds), kept.most)
    return noted


def forget_tests(context: Context) -> None:
    """Forget tests whose time is over."""
    for lane in context.lanes.values():
        if isinstance(lane.provider, CanBeTried):
            kept = lane.provider.tests_kept
            before = context.now() - timedelta(seconds=kept.seconds)
            with reading(context.engine) as connection:
                late = leads.any_test_before(connection, lane.name, before)
            if late:
                with writing(context.engine) as connection:
                    leads.forget_tests(connection, lane.name, before, kept.most)


def tests(context: Context, accounts: list[str], limit: int) -> list[Shown]:
    """The latest tests, the newest first."""
    forget_tests(context)
    with reading(context.engine) as connection:
        return leads.tests(connection, accounts, limit)
