"""What the demo shows: steps with tables and findings, for a person or as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

WIDTH = 132
"""Columns where nobody looks: in a file or a pipe."""

Note = Callable[[str, str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Rows:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and whether it was seen to hold."""

    what: str
    holds: bool


@dataclass(slots=True)
class Step:
    title: str
    tables: list[Rows] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Screen:
    """Shows each thing as it comes; with `as_json` nothing before the end."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.steps: list[Step] = []
        self._as_json = as_json
        width = None if sys.stdout.isatty() else WIDTH
        self._out = Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False, quiet=as_json)

    @property
    def broken(self) -> list[str]:
        """What was looked for and did not hold."""
        return [finding.what for step in self.steps for finding in step.findings if not finding.holds]

    def step(self, title: str) -> None:
        self.steps.append(Step(title))
        self._out.print()
        self._out.rule(Text(f" {len(self.steps)}. {title} ", style="bold"), align="left")

    def line(self, text: str) -> None:
        self.steps[-1].lines.append(text)
        self._out.print(text, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        shown = Rows(title, tuple(columns), tuple(tuple(row) for row in rows))
        self.steps[-1].tables.append(shown)
        table = Table(title=title, title_justify="left", title_style="italic", box=SIMPLE, pad_edge=False)
        numbers = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))]
        for column, number in zip(columns, numbers, strict=True):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in shown.rows:
            table.add_row(*(_cell(value) for value in row))
        self._out.print(table)

    def found(self, what: str, *, holds: bool) -> None:
        """A thing that was looked for."""
        self.steps[-1].findings.append(Finding(what, holds))
        mark = Text("  seen      ", style="green") if holds else Text("  NOT SEEN  ", style="bold red")
        self._out.print(mark.append(what, style="default"), soft_wrap=True)

    def end(self, text: str) -> None:
        self._out.print()
        self._out.print(text, soft_wrap=True)

    def as_object(self, reason: str, **more: Any) -> None:
        """Everything as one object, where that was asked for. `reason`: why it is not as it should be, or nothing."""
        if self._as_json:
            steps = [asdict(step) for step in self.steps]
            shown = {"ok": not reason, "reason": reason, **more, "steps": steps}
            sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    @contextmanager
    def bars(self) -> Iterator[Note]:
        """Bars while something is read or sent: on a terminal only."""
        if self._as_json or not self._out.is_terminal:
            yield lambda *_: None
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._out, transient=True) as progress:
            tasks: dict[tuple[str, str], Any] = {}

            def note(account: str, what: str, done: int, total: int | None) -> None:
                if (account, what) not in tasks:
                    tasks[account, what] = progress.add_task(f"{account}: {what}", total=total)
                progress.update(tasks[account, what], completed=done, total=total)

            yield note


def _cell(value: Any) -> Text:
    match value:
        case None:
            return Text("-", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(f"{value:,.2f}")
        case int():
            return Text(f"{value:,}")
        case _:
            return Text(str(value))
