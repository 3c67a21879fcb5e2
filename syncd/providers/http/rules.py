"""What an answer of the receiver means: ordered rules by status and by body, of which the first that fits decides.

A connection's own rules come first. The usual ones follow, each for the statuses that no rule of the connection names:
whoever says that 200 means delivered *where the body says so* has said that 200 alone means nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, model_validator

from syncd.providers.options import Options, Text
from syncd.wire import Response


class Verdict(StrEnum):
    DELIVERED = "delivered"
    DUPLICATE = "duplicate"  # there already, which is as good
    REJECTED = "rejected"  # this person, as they are, will never be taken
    RETRY = "retry"  # nothing was taken: later
    STOP = "stop"  # says nothing of the person: credentials or address are wrong, and a person has to see to it


_STATUS = re.compile(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?")


def _statuses(text: str) -> str:
    match = _STATUS.fullmatch(text)
    if match is None or (match[3] and match[3] < match[2]):
        raise ValueError('not a status: write 200, "2xx" or "500-599"')
    return text


def _text_of(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Statuses = Annotated[str, BeforeValidator(_text_of), AfterValidator(_statuses)]


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError('not a JSON pointer: it begins with "/", such as "/status"')
    return text


class Rule(Options):
    """Fits an answer with one of these statuses and, where it says so, with this body.

    `pointer` leads to a value of a JSON body, which must then be `equals` or hold `contains`. Without it `contains`
    must stand anywhere in the body as text. Letters' case makes no difference to `contains`.
    """

    status: Annotated[tuple[Statuses, ...], BeforeValidator(lambda v: v if isinstance(v, list | tuple) else [v])] = ()
    pointer: Annotated[str, AfterValidator(_pointer)] | None = None
    equals: str | bool | int | float | None = None
    contains: Text | None = None
    verdict: Verdict

    @model_validator(mode="after")
    def _tests_something(self) -> Rule:
        tests = (self.equals is not None) + (self.contains is not None)
        if self.pointer is not None and tests != 1:
            raise ValueError("a pointer needs one of `equals` and `contains`")
        if self.pointer is None and self.equals is not None:
            raise ValueError("`equals` needs a `pointer` to the value")
        if not self.status and not tests:
            raise ValueError("tests nothing: name statuses, a body, or both")
        return self

    def names(self, status: int) -> bool:
        return not self.status or any(_covers(pattern, status) for pattern in self.status)

    def fits(self, response: Response) -> bool:
        return self.names(response.status) and self._holds(response.body)

    def _holds(self, body: bytes) -> bool:
        if self.pointer is None:
            return self.contains is None or self.contains.casefold() in body.decode(errors="replace").casefold()
        value = _at(body, self.pointer)
        if value is None:
            return False
        return _spelt(self.equals) == value if self.contains is None else self.contains.casefold() in value.casefold()

    def __str__(self) -> str:
        told = [" or ".join(self.status)] if self.status else []
        place = f"{self.pointer} " if self.pointer is not None else ""
        if self.equals is not None:
            told.append(f"{place}is {_spelt(self.equals)}")
        if self.contains is not None:
            told.append(f"{place or 'the body '}holds {self.contains}")
        return f"{' and '.join(told)}: {self.verdict}"


USUAL = (
    Rule(status=("2xx",), verdict=Verdict.DELIVERED),
    Rule(status=("409",), verdict=Verdict.DUPLICATE),
    Rule(status=("408", "425", "429", "5xx"), verdict=Verdict.RETRY),
    Rule(status=("401", "403", "404", "405", "407", "410"), verdict=Verdict.STOP),
    Rule(status=("4xx",), verdict=Verdict.REJECTED),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer came to. No verdict: no rule fits, and nothing may be inferred from it."""

    status: int
    verdict: Verdict | None
    rule: str


def judge(response: Response, rules: Sequence[Rule]) -> Judged:
    """The verdict of the first rule that fits. The same answer always gets the same."""
    for number, rule in enumerate(rules, 1):
        if rule.fits(response):
            return Judged(response.status, rule.verdict, f"rule {number}: {rule}")
    # A rule without a status tests the body of any answer, and says nothing about a status.
    if any(rule.status and rule.names(response.status) for rule in rules):
        return Judged(response.status, None, "")
    for rule in USUAL:
        if rule.fits(response):
            return Judged(response.status, rule.verdict, f"as usual: {rule}")
    return Judged(response.status, None, "")


def _covers(pattern: str, status: int) -> bool:
    match = _STATUS.fullmatch(pattern)
    assert match is not None
    if match[1]:
        return status // 100 == int(match[1])
    return int(match[2]) <= status <= int(match[3] or match[2])


def _at(body: bytes, pointer: str) -> str | None:
    """The value that a JSON pointer (RFC 6901) leads to, as it is spelt; None where it leads nowhere."""
    try:
        value = json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return _spelt(value)


def _spelt(value: object) -> str:
    """As JSON spells it; text as it is, so that `0` and `"0"` are the same, as receivers confuse them too."""
    return value if isinstance(value, str) else json.dumps(value)
