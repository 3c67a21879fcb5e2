"""A provider described as data: what is true of it, and what its adapter can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from syncd.domain.changes import ChangeKind


class Grade(StrEnum):
    """How well we know that a cell is as we think."""

    VERIFIED = "verified"  # read there, after our last write
    ACCEPTED = "accepted"  # the provider said yes and cannot be asked
    ASSUMED = "assumed"  # written or inferred, not read since
    UNKNOWN = "unknown"  # never seen


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a provider (declared by its adapter, from its documentation).

    `batch` is how many changes of a kind one call takes; kinds not named are sent one by one. `keeps_duplicates`: one
    person may have several
    records in one container. `one_name_field`: first and last name are one field there, so they are compared joined.
    `has_lists`: False where
    every container is the whole account. `unsubscribe_is_global`: an unsubscribe there ends everything there.
    `blind_unsubscribe`: can be told of
    an unsubscribe of somebody it has never named to us. `fields`: canonical fields that can be written; `looked_up`:
    those that only a look-up shows.
    `unsubscribe_removes`: there a "no" is written by taking the record away, so that gone is what it should read
    afterwards.
    `looks_before_subscribe`: its SUBSCRIBE looks the person up first, so repeating it after a failure that was
    answered adds nobody twice.
    `absence_is_unsubscribe`: somebody who vanished from a whole listing has opted out (inferred, guarded).
    `failure_adds_nobody`: a SUBSCRIBE that was answered with a failure added nobody, so it may be sent again.
    `changes_addresses`: its SUBSCRIBE can take the place of another address, which stands until the new one confirms.
    `deduplicates`: a SUBSCRIBE that arrives twice adds the person once, so one whose answer was lost may be sent again.
    """

    batch: dict[ChangeKind, int] = field(default_factory=dict)
    fields: frozenset[str] = frozenset()
    looked_up: frozenset[str] = frozenset()
    has_lists: bool = True
    keeps_duplicates: bool = False
    one_name_field: bool = False
    blind_unsubscribe: bool = False
    unsubscribe_is_global: bool = False
    unsubscribe_removes: bool = False
    absence_is_unsubscribe: bool = False
    looks_before_subscribe: bool = False
    failure_adds_nobody: bool = False
    changes_addresses: bool = False
    deduplicates: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adapter can do, asked of its type once, and its facts; plain data for the core."""

    facts: Facts
    accepts: frozenset[ChangeKind]
    snapshot: bool
    feed: bool
    lookup: bool
    report: bool
    notify: bool

    @property
    def readable(self) -> bool:
        """Whether it can ever be seen who is there. Elsewhere only what was accepted from us is known."""
        return self.snapshot or self.feed or self.lookup

    @property
    def connection(self) -> bool:
        """Whether new subscribers are delivered there, and nobody is read: an outbound connection."""
        return ChangeKind.SUBSCRIBE in self.accepts and not self.readable
