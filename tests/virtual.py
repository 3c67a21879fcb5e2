"""A loop whose clock is a number:

it jumps to the next timer instead of waiting, so days pass in seconds and every run is the same.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class _NeverWaits(selectors.SelectSelector):
    """Polls; the time that a wait would have taken is handed to the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped: Callable[[float], None] = lambda _seconds: None

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("the loop waits for nothing: a deadlock")
        if not found and timeout:
            self.skipped(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """`loop.time()` begins at 0 and moves only when everybody waits."""

    def __init__(self) -> None:
        selector = _NeverWaits()
        self._virtual = 0.0
        super().__init__(selector)
        selector.skipped = self._skip

    def time(self) -> float:
        return self._virtual

    def _skip(self, seconds: float) -> None:
        self._virtual += seconds

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which nothing happens."""
        self._virtual += seconds


class Clock:
    """Wall clock over a virtual loop; may be skewed."""

    def __init__(self, loop: VirtualLoop, skew_s: float = 0.0) -> None:
        self._loop = loop
        self.skew_s = skew_s

    def __call__(self) -> datetime:
        return START + timedelta(seconds=self._loop.time() + self.skew_s)


def run(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on this loop."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        asyncio.set_event_loop(None)
