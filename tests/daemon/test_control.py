"""The control socket: who may use it, what it takes, and what it shows of what runs right now."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from syncd.app import Outside
from syncd.cli import main
from syncd.control import LINE_MAX, Conversation, NobodyThereError, encoded, mirror_of, place_to_ask, place_to_listen
from syncd.daemon import serve
from syncd.daemon.control import CLIENTS_MAX, Control, Peer, control_listening, may_enter
from syncd.domain.errors import ConfigurationError, SyncdError
from tests.cli.conftest import validator
from tests.daemon.scene import DEADLINE_S, FAST, Running, Scene, quiet, running, until

pytestmark = pytest.mark.loopback


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: the address of a Unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
        yield Path(folder) / "control.sock"


@contextlib.asynccontextmanager
async def controlled(scene: Scene, place: Path) -> AsyncIterator[tuple[Running, Conversation]]:
    """A daemon with a control socket, and somebody who talks to it."""
    given = {"SYNCD_DAEMON__CONTROL": str(place)}
    async with running(scene.app(**given), reread=lambda: scene.settings(**given)) as daemon:
        await until(lambda: quiet(daemon.app), "the first rounds are over")
        async with Conversation(place, mirror_of(daemon.app.settings)) as talk:
            yield daemon, talk


def mode_of(place: Path) -> int | None:
    return stat.S_IMODE(place.stat().st_mode) if place.exists() else None


async def spoken(place: Path, *lines: bytes) -> list[dict[str, Any]]:
    """What a bare connection is told after these lines, until it is closed or nothing more comes."""
    reader, writer = await asyncio.open_unix_connection(place, limit=2**20)
    writer.write(b"".join(lines))
    said = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        while line := await asyncio.wait_for(reader.readline(), 0.5):
            said.append(json.loads(line))
    writer.close()
    return said


# What it takes -------------------------------------------------------------------------------------------------------


async def test_it_says_hello_and_does_what_it_is_asked(scene: Scene, place: Path) -> None:
    async with controlled(scene, place) as (daemon, talk):
        assert mode_of(place) == 0o660
        assert talk.who == daemon.app.who
        scene.rocs.add_member("L-1", scene.rocs.add_customer("cat@example.org"))
        done = await talk.ask("sync", accounts=["crm"])
        assert {entry["account"]: entry["result"] for entry in done["accounts"]}["crm"] == "success"
        assert scene.everywhere("cat@example.org")
        assert await talk.ask("pause", account="mail") == {"account": "mail", "state": "paused"}
        now = await talk.ask("status")
        assert {entry["account"]: entry["state"] for entry in now["accounts"]}["mail"] == "paused"
        assert await talk.ask("resume", account="mail") == {"account": "mail", "state": "ok"}
        scene.path.write_text(scene.path.read_text().replace('password = "rokt-secret"', 'password = "rotated"'))
        assert await talk.ask("reload") == {"added": [], "removed": [], "changed": ["leads"]}
        scene.path.write_text("[gaurd]\n")
        with pytest.raises(ConfigurationError) as refused:
            await talk.ask("reload")
        assert {problem.where for problem in refused.value.problems} >= {"gaurd"}
        with pytest.raises(SyncdError, match="there is no account `mial`") as unknown:
            await talk.ask("sync", accounts=["mial"])
        assert "mail" in unknown.value.hint
    assert mode_of(place) is None, "it is gone"


@pytest.mark.parametrize("half", [True, False], ids=["half closed", "closed"])
async def test_whoever_hangs_up_after_asking_for_a_reload_ends_nothing(scene: Scene, place: Path, half: bool) -> None:
    with structlog.testing.capture_logs() as lines:
        async with controlled(scene, place) as (daemon, talk):
            reader, writer = await asyncio.open_unix_connection(place)
            await reader.readline()
            writer.write(b'{"do":"reload"}\n')
            writer.write_eof() if half else writer.close()
            await until(lambda: [line for line in lines if line["event"] == "daemon.reloaded"], "it is read anew")
            writer.close()
            await writer.wait_closed()
            assert (await talk.ask("status"))["accounts"]
            assert not daemon.task.done()


async def test_one_sees_what_runs_right_now(scene: Scene, place: Path) -> None:
    async with controlled(scene, place) as (_, talk):
        now = await talk.ask("status")
        validator("status-live").validate(now)
        assert not any(entry["working"] for entry in now["accounts"])
        assert all(0 < entry["next_wake_s"] <= 3960 for entry in now["accounts"])
        scene.gate.hanging = "127.0.0.1:8701"
        async with Conversation(place, talk._mirror) as asking:
            going = asyncio.create_task(asking.ask("sync", accounts=["crm"], full=True))
            await until(lambda: scene.gate.hung, "a call hangs")
            async for now in talk.watch(every_s=0.05):
                (crm,) = [entry for entry in now["accounts"] if entry["account"] == "crm"]
                validator("status-live").validate(now)
                if crm["working"]:
                    assert (crm["since"], now["rounds"]) != (None, 0)
                    scene.gate.hanging = ""
                    scene.gate.opens.set()
                if going.done():
                    break
            assert (await going)["accounts"][0]["result"] == "success"


async def test_whoever_hangs_up_stops_no_round(scene: Scene, place: Path) -> None:
    async with controlled(scene, place) as (daemon, talk):
        scene.rocs.add_member("L-1", scene.rocs.add_customer("cat@example.org"))
        scene.gate.hanging = "127.0.0.1:8701"
        reader, writer = await asyncio.open_unix_connection(place)
        writer.write(encoded({"do": "sync", "accounts": ["crm"]}))
        await until(lambda: scene.gate.hung, "a call hangs")
        writer.close()
        await asyncio.sleep(0.1)
        scene.gate.hanging = ""
        scene.gate.opens.set()
        await until(lambda: scene.everywhere("cat@example.org"), "Cat is everywhere")
        assert (await talk.ask("status"))["daemon"] == daemon.app.who
        del reader


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not JSON\n", "one line of JSON"),
        (b"[1]\n", "an object that says what to do"),
        (b'{"do": 7}\n', "an object that says what to do"),
        (b'{"do": "erase"}\n', "nothing called `erase`"),
        (b'{"do": "sync", "accounts": "crm"}\n', "accounts is a list"),
        (b'{"do": "sync", "accounts": [{}]}\n', "there is no account"),
        (b'{"do": "watch", "every_s": true}\n', "every_s is a number"),
        (b"[" * 60_000 + b"\n", "one line of JSON"),
        (b" " * (LINE_MAX + 10) + b"\n", "has at most 65536 bytes"),
    ],
)
async def test_what_is_no_request_is_refused_in_words(place: Path, line: bytes, message: str) -> None:
    async def act(_request: Any) -> Any:
        pytest.fail("it was done")

    async def watch(_request: Any) -> AsyncIterator[Any]:
        yield {}

    async def sync(request: Any) -> Any:
        if not isinstance(request["accounts"], list):
            raise SyncdError("accounts is a list")
        raise SyncdError("there is no account")

    with control_listening(place) as sock:
        async with Control({}, {"status": act, "sync": sync}, watch, None_log()).serving(sock):
            said = await spoken(place, line)
    assert message in said[-1]["error"]["message"]


class None_log:  # noqa: N801
    """A log that nobody reads."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_, **__: None


