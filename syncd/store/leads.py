"""Leads besides their records: the campaigns that bring them, and leads that were only tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.records import WHOLE_ACCOUNT, Status
from syncd.store.inspect import Shown, shown_rows, shown_time
from syncd.store.links import Commanded
from syncd.store.tables import CampaignRow, CellRow, ContainerRow, LeadTestRow, LinkRow

campaign = CampaignRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
lead_test = LeadTestRow.__table__  # type: ignore[attr-defined]
link = LinkRow.__table__  # type: ignore[attr-defined]

# Campaigns -----------------------------------------------------------------------------------------------------------


def place_of(connection: Connection, account: str, campaign_id: str) -> str:
    """Where a lead of a campaign belongs: in the campaign, unless only the account as a whole is linked to a list."""
    linked = set(connection.scalars(_LINKED, {"of_account": account}))
    return WHOLE_ACCOUNT if WHOLE_ACCOUNT in linked and campaign_id not in linked else campaign_id


_LINKED = sa.select(link.c.container).where(link.c.account == sa.bindparam("of_account"), link.c.until.is_(None))


def name_of(connection: Connection, account: str, campaign_id: str) -> str:
    """What the statistics call a campaign; its id if they do not know it."""
    query = sa.select(campaign.c.name).where(campaign.c.account == account, campaign.c.campaign_id == campaign_id)
    return connection.scalar(query) or campaign_id


def campaigns(connection: Connection, account: str, commanded: Sequence[Commanded]) -> list[Shown]:
    """Every campaign that leads, statistics or links name, with the leads that are known and those that are parked.

    `commanded`: the links that commands made at this account.
    """
    known: dict[str, Shown] = {}

    def about(campaign_id: str, name: str) -> Shown:
        empty = {"leads": 0, "parked": 0, "lists": [], "ended": [], "last_lead_at": None}
        return known.setdefault(campaign_id, {"account": account, "campaign_id": campaign_id, "name": name, **empty})

    for row in connection.execute(sa.select(campaign).where(campaign.c.account == account)):
        about(row.campaign_id, row.name)
    for row in connection.execute(sa.select(container).where(container.c.account == account)):
        about(row.container, row.name)
    for entry in shown_rows(connection, _counted(account)):
        about(entry["container"], entry["container"]).update(leads=entry["leads"], last_lead_at=entry["last_lead_at"])
    for entry in shown_rows(connection, _parked(account)):
        known[entry["remote_list"]]["parked"] = entry["parked"]
    made = {(one.list, one.container): one for one in commanded}
    for row in connection.execute(_listed(account)):
        one = made.get((row.list, row.container))
        at = None if one is None or one.unlinked_at is not None else shown_time(one.linked_at)
        by = "configuration" if at is None else "command"
        about(row.container, row.container)["lists"].append({"list": row.list, "by": by, "linked_at": at})
    for one in commanded:
        if one.unlinked_at is not None:
            times = {"linked_at": shown_time(one.linked_at), "unlinked_at": shown_time(one.unlinked_at)}
            about(one.container, one.container)["ended"].append({"list": one.list, **times})
    return [known[campaign_id] for campaign_id in sorted(known)]


def _counted(account: str) -> sa.Select[Any]:
    return (
        sa.select(
            cell.c.container, sa.func.count().label("leads"), sa.func.max(cell.c.observed_at).label("last_lead_at")
        )
        .where(cell.c.account == account, cell.c.status == Status.SUBSCRIBED.value)
        .group_by(cell.c.container)
    )


def _parked(account: str) -> sa.Select[Any]:
    parked = sa.table("v_parked", sa.column("remote_list"), sa.column("account"), sa.column("what"))
    return (
        sa.select(parked.c.remote_list, sa.func.count().label("parked"))
        .where(parked.c.account == account, parked.c.what == "lead")
        .group_by(parked.c.remote_list)
    )


def _listed(account: str) -> sa.Select[Any]:
    query = sa.select(link.c.container, link.c.list).where(link.c.account == account, link.c.until.is_(None))
    return query.order_by(link.c.container, link.c.list)


# Tests ---------------------------------------------------------------------------------------------------------------


def put_test(connection: Connection, values: Mapping[str, Any]) -> tuple[str, bool]:
    """Keep a lead that was only a test. Returns its id and whether it is new; a repetition is counted."""
    mine = (lead_test.c.account == values["account"], lead_test.c.delivery_id == values["delivery_id"])
    known = connection.scalar(sa.select(lead_test.c.id).where(*mine))
    if known is None:
        connection.execute(lead_test.insert(), {"times": 1, **values})
        return str(values["id"]), True
    again = {"times": lead_test.c.times + 1, "received_at": values["received_at"]}
    connection.execute(lead_test.update().where(lead_test.c.id == known).values(**again))
    return str(known), False


def forget_tests(connection: Connection, account: str, before: datetime, most: int) -> None:
    """Forget what is older, and what is more than so many."""
    mine = lead_test.c.account == account
    newest = sa.select(lead_test.c.id).where(mine).order_by(lead_test.c.received_at.desc(), lead_test.c.id.desc())
    kept = list(connection.scalars(newest.limit(most)))
    late = sa.or_(lead_test.c.received_at < before, lead_test.c.id.not_in(kept))
    connection.execute(lead_test.delete().where(mine, late))


def any_test_before(connection: Connection, account: str, before: datetime) -> bool:
    return connection.scalar(_A_TEST_BEFORE, {"of_account": account, "before": before}) is not None


_A_TEST_BEFORE = (
    sa.select(lead_test.c.id)
    .where(lead_test.c.account == sa.bindparam("of_account"), lead_test.c.received_at < sa.bindparam("before"))
    .limit(1)
)


def tests(connection: Connection, accounts: Iterable[str], limit: int) -> list[Shown]:
    """The latest leads that were only tests, the newest first."""
    names = "id account address campaign fields attributes method encoding received_at times"
    query = sa.select(*(lead_test.c[name] for name in names.split())).where(lead_test.c.account.in_(sorted(accounts)))
    return shown_rows(connection, query.order_by(lead_test.c.received_at.desc(), lead_test.c.id.desc()).limit(limit))
