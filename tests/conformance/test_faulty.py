"""The suite itself: each sentence has an adapter that breaks it, and every such adapter is noticed."""

from __future__ import annotations

import pytest

from tests.conformance.suite import FAULTY, SENTENCES, Faulty
from tests.schemas import VIOLATIONS

NOTICED = (AssertionError, pytest.fail.Exception)


@pytest.mark.parametrize("faulty", FAULTY, ids=lambda faulty: faulty.adapter.__name__)
def test_the_suite_notices(faulty: Faulty) -> None:
    with pytest.raises(NOTICED if faulty.raises is None else faulty.raises):
        SENTENCES[faulty.sentence].check(faulty.bench(faulty.adapter))
    VIOLATIONS.clear()  # what a faulty adapter sends may well be beside the schemas


def test_each_sentence_has_an_adapter_that_breaks_it() -> None:
    assert {faulty.sentence for faulty in FAULTY} == set(SENTENCES)
