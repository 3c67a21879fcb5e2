"""Emulators on loopback ports with people in them, and the configuration that leads to them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog

from syncd.app import wall_clock
from syncd.carrier import Carrier
from syncd.domain.errors import SyncdError
from syncd.domain.facts import Facts
from syncd.emulators.emulator import Emulator, FaultKind
from syncd.emulators.http import HttpEmulator
from syncd.emulators.people import (
    LISTS,
    MAIL_LISTS,
    NEWSLETTER,
    ROCS_LISTS,
    SALES_LISTS,
    Town,
    invent,
    send_leads,
    settle,
)
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.emulators.serve import Served, address_of, bind_loopback, serving
from syncd.providers.rocketresponder.webhook import webhook_urls
from syncd.wire import Exchange

ACCOUNTS: Mapping[str, str] = {
    "rocs": "crm",
    "salesrocks": "sales",
    "rocketresponder": "mail",
    "rokt": "leads",
    "http": "partner",
}
"""Provider -> what its account is called in the configuration."""

IDS: Mapping[str, Mapping[str, str]] = {
    "rocs": ROCS_LISTS,
    "salesrocks": SALES_LISTS,
    "rocketresponder": MAIL_LISTS,
    "rokt": {NEWSLETTER: "*"},
    "http": {NEWSLETTER: "*"},
}
"""Provider -> one of our lists -> its id there. Not every list lives everywhere."""

ROCS_WEBHOOK_SECRET = "rocs-hook-secret"  # noqa: S105 - between two programs on this machine
MAIL_WEBHOOK_SECRET = "mail-hook-secret"  # noqa: S105 - as above
MIRROR = "sqlite:///rehearsal.db"

TOLD_OF = ("confirm", "unsubscribe", "modify", "bounce")
"""The webhooks set up at RocketResponder. Not `subscribe`: what counts is that somebody confirms."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Some of the emulators, each with the socket at which it is going to be served."""

    town: Town
    sockets: Mapping[str, socket.socket]
    rocs: RocsEmulator
    sales: SalesRocksEmulator
    mail: RocketResponderEmulator
    rokt: RoktEmulator
    partner: HttpEmulator

    @property
    def emulators(self) -> dict[str, Emulator]:
        """Those that are served, by provider."""
        every: tuple[Emulator, ...] = (self.rocs, self.sales, self.mail, self.rokt, self.partner)
        return {emulator.name: emulator for emulator in every if emulator.name in self.sockets}

    def address(self, provider: str) -> str:
        return address_of(self.sockets[provider])

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()

    def listen_to(self, receiver: str) -> None:
        """Let the providers send their notices to our receiver. ROCS is told by the daemon itself."""
        self.rokt.deliver_to = f"{receiver}/in/{ACCOUNTS['rokt']}"
        for lid in MAIL_LISTS.values():
            urls = webhook_urls(receiver, ACCOUNTS["rocketresponder"], lid, MAIL_WEBHOOK_SECRET)
            self.mail.webhook_urls |= {(lid, action): urls[action] for action in TOLD_OF}

    def writes(self) -> dict[str, int]:
        """How many calls asked each provider for a change, by its own log."""
        return {name: emulator.writes for name, emulator in self.emulators.items()}


def build(providers: Sequence[str], *, port: int = 0, seed: int = 0, now: Callable[[], datetime] = wall_clock) -> Stage:
    """Bind a port for each provider (`port` and those that follow; 0: any free ones) and move the people in."""
    sockets: dict[str, socket.socket] = {}
    try:
        for offset, name in enumerate(providers):
            sockets[name] = bind_loopback(port + offset if port else 0)
    except OSError as error:
        for sock in sockets.values():
            sock.close()
        raise SyncdError(
            f"port {port + len(sockets)} cannot be had: {error.strerror}", hint="--port 0 takes free ones"
        ) from error
    at = {name: address_of(sock) for name, sock in sockets.items()}
    somewhere = "http://127.0.0.1:9"  # of those that are not served
    stage = Stage(
        town=invent(seed),
        sockets=sockets,
        rocs=RocsEmulator(now, seed=seed, base_url=at.get("rocs", somewhere), resource="https://api.msp-cloud.com"),
        sales=SalesRocksEmulator(now, seed=seed, base_url=at.get("salesrocks", somewhere)),
        mail=RocketResponderEmulator(now, seed=seed, base_url=f"{at.get('rocketresponder', somewhere)}/api"),
        rokt=RoktEmulator(now, seed=seed, base_url=at.get("rokt", somewhere)),
        partner=HttpEmulator(now, seed=seed, base_url=at.get("http", somewhere)),
    )
    for emulator in stage.emulators.values():
        settle(stage.town, emulator)
    return stage


@asynccontextmanager
async def served(stage: Stage) -> AsyncIterator[Served]:
    """The emulators of the stage while they answer, and while what they send to us is carried."""
    carrier = Carrier(
        "emulators",
        _Nobody(),
        now=wall_clock,
        timeout_s=10,
        answer_bytes_max=1_000_000,
        retry_after_max_s=1,
        log=structlog.get_logger("syncd"),
    )
    pairs = [(emulator, stage.sockets[name]) for name, emulator in stage.emulators.items()]
    try:
        async with serving(pairs, send=carrier.send) as running:
            yield running
    finally:
        await carrier.aclose()


class _Nobody:
    """The provider of a carrier that only ever sends single requests."""

    facts = Facts()

    def check(self) -> Exchange[None]:
        yield from ()


# The configuration ---------------------------------------------------------------------------------------------------

