"""What people ask the daemon for."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.app import wall_clock
from syncd.store import journal
from syncd.store.session import reading, writing
from syncd.sync import cycle
from tests.daemon.scene import Scene, running, until

pytestmark = pytest.mark.loopback


async def test_a_round_that_somebody_asks_for_is_done_and_answered(scene: Scene) -> None:
    app = scene.app()
    async with running(app):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        scene.rocs.add_member("L-1", scene.rocs.add_customer("cat@example.org"))
        with writing(app.engine) as connection:
            journal.ask_for_round(connection, "wish-1", ["crm"], False, wall_clock())
            journal.ask_for_round(connection, "wish-2", ["nobody"], False, wall_clock())

        def answered(wish: str) -> dict[str, Any] | None:
            with reading(app.engine) as connection:
                return journal.round_outcome(connection, wish)

        await until(lambda: answered("wish-1") and answered("wish-2"), "both are answered")
        done, refused = answered("wish-1"), answered("wish-2")
        assert scene.everywhere("cat@example.org")
    assert done is not None
    assert {entry["account"]: entry["result"] for entry in done["accounts"]}["crm"] == "success"
    assert refused == {"error": "no such account: nobody"}


async def test_a_round_that_breaks_is_answered_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    app = scene.app()
    async with running(app):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")

        def broken(*_: Any) -> Any:
            raise RuntimeError

        monkeypatch.setattr(cycle, "ingest_all", broken)
        with writing(app.engine) as connection:
            journal.ask_for_round(connection, "wish", [], False, wall_clock())

        def outcome() -> dict[str, Any] | None:
            with reading(app.engine) as connection:
                return journal.round_outcome(connection, "wish")

        await until(outcome, "it is answered")
        assert "error" in (outcome() or {})
