"""Was this listing whole? Any doubt, and nothing is inferred from who is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.reconcile.guard import Limits
from syncd.reconcile.whole import SHIFTED, Evidence, another_account, doubt

LIMITS = Limits(max_share=0.1, max_count=3)


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        pytest.param(Evidence(expected=0, rows=0), None, id="a list that was and is empty"),
        pytest.param(Evidence(expected=100, rows=100), None, id="as many as before"),
        pytest.param(Evidence(expected=100, rows=150), None, id="more than before"),
        pytest.param(Evidence(expected=100, rows=90), None, id="at the share"),
        pytest.param(Evidence(expected=100, rows=89), "11 of 100 are gone at once", id="above the share"),
        pytest.param(Evidence(expected=4, rows=1), None, id="few in number"),
        pytest.param(Evidence(expected=3, rows=0), "empty, where 3 were known", id="empty, however few there were"),
        pytest.param(Evidence(expected=-2, rows=0), None, id="we took away more than there were"),
        pytest.param(
            Evidence(expected=100, rows=100, repeated=True),
            "a page came that had been there before",
            id="goes in circles",
        ),
        pytest.param(
            Evidence(expected=100, rows=99, total=100),
            "the provider counts 100 and listed 99",
            id="the provider counts more",
        ),
        pytest.param(
            Evidence(expected=100, rows=100, total=99), None, id="the provider counts fewer: somebody joined meanwhile"
        ),
        pytest.param(
            Evidence(expected=100, rows=50, total=50),
            "50 of 100 are gone at once",
            id="the provider's count agrees, and many are gone",
        ),
        pytest.param(
            Evidence(expected=100, rows=100, missing=11), "11 of 100 are gone at once", id="others came in their place"
        ),
        pytest.param(Evidence(expected=90, rows=90, missing=20, taken=11), None, id="most of them we took away"),
        pytest.param(Evidence(expected=100, rows=50, allowed=50), None, id="a person accepted this size"),
        pytest.param(
            Evidence(expected=100, rows=49, allowed=50), "51 of 100 are gone at once", id="smaller still than accepted"
        ),
        pytest.param(Evidence(expected=100, rows=0, allowed=0), None, id="a person accepted that it is empty"),
        pytest.param(
            Evidence(expected=100, rows=50, total=60, allowed=50),
            "the provider counts 60 and listed 50",
            id="accepted, but cut off",
        ),
        pytest.param(
            Evidence(expected=100, rows=50, repeated=True, allowed=50),
            "a page came that had been there before",
            id="accepted, but in circles",
        ),
        pytest.param(Evidence(expected=9, rows=9, first_page_same=True), None, id="its first page stood still"),
        pytest.param(Evidence(expected=9, rows=9, first_page_same=False), SHIFTED, id="its first page moved meanwhile"),
        pytest.param(
            Evidence(expected=9, rows=5, allowed=5, first_page_same=False), SHIFTED, id="accepted, but it moved"
        ),
    ],
)
def test_doubts(evidence: Evidence, said: str | None):
    assert doubt(evidence, LIMITS) == said


@pytest.mark.parametrize(
    ("known", "shown", "strange"),
    [
        ({"a", "b"}, {"c"}, True),
        ({"a", "b"}, {"b", "c"}, False),
        ({"a"}, set(), False),
        (set(), {"a"}, False),
    ],
    ids=["none of them", "one of them", "shows none at all", "never showed one"],
)
def test_an_account_that_shows_other_lists_and_none_of_its_own_is_another(known, shown, strange):
    assert another_account(known, shown) is strange


@given(st.integers(0, 500), st.integers(0, 500), st.none() | st.integers(0, 500), st.booleans())
def test_a_listing_counts_as_whole_only_if_nothing_speaks_against_it(expected: int, rows: int, total, repeated: bool):
    if doubt(Evidence(expected, rows, total, repeated), LIMITS) is None:
        assert not repeated
        assert total is None or rows >= total
        assert not LIMITS.exceeded(expected - rows, expected)
        assert rows or not expected


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500))
def test_more_rows_never_raise_a_doubt(expected: int, rows: int, more: int):
    if doubt(Evidence(expected, rows), LIMITS) is None:
        assert doubt(Evidence(expected, rows + more), LIMITS) is None
