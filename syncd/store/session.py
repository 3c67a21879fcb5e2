"""The way to the database: engines, pragmas, transactions, schema.

SQLite and Postgres from one code. Whoever writes takes the write lock at the beginning (`BEGIN IMMEDIATE`): a
transaction that reads first and locks later fails at once when two processes meet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from syncd.domain.errors import AwayError, MirrorError, SuppressedError
from syncd.store import sizes

__all__ = (
    "Connection",
    "Engine",
    "current",
    "describe",
    "fence",
    "head",
    "inside_writing",
    "known_head",
    "migrations_path",
    "open_engine",
    "reading",
    "rehearsing",
    "require_current",
    "respecting",
    "revisions",
    "upgrade",
    "writing",
)
"""The types of connections are given out here too: whoever passes one on need not know whose they are."""

BUSY_TIMEOUT_S = 30.0
_HERE = Path(__file__).resolve().parent.parent


def migrations_path() -> Path:
    """Where the migrations lie: inside an installed wheel, else at the top of the checkout."""
    installed = _HERE / "_migrations"
    return installed if installed.is_dir() else _HERE.parent / "alembic"


def open_engine(url: str) -> Engine:
    """An engine for the mirror. Parameters never appear in its errors or logs: they hold persons."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            parsed,
            hide_parameters=True,
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
            poolclass=sa.pool.StaticPool if _in_memory(parsed) else sa.pool.QueuePool,
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        # Not by the event "begin": one listener on an engine makes each statement look for more, a tenth of its time.
        engine.dialect.do_begin = _begin_sqlite  # type: ignore[method-assign,assignment]
        return engine
    return sa.create_engine(
        parsed,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 10,
            "application_name": "syncd",
            "options": "-c timezone=UTC -c lock_timeout=30s",
        },
    )


def _in_memory(url: URL) -> bool:
    return not url.database or url.database == ":memory:"


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # SQLAlchemy, not the driver, begins transactions.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL, which many guides recommend with WAL, loses acknowledged commits at a power cut.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # What is deleted is overwritten: nobody who was erased may be found in a page that is free.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.execute("PRAGMA cache_size=-32768")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("BEGIN" if connection.info.get(_READ_ONLY) else "BEGIN IMMEDIATE")
    cursor.close()


_READ_ONLY = "read only"


_inside: ContextVar[bool] = ContextVar("inside a transaction that writes", default=False)


def inside_writing() -> bool:
    """Whether the caller holds the write lock. A second transaction that writes would wait for the first for ever."""
    return _inside.get()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes; commits at the end, rolls back on any error. Never awaits and never nests."""
    assert not inside_writing()
    mark = _inside.set(True)
    try:
        with _translated(engine.url), engine.begin() as connection:
            if (check := _fences.get(engine)) is not None:
                check(connection)
            yield connection
    finally:
        _inside.reset(mark)


_fences: WeakKeyDictionary[Engine, Callable[[Connection], None]] = WeakKeyDictionary()


def fence(engine: Engine, check: Callable[[Connection], None] | None) -> None:
    """Let this engine write only after `check`, which raises where it may not, in the same transaction."""
    if check is None:
        _fences.pop(engine, None)
    else:
        _fences[engine] = check


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent read; nothing is kept."""
    with _translated(engine.url), engine.connect() as connection:
        info = connection.info
        info[_READ_ONLY] = True
        try:
            yield connection
        finally:
            info.pop(_READ_ONLY, None)


