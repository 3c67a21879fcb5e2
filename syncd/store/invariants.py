"""What must always be true of the mirror, as a table: each invariant with its rule, what a breach means, what to do.

A rule names what breaks it by numbers that say nothing about a person: operations, consent events, places. Cheap rules
begin with what people said, of which there is little, and go from there to the records by an index; what looks at every
record is left to a full check.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.consent import ConsentState, Level, fold
from syncd.reconcile.guard import Limits
from syncd.store import containers, mirror, outbox
from syncd.store.bulk import chunks
from syncd.store.session import known_head
from syncd.store.tables import ConsentEventRow, ConsentRow, ContainerRow, OpRow, PageRow

consent = ConsentRow.__table__  # type: ignore[attr-defined]
consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
page = PageRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500
SAMPLES = 200
"""People whose consent is folded anew in a check that is not full."""

STUCK = timedelta(hours=1)
"""How long after it fell due a change may lie untried at an account that is read well, or be under way."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a check saw of consent, for the next one to compare with: it may only have grown.

    `events`: the last one it saw; `noes`: how many of those up to there say no; `suppressed`: for how many scopes of
    people a "no" stood. `digest` covers the events up to `digested`, and is only made by a full check.
    """

    events: int = 0
    noes: int = 0
    suppressed: int = 0
    digested: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What the rules are told. `accounts`: those that are configured; `takes_noes`: those that can be told of a "no".

    `draw` gives 0…1, and chooses whom a check looks at that is not `full`. `stopped`: only unsubscribes are being sent;
    `free_since`: when that ended the last time.
    """

    now: datetime
    accounts: Sequence[str]
    takes_noes: Sequence[str]
    limits: Limits
    draw: Callable[[], float]
    before: Snapshot = field(default_factory=Snapshot)
    full: bool = False
    stopped: bool = False
    free_since: datetime | None = None


Broken = Sequence[str]
"""What breaks a rule, as numbers and names that say nothing about a person."""

Rule = Callable[[Connection, Look], Broken]


@dataclass(frozen=True, slots=True)
class Invariant:
    """`examples`: what the ids are that its rule finds: operations, events, places, faults."""

    name: str
    asserts: str
    means: str
    next: str
    examples: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Finding:
    invariant: Invariant
    broken: Broken

    @property
    def whole(self) -> bool:
        return not self.broken


def examine(connection: Connection, look: Look) -> list[Finding]:
    """Hold the mirror against every invariant, all in one consistent view. Reads only."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    return [Finding(invariant, invariant.rule(connection, look)) for invariant in INVARIANTS]


# Consent and what was sent -------------------------------------------------------------------------------------------

_REACHES = """({no}.scope = 'global' OR EXISTS (SELECT 1 FROM link l WHERE l.scope = {no}.scope
    AND l.account = {at}.account AND (l.container = {at}.container OR l.container = '*')
    AND (l.until IS NULL{came_until})))"""

_CAME_UNTIL = " OR x.status_at <= l.until"  # a record that came under a link that was ended since

_STANDS = "x.status IN ('subscribed', 'pending', 'bounced', 'unknown') AND x.missing_count = 0"

# Numbers order what one process did. A command may come from another one, whose numbers run ahead: there, times do.
_ADDED_SINCE = f"""
SELECT DISTINCT o.id FROM consent_event e CROSS JOIN op o
WHERE e.level >= 3 AND o.person_key = e.person_key AND o.kind <> 'unsubscribe'
  AND o.state NOT IN ('ready', 'superseded') AND (o.account || '') IN :accounts
  AND {_REACHES.format(no="e", at="o", came_until="")}
  AND (e.route <> 'command' AND e.seq < o.began_seq AND e.at <= o.sent_at OR e.route = 'command' AND e.at < o.sent_at)
  AND NOT EXISTS (SELECT 1 FROM consent_event y WHERE y.person_key = e.person_key AND y.scope = e.scope
                  AND y.epoch > e.epoch AND y.at <= o.sent_at)
  AND (o.state IN ('inflight', 'unknown', 'accepted')
       OR EXISTS (SELECT 1 FROM cell x WHERE x.person_key = o.person_key AND x.account = o.account
                  AND x.container = o.container AND x.identity = o.identity AND {_STANDS}))
