"""One process for a mirror."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.app import wall_clock
from syncd.daemon import serve
from syncd.domain.errors import MirrorError
from syncd.store import journal
from syncd.store.session import reading, writing
from tests.daemon.scene import FAST, Scene, rows, running, until

pytestmark = pytest.mark.loopback


async def test_a_second_daemon_says_who_has_the_mirror_and_touches_nothing(scene: Scene) -> None:
    app = scene.app()
    with writing(app.engine) as connection:
        journal.take_mirror(connection, "elsewhere/17", wall_clock(), 60)
    with pytest.raises(MirrorError, match="elsewhere/17") as refused:
        await serve(app, stop=asyncio.Event(), pace=FAST)
    assert refused.value.hint
    assert scene.rocs.calls == []
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock()) == "elsewhere/17"
    await app.aclose()


async def test_a_daemon_that_loses_the_mirror_stops_at_once(scene: Scene) -> None:
    app = scene.app()

    async def robbed() -> None:
        async with running(app) as daemon:
            with writing(app.engine) as connection:
                connection.execute(sa.text("UPDATE holder SET token = token + 1, who = 'elsewhere/17'"))
            await until(daemon.task.done, "it stopped")

    with pytest.raises(MirrorError, match="taken over"):
        await robbed()
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock()) == "elsewhere/17", "its hold is not ended by us"


async def test_the_hold_is_renewed_and_left_at_the_end(scene: Scene) -> None:
    app = scene.app()

    def held_until() -> Any:
        return rows(app, "SELECT until FROM holder")[0]["until"]

    async with running(app):
        first = held_until()
        await until(lambda: held_until() > first, "it was renewed")
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock() + timedelta(seconds=1)) is None
