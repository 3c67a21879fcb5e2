"""Read an account: its lists, everyone in them, its campaigns.

Every page is written down before the next is asked for. Only a listing that counts as whole says anything about who
is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from syncd.domain.errors import UnauthorisedError
from syncd.domain.records import UNREAD, WHOLE_ACCOUNT, Container, ContainerId, Page, Record, digest_of, hides
from syncd.providers.protocol import CanFeed, CanList, CanReport, CanSnapshot
from syncd.reconcile.cover import cover
from syncd.reconcile.whole import SHIFTED, Evidence, another_account, doubt
from syncd.store import campaigns, caution, containers, dark, journal, mirror, outbox, people, plans
from syncd.store.containers import PageDigest
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context, Lane, resolve
from syncd.sync.lookups import look_up, note_movements
from syncd.sync.pulled import Between, Pulled, nothing
from syncd.sync.seen import observe
from syncd.sync.veil import veiled


async def pull(lane: Lane, context: Context, *, full: bool = False, between: Between = nothing) -> Pulled:
    """Read everything that is due at one account.

    Raises `ProviderError` where it cannot go on; what was read until then is kept.
    """
    pulled = Pulled()
    provider = lane.provider
    if isinstance(provider, CanList):
        found = await lane.carrier.carry(provider.containers())
        _same_account(lane, context, found)
        with writing(context.engine) as connection:
            moved = containers.save_containers(connection, lane.name, found)
            if lane.asks_only:
                note_movements(connection, lane, context)
        if moved and context.save_links():
            with writing(context.engine) as connection:
                people.everybody_on_agenda(connection, context.now())
    if isinstance(provider, CanSnapshot):
        for row in _containers_of(lane, context):
            if not full and _feed_is_enough(row, lane, context):
                await read_feed(lane, context, ContainerId(row.container), row.watermark, pulled)
                await between()
            else:
                await read_whole(lane, context, row, pulled, between)
    await look_up(lane, context, pulled, between=between)
    if isinstance(provider, CanReport):
        await _report(lane, context, pulled, full=full)
    return pulled


def _same_account(lane: Lane, context: Context, found: Sequence[Container]) -> None:
    """Raises, and keeps everything from going there, while none of its lists is one that it showed before."""
    shown = {entry.id for entry in found if entry.shown} - {WHOLE_ACCOUNT}
    with writing(context.engine) as connection:
        strange = another_account(containers.shown(connection, lane.name), shown)
        journal.note_stranger(connection, lane.name, strange)
    if strange:
        raise UnauthorisedError(
            f"{lane.name}: it shows none of the lists that it showed before: its credentials may be another account's",
            hint=f"put its credentials right; if this is the account: syncd account resume {lane.name}",
        )


def _containers_of(lane: Lane, context: Context) -> list[Any]:
    with reading(context.engine) as connection:
        return [row for row in containers.load_containers(connection, lane.name) if row.present]


def _feed_is_enough(row: Any, lane: Lane, context: Context) -> bool:
    if not lane.capabilities.feed or not row.watermark or row.whole_at is None or row.doubt or row.reread:
        return False
    age: timedelta = context.now() - row.whole_at
    return age < timedelta(seconds=lane.full_every_s)


# Whole listings ------------------------------------------------------------------------------------------------------

ROWS_A_COMMIT = 5000
"""Records of so many rows, in whole pages, are written in one transaction:

