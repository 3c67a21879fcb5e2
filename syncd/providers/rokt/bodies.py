"""What Rokt sends, in any of its four encodings, as one map of names to values.

Rokt delivers leads by GET, POST or PUT, encoded as JSON, URL-encoded, plain text or XML, whichever the client asks for
(Referral export via API, "API parameters"). All four end in the same map, so that a lead is the same lead in each of
them. Numbers stay as they were spelt: campaign ids exceed 2^53, and a postal code is not a quantity.

Whatever is ambiguous is refused: a name that occurs twice would let two readers see two different persons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Never
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from syncd.domain.errors import DeliveryError
from syncd.domain.records import Delivery

Attributes = Mapping[str, object]
"""Names to values: text, or a nested map or list that no field is read from."""

DEPTH_MAX = 20
NAMES_MAX = 500

_UNNAMED = "utf-8-sig"
"""Where nobody says: all that is ASCII or UTF-8 is read right so."""

_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""Byte order marks, and what they say."""

_UNSPEAKABLE = re.compile("[\x00\ud800-\udfff]")

_CHARSETS = {
    "utf-8": "utf-8-sig",  # a byte order mark is no part of the first name
    "utf8": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "us-ascii": "ascii",
    "iso-8859-1": "cp1252",  # as browsers read the label (WHATWG Encoding)
    "windows-1252": "cp1252",
}


def attributes_of(delivery: Delivery) -> Attributes:
    """Decode a delivery. Raises `DeliveryError`: 415 for an encoding we do not read, 400 for a body that is not it."""
    if delivery.method == "GET":
        return _tidy(_once(delivery.query))
    if delivery.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise DeliveryError(415, "compressed bodies are not read")
    media_type, _, parameters = delivery.headers.get("content-type", "").partition(";")
    read = _reader_of(media_type.strip().lower(), delivery.body)
    charset = _charset_of(parameters)
    try:
        decoded = read(delivery.body, charset)
    except DeliveryError:
        raise
    except (ValueError, LookupError, RecursionError) as error:
        # The fault's own text may quote the body; its type does not.
        raise DeliveryError(400, f"the body cannot be read ({type(error).__name__})") from None
    return _tidy(_unwrapped(decoded))


def canonical(attributes: Attributes) -> bytes:
    """The same bytes for the same attributes, in whatever order and encoding they came."""
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


Reader = Callable[[bytes, str], object]


def _reader_of(media_type: str, body: bytes) -> Reader:
    if not media_type:
        return _sniffed(body)
    if media_type in {"application/json", "text/json"} or media_type.endswith("+json"):
        return _read_json
    if media_type in {"application/xml", "text/xml"} or media_type.endswith("+xml"):
        return _read_xml
    if media_type == "application/x-www-form-urlencoded":
        return _read_form
    if media_type == "text/plain":
        return _read_text
    raise DeliveryError(415, "send JSON, a form, plain text or XML, and say which in Content-Type")


def _sniffed(body: bytes) -> Reader:
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"{", b"[")):
        return _read_json
    if start.startswith(b"<"):
        return _read_xml
    return _read_form if b"=" in start and b"\n" not in start.strip() else _read_text


def _charset_of(parameters: str) -> str:
    """The codec that the header names, or nothing."""
    named = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            named = value.strip().strip('"').lower()
    if not named:
        return ""
    if named not in _CHARSETS:
        raise DeliveryError(415, "send UTF-8")
    return _CHARSETS[named]


def _read_json(body: bytes, charset: str) -> object:
    # The standard decoder and not msgspec: only this one shows a name that occurs twice and a number as it was spelt.
    return json.loads(
        body.decode(charset or _UNNAMED),
        object_pairs_hook=_once,
        parse_int=str,
        parse_float=str,
        parse_constant=_not_a_number,
    )


def _not_a_number(_: str) -> Never:
    raise ValueError("NaN and Infinity are not JSON")


