"""Adapters that break what holds for deliveries, addresses to enter, tests and registrations."""

from __future__ import annotations

from syncd.domain.records import ContainerId, Hint
from syncd.providers.rocketresponder.adapter import RocketResponderAdapter
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.rokt.adapter import RoktAdapter
from tests.conformance.bench import NOBODY
from tests.conformance.benches import RocketResponder, Rocs, Rokt
from tests.conformance.faulty.breaks import breaks
from tests.conformance.reference import PostboxAdapter


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


@breaks("post-addresses", RocketResponder)
class HasOneAddress(RocketResponderAdapter):
    def webhook_urls(self, public_url, account, container):
        return dict.fromkeys(super().webhook_urls(public_url, account, container), f"{public_url}/in/{account}/webhook")


@breaks("test-told", Rokt)
class TakesEverythingForATest(RoktAdapter):
    def is_test(self, delivery):
        return True


@breaks("register-anew", Rocs)
class KeepsTheOldOne(RocsAdapter):
    def register(self, callback_url, *, anew=False):
        return (yield from super().register(callback_url))
