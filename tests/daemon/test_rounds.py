"""What is urgent goes out whatever else is under way, and a stop is a stop."""

from __future__ import annotations

import asyncio

import pytest

from syncd.app import App
from syncd.daemon.live import Live
from syncd.daemon.rounds import Rounds
from syncd.daemon.timers import Timers
from syncd.sync.cycle import run_round
from syncd.sync.ingest import unsubscribe
from tests.daemon.scene import FAST, Scene, rows, running, until
from tests.simulation.stage import hand_in

pytestmark = pytest.mark.loopback


async def test_what_a_notice_leads_to_does_not_wait_for_an_account_that_hangs_in_the_same_round(scene: Scene) -> None:
    app = scene.app()
    async with running(app):
        await until(
            lambda: scene.everywhere("ann@example.org") and scene.everywhere("bob@example.org"), "all are there"
        )
    context = scene.app().context
    stirred = 0

    def stir() -> None:
        nonlocal stirred
        stirred += 1

    context.stir = stir
    unsubscribe(context, "bob@example.org", source="operator", evidence="by phone")
    scene.gate.hanging = "127.0.0.1:8702"
    task = asyncio.create_task(run_round(context, pull_first=False))
    await until(lambda: scene.in_mail["bob@example.org"].lower() == "unsubscribed", "RocketResponder was told")
    await until(lambda: stirred, "whoever plans was told that something moved")
    assert not task.done()
    scene.gate.hanging = ""
    scene.gate.opens.set()
    await task


@pytest.mark.parametrize("told", [True, False], ids=["as it comes", "passed over once, or failed"])
async def test_an_unsubscribe_that_finds_its_lane_busy_goes_out_before_the_lane_is_free(
    scene: Scene, told: bool
) -> None:
    app = scene.app()
    async with running(app):
        await until(
            lambda: scene.everywhere("ann@example.org") and scene.everywhere("bob@example.org"), "all are there"
        )
    context = scene.app().context
    scene.gate.hanging = "/subscriber/lookup"
    unsubscribe(context, "ann@example.org", source="operator", evidence="by phone")
    holds = asyncio.create_task(run_round(context, pull_first=False, patient=False))
    await until(lambda: scene.gate.hung, "Ann is told there, and reading that back hangs")
    unsubscribe(context, "bob@example.org", source="operator", evidence="by phone")
    await run_round(context, pull_first=False, patient=False)  # finds that lane busy, and leaves it alone
    assert scene.in_rocs["bob@example.org"] == "unsubscribed"
    assert scene.in_mail["bob@example.org"].lower() != "unsubscribed"
    context.lanes["mail"].urgent = told
    scene.gate.hanging = ""
    scene.gate.opens.set()
    async with context.lanes["mail"].lock:
        assert scene.in_mail["bob@example.org"].lower() == "unsubscribed"
    await holds


async def test_whom_a_notice_names_is_asked_about_before_a_busy_lane_is_free(scene: Scene) -> None:
    app = scene.app()
    async with running(app):
        await until(
            lambda: scene.everywhere("ann@example.org") and scene.everywhere("bob@example.org"), "all are there"
        )
    scene.mail.webhook_urls["154", "unsubscribe"] = "http://syncd/in/mail/154/unsubscribe/mail-hook"
    app = scene.app()
    context = app.context
    scene.gate.hanging = "/subscriber/lookup"
    leaves(scene, app, "ann@example.org")
    holds = asyncio.create_task(run_round(context, pull_first=False, patient=False))
    await until(lambda: scene.gate.hung, "a look-up of Ann hangs")
    leaves(scene, app, "bob@example.org")
    await run_round(context, pull_first=False, patient=False)  # finds that lane busy, and leaves it alone
    seen = "SELECT status FROM v_memberships WHERE account = 'mail' AND email = 'bob@example.org'"
    assert rows(app, seen) == [{"status": "subscribed"}]
    scene.gate.hanging = ""
    scene.gate.opens.set()
    async with context.lanes["mail"].lock:
        assert rows(app, seen) == [{"status": "unsubscribed"}]
    await holds


def leaves(scene: Scene, app: App, email: str) -> None:
    """RocketResponder gives notice of somebody who unsubscribes there."""
    scene.mail.outgoing.clear()
    scene.mail.person_unsubscribes("154", email)
    hand_in(app, scene.mail.outgoing.popleft(), app.context.now())


@pytest.mark.parametrize("steps", range(5))
async def test_a_stop_is_not_lost_to_something_that_comes_in_with_it(scene: Scene, steps: int) -> None:
    app = scene.app()
    clock, now = asyncio.get_running_loop().time, app.outside.now
    rounds = Rounds(app, FAST, Live(clock, now, 60.0), Timers(clock, now, lambda: 0.0, app.log, 30.0))
    task = asyncio.create_task(rounds._came(60.0))
    await asyncio.sleep(0.01)
    rounds.came_in.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if task.done():
        return  # it came in before the stop
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
