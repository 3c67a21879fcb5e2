"""What the protocol says of lists, listings, feeds, look-ups and reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from syncd.domain.errors import MalformedError, ProviderError
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Observation, Record, Status
from syncd.wire import Request, Response
from tests.conformance.bench import ANN, BOB, CAT, NOBODY, PEOPLE, Bench, Say, emulator_of, odd
from tests.conformance.sentences.sentence import sentence

# Lists ---------------------------------------------------------------------------------------------------------------


def cuts(bench: Bench, *sizes: int) -> Iterator[int]:
    """Page sizes that this provider can be told to stay under; none where it has no pages."""
    for size in sizes:
        try:
            bench.cut(size)
        except NotImplementedError:
            yield 0
            return
        yield size


@sentence("lists-whole", "CanList")
def every_list_is_named_once(bench: Bench) -> None:
    for number in range(120):  # more than any page that is asked for
        bench.add_list(f"List {number}")
    for size in cuts(bench, 7, 50, 1000):
        adapter = bench.adapter()
        found = [one.id for one in bench.carry(adapter, adapter.containers())]
        there = bench.lists()
        assert sorted(found) == sorted(set(found)), f"a list twice, with pages of {size}"
        assert there <= set(found), f"lists are missing, with pages of {size}"


@sentence("lists-account", "CanList")
def people_apart_from_lists_are_in_the_whole_account(bench: Bench) -> None:
    adapter = bench.adapter()
    found = {one.id for one in bench.carry(adapter, adapter.containers())}
    assert (WHOLE_ACCOUNT in found) == any(row.container == WHOLE_ACCOUNT for row in bench.census())


# Whole listings ------------------------------------------------------------------------------------------------------


def crowd(bench: Bench, count: int = 9) -> list[str]:
    emails = [f"p{number}@example.org" for number in range(count)]
    for email in emails:
        bench.joins(email, "Pat", "Crowd")
    return sorted([*emails, *PEOPLE])


@sentence("everybody-once", "CanSnapshot")
def everybody_is_listed_once(bench: Bench) -> None:
    emails = crowd(bench)
    for size in cuts(bench, 1, 4, 5, 12, 500):
        found = [one.address for one in bench.everybody()]
        assert sorted(found) == emails, f"with pages of {size}"


@sentence("page-whole", "CanSnapshot")
def a_listing_never_ends_because_of_a_fault(bench: Bench) -> None:
    crowd(bench)
    for _ in cuts(bench, 4):
        adapter, first = bench.adapter(), bench.pages()[0]
        for spoilt in (b"", b"{", b"<html>", b"[[", None):

            def say(_: int, request: Request, honest: Say, spoilt: bytes | None = spoilt) -> Response:
                sound = honest(request)
                body = sound.body[:-40] if spoilt is None else spoilt
                return Response(sound.status, sound.headers, body)

            with pytest.raises(MalformedError):
                bench.carry(adapter, adapter.snapshot(ContainerId(bench.place), first.next), say)
        for status in (429, 500, 503):
            with pytest.raises(ProviderError):
                bench.carry(
                    adapter,
                    adapter.snapshot(ContainerId(bench.place), first.next),
                    lambda _, __, ___, status=status: Response(status),  # type: ignore[misc]
                )


@sentence("page-goes-on", "CanSnapshot")
def a_listing_can_be_gone_on_with_by_a_new_adapter(bench: Bench) -> None:
    emails = crowd(bench)
    for _ in cuts(bench, 4):
        found = [record.raw for page in bench.pages(fresh=True) for record in page.records]
        assert len(found) == len(emails)
        assert found == [record.raw for record in bench.records()]


@sentence("page-counts", "CanSnapshot")
def a_page_counts_what_is_on_it(bench: Bench) -> None:
    crowd(bench)
    for _ in cuts(bench, 4):
        pages = bench.pages()
        assert all(page.count == len(page.records) for page in pages)
        assert all(page.total in {None, sum(one.count for one in pages)} for page in pages)
    bench.add_list("empty")
    (empty,) = bench.lists() - {bench.place, bench.other, WHOLE_ACCOUNT}
    assert [page.count for page in bench.pages(empty)] == [0]


@sentence("record-stays", "CanSnapshot")
def a_record_is_the_same_until_something_changes(bench: Bench) -> None:
    before = {record.key: record.raw for record in bench.records()}
    assert len(before) == len(PEOPLE)
    (ann,) = [key for key, raw in before.items() if ANN.encode() in raw]
    bench.clock.skip(3600)
    assert {record.key: record.raw for record in bench.records()} == before
    bench.leaves(ANN)
    after = {record.key: record.raw for record in bench.records()}
    assert after.keys() == before.keys()
    assert [key for key in after if after[key] != before[key]] == [ann]


@sentence("read-pure", "CanSnapshot")
def a_record_reads_the_same_whenever_it_is_read(bench: Bench) -> None:
    adapter = bench.adapter()
    for record in bench.records():
        first = adapter.read(ContainerId(bench.place), record)
        bench.clock.skip(86_400)
        assert (
            bench.adapter().read(ContainerId(bench.place), record)
            == first
            == adapter.read(ContainerId(bench.place), record)
        )
        assert (first.container, first.key, first.raw) == (bench.place, record.key, record.raw)
        assert first.identity == first.address.lower()


@sentence("read-total", "CanSnapshot")
def odd_content_is_read_and_marked(bench: Bench) -> None:
    adapter = bench.adapter()
    places = [bench.place, *([bench.updates_at] if bench.updates_at else [])]
    for place in places:
        for raw in odd(bench.records(place)[0].raw):
            seen = adapter.read(ContainerId(place), Record("k", raw))
            assert isinstance(seen, Observation)
            assert isinstance(seen.status, Status)
            assert seen.identity is None or "@" in seen.identity
            assert all(isinstance(value, str) for value in (seen.address, *seen.fields.values()))
    bench.joins("nobody at all", "No", "Body")
    (strange,) = [one for one in bench.everybody() if one.address == "nobody at all"]
    assert strange.identity is None


@sentence("read-no-guess")
def an_unknown_word_is_no_consent(bench: Bench) -> None:
    if not bench.able & {"CanSnapshot", "CanLookup"}:
        return
    for word in ("paused", "subscribed?", "SUBSCRIBED BY FRIEND", "42"):
        bench.goes_odd(ANN, word)
        assert {one.status for one in looked_at(bench, ANN)} == {Status.UNKNOWN}, word


def looked_at(bench: Bench, email: str, place: str | None = None) -> list[Observation]:
    """Somebody as they read now, by whichever way this provider has."""
    if "CanSnapshot" in bench.able:
        return [one for one in bench.everybody(place) if one.identity == email]
    adapter = bench.adapter()
    return list(bench.carry(adapter, adapter.lookup(bench.target(email, place))) or ())


@sentence("read-blank")
def a_blank_is_no_field(bench: Bench) -> None:
    if not bench.able & {"CanSnapshot", "CanLookup"}:
        return
    bench.joins("bare@example.org")
    place = bench.updates_at or bench.place
    (bare,) = looked_at(bench, "bare@example.org", place)
    assert not {"first_name", "last_name"} & bare.fields.keys()
    (ann,) = looked_at(bench, ANN, place)
    assert (ann.fields["first_name"], ann.fields["last_name"]) == PEOPLE[ANN]
    assert all(value.strip() for value in ann.fields.values())


# Feeds ---------------------------------------------------------------------------------------------------------------


@sentence("feed-inclusive", "CanFeed")
def the_newest_is_seen_again(bench: Bench) -> None:
    bench.clock.skip(60)
    bench.leaves(ANN)
    newest = max(page.watermark or "" for page in bench.pages())
    again = [record.key for page in bench.pages(since=newest) for record in page.records]
    assert [one.key for one in bench.everybody() if one.address == ANN] == again


@sentence("feed-news", "CanFeed")
def a_feed_shows_whatever_changed_since(bench: Bench) -> None:
    since = max(page.watermark or "" for page in bench.pages())
    for email in (ANN, CAT):
        bench.clock.skip(60)
        bench.leaves(email)
    bench.joins("new@example.org", "New")
    for _ in cuts(bench, 1, 500):
        adapter = bench.adapter()
        told = {record.key: record for page in bench.pages(since=since) for record in page.records}
        shown = {one.key: one for one in bench.everybody()}
        read = {key: adapter.read(ContainerId(bench.place), record) for key, record in told.items()}
        assert {one.address for one in read.values()} >= {ANN, CAT, "new@example.org"}
        assert all(shown[key] == one for key, one in read.items())


# Look-ups ------------------------------------------------------------------------------------------------------------


@sentence("lookup-all", "CanLookup")
def a_look_up_shows_all_records_of_one_person(bench: Bench) -> None:
    place = bench.updates_at or bench.place
    if bench.adapter().facts.keeps_duplicates:
        bench.joins(ANN, "Annabel", "Quill")
    adapter = bench.adapter()
    found = bench.carry(adapter, adapter.lookup(bench.target(ANN, place)))
    assert len(found) == len(bench.of(ANN, place))
    assert {(one.container, one.identity) for one in found} == {(place, ANN)}
    bench.leaves(ANN)
    found = bench.carry(adapter, adapter.lookup(bench.target(ANN, place)))
    assert sorted(one.status for one in found) == sorted(row.status for row in bench.of(ANN, place))


@sentence("lookup-nobody", "CanLookup")
def nobody_is_an_answer(bench: Bench) -> None:
    adapter = bench.adapter()
    assert not bench.carry(adapter, adapter.lookup(bench.target(NOBODY, bench.updates_at)))
    only_there = replace(bench.target(CAT, bench.updates_at), container=ContainerId(bench.other))
    assert not bench.carry(adapter, adapter.lookup(only_there)), "looked up on one list, shown from another"


@sentence("lookup-harmless", "CanLookup")
def a_look_up_changes_nothing(bench: Bench) -> None:
    for email in (ANN, NOBODY):
        adapter, target, writes = bench.adapter(), bench.target(email, bench.updates_at), emulator_of(bench).writes
        before = bench.census()
        bench.carry(adapter, adapter.lookup(target))
        assert bench.census() == before
        assert emulator_of(bench).writes == writes


# Campaigns -----------------------------------------------------------------------------------------------------------


@sentence("report-every", "CanReport")
def every_campaign_is_reported_once(bench: Bench) -> None:
    names = [f"Spring {number}" for number in range(12)]
    ids = {bench.runs_campaign(name): name for name in names}
    for _ in cuts(bench, 5):
        adapter = bench.adapter()
        found = bench.carry(adapter, adapter.campaigns([ANN, BOB], None))
        assert sorted(one.campaign_id for one in found) == sorted(ids)
        assert {one.campaign_id: one.name for one in found} == ids


@sentence("report-no-zero", "CanReport")
def a_counter_that_is_not_given_is_not_zero(bench: Bench) -> None:
    bench.runs_campaign("Spring")
    adapter = bench.adapter()

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: without(one)
                for key, one in value.items()
                if key not in {"sent", "opened", "clicked", "impressions"}
            }
        return [without(one) for one in value] if isinstance(value, list) else value

    def say(_: int, request: Request, honest: Say) -> Response:
        sound = honest(request)
        return Response(sound.status, sound.headers, json.dumps(without(json.loads(sound.body))).encode())

    for one in bench.carry(adapter, adapter.campaigns([ANN], None), say):
        assert one.sent is one.opened is one.clicked is None
        assert "impressions" not in one.extra
