"""From how things stood and stand to what people are told: once as it begins, once as it ends, never in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.reconcile.convergence import AccountStanding
from syncd.reconcile.notices import (
    RAISED,
    RECOVERED,
    About,
    Concern,
    Kept,
    Notice,
    Part,
    Sight,
    WaitingPlan,
    concerns,
    follow,
    sentence,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QUIET = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def account(state: str, age_s: float | None = 60.0) -> AccountStanding:
    return AccountStanding("crm", state, None if age_s is None else NOW - timedelta(seconds=age_s), 300.0)


def found(**sight: Any) -> list[tuple[Any, ...]]:
    return [
        (one.about.value, one.account, dict(one.parts), one.count, one.next)
        for one in concerns(Sight(**sight), NOW, 600.0)
    ]


@pytest.mark.parametrize(
    ("sight", "expected"),
    [
        ({}, None),
        ({"accounts": [account("ok")]}, None),
        ({"accounts": [account("paused", 99_999)]}, None),
        (
            {"accounts": [account("failing", 99_999)]},
            ("account", "crm", {"failing": Part("failing", 600.0)}, 0, "syncd account check crm"),
        ),
        (
            {"accounts": [account("quarantined")]},
            ("account", "crm", {"quarantined": Part("quarantined")}, 0, "syncd account check crm"),
        ),
        ({"accounts": [account("ok", 901)]}, ("stale", "crm", {"": Part()}, 0, "syncd sync crm")),
        ({"accounts": [account("new", None)]}, ("stale", "crm", {"": Part("", 900.0)}, 0, "syncd sync crm")),
        (
            {"plans": [WaitingPlan("crm", "a", "p1", 2), WaitingPlan("crm", "b", "p2", 3)]},
            ("held", "crm", {"a": Part("p1"), "b": Part("p2")}, 5, "syncd plan"),
        ),
        ({"parked": {"crm": 2, "mail": 0}}, ("parked", "crm", {"": Part()}, 2, "syncd inspect parked")),
        ({"claims": {"crm": 1}}, ("claim", "crm", {"": Part()}, 1, "syncd inspect drift")),
        ({"fights": {"crm": 1}}, ("fight", "crm", {"": Part()}, 1, "syncd inspect drift")),
        ({"dark": {"crm": 4}}, ("dark", "crm", {"": Part()}, 4, "syncd inspect drift")),
        ({"overdue": 3}, ("overdue", "", {"": Part()}, 3, "syncd inspect propagation --overdue")),
        ({"broken": ["a", "b"]}, ("broken", "", {"a": Part("a"), "b": Part("b")}, 2, "syncd check --full")),
        ({"protected": {"crm": "restored"}}, ("protected", "crm", {"restored": Part("restored")}, 0, "syncd plan")),
    ],
)
def test_what_may_need_a_person(sight: dict[str, Any], expected: Any) -> None:
    assert found(**sight) == ([expected] if expected else [])


class Watch:
    """The state between looks, as the mirror would keep it, and all that was told."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.told: list[tuple[datetime, Notice]] = []

    def look(self, at: datetime, *parts: str, patience_s: float = 0.0) -> list[tuple[str, tuple[str, ...]]]:
        standing = [Concern(About.HELD, "crm", {name: Part(name, patience_s) for name in parts}, len(parts), "next")]
        self.kept, notices = follow(self.kept, standing if parts else [], {"crm"}, at, QUIET)
        self.told += [(at, notice) for notice in notices]
        return [(notice.state, notice.details) for notice in notices]


def test_it_is_told_when_it_begins_and_when_it_is_over_and_not_in_between() -> None:
    watch = Watch()
    looks = [watch.look(NOW + n * MINUTE, *(["a"] if 1 <= n <= 4 else [])) for n in range(8)]
    assert looks == [[], [(RAISED, ("a",))], [], [], [], [(RECOVERED, ())], [], []]


def test_what_comes_back_soon_is_told_only_if_it_stays() -> None:
    watch = Watch()
    assert watch.look(NOW, "a")
    assert watch.look(NOW + MINUTE)
    assert not watch.look(NOW + 2 * MINUTE, "a")
    assert not watch.look(NOW + 3 * MINUTE)
    assert not watch.look(NOW + 50 * MINUTE, "a")
    assert watch.look(NOW + QUIET, "a") == [(RAISED, ("a",))]


