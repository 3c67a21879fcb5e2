"""The mirror belongs to one process: it is taken before anything else, and renewed for as long as the daemon runs."""

from __future__ import annotations

import asyncio

from syncd.app import HOLD_S, App
from syncd.daemon.faults import report
from syncd.daemon.live import Live
from syncd.daemon.pace import Pace
from syncd.domain.errors import MirrorError, TakenOverError
from syncd.store import journal
from syncd.store.session import reading


def take(app: App) -> None:
    """Raises `MirrorError`, which says who has it, where that is another process."""
    if app.take():
        return
    with reading(app.engine) as connection:
        who = journal.holding(connection, app.outside.now())
    raise MirrorError(
        f"another syncd works on this mirror: {who or 'one that has just left'}",
        hint="syncd sync asks it for a round; to replace it, stop it first: systemctl stop syncd",
    )


async def keep(app: App, pace: Pace, live: Live) -> None:
    """Renew the hold. Who cannot in time must stop: another process may have taken over."""
    loop = asyncio.get_running_loop()
    kept_at = loop.time()
    while True:
        live.expect("keep", pace.keep_s)
        await asyncio.sleep(pace.keep_s)
        try:
            kept = app.keep()
        except Exception as error:
            report(app.log, "keep", error)
            if loop.time() - kept_at + pace.keep_s >= HOLD_S:
                raise
            continue
        if not kept:
            raise TakenOverError
        kept_at = loop.time()
