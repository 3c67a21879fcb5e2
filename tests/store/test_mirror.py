"""What was seen: only observations come in, older ones are dropped, and an absence is established step by step."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from syncd.domain.identity import Identity
from syncd.domain.records import Status
from syncd.store import mirror, people
from syncd.store.session import Engine, reading, writing
from tests.store.factories import ANN, BOB, KEY, NOW, R1, cells, key_of, later, observe, rows, seen

NO = Status.UNSUBSCRIBED


def test_a_record_that_was_never_seen_is_written_down_as_it_came(engine: Engine):
    found = observe(engine, seen("1", fields={"first_name": "Ann"}, remote_id="c-1"), seq=5)
    assert (found.new, found.changed) == (1, 0)
    (row,) = cells(engine).values()
    assert (row.account, row.container, row.key, row.identity, row.person_key) == ("rocs", "R1", "1", ANN, KEY)
    assert (row.status, row.seq, row.status_seq, row.said_no_seq) == ("subscribed", 5, 5, 0)
    assert (row.observed_at, row.status_at, row.route, row.grade) == (NOW, NOW, "listing", "verified")
    assert (json.loads(row.fields), row.base, row.remote_id) == ({"first_name": "Ann"}, None, "c-1")
    assert row.raw.encode() == seen("1", fields={"first_name": "Ann"}, remote_id="c-1").observation.raw


@pytest.mark.parametrize("status", [Status.UNSUBSCRIBED, Status.COMPLAINED])
def test_a_record_that_says_no_from_the_first_is_noted_as_such(engine: Engine, status: Status):
    observe(engine, seen("1", status), seq=5)
    assert cells(engine)["1"].said_no_seq == 5


def test_who_is_known_to_be_subscribed_and_nothing_else_is_a_newcomer(engine: Engine):
    found = observe(engine, seen("1"), seen("2", NO, identity=BOB), seq=5)
    assert found.newcomers | found.people == {KEY, key_of(BOB)}
    assert key_of(BOB) in found.people, "who says no is always looked at"


def test_a_record_without_a_usable_address_is_kept_and_concerns_nobody(engine: Engine):
    found = observe(engine, seen("1", identity=None), seq=5)
    assert (found.new, found.people | found.newcomers) == (1, set())
    assert cells(engine)["1"].person_key is None


def test_the_same_key_twice_on_a_page_is_one_record(engine: Engine):
    found = observe(engine, seen("1"), seen("1", NO), seq=5)
    assert found.new == 1
    assert [row.status for row in cells(engine).values()] == ["unsubscribed"]


# What a newer reading changes


def test_a_status_that_turned_moves_its_number_and_its_time(engine: Engine):
    observe(engine, seen("1"), seq=5)
    found = observe(engine, seen("1", NO), seq=9, at=later(1), route="feed")
    assert (found.new, found.changed, found.people) == (0, 1, {KEY})
    row = cells(engine)["1"]
    assert (row.seq, row.status_seq, row.status_at, row.said_no_seq, row.route) == (9, 9, later(1), 9, "feed")


def test_a_value_that_changed_leaves_number_and_time_of_the_status_alone(engine: Engine):
    observe(engine, seen("1", NO, fields={"phone": "1"}), seq=5)
    observe(engine, seen("1", NO, fields={"phone": "2"}), seq=9, at=later(1))
    row = cells(engine)["1"]
    assert (row.seq, row.observed_at, row.status_seq, row.status_at) == (9, later(1), 5, NOW)
    assert json.loads(row.fields) == {"phone": "2"}


def test_the_last_no_is_remembered_when_the_record_reads_subscribed_again(engine: Engine):
    observe(engine, seen("1", NO), seq=5)
    observe(engine, seen("1"), seq=9)
    row = cells(engine)["1"]
    assert (row.status, row.status_seq, row.said_no_seq) == ("subscribed", 9, 5)


@pytest.mark.parametrize(
    ("before", "after", "turned"),
    [
        pytest.param(("2026-01-01", NO), ("2026-02-02", NO), True, id="the time of the no moved: a new no"),
        pytest.param(("2026-01-01", NO), ("2026-01-01", NO), False, id="the same no"),
        pytest.param((None, Status.SUBSCRIBED), ("2026-01-01", Status.SUBSCRIBED), True, id="whatever the word says"),
        pytest.param(("20", NO), ("10", NO), False, id="an earlier time: a replica that lags"),
        pytest.param(("20", NO), (None, NO), False, id="no time at all"),
    ],
)
def test_an_unsubscribe_time_that_moved_is_a_new_no(engine: Engine, before, after, turned: bool):
    observe(engine, seen("1", before[1], unsubscribed_at=before[0]), seq=5)
    observe(engine, seen("1", after[1], unsubscribed_at=after[0]), seq=9)
    row = cells(engine)["1"]
    assert (row.status_seq == 9) is turned
    assert row.unsubscribed_at == (after[0] if turned else before[0])


@pytest.mark.parametrize(("seq", "kept"), [(4, "subscribed"), (5, "unsubscribed"), (6, "unsubscribed")])
def test_a_reading_older_than_what_is_known_is_dropped(engine: Engine, seq: int, kept: str):
    observe(engine, seen("1"), seq=5)
    found = observe(engine, seen("1", NO), seq=seq)
    assert cells(engine)["1"].status == kept
    assert bool(found.changed) is (kept == "unsubscribed")


def test_a_record_that_changed_its_address_concerns_both_people(engine: Engine):
    observe(engine, seen("1"), seq=5)
    found = observe(engine, seen("1", identity=BOB), seq=9)
    assert found.people == {KEY, key_of(BOB)}
    row = cells(engine)["1"]
    assert (row.identity, row.person_key) == (BOB, key_of(BOB))


def test_a_record_that_lost_its_address_concerns_whom_it_stood_for(engine: Engine):
    observe(engine, seen("1"), seq=5)
    assert observe(engine, seen("1", identity=None), seq=9).people == {KEY}
    assert cells(engine)["1"].identity is None


def test_a_record_read_again_is_not_missing_any_more(engine: Engine):
    observe(engine, seen("1"), seq=5)
    missing(engine, "1", seq=6)
    observe(engine, seen("1", fields={"phone": "1"}), seq=9)
    row = cells(engine)["1"]
    assert (row.missing_seq, row.missing_count) == (0, 0)


def test_the_merged_base_survives_a_new_reading(engine: Engine):
    observe(engine, seen("1", fields={"phone": "1"}), seq=5)
    with writing(engine) as connection:
        connection.execute(mirror.cell.update().values(base='{"phone":"1"}'))
    observe(engine, seen("1", fields={"phone": "2"}), seq=9)
    assert cells(engine)["1"].base == '{"phone":"1"}'


# What is known


def test_what_is_known_is_asked_for_in_any_number(engine: Engine):
    observe(engine, *(seen(str(n), identity=Identity(f"p{n}@example.org")) for n in range(2300)), seq=5)
    with reading(engine) as connection:
        known = mirror.known_cells(connection, "rocs", R1, [str(n) for n in range(3000)])
        assert mirror.known_cells(connection, "rocs", R1, []) == {}
        assert mirror.known_cells(connection, "salesrocks", R1, ["1"]) == {}
        assert mirror.holds_any(connection, "rocs", R1)
        assert not mirror.holds_any(connection, "salesrocks", R1)
    assert len(known) == 2300
    assert (known["7"].digest, known["7"].seq, known["7"].status) == (
        seen("7", identity=Identity("p7@example.org")).digest, 5, "subscribed",
    )  # fmt: skip


def test_what_was_read_one_by_one_and_is_as_it_was_moves_only_its_moment(engine: Engine):
    observe(engine, seen("1"), seen("2", identity=BOB), seq=5)
    missing(engine, "1", seq=6)
    with writing(engine) as connection:
        mirror.touch(connection, "rocs", "R1", ["1", "2"], 8, later(1))
        mirror.touch(connection, "rocs", "R1", ["2"], 7, later(2))
    row = cells(engine)["1"]
    assert (row.seq, row.status_seq, row.observed_at, row.missing_count) == (8, 5, later(1), 0)
    assert cells(engine)["2"].observed_at == later(1), "an older reading moves nothing back"


# Absences


def missing(engine: Engine, *gone: str, seq: int):
    with writing(engine) as connection:
        return mirror.mark_missing(connection, "rocs", "R1", gone, seq=seq)


def test_a_record_that_is_not_listed_any_more_is_missing_once_then_twice(engine: Engine):
    observe(engine, seen("1"), seen("2", identity=BOB), seq=5)
    assert missing(engine, "1", seq=6) == [KEY]
    assert missing(engine, seq=7) == [KEY], "it stays missing without being named again"
    row = cells(engine)["1"]
    assert (row.missing_seq, row.missing_count, row.status) == (7, 2, "subscribed")
    assert cells(engine)["2"].missing_count == 0


def test_the_same_listing_counts_once(engine: Engine):
    observe(engine, seen("1"), seq=5)
    missing(engine, "1", seq=6)
    missing(engine, "1", seq=6)
    assert cells(engine)["1"].missing_count == 1


def test_a_listing_that_began_before_the_record_was_read_says_nothing_of_it(engine: Engine):
    observe(engine, seen("1"), seq=5)
    assert missing(engine, "1", seq=4) == []
    assert cells(engine)["1"].missing_count == 0


def test_who_is_listed_again_is_not_missing_any_more(engine: Engine):
    observe(engine, seen("1"), seq=5)
    missing(engine, "1", seq=6)
    with writing(engine) as connection:
        mirror.reappeared(connection, "rocs", "R1", ["1"])
    assert cells(engine)["1"].missing_count == 0
    assert missing(engine, seq=7) == []


def test_an_absence_that_is_established_removes_the_record_and_keeps_its_content(engine: Engine):
    observe(engine, seen("1", fields={"phone": "1"}), seen("2"), seq=5)
    missing(engine, "1", seq=6)
    with writing(engine) as connection:
        mirror.remove(connection, "rocs", "R1", ANN, seq=8, at=later(1))
    gone, there = cells(engine)["1"], cells(engine)["2"]
    assert (gone.status, gone.status_seq, gone.seq, gone.missing_count) == ("removed", 6, 8, 0)
    assert json.loads(gone.fields) == {"phone": "1"}
    assert there.status == "subscribed", "a record of the same person that is listed stays"
    assert missing(engine, "1", seq=9) == [], "who is removed cannot go missing"


def test_records_asked_for_one_by_one_and_not_there_are_removed(engine: Engine):
    observe(engine, seen("1"), seen("2"), seen("3"), seq=5)
    observe(engine, seen("3", NO), seq=20)
    with writing(engine) as connection:
        mirror.remove_records(connection, "rocs", "R1", ["1", "3"], seq=8, at=later(1))
    assert [cells(engine)[key].status for key in "123"] == ["removed", "subscribed", "unsubscribed"]


def look_up_finds_nobody(engine: Engine, *, seq: int, at=NOW):
    with writing(engine) as connection:
        return mirror.record_absence(connection, "rocs", "R1", ANN, "Ann@Example.org", seq=seq, at=at)


def test_nobody_was_there_and_never_was(engine: Engine):
    assert look_up_finds_nobody(engine, seq=5) == KEY
    (row,) = cells(engine).values()
    assert (row.status, row.identity, row.address, row.seq) == ("absent", ANN, "Ann@Example.org", 5)
    look_up_finds_nobody(engine, seq=8, at=later(1))
    (row,) = cells(engine).values()
    assert (row.status, row.status_seq, row.seq, row.observed_at) == ("absent", 5, 8, later(1))


def test_nobody_is_there_any_more(engine: Engine):
    observe(engine, seen("1"), seen("2", NO), seq=5)
    look_up_finds_nobody(engine, seq=8, at=later(1))
    assert [(row.status, row.status_seq, row.status_at) for row in cells(engine).values()] == [
        ("removed", 8, later(1)),
        ("removed", 8, later(1)),
    ]
    assert cells(engine)["2"].said_no_seq == 5, "that they said no is not forgotten"


def test_an_older_look_up_that_found_nobody_says_nothing(engine: Engine):
    observe(engine, seen("1"), seq=5)
    look_up_finds_nobody(engine, seq=4)
    assert [row.status for row in cells(engine).values()] == ["subscribed"]


def test_who_was_absent_and_is_there_now_is_no_longer_absent(engine: Engine):
    look_up_finds_nobody(engine, seq=5)
    observe(engine, seen(str(ANN), fields={"phone": "1"}), seq=8)
    (row,) = cells(engine).values()
    assert (row.status, row.status_seq) == ("subscribed", 8)


# Our own words


def test_an_unsubscribe_of_ours_that_was_read_back_is_noted(engine: Engine):
    observe(engine, seen("1"), seen("2", identity=BOB), seq=5)
    with writing(engine) as connection:
        mirror.touch(connection, "rocs", "R1", ["1"], 9, NOW)
        mirror.note_said_no(connection, "rocs", "R1", ANN)
        mirror.note_said_no(connection, "rocs", "R1", ANN)
    assert (cells(engine)["1"].said_no_seq, cells(engine)["2"].said_no_seq) == (9, 0)


@pytest.mark.parametrize("known", [True, False])
def test_what_a_provider_that_cannot_be_read_accepted_is_all_that_is_known(engine: Engine, known: bool):
    if known:
        observe(engine, seen(str(ANN), fields={"phone": "1"}, container="*"), seq=5, account="rokt")
    with writing(engine) as connection:
        mirror.write_told(connection, "rokt", "*", ANN, seq=9, at=later(1), receipt="r-1")
    (row,) = cells(engine, "rokt").values()
    assert (row.status, row.grade, row.route, row.receipt) == ("unsubscribed", "accepted", "answer", "r-1")
    assert (row.seq, row.status_seq, row.said_no_seq, row.person_key) == (9, 9, 9, KEY)
    assert (row.fields == "{}") is not known


# Counters


def test_counters_are_kept_apart_and_appended_when_they_change(engine: Engine):
    for seq, opened in ((5, 1), (6, 1), (7, 2), (8, 1)):
        observe(engine, seen("1", counters={"opened": opened}, fields={"n": str(seq)}), seq=seq, at=later(seq))
    assert [row.counters for row in rows(engine, mirror.counter_sample)] == [
        {"opened": 1},
        {"opened": 2},
        {"opened": 1},
    ]


def test_times_come_back_as_they_went_in_on_both_engines(engine: Engine):
    observe(engine, seen("1"), seq=5, at=NOW)
    observe(engine, seen("1", NO), seq=6, at=later(1))
    with reading(engine) as connection:
        (at,) = connection.scalars(sa.select(mirror.cell.c.observed_at))
    assert at == later(1)
    assert at.utcoffset() == NOW.utcoffset()


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        pytest.param("a\x00b", "a\ufffdb", id="a NUL, which Postgres keeps in no text"),
        pytest.param("a\\u0000b", "a\\u0000b", id="what merely looks like one"),
        pytest.param('"\\\n\t\x7f \u2028 \U0001f642', '"\\\n\t\x7f \u2028 \U0001f642', id="anything else odd"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_odd_characters_fail_no_page(engine: Engine, known: bool, came: str, kept: str):
    if known:
        observe(engine, seen("1"), seq=5)
    odd = seen("1", fields={"first_name": came})
    observe(engine, odd._replace(observation=odd.observation._replace(address=came)), seq=6)
    row = cells(engine)["1"]
    assert (json.loads(row.fields), row.address) == ({"first_name": kept}, kept)
    with writing(engine) as connection:
        (who,) = people.load_people(connection, [KEY])
        people.save_merged(connection, [(who, {ANN: who.cells[0].fields})], NOW)
        (after,) = people.load_people(connection, [KEY])
    assert after.fields == {ANN: {"first_name": kept}}


def test_the_address_that_a_record_went_by_before_was_there_and_is_gone(engine: Engine):
    observe(engine, seen("1"), seq=5)
    for seq, identity in ((9, BOB), (10, BOB), (11, ANN), (12, BOB)):
        observe(engine, seen("1", identity=identity, fields={"n": str(seq)}), seq=seq)
    with reading(engine) as connection:
        before, now = people.load_people(connection, [KEY, key_of(BOB)])
    assert [(cell.status, cell.identity, cell.said_no_seq) for cell in before.cells] == [("removed", ANN, 0)]
    assert sorted((cell.status, cell.identity) for cell in now.cells) == [("removed", BOB), ("subscribed", BOB)]
