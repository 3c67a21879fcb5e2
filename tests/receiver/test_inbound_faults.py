"""What strangers, tired networks and odd senders do to the door, by number: each is refused, and none is felt."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hmac
import json
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

import syncd.sync.ingest
from syncd.config import load
from syncd.domain.errors import ConfigurationError
from syncd.receiver.bounds import depth_of
from syncd.receiver.limits import Limit
from syncd.store import session
from syncd.store.session import open_engine, writing
from syncd.sync import one_click
from tests.receiver.door import ANN, BASIC, FORM, JSON, LEAD, Door, signed
from tests.world import CONFIG

NOTICE = b'{"id":"evt-1","event":"customer.updated","customer":{"id":"7","email":"ann@example.org"}}'
SECRET = b"hook-secret"
WITH_TIME = CONFIG.replace(
    'webhook_secret = "hook-secret"',
    'webhook_secret = ["newer", "hook-secret"]\nwebhook_timestamp_header = "X-ROCS-Timestamp"',
)


def mac(content: bytes, secret: bytes = SECRET) -> str:
    return hmac.new(secret, content, sha256).hexdigest()


async def raw(port: int, request: bytes, *, wait_s: float = 5.0) -> bytes:
    """What comes back over a socket until the other side is done or the time is up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(wait_s):
            for at in range(0, len(request), 65536):
                writer.write(request[at : at + 65536])
                await writer.drain()
            while chunk := await reader.read(65536):
                answer += chunk
    writer.close()
    return answer


def head(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "host: x", *headers, "", ""]).encode("latin-1")


PROVED = (f"authorization: {BASIC['authorization']}", "content-type: application/json", "connection: close")

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


# I-7, I-8, I-9: too much ----------------------------------------------------------------------------------------------


@pytest.fixture
def hasty_door(sqlite_url: str, tmp_path: Path) -> Iterator[Door]:
    found = Door(
        sqlite_url,
        tmp_path,
        SYNCD_RECEIVER__BODY_TIMEOUT="200ms",
        SYNCD_RECEIVER__HEADER_TIMEOUT="1s",
        SYNCD_RECEIVER__CONNECTIONS_MAX="8",
        SYNCD_RECEIVER__BODY_BYTES_MAX=str(256 * 1024),
    )
    yield found
    found.app.engine.dispose()


CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"
TOO_MUCH = {
    "10 MB, declared": (head("POST", "/in/leads/leads", *PROVED, "content-length: 10485760"), {413}),
    "10 MB, sent": (
        head("POST", "/in/leads/leads", *PROVED[:2], "transfer-encoding: chunked") + CHUNK * 2560 + b"0\r\n\r\n",
        {413},
    ),
    "10,000 headers": (head("POST", "/in/leads/leads", *PROVED, *(f"x-{n}: y" for n in range(10_000))), {400, 431}),
    "101 headers": (head("GET", "/livez", "connection: close", *(f"x-{n}: y" for n in range(99))), {431}),
    "a header of 1 MB": (head("GET", "/livez", "x: " + "y" * 1_048_576), {400, 431}),
    "an address of 1 MB": (head("GET", "/livez?" + "y" * 1_048_576), {400, 431}),
    "an address of 20 kB": (head("GET", "/livez?" + "y" * 20_000, "connection: close"), {400, 431}),
}


@pytest.mark.loopback
async def test_i7_too_much_is_refused_at_once_and_is_not_kept(hasty_door: Door) -> None:
    async with hasty_door.listening() as port:
        for how, (request, statuses) in TOO_MUCH.items():
            tracemalloc.start()
            answer = await raw(port, request)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert int(answer.split(b" ", 2)[1]) in statuses, how
            assert most < 4 * 1024 * 1024, f"{how}: of which the client's own reading and ours are a part"
        assert (await raw(port, head("GET", "/livez", "connection: close"))).startswith(b"HTTP/1.1 200")


