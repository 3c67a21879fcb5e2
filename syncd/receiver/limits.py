"""How much is taken of whom: a bucket for each sender and kind, so that nobody is kept waiting by another.

A bucket holds what may come at once, and fills again within a minute.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable

BUCKETS_MAX = 10_000
"""More are not kept: the one that was used longest ago gives way, and by then it is mostly full again."""


class Limit:
    """So many of each key within a window. `clock` gives seconds that only go forward: those of the loop."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] | None = None,
        *,
        window_s: float = 60.0,
        buckets_max: int = BUCKETS_MAX,
    ) -> None:
        self._most = float(most)
        self._window_s = window_s
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> int:
        """Take one. 0, or the whole seconds after which there is one again."""
        now = self._clock()
        left, at = self._buckets.pop(key, (self._most, now))
        left = min(self._most, left + max(0.0, now - at) * self._most / self._window_s)
        wait_s = 0 if left >= 1 else max(1, -int(-(1 - left) * self._window_s // self._most))
        self._buckets[key] = (left if wait_s else left - 1, now)
        while len(self._buckets) > self._buckets_max:
            self._buckets.popitem(last=False)
        return wait_s
