"""JSON as services really send it: what no JSON text may hold is replaced, so that one spoilt value costs one record.

A lone surrogate escape (half an emoji, cut off by somebody's column width) makes strict readers refuse the whole
answer, and with it everybody on the page.
"""

from __future__ import annotations

import re

SPOILT = "\ufffd"
"""Stands where something could not be read. A value that holds it is nobody's value."""

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # both halves of one letter
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_CONTROLS = bytes(max(byte, 0x20) for byte in range(256))


def mended(text: bytes) -> bytes:
    """The same document with lone surrogates and bytes that are no UTF-8 as U+FFFD, and control characters as blanks.

    A sound document comes back as it is, but for the blanks between its members.
    """
    text = text.translate(_CONTROLS).decode("utf-8", "replace").encode()
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found.group(1) else found.group(), text)


def in_utf8(body: bytes, content_type: str) -> bytes:
    """The body in UTF-8, which is what JSON is in unless the answer itself says otherwise."""
    _, _, named = content_type.lower().partition("charset=")
    charset = named.partition(";")[0].strip(" \"'")
    if charset in {"", "utf-8", "utf8", "us-ascii"}:
        return body
    try:
        return body.decode(charset).encode()
    except (LookupError, UnicodeDecodeError):
        return body  # an encoding that does not exist, or is not the one of these bytes
