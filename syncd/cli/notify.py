"""Whether people can be told what needs them."""

from __future__ import annotations

import asyncio

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation


def declare(app: typer.Typer) -> None:
    notify = typer.Typer(no_args_is_help=True, help="Tell people what needs them.")
    command(notify, "test")(test)
    app.add_typer(notify, name="notify")


def test(call: Invocation) -> int:
    """Send a test notice by every channel that is configured, once."""
    import structlog

    from syncd.app import Outside
    from syncd.notices import try_all

    outside = call.outside or Outside()
    call.log(level="WARNING", as_json=False)
    faults = asyncio.run(try_all(call.settings.notify, outside.new_id(), outside.now, structlog.get_logger("syncd")))
    if call.json:
        tried = [{"channel": name, "ok": not fault, "reason": fault} for name, fault in faults.items()]
        call.show({"channels": tried})
    else:
        call.table(("channel", "result"), [(name, fault or "ok") for name, fault in faults.items()])
        if len(faults) == 1:
            call.say("nobody is told but the log; next: [notify] in the configuration")
    return Exit.FAILED if any(faults.values()) else Exit.DONE
