"""What waits for a moment only so as not to be tried too often; and what a clock that went back makes of it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.engine import Engine

from syncd.store import journal, outbox, people, waits
from syncd.store.session import reading, writing
from tests.store.factories import NOW, key_of, later, person, put, wish

DAY = timedelta(days=1)


def test_whatever_was_put_off_to_a_time_that_was_never_meant_is_due(engine: Engine):
    put(engine, wish())
    ahead = NOW + DAY
    with writing(engine) as connection:
        journal.ensure_accounts(connection, {"rocs": "rocs"})
        journal.update_account(connection, "rocs", last_attempt=ahead, held_until=ahead)
        outbox.postpone(connection, [1], ahead, "it failed", counts=True)
        people.put_on_agenda(connection, [key_of(person(1))], ahead)
    with reading(engine) as connection:
        assert waits.from_later(connection, later(1))
        assert not waits.from_later(connection, ahead + DAY)
        assert outbox.sendable(connection, "rocs", later(1), 10) == []
        assert not outbox.no_waits(connection, "rocs", later(1))
    with writing(engine) as connection:
        waits.end(connection, later(1))
    with reading(engine) as connection:
        assert journal.load_account(connection, "rocs").held_until is None
        assert len(outbox.sendable(connection, "rocs", later(1), 10)) == 1
        assert people.due_people(connection, later(1), 10) == [key_of(person(1))]


def test_what_is_past_stays_as_it_is(engine: Engine):
    put(engine, wish())
    with writing(engine) as connection:
        waits.end(connection, NOW + DAY)
    with reading(engine) as connection:
        assert not waits.from_later(connection, NOW)
        assert len(outbox.sendable(connection, "rocs", later(1), 10)) == 1
