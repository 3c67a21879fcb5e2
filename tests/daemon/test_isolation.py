"""Nobody waits for another."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from syncd.emulators.emulator import FaultKind
from syncd.store import journal, meters
from syncd.store.session import writing
from syncd.sync import steer
from tests.daemon.scene import ANN, Scene, quiet, rows, running, until

pytestmark = pytest.mark.loopback


async def test_an_account_that_hangs_keeps_no_other_waiting(scene: Scene) -> None:
    people = [f"p{number}@example.org" for number in range(8)]
    for email in people:
        scene.rocs.add_member("L-1", scene.rocs.add_customer(email))
    async with running(scene.app(interval="300ms")) as daemon:
        await until(lambda: all(scene.everywhere(email) for email in people), "all are everywhere")
        scene.gate.hanging = "127.0.0.1:8702"
        await until(lambda: scene.gate.hung, "a call hangs")
        for email in people:  # more than there are accounts, one after the other
            await daemon.says_no({"email": email})
            await until(lambda: scene.in_rocs[email] == "unsubscribed", "ROCS knows")  # noqa: B023  awaited at once
            await until(lambda: scene.in_mail[email].lower() == "unsubscribed", "RocketResponder knows")  # noqa: B023
        scene.rocs.add_member("L-1", scene.rocs.add_customer("new@example.org"))
        await until(lambda: "new@example.org" in scene.in_mail, "ROCS is still read")
        assert scene.in_sales >= set(people)
        scene.gate.hanging = ""


async def test_a_fault_in_one_account_is_written_down_and_stops_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = scene.app(interval="50ms")

    def broken() -> Any:
        raise RuntimeError("ann@example.org is at fault")

    monkeypatch.setattr(app.context.lanes["sales"].provider, "containers", broken)
    with structlog.testing.capture_logs() as lines:
        async with running(app):
            await until(lambda: scene.in_mail.get("ann@example.org"), "Ann is at RocketResponder")
            await until(
                lambda: sum(line["event"] == "account.fault" for line in lines) >= 2, "it was tried more than once"
            )
    faults = [line for line in lines if line["event"] == "account.fault"]
    assert {(line["account"], line["error"]) for line in faults} == {("sales", "RuntimeError")}
    assert not [line for line in lines if line["event"] == "daemon.broke"]
    assert "ann@" not in str(lines)


async def test_a_provider_that_is_away_is_not_called_at_every_tick(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = 0
    look = meters.anything_due

    def counted(*given: Any) -> bool:
        nonlocal ticks
        ticks += 1
        return look(*given)

    monkeypatch.setattr(meters, "anything_due", counted)
    async with running(scene.app(interval="1h")) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        scene.mail.fault_kinds, scene.mail.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
        await daemon.says_no(ANN)
        await until(lambda: scene.in_rocs["ann@example.org"] == "unsubscribed", "ROCS knows")
        await until(
            lambda: rows(daemon.app, "SELECT 1 AS x FROM account WHERE name = 'mail' AND state = 'failing'"), "it fails"
        )
        calls = 0

        def ticks_without_a_call() -> int:
            nonlocal ticks, calls
            if calls != len(scene.gate.urls):  # between two passes of a round nothing is locked, and more is to come
                ticks, calls = 0, len(scene.gate.urls)
            return ticks

        await until(lambda: ticks_without_a_call() > 10, "some ticks have passed, and nobody was called")


async def test_nothing_is_sent_to_an_account_that_a_person_paused(scene: Scene) -> None:
    app = scene.app()
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org") and quiet(app), "Ann is everywhere")
        with writing(app.engine) as connection:
            journal.update_account(connection, "mail", state="paused")
        calls = len(scene.mail.calls)
        await daemon.says_no(ANN)
        await until(lambda: scene.in_rocs["ann@example.org"] == "unsubscribed", "ROCS knows")
        await until(lambda: "ann@example.org" not in scene.in_sales, "Sales.Rocks knows")
    assert len(scene.mail.calls) == calls


async def test_a_no_does_not_wait_for_the_additions_before_it(scene: Scene) -> None:
    app = scene.app(SYNCD_GUARD__MAX_SHARE="1", SYNCD_GUARD__MAX_COUNT="100000")
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org") and quiet(daemon.app), "Ann is everywhere")
        scene.gate.delay_s["127.0.0.1:8703"] = 0.05
        for number in range(60):
            scene.rocs.add_member("L-1", scene.rocs.add_customer(f"new{number}@example.net"))
        steer.ask_for_round(daemon.app.context, ["crm"])
        under_way = "SELECT 1 FROM op WHERE account = 'mail' AND kind = 'subscribe' AND state = 'inflight'"
        await until(lambda: rows(daemon.app, under_way), "somebody is being added")
        before = len(scene.mail.calls)
        await daemon.says_no(ANN)
        await until(lambda: scene.in_mail["ann@example.org"].lower() == "unsubscribed", "RocketResponder knows")
        assert len(scene.mail.calls) - before < 20
        await until(lambda: "new59@example.net" in scene.in_mail, "nobody is forgotten for that")
