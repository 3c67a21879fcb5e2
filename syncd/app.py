"""The composition root:

builds store, carriers and adapters from the settings. The one place that reads the clock and draws random numbers.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import msgspec
import structlog

from syncd.carrier import Carrier
from syncd.domain.consent import Scope
from syncd.domain.errors import ConfigurationError, Problem, TakenOverError
from syncd.domain.hygiene import Band, Hygiene
from syncd.providers.fields import Rules
from syncd.providers.options import AccountOptions
from syncd.providers.protocol import capabilities_of
from syncd.providers.registry import provider_for
from syncd.providers.salesrocks.options import SalesRocksOptions
from syncd.reconcile.guard import Limits
from syncd.settings import Settings
from syncd.store import journal, mirror, outbox, people, protection, resync, waits, witness
from syncd.store.lock import FileLock
from syncd.store.plans import digest_of
from syncd.store.sequence import Sequence
from syncd.store.session import (
    Connection,
    Engine,
    current,
    fence,
    open_engine,
    reading,
    require_current,
    upgrade,
    writing,
)
from syncd.sync.context import Context, Lane, ListConfig, Policy
from syncd.sync.counted import Counted

HOLD_S = 60.0
"""How long a process holds the mirror without renewing."""

PERMIT_S = HOLD_S / 2
"""How long after a renewal requests are sent without another one."""


def wall_clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (the one place)


def sortable_id() -> str:
    """A UUIDv7: sorts by time in tables and logs."""
    millis = int(wall_clock().timestamp() * 1000)
    value = (millis << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Outside:
    """What comes from outside the program, so that a rehearsal can put its own in place: clock, chance, transport,
    and how the mirror at an address is opened.
    """

    now: Callable[[], datetime] = wall_clock
    jitter: Callable[[], float] = random.random
    new_id: Callable[[], str] = sortable_id
    transport: Any = None
    read_backoff_s: float = 0.5
    engine_for: Callable[[str], Engine] = open_engine


class App:
    """Everything built and connected. Use it as an async context manager: it closes what it opened."""

    def __init__(self, settings: Settings, outside: Outside | None = None, *, engine: Engine | None = None) -> None:
        """Opens the mirror, which must be at the revision this program needs;

        an SQLite mirror that does not exist yet is made.
        """
        self.settings = settings
        self.outside = outside or Outside()
        self.log = structlog.get_logger("syncd")
        self.engine = engine or _open(settings.mirror.url, self.outside.engine_for)
        self.on_request: Callable[[str, str, int | None], None] = lambda *_: None
        self.on_wait: Callable[[str, float], None] = lambda *_: None
        self.carriers: dict[str, Carrier] = {}
        self._counted = Counted()
        lanes = {name: self._lane(name, options) for name, options in settings.accounts.items()}
        self.context = Context(
            engine=self.engine,
            sequence=Sequence(self.engine),
            lanes=lanes,
            lists=lists_of(settings),
            policy=policy_of(settings),
            now=self.outside.now,
            jitter=self.outside.jitter,
            new_id=self.outside.new_id,
            log=self.log,
            owners=settings.owners,
            counted=self._counted,
        )
        self._token: int | None = None
        self._kept_at: float | None = None
        self._lock = FileLock(self.engine)
        self._load_late()
        with writing(self.engine) as connection:
            journal.ensure_accounts(connection, {name: lane.provider_name for name, lane in lanes.items()})
        self.context.save_links()

    def _lane(self, name: str, options: AccountOptions) -> Lane:
        linked = frozenset(i for entry in self.settings.lists.values() for i in entry.accounts.get(name, ()))
        provider = provider_for(options, linked=linked, now=self.outside.now)
        schedule = self.settings.schedule_of(name)
        count = self._counted.requests_of(name)

        def requested(label: str, status: int | None) -> None:
            count(label, status)
            self.on_request(name, label, status)

        carrier = Carrier(
            name,
            provider,
            now=self.outside.now,
            timeout_s=options.timeout,
            answer_bytes_max=options.answer_bytes_max,
            retry_after_max_s=options.retry_after_max,
            requests_per_second=options.requests_per_second,
            backoff_s=self.outside.read_backoff_s,
            transport=self.outside.transport,
            log=self.log,
            on_request=requested,
            on_wait=lambda seconds: self.on_wait(name, seconds),
            permit=self.permit,
        )
        self.carriers[name] = carrier
        return Lane(
            name=name,
            provider_name=options.provider,
            provider=provider,
            capabilities=capabilities_of(provider),
            carrier=carrier,
            settle_s=schedule.settle,
            full_every_s=schedule.full_every,
            spread=options.spread,
            max_age_s=getattr(options, "max_age", 86_400.0),
            look_ups_max=getattr(options, "lookups_per_round", 500),
            report_every_s=options.report_every,
            rules=Rules(
                kinds=self.settings.kinds,
                forms=options.formats,
                region=getattr(options, "phone_region", None),
                today=lambda: self.outside.now().date(),
                one_name=capabilities_of(provider).facts.one_name_field,
            ),
            rename_open_s=getattr(options, "rename_open", 0.0),
            rename_wait_s=getattr(options, "rename_wait", 0.0),
            rename_tolerance_s=getattr(options, "rename_tolerance", 0.0),
            hygiene=hygiene_of(name, options),
            hygiene_per_round=getattr(options, "hygiene_per_round", 0),
        )

    @property
    def intervals(self) -> dict[str, float]:
        """For each account, how often a round begins, in seconds."""
        settings = self.settings
        configured = {name: settings.schedule_of(name).interval for name in settings.accounts}
        return {name: configured.get(name, settings.schedule.interval) for name in self.context.lanes}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self.leave()
        for carrier in self.carriers.values():
            await carrier.aclose()
        self.engine.dispose()

    # Other settings --------------------------------------------------------------------------------------------------

    def turn_to(self, settings: Settings) -> Turned:
        """Go on with other settings, all of them or none. What is under way at an account ends with the old ones of
        that account; everything that is decided from here on follows the new ones.

        Raises `ConfigurationError` where something was changed that only a restart can change.
        """
        _same_place(self.settings, settings)
        context, before = self.context, self._as_it_is()
        lanes, carriers, old = dict(context.lanes), dict(self.carriers), self.settings
        self.settings = settings
        try:
            fresh = {name: self._turned(lanes.get(name), name, old) for name in settings.accounts}
            # Taken out, and something is under way there: it goes when that has ended.
            leaving = {n: lane for n, lane in lanes.items() if n not in fresh and lane.lock.locked()}
            context.lanes, context.lists = fresh | leaving, lists_of(settings)
            context.policy, context.owners = policy_of(settings), settings.owners
            with writing(self.engine) as connection:
                journal.ensure_accounts(connection, {name: lane.provider_name for name, lane in fresh.items()})
            self._load_late()
            context.save_links()
            self._replan_after_change()
        except BaseException:
            self.settings, self.carriers, context.lanes, context.lists, context.policy, context.owners = before
            raise
        return Turned(
            added=sorted(fresh.keys() - lanes.keys()),
            removed=sorted(lanes.keys() - fresh.keys()),
            changed=sorted(name for name in fresh.keys() & lanes.keys() if fresh[name] is not lanes[name]),
            ending=[(lane, carriers[name]) for name, lane in lanes.items() if fresh.get(name) is not lane],
        )

    def _as_it_is(self) -> tuple[Any, ...]:
        context = self.context
        return self.settings, dict(self.carriers), context.lanes, context.lists, context.policy, context.owners

    def _turned(self, lane: Lane | None, name: str, old: Settings) -> Lane:
        """The lane of an account under the present settings: the one it has, where nothing that makes it changed."""
        known = name in old.accounts
        if lane is not None and known and _makings(old, name) == _makings(self.settings, name):
            return lane
        fresh = self._lane(name, self.settings.accounts[name])
        if lane is not None:
            fresh.traffic = lane.traffic
        return fresh

    async def end(self, lane: Lane, carrier: Carrier) -> None:
        """Close what an account had before, once nothing is under way there any more."""
        async with lane.lock:
            if self.context.lanes.get(lane.name) is lane and lane.name not in self.settings.accounts:
                self.context.lanes = {n: one for n, one in self.context.lanes.items() if n != lane.name}
                self.carriers.pop(lane.name, None)
            await carrier.aclose()

    # Who works on the mirror -----------------------------------------------------------------------------------------

    def take(self) -> bool:
        """Become the one process that works on this mirror;

        False while another one does. Recovers what a stopped one left. From then on nothing is written, and nobody is
        called, once another process has taken over.
        """
        fence(self.engine, None)
        if not self._lock.take(self.who):
            return False
        try:
            taken = self._take()
        except BaseException:
            self._lock.release(in_order=False)
            raise
        if not taken:
            self._lock.release(in_order=False)
        return taken

    def _take(self) -> bool:
        now, seq = self.outside.now(), self.context.sequence.take()
        with reading(self.engine) as connection:
            gone = {self._lock.before, *_gone(journal.holding(connection, now) or "")}
        with writing(self.engine) as connection:
            doubted = witness.doubt(connection)
            self._token = journal.take_mirror(connection, self.who, now, HOLD_S, gone=gone)
            if self._token is None:
                return False
            self._protect(connection, doubted)
            recovered = outbox.recover(connection, seq, now, "syncd stopped during the call")
            people.put_on_agenda(connection, recovered, now)
            journal.abandon_runs(connection, now)
            if waits.from_later(connection, now):
                waits.end(connection, now)
            beat = journal.beat(connection)
        fence(self.engine, self._require)
        witness.note(self.engine, beat)
        if doubted:
            self.log.warning("mirror.protected", reason=doubted)
        if recovered:
            self.log.warning("outbox.recovered", unknown=len(recovered))
        self._replan_after_change()
        return True

    def keep(self) -> bool:
        """Renew the hold; False if another process has taken over."""
        if self._token is None:
            return False
        try:
            with writing(self.engine) as connection:
                kept = journal.keep_mirror(connection, self._token, self.outside.now(), HOLD_S)
                beat = journal.beat(connection)
        except TakenOverError:
            return False
        if kept:
            witness.note(self.engine, beat)
            self._kept_at = _monotonic()
        return kept

    def _require(self, connection: Connection) -> None:
        """Asked in each transaction that writes."""
        try:
            journal.require_token(connection, self._token)
        except TakenOverError:
            self._kept_at = None  # what is about to be sent need not wait to learn of it
            raise

    def permit(self) -> None:
        """Asked before each request. Raises `TakenOverError` where another process works on the mirror by now.

        Who was stopped for a while and wakes does not know: where the hold was not renewed of late, that is done first.
        """
        now = _monotonic()
        fresh = now is not None and self._kept_at is not None and now - self._kept_at < PERMIT_S
        if self._token is not None and not fresh and not self.keep():
            raise TakenOverError

    def leave(self) -> None:
        """Let others have the mirror. Who has lost it already ends no hold but its own."""
        fence(self.engine, None)
        try:
            if self._token is not None:
                with writing(self.engine) as connection:
                    journal.leave_mirror(connection, self._token, self.outside.now())
        finally:
            self._token = self._kept_at = None
            self._lock.release()

    @property
    def who(self) -> str:
        return f"{socket.gethostname()}/{os.getpid()}"

    def _protect(self, connection: Connection, doubted: str) -> None:
        """A mirror that was lost or put back is read anew, and adds nothing before somebody has looked."""
        now = self.outside.now()
        if doubted:
            protection.protect(connection, doubted, now)
        witness.settle(connection)
        if protection.take_mark(connection):
            unlisted = [lane.name for lane in self.context.lanes.values() if not lane.capabilities.snapshot]
            protection.list_nobody(connection, unlisted)
            asked = [lane.name for lane in self.context.lanes.values() if lane.asks_only]
            resync.forget_ages(connection, resync.Extent(dict.fromkeys(asked)), asked, now)

    def _replan_after_change(self) -> None:
        """Lists, scopes and options may have changed since the last start: then everybody is looked at again."""
        mark = shape_of(self.settings)
        with writing(self.engine) as connection:
            if journal.get_value(connection, "shape") != mark:
                self._reread_fields(connection)
                people.everybody_on_agenda(connection, self.outside.now())
                journal.set_value(connection, "shape", mark)

    def _reread_fields(self, connection: Connection) -> None:
        """Where other fields are mapped than before, records are read anew; what appears by that is nobody's edit."""
        for name, options in self.settings.accounts.items():
            lane = self.context.lanes[name]
            kinds = {field: str(self.settings.kinds.get(field, "")) for field in options.fields}
            mapped = {
                field: f"{kinds[field]} {options.formats.get(field, '')} {place}"
                for field, place in options.fields.items()
            }
            before = journal.get_value(connection, f"fields/{name}")
            known = _Mapped() if before is None else msgspec.json.decode(before, type=_Mapped)
            if before is not None and known.mapped != mapped:
                known.late = sorted({*known.late, *(f for f in mapped if mapped[f] != known.mapped.get(f))})
                lane.late = frozenset(known.late)
                mirror.forget_digests(connection, name)
                if lane.asks_only:
                    resync.forget_ages(connection, resync.Extent({name: None}), [name], self.outside.now())
            known.mapped = mapped
            journal.set_value(connection, f"fields/{name}", msgspec.json.encode(known).decode())

    def _load_late(self) -> None:
        with reading(self.engine) as connection:
            for name, lane in self.context.lanes.items():
                if (text := journal.get_value(connection, f"fields/{name}")) is not None:
                    lane.late = frozenset(msgspec.json.decode(text, type=_Mapped).late)


