"""The fewest addresses to ask about so that every list is covered by at least one of its members."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

A = TypeVar("A")
L = TypeVar("L")


def cover(members: Mapping[A, AbstractSet[L]]) -> list[A]:
    """Greedy set cover: within a factor of ln(lists) of the least, and the same for the same input.

    `members` maps an address to the lists it is on.
    """
    missing = set().union(*members.values()) if members else set()
    chosen: list[A] = []
    while missing:
        best = max(sorted(members, key=str), key=lambda address: len(members[address] & missing))
        missing -= members[best]
        chosen.append(best)
    return chosen
