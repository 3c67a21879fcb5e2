"""Whether everything holds that must always hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation

if TYPE_CHECKING:
    from syncd.app import App


def declare(app: typer.Typer) -> None:
    command(app, "check")(check)


def check(
    call: Invocation,
    full: Annotated[bool, typer.Option("--full", help="Look at everybody and everything, not at a sample.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take what is left of suppression as right, after a loss you can explain.")
    ] = False,
) -> int:
    """Hold the mirror against its invariants. While one is broken, only unsubscribes are sent."""
    call.log(level="WARNING", as_json=False)

    def checking(app: App) -> int:
        from syncd.sync.check import check as look
        from syncd.sync.check import checked_as_shown

        app.take()  # what a stopped process left under way is recovered; one that works goes on
        checked = look(app.context, full=full, accept=accept)
        shown = checked_as_shown(checked)
        if call.json:
            call.show(shown)
        else:
            _show(call, shown)
        return Exit.DONE if shown["whole"] else Exit.BROKEN

    return call.with_app(checking)


def _show(call: Invocation, shown: dict[str, Any]) -> None:
    columns = ("name", "state", "count", "asserts")
    call.table(columns, [[one[column] for column in columns] for one in shown["invariants"]])
    for one in shown["invariants"]:
        if one["state"] == "breach":
            call.write(f"{one['name']}: {one['means']}")
            call.write(
                f"  {one['of']}: {', '.join(one['examples'])}{' …' if one['count'] > len(one['examples']) else ''}"
            )
            call.write(f"  {one['next']}")
    if shown["whole"]:
        call.say(
            "next: nothing to do" if shown["full"] else "next: nothing to do; syncd check --full looks at everybody"
        )
    else:
        call.say("next: as said above, then syncd check --full; until it finds all whole only unsubscribes are sent")