def _monotonic() -> float | None:
    """The clock of the loop that runs: no change of the wall clock moves it."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return None


def _gone(who: str) -> set[str]:
    """The holder, if it was a process of this host that is no more."""
    host, _, pid = who.rpartition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return set()
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return {who}
    except OSError:
        pass  # it lives, and is not ours to ask
    return set()


@dataclass(frozen=True, slots=True)
class Turned:
    """What other settings changed, by account. `ending`: what accounts had before, to be closed by `App.end`."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    ending: list[tuple[Lane, Carrier]]


def _same_place(old: Settings, new: Settings) -> None:
    places = {
        "mirror.url": (old.mirror.url, new.mirror.url),
        "receiver.listen": (old.receiver.listen, new.receiver.listen),
        "daemon.control": (old.daemon.control, new.daemon.control),
    }
    problems = [
        Problem(where, "changed, and cannot be while the daemon runs", "systemctl restart syncd; or put it back")
        for where, (before, after) in places.items()
        if before != after
    ]
    if problems:
        raise ConfigurationError(str(new.source or "environment"), problems)


def _makings(settings: Settings, name: str) -> tuple[Any, ...]:
    """Everything that the lane of an account is made from."""
    linked = {list_name: entry.accounts.get(name, ()) for list_name, entry in settings.lists.items()}
    return settings.accounts[name], settings.schedule_of(name), linked, settings.kinds


