from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.errors import DeliveryError
from syncd.domain.records import Delivery
from syncd.providers.rokt.bodies import attributes_of, canonical

WANTED = {"email": "ann@example.org", "firstname": "Åsa", "zipcode": "01234"}
JSON = json.dumps(WANTED)


def refused(delivery, status=400):
    with pytest.raises(DeliveryError) as caught:
        attributes_of(delivery)
    assert caught.value.status == status
    return caught.value.message


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", JSON),
        ("application/json; charset=UTF-8", "\ufeff" + JSON),
        ("text/json", JSON),
        ("application/vnd.lead+json", JSON),
        ("application/json", f'{{"data": {JSON}}}'),
        ("application/json", f"[{JSON}]"),
        ("application/json", f'{{"leads": [{JSON}]}}'),
        ("application/x-www-form-urlencoded", urlencode(WANTED)),
        ("application/x-www-form-urlencoded; charset=ISO-8859-1", urlencode(WANTED, encoding="latin-1")),
        ("text/plain", "email=ann@example.org\r\nfirstname=Åsa\r\n\r\nzipcode=01234\r\n"),
        ("text/plain", "email: ann@example.org\nfirstname : Åsa\rzipcode:01234"),
        (
            "application/xml",
            "<lead><email>ann@example.org</email><firstname>Åsa</firstname><zipcode>01234</zipcode></lead>",
        ),
        ("text/xml", '<lead email="ann@example.org" firstname="Åsa" zipcode="01234"/>'),
        (
            "text/xml",
            '<r><lead xmlns="urn:x" email="ann@example.org" zipcode="01234"><firstname>Åsa</firstname></lead></r>',
        ),
        (None, "\n " + JSON),
        (None, urlencode(WANTED)),
        (None, "email=ann@example.org\nfirstname=Åsa\nzipcode=01234"),
        (None, '<lead email="ann@example.org" firstname="Åsa" zipcode="01234"/>'),
    ],
)
def test_a_lead_is_the_same_lead_in_every_encoding(lead, content_type, body):
    assert attributes_of(lead(body, content_type)) == WANTED
    assert canonical(attributes_of(lead(body, content_type))) == canonical(WANTED)


def test_xml_says_its_own_character_set(lead):
    body = '<?xml version="1.0" encoding="ISO-8859-1"?><lead><email>a@b.org</email><firstname>Åsa</firstname></lead>'
    assert attributes_of(lead(body.encode("latin-1"), "application/xml"))["firstname"] == "Åsa"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps(WANTED, ensure_ascii=False)),
        ("text/plain", "email=ann@example.org\nfirstname=Åsa\nzipcode=01234"),
        ("text/xml", '<lead email="ann@example.org" firstname="Åsa" zipcode="01234"/>'),
        (
            "text/xml",
            '<?xml version="1.0" encoding="us-ascii"?><l email="ann@example.org" firstname="Åsa" zipcode="01234"/>',
        ),
    ],
)
def test_the_character_set_that_the_header_names_is_the_one_read(lead, content_type, body, charset):
    assert attributes_of(lead(body.encode(charset), f"{content_type}; charset={charset.upper()}")) == WANTED


def test_a_byte_order_mark_outweighs_the_header_in_xml(lead):
    body = '<lead email="ann@example.org" firstname="Åsa" zipcode="01234"/>'.encode("utf-16")
    assert attributes_of(lead(body, "text/xml; charset=iso-8859-1")) == WANTED


def test_a_get_is_read_from_its_query_alone(lead):
    delivery = lead(b"\x00junk", "application/zip", method="GET", query=tuple(WANTED.items()))
    assert attributes_of(delivery) == WANTED


def test_numbers_stay_as_they_were_spelt(lead):
    body = (
        '{"email":"a@b.org","campaign_id":2581697744617019994,"cost":2.50,"huge":'
        + "9" * 5000
        + ',"test":true,"no":null}'
    )
    read = attributes_of(lead(body))
    assert read["campaign_id"] == "2581697744617019994"
    assert read["cost"] == "2.50"
    assert read["huge"] == "9" * 5000
    assert read["test"] == "true"
    assert "no" not in read


def test_the_first_sign_parts_name_and_value(lead):
    text = "url=http://x.org/?a=b\nnote: a=b\nempty="
    assert attributes_of(lead(text, "text/plain")) == {"url": "http://x.org/?a=b", "note": "a=b", "empty": ""}


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=x", "application/zip", "text/html", "text/csv"]
)
def test_an_encoding_we_do_not_read_is_415(lead, content_type):
    refused(lead(JSON, content_type), 415)


def test_a_strange_character_set_is_415(lead):
    refused(lead(JSON, "application/json; charset=utf-7"), 415)


def test_a_compressed_body_is_415(lead):
    refused(lead(JSON, headers={"content-type": "application/json", "content-encoding": "gzip"}), 415)


