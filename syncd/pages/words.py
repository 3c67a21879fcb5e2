"""Times and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


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
