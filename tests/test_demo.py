"""The demonstration as a person runs it: a process of its own, on real ports, from the first line to a clean end."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import pytest

from syncd.config import load
from syncd.demo.screen import Screen
from syncd.demo.stage import ACCOUNTS, IDS, build, chances_of, configuration
from syncd.demo.story import _performed
from syncd.demo.witness import LISTING
from syncd.domain.errors import SyncdError
from syncd.domain.identity import identity_of, suppression_key
from syncd.emulators.emulator import FaultKind
from syncd.emulators.people import LISTS, invent
from syncd.reconcile.guard import Limits

FOUR = ["rocs", "salesrocks", "rocketresponder", "rokt"]


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`syncd …` as a process of its own, which is gone at the end whatever happens."""
    command = [sys.executable, "-c", "import sys; from syncd.cli import main; sys.exit(main())", *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ports_of(process: subprocess.Popen[str]) -> set[int]:
    """The ports on which a process listens."""
    return _listening(psutil.Process(process.pid).net_connections("tcp4"))


def listening(ports: set[int]) -> set[int]:
    """Those of the ports on which anybody listens."""
    return _listening(psutil.net_connections("tcp4")) & ports


def _listening(connections: Sequence[Any]) -> set[int]:
    return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}


@pytest.mark.loopback
def test_the_demo_converges_is_seen_to_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running("demo", "--stay", "--json", "--folder", str(folder)) as process:
        assert process.stdout is not None
        shown = json.loads(process.stdout.readline() or "{}")
        assert shown.get("ok"), (shown, process.poll())
        ports, children = ports_of(process), psutil.Process(process.pid).children(recursive=True)
        listen = tomllib.loads((folder / "syncd.toml").read_text())["receiver"]["listen"]
        with urllib.request.urlopen(f"http://{listen}/", timeout=10) as page:
            status_page = page.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert len(ports) == 5
    assert listening(ports) == set()
    assert children == []
    assert "crm" in status_page
    _every_step_holds(shown)
    _the_mirror_agrees(folder / "mirror.db", shown)


def _every_step_holds(shown: dict[str, Any]) -> None:
    steps = shown["steps"]
    assert len(steps) == 6
    assert all(step["findings"] for step in steps)
    assert [finding for step in steps for finding in step["findings"] if not finding["holds"]] == []
    [arrivals] = [table for table in steps[2]["tables"] if table["title"].startswith("Seconds")]
    assert [row[0] for row in arrivals["rows"]] == ["ROCS", "Sales.Rocks", "RocketResponder", "Rokt"]
    for row in arrivals["rows"]:
        assert row[2:].count("said here") == 1
        assert all(0 <= cell < 30 for cell in row[2:] if cell != "said here")
    campaigns = steps[4]["tables"][0]["rows"]
    assert {row[0] for row in campaigns} == {"ROCS", "Sales.Rocks", "Rokt"}
    assert shown["seconds"] < 150


def _the_mirror_agrees(path: Path, shown: dict[str, Any]) -> None:
    """What the demo said is in the mirror that it left."""
    people = [row[0] for row in shown["steps"][2]["tables"][1]["rows"]]
    connection = sqlite3.connect(path)
    for email in people:
        query = "SELECT DISTINCT status FROM v_memberships WHERE email = ? AND list = 'newsletter'"
        assert connection.execute(query, (email,)).fetchall() == [("unsubscribed",)]
    assert connection.execute("SELECT COUNT(*) FROM v_outbox").fetchone() == (0,)
    assert connection.execute("SELECT COUNT(*) FROM v_drift").fetchone() == (0,)
    assert connection.execute("SELECT COUNT(DISTINCT account) FROM v_memberships").fetchone() == (4,)
    connection.close()


