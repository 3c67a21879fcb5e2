"""The table of everything that the providers' documents name: where it is implemented, emulated, described and tested.

`schemas/providers/<provider>/provider.toml` says it, one entry for each call, webhook or inbound route and one for each
quirk. `python -m tests.endpoints` (`make docs`) writes `docs/providers/endpoints.md` from it; `problems` finds whatever
is missing or leads nowhere.
"""

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path("docs/providers/endpoints.md")
DOCUMENTS = ("ROCS API", "Rokt referrals", "Rokt unsubscribe", "Sales.Rocks API", "RocketResponder API")
"""The documents that there are; each has rows."""

OURS = ("outbound connections",)
"""Calls whose shape no document gives, because whoever configures them does."""

ENDPOINT = ("document", "name", "implemented", "emulated", "schema", "test")
QUIRK = ("id", "fact", "test")


@dataclass(frozen=True, slots=True)
class Table:
    """What one provider's file says."""

    provider: str
    endpoints: tuple[Mapping[str, Any], ...]
    quirks: tuple[Mapping[str, Any], ...]
    index: Mapping[str, Any]


class TableError(Exception):
    """A provider without a table."""


def tables(root: Path = ROOT) -> list[Table]:
    """The tables of all providers that have schemas. Raises `TableError` for one that has none."""
    found = []
    for index in sorted((root / "schemas/providers").glob("*/index.json")):
        path = index.with_name("provider.toml")
        where = path.relative_to(root)
        if not path.is_file():
            raise TableError(f"{where} is missing: each call in index.json beside it needs its [[endpoint]]")
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise TableError(f"{where}: {error}") from error
        calls = json.loads(index.read_text(encoding="utf-8"))
        found.append(Table(path.parent.name, tuple(told.get("endpoint", ())), tuple(told.get("quirk", ())), calls))
    return found


# What is wrong with it -----------------------------------------------------------------------------------------------


def problems(found: Sequence[Table], root: Path = ROOT) -> list[str]:
    """Every fault of the tables, in words; none if each row is complete and each reference leads somewhere."""
    faults = []
    for table in found:
        faults += [f"{table.provider}: {fault}" for fault in _of_provider(table, root)]
    quirks = {quirk.get("id", "") for table in found for quirk in table.quirks}
    marked = {name for names in marks(root).values() for name in names}
    faults += [
        f"a test is marked with the quirk {name!r}, which no provider.toml has" for name in sorted(marked - quirks)
    ]
    every = [quirk.get("id", "") for table in found for quirk in table.quirks]
    faults += [f"quirk {name!r} is there {count} times" for name, count in Counter(every).items() if count > 1]
    told = {row.get("document") for table in found for row in table.endpoints}
    faults += [f"no row for the document {name!r}" for name in DOCUMENTS if name not in told]
    return faults


def _of_provider(table: Table, root: Path) -> Iterator[str]:
    for row in table.endpoints:
        name = f"{row.get('document', '?')}, {row.get('name', '?')}"
        yield from (f"{name}: {fault}" for fault in _incomplete(row, ENDPOINT, ("call",)))
        yield from (f"{name}: {fault}" for fault in _of_endpoint(row, table, root))
    for quirk in table.quirks:
        name = f"quirk {quirk.get('id', '?')}"
        yield from (f"{name}: {fault}" for fault in _incomplete(quirk, QUIRK, ()))
        yield from (f"{name}: {fault}" for fault in _of_quirk(quirk, root))
    rows = Counter((row.get("document"), row.get("name")) for row in table.endpoints)
    yield from (f"{name} of {document} is there {count} times" for (document, name), count in rows.items() if count > 1)
    calls = {row["call"] for row in table.endpoints if row.get("call")}
    yield from (f"no row for {call!r}, which index.json has" for call in table.index if call not in calls)


def _incomplete(entry: Mapping[str, Any], needed: Iterable[str], besides: Iterable[str]) -> Iterator[str]:
    for key in needed:
        if not entry.get(key):
            yield f"{key} is missing"
    for key in entry.keys() - {*needed, *besides}:
        yield f"{key} is no column"


def _of_endpoint(row: Mapping[str, Any], table: Table, root: Path) -> Iterator[str]:
    if row.get("document") and row["document"] not in DOCUMENTS + OURS:
        yield f"no such document; there are {', '.join(DOCUMENTS + OURS)}"
    for column in ("implemented", "emulated"):
        if row.get(column) and (fault := unresolved(row[column])):
            yield f"{column}: {fault}"
    call = row.get("call")
    if call and call not in table.index:
        yield f"call: index.json has no {call!r}"
    known = table.index.get(call) if call else None
    for name in row.get("schema", ()):
        if not (root / "schemas/providers" / table.provider / name).is_file():
            yield f"schema: there is no {name}"
        elif known and name not in {known["request"], known.get("query"), *known["response"].values()}:
            yield f"schema: index.json does not name {name} for this call"
    if row.get("test") and (fault := untested(row["test"], root)):
        yield f"test: {fault}"


