"""What one can ask the daemon to do by its control socket, and what it then shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from syncd.app import App, Turned
from syncd.daemon.control import Act
from syncd.daemon.live import Live
from syncd.daemon.rounds import Rounds
from syncd.daemon.timers import Timers
from syncd.domain.errors import SyncdError
from syncd.store import journal
from syncd.store.inspect import shown_time
from syncd.store.session import reading
from syncd.sync import steer


class Acts:
    def __init__(
        self, app: App, rounds: Rounds, timers: Timers, live: Live, reload: Callable[[], Awaitable[Turned]]
    ) -> None:
        self._app = app
        self._rounds = rounds
        self._timers = timers
        self._live = live
        self._reload = reload
        self._began = app.outside.now()

    def by_name(self) -> Mapping[str, Act]:
        return {
            "status": self.status,
            "sync": self.sync,
            "pause": self.pause,
            "resume": self.resume,
            "reload": self.reload,
        }

    async def status(self, _request: Mapping[str, Any]) -> Any:
        return self.now()

    async def watch(self, _request: Mapping[str, Any]) -> AsyncIterator[Any]:
        while True:
            yield self.now()

    async def sync(self, request: Mapping[str, Any]) -> Any:
        accounts, full = request.get("accounts", []), request.get("full", False)
        if not isinstance(accounts, list) or not isinstance(full, bool):
            raise SyncdError("accounts is a list of names, and full is true or false")
        for name in accounts:
            self._known(name)
        outcome = await self._rounds.asked_for(accounts, full=full)
        if "error" in outcome:
            raise SyncdError(outcome["error"], hint="journalctl -u syncd -n 50")
        return dict(outcome)

    async def pause(self, request: Mapping[str, Any]) -> Any:
        name = self._known(request.get("account"))
        steer.pause(self._app.context, name)
        return {"account": name, "state": "paused"}

    async def resume(self, request: Mapping[str, Any]) -> Any:
        name = self._known(request.get("account"))
        state = steer.resume(self._app.context, name)
        self._rounds.wake(name)
        return {"account": name, "state": state}

    async def reload(self, _request: Mapping[str, Any]) -> Any:
        turned = await self._reload()
        return {"added": turned.added, "removed": turned.removed, "changed": turned.changed}

    def _known(self, name: Any) -> str:
        if not isinstance(name, str) or name not in self._app.settings.accounts:
            there = ", ".join(self._app.settings.accounts)
            raise SyncdError(f"there is no account `{name}`", hint=f"there is {there}")
        return name

    # What runs right now ---------------------------------------------------------------------------------------------

    def now(self) -> dict[str, Any]:
        context = self._app.context
        with reading(context.engine) as connection:
            states = {row.name: row.state for row in journal.load_accounts(connection)}
        return {
            "at": shown_time(context.now()),
            "daemon": self._app.who,
            "since": shown_time(self._began),
            "rounds": len(self._rounds.under_way),
            "hangs": sorted(self._live.late()),
            "accounts": [self._account(name, states.get(name, "new")) for name in context.lanes],
        }

    def _account(self, name: str, state: str) -> dict[str, Any]:
        work, wakes_in = self._live.work(name), self._timers.wakes_in(name)
        return {
            "account": name,
            "provider": self._app.context.lanes[name].provider_name,
            "state": state,
            "working": work is not None,
            "phase": work.phase if work else "",
            "since": shown_time(work.since) if work else None,
            "records": work.records if work else 0,
            "total": work.total if work else None,
            "calls": work.calls if work else 0,
            "next_wake_s": None if wakes_in is None else round(wakes_in, 1),
        }
