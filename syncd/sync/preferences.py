"""What one person gets of our lists, as they see it and change it themselves behind a signed link.

Turning off is their "no", at once. Turning on waits for a link that is mailed to them (`subscribing`): a mail with the
link to this page may have been handed on, and nobody may say "yes" for another.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.reconcile.person import MailingList, Person, stands
from syncd.store import people
from syncd.store.session import reading
from syncd.sync.context import Context
from syncd.sync.signed import Purpose, opened, sign
from syncd.sync.veil import veiled_identity

SOURCE = "preferences"
EVIDENCE = "the person turned it off on their preference page"


class Choice(NamedTuple):
    """One area of consent with our lists in it, and whether mail of one of them can reach the person."""

    scope: Scope
    lists: tuple[str, ...]
    on: bool


class _Payload(msgspec.Struct, omit_defaults=True):
    identity: str
    until: int = 0


def make_token(key: bytes, identity: Identity, until: datetime | None = None) -> str:
    """The token of one person's page. Without `until` it is good for ever."""
    payload = _Payload(identity, 0 if until is None else int(until.timestamp()))
    return sign(key, Purpose.PREFERENCES, msgspec.json.encode(payload))


def read_token(key: bytes, token: str, now: datetime) -> Identity | None:
    """Whose page it is, or None if the token was not made with this key or is good no more."""
    payload = opened(key, Purpose.PREFERENCES, token)
    if payload is None:
        return None
    said = msgspec.json.decode(payload, type=_Payload)
    return None if said.until and now.timestamp() > said.until else Identity(said.identity)


def link(public_url: str, token: str) -> str:
    return f"{public_url.rstrip('/')}/preferences/{token}"


def choices(context: Context, identity: Identity) -> list[Choice] | None:
    """Each area of consent with lists of ours, in the order of the configuration. None: the person was erased."""
    with reading(context.engine) as connection:
        if veiled_identity(connection, identity) != identity:
            return None
        topology = context.topology(connection)
        (person,) = people.load_people(connection, [suppression_key(identity)])
    person = person.at_accounts(topology.accounts)
    areas: dict[Scope, list[MailingList]] = {}
    for entry in topology.lists.values():
        areas.setdefault(entry.scope, []).append(entry)
    return [
        Choice(scope, tuple(entry.name for entry in lists), any(_reached(person, identity, entry) for entry in lists))
        for scope, lists in areas.items()
    ]


def _reached(person: Person, identity: Identity, entry: MailingList) -> bool:
    exempt = {one.place for one in person.exemptions}
    return any(
        stands(cell)
        and cell.identity == identity
        and entry.holds(cell.account, cell.container)
        and (not person.suppressed(entry.scope) or cell.place in exempt)
        for cell in person.cells
    )
