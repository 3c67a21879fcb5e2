"""The commands without any real provider hand over what was typed, and end as what they started ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import syncd.demo
from tests.cli.conftest import Desk


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def emulate(*given: Any) -> int:
        calls.append(given)
        return 0

    def run_demo(folder: Path, *, stay: bool, seed: int, json_output: bool) -> int:
        calls.append((folder, stay, seed, json_output))
        return 1

    monkeypatch.setattr(syncd.demo, "emulate", emulate)
    monkeypatch.setattr(syncd.demo, "run_demo", run_demo)
    return calls


def test_all_providers_are_emulated_unless_some_are_named(small: Desk, started: list[tuple[Any, ...]]) -> None:
    assert small.run_bare("emulate").code == 0
    assert (
        small.run_bare(
            "emulate", "rokt", "--port", "8700", "--seed", "5", "--faults", "html=0.1", "--faults", "rokt:empty=0.2"
        ).code
        == 0
    )
    assert started == [
        (["rocs", "salesrocks", "rocketresponder", "rokt", "http"], 0, 0, [], None),
        (["rokt"], 8700, 5, ["html=0.1", "rokt:empty=0.2"], None),
    ]


def test_a_fault_that_is_none_is_told(small: Desk) -> None:
    done = small.run_bare("emulate", "rokt", "--faults", "nonsense=1")
    assert done.code == 1
    assert "no such fault" in done.err


def test_a_provider_that_is_none_is_told(small: Desk, started: list[tuple[Any, ...]]) -> None:
    done = small.run_bare("emulate", "rocks", "--json")
    assert done.code == 2
    assert done.data("error")["error"]["hint"] == "did you mean `rocs`?"
    assert started == []


def test_the_demo_ends_as_it_came_out(small: Desk, started: list[tuple[Any, ...]]) -> None:
    assert small.run_bare("demo", "--stay", "--folder", "/tmp/d").code == 1
    assert small.run_bare("demo", "--json").code == 1
    assert started == [(Path("/tmp/d"), True, 7, False), (Path("demo"), False, 7, True)]
