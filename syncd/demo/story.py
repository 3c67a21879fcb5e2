"""`syncd demo`: four pretend providers, one mirror, the real daemon; six steps on the screen, each seen to hold."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from syncd.app import App
from syncd.config import load
from syncd.daemon import serve
from syncd.demo.acts import NotSeenError, Play
from syncd.demo.screen import Screen
from syncd.demo.stage import Stage, build, configuration, interrupted_by_signals, served
from syncd.domain.errors import SyncdError
from syncd.emulators.serve import bind_loopback
from syncd.telemetry import configure

LIMIT_S = 150.0
"""The whole demo; each step has a limit of its own as well."""

INTERVAL = "3s"
INTERRUPTED = 130


def run_demo(folder: Path, *, stay: bool = False, seed: int = 7, json_output: bool = False) -> int:
    """Perform the demo with everything in `folder`. 0 only if every step was seen to hold.

    `stay`: keep everything up afterwards, until SIGINT or SIGTERM.
    """
    folder.mkdir(parents=True, exist_ok=True)
    screen = Screen(as_json=json_output)
    with _alone(folder), (folder / "syncd.log").open("w", encoding="utf-8") as log:
        configure("INFO", json=True, stream=log)
        try:
            return asyncio.run(_demo(folder, screen, stay=stay, seed=seed))
        finally:
            configure("WARNING", json=False, stream=sys.stderr)


async def _demo(folder: Path, screen: Screen, *, stay: bool, seed: int) -> int:
    for name in ("mirror.db", "mirror.db-wal", "mirror.db-shm"):
        (folder / name).unlink(missing_ok=True)
    stage = build(["rocs", "salesrocks", "rocketresponder", "rokt"], seed=seed)
    try:
        listen = _free_address()
        stage.listen_to(f"http://{listen}")
        file = folder / "syncd.toml"
        mirror = f"sqlite:///{(folder / 'mirror.db').resolve()}"
        file.write_text(configuration(stage, mirror=mirror, listen=listen, interval=INTERVAL), encoding="utf-8")
        settings = load(file, {})
        leave = asyncio.Event()
        with interrupted_by_signals(leave):
            async with App(settings) as app, served(stage):
                return await _with_daemon(app, stage, screen, leave, stay=stay, folder=folder)
    finally:
        stage.close()


async def _with_daemon(
    app: App, stage: Stage, screen: Screen, leave: asyncio.Event, *, stay: bool, folder: Path
) -> int:
    clock = asyncio.get_running_loop().time
    began = clock()
    stop, ready = asyncio.Event(), asyncio.Event()
    daemon = asyncio.create_task(serve(app, stop=stop, ready=lambda _: ready.set()))

    def broken_off() -> str | None:
        if leave.is_set():
            return "interrupted"
        return "the daemon ended" if daemon.done() else None

    play = Play(app, stage, screen, broken_off)
    try:
        reason = await _performed(play, ready)
        code = INTERRUPTED if leave.is_set() else int(bool(reason))
        _sum_up(screen, folder, reason, clock() - began)
        if stay and not leave.is_set() and not daemon.done():
            _look_around(screen, app, stage, folder)
            await asyncio.wait([asyncio.create_task(leave.wait()), daemon], return_when=asyncio.FIRST_COMPLETED)
        return code
    finally:
        stop.set()
        await daemon


async def _performed(play: Play, ready: asyncio.Event) -> str:
    """Why it is not as it should be, in one sentence; nothing if every step was seen to hold."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await play.until("the daemon is ready", ready.is_set, within_s=20)
            await play.perform()
    except NotSeenError as error:
        return error.message
    except TimeoutError:
        return f"not at its end after {LIMIT_S:g} s"
    return "; ".join(play.screen.broken)


def _sum_up(screen: Screen, folder: Path, reason: str, seconds: float) -> None:
    if reason:
        screen.end(f"The demo did not come out as it should: {reason}. What syncd did is in {folder / 'syncd.log'}.")
    else:
        screen.end(f"Every step was seen to hold, in {seconds:.0f} s. The mirror is {folder / 'mirror.db'}.")
    screen.as_object(reason, seconds=round(seconds, 1), mirror=str(folder / "mirror.db"))


def _look_around(screen: Screen, app: App, stage: Stage, folder: Path) -> None:
    config, person = folder / "syncd.toml", stage.town.late[0].email
    lines = (
        "Everything stays up; Ctrl-C ends it.",
        f"  status page   http://{app.settings.receiver.listen}/   (also /docs and /metrics)",
        f"  syncd status --config {config}",
        f"  syncd inspect contact {person} --config {config}",
        f"  syncd explain {person} --config {config}",
        f"  syncd unsubscribe {person} --config {config}",
    )
    screen.end("\n".join(lines))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one demo in a folder at a time. The lock goes with its process, however that ends."""
    file: TextIO
    with (folder / ".lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SyncdError(
                f"another demo runs in {folder}", hint="end it first, or choose another --folder"
            ) from None
        yield


def _free_address() -> str:
    """Where the receiver is going to listen: the providers have to be told before it does."""
    sock = bind_loopback(0)
    host, port = sock.getsockname()
    sock.close()
    return f"{host}:{port}"
