"""Is this too much at once? What is concluded rather than said, and what adds people, stands under a limit.

Only the risky kind is held: an unsubscribe that rests on somebody's own word never waits here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import SuppressionKey, suppression_key
from syncd.domain.records import ContainerId
from syncd.reconcile.desired import Desired

Group = tuple[str, ContainerId, ChangeKind]
"""What a limit counts: one kind of change in one container of one account."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Held is what is above *both* limits, counted over the rolling window."""

    max_share: float = 0.05
    max_count: int = 20
    window_s: float = 86_400.0

    def exceeded(self, count: int, size: int) -> bool:
        return count > self.max_count and count > self.max_share * size


class Hold(StrEnum):
    """Why a change waits for a person."""

    FIRST_CONTACT = "first-contact"
    GUARD = "guard"
    MASS = "mass"
    ABSENCE = "absence"
    RESYNC = "resync"


@dataclass(frozen=True, slots=True)
class Held:
    desired: Desired
    hold: Hold


def group_of(desired: Desired) -> Group:
    return desired.account, desired.change.container, desired.change.kind


def guarded(wish: Desired) -> bool:
    """Whether a change counts against the limits:

    additions, but for those of a first contact, and unsubscribes nobody said.
    """
    if wish.change.kind is ChangeKind.SUBSCRIBE:
        return not wish.first_contact
    return wish.change.kind is ChangeKind.UNSUBSCRIBE and not wish.explicit


def sift(
    desired: Sequence[Desired],
    *,
    limits: Limits,
    hold_first_contact: bool,
    counted: Mapping[Group, int],
    sizes: Mapping[tuple[str, ContainerId], int],
    cautious: Container[SuppressionKey] = frozenset(),
) -> tuple[list[Desired], list[Held]]:
    """Part what may go from what waits, keeping the order.

    `counted`: changes of each group that were sent under the guard within the window or already wait. `sizes`: how
    many contacts each container holds. `cautious`: people whom nothing adds anywhere before a person has looked.
    A group over its limit waits as a whole, so that a person sees all of it. First contact, where it is allowed to
    pass, is not counted.
    """
    new = Counter(group_of(wish) for wish in desired if guarded(wish))
    held_groups = {
        group for group, count in new.items() if limits.exceeded(count + counted.get(group, 0), sizes.get(group[:2], 0))
    }
    go: list[Desired] = []
    held: list[Held] = []
    for wish in desired:
        hold = _hold(wish, held_groups, hold_first_contact)
        if hold is None and wish.change.kind is ChangeKind.SUBSCRIBE:
            hold = Hold.RESYNC if suppression_key(wish.change.identity) in cautious else None
        if hold is None:
            go.append(wish)
        else:
            held.append(Held(wish, hold))
    return go, held


def _hold(wish: Desired, held_groups: Iterable[Group], hold_first_contact: bool) -> Hold | None:
    if wish.change.kind is ChangeKind.UNSUBSCRIBE:
        if not wish.explicit and wish.protected:
            return Hold.FIRST_CONTACT
        if not wish.explicit and group_of(wish) in held_groups:
            return Hold.GUARD
        return Hold.MASS if wish.mass else None
    if wish.protected or (wish.first_contact and hold_first_contact):
        return Hold.FIRST_CONTACT
    return Hold.GUARD if guarded(wish) and group_of(wish) in held_groups else None
