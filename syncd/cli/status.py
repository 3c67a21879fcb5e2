"""How everything stands, in one look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.daemon import show_live
from syncd.cli.exits import Exit
from syncd.cli.invocation import Invocation, lasting

if TYPE_CHECKING:
    from syncd.app import App

CODES = {
    "converged": Exit.DONE,
    "broken": Exit.BROKEN,
    "overdue": Exit.OVERDUE,
    "unreachable": Exit.UNREACHABLE,
    "waits": Exit.WAITS,
    "pending": Exit.PENDING,
}

COLUMNS = ("name", "provider", "state", "last_good_read", "outbox", "parked", "held")

OPEN = ("due", "look_ups", "deliveries", "claims", "reachable", "ambiguous", "overdue")


def declare(app: typer.Typer) -> None:
    command(app, "status")(status)


def status(
    call: Invocation,
    live: Annotated[bool, typer.Option("--live", help="What the daemon does right now, again and again.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.05, max=3600, help="With --live: how often.")] = 1.0,
    times: Annotated[int, typer.Option(min=0, help="With --live: how many times; 0 until you stop it.")] = 0,
) -> int:
    """Say how each account stands, what is open, and whether everything is in agreement."""
    call.log(level="WARNING", as_json=False)
    if live:
        return show_live(call, every_s=every, times=times)

    def looking(app: App) -> int:
        from syncd.sync.standing import standing

        intervals = {name: call.settings.schedule_of(name).interval for name in call.settings.accounts}
        verdict, shown = standing(app.context, intervals)
        if call.json:
            call.show(shown)
        else:
            _show(call, shown)
        return CODES[verdict.condition]

    return call.with_app(looking)


def _show(call: Invocation, shown: dict[str, Any]) -> None:
    from syncd.sync.standing import next_step

    call.table(COLUMNS, [[account[column] for column in COLUMNS] for account in shown["accounts"]])
    for account in shown["accounts"]:
        if account["reason"]:
            hint = f" ({account['hint']})" if account["hint"] else ""
            call.write(f"{account['name']}: {account['reason']}{hint}")
        elif account["stale"]:
            call.write(f"{account['name']}: no good read within three intervals (syncd sync {account['name']})")
    for account in shown["accounts"]:
        if account["protected"]:
            said = "nothing but unsubscribes goes out"
            call.write(f"{account['name']}: protected ({account['protected_why']}): {said} ({account['leave']})")
    for entry in shown["dark"]:
        where = f"{entry['account']}, {entry['what']} {entry['name'] or entry['id']}"
        call.write(
            f"{where}: {entry['dark']} dark opt-outs, counted there and known to nobody (since {entry['since']})"
        )
    grades = ", ".join(f"{number} {grade}" for grade, number in shown["grades"].items())
    call.write(f"records: {grades}")
    open_work = ", ".join(f"{shown[name]} {name.replace('_', '-')}" for name in OPEN if shown[name])
    call.write(f"open: {open_work or 'nothing else'}")
    _show_unsubscribes(call, shown["unsubscribes"])
    if shown["by_hand"]:
        said = "said no, and stand where no interface takes a no"
        call.write(f"by hand: {shown['by_hand']} {said} (syncd inspect drift)")
    for entry in shown["breach"]:
        call.write(f"broken since {entry['since']}: {entry['invariant']}, {entry['count']}; only unsubscribes are sent")
    call.write(f"daemon: {shown['daemon'] or 'none runs'}; schema {shown['schema']}")
    call.write(
        "converged" if shown["converged"] else f"not converged: {shown['condition']}, distance {shown['distance']}"
    )
    call.say(f"next: {next_step(shown)}")


TARGETS = ("account", "provider", "verified", "accepted", "assumed", "unknown", "slowest_s", "receipt")


def _show_unsubscribes(call: Invocation, shown: dict[str, Any]) -> None:
    """How those of late have arrived, and which of the open ones is due first."""
    within = lasting(shown["within_s"])
    if shown["refused"]:
        call.write(f"unsubscribes: {shown['refused']} refused by the provider, and tried again (syncd inspect parked)")
    if shown["targets"]:
        title = f"unsubscribes of the last {within}, by how well they are known to have arrived"
        call.table(TARGETS, [[target[name] for name in TARGETS] for target in shown["targets"]], title)
    if (worst := shown["worst"]) is not None:
        left = worst["time_left_s"]
        when = f"{lasting(left)} left" if left >= 0 else f"overdue for {lasting(-left)}"
        place = f"{worst['account']}, {worst['remote_list']}"
        call.write(f"unsubscribes: {shown['open']} not accepted yet; the first is due at {place}: {when} of {within}")
