"""What an operator sees: health, numbers, the status page."""

from __future__ import annotations

import re
from datetime import timedelta

import sqlalchemy as sa

from syncd.store import journal
from syncd.store.session import writing
from syncd.sync.ingest import unsubscribe
from tests.receiver.door import ANN, BASIC, JSON, LEAD, Door


async def test_it_is_ready_until_it_stops_or_the_mirror_does(door: Door) -> None:
    assert (await door.send("GET", "/livez")).status_code == 200
    assert (await door.send("GET", "/readyz")).json() == {"ready": True}
    door.draining = "syncd is stopping"
    stopping = await door.send("GET", "/readyz")
    assert (stopping.status_code, stopping.json()) == (503, {"ready": False, "reason": "syncd is stopping"})
    door.draining = ""
    with writing(door.app.engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    behind = await door.send("GET", "/readyz")
    assert behind.status_code == 503
    assert "revision 0001" in behind.json()["reason"]
    assert (await door.send("GET", "/livez")).status_code == 200


async def test_the_metrics_say_how_old_and_how_much(door: Door) -> None:
    await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    with writing(door.app.engine) as connection:
        journal.open_run(connection, "r1", "crm", door.now)
        journal.close_run(connection, "r1", door.now, "success", "", {})
        journal.open_run(connection, "r2", "mail", door.now)
        journal.close_run(connection, "r2", door.now, "failed", "no", {})
    door.now += timedelta(seconds=90)
    answer = await door.send("GET", "/metrics")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert float(lines["syncd_inbox_oldest_seconds"]) == 90
    assert float(lines["syncd_oldest_unpushed_unsubscribe_seconds"]) == 0
    ended = lines['syncd_run_last_success_timestamp_seconds{account="crm",provider="rocs"}']
    assert float(ended) == door.now.timestamp() - 90
    assert not any("mail" in name for name in lines if name.startswith("syncd_run_last"))
    assert lines["syncd_converged"] == "0.0"
    assert float(lines["syncd_distance"]) > 0
    assert lines['syncd_account_state{account="crm",provider="rocs",state="new"}'] == "1.0"
    for family in ("syncd_outbox_depth", "syncd_parked"):
        assert {name for name in lines if name.startswith(family)} == {
            f'{family}{{account="{lane.name}",provider="{lane.provider_name}"}}' for lane in door.context.lanes.values()
        }
    assert lines["syncd_held"] == "0.0"


async def test_an_unsubscribe_that_waits_grows_old_in_the_metrics(door: Door) -> None:
    unsubscribe(door.context, ANN, source="operator", evidence="called")
    await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    door.work()
    door.now += timedelta(seconds=45)
    text = (await door.send("GET", "/metrics")).text
    assert "syncd_oldest_unpushed_unsubscribe_seconds 45.0" in text
    assert 'syncd_outbox_depth{account="leads",provider="rokt"} 1.0' in text


async def test_the_status_page_shows_accounts_and_runs_escaped_and_nobody(door: Door) -> None:
    await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    door.work()
    with writing(door.app.engine) as connection:
        journal.update_account(connection, "crm", state="failing", reason="<script>alert(1)</script>", hint="")
        journal.open_run(connection, "r1", "crm", door.now)
        journal.close_run(connection, "r1", door.now, "failed", "answered <b>503</b>", {})
    answer = await door.send("GET", "/")
    assert answer.status_code == 200
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    assert "answered &lt;b&gt;" in answer.text
    assert "ann@example.org" not in answer.text
    assert "data-verdict>unreachable<" in answer.text
    assert {name for name in door.context.lanes if f'data-account="{name}"' in answer.text} == set(door.context.lanes)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_pages_load_nothing_from_elsewhere(sqlite_door: Door) -> None:
    for path in ("/", "/docs", "/unsubscribe/x"):
        text = (await sqlite_door.send("GET", path)).text
        assert not re.search(r"(src|href|action)=\"?(https?:)?//", text)
        assert "@import" not in text
