"""Adapters that break what holds for vetting, for lists made and for trials."""

from __future__ import annotations

from dataclasses import replace

from syncd.domain.records import Container, ContainerId
from syncd.providers.http.adapter import HttpAdapter
from syncd.providers.rocketresponder.adapter import RocketResponderAdapter
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from tests.conformance.bench import ANN
from tests.conformance.benches import Http, RocketResponder, SalesRocks
from tests.conformance.faulty.breaks import breaks


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
