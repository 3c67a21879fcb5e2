"""Whether people are told: a real program, a real web server, Apprise; and that nothing secret comes along."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from standardwebhooks import Webhook

from tests.cli.conftest import Desk

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Apprise, which loads all it has at once
]

OLD, NEW = (b64encode(os.urandom(32)).decode() for _ in range(2))


class Hooks(ThreadingHTTPServer):
    """Where notices are sent: keeps what came, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Hook(BaseHTTPRequestHandler):
    server: Hooks

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("location", f"http://{self.server.address}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    server = Hooks()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def program(folder: Path, text: str) -> Path:
    path = folder / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_test_notice_goes_out_by_every_channel(
    small: Desk, hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCD_ACCOUNTS__MAIL__WEBHOOK_SECRET", "a secret of ours")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    path = program(tmp_path, f'cat > {tmp_path}/got; env > {tmp_path}/environ; echo "$@" > {tmp_path}/argv')
    small.configure(
        more=f"""
[notify]
command = ["{path}", "a b", "$HOME"]
webhook_url = "http://{hooks.address}/hook?key=hidden-in-a-query"
webhook_secret = ["whsec_{NEW}", "{OLD}"]
urls = "json://{hooks.address}/chat"
"""
    )
    done = small.run("notify", "test", "--json")
    assert done.code == 0
    channels = done.data("notify-test")["channels"]
    assert channels == [{"channel": name, "ok": True, "reason": ""} for name in ("log", "command", "webhook", "url 1")]
    content = json.loads((tmp_path / "got").read_text())
    assert content["data"]["text"] == "a test of syncd: nothing is wrong"
    assert (tmp_path / "argv").read_text() == "a b $HOME\n", "no shell reads it"
    environ = (tmp_path / "environ").read_text()
    assert "PATH=" in environ
    assert "SYNCD_" not in environ
    assert "CREDENTIALS" not in environ
    came = {path.partition("?")[0]: (headers, body) for path, headers, body in hooks.came}
    headers, body = came["/hook"]
    assert json.loads(body) == content
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signed = [Webhook(secret).sign(content["id"], at, body.decode()) for secret in (NEW, OLD)]
    assert headers["webhook-signature"].split(" ") == signed
    assert headers["webhook-id"] == content["id"]
    assert at == small.at
    assert "a test of syncd" in came["/chat"][1].decode()
    assert "a test of syncd" in done.err


def test_what_does_not_arrive_is_said_without_a_secret_and_ends_with_1(small: Desk, hooks: Hooks) -> None:
    small.configure(
        more=f"""
[notify]
webhook_url = "http://{hooks.address}/key-in-a-path"
webhook_secret = "{NEW}"
urls = ["json://{hooks.address}/key-in-a-path", "nonsense://key-in-a-path"]
"""
    )
    hooks.status = 307
    done = small.run("notify", "test", "--json", "-vv")
    assert done.code == 1
    reasons = {one["channel"]: one["reason"] for one in done.data("notify-test")["channels"]}
    assert reasons == {
        "log": "",
        "webhook": "notify: webhook: answered 307; redirects are not followed",
        "url 1": "was not taken",
        "url 2": "not an address that Apprise knows",
    }
    assert "request.carried" in done.err
    for secret in ("key-in-a-path", NEW):
        assert secret not in done.out + done.err


def test_a_program_that_hangs_is_ended_with_all_that_it_started(small: Desk, tmp_path: Path) -> None:
    path = program(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    small.configure(more=f'\n[notify]\ncommand = ["{path}"]\ntimeout = "2s"\n')
    done = small.run("notify", "test")
    assert done.code == 1
    assert "did not end within 2 s" in done.out
    with contextlib.suppress(psutil.NoSuchProcess):  # or it waits to be asked how it ended
        assert psutil.Process(int((tmp_path / "child").read_text())).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("text", "mode", "reason"), [("exit 3", 0o700, "ended with 3"), ("", 0o600, "cannot be run: Permission denied")]
)
def test_a_program_that_fails_says_how(small: Desk, tmp_path: Path, text: str, mode: int, reason: str) -> None:
    path = program(tmp_path, text)
    path.chmod(mode)
    small.configure(more=f'\n[notify]\ncommand = ["{path}"]\n')
    done = small.run("notify", "test")
    assert done.code == 1
    assert reason in done.out


def test_without_a_channel_it_says_that_there_is_only_the_log(small: Desk) -> None:
    done = small.run("notify", "test")
    assert (done.code, "nobody is told but the log" in done.err) == (0, True)
