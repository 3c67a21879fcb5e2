"""Every error a person can do something about ends in its own code, with a sentence and the next command."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.cli import main
from syncd.cli.commands import app, run
from syncd.cli.exits import CODES, Exit, exit_of, told
from syncd.cli.invocation import Invocation
from syncd.domain import errors
from syncd.domain.errors import ConfigurationError, Problem, SyncdError, UnauthorisedError
from syncd.wire import Request, Response
from tests.cli.conftest import Desk, validator


def branches(of: type[SyncdError]) -> Iterator[type[SyncdError]]:
    for error in of.__subclasses__():
        yield error
        yield from branches(error)


def test_every_error_of_the_tree_ends_in_the_code_its_docstring_promises() -> None:
    promised = {
        "ConfigurationError": 78, "MirrorError": 78, "ApprovalError": 4, "ProviderError": 7, "DeliveryError": 2,
    }  # fmt: skip
    for name, code in promised.items():
        assert CODES[getattr(errors, name)] == code
    for error in branches(SyncdError):
        if error.__module__.startswith(("syncd.domain", "syncd.cli")):
            assert any(branch in CODES for branch in error.__mro__ if branch is not SyncdError), error


def test_a_lower_error_ends_as_its_branch_does() -> None:
    assert exit_of(UnauthorisedError("refused")) is Exit.UNREACHABLE
    assert exit_of(SyncdError("what")) is Exit.FAILED


def test_an_error_as_an_object_is_of_the_published_shape() -> None:
    for error in (
        ConfigurationError("file", [Problem("mirror.url", "missing", "write it")]),
        UnauthorisedError("refused", call="login"),
        SyncdError("what"),
    ):
        validator("error").validate(json.loads(json.dumps(told(error))))


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["sync", "--nonsense"], ["approve"], ["plan", "--config"], ["emulate", "nobody"]],
)
def test_what_was_typed_wrongly_is_a_usage_error(small: Desk, arguments: list[str]) -> None:
    done = small.run_bare(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err


def test_what_was_typed_wrongly_is_told_to_scripts_too(small: Desk) -> None:
    done = small.run_bare("sync", "--nonsense", "--json")
    assert done.code == 2
    assert done.data("error")["error"]["kind"] == "UsageError"


def test_commands_that_do_not_exist_yet_are_not_there() -> None:
    declared = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert declared == {
        "init", "config", "db", "run", "sync", "plan", "approve", "reject", "status", "inspect", "explain",
        "unsubscribe", "resubscribe", "erase", "resync", "reload", "check", "account", "parked", "list", "webhooks",
        "leads", "connection", "notify", "salesrocks", "emulate", "demo", "unsubscribe-link", "preferences-link",
    }  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ["sync"],
        ["status"],
        ["inspect", "contacts"],
        ["db", "backup"],
        ["config", "show"],
        ["account", "pause"],
        ["init"],
    ],
)
def test_every_command_takes_the_common_options(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert run([*command, "--help"], None) == 0
    printed = capsys.readouterr().out
    for option in ("--config", "--json", "--verbose", "--quiet"):
        assert option in printed


def test_data_goes_to_stdout_and_all_else_to_stderr(small: Desk) -> None:
    done = small.run("sync")
    assert "next:" in done.err
    assert "next:" not in done.out
    quiet = small.run("sync", "--quiet")
    assert quiet.err == ""
    assert quiet.out


def test_more_and_less_is_logged_as_asked(small: Desk) -> None:
    small.sales.password = "another"
    assert "account.failed" in small.run("sync", "sales").err
    assert "account.failed" not in small.run("sync", "sales", "-q").err
    small.sales.password = "sales-secret"
    assert "run.closed" not in small.run("sync", "sales").err
    assert "run.closed" in small.run("sync", "sales", "-v").err


def test_no_colour_and_no_markup_where_nobody_looks(small: Desk) -> None:
    small.customer("ann@example.org", "[red]Ann[/red]", "Lee")
    small.run("sync")
    for arguments in (("inspect", "contacts"), ("inspect", "contact", "ann@example.org")):
        done = small.run(*arguments)
        assert "\x1b" not in done.out
        assert "[red]Ann[/red]" in done.out


def test_an_interrupted_command_says_that_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, small: Desk) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Invocation, "with_app", interrupted)
    done = small.run("status")
    assert done.code == 130
    assert "looked up before anything is sent again" in done.err


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "broken pipe")


def test_a_reader_that_goes_away_is_no_crash(small: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    small.run("sync")
    monkeypatch.setattr("sys.stdout", Gone())
    assert main(["status", "--json", "--config", str(small.config)], small.outside) == Exit.FAILED


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell began in the background ignores SIGINT, and so would the tests in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_round_leaves_the_mirror_and_is_made_up_for(
    small: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.customer("ann@example.org")
    answer = small.sales.answer

    def interrupted(request: Request) -> Response:
        response = answer(request)
        if request.url.endswith("addToList"):
            signal.raise_signal(signal.SIGINT)
        return response

    monkeypatch.setattr(small.sales, "answer", interrupted)
    done = small.run("sync")
    assert done.code == 130
    assert small.data("db", "status")["holder"] is None
    monkeypatch.undo()
    small.wait(60)
    small.run("sync")
    small.wait(60)
    assert small.run("sync").code == 0
    assert [row["email"] for row in small.sales.contacts_of(small.sales_list)] == ["ann@example.org"]


@pytest.mark.parametrize("ours", [True, False])
def test_an_error_is_one_in_the_journal_too_and_nowhere_else_marked(
    ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w+") as stream, (tmp_path / "other").open("w") as other:
        about = os.fstat((stream if ours else other).fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["config", "check", "--config", str(tmp_path / "none.toml")]) == 78
        stream.seek(0)
        lines = stream.read().splitlines()
    assert len(lines) > 1
    assert {line.startswith("<3>") for line in lines} == {ours}
