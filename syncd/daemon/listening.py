"""Where the daemon listens, and the server that answers there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from syncd.daemon.socket_file import socket_file
from syncd.domain.errors import ConfigurationError, Problem
from syncd.settings import ReceiverSettings


class Server(uvicorn.Server):
    """Leaves the process's signals alone: whoever runs the daemon has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(application: Any) -> Server:
    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    return Server(config)


async def started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving
            raise RuntimeError("the receiver ended before it began")
        await asyncio.sleep(0.005)


@contextlib.contextmanager
def listening(settings: ReceiverSettings) -> Iterator[socket.socket]:
    """A socket at the configured address. Bound before anything else, so that port 0 is known and a fault is ours."""
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(socket_file(settings.path) if settings.path else _port(settings))
        except OSError as error:
            what = f"cannot listen on {settings.listen}: {error.strerror}"
            hint = "its folder must be there and be ours" if settings.path else "what has the port: ss -ltnp"
            problem = Problem("receiver.listen", what, f"{hint}; or choose another")
            raise ConfigurationError("receiver", [problem]) from error
        yield sock


@contextlib.contextmanager
def _port(settings: ReceiverSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen()
        sock.setblocking(False)
        yield sock


def address_of(sock: socket.socket) -> str:
    """The base URL under which a listening socket is reached, or `unix:` and its file."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