@contextmanager
def rehearsing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is always rolled back: what would be done, without doing it."""
    assert not inside_writing()
    mark = _inside.set(True)
    try:
        with _translated(engine.url), engine.connect() as connection:
            transaction = connection.begin()
            try:
                yield connection
            finally:
                transaction.rollback()
    finally:
        _inside.reset(mark)


@contextmanager
def respecting(connection: Connection) -> Iterator[None]:
    """A part of a transaction that the mirror may refuse because somebody said no.

    Raises `SuppressedError` then; of this part nothing is kept, and the transaction goes on.
    """
    try:
        with connection.begin_nested():
            yield
    except IntegrityError as error:
        if (said := _guarded(error)) is not None:
            raise SuppressedError(said) from error
        raise


def _guarded(error: DBAPIError) -> str | None:
    """What the triggers of the mirror said, if it was one of them that refused."""
    text = str(error.orig).strip().splitlines()[0]
    return text if _GUARD in text else None


_GUARD = "suppression guard"


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    """Say of the faults a person can mend what they are and what to do."""
    try:
        yield
    except (OperationalError, DBAPIError) as error:
        text = str(error.orig or error).strip().splitlines()[0]
        place = describe(url)
        lowered = text.lower()
        if (said := _guarded(error)) is not None:
            raise SuppressedError(said, hint="syncd explain EMAIL") from error
        if "readonly" in lowered or "read-only" in lowered:
            raise MirrorError(f"the mirror {place} cannot be written", hint=f"ls -l {url.database}") from error
        if "unable to open database file" in lowered:
            hint = f"mkdir -p {Path(url.database or '.').parent}"
            raise MirrorError(f"the mirror {place} cannot be opened or created", hint=hint) from error
        if "malformed" in lowered or "not a database" in lowered:
            hint = "restore a backup: syncd db restore FILE; the damaged file is left as it is"
            raise MirrorError(f"the mirror {place} is damaged: {text}", hint=hint) from error
        if "is locked" in lowered:
            raise AwayError(
                f"the mirror {place} was locked for {BUSY_TIMEOUT_S:.0f} s", hint="who holds it: fuser"
            ) from error
        if "disk is full" in lowered or "no space left" in lowered:
            raise AwayError(f"the disk under the mirror {place} is full", hint="df -h") from error
        if url.get_backend_name() != "sqlite" and isinstance(error, OperationalError):
            raise AwayError(f"the mirror {place} does not answer: {text}", hint="is Postgres up?") from error
        raise


def describe(url: URL | str) -> str:
    """The mirror's address without its password, and without its options, of which one may be a password too."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


# Schema --------------------------------------------------------------------------------------------------------------


def _alembic_config(url: str) -> Any:
    from alembic.config import Config  # noqa: PLC0415 (slow to import, and needed only to migrate)

    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.attributes["url"] = url
    return config


def head() -> str:
    """The newest revision this program knows."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 (slow to import)

    revision = ScriptDirectory.from_config(_alembic_config("")).get_current_head()
    assert revision is not None
    return revision


def revisions() -> frozenset[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 (slow to import)

    return frozenset(script.revision for script in ScriptDirectory.from_config(_alembic_config("")).walk_revisions())


def current(engine: Engine) -> str | None:
    """The revision the mirror is at, or None for an empty database."""
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        value: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return value


def upgrade(url: str) -> None:
    """Bring the mirror to the newest revision. Repeating changes nothing; a newer mirror is refused."""
    from alembic import command  # noqa: PLC0415 (slow to import)

    engine = open_engine(url)
    try:
        at = current(engine)
        if at == head():
            return
        if at is not None and at not in revisions():
            _refuse_newer(url, at)
        with _translated(engine.url), engine.begin() as connection:
            config = _alembic_config(url)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            sizes.tell(connection)
    finally:
        engine.dispose()


def require_current(engine: Engine) -> None:
    """Refuse a mirror that is not at exactly the revision this program knows."""
    at = current(engine)
    place = describe(engine.url)
    if at is None:
        raise MirrorError(f"the mirror {place} is empty: it was never set up", hint="syncd db upgrade")
    if at == known_head():
        return
    if at not in revisions():
        _refuse_newer(str(engine.url.render_as_string(hide_password=True)), at)
    raise MirrorError(f"the mirror {place} is at revision {at}, this program needs {head()}", hint="syncd db upgrade")


def _refuse_newer(url: str, at: str) -> None:
    raise MirrorError(
        f"the mirror {describe(url)} is at revision {at}, which this one does not know: a newer one wrote it",
        hint="install the newer syncd, or restore a backup made before the upgrade",
    )


def known_head() -> str:
    """As `head`, read from the file names: Alembic takes a second to import and every command asks."""
    names = sorted(path.stem.partition("_")[0] for path in (migrations_path() / "versions").glob("[0-9]*_*.py"))
    return names[-1]
