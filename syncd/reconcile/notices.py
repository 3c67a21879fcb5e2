"""Which notices follow from how things stand: one when something begins that needs a person, one when it is over.

What was told is kept, so that it is never told twice; what comes and goes is told of once in a while.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from syncd.reconcile.convergence import STALE_AFTER, AccountStanding


class About(StrEnum):
    """What a notice can be about."""

    ACCOUNT = "account"  # it fails, or refuses our credentials
    STALE = "stale"  # it was not read well for three intervals, and nobody knows why
    OVERDUE = "overdue"  # an unsubscribe was not accepted in time
    HELD = "held"  # a plan waits for approval
    PARKED = "parked"  # something was given up
    BROKEN = "broken"  # an invariant does not hold
    CLAIM = "claim"  # somebody who said no reads subscribed again
    FIGHT = "fight"  # the same, as often as it is undone
    PROTECTED = "protected"  # the mirror was lost or put back
    DARK = "dark"  # opt-outs are counted and known to nobody


RAISED = "raised"
RECOVERED = "recovered"


# What is seen --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaitingPlan:
    """A plan that waits for a person. `place` stays while its `id` moves with its content."""

    account: str
    place: str
    id: str
    count: int


@dataclass(frozen=True, slots=True)
class Sight:
    """How things stand, as far as a person may be needed: numbers by account, names of plans and invariants.

    `protected`: why an account is protected that has been met before.
    """

    accounts: Sequence[AccountStanding] = ()
    protected: Mapping[str, str] = field(default_factory=dict)
    plans: Sequence[WaitingPlan] = ()
    parked: Mapping[str, int] = field(default_factory=dict)
    claims: Mapping[str, int] = field(default_factory=dict)
    fights: Mapping[str, int] = field(default_factory=dict)
    dark: Mapping[str, int] = field(default_factory=dict)
    overdue: int = 0
    broken: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One thing of a concern, as it is shown, and how long it must last before anybody is told."""

    shown: str = ""
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that stands right now and that a person may have to see to. `next`: the command to begin with."""

    about: About
    account: str
    parts: Mapping[str, Part]
    count: int
    next: str


def concerns(sight: Sight, now: datetime, patience_s: float) -> list[Concern]:
    """What may need a person. `patience_s`: for how long what may pass by itself is waited for."""
    found = [_of_account(account, now, patience_s) for account in sight.accounts]
    found += [
        Concern(About.PROTECTED, name, {why: Part(why)}, 0, "syncd plan") for name, why in sight.protected.items()
    ]
    for account in sorted({plan.account for plan in sight.plans}):
        mine = [plan for plan in sight.plans if plan.account == account]
        parts = {plan.place: Part(plan.id) for plan in mine}
        found.append(Concern(About.HELD, account, parts, sum(plan.count for plan in mine), "syncd plan"))
    for about, numbers, following in (
        (About.PARKED, sight.parked, "syncd inspect parked"),
        (About.CLAIM, sight.claims, "syncd inspect drift"),
        (About.FIGHT, sight.fights, "syncd inspect drift"),
        (About.DARK, sight.dark, "syncd inspect drift"),
        (About.OVERDUE, {"": sight.overdue}, "syncd inspect propagation --overdue"),
    ):
        found += [Concern(about, name, {"": Part()}, count, following) for name, count in numbers.items() if count]
    broken = {name: Part(name) for name in sight.broken}
    found.append(Concern(About.BROKEN, "", broken, len(broken), "syncd check --full"))
    return [concern for concern in found if concern.parts]


def _of_account(account: AccountStanding, now: datetime, patience_s: float) -> Concern:
    """A refused credential needs a person at once, a failure only if it lasts; a pause is somebody's own doing.

    What fails is not called stale as well. What was never read is given the time that reading takes.
    """
    check = f"syncd account check {account.name}"
    if account.state == "quarantined":
        return Concern(About.ACCOUNT, account.name, {account.state: Part(account.state)}, 0, check)
    if account.state == "failing":
        return Concern(About.ACCOUNT, account.name, {account.state: Part(account.state, patience_s)}, 0, check)
    stale = account.state != "paused" and account.stale(now)
    patience = STALE_AFTER * account.interval_s if account.last_good_read is None else 0.0
    parts = {"": Part(patience_s=patience)} if stale else {}
    return Concern(About.STALE, account.name, parts, 0, f"syncd sync {account.name}")


# What is told --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of one thing from before. `seen`: since when each part stands; `told`: what people were told of and
    is not over, with when they were told or when it last went; `raised_at`: when people were last told that it began.
    """

    about: About
    account: str
    seen: Mapping[str, datetime] = field(default_factory=dict)
    told: Mapping[str, datetime] = field(default_factory=dict)
    raised_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a person is told: numbers, accounts, ids of plans, names of invariants; never whom it concerns."""

    about: About
    account: str
    state: str
    since: datetime
    details: tuple[str, ...] = ()
    count: int = 0
    next: str = ""


def follow(
    before: Iterable[Kept], standing: Iterable[Concern], accounts: Collection[str], now: datetime, quiet: timedelta
) -> tuple[list[Kept], list[Notice]]:
    """What is to be kept from now on, and what people are told.

    Of one thing people are told at most once within `quiet` that it began, and then once that it is over; what joins it
    in between is told as it comes, each part once. Accounts that are configured no more are forgotten.
    """
    current = {(concern.about, concern.account): concern for concern in standing}
    known = {(one.about, one.account): one for one in before if not one.account or one.account in accounts}
    kept: list[Kept] = []
    notices: list[Notice] = []
    for key in sorted(current.keys() | known.keys()):
        one, notice = _followed(known.get(key, Kept(*key)), current.get(key), now, quiet)
        if one.seen or one.told or not _calm(one, now, quiet):
            kept.append(one)
        if notice is not None:
            notices.append(notice)
    return kept, notices


def _followed(kept: Kept, concern: Concern | None, now: datetime, quiet: timedelta) -> tuple[Kept, Notice | None]:
    parts = concern.parts if concern else {}
    seen = {name: min(kept.seen.get(name, now), now) for name in parts}
    told = _still_told(kept, parts, now, quiet)
    ripe = [
        name
        for name, part in sorted(parts.items())
        if name not in told and now - seen[name] >= timedelta(seconds=part.patience_s)
    ]
    if concern and ripe and (told or _calm(kept, now, quiet)):
        shown = tuple(text for name in ripe if (text := parts[name].shown))
        since = min(seen[name] for name in ripe)
        notice = Notice(kept.about, kept.account, RAISED, since, shown, concern.count, concern.next)
        raised_at = kept.raised_at if told else now
        return replace(kept, seen=seen, told=told | dict.fromkeys(ripe, now), raised_at=raised_at), notice
    if told and not parts:
        return replace(kept, seen={}, told={}), Notice(kept.about, kept.account, RECOVERED, now)
    return replace(kept, seen=seen, told=told), None


def _still_told(kept: Kept, parts: Mapping[str, Part], now: datetime, quiet: timedelta) -> dict[str, datetime]:
    """What need not be told again. A part that has been gone for long is news when it comes back, but as long as no
    other one stands that was told of, it is what the end will be told of.
    """
    told = {name: now if name in kept.seen and name not in parts else at for name, at in kept.told.items()}
    if not told.keys() & parts.keys():
        return told
    return {name: at for name, at in told.items() if name in parts or now - at < quiet}


def _calm(kept: Kept, now: datetime, quiet: timedelta) -> bool:
    """Whether people may be told again that it began. A time yet to come is that of a clock which was set back."""
    return kept.raised_at is None or not timedelta(0) <= now - kept.raised_at < quiet


# In words ------------------------------------------------------------------------------------------------------------

_BEGAN = {
    About.STALE: "{account} was not read well for three intervals",
    About.OVERDUE: "{count} unsubscribes were not accepted in time",
    About.HELD: "{count} changes at {account} wait for approval: {details}",
    About.PARKED: "{count} parked at {account}: given up, and waiting for a person",
    About.BROKEN: "only unsubscribes are sent: {details}",
    About.CLAIM: "{count} who said no read subscribed again at {account}",
    About.FIGHT: "{count} are subscribed again at {account} as often as it is undone",
    About.PROTECTED: "nothing but unsubscribes goes out to {account}: {details}",
    About.DARK: "{count} opt-outs at {account} are counted there and known to nobody",
}
_FAILS = {"failing": "{account} fails", "quarantined": "{account} refuses our credentials"}
_OVER = {
    About.ACCOUNT: "{account} works again",
    About.STALE: "{account} is read again",
    About.OVERDUE: "no unsubscribe is overdue any more",
    About.HELD: "nothing at {account} waits for approval any more",
    About.PARKED: "nothing is parked at {account} any more",
    About.BROKEN: "every invariant holds again",
    About.CLAIM: "nobody who said no reads subscribed at {account} any more",
    About.FIGHT: "nobody is fought over at {account} any more",
    About.PROTECTED: "{account} is protected no more",
    About.DARK: "no opt-out at {account} is unknown any more",
}


def sentence(notice: Notice) -> str:
    """The notice as one line for a person."""
    if notice.state == RECOVERED:
        text = _OVER[notice.about]
    elif notice.about is About.ACCOUNT:
        text = _FAILS[notice.details[-1]]
    else:
        text = _BEGAN[notice.about]
    return text.format(account=notice.account, count=notice.count, details=", ".join(notice.details))