class _Mapped(msgspec.Struct):
    """Which fields an account mapped when it was last looked at, and those that were mapped after the others."""

    mapped: dict[str, str] = {}
    late: list[str] = []


def hygiene_of(name: str, options: AccountOptions) -> Hygiene | None:
    """The rules by which an account verifies new leads, if it is to."""
    if not isinstance(options, SalesRocksOptions) or not options.hygiene:
        return None
    return Hygiene(
        account=name,
        least=options.least_scores,
        spreads_from=Band(options.hygiene_spreads_from),
        max_age_s=options.hygiene_max_age,
    )


def lists_of(settings: Settings) -> Mapping[str, ListConfig]:
    return {
        name: ListConfig(name=name, scope=Scope(entry.scope), places=entry.accounts, spread=entry.spread)
        for name, entry in settings.lists.items()
    }


def policy_of(settings: Settings) -> Policy:
    guard = settings.guard
    return Policy(
        limits=Limits(max_share=guard.max_share, max_count=guard.max_count, window_s=guard.window),
        hold_first_contact=guard.first_sync == "hold",
        mass_release_s=guard.release_after,
        unsubscribe_within_s=guard.unsubscribe_within,
        flaps_max=guard.flaps_max,
        attempts_max=settings.push.attempts_max,
        backoff_s=settings.push.backoff,
        backoff_max_s=settings.push.backoff_max,
        breaker_after=settings.push.breaker_after,
        breaker_max_s=settings.push.breaker_max,
    )


HYGIENE_KEYS = ("hygiene", "hygiene_bands", "hygiene_spreads_from", "hygiene_max_age")


def shape_of(settings: Settings) -> str:
    """A digest of what decisions depend on, without any secret."""
    accounts = {
        name: [
            entry.provider,
            entry.spread,
            dict(entry.fields),
            dict(entry.formats),
            *(getattr(entry, key, None) for key in ("on_unsubscribe", "on_absence")),
            *(getattr(entry, key, None) for key in HYGIENE_KEYS if getattr(entry, "hygiene", False)),
        ]
        for name, entry in settings.accounts.items()
    }
    lists = {name: [entry.scope, entry.spread, dict(entry.accounts)] for name, entry in settings.lists.items()}
    fields = {name: [entry.owner, entry.kind] for name, entry in settings.fields.items()}
    return digest_of([accounts, lists, fields])


def _open(url: str, engine_for: Callable[[str], Engine]) -> Engine:
    engine = engine_for(url)
    if engine.dialect.name == "sqlite" and current(engine) is None:
        upgrade(url)
    require_current(engine)
    return engine
