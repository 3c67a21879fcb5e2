"""What is left of somebody: every column of every table and, of SQLite, every byte of its files. How it is wiped."""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from syncd.store import tables as _all_tables  # noqa: F401 (so that the metadata knows them)
from syncd.store.session import reading

TRANSIT = "transit"
_SIDE_FILES = ("", "-wal", "-shm")
_BLOCK = 1 << 20
_ANY_ADDRESS = re.compile(r"[^\s\"'<>(),:;=]+@[^\s\"'<>(),:;=]+\.[a-z]")
_PHONE_DIGITS_MIN = 7
_NO_TEXT = (sa.Integer, sa.Boolean, sa.DateTime, sa.Numeric)


@dataclass(frozen=True, slots=True)
class Trace:
    """One place where something of the person stands. `row`: the primary key, or where in a file."""

    place: str
    column: str
    row: str
    form: str


@dataclass(frozen=True, slots=True)
class Forms:
    """What to look for. `exact` and `lowered` are forms of the address; `told` what was known of the person besides.

    A name or a number is another's as well: it counts only where no other address stands beside it, and a name only as
    whole words: "lea" stands in "leads", and "dee" in many a hash.
    """

    lowered: Mapping[bytes, str]
    exact: Mapping[bytes, str]
    told: tuple[tuple[str, tuple[re.Pattern[str], ...]], ...] = ()

    def __len__(self) -> int:
        return len(self.lowered) + len(self.exact) + len(self.told)

    def of_address(self, data: bytes) -> set[str]:
        lowered = data.lower()
        found = {form for needle, form in self.lowered.items() if needle in lowered}
        return found | {form for needle, form in self.exact.items() if needle in data}

    def of_rest(self, data: bytes) -> set[str]:
        text = data.decode("utf-8", "replace").lower()
        if _ANY_ADDRESS.search(text):
            return set()
        return {form for form, parts in self.told if all(part.search(text) for part in parts)}


def forms_of(addresses: Iterable[str], values: Iterable[Mapping[str, str]] = ()) -> Forms:
    """Every way in which these addresses may be written, and what `values` says of the person."""
    lowered: dict[bytes, str] = {}
    exact: dict[bytes, str] = {}
    for spelt in sorted({form for address in addresses for form in (address.strip(), address.strip().lower())}):
        data = spelt.encode()
        lowered[data.lower()] = "plain"
        lowered[quote(spelt, safe="").encode().lower()] = "URL-encoded"
        lowered[quote(spelt, safe="@").encode().lower()] = (
            "plain" if "%" not in quote(spelt, safe="@") else "URL-encoded"
        )
        lowered[spelt.replace("@", "%40").encode().lower()] = "URL-encoded"
        lowered[spelt.replace("@", "\\u0040").encode().lower()] = "JSON-escaped"
        lowered[data.hex().encode()] = "hex"
        for name in ("md5", "sha256"):
            digest = hashlib.new(name, data, usedforsecurity=False).digest()
            lowered[digest.hex().encode()] = name
            exact[digest] = name
        exact |= dict.fromkeys(_base64_of(data), "base64")
    return Forms(lowered, exact, tuple(_told(values)))


def _base64_of(data: bytes) -> Iterator[bytes]:
    """As it reads inside of anything encoded: it may begin at any of three places of a group."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data)
        whole = text[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


def _told(values: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, tuple[re.Pattern[str], ...]]]:
    found: dict[tuple[str, ...], str] = {}
    for fields in values:
        names = tuple(fields[name].lower() for name in ("first_name", "last_name") if fields.get(name))
        if len(names) == 2:
            found[tuple(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names)] = "name"
        digits = re.sub(r"\D", "", fields.get("phone", ""))
        if len(digits) >= _PHONE_DIGITS_MIN:
            found[(digits,)] = "phone"
    for parts, form in found.items():
        yield form, tuple(map(re.compile, parts))


# Where ---------------------------------------------------------------------------------------------------------------


def left_of(engine: Engine, forms: Forms) -> list[Trace]:
    """All places in the tables, and in the files of an SQLite mirror, that hold any of these forms."""
    with reading(engine) as connection:
        found = [trace for table in SQLModel.metadata.sorted_tables for trace in _in_table(connection, table, forms)]
    if engine.dialect.name == "sqlite" and engine.url.database:
        found += _in_files(Path(engine.url.database), forms)
    return found


def _in_table(connection: Connection, table: sa.Table, forms: Forms) -> Iterator[Trace]:
    columns = [column for column in table.columns if not isinstance(column.type, _NO_TEXT)]
    keys = [column.name for column in table.primary_key.columns]
    if not columns:
        return
    query = sa.select(*table.columns).execution_options(yield_per=1000)
    for row in connection.execute(query).mappings():
        held = {column.name: _bytes(row[column.name]) for column in columns}
        whole = b"\n".join(held.values())
        if forms.of_address(whole):
            where = _where(row, keys, forms)
            yield from (
                Trace(table.name, name, where, form)
                for name, data in held.items()
                for form in sorted(forms.of_address(data))
            )
        else:
            rest = sorted(forms.of_rest(whole))
            yield from (Trace(table.name, "*", _where(row, keys, forms), form) for form in rest)


def _where(row: Any, keys: list[str], forms: Forms) -> str:
    """Which row, without saying again whom it names."""
    shown = [str(row[key]) for key in keys]
    return "/".join("…" if forms.of_address(part.encode()) else part for part in shown)


def _bytes(value: Any) -> bytes:
    match value:
        case None:
            return b""
        case bytes() | memoryview():
            return bytes(value)
        case str():
            return value.encode("utf-8", "surrogatepass")
        case _:
            return msgspec.json.encode(value)


def _in_files(path: Path, forms: Forms) -> Iterator[Trace]:
    """Page by page, each with the end of the one before: deleted rows stand in no table and may still be there."""
    for suffix in _SIDE_FILES:
        file = path.with_name(path.name + suffix)
        if not file.exists():
            continue
        overlap = max(map(len, [*forms.lowered, *forms.exact]), default=1)
        with file.open("rb") as opened:
            at, before = 0, b""
            while block := opened.read(_BLOCK):
                for form in sorted(forms.of_address(before + block)):
                    yield Trace(file.name, "bytes", f"{at}", form)
                at += len(block)
                before = block[-overlap:]


# Wiping --------------------------------------------------------------------------------------------------------------


def wipe(engine: Engine) -> str:
    """Write every table anew: no free page holds what was deleted. Returns why that could not be, or nothing."""
    names = [table.name for table in SQLModel.metadata.sorted_tables]
    return _wiped(engine, ["VACUUM"], [f'VACUUM (FULL) "{name}"' for name in names])


def wipe_transit(engine: Engine) -> str:
    """Addresses in transit have arrived: nothing of them may be left behind where they stood."""
    return _wiped(engine, [], [f'VACUUM (FULL) "{TRANSIT}"'])


def _wiped(engine: Engine, on_sqlite: list[str], on_postgres: list[str]) -> str:
    try:
        if engine.dialect.name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for statement in on_postgres:
                    connection.exec_driver_sql(statement)
            return ""
        raw = engine.raw_connection()
        try:
            cursor = raw.cursor()
            for statement in on_sqlite:
                cursor.execute(statement)
            # The log of changes holds the pages as they were.
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy = any((cursor.fetchone() or (1,))[:1])
        finally:
            raw.close()
    except (sqlite3.Error, DBAPIError) as error:
        text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return f"free pages were not wiped: {text}"
    return "free pages were not wiped: another process is reading the mirror" if busy else ""
