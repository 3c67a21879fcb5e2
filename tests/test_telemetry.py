"""Logs: their shape, and that no person and no secret is in them, whoever wrote the line."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.telemetry import configure, redact


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn.access", "apscheduler"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_time_and_level():
    stream = io.StringIO()
    configure("info", json=True, stream=stream)
    structlog.contextvars.bind_contextvars(run_id="r1", account="crm")
    structlog.get_logger().info("run.closed", pulled=7)
    (line,) = lines_of(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "run.closed", "level": "info", "pulled": 7, "run_id": "r1", "account": "crm"}


def test_the_level_holds_for_our_events_and_for_those_of_libraries():
    stream = io.StringIO()
    configure("warning", json=True, stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("some.library").info("quiet too")
    structlog.get_logger().warning("loud")
    logging.getLogger("some.library").error("loud %s", "too")
    assert [line["event"] for line in lines_of(stream)] == ["loud", "loud too"]


@pytest.mark.parametrize("name", ["httpx", "httpcore.connection", "uvicorn.access"])
def test_libraries_that_log_addresses_of_requests_are_quiet_even_at_debug(name):
    stream = io.StringIO()
    configure("debug", json=True, stream=stream)
    logging.getLogger(name).info("HTTP Request: GET https://x.test/?email=ann")
    assert not stream.getvalue()


def test_configuring_again_replaces_the_stream():
    first, second = io.StringIO(), io.StringIO()
    configure("info", json=True, stream=first)
    configure("info", json=True, stream=second)
    structlog.get_logger().info("once")
    assert not first.getvalue()
    assert len(lines_of(second)) == 1


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_under_journald_a_line_begins_with_its_priority(monkeypatch, level, priority):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    stream = io.StringIO()
    configure("debug", json=True, stream=stream)
    getattr(structlog.get_logger(), level)("x")
    assert stream.getvalue().startswith(f"<{priority}>{{")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_variables_and_no_person(as_json):
    stream = io.StringIO()
    configure("info", json=as_json, stream=stream)
    address, held = "ann@example.org", "canary-of-a-call"

    def fail():
        assert address
        assert held
        raise ValueError(f"no such person: {address}")

    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("push.failed", address=address)
        logging.getLogger("library").exception("failed for %s", address)
    told = stream.getvalue()
    assert told.count("no such person: [address]") >= 2
    assert "fail" in told
    assert "ann@" not in told
    assert "canary" not in told


def test_a_warning_of_python_goes_the_same_way():
    stream = io.StringIO()
    configure("info", json=True, stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("about ann@example.org", stacklevel=1)
    (line,) = lines_of(stream)
    assert "[address]" in line["event"]


@pytest.mark.parametrize("as_json", [True, False])
def test_values_are_redacted_however_deep(as_json):
    stream = io.StringIO()
    configure("info", json=as_json, stream=stream)
    structlog.get_logger().info(
        "event about ann@example.org",
        who=("ann@example.org", {"inner": ["ann@example.org"], "ann@example.org": 1}),
        error=ValueError("ann@example.org"),
        body=b"ann@example.org",
        headers={"Authorization": "Bearer canary", "X-Api-Key": "canary"},
        client_secret="canary",
        key="canary",
        count=3,
        whole=True,
        nothing=None,
    )
    told = stream.getvalue()
    assert "ann@" not in told
    assert "canary" not in told
    if as_json:
        (line,) = lines_of(stream)
        assert (line["count"], line["whole"], line["nothing"]) == (3, True, None)
        assert line["body"] == "15 bytes"


def test_a_terminal_gets_readable_lines_in_colour_unless_told_not_to(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    configure("info", json=False, stream=coloured)
    structlog.get_logger().info("run.closed", pulled=7)
    monkeypatch.setenv("NO_COLOR", "1")
    configure("info", json=False, stream=plain)
    structlog.get_logger().info("run.closed", pulled=7)
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "run.closed" in plain.getvalue()
    assert "pulled=7" in plain.getvalue()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("to ann@example.org, now", "to [address], now"),
        ("<Ann.O'Neil+x@mail.example.co.uk>", "<[address]>"),
        ("/u?email=ann%40example.org&x=1", "[address]&x=1"),
        ("jürgen@bücher.example", "[address]"),
        ("root@localhost", "[address]"),
        ('"ann lee"@example.org', "[address]"),
        ('{"email":"ann@example.org"}', '{"email":"[address]"}'),
        ("postgresql+psycopg://syncd:hunter2@db/x", "postgresql+psycopg://[secret]@db/x"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: [secret] [secret]"),
        ("client_secret=hunter2&x=1", "client_secret=[secret]&x=1"),
        ("{'api_key': 'hunter2'}", "{'api_key': '[secret]'}"),
        ("nothing to hide: 3 of 4 = 75 %", "nothing to hide: 3 of 4 = 75 %"),
        ("", ""),
    ],
)
def test_a_text_loses_addresses_and_secrets_and_nothing_else(text, left):
    assert redact(text) == left


@settings(max_examples=40)
@given(st.text(max_size=20), st.emails(), st.text(max_size=20))
def test_no_address_survives_whatever_stands_around_it(before, address, after):
    local = address.rpartition("@")[0]
    assert f" {local}@" not in f" {redact(f'{before} {address} {after}')}"


def test_a_long_text_is_redacted_in_reasonable_time():
    assert redact("x" * 200_000 + "@" + "y" * 200_000).endswith("[address]")
    assert redact("@" * 200_000) == "@" * 200_000
