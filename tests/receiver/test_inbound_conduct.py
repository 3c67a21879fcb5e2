"""Inbound faults by number, I-11 to I-18: two readings of one request, floods, and what content may do."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import httpx
import pytest
import structlog

from syncd.receiver.limits import Limit
from syncd.store import session
from syncd.store.session import open_engine, writing
from syncd.sync import one_click
from tests.receiver.door import ANN, BASIC, FORM, JSON, LEAD, Door, signed
from tests.receiver.wire import PROVED, head, raw
from tests.world import CONFIG

# I-11: two readers ----------------------------------------------------------------------------------------------------

HIDDEN = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
SMUGGLED = {
    "two lengths": head("POST", "/in/leads/leads", *PROVED[:2], "content-length: 3", "content-length: 40") + HIDDEN,
    "length and chunks": head(
        "POST", "/in/leads/leads", *PROVED[:2], "content-length: 40", "transfer-encoding: chunked"
    )
    + b"0\r\n\r\n"
    + HIDDEN,
    "chunks and length": head("POST", "/in/leads/leads", *PROVED[:2], "Transfer-Encoding: chunked", "Content-Length: 5")
    + b"0\r\n\r\n"
    + HIDDEN,
    "chunks under another name": head("POST", "/in/leads/leads", *PROVED[:2], "transfer-encoding: xchunked")
    + b"0\r\n\r\n"
    + HIDDEN,
    "chunks twice": head("POST", "/in/leads/leads", *PROVED[:2], "transfer-encoding: chunked, chunked")
    + b"0\r\n\r\n"
    + HIDDEN,
    "a blank before the colon": head("POST", "/in/leads/leads", *PROVED[:2], "content-length : 3") + HIDDEN,
    "a length below zero": head("POST", "/in/leads/leads", *PROVED[:2], "content-length: -1") + HIDDEN,
    "a length in hexadecimal": head("POST", "/in/leads/leads", *PROVED[:2], "content-length: 0x3") + HIDDEN,
    "chunks in HTTP/1.0": head("POST", "/in/leads/leads", *PROVED[:2], "transfer-encoding: chunked").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    )
    + b"0\r\n\r\n"
    + HIDDEN,
    "a whole address": head("GET", "http://127.0.0.1/metrics", "connection: close"),
    "an address without a slash": head("GET", "metrics", "connection: close"),
    "a star": head("OPTIONS", "*", "connection: close"),
    "HTTP/0.9": b"GET /metrics\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET /metrics HTTP/1.1\r\n\r\n",
    "two hosts": head("GET", "/metrics", "host: y", "connection: close"),
    "a NUL in a header": head("GET", "/metrics", "x: \0"),
}


@pytest.mark.loopback
async def test_i11_what_two_readers_could_read_as_two_requests_is_refused(sqlite_door: Door) -> None:
    async with sqlite_door.listening() as port:
        for how, request in SMUGGLED.items():
            answer = await raw(port, request)
            assert answer.startswith(b"HTTP/1.1 400"), (how, answer[:60])
            assert answer.count(b"HTTP/1.1 ") == 1, f"{how}: what was hidden in it was answered"
            assert b"syncd_" not in answer, how
    assert sqlite_door.rows("SELECT id FROM inbox") == []


PATHS = [
    "/in//leads/leads", "//in/leads/leads", "/in/leads/leads/", "/x/../in/leads/leads", "/in/crm/../leads/leads",
    "/in/./leads/leads", "/in/leads/%2e%2e/leads/leads", "/in/leads%2Fleads", "/in%2fleads%2fleads", "/IN/leads/leads",
    "/in/leads/leads%00", "/in/leads/leads;x=1", "/in\\leads\\leads", "/in/leads/leads%20", "/in/LEADS/leads",
]  # fmt: skip


@pytest.mark.loopback
async def test_i11_a_path_is_what_it_is_spelt_and_nothing_else(sqlite_door: Door) -> None:
    async with sqlite_door.listening() as port:
        for path in PATHS:
            lead = head("POST", path, *PROVED, f"content-length: {len(LEAD)}") + LEAD
            answer = await raw(port, lead)
            assert answer.split(b" ", 2)[1] in {b"400", b"404"}, path
    assert sqlite_door.rows("SELECT id FROM inbox") == []


async def test_i11_a_method_is_not_another_one_in_disguise(sqlite_door: Door) -> None:
    path = "/in/leads/unsubscribes?email=ann@example.org"
    token = one_click.make_token(one_click.signing_key(sqlite_door.app.engine), ANN)
    for by in ("x-http-method-override", "x-http-method", "x-method-override", "_method"):
        for method in ("GET", "DELETE"):
            answer = await sqlite_door.send(method, f"{path}&{by}=POST", headers=BASIC | {by: "POST"})
            assert answer.status_code == 405
        shown = await sqlite_door.send("GET", f"/unsubscribe/{token}?{by}=POST", headers={by: "POST"})
        assert shown.status_code == 200
    assert sqlite_door.consent() == {}


# I-12, I-13, I-14: what content may do --------------------------------------------------------------------------------


async def test_i12_somebody_in_an_address_is_refused_and_stands_in_no_log(sqlite_door: Door) -> None:
    with structlog.testing.capture_logs() as lines:
        for path in ("/in/leads/leads", "/in/leads/unsubscribes", "/in/nobody/leads", "/nowhere", "/livez"):
            answer = await sqlite_door.send("GET", f"{path}?email=ann@example.org&firstname=Ann", headers=BASIC)
            assert answer.status_code == {"/livez": 200}.get(path, 404 if "no" in path else 405)
        await sqlite_door.send("POST", "/unsubscribe/" + "ann@example.org")
        await sqlite_door.send("ANN", "/ann@example.org", headers={"user-agent": "ann@example.org"})
    assert len([line for line in lines if line["event"] == "request"]) == 7
    assert "ann" not in str(lines).lower()


async def test_i12_each_request_is_one_line_that_tells_of_nobody(sqlite_door: Door) -> None:
    with structlog.testing.capture_logs() as lines:
        await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
        await sqlite_door.send("GET", "/unsubscribe/abcdef")
        await sqlite_door.send("POST", "/in/stranger/leads", content=b"{}")
    told = [line for line in lines if line["event"] == "request"]
    shown = [(line["method"], line["route"], line["status"], line["account"], line["taken"]) for line in told]
    assert shown == [
        ("POST", "/in/{account}/leads", 201, "leads", len(LEAD)),
        ("GET", "/unsubscribe/{token}", 404, None, 0),
        ("POST", "/in/{account}/leads", 404, None, 0),
    ]
    assert all(line["ms"] >= 0 and line["given"] > 0 for line in told)


async def test_i12_the_lines_can_be_left_out(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, SYNCD_RECEIVER__ACCESS_LOG="false")
    with structlog.testing.capture_logs() as lines:
        await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    assert [line["event"] for line in lines] == ["delivery.taken"]
    door.app.engine.dispose()


@pytest.mark.loopback
async def test_i13_no_address_in_what_is_sent_is_ever_called(sqlite_door: Door) -> None:
    calls: list[bytes] = []

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read(100))
        writer.close()

    trap = await asyncio.start_server(called, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{trap.sockets[0].getsockname()[1]}/"
    names = ("callback", "callback_url", "avatar", "base_url", "webhook", "firstname", "source", "$ref", "url")
    body = json.dumps({"email": "ann@example.org", **dict.fromkeys(names, url)}).encode()
    notice = json.dumps({"id": "1", "event": "customer.updated", "customer": {"id": "7", "avatar": url}}).encode()
    await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON | {"origin": url}, content=body)
    await sqlite_door.send("POST", "/in/crm/webhook", headers=signed(notice) | {"link": url}, content=notice)
    sqlite_door.work()
    await asyncio.sleep(0)
    assert calls == []
    trap.close()


INJECTED = '\r\n{"event":"forged"}\x1b[2J\x1b]0;x\x07<script>alert(1)</script>=cmd|\'/c calc\'!A1\';DROP TABLE cell;--'


async def test_i14_what_people_are_called_is_only_ever_text(
    sqlite_door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    body = json.dumps({"email": "ann@example.org", "firstname": INJECTED, "campaign_id": INJECTED[:30]}).encode()
    taken = await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=body)
    assert taken.status_code == 201
    sqlite_door.work()
    page = (await sqlite_door.send("GET", "/")).text
    assert "<script" not in page
    assert sqlite_door.rows("SELECT identity FROM cell") == [{"identity": "ann@example.org"}]
    printed = capsys.readouterr().out
    for line in printed.splitlines():
        assert json.loads(line)["event"] != "forged"
    assert "\x1b" not in printed


# I-15: floods ---------------------------------------------------------------------------------------------------------


def lead(n: int) -> bytes:
    return b'{"email":"a%d@example.org"}' % n


async def test_i15_a_flood_of_leads_is_turned_away_and_no_unsubscribe_with_it(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, SYNCD_RECEIVER__LEADS_PER_MINUTE="5", SYNCD_RECEIVER__NOTICES_PER_MINUTE="2")
    async with door.client() as client:
        leads = [await client.post("/in/leads/leads", headers=BASIC | JSON, content=lead(n)) for n in range(8)]
        noes = [await client.post("/in/leads/unsubscribes", headers=BASIC | JSON, content=lead(n)) for n in range(8)]
        opens = [
            await client.post(f"/in/mail/154/open/mail%2Fhook+1?{n}", headers=FORM, content=b"Email=a%40b.se")
            for n in range(3)
        ]
        left = await client.post("/in/mail/154/unsubscribe/mail%2Fhook+1", headers=FORM, content=b"Email=a%40b.se")
    assert [answer.status_code for answer in leads] == [201] * 5 + [429] * 3
    assert 1 <= int(leads[-1].headers["retry-after"]) <= 12
    assert leads[-1].json() == {"status": "rejected", "error": "too many at once; send it again later"}
    assert [answer.status_code for answer in noes] == [201] * 8
    assert [answer.status_code for answer in opens] == [200, 200, 429]
    assert left.status_code == 200
    door.app.engine.dispose()


async def test_i15_who_cannot_prove_themselves_uses_up_nothing_of_who_can(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, SYNCD_RECEIVER__REFUSED_PER_MINUTE="3", SYNCD_RECEIVER__LEADS_PER_MINUTE="1")
    bad = JSON | {"authorization": "Basic bm86bm8="}
    async with door.client() as client:
        guesses = [await client.post("/in/leads/leads", headers=bad, content=LEAD) for _ in range(5)]
        good = await client.post("/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    assert [answer.status_code for answer in guesses] == [401] * 3 + [429] * 2
    assert good.status_code == 201
    door.app.engine.dispose()


def test_i15_a_bucket_fills_again_and_there_are_never_too_many() -> None:
    now = [0.0]
    limit = Limit(60, lambda: now[0], buckets_max=100)
    assert [limit.take("a") for _ in range(61)] == [0] * 60 + [1]
    now[0] = 1.0
    assert [limit.take("a") for _ in range(2)] == [0, 1]
    now[0] = 1000.0
    assert [limit.take("a") for _ in range(61)] == [0] * 60 + [1]
    for n in range(1000):
        limit.take(n)
    assert len(limit._buckets) == 100
    slow = Limit(2, lambda: now[0])
    assert [slow.take("a") for _ in range(3)] == [0, 0, 30]


@pytest.mark.loopback
async def test_i15_idle_connections_keep_nobody_out(hasty_door: Door) -> None:
    async with hasty_door.listening() as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/livez")).status_code == 200
            body = b'{"email":"ann@example.org"}'
            no = await client.post("/in/leads/unsubscribes", headers=BASIC | JSON, content=body)
            assert no.status_code == 201
        closed = [await asyncio.wait_for(reader.read(), 5) for reader, _ in idle]
        assert closed == [b""] * 40
        for _, writer in idle:
            writer.close()


# I-16, I-17, I-18 -----------------------------------------------------------------------------------------------------


async def test_i16_while_the_mirror_is_down_everybody_is_asked_to_come_again(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_TIMEOUT_S", 0.02)
    door = Door(sqlite_url, tmp_path)
    other = open_engine(sqlite_url)
    senders = {"leads/leads": BASIC | JSON, "leads/unsubscribes": BASIC | JSON, "crm/webhook": signed(LEAD)}
    with writing(other):
        for path, headers in senders.items():
            answer = await door.send("POST", f"/in/{path}", headers=headers, content=LEAD)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "30"), path
    other.dispose()
    door.app.engine.dispose()


TWO_SENDERS = (
    CONFIG
    + """
[accounts.others]
provider = "rokt"
unsubscribe_url = "http://127.0.0.1:8704/1.0/nurture/unsubscribe"
api_key = "other-key"
inbound_auth = {{ kind = "basic", username = "rokt", password = "other-secret" }}
"""
)


async def test_i18_what_opens_one_door_opens_no_other(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=TWO_SENDERS)
    other = {"authorization": "Basic " + base64.b64encode(b"rokt:other-secret").decode()}
    for account, credential in (("leads", other), ("others", BASIC)):
        for route in ("leads", "unsubscribes"):
            answer = await door.send("POST", f"/in/{account}/{route}", headers=credential | JSON, content=LEAD)
            assert answer.status_code == 401
    everything = BASIC | signed(LEAD) | {"x-api-key": "rokt-key"}
    for path in ("/in/mail/154/unsubscribe/hook-secret", "/in/mail/154/open/rokt-secret"):
        assert (await door.send("POST", path, headers=everything | FORM, content=LEAD)).status_code == 401
    mine = signed(LEAD, b"rokt-secret") | BASIC
    assert (await door.send("POST", "/in/crm/webhook", headers=mine, content=LEAD)).status_code == 401
    assert door.rows("SELECT id FROM inbox") == []
    door.app.engine.dispose()
