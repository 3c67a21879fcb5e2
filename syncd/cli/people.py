"""One person: why they stand where they do, their "no" and their "yes"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit
from syncd.cli.inspect import Email, address, shown_erased, unknown
from syncd.cli.invocation import Invocation, require_known

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.domain.consent import Scope
    from syncd.settings import Settings

EVERYTHING = "global"


def declare(app: typer.Typer) -> None:
    command(app, "explain")(explain)
    command(app, "unsubscribe")(unsubscribe)
    command(app, "resubscribe")(resubscribe)


def explain(call: Invocation, email: Email) -> int:
    """Say why a person stands as they do at each provider: evidence, rule, call, answer."""
    identity = address(email)
    call.log(level="WARNING", as_json=False)

    def explaining(app: App) -> int:
        from syncd.sync.explain import explain as facts_about

        if shown_erased(call, app, identity):
            return Exit.DONE
        found = facts_about(app.context, identity)
        if found is None:
            return unknown(call, identity)
        if call.json:
            call.show(found)
            return Exit.DONE
        call.write(found["email"])
        for sentence in found["sentences"]:
            call.write(f"  {sentence}")
        for account in found["accounts"]:
            call.write(f"{account['account']} ({account['provider']})")
            for sentence in account["sentences"]:
                call.write(f"  {sentence}")
        return Exit.DONE

    return call.with_app(explaining)


def unsubscribe(
    call: Invocation,
    email: Email,
    list_name: Annotated[
        str | None, typer.Option("--list", metavar="NAME", help="From this list; else from all.")
    ] = None,
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="How the person said so.")] = "syncd unsubscribe",
    no_push: Annotated[bool, typer.Option("--no-push", help="Only write it down; the next round sends it.")] = False,
) -> int:
    """Take down a person's "no" and send it everywhere. It is kept whatever happens next."""
    scope = scope_of(call.settings, list_name)
    call.log(level="WARNING", as_json=False)

    async def recording(app: App) -> int:
        from syncd.cli.rounds import code_of_round, open_work, show_round
        from syncd.store import journal
        from syncd.store.session import reading
        from syncd.sync.ingest import unsubscribe as record

        identity = record(app.context, email, scope, source="operator", evidence=evidence)
        taken = not no_push and app.take()
        outcome = {**await sent(app), **open_work(app)} if taken else None
        with reading(app.engine) as connection:
            daemon = None if taken else journal.holding(connection, app.outside.now())
        shown: dict[str, Any] = {
            "email": str(identity),
            "scope": str(scope),
            "list": list_name,
            "recorded": True,
            "round": outcome,
            "daemon": daemon,
            "next": f"syncd explain {identity}" if taken or daemon else "syncd sync",
        }
        if call.json:
            call.show(shown)
        else:
            call.write(f"recorded: {identity} said no to {'everything' if scope == EVERYTHING else scope}")
            if outcome is not None:
                show_round(call, outcome)
            call.say(f"{daemon} sends it; next: {shown['next']}" if daemon else f"next: {shown['next']}")
        # What waits for a person elsewhere does not concern this one.
        failed = (
            code_of_round({**outcome, "held": 0, "claims": 0, "paused": []}, list(app.context.lanes))
            if outcome
            else None
        )
        return failed or Exit.DONE

    return call.work(recording)


async def sent(app: App) -> dict[str, Any]:
    """One round without reading first: only what has come in since."""
    from syncd.cli.rounds import held
    from syncd.sync.cycle import run_round
    from syncd.sync.outcome import outcome_of

    async with held(app):
        return outcome_of(await run_round(app.context, pull_first=False))


def resubscribe(
    call: Invocation,
    email: Email,
    list_name: Annotated[
        str, typer.Option("--list", metavar="NAME", help="To this list, or `global`: to what is not named.")
    ],
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="How, where and when the person said so.")],
) -> int:
    """Take down a person's own new "yes". It ends their "no" to one scope; any other stays."""
    scope = scope_of(call.settings, None if list_name == EVERYTHING else list_name)
    call.log(level="WARNING", as_json=False)

    def recording(app: App) -> int:
        from syncd.sync.approve import grant

        granted = grant(app.context, email, scope, evidence=evidence)
        if call.json:
            call.show(
                {
                    "email": str(granted.identity),
                    "scope": str(scope),
                    "list": list_name,
                    "recorded": True,
                    "claims": granted.claims,
                    "still_global": granted.still_global,
                    "next": "syncd sync",
                }
            )
        else:
            call.write(f"recorded: {granted.identity} said yes to {scope}; {granted.claims} claims granted")
            if granted.still_global:
                call.write("but their no to everything stands, and is stronger: syncd resubscribe EMAIL --list global")
            call.say(f"next: syncd explain {granted.identity}")
        return Exit.DONE

    return call.with_app(recording)


def scope_of(settings: Settings, list_name: str | None) -> Scope:
    """What a list of ours is under; everything, where none is named."""
    from syncd.domain.consent import GLOBAL, Scope

    if list_name is None:
        return GLOBAL
    require_known("list", list_name, settings.lists)
    return Scope(settings.lists[list_name].scope)