@pytest.mark.loopback
async def test_i7_slow_senders_are_let_go(hasty_door: Door) -> None:
    async def drips(start: bytes, drop: bytes) -> bytes:
        """A byte now and then, until the other side has enough."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        dripping = asyncio.create_task(_drip(writer, drop))
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(65536), 5)
            while await asyncio.wait_for(reader.read(65536), 5):
                pass
        dripping.cancel()
        writer.close()
        return answer

    async with hasty_door.listening() as port:
        slow = head("POST", "/in/leads/leads", *PROVED, "content-length: 5000")
        body, headers, nothing, endless = await asyncio.gather(
            drips(slow, b"x"),
            drips(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ", b"y"),
            drips(b"", b""),
            drips(head("POST", "/in/leads/leads", *PROVED[:2], "transfer-encoding: chunked") + CHUNK * 80, CHUNK),
        )
    assert body.startswith(b"HTTP/1.1 408")
    assert (headers, nothing) == (b"", b"")
    assert endless.startswith(b"HTTP/1.1 413"), "and what came after the answer was not read for ever"


async def _drip(writer: asyncio.StreamWriter, drop: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(0.02)
            writer.write(drop)
            await writer.drain()


BOMBS = {
    "gzip": (JSON | {"content-encoding": "gzip"}, gzip.compress(b"\0" * 50_000_000), 415),
    "deflate": (JSON | {"content-encoding": "deflate"}, b"x\x9c" + b"\0" * 1000, 415),
    "gzip in gzip": (JSON | {"content-encoding": "gzip, gzip"}, gzip.compress(gzip.compress(b"\0" * 9999)), 415),
    "gzip that does not say so": (JSON, gzip.compress(b"\0" * 200_000), 400),
    "a billion laughs": (
        {"content-type": "application/xml"},
        b'<!DOCTYPE a [<!ENTITY a0 "lol">'
        + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
        + b"]><lead><email>&a9;</email></lead>",
        400,
    ),
    "quadratic": (
        {"content-type": "application/xml"},
        b'<!DOCTYPE a [<!ENTITY a "' + b"x" * 100_000 + b'">]><lead>' + b"&a;" * 40_000 + b"</lead>",
        400,
    ),
    "external entity": (
        {"content-type": "application/xml"},
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><lead><email>&e;</email></lead>',
        400,
    ),
    "parameter entity": (
        {"content-type": "application/xml"},
        b'<!DOCTYPE x [<!ENTITY % e SYSTEM "http://169.254.169.254/x"> %e;]><lead><email>a@b.se</email></lead>',
        400,
    ),
    "DTD alone": (
        {"content-type": "application/xml"},
        b'<!DOCTYPE lead SYSTEM "http://127.0.0.1/x.dtd"><lead><email>a@b.se</email></lead>',
        400,
    ),
    "deep XML": ({"content-type": "application/xml"}, b"<a>" * 30_000 + b"</a>" * 30_000, 400),
    "deep JSON": (JSON, b'{"a":' * 30_000 + b"1" + b"}" * 30_000, 400),
    "deep lists": (JSON, b"[" * 100_000, 400),
    "many names": (FORM, b"&".join(b"a%d=" % n for n in range(30_000)), 400),
}


@pytest.mark.loopback
async def test_i8_i9_a_bomb_does_not_go_off_and_memory_stays_flat(hasty_door: Door) -> None:
    async with hasty_door.listening() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await client.post("/in/leads/leads", headers=BASIC | JSON, content=LEAD)
        for bomb, (headers, body, status) in BOMBS.items():
            tracemalloc.start()
            answer = await client.post("/in/leads/leads", headers=BASIC | headers, content=body)
            left, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert answer.status_code == status, bomb
            assert "root:" not in answer.text
            assert left < 1024 * 1024, bomb
            assert most < 12 * 1024 * 1024, f"{bomb}: at most some copies of the 256 KiB that are read"


async def test_i9_an_inclusion_is_an_element_like_any_other(sqlite_door: Door) -> None:
    body = (
        b'<lead xmlns:xi="http://www.w3.org/2001/XInclude"><email>ann@example.org</email>'
        b'<firstname><xi:include href="file:///etc/passwd" parse="text"/></firstname></lead>'
    )
    xml = {"content-type": "application/xml"}
    answer = await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | xml, content=body)
    sqlite_door.work()
    assert answer.status_code == 201
    assert "root:" not in str(sqlite_door.rows("SELECT * FROM cell"))


# I-10: JSON -----------------------------------------------------------------------------------------------------------

ODD = {
    "a name twice": b'{"email":"a@b.se","email":"c@d.se"}',
    "a name twice, escaped": b'{"email":"a@b.se","\\u0065mail":"c@d.se"}',
    "NaN": b'{"email":"ann@example.org","x":NaN}',
    "Infinity": b'{"email":"ann@example.org","x":-Infinity}',
    "half a character": b'{"email":"ann@example.org","firstname":"\\ud800"}',
    "NUL": b'{"email":"ann@example.org","firstname":"a\\u0000b"}',
    "a bare NUL": b'{"email":"ann@example.org","firstname":"a\0b"}',
    "10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "21 deep": b'{"email":"ann@example.org","a":' + b"[" * 21 + b"]" * 21 + b"}",
    "cut off": b'{"email":"ann@exam',
    "two values": b'{"email":"ann@example.org"}{"email":"bob@example.org"}',
    "no object": b'"ann@example.org"',
    "not UTF-8": b'{"email":"ann@example.org","firstname":"\xff"}',
    "UTF-32": '{"email":"ann@example.org"}'.encode("utf-32"),
    "a comment": b'{"email":"ann@example.org"/* */}',
}


async def test_i10_odd_json_is_refused_and_never_a_fault(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, SYNCD_RECEIVER__BODY_BYTES_MAX="262144")
    for kind, body in ODD.items():
        answer = await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=body)
        notice = await door.send("POST", "/in/crm/webhook", headers=signed(body), content=body)
        assert answer.status_code == 400, kind
        assert notice.status_code in {200, 400}, kind
    door.work()
    assert door.rows("SELECT account FROM cell") == []
    door.app.engine.dispose()


async def test_i10_a_huge_number_is_kept_as_it_is_spelt(sqlite_door: Door) -> None:
    body = b'{"email":"ann@example.org","zipcode":' + b"9" * 3000 + b"}"
    assert (await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=body)).status_code == 201
    sqlite_door.work()
    assert sqlite_door.rows("SELECT identity FROM cell") == [{"identity": "ann@example.org"}]


DEPTHS = [
    (b"", 0),
    (b"a=1", 0),
    (b"{}", 1),
    (b' {"a": [1, {"b": 2}], "c": {}}', 3),
    (b'{"a": "[[[{{{"}', 1),
    (b'{"a": "\\"[[["}', 1),
    (b'{"a": "[[[', 1),
    (b"<a/>", 0),
    (b"<a><b/></a>", 1),
    (b'<?xml version="1.0"?><a><b>x</b><b><c>y</c></b></a>', 3),
    (b"<a><!-- <b><b><b> --></a>", 1),
    (b"<a><![CDATA[<b><b>]]></a>", 1),
    (b"<a><!-- <b>", 1),
    (b'{"' + b'\\"' * 100_000, 1),
    (b"<a>" + b"<!--" * 60_000, 1),
]


def test_i10_how_deep_a_body_goes_is_seen_without_reading_it() -> None:
    assert [depth_of(body) for body, _ in DEPTHS] == [depth for _, depth in DEPTHS]


async def test_i10_how_deep_is_configured(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, SYNCD_RECEIVER__DEPTH_MAX="3")
    for levels, status in ((2, 201), (3, 400)):
        body = b'{"email":"ann@example.org","a":' + b"[" * levels + b"]" * levels + b"}"
        answer = await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=body)
        assert answer.status_code == status
    door.app.engine.dispose()


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
