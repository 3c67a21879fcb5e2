"""The rules of the ledger: which places have to learn of a "no", and what became of it at each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.facts import Grade
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.desired import Desired
from syncd.reconcile.learn import OWN_ANSWER
from syncd.reconcile.ledger import Arrival, Entry, Said, Sent, follow, targets
from syncd.reconcile.person import Exemption, OpState, Person
from syncd.reconcile.suppress import suppress
from tests.reconcile.factories import ANN, ANN_TAGGED, NEWS, NOW, account, cell, person, topology
from tests.reconcile.states import Case, cases

R1 = ("rocs", ContainerId("R1"), ANN)
TOLD = ("rokt", ContainerId("*"), ANN)
LATER = NOW + timedelta(hours=1)
HERE = topology("rocs")


def said(
    scope: Scope = GLOBAL, *, number: int = 1, epoch: int = 0, source: str = "operator", container: str = ""
) -> Said:
    return Said(number, scope, epoch, NOW, source, container)


def who(*cells, scope: Scope = GLOBAL, **more) -> Person:
    return person(*cells, said={scope: Level.UNSUBSCRIBED}, **more)


def places(someone: Person, event: Said, topo=HERE) -> set[tuple[str, str]]:
    return {(where, str(container)) for where, container, _ in targets(someone, topo, event)}


@pytest.mark.parametrize(
    ("event", "cells", "expected"),
    [
        pytest.param(said(), [cell(), cell(container="*"), cell(container="R9")], {"R1", "*", "R9"}, id="everything"),
        pytest.param(said(NEWS), [cell(), cell(container="R2"), cell(container="*")], {"R1"}, id="one list"),
        pytest.param(said(NEWS), [cell(status=Status.UNSUBSCRIBED)], {"R1"}, id="where it reads so already"),
        pytest.param(said(), [cell(status=Status.ABSENT)], set(), id="not where nobody ever was"),
        pytest.param(said(), [cell(status=Status.REMOVED)], set(), id="nor where the person went from"),
        pytest.param(
            said(Scope("rocs/R9"), source="rocs", container="R9"),
            [cell(container="R9")],
            {"R9"},
            id="where it was said",
        ),
        pytest.param(
            said(NEWS, source="rocs", container="R1"), [cell(status=Status.REMOVED)], {"R1"}, id="by going away there"
        ),
    ],
)
def test_the_places_that_have_to_learn_of_it(event: Said, cells, expected: set[str]):
    assert places(who(*cells, scope=event.scope), event) == {("rocs", container) for container in expected}


def test_where_we_took_somebody_away_ourselves_has_learnt_of_it():
    gone = who(cell(status=Status.REMOVED), noes_written=frozenset({R1}))
    assert places(gone, said()) == {("rocs", "R1")}


def test_where_somebody_came_back_to_has_nothing_to_learn_and_who_can_only_be_told_learns_all_the_same():
    open_again = [Exemption(where, ContainerId(container), ANN, seq=90) for where, container, _ in (R1, TOLD)]
    came_back = who(cell(), cell(container="R2"), exemptions=open_again)
    topo = topology("rocs", "rokt")
    assert set(targets(came_back, topo, said())) == {("rocs", "R2", ANN), TOLD}
    before = [Entry(1, R1, NOW), Entry(1, TOLD, NOW)]
    moved = {entry.place: entry.arrival for entry in follow(came_back, topo, [said()], before, [], LATER)}
    assert moved[R1] is Arrival.WITHDRAWN
    assert TOLD not in moved, "still to be told"


def test_who_can_only_be_told_is_told_of_everybody_under_every_spelling():
    both = who(cell(), cell(identity=ANN_TAGGED))
    topo = topology("rocs", "rokt")
    assert {place for place in targets(both, topo, said()) if place[0] == "rokt"} == {TOLD, (*TOLD[:2], ANN_TAGGED)}
    assert ("rokt", "*") in places(who(scope=NEWS, named=frozenset({ANN})), said(NEWS), topo)
    assert places(who(cell(), scope=Scope("offers")), said(Scope("offers")), topo) == set()


def test_who_takes_no_unsubscribe_is_no_target():
    assert (
        places(who(cell()), said(), topology("rocs", accounts=[account("rocs", accepts=[ChangeKind.UPDATE])])) == set()
    )


# What became of it ---------------------------------------------------------------------------------------------------


def one(
    someone: Person, *sent: Sent, before: Entry | None = None, at=LATER, event: Said | None = None, topo=HERE
) -> Entry:
    """The one entry after a look at everything."""
    known = [] if before is None else [before]
    found = [*follow(someone, topo, [event or said()], known, sent, at)]
    return found[0] if found else known[0]


def op(state: OpState, number: int = 7, *, place=R1, created_at=NOW) -> Sent:
    return Sent(number, place, state, created_at)


OPENED = Entry(1, R1, NOW)


@pytest.mark.parametrize("state", [OpState.READY, OpState.INFLIGHT, OpState.UNKNOWN, OpState.ACCEPTED])
def test_while_an_unsubscribe_is_on_its_way_the_entry_follows_it(state: OpState):
    assert one(who(cell()), op(state)) == replace(OPENED, op_id=7)
    unread = one(who(cell(status=Status.UNSUBSCRIBED)), op(state), before=OPENED)
    assert (unread.arrival, unread.op_id) == (Arrival.OPEN, 7)


@pytest.mark.parametrize(
    ("sent", "arrival", "grade", "op_id"),
    [
        pytest.param([op(OpState.VERIFIED)], Arrival.CARRIED, Grade.VERIFIED, 7, id="read back"),
        pytest.param([op(OpState.DONE)], Arrival.CARRIED, Grade.ACCEPTED, 7, id="told"),
        pytest.param([op(OpState.REFUTED)], Arrival.OPEN, Grade.UNKNOWN, 7, id="read back otherwise"),
        pytest.param(
            [op(OpState.VERIFIED), op(OpState.READY, 8)], Arrival.OPEN, Grade.UNKNOWN, 8, id="the latest counts"
        ),
        pytest.param(
            [op(OpState.VERIFIED, created_at=NOW - timedelta(days=9))],
            Arrival.OPEN,
            Grade.UNKNOWN,
            None,
            id="of before",
        ),
        pytest.param(
            [op(OpState.VERIFIED, place=("rocs", "R2", ANN))], Arrival.OPEN, Grade.UNKNOWN, None, id="elsewhere"
        ),
    ],
)
def test_how_an_entry_ends_by_what_was_sent(sent, arrival: Arrival, grade: Grade, op_id: int | None):
    entry = one(who(cell()), *sent, before=OPENED)
    assert (entry.arrival, entry.grade, entry.op_id) == (arrival, grade, op_id)
    assert entry.settled_at == (None if arrival is Arrival.OPEN else LATER)


def test_one_that_was_under_way_before_the_no_carries_it_too():
    before = op(OpState.ACCEPTED, created_at=NOW - timedelta(minutes=5))
    entry = one(who(cell()), before)
    assert entry.op_id == 7
    assert one(who(cell()), replace(before, state=OpState.VERIFIED), before=entry).arrival is Arrival.CARRIED


def test_where_it_reads_so_without_us_nothing_is_needed():
    entry = one(who(cell(status=Status.UNSUBSCRIBED)))
    assert (entry.arrival, entry.grade, entry.settled_at, entry.op_id) == (Arrival.ALREADY, Grade.VERIFIED, NOW, None)
    later = one(who(cell(status=Status.UNSUBSCRIBED)), op(OpState.REFUTED), before=OPENED)
    assert (later.arrival, later.settled_at, later.op_id) == (Arrival.ALREADY, LATER, None)


def test_who_was_told_before_is_known_by_that_receipt():
    told = cell("rokt", Status.UNSUBSCRIBED, route=OWN_ANSWER)
    entry = one(who(told), op(OpState.DONE, place=TOLD, created_at=NOW - timedelta(days=9)), topo=topology("rokt"))
    assert (entry.arrival, entry.grade, entry.op_id) == (Arrival.ALREADY, Grade.ACCEPTED, 7)


def test_a_new_yes_withdraws_what_is_open_and_nothing_else():
    yes = person(cell(), said={GLOBAL: ConsentState(1, Level.SUBSCRIBED)})
    assert one(yes, before=OPENED) == replace(OPENED, arrival=Arrival.WITHDRAWN, settled_at=LATER)
    proved = replace(OPENED, arrival=Arrival.CARRIED, op_id=7, grade=Grade.VERIFIED, settled_at=NOW)
    assert one(yes, op(OpState.READY, 8), before=proved) == proved
    assert [*follow(yes, HERE, [said()], [], [], LATER)] == []


def test_time_runs_from_when_both_the_no_and_the_place_are_known():
    assert one(who(cell())).known_at == NOW
    assert one(who(cell(status_at=LATER)), at=LATER).known_at == LATER
    told = [*follow(who(cell()), topology("rocs", "rokt"), [said()], [OPENED], [], LATER)]
    assert [(entry.place, entry.known_at) for entry in told] == [(TOLD, LATER)]


def test_of_an_account_that_is_not_configured_any_more_nothing_is_said():
    elsewhere = Entry(1, ("gone", ContainerId("X"), ANN), NOW)
    assert [*follow(who(cell(status=Status.ABSENT)), HERE, [said()], [elsewhere], [], LATER)] == []


# Whatever the state --------------------------------------------------------------------------------------------------


@given(cases())
def test_every_no_has_an_entry_for_every_place_that_still_has_to_learn_of_it(case: Case):
    topo, someone = case
    events = [
        Said(number, scope, state.epoch, NOW, "operator", "")
        for number, (scope, state) in enumerate(sorted(someone.consent.items()), 1)
        if state.level.suppresses
    ]
    sent = [
        Sent(o.id, (o.account, o.container, o.identity), o.state, NOW)
        for o in someone.operations
        if o.kind is ChangeKind.UNSUBSCRIBE
    ]
    entries = [*follow(someone, topo, events, [], sent, LATER)]
    assert len({(entry.event_id, entry.place) for entry in entries}) == len(entries)
    open_places = {entry.place for entry in entries if entry.arrival is Arrival.OPEN}
    wanted = {
        (wish.account, wish.change.container, wish.change.identity)
        for identity in someone.identities
        for wish in suppress(someone, topo, identity, NOW + timedelta(days=1))
        if isinstance(wish, Desired) and ChangeKind.UNSUBSCRIBE in topo.accounts[wish.account].capabilities.accepts
    }
    assert wanted <= open_places
    assert open_places <= wanted | {op.place for op in sent}
    assert [*follow(someone, topo, events, entries, sent, LATER + timedelta(days=1))] == []