async def test_neither_many_nor_silent_ones_keep_others_out(place: Path) -> None:
    async def watch(_request: Any) -> AsyncIterator[Any]:
        yield {}

    with control_listening(place) as sock:
        async with Control({}, {}, watch, None_log(), idle_s=0.3).serving(sock):
            silent = [await asyncio.open_unix_connection(place) for _ in range(CLIENTS_MAX)]
            for reader, _ in silent:
                await reader.readline()
            (refused,) = await spoken(place)
            assert "connected already" in refused["error"]["message"]
            for reader, writer in silent:
                assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b"", "who says nothing is sent away"
                writer.close()
            assert "protocol" in (await spoken(place))[0]


# Who may enter, and where --------------------------------------------------------------------------------------------


def test_root_ourselves_and_the_group_of_the_socket_may_enter() -> None:
    stranger, group = 54_321, 54_322
    assert may_enter(Peer(1, 0, 0), group)
    assert may_enter(Peer(1, os.geteuid(), 7), group)
    assert may_enter(Peer(1, stranger, group), group)
    assert may_enter(Peer(1, 65534, 65534), group), "whoever a namespace hides was let in by the mode"
    assert not may_enter(Peer(1, stranger, 7), group)


def test_a_socket_that_a_killed_daemon_left_is_replaced_and_a_live_one_is_not(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    with control_listening(place):
        with pytest.raises(ConfigurationError) as refused, control_listening(place):
            pytest.fail("it was taken from another")
        assert refused.value.problems[0].where == "daemon.control"
        assert place.exists()
    assert not place.exists()
    place.write_text("something else")
    with pytest.raises(ConfigurationError, match="1 problem"), control_listening(place):
        pytest.fail("it was overwritten")
    assert place.read_text() == "something else"


def test_it_is_where_the_configuration_says_else_where_systemd_made_a_folder(scene: Scene) -> None:
    settings = scene.settings()
    assert place_to_listen(settings, {}) is None
    assert place_to_listen(settings, {"RUNTIME_DIRECTORY": "/run/syncd"}) == place_to_ask(settings)
    said = scene.settings(SYNCD_DAEMON__CONTROL="/tmp/x.sock")
    assert place_to_listen(said, {"RUNTIME_DIRECTORY": "/run/syncd"}) == place_to_ask(said) == Path("/tmp/x.sock")


async def test_a_place_that_cannot_be_used_is_a_fault_of_the_configuration(scene: Scene) -> None:
    app = scene.app(SYNCD_DAEMON__CONTROL="/nowhere/at/all.sock")
    with pytest.raises(ConfigurationError) as refused:
        await serve(app, stop=asyncio.Event(), pace=FAST)
    assert [problem.where for problem in refused.value.problems] == ["daemon.control"]
    await app.aclose()


async def test_a_daemon_of_another_mirror_or_another_protocol_is_not_asked(place: Path) -> None:
    async def watch(_request: Any) -> AsyncIterator[Any]:
        yield {}

    others: list[tuple[dict[str, Any], str]] = [
        ({"mirror": "another"}, "works on another"),
        ({"mirror": "x", "version": 9}, "another protocol"),
    ]
    for hello, why in others:
        with control_listening(place) as sock:
            async with Control(hello, {}, watch, None_log()).serving(sock):
                with pytest.raises(NobodyThereError, match=why):
                    async with Conversation(place, "x"):
                        pytest.fail("it was asked")
    with pytest.raises(NobodyThereError, match="No such file") as nobody:
        async with Conversation(place, "x"):
            pytest.fail("it was asked")
    assert nobody.value.hint == "systemctl status syncd"


# The commands --------------------------------------------------------------------------------------------------------


async def test_commands_go_through_it(scene: Scene, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_MIRROR__URL", scene.url)
    monkeypatch.setenv("SYNCD_RECEIVER__LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("SYNCD_DAEMON__CONTROL", str(place))

    async def typed(*words: str) -> tuple[int, Any]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            arguments = [*words, "--json", "--config", str(scene.path)]
            code = await asyncio.to_thread(main, arguments, Outside(transport=scene.gate))
        return code, [json.loads(line) for line in out.getvalue().splitlines()]

    async with controlled(scene, place) as (daemon, _):
        code, (done,) = await typed("sync", "crm")
        assert (code, done["by"], done["accounts"][0]["result"]) == (0, daemon.app.who, "success")
        assert not daemon.app.context.lanes["crm"].lock.locked()
        code, lines = await typed("status", "--live", "--every", "0.05", "--times", "2")
        assert (code, len(lines)) == (0, 2)
        validator("status-live").validate(lines[0])
        assert (await typed("account", "pause", "mail"))[1][0]["state"] == "paused"
        assert (await typed("account", "resume", "mail"))[1][0]["state"] == "ok"
        code, (turned,) = await typed("reload")
        validator("reload").validate(turned)
        assert code == 0
    code, (error,) = await typed("status", "--live")
    assert code == 1
    assert "no daemon answers at" in error["error"]["message"]
