"""The account of our own forms: no provider, but the place where those stand who subscribed at our door.

It is there where forms are configured, holds one container for each list under the list's own name, and is never asked
or told anything by anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome
from syncd.domain.facts import Facts
from syncd.providers.options import AccountOptions, Duration
from syncd.wire import Exchange

FORMS = "forms"
"""The name of the account, and of what it has in the place of a provider."""


class FormsOptions(AccountOptions):
    provider: Literal["forms"] = "forms"
    settle: Duration | None = 0.0


class FormsAdapter:
    """Takes every "no": it is written down in the mirror, and there is nobody else to tell."""

    facts = Facts(has_lists=False)
    accepts = frozenset({ChangeKind.UNSUBSCRIBE})

    def __init__(self, options: FormsOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        del options, linked, now

    def check(self) -> Exchange[None]:
        yield from ()

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        yield from ()
        return [
            Ack(Outcome.ACCEPTED)
            if change.kind is ChangeKind.UNSUBSCRIBE
            else Ack(Outcome.REFUSED, reason=f"our own forms take no {change.kind}")
            for change in changes
        ]