"""  # noqa: S608  (nothing but what stands above comes into it)

_ADDS_NEXT = f"""
SELECT DISTINCT o.id FROM consent c CROSS JOIN op o
WHERE c.level >= 3 AND o.person_key = c.person_key AND o.kind <> 'unsubscribe' AND o.state = 'ready'
  AND (o.account || '') IN :accounts
  AND {_REACHES.format(no="c", at="o", came_until="")}
  AND NOT EXISTS (SELECT 1 FROM agenda a WHERE a.person_key = c.person_key)
"""  # noqa: S608  (nothing but what stands above comes into it)


def _nobody_is_added(connection: Connection, look: Look) -> Broken:
    found = {*_ids(connection, _ADDED_SINCE, look.accounts), *_ids(connection, _ADDS_NEXT, look.accounts)}
    return sorted(found, key=int)


_FORGOTTEN = f"""
SELECT DISTINCT c.event_id FROM consent c CROSS JOIN cell x
WHERE c.level >= 3 AND x.person_key = c.person_key AND {_STANDS} AND (x.account || '') IN :accounts
  AND {_REACHES.format(no="c", at="x", came_until=_CAME_UNTIL)}
  AND EXISTS (SELECT 1 FROM consent_event e WHERE e.person_key = c.person_key AND e.scope = c.scope
              AND e.level >= 3 AND NOT e.inferred)
  AND NOT EXISTS (SELECT 1 FROM agenda a WHERE a.person_key = c.person_key)
  AND NOT EXISTS (SELECT 1 FROM op o WHERE o.account = x.account AND o.container = x.container
                  AND o.identity = x.identity AND o.state IN ('ready', 'inflight', 'unknown', 'accepted'))
  AND NOT EXISTS (SELECT 1 FROM cell w JOIN account t ON t.name = w.account
                  WHERE t.provider = 'rokt' AND w.person_key = x.person_key AND w.account = x.account
                  AND w.identity = x.identity AND w.container = '*' AND w.status = 'unsubscribed'
                  AND w.grade <> 'assumed' AND w.status_seq >= x.status_seq)
  AND NOT EXISTS (SELECT 1 FROM plan_item i LEFT JOIN plan p ON p.account = i.account AND p.container = i.container
                  AND p.kind = i.kind AND p.hold = i.hold
                  WHERE i.account = x.account AND i.container = x.container AND i.identity = x.identity
                  AND i.kind = 'unsubscribe' AND (i.state = 'rejected' OR i.hold = 'mass' AND p.release_at IS NOT NULL))
