from __future__ import annotations

import hmac
import json
from hashlib import sha256

import pytest

from syncd.domain.errors import DeliveryError, MalformedError, RefusedError
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Hint, Status
from syncd.wire import Response, converse

URL = "https://sync.example.org/in/crm/webhook"
EVENTS = ["customer.created", "customer.updated", "customer.deleted", "list.subscribed", "list.unsubscribed"]


def signed(deliver, body, secret=b"notice-secret", name="x-rocs-signature"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return deliver(body, {name: f"sha256={hmac.new(secret, body, sha256).hexdigest()}"})


def refused(call, *args):
    with pytest.raises(DeliveryError) as raised:
        call(*args)
    return raised.value.status


@pytest.fixture
def told(crm):
    crm.emulator.register_webhook(URL, "notice-secret")
    return crm


# Who sent it


def test_what_rocs_signs_is_taken(told):
    told.emulator.add_customer("ann@example.org")
    (delivery,) = told.deliveries()
    told.adapter.verify(delivery)


def test_the_signature_is_that_of_the_raw_body(crm, deliver):
    known = "sha256=6ba9f34dc81be29bd57cc0b0e7c1ab4a3e0ef5b4a0fe2c5fa5a3e6ff1ae4d1aa"
    body = b'{"a": 1 }'
    right = f"sha256={hmac.new(b'notice-secret', body, sha256).hexdigest()}"
    crm.adapter.verify(deliver(body, {"x-rocs-signature": right}))
    assert refused(crm.adapter.verify, deliver(b'{"a":1}', {"x-rocs-signature": right})) == 401
    assert refused(crm.adapter.verify, deliver(body, {"x-rocs-signature": known})) == 401


@pytest.mark.parametrize("header", ["", "sha256=", "sha256", "ä", "sha1=00", "00" * 32])
def test_a_missing_or_odd_signature_is_refused(crm, deliver, header):
    assert refused(crm.adapter.verify, deliver(b"{}", {"x-rocs-signature": header})) == 401
    assert refused(crm.adapter.verify, deliver(b"{}", {})) == 401


def test_any_of_several_secrets_fits_while_they_are_rotated(crm, deliver):
    crm.use(webhook_secret=["new", "old"])
    crm.adapter.verify(signed(deliver, b"{}", b"old"))
    crm.adapter.verify(signed(deliver, b"{}", b"new"))
    assert refused(crm.adapter.verify, signed(deliver, b"{}", b"older")) == 401


def test_without_a_secret_nothing_is_taken(crm, deliver):
    crm.use(webhook_secret=[])
    assert refused(crm.adapter.verify, signed(deliver, b"{}", b"")) == 401
    assert refused(crm.adapter.verify, signed(deliver, b"{}")) == 401


def test_other_routes_and_methods_are_refused(crm, deliver):
    good = signed(deliver, b"{}")
    assert refused(crm.adapter.verify, deliver(b"{}", dict(good.headers), ("webhook", "x"))) == 404
    assert refused(crm.adapter.verify, deliver(b"{}", dict(good.headers), ("leads",))) == 404
    assert refused(crm.adapter.verify, deliver(b"{}", dict(good.headers), ("webhook",), "GET")) == 405


def test_the_header_can_have_another_name(crm, deliver):
    crm.use(names={"delivery.signature": "X-Sig"})
    crm.adapter.verify(signed(deliver, b"{}", name="x-sig"))
    assert refused(crm.adapter.verify, signed(deliver, b"{}")) == 401


# Once


@pytest.mark.quirk("rocs-notices-promise-nothing")
def test_a_repetition_has_the_same_id_and_another_notice_another(told):
    told.emulator.delivery_duplicate_rate = 1.0
    told.emulator.add_customer("ann@example.org")
    told.emulator.add_customer("bo@example.org")
    ids = [told.adapter.delivery_id(one) for one in told.deliveries()]
    assert len(ids) == 4
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_a_notice_without_a_usable_id_is_known_by_its_body(crm, deliver):
    bodies = [b"{}", b"<html>", b'{"id":""}', b'{"id":null}', b'{"id":"' + b"x" * 300 + b'"}', b"[" * 3000]
    ids = [crm.adapter.delivery_id(deliver(body, {})) for body in bodies]
    assert len(set(ids)) == len(bodies)
    assert ids == [crm.adapter.delivery_id(deliver(body, {})) for body in bodies]
    assert max(map(len, ids)) < 100


# What it says


def read(crm):
    (delivery,) = crm.deliveries()
    return list(crm.adapter.read_delivery(delivery))


def test_a_created_or_changed_customer_is_an_observation(told):
    key = told.emulator.add_customer("ann@example.org", "Ann")
    (seen,) = read(told)
    assert (seen.container, seen.key, seen.status, seen.fields) == (
        WHOLE_ACCOUNT,
        key,
        Status.SUBSCRIBED,
        {"first_name": "Ann"},
    )
    told.emulator.withdraw_consent("ann@example.org")
    (seen,) = read(told)
    assert seen.status is Status.UNSUBSCRIBED
    assert seen == told.everyone()[key]


def test_a_deletion_is_a_hint_and_not_a_consent(told):
    key = told.emulator.add_customer("ann@example.org")
    told.deliveries()
    told.emulator.remove_customer(key)
    assert read(told) == [Hint(WHOLE_ACCOUNT, "ann@example.org")]


def test_a_membership_is_an_observation_in_its_list(told):
    told.emulator.add_list("L-1", "Spring")
    key = told.emulator.add_customer("ann@example.org")
    told.deliveries()
    told.emulator.add_member("L-1", key)
    (seen,) = read(told)
    assert (seen.container, seen.key, seen.status) == ("L-1", key, Status.SUBSCRIBED)
    told.pass_time()
    told.emulator.unsubscribe_member("L-1", "ann@example.org")
    (seen,) = read(told)
    assert (seen.status, seen.unsubscribed_at) == (Status.UNSUBSCRIBED, "2026-11-21T12:01:00.000Z")
    assert seen == told.everyone("L-1")[key]


def notice(deliver, **body):
    return deliver(json.dumps({"id": "1", "event": "x.y", "occurredAt": "2026-01-01T00:00:00Z", **body}).encode(), {})


CUSTOMER = {"id": "C", "email": "ann@example.org", "emailConsent": True}
MEMBER = {"customerId": "C", "email": "ann@example.org", "status": "subscribed"}


def test_an_unknown_event_about_somebody_is_a_hint(crm, deliver):
    assert crm.adapter.read_delivery(notice(deliver, customer=CUSTOMER)) == (Hint(WHOLE_ACCOUNT, "ann@example.org"),)
    seen = crm.adapter.read_delivery(notice(deliver, list={"id": "L-9"}, member=MEMBER))
    assert seen == (Hint(ContainerId("L-9"), "ann@example.org"),)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"customer": {"id": "C"}},
        {"list": {"id": "L"}, "member": {"customerId": "C"}},
        {"customer": None},
        {"member": MEMBER},
        {"list": {"id": "L"}},
    ],
)
def test_an_unknown_event_about_nobody_says_nothing(crm, deliver, body):
    assert crm.adapter.read_delivery(notice(deliver, **body)) == ()


