"""What a pull did, in numbers; and what is done between two of its reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pulled:
    """What a pull did, in numbers."""

    rows: int = 0
    new: int = 0
    changed: int = 0
    pages: int = 0
    pages_same: int = 0
    looked_up: int = 0
    samples: int = 0
    doubts: list[str] = field(default_factory=list)


Between = Callable[[], Awaitable[None]]
"""What is done between two reads: unsubscribes do not wait for the end of a long one."""


async def nothing() -> None:
    return
