"""Who and what is refused, and with which words."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import syncd.sync.ingest
from syncd.telemetry import places_of
from tests.receiver.door import BASIC, BOMB, FORM, JSON, LEAD, LIMIT, Door, signed


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(LIMIT // 512 + 1):
        yield b"x" * 512


REFUSED: dict[str, tuple[str, str, dict[str, str], Any, int]] = {
    "no credential": ("POST", "/in/leads/leads", JSON, LEAD, 401),
    "another password": (
        "POST",
        "/in/leads/leads",
        JSON | {"authorization": "Basic " + base64.b64encode(b"rokt:no").decode()},
        LEAD,
        401,
    ),
    "not base64": ("POST", "/in/leads/leads", JSON | {"authorization": "Basic %%%"}, LEAD, 401),
    "another scheme": ("POST", "/in/leads/leads", JSON | {"authorization": "Bearer rokt-secret"}, LEAD, 401),
    "unsubscribe without credential": ("POST", "/in/leads/unsubscribes", JSON, LEAD, 401),
    "unknown account": ("POST", "/in/nobody/leads", BASIC | JSON, LEAD, 404),
    "account that sends nothing": ("POST", "/in/sales/leads", BASIC | JSON, LEAD, 404),
    "route of another provider": ("POST", "/in/crm/leads", BASIC | JSON, LEAD, 404),
    "webhook of another provider": ("POST", "/in/leads/webhook", BASIC | JSON, LEAD, 404),
    "unknown route": ("POST", "/in/leads/other", BASIC | JSON, LEAD, 404),
    "trailing slash": ("POST", "/in/leads/leads/", BASIC | JSON, LEAD, 404),
    "GET where it is not allowed": ("GET", "/in/leads/leads?email=ann@example.org", BASIC, None, 405),
    "unsubscribe by GET": ("GET", "/in/leads/unsubscribes?email=ann@example.org", BASIC, None, 405),
    "lead by DELETE": ("DELETE", "/in/leads/leads", BASIC, None, 405),
    "lead by HEAD": ("HEAD", "/in/leads/leads", BASIC, None, 405),
    "webhook by GET": ("GET", "/in/crm/webhook", {}, None, 405),
    "declared too large": ("POST", "/in/leads/leads", BASIC | JSON, b"x" * (LIMIT + 1), 413),
    "too large without saying so": ("POST", "/in/leads/leads", BASIC | JSON, _endless, 413),
    "lies about its size": ("POST", "/in/leads/leads", BASIC | JSON | {"content-length": "9" * 60}, LEAD, 413),
    "bad JSON": ("POST", "/in/leads/leads", BASIC | JSON, b'{"email":', 400),
    "nested JSON": ("POST", "/in/leads/leads", BASIC | JSON, b"[" * 2000 + b"]" * 2000, 400),
    "a name twice": ("POST", "/in/leads/leads", BASIC | JSON, b'{"email":"a@b.se","email":"c@d.se"}', 400),
    "no address": ("POST", "/in/leads/leads", BASIC | JSON, b'{"firstname":"Ann"}', 400),
    "empty": ("POST", "/in/leads/leads", BASIC | JSON, b"", 400),
    "NUL": ("POST", "/in/leads/leads", BASIC | JSON, b'{"email":"ann@example.org","firstname":"\\u0000"}', 400),
    "NUL in the query": ("POST", "/in/leads/leads?x=%00", BASIC | JSON, LEAD, 400),
    "not UTF-8 in the query": ("POST", "/in/leads/leads?x=%ff", BASIC | JSON, LEAD, 400),
    "entity bomb": ("POST", "/in/leads/leads", BASIC | {"content-type": "application/xml"}, BOMB, 400),
    "external entity": (
        "POST",
        "/in/leads/leads",
        BASIC | {"content-type": "application/xml"},
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><lead><email>&e;</email></lead>',
        400,
    ),
    "an image": ("POST", "/in/leads/leads", BASIC | {"content-type": "image/png"}, b"\x89PNG", 415),
    "compressed": ("POST", "/in/leads/leads", BASIC | JSON | {"content-encoding": "gzip"}, b"\x1f\x8b", 415),
    "unsigned notice": ("POST", "/in/crm/webhook", JSON, b"{}", 401),
    "notice signed with another secret": ("POST", "/in/crm/webhook", signed(b"{}", b"other"), b"{}", 401),
    "notice that is no JSON": ("POST", "/in/crm/webhook", signed(b"{"), b"{", 400),
    "notice with a bell as id": ("POST", "/in/crm/webhook", signed(b'{"id":"\\u0007"}'), b'{"id":"\\u0007"}', 400),
    "another secret in the path": ("POST", "/in/mail/154/unsubscribe/no", FORM, b"Email=ann%40example.org", 401),
    "unknown action": ("POST", "/in/mail/154/explode/mail%2Fhook+1", FORM, b"Email=ann%40example.org", 404),
    "NUL in the path": ("POST", "/in/mail/1%0054/bounce/mail%2Fhook+1", FORM, b"Email=ann%40example.org", 404),
    "notice without address": ("POST", "/in/mail/154/bounce/mail%2Fhook+1", FORM, b"Name=Ann", 400),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_wrong_is_refused_with_its_status_and_leaves_nothing(sqlite_door: Door, case: str) -> None:
    method, path, headers, body, status = REFUSED[case]
    content = body() if callable(body) else body
    with structlog.testing.capture_logs() as lines:
        answer = await sqlite_door.send(method, path, headers=headers, content=content)
    assert answer.status_code == status
    if method != "HEAD":
        assert answer.json().keys() == {"status", "error"}
        assert answer.json()["status"] == "rejected"
    for kept in ("ann@example.org", "Ann", "rokt-secret", "mail/hook", "root:"):
        assert kept not in answer.text
        assert kept not in str(lines)
    assert sqlite_door.rows("SELECT id FROM inbox") == []
    assert sqlite_door.woken == []


async def test_a_refused_credential_is_told_how_to_prove_itself_only_where_http_has_a_word_for_it(
    sqlite_door: Door,
) -> None:
    basic = await sqlite_door.send("POST", "/in/leads/leads", headers=JSON, content=LEAD)
    signature = await sqlite_door.send("POST", "/in/crm/webhook", headers=JSON, content=b"{}")
    assert basic.headers["www-authenticate"].startswith("Basic realm=")
    assert "www-authenticate" not in signature.headers


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/in/leads/unsubscribes", {"POST", "PUT"}),
        ("/in/crm/webhook", {"POST", "HEAD"}),
        ("/unsubscribe/x", {"GET", "HEAD", "POST"}),
        ("/livez", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(sqlite_door: Door, path: str, allowed: set[str]) -> None:
    answer = await sqlite_door.send("DELETE", path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_a_body_that_does_not_come_is_not_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, SYNCD_RECEIVER__BODY_TIMEOUT="50ms")
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    answer = await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=stuck())
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")
    door.app.engine.dispose()


async def test_a_validation_fault_repeats_nothing_of_what_was_sent(sqlite_door: Door) -> None:
    def needs_a_number(number: int) -> int:
        return number

    sqlite_door.asgi.add_api_route("/number", needs_a_number)
    answer = await sqlite_door.send("GET", "/number?number=ann@example.org")
    assert (answer.status_code, "ann" in answer.text) == (400, False)


async def test_a_fault_nobody_foresaw_is_answered_with_come_again_and_written_down_without_its_message(
    sqlite_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("ann@example.org")

    monkeypatch.setattr(syncd.sync.ingest, "accept", broken)
    with structlog.testing.capture_logs() as lines:
        answer = await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert [line["error"] for line in lines if line["event"] == "receiver.broke"] == ["KeyError"]
    assert "broken" in str(lines)
    assert "ann" not in str(lines)


def test_the_places_of_a_group_of_errors_name_the_one_inside() -> None:
    found = places_of(ExceptionGroup("several", [ValueError("ann@example.org")]))
    assert "ValueError" in found
    assert "ann" not in str(found)
