"""Was this listing whole? Only from a whole one may an absence be read."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from syncd.reconcile.guard import Limits

SHIFTED = "its first page changed while the rest was read: rows may have shifted past it"
"""A doubt that passes by itself: the next listing is compared anew, and no person is asked."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a listing showed. `expected`: how many contacts we know there, those apart that we took away ourselves.

    `total` is the provider's own count where it gives one, the largest of those it gave. `repeated`: a page came again,
    so the listing goes in circles.
    `allowed`: a smaller size that a person has accepted. `short_last_page`: the last page held fewer than the first, or
    was the only one. `missing`: how many were listed before and are not now, `taken` of them by ourselves at most;
    `first_page_same`: whether the first page, read once more at the end, held the same records. It is read only if
    somebody is missing: None if nobody is.
    """

    expected: int
    rows: int
    total: int | None = None
    repeated: bool = False
    allowed: int | None = None
    short_last_page: bool = True
    missing: int = 0
    first_page_same: bool | None = None
    taken: int = 0


def doubt(evidence: Evidence, limits: Limits) -> str | None:
    """Why nothing may be inferred from this listing, or None if it counts as whole."""
    if evidence.repeated:
        return "a page came that had been there before"
    if evidence.total is not None and evidence.rows < evidence.total:
        return f"the provider counts {evidence.total} and listed {evidence.rows}"
    if evidence.first_page_same is False:
        return SHIFTED
    if evidence.allowed is not None and evidence.rows >= evidence.allowed:
        return None
    # Others may have come in their place: a list that was put to another use is as long as before.
    lost = max(evidence.expected - evidence.rows, evidence.missing - evidence.taken)
    if evidence.rows == 0 and lost > 0:
        return f"empty, where {evidence.expected} were known"
    if limits.exceeded(lost, evidence.expected):
        return f"{lost} of {evidence.expected} are gone at once"
    return None


def another_account(known: AbstractSet[str], shown: AbstractSet[str]) -> bool:
    """Whether an account shows lists and not one of those that it showed before.

    Its credentials may be another account's by now, and to that nothing may be written.
    """
    return bool(known and shown) and known.isdisjoint(shown)
