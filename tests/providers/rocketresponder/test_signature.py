"""The signature equals PHP's: golden vectors, an independent server side, and PHP itself where there is one."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.emulators.rocketresponder import php_signature
from syncd.providers.rocketresponder.signature import canonical, canonical_json, sign, signed_form, strval

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
KEY = "priv_x"
URL = "https://www.rocketresponder.com/api/subscriber/subscribe"
PHP = shutil.which("php") or shutil.which("/usr/bin/php")

names = st.text(st.characters(codec="utf-8", exclude_characters="0123456789-"), min_size=1, max_size=8).filter(
    lambda name: name != "Time"
)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
# Characters in which PHP's encoder, Python's and a form differ.
nasty = st.text(st.sampled_from('/\\"\x7f\x00\x1f\u2028é😀~+ &=%u07f1'), max_size=8)
forms = st.dictionaries(names, texts | nasty | st.sampled_from(["same", "Same"]), min_size=1, max_size=6)


scalars = st.integers(-(2**53), 2**53) | st.booleans() | st.none()
LAST = [vector for vector in VECTORS if vector["params"][-1] == ["Time", 1412776783]]
"""Those with `Time` where our calls have it."""


def pairs_of(vector: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vector["params"]]


@pytest.mark.quirk("rocketresponder-sorted-by-value")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_adapter_signs_every_vector_as_php_did(vector):
    params = pairs_of(vector)
    assert canonical_json(canonical(params)) == vector["canonical_json"]
    assert sign(vector["private_key"], vector["url"], params) == vector["signature"]


@pytest.mark.parametrize("vector", LAST, ids=lambda vector: vector["name"])
def test_time_is_added_last_and_the_body_is_in_canonical_order(vector):
    *params, (_, time) = pairs_of(vector)
    signed = signed_form(vector["private_key"], vector["url"], params, time)
    assert signed.signature == vector["signature"]
    assert signed.body.decode() == vector["form_body"]


def test_a_value_equal_to_the_time_stays_before_it():
    assert signed_form(KEY, URL, [("name", "1412776783")], 1412776783).body == b"name=1412776783&Time=1412776783"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_emulator_expects_every_vector_as_php_did(vector):
    received = {name.encode(): value.encode() for name, value in parse_qsl(vector["form_body"], keep_blank_values=True)}
    assert php_signature(vector["private_key"], vector["url"], received) == vector["signature"]


@given(forms)
@example({"name": "\\u007f"})  # the escape of DEL as text is not DEL
@example({"b": "same", "a": "same"})
def test_a_server_that_rebuilds_the_form_from_the_body_agrees(form):
    signed = signed_form(KEY, URL, list(form.items()), 1412776783)
    received = {
        name.encode(): value.encode() for name, value in parse_qsl(signed.body.decode(), keep_blank_values=True)
    }
    assert php_signature(KEY, URL, received) == signed.signature


def http_build_query(pairs: list[tuple[str, str]]) -> bytes:
    """PHP's, restated over bytes: letters, digits and `-._` stay, a space is a plus, all else is a percent and two
    upper-case digits; names as values; nothing is left out."""
    plain = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._")

    def spelt(text: str) -> bytes:
        return b"".join(
            bytes([byte]) if byte in plain else b"+" if byte == 0x20 else b"%%%02X" % byte for byte in text.encode()
        )

    return b"&".join(spelt(name) + b"=" + spelt(value) for name, value in pairs)


def in_order(form: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`array_multisort`, restated: each pair goes behind all whose value has not greater bytes."""
    ordered: list[tuple[str, str]] = []
    for pair in form:
        place = len(ordered)
        while place and ordered[place - 1][1].encode() > pair[1].encode():
            place -= 1
        ordered.insert(place, pair)
    return ordered


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_rules_restated_here_are_those_of_php(vector):
    pairs = [(name, strval(value)) for name, value in vector["params"]]
    assert http_build_query(in_order(pairs)).decode() == vector["form_body"]


@given(forms, st.integers(0, 2**33))
@example({"name": "A&B=C;D~ +%"}, 1412776783)
@example({"b": "1412776783", "a": "1412776783"}, 1412776783)
def test_the_body_is_to_the_byte_what_php_would_send(form, time):
    pairs = [*form.items(), ("Time", str(time))]
    assert signed_form(KEY, URL, list(form.items()), time).body == http_build_query(in_order(pairs))


@pytest.mark.quirk("rocketresponder-ties-keep-their-order")
@given(forms)
def test_values_are_in_byte_order_and_ties_keep_their_order(form):
    ordered = canonical(list(form.items()))
    raw = [value.encode() for _, value in ordered]
    assert raw == sorted(raw)
    place = {name: index for index, name in enumerate(form)}
    for (one, value), (two, next_value) in pairwise(ordered):
        assert value != next_value or place[one] < place[two]


