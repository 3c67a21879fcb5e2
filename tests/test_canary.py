"""The canaries would be noticed, whichever way they came out; and what is taken out on the way does not count."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.canary import CANARY, Canary, found_in, summed

ANN = "ann@example.org"


@pytest.fixture
def seen() -> Iterator[Callable[[], list[str]]]:
    """What was noticed so far, which is then forgiven."""

    def look() -> list[str]:
        found = CANARY.look()
        CANARY.hits -= len(found)
        return found

    assert look() == []
    yield look
    assert look() == []


def test_a_log_line_is_looked_through_at_every_level_and_as_it_would_be_written(seen: Any) -> None:
    before = CANARY.bytes
    log = structlog.get_logger("syncd")
    log.debug("request.carried", about="somebody called rokt-secret, or 4670123-4567")
    assert len(seen()) == 1
    log.debug("account.failed", reason=f"no such person: {ANN}", password="rokt-secret")
    assert seen() == []
    assert CANARY.bytes > before + 100


def test_what_libraries_log_is_looked_through_too(seen: Any) -> None:
    logging.getLogger("some.library").warning("%s is not there", "hook-secret")
    assert len(seen()) == 1
    logging.getLogger("some.library").warning("%s is not there", ANN)
    assert seen() == []


async def answered(response: Response, path: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://syncd.test") as client:
        await client.get(path)


async def test_refusals_and_metrics_are_looked_through_and_answers_to_people_are_not(seen: Any) -> None:
    await answered(JSONResponse({"error": ANN}, 400), "/in/leads/leads")
    assert len(seen()) == 1
    await answered(PlainTextResponse("no", 401, {"www-authenticate": ANN}), "/in/leads/leads")
    assert len(seen()) == 1
    await answered(PlainTextResponse(f'syncd_x{{who="{ANN}"}} 1'), "/metrics")
    assert len(seen()) == 1
    await answered(PlainTextResponse(ANN), "/explain")
    assert seen() == []


def test_arguments_and_stderr_of_programs_are_looked_through(seen: Any) -> None:
    subprocess.run([sys.executable, "-c", "pass", "rokt-secret"], check=True)
    assert len(seen()) == 1
    said = f"import sys; sys.stderr.write('{ANN}'); sys.stdout.write('{ANN}')  # syncd"
    subprocess.run([sys.executable, "-c", said], check=True, capture_output=True)
    assert [found.partition(":")[0] for found in seen()] == ["stderr"]
    subprocess.run([sys.executable, "-c", said, "run"], check=True, capture_output=True)
    assert [found.partition(":")[0] for found in seen()] == ["stderr", "stdout"]


@pytest.mark.parametrize(
    "text",
    [
        "for Ann@Example.org",
        "/u?email=ann%40example.org",
        "616e6e406578616d706c652e6f7267",
        "YW5uQGV4YW1wbGUub3Jn",
        "d7e1f5d6a3eb2e4fd1e6e2a6d8f7f3f5 bob@anything.test",
        "Basic cm9rdDpyb2t0LXNlY3JldA==",
        "+46701234567",
    ],
)
def test_a_canary_is_known_in_every_spelling(text: str) -> None:
    assert found_in(text)


def test_what_names_nobody_is_let_through() -> None:
    assert not found_in("[address] and [secret], 100 % at crm, syncd@.service, #12 @ 3 s")
    assert not found_in("postgresql+psycopg://[secret]@db.internal:1/x, postgresql://syncd:***@127.0.0.1/x")


def test_what_a_person_typed_may_be_told_to_them() -> None:
    canary = Canary()
    canary.take_stderr(f"nobody knows {ANN}", ["explain", ANN])
    assert canary.look() == []
    canary.take_stderr("nobody knows bob@example.org", ["explain", ANN])
    assert len(canary.look()) == 1


def test_the_end_of_a_run_says_how_much_there_was() -> None:
    outputs = [{"pieces": 3, "bytes": 1_200_000, "hits": 0}, {"pieces": 4, "bytes": 2_300_000, "hits": 1}]
    assert summed(outputs) == "1 canary hits in 3.5 MB emitted (7 lines, answers and the like)"
