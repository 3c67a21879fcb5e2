"""What systemd is told: ready, how things stand, alive while everything moves, and stopping."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncd.daemon import run_until_signalled
from syncd.daemon.live import Live
from syncd.daemon.notify import Systemd
from syncd.daemon.watchdog import Watchdog
from syncd.domain.identity import Identity, suppression_key
from syncd.store import people
from syncd.store.session import writing
from syncd.sync.plan import plan_at_once
from tests.daemon.scene import DEADLINE_S, FAST, Scene, quiet, running, until

pytestmark = pytest.mark.loopback

HASTY = replace(FAST, hang_s=0.3, status_s=0.05)


class Manager:
    """systemd's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.told: list[str] = []

    def take(self) -> list[str]:
        """What has come since the last time."""
        fresh = []
        while True:
            try:
                fresh.append(self._sock.recv(4096).decode())
            except BlockingIOError:
                self.told += fresh
                return fresh

    def heard(self, word: str) -> list[str]:
        self.take()
        return [message for message in self.told if word in message]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield Manager(sock)


@pytest.fixture
def watched(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Manager:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    return manager


async def test_systemd_is_told_that_it_is_ready_how_it_stands_and_that_it_stops(scene: Scene, manager: Manager) -> None:
    async with running(scene.app(), HASTY) as daemon:
        first = manager.take()[0].splitlines()
        assert first[:2] == ["READY=1", f"MAINPID={os.getpid()}"]
        assert first[2].startswith("STATUS=")
        assert "; accounts: 4 " in first[2]
        await until(lambda: scene.everywhere("ann@example.org") and quiet(daemon.app), "Ann is everywhere")
        await until(lambda: manager.heard("STATUS=converged; accounts: 4 ok; oldest good read 2"), "it says so")
        said = manager.heard("STATUS=")
        assert all(one != after for one, after in itertools.pairwise(said)), "nothing is said twice"
    assert manager.heard("STOPPING=1")


def test_without_systemd_nobody_is_told(tmp_path: Path) -> None:
    Systemd({}, 1).ready("alone")
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "nobody listens")}, 1).ready("alone")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_by_the_process_that_it_watches(environ: dict[str, str], seconds: float | None) -> None:
    assert Systemd(environ, 7).watchdog_s == seconds


# The watchdog --------------------------------------------------------------------------------------------------------


async def test_a_provider_that_is_slow_does_not_hang(scene: Scene, watched: Manager) -> None:
    scene.gate.hanging = "127.0.0.1:8702"
    async with running(scene.app(), HASTY):
        await until(lambda: scene.gate.hung, "a call waits for its answer")
        before = len(watched.heard("WATCHDOG=1"))
        await until(lambda: len(watched.heard("WATCHDOG=1")) >= before + 6, "it is fed beyond what may hang")


async def test_an_account_that_waits_for_nothing_hangs_and_the_watchdog_is_fed_no_more(
    scene: Scene, watched: Manager
) -> None:
    class Stuck:
        async def carry(self, exchange: Any) -> Any:
            exchange.close()
            await asyncio.Event().wait()

    app = scene.app()
    app.context.lanes["sales"].carrier = Stuck()
    with structlog.testing.capture_logs() as lines:
        async with running(app, HASTY):
            await until(lambda: [line for line in lines if line["event"] == "daemon.hangs"], "it is noticed")
            watched.take()
            await asyncio.sleep(0.5)
            assert "WATCHDOG=1" not in watched.take()
    assert {line["what"] for line in lines if line["event"] == "daemon.hangs"} == {"work at sales"}


async def test_while_the_loop_is_blocked_nobody_feeds_the_watchdog(scene: Scene, watched: Manager) -> None:
    fed: list[int] = []
    app = scene.app()
    containers = app.context.lanes["crm"].provider.containers  # type: ignore[attr-defined]

    def blocking() -> Any:
        watched.take()
        time.sleep(0.5)
        fed.append(watched.take().count("WATCHDOG=1"))
        return containers()

    app.context.lanes["crm"].provider.containers = blocking  # type: ignore[attr-defined]
    async with running(app, HASTY):
        await until(lambda: fed, "it was blocked")
        await until(lambda: len(watched.heard("WATCHDOG=1")) > 3, "it goes on")
    assert fed[0] == 0


def test_to_plan_for_very_many_is_work_and_no_hang(watched: Manager, scene: Scene) -> None:
    """One transaction decides about everybody who is due, however long it takes: it is fed by each part of that."""
    clock, loop = [0.0], structlog.get_logger()
    live = Live(lambda: clock[0], lambda: None, slack_s=10)  # type: ignore[arg-type,return-value]
    watchdog = Watchdog(live, Systemd(os.environ, os.getpid()), lambda: clock[0], loop)
    app = scene.app()
    assert app.take()
    with writing(app.engine) as connection:
        keys = [suppression_key(Identity(f"p{number}@example.org")) for number in range(1200)]
        people.put_on_agenda(connection, keys, app.context.now())
    turns = []

    def alive() -> None:
        clock[0] += 0.06  # each part takes more than half of what passes between two feedings
        turns.append(clock[0])
        watchdog.alive()

    app.context.alive = alive
    plan_at_once(app.context)
    assert len(turns) >= 6
    assert len(watched.heard("WATCHDOG=1")) >= len(turns) // 2
    live.expect("press", 0)
    clock[0] += 100
    live.stood_still(100)
    assert live.late() == {}, "and nobody is late for it"
    app.leave()


def test_whatever_is_not_heard_of_in_time_is_late_and_work_counts_by_its_longest_wait() -> None:
    clock = [0.0]
    live = Live(lambda: clock[0], lambda: None, slack_s=10)  # type: ignore[arg-type,return-value]
    live.expect("press", 5)
    live.at_work("crm", True)
    live.waits("crm", 900)
    live.requested("crm", "page", 200)
    clock[0] = 15
    assert live.late() == {}
    clock[0] = 16
    assert live.late() == {"press": 11}
    live.rest("press")
    clock[0] = 911
    assert live.late() == {"work at crm": 11}
    live.progress("crm", "L-1", 5000, None)
    assert live.late() == {}
    work = live.work("crm")
    assert work is not None
    assert (work.phase, work.records, work.calls) == ("L-1", 5000, 1)
    live.at_work("crm", False)
    live.waits("crm", 1)
    clock[0] = 5000
    assert live.late() == {}


# The end -------------------------------------------------------------------------------------------------------------


async def test_systemd_is_asked_for_time_while_a_round_ends(scene: Scene, manager: Manager) -> None:
    scene.gate.hanging = "127.0.0.1:8702"
    async with running(scene.app(), replace(HASTY, drain_s=1.0)) as daemon:
        await until(lambda: scene.gate.hung, "a call hangs")
        daemon.stop.set()
        await asyncio.wait_for(daemon.task, DEADLINE_S)
    asked = manager.heard("EXTEND_TIMEOUT_USEC=")
    assert asked
    assert int(asked[0].partition("=")[2]) == pytest.approx(2_900_000, abs=200_000)


async def test_a_second_signal_cuts_off_at_once(scene: Scene) -> None:
    scene.gate.hanging = "127.0.0.1:8702"
    app = scene.app(SYNCD_DAEMON__DRAIN="1h")
    ready = asyncio.Event()
    serving = asyncio.create_task(run_until_signalled(app, ready=lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), DEADLINE_S)
    await until(lambda: scene.gate.hung, "a call hangs")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.3)
    assert not serving.done(), "the first lets what is under way end"
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(serving, 5)
    await app.aclose()
