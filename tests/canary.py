"""No person and no secret in anything that is emitted.

Every log line of the suite, at every level, is rendered as it would be in service and looked through, and so is what
commands and daemons write to stderr, what Prometheus reads, what refused callers are answered, and the arguments of
programs that are started. What a command prints on purpose is no log.

A test in which a canary is found fails; the end of the run says how much was looked through.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import md5, sha256
from io import StringIO
from typing import Any

import pytest
import structlog

PERSONS = (
    *(f"{name}@example.org" for name in ("ann", "bob", "cat", "dan", "dora", "eve", "fay", "lead", "olga", "jane")),
    *(f"p{number}@example.org" for number in range(4)),
)
SECRETS = (
    "rocs-secret", "hook-secret", "sales-secret", "priv_emulated", "mail-hook", "rokt-key", "rokt-secret",
    "rokt-app-secret", "http-key", "mail/hook+1", "a secret of ours",
)  # fmt: skip
"""What the configurations of the tests hold."""

NUMBERS = ("46701234567", "4915112345678")


def _spellings() -> Iterator[str]:
    yield from SECRETS
    yield from NUMBERS
    yield b64encode(b"rokt:rokt-secret").decode()
    for address in PERSONS:
        raw = address.encode()
        yield from (raw.hex(), md5(raw).hexdigest(), sha256(raw).hexdigest(), b64encode(raw).decode().rstrip("="))


NEEDLES = tuple(sorted({needle.lower() for needle in _spellings()}))
ADDRESS = re.compile(r"[^\s\"'<>@/:=\[\]*]+(?:@|%40)[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}")
"""Whatever looks like one, but for stars before a host: whoever it is, tests know no address that may be shown."""


def found_in(text: str) -> list[str]:
    """The canaries in a text."""
    lower = text.lower()
    hits = [needle for needle in NEEDLES if needle in lower]
    if "@" in lower or "%40" in lower:
        hits += ADDRESS.findall(lower)
    return hits


class Canary:
    """What was emitted since the last look, and how much of it there was in all."""

    def __init__(self) -> None:
        self.pieces = 0
        self.bytes = 0
        self.hits = 0
        self.watches = False
        self._told: list[tuple[str, str]] = []

    def take(self, where: str, text: str | bytes | None) -> None:
        """Something was emitted."""
        if text:
            self._told.append((where, text if isinstance(text, str) else text.decode("utf-8", "replace")))

    def take_stderr(self, text: str, arguments: Iterable[str]) -> None:
        """What a command wrote beside its data. What its own words were may be told to whoever typed them."""
        for word in sorted(arguments, key=len, reverse=True):
            text = text.replace(word, "[typed]") if "@" in word else text
        self.take("stderr", text)

    def look(self) -> list[str]:
        """What was emitted since the last look and must not have been."""
        told, self._told = self._told, []
        self.pieces += len(told)
        whole = "\n".join(text for _, text in told)
        self.bytes += len(whole.encode("utf-8", "surrogatepass"))
        if not found_in(whole):
            return []
        found = [f"{where}: {', '.join(hits)} in {text[:500]}" for where, text in told if (hits := found_in(text))]
        self.hits += len(found)
        return found

    # Where it is taken from ------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """From now on log lines, from DEBUG upwards, come here, and nowhere else."""
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                *_rendering(),
                self._line,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
            logger_factory=structlog.ReturnLoggerFactory(),
            cache_logger_on_first_use=False,
        )

    def _line(self, _logger: Any, _name: str, text: Any) -> Any:
        self.take("log", text)
        raise structlog.DropEvent

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, everything that is emitted in this process is taken."""
        handler = _Handler(self)
        root = logging.getLogger()
        root.addHandler(handler)
        with pytest.MonkeyPatch.context() as patch:
            self._watch_answers(patch)
            self._watch_programs(patch)
            self.watches = True
            self.listen()
            yield
            self.watches = False
        root.removeHandler(handler)

    def _watch_answers(self, patch: pytest.MonkeyPatch) -> None:
        from starlette.responses import Response

        answer = Response.__call__

        async def told(response: Response, scope: Any, receive: Any, send: Any) -> None:
            # An operator who is logged in is told whom a refusal is about.
            told_to_operator = str(scope.get("path")).startswith(("/plan/", "/contact", "/act"))
            refused = response.status_code >= 400 and not told_to_operator
            if refused or scope.get("path") in {"/metrics", "/livez", "/readyz"}:
                self.take("answer", bytes(response.body))
                self.take("answer", b"\n".join(value for _, value in response.raw_headers))
            await answer(response, scope, receive, send)

        patch.setattr(Response, "__call__", told)

    def _watch_programs(self, patch: pytest.MonkeyPatch) -> None:
        start, talk = subprocess.Popen.__init__, subprocess.Popen.communicate

        def started(process: Any, args: Any, *more: Any, **named: Any) -> None:
            # Who types a person's address as a word of a command of ours means to.
            words = _words(args)
            self.take("arguments", "" if _ours(words) else " ".join(words))
            start(process, args, *more, **named)

        def told(process: Any, *more: Any, **named: Any) -> Any:
            out, err = talk(process, *more, **named)
            words = _words(process.args)
            if _ours(words):
                self.take("stderr", err)
                self.take("stdout", out if words[-1] == "run" else "")
            return out, err

        patch.setattr(subprocess.Popen, "__init__", started)
        patch.setattr(subprocess.Popen, "communicate", told)


def _words(args: Any) -> list[str]:
    return [str(word) for word in ([args] if isinstance(args, str | bytes | os.PathLike) else args)]


def _ours(words: list[str]) -> bool:
    return any("syncd" in word for word in words)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """A class of its own: a command that sets up its logs takes away what it takes for those of the one before."""


class _Handler(logging.Handler):
    """What libraries log, and all of ours once a command has set up its logs."""

    def __init__(self, canary: Canary) -> None:
        super().__init__()
        self._canary = canary
        shared: list[Any] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
        self.setFormatter(
            _Formatter(
                foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering()],
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        self._canary.take("log", self.format(record))


def _rendering() -> list[Any]:
    """The last steps before a line, as in service."""
    from syncd import telemetry

    return telemetry._rendering(json=True, stream=StringIO())


CANARY = Canary()
"""That of this process. Tests that start daemons in a way of their own give it what these wrote: `CANARY.take`."""


def summed(outputs: Iterable[Mapping[str, int]]) -> str:
    """What all processes of a run looked through, as a line for its end."""
    pieces = bytes_ = hits = 0
    for output in outputs:
        pieces, bytes_, hits = pieces + output["pieces"], bytes_ + output["bytes"], hits + output["hits"]
    return f"{hits} canary hits in {bytes_ / 1e6:.1f} MB emitted ({pieces} lines, answers and the like)"
