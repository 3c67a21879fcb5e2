"""Adapters that break what holds for changes."""

from __future__ import annotations

from dataclasses import replace

from syncd.domain.changes import Ack, ChangeKind, Outcome
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId, Status
from syncd.providers.rocketresponder.adapter import RocketResponderAdapter
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from syncd.wire import Request
from tests.conformance.benches import MarkingSalesRocks, RocketResponder, SalesRocks
from tests.conformance.faulty.breaks import breaks, changed
from tests.conformance.reference import PostboxAdapter


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
            yield from self.call("PUT", f"/lists/news/people/{change.address}", "write person", dict, body)
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


@breaks("yes-in-place", RocketResponder)
class AddsThemBesideTheFormer(RocketResponderAdapter):
    def _change_address(self, change, former, extra):
        return (yield from self._write("subscriber/subscribe", change, extra))
