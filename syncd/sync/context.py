"""What every step of a cycle needs: the mirror, the clock, the rules, and one lane per account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from syncd.domain.consent import Scope
from syncd.domain.facts import Capabilities
from syncd.domain.hygiene import Hygiene
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId
from syncd.providers.fields import Rules
from syncd.providers.protocol import Provider
from syncd.reconcile.guard import Limits
from syncd.reconcile.person import Account, MailingList, Topology
from syncd.store import containers, journal, links
from syncd.store.links import Commanded
from syncd.store.sequence import Sequence
from syncd.store.session import Connection, Engine, writing
from syncd.sync.counted import Counted
from syncd.wire import Exchange

T = TypeVar("T")

WAIT_ABSURD_S = 900.0
"""How long to stay away from a provider that asks for longer than anybody can mean: from that nothing is known."""


class Carries(Protocol):
    """What carries exchanges: the carrier, over whatever transport."""

    async def carry(self, exchange: Exchange[T]) -> T: ...


@dataclass(slots=True)
class Traffic:
    """What moves in a lane. Where an account is configured anew, its new lane shares that with the one before it, in
    which something may still be under way.
    """

    urgent: bool = False  # an unsubscribe waits in the outbox: it goes out between two reads
    noticed: bool = False  # the provider gave notice of somebody: they are asked about between two reads
    news: int = 0  # records that deliveries told of: they come in beside whatever the lane is at
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Lane:
    """One account at work. One thing at a time happens in a lane; no lane waits for another."""

    name: str
    provider_name: str
    provider: Provider
    capabilities: Capabilities
    carrier: Carries
    settle_s: float
    full_every_s: float
    spread: bool = True
    max_age_s: float = 86_400.0
    look_ups_max: int = 500
    report_every_s: float = 3600.0
    rules: Rules = field(default_factory=Rules)
    late: frozenset[str] = frozenset()
    rename_open_s: float = 0.0
    rename_wait_s: float = 0.0
    rename_tolerance_s: float = 0.0
    hygiene: Hygiene | None = None
    hygiene_per_round: int = 0
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def lock(self) -> asyncio.Lock:
        return self.traffic.lock

    @property
    def urgent(self) -> bool:
        return self.traffic.urgent

    @urgent.setter
    def urgent(self, waits: bool) -> None:
        self.traffic.urgent = waits

    @property
    def news(self) -> int:
        return self.traffic.news

    @news.setter
    def news(self, told: int) -> None:
        self.traffic.news = told

    @property
    def noticed(self) -> bool:
        return self.traffic.noticed

    @noticed.setter
    def noticed(self, named: bool) -> None:
        self.traffic.noticed = named

    @property
    def asks_only(self) -> bool:
        """Cannot list anybody: everything known of it was asked for one by one."""
        return self.capabilities.lookup and not self.capabilities.snapshot


@dataclass(frozen=True, slots=True)
class ListConfig:
    """One list of ours as configured: the provider's ids by account, as people wrote them."""

    name: str
    scope: Scope
    places: Mapping[str, tuple[str, ...]]
    spread: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that the configuration sets."""

    limits: Limits = field(default_factory=Limits)
    hold_first_contact: bool = True
    mass_release_s: float = 12 * 3600.0
    unsubscribe_within_s: float = 48 * 3600.0
    flaps_max: int = 3
    attempts_max: int = 8
    backoff_s: float = 5.0
    backoff_max_s: float = 900.0
    breaker_after: int = 5
    breaker_max_s: float = 300.0
    push_batch: int = 500
    passes_max: int = 8
    plan_at_once: int = 100

    def wait_asked(self, seconds: float) -> timedelta:
        """How long to wait for a provider that asked for it: as long as it says, where it can mean that."""
        return timedelta(seconds=seconds if seconds <= self.backoff_max_s else min(WAIT_ABSURD_S, self.backoff_max_s))

    def breaks(self, failures: int) -> timedelta | None:
        """How long an account is left alone that gave no answer so many times in a row; None: it is tried again."""
        if failures < self.breaker_after:
            return None
        return timedelta(
            seconds=min(self.breaker_max_s, self.backoff_s * 2.0 ** min(failures - self.breaker_after, 16))
        )


@dataclass(slots=True)
class Planning:
    """Whoever plans very many people, part by part. `learning`: what they said is still being taken note of, so that
    nobody is decided about yet.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    learning: bool = False


