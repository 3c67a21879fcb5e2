"""The mirror goes away while a call is under way: what became of it is looked up, and nothing is stranded."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from syncd.domain.errors import MirrorError
from tests.scenes import LEFT, Open, agreed, operations, standing


def test_a_call_whose_end_could_not_be_written_down_is_looked_up(open_small_world: Open):
    world = open_small_world()
    (email,) = agreed(world)
    calls = len(world.sales.calls)
    away = [True]

    @sa.event.listens_for(world.app.engine, "before_cursor_execute")
    def locked(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        answered = any(call.write for call in world.sales.calls[calls:])
        if away and answered and statement.startswith("UPDATE op SET"):
            away.clear()
            raise OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))

    world.rokt.person_unsubscribes(email)
    with pytest.raises(MirrorError):
        world.round()
    assert not away
    assert [row["state"] for row in operations(world, kind="unsubscribe", account="sales")] == ["inflight"]
    world.settle(2)
    assert [row["state"] for row in operations(world, kind="unsubscribe", account="sales")] == ["verified"]
    assert standing(world, email) == LEFT
