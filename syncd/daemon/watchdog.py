"""systemd's watchdog is fed while everything moves, and only then; and it is told how things stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from syncd.daemon.faults import report
from syncd.daemon.live import Live
from syncd.daemon.notify import Systemd
from syncd.daemon.pace import Pace
from syncd.reconcile.convergence import Verdict

UNWATCHED_S = 30.0
"""How often it is looked at where no watchdog asks."""

AGAIN_SHARE = 0.25
"""Of the time between two feedings: when it is looked again after something was late, so that what merely waited for
its turn costs no feeding."""


class Watchdog:
    """Fed at half of its time, as long as nothing hangs. In a loop that is blocked nobody feeds it."""

    def __init__(self, live: Live, systemd: Systemd, clock: Callable[[], float], log: Any) -> None:
        self._live = live
        self._systemd = systemd
        self._clock = clock
        self._log = log
        self._every = systemd.watchdog_s / 2 if systemd.watchdog_s else UNWATCHED_S
        self._hung: set[str] = set()
        self._fed_at = clock()

    async def watch(self) -> None:
        while True:
            wait_s = self._every * AGAIN_SHARE if self._hung else self._every
            until = self._clock() + wait_s
            await asyncio.sleep(wait_s)
            self._live.stood_still(self._clock() - until)
            self._look()
            if not self._hung:
                self._feed()

    def alive(self) -> None:
        """Called from inside a step that takes long and never waits: to plan for everybody is work, and no hang."""
        if not self._hung and self._clock() - self._fed_at >= self._every:
            self._feed()

    def _look(self) -> None:
        late = self._live.late()
        for what in sorted(late.keys() - self._hung):
            self._log.error("daemon.hangs", what=what, for_s=round(late[what] + self._live.slack_s))
        for what in sorted(self._hung - late.keys()):
            self._log.warning("daemon.moves_again", what=what)
        self._hung = set(late)

    def _feed(self) -> None:
        self._fed_at = self._clock()
        self._systemd.feed()


async def tell_status(status: Callable[[], str], live: Live, systemd: Systemd, log: Any, pace: Pace) -> None:
    """Keep the line that `systemctl status` shows up to date. Counting in a large mirror takes a thread its time."""
    while True:
        live.expect("status", pace.status_s)
        await asyncio.sleep(pace.status_s)
        live.rest("status")
        try:
            systemd.status(await asyncio.to_thread(status))
        except Exception as error:  # noqa: BLE001  the mirror may be back the next time
            report(log, "status", error)


def line_of(verdict: Verdict, shown: dict[str, Any]) -> str:
    """The verdict, the accounts by their states, and the oldest good read, in one line."""
    states: dict[str, int] = {}
    for account in shown["accounts"]:
        states[account["state"]] = states.get(account["state"], 0) + 1
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    unread = "not every account was read yet"
    oldest = f"oldest good read {shown['oldest_read']}" if shown["oldest_read"] else unread
    return f"{verdict.condition.value}; accounts: {counted}; {oldest}"
