"""What an adapter need not say itself where its provider is a plain one: JSON, with HTTP's own words for what is wrong.

Where a provider has words of its own, its adapter reads them instead.
"""

from __future__ import annotations

import hmac
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import SecretStr

from syncd.domain import errors
from syncd.domain.records import Delivery, Record
from syncd.providers.options import AccountOptions, Url
from syncd.providers.protocol import CanList
from syncd.wire import Exchange, Request, retry_after

T = TypeVar("T")


class PlainOptions(AccountOptions):
    base_url: Url


Given = TypeVar("Given", bound=PlainOptions)


class PlainAdapter(Generic[Given]):
    """Keeps what every adapter is made with, makes its calls, and knows a notice again by its bytes."""

    def __init__(self, options: Given, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        self.options, self.linked, self.now = options, linked, now

    @abstractmethod
    def proof(self) -> Mapping[str, str]:
        """The headers by which the provider knows us."""

    def check(self: CanList) -> Exchange[None]:
        """Ask for the lists: cheap, and nobody gets them without credentials."""
        yield from self.containers()

    def delivery_id(self, delivery: Delivery) -> str:
        return sha256(delivery.body).hexdigest()

    def call(
        self, method: str, path: str, label: str, shape: type[T], body: Any = None, *, repeatable: bool = False
    ) -> Exchange[T]:
        """The answer to one call, or the error that its status or its body amounts to. A read may always come twice."""
        headers = {**self.proof(), "content-type": "application/json"}
        sent, again = b"" if body is None else msgspec.json.encode(body), repeatable or method == "GET"
        url = f"{self.options.base_url}{path}"
        answer = yield Request(method, url, headers, sent, label=label, repeatable=again, token=False)
        what = f"{label}: HTTP {answer.status}"
        if answer.status in {401, 403}:
            raise errors.UnauthorisedError(what, call=label)
        if answer.status == 429:
            raise errors.ThrottledError(what, call=label, retry_after_s=retry_after(answer, self.now()))
        if answer.status >= 400:
            kind = errors.UnavailableError if answer.status >= 500 else errors.RefusedError
            raise kind(what, call=label)
        return decoded(answer.body, shape, label)


def decoded(body: bytes | msgspec.Raw, shape: type[T], call: str) -> T:
    """JSON of this shape; anything else says nothing."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (ValueError, RecursionError):
        raise errors.MalformedError(f"{call}: not the documented shape", call=call) from None


def records_of(rows: Iterable[msgspec.Raw], key: str, call: str) -> tuple[Record, ...]:
    """Rows as they came, each under its own key; one without a key makes the whole answer unreadable."""
    found = []
    for row in rows:
        name = decoded(row, dict[str, Any], call).get(key)
        if not isinstance(name, str) or not name:
            raise errors.MalformedError(f"{call}: a row without its {key}", call=call)
        found.append(Record(name, bytes(row)))
    return tuple(found)


def is_same(given: str, secret: SecretStr) -> bool:
    """Whether somebody knows the secret; takes as long for a good guess as for a bad one."""
    return hmac.compare_digest(given.encode(), secret.get_secret_value().encode())