def test_what_joins_it_is_told_once_as_it_comes() -> None:
    watch = Watch()
    assert watch.look(NOW, "a") == [(RAISED, ("a",))]
    assert watch.look(NOW + MINUTE, "a", "b", "c") == [(RAISED, ("b", "c"))]
    assert not watch.look(NOW + 2 * MINUTE, "a")
    assert not watch.look(NOW + 3 * MINUTE, "a", "b"), "it was told of, and soon came back"
    assert not watch.look(NOW + 4 * MINUTE, "a")
    assert not watch.look(NOW + 2 * QUIET, "a")
    assert watch.look(NOW + 2 * QUIET + MINUTE, "a", "b") == [(RAISED, ("b",))], "it had long been over"
    assert watch.look(NOW + 3 * QUIET) == [(RECOVERED, ())]


def test_the_end_is_told_even_if_only_what_nobody_was_told_of_is_left() -> None:
    watch = Watch()
    assert watch.look(NOW, "a")
    assert not watch.look(NOW + MINUTE, "b", patience_s=10_000)
    assert not watch.look(NOW + 2 * QUIET, "b", patience_s=10_000)
    assert watch.look(NOW + 2 * QUIET + MINUTE) == [(RECOVERED, ())]


def test_what_may_pass_by_itself_is_told_only_if_it_lasts() -> None:
    watch = Watch()
    assert not watch.look(NOW, "a", patience_s=600)
    assert not watch.look(NOW + 9 * MINUTE, "a", patience_s=600)
    assert watch.look(NOW + 10 * MINUTE, "a", patience_s=600) == [(RAISED, ("a",))]
    assert watch.told[0][1].since == NOW
    fresh = Watch()
    fresh.look(NOW, "a", patience_s=600)
    assert not fresh.look(NOW + MINUTE)
    assert fresh.kept == []


def test_a_clock_that_is_set_back_silences_nothing_for_long() -> None:
    watch = Watch()
    watch.look(NOW, "a")
    watch.look(NOW + MINUTE)
    back = NOW - timedelta(days=30)
    assert watch.look(back, "a") == [(RAISED, ("a",))]
    assert watch.look(back + MINUTE) == [(RECOVERED, ())]


def test_an_account_that_is_configured_no_more_is_forgotten_without_a_word() -> None:
    kept = [
        Kept(About.ACCOUNT, "gone", {"failing": NOW}, {"failing": NOW}, NOW),
        Kept(About.OVERDUE, "", {}, {"": NOW}),
    ]
    left, notices = follow(kept, [], {"crm"}, NOW, QUIET)
    assert [(notice.about, notice.state) for notice in notices] == [(About.OVERDUE, RECOVERED)]
    assert left == []


SCRIPT = st.lists(st.tuples(st.integers(1, 40), st.sets(st.sampled_from("ab"))), max_size=60)


@given(SCRIPT)
def test_begun_and_over_take_turns_and_never_more_than_one_pair_in_a_while(script: list[tuple[int, set[str]]]) -> None:
    watch, at = Watch(), NOW
    for minutes, parts in script:
        at += minutes * MINUTE
        watch.look(at, *sorted(parts))
        open_ = [notice.state for _, notice in watch.told][-1:] == [RAISED]
        assert not open_ or parts, "the end was not told"
        calm = [when for when, notice in watch.told if notice.state == RAISED]
        assert not parts or open_ or (calm and at - calm[-1] < QUIET), "the beginning was not told"
    states = [notice.state for _, notice in watch.told]
    assert not states or states[0] == RAISED
    assert not any(pair == (RECOVERED, RECOVERED) for pair in pairwise(states))
    begun = [
        when
        for number, (when, notice) in enumerate(watch.told)
        if notice.state == RAISED and (number == 0 or states[number - 1] == RECOVERED)
    ]
    assert all(later - earlier >= QUIET for earlier, later in pairwise(begun))
    # Of what joins in between, each part is told once in a while.
    for part in "ab":
        told = [
            (when, states[:number].count(RECOVERED))
            for number, (when, notice) in enumerate(watch.told)
            if part in notice.details
        ]
        assert all(one[1] != other[1] or other[0] - one[0] >= QUIET for one, other in pairwise(told))


@given(SCRIPT)
def test_looking_again_at_the_same_tells_nothing(script: list[tuple[int, set[str]]]) -> None:
    watch, at = Watch(), NOW
    for minutes, parts in script:
        at += minutes * MINUTE
        watch.look(at, *sorted(parts))
        kept = list(watch.kept)
        assert not watch.look(at, *sorted(parts))
        assert watch.kept == kept


@pytest.mark.parametrize("about", About)
@pytest.mark.parametrize("state", [RAISED, RECOVERED])
def test_everything_can_be_said_in_a_sentence(about: About, state: str) -> None:
    details = {About.ACCOUNT: ("quarantined",)}.get(about, ("p1", "p2"))
    said = sentence(Notice(about, "crm", state, NOW, details, 3, "next"))
    assert said
    assert "{" not in said
    assert about in {About.OVERDUE, About.BROKEN} or "crm" in said
