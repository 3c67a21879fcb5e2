"""Times and numbers as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from markupsafe import Markup, escape

# What turns a line about or cannot be seen, so that a name reads as another: everything but tabs and ends of lines.
_TRICKS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_STEPS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


def plain(value: object) -> object:
    """Text in which characters that cannot be seen are named: `\u202elive` is not `evil`."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _TRICKS.sub(lambda found: f"[U+{ord(found[0]):04X}]", value)


def moment(value: datetime | str | None) -> datetime | None:
    """A time as the status gives it, as ISO text or as it is."""
    found = datetime.fromisoformat(value) if isinstance(value, str) and value else value
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def lasting(seconds: float | None) -> str:
    """How long something takes: `0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `4 d`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 60:
        return f"{seconds:.0f} s"
    for size, unit in _STEPS:
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            minutes = int(rest // 60)
            return f"{whole:.0f} h {minutes} min" if unit == "h" and minutes else f"{whole:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(value: datetime | str | None, now: datetime) -> str:
    """How long ago, or in how long."""
    at = moment(value)
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{lasting(seconds)} ago" if seconds > 0 else f"in {lasting(-seconds)}"


def clock(value: datetime | str | None) -> str:
    """A time in UTC, to the second: `2026-11-21 12:00:05Z`."""
    at = moment(value)
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def number(value: float | None) -> str:
    """With a thin space between thousands."""
    return "-" if value is None else f"{value:,}".replace(",", "\u202f")


def sentence(text: str) -> str:
    """What begins in the middle of a line of a terminal, at the beginning of one of ours."""
    return text[:1].upper() + text[1:]


def marked(text: str) -> Markup:
    """A sentence in which `commands` stand between backticks: escaped, and those as code."""
    parts = re.split(r"`([^`]+)`", str(plain(text)))
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )
