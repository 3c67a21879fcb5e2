"""The door as a stranger, a provider, a person and an operator meet it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
import structlog
import yaml
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

import syncd.sync.ingest
from syncd import receiver as receiver_module
from syncd.app import App, Outside
from syncd.config import load
from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rokt import Encoding, RoktEmulator
from syncd.emulators.serve import bind_loopback, serving
from syncd.providers.protocol import CanPost
from syncd.providers.rokt.options import RoktOptions
from syncd.providers.rokt.paper import markdown_of
from syncd.providers.rokt.sheet import About, bases_of, sheet_of
from syncd.receiver import ONE_CLICK, document_path, places_of, receiver
from syncd.store import journal, people, session
from syncd.store.session import open_engine, reading, writing
from syncd.sync import one_click
from syncd.sync.ingest import ingest, resubscribe, unsubscribe
from syncd.sync.plan import plan
from syncd.sync.standing import standing
from syncd.wire import Request, Response
from tests.world import CONFIG, hasty

LIMIT = 4096
BASIC = {"authorization": "Basic " + base64.b64encode(b"rokt:rokt-secret").decode()}
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}
ANN = Identity("ann@example.org")
LEAD = b'{"email":"ann@example.org","firstname":"Ann"}'

ENCODED = {
    "json": (JSON, LEAD),
    "form": (FORM, b"email=ann%40example.org&firstname=Ann"),
    "text": ({"content-type": "text/plain"}, b"email=ann@example.org\nfirstname=Ann\n"),
    "xml": (
        {"content-type": "application/xml"},
        b"<lead><email>ann@example.org</email><firstname>Ann</firstname></lead>",
    ),
}

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;">]>
<lead><email>&lol2;</email></lead>"""


class Door:
    """The application, the mirror behind it, and what it woke."""

    def __init__(self, url: str, folder: Path, *, leads: str = "", config: str = CONFIG) -> None:
        path = folder / "syncd.toml"
        path.write_text(
            config.format(
                url=url, first_sync="go", max_count=20, on_unsubscribe="remove", on_absence="ignore", sales_list="s"
            )
            .replace('webhook_secret = "mail-hook"', 'webhook_secret = "mail/hook+1"')
            .replace('api_key = "rokt-key"', f'api_key = "rokt-key"\n{leads}')
        )
        self.now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        settings = load(path, {"SYNCD_MIRROR__URL": url, "SYNCD_RECEIVER__BODY_BYTES_MAX": str(LIMIT)})
        self.app = App(settings, Outside(now=lambda: self.now, engine_for=hasty))
        self.context = self.app.context
        self.woken: list[str] = []
        self.draining = ""
        intervals = dict.fromkeys(self.context.lanes, 300.0)
        self.asgi: FastAPI = receiver(
            self.context,
            settings.receiver,
            wake=self.woken.append,
            status=lambda: standing(self.context, intervals)[1],
            ready=lambda: self.draining,
        )

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.asgi), base_url="http://syncd.test")

    async def send(self, method: str, path: str, **about: Any) -> httpx.Response:
        async with self.client() as client:
            return await client.request(method, path, **about)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with reading(self.app.engine) as connection:
            return [dict(row) for row in connection.execute(sa.text(query)).mappings()]

    def consent(self, identity: Identity = ANN) -> dict[Scope, Level]:
        with reading(self.app.engine) as connection:
            return {
                scope: state.level
                for scope, state in people.load_consent(connection, suppression_key(identity)).items()
            }

    def work(self) -> None:
        ingest(self.context)
        plan(self.context)

    def close(self) -> None:
        asyncio.run(self.app.aclose())


