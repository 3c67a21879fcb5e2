"""The door as the daemon opens it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from syncd.app import App, Outside
from syncd.config import load
from syncd.daemon import PACE, serve
from tests.receiver.door import FORMED

pytestmark = pytest.mark.loopback


async def test_a_wish_is_mailed_and_confirmed_at_the_running_daemon_which_holds_its_limits(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {"first_sync": "go", "max_count": 20, "on_unsubscribe": "remove", "on_absence": "ignore", "sales_list": "s"}
    (tmp_path / "syncd.toml").write_text(FORMED.format(url=sqlite_url, **told))
    settings = load(tmp_path / "syncd.toml", {"SYNCD_RECEIVER__LISTEN": "127.0.0.1:0"})
    away = httpx.MockTransport(lambda _: httpx.Response(503))
    app = App(settings, Outside(transport=away, read_backoff_s=0.001))
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    pace = replace(PACE, tick_s=0.02, drain_s=0.5)
    daemon = asyncio.create_task(serve(app, stop=stop, ready=address.set_result, pace=pace))
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=await address) as client:
        many = await client.get("/livez", headers={f"x-{n}": "y" for n in range(120)})
        asked = await client.post("/subscribe/newsletter", data={"email": "ann@example.org"})
        assert (many.status_code, asked.status_code) == (431, 200)
        link = (await _mail(tmp_path / "mails"))["link"]
        assert (await client.post(httpx.URL(link).path)).status_code == 200
        status = (await client.get("/metrics")).text
        assert 'syncd_account_state{account="forms"' in status
    stop.set()
    await daemon
    await app.aclose()


async def _mail(path: Path) -> dict[str, str]:
    """The mail, once the program has it whole."""
    while not _whole(path):  # noqa: ASYNC110  a program writes it
        await asyncio.sleep(0.01)
    found: dict[str, str] = json.loads(_whole(path))
    return found


def _whole(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("}") else ""
