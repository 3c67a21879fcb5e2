"""The worlds of the fault tests, on SQLite; whatever went wrong in them, no log line names a person or a secret."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import _logs_as_before
from tests.faults.wired import Wired
from tests.scenes import logged
from tests.system.conftest import _opening
from tests.world import World

__all__ = ["_logs_as_before"]

SECRETS = ("rocs-secret", "sales-secret", "priv_emulated", "rokt-key", "hook-secret", "mail-hook", "Bearer", "eyJ")


@pytest.fixture
def open_small_world(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """The system in one process, on a virtual clock."""
    with _watched(sqlite_template, tmp_path, World) as opening:
        yield opening


@pytest.fixture
def open_wired(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[..., Wired]]:
    """The system over real sockets."""
    with _watched(sqlite_template, tmp_path, Wired) as opening:
        yield opening


@contextmanager
def _watched(template: Path, folder: Path, kind: Any) -> Iterator[Callable[..., Any]]:
    mirror = folder / "mirror.db"
    shutil.copyfile(template, mirror)
    with _opening(f"sqlite:///{mirror}", folder, kind) as opening, logged() as lines:
        yield opening
    told = str(lines)
    assert "@" not in told
    assert not [secret for secret in SECRETS if secret in told]
