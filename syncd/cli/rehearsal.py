"""Without any real provider: pretend ones on loopback, and the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncd.cli.command import command
from syncd.cli.invocation import Invocation, require_known
from syncd.cli.skeleton import PROVIDERS

EMULATED = (*PROVIDERS, "http")
"""Whom we can pretend to be: the four, and a CRM behind an outbound connection."""


def declare(app: typer.Typer) -> None:
    command(app, "emulate")(emulate)
    command(app, "demo")(demo)


Seed = Annotated[int, typer.Option(help="The same seed gives the same people and faults.")]


def emulate(
    call: Invocation,
    providers: Annotated[list[str] | None, typer.Argument(metavar="PROVIDER", help="All if none is named.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65531, help="The first port; 0: any free ones.")] = 0,
    seed: Seed = 0,
    faults: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULT", help="Such as html=0.05 or rocs:throttled=0.1; may be repeated."),
    ] = None,
    deliver_to: Annotated[
        str | None, typer.Option(metavar="URL", help="Send leads and notices to this receiver.")
    ] = None,
) -> int:
    """Serve pretend providers on loopback ports until interrupted, and print the configuration for them."""
    for name in providers or []:
        require_known("provider", name, EMULATED)
    call.log(level="WARNING", as_json=False)
    from syncd.demo import emulate as serve

    return serve(list(providers or EMULATED), port, seed, list(faults or []), deliver_to)


def demo(
    call: Invocation,
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up afterwards.")] = False,
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the mirror is left.")] = Path("demo"),
    seed: Seed = 7,
) -> int:
    """Start pretend providers with people and faults, and let them converge."""
    call.log(level="ERROR", as_json=False)
    from syncd.demo import run_demo

    return run_demo(folder, stay=stay, seed=seed, json_output=call.json)
