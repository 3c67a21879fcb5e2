"""The control socket: what both ends agree on, and the end that asks.

One line of JSON each way over a Unix socket. The daemon begins with a hello that names the protocol, its version, the
process and its mirror. Then one request at a time: `{"do": "sync", "accounts": ["crm"]}`, answered by `{"result": …}`
or `{"error": {"message": …, "hint": …}}`; `watch` is answered by one line after another. Whoever closes the connection
waits for nothing any more; what was asked for goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

from syncd.domain.errors import ConfigurationError, Problem, SyncdError
from syncd.settings import Settings
from syncd.store.session import describe

PROTOCOL = "syncd control"
VERSION = 1

LINE_MAX = 65_536
"""Bytes of a request."""

ANSWER_MAX = 16 * 1024 * 1024

HELLO_S = 5.0
"""How long a daemon may take to say hello: one that is busy in a long transaction takes a moment."""

NAME = "control.sock"
SYSTEM_PLACE = Path("/run/syncd") / NAME


class NobodyThereError(SyncdError):
    """No daemon that we could ask answers at the control socket."""


def place_to_listen(settings: Settings, environ: Mapping[str, str]) -> Path | None:
    """Where the daemon listens: where the configuration says, else in the folder that systemd made for it."""
    if settings.daemon.control:
        return Path(settings.daemon.control)
    made = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(made) / NAME if made else None


def place_to_ask(settings: Settings) -> Path:
    return Path(settings.daemon.control) if settings.daemon.control else SYSTEM_PLACE


def mirror_of(settings: Settings) -> str:
    """By what the two ends know that they mean the same mirror."""
    shown = describe(settings.mirror.url)
    scheme, _, path = shown.partition(":///")
    return f"{scheme}:///{os.path.realpath(path)}" if scheme == "sqlite" else shown


class Conversation:
    """One connection to a daemon. Use it as an async context manager."""

    def __init__(self, place: Path, mirror: str) -> None:
        """Raises `NobodyThereError`, when it is entered, where no daemon of this mirror answers."""
        self._place = place
        self._mirror = mirror
        self.who = ""

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(HELLO_S):
                self._reader, self._writer = await asyncio.open_unix_connection(self._place, limit=ANSWER_MAX)
                hello = await self._line()
        except PermissionError as error:
            raise NobodyThereError(
                f"you may not use the control socket {self._place}", hint=f"as root, or in the group of {self._place}"
            ) from error
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or "no answer"
            raise self._nobody(why) from error
        if hello.get("protocol") != PROTOCOL or hello.get("version") != VERSION:
            await self.__aexit__()
            raise NobodyThereError(
                f"what answers at {self._place} speaks another protocol than version {VERSION} of ours",
                hint="systemctl restart syncd, if it was upgraded",
            )
        if hello.get("mirror") != self._mirror:
            await self.__aexit__()
            raise self._nobody(f"the daemon there works on {hello.get('mirror')}")
        self.who = str(hello.get("who"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def ask(self, do: str, **given: Any) -> Any:
        """The result of one request. Raises what the daemon says is wrong with it."""
        await self._say(do, given)
        return _result(await self._line())

    async def watch(self, **given: Any) -> AsyncIterator[Any]:
        """What runs right now, again and again."""
        await self._say("watch", given)
        while True:
            yield _result(await self._line())

    async def _say(self, do: str, given: Mapping[str, Any]) -> None:
        self._writer.write(encoded({"do": do, **given}))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _line(self) -> dict[str, Any]:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise self._nobody("it closed the connection")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _nobody(self, why: str) -> NobodyThereError:
        return NobodyThereError(f"no daemon answers at {self._place}: {why}", hint="systemctl status syncd")


def encoded(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _result(answer: Mapping[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if error.get("problems"):
        raise ConfigurationError(error["source"], [Problem(**problem) for problem in error["problems"]])
    raise SyncdError(str(error.get("message")), hint=str(error.get("hint", "")))
