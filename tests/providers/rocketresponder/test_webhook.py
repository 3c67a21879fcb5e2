"""Deliveries: who may send them, when two are the same, what they say."""

import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.errors import DeliveryError
from syncd.domain.records import ContainerId, Delivery, Hint
from syncd.providers.rocketresponder import webhook
from syncd.providers.rocketresponder.webhook import ACTIONS, webhook_urls

EARLIER = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 21, 13, 0, tzinfo=UTC)
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def notified(make_adapter):
    return make_adapter(webhook_secret=["new-secret", "old-secret"])


@pytest.fixture
def delivery(clock):
    def make(route=("154", "open", "new-secret"), body=b"Email=ann%40example.org", method="POST", headers=FORM):
        raw = body if isinstance(body, bytes) else urlencode(body).encode()
        return Delivery(tuple(route), method, headers, (), raw, clock())

    return make


def refused(call, *args):
    with pytest.raises(DeliveryError) as caught:
        call(*args)
    return caught.value.status


@pytest.mark.parametrize("secret", ["new-secret", "old-secret"])
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_taken_under_every_secret(notified, delivery, action, secret):
    notified.verify(delivery(("154", action, secret)))


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"route": ("154", "open", "wrong")}, 401),
        ({"route": ("154", "open", "")}, 401),
        ({"route": ("154", "open", "new-secret ")}, 401),
        ({"route": ("154", "open", "né")}, 401),
        ({"route": ("154", "open", "\ud800")}, 401),
        ({"route": ("154", "destroy", "wrong")}, 401),
        ({"route": ("154", "destroy", "new-secret")}, 404),
        ({"route": ("154", "open")}, 404),
        ({"route": ("154", "open", "new-secret", "more")}, 404),
        ({"route": ()}, 404),
        ({"method": "GET"}, 405),
    ],
)
def test_everything_else_is_turned_away(notified, delivery, changed, status):
    assert refused(notified.verify, delivery(**changed)) == status


def test_without_a_configured_secret_nothing_is_taken(adapter, delivery):
    assert refused(adapter.verify, delivery(("154", "open", ""))) == 401


def test_secrets_are_compared_in_constant_time(monkeypatch, delivery):
    seen = []

    def compare(one, two):
        seen.append((one, two))
        return one == two

    monkeypatch.setattr(hmac, "compare_digest", compare)
    webhook.verify(delivery(), ["new-secret", "old-secret"])
    assert seen == [(b"new-secret", b"new-secret"), (b"new-secret", b"old-secret")]


@pytest.mark.quirk("rocketresponder-webhook-says-nothing-of-standing")
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_a_hint_and_nothing_more(notified, delivery, action):
    body = {"Name": "Ann", "Email": " Ann@Example.org ", "Unsubscribe": "1", "UnsubIP": "192.0.2.1"}
    assert list(notified.read_delivery(delivery(("154", action, "new-secret"), body))) == [
        Hint(ContainerId("154"), "Ann@Example.org", modified=action == "modify")
    ]


@pytest.mark.parametrize("body", [b"", b"Name=Ann", b"Email=", b"Email=+", b'{"Email":"ann@example.org"}', b"Email"])
def test_a_delivery_without_an_address_cannot_be_read(notified, delivery, body):
    assert refused(notified.read_delivery, delivery(body=body)) == 400


@pytest.mark.parametrize("body", [b"Email=ann%40x.org&Name=%ff", b"Email=\xff", b"&".join([b"a=1"] * 201)])
def test_a_body_that_is_no_form_cannot_be_read(notified, delivery, body):
    assert refused(notified.read_delivery, delivery(body=body)) == 400
    assert len(notified.delivery_id(delivery(body=body))) == 64


def test_an_address_that_cannot_be_mailed_is_no_hint(notified, delivery):
    assert list(notified.read_delivery(delivery(body={"Email": "not an address"}))) == []


MULTIPART = (
    b'--b1\r\nContent-Disposition: form-data; name="Name"\r\n\r\nZo\xc3\xab\r\n'
    b'--b1\r\nContent-Disposition: form-data; name="Email"\r\n\r\nann@example.org\r\n--b1--\r\n'
)


def test_multipart_is_a_form_too(notified, delivery):
    one = delivery(body=MULTIPART, headers={"content-type": 'multipart/form-data; boundary="b1"'})
    other = delivery(body=MULTIPART.replace(b"b1", b"c2"), headers={"content-type": "Multipart/Form-Data; boundary=c2"})
    assert list(notified.read_delivery(one)) == [Hint(ContainerId("154"), "ann@example.org")]
    # A repetition draws a new boundary.
    assert notified.delivery_id(one) == notified.delivery_id(other)
    assert notified.delivery_id(one) == notified.delivery_id(delivery(body={"Name": "Zoë", "Email": "ann@example.org"}))


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", 'multipart/form-data; boundary="zz"', "multipart/form-data; boundary=\xe9"]
)
def test_broken_multipart_cannot_be_read(notified, delivery, content_type):
    assert refused(notified.read_delivery, delivery(body=MULTIPART, headers={"content-type": content_type})) == 400


fields = st.dictionaries(st.text(max_size=4), st.text(max_size=4), min_size=1, max_size=4)


@given(form=fields, other=fields, seed=st.randoms())
def test_a_delivery_id_follows_content_and_route_but_not_secret_order_or_time(form, other, seed):
    def made(body, route=("154", "open", "s"), at=EARLIER):
        return Delivery(route, "POST", FORM, (), urlencode(body).encode(), at)

    shuffled = list(form.items())
    seed.shuffle(shuffled)
    one = webhook.delivery_id(made(form))
    assert one == webhook.delivery_id(made(shuffled, ("154", "open", "t"), at=LATER))
    assert one != webhook.delivery_id(made(form, ("154", "click", "s")))
    assert one != webhook.delivery_id(made(form, ("155", "open", "s")))
    assert (one == webhook.delivery_id(made(other))) == (form == other)


def test_urls_lead_back_to_what_they_were_made_of():
    urls = webhook_urls("https://sync.example.org/", "mail", "15/4", "a/b c")
    assert tuple(urls) == ACTIONS
    assert urls["open"] == "https://sync.example.org/in/mail/15%2F4/open/a%2Fb%20c"


def test_what_the_emulator_sends_is_taken_and_points_at_the_person(emulator, line, notified, lid, clock, target):
    urls = webhook_urls("http://127.0.0.1:8480", "mail", lid, "old-secret")
    emulator.webhook_urls = {(lid, action): url for action, url in urls.items()}
    emulator.add_subscriber(lid, "Ann@example.org", "Ann Bee")
    emulator.person_unsubscribes(lid, "ann@example.org")
    (request,) = emulator.outgoing
    assert request.url == urls["unsubscribe"]
    route = tuple(urlsplit(request.url).path.split("/")[3:])
    arrived = Delivery(route, request.method, request.headers, (), request.body, clock())
    notified.verify(arrived)
    (hint,) = notified.read_delivery(arrived)
    assert hint == Hint(ContainerId(lid), "Ann@example.org")
    assert "Status" not in dict(parse_qsl(request.body.decode()))
