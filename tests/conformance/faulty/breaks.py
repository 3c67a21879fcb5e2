"""Adapters that break one sentence each: the suite must notice every one of them.

Each is made from an adapter that keeps the whole protocol, by the smallest change that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from syncd.wire import Exchange, Request, Response
from tests.conformance.bench import Bench
from tests.conformance.benches import Postbox


class Faulty(NamedTuple):
    sentence: str
    bench: type[Bench]
    adapter: Callable[..., Any]
    raises: type[Exception] | None = None
    """What the fault itself raises in the middle of the check, if anything."""


FAULTY: list[Faulty] = []


def breaks(
    sentence: str, bench: type[Bench] = Postbox, *, raises: type[Exception] | None = None
) -> Callable[[type], type]:
    def note(adapter: type) -> type:
        FAULTY.append(Faulty(sentence, bench, adapter, raises))
        return adapter

    return note


def changed(exchange: Exchange[Any], change: Callable[[Request], Request]) -> Exchange[Any]:
    """An exchange whose requests leave it otherwise."""
    try:
        request = next(exchange)
        while True:
            request = exchange.send((yield change(request)))
    except StopIteration as stop:
        return stop.value


def heard(exchange: Exchange[Any], change: Callable[[Response], Response]) -> Exchange[Any]:
    """An exchange that hears other answers than were given."""
    try:
        request = next(exchange)
        while True:
            request = exchange.send(change((yield request)))
    except StopIteration as stop:
        return stop.value