"""  # noqa: S608  (nothing but what stands above comes into it)


def _every_no_is_on_its_way(connection: Connection, look: Look) -> Broken:
    return _ids(connection, _FORGOTTEN, look.takes_noes)


def _consent_is_its_events(connection: Connection, look: Look) -> Broken:
    """In a check that is not full: of a sample, met by way of events and by way of states."""
    keys = None if look.full else _sample(connection, look)
    states: dict[tuple[str, str], tuple[int, ConsentState]] = {}
    events: defaultdict[tuple[str, str], list[ConsentState]] = defaultdict(list)
    newest: dict[tuple[str, str], int] = {}
    for part in [None] if keys is None else list(chunks(keys, IN_MAX)):
        query = sa.select(consent.c.person_key, consent.c.scope, consent.c.event_id, consent.c.epoch, consent.c.level)
        for key, scope, event, epoch, level in connection.execute(_of(query, consent, part)):
            states[key, scope] = event, ConsentState(epoch, Level(level))
        names = ("person_key", "scope", "id", "epoch", "level")
        for key, scope, event, epoch, level in connection.execute(
            _of(sa.select(*(consent_event.c[name] for name in names)), consent_event, part)
        ):
            events[key, scope].append(ConsentState(epoch, Level(level)))
            newest[key, scope] = event
    return [
        str(states[at][0] if at in states else newest[at])
        for at in sorted({*states, *events})
        if at not in states or at not in events or fold(events[at])[:2] != states[at][1][:2]
    ]


def _of(query: sa.Select[Any], table: sa.Table, people: Sequence[str] | None) -> sa.Select[Any]:
    return query if people is None else query.where(table.c.person_key.in_(people))


def _sample(connection: Connection, look: Look) -> list[str]:
    last = connection.scalar(sa.select(sa.func.max(consent_event.c.id))) or 0
    drawn = sorted({1 + int(look.draw() * last) for _ in range(SAMPLES if last else 0)})
    found = set(connection.scalars(sa.select(consent_event.c.person_key).where(consent_event.c.id.in_(drawn))))
    for key in ["", *sorted(found)[:: max(1, len(found) // 20)]]:
        behind = sa.select(consent.c.person_key).where(consent.c.person_key > key).order_by(consent.c.person_key)
        found |= set(connection.scalars(behind.limit(SAMPLES // 20)))
    return sorted(found)


_UNFOUNDED = """
SELECT e.id FROM consent_event e
WHERE e.epoch > 0
  AND NOT EXISTS (SELECT 1 FROM consent_event y WHERE y.person_key = e.person_key AND y.scope = e.scope
                  AND y.epoch = e.epoch AND y.id <= e.id AND y.level < 3 AND NOT y.inferred AND TRIM(y.evidence) <> '')
UNION
SELECT c.event_id FROM consent c
WHERE c.epoch > 0
  AND NOT EXISTS (SELECT 1 FROM consent_event y WHERE y.person_key = c.person_key AND y.scope = c.scope
                  AND y.epoch = c.epoch AND y.level < 3 AND NOT y.inferred AND TRIM(y.evidence) <> '')
"""


def _every_yes_has_evidence(connection: Connection, _look: Look) -> Broken:
    return _ids(connection, _UNFOUNDED)


def _suppression_only_grows(connection: Connection, look: Look) -> Broken:
    before, now = look.before, snapshot(connection, look.before, full=False)
    seen = (consent_event.c.level >= int(Level.UNSUBSCRIBED), consent_event.c.id <= before.events)
    kept = _count(connection, consent_event, *seen)
    since = (consent_event.c.id > before.events, consent_event.c.level < int(Level.UNSUBSCRIBED))
    lifted = _count(connection, consent_event, *since, consent_event.c.epoch > 0)
    found = []
    if kept < before.noes:
        found.append(f"{before.noes - kept} events that said no are gone")
    if now.suppressed + lifted < before.suppressed:
        found.append(f"{before.suppressed - lifted - now.suppressed} noes are gone, and nobody took them back")
    if look.full and before.digested and _digest(connection, before.digested) != before.digest:
        found.append(f"events up to {before.digested} are other than they were")
    return found


def snapshot(connection: Connection, before: Snapshot, *, full: bool) -> Snapshot:
    """What the next check compares with."""
    last = connection.scalar(sa.select(sa.func.max(consent_event.c.id))) or 0
    return Snapshot(
        events=last,
        noes=_count(connection, consent_event, consent_event.c.level >= int(Level.UNSUBSCRIBED)),
        suppressed=_count(connection, consent, consent.c.level >= int(Level.UNSUBSCRIBED)),
        digested=last if full else before.digested,
        digest=_digest(connection, last) if full else before.digest,
    )


def _digest(connection: Connection, last: int) -> str:
    """Of what the events say, without whom they are about: people may be erased, and what was said stays."""
    names = ("id", "seq", "scope", "epoch", "level")
    query = sa.select(*(consent_event.c[name] for name in names)).where(consent_event.c.id <= last)
    found = hashlib.blake2b(digest_size=16)
    for row in connection.execute(query.order_by(consent_event.c.id)):
        found.update(msgspec.json.encode(tuple(row)))
    return found.hexdigest()


_UNWITNESSED = """
SELECT e.id FROM consent_event e
WHERE e.inferred AND e.route <> 'rename'
  AND NOT EXISTS (SELECT 1 FROM container n
                  WHERE n.account = e.source AND n.container = e.container AND n.whole_seq > 0)
