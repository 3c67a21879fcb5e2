"""Leads besides their records: campaigns that a person linked to lists by command, and leads that were only tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import SuppressionKey
from syncd.domain.records import WHOLE_ACCOUNT, Status
from syncd.store.inspect import Shown, shown_rows
from syncd.store.tables import CampaignLinkRow, CampaignRow, CellRow, ContainerRow, LeadTestRow, LinkRow

campaign = CampaignRow.__table__  # type: ignore[attr-defined]
campaign_link = CampaignLinkRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
lead_test = LeadTestRow.__table__  # type: ignore[attr-defined]
link = LinkRow.__table__  # type: ignore[attr-defined]

# Links by command ----------------------------------------------------------------------------------------------------


def links_by_command(connection: Connection) -> dict[str, dict[str, tuple[str, ...]]]:
    """What commands linked, by list and account; the configuration's own places are not in it."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in connection.execute(_LINKS):
        places = found.setdefault(row.list, {})
        places[row.account] = (*places.get(row.account, ()), row.container)
    return found


_LINKS = sa.select(campaign_link).order_by(
    campaign_link.c.list, campaign_link.c.account, campaign_link.c.linked_at, campaign_link.c.container
)


def add_link(connection: Connection, entry: str, account: str, campaign_id: str, at: datetime) -> None:
    row = {"list": entry, "account": account, "container": campaign_id, "linked_at": at}
    connection.execute(campaign_link.insert(), row)


def drop_link(connection: Connection, entry: str, account: str, campaign_id: str) -> bool:
    """Whether there was one."""
    mine = campaign_link.c
    place = (mine.list == entry, mine.account == account, mine.container == campaign_id)
    return connection.execute(campaign_link.delete().where(*place)).rowcount > 0


def place_of(connection: Connection, account: str, campaign_id: str) -> str:
    """Where a lead of a campaign belongs: in the campaign, unless only the account as a whole is linked to a list."""
    linked = set(connection.scalars(_LINKED, {"of_account": account}))
    return WHOLE_ACCOUNT if WHOLE_ACCOUNT in linked and campaign_id not in linked else campaign_id


_LINKED = sa.select(link.c.container).where(link.c.account == sa.bindparam("of_account"))


def name_of(connection: Connection, account: str, campaign_id: str) -> str:
    """What the statistics call a campaign; its id if they do not know it."""
    query = sa.select(campaign.c.name).where(campaign.c.account == account, campaign.c.campaign_id == campaign_id)
    return connection.scalar(query) or campaign_id


def people_of(connection: Connection, account: str, campaign_id: str) -> list[SuppressionKey]:
    """Everybody of whom a lead of this campaign is known."""
    query = sa.select(cell.c.person_key).where(
        cell.c.account == account, cell.c.container == campaign_id, cell.c.person_key.is_not(None)
    )
    return [SuppressionKey(key) for key in connection.scalars(query.distinct())]


def campaigns(connection: Connection, account: str) -> list[Shown]:
    """Every campaign that leads, statistics or links name, with the leads that are known and those that are parked."""
    known: dict[str, Shown] = {}

    def about(campaign_id: str, name: str) -> Shown:
        empty = {"leads": 0, "parked": 0, "lists": [], "last_lead_at": None}
        return known.setdefault(campaign_id, {"account": account, "campaign_id": campaign_id, "name": name, **empty})

    for row in connection.execute(sa.select(campaign).where(campaign.c.account == account)):
        about(row.campaign_id, row.name)
    for row in connection.execute(sa.select(container).where(container.c.account == account)):
        about(row.container, row.name)
    for entry in shown_rows(connection, _counted(account)):
        about(entry["container"], entry["container"]).update(leads=entry["leads"], last_lead_at=entry["last_lead_at"])
    for entry in shown_rows(connection, _parked(account)):
        known[entry["remote_list"]]["parked"] = entry["parked"]
    for entry in shown_rows(connection, _listed(account)):
        shown = {"list": entry["list"], "by": "command" if entry["linked_at"] else "configuration"}
        about(entry["container"], entry["container"])["lists"].append(shown | {"linked_at": entry["linked_at"]})
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
    both = sa.and_(
        campaign_link.c.list == link.c.list,
        campaign_link.c.account == link.c.account,
        campaign_link.c.container == link.c.container,
    )
    return (
        sa.select(link.c.container, link.c.list, campaign_link.c.linked_at)
        .select_from(link.outerjoin(campaign_link, both))
        .where(link.c.account == account)
        .order_by(link.c.container, link.c.list)
    )


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
