"""Worlds that are closed when the test ends."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.world import World, quiet


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
