"""Who came back: what is granted without a person, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.domain.records import ContainerId, Status, later
from syncd.reconcile.exempt import ended_by, grants, lifted
from syncd.reconcile.learn import learn
from syncd.reconcile.person import Cell, Exemption, No, OpState, Person
from tests.reconcile.factories import ANN, ANN_TAGGED, NEWS, NOW, OFFERS, SETTLE_S, cell, operation, person, topology
from tests.reconcile.states import CASES, Case
from tests.reconcile.test_never_resubscribes import informed

NO = Status.UNSUBSCRIBED
SAID_NO = {NEWS: Level.UNSUBSCRIBED}
L1 = ContainerId("L1")


def back(**more: Any) -> Cell:
    """Read unsubscribed at 20, subscribed at 30 and again at 32; left at 200 of its own clock, confirmed at 300."""
    known = {"said_no_seq": 20, "status_seq": 30, "seq": 32}
    times: dict[str, Any] = {"unsubscribed_at": "200", "confirmed_at": "300", "confirmed_seq": 30}
    return cell("rocketresponder", **(known | times | more))


KNOWN_BEFORE = (No(NEWS, 15),)


def who(*cells, noes=KNOWN_BEFORE, **more) -> Person:
    return person(*cells, said=SAID_NO, noes=noes, **more)


@pytest.mark.parametrize(
    ("seen", "granted"),
    [
        pytest.param(back(), True, id="confirmed after it left, and not known before"),
        pytest.param(back(confirmed_at="200"), False, id="no later than the unsubscribe"),
        pytest.param(back(confirmed_at="100"), False, id="before the unsubscribe"),
        pytest.param(back(confirmed_at=None, confirmed_seq=0), False, id="no confirmation at all"),
        pytest.param(back(unsubscribed_at=None), False, id="a provider without times"),
        pytest.param(back(unsubscribed_at="2026-01-01T00:00:00Z"), False, id="times that cannot be compared"),
        pytest.param(back(confirmed_seq=20), False, id="known when it last read unsubscribed"),
        pytest.param(back(seq=30), False, id="seen once"),
        pytest.param(back(status_at=NOW - timedelta(seconds=SETTLE_S - 1)), False, id="seen a moment ago"),
        pytest.param(back(said_no_seq=0), False, id="never read unsubscribed: merely old"),
        pytest.param(back(said_no_seq=30), False, id="left and came back between two readings"),
        pytest.param(back(status=Status.PENDING), False, id="has yet to confirm"),
    ],
)
def test_only_fresh_evidence_on_its_own_clock_is_granted(seen, granted: bool):
    assert [grant.cell for grant in grants(who(seen), topology(), NOW)] == ([seen] if granted else [])


@pytest.mark.parametrize(
    ("noes", "others", "granted"),
    [
        pytest.param([No(NEWS, 19)], [], True, id="known before the last reading that showed it unsubscribed"),
        pytest.param([No(NEWS, 20)], [], False, id="learnt while that reading was under way"),
        pytest.param([No(NEWS, 15), No(OFFERS, 25)], [], False, id="a later no, to whatever"),
        pytest.param([No(NEWS, 21, 0, "rocketresponder", "L1", ANN)], [], True, id="its own no: its own clock tells"),
        pytest.param([No(NEWS, 21, 0, "rocketresponder", "L1", ANN_TAGGED)], [], False, id="that of another address"),
        pytest.param([No(NEWS, 15)], [cell(status=NO, status_seq=19)], True, id="another cell said so before"),
        pytest.param([No(NEWS, 15)], [cell(status=NO, status_seq=21)], False, id="another cell said so since"),
    ],
)
def test_a_no_of_which_nobody_can_say_whether_it_came_first_makes_it_wait(noes, others, granted: bool):
    assert bool(grants(who(back(), *others, noes=noes), topology(), NOW)) is granted


def test_what_we_wrote_elsewhere_since_is_no_no_of_theirs():
    written = operation(ChangeKind.UNSUBSCRIBE, OpState.VERIFIED, ended_seq=18, closed_seq=23)
    echo = cell(status=NO, status_seq=22)
    assert grants(who(back(), echo, carried_out=[written]), topology(), NOW)
    assert not grants(who(back(), replace(echo, status_seq=24), carried_out=[written]), topology(), NOW)


def test_a_cell_that_a_write_of_ours_is_on_its_way_to_is_granted_later():
    sent = operation(ChangeKind.UNSUBSCRIBE, OpState.ACCEPTED, "rocketresponder")
    assert not grants(who(back(), operations=[sent]), topology(), NOW)
    elsewhere = operation(ChangeKind.UNSUBSCRIBE, OpState.ACCEPTED)
    assert grants(who(back(), operations=[elsewhere]), topology(), NOW)


def test_what_was_granted_is_not_granted_again():
    here = Exemption("rocketresponder", L1, ANN, seq=33)
    assert grants(who(back(), exemptions=[here]), topology(), NOW) == []


HERE = Exemption("rocketresponder", L1, ANN, seq=40)


@pytest.mark.parametrize(
    ("no", "by"),
    [
        pytest.param(No(NEWS, 41), NEWS, id="to the same list"),
        pytest.param(No(GLOBAL, 41), GLOBAL, id="to everything"),
        pytest.param(No(NEWS, 40), None, id="not later than the grant"),
        pytest.param(No(OFFERS, 41), None, id="to a list that it is not on"),
    ],
)
def test_a_later_no_that_reaches_the_cell_ends_it(no: No, by: Scope | None):
    whoever = who(back(), noes=[No(NEWS, 15), no], exemptions=[HERE])
    assert ended_by(whoever, topology(), HERE) == by
    assert lifted(whoever, topology(), HERE.place) is (by is None)


@pytest.mark.parametrize(
    ("seen", "news"),
    [
        pytest.param(back(status=NO, status_seq=50, seq=50), True, id="the cell itself"),
        pytest.param(cell(status=NO, status_seq=50), True, id="another place of the list"),
        pytest.param(cell("rokt", NO, status_seq=50), True, id="everything"),
        pytest.param(back(status_seq=50, said_no_seq=50, confirmed_seq=50), True, id="left and came back meanwhile"),
        pytest.param(cell(status=NO, status_seq=40), False, id="read before the grant"),
        pytest.param(cell(status=NO, status_seq=50, container="R2"), False, id="a list that it is not on"),
        pytest.param(cell(status=Status.BOUNCED, status_seq=50), False, id="no no at all"),
    ],
)
def test_while_an_exemption_stands_a_no_is_news_although_it_raises_nothing(seen, news: bool):
    said = {NEWS: Level.UNSUBSCRIBED, GLOBAL: Level.UNSUBSCRIBED, OFFERS: Level.UNSUBSCRIBED}
    with_it = person(seen, said=said, exemptions=[HERE])
    assert [event.again for event in learn(with_it, topology(), NOW, 77)] == ([True] if news else [])
    assert learn(person(seen, said=said), topology(), NOW, 77) == []


def test_what_we_wrote_ourselves_ends_no_exemption():
    written = operation(ChangeKind.UNSUBSCRIBE, OpState.VERIFIED, ended_seq=45, closed_seq=51)
    seen = cell(status=NO, status_seq=50)
    echo = who(seen, exemptions=[HERE], carried_out=[written])
    assert learn(echo, topology(), NOW, 77) == []
    assert learn(replace(echo, cells=[replace(seen, status=Status.COMPLAINED)]), topology(), NOW, 77) != []


@given(CASES, st.integers(0, 60))
def test_a_grant_always_rests_on_evidence_and_order(case: Case, since: int):
    topo, whoever = case
    whoever = informed(whoever, topo, since)
    for grant in grants(whoever, topo, NOW):
        seen = grant.cell
        assert seen.status is Status.SUBSCRIBED
        assert later(seen.confirmed_at, seen.unsubscribed_at)
        assert seen.said_no_seq < seen.confirmed_seq <= seen.seq
        others = [no for no in whoever.noes if no.place != seen.place]
        assert all(no.seq < seen.said_no_seq for no in others)
        assert seen.place not in {entry.place for entry in whoever.exemptions}
