"""The lock belongs to the project file: the environment is built from it as it stands, without asking the network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKED = next(entry for entry in tomllib.loads((ROOT / "uv.lock").read_text())["package"] if entry["name"] == "syncd")


def wanted(lines: list[str]) -> set[tuple[str, frozenset[str]]]:
    parts = [re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", line.replace(" ", "")) for line in lines]
    return {(part[1], frozenset(part[2].split(",")) - {""}) for part in parts if part}


def locked(entries: list[dict[str, str]]) -> set[tuple[str, frozenset[str]]]:
    return {(entry["name"], frozenset(entry.get("specifier", "").split(",")) - {""}) for entry in entries}


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        pytest.param(
            [*PROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra)],
            LOCKED["metadata"]["requires-dist"],
            id="product",
        ),
        pytest.param(PROJECT["dependency-groups"]["dev"], LOCKED["metadata"]["requires-dev"]["dev"], id="development"),
    ],
)
def test_the_lock_was_made_from_this_project_file(asked, written):
    assert wanted(asked) == locked(written)
