"""All commands in one tree, and how one of them is run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli import (
    accounts,
    check,
    connections,
    daemon,
    erase,
    inspect,
    leads,
    lists,
    people,
    rehearsal,
    resync,
    rounds,
    salesrocks,
    setup,
    status,
)
from syncd.cli.exits import Exit, UsageError, told
from syncd.cli.invocation import Invocation
from syncd.domain.errors import SyncdError

if TYPE_CHECKING:
    from syncd.app import Outside

app = typer.Typer(
    name="syncd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Keeps subscribers, lists and campaign statistics of marketing systems in agreement, unsubscribes first.",
)
for part in (
    setup,
    rounds,
    daemon,
    status,
    check,
    inspect,
    people,
    erase,
    accounts,
    lists,
    leads,
    connections,
    resync,
    salesrocks,
    rehearsal,
):
    part.declare(app)


@app.callback()
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        sys.stdout.write(f"syncd {version_of('syncd')}\n")
        raise typer.Exit


@cache
def program() -> Any:
    """The tree as something that can be run; built once."""
    return typer.main.get_command(app)


def run(arguments: Sequence[str], outside: Outside | None) -> int:
    """Run one command; every error that a person can do something about becomes a code and a sentence."""
    invocation = Invocation(outside=outside, json="--json" in arguments)
    try:
        code = program().main(args=list(arguments), prog_name="syncd", standalone_mode=False, obj=invocation)
    except SyncdError as error:
        return invocation.fail(error)
    except typer.TyperException as error:
        return _misused(invocation, error)
    except typer.Abort:
        return Exit.FAILED
    except SystemExit:
        # So Typer answers a reader that has gone (`| head`), and keeps what is left from being written at the end.
        return Exit.FAILED
    if code == Exit.INTERRUPTED:
        invocation.say("stopped; whatever was under way is looked up before anything is sent again")
    return int(code or 0)


def _misused(invocation: Invocation, error: typer.TyperException) -> int:
    if invocation.json:
        misused = UsageError(error.format_message(), hint="syncd --help")
        invocation.show(told(misused))
    else:
        show = getattr(error, "show", None)
        show() if show else sys.stderr.write(f"{error.format_message()}\n")
    return error.exit_code