a commit waits for the disk, and the loop for both.
"""


@dataclass(slots=True)
class Listing:
    """A whole listing under way.

    `afresh`: every record is read, whatever it was before. `fresh`: pages other than last time; `pending`: pages read
    and not written down yet. `seen`: the digests of all pages so far; `met`: the records on those other than last time.
    `untouched`: nothing was known there when it began, and no delivery (counted in `news`) told of anybody since.
    """

    container: ContainerId
    began: int
    known: dict[int, PageDigest]
    untouched: bool
    news: int
    afresh: bool = False
    fresh: dict[int, PageDigest] = field(default_factory=dict)
    pending: list[tuple[int, int, Page, bytes]] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    met: set[str] = field(default_factory=set)
    seen: set[bytes] = field(default_factory=set)
    number: int = 0
    rows: int = 0
    total: int | None = None
    watermark: str | None = None
    repeated: bool = False
    first: Page | None = None
    first_count: int = 0
    last_count: int = 0
    first_same: bool | None = None

    @property
    def pending_rows(self) -> int:
        return sum(page.count for _, _, page, _ in self.pending)


async def read_whole(lane: Lane, context: Context, row: Any, pulled: Pulled, between: Between = nothing) -> None:
    """List everyone in one container. Records that have not changed are not even read."""
    provider = lane.provider
    assert isinstance(provider, CanSnapshot)
    container = ContainerId(row.container)
    began = context.sequence.take()
    with reading(context.engine) as connection:
        listing = Listing(
            container,
            began,
            known=containers.load_pages(connection, lane.name, container),
            untouched=not mirror.holds_any(connection, lane.name, container),
            news=lane.news,
            afresh=row.reread,
        )
    at: str | None = None
    while True:
        seq = context.sequence.take()
        page = await lane.carrier.carry(provider.snapshot(container, at))
        digest = digest_of(page.body)
        _turn(listing, page, digest, seq, pulled)
        if listing.repeated:
            break
        at = page.next
        if listing.pending_rows >= ROWS_A_COMMIT:
            _write_down(lane, context, listing, pulled)
        context.progress(lane.name, row.name, listing.rows, listing.total)
        if at is None:
            break
        if not lane.capabilities.facts.unsubscribe_removes:
            await between()  # a record taken away in the middle would shift the pages still to come
    _write_down(lane, context, listing, pulled)
    pulled.rows += listing.rows
    gone = _not_listed(lane, context, listing)
    if gone is not None and listing.first is not None:
        again = await lane.carrier.carry(provider.snapshot(container, None))
        pulled.pages += 1
        listing.first_same = _keys(again) == _keys(listing.first)
    _conclude(lane, context, listing, row, pulled, gone or set())


def _turn(listing: Listing, page: Page, digest: bytes, seq: int, pulled: Pulled) -> None:
    """Take one page in: only one that is other than last time needs to be worked on.

    One that holds nothing but what was on earlier pages repeats them: the listing goes in circles, and would for ever.
    """
    before = listing.known.get(listing.number + 1)
    same = before is not None and before.digest == digest and not listing.afresh
    keys = () if same else _keys(page)
    if page.count and (digest in listing.seen or (keys and listing.met.issuperset(keys))):
        listing.repeated = True
        return
    listing.seen.add(digest)
    listing.met.update(keys)
    listing.number += 1
    listing.rows += page.count
    if page.total is not None:
        listing.total = max(page.total, listing.total or 0)
    listing.last_count = page.count
    if listing.number == 1:
        listing.first, listing.first_count = page, page.count
        # Whatever changes while the listing goes on is newer than its first page.
        listing.watermark = page.watermark
    pulled.pages += 1
    if same:
        pulled.pages_same += 1
    else:
        listing.pending.append((listing.number, seq, page, digest))


def _write_down(lane: Lane, context: Context, listing: Listing, pulled: Pulled) -> None:
    if not listing.pending:
        return
    listing.untouched = listing.untouched and listing.news == lane.news
    with writing(context.engine) as connection:
        for number, seq, page, digest in listing.pending:
            keys = tuple(record.key for record in page.records)
            # Of a container nobody knows anything of, only what this very listing showed can be known.
            unknown = listing.untouched and listing.listed.isdisjoint(keys)
            listing.listed.update(keys if listing.untouched else ())
            clean = _observe(
                connection, lane, context, listing.container, page, seq, "listing", pulled,
                unknown=unknown, afresh=listing.afresh,
            )  # fmt: skip
            listing.fresh[number] = PageDigest(digest if clean else b"", keys)
    listing.pending.clear()


def _keys(page: Page) -> tuple[str, ...]:
    """Which records a page holds, in their order: what they say may change while a listing goes on."""
    return tuple(record.key for record in page.records)


def _not_listed(lane: Lane, context: Context, listing: Listing) -> set[str] | None:
    """The records that were listed before and are not now. None if nobody is missing, now or since earlier."""
    with reading(context.engine) as connection:
        past_end = [number for number in listing.known if number > listing.number]
        old = containers.load_page_keys(connection, lane.name, listing.container, [*listing.fresh, *past_end])
        listed = {key for page in listing.fresh.values() for key in page.keys} if old else set()
        gone = {key for keys in old.values() for key in keys if not key.startswith(UNREAD)} - listed
        return gone if gone or mirror.any_missing(connection, lane.name, listing.container) else None


def _conclude(lane: Lane, context: Context, listing: Listing, row: Any, pulled: Pulled, gone: set[str]) -> None:
    """Take a listing as whole, or say why not and infer nothing from it."""
    now, container = context.now(), listing.container
    with writing(context.engine) as connection:
        taken = _taken_away(connection, lane, row)
        evidence = Evidence(
            expected=row.rows - taken,
            rows=listing.rows,
            total=listing.total,
            repeated=listing.repeated,
            allowed=row.rows_allowed,
            short_last_page=listing.number <= 1 or listing.last_count < listing.first_count,
            missing=len(gone),
            first_page_same=listing.first_same,
            taken=taken,
        )
        containers.update_container(connection, lane.name, container, evidence=asdict(evidence))
        reason = doubt(evidence, context.policy.limits)
        if reason is not None:
            pulled.doubts.append(f"{container}: {reason}")
            if not row.doubt:  # said once, and not again by each listing until it is over
                context.log.warning("listing.doubted", account=lane.name, container=container, reason=reason)
            containers.update_container(connection, lane.name, container, doubt=reason, read_at=now)
            if reason != SHIFTED:
                plans.hold_absence(connection, lane.name, container, reason, evidence.rows, now)
            return
        listed = _hiding(listing)
        gone -= mirror.forget_keyless(connection, lane.name, container, listed)
        unread = _hide(listing, gone, listed)
        mirror.forget_unread(connection, lane.name, container, UNREAD, unread)
        containers.save_pages(connection, lane.name, container, listing.fresh, listing.number)
        # Behind a record that cannot be read may be anybody: nobody is missing then, and nobody was "never there". One
        # that lacks but its id says at least who else it is not.
        blind = mirror.any_nameless(connection, lane.name, container, unread)
        missing = [] if unread else mirror.mark_missing(connection, lane.name, container, gone, seq=listing.began)
        people.put_on_agenda(connection, missing, now)
        if listing.afresh:  # and not because of what was asked for while it went on
            containers.update_container(connection, lane.name, container, reread=False)
        containers.update_container(
            connection, lane.name, container, doubt="", read_at=now, whole_at=now, rows=listing.rows, rows_allowed=None,
            whole_seq=0 if blind else listing.began,
            watermark=max(listing.watermark or "", row.watermark or "") or None,
        )  # fmt: skip
        plans.drop_absence(connection, lane.name, container, now)
        if row.doubt:
            context.log.info("listing.whole_again", account=lane.name, container=container)
        if not row.whole_seq and not blind and len(context.lanes) > 1:
            # From now on it is known who is not here: whoever was decided about before that is looked at again.
            people.everybody_on_agenda(connection, now)


def _hiding(listing: Listing) -> list[str]:
    """The records of which it could not be read whose they are, or that could not be read at all."""
    return [key for page in listing.fresh.values() for key in page.keys if hides(key)]


def _hide(listing: Listing, gone: set[str], unread: list[str]) -> list[str]:
    """Whoever is gone may be one of those that could not be read: nobody is missing until all can be read.

    Who that is stays with the page, so that they are missed once everybody else is there.
    """
    if unread:
        number = next(n for n, page in listing.fresh.items() if unread[0] in page.keys)
        keys = (*listing.fresh[number].keys, *sorted(gone))
        listing.fresh[number] = PageDigest(b"", keys, hidden=len(gone))
    return unread


def _taken_away(connection: Connection, lane: Lane, row: Any) -> int:
    """How many fewer to expect because of us, where a "no" is written by taking the record away."""
    if not lane.capabilities.facts.unsubscribe_removes:
        return 0
    return outbox.taken_away(connection, lane.name, ContainerId(row.container), row.whole_seq)


def _observe(
    connection: Connection,
    lane: Lane,
    context: Context,
    container: ContainerId,
    page: Page,
    seq: int,
    route: str,
    pulled: Pulled,
    *,
    unknown: bool = False,
    afresh: bool = False,
) -> bool:
    """Write the changed records of a page down. False if one of them had to be left for the next time.

    `unknown`: it is certain that nothing is known of any of them. `afresh`: those that did not change are read as well,
    since a person asked for it.
    """
    digests = {record.key: digest_of(record.raw) for record in page.records}
    before = {} if unknown else mirror.known_digests(connection, lane.name, container, list(digests))
    same = {key for key, (digest, _) in before.items() if digest == digests[key] and not afresh}
    changed = [record for record in page.records if record.key not in same]
    mirror.reappeared(connection, lane.name, container, [key for key in sorted(same) if before[key][1]])
    if route == "feed":
        mirror.touch(connection, lane.name, container, sorted(same), seq, context.now())
    readings = veiled(connection, context, lane.name, _read(lane, container, changed, digests))
    fence = outbox.fenced(connection, lane.name, container, seq) if readings else set()
    admissible = [r for r in readings if r.observation.identity not in fence] if fence else readings
    if admissible:
        known = mirror.known_cells(connection, lane.name, container, sorted(before.keys() - same))
        seen = observe(connection, context, lane, admissible, known, seq=seq, route=route)
        pulled.new += seen.new
        pulled.changed += seen.changed
        _put_on_agenda(connection, context, seen, urgent=route == "feed")
        if afresh:
            caution.begin(connection, seen.people | seen.newcomers, context.now())
    if len(admissible) < len(readings):
        # Read before one of our writes ended: of these it shows nothing that may be believed, and is read again.
        left_out = len(readings) - len(admissible)
        context.log.info("page.inadmissible", account=lane.name, container=container, route=route, cells=left_out)
    # A listing has to meet each of them anew; a feed need not wait for an id that may never be shown.
    unread = any(hides(r.key) if route == "listing" else r.key.startswith(UNREAD) for r in page.records)
    return len(admissible) == len(readings) and not unread


def _read(lane: Lane, container: ContainerId, records: list[Record], digests: dict[str, bytes]) -> list[mirror.Reading]:
    provider = lane.provider
    assert isinstance(provider, (CanSnapshot, CanFeed))
    return [mirror.Reading(provider.read(container, record), digests[record.key]) for record in records]


def _put_on_agenda(connection: Connection, context: Context, seen: mirror.Observed, *, urgent: bool) -> None:
    """Plan those for whom something may follow.

    With one account only, that is of the newcomers nobody but who said no.
    """
    newcomers = seen.newcomers
    if len(context.lanes) == 1:
        newcomers = people.suppressed_among(connection, newcomers)
    people.put_on_agenda(connection, seen.people | newcomers, context.now(), urgent=urgent)


# Feeds ---------------------------------------------------------------------------------------------------------------


async def read_feed(lane: Lane, context: Context, container: ContainerId, since: str, pulled: Pulled) -> None:
    """Read what changed since the watermark, which moves with the last page."""
    provider = lane.provider
    assert isinstance(provider, CanFeed)
    at: str | None = None
    watermark = since
    first = True
    unread: list[str] = []
    while True:
        seq = context.sequence.take()
        page = await lane.carrier.carry(provider.feed(container, since, at))
        pulled.pages += 1
        pulled.rows += page.count
        if first and page.watermark:
            watermark = max(watermark, page.watermark)
        first = False
        with writing(context.engine) as connection:
            clean = _observe(connection, lane, context, container, page, seq, "feed", pulled)
            unread += [record.key for record in page.records if record.key.startswith(UNREAD)]
            if not clean:
                watermark = since  # somebody had to be left out: read the same again
            if page.next is None or page.next == at:
                mirror.forget_unread(connection, lane.name, container, f"{UNREAD}changed-", unread)
                containers.update_container(
                    connection, lane.name, container, watermark=watermark, read_at=context.now()
                )
                return
        at = page.next


# Campaigns -----------------------------------------------------------------------------------------------------------


async def _report(lane: Lane, context: Context, pulled: Pulled, *, full: bool) -> None:
    provider = lane.provider
    assert isinstance(provider, CanReport)
    with reading(context.engine) as connection:
        last = journal.load_account(connection, lane.name).last_report
        if last is not None and not full and context.now() - last < timedelta(seconds=lane.report_every_s):
            return
        members = campaigns.memberships_for_cover(connection, lane.name) if lane.capabilities.snapshot else {}
    stats = await lane.carrier.carry(provider.campaigns(cover(members), last))
    now = context.now()
    with writing(context.engine) as connection:
        pulled.samples += campaigns.save_campaigns(connection, lane.name, stats, now)
        known = containers.load_containers(connection, lane.name)
        for entry in stats:
            if entry.lists:
                covered = [resolve(lane.name, written, known) for written in entry.lists]
                dark.reckon_campaign(connection, lane.name, entry, covered, now)
        journal.update_account(connection, lane.name, last_report=now)
