"""The composition root:

builds store, carriers and adapters from the settings. The one place that reads the clock and draws random numbers.
"""

from __future__ import annotations

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
from syncd.domain.hygiene import Band, Hygiene
from syncd.providers.fields import Rules
from syncd.providers.options import AccountOptions
from syncd.providers.protocol import capabilities_of
from syncd.providers.registry import provider_for
from syncd.providers.salesrocks.options import SalesRocksOptions
from syncd.reconcile.guard import Limits
from syncd.settings import Settings
from syncd.store import journal, mirror, outbox, people, protection, resync, witness
from syncd.store.plans import digest_of
from syncd.store.sequence import Sequence
from syncd.store.session import Connection, Engine, current, open_engine, reading, require_current, upgrade, writing
from syncd.sync.context import Context, Lane, ListConfig, Policy

HOLD_S = 60.0
"""How long a process holds the mirror without renewing."""


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
        self.carriers: dict[str, Carrier] = {}
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
        )
        self._token: int | None = None
        self._load_late()
        with writing(self.engine) as connection:
            journal.ensure_accounts(connection, {name: lane.provider_name for name, lane in lanes.items()})
        self.context.save_links()

    def _lane(self, name: str, options: AccountOptions) -> Lane:
        linked = frozenset(i for entry in self.settings.lists.values() for i in entry.accounts.get(name, ()))
        provider = provider_for(options, linked=linked, now=self.outside.now)
        schedule = self.settings.schedule_of(name)
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

    # Who works on the mirror -----------------------------------------------------------------------------------------

    def take(self) -> bool:
        """Become the one process that works on this mirror;

        False while another one does. Recovers what a stopped one left.
        """
        now, seq = self.outside.now(), self.context.sequence.take()
        with writing(self.engine) as connection:
            doubted = witness.doubt(connection)
            self._token = journal.take_mirror(connection, self.who, now, HOLD_S)
            if self._token is None:
                return False
            self._protect(connection, doubted)
            recovered = outbox.recover(connection, seq, now)
            people.put_on_agenda(connection, recovered, now)
            journal.abandon_runs(connection, now)
            beat = journal.beat(connection)
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
        with writing(self.engine) as connection:
            kept = journal.keep_mirror(connection, self._token, self.outside.now(), HOLD_S)
            beat = journal.beat(connection)
        if kept:
            witness.note(self.engine, beat)
        return kept

    def leave(self) -> None:
        if self._token is not None:
            with writing(self.engine) as connection:
                journal.leave_mirror(connection, self._token, self.outside.now())
            self._token = None

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
        for name, lane in self.context.lanes.items():
            options = self.settings.accounts[name]
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