@pytest.fixture
def door(migrated_url: str, tmp_path: Path) -> Iterator[Door]:
    """On both engines."""
    found = Door(migrated_url, tmp_path)
    yield found
    found.app.engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Where the engine makes no difference."""
    copy = tmp_path / "mirror.db"
    copy.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def sqlite_door(sqlite_url: str, tmp_path: Path) -> Iterator[Door]:
    found = Door(sqlite_url, tmp_path)
    yield found
    found.app.engine.dispose()


def signed(body: bytes, secret: bytes = b"hook-secret") -> dict[str, str]:
    return JSON | {"x-rocs-signature": f"sha256={hmac.new(secret, body, sha256).hexdigest()}"}


# Leads and unsubscribes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODED)
async def test_a_lead_is_durable_before_it_is_answered_and_the_daemon_is_woken(door: Door, encoding: str) -> None:
    headers, body = ENCODED[encoding]
    answer = await door.send("POST", "/in/leads/leads", headers=BASIC | headers, content=body)
    rows = door.rows("SELECT id, account, state, body, headers FROM inbox")
    assert answer.status_code == 201
    assert answer.json() == {"status": "created", "id": rows[0]["id"]}
    assert [(row["account"], row["state"], bytes(row["body"])) for row in rows] == [("leads", "new", body)]
    assert "authorization" not in str(rows[0]["headers"]).lower()
    assert door.woken == ["leads"]


async def test_the_same_lead_in_any_encoding_and_method_is_a_duplicate_of_the_first(door: Door) -> None:
    first = (await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)).json()["id"]
    for method in ("POST", "PUT"):
        for headers, body in ENCODED.values():
            answer = await door.send(method, "/in/leads/leads", headers=BASIC | headers, content=body)
            assert (answer.status_code, answer.json()) == (200, {"status": "duplicate", "id": first})
    assert len(door.rows("SELECT id FROM inbox")) == 1


async def test_a_hundred_times_the_same_at_once_is_one_lead(door: Door) -> None:
    async with door.client() as client:
        answers = await asyncio.gather(
            *(client.post("/in/leads/leads", headers=BASIC | JSON, content=LEAD) for _ in range(100))
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 99 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(door.rows("SELECT id FROM inbox")) == 1


async def test_a_lead_by_get_is_taken_where_the_account_says_so(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, leads='methods = ["POST", "GET"]')
    answer = await door.send("GET", "/in/leads/leads?email=ann%2Bx%40example.org&firstname=Ann", headers=BASIC)
    refused = await door.send("PUT", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    assert answer.status_code == 201
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
    door.work()
    assert door.rows("SELECT identity FROM cell") == [{"identity": "ann+x@example.org"}]
    door.app.engine.dispose()


async def test_rokt_sees_its_deliveries_taken_and_its_repetitions_recognised(door: Door) -> None:
    rokt = RoktEmulator(lambda: door.now, deliver_to="http://syncd.test/in/leads")
    answers = []
    encodings: tuple[Encoding, ...] = ("json", "form", "text", "xml")
    for encoding in encodings:
        rokt.press_test(encoding=encoding)
        rokt.send_lead(f"{encoding}@example.org", encoding=encoding)
    rokt.person_unsubscribes("json@example.org")
    rokt.send_lead("nobody")
    while rokt.outgoing:
        answers.append(await carried(door, rokt.outgoing.popleft()))
    verdicts = [rokt.verdict(answer) for answer in answers]
    assert verdicts.count("duplicate") == 3, "the test lead is the same in all four encodings"
    assert (verdicts.count("delivered"), verdicts[-1]) == (6, "rejected")
    assert json.loads(answers[-1].body) == {"status": "rejected", "error": "email: not an e-mail address"}
    door.work()
    assert door.consent(Identity("json@example.org"))


async def carried(door: Door, request: Request) -> Response:
    """What our receiver answers to a request that an emulator sends."""
    answer = await door.send(request.method, request.url, headers=dict(request.headers), content=request.body)
    return Response(answer.status_code, dict(answer.headers), answer.content)


@pytest.mark.quirk("rokt-retries-are-not-documented")
@pytest.mark.parametrize("retries", [0, 4])
async def test_what_could_not_be_taken_asks_for_a_retry_and_is_one_lead_if_one_comes(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    monkeypatch.setattr(session, "BUSY_TIMEOUT_S", 0.05)
    door = Door(sqlite_url, tmp_path)
    rokt = RoktEmulator(lambda: door.now, deliver_to="http://syncd.test/in/leads")
    rokt.retries = retries
    rokt.send_lead("ann@example.org", "Ann")
    answers: list[Response] = []

    async def send(request: Request) -> Response:
        """The mirror cannot be written when the first one comes."""
        with contextlib.ExitStack() as busy:
            if not answers:
                other = open_engine(sqlite_url)
                busy.callback(other.dispose)
                busy.enter_context(writing(other))
            answers.append(await carried(door, request))
        return answers[-1]

    async with serving([(rokt, bind_loopback(0))], send=send, retry_s=0.001, poll_s=0.001) as served:
        await served.settled()
    refused = answers[0]
    assert (refused.status, refused.headers["retry-after"], rokt.verdict(refused)) == (503, "30", "rejected")
    assert [answer.status for answer in answers[1:]] == [201] * bool(retries)
    assert len(door.rows("SELECT id FROM inbox")) == bool(retries), "nothing was half taken"
    assert "send it again, after `Retry-After`" in sheet_about(door)
    door.app.engine.dispose()


def answer_schema(status: int) -> Any:
    """What the sender of a lead was told of this answer."""
    folder = document_path().parent / "providers" / "rokt"
    index = json.loads((folder / "index.json").read_text())
    return json.loads((folder / index["POST /in/{account}/leads"]["response"][str(status)]).read_text())


async def test_a_test_lead_is_answered_word_for_word_as_a_real_one(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, leads='required = ["first_name"]')
    lacking = b'{"email":"ann@example.org"}'
    for path in ("/in/leads/leads", "/in/leads/leads?test=true"):
        answers = [
            await door.send("POST", path, headers=headers, content=body)
            for headers, body in ((BASIC | JSON, LEAD), (BASIC | JSON, LEAD), (BASIC | JSON, lacking), (JSON, LEAD))
        ]
        assert [answer.status_code for answer in answers] == [201, 200, 400, 401]
        told = [answer.json() for answer in answers]
        assert [one["status"] for one in told] == ["created", "duplicate", "rejected", "rejected"]
        assert told[0]["id"] == told[1]["id"]
        assert told[2]["error"] == "firstname: missing"
        for answer in answers:
            Draft202012Validator(answer_schema(answer.status_code)).validate(answer.json())
    assert (len(door.rows("SELECT id FROM inbox")), len(door.rows("SELECT id FROM lead_test"))) == (1, 1)
    door.app.engine.dispose()


AUTHS = {
    "basic": ('{{ kind = "basic", username = "rokt", password = "rokt-secret" }}', BASIC),
    "api_key": ('{{ kind = "api_key", header = "X-Rokt-Key", key = ["old", "new"] }}', {"x-rokt-key": "new"}),
    "client": (
        '{{ kind = "client", client_id = "i", client_secret = "s" }}',
        {"x-client-id": "i", "x-client-secret": "s"},
    ),
}


@pytest.mark.parametrize("kind", AUTHS)
async def test_each_kind_of_credential_opens_the_door_and_no_other(sqlite_url: str, tmp_path: Path, kind: str) -> None:
    basic = f"inbound_auth = {AUTHS['basic'][0]}"
    assert basic in CONFIG
    door = Door(sqlite_url, tmp_path, config=CONFIG.replace(basic, f"inbound_auth = {AUTHS[kind][0]}"))
    rokt = RoktEmulator(lambda: door.now, deliver_to="http://syncd.test/in/leads")
    for other in AUTHS:
        rokt.sender_headers = AUTHS[other][1]
        rokt.send_lead("ann@example.org")
        answer = await carried(door, rokt.outgoing.popleft())
        assert answer.status == (201 if other == kind else 401), other
    door.app.engine.dispose()


METHODS = ("POST", "PUT", "GET", "DELETE", "PATCH")


@pytest.mark.parametrize("taken", [("POST",), ("PUT", "GET"), ("GET", "POST", "PUT")])
async def test_the_methods_that_the_sheet_names_are_taken_and_every_other_is_405(
    sqlite_url: str, tmp_path: Path, taken: tuple[str, ...]
) -> None:
    door = Door(sqlite_url, tmp_path, leads=f"methods = {json.dumps(taken)}")
    rokt = RoktEmulator(lambda: door.now, deliver_to="http://syncd.test/in/leads")
    section = sheet_about(door).partition("## 4. Method")[2].partition("## ")[0].partition("With `GET`")[0]
    assert tuple(re.findall("`([A-Z]+)`", section.partition("Any other")[0])) == taken
    for method in METHODS:
        rokt.send_lead(f"{method}@example.org", method=method)
        answer = await carried(door, rokt.outgoing.popleft())
        assert answer.status == (201 if method in taken else 405), method
        if method not in taken:
            allowed = set(answer.headers["allow"].split(", "))
            assert allowed == set(taken) if method in {"GET", "POST", "PUT"} else allowed >= set(taken)
            Draft202012Validator(answer_schema(405)).validate(json.loads(answer.body))
    door.work()
    assert {row["identity"] for row in door.rows("SELECT identity FROM cell")} == {
        f"{method}@example.org".lower() for method in taken
    }
    door.app.engine.dispose()


async def test_whoever_follows_the_sheet_alone_is_taken_and_rokt_sends_just_that(sqlite_door: Door) -> None:
    door = sqlite_door
    told = sheet_about(door)
    (method, address) = re.findall(r"created by one `(\w+)` to `(.*?)`", told)[0]
    samples = re.findall(r"^[^\n]*, `(\S+)`:\n\n```\n(.*?)\n```$", told, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in samples] == ["application/json", FORM["content-type"], "text/plain", "application/xml"]
    path = address.removeprefix("https://a.example")
    answers = [
        await door.send(method, path, headers=BASIC | {"content-type": kind}, content=text.encode())
        for kind, text in samples
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    rokt = RoktEmulator(lambda: door.now, deliver_to="http://syncd.test/in/leads")
    encodings: tuple[Encoding, ...] = ("json", "form", "text", "xml")
    for encoding in encodings:
        rokt.send_lead("ann@example.org", "Ann", "Bee", campaign="2581697744617019994", encoding=encoding)
        answer = await carried(door, rokt.outgoing.popleft())
        assert (answer.status, json.loads(answer.body)["id"]) == (200, answers[0].json()["id"]), encoding


async def test_every_address_in_the_sheet_takes_what_it_is_for(sqlite_url: str, tmp_path: Path) -> None:
    """The same receiver stands for that of each environment."""
    staging = 'environments = { staging = "https://staging.example.org", testing = "https://testing.example.org" }'
    door = Door(sqlite_url, tmp_path, leads=staging)
    rows = re.findall(r"^\| (.*?) \| (leads|unsubscribes|test leads) \| `(.*?)` \|$", sheet_about(door), re.MULTILINE)
    environments = ("production", "staging", "testing")
    assert sorted((name.removesuffix(", tests"), what) for name, what, _ in rows) == sorted(
        (name, what) for name in environments for what in ("leads", "unsubscribes", "test leads")
    )
    bases = {"production": "https://a.example"} | {name: f"https://{name}.example.org" for name in environments[1:]}
    rokt = RoktEmulator(lambda: door.now)
    for n, (name, what, address) in enumerate(rows):
        base = bases[name.removesuffix(", tests")]
        assert address.startswith(f"{base}/in/leads/")
        path, _, query = address.removeprefix(base).partition("?")
        rokt.deliver_to, _, route = f"http://syncd.test{path}".rpartition("/")
        who = f"{what.split()[0]}{n}@example.org"
        if what == "unsubscribes":
            rokt.person_unsubscribes(who)
        else:
            rokt.press_test(query=query, email=who)
        request = rokt.outgoing.popleft()
        assert urlsplit(request.url).path == path == f"/in/leads/{route}"
        assert (await carried(door, request)).status == 201, address
    assert len(door.rows("SELECT id FROM lead_test")) == 3
    door.work()
    stand = {row["identity"]: row["status"] for row in door.rows("SELECT identity, status FROM cell")}
    assert sorted(set(stand.values())) == ["subscribed", "unsubscribed"]
    assert {identity[:5] for identity, status in stand.items() if status == "subscribed"} == {"leads"}
    door.app.engine.dispose()


def sheet_about(door: Door) -> str:
    """The sheet of the account that sends leads."""
    options = next(one for one in door.app.settings.accounts.values() if isinstance(one, RoktOptions))
    return markdown_of(sheet_of(About("leads", options, bases_of(options, "https://a.example"), LIMIT)))


async def test_an_unsubscribe_said_again_on_the_same_day_counts_again(door: Door) -> None:
    async def says_no() -> httpx.Response:
        return await door.send("POST", "/in/leads/unsubscribes", headers=BASIC | JSON, content=LEAD)

    first = await says_no()
    door.work()
    scopes = [scope for scope, level in door.consent().items() if level.suppresses]
    assert first.status_code == 201
    assert scopes
    door.now += timedelta(hours=1)
    for scope in scopes:
        resubscribe(door.context, ANN, scope, evidence="called us")
    door.work()
    assert not any(level.suppresses for level in door.consent().values())
    door.now += timedelta(hours=1)

    again = await says_no()
    door.work()

    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "id": first.json()["id"]})
    assert {scope for scope, level in door.consent().items() if level.suppresses} == set(scopes)
    assert len(door.rows("SELECT id FROM inbox")) == 1


async def test_an_unsubscribe_repeated_without_anything_between_changes_nothing(door: Door) -> None:
    for _ in range(3):
        await door.send("POST", "/in/leads/unsubscribes", headers=BASIC | JSON, content=LEAD)
        door.work()
        door.now += timedelta(minutes=1)
    events = door.rows("SELECT id FROM consent_event")
    assert len(events) == len(door.consent())


async def test_a_repeated_lead_is_not_read_again(door: Door) -> None:
    await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    door.work()
    await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    assert [row["state"] for row in door.rows("SELECT state FROM inbox")] == ["done"]


# Who and what is refused ---------------------------------------------------------------------------------------------


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


async def test_a_body_that_does_not_come_is_not_waited_for(sqlite_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_module, "BODY_S", 0.05)
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    answer = await sqlite_door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=stuck())
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")


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


# Nothing is lost -----------------------------------------------------------------------------------------------------


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


# Notices -------------------------------------------------------------------------------------------------------------


async def test_a_signed_notice_of_rocs_is_taken_once(door: Door) -> None:
    body = json.dumps(
        {"id": "evt-1", "event": "customer.updated", "customer": {"id": "7", "email": "ann@example.org"}}
    ).encode()
    first = await door.send("POST", "/in/crm/webhook", headers=signed(body), content=body)
    again = await door.send("POST", "/in/crm/webhook", headers=signed(body), content=body)
    assert (first.status_code, first.json()["status"]) == (200, "created")
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "id": first.json()["id"]})


@pytest.mark.quirk("rocketresponder-webhook-taken-by-exactly-200")
async def test_every_notice_of_rocketresponder_that_is_taken_gets_exactly_200(door: Door) -> None:
    mail = RocketResponderEmulator(lambda: door.now)
    mail.add_list("Newsletter", lid="154")
    mail.add_subscriber("154", "ann@example.org", "Ann")
    provider = door.context.lanes["mail"].provider
    assert isinstance(provider, CanPost)
    urls = provider.webhook_urls("http://syncd.test", "mail", ContainerId("154"))
    assert urls["click"] == "http://syncd.test/in/mail/154/click/mail%2Fhook%2B1"
    mail.webhook_urls = {("154", action): url for action, url in urls.items()}
    mail.person_changes_address("154", "ann@example.org", "ann@example.net")
    mail.open_mail("154", "ann@example.org")
    mail.click("154", "ann@example.org")
    mail.bounce("154", "ann@example.org")
    mail.person_unsubscribes("154", "ann@example.org")
    mail.person_joins_again("154", "ann@example.org")
    mail.confirm("154", "ann@example.org")
    assert sorted(request.url for request in mail.outgoing) == sorted(urls.values())
    for request in [*mail.outgoing, *mail.outgoing]:
        answer = await door.send(request.method, request.url, headers=dict(request.headers), content=request.body)
        assert answer.status_code == 200
    assert [row["account"] for row in door.rows("SELECT account FROM inbox")] == ["mail"] * 7
    ingest(door.context)
    assert [row["identity"] for row in door.rows("SELECT identity FROM lookup")] == ["ann@example.org"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/in/crm/webhook", 200),
        ("/in/mail/154/click/anything", 200),
        ("/in/nobody/webhook", 404),
        ("/in/sales/webhook", 404),
    ],
)
async def test_a_sender_may_look_whether_somebody_is_there(sqlite_door: Door, path: str, status: int) -> None:
    assert (await sqlite_door.send("HEAD", path)).status_code == status
    assert sqlite_door.rows("SELECT id FROM inbox") == []


# One click -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def token(door: Door) -> Callable[..., str]:
    key = one_click.signing_key(door.app.engine)
    return lambda scope=None: one_click.make_token(key, ANN, scope)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_following_the_link_shows_a_button_and_changes_nothing(
    door: Door, token: Callable[..., str], method: str
) -> None:
    answer = await door.send(method, f"/unsubscribe/{token()}?List-Unsubscribe=One-Click")
    assert answer.status_code == 200
    assert ('method="post"' in answer.text) is (method == "GET")
    assert "ann@" not in answer.text
    assert (door.consent(), door.woken) == ({}, [])


@pytest.mark.parametrize(
    "about",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": b""},
        {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}},
    ],
    ids=["form", "multipart", "empty", "odd"],
)
async def test_one_click_ends_everything_at_once_and_repeating_it_changes_nothing(
    door: Door, token: Callable[..., str], about: dict[str, Any]
) -> None:
    for _ in range(3):
        answer = await door.send("POST", f"/unsubscribe/{token()}", **about)
        assert answer.status_code == 200
        assert "location" not in answer.headers
    assert door.consent() == {GLOBAL: Level.UNSUBSCRIBED}
    events = door.rows("SELECT source, scope FROM consent_event")
    assert events == [{"source": "one-click", "scope": "global"}]
    assert door.rows("SELECT person_key FROM agenda")
    assert door.woken == [ONE_CLICK] * 3


async def test_a_link_of_one_list_ends_that_list_alone(door: Door, token: Callable[..., str]) -> None:
    await door.send("POST", f"/unsubscribe/{token(Scope('newsletter'))}")
    assert door.consent() == {Scope("newsletter"): Level.UNSUBSCRIBED}


async def test_an_old_link_counts_again_after_the_person_came_back(door: Door, token: Callable[..., str]) -> None:
    link = token(Scope("newsletter"))
    unsubscribe(door.context, ANN, Scope("newsletter"), source="operator", evidence="called")
    resubscribe(door.context, ANN, Scope("newsletter"), evidence="called again")
    await door.send("POST", f"/unsubscribe/{link}")
    assert door.consent() == {Scope("newsletter"): Level.UNSUBSCRIBED}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_link_that_is_not_ours_is_not_found(door: Door, method: str) -> None:
    foreign = one_click.make_token(b"another mirror's key", ANN)
    for bad in (foreign, "x", "é", "a" * 5000, "%2e%2e"):
        answer = await door.send(method, f"/unsubscribe/{bad}")
        assert answer.status_code == 404
    assert door.consent() == {}


def test_the_key_is_made_once_and_kept(door: Door) -> None:
    first = one_click.signing_key(door.app.engine)
    assert len(first) == one_click.KEY_BYTES
    assert one_click.signing_key(door.app.engine) == first
    with reading(door.app.engine) as connection:
        assert journal.get_value(connection, "one_click_key") == first.hex()


@given(data=st.data(), scope=st.none() | st.text(max_size=20))
def test_a_token_says_what_it_was_made_for_and_none_can_be_altered(data: st.DataObject, scope: str | None) -> None:
    key = bytes(32)
    made = one_click.make_token(key, ANN, None if scope is None else Scope(scope))
    ticket = one_click.read_token(key, made)
    assert ticket == (ANN, Scope(scope) if scope else GLOBAL)
    at = data.draw(st.integers(0, len(made) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_=. /é"))
    # The bits that base64 leaves over at the end say nothing.
    assert one_click.read_token(key, made[:at] + other + made[at + 1 :]) in {None, ticket}
    assert one_click.read_token(key, made[:at]) is None or at == len(made)


def test_a_link_leads_to_the_route() -> None:
    assert one_click.link("https://sync.example.org/", "abc") == "https://sync.example.org/unsubscribe/abc"


# What an operator sees -----------------------------------------------------------------------------------------------


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
    assert float(lines['syncd_run_last_success_timestamp_seconds{account="crm"}']) == door.now.timestamp() - 90
    assert not any("mail" in name for name in lines if name.startswith("syncd_run_last"))
    assert lines["syncd_converged"] == "0"
    assert float(lines["syncd_distance"]) > 0
    assert lines['syncd_account_state{account="crm",state="new"}'] == "1"
    for family in ("syncd_outbox_depth", "syncd_parked"):
        assert {name for name in lines if name.startswith(family)} == {
            f'{family}{{account="{name}"}}' for name in door.context.lanes
        }
    assert lines["syncd_held"] == "0"


async def test_an_unsubscribe_that_waits_grows_old_in_the_metrics(door: Door) -> None:
    unsubscribe(door.context, ANN, source="operator", evidence="called")
    await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)
    door.work()
    door.now += timedelta(seconds=45)
    text = (await door.send("GET", "/metrics")).text
    assert "syncd_oldest_unpushed_unsubscribe_seconds 45.0" in text
    assert 'syncd_outbox_depth{account="leads"} 1' in text


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
    assert "Not converged" in answer.text
    assert {name for name in door.context.lanes if f"<td>{name}</td>" in answer.text} == set(door.context.lanes)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_pages_load_nothing_from_elsewhere(sqlite_door: Door) -> None:
    for path in ("/", "/docs", "/unsubscribe/x"):
        text = (await sqlite_door.send("GET", path)).text
        assert not re.search(r"(src|href|action)=\"?(https?:)?//", text)
        assert "@import" not in text


# The description -----------------------------------------------------------------------------------------------------

SOURCE = Path(__file__).resolve().parent.parent / "schemas" / "receiver.openapi.yaml"


def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    return found


def test_the_description_is_valid_openapi() -> None:
    assert described()["openapi"].startswith("3.1")
    validate(described())


def test_the_description_names_exactly_the_routes_that_there_are(sqlite_door: Door) -> None:
    routes = [route for route in sqlite_door.asgi.routes if isinstance(route, APIRoute)]
    assert len(routes) == len(sqlite_door.asgi.routes)
    served = {(route.path, method) for route in routes for method in route.methods or ()}
    told = {
        (path, name.upper()) for path, item in described()["paths"].items() for name in item if name != "parameters"
    }
    # HEAD goes without saying where there is a GET.
    implied = {(path, "HEAD") for path, method in told if method == "GET"} & served
    assert served == told | implied


async def test_what_is_served_is_the_description(sqlite_door: Door) -> None:
    answer = await sqlite_door.send("GET", "/openapi.json")
    assert answer.json() == described(), (
        f"{document_path().name} is made from {SOURCE.name}: "
        "python -c 'import json, sys, yaml; "
        "print(json.dumps(yaml.safe_load(sys.stdin), indent=1, ensure_ascii=False))' "
        f"< schemas/{SOURCE.name} > schemas/{document_path().name}"
    )


async def test_the_docs_name_every_operation_and_every_encoding(sqlite_door: Door) -> None:
    text = (await sqlite_door.send("GET", "/docs")).text
    for path, item in described()["paths"].items():
        for method in set(item) - {"parameters"}:
            assert f"<code>{method.upper()} {path}</code>" in text
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain", "application/xml"):
        assert kind in text
