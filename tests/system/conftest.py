"""Worlds that are closed when the test ends; where no engine can change the outcome, Postgres is for `make long`."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.world import World, quiet

ENGINE_MATTERS = frozenset(
    {
        "test_check",  # what the mirror itself refuses
        "test_dark",  # these three: views
        "test_ledger",
        "test_mirror",
    }
)
"""Files whose tests the suite plays on both engines. Of the others, which are about rules of the core, emulators and
adapters, it plays the half on SQLite; the scenarios, the store and the adapters' suite are on both.
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    chosen = getattr(item, "callspec", None)
    if chosen is not None and chosen.params.get("mirror_kind") == "postgres" and item.path.stem not in ENGINE_MATTERS:
        item.add_marker(pytest.mark.long)


@pytest.fixture
def open_world(migrated_url: str, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Once on each engine."""
    with _opening(migrated_url, tmp_path) as opening:
        yield opening


@pytest.fixture
def open_small_world(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """On SQLite alone: for what no engine can change."""
    mirror = tmp_path / "mirror.db"
    shutil.copyfile(sqlite_template, mirror)
    with _opening(f"sqlite:///{mirror}", tmp_path) as opening:
        yield opening


@contextmanager
def _opening(url: str, folder: Path, kind: Callable[..., World] = World) -> Iterator[Callable[..., World]]:
    quiet()
    random.seed(0)  # stamina draws its jitter from here
    opened: list[World] = []

    def opening(**given: Any) -> World:
        opened.append(kind(url, folder=folder, **given))
        return opened[-1]

    yield opening
    for world in opened:
        world.close()
