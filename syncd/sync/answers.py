"""What becomes of operations once a call has ended, well or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd.domain.changes import Ack, ChangeKind, Outcome
from syncd.domain.erasure import is_pseudonym
from syncd.domain.errors import (
    AnswerLostError,
    MalformedError,
    ProviderError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
    UnreachableError,
)
from syncd.domain.records import Status, digest_of
from syncd.providers.contact_points import read_address
from syncd.reconcile.person import OpState
from syncd.store import mirror, outbox, people, renames
from syncd.store.outbox import Sendable
from syncd.store.session import Connection
from syncd.sync.context import Context, Lane
from syncd.sync.seen import observe
from syncd.sync.veil import veiled, veiled_operations

FAILURES_MAX = 3
"""Calls in a row that a provider failed before we stop for this time: an outage, not one bad record."""

REFUSED_HEAD_START = 4
"""A refused unsubscribe is tried again, as if it had failed so many times already: soon is no use."""


TOLD = {ChangeKind.UNSUBSCRIBE: Status.UNSUBSCRIBED, ChangeKind.SUBSCRIBE: Status.SUBSCRIBED}
"""What holds where nobody can be read, once the provider has said yes."""


@dataclass(slots=True)
class Pushed:
    """What a push did, in numbers. `failures`: calls in a row that the provider failed."""

    sent: int = 0
    accepted: int = 0
    parked: int = 0
    unknown: int = 0
    postponed: int = 0
    failures: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended. `ended` fences: no reading that began before it says anything about these operations."""

    connection: Connection
    lane: Lane
    context: Context
    pushed: Pushed
    began: int
    ended: int

    @property
    def now(self) -> datetime:
        return self.context.now()

    def answered(self, op: Sendable, ack: Ack) -> None:
        """Take one answer down, and look at the person again."""
        (op,) = veiled_operations(self.connection, [op])
        match ack.outcome:
            case Outcome.ACCEPTED if not self.lane.capabilities.readable:
                self._finish(op, OpState.DONE, ack)
                self._told(op, TOLD[op.change.kind], ack.receipt)
                self.pushed.accepted += 1
            case Outcome.ACCEPTED:
                self._finish(op, OpState.ACCEPTED, ack)
                self._changed_address(op)
                self.pushed.accepted += 1
            case Outcome.UNCERTAIN:
                self.unknown([op], ack.reason or "the answer leaves open what was done", keys=ack.keys)
            case Outcome.REFUSED:
                self.refused(op, ack.reason)
            case Outcome.STALE:
                self._stale(op, ack)
        people.put_on_agenda(self.connection, [op.key], self.now)

    def refused(self, op: Sendable, reason: str) -> None:
        """Given up for a person to see. An unsubscribe is never given up: it is tried again and grows overdue."""
        (op,) = veiled_operations(self.connection, [op])
        if op.change.kind is ChangeKind.UNSUBSCRIBE:
            self._postpone([op], self.now + self._wait(op.attempts + REFUSED_HEAD_START), f"refused: {reason}")
        else:
            outbox.finish(self.connection, op.id, OpState.PARKED, self.ended, self.now, reason=reason)
            self._no_change_of_address(op)
            self.pushed.parked += 1
        people.put_on_agenda(self.connection, [op.key], self.now)

    def failed(self, batch: Sequence[Sendable], error: ProviderError) -> bool:
        """The call went wrong as a whole:

        what did not arrive goes back, what may have is unknown. True if it makes no sense to go on.
        """
        attempts = max(op.attempts for op in batch)
        match error:
            case UnreachableError() | UnauthorisedError():
                for op in batch:
                    self._no_change_of_address(op)
                self._postpone(batch, self.now, error.message, counts=False)
                return True
            case ThrottledError():
                for op in batch:
                    self._no_change_of_address(op)
                policy = self.context.policy
                wait = policy.wait_asked(error.retry_after_s) if error.retry_after_s else self._wait(attempts)
                self._postpone(batch, self.now + wait, error.message, counts=False)
                return True
            case UnavailableError():
                for op in batch:
                    self._unavailable(op, error.message)
                self.pushed.failures += 1
                return self.pushed.failures >= FAILURES_MAX
            case AnswerLostError() | MalformedError():
                self.unknown(batch, error.message)
                return False
            case _:
                self.unknown(batch, error.message)
                return True

    def unknown(self, batch: Sequence[Sendable], reason: str, *, keys: Sequence[str] = ()) -> None:
        """Nobody knows whether it arrived: looked up before anything else happens to it."""
        batch = veiled_operations(self.connection, batch)
        for op in batch:
            if self._may_be_told_twice(op):
                self._tell_again(op, reason)
            else:
                outbox.finish(self.connection, op.id, OpState.UNKNOWN, self.ended, self.now, keys=keys, reason=reason)
                self.pushed.unknown += 1
        people.put_on_agenda(self.connection, [op.key for op in batch], self.now)

    def _unavailable(self, op: Sendable, reason: str) -> None:
        """The provider answered that it failed.

        A change that may be repeated is, some times; any other is looked up first.
        """
        facts = self.lane.capabilities.facts
        known_not_added = facts.looks_before_subscribe or facts.failure_adds_nobody
        if op.change.kind is ChangeKind.SUBSCRIBE and not known_not_added:
            self.unknown([op], reason)
        elif op.attempts + 1 >= self.context.policy.attempts_max:
            self.refused(op, f"{reason}, {op.attempts + 1} times")
        else:
            self._postpone([op], self.now + self._wait(op.attempts), reason)
            # What was seen while the call was under way may leave nothing to send, or other records to send it for.
            people.put_on_agenda(self.connection, [op.key], self.now)

    def _stale(self, op: Sendable, ack: Ack) -> None:
        """Nothing was sent: what was seen on the way is news, and the plan is made again."""
        reason = ack.reason or "something newer was seen before sending"
        outbox.finish(self.connection, op.id, OpState.SUPERSEDED, 0, self.now, reason=reason)
        if any(seen.identity == op.change.identity for seen in ack.seen):
            self._changed_address(op)
        else:
            self._no_change_of_address(op)
        for seen in ack.seen:
            fresh = [mirror.Reading(seen, digest_of(seen.raw))]
            readings = veiled(self.connection, self.context, self.lane.name, fresh)
            keys = [entry.observation.key for entry in readings]
            known = mirror.known_cells(self.connection, self.lane.name, seen.container, keys)
            shown = observe(
                self.connection, self.context, self.lane, readings, known,
                seq=self.began, route="lookup", in_part=True,
            )  # fmt: skip
            # Whose address was to give way may have left under that: it is theirs to be learnt, and to be handed on.
            people.put_on_agenda(self.connection, shown.people | shown.newcomers, self.now, urgent=True)

    def _may_be_told_twice(self, op: Sendable) -> bool:
        """Where nobody can be asked what became of a call: whether sending it again does no harm."""
        once = op.change.kind is ChangeKind.UNSUBSCRIBE or self.lane.capabilities.facts.deduplicates
        return once and not self.lane.capabilities.readable

    def _tell_again(self, op: Sendable, reason: str) -> None:
        """A "no" as often as it takes; a delivery some times, and meanwhile the person may be there already."""
        if op.change.kind is not ChangeKind.UNSUBSCRIBE:
            self._told(op, Status.UNKNOWN)
            if op.attempts + 1 >= self.context.policy.attempts_max:
                self.refused(op, f"{reason}, {op.attempts + 1} times")
                return
        self._postpone([op], self.now + self._wait(op.attempts), f"{reason}; told again")

    def _told(self, op: Sendable, status: Status, receipt: str | None = None) -> None:
        """What holds from now on where nobody can be read. Whoever was delivered came when that was sent."""
        added = op.change.kind is ChangeKind.SUBSCRIBE
        mirror.write_told(
            self.connection, self.lane.name, op.change.container, op.change.identity, status,
            seq=self.ended, at=self.now, receipt=receipt,
            sent_at=outbox.sent_at(self.connection, op.id) if added else None,
        )  # fmt: skip

    def _changed_address(self, op: Sendable) -> None:
        """Which address the former one gives way to, where that was asked for and taken."""
        former = None if op.change.replaces is None else read_address(op.change.replaces)
        if former is not None and not is_pseudonym(op.change.identity):
            renames.expect(
                self.connection, self.lane.name, op.change.container, former, op.change.identity, at=self.now
            )

    def _no_change_of_address(self, op: Sendable) -> None:
        """Nobody was asked to confirm it: whoever is unsubscribed from now on said no."""
        # What the call began was noted as from just before it.
        former = None if op.change.replaces is None else read_address(op.change.replaces)
        if former is not None:
            renames.withdraw(self.connection, self.lane.name, op.change.container, former, seq=self.began - 1)

    def _finish(self, op: Sendable, state: OpState, ack: Ack) -> None:
        # Of somebody who was erased the ids that the answer names are not kept: one may be their address.
        keys = () if is_pseudonym(op.change.identity) else ack.keys
        outbox.finish(
            self.connection, op.id, state, self.ended, self.now, receipt=ack.receipt, keys=keys, reason=ack.reason
        )

    def _postpone(self, batch: Sequence[Sendable], until: datetime, reason: str, *, counts: bool = True) -> None:
        outbox.postpone(self.connection, [op.id for op in batch], until, reason, counts=counts)
        self.pushed.postponed += len(batch)

    def _wait(self, attempts: int) -> timedelta:
        policy = self.context.policy
        return outbox.backoff(attempts, self.context.jitter(), base_s=policy.backoff_s, max_s=policy.backoff_max_s)
