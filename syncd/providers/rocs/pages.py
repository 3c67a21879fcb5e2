"""Pages of a listing, and what is left of one in which a single record fails.

ROCS answers 500 to a page whose records it cannot all give out, and to everything in an outage. A page far behind the
last tells the two apart: in an outage it fails as well. If it does not, the page is taken apart until the records that
fail stand alone; the others are read as if nothing were wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from syncd.domain.errors import FailedError, MalformedError
from syncd.providers.rocs.answer import raise_for, text_of
from syncd.providers.rocs.calls import Calls
from syncd.providers.rocs.translate import Translator
from syncd.wire import Exchange, Request

FAR = 1_000_000
"""A page that no listing has; past the end ROCS answers with an empty one (assumed)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed: its row in the table, the ids in its path, and what narrows it down."""

    row: str
    ids: Mapping[str, str]
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """A run of records that were read in one answer, or (`body` None) the one that failed, and what was said of it."""

    number: int
    size: int
    body: bytes | None
    reason: str = ""

    @property
    def position(self) -> int:
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class Extent:
    """How many records a listing has, and how many ROCS puts on a page whatever it is asked for."""

    total: int
    size: int

    def after(self, number: int) -> str | None:
        """The page after this one, None after the last."""
        return str(number + 1) if number * self.size < self.total else None


class Pages:
    def __init__(self, calls: Calls, translator: Translator) -> None:
        self._calls = calls
        self._translator = translator

    def read(self, listing: Listing, number: int, size: int) -> Exchange[tuple[list[Part], Extent | None]]:
        """One page: in one part, without an extent, unless a record on it fails.

        Raises what is wrong with the service as a whole, `FailedError` too where more than `unread_max` records fail.
        """
        try:
            body = yield from self._ask(listing, number, size)
        except FailedError as failure:
            extent = yield from self._behind_the_last(listing, size, failure)
            return (yield from self._apart(listing, number, extent, failure)), extent
        return [Part(number, size, body)], None

    def _apart(self, listing: Listing, number: int, extent: Extent, failure: FailedError) -> Exchange[list[Part]]:
        parts: list[Part] = []
        waiting = [(number, extent.size, failure)]
        failed = 0
        while waiting:
            at, size, error = waiting.pop()
            if size == 1:
                failed += 1
                if failed > self._calls.options.unread_max:
                    raise FailedError(f"{error.message}; so do more records than unread_max", call=error.call)
                parts.append(Part(at, 1, None, error.message))
                continue
            for piece, smaller in _pieces(at, size):
                if (piece - 1) * smaller >= extent.total:
                    break
                try:
                    body = yield from self._ask(listing, piece, smaller)
                except FailedError as smaller_error:
                    waiting.append((piece, smaller, smaller_error))
                else:
                    parts.append(Part(piece, smaller, body))
        return sorted(parts, key=lambda part: part.position)

    def _behind_the_last(self, listing: Listing, size: int, failure: FailedError) -> Exchange[Extent]:
        try:
            body = yield from self._ask(listing, FAR, size)
            total, used, shown = self._translator.extent(listing.row, body, number=FAR, size=size)
        except (FailedError, MalformedError):
            raise failure from None
        if shown:
            raise failure
        return Extent(total, used)

    def _ask(self, listing: Listing, number: int, size: int) -> Exchange[bytes]:
        request: Request = self._calls.page(listing.row, number, size, listing.extra, listing.ids)
        response = yield request
        raise_for(response, call=request.label, now=self._calls.now, sent=listing.extra.values())
        return text_of(response)


def _pieces(number: int, size: int) -> Iterator[tuple[int, int]]:
    """The smaller pages that cover exactly this one."""
    parts = next(n for n in (2, 3, 5, 7, size) if size % n == 0)
    return ((number * parts - parts + 1 + offset, size // parts) for offset in range(parts))
