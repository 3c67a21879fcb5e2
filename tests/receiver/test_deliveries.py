"""Leads and unsubscribes: taken once, durable before they are answered, and never half."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from jsonschema import Draft202012Validator

from syncd.domain.identity import Identity
from syncd.emulators.rokt import Encoding, RoktEmulator
from syncd.emulators.serve import bind_loopback, serving
from syncd.providers.rokt.options import RoktOptions
from syncd.providers.rokt.paper import markdown_of
from syncd.providers.rokt.sheet import About, bases_of, sheet_of
from syncd.receiver import document_path
from syncd.store import session
from syncd.store.session import open_engine, writing
from syncd.sync.ingest import resubscribe
from syncd.wire import Request, Response
from tests.receiver.door import ANN, BASIC, ENCODED, FORM, JSON, LEAD, LIMIT, Door, carried
from tests.world import CONFIG


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
