"""schemathesis drives what is described: our receiver by its OpenAPI, each emulator by the schemas of its provider.

Whatever it thinks of, fitting or not, is answered, and answered as described. What is sent carries proof of who sends
it, so that it gets past the door.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from syncd.app import App, Outside
from syncd.config import load
from syncd.domain.identity import Identity
from syncd.emulators.http import HttpEmulator
from syncd.providers.rocketresponder.signature import signed_form
from syncd.receiver import document_path, receiver
from syncd.sync import one_click
from syncd.wire import Request, converse
from tests.conformance.bench import Bench
from tests.conformance.benches import Http, ReportingRokt, RocketResponder, Rocs, SalesRocks
from tests.schemas import FORM, ROOT, VIOLATIONS, index
from tests.world import CONFIG, hasty, quiet

examples = pytest.mark.parametrize("count", [3, pytest.param(40, marks=pytest.mark.long, id="many")])
"""For each call, so many of what fits and of what does not; `make long` looks further."""


def driven(operation: Any, once: Callable[[Any], None], count: int, **fixed: Any) -> None:
    """Hand cases to `once`: such as fit the description, and such as do not where there is something not to fit."""
    from schemathesis import GenerationMode

    modes = [GenerationMode.POSITIVE]
    free = {one.name for one in operation.path_parameters} - set(fixed.get("path_parameters", ()))
    if operation.body or operation.query or free:
        modes.append(GenerationMode.NEGATIVE)
    few = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for mode in modes:
        few(given(case=operation.as_strategy(generation_mode=mode, **fixed))(once))()


def request_of(case: Any, base: str) -> Request:
    import requests

    sent = requests.Request(**case.as_transport_kwargs(base_url=base)).prepare()
    body: Any = sent.body or b""
    headers = {str(name).lower(): str(value) for name, value in sent.headers.items()}
    return Request(str(sent.method), str(sent.url), headers, body.encode() if isinstance(body, str) else body)


# The receiver --------------------------------------------------------------------------------------------------------

DOCUMENT: dict[str, Any] = json.loads(document_path().read_bytes())
ROUTES = [(path, name) for path, item in DOCUMENT["paths"].items() for name in item if name != "parameters"]
FILLED = {
    "/in/{account}/leads": {"account": "leads"},
    "/in/{account}/unsubscribes": {"account": "leads"},
    "/in/{account}/webhook": {"account": "crm"},
    "/in/{account}/{list}/{action}/{secret}": {"account": "mail", "list": "154", "secret": "mail-hook"},
}


@cache
def described() -> Any:
    import schemathesis

    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def door(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Callable[[Request], httpx.Response], str]]:
    """What answers as the receiver does, and the token of a link that was sent to somebody."""
    quiet()
    folder = tmp_path_factory.mktemp("door")
    mirror, file = folder / "mirror.db", folder / "syncd.toml"
    mirror.write_bytes(sqlite_template.read_bytes())
    told = {"first_sync": "go", "max_count": 20, "on_unsubscribe": "remove", "on_absence": "ignore", "sales_list": "s"}
    file.write_text(CONFIG.format(url=f"sqlite:///{mirror}", **told))
    loaded = load(file, {})
    app = App(loaded, Outside(now=lambda: datetime(2026, 11, 21, 12, 0, tzinfo=UTC), engine_for=hasty))
    asgi = receiver(app.context, loaded.receiver, wake=lambda _: None, status=dict)
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=asgi), base_url="http://syncd.test")

    def send(request: Request) -> httpx.Response:
        return loop.run_until_complete(
            client.request(request.method, request.url, headers=request.headers, content=request.body)
        )

    yield send, one_click.make_token(one_click.signing_key(app.engine), Identity("ann@example.org"))
    loop.run_until_complete(client.aclose())
    loop.run_until_complete(app.aclose())
    loop.close()


@examples
@pytest.mark.parametrize(("path", "method"), ROUTES, ids=lambda part: part.strip("/"))
def test_the_receiver_answers_as_it_describes_itself(
    path: str, method: str, door: tuple[Callable[[Request], httpx.Response], str], count: int
) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    quiet()
    send, token = door
    held = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    basic = base64.b64encode(b"rokt:rokt-secret").decode()

    def once(case: Any) -> None:
        request = request_of(case, "http://syncd.test")
        signature = hmac.new(b"hook-secret", request.body, sha256).hexdigest()
        proofs = {"authorization": f"Basic {basic}", "x-rocs-signature": f"sha256={signature}"}
        answer = send(Request(request.method, request.url, {**request.headers, **proofs}, request.body))
        case.validate_response(answer, checks=held)

    filled = FILLED.get(path) or ({"token": token} if "{token}" in path else {})
    driven(described()[path][method], once, count, path_parameters=filled)


# The emulators -------------------------------------------------------------------------------------------------------

BENCHES: tuple[type[Bench], ...] = (Rocs, SalesRocks, RocketResponder, ReportingRokt, Http)
IDS = {"id": "L-1", "customerId": "100001", "account_id": "2581697744617019994"}
"""Ids that are there, so that not every answer is that nothing is."""


def calls_of(provider: str) -> list[str]:
    """The calls that a provider answers; what it sends to us has other tests."""
    inbound = re.compile(r"\w+ (/in/|\{callback_url\})")
    return [call for call, entry in index(provider).items() if entry["response"] and not inbound.match(call)]


PLACES = {place: path for path, place in HttpEmulator.places.items()}
"""Paths that an operator configures, as the emulator has them."""


@cache
def emulated(provider: str) -> Any:
    """The schemas of a provider as the document of an API."""
    import schemathesis

    files = (ROOT / provider).glob("*.schema.json")
    paths: dict[str, Any] = {}
    for call in calls_of(provider):
        method, _, path = call.partition(" ")
        path = PLACES.get(path, path)
        entry = index(provider)[call]
        form = provider == "rocketresponder" or path.endswith("/token")
        operation: dict[str, Any] = {
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for name in re.findall(r"\{(\w+)\}", path)
            ]
            + _query(provider, entry.get("query")),
            "responses": {status: {"description": "as documented"} for status in entry["response"]},
        }
        if entry["request"]:
            content = {FORM if form else "application/json": {"schema": _reference(entry["request"])}}
            operation["requestBody"] = {"required": True, "content": content}
        paths.setdefault(path, {})[method.lower()] = operation
    return schemathesis.openapi.from_dict(
        {
            "openapi": "3.1.0",
            "info": {"title": provider, "version": "1"},
            "paths": paths,
            "components": {"schemas": {_component(file.name): _schema(file) for file in files}},
        }
    )


def _component(name: str) -> str:
    return name.removesuffix(".schema.json").replace(".", "-")


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{_component(name)}"}


def _query(provider: str, name: str | None) -> list[dict[str, Any]]:
    """The parameters of the address, one by one."""
    if name is None:
        return []
    described = json.loads((ROOT / provider / name).read_text())
    needed, place = described.get("required", ()), _reference(name)["$ref"]
    return [
        {"name": one, "in": "query", "required": one in needed, "schema": {"$ref": f"{place}/properties/{one}"}}
        for one in described["properties"]
    ]


def _schema(file: Path) -> Any:
    """A schema as a part of a larger document: what it refers to within itself lies deeper there."""
    text = file.read_text().replace('"$ref": "#/', f'"$ref": "#/components/schemas/{_component(file.name)}/')
    return {key: value for key, value in json.loads(text).items() if key not in {"$schema", "$comment", "$id"}}


def proven(bench: Bench, request: Request, token: str) -> Request:
    """A request as one of ours would prove itself."""
    if bench.provider == "rocketresponder":
        endpoint = urlsplit(request.url).path.removeprefix("/api/")
        pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        try:
            signed = signed_form("priv_emulated", f"{bench.at}/api/{endpoint}", pairs, int(bench.clock().timestamp()))
        except ValueError:
            return request
        pair = base64.b64encode(f"pub_emulated:{signed.signature}".encode()).decode()
        return Request(request.method, request.url, {**request.headers, "authorization": f"Basic {pair}"}, signed.body)
    if bench.provider == "http":
        return Request(request.method, request.url, {**request.headers, **bench.emulator.proof}, request.body)
    if request.url.endswith("/auth/oauth2/token"):
        ours = f"Basic {base64.b64encode(b'rokt-app:rokt-app-secret').decode()}"
    else:
        ours = "rokt-key" if request.url.endswith("/unsubscribe") else f"Bearer {token}"
    return Request(request.method, request.url, {**request.headers, "authorization": ours}, request.body)


@examples
@pytest.mark.parametrize(
    ("bench", "call"),
    [
        pytest.param(bench, call, id=f"{bench.provider}-{call}")
        for bench in BENCHES
        for call in calls_of(bench.provider)
    ],
)
def test_an_emulator_answers_whatever_comes_as_its_provider_is_described(
    bench: type[Bench], call: str, count: int
) -> None:
    here = bench()
    adapter = here.adapter()
    token = converse(adapter.login(), here.emulator.handle).value if "CanLogin" in here.able else ""
    method, _, path = call.partition(" ")
    if path in PLACES:
        path, here.emulator.method, here.emulator.unsubscribe_method = PLACES[path], method, method
    statuses, logs_in = set(), bench is not ReportingRokt and path.endswith(("/token", "/accessToken"))

    def once(case: Any) -> None:
        request = request_of(case, here.at)
        if not logs_in:
            request = proven(here, request, token)
        statuses.add(here.emulator.handle(request).status)
        found, VIOLATIONS[:] = list(VIOLATIONS), []
        assert found == []

    filled = {name: IDS[name] for name in re.findall(r"\{(\w+)\}", path) if name in IDS}
    driven(emulated(bench.provider)[path][method.lower()], once, count, path_parameters=filled)
    assert logs_in or statuses & {200, 201, 400, 404, 409, 422, 500}, "got past the door"