def deep(levels):
    return '{"a":' * levels + '"x"' + "}" * levels


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", ""),
        ("application/json", "{"),
        ("application/json", '"text"'),
        ("application/json", "[]"),
        ("application/json", f"[{JSON},{JSON}]"),
        ("application/json", '{"email":"a@b.org","email":"c@d.org"}'),
        ("application/json", '{"data":{"email":"a@b.org","email":"c@d.org"}}'),
        ("application/json", '{"email":"a@b.org","age":NaN}'),
        ("application/json", '{"email":"a@b.org","age":-Infinity}'),
        ("application/json", '{"email":"a@b.org","firstname":"\\ud800"}'),
        ("application/json", '{"email":"a@b.org","\\udfff":"x"}'),
        ("application/json", '{"email":"a@b.org","firstname":"\\u0000"}'),
        ("application/json", '{"email":"a@b.org","x":[{"y":"\\u0000"}]}'),
        ("application/json", b'{"email":"a@b.org","firstname":"\xff"}'),
        ("application/json", '{"email":"a@b.org","x":' + deep(25) + "}"),
        ("application/json", "[" * 100_000),
        ("application/json", "{" + ",".join(f'"n{n}":1' for n in range(501)) + "}"),
        ("application/x-www-form-urlencoded", "email=a%40b.org&email=c%40d.org"),
        ("application/x-www-form-urlencoded", "email=a%40b.org&firstname"),
        ("application/x-www-form-urlencoded", "email=a%40b.org&firstname=%ff"),
        ("application/x-www-form-urlencoded", "email=a%40b.org&firstname=%00"),
        ("application/x-www-form-urlencoded", "&".join(f"n{n}=1" for n in range(501))),
        ("text/plain", "email=a@b.org\nemail: c@d.org"),
        ("text/plain", "email=a@b.org\nnonsense"),
        ("text/plain", "=a@b.org"),
        ("application/xml", "<lead>"),
        ("application/xml", "ann@example.org"),
        ("application/xml", "<lead>ann@example.org</lead>"),
        ("application/xml", "<l><email>a@b.org</email><email>c@d.org</email></l>"),
        ("application/xml", '<l email="a@b.org"><email>c@d.org</email></l>'),
        ("application/xml", '<!DOCTYPE l [<!ENTITY e "a@b.org">]><l><email>&e;</email></l>'),
        ("application/xml", '<!DOCTYPE l SYSTEM "file:///etc/passwd"><l><email>a@b.org</email></l>'),
        ("application/xml", '<?xml version="1.0" encoding="no-such"?><l><email>a@b.org</email></l>'),
        ("application/xml", "<a>" * 25 + "</a>" * 25),
    ],
)
def test_what_is_broken_or_ambiguous_is_400(lead, content_type, body):
    message = refused(lead(body, content_type))
    assert "@" not in message


def test_a_name_that_occurs_twice_in_a_query_is_400(lead):
    refused(lead(method="GET", query=(("email", "a@b.org"), ("email", "c@d.org"))))
    refused(lead(method="GET", query=(("email", "a@b.org\x00"),)))


def test_depth_is_bounded_at_twenty(lead):
    assert attributes_of(lead('{"email":"a@b.org","x":' + deep(18) + "}"))["email"] == "a@b.org"
    refused(lead('{"email":"a@b.org","x":' + deep(21) + "}"))


def test_long_lines_of_blanks_are_read_in_no_time(lead):
    refused(lead("a" + " " * 200_000, "text/plain"))
    refused(lead('"' * 200_000, "application/json"))


NAMES = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=8).map("n{}".format)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co", "Zl", "Zp"]), max_size=20)


@given(pairs=st.dictionaries(NAMES, VALUES.map(str.strip), min_size=2, max_size=6))
def test_json_form_text_and_xml_carry_the_same(pairs):
    root = Element("lead")
    for name, value in pairs.items():
        SubElement(root, name).text = value
    bodies = {
        "application/json": json.dumps(pairs).encode(),
        "application/x-www-form-urlencoded": urlencode(pairs).encode(),
        "text/plain": "\n".join(f"{name}={value}" for name, value in pairs.items()).encode(),
        "application/xml": tostring(root, encoding="utf-8"),
    }
    for content_type, body in bodies.items():
        delivery = Delivery(
            ("leads",), "POST", {"content-type": content_type}, (), body, datetime(2026, 11, 21, tzinfo=UTC)
        )
        assert attributes_of(delivery) == pairs, content_type


@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(
        [None, "application/json", "text/plain", "application/xml", "application/x-www-form-urlencoded"]
    ),
)
def test_no_bytes_make_it_fail_in_any_other_way(body, kind):
    headers = {} if kind is None else {"content-type": kind}
    assert status_of(Delivery(("leads",), "POST", headers, (), body, datetime(2026, 11, 21, tzinfo=UTC))) in {200, 400}


def status_of(delivery):
    try:
        canonical(attributes_of(delivery))
    except DeliveryError as error:
        return error.status
    return 200