UNION
SELECT e.id FROM consent_event e
WHERE e.inferred AND e.route <> 'rename'
  AND NOT EXISTS (SELECT 1 FROM cell x WHERE x.person_key = e.person_key AND x.account = e.source
                  AND x.container = e.container AND (x.status = 'removed' AND x.status_seq <= e.seq OR x.seq > e.seq))
"""


def _inferred_from_whole_pulls(connection: Connection, _look: Look) -> Broken:
    return _ids(connection, _UNWITNESSED)


# The outbox, the guard, the inbox ------------------------------------------------------------------------------------

_TWICE = """
SELECT MIN(o.id) FROM op o WHERE o.state IN ('ready', 'inflight', 'unknown', 'accepted')
GROUP BY o.account, o.container, o.identity HAVING COUNT(*) > 1
"""


def _one_open_operation(connection: Connection, _look: Look) -> Broken:
    return _ids(connection, _TWICE)


_IDLE = """
SELECT o.id FROM op o JOIN account a ON a.name = o.account
WHERE o.state = 'ready' AND o.attempts = 0 AND o.not_before < :since AND o.account IN :accounts AND a.state = 'ok'
  AND EXISTS (SELECT 1 FROM run r WHERE r.account = o.account AND r.result = 'success' AND r.ended_at IS NOT NULL
              AND r.started_at > o.not_before AND r.started_at > :free_since)
  AND (NOT :stopped OR o.kind = 'unsubscribe' AND EXISTS (SELECT 1 FROM consent_event e
       WHERE e.person_key = o.person_key AND e.level >= 3 AND NOT e.inferred AND NOT e.mass))
  AND NOT EXISTS (SELECT 1 FROM agenda g WHERE g.person_key = o.person_key)
UNION
SELECT o.id FROM op o
WHERE o.state IN ('inflight', 'unknown', 'accepted') AND (o.attempts = 0 OR o.began_seq = 0)
UNION
SELECT o.id FROM op o
WHERE o.state = 'inflight'
  AND (o.sent_at < :since OR NOT EXISTS (SELECT 1 FROM holder h WHERE h.until > :now))
"""


_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def _the_outbox_moves(connection: Connection, look: Look) -> Broken:
    query = sa.text(_IDLE).bindparams(
        sa.bindparam("accounts", value=list(look.accounts), expanding=True),
        sa.bindparam("since", value=look.now - STUCK, type_=op.c.not_before.type),
        sa.bindparam("now", value=look.now, type_=op.c.not_before.type),
        sa.bindparam("stopped", value=look.stopped, type_=sa.Boolean()),
        sa.bindparam("free_since", value=look.free_since or _EVER, type_=op.c.not_before.type),
    )
    return [str(value) for value in connection.scalars(query)]


def _the_guard_was_kept(connection: Connection, look: Look) -> Broken:
    """A list may have shrunk since: whoever was ever known there counts."""
    found = []
    sizes = containers.sizes(connection)
    since = look.now - timedelta(seconds=look.limits.window_s)
    for (account, cid, kind), count in sorted(outbox.count_guarded(connection, since).items()):
        if not look.limits.exceeded(count, sizes.get((account, cid), 0)):
            continue
        known = _count(connection, mirror.cell, mirror.cell.c.account == account, mirror.cell.c.container == cid)
        if look.limits.exceeded(count, known):
            found.append(f"{account}/{cid}/{kind.value}: {count}")
    return found


_UNREAD = """
SELECT i.id FROM inbox i
WHERE i.state NOT IN ('new', 'done', 'parked')
   OR i.state = 'new' AND i.received_at < :since
      AND EXISTS (SELECT 1 FROM run r
                  WHERE r.started_at > i.received_at AND r.ended_at < :since AND r.result = 'success')
