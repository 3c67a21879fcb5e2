"""Adapters that break what holds for every exchange and every adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from syncd.domain.changes import Ack, Outcome
from syncd.domain.errors import MalformedError, ProviderError, RefusedError, UnauthorisedError
from syncd.domain.records import Container, Page
from syncd.providers.protocol import Token
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from syncd.wire import Request
from tests.conformance.bench import NOBODY
from tests.conformance.benches import Rocs, SalesRocks
from tests.conformance.faulty.breaks import breaks, changed
from tests.conformance.reference import PostboxAdapter

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


# Logging in ----------------------------------------------------------------------------------------------------------


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
