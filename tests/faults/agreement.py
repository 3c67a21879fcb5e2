"""What must hold once a fault is over, whatever it was: the invariants, agreement everywhere, no more writes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from syncd.reconcile.convergence import Condition
from syncd.sync.check import check
from syncd.sync.standing import standing as how_it_stands
from tests.scenes import added, contacts, standing
from tests.world import World

ROUNDS = 3
"""Within so many rounds after the end of a fault everything has to agree."""


def converged(world: World, *, condition: Condition = Condition.CONVERGED, **people: dict[str, Any]) -> None:
    """Let it run, and hold it against the invariants. `people`: who has to stand how, by the part before the `@`.

    `condition`: for faults that leave something for a person to decide.
    """
    for _ in range(ROUNDS):
        world.wait(61)
        world.round()
    writes = world.writes
    world.wait(61)
    done = world.round(full=True)
    assert [outcome.reason for outcome in done.failed] == []
    assert world.writes == writes, "a further round writes nothing"
    assert world.rows("SELECT * FROM v_outbox") == []
    assert {row["state"] for row in world.rows("SELECT state FROM account")} == {"ok"}
    assert dict(check(world.app.context, full=True).broken) == {}
    verdict, _ = how_it_stands(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))
    assert verdict.condition is condition
    assert added_after_a_no(world) == []
    for name, expected in people.items():
        email = f"{name}@example.org"
        assert standing(world, email) == expected, name
        assert len(contacts(world, email)) <= 1, f"{name} is there once"
        assert sum(one.email.lower() == email for one in world.rocs.customers.values()) <= 1


def added_after_a_no(world: World) -> list[tuple[str, str]]:
    """Every call of ours that put somebody on a list, or gave a consent, after their own no; by the providers' logs."""
    noes = world.rows("SELECT email, since FROM v_consent WHERE level = 'unsubscribed' AND email <> ''")
    found = []
    for row in noes:
        since = row["since"] if isinstance(row["since"], datetime) else datetime.fromisoformat(str(row["since"]))
        ids = {one.id for one in world.rocs.customers.values() if one.email.lower() == row["email"]}
        # A call that was under way as the no was learnt may end a moment later.
        marks = {
            host: sum(
                call.at.replace(tzinfo=None) <= since.replace(tzinfo=None) + timedelta(seconds=1) for call in e.calls
            )
            for host, e in world.emulators.items()
        }
        found += [(name, who) for name, who in added(world, marks) if who.lower() == row["email"] or who in ids]
    return found
