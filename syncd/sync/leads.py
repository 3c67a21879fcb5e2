"""Campaigns that bring leads; leads that are only tests."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from syncd.domain.identity import suppression_key
from syncd.domain.records import WHOLE_ACCOUNT, Delivery, Observation
from syncd.providers.protocol import CanBeTried, Retention
from syncd.store import leads
from syncd.store.inspect import Shown
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context


def accounts_with_leads(context: Context) -> list[str]:
    """The accounts that send leads by campaign: those without lists of their own that speak to us."""
    return [
        name
        for name, lane in context.lanes.items()
        if lane.capabilities.notify and not lane.capabilities.facts.has_lists
    ]


def campaigns(context: Context, accounts: list[str]) -> list[Shown]:
    with reading(context.engine) as connection:
        made = context.commanded(connection)
        return [
            row
            for account in accounts
            for row in leads.campaigns(connection, account, [one for one in made if one.account == account])
        ]


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
