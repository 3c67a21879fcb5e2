"""Campaign statistics: the latest of each campaign, and a history that grows when a number changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.records import WHOLE_ACCOUNT, CampaignStats, ContainerId, Status
from syncd.store.bulk import fitting
from syncd.store.tables import CampaignRow, CampaignSampleRow, CellRow

campaign = CampaignRow.__table__  # type: ignore[attr-defined]
sample = CampaignSampleRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]

COVER_CANDIDATES = 500


def save_campaigns(connection: Connection, account: str, stats: Sequence[CampaignStats], at: datetime) -> int:
    """Keep what a report showed. Returns how many samples were new."""
    known = {
        row.campaign_id: row for row in connection.execute(sa.select(campaign).where(campaign.c.account == account))
    }
    latest = _latest(connection, account)
    named: dict[str, CampaignStats] = {entry.campaign_id: entry for entry in stats}
    for campaign_id, entry in named.items():
        values: dict[str, Any] = {"name": entry.name, "status": entry.status, "observed_at": at}
        if campaign_id in known:
            place = (campaign.c.account == account, campaign.c.campaign_id == campaign_id)
            connection.execute(campaign.update().where(*place).values(**values))
        else:
            connection.execute(campaign.insert().values(account=account, campaign_id=campaign_id, **values))
    rows = []
    for entry in stats:
        beyond = {name: str(count) for name, count in entry.counters.items() if fitting(count) != count}
        kept = {name: fitting(count) for name, count in entry.counters.items()}
        counters = {**kept, "extra": {**entry.extra, **beyond}}
        at_sample = (entry.campaign_id, entry.day or "")
        if latest.get(at_sample) != counters:
            latest[at_sample] = counters
            rows.append(
                {"account": account, "campaign_id": at_sample[0], "day": at_sample[1], "observed_at": at, **counters}
            )
    if rows:
        connection.execute(sample.insert(), rows)
    return len(rows)


def _latest(connection: Connection, account: str) -> dict[tuple[str, str], dict[str, Any]]:
    newest = (
        sa.select(sa.func.max(sample.c.id))
        .where(sample.c.account == account)
        .group_by(sample.c.campaign_id, sample.c.day)
        .scalar_subquery()
    )
    names = ("sent", "opened", "clicked", "bounced", "unsubscribed", "extra")
    return {
        (row.campaign_id, row.day): {name: getattr(row, name) for name in names}
        for row in connection.execute(sa.select(sample).where(sample.c.id.in_(newest)))
    }


def memberships_for_cover(connection: Connection, account: str) -> dict[str, frozenset[ContainerId]]:
    """Addresses of an account with the lists they are on:

    the widest, and for each list one more, so that a cover exists.
    """
    present = (
        cell.c.account == account,
        cell.c.container != WHOLE_ACCOUNT,
        cell.c.status.not_in([Status.REMOVED.value, Status.ABSENT.value]),
        cell.c.identity.is_not(None),
        # No pseudonym of somebody who was erased: it has no dot in its domain, and nobody can be asked by it.
        ~sa.and_(cell.c.person_key.like("erased@%"), cell.c.person_key.not_like("erased@%.%")),
    )
    one_each = sa.select(sa.func.min(cell.c.identity)).where(*present).group_by(cell.c.container)
    chosen = set(connection.scalars(one_each))
    if len(chosen) > 1:
        widest = (
            sa.select(cell.c.identity)
            .where(*present)
            .group_by(cell.c.identity)
            .having(sa.func.count(sa.distinct(cell.c.container)) > 1)
            .order_by(sa.func.count(sa.distinct(cell.c.container)).desc(), cell.c.identity)
            .limit(COVER_CANDIDATES)
        )
        chosen |= set(connection.scalars(widest))
    found: dict[str, set[ContainerId]] = {}
    query = sa.select(cell.c.identity, cell.c.container).where(*present, cell.c.identity.in_(sorted(chosen)))
    for identity, container_id in connection.execute(query):
        found.setdefault(identity, set()).add(ContainerId(container_id))
    return {identity: frozenset(containers) for identity, containers in found.items()}
