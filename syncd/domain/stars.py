"""Stars in the place of secrets, however a secret is spelt where it is met.

Whoever answers may repeat what we sent in a spelling of its own: as in an address, a form, JSON, XML, a page, or in one
inside the other. So a secret is looked for character by character, each in any spelling, whichever the others are in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from html.entities import html5
from urllib.parse import unquote, unquote_plus

STARS = "**********"

SECRET_NAMES = re.compile(
    r"password|passwd|secret|token|authorization|signature|credential|cookie|api[._-]?key|(?:^|[._-])key$",
    re.IGNORECASE,
)
"""What a parameter, a header or a member of an event is called that holds a secret."""

SEGMENT_MIN = 8
VALUE_MIN = 4
"""Shorter steps of a path, and shorter values of a query, are no keys, and would star half of an answer."""

_ADDRESS = re.compile(r"(https?://)([^/?#]*@)?([^/?#@]*)([^?]*)(\?.*)?", re.IGNORECASE | re.DOTALL)
_DATABASE = re.compile(r"([a-z][a-z0-9+.-]*://)([^:/]*(?::[^@]*)?@)?()([^?]*)(\?.*)?", re.IGNORECASE | re.DOTALL)
_ENTITIES: dict[str, list[str]] = {}
for _name, _text in html5.items():
    _ENTITIES.setdefault(_text, []).append(_name.rstrip(";"))
_SHORT = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}


def starred(text: str, secrets: Iterable[str]) -> str:
    """The text with stars in the place of each secret, in whichever spelling it stands there."""
    spans = sorted(found.span(1) for secret in {*secrets} - {""} for found in _spellings(secret).finditer(text))
    shown, end = [], 0
    for start, stop in spans:
        if start >= end:
            shown += [text[end:start], STARS]
        end = max(end, stop)  # secrets that overlap leave no half of each other
    return "".join([*shown, text[end:]])


def without_keys(text: str) -> str:
    """An address without the password before its host, its query and its fragment; any other text as it is."""
    found = _ADDRESS.fullmatch(text) or _DATABASE.fullmatch(text)
    if found is None:
        return text
    scheme, who, host, path, query = found.groups()
    if "#" in path and _ADDRESS.fullmatch(text):  # a file, as of a database, may be called so
        path, query = f"{path.partition('#')[0]}#{STARS}", None
    return f"{scheme}{(who and f'{STARS}@') or ''}{host}{path}{(query and f'?{STARS}') or ''}"


def host_alone(address: str) -> str:
    """A web address of which scheme and host are shown: in that of a stranger, a key may stand anywhere behind."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return STARS
    scheme, _, host, path, query = found.groups()
    return f"{scheme}{host}/{STARS}" if query or path.strip("/") else f"{scheme}{host}{path}"


def keys_in(address: str) -> set[str]:
    """What of a web address may be a key: the steps of its path and the values of its query, but for short ones."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return {address}
    path, query = found[4], (found[5] or "")[1:]
    values = {pair.partition("=")[2] or pair for pair in query.split("&")}
    keys = {step for step in path.split("/") if len(step) >= SEGMENT_MIN}
    keys |= {value for value in values if len(value) >= VALUE_MIN}
    return keys | {unquote(key) for key in keys} | {unquote_plus(key) for key in values & keys}


@lru_cache(maxsize=256)
def _spellings(secret: str) -> re.Pattern[str]:
    """What fits the secret in every spelling, also where two of them overlap."""
    steps = re.findall(r"\\+|[^\\]", secret, re.DOTALL)
    return re.compile(f"(?=({''.join(map(_step, steps))}))", re.IGNORECASE | re.DOTALL)


_BACKSLASH, _HASH, _END = r"(?:\\|%(?:25)*5c)", "(?:#|%(?:25)*23)", "(?:;|%(?:25)*3b)?"
_AND = rf"(?:&|%(?:25)*26|u0026)(?:amp{_END})*"
"""What begins, or ends, a spelling, may be spelt in another way itself."""
_DEEP = 32
"""As many backslashes as JSON in JSON, five deep, sets before a character: without an end, a text of nothing else would
be gone over again from each of them.
"""


def _step(text: str) -> str:
    """One character, or several backslashes, as JSON, an address, a form, XML and pages spell it, or one in another."""
    char, code = text[0], ord(text[0])
    names = [f"{_HASH}0*{code}", f"{_HASH}x0*{code:x}", *_ENTITIES.get(char, ())]
    octets = {char.encode("utf-8", "surrogatepass"), *([bytes([code])] if code < 256 else [])}
    units = char.encode("utf-16-be", "surrogatepass")
    spellings = [
        f"{_AND}(?:{'|'.join(names)}){_END}",
        *("".join(f"%(?:25)*{octet:02x}" for octet in one) for one in sorted(octets)),
        f"{_BACKSLASH}+".join(f"u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)),
        *([f"x{code:02x}"] if code < 256 else []),
    ]
    if char == "\\":
        return rf"(?:{'|'.join(spellings)}|\\){{1,{_DEEP * len(text)}}}"
    plus = [r"\+", "%(?:25)*2b"] if char == " " else []
    return rf"{_BACKSLASH}{{0,{_DEEP}}}(?:{'|'.join([*spellings, *plus, *_SHORT.get(char, ''), re.escape(char)])})"