def test_byte_order_is_neither_utf16_order_nor_numeric():
    values = ["😀", "\uffee", "é", "~", "a", "_", "Z", "9", "1e1", "100", "10", "010", " ", ""]
    ordered = [value for _, value in canonical([(f"p{chr(97 + i)}", v) for i, v in enumerate(values)])]
    assert ordered == ["", " ", "010", "10", "100", "1e1", "9", "Z", "_", "a", "~", "é", "\uffee", "😀"]


def test_json_is_php_json():
    text = "/ \\ \" é 😀 \x7f \x00 \x1f \b\f\n\r\t \u2028 <>&'"
    expected = '{"n":"\\/ \\\\ \\" \\u00e9 \\ud83d\\ude00 \x7f \\u0000 \\u001f \\b\\f\\n\\r\\t \\u2028 <>&\'"}'
    assert canonical_json([("n", text)]) == expected
    assert canonical_json([]) == "[]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, ""),
        (None, ""),
        (0, "0"),
        (-7, "-7"),
        (1.0, "1"),
        (0.5, "0.5"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.33333333333333"),
        (1e25, "1.0E+25"),
        (1.5e25, "1.5E+25"),
        (1e14, "1.0E+14"),
        (1e13, "10000000000000"),
        (1e-4, "0.0001"),
        (1e-5, "1.0E-5"),
        (-0.0, "-0"),
        (float("inf"), "INF"),
        (float("nan"), "NAN"),
        (2**53 + 1, "9007199254740993"),
    ],
)
def test_scalars_become_text_as_in_php(value, text):
    assert strval(value) == text


@pytest.mark.parametrize("name", ["0", "7", "10", "-5"])
def test_names_that_php_would_renumber_are_refused(name):
    with pytest.raises(ValueError, match="renumbers"):
        sign(KEY, URL, [(name, "x")])


@pytest.mark.parametrize("name", ["07", "-0", "1.5", "1e1", "a1"])
def test_names_that_only_resemble_integers_are_signed(name):
    assert sign(KEY, URL, [(name, "x")]) == php_signature(KEY, URL, {name.encode(): b"x"})


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        sign(KEY, URL, [("a", "1"), ("a", "2")])


def test_a_time_of_the_callers_own_is_refused():
    with pytest.raises(ValueError, match="twice"):
        signed_form(KEY, URL, [("Time", "1")], 1412776783)


def test_a_lone_surrogate_is_refused_without_quoting_the_value():
    with pytest.raises(ValueError, match="'name': not valid Unicode") as caught:
        sign(KEY, URL, [("name", "Dora \ud800")])
    assert "Dora" not in str(caught.value)


_PHP_SIDE = """
while (($line = fgets(STDIN)) !== false) {
    $data = [];
    foreach (json_decode($line, true) as [$name, $value]) { $data[base64_decode($name)] = $value; }
    foreach ($data as $name => $value) { if (is_array($value)) { $data[$name] = base64_decode($value[0]); } }
    $data = array_map('strval', $data);
    array_multisort($data, SORT_ASC, SORT_STRING);
    echo md5('priv_x' . 'https://x.test/api' . md5(json_encode($data))), ' ', http_build_query($data), "\\n";
}
"""


@pytest.fixture(scope="module")
def php() -> Iterator[subprocess.Popen[str]]:
    assert PHP is not None
    with subprocess.Popen([PHP, "-r", _PHP_SIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.skipif(PHP is None, reason="no php on this machine; the golden vectors were made by it")
@settings(deadline=None)
@given(form=st.dictionaries(names, texts | nasty | scalars, min_size=1, max_size=6))
def test_php_itself_agrees(php, form):
    # Text travels as base64 in a one-element list, so that it is told from numbers and hurts no line.
    line = [[encoded(name), [encoded(value)] if isinstance(value, str) else value] for name, value in form.items()]
    php.stdin.write(json.dumps(line) + "\n")
    php.stdin.flush()
    signature, body = php.stdout.readline().rstrip("\n").split(" ")
    assert signature == sign("priv_x", "https://x.test/api", list(form.items()))
    assert body.encode() == http_build_query(canonical(list(form.items())))


@pytest.mark.skipif(PHP is None, reason="no php on this machine; it made these vectors")
def test_php_makes_every_vector_again():
    folder = Path(__file__).parent
    made = subprocess.run(
        [str(PHP), str(folder / "vectors.php")],
        input=(folder / "vectors.json").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert json.loads(made.stdout) == VECTORS
