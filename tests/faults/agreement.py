"""What must hold once a fault is over, whatever it was: the invariants, agreement everywhere, no more writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.emulators.emulator import Emulator
from syncd.reconcile.convergence import Condition
from syncd.sync.check import check
from syncd.sync.standing import standing as how_it_stands
from syncd.wire import Request, Response
from tests.scenes import added, contacts, operations, standing
from tests.world import World

ROUNDS = 3
"""Within so many rounds after the end of a fault everything has to agree."""


def converged(world: World, **people: Mapping[str, Any]) -> None:
    """Let it run, and hold it against the invariants. `people`: who has to stand how, by the part before the `@`."""
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
    assert verdict.condition is Condition.CONVERGED
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
        # A call that was under way as the no was learnt may end a moment later.
        until = datetime.fromisoformat(str(row["since"])).replace(tzinfo=UTC) + timedelta(seconds=1)
        ids = {one.id for one in world.rocs.customers.values() if one.email.lower() == row["email"]}
        marks = {
            host: sum(_ours(call.at, emulator, world) <= until for call in emulator.calls)
            for host, emulator in world.emulators.items()
        }
        found += [(name, who) for name, who in added(world, marks) if who.lower() == row["email"] or who in ids]
    return found


def _ours(at: datetime, emulator: Emulator, world: World) -> datetime:
    """A time of a provider's clock by ours."""
    return at - (emulator.now() - world.clock())


@contextmanager
def answering(emulator: Emulator, path: str, answer: Response | Callable[[Response], Response]) -> Iterator[None]:
    """Calls whose address holds `path` get this answer, and nothing happens at the provider; or theirs, made over."""
    real = emulator.answer

    def answered(request: Request) -> Response:
        if path not in request.url:
            return real(request)
        return answer if isinstance(answer, Response) else answer(real(request))

    emulator.answer = answered  # type: ignore[method-assign]
    yield
    emulator.answer = real  # type: ignore[method-assign]


def inferred(world: World) -> tuple[object, ...]:
    """Everything that an answer nobody can trust must leave as it is. A field may turn unread, and not vanish."""
    cells = world.rows("SELECT account, container, key, status, missing_count, fields FROM cell ORDER BY 1, 2, 3")
    cells = [{**row, "fields": sorted(name.lstrip("?") for name in json.loads(row["fields"]))} for row in cells]
    merged = world.rows("SELECT identity, fields, updated_at FROM person ORDER BY 1")
    return cells, merged, world.rows("SELECT * FROM consent"), operations(world)
