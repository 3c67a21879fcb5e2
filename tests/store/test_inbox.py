"""Deliveries as they came, each once."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.domain.records import Delivery
from syncd.store import inbox
from syncd.store.session import Engine, reading, writing
from tests.store.factories import NOW, later, rows


def delivery(body: bytes = b'{"a": 1}', **more) -> Delivery:
    defaults: dict[str, Any] = {
        "route": ("unsubscribe", "x"),
        "method": "POST",
        "headers": {"content-type": "application/json", "authorization": "Bearer canary", "user-agent": "Rokt"},
        "query": (("a", "1"), ("a", "2")),
        "received_at": NOW,
    }
    return Delivery(body=body, **(defaults | more))


def put(engine: Engine, name: str = "d-1", *, account: str = "rokt", number: int = 1, **more) -> tuple[str, bool]:
    again = more.pop("read_again", False)
    with writing(engine) as connection:
        return inbox.put_delivery(
            connection, account, name, delivery(**more), id=f"i-{number}", seq=number, read_again=again
        )


def new(engine: Engine, limit: int = 9):
    with reading(engine) as connection:
        return inbox.new_deliveries(connection, limit)


def test_a_delivery_comes_out_as_it_went_in_but_for_what_authenticates(engine: Engine):
    body = bytes(range(256))
    assert put(engine, body=body) == ("i-1", True)
    ((row, found),) = new(engine)
    assert (row.account, row.seq) == ("rokt", 1)
    assert (found.route, found.method, found.query, found.body) == (
        ("unsubscribe", "x"),
        "POST",
        (("a", "1"), ("a", "2")),
        body,
    )
    assert found.received_at == NOW
    assert found.headers == {"content-type": "application/json", "user-agent": "Rokt"}
    assert "canary" not in repr(rows(engine, inbox.inbox))


def test_the_same_delivery_is_kept_once_and_answered_with_the_id_of_the_first(engine: Engine):
    put(engine)
    assert put(engine, number=2, body=b"other") == ("i-1", False)
    assert [found.body for _, found in new(engine)] == [b'{"a": 1}']


@pytest.mark.parametrize(("name", "account"), [("d-2", "rokt"), ("d-1", "rokt-two")])
def test_another_delivery_or_another_account_is_another_one(engine: Engine, name: str, account: str):
    put(engine)
    assert put(engine, name, account=account, number=2) == ("i-2", True)


def test_they_are_read_in_the_order_of_their_arrival_and_once(engine: Engine):
    for number in (3, 1, 2):
        put(engine, f"d-{number}", number=number)
    assert [row.seq for row, _ in new(engine)] == [1, 2, 3]
    assert [row.seq for row, _ in new(engine, limit=2)] == [1, 2]
    with writing(engine) as connection:
        inbox.settle_delivery(connection, "i-1", "done")
        inbox.settle_delivery(connection, "i-2", "parked", "not readable")
    assert [row.seq for row, _ in new(engine)] == [3]
    parked = next(row for row in rows(engine, inbox.inbox) if row.id == "i-2")
    assert (parked.state, parked.reason) == ("parked", "not readable")


@pytest.mark.parametrize(("read_again", "seqs"), [(True, [9]), (False, [])])
def test_a_repetition_is_read_once_more_only_where_that_is_asked_for(engine: Engine, read_again: bool, seqs):
    put(engine)
    with writing(engine) as connection:
        inbox.settle_delivery(connection, "i-1", "done")
    assert put(engine, number=9, received_at=later(1), read_again=read_again) == ("i-1", False)
    assert [row.seq for row, _ in new(engine)] == seqs
    assert [found.received_at for _, found in new(engine)] == ([later(1)] if read_again else [])
