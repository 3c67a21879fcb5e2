"""Is this too much at once? Only the risky kind is held; what somebody said never waits for a limit."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId
from syncd.reconcile.desired import Desired
from syncd.reconcile.guard import Hold, Limits, group_of, guarded, sift
from tests.reconcile.factories import wish

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE
LIMITS = Limits(max_share=0.1, max_count=3)


def many(count: int, kind: ChangeKind, where: str = "rocs", **more) -> list[Desired]:
    return [wish(kind, where, identity=Identity(f"p{n}@example.org"), **more) for n in range(count)]


def holds(desired, *, counted=None, size: int = 0, first_contact: bool = True) -> list[Hold]:
    sizes = {(item.account, item.change.container): size for item in desired}
    go, held = sift(desired, limits=LIMITS, hold_first_contact=first_contact, counted=counted or {}, sizes=sizes)
    assert sorted(map(id, go + [h.desired for h in held])) == sorted(map(id, desired)), "each goes or waits, once"
    return [entry.hold for entry in held]


@pytest.mark.parametrize(
    ("count", "size", "exceeded"),
    [
        pytest.param(3, 0, False, id="at the absolute limit"),
        pytest.param(4, 0, True, id="above both"),
        pytest.param(4, 40, False, id="at the share"),
        pytest.param(4, 39, True, id="above the share"),
        pytest.param(100, 10_000, False, id="many, and few of them"),
        pytest.param(2, 2, False, id="everybody of a tiny list"),
    ],
)
def test_held_is_what_is_above_both_limits(count: int, size: int, exceeded: bool):
    assert LIMITS.exceeded(count, size) is exceeded


@pytest.mark.parametrize(
    ("desired", "counts"),
    [
        pytest.param(wish(SUBSCRIBE), True, id="an addition"),
        pytest.param(wish(SUBSCRIBE, first_contact=True), False, id="an addition of a first contact"),
        pytest.param(wish(UNSUBSCRIBE, explicit=True), False, id="an unsubscribe somebody said"),
        pytest.param(wish(UNSUBSCRIBE), True, id="an unsubscribe nobody said"),
        pytest.param(wish(UPDATE), False, id="a correction"),
    ],
)
def test_what_counts_against_the_limits(desired: Desired, counts: bool):
    assert guarded(desired) is counts


@pytest.mark.parametrize(
    ("desired", "held"),
    [
        pytest.param(many(3, SUBSCRIBE), [], id="few additions"),
        pytest.param(many(4, SUBSCRIBE), [Hold.GUARD] * 4, id="many additions wait together"),
        pytest.param(many(4, UNSUBSCRIBE), [Hold.GUARD] * 4, id="many unsubscribes nobody said"),
        pytest.param(many(400, UNSUBSCRIBE, explicit=True), [], id="any number of unsubscribes somebody said"),
        pytest.param(many(400, UPDATE), [], id="any number of corrections"),
        pytest.param(many(1, UNSUBSCRIBE, explicit=True, mass=True), [Hold.MASS], id="one of a mass"),
        pytest.param(many(4, UNSUBSCRIBE, mass=True), [Hold.GUARD] * 4, id="a mass nobody said: the guard holds it"),
        pytest.param(many(1, SUBSCRIBE, first_contact=True), [Hold.FIRST_CONTACT], id="an addition of a first contact"),
        pytest.param(many(1, UPDATE, first_contact=True), [Hold.FIRST_CONTACT], id="a correction of a first contact"),
        pytest.param(
            many(1, UNSUBSCRIBE, explicit=True, first_contact=True), [], id="an unsubscribe of a first contact"
        ),
        pytest.param(
            many(1, UNSUBSCRIBE, protected=True), [Hold.FIRST_CONTACT], id="nobody's word, in a mirror that was lost"
        ),
        pytest.param(
            many(1, UNSUBSCRIBE, explicit=True, protected=True), [], id="somebody's word, in a mirror that was lost"
        ),
        pytest.param(
            many(1, SUBSCRIBE, protected=True), [Hold.FIRST_CONTACT], id="an addition, in a mirror that was lost"
        ),
        pytest.param(many(3, SUBSCRIBE) + many(3, SUBSCRIBE, "salesrocks"), [], id="each container for itself"),
        pytest.param(
            many(4, SUBSCRIBE) + many(1, SUBSCRIBE, "salesrocks"),
            [Hold.GUARD] * 4,
            id="one over its limit holds no other",
        ),
        pytest.param(
            many(4, UNSUBSCRIBE) + many(1, SUBSCRIBE), [Hold.GUARD] * 4, id="one kind over its limit holds no other"
        ),
        pytest.param(
            many(4, UNSUBSCRIBE) + many(4, UNSUBSCRIBE, explicit=True),
            [Hold.GUARD] * 4,
            id="what was said goes, though what was not said waits",
        ),
    ],
)
def test_what_waits(desired: list[Desired], held: list[Hold]):
    assert holds(desired) == held


def test_a_large_list_takes_more():
    assert holds(many(4, SUBSCRIBE), size=40) == []


@pytest.mark.parametrize(("before", "held"), [(2, []), (3, [Hold.GUARD])])
def test_what_went_or_waits_within_the_window_counts(before: int, held: list[Hold]):
    group = ("rocs", ContainerId("R1"), SUBSCRIBE)
    assert holds(many(1, SUBSCRIBE), counted={group: before}) == held


def test_a_first_contact_that_is_let_pass_counts_against_nothing():
    assert holds(many(400, SUBSCRIBE, first_contact=True), first_contact=False) == []


def test_a_group_is_one_kind_of_change_in_one_container_of_one_account():
    assert group_of(wish(SUBSCRIBE, "salesrocks", "S1")) == ("salesrocks", "S1", SUBSCRIBE)


WISHES = st.lists(
    st.builds(
        lambda kind, where, explicit, first, mass: wish(kind, where, explicit=explicit, first_contact=first, mass=mass),
        st.sampled_from(ChangeKind),
        st.sampled_from(["rocs", "salesrocks"]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


@given(
    WISHES,
    st.booleans(),
    st.integers(0, 50),
    st.dictionaries(st.sampled_from([("rocs", ContainerId("R1"), k) for k in ChangeKind]), st.integers(0, 9)),
)
def test_an_unsubscribe_that_somebody_said_never_waits_for_a_limit(desired, first_contact, size: int, counted):
    sizes = {(w.account, w.change.container): size for w in desired}
    go, held = sift(desired, limits=LIMITS, hold_first_contact=first_contact, counted=counted, sizes=sizes)
    order = {id(item): place for place, item in enumerate(desired)}
    assert [order[id(item)] for item in go] == sorted(order[id(item)] for item in go), "the order is kept"
    for entry in held:
        w = entry.desired
        assert not (w.change.kind is UNSUBSCRIBE and w.explicit and not w.mass)
        assert (entry.hold is Hold.MASS) <= w.mass
        assert (entry.hold is Hold.FIRST_CONTACT) <= (w.first_contact and first_contact)
    for w, kind in product(go, [SUBSCRIBE]):
        if w.change.kind is kind and guarded(w):
            number = sum(group_of(x) == group_of(w) and guarded(x) for x in desired) + counted.get(group_of(w), 0)
            assert not LIMITS.exceeded(number, size)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SUBSCRIBE, UNSUBSCRIBE, UPDATE]),
            st.sampled_from([f"p{n}@example.org" for n in range(6)]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.sets(st.sampled_from([f"p{n}@example.org" for n in range(6)])),
    st.booleans(),
)
def test_with_whom_care_is_taken_is_never_added_and_their_no_never_waits_for_it(drawn, careful, hold_first):
    desired = [
        wish(kind, identity=Identity(email), explicit=explicit, first_contact=first)
        for kind, email, explicit, first in drawn
    ]
    cautious = {suppression_key(Identity(email)) for email in careful}
    rules = {"limits": LIMITS, "hold_first_contact": hold_first, "counted": {}, "sizes": {}}
    go, held = sift(desired, **rules, cautious=cautious)
    without, _ = sift(desired, **rules)
    assert not [item for item in go if item.change.kind is SUBSCRIBE and item.change.identity in careful]
    changed = [item for item in without if item not in go]
    assert all(item.change.kind is SUBSCRIBE and item.change.identity in careful for item in changed)
    assert {entry.hold for entry in held if entry.desired in changed} <= {Hold.RESYNC}
