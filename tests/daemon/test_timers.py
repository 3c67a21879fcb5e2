"""Accounts are woken at their interval, whatever becomes of the wall clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

import pytest
import structlog

from syncd.daemon.live import Live
from syncd.daemon.timers import Timers
from tests.virtual import Clock, VirtualLoop, run

DAY_S = 86_400.0


class Wall:
    """A virtual loop and a wall clock over it that can be set, which APScheduler reads as well."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = Clock(self.loop)
        self.wakes: list[float] = []
        self.back: list[float] = []

    async def hour(self, *, jump_at: float, jump_s: float) -> None:
        """An account with an interval of five minutes; somewhere the wall clock is set."""
        timers = Timers(
            self.loop.time, self.clock, lambda: 0.0, structlog.get_logger(), 30.0, lambda: self.back.append(jump_s)
        )
        wake = asyncio.Event()
        timers.arm("crm", 300.0, wake)
        timers.start()
        tasks = [
            asyncio.create_task(timers.supervise(Live(self.loop.time, self.clock, 60.0), 1.0)),
            asyncio.create_task(self._noting(wake)),
        ]
        await asyncio.sleep(jump_at)
        self.clock.skew_s += jump_s
        await asyncio.sleep(3650 - jump_at)
        timers.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _noting(self, wake: asyncio.Event) -> None:
        while True:
            await wake.wait()
            wake.clear()
            self.wakes.append(self.loop.time())


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    found = Wall()

    class Set(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return found.clock().astimezone(tz)

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Set)
    yield found
    found.loop.close()


@pytest.mark.parametrize("jump_s", [-DAY_S, -60.0, 60.0])
def test_rounds_go_on_at_their_interval_when_the_wall_clock_is_set(wall: Wall, jump_s: float) -> None:
    with structlog.testing.capture_logs() as lines:
        run(wall.loop, wall.hour(jump_at=1000.5, jump_s=jump_s))
    assert [round(at) for at in wall.wakes] == [300 * n for n in range(1, 13)]
    assert wall.back == ([jump_s] if jump_s < 0 else [])
    assert [line for line in lines if line["event"] == "clock.jumped"] == [
        {"event": "clock.jumped", "seconds": jump_s, "log_level": "warning"}
    ]


@pytest.mark.parametrize("jump_s", [2 * 3600.0, 3652 * DAY_S])
def test_after_time_that_was_lost_there_is_one_round_and_then_they_go_on(wall: Wall, jump_s: float) -> None:
    run(wall.loop, wall.hour(jump_at=1000.5, jump_s=jump_s))
    assert [round(at) for at in wall.wakes] == [300, 600, 900, *(1001 + 300 * n for n in range(9))]


def test_a_clock_that_stays_is_no_jump(wall: Wall) -> None:
    with structlog.testing.capture_logs() as lines:
        run(wall.loop, wall.hour(jump_at=1000.5, jump_s=0.5))
    assert not lines


def test_another_interval_begins_at_once_and_the_same_goes_on(wall: Wall) -> None:
    timers = Timers(wall.loop.time, wall.clock, lambda: 1.0, structlog.get_logger(), 30.0)
    wake = asyncio.Event()
    timers.arm("crm", 300.0, wake)
    assert timers.wakes_in("crm") == 330
    wall.loop.pass_time(100)
    timers.arm("crm", 300.0, wake)
    assert timers.wakes_in("crm") == 230
    timers.arm("crm", 60.0, wake)
    assert timers.wakes_in("crm") == 66
    timers.disarm("crm")
    assert timers.wakes_in("crm") is None