def test_the_members_word_counts_and_the_event_only_where_there_is_none(crm, deliver):
    def status(event, **changes):
        member = {key: value for key, value in (MEMBER | changes).items() if value != "-"}
        (seen,) = crm.adapter.read_delivery(notice(deliver, event=event, list={"id": "L"}, member=member))
        return seen.status

    assert status("list.unsubscribed") is Status.SUBSCRIBED
    assert status("list.unsubscribed", status="-") is Status.UNSUBSCRIBED
    assert status("list.subscribed", status="-") is Status.UNKNOWN
    assert status("list.unsubscribed", status="paused") is Status.UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"event":"customer.updated"}',
        b'{"event":"customer.updated","customer":"C"}',
        b'{"event":"list.unsubscribed","list":{"id":"L"}}',
        b'{"event":"list.unsubscribed","member":{}}',
        b'{"event":"list.unsubscribed","member":{},"list":"L"}',
        b'{"id":"1","event"',
        b"\xff",
        b"[" * 3000,
    ],
)
def test_a_notice_that_cannot_be_read_is_refused(crm, deliver, body):
    assert refused(crm.adapter.read_delivery, deliver(body, {})) == 400


@pytest.mark.parametrize("event", [None, 7, ["customer.updated"], {"a": 1}])
def test_an_event_of_a_wrong_type_is_an_unknown_event(crm, deliver, event):
    found = crm.adapter.read_delivery(notice(deliver, event=event, customer=CUSTOMER))
    assert found == (Hint(WHOLE_ACCOUNT, "ann@example.org"),)
    assert crm.adapter.read_delivery(notice(deliver, event=event)) == ()


