"""The command line. `main` is the entry point of the program, and the one door for tests."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncd.app import Outside


def main(argv: Sequence[str] | None = None, outside: Outside | None = None) -> int:
    """Run one command and return its exit code. `outside` replaces the real clock, chance and transport."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        # Asked by health checks and package scripts; building all commands would cost more than the answer.
        from importlib.metadata import version

        sys.stdout.write(f"syncd {version('syncd')}\n")
        return 0
    _collect_less()
    from syncd.cli.commands import run

    return run(arguments, outside)


def _collect_less() -> None:
    """Modules live for ever and rows die young, both without cycles: looking through them often finds nothing."""
    gc.set_threshold(50_000, 20)
