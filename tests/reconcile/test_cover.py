"""The fewest addresses to ask about so that every list is covered."""

from __future__ import annotations

from itertools import combinations
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.reconcile.cover import cover

MEMBERS = st.dictionaries(st.sampled_from("abcdefgh"), st.frozensets(st.integers(0, 7), max_size=4), max_size=8)


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        pytest.param({}, [], id="nobody"),
        pytest.param({"a": frozenset()}, [], id="somebody on no list"),
        pytest.param({"a": {1}, "b": {1}}, ["a"], id="one list: the first of its members"),
        pytest.param({"a": {1}, "b": {1, 2}, "c": {2}}, ["b"], id="somebody on both lists"),
        pytest.param({"a": {1, 2, 3}, "b": {3, 4}, "c": {5}}, ["a", "b", "c"], id="the widest first"),
    ],
)
def test_who_is_chosen(members, chosen):
    assert cover(members) == chosen


@given(MEMBERS)
def test_every_list_is_covered_and_nobody_is_asked_for_nothing(members):
    chosen = cover(members)
    lists = set().union(*members.values()) if members else set()
    assert set().union(*(members[a] for a in chosen)) == lists if chosen else not lists
    assert len(chosen) == len(set(chosen))
    assert len(chosen) <= len(lists), "never worse than one address for each list"
    covered: set[int] = set()
    for address in chosen:
        assert members[address] - covered
        covered |= members[address]


@given(MEMBERS)
def test_the_cover_is_near_the_smallest(members):
    chosen, lists = cover(members), set().union(*members.values()) if members else set()
    smallest = next(
        size
        for size in range(len(members) + 1)
        if any(set().union(*(members[a] for a in some)) >= lists for some in combinations(members, size))
    )
    assert len(chosen) <= max(1, log(max(len(lists), 1)) + 1) * smallest


@given(MEMBERS, st.randoms())
def test_the_same_members_give_the_same_cover(members, chance):
    items = list(members.items())
    chance.shuffle(items)
    assert cover(dict(items)) == cover(members)
