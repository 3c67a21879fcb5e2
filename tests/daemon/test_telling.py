"""Who is told."""

from __future__ import annotations

import pytest
import structlog

from tests.daemon.scene import Scene, running, until

pytestmark = pytest.mark.loopback


async def test_people_are_told_when_an_account_needs_them_and_when_it_works_again(scene: Scene) -> None:
    app = scene.app(interval="100ms", SYNCD_NOTIFY__EVERY="50ms")
    with structlog.testing.capture_logs() as lines:
        async with running(app):
            await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
            scene.sales.password = "other"
            scene.sales.revoke_tokens()
            await until(lambda: any(line.get("about") == "account" for line in lines), "people are told")
            scene.sales.password = "sales-secret"
            app.carriers["sales"]._login_not_before = 0.0
            await until(lambda: sum(line.get("about") == "account" for line in lines) == 2, "they are told it is over")
    notices = [(line["account"], line["state"]) for line in lines if line.get("about") == "account"]
    assert notices == [("sales", "raised"), ("sales", "recovered")]
    assert not [line for line in lines if line["event"] == "daemon.broke"]
