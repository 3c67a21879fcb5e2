"""A page in which one record fails costs that record; an outage is an outage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.domain.errors import FailedError, UnavailableError
from syncd.domain.records import UNREAD, WHOLE_ACCOUNT, ContainerId
from syncd.providers.rocs.pages import _pieces
from tests.providers.rocs.conftest import Crm


def filled(crm: Crm, count: int) -> list[str]:
    crm.emulator.add_list("L-1", "Spring")
    keys = [crm.emulator.add_customer(f"p{n}@example.org") for n in range(count)]
    for key in keys:
        crm.emulator.add_member("L-1", key)
    return keys


@pytest.mark.quirk("rocs-500-means-anything")
@pytest.mark.parametrize("container", ["*", "L-1"])
def test_one_record_that_fails_costs_itself_and_the_rest_of_its_page_is_read(crm, container):
    keys = filled(crm, 7)
    crm.use(page_size=6)
    crm.emulator.unreadable.add(keys[2])
    (first, second) = crm.pages(container)
    shown = [record.key for record in (*first.records, *second.records)]
    assert shown == [*keys[:2], f"{UNREAD}3", *keys[3:]]
    assert (first.count, first.total, first.next) == (6, 7, "2")
    (lost,) = (record for record in first.records if record.key.startswith(UNREAD))
    assert b"HTTP 500: Object reference not set" in lost.raw
    seen = crm.adapter.read(ContainerId(container), lost)
    assert (seen.identity, seen.status.value) == (None, "unknown")


def test_a_feed_goes_on_as_well_and_its_failures_have_names_of_their_own(crm):
    keys = filled(crm, 3)
    crm.emulator.unreadable.add(keys[0])
    (page,) = crm.pages(since="2026-01-01T00:00:00Z")
    assert [record.key for record in page.records] == [f"{UNREAD}changed-1", *keys[1:]]


def test_an_outage_is_told_apart_by_a_page_that_nobody_is_on(crm):
    filled(crm, 7)
    crm.carry(crm.adapter.check())
    crm.emulator.broken = True
    before = len(crm.emulator.calls)
    with pytest.raises(FailedError):
        crm.pages()
    assert len(crm.emulator.calls) == before + 2


def test_more_failures_than_allowed_are_an_outage_whatever_else_is_served(crm):
    keys = filled(crm, 7)
    crm.use(page_size=6, unread_max=2)
    crm.emulator.unreadable.update(keys[:2])
    assert len(crm.everyone()) == 7
    crm.emulator.unreadable.add(keys[4])
    with pytest.raises(UnavailableError, match="unread_max"):
        crm.everyone()


def test_a_page_size_that_is_capped_is_known_before_a_page_is_taken_apart(crm):
    keys = filled(crm, 9)
    crm.emulator.page_size_max = 4
    crm.emulator.unreadable.add(keys[5])
    shown = [record.key for page in crm.pages() for record in page.records]
    assert shown == [*keys[:5], f"{UNREAD}6", *keys[6:]]


def test_a_campaign_that_fails_keeps_no_other_from_being_counted(crm):
    for number in range(3):
        crm.emulator.add_campaign(f"K-{number}", f"News {number}", sent=number)
    crm.emulator.unreadable.add("K-1")
    found = crm.carry(crm.adapter.campaigns((), None))
    assert [(one.campaign_id, one.sent) for one in found] == [("K-0", 0), ("K-2", 2)]


@given(st.integers(1, 50), st.integers(1, 5000))
def test_the_smaller_pages_cover_exactly_the_larger(number, size):
    if size == 1:
        return
    covered = [at for piece, smaller in _pieces(number, size) for at in range((piece - 1) * smaller, piece * smaller)]
    assert covered == list(range((number - 1) * size, number * size))


@settings(max_examples=40)
@given(st.sets(st.integers(0, 22), max_size=10), st.integers(1, 30))
def test_whichever_records_fail_every_other_is_read_once_and_in_order(bad, size):
    crm = Crm(page_size=size)
    keys = filled(crm, 23)
    crm.emulator.unreadable.update(keys[n] for n in bad)
    shown = [record.key for page in crm.pages() for record in page.records]
    assert shown == [f"{UNREAD}{n + 1}" if n in bad else key for n, key in enumerate(keys)]
    assert WHOLE_ACCOUNT in {one.id for one in crm.carry(crm.adapter.containers())}
