"""Inbound faults by number, I-7 to I-10: too much, too slow, too deep, and too odd."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
from pathlib import Path

import httpx
import pytest

from syncd.receiver.bounds import depth_of
from tests.receiver.door import BASIC, FORM, JSON, LEAD, Door, signed
from tests.receiver.wire import PROVED, head, raw

# I-7, I-8, I-9: too much ----------------------------------------------------------------------------------------------


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
