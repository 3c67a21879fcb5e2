"""Emulators on loopback ports: what `syncd emulate` and the demo talk to.

Bind first, then build the emulator with the address that came out of it, then serve:

    sock = bind_loopback(0)
    emulator = RocsEmulator(now, base_url=address_of(sock))
    async with serving([(emulator, sock)], send=carrier.send) as served: ...
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from syncd.domain.errors import ProviderError
from syncd.emulators.emulator import Emulator, LostAnswerError, NoConnectionError
from syncd.wire import Request, Response

LOOPBACK = "127.0.0.1"
BODY_BYTES_MAX = 64 * 1024 * 1024
Send = Callable[[Request], Awaitable[Response]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendEvent = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Served:
    """Emulators while they are served: their addresses, in the order given, and what they sent to us."""

    def __init__(self, emulators: Sequence[Emulator], addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self.delivered = 0
        self.given_up = 0
        self.under_way = 0
        self._emulators = emulators

    async def settled(self, *, poll_s: float = 0.01) -> None:
        """Wait until no emulator has anything left to send to us."""
        while self.under_way or any(emulator.outgoing for emulator in self._emulators):  # noqa: ASYNC110  plain deques
            await asyncio.sleep(poll_s)


def bind_loopback(port: int) -> socket.socket:
    """A listening socket that only this machine can reach. Port 0: any free one."""
    # Named as TCP, because asyncio switches Nagle's algorithm off only then; with it each answer takes 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK, port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> str:
    """The base URL under which a bound socket is reached."""
    host, port = sock.getsockname()
    return f"http://{host}:{port}"


@asynccontextmanager
async def serving(
    emulators: Sequence[tuple[Emulator, socket.socket]],
    *,
    send: Send,
    retry_s: float = 0.2,
    poll_s: float = 0.02,
) -> AsyncIterator[Served]:
    """Serve until the block ends, and carry what the emulators send to us through `send`, in order.

    What is not taken (`Emulator.delivered_on`) is sent again, `retry_s` later and ever later, as often as the emulator
    does (`Emulator.retries`); then it is given up and counted. The sockets are closed at the end.
    """
    served = Served([emulator for emulator, _ in emulators], [address_of(sock) for _, sock in emulators])
    servers = [_server(emulator, address_of(sock)) for emulator, sock in emulators]
    async with contextlib.AsyncExitStack() as stack:
        for server, (_, sock) in zip(servers, emulators, strict=True):
            stack.callback(sock.close)
            await stack.enter_async_context(_running(server, sock))
        for emulator, _ in emulators:
            await stack.enter_async_context(_background(_carry_out(emulator, send, served, retry_s, poll_s)))
        yield served


# -- towards the emulator -------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """Runs inside a loop that is not its own, so it leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """Hands the connection to the application, which may have to drop it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn itself
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def _server(emulator: Emulator, address: str) -> _Server:
    config = uvicorn.Config(
        _application(emulator, address),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config)


def _application(emulator: Emulator, address: str) -> Callable[[Scope, Receive, SendEvent], Awaitable[None]]:
    """The emulator as an ASGI application."""

    async def application(scope: Scope, receive: Receive, send: SendEvent) -> None:
        body = await _body(receive)
        if body is None:
            await _drop(scope, receive)
            return
        try:
            response = emulator.handle(_request(scope, body, address))
        except (NoConnectionError, LostAnswerError):
            await _drop(scope, receive)
            return
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
        ]
        length = (b"content-length", str(len(response.body)).encode())
        headers = [*(header for header in headers if header[0] != length[0]), length]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    return application


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if the caller went away or sends without end."""
    chunks, size = [], 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return None
        chunks.append(event.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_BYTES_MAX:
            return None
        if not event.get("more_body", False):
            return b"".join(chunks)


def _request(scope: Scope, body: bytes, address: str) -> Request:
    query = scope["query_string"].decode("latin-1")
    path = scope["raw_path"].decode("latin-1")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], f"{address}{path}{'?' if query else ''}{query}", headers, body)


async def _drop(scope: Scope, receive: Receive) -> None:
    """End the connection without an answer, and wait until uvicorn has seen it, so that it adds none of its own."""
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def _running(server: _Server, sock: socket.socket) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the server of an emulator ended before it began")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await task


# -- from the emulator ----------------------------------------------------------------------------------------------


async def _carry_out(emulator: Emulator, send: Send, served: Served, retry_s: float, poll_s: float) -> None:
    while True:
        while emulator.outgoing:
            served.under_way += 1
            try:
                if await _delivered(emulator.outgoing.popleft(), send, retry_s, emulator):
                    served.delivered += 1
                else:
                    served.given_up += 1
            finally:
                served.under_way -= 1
        await asyncio.sleep(poll_s)


async def _delivered(request: Request, send: Send, retry_s: float, emulator: Emulator) -> bool:
    for attempt in range(emulator.retries + 1):
        if attempt:
            await asyncio.sleep(retry_s * 2 ** (attempt - 1))
        try:
            response = await send(request)
        except ProviderError:
            continue
        if response.status in emulator.delivered_on:
            return True
    return False


@asynccontextmanager
async def _background(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
