"""A copy of the whole mirror, and the way back from one."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from syncd.domain.errors import MirrorError
from syncd.store import carry, journal, protection
from syncd.store.session import current, describe, open_engine, reading, revisions, upgrade, writing

_SIDE_FILES = ("-wal", "-shm")


def save(url: str, target: Path) -> None:
    """Write a backup, while others go on working. Refuses to overwrite."""
    if target.exists():
        raise MirrorError(f"{target} exists already; a backup overwrites nothing", hint="name another file")
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with _opened(_file_of(parsed)) as source:
            _copied(source, target)
        return
    _postgres("pg_dump", parsed, ["--format=custom", "--no-owner", f"--file={target}"])


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. `kept`: where the SQLite file that was there is. `merged`: how many facts about consent, and
    deliveries not read yet, were taken over from it; None if it could not be read.
    """

    kept: Path | None
    merged: int | None


def restore(url: str, source: Path, now: datetime) -> Restored:
    """Put a backup in the place of the mirror, with what people said since, as far as that can still be read.

    Every account is protected afterwards, and who was erased stays so. Refused while a process works on the mirror, and
    for what is no backup of a mirror that this program knows.
    """
    if not source.is_file():
        raise MirrorError(f"there is no file {source}", hint="syncd db backup FILE makes one")
    _must_be_idle(url, now)
    known = carry.remember(url)
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        whole = ["--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction"]
        _postgres("pg_restore", parsed, [*whole, str(source)])
        kept = None
    else:
        with _opened(source) as backup:
            _must_be_a_mirror(backup, source)
            kept = _swapped_in(backup, _file_of(parsed), now)
    upgrade(url)
    engine = open_engine(url)
    try:
        with writing(engine) as connection:
            merged = None if known is None else carry.carry_over(connection, known, now)
            protection.protect(connection, f"put back from {source.name}", now)
    finally:
        engine.dispose()
    return Restored(kept, merged)


def _must_be_idle(url: str, now: datetime) -> None:
    engine = open_engine(url)
    who = None
    try:
        # A mirror that cannot be read is what a backup is for.
        with contextlib.suppress(MirrorError):
            if current(engine) is not None:
                with reading(engine) as connection:
                    who = journal.holding(connection, now)
    finally:
        engine.dispose()
    if who is not None:
        raise MirrorError(f"{who} works on the mirror {describe(url)}", hint="systemctl stop syncd")


# SQLite --------------------------------------------------------------------------------------------------------------


def _file_of(url: URL) -> Path:
    return Path(url.database or "")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that exists, for reading."""
    if not path.is_file():
        raise MirrorError(f"there is no mirror at {path}", hint="syncd db upgrade")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        yield connection
    except sqlite3.DatabaseError as error:
        raise MirrorError(f"{path} cannot be read as a mirror: {error}", hint="choose another backup") from error
    finally:
        connection.close()


def _copied(source: sqlite3.Connection, target: Path) -> None:
    """SQLite's own backup: one consistent state, also of what is not in the main file yet. Whole, or not at all."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        unfinished.touch(mode=0o600)
        copy = sqlite3.connect(unfinished)
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        finally:
            copy.close()
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
    except (OSError, sqlite3.OperationalError) as error:
        unfinished.unlink(missing_ok=True)
        raise MirrorError(f"{target} cannot be written: {error}", hint=f"ls -ld {target.parent}") from error


def _must_be_a_mirror(backup: sqlite3.Connection, source: Path) -> None:
    if [row[0] for row in backup.execute("PRAGMA integrity_check")] != ["ok"]:
        raise MirrorError(f"{source} is damaged", hint="choose another backup")
    tables = {name for (name,) in backup.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    known = (
        backup.execute("SELECT version_num FROM alembic_version").fetchone() if "alembic_version" in tables else None
    )
    if known is None or "cell" not in tables:
        raise MirrorError(f"{source} is no backup of a mirror", hint="choose another file")
    if known[0] not in revisions():
        raise MirrorError(
            f"{source} is at revision {known[0]}, which this program does not know", hint="install the newer syncd"
        )


def _swapped_in(backup: sqlite3.Connection, mirror: Path, now: datetime) -> Path | None:
    """The backup takes the mirror's place; what was there is kept beside it, whatever state it is in."""
    fresh = mirror.with_name(f"{mirror.name}.restored")
    fresh.unlink(missing_ok=True)
    _copied(backup, fresh)
    kept = mirror.with_name(f"{mirror.name}.replaced-{now:%Y%m%dT%H%M%S}") if mirror.exists() else None
    if kept is not None:
        # Restored by root, and used by the service afterwards.
        with contextlib.suppress(PermissionError):
            os.chown(fresh, mirror.stat().st_uid, mirror.stat().st_gid)
        mirror.replace(kept)
    for suffix in _SIDE_FILES:
        beside = mirror.with_name(mirror.name + suffix)
        if beside.exists() and kept is not None:
            beside.replace(kept.with_name(kept.name + suffix))
    fresh.replace(mirror)
    return kept


# Postgres ------------------------------------------------------------------------------------------------------------


def _postgres(program: str, url: URL, arguments: Sequence[str]) -> None:
    """Let Postgres' own program do it. The password goes by the environment: arguments can be seen by everybody."""
    found = shutil.which(program)
    if found is None:
        raise MirrorError(
            f"{program} is not installed, and only it can do this", hint="apt-get install postgresql-client"
        )
    password = url.password or url.query.get("password")
    # `URL.set` takes None for "as it was", so that the address is made anew.
    plain = URL.create(
        "postgresql", url.username, host=url.host, port=url.port, database=url.database, query=url.query
    ).difference_update_query(["password"])
    environ = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    done = subprocess.run(  # noqa: S603  the program's own path, and arguments that no shell reads
        [found, f"--dbname={plain.render_as_string(hide_password=False)}", "--no-password", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
        raise MirrorError(
            f"{program} could not do it: {said}", hint=f"{program} --version; it must not be older than the server"
        )
