"""Exit codes, and the one place that says which error ends a command with which of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from syncd.domain.errors import (
    ApprovalError,
    AwayError,
    ConfigurationError,
    DeliveryError,
    MirrorError,
    ProviderError,
    RefusedError,
    SyncdError,
)


class Exit(IntEnum):
    """What a script reads from `$?`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PENDING = 3  # some accounts failed, or work is pending
    WAITS = 4  # a held plan, a claim or a paused account waits for a person
    OVERDUE = 5  # an unsubscribe was not accepted in time
    BROKEN = 6  # an invariant does not hold: only unsubscribes are sent
    UNREACHABLE = 7  # an account cannot be reached or refuses our credentials
    CONFIGURATION = 78  # EX_CONFIG of sysexits.h: systemd does not start us again for it
    INTERRUPTED = 130


class UsageError(SyncdError):
    """The command was asked for something that does not exist: a list, an account, an address."""


class PendingError(SyncdError):
    """Nothing is broken and nothing is lost; it only takes longer than somebody wanted to wait."""


CODES: Mapping[type[SyncdError], Exit] = {
    ConfigurationError: Exit.CONFIGURATION,
    MirrorError: Exit.CONFIGURATION,
    AwayError: Exit.FAILED,  # it may be back by itself, so systemd may start us again
    ApprovalError: Exit.WAITS,
    ProviderError: Exit.UNREACHABLE,
    RefusedError: Exit.FAILED,  # it answers, and will never do this
    DeliveryError: Exit.USAGE,  # on the command line only an address that is none gets this far
    UsageError: Exit.USAGE,
    PendingError: Exit.PENDING,
    SyncdError: Exit.FAILED,
}


def exit_of(error: SyncdError) -> Exit:
    """The code of the nearest branch of the tree of errors."""
    return next(CODES[branch] for branch in type(error).__mro__ if branch in CODES)


def told(error: SyncdError) -> dict[str, Any]:
    """An error as an object: what, where, why, the next command."""
    about: dict[str, Any] = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, ConfigurationError):
        about["problems"] = [
            {"where": problem.where, "what": problem.what, "hint": problem.hint} for problem in error.problems
        ]
    if isinstance(error, ApprovalError) and (error.moved or error.plan):
        about |= {"plan": error.plan, "moved": [dict(entry) for entry in error.moved]}
    if isinstance(error, ProviderError) and error.call:
        about["call"] = error.call
    return {"error": about | {"exit": int(exit_of(error))}}
