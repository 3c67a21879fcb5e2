"""Erase a person, and look for what is left of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.inspect import Email, address
from syncd.cli.invocation import Invocation

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.sync.erase import Erased, Left


def declare(app: typer.Typer) -> None:
    command(app, "erase")(erase)


def erase(
    call: Invocation,
    email: Email,
    verify: Annotated[
        bool, typer.Option("--verify", help="Erase nothing: look for what is left, in every form.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Erase a person for good: from the mirror, and where providers can be asked to. A keyed hash keeps them away."""
    identity = address(email)
    call.log(level="WARNING", as_json=False)

    def looking(app: App) -> int:
        from syncd.sync.erase import look

        left = look(app.context, identity, email)
        shown = _left(left) | {"email": str(identity)}
        if call.json:
            call.show(shown)
        else:
            _print_left(call, left)
        return Exit.DONE if left.clean else Exit.FAILED

    async def erasing(app: App) -> int:
        from syncd.cli.people import sent
        from syncd.cli.rounds import open_work
        from syncd.store import journal
        from syncd.store.inspect import shown_time
        from syncd.store.session import reading
        from syncd.sync.erase import OUT_OF_REACH, wipe_and_look
        from syncd.sync.erase import erase as take_out

        erased = take_out(app.context, identity)
        taken = app.take()
        outcome = {**await sent(app), **open_work(app)} if taken else None
        with reading(app.engine) as connection:
            daemon = None if taken else journal.holding(connection, app.outside.now())
        left = wipe_and_look(app.context, erased)
        shown: dict[str, Any] = _left(left) | {
            "email": str(identity),
            "erased_at": shown_time(erased.erased_at),
            "again": erased.again,
            "asked": dict(erased.asked),
            "rows": dict(erased.rows),
            "out_of_reach": list(OUT_OF_REACH),
            "round": outcome,
            "daemon": daemon,
            "next": f"syncd erase {identity} --verify" if taken or daemon else "syncd sync",
        }
        if call.json:
            call.show(shown)
        else:
            _print_erased(call, erased, left, shown)
        return _code(left)

    if verify:
        return call.with_app(looking)
    if not yes and not call.json and sys.stdin.isatty():
        call.say(
            f"{identity} and every spelling of that mailbox will be erased here and asked to be at every provider."
        )
        call.say("This cannot be undone, and nobody can be subscribed under this address again.")
        typer.confirm("Erase?", abort=True, err=True)
    return call.work(erasing)


def _code(left: Left) -> int:
    """Done, still on its way (the address stays in transit until then), or something is left that should not be."""
    if left.clean:
        return Exit.DONE
    return Exit.PENDING if left.waiting else Exit.FAILED


def _left(left: Left) -> dict[str, Any]:
    return {
        "clean": left.clean,
        "places": [{"place": one.place, "column": one.column, "row": one.row, "form": one.form} for one in left.traces],
        "waiting": left.waiting,
        "unwiped": left.unwiped or None,
    }


def _print_erased(call: Invocation, erased: Erased, left: Left, shown: dict[str, Any]) -> None:
    call.write(f"erased {'again ' if erased.again else ''}{shown['email']}")
    for account, what in sorted(erased.asked.items()):
        call.write(f"  {account}: asked to {what}")
    _print_left(call, left)
    call.write("Out of reach:")
    for what in shown["out_of_reach"]:
        call.write(f"  {what}")
    call.say(f"next: {shown['next']}")


def _print_left(call: Invocation, left: Left) -> None:
    if left.unwiped:
        call.write(left.unwiped)
    if left.waiting:
        call.write(f"{left.waiting} calls wait for a provider; until they are done the address is kept for them")
    if left.clean:
        call.write("nothing is left in the mirror")
        return
    call.write(f"{len(left.traces)} places hold something:")
    call.table(("place", "column", "row", "form"), [(t.place, t.column, t.row, t.form) for t in left.traces])
