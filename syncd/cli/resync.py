"""Begin again with what is known: resync, in its three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.inspect import address, unknown
from syncd.cli.invocation import Invocation, UsageError, require_known

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.sync.plan import Planned
    from syncd.sync.resync import Resynced

COUNTS = ("people", "containers", "look_ups", "told_again", "reopened", "records")


def declare(app: typer.Typer) -> None:
    command(app, "resync")(resync)


def resync(
    call: Invocation,
    reread: Annotated[bool, typer.Option("--reread", help="Read everything afresh, and compare.")] = False,
    reassert: Annotated[
        bool, typer.Option("--reassert", help="Plan again what is desired, every known no above all.")
    ] = False,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Take the fields as they are now for what was agreed on.")
    ] = False,
    account: Annotated[str | None, typer.Option("--account", metavar="NAME", help="At this account only.")] = None,
    list_name: Annotated[str | None, typer.Option("--list", metavar="NAME", help="Of this list of ours only.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="EMAIL", help="Of this person only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would come to.")] = False,
) -> int:
    """Begin again with what is known, in exactly one of three ways.

    None of them adds anybody anywhere: an addition that follows from one waits for `syncd approve`.
    """
    verbs = [name for name, given in (("reread", reread), ("reassert", reassert), ("rebase", rebase)) if given]
    if len(verbs) != 1:
        raise UsageError("name exactly one of --reread, --reassert and --rebase", hint="syncd resync --help")
    if account is not None:
        require_known("account", account, call.settings.accounts)
    if list_name is not None:
        require_known("list", list_name, call.settings.lists)
    identity = None if email is None else address(email)
    call.log(level="WARNING", as_json=False)

    def resyncing(app: App) -> int:
        from syncd.sync.resync import Verb
        from syncd.sync.resync import resync as begin_again

        done = begin_again(
            app.context, Verb(verbs[0]), account=account, list_name=list_name, identity=identity, dry_run=dry_run
        )
        if identity is not None and not done.people:
            return unknown(call, identity)
        shown: dict[str, Any] = {
            "verb": verbs[0],
            "dry_run": dry_run,
            "account": account,
            "list": list_name,
            "email": None if identity is None else str(identity),
            **_counts(done),
            "would": None if done.planned is None else _would(done.planned),
            "next": "the same without --dry-run" if dry_run else "syncd sync",
        }
        _tell(call, shown)
        return Exit.DONE

    return call.with_app(resyncing)


def _counts(done: Resynced) -> dict[str, int]:
    return {name: getattr(done, name) for name in COUNTS}


def _would(planned: Planned) -> list[dict[str, Any]]:
    """What would follow from it, and from whatever else is due."""
    everybody = [
        *((wish, None) for wish in planned.wishes),
        *((held.desired, held.hold.value) for held in planned.waiting),
    ]
    return [
        {
            "email": str(wish.change.identity),
            "account": wish.account,
            "remote_list": str(wish.change.container),
            "kind": wish.change.kind.value,
            "why": wish.why.value,
            "held": hold,
        }
        for wish, hold in everybody
    ]


def _tell(call: Invocation, shown: dict[str, Any]) -> None:
    if call.json:
        call.show(shown)
        return
    counted = ", ".join(f"{shown[name]} {name.replace('_', ' ')}" for name in COUNTS if shown[name])
    call.write(f"{'would ' if shown['dry_run'] else ''}{shown['verb']}: {counted or 'nothing is known there'}")
    if shown["would"]:
        columns = ("email", "account", "remote_list", "kind", "held", "why")
        call.table(columns, [[row[column] for column in columns] for row in shown["would"]])
    call.say(f"next: {shown['next']}" + ("" if shown["dry_run"] else ", unless the daemon runs"))
