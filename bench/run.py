"""How near syncd comes to the hand-written limit: both over the same source, in one sitting, whole processes.

Each round takes a fresh mirror on either side: everything for the first time, again with nothing changed, again with
1 % changed. Seconds belong to the machine; the ratios are what is compared. A daemon pays its start-up (interpreter,
imports, opening the mirror) once, so it is taken off syncd's time: it is what `syncd sync` takes while its only account
is paused. What is left is set against the limit's whole process, which starts in a tenth of a second, and, as the
strictest measure, against the time that the limit itself says it worked. Exit 1 when a target is missed or a mirror is
not what the source holds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measure import Run, RunFailedError, SourceProcess, machine, measure, table, wait_quiet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = HERE / "out"
SIZE = 1000
CHANGED = 0.01

# The targets: syncd without its start-up by the limit's whole process.
FIRST_RATIO_MAX = 5.0
AGAIN_RATIO_MAX = 10.0
PEAK_MIB_MAX = 250.0

NEEDS_A_PERSON = 4  # the exit code of a round whose only account is paused

START, FIRST, SAME, SOME = "start-up", "first", "again, 0 % changed", "again, 1 % changed"
READS = (FIRST, SAME, SOME)

CONFIGURATION = """\
[mirror]
url = "{mirror}"

[guard]
first_sync = "go"

[accounts.bench]
provider = "salesrocks"
base_url = "{source}"
username = "bench"
password = "bench"
page_size = {size}

