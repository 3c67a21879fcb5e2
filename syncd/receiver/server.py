"""How connections are held: who is slow, idle or one too many is let go, so that others get in.

uvicorn waits for ever for the first request of a connection, and for the rest of one whose answer was given already.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from syncd.settings import ReceiverSettings


def server_config(application: Any, settings: ReceiverSettings, drain_s: float) -> uvicorn.Config:
    """What uvicorn is told. It writes no access log: its lines hold paths."""

    class Connection(_Connection):
        connections_max = settings.connections_max
        header_timeout_s = settings.header_timeout

    return uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=settings.header_bytes_max,
        # One more than there may be: whoever finds all of them at work is told to come again.
        limit_concurrency=settings.connections_max + 1,
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )


class _Connection(H11Protocol):
    """`waiting_since`: since when it owes us a request; None while one is answered."""

    connections_max: ClassVar[int]
    header_timeout_s: ClassVar[float]

    waiting_since: float | None = None
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.connections_max:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._wait()  # also for what is left of a request that was answered before its end
        super().on_response_complete()

    def _wait(self) -> None:
        self._stop_waiting()
        self.waiting_since = self.loop.time()
        self._patience = self.loop.call_later(self.header_timeout_s, self.let_go)

    def _stop_waiting(self) -> None:
        self.waiting_since = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def let_go(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def _make_room(self) -> None:
        """Let the connection go that has waited longest; where all are at work, nobody."""
        others = (one for one in self.connections if isinstance(one, _Connection) and one is not self)
        idle = [(one.waiting_since, one) for one in others if one.waiting_since is not None]
        if idle:
            min(idle, key=lambda entry: entry[0])[1].let_go()