HEAD = """\
# Pretend providers on this machine, for a rehearsal. They forget everything when they stop.

[mirror]
url = "{mirror}"

[receiver]
listen = "{listen}"
public_url = "http://{listen}"

[schedule]
interval = "{interval}"
settle = "{settle}"

[guard]
first_sync = "hold"
"""

ACCOUNT = {
    "rocs": """
[accounts.crm]
provider = "rocs"
base_url = "{at}"
token_url = "{at}/oauth2/token"
client_id = "rocs-client"
client_secret = "rocs-secret"
resource = "https://api.msp-cloud.com"
webhook_secret = "{rocs_hook}"
report_every = "{interval}"
""",
    "salesrocks": """
[accounts.sales]
provider = "salesrocks"
base_url = "{at}"
username = "sales@example.org"
password = "sales-secret"
on_unsubscribe = "field"
unsubscribe_field = "status"
report_every = "{interval}"
""",
    "rocketresponder": """
[accounts.mail]
provider = "rocketresponder"
base_url = "{at}/api"
public_key = "pub_emulated"
private_key = "priv_emulated"
webhook_secret = "{mail_hook}"
""",
    "rokt": """
[accounts.leads]
provider = "rokt"
unsubscribe_url = "{at}/1.0/nurture/unsubscribe"
api_key = "rokt-key"
inbound_auth = {{ kind = "basic", username = "rokt", password = "rokt-secret" }}
query_url = "{at}/v1/query"
query_token_url = "{at}/auth/oauth2/token"
app_id = "rokt-app"
app_secret = "rokt-app-secret"
account_id = "2581697744617019994"
report_every = "{interval}"
""",
    "http": """
[accounts.partner]
provider = "http"
endpoint = "{at}/subscribers"
test_endpoint = "{at}/test/subscribers"
auth = {{ kind = "api_key", header = "X-Api-Key", key = "http-key" }}
unsubscribe = {{ endpoint = "{at}/unsubscribes" }}
""",
}


def configuration(
    stage: Stage, *, mirror: str = MIRROR, listen: str = "127.0.0.1:8480", interval: str = "5s", settle: str = "1s"
) -> str:
    """The file that leads to the emulators of this stage: accounts, and the lists that they have in common."""
    names = list(stage.emulators)
    parts = [HEAD.format(mirror=mirror, listen=listen, interval=interval, settle=settle)]
    hooks = {"rocs_hook": ROCS_WEBHOOK_SECRET, "mail_hook": MAIL_WEBHOOK_SECRET}
    parts += [ACCOUNT[name].format(at=stage.address(name), interval=interval, **hooks) for name in names]
    for entry in LISTS:
        lines = [f'{ACCOUNTS[name]} = "{IDS[name][entry]}"' for name in names if entry in IDS[name]]
        if lines:
            parts.append("\n".join(["", f"[lists.{entry}]", *lines, ""]))
    return "".join(parts)


# A rehearsal ---------------------------------------------------------------------------------------------------------


def emulate(
    providers: Sequence[str], port: int = 0, seed: int = 0, faults: Sequence[str] = (), deliver_to: str | None = None
) -> int:
    """Serve these emulators until SIGINT or SIGTERM, and print the configuration for them on stdout.

    `faults` are such as `html=0.05` (each call of every emulator, with that chance) and `rocs:throttled=0.1` (of one).
    `deliver_to` is the address of a receiver that runs: then leads and notices are sent to it.
    """
    chances = chances_of(faults, providers)
    stage = build(providers, port=port, seed=seed)
    for name, emulator in stage.emulators.items():
        mine = chances.get(name, {})
        emulator.fault_rate = sum(mine.values())
        # As many of each kind as its chance has thousandths: one is drawn among all with equal chance.
        shares = Counter({kind: max(1, round(chance * 1000)) for kind, chance in mine.items() if chance})
        emulator.fault_kinds = tuple(shares.elements())
    asyncio.run(_emulate(stage, deliver_to))
    return 0


async def _emulate(stage: Stage, deliver_to: str | None) -> None:
    stop = asyncio.Event()
    with interrupted_by_signals(stop):
        async with served(stage):
            if deliver_to is not None:
                stage.listen_to(deliver_to.rstrip("/"))
                if "rokt" in stage.emulators:
                    send_leads(stage.town, stage.rokt)
            sys.stdout.write(configuration(stage))
            sys.stdout.flush()
            await stop.wait()


def chances_of(faults: Sequence[str], providers: Sequence[str]) -> dict[str, dict[FaultKind, float]]:
    """For each provider how likely each fault is. Raises `SyncdError` for what is none."""
    found: dict[str, dict[FaultKind, float]] = {name: {} for name in providers}
    for text in faults:
        place, _, fault = text.rpartition(":")
        word, _, chance = fault.partition("=")
        kinds = {kind.value: kind for kind in FaultKind}
        if word not in kinds or (place and place not in found):
            known = f"one of {', '.join(kinds)}" if word not in kinds else f"at one of {', '.join(found)}"
            raise SyncdError(f"no such fault: {text}", hint=f"{known}; such as html=0.05 or rocs:throttled=0.1")
        try:
            value = float(chance)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise SyncdError(f"no such chance: {text}", hint="a number from 0 to 1; such as html=0.05")
        for name in [place] if place else found:
            found[name][kinds[word]] = value
    for name, chances in found.items():
        if sum(chances.values()) > 1:
            raise SyncdError(f"faults at {name} come to more than 1", hint="their chances are added")
    return found


@contextlib.contextmanager
def interrupted_by_signals(event: asyncio.Event) -> Iterator[None]:
    """Set the event when the process is asked to end."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
