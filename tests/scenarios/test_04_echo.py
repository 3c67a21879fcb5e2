"""4: what we pushed comes back by listings, feeds and notices, and is nobody's news."""

from __future__ import annotations

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Scope
from syncd.sync.ingest import unsubscribe
from tests.scenes import LEFT, agreed, command, explained, marks, notices, operations, standing, values, written


@pytest.mark.parametrize("scope", ["newsletter", GLOBAL])
def test_04_pushes_of_our_own_that_come_back_plan_nothing_and_start_no_loop(open_world, scope):
    world = open_world()
    world.rocs.echo = True
    # At Rokt a no is one to everything, so that one to a list which came back from there would be more than was said.
    world.rokt.echoes_imports = scope == GLOBAL
    (email,) = agreed(world)
    notices(world)
    before = marks(world)
    unsubscribe(world.app.context, email, Scope(scope), source="operator", evidence="by phone")
    world.round()
    assert standing(world, email) == LEFT
    pushed = written(world, before)
    assert len(pushed) == (4 if scope == "newsletter" else 5), "one for each record, of which ROCS has two"
    assert {name for name, _, _ in pushed} == {"rocketresponder", "rocs", "rokt", "salesrocks"}
    echoes = sum(len(emulator.outgoing) for emulator in world.emulators.values())
    assert echoes >= (2 if scope == "newsletter" else 3), "they tell us of what we did ourselves"
    ops, events = values(world, "op"), values(world, "consent_event")
    for _ in range(3):
        world.wait(60)
        done = world.round(full=True)
        assert (done.planned.put, done.planned.learnt, done.planned.claims) == (0, 0, 0)
        assert done.passes <= 2, "the second finds that nothing moved"
    assert not any(emulator.outgoing for emulator in world.emulators.values())
    assert (values(world, "op"), values(world, "consent_event")) == (ops, events)
    assert written(world, before) == pushed
    plan = command(world, "plan", "--json").data
    assert plan["people"] == plan["plans"] == plan["claims"] == []
    assert {sum(account[kind] for kind in ChangeKind) for account in plan["accounts"]} == {0}
    # The history: one change at each provider, made by us, because of the one word of the person's.
    (event,) = world.rows("SELECT source, scope FROM consent_event")
    assert (event["source"], event["scope"]) == ("operator", scope)
    for name, told in explained(world, email).items():
        sent = [row for row in told["sent"] if row["kind"] == "unsubscribe"]
        assert len({row["container"] for row in sent}) == len(sent) > 0
        assert {row["state"] for row in sent} == {"done" if name == "leads" else "verified"}
    assert {row["attempts"] for row in operations(world, kind="unsubscribe")} == {1}
