"""Adapters that break what the protocol says of vetting, lists made, addresses to enter and tests (see `faulty.py`)."""

from __future__ import annotations

from dataclasses import replace

from syncd.domain.records import Container, ContainerId
from syncd.providers.http.adapter import HttpAdapter
from syncd.providers.rocketresponder.adapter import RocketResponderAdapter
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.rokt.adapter import RoktAdapter
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from tests.conformance.bench import ANN
from tests.conformance.benches import Http, RocketResponder, Rocs, Rokt, SalesRocks
from tests.conformance.faulty import breaks


@breaks("vet-anybody", SalesRocks)
class ForgetsTheNumber(SalesRocksAdapter):
    def vet(self, address, phone):
        said = yield from super().vet(address, phone)
        return replace(said, phone="")


@breaks("vet-harmless", SalesRocks)
class KeepsWhomItVets(SalesRocksAdapter):
    def vet(self, address, phone):
        row = {"email": address, "name": "kept"}
        yield from self.calls.post("editable-lists/addToList", {"list_id": SalesRocks.place, "data": [row]})
        return (yield from super().vet(address, phone))


@breaks("list-made", RocketResponder)
class MakesListsUp(RocketResponderAdapter):
    def create_list(self, name, given):
        yield from self.containers()
        return Container(ContainerId("999"), name)


@breaks("list-refused", RocketResponder)
class SendsWhateverIsGiven(RocketResponderAdapter):
    def create_list(self, name, given):
        yield from self.containers()
        return (yield from super().create_list(name, given))


@breaks("post-addresses", RocketResponder)
class HasOneAddress(RocketResponderAdapter):
    def webhook_urls(self, public_url, account, container):
        return dict.fromkeys(super().webhook_urls(public_url, account, container), f"{public_url}/in/{account}/webhook")


@breaks("test-told", Rokt)
class TakesEverythingForATest(RoktAdapter):
    def is_test(self, delivery):
        return True


@breaks("try-apart", Http)
class TriesOnTheRealPlace(HttpAdapter):
    def trial(self, address, *, live):
        return super().trial(address, live=True)


@breaks("try-shows", Http)
class ShowsItsKey(HttpAdapter):
    def trial(self, address, *, live):
        trial = super().trial(address, live=live)
        assert trial is not None
        return replace(trial, headers={**trial.headers, "x-api-key": "http-key"}, body=f"{trial.body} {ANN}")


@breaks("register-anew", Rocs)
class KeepsTheOldOne(RocsAdapter):
    def register(self, callback_url, *, anew=False):
        return (yield from super().register(callback_url))


@breaks("yes-in-place", RocketResponder)
class AddsThemBesideTheFormer(RocketResponderAdapter):
    def _change_address(self, change, former, extra):
        return (yield from self._write("subscriber/subscribe", change, extra))
