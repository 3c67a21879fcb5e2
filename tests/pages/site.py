"""A world whose status page is served on loopback, with somebody in every place that the page has."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import uvicorn

from syncd.emulators.serve import bind_loopback
from syncd.receiver import receiver
from syncd.settings import ReceiverSettings
from syncd.sync.standing import standing
from tests.world import World

TOKEN = "0123456789abcdef-operator"


class Site:
    """The receiver of a world, over HTTP."""

    def __init__(self, world: World, settings: ReceiverSettings, sock: socket.socket) -> None:
        self.world = world
        self.woken: list[str] = []
        self.address = "http://{}:{}".format(*sock.getsockname())
        self.asgi = receiver(world.app.context, settings, wake=self.woken.append, status=self.status)

    def status(self) -> Mapping[str, Any]:
        """What `syncd status --json` prints."""
        return standing(self.world.app.context, dict.fromkeys(self.world.app.context.lanes, 300.0))[1]

    @contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.address, timeout=20) as client:
            yield client

    @contextmanager
    def operator(self, token: str = TOKEN) -> Iterator[httpx.Client]:
        """Somebody who has logged in."""
        with self.visitor() as client:
            answer = client.post("/login", data={"operator_token": token})
            assert answer.status_code == 303, answer.text
            yield client


@contextmanager
def served(world: World, **settings: Any) -> Iterator[Site]:
    """The site on a port of its own, for as long as the test looks at it. An operator can log in unless told not to."""
    about = {"operator_token": TOKEN} | settings
    given = ReceiverSettings.model_validate({key: value for key, value in about.items() if value is not None})
    with bind_loopback(0) as sock:
        site = Site(world, given, sock)
        config = uvicorn.Config(site.asgi, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), name="site")
        thread.start()
        try:
            yield site
        finally:
            server.should_exit = True
            thread.join(20)


def token_in(page: str) -> str:
    """The token that the forms of a page carry."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found is not None, page[:2000]
    return found[1]
