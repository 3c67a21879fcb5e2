from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.errors import DeliveryError
from syncd.domain.records import Delivery, Status
from syncd.providers.rokt.options import PARAMETERS, RoktOptions
from syncd.providers.rokt.translate import birth_date, fields_of
from syncd.providers.rokt.webhook import read_delivery

ENCODINGS = ["json", "form", "text", "xml"]
SHA256 = hashlib.sha256(b"john.smith@rokt.com").hexdigest()
MD5 = hashlib.md5(b"john.smith@rokt.com").hexdigest()


def basic(pair):
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def refused(adapter, delivery, status):
    with pytest.raises(DeliveryError) as caught:
        adapter.verify(delivery)
    assert caught.value.status == status


def one(adapter, delivery):
    (observation,) = adapter.read_delivery(delivery)
    return observation


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_lead_of_rokt_is_taken_in_each_encoding(adapter, rokt, arrived, encoding, method):
    rokt.send_lead(
        "Åsa.Öberg@Example.org".replace("Å", "A").replace("Ö", "O"),
        "Åsa",
        "Öberg & Söner",
        campaign="2581697744617019994",
        method=method,
        encoding=encoding,
        mobile="070-174 06 05",
        country="SE",
        zipcode="01234",
        dob="19911127",
        language="sv",
    )
    delivery = arrived(rokt.outgoing.popleft())
    adapter().verify(delivery)
    seen = one(adapter(), delivery)
    assert seen.container == "2581697744617019994"
    assert seen.status is Status.SUBSCRIBED
    assert (seen.address, seen.identity, seen.key) == (
        "Asa.Oberg@Example.org",
        "asa.oberg@example.org",
        "asa.oberg@example.org",
    )
    assert seen.fields == {
        "first_name": "Åsa",
        "last_name": "Öberg & Söner",
        "phone": "+46701740605",
        "country": "SE",
        "language": "sv",
        "postal_code": "01234",
        "birth_date": "1991-11-27",
    }
    assert json.loads(seen.raw)["zipcode"] == "01234"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_unsubscribe_of_rokt_is_taken_in_each_encoding(adapter, rokt, arrived, encoding):
    rokt.send_lead("ann@example.org")
    rokt.person_unsubscribes("ann@example.org", encoding=encoding, campaign_id="7")
    assert rokt.leads["ann@example.org"].unsubscribed
    delivery = arrived(rokt.outgoing.pop())
    adapter().verify(delivery)
    seen = one(adapter(), delivery)
    assert (seen.container, seen.status, seen.key) == ("*", Status.UNSUBSCRIBED, "ann@example.org")


def test_an_unsubscribe_by_put_is_taken_too(adapter, rokt, arrived):
    rokt.person_unsubscribes("ann@example.org", method="PUT")
    delivery = arrived(rokt.outgoing.pop())
    adapter().verify(delivery)
    assert one(adapter(), delivery).status is Status.UNSUBSCRIBED
    refused(adapter(methods=["POST"]), delivery, 405)


def test_a_get_lead_is_taken_where_it_is_allowed_and_an_unsubscribe_never(adapter, rokt, arrived):
    rokt.send_lead("ann@example.org", "Ann", method="GET")
    rokt.person_unsubscribes("ann@example.org", method="GET")
    lead, leave = map(arrived, rokt.outgoing)
    refused(adapter(), lead, 405)
    allowed = adapter(methods=["GET", "POST"])
    allowed.verify(lead)
    assert one(allowed, lead).fields == {"first_name": "Ann"}
    refused(allowed, leave, 405)


def test_other_routes_and_methods_are_refused(adapter, lead):
    refused(adapter(), lead(route=("other",)), 404)
    refused(adapter(), lead(route=()), 404)
    refused(adapter(), lead(method="DELETE"), 405)
    refused(adapter(methods=["PUT"]), lead(), 405)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("rokt:wrong"),
        basic("other:rokt-secret"),
        basic("rokt"),
        basic(":"),
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
        {"authorization": "Bearer " + base64.b64encode(b"rokt:rokt-secret").decode()},
        {"authorization": "rokt-secret"},
    ],
)
def test_without_the_right_password_nothing_is_taken(adapter, lead, headers):
    refused(adapter(), lead(headers=headers), 401)


def test_old_and_new_password_are_both_good_while_they_change(adapter, lead):
    auth = {"kind": "basic", "username": "rokt", "password": ["old", "nöw:1"]}
    both = adapter(inbound_auth=auth)
    both.verify(lead(headers=basic("rokt:old")))
    both.verify(lead(headers=basic("rokt:nöw:1")))
    refused(both, lead(headers=basic("rokt:older")), 401)


