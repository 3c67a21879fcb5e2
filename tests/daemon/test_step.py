"""Everybody is kept in step, by timers and by what comes in; what must hold is looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from syncd.app import wall_clock
from syncd.domain.identity import Identity
from syncd.domain.records import Delivery
from syncd.store.session import writing
from syncd.sync import one_click
from syncd.sync.ingest import UNSUBSCRIBES, accept, unsubscribe
from tests.daemon.scene import ANN, FAST, Scene, quiet, running, until, value

pytestmark = pytest.mark.loopback


async def test_what_is_known_at_one_provider_comes_to_the_others_and_so_does_a_no(scene_on_both: Scene) -> None:
    scene = scene_on_both
    async with running(scene.app(interval="100ms")):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        scene.rocs.unsubscribe_member("L-1", "ann@example.org")
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
    assert scene.everywhere("bob@example.org")
    assert "ann@example.org" in scene.rokt.unsubscribed


async def test_a_delivery_is_pushed_at_once_and_not_at_the_next_interval(scene_on_both: Scene) -> None:
    scene = scene_on_both
    async with running(scene.app(interval="1h"), replace(FAST, tick_s=3600)) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        answer = await daemon.says_no(ANN)
        assert answer.status_code == 201
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
        assert scene.everywhere("bob@example.org")


async def test_a_click_is_pushed_at_once(scene: Scene) -> None:
    app = scene.app()
    token = one_click.make_token(one_click.signing_key(app.engine), Identity("ann@example.org"))
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        async with daemon.client() as client:
            assert (await client.get(f"/unsubscribe/{token}")).status_code == 200
            assert scene.everywhere("ann@example.org")
            assert (await client.post(f"/unsubscribe/{token}")).status_code == 200
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")


async def test_what_falls_due_is_done_without_anybody_asking(scene: Scene) -> None:
    app = scene.app()
    async with running(app):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        # As a command in another process would.
        unsubscribe(app.context, "ann@example.org", source="operator", evidence="called us")
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")


async def test_what_was_taken_in_before_a_stop_is_worked_on_after_the_next_start(scene: Scene) -> None:
    async with running(scene.app()):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
    app = scene.app()
    headers = {"content-type": "application/json", "authorization": "Basic cm9rdDpyb2t0LXNlY3JldA=="}
    body = b'{"email":"ann@example.org"}'
    accept(app.context.lanes["leads"], app.context, Delivery(UNSUBSCRIBES, "POST", headers, (), body, wall_clock()))
    async with running(app):
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")


async def test_a_breach_is_found_by_itself_shown_in_the_metrics_and_lifted(scene: Scene) -> None:
    app = scene.app(SYNCD_SCHEDULE__CHECK_EVERY="50ms")
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        await until(lambda: "full_at" in value(app, "check"), "a first check, which is full")
        with writing(app.engine) as connection:
            connection.execute(sa.text("UPDATE container SET rows = rows + 1 WHERE container = 'L-1'"))
        await until(lambda: "counts-agree" in value(app, "broken"), "it is found")
        async with daemon.client() as client:
            assert "syncd_invariant_breaches 1" in (await client.get("/metrics")).text
            assert "counts-agree" in (await client.get("/")).text
        await daemon.says_no(ANN)
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
        with writing(app.engine) as connection:
            connection.execute(sa.text("UPDATE container SET rows = rows - 1 WHERE container = 'L-1'"))
        await until(lambda: value(app, "broken") == "{}", "it is whole again")


async def test_checks_go_by_the_clock_and_not_by_starts(scene: Scene) -> None:
    async with running(scene.app()) as daemon:
        await until(lambda: value(daemon.app, "check"), "a first check")
        first = value(daemon.app, "check")
    async with running(scene.app()) as daemon:
        await until(lambda: quiet(daemon.app), "it is quiet")
        assert value(daemon.app, "check") == first
