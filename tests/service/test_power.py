"""The plug is pulled: what was acknowledged is there when the machine comes back, and goes where it has to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.service.conftest import Figures
from tests.service.machine import Machine
from tests.service.site import PROVIDERS_UNIT, UNIT, Site, active, providers_up, rows, says_no, somebody, unsubscribed

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]


CUTS = 3


def test_after_a_power_cut_nothing_that_was_acknowledged_is_lost(site: Site, figures: Figures) -> None:
    told: list[str] = []
    for turn in range(CUTS + 1):
        since = time.monotonic()
        with site.boot("power", again=turn > 0, enabled=True) as machine:
            # The providers forget with the power: there, all is as it was in the beginning.
            providers_up(machine)
            if turn > 0:
                comes_back(machine, since, figures, told)
            if turn < CUTS:
                email = somebody(machine)
                # Nobody can be told before the cut: what arrives afterwards arrives because it was kept.
                machine.systemctl("kill", "--signal=STOP", PROVIDERS_UNIT)
                says_no(machine, email)
                told.append(email)
                machine.cut_power()
    figures.within("power cut: from the machine's start to READY")


def comes_back(machine: Machine, since: float, figures: Figures, told: list[str]) -> None:
    """It is up without anybody's help, with a sound mirror that knows of everybody's "no", and the last one arrives."""
    machine.until(lambda: active(machine), "it is up by itself", 60)
    figures.add("power cut: from the machine's start to READY", machine.moment(UNIT, "ActiveEnterTimestamp") - since)
    assert rows(machine, "PRAGMA integrity_check") == [["ok"]]
    kept = "SELECT DISTINCT cell.identity FROM consent JOIN cell USING (person_key) WHERE level >= 3"
    machine.until(lambda: {str(row[0]) for row in rows(machine, kept)} >= set(told), "every no is kept", 30)
    machine.until(lambda: unsubscribed(machine, told[-1]), "it is known everywhere", 90)
    checked = machine.run("syncd", "check", "--full", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_machine_leaves_nothing_behind(site: Site) -> None:
    before = _left()
    machine = site.boot("traces")
    machine.systemctl("start", PROVIDERS_UNIT)
    assert _left() != before
    machine.cut_power()
    assert _left() == before


def _left() -> set[str]:
    """Control groups, scratch folders and mounts of private machines."""
    from tests.service.keeper import groups

    found = {str(path) for path in [*groups().glob("syncd-test-*"), *Path("/tmp").glob("syncd-machine-*")]}
    return found | {line for line in Path("/proc/self/mounts").read_text().splitlines() if "syncd-machine-" in line}
