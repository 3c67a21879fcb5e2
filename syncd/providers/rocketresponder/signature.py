"""The request signature, to the byte what the provider's PHP computes.

RocketResponder devzone, AUTHENTICATION, describes it in prose and in a PHP sample; the sample's `array_multisort` sorts
by *value* and keeps the names, and its `json_encode` has no flags. Everything here follows from those two functions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

Scalar = str | int | float | bool | None
Params = Sequence[tuple[str, Scalar]]

_INTEGER_LIKE = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT_DIGITS = 14  # PHP's `precision`, which `strval` obeys


class Signed(NamedTuple):
    signature: str
    body: bytes


def signed_form(private_key: str, url: str, params: Params, time: int) -> Signed:
    """Signature and form body of one call; `Time` is added last, as the provider's own SDK does.

    The body is in canonical order: equal values are ordered by where they stand in the request, so a server that
    sorts what it received only agrees when it received what was signed.
    """
    pairs = canonical([*params, ("Time", time)])
    # The tilde is the one character that PHP's http_build_query escapes and Python does not.
    return Signed(_digest(private_key, url, pairs), urlencode(pairs).replace("~", "%7E").encode("ascii"))


def sign(private_key: str, url: str, params: Params) -> str:
    """The signature over parameters in caller order, `Time` among them. `ValueError` for what PHP would garble."""
    return _digest(private_key, url, canonical(params))


def canonical(params: Params) -> list[tuple[str, str]]:
    """Names with their values as text, ordered by the bytes of the values; equal values keep the caller's order."""
    pairs = [(name, strval(value)) for name, value in params]
    _refuse_unsignable(pairs)
    return sorted(pairs, key=lambda pair: pair[1].encode("utf-8"))


def canonical_json(pairs: Iterable[tuple[str, str]]) -> str:
    """`json_encode` of a PHP array with these names and values."""
    members = ",".join(f"{_json_string(name)}:{_json_string(value)}" for name, value in pairs)
    return f"{{{members}}}" if members else "[]"  # an empty PHP array is a list


def strval(value: Scalar) -> str:
    """PHP's text of a scalar."""
    match value:
        case None | False:
            return ""
        case True:
            return "1"
        case float():
            # "1E+25" is "1.0E+25" in PHP, and its exponents have no leading zero.
            text = f"{value:.{_FLOAT_DIGITS}G}"
            mantissa, e, exponent = text.partition("E")
            if not e:
                return text
            return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{exponent[0]}{exponent[1:].lstrip('0')}"
        case _:
            return str(value)


def _digest(private_key: str, url: str, pairs: Iterable[tuple[str, str]]) -> str:
    return _md5(private_key + url + _md5(canonical_json(pairs)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def _json_string(text: str) -> str:
    # PHP leaves DEL raw where Python escapes it, and escapes the slash. DEL is cut out rather than put back afterwards:
    # a value may hold the six characters of its escape.
    escaped = "\x7f".join(json.dumps(part)[1:-1] for part in text.split("\x7f"))
    return '"' + escaped.replace("/", "\\/") + '"'


def _refuse_unsignable(pairs: Sequence[tuple[str, str]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a parameter is given twice; a PHP array holds each name once")
    for name, value in pairs:
        if _INTEGER_LIKE.fullmatch(name):
            raise ValueError(f"parameter {name!r}: PHP renumbers names that look like integers")
        try:
            (name + value).encode("utf-8")
        except UnicodeEncodeError:
            # json_encode gives up on it, and the signature would then cover no parameter at all.
            raise ValueError(f"parameter {name!a}: not valid Unicode, cannot be signed") from None
