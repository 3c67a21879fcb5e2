"""The files under schemas/: valid, dated with their source, and every name in an index stands for a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[1] / "schemas"
FILES = sorted(ROOT.rglob("*.schema.json"))
OF_PROVIDERS = sorted((ROOT / "providers").rglob("*.schema.json"))
"""Those that were written from a provider's document; the others describe what is ours."""
INDEXES = sorted(ROOT.rglob("index.json"))
DATE = re.compile(r"\b20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\b")
PROVIDERS = {"rocs", "rokt", "salesrocks", "rocketresponder", "http"}


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def referenced(node: Any) -> set[str]:
    """The other files that a schema points to."""
    if isinstance(node, dict):
        own = {node["$ref"].partition("#")[0]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(referenced(value) for value in node.values())) - {""}
    if isinstance(node, list):
        return set().union(*(referenced(value) for value in node))
    return set()


def test_every_provider_is_described():
    assert {path.parent.name for path in INDEXES if path.parent.parent.name == "providers"} == PROVIDERS


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_schema_is_valid_in_the_dialect_it_names(path: Path):
    schema = load(path)
    assert schema.get("$schema") == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", OF_PROVIDERS, ids=short)
def test_a_provider_s_schema_says_from_what_it_was_written_and_when(path: Path):
    comment = load(path).get("$comment", "")
    assert DATE.search(comment), "no date on which the source was read"
    assert len(DATE.sub("", comment).strip(" ,;.()")) >= 8, "no source"


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_schema_points_only_to_files_that_are_there(path: Path):
    missing = {name for name in referenced(load(path)) if "://" not in name and not (path.parent / name).is_file()}
    assert missing == set()


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_schema_says_something(path: Path):
    """One that takes anything at all would let any answer pass."""
    schema = load(path)
    anything: list[Any] = [None, 0, "", [], {}, [{}], {"no": "such"}]
    if not referenced(schema):
        validator: Any = Draft202012Validator(schema)
        assert not all(validator.is_valid(value) for value in anything)


@pytest.mark.parametrize("path", INDEXES, ids=short)
def test_an_index_names_only_calls_and_files_that_are_there(path: Path):
    calls = load(path)
    assert calls
    for call, entry in calls.items():
        assert re.fullmatch(r"(?:GET|POST|PUT|PATCH|DELETE) (?:/\S*|\{\w+\})", call), call
        assert set(entry) - {"query"} == {"request", "response"}, call
        assert entry["request"] or entry["response"], call
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in entry["response"]), call
        for name in [entry["request"], entry.get("query"), *entry["response"].values()]:
            assert name is None or (path.parent / name).is_file(), f"{call}: {name}"


@pytest.mark.parametrize("path", INDEXES, ids=short)
def test_every_schema_beside_an_index_is_used(path: Path):
    used: set[str] = set()
    for entry in load(path).values():
        used |= {name for name in (entry["request"], entry.get("query"), *entry["response"].values()) if name}
    while more := {name for known in used for name in referenced(load(path.parent / known))} - used:
        used |= more
    assert {file.name for file in path.parent.glob("*.schema.json")} - used == set()


@pytest.mark.parametrize("path", INDEXES, ids=short)
def test_a_call_by_get_says_which_parameters_its_address_holds(path: Path):
    """A schema of the object of them, each a text; null where there are none."""
    for call, entry in load(path).items():
        assert "query" in entry or not call.startswith("GET "), call
        if name := entry.get("query"):
            schema = load(path.parent / name)
            assert schema["type"] == "object", call
            assert all(value.get("type") == "string" for value in schema["properties"].values()), call
