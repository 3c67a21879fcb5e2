"""One browser for all tests of a process, and worlds that are closed when the test ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.chromium import Chromium, started
from tests.pages.site import crowded
from tests.system.conftest import open_small_world
from tests.world import World, quiet

__all__ = ["open_small_world"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[World]:
    """The crowded world, for tests that change nothing in it."""
    quiet()
    folder = tmp_path_factory.mktemp("town")
    mirror = folder / "mirror.db"
    mirror.write_bytes(sqlite_template.read_bytes())
    world = crowded(World(f"sqlite:///{mirror}", folder=folder, first_sync="hold"))
    yield world
    world.close()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """The log is set back after each test."""
    quiet()
