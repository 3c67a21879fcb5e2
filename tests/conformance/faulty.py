"""Adapters that break one sentence each: the suite must notice every one of them.

Each is made from an adapter that keeps the whole protocol, by the smallest change that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from syncd.domain.changes import Ack, ChangeKind, Outcome
from syncd.domain.errors import MalformedError, ProviderError, RefusedError, UnauthorisedError
from syncd.domain.identity import Identity
from syncd.domain.records import Container, ContainerId, Hint, Page, Status
from syncd.providers.protocol import Token
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from syncd.wire import Exchange, Request, Response
from tests.conformance.bench import NOBODY, Bench
from tests.conformance.benches import MarkingSalesRocks, Postbox, Rocs, SalesRocks
from tests.conformance.reference import PostboxAdapter


class Faulty(NamedTuple):
    sentence: str
    bench: type[Bench]
    adapter: Callable[..., Any]
    raises: type[Exception] | None = None
    """What the fault itself raises in the middle of the check, if anything."""


FAULTY: list[Faulty] = []


def breaks(
    sentence: str, bench: type[Bench] = Postbox, *, raises: type[Exception] | None = None
) -> Callable[[type], type]:
    def note(adapter: type) -> type:
        FAULTY.append(Faulty(sentence, bench, adapter, raises))
        return adapter

    return note


def changed(exchange: Exchange[Any], change: Callable[[Request], Request]) -> Exchange[Any]:
    """An exchange whose requests leave it otherwise."""
    try:
        request = next(exchange)
        while True:
            request = exchange.send((yield change(request)))
    except StopIteration as stop:
        return stop.value


def heard(exchange: Exchange[Any], change: Callable[[Response], Response]) -> Exchange[Any]:
    """An exchange that hears other answers than were given."""
    try:
        request = next(exchange)
        while True:
            request = exchange.send(change((yield request)))
    except StopIteration as stop:
        return stop.value


# Every exchange ------------------------------------------------------------------------------------------------------


@breaks("pure")
class ReadsTheClock(PostboxAdapter):
    def containers(self):
        self.asked_at = datetime.now(UTC)
        return (yield from super().containers())


@breaks("pure")
class WritesAFile(PostboxAdapter):
    def lookup(self, target):
        Path("/dev/null").write_bytes(b"somebody was looked up")
        return (yield from super().lookup(target))


@breaks("no-state")
class RemembersTheLists(PostboxAdapter):
    known: Sequence[Container] | None = None

    def containers(self):
        if self.known is None:
            self.known = yield from super().containers()
        return self.known


@breaks("no-retry")
class TriesAgain(PostboxAdapter):
    def containers(self):
        try:
            return (yield from super().containers())
        except ProviderError:
            return (yield from super().containers())


@breaks("repeatable", SalesRocks)
class SaysThatAddingMayBeRepeated(SalesRocksAdapter):
    def apply(self, changes):
        return (yield from changed(super().apply(changes), lambda request: replace(request, repeatable=True)))


@breaks("repeatable")
class SaysThatAYesMayBeRepeated(PostboxAdapter):
    def apply(self, changes):
        return (yield from changed(super().apply(changes), lambda request: replace(request, repeatable=True)))


@breaks("unreadable")
class TakesNonsenseForNobody(PostboxAdapter):
    def lookup(self, target):
        try:
            return (yield from super().lookup(target))
        except MalformedError:
            return []


@breaks("unreadable")
class TakesSilenceForYes(PostboxAdapter):
    def apply(self, changes):
        try:
            return (yield from super().apply(changes))
        except MalformedError:
            return [Ack(Outcome.ACCEPTED) for _ in changes]


@breaks("named-faults")
class SwallowsAnError(PostboxAdapter):
    def snapshot(self, container, at):
        try:
            return (yield from super().snapshot(container, at))
        except ProviderError:
            return Page(b"", 0, tuple, None)


@breaks("named-faults")
class TakesEveryRefusalForABadRecord(PostboxAdapter):
    def apply(self, changes):
        try:
            return (yield from super().apply(changes))
        except UnauthorisedError as error:
            raise RefusedError(error.message) from None


@breaks("discreet")
class TellsWhomItLookedFor(PostboxAdapter):
    def lookup(self, target):
        try:
            return (yield from super().lookup(target))
        except ProviderError as error:
            raise type(error)(f"{target.address}: {error.message}") from None


@breaks("discreet")
class LabelsCallsByPerson(PostboxAdapter):
    def lookup(self, target):
        label = f"look for {target.address}"
        return (yield from changed(super().lookup(target), lambda request: replace(request, label=label)))


@breaks("capabilities")
class ClaimsAFeed(PostboxAdapter):
    def feed(self, container, since, at):
        return self.snapshot(container, at)


@breaks("capabilities")
class HasLostItsLookUp(PostboxAdapter):
    lookup = None  # type: ignore[assignment]


@breaks("check-harmless")
class ChecksByWriting(PostboxAdapter):
    def check(self):
        yield Request("PUT", f"{self.options.base_url}/lists/news/people/{NOBODY}", {"x-api-key": "postbox-key"}, b"{}")


@breaks("check-proves")
class ChecksNothing(PostboxAdapter):
    def check(self):
        yield from ()


# Logging in, lists ---------------------------------------------------------------------------------------------------


@breaks("login-apart", Rocs)
class LogsInWithAToken(RocsAdapter):
    def login(self):
        return (yield from changed(super().login(), lambda request: replace(request, repeatable=False)))


@breaks("login-apart", Rocs)
class PrintsItsToken(RocsAdapter):
    def login(self):
        class Shown(Token):
            def __repr__(self) -> str:
                return f"Token({self.value})"

        token = yield from super().login()
        return Shown(token.value, token.lifetime_s)


@breaks("login-carries", Rocs)
class DropsItsHeaders(RocsAdapter):
    def authorise(self, request, token):
        return replace(request, headers={"authorization": f"Bearer {token.value}"})


@breaks("login-again", Rocs)
class NeverLogsInAgain(RocsAdapter):
    login_again_on = frozenset({403})


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


# Writing -------------------------------------------------------------------------------------------------------------


@breaks("ack-each", SalesRocks)
class AnswersInAnotherOrder(SalesRocksAdapter):
    def apply(self, changes):
        acks = yield from super().apply(changes)
        return list(reversed(acks))


@breaks("ack-each")
class AnswersNothing(PostboxAdapter):
    def apply(self, changes):
        yield from super().apply(changes)
        return []


@breaks("accepted-is-so")
class PromisesAndDoesNot(PostboxAdapter):
    def apply(self, changes):
        yield from ()
        return [Ack(Outcome.ACCEPTED) for _ in changes]


@breaks("refused-is-not")
class RefusesWhatItDid(PostboxAdapter):
    def apply(self, changes):
        (change,) = changes
        acks = yield from super().apply(changes)
        if change.kind is ChangeKind.SUBSCRIBE and acks[0].outcome is Outcome.STALE:
            body = {"status": "on"}
            yield from self._call("PUT", f"/lists/news/people/{change.address}", "write person", dict, body)
        return acks


@breaks("nobody-else")
class TakesTheWholeListOff(PostboxAdapter):
    def apply(self, changes):
        (change,) = changes
        page = yield from self.snapshot(change.container, None)
        for record in page.records:
            seen = self.read(change.container, record)
            yield from super().apply([replace(change, address=seen.address, identity=Identity(seen.address))])
        return (yield from super().apply(changes))


@breaks("nobody-else")
class ClearsTheNameByTheWay(PostboxAdapter):
    def apply(self, changes):
        def also(request: Request) -> Request:
            blank = b'{"first": "", "last": "", '
            return replace(request, body=request.body.replace(b"{", blank, 1)) if b"off" in request.body else request

        return (yield from changed(super().apply(changes), also))


@breaks("no-everywhere", MarkingSalesRocks)
class LeavesTheOtherRecord(SalesRocksAdapter):
    def apply(self, changes):
        return (yield from super().apply([replace(change, keys=change.keys[:1]) for change in changes]))


@breaks("no-everywhere")
class TakesThemOffEveryList(PostboxAdapter):
    def apply(self, changes):
        (change,) = changes
        if change.kind is ChangeKind.UNSUBSCRIBE:
            yield from super().apply([replace(change, container=ContainerId("events"))])
        return (yield from super().apply(changes))


@breaks("no-again")
class RefusesTheSecondNo(PostboxAdapter):
    def apply(self, changes):
        (change,) = changes
        seen = yield from self.lookup(change)
        if change.kind is ChangeKind.UNSUBSCRIBE and any(one.status is Status.UNSUBSCRIBED for one in seen):
            return [Ack(Outcome.REFUSED, reason="off already")]
        return (yield from super().apply(changes))


@breaks("yes-once", SalesRocks)
class AddsWithoutLooking(SalesRocksAdapter):
    def apply(self, changes):
        return (yield from super().apply([replace(change, keys=()) for change in changes]))


# What is sent to us --------------------------------------------------------------------------------------------------


@breaks("delivery-proved")
class BelievesAnybody(PostboxAdapter):
    def verify(self, delivery):
        del delivery


@breaks("delivery-again")
class NumbersDeliveriesByTime(PostboxAdapter):
    def delivery_id(self, delivery):
        return delivery.received_at.isoformat()


@breaks("delivery-again")
class TakesAllDeliveriesForOne(PostboxAdapter):
    def delivery_id(self, delivery):
        return delivery.route[0]


@breaks("delivery-read")
class ReadsEveryNoticeAsOne(PostboxAdapter):
    def read_delivery(self, delivery):
        return [Hint(ContainerId("news"), NOBODY)]


@breaks("delivery-unreadable")
class ReadsNonsenseAsNothing(PostboxAdapter):
    def read_delivery(self, delivery):
        try:
            return super().read_delivery(delivery)
        except Exception:  # noqa: BLE001 - the fault that is to be noticed
            return []


@breaks("register-once", Rocs)
class RegistersEachTime(RocsAdapter):
    def register(self, callback_url, *, anew=False):
        return (yield from self._post_webhook(callback_url, self.options.webhook_secrets()[0]))


@breaks("register-only-ours", Rocs)
class ClearsTheTable(RocsAdapter):
    def register(self, callback_url, *, anew=False):
        body = yield from self._calls.get("webhooks")
        for one in self._translator.registrations(body, call="get-webhooks"):
            yield self._calls.request("DELETE", "webhook", ids={"id": one["id"]})
        return (yield from super().register(callback_url))