def test_a_customer_with_odd_content_is_still_an_observation(crm, deliver):
    (seen,) = crm.adapter.read_delivery(notice(deliver, event="customer.updated", customer={"id": "C", "email": 5}))
    assert (seen.key, seen.identity, seen.status) == ("C", None, Status.UNKNOWN)


# Registering


def test_registering_tells_rocs_where_to_send_what(crm):
    key = crm.carry(crm.adapter.register(URL))
    registration = crm.emulator.registrations[key]
    assert (registration.url, list(registration.events), registration.secret) == (URL, EVENTS, "notice-secret")
    crm.emulator.add_customer("ann@example.org")
    (delivery,) = crm.deliveries()
    crm.adapter.verify(delivery)


def test_registering_twice_keeps_the_first(crm):
    assert crm.carry(crm.adapter.register(URL)) == crm.carry(crm.adapter.register(URL))
    assert len(crm.emulator.registrations) == 1
    assert sum(request.label == "post-webhooks" for request in crm.asked) == 1


def test_registrations_too_many_or_for_other_events_are_replaced_and_strangers_left(crm):
    stranger = crm.emulator.register_webhook("https://other.example.org/x", "s")
    crm.emulator.register_webhook(URL, "s", EVENTS[:2])
    kept = crm.emulator.register_webhook(URL, "s", EVENTS[::-1])
    crm.emulator.register_webhook(URL, "s")
    assert crm.carry(crm.adapter.register(URL)) == kept
    assert crm.emulator.registrations.keys() == {stranger, kept}


def test_a_registration_for_fewer_events_gives_way_to_a_new_one(crm):
    old = crm.emulator.register_webhook(URL, "s", EVENTS[:2])
    new = crm.carry(crm.adapter.register(URL))
    assert crm.emulator.registrations.keys() == {new}
    assert new != old
    order = [request.method for request in crm.asked if "webhook" in request.label]
    assert order == ["GET", "POST", "DELETE"]


@pytest.mark.parametrize(("shown", "kept"), [("notice-secret", True), ("*****", True), (None, True), ("older", False)])
def test_a_registration_with_an_old_secret_is_replaced_where_the_secret_is_shown(crm, shown, kept):
    methods = []

    def answer(request):
        methods.append(request.method)
        registration = {"id": "W-1", "url": URL, "events": EVENTS, "secret": shown}
        body = {"GET": [registration], "POST": registration | {"id": "W-2"}, "DELETE": {}}[request.method]
        return Response(200, {}, json.dumps(body).encode())

    assert converse(crm.adapter.register(URL), answer) == ("W-1" if kept else "W-2")
    assert methods == (["GET"] if kept else ["GET", "POST", "DELETE"])


@pytest.mark.quirk("rocs-secret-of-a-registration-not-shown")
def test_a_rotated_secret_is_registered_anew_before_the_old_registration_goes(crm):
    old = crm.carry(crm.adapter.register(URL))
    crm.use(webhook_secret=["new", "notice-secret"])
    assert crm.carry(crm.adapter.register(URL)) == old, "nobody can see which secret it has"
    new = crm.carry(crm.adapter.register(URL, anew=True))
    assert {key: one.secret for key, one in crm.emulator.registrations.items()} == {new: "new"}
    calls = [(call.method, call.path.rpartition("/")[2]) for call in crm.emulator.calls[-2:]]
    assert calls == [("POST", "webhooks"), ("DELETE", old)]


def test_without_a_secret_nothing_is_registered(crm):
    crm.use(webhook_secret=[])
    with pytest.raises(RefusedError, match="webhook_secret"):
        crm.carry(crm.adapter.register(URL))
    assert crm.asked == []


def test_a_registration_without_an_id_is_malformed(crm):
    replies = iter([Response(200, {}, b"[]"), Response(200, {}, b"{}")])
    with pytest.raises(MalformedError):
        converse(crm.adapter.register(URL), lambda _: next(replies))


def test_a_refused_registration_does_not_print_the_secret(crm):
    replies = iter([Response(200, {}, b"[]"), Response(400, {}, b'{"message":"bad secret notice-secret"}')])
    with pytest.raises(RefusedError) as raised:
        converse(crm.adapter.register(URL), lambda _: next(replies))
    assert "notice-secret" not in raised.value.message
