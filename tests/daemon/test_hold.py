"""One process for a mirror."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.app import wall_clock
from syncd.daemon import serve
from syncd.domain.errors import MirrorError, TakenOverError
from syncd.store import journal
from syncd.store.session import reading, writing
from syncd.sync.cycle import run_round
from syncd.sync.ingest import unsubscribe
from tests.daemon.scene import FAST, Scene, rows, running, until
from tests.virtual import VirtualLoop, run

pytestmark = pytest.mark.loopback

PAST = datetime(2020, 1, 1, tzinfo=UTC)


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


async def test_whoever_was_stopped_and_wakes_writes_and_sends_nothing_any_more(scene_on_both: Scene) -> None:
    scene = scene_on_both
    stopped = scene.app()
    assert stopped.take()
    scene.gate.hanging = "127.0.0.1:8703"
    going = asyncio.create_task(run_round(stopped.context, ["mail"]))
    await until(lambda: scene.gate.hung, "a request is on its way")

    with writing(stopped.engine) as connection:  # it sleeps for longer than it holds the mirror
        connection.execute(journal.holder.update().values(who="elsewhere/17", until=PAST))
    for lock in scene.folder.glob("*.lock"):  # and from where the other one runs no lock can be seen
        lock.unlink()
    another = scene.app()
    assert another.take()
    before, known = len(scene.gate.urls), scene.known(another)

    scene.gate.hanging = ""
    scene.gate.opens.set()
    with pytest.raises(TakenOverError):
        await going
    with pytest.raises(TakenOverError), writing(stopped.engine):
        pytest.fail("it wrote")
    lane = stopped.context.lanes["crm"]
    with pytest.raises(TakenOverError):
        await lane.carrier.carry(lane.provider.check())
    assert len(scene.gate.urls) == before, "nothing was sent"
    assert scene.known(another) == known, "and nothing written"
    await stopped.aclose()
    with reading(another.engine) as connection:
        assert journal.holding(connection, wall_clock()) == another.who, "its leaving ends no hold but its own"
    await another.aclose()


def test_whoever_slept_asks_whether_the_mirror_is_theirs_before_the_next_request(scene: Scene) -> None:
    app, loop = scene.app(), VirtualLoop()
    lane = app.context.lanes["crm"]

    async def sleeping() -> None:
        assert app.take()
        await lane.carrier.carry(lane.provider.check())
        called = len(scene.gate.urls)
        with writing(scene.app().engine) as connection:
            connection.execute(journal.holder.update().values(token=journal.holder.c.token + 1))
        loop.pass_time(60)
        with pytest.raises(TakenOverError):
            await lane.carrier.carry(lane.provider.check())
        assert len(scene.gate.urls) == called

    run(loop, sleeping())
    loop.close()
    app.leave()


async def test_whoever_wakes_and_still_has_the_mirror_goes_on(scene: Scene) -> None:
    app = scene.app()
    assert app.take()
    with writing(app.engine) as connection:
        connection.execute(journal.holder.update().values(until=PAST))
    lane = app.context.lanes["crm"]
    await lane.carrier.carry(lane.provider.check())
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock()) == app.who, "it renewed its hold before it called anybody"
    await app.aclose()


# The file lock -------------------------------------------------------------------------------------------------------


def test_beside_an_sqlite_mirror_a_second_daemon_is_refused_however_old_the_hold_is(scene: Scene) -> None:
    first, second = scene.app(), scene.app()
    assert first.take()
    with writing(first.engine) as connection:
        connection.execute(journal.holder.update().values(until=PAST))
    assert not second.take()
    first.leave()
    assert second.take()
    second.leave()


def test_a_daemon_that_was_killed_leaves_no_lock_and_its_hold_counts_for_nothing(scene: Scene) -> None:
    """Beside an SQLite mirror whatever host it says it ran on: containers have another name at each start."""
    url, folder = scene.url.removeprefix("sqlite:///"), scene.folder
    held = f"""
import fcntl, os, sqlite3, signal
file = os.open({url + ".lock"!r}, os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, b"container/1\\n")
with sqlite3.connect({url!r}) as mirror:
    mirror.execute("INSERT INTO holder (name, token, beat, place, who, until) "
                   "VALUES ('mirror', 7, 1, '', 'container/1', '2999-01-01 00:00:00.000000')")
print("held", flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        app = scene.app()
        assert not app.take()
        process.kill()
    assert app.take()
    assert rows(app, "SELECT token FROM holder") == [{"token": 8}]
    app.leave()


def test_the_hold_of_a_process_of_this_host_that_is_no_more_counts_for_nothing(scene_on_both: Scene) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    app = scene_on_both.app()
    with writing(app.engine) as connection:
        journal.take_mirror(connection, f"{socket.gethostname()}/{process.pid}", wall_clock(), 3600)
    assert app.take()
    app.leave()


def test_the_hold_of_a_process_that_lives_stands(scene: Scene) -> None:
    app = scene.app()
    with writing(app.engine) as connection:
        journal.take_mirror(connection, f"{socket.gethostname()}/{os.getppid()}", wall_clock(), 3600)
    assert not app.take()


def test_commands_write_beside_a_running_daemon(scene: Scene) -> None:
    daemon, command = scene.app(), scene.app()
    assert daemon.take()
    unsubscribe(command.context, "ann@example.org", source="operator", evidence="called us")
    assert rows(daemon, "SELECT count(*) AS n FROM consent_event") == [{"n": 1}]
    daemon.leave()
