"""One round, by name: pull, ingest, plan, push, verify, until nothing more follows.

Accounts are isolated: what goes wrong at one is recorded there and delays no other.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from structlog.contextvars import bind_contextvars, bound_contextvars

from syncd.domain.errors import (
    AnswerLostError,
    ProviderError,
    SyncdError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
    UnreachableError,
)
from syncd.reconcile.convergence import IN_TROUBLE
from syncd.reconcile.person import Topology
from syncd.store import caution, hygiene, journal, lookups, outbox, people, plans, protection
from syncd.store.session import Connection, reading, writing
from syncd.sync.answers import Pushed
from syncd.sync.context import Context, Lane
from syncd.sync.hygiene import Vetted, vet_leads
from syncd.sync.ingest import ingest_all
from syncd.sync.leads import forget_tests
from syncd.sync.lookups import heed_notices, look_up
from syncd.sync.plan import Planned, plan
from syncd.sync.pull import pull
from syncd.sync.pulled import Between, Pulled
from syncd.sync.push import push
from syncd.sync.verify import verify

T = TypeVar("T")

UNEXPECTED = "unexpected fault of syncd"
"""How the reason of a run begins that failed by our own fault."""

UNTRIED = frozenset({"paused", "quarantined"})
"""States in which nothing is sent. Refused credentials are tried again by the next reading and by nothing that comes in
between, however much that is: providers lock accounts that keep trying."""

NO_ANSWER = (UnreachableError, AnswerLostError, UnavailableError)
"""After enough of these in a row an account is left alone: every call would only cost it, and us, more time."""

WORSE = ("success", "partial", "failed")
"""A run's result only worsens."""


@dataclass(slots=True)
class AccountOutcome:
    """What a round did at one account. `read_back`: the operations that were, by number."""

    name: str
    provider: str
    result: str = "success"
    reason: str = ""
    hint: str = ""
    pulled: Pulled = field(default_factory=Pulled)
    pushed: Pushed = field(default_factory=Pushed)
    vetted: Vetted = field(default_factory=Vetted)
    read_back: set[int] = field(default_factory=set)
    readable: bool = True

    def worsen(self, result: str, reason: str, hint: str = "") -> None:
        if WORSE.index(result) > WORSE.index(self.result):
            self.result, self.reason, self.hint = result, reason, hint

    def take(self, pushed: Pushed) -> None:
        """Add up what was sent."""
        for name in ("sent", "accepted", "parked", "unknown", "postponed"):
            setattr(self.pushed, name, getattr(self.pushed, name) + getattr(pushed, name))
        if pushed.parked:
            self.worsen("partial", f"{pushed.parked} parked", "syncd inspect parked")

    def counts(self) -> dict[str, int]:
        names = ("rows", "new", "changed", "pages", "pages_same", "looked_up", "samples")
        done = ("sent", "accepted", "parked", "unknown", "postponed")
        counted = {name: getattr(self.pulled, name) for name in names} | {
            name: getattr(self.pushed, name) for name in done
        }
        return counted | ({"vetted": self.vetted.done} if self.vetted.tried else {})


@dataclass(slots=True)
class Round:
    """What a round did in all.

    `passes`: how often it went from planning to reading back before nothing more followed. `run_ids`: the runs that it
    is, by account; `run_id`: what its lines in the log bear where they belong to none of them alone.
    """

    run_ids: dict[str, str] = field(default_factory=dict)
    run_id: str = ""
    accounts: dict[str, AccountOutcome] = field(default_factory=dict)
    planned: Planned = field(default_factory=Planned)
    deliveries: int = 0
    passes: int = 0

    def usable(self, name: str) -> bool:
        """Whether anything may still be asked of an account in this round."""
        return name not in self.accounts or self.accounts[name].readable

    def worked(self, name: str) -> bool:
        """Whether nothing failed at an account in this round."""
        return name not in self.accounts or self.accounts[name].result != "failed"

    @property
    def failed(self) -> list[AccountOutcome]:
        return [outcome for outcome in self.accounts.values() if outcome.result != "success"]


