"""Runs, account states, requests of people, and who holds the mirror."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncd.store import journal
from syncd.store.session import Engine, reading, writing
from tests.store.factories import NOW, later, rows


def test_every_configured_account_has_a_row_that_stays(engine: Engine):
    with writing(engine) as connection:
        journal.ensure_accounts(connection, {"b": "rocs", "a": "rokt"})
        journal.update_account(connection, "a", state="ok", joined=True)
        journal.ensure_accounts(connection, {"a": "rokt", "c": "rocs"})
        assert [(row.name, row.provider, row.state) for row in journal.load_accounts(connection)] == [
            ("a", "rokt", "ok"),
            ("b", "rocs", "new"),
            ("c", "rocs", "new"),
        ]
        assert journal.load_account(connection, "a").joined is True


@pytest.mark.parametrize(("before", "after"), [("ok", "new"), ("paused", "paused")])
def test_an_account_that_has_another_provider_by_now_is_met_anew(engine: Engine, before: str, after: str):
    with writing(engine) as connection:
        journal.ensure_accounts(connection, {"a": "rokt"})
        journal.update_account(connection, "a", state=before, joined=True, last_good_read=NOW, failures=3)
        journal.ensure_accounts(connection, {"a": "http"})
        row = journal.load_account(connection, "a")
    assert (row.provider, row.state, row.joined, row.last_good_read, row.failures) == ("http", after, False, None, 0)


@pytest.mark.parametrize(("before", "after"), [("ok", "failing"), ("paused", "paused")])
def test_what_a_person_paused_meanwhile_stays_paused(engine: Engine, before: str, after: str):
    with writing(engine) as connection:
        journal.ensure_accounts(connection, {"a": "rokt"})
        journal.update_account(connection, "a", state=before)
        journal.note_standing(connection, "a", state="failing")
        assert journal.load_account(connection, "a").state == after


def test_a_run_is_opened_and_closed(engine: Engine):
    with writing(engine) as connection:
        journal.open_run(connection, "r-1", "a", NOW)
        journal.close_run(connection, "r-1", later(1), "partial", "paused", {"rows": 3})
    (row,) = rows(engine, journal.run)
    assert (row.account, row.started_at, row.ended_at, row.result, row.reason, row.counts) == (
        "a", NOW, later(1), "partial", "paused", {"rows": 3},
    )  # fmt: skip


def test_runs_that_never_ended_are_closed_at_the_start_and_no_others(engine: Engine):
    with writing(engine) as connection:
        journal.open_run(connection, "r-1", "a", NOW)
        journal.open_run(connection, "r-2", "a", NOW)
        journal.close_run(connection, "r-1", later(1), "success", "", {})
        journal.abandon_runs(connection, later(9))
    assert {row.id: (row.result, row.ended_at) for row in rows(engine, journal.run)} == {
        "r-1": ("success", later(1)),
        "r-2": ("aborted", later(9)),
    }


def test_a_person_asks_for_a_round_and_learns_what_came_of_it(engine: Engine):
    with writing(engine) as connection:
        journal.ask_for_round(connection, "w-2", ["a"], True, later(1))
        journal.ask_for_round(connection, "w-1", [], False, NOW)
        assert [(row.id, row.accounts, row.full) for row in journal.asked_rounds(connection)] == [
            ("w-1", [], False),
            ("w-2", ["a"], True),
        ]
        assert journal.round_outcome(connection, "w-1") is None
        assert journal.round_outcome(connection, "nonsense") is None
        journal.answer_round(connection, "w-1", {"sent": 3}, later(2))
        assert journal.round_outcome(connection, "w-1") == {"sent": 3}
        assert [row.id for row in journal.asked_rounds(connection)] == ["w-2"]


# Who holds the mirror


def take(engine: Engine, who: str, now=NOW) -> int | None:
    with writing(engine) as connection:
        return journal.take_mirror(connection, who, now, 60.0)


def keep(engine: Engine, token: int, now=NOW) -> bool:
    with writing(engine) as connection:
        return journal.keep_mirror(connection, token, now, 60.0)


def test_a_second_taker_is_refused_until_the_first_has_let_it_expire(engine: Engine):
    assert take(engine, "one") == 1
    assert take(engine, "two") is None
    assert take(engine, "two", NOW + timedelta(seconds=59)) is None
    assert take(engine, "two", NOW + timedelta(seconds=60)) == 2


def test_renewing_keeps_others_out(engine: Engine):
    token = take(engine, "one")
    assert token is not None
    assert keep(engine, token, NOW + timedelta(seconds=50))
    assert take(engine, "two", NOW + timedelta(seconds=80)) is None


def test_one_who_was_paused_for_too_long_cannot_go_on(engine: Engine):
    first = take(engine, "one")
    second = take(engine, "two", NOW + timedelta(hours=1))
    assert first is not None
    assert second is not None
    assert not keep(engine, first, NOW + timedelta(hours=1))
    assert keep(engine, second, NOW + timedelta(hours=1))


def test_one_who_comes_back_gets_another_token(engine: Engine):
    assert (take(engine, "one"), take(engine, "one")) == (1, 2)
    assert not keep(engine, 1), "its former life cannot go on"


def test_who_leaves_lets_the_next_in_at_once(engine: Engine):
    token = take(engine, "one")
    assert token is not None
    with reading(engine) as connection:
        assert journal.holding(connection, NOW) == "one"
    with writing(engine) as connection:
        journal.leave_mirror(connection, token, NOW)
        assert journal.holding(connection, NOW) is None
    assert take(engine, "two") == 2
    with writing(engine) as connection:
        journal.leave_mirror(connection, token, NOW)
        assert journal.holding(connection, NOW) == "two", "a former holder cannot send the present one away"


def test_nobody_holds_a_new_mirror(engine: Engine):
    with reading(engine) as connection:
        assert journal.holding(connection, NOW) is None


def test_single_values_are_set_and_replaced(engine: Engine):
    with writing(engine) as connection:
        assert journal.get_value(connection, "x") is None
        journal.set_value(connection, "x", "1")
        journal.set_value(connection, "x", "2")
        assert journal.get_value(connection, "x") == "2"
