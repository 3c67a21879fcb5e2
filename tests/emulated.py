"""Emulators behind a transport of the carrier: carrier and adapter together, without a socket."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from syncd.emulators.emulator import Emulator, LostAnswerError, NoConnectionError
from syncd.wire import Request


def transport_for(emulators: Mapping[str, Emulator]) -> httpx.MockTransport:
    """A transport that carries each request to the emulator whose address begins its URL.

    A key is a prefix of URLs (``https://api.sales.rocks``) or a bare host with or without port (``127.0.0.1:8001``);
    the longest that fits wins. A URL that fits none cannot be connected to.
    """
    prefixes = sorted(emulators, key=len, reverse=True)

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
    try:
        response = emulator.handle(request)
    except NoConnectionError:
        raise httpx.ConnectError("refused", request=outgoing) from None
    except LostAnswerError:
        raise httpx.ReadTimeout("no answer", request=outgoing) from None
    return httpx.Response(response.status, headers=dict(response.headers), content=response.body)
