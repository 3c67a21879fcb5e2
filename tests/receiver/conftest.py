"""Doors to knock at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.door import Door


@pytest.fixture
def door(migrated_url: str, tmp_path: Path) -> Iterator[Door]:
    """On both engines."""
    found = Door(migrated_url, tmp_path)
    yield found
    found.app.engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Where the engine makes no difference."""
    copy = tmp_path / "mirror.db"
    copy.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def sqlite_door(sqlite_url: str, tmp_path: Path) -> Iterator[Door]:
    found = Door(sqlite_url, tmp_path)
    yield found
    found.app.engine.dispose()


@pytest.fixture
def hasty_door(sqlite_url: str, tmp_path: Path) -> Iterator[Door]:
    """Of little patience."""
    found = Door(
        sqlite_url,
        tmp_path,
        SYNCD_RECEIVER__BODY_TIMEOUT="200ms",
        SYNCD_RECEIVER__HEADER_TIMEOUT="1s",
        SYNCD_RECEIVER__CONNECTIONS_MAX="8",
        SYNCD_RECEIVER__BODY_BYTES_MAX=str(256 * 1024),
    )
    yield found
    found.app.engine.dispose()
