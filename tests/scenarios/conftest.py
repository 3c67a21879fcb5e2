"""The worlds of the system tests; each scenario runs on both engines."""

from __future__ import annotations

from tests.cli.conftest import _logs_as_before
from tests.system.conftest import open_world

__all__ = ["_logs_as_before", "open_world"]
