"""What a sentence of the adapter protocol is, and what all checks of them need.

A check is given a fresh bench and fails where the adapter on it breaks the sentence. `needs` are the protocols that an
adapter must fulfil to be held to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from syncd.domain.changes import ChangeKind
from syncd.domain.errors import ProviderError
from syncd.providers.protocol import Provider
from syncd.wire import Exchange, Request, Response
from tests.conformance.bench import Bench, Say

T = TypeVar("T")
Check = Callable[[Any], None]


@dataclass(frozen=True)
class Sentence:
    name: str
    check: Check
    needs: frozenset[str]
    accepts: frozenset[ChangeKind]

    def binds(self, bench: type[Bench]) -> bool:
        return self.needs <= bench.able and self.accepts <= bench.accepts


SENTENCES: dict[str, Sentence] = {}


def sentence(name: str, *needs: str, accepts: ChangeKind | None = None) -> Callable[[Check], Check]:
    def note(check: Check) -> Check:
        assert name not in SENTENCES
        kinds = frozenset[ChangeKind]() if accepts is None else frozenset({accepts})
        SENTENCES[name] = Sentence(name, check, frozenset(needs), kinds)
        return check

    return note


def outcome_of(
    bench: Bench, adapter: Provider, exchange: Exchange[T], say: Callable[[int, Request, Say], Response] | None = None
) -> T | ProviderError:
    """What an exchange gives, or the error that it raises."""
    try:
        return bench.carry(adapter, exchange, say)
    except ProviderError as error:
        return error
