"""What the core knows when it decides about one person: cells, open operations, consent, and where our lists live."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.facts import Capabilities, Grade
from syncd.domain.hygiene import Checked, Hygiene
from syncd.domain.identity import Identity, SuppressionKey
from syncd.domain.records import NAMELESS, PRESENT, SUPPRESSED, WHOLE_ACCOUNT, ContainerId, Status


@dataclass(frozen=True, slots=True)
class Cell:
    """The last admissible observation of one record of one person in one container.

    `seq` is the number of the read that last showed it as it is (the *beginning* of that request). `status_seq` and
    `status_at` belong to the read at
    which the status last changed. `said_no_seq` is the last read at which it stood suppressed, 0 if it never did.
    `base` holds the fields as they were when they were last merged; None before the first merge. `unread` names fields
    that hold something there which could not be read: neither a blank nor a value.
    `missing_seq`: the beginning of the latest whole listing that did not show it, 0 while it is listed;
    `missing_count` says how many in a row. `unsubscribed_at` and `confirmed_at` are the latest times that the provider
    showed, on its own clock; `confirmed_seq` is the read at which the second last moved on. `grade`: how well this is
    known.
    """

    account: str
    container: ContainerId
    key: str
    identity: Identity
    address: str
    status: Status
    seq: int
    status_seq: int
    status_at: datetime
    route: str
    fields: Mapping[str, str] = field(default_factory=dict)
    base: Mapping[str, str] | None = None
    unread: frozenset[str] = frozenset()
    said_no_seq: int = 0
    missing_seq: int = 0
    missing_count: int = 0
    unsubscribed_at: str | None = None
    confirmed_at: str | None = None
    confirmed_seq: int = 0
    grade: Grade = Grade.VERIFIED

    @property
    def place(self) -> Place:
        return self.account, self.container, self.identity

    @property
    def nameless(self) -> bool:
        """It shows no address that can be read: whose it is by now is not certain."""
        return NAMELESS in self.unread

    @property
    def lost(self) -> bool:
        """It was sent there, and no answer told what became of it: the person may be there, or not."""
        return self.status is Status.UNKNOWN and self.grade is Grade.UNKNOWN

    @property
    def left_and_came_back(self) -> bool:
        """It stands, and the very reading that showed so also showed a new unsubscribe before it."""
        return stands(self) and 0 < self.said_no_seq == self.status_seq

    @property
    def reverted(self) -> bool:
        """It was seen to say no, and does not any more."""
        return 0 < self.said_no_seq < self.status_seq or self.left_and_came_back


class OpState(StrEnum):
    """The life of an operation. Open ones stand in the outbox; at most one is open per cell."""

    READY = "ready"  # decided, not sent
    INFLIGHT = "inflight"  # written down before the call; after a restart it is UNKNOWN
    UNKNOWN = "unknown"  # sent, and no answer tells what became of it: look before anything else
    ACCEPTED = "accepted"  # the provider said yes; waits for a read that shows it
    VERIFIED = "verified"  # read back
    DONE = "done"  # accepted where nothing can be read back
    REFUTED = "refuted"  # read back and not so: planned again
    SUPERSEDED = "superseded"  # no longer wanted, or something newer was seen
    PARKED = "parked"  # refused for good: a person looks at it
    BLOCKED = "blocked"  # did not stick after several tries


OPEN = frozenset({OpState.READY, OpState.INFLIGHT, OpState.UNKNOWN, OpState.ACCEPTED})
"""States in which an operation holds its cell."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on one cell, as far as a decision needs it.

    `ended_seq`: from here on a reading may confirm it; `settled_seq`: from here on one may contradict it too, 0 before.
    `closed_seq`: when it was read back, 0 before. `keys`: the records it names. `reason`: why it stands as it does.
    `replaces`: the address that gives way to this one.
    """

    id: int
    account: str
    container: ContainerId
    identity: Identity
    kind: ChangeKind
    state: OpState
    fields: Mapping[str, str] = field(default_factory=dict)
    ended_seq: int = 0
    ended_at: datetime | None = None
    settled_seq: int = 0
    closed_seq: int = 0
    keys: tuple[str, ...] = ()
    reason: str = ""
    replaces: str | None = None

    @property
    def place(self) -> Place:
        return self.account, self.container, self.identity


Place = tuple[str, ContainerId, Identity]
"""Where an operation takes effect: account, container, identity."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """One cell that is left subscribed although a "no" stands: the person confirmed it anew there, and nothing since.

    `seq`: when it was granted.
    """

    account: str
    container: ContainerId
    identity: Identity
    seq: int
    evidence: str = ""

    @property
    def place(self) -> Place:
        return self.account, self.container, self.identity


class Candidate(NamedTuple):
    """Somebody who confirmed in a container since a change of address began there."""

    identity: Identity
    confirmed_at: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Rename:
    """An address that a provider said was changed, or that we changed there.

    `successor`: what it gave way to or, as long as it did not, what it is known to give way to. `retired_at`: the
    provider's own time at which it did, empty where that is not known. `undone`: what that one took back since, of all
    that was said no to (None: at one record of it, whatever it was), and when.
    """

    account: str
    container: ContainerId
    identity: Identity
    seq: int
    at: datetime
    retired_at: str | None = None
    candidates: Sequence[Candidate] = ()
    successor: Identity | None = None
    undone: Sequence[tuple[Scope | None, datetime]] = ()

    @property
    def place(self) -> Place:
        return self.account, self.container, self.identity


class Former(NamedTuple):
    """An address whose place one of the person's took at `account`, or, unless it `gave_way`, is to take.

    `stands`: by account and container where it still stands with nothing under way, as it is spelt there; `busy`: where
    it does and something is. `noes`: what was said no to under it, and not taken back under the other since. `waits`:
    it reads unsubscribed somewhere, and whether that is a "no" is not decided.
    """

    identity: Identity
    successor: Identity
    account: str
    container: ContainerId
    gave_way: bool
    stands: Mapping[tuple[str, ContainerId], str]
    noes: frozenset[Scope]
    busy: frozenset[tuple[str, ContainerId]] = frozenset()
    waits: bool = False


class No(NamedTuple):
    """A "no" that we learnt of: to what, when, and from which cell if it was read."""

    scope: Scope
    seq: int
    epoch: int = 0
    account: str = ""
    container: str = ""
    identity: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        return self.account, self.container, self.identity


@dataclass(frozen=True, slots=True)
class Person:
    """Everybody who shares one suppression key; nearly always one identity.

    `operations` are the open ones. `refuted` counts writes that were accepted and read back otherwise since the last
    one that held; `named` are the addresses under which they said something about consent, seen anywhere or not;
    `parked` holds the fields of the latest change that was refused for good. `inferred_scopes` and `mass_scopes` are
    those whose "no" rests on nothing better; `mass_sources` says which containers flipped. `noes_written` are the
    places where we wrote a "no" ourselves, so that reading it there is our own echo; `carried_out` are those writes
    that were accepted. `added` are the places where we put them ourselves. `noes` is every "no" that was learnt of.
    `exemptions` are those that were not ended yet. `formers` are the addresses that theirs took the place of.
    `checked`: what a verifier said of each address.
    """

    key: SuppressionKey
    cells: Sequence[Cell]
    consent: Mapping[Scope, ConsentState] = field(default_factory=dict)
    operations: Sequence[Operation] = ()
    fields: Mapping[Identity, Mapping[str, str]] = field(default_factory=dict)
    refuted: Mapping[tuple[Place, ChangeKind], int] = field(default_factory=dict)
    parked: Mapping[tuple[Place, ChangeKind], Mapping[str, str]] = field(default_factory=dict)
    named: frozenset[Identity] = frozenset()
    mass_scopes: frozenset[Scope] = frozenset()
    inferred_scopes: frozenset[Scope] = frozenset()
    mass_sources: frozenset[tuple[Scope, str, str]] = frozenset()
    noes_written: frozenset[Place] = frozenset()
    added: frozenset[Place] = frozenset()
    carried_out: Sequence[Operation] = ()
    noes: Sequence[No] = ()
    exemptions: Sequence[Exemption] = ()
    renames: Sequence[Rename] = ()
    formers: Sequence[Former] = ()
    checked: Mapping[Identity, Checked] = field(default_factory=dict)

    @property
    def identities(self) -> tuple[Identity, ...]:
        known = {cell.identity for cell in self.cells} | set(self.fields) | self.named
        return tuple(sorted(known))

    def at_accounts(self, names: Container[str]) -> Person:
        """Without what is left of other accounts: of one that is not configured any more nothing can be decided."""
        return replace(
            self,
            cells=tuple(cell for cell in self.cells if cell.account in names),
            operations=tuple(op for op in self.operations if op.account in names),
        )

    def suppressed(self, scope: Scope) -> bool:
        """Whether a "no" stands for this scope, or for everything."""
        return self.said_no(scope) or self.said_no(GLOBAL)

    def said_no(self, scope: Scope) -> bool:
        """Whether a "no" stands for exactly this scope."""
        return scope in self.consent and self.consent[scope].level.suppresses

    def said_yes(self, scope: Scope) -> bool:
        """Whether their own word ended a "no" for exactly this scope, and stands."""
        return scope in self.consent and self.consent[scope].epoch > 0 and not self.said_no(scope)

    @property
    def erased(self) -> bool:
        """Whether nothing is known but that they must never be mailed: nothing of them is asked, claimed or kept."""
        return GLOBAL in self.consent and self.consent[GLOBAL].level is Level.ERASED

    def own_echo(self, cell: Cell) -> bool:
        """Whether this "no" is what we wrote: it turned up after the provider had accepted ours, and before, or when,
        that was read back. Where the provider shows that the person confirmed meanwhile, the "no" after that is theirs.
        """
        theirs = cell.status is Status.COMPLAINED or cell.confirmed_seq == cell.status_seq
        return not theirs and any(
            op.place == cell.place
            and op.state in {OpState.ACCEPTED, OpState.VERIFIED}
            and op.ended_seq < cell.status_seq
            and (op.closed_seq == 0 or cell.status_seq <= op.closed_seq)
            for op in self.carried_out
        )

    def at(self, account: str, container: ContainerId, identity: Identity | None = None) -> list[Cell]:
        return [
            cell
            for cell in self.cells
            if cell.account == account
            and cell.container == container
            and (identity is None or cell.identity == identity)
        ]


@dataclass(frozen=True, slots=True)
class Account:
    """One account as the core sees it. `joined`: its first contact is over. `protected`: it was lost or put back, and
    nothing but what people said goes out before somebody has looked.

    `late`: fields that may come to be seen after the others of a record, so that one that appears is no edit.
    `rename_*`: how long a change of address may stay open, how long an unsubscribe within it waits for the new address
    to be seen, and how far apart the two times may be by the provider's clock.
    """

    name: str
    provider: str
    capabilities: Capabilities
    settle_s: float
    spread: bool = True
    joined: bool = False
    protected: bool = False
    late: frozenset[str] = frozenset()
    rename_open_s: float = 30 * 86_400.0
    rename_wait_s: float = 900.0
    rename_tolerance_s: float = 5.0


@dataclass(frozen=True, slots=True)
class MailingList:
    """One list of ours: its consent scope, and the containers where it lives, by account.

    `ended`: containers where it lived, and until when. Nothing new goes there or comes from there; a "no" still reaches
    the records that came until then.
    """

    name: str
    scope: Scope
    places: Mapping[str, tuple[ContainerId, ...]]
    spread: bool = True
    ended: Mapping[tuple[str, ContainerId], datetime] = field(default_factory=dict)

    def holds(self, account: str, container: ContainerId) -> bool:
        ids = self.places.get(account, ())
        return container in ids or WHOLE_ACCOUNT in ids

    def brought(self, cell: Cell) -> bool:
        """Whether a record came while this list lived where it does not live any more."""
        places = ((cell.account, cell.container), (cell.account, WHOLE_ACCOUNT)) if self.ended else ()
        return any(place in self.ended and cell.status_at <= self.ended[place] for place in places)


@dataclass(frozen=True, slots=True)
class Topology:
    """Where our lists live, and what counts as a fight over a cell: so many flaps within so many seconds.

    `whole` names the containers that were read whole at least once, with the sequence number at which the latest such
    read began. `owners`: for a field, the account whose value wins. `hygiene`: the rules by which new leads are
    verified before they spread; None: nobody is.
    """

    accounts: Mapping[str, Account]
    lists: Mapping[str, MailingList]
    whole: Mapping[tuple[str, ContainerId], int] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    flaps_max: int = 3
    flaps_window_s: float = 86_400.0
    hygiene: Hygiene | None = None

    def lists_of(self, account: str, container: ContainerId) -> list[MailingList]:
        return [entry for entry in self.lists.values() if entry.holds(account, container)]

    def lists_reaching(self, cell: Cell) -> list[MailingList]:
        """The lists whose "no" reaches this record: those that live there, and those under which it came."""
        return [entry for entry in self.lists.values() if entry.holds(*cell.place[:2]) or entry.brought(cell)]

    def linked(self, account: str, container: ContainerId) -> bool:
        return any(entry.holds(account, container) for entry in self.lists.values())

    def reaching(self, account: str, container: ContainerId) -> frozenset[Scope]:
        """The scopes whose "no" reaches whoever comes to this container.

        One that no list of ours names is reached by a global "no" alone, and so is the whole account, unless it is
        itself where a list of ours lives.
        """
        return frozenset({GLOBAL, *(entry.scope for entry in self.lists_of(account, container))})

    def reaching_record(self, cell: Cell) -> frozenset[Scope]:
        """The scopes whose "no" reaches this record, which may have come under a link that was ended."""
        return frozenset({GLOBAL, *(entry.scope for entry in self.lists_reaching(cell))})

    def scopes_of(self, account: str, container: ContainerId) -> tuple[Scope, ...]:
        """The scopes that a "no" in this container speaks for.

        The account as a whole speaks for everything, as does any container of a provider that has no lists. A
        container that no
        list of ours names is a scope of its own.
        """
        facts = self.accounts[account].capabilities.facts
        if container == WHOLE_ACCOUNT or facts.unsubscribe_is_global:
            return (GLOBAL,)
        scopes = {entry.scope for entry in self.lists_of(account, container)}
        return tuple(sorted(scopes)) or (Scope(f"{account}/{container}"),)


def stands(cell: Cell) -> bool:
    """Whether mail could still reach somebody through this record: there, and not marked as one who said no."""
    return cell.status in PRESENT and cell.status not in SUPPRESSED
