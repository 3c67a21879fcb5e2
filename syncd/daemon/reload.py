"""The configuration is read anew while the daemon runs: a good one takes effect, a bad one is refused as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from syncd.app import App, Turned
from syncd.daemon.faults import report
from syncd.daemon.notify import Systemd
from syncd.domain.errors import ConfigurationError, SyncdError
from syncd.settings import Settings


@dataclass(slots=True)
class Reload:
    """`reread` gives the settings as they are by now. `refused`: why the old ones go on, or nothing."""

    app: App
    systemd: Systemd
    reread: Callable[[], Settings]
    refused: str = ""

    def turn(self, status: Callable[[], str]) -> Turned:
        """Go on with what the configuration says now. Raises, and leaves everything as it was, where that is no good.

        systemd is told either way: `status` is the line that it then shows.
        """
        self.systemd.reloading()
        try:
            settings = self.reread()
            turned = self.app.turn_to(settings)
        except SyncdError as error:
            self._refuse(error)
            raise
        except Exception as error:
            report(self.app.log, "reload", error)
            self.refused = "reload failed: see the journal; the old configuration goes on"
            raise
        else:
            self.refused = ""
            for warning in settings.warnings:
                self.app.log.warning("configuration.warning", what=warning)
            changes = {"added": turned.added, "removed": turned.removed, "changed": turned.changed}
            self.app.log.info("daemon.reloaded", **changes)
            return turned
        finally:
            self.systemd.ready(self._shown(status))

    def _shown(self, status: Callable[[], str]) -> str:
        try:
            return status()
        except SyncdError as error:  # the mirror is away just now, and systemd has to be told all the same
            return error.message

    def _refuse(self, error: SyncdError) -> None:
        problems = error.problems if isinstance(error, ConfigurationError) else ()
        self.refused = f"reload refused: {error.message}; the old configuration goes on"
        self.app.log.error("reload.refused", reason=error.message, hint=error.hint)
        for problem in problems:
            self.app.log.error("reload.problem", where=problem.where, what=problem.what, hint=problem.hint)


class Current:
    """The receiver's application, which may be exchanged; what is under way ends with the one it began with."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.application(scope, receive, send)


def end_later(app: App, turned: Turned, errand: Callable[[Any], asyncio.Task[Any]]) -> None:
    for lane, carrier in turned.ending:
        errand(app.end(lane, carrier))
