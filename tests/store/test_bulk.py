"""Rows in bulk: the same rows come out, whichever way the driver takes them in."""

from __future__ import annotations

import json
from datetime import timedelta, timezone

import pytest
import sqlalchemy as sa

from syncd.domain.identity import Identity
from syncd.store import mirror
from syncd.store.bulk import COPY_FROM, chunks, insert_rows, native_time
from syncd.store.session import Engine, reading, writing
from tests.store.factories import NOW, observe, rows, seen

ODD = ("", "a\tb", "line\nbreak", "back\\slash", "\\N", "quote'\"", "öЖ漢🙂", "NULL", '{"x": "\\u0000"}'[:6])


@pytest.mark.parametrize("count", [1, COPY_FROM - 1, COPY_FROM, COPY_FROM + 1])
def test_few_rows_and_many_come_out_as_they_went_in(engine: Engine, count: int):
    readings = [
        seen(
            str(n),
            identity=None if n % 7 == 0 else Identity(f"p{n}@example.org"),
            fields={"v": ODD[n % len(ODD)]},
            remote_id=ODD[n % len(ODD)],
        )
        for n in range(count)
    ]
    found = observe(engine, *readings, seq=5)
    assert found.new == count
    kept = {row.key: row for row in rows(engine, mirror.cell)}
    assert len(kept) == count
    for entry in readings:
        row = kept[entry.observation.key]
        assert json.loads(row.fields) == entry.observation.fields
        assert (row.identity, row.remote_id) == (entry.observation.identity, entry.observation.remote_id)
        assert (row.raw.encode(), bytes(row.digest), row.observed_at) == (entry.observation.raw, entry.digest, NOW)


def test_no_rows_are_no_statement(engine: Engine):
    with writing(engine) as connection:
        insert_rows(connection, mirror.cell, ["account"], [])
    assert rows(engine, mirror.cell) == []


def test_many_rows_go_with_their_transaction(engine: Engine):
    readings = [seen(str(n)) for n in range(COPY_FROM + 1)]
    with pytest.raises(ZeroDivisionError), writing(engine) as connection:
        mirror.observe(connection, "rocs", readings, {}, seq=5, at=NOW, route=str(1 // 0))
    with pytest.raises(RuntimeError):
        _observe_and_fail(engine, readings)
    assert rows(engine, mirror.cell) == []


def _observe_and_fail(engine: Engine, readings) -> None:
    with writing(engine) as connection:
        mirror.observe(connection, "rocs", readings, {}, seq=5, at=NOW, route="listing")
        raise RuntimeError


def test_a_time_is_what_the_driver_wants_and_means_the_same(engine: Engine):
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-5)))
    with reading(engine) as connection:
        native = native_time(connection, elsewhere)
    observe(engine, seen("1"), seq=5, at=elsewhere)
    with reading(engine) as connection:
        at = connection.scalar(sa.select(mirror.cell.c.observed_at))
        earlier = connection.scalar(sa.select(sa.func.count()).where(mirror.cell.c.observed_at <= NOW))
    assert at == NOW
    assert earlier == 1, "times sort as times"
    assert isinstance(native, str) is (engine.dialect.name == "sqlite")


@pytest.mark.parametrize(("count", "size", "parts"), [(0, 3, []), (3, 3, [3]), (7, 3, [3, 3, 1])])
def test_chunks_leave_nothing_out(count: int, size: int, parts: list[int]):
    found = chunks(list(range(count)), size)
    assert [len(part) for part in found] == parts
    assert [item for part in found for item in part] == list(range(count))
