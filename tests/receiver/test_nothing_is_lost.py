"""Trouble behind the door, and content that nobody thought of: nothing is lost, and nothing breaks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.store import session
from syncd.store.session import open_engine, writing
from syncd.sync import one_click
from syncd.sync.ingest import ingest
from tests.receiver.door import ANN, BASIC, JSON, LEAD, Door, signed


async def test_nothing_is_taken_while_the_mirror_is_locked_and_everything_afterwards(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_TIMEOUT_S", 0.05)
    door = Door(sqlite_url, tmp_path)
    other = open_engine(sqlite_url)
    token = one_click.make_token(one_click.signing_key(door.app.engine), ANN)
    with writing(other):
        lead = await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
        click = await door.send("POST", f"/unsubscribe/{token}")
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in (lead, click)] == [(503, "30")] * 2
    assert (door.rows("SELECT id FROM inbox"), door.consent(), door.woken) == ([], {}, [])
    assert (await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)).status_code == 201
    assert (await door.send("POST", f"/unsubscribe/{token}")).status_code == 200
    other.dispose()
    door.app.engine.dispose()


@pytest.mark.parametrize("trouble", ["gone", "table"])
async def test_no_trouble_of_the_database_is_ever_answered_with_2xx(door: Door, trouble: str) -> None:
    token = one_click.make_token(one_click.signing_key(door.app.engine), ANN)
    door.context.sequence.take()
    sound = door.context.engine
    if trouble == "gone":
        door.context.engine = open_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    else:
        with writing(sound) as connection:
            connection.execute(sa.text("ALTER TABLE inbox RENAME TO away"))
            connection.execute(sa.text("ALTER TABLE agenda RENAME TO nowhere"))
    for path in ("/in/leads/leads", "/in/leads/unsubscribes"):
        answer = await door.send("POST", path, headers=BASIC | JSON, content=LEAD)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert answer.json() == {"status": "rejected", "error": "not now; send it again"}
    assert (await door.send("POST", f"/unsubscribe/{token}")).status_code == 503
    assert door.woken == []
    door.context.engine = sound


texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["email", "firstname", "campaign_id", "emailsha256", "dob", "mobile", "id", "event", "customer"]
)
objects = st.dictionaries(names | texts, values | st.just("ann@example.org"), max_size=6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=objects, route=st.sampled_from(["/in/leads/leads", "/in/leads/unsubscribes", "/in/crm/webhook"]))
def test_no_content_of_a_genuine_delivery_breaks_the_door_or_the_reading_behind_it(
    door: Door, content: dict[str, Any], route: str
) -> None:
    body = json.dumps(content).encode()
    headers = signed(body) if "crm" in route else BASIC | JSON
    answer = asyncio.run(door.send("POST", route, headers=headers, content=body))
    assert answer.status_code in {200, 201, 400, 413}
    ingest(door.context)


paths = st.lists(
    st.sampled_from(["in", "leads", "mail", "unsubscribe", "%00", "%2F", "%ff", "..", "", "a b", "é"]), max_size=6
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    parts=paths,
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    body=st.binary(max_size=200),
    kind=st.sampled_from(
        ["application/json", "application/xml", "text/plain", "multipart/form-data", "", "x/y; charset=z"]
    ),
)
def test_no_request_of_a_stranger_breaks_the_door(
    sqlite_door: Door, parts: list[str], method: str, body: bytes, kind: str
) -> None:
    answer = asyncio.run(
        sqlite_door.send(
            method, "http://syncd.test/" + "/".join(parts), headers=BASIC | {"content-type": kind}, content=body
        )
    )
    assert answer.status_code < 500
