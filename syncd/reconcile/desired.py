"""What a decision is made of: changes to send, people to ask about, operations to close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from syncd.domain.changes import Change, ChangeKind
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Status
from syncd.reconcile.person import Cell, Operation, OpState, Person


class Why(StrEnum):
    """The rule that a change follows, as a clause that completes "because …"."""

    SUPPRESSED = "somebody who said no is still reachable here"
    TOLD = "this provider is told of every no"
    REASSERTED = "said no, and reads subscribed again"
    JOINED = "joined the list elsewhere, and nothing suppresses them"
    MOVED = "goes by another address elsewhere by now, and their former one stands here"
    EDITED = "a field was changed elsewhere"


@dataclass(frozen=True, slots=True)
class Desired:
    """One change that should be sent.

    `explicit`: rests on somebody's own word, so no guard holds it. `first_contact`: a side of it has never been
    agreed on.
    `mass`: follows from a listing that flipped very many at once. `protected`: rests on a mirror that was lost or put
    back; unless it is somebody's own word, it waits whatever the configuration lets pass.
    `unmet`: the accounts it comes from, if it waits for their first contact only, which lasts as long as it waits.
    """

    account: str
    change: Change
    why: Why
    explicit: bool
    first_contact: bool = False
    mass: bool = False
    protected: bool = False
    unmet: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LookUp:
    """Somebody to ask a provider about before anything can be decided."""

    account: str
    container: ContainerId
    identity: Identity
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """Additions of somebody that are kept back. `reason`: why, or nothing while the verifier at `account` is still to
    be asked about address and `phone`. `first_contact`: accounts with which it is not over before a person has seen
    them.
    """

    identity: Identity
    account: str
    phone: str
    reason: str
    first_contact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """What becomes of an open operation, now that more has been seen.

    `unasked`: nobody can be asked, and nothing was seen either.
    """

    operation: Operation
    state: OpState
    reason: str
    unasked: bool = False


def change_for(
    kind: ChangeKind,
    person: Person,
    account: str,
    container: ContainerId,
    identity: Identity,
    *,
    cells: Iterable[Cell] = (),
    fields: Mapping[str, str] | None = None,
    replaces: str | None = None,
) -> Change:
    """A change that names the records it is for, in the spelling this provider knows."""
    chosen = list(cells)
    whole = {cell.key for cell in person.at(account, WHOLE_ACCOUNT, identity) if cell.status is not Status.REMOVED}
    return Change(
        kind=kind,
        container=container,
        identity=identity,
        address=chosen[0].address if chosen else str(identity),
        keys=tuple(sorted(cell.key for cell in chosen)),
        # Two records of one address for the account as a whole: neither may be picked.
        account_key=next(iter(whole)) if len(whole) == 1 else None,
        fields=dict(fields or {}),
        replaces=replaces,
    )
