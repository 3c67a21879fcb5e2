"""The way to the database: what is promised of a commit, of two writers, and of what an error says."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from syncd.domain.errors import MirrorError
from syncd.store import journal
from syncd.store.session import (
    Engine,
    current,
    describe,
    head,
    inside_writing,
    known_head,
    open_engine,
    reading,
    rehearsing,
    require_current,
    revisions,
    upgrade,
    writing,
)

CANARY = "canary@example.org"


@pytest.fixture
def sqlite(sqlite_template: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "mirror.db"
    copy.write_bytes(sqlite_template.read_bytes())
    return copy


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


# What a commit is worth


def test_sqlite_promises_that_what_was_committed_outlives_a_power_cut(sqlite: Path):
    engine = open_engine(url_of(sqlite))
    with reading(engine) as connection:
        kept = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")}
        assert kept == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    engine.dispose()


def test_what_is_written_is_there_and_what_fails_is_not(engine: Engine):
    with writing(engine) as connection:
        journal.set_value(connection, "a", "1")
    with pytest.raises(ZeroDivisionError):
        _write_and_fail(engine)
    with reading(engine) as connection:
        assert journal.get_value(connection, "a") == "1"


def _write_and_fail(engine: Engine) -> None:
    with writing(engine) as connection:
        journal.set_value(connection, "a", str(1))
        journal.set_value(connection, "a", "2")
        raise ZeroDivisionError


def test_a_rehearsal_sees_what_it_wrote_and_leaves_nothing(engine: Engine):
    with rehearsing(engine) as connection:
        journal.set_value(connection, "a", "1")
        assert journal.get_value(connection, "a") == "1"
    with reading(engine) as connection:
        assert journal.get_value(connection, "a") is None


def test_a_reading_keeps_nothing(engine: Engine):
    with reading(engine) as connection:
        journal.set_value(connection, "a", "1")
    with reading(engine) as connection:
        assert journal.get_value(connection, "a") is None


@pytest.mark.parametrize("outer", [writing, rehearsing])
@pytest.mark.parametrize("inner", [writing, rehearsing])
def test_transactions_that_write_never_nest(engine: Engine, outer, inner):
    with outer(engine):
        assert inside_writing()
        with pytest.raises(AssertionError), inner(engine):
            pass
    assert not inside_writing()
    with inner(engine):
        pass


def test_two_writers_that_read_first_both_get_through(engine: Engine):
    """Whoever writes takes the lock at the beginning; a reader that locks later would fail at once."""
    with writing(engine) as connection:
        journal.set_value(connection, "n", "0")
    began, failures = threading.Barrier(2), []

    def count() -> None:
        began.wait()
        try:
            for _ in range(25):
                with writing(engine) as connection:
                    query = sa.select(journal.meta.c.value).where(journal.meta.c.key == "n").with_for_update()
                    journal.set_value(connection, "n", str(int(connection.scalar(query) or 0) + 1))
        except (SQLAlchemyError, MirrorError) as error:
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with reading(engine) as connection:
        assert journal.get_value(connection, "n") == "50", "no update was lost"


def test_a_reader_does_not_wait_for_a_writer(sqlite: Path):
    engine = open_engine(url_of(sqlite))
    with writing(engine) as connection:
        journal.set_value(connection, "a", "1")
        other = open_engine(url_of(sqlite))
        with reading(other) as elsewhere:
            assert journal.get_value(elsewhere, "a") is None
        other.dispose()
    engine.dispose()


# What errors say


def test_an_error_of_the_database_names_no_person(engine: Engine):
    with writing(engine) as connection:
        connection.execute(journal.meta.insert().values(key="x", value=CANARY))
    with pytest.raises(SQLAlchemyError) as caught, writing(engine) as connection:
        connection.execute(sa.text("SELECT nonsense FROM meta WHERE value = :value"), {"value": CANARY})
    assert CANARY not in str(caught.value)
    with pytest.raises(IntegrityError) as caught, writing(engine) as connection:
        connection.execute(journal.meta.insert(), [{"key": "y", "value": CANARY}, {"key": "x", "value": CANARY}])
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value)


def test_the_mirror_is_described_without_its_password():
    assert "canary" not in describe("postgresql+psycopg://syncd:canary@db.example.org/mirror")
    assert "canary" not in describe("postgresql+psycopg://db.example.org/mirror?password=canary")
    assert "db.example.org/mirror" in describe("postgresql+psycopg://syncd:canary@db.example.org/mirror")


def use(path: Path) -> None:
    engine = open_engine(url_of(path))
    try:
        with writing(engine) as connection:
            journal.set_value(connection, "a", "1")
    finally:
        engine.dispose()


def test_a_folder_that_does_not_exist(tmp_path: Path):
    with pytest.raises(MirrorError, match="cannot be opened or created") as caught:
        use(tmp_path / "nowhere" / "mirror.db")
    assert caught.value.hint.startswith("mkdir -p ")


def test_a_file_that_cannot_be_written(sqlite: Path, monkeypatch: pytest.MonkeyPatch):
    # Whoever runs the tests may be root, whom no mode keeps out; SQLite's own read-only mode says the same.
    sqlite.chmod(stat.S_IRUSR)
    engine = sa.create_engine(f"sqlite:///file:{sqlite}?mode=ro&immutable=1&uri=true", hide_parameters=True)
    with pytest.raises(MirrorError, match="cannot be written") as caught, writing(engine) as connection:
        journal.set_value(connection, "a", "1")
    assert caught.value.hint.startswith("ls -l ")
    engine.dispose()


@pytest.mark.parametrize("content", [b"this is no database at all, whatever its name may say" * 90])
def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path: Path, content: bytes):
    path = tmp_path / "mirror.db"
    path.write_bytes(content)
    with pytest.raises(MirrorError, match="is damaged") as caught:
        use(path)
    assert "left as it is" in caught.value.hint
    assert path.read_bytes() == content


def test_a_damaged_file_is_named_as_such(sqlite: Path):
    with sqlite3.connect(sqlite) as direct:
        page = direct.execute("SELECT rootpage FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
        size = direct.execute("PRAGMA page_size").fetchone()[0]
    direct.close()
    content = bytearray(sqlite.read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    sqlite.write_bytes(content)
    with pytest.raises(MirrorError, match="is damaged"):
        use(sqlite)


def test_a_mirror_that_somebody_else_holds_locked(sqlite: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("syncd.store.session.BUSY_TIMEOUT_S", 0.05)
    holder = sqlite3.connect(sqlite, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(MirrorError, match="was locked"):
            use(sqlite)
    finally:
        holder.close()


def test_a_disk_that_is_full(sqlite: Path):
    engine = open_engine(url_of(sqlite))
    with pytest.raises(MirrorError, match="is full") as caught:
        _write_without_end(engine)
    assert caught.value.hint.startswith("df ")
    engine.dispose()


def _write_without_end(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        for number in range(2000):
            journal.set_value(connection, f"k{number}", "x" * 2000)


def test_a_postgres_that_does_not_answer():
    engine = open_engine("postgresql+psycopg://syncd:canary@127.0.0.1:9/mirror")
    with pytest.raises(MirrorError, match="does not answer") as caught, reading(engine):
        pass
    assert "canary" not in caught.value.message
    engine.dispose()


def test_an_error_that_nobody_can_mend_is_not_disguised(engine: Engine):
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(journal.meta.insert(), [{"key": "x", "value": "1"}, {"key": "x", "value": "2"}])


# Which revision it is at


def test_an_empty_mirror_is_refused_with_the_way_to_set_it_up(mirror_url: str):
    engine = open_engine(mirror_url)
    assert current(engine) is None
    with pytest.raises(MirrorError, match="never set up") as caught:
        require_current(engine)
    assert caught.value.hint == "syncd db upgrade"
    engine.dispose()


def test_a_mirror_at_the_newest_revision_is_taken(engine: Engine):
    require_current(engine)
    assert current(engine) == head() == known_head()
    assert head() in revisions()


@pytest.mark.parametrize(("revision", "words"), [("0001", "needs"), ("9999", "a newer one wrote it")])
def test_a_mirror_at_another_revision_is_refused(engine: Engine, migrated_url: str, revision: str, words: str):
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :at"), {"at": revision})
    with pytest.raises(MirrorError, match=words):
        require_current(engine)
    if revision == "9999":
        with pytest.raises(MirrorError, match=words):
            upgrade(migrated_url)
        with reading(engine) as connection:
            assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "9999"


def test_a_mirror_in_memory_is_one_for_all_its_connections():
    engine = open_engine("sqlite://")
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE x (y)")
    with reading(engine) as connection:
        assert sa.inspect(connection).has_table("x")
    engine.dispose()
