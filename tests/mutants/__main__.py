"""Plants each bug of the table in a copy of the package and runs the tests that must notice it.

A check that was never red proves nothing. Exit 1 if a bug survives, 2 if one cannot be planted or breaks more than it
should: then the table is to be mended. The checkout itself is never touched.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("syncd", "alembic", "tests", "schemas", "docs", "deploy")
FILES = ("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md")
CAUGHT, SURVIVED = "caught", "SURVIVED"
LIMIT_S = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("-k", default="", metavar="WORD", help="only bugs whose name holds this")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if chosen.k in mutant.bug]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(chosen.jobs) as pool:
        sound, tail = _tested(_copy(Path(folder), "sound"), {test for mutant in mutants for test in mutant.tests})
        if sound != 0:
            say(f"without any bug planted the tests named do not pass:\n{tail}")
            return 2
        verdicts = list(pool.map(lambda numbered: _planted(Path(folder), *numbered), enumerate(mutants)))
    width = max(len(mutant.bug) for mutant in mutants)
    for mutant, verdict in zip(mutants, verdicts, strict=True):
        say(f"{mutant.bug:<{width}}  {verdict}")
    caught = sum(verdict.startswith(CAUGHT) for verdict in verdicts)
    say(f"\n{caught} of {len(mutants)} caught, in {time.monotonic() - started:.0f} s")
    if caught == len(mutants):
        return 0
    return 1 if any(verdict.startswith(SURVIVED) for verdict in verdicts) else 2


def _planted(folder: Path, number: int, mutant: Mutant) -> str:
    """What became of one bug, in words."""
    copy = _copy(folder, f"mutant-{number}")
    try:
        path = copy / mutant.path
        text = path.read_text()
        for old, new in mutant.edits:
            if text.count(old) != 1:
                return f"cannot be planted: its place is {text.count(old)} times in {mutant.path}"
            text = text.replace(old, new)
        path.write_text(text)
        ended, tail = _tested(copy, mutant.tests)
        if ended == 0:
            return f"{SURVIVED} {', '.join(mutant.tests)}"
        if ended != 1:
            return f"broke the run itself (pytest ended with {ended}): {tail.splitlines()[-1] if tail else ''}"
        failed = re.search(r"^FAILED (\S+)", tail, re.MULTILINE)
        return f"{CAUGHT} by {failed[1].rpartition('::')[2] if failed else 'a test'}"
    finally:
        shutil.rmtree(copy)


def _copy(folder: Path, name: str) -> Path:
    """Without compiled files: one that is as old and as long as its source passes for it."""
    copy = folder / name
    for part in NEEDED:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
    for file in FILES:
        shutil.copy(ROOT / file, copy / file)
    return copy


def _tested(copy: Path, tests: Iterable[str]) -> tuple[int, str]:
    """How pytest ended in this copy, and what it said last."""
    named: Sequence[str] = sorted(set(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", *named]
    environment = {**os.environ, "PYTHONPATH": str(copy), "HYPOTHESIS_PROFILE": "deterministic"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"not ended within {LIMIT_S} s: name a test that fails instead"
    return done.returncode, done.stdout[-2000:] + done.stderr[-500:]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
