"""Charts as plain geometry: numbers in, coordinates out. Whoever draws them decides nothing.

Every mark has a shape besides its colour, and words of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

WIDTH = 1120
LEFT = 118
RIGHT = 16


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One dot. `kind` names both its shape and its colour."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """One account in a chart of rows: between `top` and `bottom`."""

    name: str
    top: float
    bottom: float
    marks: Sequence[Mark]
    ticks: Sequence[Tick] = ()
    note: str = ""
    lines: Sequence[Tick] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    width: int
    height: float
    left: float
    right: float
    rows: Sequence[Row]
    ticks: Sequence[Tick]
    label: str


# Runs ----------------------------------------------------------------------------------------------------------------

RUN_HEIGHT = 78
DURATIONS = ((0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"))
RESULTS = ("success", "partial", "failed", "aborted", "running")


def runs_chart(runs: Sequence[Any], accounts: Sequence[str], now: datetime) -> Chart | None:
    """Runs as dots: when each began, against how long it took; a row for each account."""
    if not runs:
        return None
    first = min(*(run.started_at for run in runs), now - timedelta(minutes=1))
    across = _scale(first.timestamp(), now.timestamp(), LEFT + 52, WIDTH - RIGHT - 8)
    took = {run.id: max(0.0, ((run.ended_at or now) - run.started_at).total_seconds()) for run in runs}
    low, high = _decades(took.values())
    rows = []
    for number, name in enumerate(accounts):
        top = number * RUN_HEIGHT + 6
        up = _scale(math.log10(low), math.log10(high), top + RUN_HEIGHT - 24, top + 10)
        marks = [
            Mark(
                across(run.started_at.timestamp()),
                up(math.log10(min(max(took[run.id], low), high))),
                run.result if run.result in RESULTS else "aborted",
                _run_said(run, took[run.id]),
            )
            for run in runs
            if run.account == name
        ]
        ticks = [Tick(up(math.log10(value)), text) for value, text in DURATIONS if value in {low, high}]
        rows.append(Row(name, top, top + RUN_HEIGHT - 6, marks, ticks))
    height = len(rows) * RUN_HEIGHT + 30
    return Chart(WIDTH, height, LEFT + 52, WIDTH - RIGHT, rows, _times(first, now, across), _runs_said(runs))


def _run_said(run: Any, seconds: float) -> str:
    reason = f": {run.reason}" if run.reason else ""
    length = "so far" if run.ended_at is None else "long"
    return f"{run.account}, {run.started_at:%Y-%m-%d %H:%M:%S}Z, {run.result}, {_rounded(seconds)} {length}{reason}"


def _runs_said(runs: Sequence[Any]) -> str:
    counted = {result: sum(run.result == result for run in runs) for result in RESULTS}
    return f"{len(runs)} runs: " + ", ".join(f"{number} {result}" for result, number in counted.items() if number)


def _decades(values: Iterable[float]) -> tuple[float, float]:
    """The ticks just below and above all values."""
    known = [value for value, _ in DURATIONS]
    smallest, largest = min(values := list(values)), max(values)
    low = max((value for value in known if value <= smallest), default=known[0])
    high = min((value for value in known if value >= largest), default=known[-1])
    return (low, high) if low < high else (low, known[min(known.index(low) + 1, len(known) - 1)])


_STEPS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 7 * 86_400, 30 * 86_400)
TICKS_MAX = 9


def _times(first: datetime, last: datetime, across: Callable[[float], float]) -> list[Tick]:
    """Round times between two, few enough to be read."""
    span = (last - first).total_seconds()
    step = next((step for step in _STEPS if span / step <= TICKS_MAX), _STEPS[-1])
    form = "%H:%M" if step < 86_400 and span <= 86_400 else "%d %b %H:%M" if step < 86_400 else "%d %b"
    at = math.ceil(first.timestamp() / step) * step
    found = []
    while at <= last.timestamp():
        found.append(Tick(across(at), f"{datetime.fromtimestamp(at, UTC):{form}}"))
        at += step
    return found


# How long unsubscribes took ------------------------------------------------------------------------------------------

WAIT_HEIGHT = 46
WAITS = (
    (0.1, "0.1 s"), (1.0, "1 s"), (5.0, "5 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"),
    (6 * 3600.0, "6 h"), (48 * 3600.0, "48 h"), (30 * 86_400.0, "30 d"),
)  # fmt: skip


def waits_chart(seconds: Mapping[str, Sequence[float]]) -> Chart | None:
    """How long it took until each account had accepted an unsubscribe: a dot for each, a line at half of them."""
    there = {name: values for name, values in seconds.items() if values}
    if not there:
        return None
    largest = max(max(values) for values in there.values())
    last = next((index for index, (value, _) in enumerate(WAITS) if value >= largest), len(WAITS) - 1)
    shown = WAITS[: max(last, 3) + 1]
    low, high = shown[0][0], shown[-1][0]
    across = _scale(math.log10(low), math.log10(high), LEFT + 8, WIDTH - RIGHT - 230)

    def place(value: float) -> float:
        return across(math.log10(min(max(value, low), high)))

    rows = []
    for number, (name, values) in enumerate(there.items()):
        top = number * WAIT_HEIGHT + 4
        middle = top + WAIT_HEIGHT / 2 - 2
        marks = [
            Mark(place(value), middle + _spread(index), "success", f"{name}: {_rounded(value)}")
            for index, value in enumerate(values)
        ]
        half, most = quantile(values, 0.5), quantile(values, 0.99)
        note = f"half within {_rounded(half)}, 99 % within {_rounded(most)}"
        lines = (Tick(place(half), "half"), Tick(place(most), "99 %"))
        rows.append(Row(name, top, top + WAIT_HEIGHT - 4, marks, note=note, lines=lines))
    height = len(rows) * WAIT_HEIGHT + 28
    ticks = [Tick(place(value), text) for value, text in shown]
    label = "; ".join(f"{row.name}: {len(row.marks)} unsubscribes, {row.note}" for row in rows)
    return Chart(WIDTH, height, LEFT + 8, WIDTH - RIGHT - 230, rows, ticks, label)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _spread(index: int) -> float:
    """How far beside the middle a dot is put, so that equal ones do not hide each other: always the same."""
    return (index * 7 % 13 - 6) * 1.6


# Campaigns -----------------------------------------------------------------------------------------------------------

CARD_WIDTH = 340
CARD_HEIGHT = 150


@dataclass(frozen=True, slots=True)
class Line:
    """One counter over time. `number` chooses its colour and its dashes; `latest` is what it says now."""

    name: str
    number: int
    points: str
    dots: Sequence[tuple[float, float]]
    latest: int


@dataclass(frozen=True, slots=True)
class Plot:
    width: int
    height: int
    left: float
    bottom: float
    lines: Sequence[Line]
    heights: Sequence[Tick]
    ticks: Sequence[Tick]
    label: str
    daily: bool


def campaign_plot(samples: Sequence[Any], names: Sequence[str]) -> Plot | None:
    """Counters of one campaign over time, on a scale by tens, so that clicks are seen beside what was sent.

    `samples`, oldest first, have `at`, `day` and `counters`. Counts by day are drawn at their days.
    """
    daily = any(one.day for one in samples)
    times = [_at(one) for one in samples]
    series = {name: [(at, one.counters.get(name)) for at, one in zip(times, samples, strict=True)] for name in names}
    known = {name: [(at, n) for at, n in points if n is not None] for name, points in series.items()}
    known = {name: points for name, points in known.items() if points}
    if not known:
        return None
    left, bottom = 44.0, CARD_HEIGHT - 24.0
    first, last = min(times), max(times)
    across = _scale(first, last, left + 8, CARD_WIDTH - 12)
    tens = max(1, math.ceil(math.log10(max(n for points in known.values() for _, n in points) + 1)))
    up = _scale(0.0, float(tens), bottom - 4, 10)
    lines = []
    for name, points in known.items():
        placed = [(round(across(at), 1), round(up(min(math.log10(n + 1), tens)), 1)) for at, n in points]
        if len(placed) > 1 or daily:
            lines.append(_line(name, names, placed, points))
        else:  # seen once, and the same ever since
            lines.append(_line(name, names, [placed[0], (round(CARD_WIDTH - 12.0, 1), placed[0][1])], points))
    heights = [Tick(up(math.log10(value + 1)), f"{value:,}".replace(",", "\u202f")) for value in _tens(tens)]
    dates = _dates(first, last, across)
    label = ", ".join(f"{line.name} {line.latest}" for line in lines)
    return Plot(CARD_WIDTH, CARD_HEIGHT, left, bottom, lines, heights, dates, label, daily)


def _line(
    name: str, names: Sequence[str], placed: Sequence[tuple[float, float]], points: Sequence[tuple[float, int]]
) -> Line:
    return Line(name, list(names).index(name) + 1, " ".join(f"{x:g},{y:g}" for x, y in placed), placed, points[-1][1])


def _at(one: Any) -> float:
    if one.day:
        try:
            return datetime.fromisoformat(one.day).replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    at: float = one.at.timestamp()
    return at


def _tens(most: int) -> list[int]:
    step = 1 if most <= 4 else 2
    return [0, *(10**power for power in range(step, most + 1, step))]


def _dates(first: float, last: float, across: Callable[[float], float]) -> list[Tick]:
    form = "%d %b" if last - first >= 2 * 86_400 else "%H:%M"
    said = [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in (first, last)]
    return [Tick(across(at), text) for at, text in (said if said[0][1] != said[1][1] else said[-1:])]


# Scales --------------------------------------------------------------------------------------------------------------


def _scale(low: float, high: float, at_low: float, at_high: float) -> Callable[[float], float]:
    """From values to coordinates. Where all values are one, it lies at the far end."""

    def place(value: float) -> float:
        share = 1.0 if high == low else (value - low) / (high - low)
        return round(at_low + share * (at_high - at_low), 1)

    return place


def _rounded(seconds: float) -> str:
    if seconds < 0.1:
        return "0.1 s or less"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
