"""A status page with somebody in every place that it has, asked in process or served on loopback."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import uvicorn

from syncd.domain.identity import Identity
from syncd.domain.records import CampaignStats, Delivery
from syncd.emulators.emulator import Fault, FaultKind
from syncd.emulators.serve import bind_loopback
from syncd.receiver import receiver
from syncd.receiver.operator import Sessions
from syncd.settings import ReceiverSettings
from syncd.store import campaigns, inbox, journal, plans
from syncd.store.session import reading, writing
from syncd.sync import ingest, steer
from syncd.sync.standing import standing
from tests.scenes import person
from tests.world import World

TOKEN = "0123456789abcdef-operator"
LEADS_FROM = {
    "authorization": "Basic " + base64.b64encode(b"rokt:rokt-secret").decode(),
    "content-type": "application/json",
}
SCRIPT = '<script>document.title="owned"</script>'
NAMES = {
    "eve@example.org": (SCRIPT, "O'Neil & <b>Sons</b>"),
    "turned@example.org": ("\u202elive\u202c", "Reverse"),
    "shalom@example.org": ("שלום", "עולם"),
    "corn@example.org": ("🦄", "Corn " * 40),
}
"""People whose names would break a page that trusts them."""


class Site:
    """The receiver of a world, asked as somebody on this machine asks, unless told otherwise. Keeps cookies.

    `sessions`: of a process that had another receiver before.
    """

    def __init__(self, world: World, sessions: Sessions | None = None, **settings: Any) -> None:
        about = {"operator_token": TOKEN} | settings
        given = {key: value for key, value in about.items() if value is not None}
        self.world = world
        self.woken: list[str] = []
        self.cookies = httpx.Cookies()
        self.asgi = receiver(
            world.app.context,
            ReceiverSettings.model_validate(given),
            wake=self.woken.append,
            status=self.status,
            sessions=sessions,
        )

    def status(self) -> Mapping[str, Any]:
        """What `syncd status --json` prints."""
        return standing(self.world.app.context, dict.fromkeys(self.world.app.context.lanes, 300.0))[1]

    def ask(
        self, method: str, path: str, *, host: str = "localhost:8480", peer: str = "127.0.0.1", **about: Any
    ) -> httpx.Response:
        async def asking() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.asgi, client=(peer, 50_000))
            async with httpx.AsyncClient(
                transport=transport, base_url=f"http://{host}", cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **about)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asking())

    def log_in(self, token: str = TOKEN, **about: Any) -> httpx.Response:
        return self.ask("POST", "/login", data={"operator_token": token}, **about)

    def token(self) -> str:
        """What the forms of the page carry."""
        return token_in(self.ask("GET", "/contact").text)

    def act(self, what: str, id: str = "", **about: Any) -> httpx.Response:
        """Press a button, and look at the page that follows."""
        answer = self.ask("POST", "/act", data={"token": self.token(), "what": what, "id": id}, **about)
        return answer if answer.status_code != 303 else self.ask("GET", answer.headers["location"])


def token_in(page: str) -> str:
    """The token that the forms of a page carry."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found is not None, page[:2000]
    return found[1]


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The site on a port of its own; gives its address."""
    with bind_loopback(0) as sock:
        config = uvicorn.Config(site.asgi, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), name="site")
        thread.start()
        try:
            yield "http://{}:{}".format(*sock.getsockname())
        finally:
            server.should_exit = True
            thread.join(20)


# Scenes --------------------------------------------------------------------------------------------------------------


def held(world: World) -> list[Any]:
    """The plans that wait."""
    with reading(world.app.engine) as connection:
        return plans.load_plans(connection)


def crowded(world: World) -> World:
    """Something in every place of the page, and names that do harm where they are trusted.

    For a world that holds first contacts, so that everybody waits to be added. Two days pass without the CRM.
    """
    for email, (first, last) in NAMES.items():
        person(world, email, first, last)
    world.settle(2)
    context = world.app.context
    world.rocs.faults.append(Fault(FaultKind.NO_CONNECTION, times=10**6))
    ingest.unsubscribe(context, "shalom@example.org", source="operator", evidence="a letter")
    world.round()
    world.wait(49 * 3600)
    now = world.clock()
    lead = Delivery(("leads",), "POST", LEADS_FROM, (), b'{"email":"corn@example.org"}', now)
    delivery_id, _ = ingest.accept(context.lanes["leads"], context, lead)
    with writing(world.app.engine) as connection:
        inbox.settle_delivery(connection, delivery_id, "parked", "corn@example.org <i>cannot</i> be read")
        plans.record_claim(
            connection, account="mail", container="154", key="9", identity=Identity("corn@example.org"),
            scope="newsletter", status_seq=5, at=now,
        )  # fmt: skip
        for day in range(5):
            counts = CampaignStats("C1", "Été <i>indien</i>", 900, 300 * day, 40 * day, 9, day)
            campaigns.save_campaigns(connection, "crm", [counts], now - timedelta(days=5 - day))
        daily = [
            CampaignStats("77", "Checkout", opened=50 + day, clicked=day, day=f"2026-11-{day:02d}")
            for day in range(1, 9)
        ]
        campaigns.save_campaigns(connection, "leads", daily, now)
        journal.open_run(connection, "failed", "crm", now - timedelta(minutes=9))
        journal.close_run(connection, "failed", now - timedelta(minutes=8), "failed", "answered <b>503</b>", {})
        journal.open_run(connection, "goes on", "mail", now - timedelta(seconds=20))
    steer.pause(context, "leads")
    return world
