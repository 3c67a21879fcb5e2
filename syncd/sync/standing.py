"""How everything stands, as plain values: what `syncd status` prints."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from syncd.domain.changes import ChangeKind
from syncd.reconcile.convergence import IN_TROUBLE, AccountStanding, Standing, Verdict, judge
from syncd.store import dark, inspect, journal, ledger
from syncd.store.session import known_head, reading
from syncd.sync.check import broken_as_shown
from syncd.sync.context import Context

LEAVE = "syncd plan, then syncd approve PLAN; it ends by itself where nothing waits"
"""How an account leaves protected mode."""


def _protection(row: Any, context: Context) -> dict[str, Any]:
    """Whether nothing but unsubscribes goes out to an account, why, and how that ends."""
    why = row.protected or ("first contact" if not row.joined and context.policy.hold_first_contact else "")
    return {"protected": bool(why), "protected_why": why, "leave": LEAVE if why else ""}


def _next_round(row: Any, interval_s: float) -> datetime | None:
    """By when an account is to be read again, if a daemon runs; None of one that is paused or was never read."""
    if row.state == "paused" or row.last_attempt is None:
        return None
    due: datetime = row.last_attempt + timedelta(seconds=interval_s)
    return due if row.held_until is None else max(due, row.held_until)


def next_step(shown: Mapping[str, Any]) -> str:
    """What an operator does first about how everything stands."""
    match shown["condition"]:
        case "converged":
            return "nothing to do"
        case "broken":
            return "syncd check --full"
        case "overdue":
            return "syncd inspect propagation --overdue"
        case "unreachable":
            names = [a["name"] for a in shown["accounts"] if a["state"] in IN_TROUBLE]
            return f"syncd account check {names[0]}"
        case "waits" if shown["unsubscribes"]["refused"]:
            return "syncd inspect parked"
        case "waits":
            return "syncd plan"
        case _:
            return "syncd sync, unless the daemon runs"


def standing(context: Context, intervals: Mapping[str, float]) -> tuple[Verdict, dict[str, Any]]:
    """The verdict, and everything it rests on. `intervals`: for each account, how often a round begins, in seconds."""
    now = context.now()
    lanes = context.lanes  # once: the daemon asks from a thread, and a reload exchanges them meanwhile
    names = [name for name in lanes if name in intervals]
    with reading(context.engine) as connection:
        rows = {row.name: row for row in journal.load_accounts(connection)}
        takes_noes = [n for n in names if ChangeKind.UNSUBSCRIBE in lanes[n].capabilities.accepts]
        counted = inspect.counts(connection, names, now, takes_noes)
        unsubscribes = ledger.underway(connection, names, now, timedelta(seconds=context.policy.unsubscribe_within_s))
        daemon = journal.holding(connection, now)
        broken = journal.broken(connection)
        unseen = dark.load_dark(connection, names)
    accounts = [AccountStanding(name, rows[name].state, rows[name].last_good_read, intervals[name]) for name in names]
    held = sum(counted.open.held.values())
    parts = Standing(
        accounts=accounts,
        operations=sum(counted.open.operations.values()),
        due=counted.open.due,
        look_ups=counted.open.look_ups,
        deliveries=counted.open.deliveries,
        held=held,
        claims=counted.open.claims,
        reachable=counted.reachable,
        ambiguous=counted.ambiguous,
        overdue=unsubscribes.overdue,
        refused=unsubscribes.refused,
        broken=len(broken),
    )
    verdict = judge(parts, now)
    reads = [account.last_good_read for account in accounts]
    return verdict, {
        "converged": verdict.converged,
        "condition": verdict.condition.value,
        "distance": verdict.distance,
        "accounts": [
            {
                "name": name,
                "provider": rows[name].provider,
                "state": rows[name].state,
                "reason": rows[name].reason,
                "hint": rows[name].hint,
                "last_good_read": inspect.shown_time(rows[name].last_good_read),
                "next_round": inspect.shown_time(_next_round(rows[name], intervals[name])),
                "stale": name in verdict.stale,
                "first_contact": not rows[name].joined,
                **_protection(rows[name], context),
                "outbox": counted.open.operations.get(name, 0),
                "parked": counted.parked.get(name, 0),
                "held": counted.open.held.get(name, 0),
            }
            for name in names
        ],
        "grades": dict(counted.grades),
        "held": held,
        "claims": counted.open.claims,
        "look_ups": counted.open.look_ups,
        "due": counted.open.due,
        "deliveries": counted.open.deliveries,
        "reachable": counted.reachable,
        "by_hand": counted.by_hand,
        "overdue": unsubscribes.overdue,
        "unsubscribes": {
            "within_s": context.policy.unsubscribe_within_s,
            "open": unsubscribes.open,
            "overdue": unsubscribes.overdue,
            "refused": unsubscribes.refused,
            "worst": unsubscribes.worst,
            "targets": unsubscribes.targets,
        },
        "breach": broken_as_shown(broken),
        "ambiguous": counted.ambiguous,
        "dark": [
            {
                "account": row.account,
                "what": row.what,
                "id": row.id,
                "name": row.name,
                "dark": row.dark,
                "since": inspect.shown_time(row.since),
            }
            for row in unseen
        ],
        "oldest_read": None if None in reads else inspect.shown_time(min((at for at in reads if at), default=None)),
        "schema": known_head(),
        "daemon": daemon,
    }
