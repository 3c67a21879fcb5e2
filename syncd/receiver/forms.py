"""What a browser sends from a form of ours: bounded, and read as plain text by name."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import Request

from syncd.domain.errors import DeliveryError

KIND = "application/x-www-form-urlencoded"
BYTES_MAX = 16_384
NAMES_MAX = 100
BODY_S = 10.0
"""How long the body of a form may take."""


async def read_form(request: Request, *, bytes_max: int = BYTES_MAX, names_max: int = NAMES_MAX) -> dict[str, str]:
    """The fields of a form. Of a field that is sent twice the first counts.

    Raises `DeliveryError` with 413, 408, 415 or 400.
    """
    if request.headers.get("content-type", KIND).partition(";")[0].strip().lower() != KIND:
        raise DeliveryError(415, f"a form is sent as {KIND}")
    try:
        text = (await _body_of(request, bytes_max)).decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=names_max)
    except ValueError:
        raise DeliveryError(400, "the form cannot be read") from None
    if any("\x00" in part for pair in pairs for part in pair):
        raise DeliveryError(400, "a field of the form holds a NUL")
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


async def _body_of(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise DeliveryError(413, f"a form of more than {limit} bytes")
    except TimeoutError:
        raise DeliveryError(408, "the form did not come in time") from None
    return bytes(body)
