"""Changes that wait for a person, grouped into plans.

A plan's id is a digest of its content and of the records it was computed on, so an approval cannot cover what was not
seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import ChangeKind
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import ContainerId
from syncd.reconcile.desired import Desired
from syncd.reconcile.guard import Group, Held, Hold
from syncd.reconcile.person import Cell
from syncd.store import superseded
from syncd.store.bulk import chunks, one_of
from syncd.store.superseded import PlanGroup
from syncd.store.tables import ClaimRow, PlanItemRow, PlanRow

plan = PlanRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]
claim = ClaimRow.__table__  # type: ignore[attr-defined]

Mark = tuple[str, ContainerId, ChangeKind, Identity, str]
"""One change: account, container, kind, person, and a digest of the values."""

IN_MAX = 500
REASONS = {
    Hold.FIRST_CONTACT: "first contact with an account: nothing is added or concluded before somebody has looked at it",
    Hold.GUARD: "more at once than the guard lets pass",
    Hold.MASS: "one listing turned very many to unsubscribed at once; goes by itself at release_at",
    Hold.RESYNC: "follows from a resync, or comes after a first contact that left it out: somebody looks at it first",
    Hold.ABSENCE: "a listing lost very many at once; until approved it counts as not whole",
}


def replace_items(
    connection: Connection,
    people: Sequence[SuppressionKey],
    held: Sequence[Held],
    wished: Sequence[Desired],
    at: datetime,
    release_at: datetime,
    *,
    seq: int = 0,
    cells: Mapping[Identity, Sequence[Cell]] | None = None,
) -> None:
    """What waits for these people is now exactly `held`;

    plans follow. A rejected item keeps its mark while the same change is `wished`. `seq`: the planning that says so;
    `cells`: the records it was computed on.
    """
    kept = {mark_of(wish)[:4] for wish in wished}
    known: dict[tuple[str, str, str, str], Any] = {}
    for part in chunks(people, IN_MAX):
        for row in connection.execute(_ITEMS, {"people": part}):
            known[row.account, row.container, row.kind, row.identity] = row
    touched: dict[PlanGroup, list[tuple[str, str]]] = {}
    wanted: set[tuple[str, str, str, str]] = set()
    for entry in held:
        wish, change = entry.desired, entry.desired.change
        at_item = (wish.account, str(change.container), change.kind.value, str(change.identity))
        wanted.add(at_item)
        before = known.get(at_item)
        basis = basis_of(wish, (cells or {}).get(change.identity, ()))
        concerned = sorted({wish.account, *wish.unmet}) if entry.hold is Hold.FIRST_CONTACT else []
        if before is not None and _same(before, entry, basis):
            if before.first_contact != concerned:
                connection.execute(item.update().where(*_at_item(at_item)).values(first_contact=concerned))
            continue
        stays = before is not None and before.hold == entry.hold and before.state == "held"
        if before is not None:
            _delete_item(connection, at_item)
            if not stays:
                _touch(touched, before, "gone")
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
                basis=basis,
                state="held",
                first_contact=concerned,
                created_at=at,
            )
        )
        moves = touched.setdefault((*at_item[:3], entry.hold.value), [])
        moves.append((str(change.identity), "changed" if stays else "added"))
    for at_item, row in known.items():
        if at_item not in wanted and (at_item not in kept or row.state != "rejected"):
            _delete_item(connection, at_item)
            _touch(touched, row, "gone")
    for group, moves in sorted(touched.items()):
        _refresh(connection, group, moves, seq, at, release_at)


def _same(before: Any, entry: Held, basis: str) -> bool:
    """Whether an item needs nothing: the same change, on the same records if it waits for a person."""
    same: bool = before.hold == entry.hold and before.fields == dict(entry.desired.change.fields)
    return same and (before.basis == basis or before.state == "rejected")


def _touch(touched: dict[PlanGroup, list[tuple[str, str]]], row: Any, what: str) -> None:
    moves = touched.setdefault((row.account, row.container, row.kind, row.hold), [])
    if row.state == "held":
        moves.append((row.identity, what))


def basis_of(wish: Desired, cells: Sequence[Cell]) -> str:
    """A digest of what a change rests on: its reason, and the records of that address at the account to be written to.

    Not of records elsewhere: what they say is in the change itself, and one that only echoes an approval is no news.
    """
    here = sorted(
        [cell.container, cell.key, cell.status.value, cell.status_seq, sorted(cell.fields.items())]
        for cell in cells
        if cell.account == wish.account and cell.identity == wish.change.identity
    )
    return digest_of([wish.why.value, here])


_ITEMS = sa.select(item).where(one_of(item.c.person_key, "people"))
_DECIDED = _ITEMS.where(item.c.state == sa.bindparam("of_state"))


def decided_items(connection: Connection, people: Sequence[SuppressionKey], state: str) -> set[Mark]:
    """Items of these people that somebody approved or rejected, with a digest of what exactly."""
    return set(_decided(connection, people, state))


def rejected_items(connection: Connection, people: Sequence[SuppressionKey]) -> set[Mark]:
    """Items of these people that somebody rejected, as `refused` names them."""
    return {refused(mark) for mark in _decided(connection, people, "rejected")}


def refused(mark: Mark) -> Mark:
    """What a rejection covers: an addition whatever the person is called by then, any other change with its values."""
    return (*mark[:4], "") if mark[2] is ChangeKind.SUBSCRIBE else mark


def approved_items(connection: Connection, people: Sequence[SuppressionKey]) -> set[tuple[Mark, str]]:
    """Items of these people that somebody approved, as `mark_of` names them, with what they rested on."""
    return set(_decided(connection, people, "approved").items())


def _decided(connection: Connection, people: Sequence[SuppressionKey], state: str) -> dict[Mark, str]:
    found = {}
    for part in chunks(people, IN_MAX):
        for row in connection.execute(_DECIDED, {"people": part, "of_state": state}):
            found[mark_of_item(row)] = row.basis
    return found


def mark_of(wish: Desired) -> Mark:
    change = wish.change
    return wish.account, change.container, change.kind, change.identity, digest_of(dict(change.fields))


def mark_of_item(row: Any) -> Mark:
    """The mark of the change that an item holds."""
    place = row.account, ContainerId(row.container), ChangeKind(row.kind), Identity(row.identity)
    return *place, digest_of(row.fields)


def digest_of(value: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=8).hexdigest()


def hold_absence(connection: Connection, account: str, container: str, reason: str, rows: int, at: datetime) -> None:
    """A listing that lost too many waits as a plan of its own; approving it accepts the smaller size."""
    group = (account, container, "absence", Hold.ABSENCE.value)
    new_id = _id_of(group, [str(rows)])
    values = {"id": new_id, "count": rows, "reason": reason, "created_at": at, "release_at": None}
    known = plan_of(connection, group)
    if known is not None and known.id != new_id:
        superseded.end(connection, known, "moved", at)
    if not connection.execute(plan.update().where(*_at(group)).values(**values)).rowcount:
        connection.execute(
            plan.insert().values(
                account=account,
                container=container,
                kind="absence",
                hold=Hold.ABSENCE.value,
                seq=0,
                since_seq=0,
                **values,
            )
        )


def drop_absence(connection: Connection, account: str, container: str, at: datetime) -> None:
    group = (account, container, "absence", Hold.ABSENCE.value)
    known = plan_of(connection, group)
    if known is not None:
        superseded.end(connection, known, "moved", at)
        connection.execute(plan.delete().where(*_at(group)))


def load_plans(connection: Connection) -> list[sa.Row[Any]]:
    return list(
        connection.execute(sa.select(plan).order_by(plan.c.created_at, plan.c.account, plan.c.container, plan.c.kind))
    )


def load_items(connection: Connection, row: Any, limit: int | None = None, skip: int = 0) -> list[sa.Row[Any]]:
    """What waits in a plan, by address: all of it, or `limit` of it behind the first `skip`."""
    query = sa.select(item).where(*_items_of(group_of(row)), item.c.state == "held").order_by(item.c.identity)
    return list(connection.execute(query if limit is None else query.limit(limit).offset(skip)))


def group_of(row: Any) -> PlanGroup:
    return row.account, row.container, row.kind, row.hold


def plan_of(connection: Connection, group: PlanGroup) -> Any:
    """What waits of this group now, or None."""
    return connection.execute(sa.select(plan).where(*_at(group))).one_or_none()


def find_plan(connection: Connection, plan_id: str) -> Any:
    """The plan that waits under this id, or None: it never did, was decided, or moved (see `superseded`)."""
    return connection.execute(sa.select(plan).where(plan.c.id == plan_id)).one_or_none()


def people_of(connection: Connection, row: Any) -> list[SuppressionKey]:
    """The people in a plan."""
    query = sa.select(item.c.person_key).where(*_items_of(group_of(row)), item.c.state == "held").distinct()
    return [SuppressionKey(key) for key in connection.scalars(query)]


def decide_plan(connection: Connection, row: Any, state: str, at: datetime) -> list[SuppressionKey]:
    """Mark all of a plan approved or rejected. Returns the people in it, who are to be planned now."""
    people = people_of(connection, row)
    waiting = (*_items_of(group_of(row)), item.c.state == "held")
    connection.execute(item.update().where(*waiting).values(state=state))
    connection.execute(plan.delete().where(*_at(group_of(row))))
    superseded.end(connection, row, state, at)
    return people


def due_releases(connection: Connection, now: datetime) -> list[sa.Row[Any]]:
    """Plans that go by themselves by now."""
    return list(connection.execute(_DUE_RELEASES, {"now": now}))


_DUE_RELEASES = sa.select(plan).where(plan.c.release_at.is_not(None), plan.c.release_at <= sa.bindparam("now"))


def count_held(connection: Connection, *, besides: Sequence[SuppressionKey]) -> dict[Group, int]:
    """Items that wait under the guard, by group; those of the people who are being planned right now left out."""
    query = (
        sa.select(item.c.account, item.c.container, item.c.kind, sa.func.count())
        .where(item.c.state == "held", item.c.hold == Hold.GUARD.value, item.c.person_key.not_in(besides))
        .group_by(item.c.account, item.c.container, item.c.kind)
    )
    return {(account, ContainerId(cid), ChangeKind(kind)): n for account, cid, kind, n in connection.execute(query)}


def accounts_in_first_contact(
    connection: Connection, at: Collection[str], states: Collection[str] = ("held",)
) -> set[str]:
    """Accounts whose first contact goes on: something at one of the accounts `at` still waits for a person's first
    look, who is to be added there or comes from there. What waits at an account that is not configured any more waits
    for nothing.
    """
    waits = (item.c.hold == Hold.FIRST_CONTACT.value, item.c.state.in_(states), item.c.account.in_(at))
    query = sa.select(item.c.first_contact).where(*waits).distinct()
    return {name for accounts in connection.scalars(query) for name in accounts}


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


def open_claims(connection: Connection, limit: int | None = None) -> list[sa.Row[Any]]:
    query = sa.select(claim).where(claim.c.state == "open").order_by(claim.c.seen_at, claim.c.id)
    return list(connection.execute(query if limit is None else query.limit(limit)))


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


def _at(group: PlanGroup) -> tuple[sa.ColumnElement[bool], ...]:
    account, container, kind, hold = group
    return plan.c.account == account, plan.c.container == container, plan.c.kind == kind, plan.c.hold == hold


def _items_of(group: PlanGroup) -> tuple[sa.ColumnElement[bool], ...]:
    account, container, kind, hold = group
    return item.c.account == account, item.c.container == container, item.c.kind == kind, item.c.hold == hold


def _at_item(at_item: tuple[str, str, str, str]) -> tuple[sa.ColumnElement[bool], ...]:
    account, container, kind, identity = at_item
    here = (item.c.account == account, item.c.container == container)
    return *here, item.c.kind == kind, item.c.identity == identity


def _delete_item(connection: Connection, at_item: tuple[str, str, str, str]) -> None:
    connection.execute(item.delete().where(*_at_item(at_item)))


def _refresh(
    connection: Connection,
    group: PlanGroup,
    moves: Sequence[tuple[str, str]],
    seq: int,
    at: datetime,
    release_at: datetime,
) -> None:
    """Bring one plan in line with its items, and note what moved if somebody may have seen it as it was.

    Only an id that an earlier planning gave was ever shown: one transaction writes all of a planning.
    """
    before = plan_of(connection, group)
    seen = before.since_seq < seq if before is not None else superseded.was_seen(connection, group)
    if seen:
        for identity, what in moves:
            superseded.note(connection, group, identity, what, seq, at)
    rows = connection.execute(
        sa.select(item.c.identity, item.c.fields, item.c.basis)
        .where(*_items_of(group), item.c.state == "held")
        .order_by(item.c.identity)
    ).all()
    new_id = _id_of(group, [[identity, fields, basis] for identity, fields, basis in rows])
    if before is not None and before.seq < seq and (not rows or before.id != new_id):
        superseded.end(connection, before, "moved", at)
    if not rows:
        connection.execute(plan.delete().where(*_at(group)))
        return
    values = {"id": new_id, "count": len(rows), "reason": REASONS[Hold(group[3])], "seq": seq}
    if before is not None:
        if before.id != new_id:
            connection.execute(plan.update().where(*_at(group)).values(**values))
        return
    account, container, kind, hold = group
    connection.execute(
        plan.insert().values(
            account=account, container=container, kind=kind, hold=hold, since_seq=seq, created_at=at,
            release_at=release_at if hold == Hold.MASS else None, **values,
        )
    )  # fmt: skip


def _id_of(group: PlanGroup, content: Sequence[Any]) -> str:
    return digest_of([list(group), list(content)])[:12]
