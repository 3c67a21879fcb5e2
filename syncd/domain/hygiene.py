"""What a verifier says of an address and a number, and how sound both must be before a new lead spreads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Band(StrEnum):
    """What a score amounts to, from the worst to the best."""

    INVALID = "invalid"  # receives nothing
    RISKY = "risky"  # the domain takes anything, so nobody knows
    LIKELY = "likely"  # the same, and there is other evidence that it exists
    FULL_INBOX = "full_inbox"  # exists, and takes nothing at the moment
    VALID = "valid"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verifier said. `score`: 0 to 99, None where it gave none; `word`: its verdict in small letters.

    `phone`: the number it was asked about, empty if there was none; `phone_sound`: whether that can be called, and if
    not, `phone_word`: what it is instead.
    """

    score: int | None
    word: str
    phone: str = ""
    phone_sound: bool = True
    phone_word: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was said, and when."""

    said: Verification
    at: datetime


WORDS: Mapping[str, Band] = {"valid": Band.VALID, "invalid": Band.INVALID}
"""Verdicts that were given without a score. Of any other word nobody knows what to believe."""


@dataclass(frozen=True, slots=True)
class Hygiene:
    """The rules of the account that verifies.

    `least`: the lowest score of each band but the worst. `spreads_from`: the worst band that spreads. `max_age_s`: how
    long what was said is believed.
    """

    account: str
    least: Mapping[Band, int]
    spreads_from: Band = Band.LIKELY
    max_age_s: float = 90 * 86_400.0

    def band(self, said: Verification) -> Band:
        if said.score is None:
            return WORDS.get(said.word, Band.RISKY)
        reached = [band for band in Band if band in self.least and said.score >= self.least[band]]
        return reached[-1] if reached else Band.INVALID

    def takes(self, band: Band) -> bool:
        """Whether an address of this band spreads."""
        order = list(Band)
        return order.index(band) >= order.index(self.spreads_from)