async def run_round(
    context: Context,
    accounts: Sequence[str] = (),
    *,
    full: bool = False,
    pull_first: bool = True,
    patient: bool = True,
) -> Round:
    """One round over these accounts, or over all. What follows is pushed wherever it belongs.

    `pull_first=False`: only what has come in since is worked on (a delivery, a person's command).
    `patient=False`: nothing is sent to accounts that another round is working on, so that a long listing there keeps
    nobody else waiting; what is due stays in the outbox.
    """
    chosen = list(accounts) or list(context.lanes)
    run_ids = _open_runs(context, chosen) if pull_first else {}
    alone = next(iter(run_ids.values())) if len(run_ids) == 1 else context.new_id()
    done = Round(run_ids, alone)
    with bound_contextvars(run_id=alone):
        if pull_first:
            forget_tests(context)
            await _everywhere(context, chosen, done, lambda lane: _pull(lane, context, done, full=full))
        settled = False
        while not settled and done.passes < context.policy.passes_max:
            done.passes += 1
            done.deliveries += (await ingest_all(context)).read
            settled = await _pass(context, done, patient=patient)
        _join(context, chosen, done)
        _close_runs(context, done)
    for outcome in done.accounts.values():
        context.counted.add(outcome.name, outcome.counts())
    return done


async def _pass(context: Context, done: Round, *, patient: bool) -> bool:
    """Plan, send, read back, ask. True when nothing moved, so that another pass would do nothing."""
    planned = await plan(context, patient=patient)
    _add(done.planned, planned)
    before = _moved(done)
    with reading(context.engine) as connection:
        busy = outbox.accounts_with_work(connection, context.now()) | lookups.accounts_wanting(connection)
        busy |= hygiene.accounts_wanting(connection)
        left_alone = {
            row.name for row in journal.load_accounts(connection) if row.state in UNTRIED or _held(row, context)
        } | journal.strangers(connection)
    usable = [name for name in context.lanes if name in busy - left_alone and done.usable(name)]
    if not patient:
        usable = [name for name in usable if not context.lanes[name].lock.locked()]
    await _everywhere(context, usable, done, lambda lane: _push_and_verify(lane, context, done))
    if planned.put or planned.closed or planned.look_ups or _moved(done) != before:
        return False
    if planned.elsewhere:
        return True
    with reading(context.engine) as connection:
        return not people.anybody_due(connection, context.now())


def _moved(done: Round) -> int:
    """What was sent and asked so far."""
    return sum(
        outcome.pushed.sent + outcome.pulled.looked_up + outcome.vetted.done for outcome in done.accounts.values()
    )


# At each account -----------------------------------------------------------------------------------------------------


async def _everywhere(
    context: Context, names: Sequence[str], done: Round, work: Callable[[Lane], Awaitable[None]]
) -> None:
    """Do the same at several accounts side by side.

    A fault, the provider's or ours, stays at its account; only what is wrong with the mirror stops the round. What was
    found at one account while another one still hangs need not wait for that: somebody else may plan it.
    """
    under_way = set(names)

    async def at(lane: Lane) -> None:
        before = _moved(done)
        await _guarded(lane, context, done, work)
        under_way.discard(lane.name)
        if under_way and _moved(done) != before:
            context.stir()

    try:
        async with asyncio.TaskGroup() as group:
            for name in names:
                lane = context.lanes[name]
                done.accounts.setdefault(name, AccountOutcome(name, lane.provider_name))
                group.create_task(at(lane))
    except BaseExceptionGroup as broken:
        # What is wrong with the mirror is wrong at every account: one of them says it for all.
        mirror, others = broken.split(SyncdError)
        if mirror is None or others is not None:
            raise
        raise mirror.exceptions[0] from None


async def _guarded(lane: Lane, context: Context, done: Round, work: Callable[[Lane], Awaitable[None]]) -> None:
    outcome = done.accounts[lane.name]
    # For good: this is a task of its own, and what it binds goes with it.
    bind_contextvars(account=lane.name, run_id=done.run_ids.get(lane.name, done.run_id))
    async with lane.lock:
        context.at_work(lane.name, True)
        try:
            await work(lane)
            if outcome.readable:  # not paused, not left alone
                await _urgent(lane, context, outcome)()  # whoever found the lane busy meanwhile left it to us
        except ProviderError as error:
            outcome.worsen("failed", error.message, error.hint or f"syncd account check {lane.name}")
            outcome.readable = False
            # Said when it begins; a night of the same is one line, and each run keeps its reason in the mirror.
            tell = context.log.warning if _note_failure(lane, context, error) else context.log.debug
            tell("account.failed", account=lane.name, error=type(error).__name__, call=error.call, reason=error.message)
        except SyncdError:
            raise  # the mirror or the configuration: nothing of ours can go on
        except Exception as error:  # noqa: BLE001 (a fault of ours at one account must not stop the others)
            _note_fault(lane, context, outcome, error)
        finally:
            context.at_work(lane.name, False)


