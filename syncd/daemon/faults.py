"""What goes wrong inside the daemon is written down, and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from syncd.daemon.live import Live
from syncd.daemon.pace import Pace
from syncd.domain.errors import MirrorError
from syncd.telemetry import places_of


def report(log: Any, what: str, error: BaseException, **about: Any) -> None:
    """Say what broke and where, and nothing that could quote a person."""
    if isinstance(error, MirrorError):
        log.error("daemon.mirror", what=what, reason=error.message, hint=error.hint, **about)
    else:
        log.error("daemon.broke", what=what, error=type(error).__name__, at=places_of(error), **about)


async def again_and_again(
    name: str, log: Any, pace: Pace, live: Live, step: Callable[[], Awaitable[None]], wait_s: Callable[[], float]
) -> None:
    """Do something for ever, with a wait after each time; a fault is reported, and waited for ever longer."""
    failures = 0
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001  tried again
            failures += 1
            report(log, name, error)
        else:
            failures = 0
        seconds = pace.pause(failures) if failures else wait_s()
        live.expect(name, seconds)
        await asyncio.sleep(seconds)
        live.rest(name)
