"""Which consent fact prevails: any order and any repetition of what was seen ends in the same state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.consent import GLOBAL, LEVEL_OF, ConsentState, Level, Scope, fold, scope_of_status
from syncd.domain.records import SUPPRESSED, Status

STATES = st.builds(ConsentState, st.integers(0, 3), st.sampled_from(Level), st.integers(0, 5))


@given(STATES, STATES)
def test_the_join_is_commutative(a: ConsentState, b: ConsentState):
    assert a.join(b) == b.join(a)


@given(STATES, STATES, STATES)
def test_the_join_is_associative(a: ConsentState, b: ConsentState, c: ConsentState):
    assert a.join(b).join(c) == a.join(b.join(c))


@given(STATES)
def test_the_join_is_idempotent(a: ConsentState):
    assert a.join(a) == a


@given(STATES)
def test_nothing_known_changes_nothing(a: ConsentState):
    assert ConsentState().join(a) == a


@given(st.integers(0, 3), st.sampled_from(Level), st.sampled_from(Level), st.integers(1, 3))
def test_the_epoch_beats_the_level(epoch: int, low: Level, high: Level, later: int):
    before, after = ConsentState(epoch, high, 9), ConsentState(epoch + later, low, 1)
    assert before.join(after) == after


@given(STATES, STATES)
def test_within_an_epoch_a_level_only_rises(a: ConsentState, b: ConsentState):
    joined = a.join(b)
    assert joined.epoch == max(a.epoch, b.epoch)
    for state in (a, b):
        if state.epoch == joined.epoch:
            assert joined.level >= state.level


@given(st.lists(STATES, min_size=1, max_size=6), st.data())
def test_order_and_repetition_of_facts_never_matter(facts: list[ConsentState], data: st.DataObject):
    told = data.draw(st.permutations(facts))
    again = data.draw(st.lists(st.sampled_from(facts), max_size=4))
    assert fold([*told, *again]) == fold(facts)


@pytest.mark.parametrize(
    ("level", "suppresses"),
    [
        (Level.UNKNOWN, False),
        (Level.PENDING, False),
        (Level.SUBSCRIBED, False),
        (Level.UNSUBSCRIBED, True),
        (Level.COMPLAINT, True),
        (Level.ERASED, True),
    ],
)
def test_which_levels_suppress(level: Level, suppresses: bool):
    assert level.suppresses is suppresses
    assert level.word == level.name.lower()


@pytest.mark.parametrize("status", list(Status))
def test_only_statuses_that_say_no_are_consent_events(status: Status):
    assert (status in LEVEL_OF) == (status in SUPPRESSED)
    if status in LEVEL_OF:
        assert LEVEL_OF[status].suppresses


@pytest.mark.parametrize("status", list(Status))
def test_a_complaint_is_said_to_the_sender_and_not_to_one_list(status: Status):
    expected = GLOBAL if status is Status.COMPLAINED else Scope("news")
    assert scope_of_status(status, Scope("news")) == expected
