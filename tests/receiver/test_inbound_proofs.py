"""Inbound faults by number, I-2 to I-6: who repeats, who forges, and secrets that are none."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

import syncd.sync.ingest
from syncd.config import load
from syncd.domain.errors import ConfigurationError
from tests.receiver.door import BASIC, FORM, JSON, LEAD, Door, signed
from tests.receiver.wire import NOTICE, WITH_TIME, mac
from tests.world import CONFIG

# I-2, I-3: once -------------------------------------------------------------------------------------------------------


async def test_i2_the_same_notice_a_hundred_times_at_once_is_one(sqlite_door: Door) -> None:
    async with sqlite_door.client() as client:
        answers = await asyncio.gather(
            *(client.post("/in/crm/webhook", headers=signed(NOTICE), content=NOTICE) for _ in range(100))
        )
    assert [answer.status_code for answer in answers] == [200] * 100
    assert len(sqlite_door.rows("SELECT id FROM inbox")) == 1


async def test_i3_whoever_was_not_told_because_we_died_sends_again_and_is_a_duplicate(
    sqlite_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = syncd.sync.ingest.accept

    def dies(*given: Any) -> Any:
        real(*given)
        raise ConnectionAbortedError

    with monkeypatch.context() as patch:
        patch.setattr(syncd.sync.ingest, "accept", dies)
        first = await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    again = await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    assert (first.status_code, again.status_code, again.json()["status"]) == (503, 200, "duplicate")
    assert len(sqlite_door.rows("SELECT id FROM inbox")) == 1


# I-4, I-5: signatures -------------------------------------------------------------------------------------------------

RIGHT = mac(NOTICE)
FORGED = {
    "none": None,
    "empty": "",
    "the name alone": "sha256=",
    "of another body": f"sha256={mac(b'{}')}",
    "with another secret": f"sha256={mac(NOTICE, b'another')}",
    "with no secret": f"sha256={mac(NOTICE, b'')}",
    "truncated": f"sha256={RIGHT[:-1]}",
    "longer": f"sha256={RIGHT}0",
    "without its name": RIGHT,
    "of another kind": f"sha1={RIGHT}",
    "in upper case": f"sha256={RIGHT.upper()}",
    "in base64": f"sha256={base64.b64encode(bytes.fromhex(RIGHT)).decode()}",
    "the second of three": f"sha256={mac(b'a')}, sha256={RIGHT}, sha256={mac(b'b')}",
    "of the body written anew": f"sha256={mac(json.dumps(json.loads(NOTICE)).encode())}",
}


async def test_i4_only_the_signature_of_the_raw_bytes_passes(sqlite_door: Door) -> None:
    found = {}
    for how, given in FORGED.items():
        headers = JSON | ({} if given is None else {"x-rocs-signature": given})
        found[how] = (await sqlite_door.send("POST", "/in/crm/webhook", headers=headers, content=NOTICE)).status_code
    assert found == dict.fromkeys(FORGED, 401)
    assert sqlite_door.rows("SELECT id FROM inbox") == []
    right = await sqlite_door.send("POST", "/in/crm/webhook", headers=signed(NOTICE), content=NOTICE)
    assert right.status_code == 200


async def test_i4_a_signature_that_comes_twice_is_none(sqlite_door: Door) -> None:
    twice = [("x-rocs-signature", f"sha256={mac(b'x')}"), ("x-rocs-signature", f"sha256={RIGHT}")]
    answer = await sqlite_door.send("POST", "/in/crm/webhook", headers=twice, content=NOTICE)
    assert answer.status_code == 401
    two = [("authorization", BASIC["authorization"]), ("authorization", "Basic bm86bm8="), *JSON.items()]
    assert (await sqlite_door.send("POST", "/in/leads/leads", headers=two, content=LEAD)).status_code == 401


async def test_i4_while_they_are_exchanged_the_old_and_the_new_secret_open_every_kind_of_door(
    sqlite_url: str, tmp_path: Path
) -> None:
    config = (
        CONFIG.replace('password = "rokt-secret"', 'password = ["newer", "rokt-secret"]')
        .replace('webhook_secret = "hook-secret"', 'webhook_secret = ["newer", "hook-secret"]')
        .replace('webhook_secret = "mail-hook"', 'webhook_secret = ["newer", "older"]')
    )
    door = Door(sqlite_url, tmp_path, config=config)
    for password, status in (("newer", 200), ("rokt-secret", 200), ("oldest", 401)):
        pair = {"authorization": "Basic " + base64.b64encode(f"rokt:{password}".encode()).decode()}
        answer = await door.send("POST", "/in/leads/leads?test=true", headers=JSON | pair, content=LEAD)
        assert answer.status_code in ({200, 201} if status == 200 else {401})
    for secret in (b"newer", b"hook-secret"):
        answer = await door.send("POST", "/in/crm/webhook", headers=signed(NOTICE, secret), content=NOTICE)
        assert answer.status_code == 200
    for last, status in (("newer", 200), ("older", 200), ("oldest", 401)):
        answer = await door.send("POST", f"/in/mail/154/open/{last}", headers=FORM, content=b"Email=ann%40example.org")
        assert answer.status_code == status
    door.app.engine.dispose()


TIMES = {"now": 0, "at the edge": -300, "a little ahead": 299, "old": -301, "ahead": 301, "from another age": -(10**9)}


async def test_i5_a_signature_with_a_time_is_good_for_a_few_minutes(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=WITH_TIME)

    async def sent(at: str, n: int) -> httpx.Response:
        body, shown = NOTICE.replace(b"evt-1", b"evt-%d" % n), at.encode()
        headers = {b"x-rocs-timestamp": shown, b"x-rocs-signature": b"sha256=" + mac(shown + b"." + body).encode()}
        return await door.send("POST", "/in/crm/webhook", headers=headers, content=body)

    for n, (when, seconds) in enumerate(TIMES.items()):
        at = str(int((door.now + timedelta(seconds=seconds)).timestamp()))
        answer, again = await sent(at, n), await sent(at, n)
        assert answer.status_code == again.status_code == (200 if abs(seconds) <= 300 else 401), when
        if answer.status_code == 200:
            assert again.json() == {"status": "duplicate", "id": answer.json()["id"]}, "the same again is no new effect"
    assert len(door.rows("SELECT id FROM inbox")) == 3
    for at in ("", "soon", "1e9", "-5", "\uff19\uff19", "9" * 400, "2026-11-21T12:00:00Z"):
        assert (await sent(at, 99)).status_code == 401, at
    bare = await door.send("POST", "/in/crm/webhook", headers=signed(NOTICE), content=NOTICE)
    assert bare.status_code == 401
    door.app.engine.dispose()


# I-6: secrets ---------------------------------------------------------------------------------------------------------

TOLD = {"first_sync": "go", "max_count": 20, "on_unsubscribe": "remove", "on_absence": "ignore", "sales_list": "s"}
UNFIT = ["", "  ", "…", "...", "changeme", "CHANGE_ME", "<secret>", "your-secret-here", "xxxx", "placeholder"]


@pytest.mark.parametrize(
    "line",
    ['password = "rokt-secret"', 'webhook_secret = "hook-secret"', 'webhook_secret = "mail-hook"'],
    ids=["leads", "crm", "mail"],
)
def test_i6_nothing_starts_with_a_secret_that_is_none(tmp_path: Path, line: str) -> None:
    key = line.partition(" =")[0]
    file = tmp_path / "syncd.toml"
    for secret in UNFIT:
        file.write_text(CONFIG.replace(line, f'{key} = "{secret}"').format(url="sqlite:////nowhere.db", **TOLD))
        with pytest.raises(ConfigurationError) as raised:
            load(file, {})
        assert [problem.where.rpartition(".")[2] for problem in raised.value.problems] == [key], secret


def test_i6_nothing_starts_without_the_credential_of_whoever_sends_leads(tmp_path: Path) -> None:
    file = tmp_path / "syncd.toml"
    auth = next(line for line in CONFIG.splitlines() if line.startswith("inbound_auth"))
    file.write_text(CONFIG.replace(auth, "").format(url="sqlite:////nowhere.db", **TOLD))
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    assert [problem.where for problem in raised.value.problems] == ["accounts.leads.inbound_auth"]


async def test_i6_where_notices_have_no_secret_none_is_taken(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=CONFIG.replace('webhook_secret = "hook-secret"\n', ""))
    for secret in (b"", b"hook-secret", b"None"):
        answer = await door.send("POST", "/in/crm/webhook", headers=signed(NOTICE, secret), content=NOTICE)
        assert answer.status_code == 401
    door.app.engine.dispose()
