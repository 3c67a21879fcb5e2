"""Rounds and what they would do: run, sync, plan, approve, reject."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncd.cli.command import command
from syncd.cli.exits import Exit, PendingError
from syncd.cli.invocation import Invocation
from syncd.domain.errors import MirrorError, SyncdError

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.sync.approve import Decided
    from syncd.sync.context import Context
    from syncd.sync.plan import Planned

PLAN_ID = re.compile(r"[0-9a-f]{12}")
"""What the id of a plan looks like."""

POLL_S = 0.2
RENEW_S = 20.0
"""A third of the time for which the mirror is held without renewing."""

COLUMNS = ("account", "result", "pulled", "new", "changed", "looked up", "sent", "accepted", "parked")


def declare(app: typer.Typer) -> None:
    command(app, "run")(run)
    command(app, "sync")(sync)
    command(app, "plan")(plan)
    command(app, "approve")(approve)
    command(app, "reject")(reject)


Accounts = Annotated[list[str] | None, typer.Argument(metavar="ACCOUNT", help="All accounts if none is named.")]


# The daemon ----------------------------------------------------------------------------------------------------------


def run(call: Invocation) -> int:
    """Run the daemon in the foreground: scheduler, receiver and push. For systemd."""
    call.log(level="INFO", as_json=not sys.stderr.isatty())

    async def serving(app: App) -> int:
        from syncd.daemon import run_until_signalled

        await run_until_signalled(app, ready=lambda address: call.say(f"ready; status page and receiver: {address}"))
        return Exit.DONE

    return call.work(serving)


# A round now ---------------------------------------------------------------------------------------------------------


def sync(
    call: Invocation,
    accounts: Accounts = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again, also where changes would do.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent: the same as `plan`.")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for a running daemon.")] = 600.0,
) -> int:
    """Run one round now: pull, plan, push. Through the running daemon if there is one."""
    chosen = call.accounts(accounts or [])
    if dry_run:
        return plan(call, accounts)
    call.log(level="WARNING", as_json=False)

    async def working(app: App) -> int:
        outcome = await a_round(call, app, chosen, full=full, timeout_s=timeout)
        outcome |= open_work(app)
        if call.json:
            call.show(outcome)
        else:
            show_round(call, outcome)
            call.say(f"next: {_next_after(outcome)}")
        return code_of_round(outcome, chosen or list(app.context.lanes))

    return call.work(working)


async def a_round(
    call: Invocation, app: App, accounts: Sequence[str], *, full: bool, timeout_s: float
) -> dict[str, Any]:
    """One round, here or by the process that holds the mirror, as plain values."""
    from syncd.sync.cycle import run_round
    from syncd.sync.outcome import outcome_of

    if not app.take():
        return await asked_of_daemon(call, app, accounts, full=full, timeout_s=timeout_s)
    async with held(app):
        with progress(call, app.context):
            return {**outcome_of(await run_round(app.context, accounts, full=full)), "by": "this command"}


async def asked_of_daemon(
    call: Invocation, app: App, accounts: Sequence[str], *, full: bool, timeout_s: float
) -> dict[str, Any]:
    """Let the process that holds the mirror do it and wait for its answer, by its control socket or by the mirror."""
    from syncd.control import Conversation, NobodyThereError, mirror_of, place_to_ask
    from syncd.store import journal
    from syncd.store.session import reading, writing

    daemon = Conversation(place_to_ask(app.settings), mirror_of(app.settings))
    try:
        async with daemon:
            call.say(f"{daemon.who} works on this mirror: asked it for the round")
            async with asyncio.timeout(timeout_s):
                return {**await daemon.ask("sync", accounts=list(accounts), full=full), "by": daemon.who}
    except TimeoutError:
        raise PendingError(
            f"{daemon.who} did not answer within {timeout_s:g} s; the round goes on", hint="syncd status --live"
        ) from None
    except NobodyThereError:
        pass  # one without a control socket reads what is asked for in the mirror
    now, wake_id = app.outside.now(), app.outside.new_id()
    with writing(app.engine) as connection:
        who = journal.holding(connection, now) or "another process"
        journal.ask_for_round(connection, wake_id, accounts, full, now)
    call.say(f"{who} works on this mirror: asked it for the round")
    deadline = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline:
        with reading(app.engine) as connection:
            outcome = journal.round_outcome(connection, wake_id)
        if outcome is not None and "error" in outcome:
            raise SyncdError(f"{who}: {outcome['error']}", hint="syncd status")
        if outcome is not None:
            return {**outcome, "by": who}
        await asyncio.sleep(POLL_S)
    raise PendingError(
        f"{who} did not answer within {timeout_s:g} s; the round is still asked for", hint="syncd status"
    )


@contextlib.asynccontextmanager
async def held(app: App) -> AsyncIterator[None]:
    """Go on holding the mirror for as long as the work takes; stop it if another process has taken over."""
    working = asyncio.current_task()
    lost = False

    async def renew() -> None:
        nonlocal lost
        while True:
            await asyncio.sleep(RENEW_S)
            if not app.keep():
                lost = True
                assert working is not None
                working.cancel()
                return

    renewing = asyncio.create_task(renew())
    try:
        yield
    except asyncio.CancelledError:
        if not lost:
            raise
        raise MirrorError("another process has taken over this mirror", hint="syncd status") from None
    finally:
        renewing.cancel()


@contextlib.contextmanager
def progress(call: Invocation, context: Context) -> Any:
    """Bars for a person who looks on; nothing for anybody else."""
    if not call.err.is_terminal or call.quiet:
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        console=call.err,
        transient=True,
    ) as bars:
        tasks: dict[tuple[str, str], Any] = {}

        def note(account: str, what: str, done: int, total: int | None) -> None:
            if (account, what) not in tasks:
                tasks[account, what] = bars.add_task(f"{account}: {what}", total=total)
            bars.update(tasks[account, what], completed=done, total=total)

        before, context.progress = context.progress, note
        try:
            yield
        finally:
            context.progress = before


def open_work(app: App) -> dict[str, Any]:
    """What is left after a round, and who must do something about it."""
    from syncd.store import inspect, journal, plans
    from syncd.store.session import reading
    from syncd.sync.check import broken_as_shown

    names, now = list(app.context.lanes), app.outside.now()
    with reading(app.engine) as connection:
        counted = inspect.open_work(connection, names, now)
        waiting = [_plan_row(row) for row in plans.load_plans(connection) if row.account in names]
        broken = broken_as_shown(journal.broken(connection))
        paused = [row.name for row in journal.load_accounts(connection) if row.state == "paused" and row.name in names]
    return {
        "held": sum(counted.held.values()),
        "plans": waiting,
        "claims": counted.claims,
        "breach": broken,
        "paused": paused,
        "pending": {"outbox": sum(counted.operations.values()), "look_ups": counted.look_ups, "due": counted.due},
    }


def _plan_row(row: Any) -> dict[str, Any]:
    from syncd.store.inspect import shown_time

    return {
        "id": row.id,
        "account": row.account,
        "remote_list": row.container,
        "kind": row.kind,
        "hold": row.hold,
        "count": row.count,
        "reason": row.reason,
        "created_at": shown_time(row.created_at),
        "release_at": shown_time(row.release_at),
        "approve": f"syncd approve {row.id}",
    }


def code_of_round(outcome: dict[str, Any], chosen: Sequence[str]) -> Exit:
    """An invariant is broken, all accounts failed, some did, something waits for a person, is left, or all is well."""
    if outcome["breach"]:
        return Exit.BROKEN
    failed = {entry["account"] for entry in outcome.get("accounts", []) if entry.get("result") == "failed"}
    if failed and failed >= set(chosen):
        return Exit.UNREACHABLE
    if failed:
        return Exit.PENDING
    if outcome["held"] or outcome["claims"] or set(outcome["paused"]) & set(chosen):
        return Exit.WAITS
    return Exit.PENDING if any(outcome["pending"].values()) else Exit.DONE


def show_round(call: Invocation, outcome: dict[str, Any]) -> None:
    accounts = outcome.get("accounts", [])
    keys = [column.replace(" ", "_") for column in COLUMNS]
    call.table(COLUMNS, [[entry.get(key) for key in keys] for entry in accounts])
    for entry in accounts:
        if entry.get("reason"):
            hint = f" ({entry['hint']})" if entry.get("hint") else ""
            call.write(f"{entry['account']}: {entry['reason']}{hint}")
    for sentence, number in outcome.get("by_hand", {}).items():
        call.write(f"by hand, {number}: {sentence}")
    for entry in outcome["breach"]:
        call.write(f"broken since {entry['since']}: {entry['invariant']}; only unsubscribes are sent")
    pending = outcome["pending"]
    call.write(
        f"planned {outcome.get('planned', 0)}, held {outcome['held']}, claims {outcome['claims']}; "
        f"left: {pending['outbox']} in the outbox, {pending['look_ups']} to ask about"
    )
    _show_plans(call, outcome["plans"])


def _next_after(outcome: dict[str, Any]) -> str:
    if outcome["breach"]:
        return "syncd check --full"
    if outcome["plans"]:
        return "syncd plan --people, then syncd approve PLAN"
    if outcome["claims"]:
        return "syncd plan"
    return "syncd status"


# What a round would do -----------------------------------------------------------------------------------------------


def plan(
    call: Invocation,
    accounts: Annotated[
        list[str] | None, typer.Argument(metavar="ACCOUNT|PLAN", help="All accounts if none is named.")
    ] = None,
    people: Annotated[bool, typer.Option("--people", help="Name everybody concerned, and why.")] = False,
) -> int:
    """Say what a round would send, to whom and why, and what waits. Sends nothing and writes nothing.

    With the id of a plan that waits: who is in it, and why.
    """
    if accounts and len(accounts) == 1 and PLAN_ID.fullmatch(accounts[0]) and accounts[0] not in call.settings.accounts:
        return held_plan(call, accounts[0])
    chosen = call.accounts(accounts or [])
    call.log(level="WARNING", as_json=False)

    def rehearsing(app: App) -> int:
        from syncd.sync.plan import rehearse

        names = chosen or list(app.context.lanes)
        planned = rehearse(app.context)
        shown = _planned(app, planned, names)
        if call.json:
            call.show(shown)
        else:
            _show_planned(call, shown, people=people)
        waits = shown["plans"] or shown["claims"] or any(entry["held"] for entry in shown["accounts"])
        return Exit.WAITS if waits else Exit.DONE

    return call.with_app(rehearsing)


def held_plan(call: Invocation, plan_id: Annotated[str, typer.Argument(metavar="PLAN")]) -> int:
    """Show one plan that waits: everybody in it, what would be sent, and why."""
    call.log(level="WARNING", as_json=False)

    def looking(app: App) -> int:
        from syncd.sync.approve import look_at

        row, items = look_at(app.context, plan_id)
        shown = _plan_row(row) | {
            "people": [
                {"email": item.identity, "fields": dict(item.fields), "why": item.why, "since": _at(item.created_at)}
                for item in items
            ]
        }
        if call.json:
            call.show(shown)
        else:
            _show_plans(call, [shown])
            _rows(call, ("email", "fields", "why", "since"), shown["people"])
            call.say(f"next: {shown['approve']}, or syncd reject {row.id}")
        return Exit.WAITS

    return call.with_app(looking)


def _at(moment: Any) -> str | None:
    from syncd.store.inspect import shown_time

    return shown_time(moment)


def _planned(app: App, planned: Planned, names: Sequence[str]) -> dict[str, Any]:
    from syncd.store import plans
    from syncd.store.session import reading

    with reading(app.engine) as connection:
        waiting = [_plan_row(row) for row in plans.load_plans(connection) if row.account in names]
        claims = [_claim_row(row) for row in plans.open_claims(connection) if row.account in names]
    go = [(wish, "") for wish in planned.wishes]
    everybody = [*go, *((held.desired, held.hold.value) for held in planned.waiting)]
    return {
        "accounts": [_account_plan(app, name, everybody) for name in names],
        "people": [_person(wish, hold) for wish, hold in everybody if wish.account in names],
        "look_ups": planned.look_ups,
        "by_hand": dict(planned.by_hand),
        "plans": waiting,
        "claims": claims,
    }


def _claim_row(row: Any) -> dict[str, Any]:
    from syncd.store.inspect import shown_time

    return {
        "id": row.id,
        "account": row.account,
        "remote_list": row.container,
        "email": row.identity,
        "scope": row.scope,
        "seen_at": shown_time(row.seen_at),
        "reject": f"syncd reject {row.id}",
    }


def _account_plan(app: App, name: str, everybody: Iterable[tuple[Any, str]]) -> dict[str, Any]:
    mine = [(wish, hold) for wish, hold in everybody if wish.account == name]
    go = Counter(wish.change.kind.value for wish, hold in mine if not hold)
    held = Counter(hold for _, hold in mine if hold)
    kinds = ("subscribe", "update", "unsubscribe")
    provider = app.context.lanes[name].provider_name
    return {"account": name, "provider": provider, **{kind: go[kind] for kind in kinds}, "held": dict(held)}


def _person(wish: Any, hold: str) -> dict[str, Any]:
    return {
        "email": str(wish.change.identity),
        "account": wish.account,
        "remote_list": str(wish.change.container),
        "lists": list(wish.lists),
        "kind": wish.change.kind.value,
        "fields": dict(wish.change.fields),
        "why": wish.why.value,
        "held": hold or None,
    }


def _show_planned(call: Invocation, shown: dict[str, Any], *, people: bool) -> None:
    _rows(call, ("account", "subscribe", "update", "unsubscribe", "held"), shown["accounts"])
    if people:
        _rows(call, ("email", "account", "remote_list", "kind", "held", "why"), shown["people"])
    for sentence, number in shown["by_hand"].items():
        call.write(f"by hand, {number}: {sentence}")
    _show_plans(call, shown["plans"])
    if shown["claims"]:
        title = "Said no and read subscribed again: syncd reject ID, or syncd resubscribe"
        _rows(call, ("id", "account", "remote_list", "email", "scope", "seen_at"), shown["claims"], title)
    call.say("next: syncd approve PLAN" if shown["plans"] else "next: syncd sync")


def _rows(call: Invocation, columns: Sequence[str], rows: Sequence[dict[str, Any]], title: str = "") -> None:
    call.table(columns, [[row[column] for column in columns] for row in rows], title=title)


def _show_plans(call: Invocation, waiting: Sequence[dict[str, Any]]) -> None:
    if waiting:
        columns = ("id", "account", "remote_list", "kind", "hold", "count", "reason", "release_at")
        _rows(call, columns, waiting, title="Waiting: syncd approve ID")


# Decisions -----------------------------------------------------------------------------------------------------------

Plans = Annotated[list[str], typer.Argument(metavar="PLAN", help="Ids as `syncd plan` shows them.")]


def approve(call: Invocation, plans: Plans) -> int:
    """Let held plans go, exactly as they were shown. They are sent with the next round."""
    return _decide(call, plans, "approved")


def reject(call: Invocation, plans: Plans) -> int:
    """Drop held plans, or claims: then a "no" stands as it was said."""
    return _decide(call, plans, "rejected")


def _decide(call: Invocation, ids: Sequence[str], state: str) -> int:
    call.log(level="WARNING", as_json=False)

    def deciding(app: App) -> int:
        from syncd.sync.approve import approve as let_go
        from syncd.sync.approve import reject as drop

        decided: list[Decided] = []
        refused: list[SyncdError] = []
        for plan_id in dict.fromkeys(ids):
            try:
                decided.append(let_go(app.context, plan_id) if state == "approved" else drop(app.context, plan_id))
            except SyncdError as error:
                refused.append(error)
        if call.json and not refused:
            call.show({state: [asdict(one) for one in decided]})
        elif not call.json:
            for one in decided:
                call.write(f"{state} {one.id}: {one.count} {one.kind} at {one.account}, {one.remote_list} ({one.hold})")
        for refusal in refused:
            _show_moved(call, refusal)
        for earlier in refused[:-1]:
            call.say(f"error: {earlier.message}")
        if refused:
            raise refused[-1]
        call.say("next: syncd sync, unless the daemon runs")
        return Exit.DONE

    return call.with_app(deciding)


def _show_moved(call: Invocation, error: SyncdError) -> None:
    """Who is other than in the plan that was to be decided about: for the person at the terminal, and no log."""
    moved = getattr(error, "moved", ())
    if moved and not call.json:
        _rows(call, ("what", "email", "account", "remote_list", "kind"), moved, title="Moved since it was shown")
