"""What can be asked of a provider, and how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId, Observation


class ChangeKind(StrEnum):
    UNSUBSCRIBE = "unsubscribe"
    SUBSCRIBE = "subscribe"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one contact in one container.

    `address` is spelt as this provider knows it. `keys` are the records that stand for the person in the
    container, all of them where a provider keeps duplicates; empty if none is known. `account_key` is the
    person's record in the account as a whole, where the provider has such a thing (a ROCS customer id). `fields` are
    canonical:
    all known ones for SUBSCRIBE, only those that differ for UPDATE. `replaces`: the address, as this provider spells
    it, whose place a SUBSCRIBE takes there once it is confirmed; only where `facts.changes_addresses`.
    """

    kind: ChangeKind
    container: ContainerId
    identity: Identity
    address: str
    keys: tuple[str, ...] = ()
    account_key: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    replaces: str | None = None

    @property
    def target(self) -> Target:
        """Whom it is about, for a look."""
        return Target(self.container, self.identity, self.address, self.keys, self.account_key)


class Outcome(StrEnum):
    ACCEPTED = "accepted"  # the provider said yes; only a later read says that it is so
    REFUSED = "refused"  # this record will never be taken as it is: park it, go on with the others
    STALE = "stale"  # a look before the write showed something newer: plan again, nothing was sent
    UNCERTAIN = "uncertain"  # taken in part or in an unreadable way: look before anything else


@dataclass(frozen=True, slots=True)
class Ack:
    """A provider's answer to one change.

    `receipt` is the id that the provider gave for the answer. `keys` are the records that now stand for the person,
    where the
    answer names them. `seen` are observations made by reading *before* the write; they count as reads.
    """

    outcome: Outcome
    receipt: str | None = None
    keys: tuple[str, ...] = ()
    reason: str = ""
    seen: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to look up: one person in one container, by address and by the records known to stand for them."""

    container: ContainerId
    identity: Identity
    address: str
    keys: tuple[str, ...] = ()
    account_key: str | None = None
