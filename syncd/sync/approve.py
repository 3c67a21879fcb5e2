"""What a person decides: plans that wait, claims, and a new "yes".

Each decision is one transaction, and holds while another process works on the mirror: whoever plans next finds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.errors import ApprovalError
from syncd.domain.identity import Identity, suppression_key
from syncd.reconcile.guard import Hold
from syncd.store import containers, journal, lookups, people, plans, protection, superseded
from syncd.store.session import Connection, reading, writing
from syncd.sync import ingest
from syncd.sync.context import Context
from syncd.sync.plan import foreseen


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided about. `people`: how many are looked at again because of it."""

    id: str
    what: str
    account: str
    remote_list: str
    kind: str
    hold: str
    count: int
    people: int


def approve(context: Context, plan_id: str) -> Decided:
    """Let a held plan go, exactly as it was shown.

    Raises `ApprovalError`, and says what moved, if anything in it, or any record it would write to, is other by now.
    """
    now, seq = context.now(), context.sequence.take()
    with writing(context.engine) as connection:
        _refuse_claim(connection, plan_id)
        row = _unmoved(connection, context, plan_id, seq)
        keys = plans.decide_plan(connection, row, "approved", now)
        people.put_on_agenda(connection, keys, now)
        if row.hold == Hold.MASS:
            people.release_mass(connection, keys)
        elif row.hold == Hold.ABSENCE:
            containers.update_container(connection, row.account, row.container, rows_allowed=row.count)
        elif row.hold == Hold.FIRST_CONTACT:
            _end_first_contact(connection, context, row.account)
    return Decided(plan_id, "plan", row.account, row.container, row.kind, row.hold, row.count, len(keys))


def reject(context: Context, decision_id: str) -> Decided:
    """Drop a held plan for as long as the same changes are wanted, or a claim: the person's "no" stands.

    Refused as an approval is, if anything moved.
    """
    now, seq = context.now(), context.sequence.take()
    with writing(context.engine) as connection:
        found = next((row for row in plans.open_claims(connection) if row.id == decision_id), None)
        if found is not None:
            plans.dismiss_claim(connection, decision_id)
            return Decided(decision_id, "claim", found.account, found.container, "claim", "claim", 1, 0)
        row = _unmoved(connection, context, decision_id, seq)
        keys = plans.decide_plan(connection, row, "rejected", now)
        people.put_on_agenda(connection, keys, now)
    return Decided(decision_id, "plan", row.account, row.container, row.kind, row.hold, row.count, len(keys))


def look_at(context: Context, plan_id: str, *, limit: int | None = None, skip: int = 0) -> tuple[Any, list[Any]]:
    """A plan that waits and everything in it, or a part of that. Raises `ApprovalError` if there is none of that id."""
    with reading(context.engine) as connection:
        row = plans.find_plan(connection, plan_id)
        if row is None:
            raise _refusal(connection, plan_id, superseded.find(connection, plan_id))
        return row, plans.load_items(connection, row, limit, skip)


def _unmoved(connection: Connection, context: Context, plan_id: str, seq: int) -> Any:
    """The plan that waits under this id, if it still is what it was when it was shown."""
    row = plans.find_plan(connection, plan_id)
    if row is None:
        raise _refusal(connection, plan_id, superseded.find(connection, plan_id))
    fresh = people.due_among(connection, plans.people_of(connection, row), context.now())
    if fresh:  # seen anew, and not planned since
        marks = {plans.mark_of_item(item) for item in plans.load_items(connection, row)}
        with foreseen(connection, context, seq, fresh) as planned:
            # What would go by itself now, just as it was shown, was let go with another plan of the same people.
            goes = {str(wish.change.identity) for wish in planned.wishes if plans.mark_of(wish) in marks}
            then = plans.plan_of(connection, plans.group_of(row))
            if (then is None or then.id != plan_id) and _moved(connection, row, goes):
                raise _refusal(connection, plan_id, row)
    return row


def _moved(connection: Connection, was: Any, besides: Container[str] = ()) -> list[dict[str, str]]:
    """What moved in a plan since the planning that gave it its id, for the person who decides."""
    return [
        {
            "email": str(one.identity), "account": one.account, "remote_list": one.container, "kind": one.kind,
            "what": one.what,
        }
        for one in superseded.moved_since(connection, plans.group_of(was), was.seq)
        if one.identity not in besides
    ]  # fmt: skip


def _refusal(connection: Connection, plan_id: str, was: Any) -> ApprovalError:
    """Why this plan cannot be decided about, and what moved in it. `was`: the plan that had this id, if it is known."""
    ended = getattr(was, "ended", "moved")
    if was is None:
        return ApprovalError(f"no plan {plan_id} waits, and none did lately", hint="syncd plan")
    if ended != "moved":
        return ApprovalError(f"plan {plan_id} was {ended} already", hint="syncd status")
    moved = _moved(connection, was)
    now = plans.plan_of(connection, plans.group_of(was))
    counted = Counter(entry["what"] for entry in moved)
    what = ", ".join(f"{counted[word]} {word}" for word in ("added", "gone", "changed") if counted[word])
    if now is None:
        message = f"plan {plan_id} moved since it was shown ({what or 'it is gone'}); nothing of it waits any more"
        return ApprovalError(message, hint="syncd plan", moved=moved)
    sizes = f"it counted {was.count} and counts {now.count} now"
    message = f"plan {plan_id} moved since it was shown ({what or sizes}); it has another id now: {now.id}"
    return ApprovalError(message, hint=f"syncd plan {now.id}", plan=now.id, moved=moved)


@dataclass(frozen=True, slots=True)
class Granted:
    """A new "yes". `still_global`: a "no" to everything stands, so that this one changes nothing yet."""

    identity: Identity
    claims: int
    still_global: bool


def grant(context: Context, address: str, scope: Scope, *, evidence: str) -> Granted:
    """Take down a person's own word, which an operator vouches for.

    It ends their "no" in one scope and settles the claims there.
    """
    identity = ingest.resubscribe(context, address, scope, evidence=evidence)
    key = suppression_key(identity)
    with writing(context.engine) as connection:
        settled = plans.grant_claims(connection, key, scope)
    with reading(context.engine) as connection:
        state = people.load_consent(connection, key).get(GLOBAL)
    return Granted(identity, settled, state is not None and state.level.suppresses)


def _refuse_claim(connection: Connection, plan_id: str) -> None:
    if any(row.id == plan_id for row in plans.open_claims(connection)):
        raise ApprovalError(
            f"{plan_id} is a claim: that somebody reads subscribed again is not their word; give that, or reject it",
            hint=f"syncd resubscribe EMAIL --list NAME --evidence TEXT, or syncd reject {plan_id}",
        )


def _end_first_contact(connection: Connection, context: Context, account: str) -> None:
    """First contact is over with the last of its plans, unless there are people left nobody has asked about yet."""
    waits = plans.accounts_in_first_contact(connection, context.lanes) | protection.accounts_to_reread(connection)
    if account not in waits and not lookups.count_wanted(connection, account):
        journal.update_account(connection, account, joined=True, protected="")
