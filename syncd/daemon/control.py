"""The control socket: the end that answers. Who may open it, what is taken there, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from syncd.control import LINE_MAX, PROTOCOL, VERSION, encoded
from syncd.daemon.faults import report
from syncd.daemon.socket_file import socket_file
from syncd.domain.errors import ConfigurationError, Problem, SyncdError

CLIENTS_MAX = 16

IDLE_S = 60.0
"""How long somebody who says nothing, or takes no answer, is waited for."""

Act = Callable[[Mapping[str, Any]], Awaitable[Any]]
Watch = Callable[[Mapping[str, Any]], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the system says (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


class Control:
    def __init__(
        self, hello: Mapping[str, Any], acts: Mapping[str, Act], watch: Watch, log: Any, *, idle_s: float = IDLE_S
    ) -> None:
        """`acts` by name: what may be asked for. `watch` gives one answer after another."""
        self._hello = {"protocol": PROTOCOL, "version": VERSION, **hello}
        self._acts = acts
        self._watch = watch
        self._log = log
        self._idle_s = idle_s
        self._clients = 0

    @contextlib.asynccontextmanager
    async def serving(self, sock: socket.socket | None) -> AsyncIterator[None]:
        """Answer there; whoever is still connected at the end is cut off."""
        if sock is None:
            yield
            return
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._client(reader, writer, Path(sock.getsockname()).stat().st_gid))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_unix_server(connected, sock=sock, limit=LINE_MAX)
        try:
            yield
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gid: int) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        self._clients += 1
        try:
            if not may_enter(peer, gid):
                await self._say(writer, _error("you may not ask this daemon", "as root, or in the socket's group"))
            elif self._clients > CLIENTS_MAX:
                await self._say(writer, _error(f"{CLIENTS_MAX} others are connected already", "try again in a moment"))
            else:
                await self._say(writer, self._hello)
                while (line := await self._line(reader, writer)) is not None:
                    await self._answer(line, peer, reader, writer)
        except (_GoneError, OSError, TimeoutError):
            pass  # nobody is there any more to tell
        except Exception as error:  # noqa: BLE001  a fault of ours at one client stops nothing else
            report(self._log, "control", error)
        finally:
            self._clients -= 1
            writer.close()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        try:
            line = await asyncio.wait_for(reader.readline(), self._idle_s)
        except ValueError:
            await self._say(writer, _error(f"a request has at most {LINE_MAX} bytes"))
            return None
        return line or None

    async def _answer(
        self, line: bytes, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            request = _request(line)
            do = request["do"]
            if do == "watch":
                async for one in self._watch(request):
                    await self._say(writer, {"result": one})
                    await _pause(reader, _seconds(request))
                return
            act = self._acts.get(do) or _unknown(do, self._acts)
            if do != "status":
                self._log.info("control.asked", do=do, uid=peer.uid, pid=peer.pid)
            await self._say(writer, {"result": await _unless_gone(reader, act(request))})
        except SyncdError as error:
            await self._say(writer, _told(error))

    async def _say(self, writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
        writer.write(encoded(message))
        await asyncio.wait_for(writer.drain(), self._idle_s)


class _GoneError(Exception):
    """Nobody waits for the answer any more, or they talk out of turn."""


async def _unless_gone(reader: asyncio.StreamReader, work: Awaitable[Any]) -> Any:
    """The result, for as long as somebody waits for it."""
    doing, gone = asyncio.ensure_future(work), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise _GoneError
        return doing.result()
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _pause(reader: asyncio.StreamReader, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)
        raise _GoneError


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SyncdError("a request is one line of JSON", hint='{"do": "status"}') from error
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise SyncdError("a request is an object that says what to do", hint='{"do": "status"}')
    return request


def _unknown(do: str, acts: Mapping[str, Act]) -> Act:
    raise SyncdError(f"there is nothing called `{do}` to do", hint=f"one of {', '.join([*acts, 'watch'])}")


def _seconds(request: Mapping[str, Any]) -> float:
    every = request.get("every_s", 1.0)
    if isinstance(every, bool) or not isinstance(every, int | float) or not 0.05 <= every <= 3600:
        raise SyncdError("every_s is a number of seconds from 0.05 to 3600")
    return float(every)


def _error(message: str, hint: str = "") -> dict[str, Any]:
    return {"error": {"message": message, "hint": hint}}


def _told(error: SyncdError) -> dict[str, Any]:
    said = _error(error.message, error.hint)
    if isinstance(error, ConfigurationError):
        said["error"] |= {"source": error.source, "problems": [asdict(problem) for problem in error.problems]}
    return said


# Who may enter -------------------------------------------------------------------------------------------------------


def peer_of(sock: Any) -> Peer:
    return Peer(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))))


def may_enter(peer: Peer, gid: int) -> bool:
    """Root, whoever we run as, and the group of the socket: as its mode says, should somebody have opened that wider.

    In a user namespace of its own (PrivateUsers=) a service sees everybody else as nobody; then the mode alone decides.
    """
    if peer.uid in {0, os.geteuid(), _nobody_uid()} or peer.gid == gid:
        return True
    try:
        name = pwd.getpwuid(peer.uid).pw_name
        return name in grp.getgrgid(gid).gr_mem
    except KeyError:
        return False


def _nobody_uid() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return 65534


# The socket ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def control_listening(place: Path | None) -> Iterator[socket.socket | None]:
    """A socket at that place, which is gone again at the end. One that a killed daemon left is replaced."""
    if place is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(socket_file(place))
        except OSError as error:
            raise _unusable(place, error.strerror or str(error)) from error
        yield sock


def _unusable(place: Path, why: str) -> ConfigurationError:
    problem = Problem("daemon.control", f"cannot listen on {place}: {why}", "choose another place, or see who has it")
    return ConfigurationError("daemon", [problem])
