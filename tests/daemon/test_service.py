"""Start and stop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from syncd.app import wall_clock
from syncd.daemon import address_of, run_until_signalled, serve
from syncd.daemon.listening import listening
from syncd.daemon.service import Daemon
from syncd.domain.errors import ConfigurationError
from syncd.store import journal
from syncd.store.session import reading
from tests.daemon.scene import AUTH, DEADLINE_S, FAST, Gate, Scene, rows, running, until

pytestmark = pytest.mark.loopback


async def test_the_receiver_answers_over_http_and_says_nothing_of_its_server(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    async with running(scene.app()) as daemon, daemon.client() as client:
        alive = await client.get("/livez")
        ready = await client.get("/readyz")
        page = await client.get("/")
        large = await client.post("/in/leads/leads", content=endless(), auth=AUTH)
        head = await client.head("/")
    assert (alive.status_code, ready.json(), page.status_code) == (200, {"ready": True}, 200)
    assert large.status_code == 413
    assert (head.status_code, head.content) == (200, b"")
    assert "server" not in alive.headers
    assert not [record for record in caplog.records if "livez" in record.getMessage()]


async def test_a_round_that_an_operator_asks_for_on_the_page_begins_at_once(scene: Scene) -> None:
    app = scene.app(SYNCD_RECEIVER__OPERATOR_TOKEN="a-token-for-the-operator")
    async with running(app) as daemon, daemon.client() as client:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        await client.post("/login", data={"operator_token": "a-token-for-the-operator"})
        [token, *_] = re.findall(r'name="token" value="(\w+)"', (await client.get("/contact")).text)
        await client.post("/act", data={"token": token, "what": "sync", "id": "crm"})
        await until(lambda: rows(app, "SELECT id FROM wake WHERE done_at IS NOT NULL"), "the round is done")
    assert rows(app, "SELECT accounts FROM wake") == [{"accounts": '["crm"]'}]


async def test_it_stops_when_asked_and_closes_the_door(scene: Scene) -> None:
    async with running(scene.app(interval="100ms")) as daemon, daemon.client() as client:
        await client.get("/livez")
        daemon.stop.set()
        await asyncio.wait_for(daemon.task, DEADLINE_S)
        with pytest.raises(httpx.ConnectError):
            async with daemon.client() as another:
                await another.get("/livez")
    assert not rows(scene.app(), "SELECT id FROM run WHERE result = 'running'")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_and_is_given_back(scene: Scene, number: signal.Signals) -> None:
    app, before, lived = scene.app(), signal.getsignal(number), []

    def ready(address: str) -> None:
        lived.append(address)
        assert signal.getsignal(number) != before, "or this would end the tests"
        os.kill(os.getpid(), number)

    await asyncio.wait_for(run_until_signalled(app, ready=ready), DEADLINE_S)
    assert len(lived) == 1
    assert signal.getsignal(number) in {before, signal.default_int_handler}
    await app.aclose()


async def test_a_round_that_takes_too_long_is_cut_off_and_known_as_such(scene: Scene) -> None:
    app = scene.app()
    scene.gate.hanging = "127.0.0.1:8702"
    async with running(app) as daemon:
        await until(lambda: scene.gate.hung, "a call hangs")
        daemon.stop.set()
        await asyncio.wait_for(daemon.task, DEADLINE_S)
    cut_off = {row["account"]: row["result"] for row in rows(scene.app(), "SELECT account, result FROM run")}
    assert cut_off["sales"] == "aborted"


async def test_a_round_under_way_may_end_before_the_stop(scene: Scene) -> None:
    app = scene.app()
    scene.gate.hanging = "127.0.0.1:8702"
    ended = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        if "8702" in str(request.url):
            scene.gate.hung += 1
            await ended.wait()
        return await Gate.handle_async_request(scene.gate, request)

    scene.gate.hanging = ""
    scene.gate.handle_async_request = slow  # type: ignore[method-assign]
    async with running(app, replace(FAST, drain_s=DEADLINE_S)) as daemon:
        await until(lambda: scene.gate.hung, "a call takes its time")
        daemon.stop.set()
        async with asyncio.timeout(DEADLINE_S):
            while not daemon.task.done():
                ended.set()
                await asyncio.sleep(0.01)
    results = {row["account"]: row["result"] for row in rows(scene.app(), "SELECT account, result FROM run")}
    assert results["sales"] == "success"


async def test_once_it_stops_it_is_not_ready(scene: Scene) -> None:
    app = scene.app()
    assert app.take()
    daemon, stop = Daemon(app, FAST, asyncio.Event(), asyncio.Event()), asyncio.Event()

    async def readiness() -> httpx.Response:
        transport = httpx.ASGITransport(app=daemon.receiver())
        async with httpx.AsyncClient(transport=transport, base_url="http://syncd.test") as client:
            return await client.get("/readyz")

    assert (await readiness()).status_code == 200
    stop.set()
    with listening(app.settings.receiver) as sock:
        await daemon.serve(sock, stop, None)
    assert (await readiness()).json() == {"ready": False, "reason": "syncd is stopping"}
    await app.aclose()


async def test_it_listens_on_a_file_that_its_group_may_use_and_takes_over_one_that_was_left(
    scene: Scene, tmp_path: Path
) -> None:
    file = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(file))
    app = scene.app(SYNCD_RECEIVER__LISTEN=f"unix:{file}")
    async with running(app) as daemon:
        assert daemon.address == f"unix:{file}"
        assert file.stat().st_mode & 0o777 == 0o660
        transport = httpx.AsyncHTTPTransport(uds=str(file))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/")).status_code == 200, "whoever may use the file sees the page"
        second = scene.app(SYNCD_RECEIVER__LISTEN=f"unix:{file}")
        with pytest.raises(ConfigurationError, match="receiver"), listening(second.settings.receiver):
            pass
        await second.aclose()
        assert file.exists()
    assert not file.exists()


async def test_an_address_in_use_is_a_fault_of_the_configuration(scene: Scene) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host, port = taken.getsockname()
        app = scene.app(SYNCD_RECEIVER__LISTEN=f"{host}:{port}")
        with pytest.raises(ConfigurationError) as refused:
            await serve(app, stop=asyncio.Event(), pace=FAST)
    assert [problem.where for problem in refused.value.problems] == ["receiver.listen"]
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock() + timedelta(seconds=1)) is None
    await app.aclose()


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            sock.bind(("::", 0))
        assert address_of(sock).startswith("http://[::")
