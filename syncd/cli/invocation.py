"""One invocation of a command: its common options, where it prints, and the way to the application."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncd.cli.exits import Exit, UsageError, exit_of, told
from syncd.domain.errors import ConfigurationError, SyncdError

if TYPE_CHECKING:
    from rich.console import Console

    from syncd.app import App, Outside
    from syncd.settings import Settings

WIDE = 240
"""Columns where nobody looks: a file or a pipe wraps no line."""


@dataclass
class Invocation:
    """What every command has. Data goes to stdout, everything else to stderr."""

    outside: Outside | None = None
    config: Path | None = None
    json: bool = False
    verbose: int = 0
    quiet: bool = False

    # Settings and the application -----------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> Settings:
        """The configuration; its warnings are told once."""
        from syncd.config import load

        settings = load(self.config, os.environ)
        for warning in settings.warnings:
            self.say(f"warning: {warning}")
        return settings

    def work(self, body: Callable[[App], Awaitable[int]]) -> int:
        """Open the application, do something with it that waits, close it."""
        from syncd.app import App

        async def working() -> int:
            async with App(self.settings, self.outside) as app:
                return await body(app)

        return asyncio.run(working())

    def with_app(self, body: Callable[[App], int]) -> int:
        """Open the application, do something with it at once, close it."""

        async def at_once(app: App) -> int:
            return body(app)

        return self.work(at_once)

    def accounts(self, names: Sequence[str]) -> list[str]:
        """The names, each of a configured account. Raises `UsageError` with the nearest one that is."""
        for name in names:
            require_known("account", name, self.settings.accounts)
        return list(dict.fromkeys(names))

    def log(self, *, level: str, as_json: bool) -> None:
        """Send the logs to stderr; `-v` and `-q` move the level."""
        from syncd.telemetry import configure

        levels = ["ERROR", "WARNING", "INFO", "DEBUG"]
        at = levels.index(level) + self.verbose - (1 if self.quiet else 0)
        configure(levels[max(0, min(at, len(levels) - 1))], as_json, sys.stderr)

    # Printing -------------------------------------------------------------------------------------------------------

    @cached_property
    def out(self) -> Console:
        return _console(sys.stdout)

    @cached_property
    def err(self) -> Console:
        return _console(sys.stderr)

    def say(self, text: str) -> None:
        """A line for a person who looks on."""
        if not self.quiet:
            self.err.print(text, soft_wrap=True)

    def show(self, data: Any) -> None:
        """Data as one line of JSON."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    def write(self, text: str = "") -> None:
        """A line of the answer, for a person."""
        self.out.print(text, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
        from rich.box import SIMPLE
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", box=SIMPLE, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell_text(value)) for value in row))
        self.out.print(table)

    def fail(self, error: SyncdError) -> int:
        """Tell a person, or a script, what went wrong, and return the code to end with."""
        code = exit_of(error)
        if self.json:
            self.show(told(error))
            return code
        mark = ERROR_MARK if _in_journal(sys.stderr) else ""
        self.err.print(f"{mark}error: {error.message}", soft_wrap=True)
        if isinstance(error, ConfigurationError):
            for problem in error.problems:
                hint = f" ({problem.hint})" if problem.hint else ""
                self.err.print(f"{mark}  {problem.where}: {problem.what}{hint}", soft_wrap=True)
        if error.hint:
            self.err.print(f"{mark}next: {error.hint}", soft_wrap=True)
        return code


ERROR_MARK = "<3>"
"""What a line begins with that the journal is to keep as an error (sd-daemon(3))."""


def _in_journal(stream: Any) -> bool:
    """Whether what is written there goes to the journal of systemd, by itself (systemd.exec(5), $JOURNAL_STREAM)."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return f"{about.st_dev}:{about.st_ino}" == named


def _console(file: Any) -> Console:
    from rich.console import Console

    width = None if file.isatty() else WIDE
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def cell_text(value: Any) -> str:
    """A value as it stands in a table."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key}={inner}" for key, inner in value.items()) or "-"
        case list() | tuple():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)


def lasting(seconds: float) -> str:
    """A span of time, in its two largest units."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def require_known(what: str, name: str, known: Iterable[str]) -> None:
    from difflib import get_close_matches

    names = sorted(known)
    if name in names:
        return
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(names)}" if names else "there are none"
    raise UsageError(f"there is no {what} `{name}`", hint=hint)


__all__ = ["Exit", "Invocation", "UsageError", "cell_text", "lasting", "require_known"]
