"""Talking to the running daemon by its control socket: reload, what runs right now, and the way for other commands."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation, lasting

COLUMNS = ("account", "state", "working", "phase", "since", "records", "total", "calls", "next wake")


def declare(app: typer.Typer) -> None:
    command(app, "reload")(reload)


def through_daemon(call: Invocation, do: str, **given: Any) -> Any:
    """What the running daemon answers, or None where none of this mirror has a control socket."""
    from syncd.control import Conversation, NobodyThereError, mirror_of, place_to_ask

    async def asking() -> Any:
        async with Conversation(place_to_ask(call.settings), mirror_of(call.settings)) as daemon:
            return await daemon.ask(do, **given)

    try:
        return asyncio.run(asking())
    except NobodyThereError:
        return None


def reload(call: Invocation) -> int:
    """Have the running daemon read its configuration anew. A bad one is refused, and the old one goes on."""
    from syncd.control import Conversation, mirror_of, place_to_ask

    async def asking() -> Any:
        async with Conversation(place_to_ask(call.settings), mirror_of(call.settings)) as daemon:
            return await daemon.ask("reload")

    turned = asyncio.run(asking())
    if call.json:
        call.show(turned)
    else:
        said = [f"{what}: {', '.join(names)}" for what, names in turned.items() if names]
        call.write("; ".join(said) or "no account is another one than before")
        call.say("next: syncd status")
    return Exit.DONE


def show_live(call: Invocation, *, every_s: float, times: int) -> int:
    """What the daemon does right now, as often as asked for; 0: until somebody stops it."""
    from syncd.control import Conversation, mirror_of, place_to_ask

    async def watching() -> None:
        async with Conversation(place_to_ask(call.settings), mirror_of(call.settings)) as daemon:
            counted = itertools.count(1)
            async for now in daemon.watch(every_s=every_s):
                call.show(now) if call.json else _show(call, now)
                if next(counted) == times:
                    return

    try:
        asyncio.run(watching())
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return Exit.DONE


def _show(call: Invocation, now: dict[str, Any]) -> None:
    rows = []
    for entry in now["accounts"]:
        wakes_in = entry["next_wake_s"]
        shown = {**entry, "next wake": None if wakes_in is None else f"in {lasting(wakes_in)}"}
        rows.append([shown[column] for column in COLUMNS])
    call.table(COLUMNS, rows, title=f"{now['at']}: {now['daemon']}, since {now['since']}, {now['rounds']} under way")
    if now["hangs"]:
        call.write(f"hangs: {', '.join(now['hangs'])} (journalctl -u syncd -n 50)")