def _read_form(body: bytes, charset: str) -> object:
    text = body.decode(charset or _UNNAMED).strip()
    pairs = parse_qsl(
        text,
        keep_blank_values=True,
        strict_parsing=bool(text),
        encoding=(charset or _UNNAMED).removesuffix("-sig"),
        errors="strict",
        max_num_fields=NAMES_MAX,
    )
    return _once(pairs)


def _read_text(body: bytes, charset: str) -> object:
    """Lines of `name=value` or `name: value`; the first of the two signs parts them."""
    pairs = []
    for line in re.split(r"\r\n|\r|\n", body.decode(charset or _UNNAMED)):
        if not line.strip():
            continue
        cut = min((at for sign in "=:" if (at := line.find(sign)) > 0), default=0)
        if not line[:cut].strip():
            raise DeliveryError(400, "a line of the text is neither name=value nor name: value")
        pairs.append((line[:cut].strip(), line[cut + 1 :].strip()))
    return _once(pairs)


def _read_xml(body: bytes, charset: str) -> object:
    # A byte order mark comes first, then the header, then the document's own declaration (RFC 7303, 3). Entities are
    # refused with the document type that could define them.
    charset = next((marked for mark, marked in _MARKS.items() if body.startswith(mark)), charset)
    document = body.decode(charset) if charset else body
    try:
        root: Element = fromstring(document, forbid_dtd=True)
    except DefusedXmlException:
        raise DeliveryError(400, "a document type is not read") from None
    except ParseError:
        raise DeliveryError(400, "the body is not XML") from None
    _bound(root, list)
    return _of_element(root)


def _of_element(element: Element) -> object:
    """Text, or a map where there are children or attributes."""
    if not len(element) and not element.attrib:
        return element.text or ""
    pairs: list[tuple[str, object]] = [(_local(name), value) for name, value in element.attrib.items()]
    pairs += [(_local(child.tag), _of_element(child)) for child in element]
    return _once(pairs)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    attributes: dict[str, object] = {}
    for name, value in pairs:
        if name in attributes:
            raise DeliveryError(400, "a name occurs twice")
        attributes[name] = value
    if len(attributes) > NAMES_MAX:
        raise DeliveryError(400, f"more than {NAMES_MAX} names")
    return attributes


def _unwrapped(decoded: object) -> dict[str, object]:
    """Without the one wrapping that set-ups add: `{"data": {…}}`, a list of one, or a list of one inside `data`."""
    value = _only(decoded)
    if isinstance(value, dict) and len(value) == 1:
        inner = next(iter(value.values()))
        if isinstance(inner, dict) or (isinstance(inner, list) and any(isinstance(each, dict) for each in inner)):
            value = _only(inner)
    if not isinstance(value, dict):
        raise DeliveryError(400, "the body is not a map of names to values")
    return value


def _only(value: object) -> object:
    if not isinstance(value, list):
        return value
    if len(value) != 1:
        raise DeliveryError(400, "one delivery is one person")
    return value[0]


def _nested(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _bound(root: object, members: Callable[..., Iterable[object]]) -> None:
    """Refuse what is nested too deep, level by level: no depth of the body becomes a depth of our stack."""
    level = [root]
    for _ in range(DEPTH_MAX + 1):
        level = [member for value in level for member in members(value)]
        if not level:
            return
    raise DeliveryError(400, f"nested more than {DEPTH_MAX} deep")


def _tidy(attributes: dict[str, object]) -> Attributes:
    _bound(attributes, _nested)
    return {_text(name): _tidied(value) for name, value in attributes.items() if value is not None}


def _tidied(value: object) -> object:
    if isinstance(value, dict):
        return {_text(name): _tidied(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_tidied(member) for member in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else _text(str(value))


def _text(text: str) -> str:
    if _UNSPEAKABLE.search(text):
        # No database and no other provider takes these; half a surrogate pair is not a character at all.
        raise DeliveryError(400, "a value holds a NUL or half a character")
    return text
