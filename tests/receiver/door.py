"""The door with the mirror behind it, and what senders bring to it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from syncd.app import App, Outside
from syncd.config import load
from syncd.domain.consent import Level, Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.receiver import receiver
from syncd.receiver.server import server_config
from syncd.store import people
from syncd.store.session import reading
from syncd.sync import one_click, preferences, subscribing
from syncd.sync.ingest import ingest
from syncd.sync.plan import plan_at_once
from syncd.sync.signed import signing_key
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


FORMED = (
    CONFIG
    + """
[lists.events]
crm = "L-2"

[receiver]
public_url = "https://sync.example.org"

[subscribe_form]
lists = ["newsletter", "events"]
titles = {{ newsletter = "Monthly news" }}
confirm_command = ["/bin/sh", "-c", "cat >>mails; exit $(cat code 2>/dev/null || echo 0)"]
"""
)
"""The same with a form for each of two lists; its program writes into the folder where it is started."""


class Door:
    """The application, the mirror behind it, and what it woke."""

    def __init__(self, url: str, folder: Path, *, leads: str = "", config: str = CONFIG, **environ: str) -> None:
        path = folder / "syncd.toml"
        path.write_text(
            config.format(
                url=url, first_sync="go", max_count=20, on_unsubscribe="remove", on_absence="ignore", sales_list="s"
            )
            .replace('webhook_secret = "mail-hook"', 'webhook_secret = "mail/hook+1"')
            .replace('api_key = "rokt-key"', f'api_key = "rokt-key"\n{leads}')
        )
        self.now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        given = {"SYNCD_MIRROR__URL": url, "SYNCD_RECEIVER__BODY_BYTES_MAX": str(LIMIT)}
        settings = load(path, given | environ)
        self.receiver_settings = settings.receiver
        self.form = settings.subscribe_form
        self.public_url = settings.receiver.public_url or ""
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
            form=self.form,
        )

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The same on a port, as the daemon serves it."""
        server = uvicorn.Server(server_config(self.asgi, self.receiver_settings, 1.0))
        with socket.create_server(("127.0.0.1", 0)) as sock:
            serving = asyncio.create_task(server._serve([sock]))
            while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
                await asyncio.sleep(0.001)
            try:
                yield sock.getsockname()[1]
            finally:
                server.should_exit = True
                server.force_exit = True
                await serving

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.asgi), base_url="http://localhost")

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
        plan_at_once(self.context)

    def tokens(self) -> dict[str, str]:
        """Links of Ann, by the route that they lead to."""
        key, until = signing_key(self.app.engine), self.now + timedelta(days=1)
        wish = subscribing.Wish(ANN, ("newsletter",), {}, self.now)
        return {
            "/unsubscribe/{token}": one_click.make_token(key, ANN),
            "/preferences/{token}": preferences.make_token(key, ANN),
            "/confirm/{token}": subscribing.make_token(key, wish, until),
        }

    def close(self) -> None:
        asyncio.run(self.app.aclose())


def signed(body: bytes, secret: bytes = b"hook-secret") -> dict[str, str]:
    return JSON | {"x-rocs-signature": f"sha256={hmac.new(secret, body, sha256).hexdigest()}"}


async def carried(door: Door, request: Request) -> Response:
    """What our receiver answers to a request that an emulator sends."""
    answer = await door.send(request.method, request.url, headers=dict(request.headers), content=request.body)
    return Response(answer.status_code, dict(answer.headers), answer.content)
