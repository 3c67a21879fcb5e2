"""The whole system over real sockets: what lives in the network cannot be shown without one.

Emulators on loopback ports, a proxy before each, the real carriers, the real deadlines. Days still pass at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from syncd.app import App, Outside
from syncd.config import load
from tests.faults.proxy import Kind, Mishap, Proxy
from tests.scenes import configured
from tests.virtual import run
from tests.world import World, hasty

DEADLINE_S = 0.6
"""For accounts whose deadline is what a test is about; no other test may depend on how busy the machine is."""
PORTS = {"crm": ":8701", "sales": ":8702", "mail": ":8703", "leads": ":8704"}
"""Where the configuration of `World` has the four; here each port is that of its proxy."""


class EarthlyLoop(asyncio.SelectorEventLoop):
    """Waits as long as it takes, and can be set forward. Begins at 0."""

    def __init__(self) -> None:
        self._ahead = 0.0
        super().__init__()
        self._ahead = -super().time()

    def time(self) -> float:
        return super().time() + self._ahead

    def pass_time(self, seconds: float) -> None:
        self._ahead += seconds


class Wired(World):
    """A world whose every request goes over a socket, through the proxy of its account.

    `impatient`: the account that waits but `DEADLINE_S` for an answer. `tls`: what an account's server shows.
    """

    make_loop: Any = EarthlyLoop

    def __init__(self, *given: Any, impatient: str = "", tls: dict[str, Any] | None = None, **more: Any) -> None:
        self._impatient, self._tls = impatient, tls or {}
        self.proxies: dict[str, Proxy] = {}
        super().__init__(*given, **more)

    def _start(self) -> App:
        if not self.proxies:
            run(self.loop, self._plug_in())
            for name, port in PORTS.items():
                self._config = self._config.replace(port, f":{self.proxies[name].port}")
            if self._impatient:
                self._config = configured(self._config, **{self._impatient: f'timeout = "{DEADLINE_S}s"'})
            self.mail.signing_url = f"{self.proxies['mail'].address}/api"
        path = self._folder / "syncd.toml"
        path.write_text(self._config)
        outside = Outside(
            now=self.clock,
            jitter=self.rng.random,
            new_id=lambda: f"id-{next(self._ids):08d}",
            read_backoff_s=0.01,
        )
        app = App(load(path, {"SYNCD_MIRROR__URL": self.url}), outside, engine=hasty(self.url))
        assert app.take()
        return app

    async def _plug_in(self) -> None:
        for emulator, name in zip(self.emulators.values(), PORTS, strict=True):
            self.proxies[name] = Proxy(emulator, self._tls.get(name))
            await self.proxies[name].plug_in()

    def strike(self, name: str, kind: Kind, path: str = "", **how: Any) -> Mishap:
        """Let the next request to an account whose first line holds `path` meet this."""
        return self.proxies[name].strike(kind, path, **how)

    def plug_out(self, name: str) -> None:
        """Nobody listens at this account's address any more."""
        run(self.loop, self.proxies[name].plug_out())

    def plug_in(self, name: str) -> None:
        run(self.loop, self.proxies[name].plug_in())

    def close(self) -> None:
        run(self.loop, self.app.aclose())
        run(self.loop, self._plug_out())
        self.loop.close()

    async def _plug_out(self) -> None:
        for proxy in self.proxies.values():
            await proxy.plug_out()
        await self.loop.shutdown_default_executor()
