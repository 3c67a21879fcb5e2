"""What people are told of how things stand: found by a look, written down with what was told, then sent by channels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from syncd.reconcile.notices import Notice, concerns, follow, sentence
from syncd.store import notices
from syncd.store.inspect import shown_time
from syncd.store.session import reading, writing
from syncd.sync.context import Context


def look(
    context: Context, intervals: Mapping[str, float], channels: Collection[str], *, patience_s: float, quiet_s: float
) -> list[Notice]:
    """Look how things stand, and have what changed go out. In one transaction with what is kept: a stop in between
    neither loses a notice nor repeats it.
    """
    now = context.now()
    within = timedelta(seconds=context.policy.unsubscribe_within_s)
    with reading(context.engine) as connection:
        sight = notices.look(connection, intervals, now, within)
        before = notices.load(connection)
        foreign = notices.waiting(connection).keys() - set(channels)
    kept, found = follow(before, concerns(sight, now, patience_s), intervals, now, timedelta(seconds=quiet_s))
    if kept == before and not found and not foreign:
        return []
    with writing(context.engine) as connection:
        notices.save(connection, kept)
        for notice in found:
            content = content_of(notice, context.new_id(), shown_time(now))
            notices.put(connection, channels, content, now)
        dropped = notices.trim(connection, channels)
    if dropped:
        context.log.warning("notice.dropped", count=dropped)
    return found


def content_of(notice: Notice, id: str, at: str | None) -> dict[str, Any]:
    """A notice as programs get it: the shape that Standard Webhooks recommends."""
    return {
        "id": id,
        "type": f"{notice.about}.{notice.state}",
        "timestamp": at,
        "data": {
            "about": notice.about.value,
            "state": notice.state,
            "account": notice.account or None,
            "details": list(notice.details),
            "count": notice.count,
            "since": shown_time(notice.since),
            "text": sentence(notice),
            "next": notice.next or None,
        },
    }
