"""An emulator behind a real socket, and what networks and servers do to requests and answers on the way.

A mishap strikes the call it is meant for and no other, since requests and answers are taken whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass
from enum import Enum, auto

from syncd.emulators.emulator import Emulator
from syncd.wire import Request


class Kind(Enum):
    DROP = auto()  # the request arrives, the connection ends without an answer
    RESET = auto()  # so many bytes of the answer, then RST
    CLOSE = auto()  # so many bytes of the answer, then the end of the stream
    HOLE = auto()  # so many bytes of the answer, then nothing any more
    DRIP = auto()  # the answer byte by byte, with a pause after each
    DELAY = auto()  # the answer after a while
    HANG_UP = auto()  # a connection that was used before is closed as the request comes in: nothing arrives
    SAY = auto()  # the proxy answers in the server's place: nothing arrives
    FLOOD = auto()  # the same, and then blanks for ever


@dataclass(slots=True)
class Mishap:
    """Strikes the next `times` requests whose first line holds `path`. `after`: bytes of the answer that pass."""

    kind: Kind
    path: str = ""
    times: int = 1
    after: int = 0
    pause_s: float = 0.0
    said: bytes = b""
    struck: int = 0


class Proxy:
    """Listens on a port of its own and carries to an emulator. Plugged out, it refuses connections."""

    def __init__(self, emulator: Emulator | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.mishaps: list[Mishap] = []
        self.tls = tls
        self.greeting = b""  # said to whoever connects, before they are closed
        self.under_way = self.most_at_once = 0
        self.connections = 0  # how many were made
        self._emulator = emulator
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def strike(self, kind: Kind, path: str = "", **how: object) -> Mishap:
        self.mishaps.append(Mishap(kind, path, **how))  # type: ignore[arg-type]
        return self.mishaps[-1]

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)

    async def plug_out(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await asyncio.sleep(0)  # lets the aborted connections end

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                writer.write(self.greeting)
                await writer.drain()
                used = False
                while not self.greeting and await self._carry(reader, writer, used=used):
                    used = True
        finally:
            self._handlers.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, used: bool) -> bool:
        """One request and its answer. False if the connection is over."""
        request = await _message(reader)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            return await self._answer(request, reader, writer, used=used)
        finally:
            self.under_way -= 1

    async def _answer(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, used: bool
    ) -> bool:
        mishap = self._mishap_of(request, used=used)
        kind = mishap.kind if mishap else None
        if kind is Kind.HANG_UP:
            return False
        answer = mishap.said if mishap and kind in {Kind.SAY, Kind.FLOOD} else self._ask(request)
        if mishap and kind is Kind.DELAY:
            await asyncio.sleep(mishap.pause_s)
        if mishap and kind is Kind.DRIP:
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(mishap.pause_s)
            return True
        cut = mishap.after if mishap and kind in {Kind.DROP, Kind.RESET, Kind.CLOSE, Kind.HOLE} else None
        writer.write(answer[:cut])
        await writer.drain()
        while kind is Kind.FLOOD:  # ends with the connection, which the client has to close
            writer.write(b" " * 65536)
            await writer.drain()
        if kind is Kind.RESET:
            _reset(writer)
        elif kind in {Kind.HOLE, Kind.SAY}:
            await reader.read()  # until the client has had enough
        return kind in {None, Kind.DELAY}

    def _mishap_of(self, request: bytes, *, used: bool) -> Mishap | None:
        line = request.partition(b"\r\n")[0]
        for mishap in self.mishaps:
            if mishap.path.encode() in line and (used or mishap.kind is not Kind.HANG_UP):
                mishap.struck += 1
                mishap.times -= 1
                if mishap.times <= 0:
                    self.mishaps.remove(mishap)
                return mishap
        return None

    def _ask(self, request: bytes) -> bytes:
        """The emulator's whole answer."""
        assert self._emulator is not None
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        response = self._emulator.handle(Request(method, f"{self.address}{path}", headers, body))
        return saying(f"{response.status} Told", response.body, **response.headers)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One whole request, which says how long it is."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def saying(status: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer as bytes; headers as keywords, `_` for `-`."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