def test_a_key_is_taken_in_its_header_alone(adapter, lead):
    keyed = adapter(inbound_auth={"kind": "api_key", "header": "X-Rokt-Key", "key": ["k1", "k2"]})
    keyed.verify(lead(headers={"x-rokt-key": "k2"}))
    for headers in ({"x-rokt-key": "k"}, {"x-api-key": "k1"}, {"authorization": "k1"}, {}, {"x-rokt-key": ""}):
        refused(keyed, lead(headers=headers), 401)


def test_a_client_proves_itself_by_two_headers_or_as_basic(adapter, lead):
    client = adapter(inbound_auth={"kind": "client", "client_id": "i", "client_secret": "s"})
    client.verify(lead(headers={"x-client-id": "i", "x-client-secret": "s"}))
    client.verify(lead(headers=basic("i:s")))
    named = {"kind": "client", "client_id": "i", "client_secret": ["s", "t"]}
    other = adapter(inbound_auth=named | {"client_id_header": "Client", "client_secret_header": "Proof"})
    other.verify(lead(headers={"client": "i", "proof": "t"}))
    for headers in (
        {"x-client-id": "i"},
        {"x-client-secret": "s"},
        {"x-client-id": "s", "x-client-secret": "i"},
        {"x-client-id": "i", "x-client-secret": "S"},
        {"x-client-secret": "s"} | basic("i:x"),
    ):
        refused(client, lead(headers=headers), 401)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("hashed", "address"), [("sha256", f"sha256:{SHA256}"), ("md5", f"md5:{MD5}")])
@pytest.mark.parametrize("upper", [False, True])
def test_a_hashed_lead_is_known_by_its_digest_in_either_case(adapter, rokt, arrived, encoding, hashed, address, upper):
    rokt.upper_case_digests = frozenset({"sha256", "md5"} if upper else ())
    rokt.send_lead(" John.Smith@rokt.com ", "John", hashed=hashed, encoding=encoding)
    rokt.person_unsubscribes("john.smith@rokt.com", hashed=hashed, encoding=encoding)
    for request, status in zip(rokt.outgoing, (Status.SUBSCRIBED, Status.UNSUBSCRIBED), strict=True):
        assert b"smith" not in request.body.lower()
        seen = one(adapter(), arrived(request))
        assert (seen.address, seen.key, seen.identity, seen.status) == (address, address, None, status)


@pytest.mark.quirk("rokt-impossible-digest-sample")
@pytest.mark.parametrize(
    ("body", "address"),
    [
        ({"email": SHA256.upper()}, f"sha256:{SHA256}"),
        ({"email": MD5}, f"md5:{MD5}"),
        ({"email": "not an address", "emailmd5": MD5}, f"md5:{MD5}"),
        ({"emailsha256": SHA256, "emailmd5": MD5}, f"sha256:{SHA256}"),
        ({"emailsha256": "F6191D8D6A0F75CA7D237ED07CF8E4612B", "emailmd5": MD5}, f"md5:{MD5}"),
        ({"email": "a@b.org", "emailmd5": MD5}, "a@b.org"),
    ],
)
def test_the_best_that_names_the_person_is_used(adapter, lead, body, address):
    assert one(adapter(), lead(json.dumps(body))).key == address


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"firstname": "Ann"}, "email: missing"),
        ({"email": ""}, "email: missing"),
        ({"email": None}, "email: missing"),
        ({"email": ["ann@example.org"]}, "email: missing"),
        ({"email": {"raw": "ann@example.org"}, "x": 1}, "email: missing"),
        ({"email": "ann at example"}, "email: not an e-mail address"),
        ({"emailsha256": "F6191D8D6A0F75CA7D237ED07CF8E4612B"}, "emailsha256: not 64 hexadecimal digits"),
        ({"emailmd5": "g" * 32}, "emailmd5: not 32 hexadecimal digits"),
    ],
)
@pytest.mark.parametrize("route", ["leads", "unsubscribes"])
def test_a_delivery_without_a_person_is_400_and_names_the_parameter(adapter, lead, body, named, route):
    with pytest.raises(DeliveryError) as caught:
        adapter().read_delivery(lead(json.dumps(body), route=(route,)))
    assert (caught.value.status, caught.value.message) == (400, named)


def test_configured_names_are_the_ones_read(adapter, lead):
    renamed = adapter(fields={"email": "EMAIL", "first_name": "first-name", "campaign": "src"})
    seen = one(renamed, lead('{"EMAIL":"a@b.org","first-name":" Ann ","firstname":"no","src":"9"}'))
    assert (seen.key, seen.fields, seen.container) == ("a@b.org", {"first_name": "Ann"}, "9")
    with pytest.raises(DeliveryError, match="EMAIL: missing"):
        renamed.read_delivery(lead('{"email":"a@b.org","x":1}'))


