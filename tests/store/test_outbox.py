"""Operations on their way out: one open per cell, under way before the first byte leaves, never forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from syncd.domain.changes import ChangeKind
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.desired import Closing
from syncd.reconcile.person import OPEN, OpState
from syncd.store import outbox, people
from syncd.store.session import Engine, reading, writing
from tests.store.factories import (
    ANN,
    BOB,
    HOUR,
    KEY,
    NOW,
    R1,
    begin,
    key_of,
    later,
    observe,
    operations,
    person,
    put,
    seen,
    wish,
)

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE


def sendable(engine: Engine, *, now=NOW, account: str = "rocs", limit: int = 99):
    with reading(engine) as connection:
        return outbox.sendable(connection, account, now, limit)


def finish(engine: Engine, number: int, state: OpState, *, seq: int = 20, at=NOW, **more) -> None:
    with writing(engine) as connection:
        outbox.finish(connection, number, state, seq, at, **more)


def states(engine: Engine) -> list[str]:
    return [row.state for row in operations(engine)]


# Putting


def test_a_change_comes_out_as_it_went_in(engine: Engine):
    change = wish(UPDATE, fields={"phone": "1"}, keys=("1", "2"), account_key="7")
    assert put(engine, change) == 1
    (op,) = sendable(engine)
    assert (op.change, op.key, op.attempts) == (change.change, KEY, 0)


@pytest.mark.parametrize("state", sorted(OPEN))
def test_a_cell_holds_one_open_operation(engine: Engine, state: OpState):
    put(engine, wish(UPDATE, fields={"phone": "1"}))
    with writing(engine) as connection:
        connection.execute(outbox.op.update().values(state=state.value))
    new = put(engine, wish(UNSUBSCRIBE), at=later(1))
    if state is OpState.READY:
        assert (new, states(engine)) == (1, ["superseded", "ready"])
        assert operations(engine)[0].closed_at == later(1)
    else:
        assert (new, states(engine)) == (0, [state.value])


@pytest.mark.parametrize("state", sorted(set(OpState) - OPEN))
def test_a_closed_operation_holds_no_cell(engine: Engine, state: OpState):
    put(engine, wish())
    with writing(engine) as connection:
        connection.execute(outbox.op.update().values(state=state.value))
    assert put(engine, wish()) == 1


@pytest.mark.parametrize("state", sorted(OPEN))
def test_the_database_itself_refuses_a_second_open_operation_for_a_cell(engine: Engine, state: OpState):
    put(engine, wish())
    (row,) = operations(engine)
    second = {name: value for name, value in row._mapping.items() if name != "id"} | {"state": state.value}
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(outbox.op.insert().values(**second))
    with writing(engine) as connection:
        connection.execute(outbox.op.insert().values(**(second | {"state": "verified"})))
        connection.execute(outbox.op.insert().values(**(second | {"identity": BOB})))


def test_unsubscribes_go_first_then_corrections_then_the_rest_oldest_first(engine: Engine):
    kinds = [SUBSCRIBE, UPDATE, UNSUBSCRIBE, UPDATE, UNSUBSCRIBE]
    put(engine, *(wish(kind, person(n)) for n, kind in enumerate(kinds)))
    assert [op.change.identity for op in sendable(engine)] == [person(n) for n in (2, 4, 1, 3, 0)]
    assert len(sendable(engine, limit=2)) == 2


def test_what_goes_out_is_due_ready_and_of_that_account(engine: Engine):
    put(engine, wish(identity=person(1)), at=later(5))
    put(engine, wish(identity=person(2), account="salesrocks"))
    put(engine, wish(identity=person(3), account="rokt"))
    begin(engine, 3)
    assert sendable(engine) == []
    assert [op.change.identity for op in sendable(engine, now=later(5))] == [person(1)]
    with reading(engine) as connection:
        assert outbox.accounts_with_work(connection, NOW) == {"salesrocks", "rokt"}, "what is under way may be stranded"
        assert outbox.accounts_with_work(connection, later(5)) == {"rocs", "salesrocks", "rokt"}
        assert outbox.in_flight(connection, "rokt")
        assert not outbox.in_flight(connection, "rocs")


def test_with_nothing_to_send_nothing_is_due(engine: Engine):
    with reading(engine) as connection:
        assert outbox.accounts_with_work(connection, NOW) == set()


# Under way


def test_only_what_is_still_ready_is_put_under_way(engine: Engine):
    put(engine, wish(identity=person(1)), wish(identity=person(2)), wish(identity=person(3)))
    assert begin(engine, 1, seq=10) == {1}
    finish(engine, 3, OpState.SUPERSEDED)
    assert begin(engine, 1, 2, 3, 99, seq=11) == {2}
    first, second, _ = operations(engine)
    assert (first.state, first.began_seq, first.attempts, first.sent_at) == ("inflight", 10, 1, NOW)
    assert (second.began_seq, second.attempts) == (11, 1)


@pytest.mark.parametrize("state", sorted(set(OpState) - {OpState.READY, OpState.INFLIGHT}))
def test_an_ended_call_is_noted_with_what_the_provider_said(engine: Engine, state: OpState):
    put(engine, wish())
    begin(engine, 1)
    finish(engine, 1, state, seq=20, at=later(1), receipt="r-1", keys=("9",), reason="because")
    (row,) = operations(engine)
    assert (row.state, row.ended_seq, row.ended_at) == (state.value, 20, later(1))
    assert (row.receipt, row.keys, row.reason) == ("r-1", ["9"], "because")
    assert (row.closed_at is None) is (state in OPEN)


def test_what_a_provider_does_not_say_changes_nothing(engine: Engine):
    put(engine, wish(keys=("1",)))
    begin(engine, 1)
    finish(engine, 1, OpState.ACCEPTED, receipt="r-1")
    finish(engine, 1, OpState.ACCEPTED)
    (row,) = operations(engine)
    assert (row.receipt, row.keys) == ("r-1", ["1"])


@pytest.mark.parametrize(("counts", "attempts"), [(True, 1), (False, 0)])
def test_what_did_not_arrive_goes_back(engine: Engine, counts: bool, attempts: int):
    put(engine, wish())
    begin(engine, 1)
    with writing(engine) as connection:
        outbox.postpone(connection, [1], later(5), "throttled", counts=counts)
    (row,) = operations(engine)
    assert (row.state, row.not_before, row.reason, row.attempts) == ("ready", later(5), "throttled", attempts)
    assert sendable(engine) == []


def test_an_attempt_that_was_never_made_cannot_be_taken_back(engine: Engine):
    put(engine, wish())
    with writing(engine) as connection:
        outbox.postpone(connection, [1], later(5), "later", counts=False)
    assert operations(engine)[0].attempts == 0


def test_after_a_restart_whatever_was_under_way_is_unknown(engine: Engine):
    put(engine, wish(identity=person(1)), wish(identity=person(2)), wish(identity=person(3)))
    begin(engine, 1, 2)
    finish(engine, 2, OpState.ACCEPTED, seq=15)
    with writing(engine) as connection:
        assert outbox.recover(connection, 30, later(1), "stopped") == [key_of(person(1))]
        assert outbox.recover(connection, 31, later(2), "stopped") == []
    assert states(engine) == ["unknown", "accepted", "ready"]
    assert (operations(engine)[0].ended_seq, operations(engine)[0].ended_at) == (30, later(1))


# The fence


@pytest.mark.parametrize(
    ("ended", "read_at", "fenced"),
    [
        pytest.param(None, 99, True, id="under way: no reading counts"),
        pytest.param(20, 19, True, id="read before it ended"),
        pytest.param(20, 20, False, id="read from its end on"),
        pytest.param(20, 21, False, id="read after it ended"),
    ],
)
@pytest.mark.parametrize("state", [OpState.ACCEPTED, OpState.UNKNOWN, OpState.VERIFIED, OpState.REFUTED])
def test_a_reading_from_before_the_end_of_a_write_is_not_believed(engine: Engine, state, ended, read_at, fenced: bool):
    put(engine, wish())
    begin(engine, 1)
    if ended is not None:
        finish(engine, 1, state, seq=ended)
    with reading(engine) as connection:
        assert outbox.fenced(connection, "rocs", R1, read_at) == ({ANN} if fenced else set())
        assert outbox.fenced(connection, "salesrocks", R1, read_at) == set()


def test_what_was_not_sent_fences_nothing(engine: Engine):
    put(engine, wish())
    with reading(engine) as connection:
        assert outbox.fenced(connection, "rocs", R1, 0) == set()


# Counting, reading back


def test_what_counts_against_the_guard_is_counted_by_group_within_the_window(engine: Engine):
    put(engine, wish(SUBSCRIBE, person(1)), wish(SUBSCRIBE, person(2)), wish(UNSUBSCRIBE, person(3)), guarded=True)
    put(engine, wish(SUBSCRIBE, person(4)), guarded=False)
    put(engine, wish(SUBSCRIBE, person(5)), guarded=True, at=NOW - HOUR)
    put(engine, wish(SUBSCRIBE, person(6), account="salesrocks"), guarded=True)
    finish(engine, 2, OpState.SUPERSEDED)
    begin(engine, 1)
    finish(engine, 1, OpState.VERIFIED)
    with reading(engine) as connection:
        assert outbox.count_guarded(connection, NOW) == {
            ("rocs", R1, SUBSCRIBE): 1,
            ("rocs", R1, UNSUBSCRIBE): 1,
            ("salesrocks", R1, SUBSCRIBE): 1,
        }
        assert outbox.count_guarded(connection, NOW - HOUR)["rocs", R1, SUBSCRIBE] == 2


def test_what_waits_to_be_read_back_is_named_unsubscribes_first(engine: Engine):
    put(
        engine,
        wish(SUBSCRIBE, person(1), keys=()),
        wish(UNSUBSCRIBE, person(2)),
        wish(UPDATE, person(3)),
        wish(identity=person(4)),
    )
    begin(engine, 1, 2, 3)
    finish(engine, 1, OpState.UNKNOWN)
    finish(engine, 2, OpState.ACCEPTED)
    finish(engine, 3, OpState.DONE)
    with reading(engine) as connection:
        found = outbox.awaiting_read(connection, "rocs")
    assert found == [
        (2, R1, person(2), str(person(2)), ("1",)),
        (1, R1, person(1), str(person(1)), ()),
    ]


def test_whom_nothing_was_read_of_since_is_named(engine: Engine):
    observe(engine, seen("1", identity=person(1)), seen("2", identity=person(2)), seq=5)
    put(engine, wish(identity=person(1)), wish(identity=person(2)), wish(identity=person(3)))
    begin(engine, 1, 2, 3)
    for number in (1, 2):
        finish(engine, number, OpState.ACCEPTED, seq=20, at=NOW)
    finish(engine, 3, OpState.UNKNOWN, seq=21, at=later(5))
    observe(engine, seen("2", Status.UNSUBSCRIBED, identity=person(2)), seq=25)
    with reading(engine) as connection:
        assert outbox.unread_since(connection, "rocs", R1, later(1)) == [20]
        assert len(outbox.unread_since(connection, "rocs", R1, later(5))) == 2
        assert outbox.unread_since(connection, "rocs", R1, NOW - HOUR) == []


def test_how_many_we_took_away_since_a_listing(engine: Engine):
    put(engine, *(wish(identity=person(n)) for n in range(1, 6)), wish(UPDATE, person(9)))
    begin(engine, 1, 2, 3, 4, 6)
    finish(engine, 1, OpState.ACCEPTED, seq=20)
    finish(engine, 2, OpState.UNKNOWN, seq=20)
    finish(engine, 3, OpState.VERIFIED, seq=20)
    finish(engine, 4, OpState.REFUTED, seq=20)
    finish(engine, 6, OpState.ACCEPTED, seq=20)
    with reading(engine) as connection:
        assert outbox.taken_away(connection, "rocs", R1, 19) == 3
        assert outbox.taken_away(connection, "rocs", R1, 20) == 0
        assert outbox.taken_away(connection, "salesrocks", R1, 0) == 0


# Closing, and trying again


def test_operations_are_closed_with_their_reason(engine: Engine):
    put(engine, wish())
    begin(engine, 1)
    finish(engine, 1, OpState.ACCEPTED)
    with writing(engine) as connection:
        (who,) = people.load_people(connection, [KEY])
        (op,) = who.operations
        outbox.close_operations(connection, [Closing(op, OpState.VERIFIED, "read back as asked")], later(1), seq=9)
    (row,) = operations(engine)
    assert (row.state, row.reason, row.closed_at) == ("verified", "read back as asked", later(1))


@pytest.mark.parametrize("state", list(OpState))
def test_a_person_lets_a_change_that_was_given_up_be_planned_again(engine: Engine, state: OpState):
    put(engine, wish(UPDATE, fields={"phone": "1"}))
    with writing(engine) as connection:
        connection.execute(outbox.op.update().values(state=state.value))
        given_up = state in {OpState.PARKED, OpState.BLOCKED}
        assert outbox.retry_parked(connection, 1, later(1)) is given_up
        assert outbox.retry_parked(connection, 99, later(1)) is False
    assert states(engine) == ["superseded" if given_up else state.value]


def test_with_another_try_all_that_failed_before_is_forgotten_there_and_only_there(engine: Engine):
    for container, state in (("R1", "refuted"), ("R2", "refuted"), ("R1", "refuted"), ("R1", "blocked")):
        put(engine, wish(UPDATE, container=container, fields={"phone": "1"}))
        with writing(engine) as connection:
            connection.execute(outbox.op.update().where(outbox.op.c.state == "ready").values(state=state))
    before = load_person(engine)
    assert before.refuted == {(("rocs", R1, ANN), UPDATE): 3, (("rocs", ContainerId("R2"), ANN), UPDATE): 1}
    with writing(engine) as connection:
        assert outbox.retry_parked(connection, 4, later(1))
    assert load_person(engine).refuted == {(("rocs", ContainerId("R2"), ANN), UPDATE): 1}


def load_person(engine: Engine):
    with reading(engine) as connection:
        (who,) = people.load_people(connection, [KEY])
    return who


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0.01, 60), st.floats(60, 86_400))
def test_waiting_grows_to_a_limit_and_is_spread_over_its_upper_half(attempts: int, jitter, base, limit):
    wait = outbox.backoff(attempts, jitter, base_s=base, max_s=limit)
    ceiling = min(limit, base * 2.0 ** min(attempts, 16))
    assert timedelta(seconds=ceiling / 2) - timedelta(milliseconds=1) <= wait
    assert wait <= timedelta(seconds=min(limit, ceiling) + 0.001)
    assert outbox.backoff(attempts, 1, base_s=base, max_s=limit) <= outbox.backoff(
        attempts + 1, 1, base_s=base, max_s=limit
    )
