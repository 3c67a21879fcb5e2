"""Started, killed, hung, reloaded, stopped: the shipped unit under the machine's own systemd."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.service.conftest import Figures
from tests.service.machine import Machine
from tests.service.site import (
    CONFIGURATION,
    DATABASE,
    PROVIDERS_UNIT,
    RECEIVER,
    SECRETS,
    UNIT,
    active,
    back_after,
    configuration,
    drop_in,
    main_pid,
    providers_up,
    rows,
    says_no,
    somebody,
    unsubscribed,
)

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]

CONFIG = "/etc/syncd/syncd.toml"
WATCHDOG_S = 4.0

BLOCKER = """\
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
"""
"""Loaded by Python itself, beside syncd: a signal makes whatever runs in the main thread stand still."""


@pytest.fixture
def running(machine: Machine) -> Machine:
    """The service, up with its own configuration and without drop-ins."""
    machine.write(CONFIG, configuration())
    if machine.ask("ls", f"/etc/systemd/system/{UNIT}.d"):
        machine.run("rm", "-r", f"/etc/systemd/system/{UNIT}.d")
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", UNIT)
    machine.run("systemctl", "reset-failed", UNIT, check=False)
    machine.systemctl("start", UNIT)
    return machine


def everybody(machine: Machine) -> list[str]:
    return [str(row[0]) for row in rows(machine, "SELECT email FROM v_contacts WHERE email IS NOT NULL ORDER BY 1")]


# Start and stop ------------------------------------------------------------------------------------------------------


def test_it_is_ready_soon_and_stops_soon(machine: Machine, figures: Figures) -> None:
    for turn in range(6):
        machine.systemctl("start", UNIT)
        took = machine.moment(UNIT, "ActiveEnterTimestamp") - machine.moment(UNIT, "ExecMainStartTimestamp")
        figures.add("start: to READY" if turn else "first start, with making the mirror: to READY", took)
        assert machine.http("GET", f"{RECEIVER}/readyz")[0] == 200, "READY was said before the door was open"
        began = time.monotonic()
        machine.systemctl("stop", UNIT)
        figures.add("stop, nothing under way", time.monotonic() - began)
        ended = machine.properties(UNIT, "Result", "ExecMainStatus", "ActiveState")
        assert ended == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}
    for what in ("first start, with making the mirror: to READY", "start: to READY", "stop, nothing under way"):
        figures.within(what)


def test_it_says_how_it_is(running: Machine) -> None:
    running.until(lambda: "account" in running.properties(UNIT, "StatusText")["StatusText"], "it says something")


def test_it_stops_within_ten_seconds_while_calls_hang_and_sends_later_what_it_could_not(
    running: Machine, figures: Figures
) -> None:
    for _ in range(3):
        email = somebody(running)
        running.systemctl("kill", "--signal=STOP", PROVIDERS_UNIT)
        try:
            says_no(running, email)
            running.until(lambda: _connections(running) >= 2, "calls hang")
            began = time.monotonic()
            running.systemctl("stop", UNIT)
            figures.add("stop, a call hangs at every provider", time.monotonic() - began)
            assert running.properties(UNIT, "Result") == {"Result": "success"}
        finally:
            running.systemctl("kill", "--signal=CONT", PROVIDERS_UNIT)
        running.systemctl("start", UNIT)
        running.until(lambda: unsubscribed(running, email), "it is known everywhere", 60)  # noqa: B023  within the turn
    figures.within("stop, a call hangs at every provider")


def _connections(machine: Machine) -> int:
    """How many calls of the service are open towards the providers (ports 8701 to 8704)."""
    found = machine.ask("ss", "-Htnp", "state", "established", "( dport >= 8701 and dport <= 8704 )")
    return sum(f"pid={main_pid(machine)}," in line for line in found.splitlines())


# Killed and hung -----------------------------------------------------------------------------------------------------


def test_it_comes_back_after_a_kill(running: Machine, figures: Figures) -> None:
    before = int(running.properties(UNIT, "NRestarts")["NRestarts"])
    for _ in range(5):
        since = time.monotonic()
        running.run("kill", "-KILL", str(main_pid(running)))
        figures.add("SIGKILL: to READY again", back_after(running, since))
    assert int(running.properties(UNIT, "NRestarts")["NRestarts"]) == before + 5
    figures.within("SIGKILL: to READY again")


@pytest.mark.parametrize(("how", "signal"), [("SIGSTOP", "STOP"), ("blocked loop", "USR1")])
def test_the_watchdog_catches_it_when_it_hangs(running: Machine, figures: Figures, how: str, signal: str) -> None:
    running.write("/run/syncd-test/sitecustomize.py", BLOCKER)
    running.run("chmod", "755", "/run/syncd-test")
    drop_in(running, "test", f"WatchdogSec={WATCHDOG_S:g}s", "Environment=PYTHONPATH=/run/syncd-test")
    running.systemctl("restart", UNIT)
    what = f"{how}: until the watchdog caught it, past WatchdogSec"
    for _ in range(3):
        time.sleep(WATCHDOG_S * 1.5)  # real time, on purpose: a service that is well is left alone for longer than that
        assert running.properties(UNIT, "Result") == {"Result": "success"}
        since = time.monotonic()
        running.run("kill", f"-{signal}", str(main_pid(running)))
        back = since + back_after(running, since)
        caught = max(
            int(line["__MONOTONIC_TIMESTAMP"]) / 1e6
            for line in running.journal(UNIT)
            if str(line.get("MESSAGE", "")).startswith("syncd.service: Watchdog timeout")
        )
        assert caught > since
        figures.add(what, caught - since - WATCHDOG_S)
        figures.add("watchdog: from caught to READY again", back - caught)
    figures.within(what)
    figures.within("watchdog: from caught to READY again")


# Reload --------------------------------------------------------------------------------------------------------------


def _longest(machine: Machine) -> int:
    """The status of a delivery of 3,000 bytes: 413 where fewer may be sent."""
    return machine.http("POST", f"{RECEIVER}/in/leads/unsubscribes", "x" * 3000, ["Content-Type: text/plain"])[0]


def _limited(bytes_max: str) -> str:
    return configuration().replace("[schedule]", f"body_bytes_max = {bytes_max}\n\n[schedule]", 1)


def test_a_reload_takes_a_good_file_refuses_a_bad_one_and_ends_nothing(running: Machine) -> None:
    pid = main_pid(running)
    assert _longest(running) != 413
    running.write(CONFIG, _limited("2048"))
    running.systemctl("reload", UNIT)
    running.until(lambda: _longest(running) == 413, "the new limit holds")
    since = time.monotonic()
    running.write(CONFIG, _limited('"many"'))
    running.run("systemctl", "reload", UNIT, check=False)
    running.until(lambda: _errors(running, since), "the fault is in the log")
    assert _longest(running) == 413, "the old one goes on"
    assert active(running)
    assert main_pid(running) == pid
    running.write(CONFIG, configuration())
    running.systemctl("reload", UNIT)
    running.until(lambda: _longest(running) != 413, "the first limit holds again")
    assert main_pid(running) == pid


def _errors(machine: Machine, since: float) -> list[dict[str, Any]]:
    """What the journal holds as an error about the key that we spoilt."""
    lines = machine.journal(UNIT, "--priority=err")
    new = [line for line in lines if int(line["__MONOTONIC_TIMESTAMP"]) / 1e6 > since]
    return [line for line in new if "body_bytes_max" in str(line.get("MESSAGE"))]


# A fault of the configuration ----------------------------------------------------------------------------------------


def test_a_fault_in_the_configuration_is_told_and_not_tried_again(running: Machine) -> None:
    running.systemctl("stop", UNIT)
    since = time.monotonic()
    running.write(CONFIG, _limited('"many"'))
    assert running.run("systemctl", "start", UNIT, check=False).returncode != 0
    time.sleep(2)  # real time, on purpose: RestartSec is over by far
    state = running.properties(UNIT, "ActiveState", "ExecMainStatus", "NRestarts", "Result")
    assert state["ExecMainStatus"] == "78"
    assert (state["ActiveState"], state["Result"]) == ("failed", "exit-code")
    assert _errors(running, since), "whoever asks the journal for errors is told"


# Who it is, and what it may ------------------------------------------------------------------------------------------


def test_its_state_is_its_own_and_its_secrets_came_from_the_folder_of_root(running: Machine) -> None:
    assert running.ask("stat", "-c", "%a %U", "/var/lib/private/syncd") == "700 syncd"
    assert running.ask("stat", "-c", "%a %U", DATABASE) == "600 syncd"
    assert running.ask("stat", "-c", "%a", "/run/syncd") == "750"
    assert running.ask("getent", "passwd", "syncd").split(":")[2] not in {"", "0"}
    assert "syncd:" not in running.ask("cat", "/etc/passwd")
    assert not [secret for secret in SECRETS.values() if secret in CONFIGURATION]
    states = {row[0] for row in running.until(lambda: rows(running, "SELECT state FROM account"), "accounts")}
    running.until(
        lambda: {row[0] for row in rows(running, "SELECT state FROM account")} == {"ok"}, f"all are well: {states}"
    )


def test_the_kernel_holds_it_to_the_sandbox(running: Machine) -> None:
    pid = main_pid(running)
    status = dict(line.split(":\t", 1) for line in running.ask("cat", f"/proc/{pid}/status").splitlines())
    assert {status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0000000000000000"}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"].split()[0] != "0"
    assert "Max core file size        0                    0" in running.ask("cat", f"/proc/{pid}/limits")
    mounts = running.ask("cat", f"/proc/{pid}/mounts").splitlines()
    root = next(line.split()[3] for line in mounts if line.split()[1] == "/")
    assert "ro" in root.split(",")
    shown = running.run("systemd-analyze", "security", "--no-pager", "--threshold=12", UNIT)
    assert "Overall exposure level" in shown.stdout


# The journal ---------------------------------------------------------------------------------------------------------


def test_the_journal_has_priorities_and_neither_person_nor_secret(running: Machine) -> None:
    people = running.until(lambda: everybody(running), "people are known")
    email = somebody(running)
    says_no(running, email)
    running.http("GET", f"{RECEIVER}/in/leads/leads?email={email}")
    running.systemctl("stop", PROVIDERS_UNIT)  # so that something is worth a warning
    running.until(lambda: _own(running, "--priority=warning"), "a warning", 60)
    providers_up(running)
    lines = _own(running)
    told = [json.loads(line["MESSAGE"]) for line in lines if line["MESSAGE"].startswith("{")]
    by_level = {"error": "3", "warning": "4", "info": "6"}
    marked = [line for line in lines if line["MESSAGE"].startswith("{")]
    assert {line["PRIORITY"] for line in marked} >= {"4", "6"}
    for line, event in zip(marked, told, strict=True):
        assert line["PRIORITY"] == by_level[event["level"]]
        assert event["event"]
    everything = json.dumps(running.journal(UNIT))
    assert len(everything) > 5000
    assert [one for one in [*people, *SECRETS.values()] if one in everything] == []


def _own(machine: Machine, *more: str) -> list[dict[str, Any]]:
    """What the service wrote itself."""
    return [line for line in machine.journal(UNIT, *more) if line.get("_TRANSPORT") == "stdout"]
