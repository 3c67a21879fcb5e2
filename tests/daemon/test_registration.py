"""Webhooks are registered where providers take that."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from syncd.daemon.pace import PACE
from syncd.daemon.registration import Registration
from syncd.domain.errors import UnavailableError
from syncd.store.session import open_engine
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


class Noting:
    """Takes registrations as ROCS does, which shows no secrets: one that is there stays as it is, unless made anew."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.free = asyncio.Event()
        self.free.set()

    def lane(self, name: str, secret: str, *, slow: bool = False) -> Any:
        async def carry(asked: tuple[str, bool]) -> str:
            if slow:
                await self.free.wait()
            if asked[1] or name not in self.secrets:
                self.secrets[name] = secret
            return "id"

        def register(url: str, *, anew: bool = False) -> tuple[str, bool]:
            return url, anew

        return SimpleNamespace(
            name=name, provider=SimpleNamespace(register=register), carrier=SimpleNamespace(carry=carry)
        )


async def test_a_secret_that_is_exchanged_while_others_are_registered_is_the_one_that_stays(
    migrated_url: str,
) -> None:
    noting = Noting()
    options = {name: SimpleNamespace(webhook_secret=(SecretStr(name),)) for name in ("same", "old", "new")}
    settings = SimpleNamespace(
        accounts={"a": options["same"], "b": options["old"]},
        receiver=SimpleNamespace(public_url="https://sync.example.org"),
        schedule=SimpleNamespace(register_every=3600),
    )
    lanes = {"a": noting.lane("a", "same", slow=True), "b": noting.lane("b", "old")}
    engine = open_engine(migrated_url)
    app: Any = SimpleNamespace(
        engine=engine, log=structlog.get_logger(), context=SimpleNamespace(lanes=lanes), settings=settings
    )
    registration = Registration(app, PACE)
    await registration.register()
    noting.free.clear()
    hourly = asyncio.create_task(registration.register())
    await asyncio.sleep(0)
    app.context.lanes = lanes | {"b": noting.lane("b", "new")}
    settings.accounts = {"a": options["same"], "b": options["new"]}
    reloaded = asyncio.create_task(registration.again())
    await asyncio.sleep(0)
    noting.free.set()
    await asyncio.gather(hourly, reloaded)
    await registration.register()
    engine.dispose()
    assert noting.secrets == {"a": "same", "b": "new"}