def _of_quirk(quirk: Mapping[str, Any], root: Path) -> Iterator[str]:
    test = quirk.get("test", "")
    if not test:
        return
    if fault := untested(test, root):
        yield f"test: {fault}"
    elif quirk.get("id") not in marks(root).get(_plain(test), ()):
        yield f'test: {test} is not marked @pytest.mark.quirk("{quirk.get("id")}")'


def unresolved(reference: str) -> str:
    """Why ``package.module:Qualified.name`` leads nowhere; empty if it leads somewhere."""
    module, _, name = reference.partition(":")
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        return f"there is no module {error.name}"
    except ImportError as error:
        return f"{module} cannot be imported: {error}"
    for part in name.split("."):
        if not hasattr(found, part):
            return f"{module} has no {name}" if name else "no name after the module"
        found = getattr(found, part)
    return ""


def untested(reference: str, root: Path = ROOT) -> str:
    """Why ``tests/file.py::test_name`` is no test; empty if it is one."""
    file, _, name = _plain(reference).partition("::")
    if not file.startswith("tests/") or not (root / file).is_file():
        return f"there is no file {file}"
    return "" if name in tests_in(root / file) else f"{file} has no test {name or '(none named)'}"


def _plain(reference: str) -> str:
    return reference.partition("[")[0]


@cache
def tests_in(path: Path) -> Mapping[str, tuple[str, ...]]:
    """The tests of a file, by name (``Class::name`` in a class), each with the quirks that it is marked with."""
    found: dict[str, tuple[str, ...]] = {}

    def look(body: Sequence[ast.stmt], prefix: str, given: tuple[str, ...]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{prefix}{node.name}::", given + _quirks_of(node.decorator_list))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[f"{prefix}{node.name}"] = given + _quirks_of(node.decorator_list)

    look(ast.parse(path.read_text(encoding="utf-8")).body, "", ())
    return found


def _quirks_of(decorators: Iterable[ast.expr]) -> tuple[str, ...]:
    return tuple(
        argument.value
        for call in decorators
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.quirk"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


@cache
def marks(root: Path = ROOT) -> Mapping[str, tuple[str, ...]]:
    """Every test that is marked with a quirk, and with which."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        if "mark.quirk(" in path.read_text(encoding="utf-8"):
            where = path.relative_to(root).as_posix()
            found |= {f"{where}::{name}": quirks for name, quirks in tests_in(path).items() if quirks}
    return found


# How it is shown -----------------------------------------------------------------------------------------------------

HEAD = """\
# Everything that the documents name

One row for each call, webhook and inbound route of the providers' documents: where it is implemented, where the
emulator answers it, which schemas describe it, and a test that meets it. Below each provider are its quirks, each with
the test that shows it. Made from `schemas/providers/*/provider.toml` by `make docs`; a test keeps it so.
"""


def page(found: Sequence[Table]) -> str:
    """The whole page."""
    parts = [HEAD]
    for document in DOCUMENTS + OURS:
        rows = [(table.provider, row) for table in found for row in table.endpoints if row["document"] == document]
        if not rows:
            continue
        parts.append(f"\n## {document}\n\n| name | implemented | emulated | schema | test |\n|---|---|---|---|---|\n")
        parts += [_line(provider, row) for provider, row in rows]
    for table in found:
        if table.quirks:
            parts.append(f"\n## Quirks: {table.provider}\n\n| quirk | what it is | test |\n|---|---|---|\n")
            parts += [f"| `{one['id']}` | {_cell(one['fact'])} | {_test(one['test'])} |\n" for one in table.quirks]
    return "".join(parts)


def _line(provider: str, row: Mapping[str, Any]) -> str:
    name = f"{_cell(row['name'])}<br>`{row['call']}`" if row.get("call") else _cell(row["name"])
    schemas = "<br>".join(
        f"[{one.split('.schema')[0]}](../../schemas/providers/{provider}/{one})" for one in row["schema"]
    )
    places = [
        f"`{row[column].removeprefix('syncd.').replace(':', '`<br>`')}`" for column in ("implemented", "emulated")
    ]
    return f"| {name} | {' | '.join(places)} | {schemas} | {_test(row['test'])} |\n"


def _test(reference: str) -> str:
    file, _, name = reference.partition("::")
    return f"[{file.removeprefix('tests/')}](../../{file})<br>`{name}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(root: Path = ROOT) -> int:
    """Write the page; nothing and 1 while something is wrong."""
    try:
        found = tables(root)
        faults = problems(found, root)
    except TableError as error:
        found, faults = [], [str(error)]
    if faults:
        sys.stderr.write("".join(f"{fault}\n" for fault in faults))
        return 1
    (root / TABLE).write_text(page(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
