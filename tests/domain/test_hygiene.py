"""Scores, bands and words of a verifier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.hygiene import Band, Hygiene, Verification
from syncd.providers.salesrocks.options import BANDS

RULES = Hygiene("sales", BANDS)


@pytest.mark.parametrize(
    ("score", "band"),
    [
        (0, Band.INVALID), (49, Band.INVALID), (50, Band.RISKY), (69, Band.RISKY), (70, Band.LIKELY), (79, Band.LIKELY),
        (80, Band.FULL_INBOX), (89, Band.FULL_INBOX), (90, Band.VALID), (99, Band.VALID),
    ],
)  # fmt: skip
def test_bands_are_as_documented(score, band):
    assert RULES.band(Verification(score, "invalid")) is band


@pytest.mark.parametrize(
    ("word", "band"), [("valid", Band.VALID), ("invalid", Band.INVALID), ("accept all", Band.RISKY), ("", Band.RISKY)]
)
def test_a_verdict_without_a_score_goes_by_its_word(word, band):
    assert RULES.band(Verification(None, word)) is band


@given(st.lists(st.integers(0, 100), min_size=4, max_size=4), st.integers(0, 99), st.integers(0, 99))
def test_a_higher_score_is_never_a_lower_band(least, one, other):
    rules = Hygiene("sales", dict(zip(BANDS, sorted(least), strict=True)))
    order = list(Band)
    low, high = (order.index(rules.band(Verification(score, ""))) for score in sorted((one, other)))
    assert low <= high


@given(st.sampled_from(list(Band)), st.sampled_from(list(Band)))
def test_what_spreads_from_a_band_spreads_from_every_better_one(least, band):
    rules = Hygiene("sales", BANDS, spreads_from=least)
    order = list(Band)
    assert rules.takes(band) is (order.index(band) >= order.index(least))
