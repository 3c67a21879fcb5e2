"""What the protocol says of what a provider tells us: deliveries, addresses to enter, tests, registrations."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, urlsplit

import pytest

from syncd.domain.errors import DeliveryError
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId, Delivery, Hint, Status
from tests.conformance.bench import ANN, BOB, CAT, Bench
from tests.conformance.sentences.sentence import sentence

# What it sends to us -------------------------------------------------------------------------------------------------


def told_of(bench: Bench, email: str) -> Delivery:
    bench.listens()
    bench.emulator.outgoing.clear()
    bench.leaves(email)
    return bench.deliveries()[-1]


@sentence("delivery-proved", "CanNotify")
def only_the_provider_is_believed(bench: Bench) -> None:
    adapter, sound = bench.adapter(), told_of(bench, ANN)
    adapter.verify(sound)
    proofs = [name for name in sound.headers if name not in {"content-type", "content-length", "accept", "user-agent"}]
    forged = [
        replace(sound, headers={**sound.headers, name: value})
        for name in proofs
        for value in ("", sound.headers[name][:-2] + "!!", "another")
    ]
    forged += [
        replace(sound, headers={key: value for key, value in sound.headers.items() if key != name}) for name in proofs
    ]
    if not proofs:  # then it is in the path
        forged = [replace(sound, route=(*sound.route[:-1], last)) for last in ("", "another", sound.route[-1] + "x")]
    for delivery in forged:
        with pytest.raises(DeliveryError) as refusal:
            adapter.verify(delivery)
        assert 400 <= refusal.value.status < 500


@sentence("delivery-again", "CanNotify")
def a_repetition_is_known_again(bench: Bench) -> None:
    adapter, first = bench.adapter(), told_of(bench, ANN)
    again = replace(first, received_at=first.received_at.replace(minute=59))
    assert bench.adapter().delivery_id(again) == adapter.delivery_id(first)
    bench.clock.skip(1)
    assert adapter.delivery_id(told_of(bench, BOB)) != adapter.delivery_id(first)


@sentence("delivery-read", "CanNotify")
def a_delivery_is_about_whom_it_names(bench: Bench) -> None:
    for email in (ANN, CAT):
        (told,) = bench.adapter().read_delivery(told_of(bench, email))
        assert Identity(told.address.lower()) == email
        assert told.container == bench.place
        assert isinstance(told, Hint) or told.status is Status.UNSUBSCRIBED


@sentence("delivery-unreadable", "CanNotify")
def a_delivery_that_cannot_be_read_is_refused(bench: Bench) -> None:
    adapter, sound = bench.adapter(), told_of(bench, ANN)
    for body in (b"\xff\xfe\x00{", b"", b"{", b"[1, 2]"):
        with pytest.raises(DeliveryError) as refusal:
            adapter.read_delivery(replace(sound, body=body))
        assert refusal.value.status == 400
        assert ANN not in refusal.value.message


@sentence("post-addresses", "CanPost")
def every_address_to_enter_is_taken(bench: Bench) -> None:
    adapter, urls = bench.adapter(), []
    for place in (bench.place, bench.other):
        urls += adapter.webhook_urls("https://syncd.example", "one", ContainerId(place)).values()
    assert len(urls) == len(set(urls)) >= 2
    for url in urls:
        route = tuple(unquote(part) for part in urlsplit(url).path.split("/")[3:])
        adapter.verify(Delivery(route, "POST", {}, (), b"", bench.clock()))


@sentence("test-told", "CanBeTried")
def a_test_is_known_as_one_and_nobody_else(bench: Bench) -> None:
    adapter = bench.adapter()
    assert not adapter.is_test(told_of(bench, ANN))
    bench.joins("new@example.net", "Newt", "Comer")
    assert not adapter.is_test(bench.deliveries()[-1])
    bench.tests()
    (test,) = bench.deliveries()
    adapter.verify(test)
    assert adapter.is_test(test)


# What is registered there --------------------------------------------------------------------------------------------

OURS, THEIRS = "https://syncd.example/in/crm/webhook", "https://elsewhere.example/hook"


@sentence("register-once", "CanRegister")
def one_registration_however_often(bench: Bench) -> None:
    found = []
    for _ in range(3):
        adapter = bench.adapter()
        found.append(bench.carry(adapter, adapter.register(OURS)))
        assert bench.registered() == [OURS]
    assert len(set(found)) == 1


@sentence("register-only-ours", "CanRegister")
def registrations_of_others_stay(bench: Bench) -> None:
    bench.emulator.register_webhook(THEIRS, "their-secret")
    adapter = bench.adapter()
    bench.carry(adapter, adapter.register(OURS))
    assert sorted(bench.registered()) == sorted([OURS, THEIRS])


@sentence("register-anew", "CanRegister")
def a_registration_gives_way_to_a_new_one(bench: Bench) -> None:
    adapter = bench.adapter()
    first = bench.carry(adapter, adapter.register(OURS))
    assert bench.carry(adapter, adapter.register(OURS, anew=True)) != first
    assert bench.registered() == [OURS]
