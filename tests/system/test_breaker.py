"""An account that gives no answer is left alone for a while, and nobody else notices."""

from __future__ import annotations

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from syncd.sync.ingest import unsubscribe
from tests.scenes import LEFT, account, agreed, calls, command, configured, last_run, marks, standing

BREAKER = configured(push="breaker_after = 3\nbackoff = '30s'\nbreaker_max = '1m'")


def is_away(world, rounds: int) -> str:
    """Somebody says no while Sales.Rocks is away."""
    (email,) = agreed(world)
    world.sales.faults.append(Fault(FaultKind.NO_CONNECTION, times=10**6))
    unsubscribe(world.app.context, email, source="operator", evidence="by phone")
    for _ in range(rounds):
        world.round()
    return email


def called(world) -> int:
    """How often Sales.Rocks was called."""
    return int(10**6 - world.sales.faults[0].times)


@pytest.mark.parametrize("how", ["time passes", "a person says so", "a restart changes nothing"])
def test_who_gave_no_answer_so_often_is_left_alone_until(open_small_world, how):
    world = open_small_world(config=BREAKER)
    email = is_away(world, 3)
    assert account(world, "sales")["failures"] >= 3
    tried = called(world)
    for _ in range(3):
        world.round()
    assert called(world) == tried, "nobody calls it"
    assert "left alone until" in last_run(world, "sales")["reason"]
    assert standing(world, email) == LEFT | {"sales": ["listed"]}, "and nobody waits for it"
    if how == "time passes":
        world.wait(31)
    elif how == "a person says so":
        assert command(world, "account", "resume", "sales").code == 0
    else:
        world.restart()
        world.round()
        assert called(world) == tried
        return
    world.round()
    assert called(world) > tried
    world.sales.faults.clear()
    world.wait(61)
    world.settle(2)
    assert standing(world, email) == LEFT
    assert (account(world, "sales")["state"], account(world, "sales")["failures"]) == ("ok", 0)


def test_a_paused_account_is_not_sent_what_became_due_meanwhile(open_small_world):
    world = open_small_world()
    (email,) = agreed(world)
    assert command(world, "account", "pause", "sales").code == 0
    unsubscribe(world.app.context, email, source="operator", evidence="by phone")
    before = marks(world)
    world.settle(3)
    assert calls(world, before)["salesrocks"] == []
    assert standing(world, email) == LEFT | {"sales": ["listed"]}
