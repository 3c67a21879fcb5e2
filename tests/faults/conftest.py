"""The worlds of the fault tests; whatever went wrong in them, no log line names a person or a secret.

Each fault ends in agreement on both engines. The suite plays it on SQLite, `make long` on Postgres too.
"""

from __future__ import annotations

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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def mirror_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def open_world(migrated_url: str, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """The system in one process, on a virtual clock."""
    with _watched(migrated_url, tmp_path, World) as opening:
        yield opening


@pytest.fixture
def open_wired(migrated_url: str, tmp_path: Path) -> Iterator[Callable[..., Wired]]:
    """The system over real sockets."""
    with _watched(migrated_url, tmp_path, Wired) as opening:
        yield opening


@contextmanager
def _watched(url: str, folder: Path, kind: Any) -> Iterator[Callable[..., Any]]:
    with _opening(url, folder, kind) as opening, logged() as lines:
        yield opening
    told = str(lines)
    assert "@" not in told
    assert not [secret for secret in SECRETS if secret in told]
