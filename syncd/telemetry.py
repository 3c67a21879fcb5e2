"""Logs: one line of JSON for each event on stderr, or readable lines on a terminal; no person and no secret in them.

Everything goes through here, our own events and what libraries log, and the last step before rendering takes out
addresses and secrets, whoever put them there.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.dev import plain_traceback
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from syncd.domain.stars import SECRET_NAMES

ADDRESS = "[address]"
SECRET = "[secret]"  # noqa: S105  what stands in the place of one

_PLAIN = re.compile(r"[\w.,;/+*()\[\]-]*")
"""Without any of the signs that every address and every secret to be recognised has: most of what is logged."""
# All that may stand before an @, so of an address in a query the name of its parameter goes too. The limit is there so
# that a long text without spaces costs no more than a long text.
_ADDRESSES = re.compile(r"""(?:"[^"\n]{1,64}"|[^\s@<>()\[\],;:"\\]{1,128})(?:@|%40)[\w-]+(?:\.[\w-]+)*""")
_USERINFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_CREDENTIALS = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""\b([\w-]*(?:password|passwd|secret|token|signature|authorization|api[_-]?key|private[_-]?key))(["']?\s*[=:]\s*["']?)[^\s&,;"']+""",
    re.IGNORECASE,
)

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2, "exception": 3}

QUIET = {
    # httpx logs whole addresses at INFO, and the queries of some calls name a person.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    # A line for each tick of each account.
    "apscheduler": logging.WARNING,
    # What notices are sent to is an address with a key in it, which these log where a sending fails.
    "apprise": logging.CRITICAL,
    "urllib3": logging.CRITICAL,
}


def redact(text: str) -> str:
    """The text without e-mail addresses and without what is recognisably a secret."""
    if _PLAIN.fullmatch(text):
        return text
    if "@" in text or "%40" in text:
        text = _ADDRESSES.sub(ADDRESS, _USERINFO.sub(SECRET, text))
    text = _CREDENTIALS.sub(rf"\1 {SECRET}", text)
    return _ASSIGNED.sub(rf"\1\2{SECRET}", text) if "=" in text or ":" in text else text


def configure(level: str, json: bool, stream: TextIO) -> None:
    """Send all logs to the stream: JSON, one object a line, or lines for a person.

    Under journald (`$JOURNAL_STREAM` is set) each line of JSON begins with its priority, `<4>`, so that
    `journalctl -p warning` works.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[ProcessorFormatter.remove_processors_meta, *_rendering(json, stream)],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "formatter", None).__class__ is ProcessorFormatter:
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))
    logging.captureWarnings(capture=True)


def _rendering(json: bool, stream: TextIO) -> list[Processor]:
    """From an event to a line. Redaction is last before the renderer, after the traceback has become text."""
    if not json:
        lines = structlog.dev.ConsoleRenderer(colors=_in_colour(stream), exception_formatter=plain_traceback)
        return [structlog.processors.format_exc_info, _redacted, lines]
    # Frames without their variables: those hold the very person and key that a call failed for.
    tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    rendering: list[Processor] = [tracebacks, _redacted, structlog.processors.JSONRenderer(default=_named)]
    return [*rendering[:-1], _with_priority(rendering[-1])] if "JOURNAL_STREAM" in os.environ else rendering


def _with_priority(render: Processor) -> Processor:
    def prefixed(logger: WrappedLogger, name: str, event: EventDict) -> str:
        priority = _PRIORITIES.get(str(event.get("level")), 6)
        return f"<{priority}>{render(logger, name, event)!s}"

    return prefixed


def _in_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _redacted(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    del logger, name
    return {key: value if key == "timestamp" else _value(key, value) for key, value in event.items()}


def _value(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if SECRET_NAMES.search(key):
        return SECRET
    if isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _value(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value("", inner) for inner in value]
    return redact(value if isinstance(value, str) else _named(value))


def _named(value: object) -> str:
    """Objects by what they print as; bytes not at all, since they come from bodies."""
    return f"{len(value)} bytes" if isinstance(value, bytes | bytearray) else str(value)


def places_of(error: BaseException) -> list[str]:
    """Where an error came from, without its message, which may quote a person."""
    inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
    frames = traceback.extract_tb(error.__traceback__)
    found = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return found if inner is None else [*found, type(inner).__name__, *places_of(inner)]
