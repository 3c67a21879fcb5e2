"""One provider on the bench: its adapter, its emulator, and the same few things that can happen at any provider.

The suite knows providers by this alone; `benches.py` has one for each.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

from syncd.domain.changes import Ack, Change, ChangeKind, Target
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Delivery, Observation, Page, Record, Status
from syncd.emulators.emulator import Emulator
from syncd.providers import protocol
from syncd.providers.protocol import CanLogin, CanSnapshot, Provider, Token
from syncd.providers.registry import REGISTRY, Registered
from syncd.wire import Exchange, Request, Response, converse
from tests.emulated import watch
from tests.schemas import witness_delivery, witness_request

T = TypeVar("T")
Say = Callable[[Request], Response]

ABILITIES = {name: kind for name, kind in vars(protocol).items() if name.startswith("Can")}
PAGES_MAX = 200

ANN, BOB, CAT, NEW, NOBODY = (
    f"{name}@example.org" for name in ("ann.quill", "bob.reed", "cat.stone", "new.comer", "nobody")
)
PEOPLE = {ANN: ("Annabel", "Quill"), BOB: ("Bobby", "Reed"), CAT: ("Catrin", "Stone")}


class Row(NamedTuple):
    """One record as the provider itself has it, without the ids and times that differ from run to run."""

    container: str
    email: str
    status: Status
    name: str


@dataclass
class Clock:
    at: datetime = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def skip(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Bench(ABC):
    """What the suite must be told of a provider, and what it does with any of them."""

    provider: ClassVar[str]
    """Its name in the registry."""
    keys: ClassVar[Mapping[str, Any]]
    """Its section of the configuration."""
    place: ClassVar[str]
    """The id of a list there, and `other` of a second one."""
    other: ClassVar[str]
    at: ClassVar[str]
    """The address of the emulator."""
    able: ClassVar[frozenset[str]]
    """Which protocols it fulfils: said here once more, so that a lost ability is not a test that silently goes."""
    accepts: ClassVar[frozenset[ChangeKind]] = frozenset()
    updates_at: ClassVar[str] = ""
    """Where fields are written, if that is not the list itself."""
    secret_keys: ClassVar[tuple[str, ...]] = ()
    """The keys of the configuration that hold credentials for calls; with others in them nothing may be answered."""
    status_alone: ClassVar[frozenset[str]] = frozenset()
    """Labels of calls whose status alone is documented as the answer."""
    new_list: ClassVar[Mapping[str, str]] = {}
    """What a new list is given besides its name, and `bad_list` what makes one that is never taken of it."""
    bad_list: ClassVar[Mapping[str, str]] = {}
    otherwise: ClassVar[Mapping[tuple[str, int], str]] = {}
    """By label and status, what the documentation makes of a status: the name of an error, or of an outcome."""

    def __init__(self, factory: Callable[..., Provider] | None = None) -> None:
        self.factory = factory
        self.clock = Clock()
        self.emulator = self.pretend()
        watch(self.emulator)
        self.sent: list[Request] = []
        self._token: Token | None = None
        for email, names in PEOPLE.items():
            self.joins(email, *names)
        self.joins(BOB, *PEOPLE[BOB], place=self.other)

    # What each provider says of itself ------------------------------------------------------------------------------

    @abstractmethod
    def pretend(self) -> Any:
        """The emulator, with the two lists."""

    @abstractmethod
    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        """Somebody is put on a list there, without us."""

    @abstractmethod
    def leaves(self, email: str) -> None:
        """Somebody on the list unsubscribes there, without us."""

    @abstractmethod
    def census(self) -> Sequence[Row]:
        """Everybody on every list, as the provider has them."""

    def goes_odd(self, email: str, word: str) -> None:
        """The provider shows this word for somebody's status."""
        raise NotImplementedError

    def cut(self, size: int) -> None:
        """The provider gives at most so many on a page, whatever is asked."""
        raise NotImplementedError

    def add_list(self, name: str) -> None:
        raise NotImplementedError

    def lists(self) -> set[str]:
        raise NotImplementedError

    def expire(self) -> None:
        """Tokens that were given are not valid any more."""
        raise NotImplementedError

    def runs_campaign(self, name: str) -> str:
        """A campaign to the list that has sent 7 mails; its id."""
        raise NotImplementedError

    def listens(self) -> None:
        """The provider knows where to send what it tells us."""
        raise NotImplementedError

    def tests(self) -> None:
        """The provider tries whether it can reach us."""
        raise NotImplementedError

    def registered(self) -> list[str]:
        """The addresses to which notices are sent."""
        raise NotImplementedError

    # What can be done with any ---------------------------------------------------------------------------------------

    @property
    def registry(self) -> Registered[Any]:
        return REGISTRY[self.provider]

    def adapter(self, **changes: Any) -> Any:
        """A new adapter, of this provider or a faulty one made from it."""
        options = self.registry.options.model_validate({"provider": self.provider, **self.keys, **changes})
        make = self.factory or self.registry.adapter
        return make(options, linked=frozenset({self.place, self.other}), now=self.clock)

    def twin(self) -> Any:
        return type(self)(self.factory)

    @property
    def secrets(self) -> list[str]:
        return [str(self.keys[key]) for key in self.secret_keys]

    def carry(
        self,
        adapter: Provider,
        exchange: Exchange[T],
        say: Callable[[int, Request, Say], Response] | None = None,
        drive: Callable[[Exchange[T], Say], T] = converse,
    ) -> T:
        """Drive an exchange as the carrier does. `say` may answer the n-th request of the adapter in its own way."""
        count = -1

        def answer(request: Request) -> Response:
            nonlocal count
            count += 1
            assert isinstance(request, Request), "an exchange yields requests and nothing else"
            self.sent.append(request)
            honest = lambda asked: self._authorised(adapter, asked)  # noqa: E731 - read where it is used
            witness_request(self.emulator, request)
            return say(count, request, honest) if say else honest(request)

        return drive(exchange, answer)

    def _authorised(self, adapter: Provider, request: Request) -> Response:
        if not (request.token and isinstance(adapter, CanLogin)):
            return self.emulator.handle(request)  # type: ignore[no-any-return]
        self._token = self._token or converse(adapter.login(), self.emulator.handle)
        response: Response = self.emulator.handle(adapter.authorise(request, self._token))
        if response.status in adapter.login_again_on:
            self._token = converse(adapter.login(), self.emulator.handle)
            response = self.emulator.handle(adapter.authorise(request, self._token))
        return response

    def pages(self, container: str | None = None, fresh: bool = False, since: str | None = None) -> list[Page]:
        where, at, found = ContainerId(container or self.place), None, list[Page]()
        adapter = self.adapter()
        while len(found) < PAGES_MAX:
            adapter = self.adapter() if fresh else adapter
            asked = adapter.snapshot(where, at) if since is None else adapter.feed(where, since, at)
            found.append(self.carry(adapter, asked))
            at = found[-1].next
            if at is None:
                return found
        raise AssertionError("the listing does not end")

    def records(self, container: str | None = None) -> list[Record]:
        return [record for page in self.pages(container) for record in page.records]

    def everybody(self, container: str | None = None) -> list[Observation]:
        adapter = self.adapter()
        return [adapter.read(ContainerId(container or self.place), one) for one in self.records(container)]

    def target(self, email: str, place: str | None = None) -> Target:
        """Somebody as the mirror would know them: by every record of theirs that can be listed."""
        identity, where = Identity(email.lower()), place or self.place
        keys: tuple[str, ...] = ()
        account_key = None
        adapter = self.adapter()
        if isinstance(adapter, CanSnapshot):
            keys = tuple(one.key for one in self.everybody(where) if one.identity == identity)
            if WHOLE_ACCOUNT in self._containers():
                account_key = next((one.key for one in self.everybody("*") if one.identity == identity), None)
        return Target(ContainerId(where), identity, email, keys, account_key)

    def _containers(self) -> set[str]:
        adapter = self.adapter()
        return {one.id for one in self.carry(adapter, adapter.containers())} if "CanList" in self.able else set()

    def change(self, kind: ChangeKind, email: str, **fields: str) -> Change:
        place = self.updates_at or self.place if kind is ChangeKind.UPDATE else self.place
        who = self.target(email, place)
        return Change(kind, who.container, who.identity, email, who.keys, who.account_key, fields)

    def apply(self, *changes: Change) -> list[Ack]:
        adapter = self.adapter()
        return list(self.carry(adapter, adapter.apply(changes)))

    def of(self, email: str, place: str | None = None) -> list[Row]:
        """Somebody's rows on one list."""
        where = place or self.place
        return [row for row in self.census() if row.email.lower() == email.lower() and row.container == where]

    def others(self, *emails: str) -> list[Row]:
        return [row for row in self.census() if row.email.lower() not in emails]

    def deliveries(self) -> list[Delivery]:
        """What the provider has sent, as the receiver hands it over."""
        found = []
        while self.emulator.outgoing:
            request = self.emulator.outgoing.popleft()
            witness_delivery(self.emulator, request)
            url = urlsplit(request.url)
            route = tuple(url.path.split("/")[3:])
            headers = {name.lower(): value for name, value in request.headers.items()}
            pairs = tuple(parse_qsl(url.query, keep_blank_values=True))
            found.append(Delivery(route, request.method, headers, pairs, request.body, self.clock()))
        return found

    def talks(self) -> dict[str, Callable[[Any], Exchange[Any]]]:
        """Everything that one can talk about with this provider; each takes the adapter that is to do it."""
        place, at = ContainerId(self.place), self.updates_at
        new, named = {"first_name": "Newt", "last_name": "Comer"}, {"first_name": "Zenobia", "last_name": "Quill"}
        talks: dict[str, tuple[str, Callable[[Any], Exchange[Any]]]] = {
            "check": ("", lambda one: one.check()),
            "login": ("CanLogin", lambda one: one.login()),
            "containers": ("CanList", lambda one: one.containers()),
            "snapshot": ("CanSnapshot", lambda one: one.snapshot(place, None)),
            "feed": ("CanFeed", lambda one: one.feed(place, self.pages()[0].watermark or "", None)),
            "lookup": ("CanLookup", lambda one: one.lookup(self.target(ANN, at))),
            "campaigns": ("CanReport", lambda one: one.campaigns([ANN], None)),
            "update": (ChangeKind.UPDATE, lambda one: one.apply([self.change(ChangeKind.UPDATE, ANN, **named)])),
            "subscribe": (ChangeKind.SUBSCRIBE, lambda one: one.apply([self.change(ChangeKind.SUBSCRIBE, NEW, **new)])),
            "unsubscribe": (ChangeKind.UNSUBSCRIBE, lambda one: one.apply([self.change(ChangeKind.UNSUBSCRIBE, BOB)])),
            "vet": ("CanVet", lambda one: one.vet(ANN, "+46701234567")),
            "create_list": ("CanCreateList", lambda one: one.create_list("Autumn", self.new_list)),
            "register": ("CanRegister", lambda one: one.register("https://syncd.example/in/crm/webhook")),
        }
        can = {"", *self.able, *self.accepts}
        return {name: talk for name, (needed, talk) in talks.items() if needed in can}


def emulator_of(bench: Bench) -> Emulator:
    found: Emulator = bench.emulator
    return found


def odd(raw: bytes) -> Iterable[bytes]:
    """A record with each of its members, in turn, as nobody would expect it."""
    members: dict[str, Any] = json.loads(raw)
    yield b"{}"
    values: tuple[Any, ...] = (
        None,
        0,
        -1.5,
        True,
        "",
        " ",
        "\u0000\u202e",
        [],
        {},
        [{}],
        {"$oid": 3},
        10**30,
        "x" * 300,
    )
    for name in members:
        for value in values:
            yield json.dumps(members | {name: value}).encode()
        yield json.dumps({key: value for key, value in members.items() if key != name}).encode()
