"""Errors, named for what the caller does next.

    SyncdError
    ├── ConfigurationError      a person mends the file; every fault at once              exit 78
    ├── MirrorError             the mirror cannot be used: locked, unwritable, newer      exit 78
    │   ├── SuppressedError     the mirror itself refuses: somebody said no               exit 78
    │   ├── TakenOverError      another process works on it by now: we may not any more   exit 78
    │   └── AwayError           it cannot be reached or written right now: try again      exit 1
    ├── ApprovalError           what was to be approved has moved or does not exist       exit 4
    ├── ProviderError           something went wrong while talking to an account
    │   ├── UnreachableError    nothing was sent: try again later
    │   ├── AnswerLostError     sent, and no whole answer came: look before repeating
    │   ├── ThrottledError      asked to wait
    │   ├── UnavailableError    the provider failed: try again later
    │   │   └── FailedError         at this one request, perhaps because of what it is about
    │   ├── UnauthorisedError   the credentials are refused: the account waits for a person
    │   ├── MalformedError      an answer that cannot be read: nothing may be inferred from it
    │   └── RefusedError        this one record or request will never be taken
    └── DeliveryError           something sent to us is refused; carries the status to answer with

Messages name accounts, calls and fields, never a person and never a secret: they are logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class SyncdError(Exception):
    """Base of all. `hint` says what to do next, as a command where there is one."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a configuration: where, what, and what to write instead."""

    where: str
    what: str
    hint: str = ""


class ConfigurationError(SyncdError):
    """All faults of a configuration at once."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{source}: {count} problem{'' if count == 1 else 's'}", hint="syncd config check")
        self.source = source
        self.problems = tuple(problems)


class MirrorError(SyncdError):
    pass


class SuppressedError(MirrorError):
    """The mirror refuses to let go out, or to forget, what a "no" stands against. It stays as it was."""


class TakenOverError(MirrorError):
    def __init__(self) -> None:
        super().__init__("another syncd has taken over this mirror", hint="look for a second `syncd run`")


class AwayError(MirrorError):
    """Nothing is wrong with us or with what is in it: it may be back by itself."""


class ApprovalError(SyncdError):
    """What was to be approved or rejected is not what somebody saw.

    `moved`: what is other than it was, one entry each; `plan`: the id under which the rest waits now. Both are for
    the person who decides: they name people, and the message does not.
    """

    def __init__(
        self, message: str, *, hint: str = "", plan: str | None = None, moved: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.plan = plan
        self.moved = tuple(moved)


class ProviderError(SyncdError):
    """Something went wrong in one call. `call` is the name of the call, without any person in it."""

    def __init__(self, message: str, *, call: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.call = call


class UnreachableError(ProviderError):
    pass


class AnswerLostError(ProviderError):
    pass


class ThrottledError(ProviderError):
    def __init__(self, message: str, *, call: str = "", hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, call=call, hint=hint)
        self.retry_after_s = retry_after_s


class UnavailableError(ProviderError):
    pass


class FailedError(UnavailableError):
    """The answer of providers that say the same to a bad record and in an outage: whether others are served tells."""


class UnauthorisedError(ProviderError):
    pass


class MalformedError(ProviderError):
    pass


class RefusedError(ProviderError):
    pass


class DeliveryError(SyncdError):
    """A delivery to us that is not taken; `status` is the HTTP status that tells the sender why.

    `challenge` goes with a 401: how the sender is to prove itself, where HTTP has a word for it.
    """

    def __init__(self, status: int, message: str, *, challenge: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.challenge = challenge
