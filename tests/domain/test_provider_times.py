"""A provider's own times: compared with that provider's own, and with nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.records import later, seconds_of

SECONDS = st.integers(0, 10**12)


@given(SECONDS, SECONDS)
def test_seconds_are_compared_as_numbers_and_not_as_text(one: int, other: int):
    assert later(str(one), str(other)) is (one > other)


@pytest.mark.parametrize("text", [None, "", "now", "2026-01-01", "-1", "1e9", "1.", "٣", "1" * 40])
def test_what_is_no_number_of_seconds_is_never_later(text: str | None):
    assert seconds_of(text) is None
    assert not later(text, "1")
    assert not later("1", text)


def test_fractions_count():
    assert later("100.5", "100.25")
    assert not later("100.5", "100.50")
