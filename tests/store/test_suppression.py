"""What the mirror itself refuses, whoever writes into it and however: tried by hand, in SQL."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentEvent, Level, Scope
from syncd.domain.errors import SuppressedError
from syncd.domain.identity import Identity
from syncd.reconcile.person import OpState
from syncd.store import containers, outbox, people
from syncd.store.session import Engine, reading, writing
from tests.store.factories import ANN, BOB, KEY, NOW, begin, key_of, operations, put, rows, wish

NEWS = Scope("news")
TAGGED = Identity("ann+x@example.org")
NOBODY = "nobody@example.org"

COLUMNS = {
    "account": "rocs", "container": "R1", "identity": ANN, "person_key": KEY, "kind": "subscribe", "address": ANN,
    "keys": "[]", "fields": "{}", "state": "ready", "priority": 2, "why": "by hand", "guarded": False, "attempts": 0,
    "not_before": NOW, "created_at": NOW, "began_seq": 0, "ended_seq": 0, "settled_seq": 0, "closed_seq": 0,
    "reason": "",
}  # fmt: skip


def said_no(
    scope: Scope = GLOBAL, level: Level = Level.UNSUBSCRIBED, *, epoch: int = 0, identity: Identity = ANN
) -> ConsentEvent:
    return ConsentEvent(
        key=key_of(identity), identity=identity, scope=scope, epoch=epoch, level=level, at=NOW, seq=5 + epoch,
        source="operator", route="command", evidence="a letter",
    )  # fmt: skip


def record(engine: Engine, *events: ConsentEvent) -> None:
    with writing(engine) as connection:
        people.record_consent(connection, events)


def link(engine: Engine, *places: tuple[str, str, str]) -> None:
    with writing(engine) as connection:
        containers.save_links(connection, [containers.Link("news", *place) for place in places])


def by_hand(engine: Engine, statement: str, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(sa.text(statement), values)


def insert(engine: Engine, verb: str = "INSERT", **columns: Any) -> None:
    row = COLUMNS | columns
    names = ", ".join(f'"{name}"' for name in row)
    by_hand(engine, f"{verb} INTO op ({names}) VALUES ({', '.join(f':{name}' for name in row)})", **row)


def refused(engine: Engine, statement: str, **values: Any) -> None:
    """It is refused, and what was there stays to the last row."""
    before = [rows(engine, table) for table in (people.consent, people.consent_event, people.op)]
    with pytest.raises(SuppressedError, match="suppression guard"):
        by_hand(engine, statement, **values)
    assert [rows(engine, table) for table in (people.consent, people.consent_event, people.op)] == before


# Whom nothing may be sent to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["subscribe", "update", "move"])
@pytest.mark.parametrize("state", ["ready", "inflight"])
def test_nothing_but_an_unsubscribe_is_put_in_for_somebody_who_said_no(engine: Engine, kind: str, state: str):
    record(engine, said_no())
    with pytest.raises(SuppressedError) as caught:
        insert(engine, kind=kind, state=state)
    assert "only an unsubscribe may be sent there" in caught.value.message
    assert caught.value.hint == "syncd explain EMAIL"
    assert operations(engine) == []
    insert(engine, kind="unsubscribe", state=state)
    assert len(operations(engine)) == 1


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"person_key": NOBODY}, id="a wrong key"),
        pytest.param({"person_key": NOBODY, "identity": NOBODY, "address": "Ann@Example.org "}, id="her address"),
        pytest.param({"identity": TAGGED, "address": TAGGED}, id="another spelling"),
        pytest.param({"person_key": NOBODY, "identity": TAGGED, "address": TAGGED}, id="another spelling, a wrong key"),
    ],
)  # fmt: skip
def test_a_wrong_key_opens_nothing(engine: Engine, columns: dict[str, str]):
    record(engine, said_no())
    with writing(engine) as connection:
        connection.execute(people.person.insert().values(identity=TAGGED, person_key=KEY, fields={}, updated_at=NOW))
    with pytest.raises(SuppressedError):
        insert(engine, **columns)
    insert(engine, identity=BOB, person_key=key_of(BOB), address=BOB)


@pytest.mark.parametrize(
    ("places", "reaches"),
    [
        pytest.param([("rocs", "R1", "news")], True, id="the list that was left"),
        pytest.param([("rocs", "*", "news")], True, id="all of the account is that list"),
        pytest.param([("rocs", "R2", "news")], False, id="another list there"),
        pytest.param([("rocket", "R1", "news")], False, id="another account"),
        pytest.param([("rocs", "R1", "events")], False, id="another scope"),
        pytest.param([], False, id="no list of ours"),
    ],
)
def test_a_no_to_a_list_reaches_where_that_list_lives(engine: Engine, places, reaches: bool):
    link(engine, *places)
    record(engine, said_no(NEWS))
    if reaches:
        with pytest.raises(SuppressedError):
            insert(engine)
    else:
        insert(engine)
    assert len(operations(engine)) == (0 if reaches else 1)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'ready'",
        "state = 'inflight'",
        "state = 'ready', kind = 'update'",
        "state = 'ready', person_key = 'nobody@example.org'",
        "state = 'ready', not_before = created_at, attempts = 9",
    ],
)
def test_what_was_given_up_is_not_brought_back(engine: Engine, change: str):
    insert(engine, state="parked")
    record(engine, said_no())
    refused(engine, f"UPDATE op SET {change}")
    by_hand(engine, "UPDATE op SET reason = 'looked at'")


def test_an_unsubscribe_is_not_turned_into_anything_else(engine: Engine):
    record(engine, said_no())
    insert(engine, kind="unsubscribe")
    refused(engine, "UPDATE op SET kind = 'subscribe'")


def test_a_change_for_another_is_not_turned_on_them(engine: Engine):
    record(engine, said_no())
    insert(engine, identity=BOB, person_key=key_of(BOB), address=BOB)
    refused(engine, "UPDATE op SET identity = :identity", identity=ANN)


def test_who_says_yes_again_may_be_written_to_again(engine: Engine):
    record(engine, said_no(), said_no(level=Level.SUBSCRIBED, epoch=1))
    insert(engine)
    record(engine, said_no(level=Level.COMPLAINT, epoch=1))
    refused(engine, "UPDATE op SET state = 'inflight'")


# Our own writes go on ------------------------------------------------------------------------------------------------


def test_of_many_only_what_is_refused_is_given_up(engine: Engine):
    record(engine, said_no())
    join, leave = wish(ChangeKind.SUBSCRIBE, keys=()), wish(container="R2")
    other = wish(ChangeKind.SUBSCRIBE, BOB, keys=())
    assert put(engine, join, leave, other) == 2
    assert [(row.identity, row.kind, row.state) for row in operations(engine)] == [
        (ANN, "subscribe", "superseded"), (ANN, "unsubscribe", "ready"), (BOB, "subscribe", "ready"),
    ]  # fmt: skip
    assert operations(engine)[0].reason == outbox.REFUSED_BY_THE_MIRROR


def test_a_no_that_came_before_the_first_byte_keeps_only_its_own_change_back(engine: Engine):
    put(engine, wish(ChangeKind.SUBSCRIBE, keys=()), wish(ChangeKind.SUBSCRIBE, BOB, keys=()))
    record(engine, said_no())
    ours, other = (row.id for row in operations(engine))
    assert begin(engine, ours, other) == {other}
    assert [row.state for row in operations(engine)] == ["superseded", "inflight"]


def test_a_no_that_came_during_a_call_that_failed_ends_its_change(engine: Engine):
    put(engine, wish(ChangeKind.UPDATE, fields={"phone": "1"}), wish(ChangeKind.UPDATE, BOB, fields={"phone": "1"}))
    ids = [row.id for row in operations(engine)]
    begin(engine, *ids)
    record(engine, said_no())
    with writing(engine) as connection:
        outbox.postpone(connection, ids, NOW, "no connection")
    assert [row.state for row in operations(engine)] == ["superseded", "ready"]
    assert all(row.closed_at for row in operations(engine) if row.state == "superseded")


def test_what_was_under_way_can_still_be_asked_after(engine: Engine):
    put(engine, wish(ChangeKind.SUBSCRIBE, keys=()))
    begin(engine, *(row.id for row in operations(engine)))
    record(engine, said_no())
    with writing(engine) as connection:
        assert outbox.recover(connection, 30, NOW, "stopped") == [KEY]
    assert [row.state for row in operations(engine)] == [OpState.UNKNOWN]


# Consent never falls -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent SET level = 2",
        "UPDATE consent SET epoch = 0, level = 5",
        "UPDATE consent SET epoch = 2, level = 2",
        "UPDATE consent SET epoch = 2, level = 5",
        "UPDATE consent SET scope = 'elsewhere'",
        "UPDATE consent SET person_key = 'nobody@example.org'",
        "DELETE FROM consent",
        "DELETE FROM consent_event",
        "DELETE FROM consent_event WHERE level = 3",
        "UPDATE consent_event SET level = 2",
        "UPDATE consent_event SET epoch = 2",
        "UPDATE consent_event SET evidence = 'never mind'",
        "UPDATE consent_event SET identity = 'nobody@example.org'",
        "UPDATE consent_event SET person_key = 'nobody@example.org'",
        "UPDATE consent_event SET scope = 'elsewhere', mass = :yes",
        "UPDATE consent_event SET inferred = :yes",
    ],
)
def test_what_was_said_cannot_be_unsaid_by_hand(engine: Engine, statement: str):
    record(engine, said_no(), said_no(level=Level.SUBSCRIBED, epoch=1), said_no(epoch=1))
    refused(engine, statement, **({"yes": True} if ":yes" in statement else {}))


VALUES = (
    "(person_key, scope, epoch, level, seq, since, source, event_id) "
    "VALUES (:key, 'global', :epoch, :level, 1, :at, 'x', 1)"
)


@pytest.mark.parametrize(("epoch", "level"), [(0, 2), (1, 2), (1, 5)])
def test_nor_by_putting_a_row_in_the_place_of_another(engine: Engine, mirror_kind: str, epoch: int, level: int):
    record(engine, said_no())
    given = {"key": KEY, "epoch": epoch, "level": level, "at": NOW}
    upsert = " ON CONFLICT (person_key, scope) DO UPDATE SET epoch = excluded.epoch, level = excluded.level"
    refused(engine, f"INSERT INTO consent {VALUES}{upsert}", **given)
    if mirror_kind == "sqlite":
        refused(engine, f"INSERT OR REPLACE INTO consent {VALUES}", **given)
        refused(engine, "INSERT OR REPLACE INTO consent_event SELECT * FROM consent_event")
    else:
        refused(engine, "TRUNCATE consent")
        refused(engine, "TRUNCATE consent_event")


def test_a_new_yes_needs_an_event_that_says_why(engine: Engine):
    record(engine, said_no())
    add = (
        "INSERT INTO consent_event "
        "(seq, at, person_key, identity, scope, epoch, level, source, container, route, evidence, inferred, mass) "
        "VALUES (9, :at, :key, :key, 'global', 1, :level, 'operator', '', 'command', :evidence, :no, :no)"
    )
    rise = "UPDATE consent SET epoch = 1, level = 2"
    refused(engine, rise)
    by_hand(engine, add, at=NOW, key=KEY, level=2, evidence="  ", no=False)
    refused(engine, rise)
    by_hand(engine, add, at=NOW, key=KEY, level=3, evidence="a letter", no=False)
    refused(engine, rise)
    by_hand(engine, add, at=NOW, key=KEY, level=2, evidence="a letter", no=False)
    by_hand(engine, rise)


def test_the_mark_of_a_mass_flip_may_move(engine: Engine):
    record(engine, said_no())
    by_hand(engine, "UPDATE consent_event SET mass = :yes", yes=True)
    with writing(engine) as connection:
        people.release_mass(connection, [KEY])
    assert [row.mass for row in rows(engine, people.consent_event)] == [False]


# The one door --------------------------------------------------------------------------------------------------------


def scrub(connection: Any) -> None:
    connection.execute(
        sa.text("UPDATE consent_event SET identity = 'h', person_key = 'h', evidence = 'erased', container = ''")
    )
    connection.execute(sa.text("UPDATE consent SET person_key = 'h'"))


def test_erasure_may_overwrite_what_names_a_person_and_nothing_else(engine: Engine):
    record(engine, said_no())
    with writing(engine) as connection, people.erasing(connection):
        scrub(connection)
    (event,), (state,) = rows(engine, people.consent_event), rows(engine, people.consent)
    assert (event.identity, event.person_key, event.evidence, event.level) == ("h", "h", "erased", 3)
    assert (state.person_key, state.level) == ("h", 3)
    refused(engine, "UPDATE consent_event SET identity = 'i'")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent SET level = 2",
        "UPDATE consent SET scope = 'elsewhere'",
        "DELETE FROM consent",
        "DELETE FROM consent_event",
        "UPDATE consent_event SET level = 2",
        "UPDATE consent_event SET scope = 'elsewhere'",
    ],
)
def test_not_even_through_the_door_of_erasure_is_a_no_forgotten(engine: Engine, statement: str):
    record(engine, said_no())
    with pytest.raises(SuppressedError), writing(engine) as connection, people.erasing(connection):
        connection.execute(sa.text(statement))
    with reading(engine) as connection:
        assert connection.scalar(sa.text("SELECT COUNT(*) FROM meta WHERE key = 'erasing'")) == 0
    refused(engine, "UPDATE consent_event SET identity = 'i'")