@pytest.mark.parametrize(("campaign", "container"), [("7", "7"), (" 7 ", "7"), ("", "*"), (None, "*")])
def test_a_lead_is_in_its_campaign_or_in_the_account_as_a_whole(adapter, lead, campaign, container):
    assert (
        one(adapter(), lead(json.dumps({"email": "a@b.org", "campaign_id": campaign, "x": 1}))).container == container
    )


def test_a_campaign_number_above_2_to_the_53_is_text(adapter, lead):
    assert one(adapter(), lead('{"email":"a@b.org","campaign_id":9007199254740993}')).container == "9007199254740993"


@pytest.mark.quirk("rokt-mobile-lacks-the-country")
@pytest.mark.parametrize(
    ("mobile", "country", "phone"),
    [
        ("+46 70 174 06 05", "", "+46701740605"),
        ("+46701740605", "US", "+46701740605"),
        ("0412 345 678", "Australia", "+61412345678"),
        ("0412 345 678", "au", "+61412345678"),
        ("07911 123456", "UK", "+447911123456"),
        ("0701740605", "", None),
        ("0701740605", "Atlantis", None),
        ("0701740605", "XX", None),
        ("0701740605", "46", None),
        ("12", "SE", None),
        ("call me", "SE", None),
    ],
)
def test_a_phone_is_read_with_the_country_it_came_with(mobile, country, phone):
    assert fields_of({"mobile": mobile, "country": country}, PARAMETERS, date(2026, 11, 21)).get("phone") == phone


@pytest.mark.quirk("rokt-three-spellings-of-a-birth-date")
@pytest.mark.parametrize(
    ("raw", "born"),
    [
        ("19911127", "1991-11-27"),
        ("1991-11-27", "1991-11-27"),
        ("1991-11-27T00:00:00Z", "1991-11-27"),
        ("33569", "1991-11-27"),
        ("43765.07083", "2019-10-27"),
        ("61", "1900-03-01"),
        ("60", None),
        ("19911327", None),
        ("1991-02-30", None),
        ("27/11/1991", None),
        ("20300101", None),
        ("18991231", None),
        ("33569 ", None),
        ("", None),
    ],
)
def test_a_birth_date_is_read_in_three_spellings_and_never_guessed(raw, born):
    assert birth_date(raw, date(2026, 11, 21)) == born


@given(st.dates(date(1900, 3, 1), date(2026, 11, 21)))
def test_all_three_spellings_of_a_birth_date_agree(born):
    today = date(2026, 11, 21)
    serial = (born - date(1899, 12, 30)).days
    assert {birth_date(raw, today) for raw in (born.isoformat(), f"{born:%Y%m%d}", str(serial))} == {born.isoformat()}


def test_what_is_empty_is_not_a_field(adapter, lead):
    seen = one(adapter(), lead('{"email":"a@b.org","firstname":" ","lastname":null,"country":[1],"zipcode":1234}'))
    assert seen.fields == {"postal_code": "1234"}


@pytest.mark.quirk("rokt-deliveries-have-no-id")
def test_a_repetition_has_the_same_id_in_any_encoding_and_order(adapter, rokt, arrived, lead):
    ids = set()
    for encoding in ENCODINGS:
        rokt.send_lead("ann@example.org", "Ann", campaign="7", encoding=encoding)
        ids.add(adapter().delivery_id(arrived(rokt.outgoing.pop())))
    ids.add(adapter().delivery_id(lead('{"campaign_id":7,"firstname":"Ann","email":"ann@example.org"}', method="PUT")))
    assert len(ids) == 1


def test_another_person_route_or_day_has_another_id(adapter, lead, clock):
    body = '{"email":"a@b.org","x":1}'
    deliveries = [
        lead(body),
        lead('{"email":"c@d.org","x":1}'),
        lead(body, route=("unsubscribes",)),
        lead(body, received_at=clock() + timedelta(days=1)),
    ]
    assert len({adapter().delivery_id(delivery) for delivery in deliveries}) == 4
    assert adapter().delivery_id(lead(body, received_at=clock() + timedelta(hours=14))) == adapter().delivery_id(
        deliveries[0]
    )


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.booleans(), max_size=5))
def test_any_lead_is_read_or_refused_with_400(attributes):
    body = json.dumps({"email": "a@b.org", "mobile": "1"} | attributes).encode()
    assert read_status(Delivery(("leads",), "POST", {}, (), body, datetime(2026, 11, 21, tzinfo=UTC))) in {201, 400}


def read_status(delivery):
    options = RoktOptions.model_validate(
        {"provider": "rokt", "api_key": "k", "inbound_auth": {"kind": "api_key", "key": "k"}}
    )
    try:
        seen = read_delivery(delivery, options)
    except DeliveryError as error:
        return error.status
    assert seen.key
    assert json.loads(seen.raw)
    return 201
