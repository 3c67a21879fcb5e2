"""Counts over the views: how many stand where, how a "no" went on its way, what campaigns came to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.identity import Identity
from syncd.store.tables import CampaignSampleRow, CounterSampleRow

sample = CampaignSampleRow.__table__  # type: ignore[attr-defined]
counter = CounterSampleRow.__table__  # type: ignore[attr-defined]


def standings(connection: Connection) -> dict[tuple[str, str], dict[str, int]]:
    """How many stand in which status: (list of ours, account) -> status -> number."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("list", "account", "status")]
    query: sa.Select[Any] = sa.select(*columns, sa.func.count()).select_from(sa.table("v_memberships"))
    query = query.where(sa.column("list").is_not(None)).group_by(*columns)
    found: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for entry, account, status, number in connection.execute(query):
        found[entry, account][status] = number
    return dict(found)


def way_of(connection: Connection, email: Identity) -> list[Mapping[str, Any]]:
    """Each unsubscribe that followed from this person's "no", with its times and how it ended."""
    names = ("scope", "source", "route", "learnt_at", "account", "remote_list", "answered_at", "receipt", "state")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    query = sa.select(*columns).select_from(sa.table("v_propagation"))
    query = query.where(sa.column("email") == email, sa.column("decided_at").is_not(None))
    return [dict(row) for row in connection.execute(query.order_by(sa.column("decided_at"))).mappings()]


def campaign_extras(connection: Connection) -> dict[tuple[str, str], dict[str, float]]:
    """Numbers that only one provider counts, summed over the days it reports: (account, campaign) -> name -> number."""
    newest = sa.select(sa.func.max(sample.c.id)).group_by(sample.c.account, sample.c.campaign_id, sample.c.day)
    query = sa.select(sample.c.account, sample.c.campaign_id, sample.c.extra).where(sample.c.id.in_(newest))
    found: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for account, campaign_id, extra in connection.execute(query):
        sums = found[account, campaign_id]
        for name, value in extra.items():
            if isinstance(value, int | float):
                sums[name] = sums.get(name, 0) + value
    return dict(found)


def counted_contacts(connection: Connection, account: str) -> int:
    """Of how many contacts this account gave counters of their own."""
    seen = sa.select(counter.c.container, counter.c.key).where(counter.c.account == account).distinct().subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(seen)) or 0
