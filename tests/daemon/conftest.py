"""A scene on a mirror of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.scene import Scene


@pytest.fixture
def scene(sqlite_template: Path, tmp_path: Path) -> Iterator[Scene]:
    copy = tmp_path / "mirror.db"
    copy.write_bytes(sqlite_template.read_bytes())
    found = Scene(f"sqlite:///{copy}", tmp_path)
    yield found
    for app in found.apps:
        app.engine.dispose()


@pytest.fixture
def scene_on_both(migrated_url: str, tmp_path: Path) -> Iterator[Scene]:
    found = Scene(migrated_url, tmp_path)
    yield found
    for app in found.apps:
        app.engine.dispose()
