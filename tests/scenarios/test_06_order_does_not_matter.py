"""6: what was observed, in any order and as often as one likes, ends in one consent and one set of wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.domain.consent import ConsentEvent, ConsentState, Level, Scope
from syncd.domain.identity import SuppressionKey
from syncd.reconcile.decide import decide
from syncd.reconcile.learn import learn
from syncd.reconcile.person import Cell, Person, Topology
from syncd.store import people as store
from syncd.store.session import reading, rehearsing
from syncd.sync.ingest import unsubscribe
from tests.scenes import TWO_LISTS, command, configured, person, with_two_lists
from tests.world import World

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
ANN, BEA, CID = "ann@example.org", "bea@example.org", "cid@example.org"


@pytest.fixture
def recorded(open_world) -> World:
    """Three people with a history at all four; nothing of what follows from its end has been sent."""
    world = with_two_lists(open_world(config=configured(TWO_LISTS)))
    for email in (ANN, BEA, CID):
        person(world, email, lists=("L-1", "L-2", "L-9"))
    world.settle(2)
    world.mail.person_unsubscribes("154", ANN)
    world.rocs.unsubscribe_member("L-9", BEA)
    world.settle(2)
    # Ann takes it back, and says no again at two places; Bea complains; Cid withdraws everything.
    assert command(world, "resubscribe", ANN, "--list", "newsletter", "--evidence", "signed form").code == 0
    world.mail.confirm("154", ANN)
    world.settle(2)
    world.mail.complain("154", BEA)
    world.rocs.withdraw_consent(CID)
    world.rocs.unsubscribe_member("L-1", ANN)
    unsubscribe(world.app.context, ANN, Scope("newsletter"), source="operator", evidence="by phone")
    world.settle(2)
    world.rokt.person_unsubscribes(ANN)
    world.wait(90_000)
    world.settle(2)
    return world


def shuffled(data: st.DataObject, facts: Sequence[Any]) -> list[Any]:
    """All of them in some order, and some of them again."""
    told = data.draw(st.permutations(list(facts)))
    return told + data.draw(st.lists(st.sampled_from(told), max_size=len(told)))


def events_of(world: World) -> list[ConsentEvent]:
    names = [name for name in ConsentEvent.__dataclass_fields__ if name not in {"key", "again"}]
    with reading(world.app.engine) as connection:
        table = store.consent_event
        rows = connection.execute(sa.select(table).order_by(table.c.id)).mappings().all()
    return [
        ConsentEvent(
            SuppressionKey(row["person_key"]), **{name: row[name] for name in names} | {"level": Level(row["level"])}
        )
        for row in rows
    ]


def folded(world: World, events: Sequence[ConsentEvent]) -> tuple[Any, Any]:
    """The consent of everybody after these events were taken down in this order, and what is wished for then."""
    keys = sorted({event.key for event in events})
    with rehearsing(world.app.engine) as connection:
        unguard(connection)
        connection.execute(store.consent_event.delete())
        connection.execute(store.consent.delete())
        for event in events:
            store.record_consent(connection, [event])
        topology = world.app.context.topology(connection)
        known = [who.at_accounts(topology.accounts) for who in store.load_people(connection, keys)]
    return [prevails(who) for who in known], [wishes(unsent(who), topology, world) for who in known]


def unguard(connection: sa.Connection) -> None:
    """Without what refuses to forget: here, in a transaction that is taken back, everything begins anew."""
    for name, table in (("guard_event_delete", "consent_event"), ("guard_consent_delete", "consent")):
        where = f" ON {table}" if connection.dialect.name == "postgresql" else ""
        connection.execute(sa.text(f"DROP TRIGGER {name}{where}"))


def prevails(who: Person) -> dict[Scope, tuple[int, Level]]:
    return {scope: (state.epoch, state.level) for scope, state in who.consent.items()}


def unsent(who: Person) -> Person:
    """As if nothing had been sent and every record still stood: then every no is a wish."""
    return replace(who, operations=(), cells=tuple(_standing(cell) for cell in who.cells))


def _standing(cell: Cell) -> Cell:
    return replace(cell, status=type(cell.status).SUBSCRIBED, said_no_seq=0)


def wishes(who: Person, topology: Topology, world: World) -> Any:
    decision = decide(who, topology, world.clock())
    return decision.desired, decision.look_ups


def learnt(who: Person, cells: Sequence[Cell], topology: Topology, world: World) -> Person:
    """What these records teach, looked at one after the other."""
    consent: dict[Scope, ConsentState] = {}
    seen: dict[tuple[str, str, str], Cell] = {}
    for cell in cells:
        seen[cell.account, cell.container, cell.key] = cell
        before = replace(
            who, cells=tuple(seen.values()), consent=dict(consent), operations=(), noes_written=frozenset()
        )
        for event in learn(before, topology, world.clock(), 0):
            state = consent.get(event.scope, ConsentState())
            consent[event.scope] = state.join(ConsentState(event.epoch, event.level, state.seq))
    return replace(who, consent=consent, inferred_scopes=frozenset(), mass_scopes=frozenset())


@FEW
@given(data=st.data())
def test_06_in_any_order_and_repetition_observations_fold_to_one_consent_and_one_set_of_wishes(recorded, data):
    world: World = recorded
    events = events_of(world)
    assert len(events) >= 6
    assert {event.epoch for event in events} == {0, 1}
    consent, desired = folded(world, events)
    assert any(wish for wish, _ in desired)
    assert folded(world, shuffled(data, events)) == (consent, desired)
    # The same of the records that the events were read from: whichever is seen first, and however often.
    with reading(world.app.engine) as connection:
        topology = world.app.context.topology(connection)
        keys = [SuppressionKey(email) for email in (ANN, BEA, CID)]
        known = [who.at_accounts(topology.accounts) for who in store.load_people(connection, keys)]
    for who in known:
        once = learnt(who, who.cells, topology, world)
        again = learnt(who, shuffled(data, who.cells), topology, world)
        assert again.consent == once.consent != {}
        assert wishes(unsent(again), topology, world) == wishes(unsent(once), topology, world)
