"""Webhooks are registered where providers take that."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from syncd.domain.errors import UnavailableError
from tests.daemon.scene import Scene, running, until

pytestmark = pytest.mark.loopback


async def test_the_webhook_is_registered_at_the_start_and_a_failure_is_tried_again(scene: Scene) -> None:
    scene.rocs.faults.clear()
    app = scene.app(SYNCD_RECEIVER__PUBLIC_URL="https://sync.example.org")
    register = app.context.lanes["crm"].provider.register  # type: ignore[attr-defined]
    tries = 0

    def failing_once(callback_url: str) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise UnavailableError("crm: post-webhooks: answered 503", call="post-webhooks")
        return register(callback_url)

    app.context.lanes["crm"].provider.register = failing_once  # type: ignore[attr-defined]
    with structlog.testing.capture_logs() as lines:
        async with running(app):
            await until(lambda: scene.rocs.registrations, "it is registered")
    assert [one.url for one in scene.rocs.registrations.values()] == ["https://sync.example.org/in/crm/webhook"]
    assert [line["account"] for line in lines if line["event"] == "webhook.not_registered"] == ["crm"]


async def test_a_registration_that_is_lost_there_or_has_an_old_secret_is_made_anew(scene: Scene) -> None:
    scene.rocs.faults.clear()
    public = {"SYNCD_RECEIVER__PUBLIC_URL": "https://sync.example.org", "SYNCD_SCHEDULE__REGISTER_EVERY": "100ms"}

    def secrets() -> list[str]:
        return [one.secret for one in scene.rocs.registrations.values()]

    async with running(scene.app(**public)):
        await until(lambda: secrets() == ["hook-secret"], "it is registered")
        scene.rocs.registrations.clear()
        await until(lambda: secrets() == ["hook-secret"], "it is registered anew")
    rotated = {"SYNCD_ACCOUNTS__CRM__WEBHOOK_SECRET": "newer\nhook-secret"}
    async with running(scene.app(**(public | rotated))):
        await until(lambda: secrets() == ["newer"], "it is registered with the new secret")
    posts = [call for call in scene.rocs.calls if call.method == "POST" and call.path == "/webhooks"]
    assert len(posts) == 3


async def test_no_webhook_is_registered_without_an_address_to_send_to(scene: Scene) -> None:
    async with running(scene.app()):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
    assert scene.rocs.registrations == {}
