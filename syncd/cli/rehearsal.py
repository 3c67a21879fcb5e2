"""Without any real provider: pretend ones on loopback, and the demonstration."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.invocation import Invocation, require_known
from syncd.cli.skeleton import PROVIDERS


def declare(app: typer.Typer) -> None:
    command(app, "emulate")(emulate)
    command(app, "demo")(demo)


def emulate(
    call: Invocation,
    providers: Annotated[list[str] | None, typer.Argument(metavar="PROVIDER", help="All if none is named.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The first port; 0: any free ones.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same people and faults.")] = 0,
    faults: Annotated[list[str] | None, typer.Option(metavar="FAULT", help="What goes wrong; may be repeated.")] = None,
) -> int:
    """Serve pretend providers on loopback ports until interrupted."""
    for name in providers or []:
        require_known("provider", name, PROVIDERS)
    call.log(level="WARNING", as_json=False)
    from syncd.demo import emulate as serve

    return _done(serve(list(providers or PROVIDERS), port, seed, list(faults or [])))


def demo(
    call: Invocation,
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up afterwards.")] = False,
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the mirror is left.")] = Path("demo"),
) -> int:
    """Start pretend providers with people and faults, and let them converge."""
    call.log(level="ERROR", as_json=False)
    from syncd.demo import run_demo

    return _done(run_demo(folder, stay=stay))


def _done(result: Any) -> int:
    async def waiting(work: Coroutine[Any, Any, int]) -> int:
        return await work

    return int(asyncio.run(waiting(result)) if inspect.iscoroutine(result) else result)
