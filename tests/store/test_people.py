"""People as the core sees them, their consent as the fold of what was said, and the agenda."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import reduce
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentEvent, ConsentState, Level, Scope
from syncd.domain.facts import Capabilities, Facts
from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.learn import learn
from syncd.reconcile.person import Account, MailingList, OpState, Topology
from syncd.store import outbox, people
from syncd.store.session import Engine, reading, writing
from tests.store.factories import (
    ANN,
    BOB,
    HOUR,
    KEY,
    NOW,
    R1,
    begin,
    cells,
    key_of,
    later,
    observe,
    person,
    put,
    rows,
    seen,
    wish,
)

UPDATE, UNSUBSCRIBE = ChangeKind.UPDATE, ChangeKind.UNSUBSCRIBE
NEWS = Scope("news")
NO = Status.UNSUBSCRIBED
TAGGED = Identity("a.nn+news@example.org")


def load(engine: Engine, key: SuppressionKey = KEY):
    with reading(engine) as connection:
        (who,) = people.load_people(connection, [key])
    return who


def event(
    level: Level = Level.UNSUBSCRIBED, *, epoch: int = 0, seq: int = 5, scope: Scope = NEWS, **more
) -> ConsentEvent:
    defaults: dict[str, Any] = {
        "at": NOW,
        "source": "rocs",
        "route": "listing",
        "evidence": "read as unsubscribed",
        "container": "R1",
    }
    return ConsentEvent(key=KEY, identity=ANN, scope=scope, epoch=epoch, level=level, seq=seq, **(defaults | more))


def record(engine: Engine, *events: ConsentEvent) -> int:
    with writing(engine) as connection:
        return len(people.record_consent(connection, events))


def consent(engine: Engine, key: SuppressionKey = KEY) -> dict[Scope, ConsentState]:
    with reading(engine) as connection:
        return people.load_consent(connection, key)


# People


def test_somebody_is_loaded_under_every_spelling_with_all_that_is_known(engine: Engine):
    observe(engine, seen("1", fields={"phone": "1"}), seen("2", NO, identity=TAGGED), seen("3", identity=BOB), seq=5)
    observe(engine, seen("7", container="*"), seq=6)
    who = load(engine)
    assert [(cell.container, cell.key, cell.identity) for cell in who.cells] == [
        ("*", "7", ANN),
        ("R1", "1", ANN),
        ("R1", "2", TAGGED),
    ]
    one = who.cells[1]
    assert (one.address, one.status, one.seq, one.status_seq, one.status_at) == (str(ANN), "subscribed", 5, 5, NOW)
    assert (one.route, one.fields, one.base, one.said_no_seq) == ("listing", {"phone": "1"}, None, 0)
    assert (one.missing_seq, one.missing_count, who.cells[2].said_no_seq) == (0, 0, 5)
    assert who.identities == (TAGGED, ANN)


def test_people_come_in_the_order_asked_for_known_or_not(engine: Engine):
    observe(engine, *(seen(str(n), identity=person(n)) for n in range(1200)), seq=5)
    wanted = [key_of(person(n)) for n in (1100, 3, 5000)]
    with reading(engine) as connection:
        found = people.load_people(connection, wanted)
        assert len(people.load_people(connection, [key_of(person(n)) for n in range(1200)])) == 1200
    assert [(who.key, len(who.cells)) for who in found] == [(key, n) for key, n in zip(wanted, (1, 1, 0), strict=True)]


def test_of_operations_the_open_ones_are_loaded(engine: Engine):
    put(engine, wish(UPDATE, fields={"phone": "1"}), wish(container="R2"), wish(container="R3"))
    begin(engine, 2, 3)
    with writing(engine) as connection:
        outbox.finish(connection, 2, OpState.ACCEPTED, 20, later(1))
        outbox.finish(connection, 3, OpState.DONE, 20, NOW)
    first, second = load(engine).operations
    assert (first.id, first.kind, first.state, first.fields, first.container) == (
        1,
        UPDATE,
        "ready",
        {"phone": "1"},
        R1,
    )
    assert (second.state, second.ended_seq, second.ended_at) == ("accepted", 20, later(1))


@pytest.mark.parametrize(
    ("history", "tries"),
    [
        pytest.param(["refuted"], 1, id="once"),
        pytest.param(["refuted", "refuted"], 2, id="twice"),
        pytest.param(["refuted", "verified"], 0, id="then it held"),
        pytest.param(["refuted", "verified", "refuted"], 1, id="counted from the last one that held"),
        pytest.param(["superseded", "done"], 0, id="never"),
    ],
)
def test_writes_that_did_not_hold_are_counted_since_the_last_one_that_did(engine: Engine, history, tries: int):
    for state in history:
        put(engine, wish(UPDATE, fields={"phone": "1"}))
        with writing(engine) as connection:
            connection.execute(outbox.op.update().where(outbox.op.c.state == "ready").values(state=state))
    refuted = load(engine).refuted
    assert refuted.get((("rocs", R1, ANN), UPDATE), 0) == tries
    assert ((("rocs", R1, ANN), UNSUBSCRIBE)) not in refuted


def test_the_latest_parked_change_is_remembered_with_its_values(engine: Engine):
    for phone in ("1", "2"):
        put(engine, wish(UPDATE, fields={"phone": phone}))
        with writing(engine) as connection:
            connection.execute(outbox.op.update().where(outbox.op.c.state == "ready").values(state="parked"))
    assert load(engine).parked == {(("rocs", R1, ANN), UPDATE): {"phone": "2"}}


@pytest.mark.parametrize(
    ("kind", "state", "ours"),
    [
        (UNSUBSCRIBE, "ready", False),
        (UNSUBSCRIBE, "inflight", True),
        (UNSUBSCRIBE, "accepted", True),
        (UNSUBSCRIBE, "verified", True),
        (UPDATE, "verified", False),
    ],
)
def test_where_we_wrote_a_no_ourselves_is_known(engine: Engine, kind: ChangeKind, state: str, ours: bool):
    put(engine, wish(kind))
    with writing(engine) as connection:
        connection.execute(outbox.op.update().values(state=state))
    assert load(engine).noes_written == (frozenset({("rocs", R1, ANN)}) if ours else frozenset())


# Merged fields


def test_merged_values_and_what_each_record_showed_are_kept(engine: Engine):
    observe(engine, seen("1", fields={"phone": "1"}), seen("2"), seq=5)
    who = load(engine)
    with writing(engine) as connection:
        people.save_merged(connection, [(who, {ANN: {"phone": "1", "first_name": "Ann"}})], NOW)
    after = load(engine)
    assert after.fields == {ANN: {"phone": "1", "first_name": "Ann"}}
    assert [cell.base for cell in after.cells] == [{"phone": "1"}, None], "a record that shows nothing was not compared"
    with writing(engine) as connection:
        people.save_merged(connection, [(after, {ANN: {"phone": "2"}, TAGGED: {}})], later(1))
    assert load(engine).fields == {ANN: {"phone": "2"}, TAGGED: {}}


def test_what_did_not_change_is_not_written_again(engine: Engine):
    observe(engine, seen("1", fields={"phone": "1"}), seq=5)
    for at in (NOW, later(1)):
        who = load(engine)
        with writing(engine) as connection:
            people.save_merged(connection, [(who, {ANN: {"phone": "1"}})], at)
    assert [row.updated_at for row in rows(engine, people.person)] == [NOW]


# Consent


def test_an_event_is_kept_with_where_it_came_from_and_folded(engine: Engine):
    assert record(engine, event()) == 1
    (row,) = rows(engine, people.consent_event)
    assert (row.person_key, row.identity, row.scope, row.level, row.epoch) == (KEY, ANN, "news", 3, 0)
    assert (row.source, row.container, row.route, row.evidence, row.seq, row.at) == (
        "rocs", "R1", "listing", "read as unsubscribed", 5, NOW,
    )  # fmt: skip
    (state,) = rows(engine, people.consent)
    assert (state.level, state.since, state.source, state.event_id) == (3, NOW, "rocs", row.id)
    assert consent(engine) == {NEWS: ConsentState(0, Level.UNSUBSCRIBED, 0)}


@pytest.mark.parametrize(
    ("second", "written"),
    [
        pytest.param(event(), False, id="the same again"),
        pytest.param(event(Level.SUBSCRIBED), False, id="a lower level"),
        pytest.param(event(Level.COMPLAINT), True, id="a higher level"),
        pytest.param(event(Level.SUBSCRIBED, epoch=1, seq=9), True, id="a new epoch"),
        pytest.param(event(scope=GLOBAL), True, id="another scope"),
    ],
)
def test_only_what_changes_the_state_is_written(engine: Engine, second: ConsentEvent, written: bool):
    record(engine, event())
    assert record(engine, second) == written
    assert len(rows(engine, people.consent_event)) == 1 + written


def test_a_new_epoch_begins_with_the_number_of_the_fact_that_opened_it(engine: Engine):
    record(engine, event(), event(Level.SUBSCRIBED, epoch=1, seq=9), event(epoch=1, seq=12))
    assert consent(engine) == {NEWS: ConsentState(1, Level.UNSUBSCRIBED, 9)}


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from([level for level in Level if level > Level.UNKNOWN]),
        epoch=st.integers(0, 2),
        seq=st.just(5),
        scope=st.sampled_from([NEWS, GLOBAL]),
    ),
    max_size=5,
)


NUMBERS = count()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.randoms())
def test_order_and_repetition_of_events_never_matter(engine: Engine, events: list[ConsentEvent], chance):
    somebody = SuppressionKey(f"p{next(NUMBERS)}@x.org")  # the mirror is one for all examples, and forgets nothing
    told = [replace(entry, key=somebody) for entry in events]
    told += [entry for entry in told if chance.random() < 0.5]
    chance.shuffle(told)
    for entry in told:
        record(engine, entry)
    for scope in (NEWS, GLOBAL):
        facts = [ConsentState(entry.epoch, entry.level) for entry in events if entry.scope == scope]
        state = consent(engine, somebody).get(scope, ConsentState())
        assert state[:2] == reduce(ConsentState.join, facts, ConsentState())[:2]
        kept = [
            ConsentState(row.epoch, Level(row.level))
            for row in rows(engine, people.consent_event)
            if row.scope == scope and row.person_key == somebody
        ]
        assert reduce(ConsentState.join, kept, ConsentState())[:2] == state[:2], "the events alone give the state"


def test_who_said_something_is_known_even_if_seen_nowhere(engine: Engine):
    record(engine, event())
    assert load(engine).identities == (ANN,)


@pytest.mark.parametrize(
    ("events", "inferred", "mass"),
    [
        pytest.param([event()], set(), set(), id="said"),
        pytest.param([event(inferred=True)], {NEWS}, set(), id="concluded"),
        pytest.param([event(mass=True)], set(), {NEWS}, id="one of a mass"),
        pytest.param([event(inferred=True), event(seq=6, route="lookup")], set(), set(), id="concluded, then said"),
        pytest.param([event(mass=True), event(seq=6, route="command")], set(), set(), id="one of a mass, then said"),
        pytest.param([event(), event(Level.COMPLAINT, mass=True)], set(), set(), id="said, then one of a mass"),
        pytest.param([event(mass=True), event(scope=GLOBAL)], set(), {NEWS}, id="said of another scope"),
    ],
)
def test_what_a_no_rests_on(engine: Engine, events, inferred, mass):
    record(engine, *events)
    who = load(engine)
    assert (who.inferred_scopes, who.mass_scopes) == (inferred, mass)


def test_a_mass_is_flagged_where_it_was_learnt_and_released_for_whom_it_is(engine: Engine):
    record(engine, event())
    with writing(engine) as connection:
        people.flag_mass(connection, "rocs", "R1", 0)
    assert load(engine).mass_scopes == {NEWS}
    assert load(engine).mass_sources == {(NEWS, "rocs", "R1")}
    with writing(engine) as connection:
        people.release_mass(connection, [KEY])
    assert (load(engine).mass_scopes, load(engine).mass_sources) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("waits", "after", "released"),
    [
        pytest.param(False, timedelta(hours=-1), False, id="it may still be a mistake"),
        pytest.param(False, timedelta(0), True, id="nobody has objected"),
        pytest.param(True, timedelta(days=9), False, id="somebody is to decide, or decided"),
    ],
)
def test_what_a_mass_said_is_taken_as_said_once_it_is_old(engine: Engine, waits, after, released):
    record(engine, event(mass=True))
    with writing(engine) as connection:
        if waits:
            place = {"account": "rocs", "container": "R1", "kind": "unsubscribe", "identity": str(KEY)}
            about = {
                "hold": "mass",
                "person_key": KEY,
                "why": "no",
                "basis": "",
                "state": "rejected",
                "created_at": NOW,
            }
            connection.execute(people.item.insert().values(**place, **about, fields={}, first_contact=[]))
        assert people.release_outlived(connection, [KEY], NOW + after) is released
        assert not people.release_outlived(connection, [], NOW + after)
    assert load(engine).mass_scopes == (frozenset() if released else {NEWS})


ROCS = Account("rocs", "rocs", Capabilities(Facts(), frozenset(ChangeKind), True, True, True, True, True), 60.0)
TOPOLOGY = Topology({"rocs": ROCS}, {"news": MailingList("news", NEWS, {"rocs": (R1, ContainerId("R2"))})})


@pytest.mark.parametrize(
    ("where", "released"),
    [
        pytest.param("R1", False, id="the flipped listing says the same again"),
        pytest.param("R2", True, id="somebody says it elsewhere"),
    ],
)
def test_a_mass_stays_one_until_somebody_says_it_apart_from_it(engine: Engine, where: str, released: bool):
    observe(engine, seen("1", NO), seq=5)
    first = learn(load(engine), TOPOLOGY, NOW, 6)
    record(engine, *first)
    with writing(engine) as connection:
        people.flag_mass(connection, first[0].source, first[0].container, 0)
    observe(engine, seen("1", NO, container=where, fields={"phone": "2"}), seq=7)
    record(engine, *learn(load(engine), TOPOLOGY, later(1), 8))
    assert bool(load(engine).mass_scopes) is not released


def test_our_own_echo_does_not_make_a_conclusion_somebody_s_word(engine: Engine):
    record(engine, event(inferred=True, source="salesrocks"))
    put(engine, wish(UNSUBSCRIBE))
    begin(engine, 1)
    with writing(engine) as connection:
        outbox.finish(connection, 1, OpState.VERIFIED, 20, NOW)
    observe(engine, seen("1", NO), seq=25)
    assert learn(load(engine), TOPOLOGY, later(1), 30) == []
    assert load(engine).inferred_scopes == {NEWS}


def test_how_many_said_no_by_listing_since_a_moment(engine: Engine):
    with writing(engine) as connection:
        for number, (route, at, container) in enumerate(
            [
                ("listing", NOW, "R1"),
                ("feed", NOW, "R1"),
                ("lookup", NOW, "R1"),
                ("listing", NOW - HOUR, "R1"),
                ("listing", NOW, "R2"),
            ]
        ):
            entry = event(route=route, at=at, container=container)
            people.record_consent(connection, [replace(entry, key=key_of(person(number)))])
        assert people.count_events(connection, "rocs", "R1", NOW) == 2
        assert people.count_events(connection, "rocs", "R1", NOW - HOUR) == 3
        assert people.count_events(connection, "salesrocks", "R1", NOW - HOUR) == 0


def test_of_whom_any_no_is_known(engine: Engine):
    with reading(engine) as connection:
        assert people.suppressed_among(connection, [KEY]) == set()
    record(engine, event())
    with reading(engine) as connection:
        assert people.suppressed_among(connection, [KEY, key_of(BOB)]) == {KEY}
        assert people.suppressed_among(connection, []) == set()


# The agenda


def agenda(engine: Engine) -> dict[str, object]:
    return {row.person_key: row.due_at for row in rows(engine, people.agenda)}


def test_the_earlier_of_two_times_counts(engine: Engine):
    for at in (later(5), later(9), later(2)):
        with writing(engine) as connection:
            people.put_on_agenda(connection, [KEY, KEY], at)
    assert agenda(engine) == {KEY: later(2)}


def test_who_is_due_comes_in_the_order_of_keys_from_where_it_stopped(engine: Engine):
    keys = [key_of(person(n)) for n in range(5)]
    with writing(engine) as connection:
        people.put_on_agenda(connection, keys[:4], NOW)
        people.put_on_agenda(connection, keys[4:], later(5))
    with reading(engine) as connection:
        assert people.due_people(connection, NOW, 2) == keys[:2]
        assert people.due_people(connection, NOW, 9, keys[1]) == keys[2:4]
        assert people.due_people(connection, later(5), 9) == keys
        assert people.due_people(connection, NOW - HOUR, 9) == []


def test_who_was_looked_at_is_taken_off_or_put_back_for_later(engine: Engine):
    keys = [key_of(person(n)) for n in range(3)]
    with writing(engine) as connection:
        people.put_on_agenda(connection, keys, NOW)
        people.take_off_agenda(connection, keys[:2], {keys[1]: later(5)})
    assert agenda(engine) == {keys[1]: later(5), keys[2]: NOW}


def test_everybody_with_an_address_is_looked_at_once_more(engine: Engine):
    observe(engine, seen("1"), seen("2", identity=TAGGED), seen("3", identity=BOB), seen("4", identity=None), seq=5)
    with writing(engine) as connection:
        people.put_on_agenda(connection, [key_of(BOB)], later(9))
        people.everybody_on_agenda(connection, later(5))
    assert agenda(engine) == {KEY: later(5), key_of(BOB): later(5)}
    assert len(cells(engine)) == 4