"""


def _the_inbox_adds_up(connection: Connection, look: Look) -> Broken:
    since = sa.bindparam("since", value=look.now - STUCK, type_=op.c.not_before.type)
    return [str(value) for value in connection.scalars(sa.text(_UNREAD).bindparams(since))]


# Lists, counts, the database -----------------------------------------------------------------------------------------

_NOWHERE = """
SELECT DISTINCT 'link ' || l.list || ' at ' || l.account FROM link l
WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.name = l.account) OR l.scope = '' OR l.container = ''
UNION
SELECT DISTINCT 'list ' || n.container || ' at ' || n.account FROM container n
WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.name = n.account)
UNION
SELECT DISTINCT 'change ' || CAST(o.id AS TEXT) FROM op o
WHERE o.state IN ('ready', 'inflight', 'unknown', 'accepted')
  AND NOT EXISTS (SELECT 1 FROM account a WHERE a.name = o.account)
"""


def _everything_has_a_place(connection: Connection, _look: Look) -> Broken:
    return _ids(connection, _NOWHERE)


def _counts_agree(connection: Connection, look: Look) -> Broken:
    """A listing counts as whole only if it held as many as its provider says; what was kept of it must add up to that.

    In a full check: and each of its records is in the mirror.
    """
    kept = sa.select(page.c.account, page.c.container, sa.func.sum(page.c["count"])).group_by(
        page.c.account, page.c.container
    )
    pages = {(account, cid): int(count) for account, cid, count in connection.execute(kept)}
    found = []
    for row in containers.load_containers(connection):
        at = (row.account, row.container)
        if row.account not in look.accounts or not row.whole_seq:
            continue
        if pages.get(at, 0) != row.rows:
            found.append(f"{row.account}/{row.container}: {row.rows} listed, {pages.get(at, 0)} kept")
        elif look.full and (lost := _lost(connection, row)):
            found.append(f"{row.account}/{row.container}: {lost} records listed that are not in the mirror")
    return found


def _lost(connection: Connection, row: Any) -> int:
    lost = 0
    numbers = list(containers.load_pages(connection, row.account, row.container))
    for part in chunks(numbers, 20):
        pages = containers.load_page_keys(connection, row.account, row.container, part)
        keys = sorted({key for keys in pages.values() for key in keys})
        lost += len(keys) - len(mirror.known_digests(connection, row.account, row.container, keys))
    return lost


def _the_database_is_sound(connection: Connection, look: Look) -> Broken:
    found: list[str] = []
    if connection.dialect.name == "sqlite":
        pragmas = ("integrity_check" if look.full else "quick_check", "foreign_key_check")
        for pragma in pragmas:
            rows = connection.exec_driver_sql(f"PRAGMA {pragma}").all()
            found += [f"{pragma}: {_short(row)}" for row in rows if row[0] != "ok"]
    else:
        found += [f"index {name} is not valid" for name in connection.scalars(sa.text(_INVALID))]
        failures = connection.scalar(sa.text(_CHECKSUMS))
        found += [f"{failures} pages failed their checksum"] if failures else []
    at = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if at != known_head():
        found.append(f"schema at {at}, this program needs {known_head()}")
    return found


_INVALID = "SELECT CAST(indexrelid AS regclass) FROM pg_index WHERE NOT (indisvalid AND indisready)"
_CHECKSUMS = "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"


def _short(row: Iterable[Any]) -> str:
    """What SQLite says of a fault: names of tables and indexes, numbers of rows and pages."""
    return " ".join(str(value) for value in row).splitlines()[0][:200]


# The table -----------------------------------------------------------------------------------------------------------

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "nobody-is-added-after-a-no",
        "no change but an unsubscribe is sent, or about to be, to somebody whose no was known when it began",
        "somebody who said no was added or edited there by us, or would be next; they are shown until taken off again",
        "syncd explain EMAIL; the unsubscribe is planned by itself: syncd sync, then syncd check; report it",
        "operations",
        _nobody_is_added,
    ),
    Invariant(
        "every-no-is-on-its-way",
        "a no that people said reaches every linked record: it stands in the outbox, on the agenda, or with a release",
        "somebody who said no can still be mailed, and nothing was going to change that",
        "syncd inspect drift names them: take them off there by hand; report it",
        "events",
        _every_no_is_on_its_way,
    ),
    Invariant(
        "consent-is-its-events",
        "the consent state of everybody is what their events fold to",
        "the state or the events were changed by something else than syncd, or a backup is half restored",
        "syncd inspect consent; restore a backup: syncd db restore FILE",
        "events",
        _consent_is_its_events,
    ),
    Invariant(
        "every-yes-has-evidence",
        "an epoch of consent is opened by a person's own word, with its evidence, and by nothing else",
        "somebody's no was lifted without their word",
        "syncd unsubscribe EMAIL for whoever it was; restore a backup if there are many",
        "events",
        _every_yes_has_evidence,
    ),
    Invariant(
        "suppression-only-grows",
        "what said no at the last check says no at this one, but for what people took back themselves",
        "noes were lost: rows deleted or changed by something else than syncd",
        "restore a backup; or, if you know why and it is right: syncd check --accept",
        "faults",
        _suppression_only_grows,
    ),
    Invariant(
        "absence-is-seen-in-whole-pulls",
        "whoever is taken to have opted out by being gone was gone from a list that was read whole",
        "an opt-out was concluded from nothing",
        "syncd explain EMAIL; syncd sync --full reads the list again",
        "events",
        _inferred_from_whole_pulls,
    ),
    Invariant(
        "one-open-operation-each",
        "one record has at most one change under way",
        "two changes may contradict each other at the provider",
        "syncd inspect outbox; restore a backup, or drop one of the two by hand",
        "operations",
        _one_open_operation,
    ),
    Invariant(
        "the-outbox-moves",
        "each change in the outbox was tried, or will be when it falls due, and none is under way without anybody",
        "a change lies there that nobody sends",
        "syncd inspect outbox; restart the daemon, which recovers what is under way",
        "operations",
        _the_outbox_moves,
    ),
    Invariant(
        "the-guard-was-kept",
        "what was inferred, or adds people, stayed under the guard within its window, or was approved",
        "more went out than the guard lets pass; also seen for one window after the guard was made stricter",
        "syncd inspect outbox; look at the list at the provider",
        "places",
        _the_guard_was_kept,
    ),
    Invariant(
        "the-inbox-adds-up",
        "every delivery is done, parked, or about to be read",
        "something that was sent to us is left lying",
        "syncd inspect parked; syncd sync reads what is new",
        "deliveries",
        _the_inbox_adds_up,
    ),
    Invariant(
        "everything-has-a-place",
        "links, lists and changes belong to an account that is known",
        "rows are left whose account is gone",
        "syncd config check; restart the daemon, which writes the links anew",
        "places",
        _everything_has_a_place,
    ),
    Invariant(
        "counts-agree",
        "what was kept of the latest whole listing of each list is as many as the provider says it holds",
        "the mirror of a list is not what was read",
        "syncd sync ACCOUNT --full",
        "places",
        _counts_agree,
    ),
    Invariant(
        "the-database-is-sound",
        "the database finds no fault in itself, and its schema is the one this program knows",
        "the disk, or a copy of the file, is damaged",
        "stop the daemon; syncd db restore FILE; look after the disk",
        "faults",
        _the_database_is_sound,
    ),
)


# Inside --------------------------------------------------------------------------------------------------------------


def _ids(connection: Connection, query: str, accounts: Sequence[str] | None = None) -> list[str]:
    text = sa.text(query)
    if accounts is not None:
        text = text.bindparams(sa.bindparam("accounts", value=list(accounts), expanding=True))
    return sorted((str(value) for value in connection.scalars(text)), key=lambda value: (len(value), value))


def _count(connection: Connection, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0
