"""What is seen: digests, pages that are told apart once and only when asked, counters."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import Change, ChangeKind, Target
from syncd.domain.identity import Identity
from syncd.domain.records import (
    PRESENT,
    SUPPRESSED,
    CampaignStats,
    ContainerId,
    Page,
    Record,
    Status,
    digest_of,
    hides,
    keyless,
)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_digest_is_short_and_tells_two_records_apart(one: bytes, other: bytes):
    assert len(digest_of(one)) == 16
    assert (digest_of(one) == digest_of(other)) == (one == other)


@pytest.mark.parametrize("records", [(), (Record("1", b"{}"),)], ids=["of nobody", "of somebody"])
def test_the_records_of_a_page_are_told_apart_once_and_only_when_somebody_asks(records):
    asked = []

    def decode() -> tuple[Record, ...]:
        asked.append("decoded")
        return cast("tuple[Record, ...]", records)

    page = Page(b"[]", len(records), decode, None)
    assert asked == []
    assert page.records == page.records == records
    assert asked == ["decoded"]


def test_counters_that_a_provider_does_not_give_are_none_and_not_nought():
    stats = CampaignStats("K-1", "Spring", sent=10, opened=0)
    assert stats.counters == {"sent": 10, "opened": 0, "clicked": None, "bounced": None, "unsubscribed": None}


def test_nobody_who_is_removed_or_was_never_there_is_present():
    assert set(Status) - PRESENT == {Status.REMOVED, Status.ABSENT}
    assert SUPPRESSED <= PRESENT


def test_a_change_is_about_the_person_and_the_records_that_it_names():
    ann, place = Identity("ann@example.org"), ContainerId("L-1")
    change = Change(ChangeKind.UPDATE, place, ann, "Ann@example.org", ("7", "8"), "C-1", {"first_name": "Ann"})
    assert change.target == Target(place, ann, "Ann@example.org", ("7", "8"), "C-1")


@pytest.mark.parametrize(
    ("key", "by_itself", "somebody"),
    [
        ("6553f1", False, False),
        ("~" + "0a" * 10, True, True),
        ("?" + "0a" * 12, True, True),
        ("~" + "0a" * 11, False, False),
        ("~" + "0A" * 10, False, False),
        ("~" + "0a" * 10 + "x", False, False),
        ("unread:7", False, True),
    ],
)
def test_behind_which_keys_somebody_else_may_stand(key: str, by_itself: bool, somebody: bool):
    assert (keyless(key), hides(key)) == (by_itself, somebody)