[lists.bench]
bench = "{list_id}"
"""


@dataclass
class Sitting:
    """What was measured: side -> phase -> one entry a round."""

    limit: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    limit_work: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    syncd: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[str, list[dict[str, int]]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)


class Mirrors:
    """Fresh mirrors, on SQLite files or in databases of a private Postgres with the durability of a default install."""

    def __init__(self, folder: Path, *, postgres: bool) -> None:
        self.folder, self.server, self.made = folder, None, []
        if postgres:
            sys.path.insert(0, str(ROOT))
            from tests.postgres import DURABLE, serve  # noqa: PLC0415 - needs the path, and only here

            self.server = serve(DURABLE)

    def fresh(self, name: str) -> str:
        """As syncd is told of it."""
        if self.server:
            self.made.append(self.server.create())
            return self.made[-1]
        return f"sqlite:///{self.folder / name}.db"

    @staticmethod
    def for_limit(url: str) -> str:
        return url.replace("sqlite:///", "sqlite:").replace("postgresql+psycopg:", "postgresql:")

    def rows(self, url: str, query: str) -> list[tuple]:
        if self.server:
            import psycopg  # noqa: PLC0415 - only here

            with psycopg.connect(self.for_limit(url)) as connection:
                return connection.execute(query).fetchall()
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def forget(self) -> None:
        while self.made:
            self.server.drop(self.made.pop())
        for path in self.folder.glob("*.db*"):
            path.unlink()

    def close(self) -> None:
        self.forget()
        if self.server:
            self.server.stop()


class Bench:
    def __init__(self, source: SourceProcess, mirrors: Mirrors, asked: argparse.Namespace) -> None:
        self.source, self.mirrors, self.asked = source, mirrors, asked
        self.sitting = Sitting()
        self.list_id = source.call("stats")["lists"][0]

    def round(self, number: int) -> None:
        limit, mirror = self.mirrors.fresh(f"limit-{number}"), self.mirrors.fresh(f"syncd-{number}")
        config = self.configure(mirror)
        if self.asked.side != "limit":
            measure(self.syncd(config, "db", "upgrade"))
            measure(self.syncd(config, "account", "pause", "bench"))
        self.phase(START, limit, config)
        if self.asked.side != "limit":
            measure(self.syncd(config, "account", "resume", "bench"))
        before: dict = {}
        for phase in READS:
            changes = self.source.call("mutate", fraction=CHANGED)["changed"] if phase == SOME else 0
            expected = {FIRST: self.asked.contacts, SAME: 0, SOME: changes}[phase]
            written = self.phase(phase, limit, config)
            if written is not None and written != expected:
                self.sitting.faults.append(f"{phase}: the limit wrote {written} rows, the source changed {expected}")
            if self.asked.side != "limit":
                before = self.check_mirror(phase, mirror, before, expected)
        self.mirrors.forget()

    def phase(self, phase: str, limit: str, config: Path) -> int | None:
        """Either side once, one after the other. How many rows the limit wrote."""
        written = None
        if self.asked.side != "syncd":
            what = {START: "open", FIRST: "first"}.get(phase, "cycle")
            command = [sys.executable, str(HERE / "limit.py"), what, "--url", self.source.url, "--size", str(SIZE)]
            run = self.quietly([*command, "--db", self.mirrors.for_limit(limit)])
            self.sitting.limit[phase].append(run)
            answer = json.loads(run.stdout)
            self.sitting.limit_work[phase].append(answer["work_s"])
            written = answer["written"] if phase != START else None
        if self.asked.side != "limit":
            self.source.call("reset")
            run = self.quietly(self.syncd(config, "sync"), expect=NEEDS_A_PERSON if phase == START else 0)
            json.loads(run.stdout)  # data on stdout, the rest on stderr
            self.sitting.syncd[phase].append(run)
            self.sitting.requests[phase].append(self.source.call("stats")["requests"])
        return written

    def quietly(self, command: list[str], *, expect: int = 0) -> Run:
        wait_quiet(self.asked.quiet_s)
        return measure(command, expect=expect)

    def check_mirror(self, phase: str, mirror: str, before: dict, expected: int) -> dict:
        """A fast sync that reads nothing would be of no use: the mirror must hold what the source holds now."""
        [(members,)] = self.mirrors.rows(mirror, "SELECT count(*) FROM v_memberships")
        if members != self.asked.contacts:
            self.sitting.faults.append(
                f"{phase}: {members} memberships in the mirror, {self.asked.contacts} at the source"
            )
        now = {key: bytes(digest) for key, digest in self.mirrors.rows(mirror, "SELECT key, digest FROM cell")}
        changed = sum(before.get(key) != digest for key, digest in now.items())
        if changed != expected:
            self.sitting.faults.append(f"{phase}: {changed} records of the mirror changed, {expected} at the source")
        return now

    def configure(self, mirror: str) -> Path:
        path = self.mirrors.folder / "syncd.toml"
        text = CONFIGURATION.format(mirror=mirror, source=self.source.url, size=SIZE, list_id=self.list_id)
        path.write_text(text)
        path.chmod(0o600)
        return path

    @staticmethod
    def syncd(config: Path, *words: str) -> list[str]:
        return [str(Path(sys.executable).parent / "syncd"), *words, "--config", str(config), "--json"]


def median(runs: list[Run], what: str = "wall") -> float:
    return statistics.median(getattr(run, what) for run in runs)


def ratio(ours: float, limit: float) -> float:
    return ours / max(limit, 0.001)


def results(sitting: Sitting) -> list[list[object]]:
    rows = []
    for phase in (START, *READS):
        limit = median(sitting.limit[phase]) if sitting.limit else None
        ours = median(sitting.syncd[phase]) if sitting.syncd else None
        row: list[object] = [phase, limit, ours, *[None] * 7]
        if limit and ours:
            row[3] = ratio(ours, limit)
        if phase != START:
            work = limit and statistics.median(sitting.limit_work[phase])
            row[4] = ours and ours - median(sitting.syncd[START])
            row[5] = ratio(row[4], limit) if limit and ours else None
            row[6] = work
            row[7] = ratio(row[4], work) if limit and ours else None
        row[8] = max(run.peak_mib for run in sitting.limit[phase]) if limit else None
        row[9] = max(run.peak_mib for run in sitting.syncd[phase]) if ours else None
        rows.append(row)
    return rows


def show(sitting: Sitting) -> None:
    head = [
        "",
        "limit s",
        "syncd s",
        "ratio",
        "syncd apart",
        "ratio",
        "limit's work",
        "ratio",
        "limit MiB",
        "syncd MiB",
    ]
    print(
        "\nMedians of whole processes; apart: without start-up; each ratio: syncd's by the limit's; MiB: worst peak.\n"
    )
    print(table(results(sitting), head))
    if sitting.requests:
        paths = sorted({path for counts in sitting.requests.values() for each in counts for path in each})
        print("\nRequests that the source counted from syncd, the most of any round:\n")
        rows = [[path, *(max(c.get(path, 0) for c in sitting.requests[phase]) for phase in READS)] for path in paths]
        print(table(rows, ["", *READS]))
    spread = [
        [f"{side}, {phase}", *(run.wall for run in runs)]
        for side, phases in (("limit", sitting.limit), ("syncd", sitting.syncd))
        for phase, runs in phases.items()
    ]
    print("\nEach round, seconds:\n")
    print(table(spread, ["", *(str(n + 1) for n in range(max(len(row) - 1 for row in spread)))]))


def verdict(sitting: Sitting, contacts: int) -> Iterator[tuple[bool, str]]:
    for fault in sitting.faults:
        yield False, fault
    by_phase = {row[0]: row for row in results(sitting)}
    if sitting.limit and sitting.syncd:
        for phase, most in ((FIRST, FIRST_RATIO_MAX), (SAME, AGAIN_RATIO_MAX)):
            whole, apart = by_phase[phase][3], by_phase[phase][5]
            text = f"{phase}: {apart:.1f} times the limit, start-up apart, at most {most:.0f} ({whole:.1f} with it)"
            yield apart <= most, text
    if sitting.syncd:
        peak = max(run.peak_mib for runs in sitting.syncd.values() for run in runs)
        yield peak <= PEAK_MIB_MAX, f"peak: {peak:.0f} MiB, at most {PEAK_MIB_MAX:.0f}"
        pages = max(-(-contacts // SIZE), 1)
        for path, least, most in (
            ("/editable-lists/getListData", pages, pages + 1),
            ("/auth/accessToken", 1, 1),
            ("/editable-lists/getLists", 1, 2),
        ):
            counts = sorted({each.get(path, 0) for phase in READS for each in sitting.requests[phase]})
            wanted = f"{least}" if least == most else f"{least} to {most}"
            text = f"requests of {path}: {', '.join(map(str, counts))}; the minimum is {wanted}"
            yield least <= counts[0] and counts[-1] <= most, text


@contextmanager
def workplace() -> Iterator[Path]:
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=OUT))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sit(asked: argparse.Namespace) -> Sitting:
    with workplace() as folder, SourceProcess(asked.contacts, size=SIZE, latency_ms=asked.latency_ms) as source:
        mirrors = Mirrors(folder, postgres=asked.postgres)
        try:
            bench = Bench(source, mirrors, asked)
            for number in range(1, asked.rounds + 1):
                print(f"round {number} of {asked.rounds}", file=sys.stderr, flush=True)
                bench.round(number)
            return bench.sitting
        finally:
            mirrors.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", action="store_true", help="mirrors in Postgres instead of SQLite files")
    parser.add_argument("--side", choices=["both", "limit", "syncd"], default="both")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="the source takes so long over each request")
    parser.add_argument(
        "--quiet-s", type=float, default=5.0, help="wait at most so long for a quiet machine, each time"
    )
    asked = parser.parse_args()
    engine = "Postgres" if asked.postgres else "SQLite"
    print(f"{asked.contacts:,} contacts, pages of {SIZE:,}, {engine}, {asked.rounds} rounds; {machine()}")
    try:
        sitting = sit(asked)
    except RunFailedError as e:
        print(f"FAILED  {e}", file=sys.stderr)
        return 1
    show(sitting)
    print()
    held = True
    for good, text in verdict(sitting, asked.contacts):
        held &= good
        print(f"{'ok    ' if good else 'MISSED'}  {text}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
