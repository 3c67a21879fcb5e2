"""From numbers to a verdict: each thing that is open counts, and the worst of them names the condition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.reconcile.convergence import AccountStanding, Condition, Standing, judge

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PARTS = ("operations", "due", "look_ups", "deliveries", "held", "claims", "reachable", "ambiguous")


def account(state: str = "ok", *, age_s: float | None = 60, interval_s: float = 300) -> AccountStanding:
    read = None if age_s is None else NOW - timedelta(seconds=age_s)
    return AccountStanding("crm", state, read, interval_s)


def verdict(state: str = "ok", *, age_s: float | None = 60, **parts: Any) -> Any:
    return judge(Standing([account(state, age_s=age_s)], **parts), NOW)


@pytest.mark.parametrize(
    ("given_", "condition", "distance"),
    [
        ({}, Condition.CONVERGED, 0),
        ({"operations": 2}, Condition.PENDING, 2),
        ({"due": 1}, Condition.PENDING, 1),
        ({"look_ups": 3}, Condition.PENDING, 3),
        ({"deliveries": 1}, Condition.PENDING, 1),
        ({"reachable": 4}, Condition.PENDING, 4),
        ({"held": 5}, Condition.WAITS, 5),
        ({"claims": 1}, Condition.WAITS, 1),
        ({"ambiguous": 1}, Condition.WAITS, 1),
        ({"held": 1, "operations": 1}, Condition.WAITS, 2),
        ({"age_s": None}, Condition.PENDING, 1),
        ({"age_s": 901}, Condition.PENDING, 1),
        ({"age_s": 900}, Condition.CONVERGED, 0),
        ({"state": "paused"}, Condition.CONVERGED, 0),
        ({"state": "paused", "age_s": 901}, Condition.WAITS, 1),
        ({"state": "failing"}, Condition.UNREACHABLE, 0),
        ({"state": "quarantined", "held": 1}, Condition.UNREACHABLE, 1),
        ({"overdue": 1, "operations": 1}, Condition.OVERDUE, 1),
        ({"broken": 1}, Condition.BROKEN, 0),
        ({"broken": 1, "overdue": 1, "state": "failing", "held": 1}, Condition.BROKEN, 1),
        ({"overdue": 1, "state": "quarantined", "held": 1, "operations": 1}, Condition.OVERDUE, 2),
    ],
)
def test_what_is_open_decides(given_: dict[str, Any], condition: Condition, distance: int) -> None:
    found = verdict(**given_)
    assert (found.condition, found.distance) == (condition, distance)
    assert found.converged == (condition is Condition.CONVERGED)


def test_an_account_that_was_not_read_lately_is_named() -> None:
    fresh, old = account(), AccountStanding("mail", "ok", NOW - timedelta(hours=1), 300)
    assert judge(Standing([fresh, old]), NOW).stale == ("mail",)


@given(
    st.fixed_dictionaries({part: st.integers(0, 3) for part in (*PARTS, "overdue")}), st.sampled_from(["ok", "failing"])
)
def test_converged_exactly_when_nothing_is_open_and_nothing_fails(parts: dict[str, int], state: str) -> None:
    found = verdict(state, **parts)
    assert found.converged == (state == "ok" and not any(parts.values()))
    assert found.distance == sum(parts[part] for part in PARTS)
