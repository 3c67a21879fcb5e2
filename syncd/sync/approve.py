"""What a person decides: plans that wait, claims, and a new "yes".

Each decision is one transaction, and holds while another process works on the mirror: whoever plans next finds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.errors import ApprovalError
from syncd.domain.identity import Identity, suppression_key
from syncd.reconcile.guard import Hold
from syncd.store import containers, journal, lookups, people, plans
from syncd.store.session import Connection, reading, writing
from syncd.sync import ingest
from syncd.sync.context import Context


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
    """Let a held plan go. Raises `ApprovalError` if there is none of that id, which changes when its content does."""
    now = context.now()
    with writing(context.engine) as connection:
        _refuse_claim(connection, plan_id)
        row, keys = plans.decide_plan(connection, plan_id, "approved")
        people.put_on_agenda(connection, keys, now)
        if row.hold == Hold.MASS:
            people.release_mass(connection, keys)
        elif row.hold == Hold.ABSENCE:
            containers.update_container(connection, row.account, row.container, rows_allowed=row.count)
        elif row.hold == Hold.FIRST_CONTACT:
            _end_first_contact(connection, row.account)
    return Decided(plan_id, "plan", row.account, row.container, row.kind, row.hold, row.count, len(keys))


def reject(context: Context, decision_id: str) -> Decided:
    """Drop a held plan for as long as the same changes are wanted, or a claim: the person's "no" stands."""
    with writing(context.engine) as connection:
        found = next((row for row in plans.open_claims(connection) if row.id == decision_id), None)
        if found is not None:
            plans.dismiss_claim(connection, decision_id)
            return Decided(decision_id, "claim", found.account, found.container, "claim", "claim", 1, 0)
        row, keys = plans.decide_plan(connection, decision_id, "rejected")
        people.put_on_agenda(connection, keys, context.now())
    return Decided(decision_id, "plan", row.account, row.container, row.kind, row.hold, row.count, len(keys))


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


def _end_first_contact(connection: Connection, account: str) -> None:
    """First contact is over with the last of its plans, unless there are people left nobody has asked about yet."""
    if account not in plans.accounts_in_first_contact(connection) and not lookups.count_wanted(connection, account):
        journal.update_account(connection, account, joined=True)
