"""How much of a body is waited for, kept, and how deep it may go."""

from __future__ import annotations

import asyncio
import re
from itertools import accumulate

from starlette.requests import Request

from syncd.domain.errors import DeliveryError


async def body_of(request: Request, bytes_max: int, timeout_s: float) -> bytes:
    """The body, if it is not too large, whether it says so beforehand or not, and comes in time.

    Raises `DeliveryError` with 413 or 408.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > bytes_max:
        raise DeliveryError(413, f"more than {bytes_max} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                if len(body) + len(chunk) > bytes_max:
                    raise DeliveryError(413, f"more than {bytes_max} bytes")
                body += chunk
    except TimeoutError:
        raise DeliveryError(408, "the body did not come in time") from None
    return bytes(body)


# What does not end where it should ends with the body, so that nothing is looked at twice.
_JSON = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_XML = re.compile(rb"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<(/?)[^\s<>!?/][^<>]*?(/?)>", re.DOTALL)


def depth_of(body: bytes) -> int:
    """How deep JSON or XML is nested, without reading it; 0 for anything else."""
    start = body.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")[:1]
    if start in {b"{", b"["}:
        signs = (found for found in _JSON.findall(body) if not found.startswith(b'"'))
        return max(accumulate(1 if sign in b"[{" else -1 for sign in signs), default=0)
    if start == b"<":
        tags = (found for found in _XML.finditer(body) if found[1] is not None and not found[2])
        return max(accumulate(-1 if tag[1] else 1 for tag in tags), default=0)
    return 0
