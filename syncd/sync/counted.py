"""What this process has done since it began: requests by answer, records by what became of them. Numbers only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

NO_ANSWER = "none"
"""In the place of a status, where no answer came."""

ROWS = {"rows": "read"} | {
    name: name
    for name in ("new", "changed", "looked_up", "sent", "accepted", "parked", "unknown", "postponed", "vetted")
}
"""What of a run's counts is counted, and under which word."""


class Counted:
    """Counts of one process, which grow and begin anew with it. `requests`: by account and status; `rows`: by account
    and word.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.rows: Counter[tuple[str, str]] = Counter()

    def requests_of(self, account: str) -> Callable[[str, int | None], None]:
        """What the carrier of an account tells of each request."""

        def count(_label: str, status: int | None) -> None:
            self.requests[account, NO_ANSWER if status is None else str(status)] += 1

        return count

    def add(self, account: str, counts: Mapping[str, int]) -> None:
        """What a round did at an account."""
        for name, word in ROWS.items():
            self.rows[account, word] += counts.get(name, 0)

    def taken(self) -> Counted:
        """As it is now, for whoever reads it while it goes on."""
        copy = Counted()
        copy.requests.update(self.requests)
        copy.rows.update(self.rows)
        return copy
