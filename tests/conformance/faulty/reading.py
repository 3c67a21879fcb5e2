"""Adapters that break what holds for lists, listings, feeds, look-ups and reports."""

from __future__ import annotations

from dataclasses import replace

from syncd.domain.errors import MalformedError, ProviderError
from syncd.domain.identity import Identity
from syncd.domain.records import Page, Status
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from syncd.wire import Response
from tests.conformance.benches import Rocs, SalesRocks
from tests.conformance.faulty.breaks import breaks, heard
from tests.conformance.reference import PostboxAdapter

# Lists ---------------------------------------------------------------------------------------------------------------


@breaks("lists-whole", SalesRocks)
class ReadsOnePageOfLists(SalesRocksAdapter):
    def containers(self):
        emptied = False

        def once(response: Response) -> Response:
            nonlocal emptied
            sound, emptied = (b'{"status":"success","data":[]}' if emptied else response.body), True
            return replace(response, body=sound)

        return (yield from heard(super().containers(), once))


@breaks("lists-account", Rocs)
class ForgetsTheAccount(RocsAdapter):
    def containers(self):
        found = yield from super().containers()
        return [one for one in found if one.id != "*"]


# Listings ------------------------------------------------------------------------------------------------------------


@breaks("everybody-once", SalesRocks)
class TakesAShortPageForTheLast(SalesRocksAdapter):
    def snapshot(self, container, at):
        page = yield from super().snapshot(container, at)
        page.next = page.next if page.count >= self._options.page_size else None
        return page


@breaks("everybody-once")
class ShowsTheLastPageTwice(PostboxAdapter):
    def snapshot(self, container, at):
        page = yield from super().snapshot(container, at)
        page.next = "1" if page.next is None and not at else page.next
        return page


@breaks("page-whole")
class EndsWhereAPageFails(PostboxAdapter):
    def snapshot(self, container, at):
        try:
            return (yield from super().snapshot(container, at))
        except ProviderError:
            if at is None:
                raise
            return Page(b"", 0, tuple, None)


@breaks("page-goes-on")
class CountsPagesByItself(PostboxAdapter):
    number = 0

    def snapshot(self, container, at):
        self.number = 1 if at is None else self.number + 1
        page = yield from super().snapshot(container, str(self.number))
        page.next = page.next and "more"
        return page


@breaks("page-counts")
class CountsWrong(PostboxAdapter):
    def snapshot(self, container, at):
        page = yield from super().snapshot(container, at)
        page.count += 1
        return page


@breaks("record-stays")
class NamesRecordsByPlace(PostboxAdapter):
    def snapshot(self, container, at):
        page = yield from super().snapshot(container, at)
        stamp = int(self.now().timestamp())
        records = tuple(one._replace(key=f"{stamp}-{place}") for place, one in enumerate(page.records))
        return Page(page.body, page.count, lambda: records, page.next)

    def __init__(self, options, *, linked, now):
        super().__init__(options, linked=linked, now=now)
        self.now = now


@breaks("record-stays")
class LeavesTheStandingOut(PostboxAdapter):
    def snapshot(self, container, at):
        page = yield from super().snapshot(container, at)
        records = tuple(one._replace(raw=one.raw.partition(b', "status"')[0] + b"}") for one in page.records)
        return Page(page.body, page.count, lambda: records, page.next)


@breaks("read-pure")
class ReadsByTheDay(PostboxAdapter):
    def __init__(self, options, *, linked, now):
        super().__init__(options, linked=linked, now=now)
        self.now = now

    def read(self, container, record):
        seen = super().read(container, record)
        return seen._replace(fields={**seen.fields, "read_on": self.now().date().isoformat()})


@breaks("read-total", raises=KeyError)
class ExpectsAName(PostboxAdapter):
    def read(self, container, record):
        seen = super().read(container, record)
        return seen._replace(fields={"first_name": seen.fields["first_name"]})


@breaks("read-total")
class MailsAnybody(PostboxAdapter):
    def read(self, container, record):
        seen = super().read(container, record)
        return seen._replace(identity=Identity(seen.address))


@breaks("read-no-guess")
class TakesAnyWordForYes(PostboxAdapter):
    def read(self, container, record):
        seen = super().read(container, record)
        return seen._replace(status=Status.SUBSCRIBED if seen.status is Status.UNKNOWN else seen.status)


@breaks("read-blank")
class KeepsBlanks(PostboxAdapter):
    def read(self, container, record):
        seen = super().read(container, record)
        return seen._replace(fields={"first_name": "", "last_name": "", **seen.fields})


@breaks("feed-inclusive", Rocs)
class FollowsFromAfter(RocsAdapter):
    def feed(self, container, since, at):
        return (yield from super().feed(container, since.replace("Z", "1Z"), at))


@breaks("feed-news", Rocs)
class FeedsNobody(RocsAdapter):
    def feed(self, container, since, at):
        page = yield from super().feed(container, since, at)
        return replace(page, count=0, decode=tuple, next=None)


@breaks("lookup-all", SalesRocks)
class LooksAtOneRecord(SalesRocksAdapter):
    def lookup(self, target):
        found = yield from super().lookup(target)
        return found and found[:1]


@breaks("lookup-all")
class ShowsItsNeighbours(PostboxAdapter):
    def lookup(self, target):
        page = yield from self.snapshot(target.container, None)
        return [self.read(target.container, record) for record in page.records]


@breaks("lookup-nobody", raises=MalformedError)
class FailsForNobody(PostboxAdapter):
    def lookup(self, target):
        found = yield from super().lookup(target)
        if not found:
            raise MalformedError("nobody is there")
        return found


@breaks("lookup-harmless", Rocs)
class LooksByWriting(RocsAdapter):
    def lookup(self, target):
        request = self._calls.request("PUT", "customer", body=b"{}", ids={"id": target.keys[0] if target.keys else "0"})
        yield request
        return (yield from super().lookup(target))


@breaks("report-every", Rocs)
class ReportsOnePage(RocsAdapter):
    def campaigns(self, known_addresses, since):
        found = yield from super().campaigns(known_addresses, since)
        return found[:5]


@breaks("report-no-zero", Rocs)
class CountsNothingAsZero(RocsAdapter):
    def campaigns(self, known_addresses, since):
        found = yield from super().campaigns(known_addresses, since)
        return [replace(one, opened=one.opened or 0) for one in found]
