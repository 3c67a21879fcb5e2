"""The configuration is read anew while everything goes on: a good one takes effect, a bad one is refused."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import httpx
import pytest
import structlog

from syncd.daemon import run_until_signalled
from syncd.domain.errors import MirrorError
from tests.daemon.scene import ANN, AUTH, DEADLINE_S, Running, Scene, quiet, running, until
from tests.daemon.test_systemd import HASTY, Manager, manager

__all__ = ["manager"]

pytestmark = pytest.mark.loopback


async def reloaded(daemon: Running, lines: list[Any]) -> dict[str, Any]:
    """Read anew; what came of it, as logged."""

    def said() -> list[Any]:
        return [line for line in lines if line["event"] in {"daemon.reloaded", "reload.refused"}]

    before = len(said())
    daemon.reload.set()
    await until(lambda: len(said()) > before, "the configuration was read anew")
    return dict(said()[-1])


def edit(scene: Scene, old: str, new: str) -> None:
    text = scene.path.read_text()
    assert old in text
    scene.path.write_text(text.replace(old, new))


def without(text: str, *names: str) -> str:
    """The file without some accounts."""
    tables = text.split("\n[")
    kept = [table for table in tables if not any(table.startswith(f"accounts.{name}]") for name in names)]
    lines = "\n[".join(kept).splitlines()
    return "\n".join(line for line in lines if not any(line.startswith(f"{name} = ") for name in names))


async def test_an_account_that_is_added_and_one_that_is_taken_out(scene: Scene, manager: Manager) -> None:
    whole = scene.path.read_text()
    scene.path.write_text(without(whole, "mail"))
    with structlog.testing.capture_logs() as lines:
        async with running(scene.app(), HASTY, reread=scene.settings) as daemon:
            await until(lambda: "ann@example.org" in scene.in_sales, "Ann is at Sales.Rocks")
            assert not scene.mail.calls
            scene.path.write_text(without(whole, "sales"))
            manager.take()
            said = await reloaded(daemon, lines)
            assert (said["added"], said["removed"], said["changed"]) == (["mail"], ["sales"], [])
            told = manager.take()
            told = [line.split("=")[0] for line in told if line.startswith(("RELOADING=1\nMONOTONIC_USEC=", "READY=1"))]
            assert told == ["RELOADING", "READY"], "or systemd waits for it for ever"
            await until(lambda: scene.in_mail.get("ann@example.org"), "Ann is at RocketResponder")
            await until(lambda: set(daemon.app.context.lanes) == {"crm", "mail", "leads"}, "Sales.Rocks is left")
            calls = len(scene.sales.calls)
            assert (await daemon.says_no(ANN)).status_code == 201
            await until(lambda: scene.in_mail["ann@example.org"].lower() == "unsubscribed", "RocketResponder knows")
    assert len(scene.sales.calls) == calls
    assert not [line for line in lines if line["event"] in {"daemon.broke", "account.fault"}]


async def test_a_connection_under_way_and_the_address_outlive_it(scene: Scene) -> None:
    with structlog.testing.capture_logs() as lines:
        smaller = {"SYNCD_RECEIVER__BODY_BYTES_MAX": "1024"}
        async with running(scene.app(), reread=lambda: scene.settings(**smaller)) as daemon:
            url = httpx.URL(daemon.address)
            reader, writer = await asyncio.open_connection(url.host, url.port)
            body = b'{"email":"ann@example.org"}'
            head = (
                f"POST /in/leads/unsubscribes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                f"authorization: {AUTH._auth_header}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body[:5])
            await writer.drain()
            await asyncio.sleep(0.05)
            edit(scene, 'password = "rokt-secret"', 'password = "rotated"')
            assert (await reloaded(daemon, lines))["changed"] == ["leads"]
            assert (await daemon.says_no(ANN)).status_code == 401, "the old secret is no good any more"
            async with daemon.client() as client:
                answer = await client.post("/in/leads/unsubscribes", json=ANN, auth=("rokt", "rotated"))
                large = await client.post("/in/leads/leads", json={"email": "x" * 2000}, auth=("rokt", "rotated"))
            assert (answer.status_code, large.status_code) == (201, 413)
            writer.write(body[5:])
            line = await asyncio.wait_for(reader.readline(), DEADLINE_S)
            assert line.split()[1] in {b"200", b"201"}, line
            writer.close()


async def test_a_round_under_way_ends_with_what_it_began_with_and_the_next_has_the_new(scene: Scene) -> None:
    scene.gate.hanging = "127.0.0.1:8702"
    with structlog.testing.capture_logs() as lines:
        async with running(scene.app(), reread=scene.settings) as daemon:
            await until(lambda: scene.gate.hung, "a call hangs")
            old = daemon.app.context.lanes["sales"]
            edit(scene, 'password = "sales-secret"', 'password = "rotated"')
            assert (await reloaded(daemon, lines))["changed"] == ["sales"]
            fresh = daemon.app.context.lanes["sales"]
            assert fresh.provider is not old.provider
            assert fresh.traffic is old.traffic, "one thing at a time, whatever the configuration"
            assert fresh.lock.locked()
            scene.sales.password = "rotated"
            scene.gate.hanging = ""
            scene.gate.opens.set()
            await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
    assert not [line for line in lines if line["event"] in {"daemon.broke", "account.fault"}]


async def test_an_account_that_is_taken_out_while_it_is_worked_at_goes_when_that_has_ended(scene: Scene) -> None:
    scene.gate.hanging = "127.0.0.1:8702"
    with structlog.testing.capture_logs() as lines:
        async with running(scene.app(), reread=scene.settings) as daemon:
            await until(lambda: scene.gate.hung, "a call hangs")
            scene.path.write_text(without(scene.path.read_text(), "sales"))
            assert (await reloaded(daemon, lines))["removed"] == ["sales"]
            assert "sales" in daemon.app.context.lanes
            async with daemon.client() as client:
                assert (await client.get("/")).status_code == 200
            scene.gate.hanging = ""
            scene.gate.opens.set()
            await until(lambda: "sales" not in daemon.app.context.lanes, "it is gone")
            await until(lambda: scene.in_mail.get("ann@example.org"), "the others go on")
    assert not [line for line in lines if line["event"] in {"daemon.broke", "account.fault", "receiver.broke"}]


async def test_another_interval_takes_effect_at_once(scene: Scene) -> None:
    with structlog.testing.capture_logs() as lines:
        async with running(scene.app(), reread=lambda: scene.settings(interval="100ms")) as daemon:
            await until(lambda: quiet(daemon.app), "the first rounds are over")
            await reloaded(daemon, lines)
            for email in ("cat@example.org", "dan@example.org"):
                scene.rocs.add_member("L-1", scene.rocs.add_customer(email))
                await until(lambda: scene.everywhere(email), f"{email} is everywhere")  # noqa: B023  awaited at once


async def test_a_bad_file_is_refused_with_all_its_faults_and_the_old_one_goes_on(
    scene: Scene, manager: Manager
) -> None:
    with structlog.testing.capture_logs() as lines:
        async with running(scene.app(), HASTY, reread=scene.settings) as daemon:
            await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
            edit(scene, 'provider = "rokt"', 'provider = "rotk"')
            edit(scene, "[guard]", "[gaurd]")
            manager.take()
            await reloaded(daemon, lines)
            problems = {line["where"] for line in lines if line["event"] == "reload.problem"}
            assert problems == {"gaurd", "accounts.leads.provider"}
            ready = [message for message in manager.take() if message.startswith("READY=1")]
            assert "reload refused: " in ready[0]
            assert (await daemon.says_no(ANN)).status_code == 201
            await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
            edit(scene, 'provider = "rotk"', 'provider = "rokt"')
            edit(scene, "[gaurd]", "[guard]")
            await reloaded(daemon, lines)
            await until(lambda: "refused" not in manager.heard("STATUS=")[-1], "it is forgotten with the next good one")


@pytest.mark.parametrize(
    ("variable", "where"),
    [("SYNCD_RECEIVER__LISTEN", "receiver.listen"), ("SYNCD_MIRROR__URL", "mirror.url")],
)
async def test_what_only_a_restart_can_change_is_refused(scene: Scene, variable: str, where: str) -> None:
    other = {"SYNCD_RECEIVER__LISTEN": "127.0.0.1:1", "SYNCD_MIRROR__URL": "sqlite:////nowhere/else.db"}[variable]
    with structlog.testing.capture_logs() as lines:
        async with running(scene.app(), reread=lambda: scene.settings(**{variable: other})) as daemon:
            await reloaded(daemon, lines)
            async with daemon.client() as client:
                assert (await client.get("/readyz")).status_code == 200
    problems = [line for line in lines if line["event"] == "reload.problem"]
    assert [line["where"] for line in problems] == [where]
    assert "restart" in problems[0]["hint"]


async def test_sighup_reads_the_file_anew(scene: Scene) -> None:
    app = scene.app()
    ready = asyncio.Event()
    with structlog.testing.capture_logs() as lines:
        serving = asyncio.create_task(run_until_signalled(app, ready=lambda _: ready.set()))
        await asyncio.wait_for(ready.wait(), DEADLINE_S)
        scene.path.write_text("not TOML")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: [line for line in lines if line["event"] == "reload.refused"], "it was read")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, DEADLINE_S)
    await app.aclose()


async def test_what_it_cannot_write_down_changes_nothing(scene: Scene) -> None:
    """All of the new settings or none: the mirror is part of it."""
    app = scene.app()
    before = app.settings, app.context.lanes, app.context.lists
    edit(scene, 'password = "sales-secret"', 'password = "rotated"')
    fresh = scene.settings()
    app.engine.dispose()
    scene.mirror_away()
    with pytest.raises(MirrorError, match="damaged"):
        app.turn_to(fresh)
    assert (app.settings, app.context.lanes, app.context.lists) == before
