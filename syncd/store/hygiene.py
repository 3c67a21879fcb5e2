"""New leads: what a verifier said of them, who waits for it, and who is kept back because of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.hygiene import Checked, Verification
from syncd.domain.identity import Identity, SuppressionKey
from syncd.reconcile.desired import Withheld
from syncd.store.bulk import chunks, one_of
from syncd.store.tables import HygieneRow

hygiene = HygieneRow.__table__  # type: ignore[attr-defined]

IN_MAX = 500
WAITING, WITHHELD, CLEAR = "waiting", "withheld", "clear"

_THESE = one_of(hygiene.c.person_key, "people")
_CHECKED = sa.select(hygiene).where(_THESE, hygiene.c.checked_at.is_not(None))
_KNOWN = sa.select(hygiene).where(_THESE)


def load(connection: Connection, keys: Sequence[SuppressionKey]) -> dict[SuppressionKey, dict[Identity, Checked]]:
    """What was said of these people, young or old."""
    found: defaultdict[SuppressionKey, dict[Identity, Checked]] = defaultdict(dict)
    for part in chunks(keys, IN_MAX):
        for row in connection.execute(_CHECKED, {"people": part}):
            said = Verification(row.score, row.word, row.checked_phone, row.phone_sound, row.phone_word)
            found[SuppressionKey(row.person_key)][Identity(row.identity)] = Checked(said, row.checked_at)
    return dict(found)


def keep(connection: Connection, decided: Sequence[tuple[SuppressionKey, Sequence[Withheld]]], at: datetime) -> None:
    """Write down of whom additions are kept back, and of whom not any more. What was said of them stays."""
    wanted = {item.identity: (key, item) for key, withheld in decided for item in withheld}
    known: dict[str, Any] = {}
    for part in chunks([key for key, _ in decided], IN_MAX):
        known |= {row.identity: row for row in connection.execute(_KNOWN, {"people": part})}
    for identity, (key, item) in wanted.items():
        _hold(connection, known.get(identity), key, item, at)
    free = [name for name, row in known.items() if row.state != CLEAR and name not in wanted]
    for part in chunks(free, IN_MAX):
        values = {"state": CLEAR, "reason": "", "trouble": "", "since": at}
        connection.execute(hygiene.update().where(hygiene.c.identity.in_(part)).values(values))


def _hold(connection: Connection, row: Any, key: SuppressionKey, item: Withheld, at: datetime) -> None:
    values: dict[str, Any] = {
        "account": item.account,
        "phone": item.phone,
        "state": WITHHELD if item.reason else WAITING,
        "reason": item.reason,
        "first_contact": list(item.first_contact),
    }
    if row is None:
        new = {"identity": item.identity, "person_key": key, "since": at, "trouble": "", "word": ""}
        new |= {"checked_phone": "", "phone_sound": True, "phone_word": "", "refused": False}
        connection.execute(hygiene.insert().values(new | values))
        return
    if any(getattr(row, name) != value for name, value in values.items()):
        if row.state != values["state"]:
            values["since"] = at
        connection.execute(hygiene.update().where(hygiene.c.identity == item.identity).values(values))


# Asking --------------------------------------------------------------------------------------------------------------


def waiting(connection: Connection, account: str, limit: int, besides: Collection[str]) -> list[tuple[Identity, str]]:
    """Who is to be asked about, with their number: those first who were not tried yet, or longest ago."""
    never = sa.case((hygiene.c.tried_at.is_(None), 0), else_=1)
    query = (
        sa.select(hygiene.c.identity, hygiene.c.phone)
        .where(hygiene.c.account == account, hygiene.c.state == WAITING)
        .order_by(never, hygiene.c.tried_at, hygiene.c.since, hygiene.c.identity)
        .limit(limit + len(besides))
    )
    found = [(Identity(identity), str(phone)) for identity, phone in connection.execute(query)]
    return [entry for entry in found if entry[0] not in besides][:limit]


def record(connection: Connection, identity: Identity, said: Verification, at: datetime) -> SuppressionKey | None:
    """Keep what was said; who it concerns, or None if the person was erased meanwhile: then nothing is kept."""
    values = {
        "tried_at": at,
        "checked_at": at,
        "trouble": "",
        "refused": False,
        "score": said.score,
        "word": said.word,
        "checked_phone": said.phone,
        "phone_sound": said.phone_sound,
        "phone_word": said.phone_word,
    }
    if not connection.execute(hygiene.update().where(hygiene.c.identity == identity).values(values)).rowcount:
        return None
    return SuppressionKey(
        connection.execute(sa.select(hygiene.c.person_key).where(hygiene.c.identity == identity)).scalar_one()
    )


def note_trouble(connection: Connection, identity: Identity, trouble: str, at: datetime, *, refused: bool) -> bool:
    """Somebody could not be verified, and waits. Whether that is news: nobody else waits there for such a reason.

    `refused`: the verifier answered, and does not take this one.
    """
    here = sa.select(hygiene.c.account).where(hygiene.c.identity == identity).scalar_subquery()
    known = sa.select(hygiene.c.identity).where(
        hygiene.c.account == here, hygiene.c.state == WAITING, hygiene.c.trouble != ""
    )
    news = connection.scalar(known.limit(1)) is None
    values = {"trouble": trouble, "tried_at": at, "refused": refused}
    connection.execute(hygiene.update().where(hygiene.c.identity == identity).values(values))
    return news


def accounts_wanting(connection: Connection) -> set[str]:
    """Accounts at which somebody is to be verified."""
    return set(connection.scalars(_WANTING))


_WANTING = sa.select(hygiene.c.account).where(hygiene.c.state == WAITING).distinct()


def first_contact_waits(connection: Connection) -> set[str]:
    """Accounts whose first contact goes on: somebody is still to be verified whose additions a person has to approve.

    Whoever was found unsound does not wait, and whom the verifier refuses may do so for ever.
    """
    query = sa.select(hygiene.c.first_contact).where(hygiene.c.state == WAITING, ~hygiene.c.refused).distinct()
    return {name for accounts in connection.scalars(query) for name in accounts}


def refused_in_first_contact(connection: Connection, accounts: Collection[str]) -> list[SuppressionKey]:
    """Whom the verifier refuses or finds unsound, and whose additions needed approval in first contact."""
    query = sa.select(hygiene.c.person_key, hygiene.c.first_contact).where(
        sa.or_(hygiene.c.state == WITHHELD, sa.and_(hygiene.c.state == WAITING, hygiene.c.refused))
    )
    return [SuppressionKey(key) for key, names in connection.execute(query) if not set(names).isdisjoint(accounts)]
