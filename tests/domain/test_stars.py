"""No secret is shown, in whatever spelling an answer repeats it, and whatever stands around it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.domain.stars import STARS, host_alone, keys_in, starred, without_keys

Spell = Callable[[str], str]


def lower_case(text: str) -> str:
    return "".join(quote(ch, safe="").lower() if not ch.isalnum() else ch for ch in text)


def everything(text: str) -> str:
    return "".join(f"%{octet:02x}" for octet in text.encode())


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def as_php(text: str) -> str:
    return in_json(text).replace("/", "\\/")


def in_unicode(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def careful(text: str) -> str:
    """What templates do to JSON that goes into a page."""
    return in_json(text).translate({ord(ch): f"\\u{ord(ch):04X}" for ch in "<>&'"})


def numbered(text: str) -> str:
    return "".join(f"&#{ord(ch)};" for ch in text)


def numbered_in_hex(text: str) -> str:
    return "".join(f"&#X{ord(ch):04X};" for ch in text)


SPELLINGS: list[Spell] = [
    str,
    quote,
    quote_plus,
    lower_case,
    everything,
    in_json,
    as_php,
    in_unicode,
    careful,
    escape,
    html.escape,
    numbered,
    numbered_in_hex,
]
AROUND: list[Spell] = [quote, quote_plus, lower_case, in_json, as_php, careful, escape, html.escape]
"""What is done to a text that may hold an encoding already."""
# Of what passwords are made of, and of what one of the encodings above cannot leave as it is.
SECRETS = st.text(st.sampled_from("aZ09-._~/+=&%?#\"'<>\\ ;:@!$ué€😀"), min_size=1, max_size=12)


@given(SECRETS, st.sampled_from(SPELLINGS), st.sampled_from([str, *AROUND]))
@example("\\\\u005c", in_json, in_json)
@example("%2F&amp;+", str, str)
def test_a_secret_is_starred_in_every_spelling_and_in_one_inside_the_other(secret: str, spell: Spell, around: Spell):
    assert starred(f"§{around(spell(secret))}§", [secret]) == f"§{STARS}§"


@given(SECRETS, st.data())
def test_each_character_may_be_spelt_in_another_way(secret: str, data: st.DataObject):
    spell = st.sampled_from([one for one in SPELLINGS if one is not str])
    told = "".join(data.draw(spell)(ch) for ch in secret)
    assert starred(f"§{told}§", [secret]) == f"§{STARS}§"


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("abcdefgh", ["abcd", "cdefgh"], STARS),
        ("xababax", ["aba"], f"x{STARS}x"),
        ("one, two", ["one", "two"], f"{STARS}, {STARS}"),
        ("K-1 and k-1", ["k-1"], f"{STARS} and {STARS}"),
        ("nothing to hide", ["", "another"], "nothing to hide"),
        ("nothing to hide", [], "nothing to hide"),
    ],
)
def test_where_secrets_overlap_no_half_of_one_is_left(text: str, secrets: list[str], shown: str):
    assert starred(text, secrets) == shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://api.example.org/v1/", "https://api.example.org/v1/"),
        ("https://api.example.org/v1?code=canary", f"https://api.example.org/v1?{STARS}"),
        ("https://us:can@ary@api.example.org:8443/v1", f"https://{STARS}@api.example.org:8443/v1"),
        ("postgresql+psycopg://db/x", "postgresql+psycopg://db/x"),
        ("postgresql+psycopg://us:can/a?ry@db/x", f"postgresql+psycopg://{STARS}@db/x"),
        ("postgresql+psycopg://db/x?password=canary", f"postgresql+psycopg://db/x?{STARS}"),
        ("sqlite:////var/lib/syncd/mirror.db", "sqlite:////var/lib/syncd/mirror.db"),
        ("a text: 3 of 4?", "a text: 3 of 4?"),
        ("https://h/a#canary", f"https://h/a#{STARS}"),
        ("https://h#canary?b", f"https://h#{STARS}"),
        ("https://h/a?canary#canary", f"https://h/a?{STARS}"),
        ("sqlite:////srv/a#1.db", "sqlite:////srv/a#1.db"),
    ],
)
def test_an_address_is_shown_without_its_password_its_query_and_its_fragment(address: str, shown: str):
    assert without_keys(address) == shown


@pytest.mark.parametrize(
    ("address", "shown", "keys"),
    [
        ("elsewhere", STARS, {"elsewhere"}),
        ("https://crm.example.org", "https://crm.example.org", set[str]()),
        ("https://crm.example.org/", "https://crm.example.org/", set()),
        ("https://crm.example.org/in/canary-1/go", f"https://crm.example.org/{STARS}", {"canary-1"}),
        ("https://crm.example.org?canary", f"https://crm.example.org/{STARS}", {"canary"}),
        ("https://h/a?f=1&k=can%2fary+1==", f"https://h/{STARS}", {"can%2fary+1==", "can/ary+1==", "can/ary 1=="}),
    ],
)
def test_of_an_address_of_strangers_the_host_is_shown_and_the_rest_may_be_keys(
    address: str, shown: str, keys: set[str]
):
    assert host_alone(address) == shown
    assert keys_in(address) == keys
