"""Whom to ask about at providers that cannot list anybody, or that must be asked about one person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import Target
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Status
from syncd.reconcile.desired import LookUp
from syncd.store.bulk import chunks, spelled
from syncd.store.records import OF_ADDRESS, given
from syncd.store.tables import CellRow, ContainerRow, LinkRow, LookUpRow

lookup = LookUpRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
link = LinkRow.__table__  # type: ignore[attr-defined]


_NAMED = ~sa.and_(cell.c.person_key.like("erased@%"), cell.c.person_key.not_like("erased@%.%"))
"""Nobody who was erased, of whom a row holds the pseudonym: it has no dot in its domain, and cannot be asked about."""

IN_MAX = 500


def want(connection: Connection, look_ups: Iterable[LookUp], at: datetime, *, urgent: bool = False) -> int:
    """Note whom to ask about; returns how many are new."""
    new = 0
    for wish in look_ups:
        place = {"of_account": wish.account, "of_container": wish.container, "of_identity": wish.identity}
        if connection.scalar(_WANTED_BEFORE, place) is None:
            row = {
                "account": wish.account,
                "container": wish.container,
                "identity": wish.identity,
                "address": wish.address,
                "reason": wish.reason,
                "urgent": urgent,
                "wanted_at": at,
            }
            connection.execute(lookup.insert(), row)
            new += 1
        elif urgent:  # there is news of them: whoever was given up is asked about again, and at once
            since = sa.case((lookup.c.wanted_at > at, at), else_=lookup.c.wanted_at)
            again = {"urgent": True, "failures": 0, "given_up": "", "wanted_at": since}
            connection.execute(_UPDATE.values(again), place)
    return new


_OPEN = lookup.c.given_up == ""

_PLACE = (
    lookup.c.account == sa.bindparam("of_account"),
    lookup.c.container == sa.bindparam("of_container"),
    lookup.c.identity == sa.bindparam("of_identity"),
)
_WANTED_BEFORE = sa.select(lookup.c.address).where(*_PLACE)
_UPDATE = lookup.update().where(*_PLACE)
_FAILURES = sa.select(lookup.c.failures).where(*_PLACE)
_DONE = lookup.delete().where(*_PLACE)


def done(connection: Connection, account: str, container_id: str, identity: Identity) -> None:
    connection.execute(_DONE, {"of_account": account, "of_container": container_id, "of_identity": identity})


def wanted(
    connection: Connection, account: str, now: datetime, limit: int, *, only_urgent: bool = False
) -> list[Target]:
    """Asked for by name, the urgent first, then the oldest."""
    query = _URGENT if only_urgent else _WANTED
    rows = connection.execute(query, {"of_account": account, "now": now, "most": limit}).all()
    return [_target(connection, account, *row) for row in rows]


_WANTED = (
    sa.select(lookup.c.container, lookup.c.identity, lookup.c.address)
    .where(lookup.c.account == sa.bindparam("of_account"), _OPEN, lookup.c.wanted_at <= sa.bindparam("now"))
    .order_by(lookup.c.urgent.desc(), lookup.c.wanted_at, lookup.c.identity)
    .limit(sa.bindparam("most"))
)


_URGENT = _WANTED.where(lookup.c.urgent)


def failures_of(connection: Connection, account: str, container_id: str, identity: Identity) -> int:
    """How often in a row the provider has failed at this one."""
    place = {"of_account": account, "of_container": container_id, "of_identity": identity}
    return connection.scalar(_FAILURES, place) or 0


def unanswered(connection: Connection, account: str) -> set[tuple[str, str]]:
    """At whom the provider failed when it was last asked, given up or not: container and identity."""
    query = sa.select(lookup.c.container, lookup.c.identity).where(lookup.c.account == account, lookup.c.failures > 0)
    return {(container_id, identity) for container_id, identity in connection.execute(query)}


def note_failure(
    connection: Connection, account: str, container_id: str, identity: Identity, *, until: datetime, given_up: str = ""
) -> None:
    """The provider failed at this one: asked again from `until` on, or, with a reason, given up for a person to see."""
    place = {"of_account": account, "of_container": container_id, "of_identity": identity}
    values = {"failures": lookup.c.failures + 1, "wanted_at": until, "given_up": given_up}
    connection.execute(_UPDATE.values(values), place)


def try_again(connection: Connection, account: str, container_id: str, identity: str, at: datetime) -> None:
    """A person wants somebody to be asked about who was given up."""
    place = {"of_account": account, "of_container": container_id, "of_identity": identity}
    connection.execute(_UPDATE.values(failures=0, given_up="", wanted_at=at), place)


def count_wanted(connection: Connection, account: str | None = None) -> int:
    query = sa.select(sa.func.count()).select_from(lookup).where(_OPEN)
    return connection.scalar(query if account is None else query.where(lookup.c.account == account)) or 0


def wanted_among(connection: Connection, identities: Sequence[Identity]) -> set[Identity]:
    """Those of them who are to be asked about, or were when that was given up."""
    found: set[Identity] = set()
    for part in chunks(identities, IN_MAX):
        query = sa.select(lookup.c.identity).where(lookup.c.identity.in_(part)).distinct()
        found |= {Identity(identity) for identity in connection.scalars(query)}
    return found


def accounts_wanting(connection: Connection) -> set[str]:
    """Accounts at which somebody is to be asked about."""
    return set(connection.scalars(_WANTING))


def sources_wanting(connection: Connection, accounts: Sequence[str], at: Sequence[str]) -> set[str]:
    """Those of the accounts with people of whom it was not asked yet whether they are at another of those `at`."""
    there = cell.alias()
    asked = sa.and_(
        there.c.account == lookup.c.account,
        there.c.container == lookup.c.container,
        there.c.identity == lookup.c.identity,
    )
    query = (
        sa.select(cell.c.account)
        .join(lookup, lookup.c.identity == cell.c.identity)
        .where(_OPEN, lookup.c.account.in_(at), lookup.c.account != cell.c.account, cell.c.account.in_(accounts))
        .where(cell.c.status == Status.SUBSCRIBED.value, ~sa.exists(sa.select(there.c.key).where(asked)))
        .distinct()
    )
    return set(connection.scalars(query))


def unasked(accounts: Sequence[str], paused: Sequence[str]) -> sa.Select[tuple[str]]:
    """Who is from one of the accounts, or may be there, and of whom an account could not be asked: at whom it failed
    until that was given up, or as a person paused it.
    """
    there = cell.alias()
    asked = sa.and_(
        there.c.account == lookup.c.account,
        there.c.container == lookup.c.container,
        there.c.identity == lookup.c.identity,
    )
    return (
        sa.select(cell.c.person_key)
        .join(lookup, lookup.c.identity == cell.c.identity)
        .where(
            sa.or_(~_OPEN, lookup.c.account.in_(paused)),
            lookup.c.account != cell.c.account,
            sa.or_(cell.c.account.in_(accounts), lookup.c.account.in_(accounts)),
            cell.c.status == Status.SUBSCRIBED.value,
            ~sa.exists(sa.select(there.c.key).where(asked)),
        )
        .distinct()
    )


_WANTING = sa.select(lookup.c.account).where(_OPEN).distinct()


def due(
    connection: Connection, account: str, containers: Sequence[str], older_than: datetime, limit: int
) -> list[Target]:
    """Known pairs that are due:

    those of lists whose count moved and that were not read since, then those read before `older_than`. Oldest first.
    """
    moved = sa.and_(container.c.moved_at.is_not(None), cell.c.observed_at < container.c.moved_at)
    # Asked about by name anyway, or given up lately: nobody else may starve behind people at whom the provider fails.
    by_name = sa.select(lookup.c.identity).where(
        lookup.c.account == account,
        lookup.c.container == cell.c.container,
        lookup.c.identity == cell.c.identity,
        sa.or_(_OPEN, lookup.c.wanted_at > older_than),
    )
    query = (
        sa.select(cell.c.container, cell.c.identity, cell.c.address)
        .join(container, sa.and_(container.c.account == cell.c.account, container.c.container == cell.c.container))
        .where(
            cell.c.account == account,
            cell.c.container.in_(containers),
            cell.c.identity.is_not(None),
            _NAMED,
            sa.or_(moved, cell.c.observed_at <= older_than),
            ~sa.exists(by_name),
        )
        # Somebody who stands subscribed can be mailed: they are asked about before the rest.
        .order_by(moved.desc(), (cell.c.status == Status.SUBSCRIBED.value).desc(), cell.c.observed_at, cell.c.identity)
        .limit(limit)
    )
    return [_target(connection, account, *row) for row in connection.execute(query).all()]


def due_for_fields(connection: Connection, account: str, older_than: datetime, limit: int) -> list[Target]:
    """Whose fields only a look-up shows: people on lists of ours who were not asked about since `older_than`, and those
    whose record moved since they were. Whoever waits longest comes first.

    Either kind may be more than there is time for, so each gets half of the turns and what the other leaves.
    """
    late = connection.execute(_LATE, {"of_account": account, "older_than": older_than, "most": limit}).all()
    moved = connection.execute(_MOVED, {"of_account": account, "older_than": older_than, "most": limit}).all()
    share = max((limit + 1) // 2, limit - len(moved))
    rows = [*late[:share], *moved][:limit]
    return [_target(connection, account, *row) for row in rows]


def note_asked(connection: Connection, account: str, container_id: str, identity: Identity, at: datetime) -> None:
    """They were asked about by themselves, and had their turn: whether or not anything was shown."""
    connection.execute(_NOTE_ASKED, {**given(account, container_id, identity), "asked_at": at})


_NOTE_ASKED = cell.update().where(*OF_ADDRESS)


def _whole_and_linked() -> sa.Select[Any]:
    there = cell.alias()
    linked = (
        sa.select(there.c.key)
        .join(link, sa.and_(link.c.account == there.c.account, link.c.container == there.c.container))
        .where(
            there.c.account == sa.bindparam("of_account"),
            there.c.person_key == cell.c.person_key,
            link.c.until.is_(None),
        )
    )
    wanted_anyway = sa.select(lookup.c.identity).where(
        lookup.c.account == sa.bindparam("of_account"),
        lookup.c.container == WHOLE_ACCOUNT,
        lookup.c.identity == cell.c.identity,
    )
    return (
        sa.select(cell.c.container, cell.c.identity, cell.c.address)
        .where(
            cell.c.account == sa.bindparam("of_account"),
            cell.c.container == WHOLE_ACCOUNT,
            cell.c.identity.is_not(None),
            cell.c.status.not_in([Status.REMOVED.value, Status.ABSENT.value]),
            _NAMED,
            sa.exists(linked),
            ~sa.exists(wanted_anyway),
        )
        .order_by(cell.c.asked_at.is_not(None), cell.c.asked_at, cell.c.identity)
        .limit(sa.bindparam("most"))
    )


_DUE = sa.or_(cell.c.asked_at.is_(None), cell.c.asked_at <= sa.bindparam("older_than"))
_LATE = _whole_and_linked().where(_DUE)
# That a feed shows a record once more as it was moves `observed_at`, and not the way by which it last changed.
_MOVED = _whole_and_linked().where(~_DUE, cell.c.route != "lookup", cell.c.observed_at > cell.c.asked_at)


def moved_left(connection: Connection, account: str, container_id: str) -> int:
    """How many known pairs of a list whose count moved were not read since."""
    query = (
        sa.select(sa.func.count())
        .select_from(
            cell.join(
                container, sa.and_(container.c.account == cell.c.account, container.c.container == cell.c.container)
            )
        )
        .where(
            cell.c.account == account,
            cell.c.container == container_id,
            _NAMED,
            cell.c.observed_at < container.c.moved_at,
        )
    )
    return connection.scalar(query) or 0


def target_of(connection: Connection, account: str, container_id: str, identity: Identity, address: str) -> Target:
    return _target(connection, account, container_id, identity, address)


def _target(connection: Connection, account: str, container_id: str, identity: Identity, address: str) -> Target:
    keys = connection.scalars(_KEYS, given(account, container_id, identity)).all()
    whole = connection.scalars(_KEYS, given(account, WHOLE_ACCOUNT, identity)).all()
    return Target(
        container=ContainerId(container_id),
        identity=Identity(identity),
        address=address,
        keys=tuple(keys),
        account_key=whole[0] if len(whole) == 1 else None,
    )


_KEYS = (
    sa.select(cell.c.key)
    .where(*OF_ADDRESS, ~spelled(cell.c.status, (Status.ABSENT, Status.REMOVED)))
    .order_by(cell.c.key)
)
