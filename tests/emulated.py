"""Emulators behind a transport of the carrier: carrier and adapter together, without a socket.

Whatever passes is held against the schemas (`tests/schemas.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from syncd.emulators.emulator import Emulator, LostAnswerError, NoConnectionError
from syncd.wire import Request, Response
from tests.schemas import witness_answer, witness_request


def transport_for(emulators: Mapping[str, Emulator]) -> httpx.MockTransport:
    """A transport that carries each request to the emulator whose address begins its URL.

    A key is a prefix of URLs (``https://api.sales.rocks``) or a bare host with or without port (``127.0.0.1:8001``);
    the longest that fits wins. A URL that fits none cannot be connected to.
    """
    prefixes = sorted(emulators, key=len, reverse=True)
    for emulator in emulators.values():
        watch(emulator)

    def answer(outgoing: httpx.Request) -> httpx.Response:
        url = str(outgoing.url)
        for prefix in prefixes:
            if _begins(url, prefix):
                return _carried(emulators[prefix], outgoing)
        raise httpx.ConnectError("no emulator at this address", request=outgoing)

    return httpx.MockTransport(answer)


def _begins(url: str, prefix: str) -> bool:
    subject = url if "://" in prefix else url.partition("://")[2]
    rest = subject.removeprefix(prefix)
    return rest != subject and (not rest or rest[0] in "/?" or prefix.endswith("/"))


def _carried(emulator: Emulator, outgoing: httpx.Request) -> httpx.Response:
    request = Request(outgoing.method, str(outgoing.url), dict(outgoing.headers.items()), outgoing.content)
    witness_request(emulator, request)
    try:
        response = emulator.handle(request)
    except NoConnectionError:
        raise httpx.ConnectError("refused", request=outgoing) from None
    except LostAnswerError:
        raise httpx.ReadTimeout("no answer", request=outgoing) from None
    return httpx.Response(response.status, headers=dict(response.headers), content=response.body)


def watch(emulator: Emulator) -> None:
    """Hold what the service itself answers against the schemas, before a fault makes something else of it."""
    answer = emulator.answer
    if getattr(answer, "watches", False):
        return

    def watched(request: Request) -> Response:
        response = answer(request)
        witness_answer(emulator, request, response)
        return response

    watched.watches = True  # type: ignore[attr-defined]
    emulator.answer = watched  # type: ignore[method-assign]
