"""The package, built once; how long things took, as a table at the end; and a loud word where nothing can be tried."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.machine import Machine, missing
from tests.service.site import ROOT, Site, built, providers_up

LIMITS = {
    "first start, with making the mirror: to READY": 5.0,
    "start: to READY": 5.0,
    "SIGKILL: to READY again": 3.0,
    "SIGSTOP: until the watchdog caught it, past WatchdogSec": 2.0,
    "blocked loop: until the watchdog caught it, past WatchdogSec": 2.0,
    "watchdog: from caught to READY again": 3.0,
    "stop, nothing under way": 10.0,
    "stop, a call hangs at every provider": 10.0,
    "power cut: from the machine's start to READY": 10.0,
}
"""What is measured, and how many seconds it may take at most."""


class Figures:
    """Seconds, by what took them."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)

    def add(self, what: str, seconds: float) -> None:
        assert what in LIMITS
        self.taken[what].append(seconds)

    def within(self, what: str) -> None:
        worst = max(self.taken[what])
        assert worst <= LIMITS[what], f"{what}: {worst:.2f} s, and the limit is {LIMITS[what]:g} s"

    def table(self) -> Iterator[str]:
        yield f"{'':<64}{'n':>3} {'median':>8} {'worst':>8} {'limit':>7}"
        for what, limit in LIMITS.items():
            if seconds := self.taken.get(what):
                middle, worst = statistics.median(seconds), max(seconds)
                yield f"{what:<64}{len(seconds):>3} {middle:>6.2f} s {worst:>6.2f} s {limit:>5g} s"


FIGURES = Figures()
WHY_NOT = missing()


@pytest.fixture(autouse=True, scope="session")
def _can_be_tried() -> None:
    """Here, or not; where changes are judged, not is a failure."""
    if WHY_NOT and os.environ.get("CI"):
        pytest.fail(f"no private machine: {WHY_NOT}", pytrace=False)
    if WHY_NOT:
        pytest.skip(f"no private machine: {WHY_NOT}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if WHY_NOT:
        terminalreporter.section("THE SERVICE WAS NOT TRIED", red=True, bold=True)
        terminalreporter.write_line(f"No systemd could be booted here: {WHY_NOT}", red=True)
    elif FIGURES.taken:
        terminalreporter.section("the service under systemd")
        for line in FIGURES.table():
            terminalreporter.write_line(line)
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        terminalreporter.write_line(f"on {os.cpu_count()} processors, under a load of {load} (1, 5, 15 minutes)")


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    scratch = tmp_path_factory.mktemp("site")
    scratch.chmod(0o755)
    package = Path(shutil.copy(built(ROOT / "dist"), scratch))
    unpacked = scratch / "unpacked"
    subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
    return Site(package, unpacked, scratch)


@pytest.fixture(scope="module")
def machine(site: Site, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One that runs the providers; the service is installed and not started."""
    with site.boot(Path(request.path).stem) as one:
        providers_up(one)
        yield one