@dataclass(slots=True)
class Context:
    """Everything a cycle works with; built by `syncd.app`, which exchanges lanes, lists and rules between two steps
    where the configuration is read anew: whoever awaited something looks here again.

    `now` is the wall clock (shown to people, compared only with itself), `jitter` gives 0…1, `new_id` ids that sort
    by time. `stir` is called when there may be something to plan, and the round that found it still waits elsewhere;
    `progress` and `at_work` are told what goes on at an account, for whoever watches; `alive` is called now and then in
    a step that takes long and never waits.
    """

    engine: Engine
    sequence: Sequence
    lanes: Mapping[str, Lane]
    lists: Mapping[str, ListConfig]
    policy: Policy
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    log: Any
    progress: Callable[[str, str, int, int | None], None] = lambda *_: None
    stir: Callable[[], None] = lambda: None
    owners: Mapping[str, str] = field(default_factory=dict)
    at_work: Callable[[str, bool], None] = lambda *_: None
    alive: Callable[[], None] = lambda: None
    counted: Counted = field(default_factory=Counted)
    planning: Planning = field(default_factory=Planning)

    def topology(self, connection: Any) -> Topology:
        """Where our lists live, resolved against what the accounts show, and how each account stands."""
        rows = {row.name: row for row in journal.load_accounts(connection)}
        known = containers.load_containers(connection)
        accounts = {
            lane.name: Account(
                name=lane.name,
                provider=lane.provider_name,
                capabilities=lane.capabilities,
                settle_s=lane.settle_s,
                spread=lane.spread,
                joined=lane.name in rows and rows[lane.name].joined,
                protected=lane.name in rows and bool(rows[lane.name].protected),
                late=lane.late | lane.capabilities.facts.looked_up,
                rename_open_s=lane.rename_open_s,
                rename_wait_s=lane.rename_wait_s,
                rename_tolerance_s=lane.rename_tolerance_s,
            )
            for lane in self.lanes.values()
        }
        lists = self._lists(self.commanded(connection), known)
        whole = {(row.account, ContainerId(row.container)): row.whole_seq for row in known if row.whole_seq}
        return Topology(
            accounts=accounts,
            lists=lists,
            whole=whole,
            owners=self.owners,
            flaps_max=self.policy.flaps_max,
            flaps_window_s=self.policy.limits.window_s,
            hygiene=next((lane.hygiene for lane in self.lanes.values() if lane.hygiene is not None), None),
        )

    def commanded(self, connection: Connection) -> list[Commanded]:
        """The links that commands made between lists and accounts that are configured, those that were ended too."""
        made = links.load(connection, {name: lane.provider_name for name, lane in self.lanes.items()})
        return [entry for entry in made if entry.list in self.lists]

    def _lists(self, commanded: list[Commanded], known: list[Any]) -> dict[str, MailingList]:
        lists = {}
        for entry in self.lists.values():
            mine = [made for made in commanded if made.list == entry.name]
            places: dict[str, tuple[ContainerId, ...]] = {}
            for account, ids in _merged(entry.places, [made for made in mine if made.unlinked_at is None]).items():
                if account in self.lanes:
                    places[account] = tuple(resolve(account, written, known) for written in ids)
            ended = {
                (made.account, ContainerId(made.container)): made.unlinked_at
                for made in mine
                if made.unlinked_at is not None and made.container not in places.get(made.account, ())
            }
            lists[entry.name] = MailingList(entry.name, entry.scope, places, entry.spread, ended)
        return lists

    def save_links(self) -> bool:
        """Write the resolved links down for the views; says whether they changed."""
        with writing(self.engine) as connection:
            return self.write_links(connection)

    def write_links(self, connection: Connection) -> bool:
        """As `save_links`, in a transaction of the caller's."""
        self._give_way(connection)
        found: list[containers.Link] = []
        for entry in self.topology(connection).lists.values():
            for account, ids in entry.places.items():
                found += [containers.Link(entry.name, account, container, entry.scope) for container in ids]
            for (account, container), until in entry.ended.items():
                found.append(containers.Link(entry.name, account, container, entry.scope, until))
        return containers.save_links(connection, found)

    def _give_way(self, connection: Connection) -> None:
        """A connection knows a list under one id: where the configuration names it, what a command linked has ended."""
        for made in self.commanded(connection):
            named = self.lists[made.list].places.get(made.account, ())
            if named and made.unlinked_at is None and self.lanes[made.account].capabilities.connection:
                links.unlink(connection, made, self.now())


def _merged(places: Mapping[str, tuple[str, ...]], more: Iterable[Commanded]) -> Mapping[str, tuple[str, ...]]:
    """The places that the configuration names, then those that commands linked besides."""
    merged = dict(places)
    for made in more:
        merged[made.account] = tuple(dict.fromkeys((*merged.get(made.account, ()), made.container)))
    return merged


def resolve(account: str, written: str, known: list[Any]) -> ContainerId:
    """The container that a configured id means: providers show several ids of one list, and people copy any of them."""
    mine = [row for row in known if row.account == account]
    if written == WHOLE_ACCOUNT or any(row.container == written for row in mine):
        return ContainerId(written)
    for row in mine:
        if written in {str(value) for value in row.remote.values()}:
            return ContainerId(row.container)
    return ContainerId(written)