@pytest.mark.loopback
def test_a_demo_that_is_interrupted_stops_cleanly_and_another_cannot_run_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running("demo", "--json", "--folder", str(folder)) as process:
        waited = time.monotonic() + 60
        while not (folder / "mirror.db").exists() and time.monotonic() < waited:
            time.sleep(0.05)
        with running("demo", "--folder", str(folder)) as second:
            said = second.communicate(timeout=60)[1]
        assert second.returncode == 1
        assert "another demo runs" in said
        ports = ports_of(process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    shown = json.loads(out)
    assert not shown["ok"]
    assert "interrupted" in shown["reason"]
    assert listening(ports) == set()


class Stopped:
    """A play that sees what it is told to see."""

    def __init__(self, *, holds: bool) -> None:
        self.screen = Screen(as_json=True)
        self._holds = holds

    async def until(self, what, condition, *, within_s, poll_s=0.05):
        return 0.0

    async def perform(self):
        self.screen.step("one")
        self.screen.found("the sky is green", holds=self._holds)


@pytest.mark.parametrize(("holds", "reason"), [(True, ""), (False, "the sky is green")])
def test_what_was_not_seen_is_the_reason_that_the_demo_fails(holds: bool, reason: str) -> None:
    assert asyncio.run(_performed(Stopped(holds=holds), asyncio.Event())) == reason  # type: ignore[arg-type]


def test_findings_and_tables_are_there_for_a_program_too() -> None:
    text = io.StringIO()
    with redirect_stdout(text):
        screen = Screen(as_json=True)
        screen.step("one")
        screen.table("t", ("a", "b"), [[1, None]])
        screen.found("it holds", holds=True)
        screen.as_object("", seconds=1.0)
    shown = json.loads(text.getvalue())
    assert shown["ok"] is True
    assert shown["steps"][0]["tables"] == [{"title": "t", "columns": ["a", "b"], "rows": [[1, None]]}]


# The people ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_people_and_another_gives_others() -> None:
    assert invent(3) == invent(3)
    assert invent(3) != invent(4)


@pytest.mark.parametrize("seed", range(5))
def test_everybody_is_one_person_also_where_dots_and_tags_do_not_count(seed: int) -> None:
    town = invent(seed)
    listed = [person for lists in town.places.values() for place in lists.values() for person in place.members]
    emails = {person.email for person in [*town.customers, *town.leads, *town.late, *listed]}
    identities = [identity_of(email) for email in emails]
    assert None not in identities
    assert len({suppression_key(identity) for identity in identities if identity}) == len(emails)
    assert len(town.customers) == 400
    assert not {p.email for p in town.late} & {p.email for p in [*town.customers, *listed]}


@pytest.mark.parametrize("seed", range(5))
def test_nowhere_have_so_many_said_no_that_a_listing_looks_wrong(seed: int) -> None:
    for lists in invent(seed).places.values():
        for place in lists.values():
            assert 0 < len(place.left) <= Limits().max_count
            assert place.left <= {person.email for person in place.members}


# A rehearsal ---------------------------------------------------------------------------------------------------------


def test_the_configuration_of_a_stage_is_one_that_loads(tmp_path: Path) -> None:
    stage = build(FOUR)
    try:
        file = tmp_path / "syncd.toml"
        file.write_text(configuration(stage))
        settings = load(file, {})
        assert list(settings.accounts) == [ACCOUNTS[name] for name in FOUR]
        assert set(settings.lists) == set(LISTS)
        assert all(entry in IDS[name] for name in LISTING for entry in stage.town.places[name])
    finally:
        stage.close()


@pytest.mark.loopback
def test_chosen_emulators_answer_at_their_ports_until_they_are_told_to_stop(tmp_path: Path) -> None:
    with running("emulate", "rocs", "rokt", "--faults", "rokt:throttled=0") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("leads = "):
                break
        file = tmp_path / "syncd.toml"
        file.write_text("".join(lines))
        ports = ports_of(process)
        check = [sys.executable, "-c", "import sys; from syncd.cli import main; sys.exit(main())"]
        done = subprocess.run(
            [*check, "config", "check", "--online", "--json", "--config", str(file)],
            capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        )  # fmt: skip
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert [entry["account"] for entry in json.loads(done.stdout)["online"]["accounts"]] == ["crm", "leads"]
    assert len(ports) == 2
    assert listening(ports) == set()


def test_faults_are_for_all_or_for_one() -> None:
    found = chances_of(["html=0.05", "rocs:throttled=0.1"], ["rocs", "rokt"])
    assert found == {
        "rocs": {FaultKind.HTML: 0.05, FaultKind.THROTTLED: 0.1},
        "rokt": {FaultKind.HTML: 0.05},
    }


@pytest.mark.parametrize("fault", ["hmtl=0.1", "html", "html=2", "html=-1", "html=many", "nobody:html=0.1"])
def test_a_fault_that_is_none_is_refused_with_those_that_are(fault: str) -> None:
    with pytest.raises(SyncdError) as refused:
        chances_of([fault], ["rocs"])
    assert fault in refused.value.message
    assert refused.value.hint


def test_chances_that_come_to_more_than_one_are_refused() -> None:
    with pytest.raises(SyncdError, match="more than 1"):
        chances_of(["html=0.6", "empty=0.6"], ["rocs"])


@pytest.mark.loopback
def test_a_port_that_is_taken_is_named() -> None:
    stage = build(["rocs"])
    port = stage.sockets["rocs"].getsockname()[1]
    try:
        with pytest.raises(SyncdError, match=str(port)):
            build(["rokt"], port=port)
    finally:
        stage.close()
