"""Accounts and parked things, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.daemon import through_daemon
from syncd.cli.exits import Exit, told
from syncd.cli.invocation import Invocation

if TYPE_CHECKING:
    from syncd.app import App

Name = Annotated[str, typer.Argument(metavar="NAME", help="An account of the configuration.")]


def declare(app: typer.Typer) -> None:
    account = typer.Typer(no_args_is_help=True, help="Check, pause or resume one account.")
    command(account, "check")(check)
    command(account, "pause")(pause)
    command(account, "resume")(resume)
    app.add_typer(account, name="account")
    parked = typer.Typer(no_args_is_help=True, help="What was refused, or cannot be read.")
    command(parked, "retry")(retry)
    app.add_typer(parked, name="parked")


def check(call: Invocation, name: Name) -> int:
    """Make the cheapest call that proves an account's address and credentials."""
    call.accounts([name])
    call.log(level="WARNING", as_json=False)

    async def checking(app: App) -> int:
        found = await checked(app, name)
        if call.json:
            call.show(found)
        else:
            show_checked(call, [found])
        return Exit.DONE if found["ok"] else Exit.UNREACHABLE

    return call.work(checking)


async def checked(app: App, name: str) -> dict[str, Any]:
    """Whether an account answers, and what is wrong if it does not."""
    from syncd.domain.errors import ProviderError

    lane = app.context.lanes[name]
    entry: dict[str, Any] = {"account": name, "provider": lane.provider_name}
    try:
        await lane.carrier.carry(lane.provider.check())
    except ProviderError as error:
        about = told(error)["error"]
        return entry | {"ok": False, "kind": about["kind"], "message": error.message, "hint": error.hint}
    return entry | {"ok": True, "kind": None, "message": "", "hint": ""}


def show_checked(call: Invocation, found: list[dict[str, Any]]) -> None:
    for entry in found:
        hint = f" ({entry['hint']})" if entry["hint"] else ""
        call.write(f"{entry['account']}: {'ok' if entry['ok'] else entry['message'] + hint}")


def pause(call: Invocation, name: Name) -> int:
    """Neither read from nor write to an account until it is resumed."""

    def pausing(app: App) -> int:
        from syncd.sync.steer import pause as stop

        stop(app.context, name)
        return _changed(call, name, "paused", f"syncd account resume {name}")

    call.accounts([name])
    if through_daemon(call, "pause", account=name) is not None:
        return _changed(call, name, "paused", f"syncd account resume {name}")
    return call.with_app(pausing)


def resume(call: Invocation, name: Name) -> int:
    """Work on a paused or quarantined account again."""

    def resuming(app: App) -> int:
        from syncd.sync.steer import resume as go_on

        return _changed(call, name, go_on(app.context, name), f"syncd sync {name}")

    call.accounts([name])
    if (done := through_daemon(call, "resume", account=name)) is not None:
        return _changed(call, name, done["state"], f"syncd sync {name}")
    return call.with_app(resuming)


def _changed(call: Invocation, name: str, state: str, following: str) -> int:
    if call.json:
        call.show({"account": name, "state": state, "next": following})
    else:
        call.write(f"{name}: {state}")
        call.say(f"next: {following}")
    return Exit.DONE


def retry(call: Invocation, parked_id: Annotated[str, typer.Argument(metavar="ID")]) -> int:
    """Try a parked change or delivery once more."""

    def retrying(app: App) -> int:
        from syncd.sync.steer import retry as try_again

        what = try_again(app.context, parked_id)
        if call.json:
            call.show({"id": parked_id, "what": what, "next": "syncd sync"})
        else:
            call.write(f"{what} {parked_id} is tried again")
            call.say("next: syncd sync, unless the daemon runs")
        return Exit.DONE

    return call.with_app(retrying)
