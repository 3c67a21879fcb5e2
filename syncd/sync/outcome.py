"""A round as plain values: what the daemon writes down for whoever asked, and what the command prints."""

from __future__ import annotations

from typing import Any

from syncd.sync.cycle import AccountOutcome, Round


def outcome_of(done: Round) -> dict[str, Any]:
    """What a round did, account by account and in all."""
    return {
        "accounts": [_account(outcome) for outcome in done.accounts.values()],
        "planned": done.planned.put,
        "learnt": done.planned.learnt,
        "by_hand": dict(done.planned.by_hand),
        "deliveries": done.deliveries,
        "passes": done.passes,
    }


def _account(outcome: AccountOutcome) -> dict[str, Any]:
    return {
        "account": outcome.name,
        "provider": outcome.provider,
        "result": outcome.result,
        "reason": outcome.reason,
        "hint": outcome.hint,
        "pulled": outcome.pulled.rows,
        **{name: getattr(outcome.pulled, name) for name in ("new", "changed", "looked_up")},
        **{name: getattr(outcome.pushed, name) for name in ("sent", "accepted", "parked", "unknown", "postponed")},
    }
