"""What the status page draws besides the status: how long unsubscribes took, and how campaigns went. Always bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.store.tables import CampaignRow, CampaignSampleRow, PropagationRow

campaign = CampaignRow.__table__  # type: ignore[attr-defined]
propagation = PropagationRow.__table__  # type: ignore[attr-defined]
sample = CampaignSampleRow.__table__  # type: ignore[attr-defined]

COUNTERS = ("sent", "opened", "clicked", "bounced", "unsubscribed")


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters of a campaign at one time: of everything so far, or of the one `day`. None where nobody says."""

    at: datetime
    day: str
    counters: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign with its history, oldest first."""

    account: str
    campaign_id: str
    name: str
    status: str | None
    observed_at: datetime
    samples: list[Counted] = field(default_factory=list)


def latencies(connection: Connection, accounts: Sequence[str], limit: int) -> dict[str, list[float]]:
    """Of the latest unsubscribes of each account that were accepted: after how many seconds, the latest first."""
    seen = sa.table(
        "v_propagation",
        *(sa.column(name) for name in ("event", "account", "accepted_after_s", "known_at")),
    )
    found = {}
    for name in accounts:
        latest = (
            sa.select(propagation.c.event_id)
            .where(propagation.c.account == name, propagation.c.op_id.is_not(None))
            .order_by(propagation.c.due_at.desc())
            .limit(limit)
        )
        query = (
            sa.select(seen.c.accepted_after_s)
            .where(seen.c.account == name, seen.c.event.in_(latest), seen.c.accepted_after_s.is_not(None))
            .order_by(seen.c.known_at.desc())
            .limit(limit)
        )
        found[name] = [float(seconds) for seconds in connection.scalars(query)]
    return found


def campaigns(
    connection: Connection, accounts: Sequence[str], *, limit: int, samples_max: int
) -> tuple[list[Campaign], int]:
    """The campaigns that were seen last with what was counted of each, and how many campaigns there are in all."""
    here = campaign.c.account.in_(accounts)
    total = connection.scalar(sa.select(sa.func.count()).select_from(campaign).where(here)) or 0
    newest = (
        sa.select(sample.c.account, sample.c.campaign_id, sa.func.max(sample.c.id).label("newest"))
        .where(sample.c.account.in_(accounts))
        .group_by(sample.c.account, sample.c.campaign_id)
        .subquery()
    )
    query = (
        sa.select(campaign)
        .outerjoin(
            newest, sa.and_(newest.c.account == campaign.c.account, newest.c.campaign_id == campaign.c.campaign_id)
        )
        .where(here)
        .order_by(sa.func.coalesce(newest.c.newest, 0).desc(), campaign.c.account, campaign.c.campaign_id)
        .limit(limit)
    )
    found = [
        Campaign(row.account, row.campaign_id, row.name, row.status, row.observed_at)
        for row in connection.execute(query)
    ]
    for entry in found:
        entry.samples.extend(_samples(connection, entry, samples_max))
    return found, total


def _samples(connection: Connection, entry: Campaign, limit: int) -> list[Counted]:
    """What was counted last of each day, or every count of one that is counted over all time; the latest of them."""
    mine = (sample.c.account == entry.account, sample.c.campaign_id == entry.campaign_id)
    last_of_day = sa.select(sa.func.max(sample.c.id)).where(*mine, sample.c.day != "").group_by(sample.c.day)
    query = (
        sa.select(sample)
        .where(*mine, sa.or_(sample.c.day == "", sample.c.id.in_(last_of_day)))
        .order_by(sample.c.day.desc(), sample.c.id.desc())
        .limit(limit)
    )
    rows: list[Any] = list(connection.execute(query))
    return [
        Counted(row.observed_at, row.day, {name: getattr(row, name) for name in COUNTERS}) for row in reversed(rows)
    ]
