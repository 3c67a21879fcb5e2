"""Changes that wait for a person, grouped into plans.

A plan's id is a digest of its content, so an approval cannot cover what was not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.domain.errors import ApprovalError
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import ContainerId
from syncd.reconcile.desired import Desired
from syncd.reconcile.guard import Group, Held, Hold
from syncd.store.bulk import chunks
from syncd.store.tables import ClaimRow, PlanItemRow, PlanRow

plan = PlanRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]
claim = ClaimRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500
REASONS = {
    Hold.FIRST_CONTACT: "first contact with an account: nothing is added before somebody has looked at it",
    Hold.GUARD: "more at once than the guard lets pass",
    Hold.MASS: "one listing turned very many to unsubscribed at once; goes by itself at release_at",
    Hold.ABSENCE: "a listing lost very many at once; until approved it counts as not whole",
}


def replace_items(
    connection: Connection,
    people: Sequence[SuppressionKey],
    held: Sequence[Held],
    wished: Sequence[Desired],
    at: datetime,
    release_at: datetime,
) -> None:
    """What waits for these people is now exactly `held`;

    plans follow. A rejected item keeps its mark while the same change is `wished`.
    """
    kept = {mark_of(wish)[:4] for wish in wished}
    known: dict[tuple[str, str, str, str], Any] = {}
    for part in chunks(people, IN_MAX):
        for row in connection.execute(sa.select(item).where(item.c.person_key.in_(part))):
            known[row.account, row.container, row.kind, row.identity] = row
    touched: set[tuple[str, str, str, str]] = set()
    wanted: set[tuple[str, str, str, str]] = set()
    for entry in held:
        wish, change = entry.desired, entry.desired.change
        at_item = (wish.account, str(change.container), change.kind.value, str(change.identity))
        wanted.add(at_item)
        before = known.get(at_item)
        if before is not None and before.hold == entry.hold and before.fields == dict(change.fields):
            continue
        if before is not None:
            _delete_item(connection, at_item)
            touched.add((*at_item[:3], before.hold))
        connection.execute(
            item.insert().values(
                account=wish.account,
                container=change.container,
                kind=change.kind.value,
                identity=change.identity,
                hold=entry.hold.value,
                person_key=suppression_key(change.identity),
                fields=dict(change.fields),
                why=wish.why.value,
                state="held",
                created_at=at,
            )
        )
        touched.add((*at_item[:3], entry.hold.value))
    for at_item, row in known.items():
        if at_item not in wanted and (at_item not in kept or row.state != "rejected"):
            _delete_item(connection, at_item)
            touched.add((*at_item[:3], row.hold))
    for group in sorted(touched):
        _refresh(connection, group, at, release_at)


def decided_items(
    connection: Connection, people: Sequence[SuppressionKey], state: str
) -> set[tuple[str, ContainerId, ChangeKind, Identity, str]]:
    """Items of these people that somebody approved or rejected, with a digest of what exactly."""
    found = set()
    for part in chunks(people, IN_MAX):
        query = sa.select(item).where(item.c.person_key.in_(part), item.c.state == state)
        for row in connection.execute(query):
            found.add(
                (
                    row.account,
                    ContainerId(row.container),
                    ChangeKind(row.kind),
                    Identity(row.identity),
                    digest_of(row.fields),
                )
            )
    return found


def mark_of(wish: Desired) -> tuple[str, ContainerId, ChangeKind, Identity, str]:
    change = wish.change
    return wish.account, change.container, change.kind, change.identity, digest_of(dict(change.fields))


def digest_of(value: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=8).hexdigest()


def hold_absence(connection: Connection, account: str, container: str, reason: str, rows: int, at: datetime) -> None:
    """A listing that lost too many waits as a plan of its own; approving it accepts the smaller size."""
    group = (account, container, "absence", Hold.ABSENCE.value)
    new_id = _id_of(group, [str(rows)])
    values = {"id": new_id, "count": rows, "reason": reason, "created_at": at, "release_at": None}
    if not connection.execute(plan.update().where(*_at(group)).values(**values)).rowcount:
        connection.execute(
            plan.insert().values(
                account=account, container=container, kind="absence", hold=Hold.ABSENCE.value, **values
            )
        )


def drop_absence(connection: Connection, account: str, container: str) -> None:
    connection.execute(plan.delete().where(*_at((account, container, "absence", Hold.ABSENCE.value))))


def load_plans(connection: Connection) -> list[sa.Row[Any]]:
    return list(
        connection.execute(sa.select(plan).order_by(plan.c.created_at, plan.c.account, plan.c.container, plan.c.kind))
    )


def load_items(connection: Connection, row: Any, limit: int) -> list[sa.Row[Any]]:
    query = (
        sa.select(item)
        .where(
            item.c.account == row.account,
            item.c.container == row.container,
            item.c.kind == row.kind,
            item.c.hold == row.hold,
            item.c.state == "held",
        )
        .order_by(item.c.identity)
        .limit(limit)
    )
    return list(connection.execute(query))


def find_plan(connection: Connection, plan_id: str) -> Any:
    row = connection.execute(sa.select(plan).where(plan.c.id == plan_id)).one_or_none()
    if row is None:
        raise ApprovalError(
            f"no plan {plan_id} waits: it was decided, or something in it moved and it has another id now",
            hint="syncd plan",
        )
    return row


def decide_plan(connection: Connection, plan_id: str, state: str) -> tuple[Any, list[SuppressionKey]]:
    """Mark all of a plan approved or rejected. Returns the plan and the people in it, who are to be planned now."""
    row = find_plan(connection, plan_id)
    group = (row.account, row.container, row.kind, row.hold)
    place = (
        item.c.account == row.account,
        item.c.container == row.container,
        item.c.kind == row.kind,
        item.c.hold == row.hold,
    )
    people = [
        SuppressionKey(key)
        for key in connection.scalars(sa.select(item.c.person_key).where(*place, item.c.state == "held").distinct())
    ]
    connection.execute(item.update().where(*place, item.c.state == "held").values(state=state))
    connection.execute(plan.delete().where(*_at(group)))
    return row, people


def due_releases(connection: Connection, now: datetime) -> list[str]:
    """Plans that go by themselves by now."""
    return list(
        connection.scalars(sa.select(plan.c.id).where(plan.c.release_at.is_not(None), plan.c.release_at <= now))
    )


def count_held(connection: Connection, *, besides: Sequence[SuppressionKey]) -> dict[Group, int]:
    """Items that wait under the guard, by group; those of the people who are being planned right now left out."""
    query = (
        sa.select(item.c.account, item.c.container, item.c.kind, sa.func.count())
        .where(item.c.state == "held", item.c.hold == Hold.GUARD.value, item.c.person_key.not_in(besides))
        .group_by(item.c.account, item.c.container, item.c.kind)
    )
    return {(account, ContainerId(cid), ChangeKind(kind)): n for account, cid, kind, n in connection.execute(query)}


def accounts_in_first_contact(connection: Connection) -> set[str]:
    """Accounts with additions that still wait for the first look of a person."""
    query = sa.select(item.c.account).where(item.c.hold == Hold.FIRST_CONTACT.value, item.c.state == "held").distinct()
    return set(connection.scalars(query))


# Claims --------------------------------------------------------------------------------------------------------------


def record_claim(
    connection: Connection,
    *,
    account: str,
    container: str,
    key: str,
    identity: Identity,
    scope: str,
    status_seq: int,
    at: datetime,
    fight: bool = False,
) -> bool:
    """Somebody who said no reads subscribed again. At most one claim of a cell is open; one that a person decided about
    is not opened again by the same occurrence. Says whether there is something new to decide.
    """
    place = (claim.c.account == account, claim.c.container == container, claim.c.identity == identity)
    known = connection.execute(
        sa.select(claim).where(*place, claim.c.scope == scope, claim.c.state == "open")
    ).one_or_none()
    if known is not None:
        again = {"times": known.times + 1, "status_seq": status_seq} if status_seq > known.status_seq else {}
        values = again | ({"fight": True} if fight and not known.fight else {})
        if values:
            connection.execute(claim.update().where(claim.c.id == known.id).values(values))
        return "fight" in values
    claim_id = digest_of([account, container, key, scope, status_seq])
    if connection.scalar(sa.select(claim.c.id).where(claim.c.id == claim_id)) is not None:
        return False
    connection.execute(
        claim.insert().values(
            id=claim_id,
            account=account,
            container=container,
            key=key,
            identity=identity,
            person_key=suppression_key(identity),
            scope=scope,
            status_seq=status_seq,
            seen_at=at,
            state="open",
            times=1,
            fight=fight,
        )
    )
    return True


def open_claims(connection: Connection) -> list[sa.Row[Any]]:
    return list(
        connection.execute(sa.select(claim).where(claim.c.state == "open").order_by(claim.c.seen_at, claim.c.id))
    )


def settle_claims(connection: Connection, where: Iterable[sa.ColumnElement[bool]], state: str) -> int:
    result = connection.execute(claim.update().where(claim.c.state == "open", *where).values(state=state))
    return result.rowcount


def dismiss_claim(connection: Connection, claim_id: str) -> bool:
    return settle_claims(connection, [claim.c.id == claim_id], "dismissed") > 0


def grant_claims(connection: Connection, key: SuppressionKey, scope: str) -> int:
    return settle_claims(connection, [claim.c.person_key == key, claim.c.scope == scope], "granted")


def grant_claims_of(connection: Connection, account: str, container: str, identity: str) -> int:
    """Settle whatever waits for a person about one cell: it was granted by its own evidence."""
    place = [claim.c.account == account, claim.c.container == container, claim.c.identity == identity]
    return settle_claims(connection, place, "granted")


# Inside --------------------------------------------------------------------------------------------------------------


def _at(group: tuple[str, str, str, str]) -> tuple[sa.ColumnElement[bool], ...]:
    account, container, kind, hold = group
    return plan.c.account == account, plan.c.container == container, plan.c.kind == kind, plan.c.hold == hold


def _delete_item(connection: Connection, at_item: tuple[str, str, str, str]) -> None:
    account, container, kind, identity = at_item
    connection.execute(
        item.delete().where(
            item.c.account == account, item.c.container == container, item.c.kind == kind, item.c.identity == identity
        )
    )


def _refresh(connection: Connection, group: tuple[str, str, str, str], at: datetime, release_at: datetime) -> None:
    """Bring one plan in line with its items."""
    account, container, kind, hold = group
    query = (
        sa.select(item.c.identity, item.c.fields)
        .where(
            item.c.account == account,
            item.c.container == container,
            item.c.kind == kind,
            item.c.hold == hold,
            item.c.state == "held",
        )
        .order_by(item.c.identity)
    )
    rows = connection.execute(query).all()
    if not rows:
        connection.execute(plan.delete().where(*_at(group)))
        return
    values = {
        "id": _id_of(group, [[identity, fields] for identity, fields in rows]),
        "count": len(rows),
        "reason": REASONS[Hold(hold)],
    }
    if not connection.execute(plan.update().where(*_at(group)).values(**values)).rowcount:
        release = release_at if hold == Hold.MASS else None
        connection.execute(
            plan.insert().values(
                account=account, container=container, kind=kind, hold=hold, created_at=at, release_at=release, **values
            )
        )


def _id_of(group: tuple[str, str, str, str], content: Sequence[Any]) -> str:
    return digest_of([list(group), list(content)])[:12]