def _note_fault(lane: Lane, context: Context, outcome: AccountOutcome, error: Exception) -> None:
    """A fault in our own code. Its message may quote a record, so the kind and the place are all that is kept."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    outcome.worsen("failed", f"{UNEXPECTED}: {type(error).__name__} at {where}", "please report this fault of syncd")
    outcome.readable = False
    _note_failure(lane, context, ProviderError(outcome.reason, hint=outcome.hint))
    context.log.error("account.fault", account=lane.name, error=type(error).__name__, where=where)


async def _pull(lane: Lane, context: Context, done: Round, *, full: bool) -> None:
    outcome = done.accounts[lane.name]
    with writing(context.engine) as connection:
        row = journal.load_account(connection, lane.name)
        if row.state == "paused":
            outcome.readable = False
            outcome.worsen("partial", "paused by a person", f"syncd account resume {lane.name}")
            return
        if _held(row, context):
            outcome.readable = False
            outcome.worsen("failed", f"{row.reason}: left alone until {row.held_until:%H:%M:%S} UTC", row.hint)
            return
        journal.update_account(connection, lane.name, last_attempt=context.now())

    pulled = await pull(lane, context, full=full, between=_urgent(lane, context, outcome))
    pulled.looked_up += outcome.pulled.looked_up
    outcome.pulled = pulled
    for reason in outcome.pulled.doubts:
        outcome.worsen("partial", reason, "syncd plan")
    with writing(context.engine) as connection:
        before = journal.load_account(connection, lane.name)
        journal.note_standing(
            connection,
            lane.name,
            last_good_read=context.now(),
            state="ok",
            reason="",
            hint="",
            failures=0,
            held_until=None,
        )
    if before.state in IN_TROUBLE:
        context.log.info("account.recovered", account=lane.name, was=before.state, failures=before.failures)


async def _push_and_verify(lane: Lane, context: Context, done: Round) -> None:
    outcome = done.accounts[lane.name]
    between = _urgent(lane, context, outcome)
    outcome.take(await push(lane, context))
    read_back = await verify(lane, context, outcome.read_back, between)
    await look_up(lane, context, read_back, due=False, between=between)
    outcome.pulled.looked_up += read_back.looked_up
    await vet_leads(lane, context, outcome.vetted, between)
    if outcome.vetted.trouble:
        outcome.worsen("partial", outcome.vetted.trouble, outcome.vetted.hint)


def _urgent(lane: Lane, context: Context, outcome: AccountOutcome) -> Between:
    """While the lane is at something else: unsubscribes are sent, and whom a notice named is asked about.

    Also one that was passed over, or that failed and is due again: of those nobody tells the lane.
    """

    async def between() -> None:
        with reading(context.engine) as connection:
            lane.urgent |= outbox.no_waits(connection, lane.name, context.now())
        while lane.urgent or lane.noticed:
            if lane.urgent:
                outcome.take(await push(lane, context, urgent=True))
            if lane.noticed:
                await heed_notices(lane, context, outcome.pulled)
                context.stir()

    return between


def _held(row: Any, context: Context) -> bool:
    """Whether an account is left alone for a while: it asked for that, or gave no answer too often in a row."""
    return row.held_until is not None and row.held_until > context.now()


def _note_failure(lane: Lane, context: Context, error: ProviderError) -> bool:
    """Write down how an account stands. True if that is another state than before."""
    state = "quarantined" if isinstance(error, UnauthorisedError) else "failing"
    with writing(context.engine) as connection:
        row = journal.load_account(connection, lane.name)
        held_until = row.held_until
        if isinstance(error, ThrottledError) and error.retry_after_s:
            held_until = context.now() + context.policy.wait_asked(error.retry_after_s)
        elif isinstance(error, NO_ANSWER) and (pause := context.policy.breaks(row.failures + 1)) is not None:
            held_until = context.now() + pause
        journal.note_standing(
            connection,
            lane.name,
            state=state,
            reason=error.message,
            hint=error.hint or f"syncd account check {lane.name}",
            failures=row.failures + 1,
            held_until=held_until,
        )
    return bool(row.state != state)


# First contact -------------------------------------------------------------------------------------------------------


def _join(context: Context, chosen: Sequence[str], done: Round) -> None:
    """End the first contact with accounts that were read whole, as were all that share a list with them, where
    everybody was asked about and nothing waits for a person.

    Whoever is met before the others are has nobody to be compared with: what came of it would be agreed on unseen. Whom
    a verifier refuses, or whom an account could not be asked about, keeps no account in it: their additions wait for a
    person all the same, should it come to any.
    All of it is judged where it is written down: what another round has read by then, and not decided about, counts.
    """
    with reading(context.engine) as connection:
        new = _unmet(connection, chosen, done)
    if not new:
        return
    with writing(context.engine) as connection:
        ready = _ready(connection, context, _unmet(connection, chosen, done))
        for name in ready:
            journal.update_account(connection, name, joined=True, protected="")
            context.log.info("account.joined", account=name)


def _unmet(connection: Connection, chosen: Sequence[str], done: Round) -> list[str]:
    """Those of the accounts that were read, and whose first contact goes on."""
    rows = {row.name: row for row in journal.load_accounts(connection)}
    return [name for name in chosen if not rows[name].joined and rows[name].last_good_read and done.worked(name)]


def _ready(connection: Connection, context: Context, new: Sequence[str]) -> list[str]:
    """Those of them of which nothing is open any more, and care begun with whom that leaves out."""
    rows = {row.name: row for row in journal.load_accounts(connection)}
    topology = context.topology(connection)
    unread = protection.accounts_to_reread(connection)
    held_back = plans.accounts_in_first_contact(connection, context.lanes, states=("held", "approved"))
    held_back |= people.accounts_due(connection, new, context.now())
    held_back |= lookups.accounts_wanting(connection)
    held_back |= lookups.sources_wanting(connection, new, [n for n in context.lanes if _takes(rows[n], context)])
    held_back |= hygiene.first_contact_waits(connection)
    read = {
        name
        for name, lane in context.lanes.items()
        if rows[name].last_good_read and name not in unread and _read_whole(lane, topology)
    }
    paused = {name for name in context.lanes if rows[name].state == "paused"}
    ready = [name for name in new if name in read - held_back and _partners(name, topology) <= read | paused]
    watched = [name for name in ready if context.policy.hold_first_contact or rows[name].protected]
    caution.begin(connection, hygiene.refused_in_first_contact(connection, watched), context.now())
    caution.begin_with(connection, lookups.unasked(watched, sorted(paused)), context.now())
    return ready


def _takes(row: Any, context: Context) -> bool:
    """Whether an account would itself let in who comes from another. One that a person paused keeps nobody waiting."""
    new = not row.joined and context.policy.hold_first_contact
    return not (new or row.protected or row.state == "paused")


def _partners(name: str, topology: Topology) -> set[str]:
    """The account and all that hold one of its lists."""
    return {name}.union(*(entry.places for entry in topology.lists.values() if name in entry.places))


def _read_whole(lane: Lane, topology: Topology) -> bool:
    if not lane.capabilities.snapshot:
        return True
    return all(
        (lane.name, container) in topology.whole
        for entry in topology.lists.values()
        for container in entry.places.get(lane.name, ())
    )


# Runs ----------------------------------------------------------------------------------------------------------------


def _open_runs(context: Context, names: Sequence[str]) -> dict[str, str]:
    run_ids = {name: context.new_id() for name in names}
    with writing(context.engine) as connection:
        for name, run_id in run_ids.items():
            journal.open_run(connection, run_id, name, context.now())
    return run_ids


def _close_runs(context: Context, done: Round) -> None:
    with writing(context.engine) as connection:
        for name, run_id in done.run_ids.items():
            outcome = done.accounts[name]
            journal.close_run(connection, run_id, context.now(), outcome.result, outcome.reason, outcome.counts())
            context.log.info("run.closed", account=name, run_id=run_id, result=outcome.result, **outcome.counts())


def _add(total: Planned, more: Planned) -> None:
    for name in ("people", "learnt", "put", "look_ups", "closed", "claims"):
        setattr(total, name, getattr(total, name) + getattr(more, name))
    total.held = more.held or total.held
    total.by_hand = Counter(total.by_hand) + more.by_hand
