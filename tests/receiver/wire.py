"""What goes over the wire to the door, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from hashlib import sha256

from tests.receiver.door import BASIC
from tests.world import CONFIG

NOTICE = b'{"id":"evt-1","event":"customer.updated","customer":{"id":"7","email":"ann@example.org"}}'
SECRET = b"hook-secret"
WITH_TIME = CONFIG.replace(
    'webhook_secret = "hook-secret"',
    'webhook_secret = ["newer", "hook-secret"]\nwebhook_timestamp_header = "X-ROCS-Timestamp"',
)


def mac(content: bytes, secret: bytes = SECRET) -> str:
    return hmac.new(secret, content, sha256).hexdigest()


async def raw(port: int, request: bytes, *, wait_s: float = 5.0) -> bytes:
    """What comes back over a socket until the other side is done or the time is up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(wait_s):
            for at in range(0, len(request), 65536):
                writer.write(request[at : at + 65536])
                await writer.drain()
            while chunk := await reader.read(65536):
                answer += chunk
    writer.close()
    return answer


def head(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "host: x", *headers, "", ""]).encode("latin-1")


PROVED = (f"authorization: {BASIC['authorization']}", "content-type: application/json", "connection: close")
