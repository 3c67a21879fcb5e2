"""Who goes by which address since when: what a "no" under one of them says of the others.

Judged as anybody could: a record at ROCS shows what it is called by now, as soon as it is read. That an address gave
way at RocketResponder is told by nobody; it counts from when it was seen to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from tests.simulation.process import Mirror


@dataclass(slots=True)
class Moves:
    """`heirs`: by address those that the person goes by since, as long as nobody came back to it. `ever`: every two
    addresses that one person went by. `retired`: the addresses at RocketResponder that left as another confirmed, by
    list, with that one and the moment; `away` are those that did not confirm there again.
    """

    heirs: dict[str, set[str]] = field(default_factory=dict)
    ever: set[frozenset[str]] = field(default_factory=set)
    retired: dict[tuple[str, str], tuple[str, datetime]] = field(default_factory=dict)
    away: set[tuple[str, str]] = field(default_factory=set)

    def move(self, old: str, new: str) -> None:
        self.came_back(new)
        self.heirs.setdefault(old, set()).add(new)
        self.shared(old, new)

    def shared(self, old: str, new: str) -> None:
        """One record went by both: what it shows of its person was said under either."""
        self.ever.add(frozenset((old, new)))

    def came_back(self, email: str, lid: str = "") -> None:
        """Somebody goes by this address anew: from here on it is its own person."""
        self.heirs.pop(email, None)
        self.away.discard((email, lid))

    def retire(self, old: str, new: str, lid: str, at: datetime) -> None:
        """The provider unsubscribed the one as the other confirmed there. Nobody said anything."""
        self.shared(old, new)
        self.retired[old, lid] = new, at
        self.away.add((old, lid))

    def seen_to_give_way(self, mirror: Mirror) -> Iterator[tuple[str, str]]:
        """Addresses of which the mirror knows by now what they gave way to at RocketResponder."""
        query = (
            "SELECT successor FROM rename WHERE account = 'mail' AND container = :lid AND identity = :old"
            " AND retired_at IS NOT NULL"
        )
        for old, lid in sorted(self.away):
            new, _ = self.retired[old, lid]
            if new not in self.heirs.get(old, ()) and any(
                row.successor == new for row in mirror.rows(query, lid=lid, old=old)
            ):
                yield old, new

    def after(self, email: str) -> list[str]:
        """All that the person goes by since this address, the nearest first."""
        found = [email]
        for one in found:
            found += sorted(self.heirs.get(one, set()) - set(found))
        return found[1:]

    def same(self, email: str) -> set[str]:
        """Every address that the person ever went by."""
        found, left = {email}, [email]
        while left:
            one = left.pop()
            near = {other for pair in self.ever if one in pair for other in pair} - found
            found |= near
            left += sorted(near)
        return found
