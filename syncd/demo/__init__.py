"""Without any real provider: the demonstration, and emulators for a rehearsal."""

from __future__ import annotations

from syncd.demo.stage import emulate
from syncd.demo.story import run_demo

__all__ = ["emulate", "run_demo"]
