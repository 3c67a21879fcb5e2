"""The smallest history that still breaks the same promise: happenings are left out as long as it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tests.simulation.oracle import BrokenError
from tests.simulation.script import Happening


def shrink(
    happenings: Sequence[Happening], kind: str, play: Callable[[Sequence[Happening]], object], seconds: float
) -> list[Happening]:
    """Leave out chunks, then smaller ones, for so many seconds at most; what is returned was seen to fail."""
    until = time.monotonic() + seconds
    smallest = list(happenings)
    size = max(1, len(smallest) // 2)
    while time.monotonic() < until:
        before = len(smallest)
        start = 0
        while start < len(smallest) and time.monotonic() < until:
            fewer = smallest[:start] + smallest[start + size :]
            if _breaks(fewer, kind, play):
                smallest = fewer
            else:
                start += size
        if size == 1 and len(smallest) == before:
            break
        size = max(1, size // 2)
    return smallest


def _breaks(happenings: Sequence[Happening], kind: str, play: Callable[[Sequence[Happening]], object]) -> bool:
    try:
        play(happenings)
    except BrokenError as error:
        return error.kind == kind
    except Exception:  # noqa: BLE001  another fault: not the one that is looked for
        return False
    return False
