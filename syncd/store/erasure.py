"""Who was erased, known by keyed hashes alone, and the veil that every reading passes before it is written down.

Of somebody who was erased no field and no address enters the mirror: a row that is needed at all carries their
pseudonym. Their address is kept apart, in `transit`, while an open call or look-up needs it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.changes import Change
from syncd.domain.erasure import (
    KEY_BYTES,
    hash_of,
    hash_of_digest,
    is_pseudonym,
    pseudonym_of,
    pseudonym_of_person,
)
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import PRESENT, SUPPRESSED, Observation
from syncd.reconcile.desired import LookUp
from syncd.reconcile.person import OPEN
from syncd.store import journal
from syncd.store.bulk import chunks, one_of
from syncd.store.mirror import Reading
from syncd.store.tables import AgendaRow, CellRow, ErasureRow, LookUpRow, OpRow, TransitRow

agenda = AgendaRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
erasure = ErasureRow.__table__  # type: ignore[attr-defined]
lookup = LookUpRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
transit = TransitRow.__table__  # type: ignore[attr-defined]

ANYWHERE = ""
"""Stands for the account, where an address goes for those that have no spelling of their own."""

KEY = "erasure_key"
"""Under which the key of the hashes stands in `meta`."""
_LOCK = 0x73796E6364  # one number of Postgres' advisory locks, the same for every process
IN_MAX = 500


# Who was erased ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Veil:
    """Knows who was erased, for the length of one transaction."""

    connection: Connection
    key: bytes

    def among(self, identities: Iterable[Identity]) -> dict[Identity, Identity]:
        """Those who were erased, with their pseudonyms."""
        hashes = {identity: hash_of(self.key, suppression_key(identity)) for identity in identities}
        erased = self._known(set(hashes.values()))
        return {identity: pseudonym_of(self.key, identity) for identity, value in hashes.items() if value in erased}

    def identity(self, identity: Identity) -> Identity:
        """The identity, or what stands for it."""
        return self.among([identity]).get(identity, identity)

    def person(self, person: SuppressionKey) -> SuppressionKey:
        """The key of a person, or what stands for it."""
        value = hash_of(self.key, person)
        return pseudonym_of_person(value) if value in self._known({value}) else person

    def digests(self, addresses: Iterable[str]) -> set[str]:
        """Those of these digests that name somebody who was erased."""
        hashes = {address: hash_of_digest(self.key, address) for address in addresses}
        erased = self._known(set(hashes.values()))
        return {address for address, value in hashes.items() if value in erased}

    def _known(self, hashes: set[str]) -> set[str]:
        if not hashes:
            return set()
        query = sa.select(erasure.c.hash).where(one_of(erasure.c.hash, "hashes"))
        return set(self.connection.scalars(query, {"hashes": sorted(hashes)}))


def veil_of(connection: Connection) -> Veil | None:
    """The veil of this transaction, or None as long as nobody was ever erased: then nothing has to be looked at.

    Nobody is erased between this and the end of the transaction.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_LOCK)))
    key = journal.get_value(connection, KEY)
    return None if key is None else Veil(connection, bytes.fromhex(key))


def veil_for_erasing(connection: Connection) -> Veil:
    """As `veil_of`, alone in the mirror; makes the key when the first is erased."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    key = journal.get_value(connection, KEY)
    if key is None:
        key = secrets.token_bytes(KEY_BYTES).hex()
        journal.set_value(connection, KEY, key)
    return Veil(connection, bytes.fromhex(key))


@dataclass(frozen=True, slots=True)
class Erased:
    """One who was erased: under what they stand, since when, and what was asked of whom."""

    person: SuppressionKey
    erased_at: datetime
    asked: Mapping[str, str]


def find(connection: Connection, person: SuppressionKey) -> Erased | None:
    """Whether somebody was erased."""
    key = journal.get_value(connection, KEY)
    if key is None:
        return None
    value = hash_of(bytes.fromhex(key), person)
    row = connection.execute(sa.select(erasure).where(erasure.c.hash == value)).one_or_none()
    return None if row is None else Erased(pseudonym_of_person(value), row.erased_at, dict(row.asked))


def note(
    veil: Veil, person: SuppressionKey, digests: Iterable[str], asked: Mapping[str, str], at: datetime
) -> SuppressionKey:
    """Somebody is erased from here on. The first time stands; what is asked of whom adds up. Returns the pseudonym."""
    value = hash_of(veil.key, person)
    before = veil.connection.scalar(sa.select(erasure.c.asked).where(erasure.c.hash == value))
    if before is None:
        veil.connection.execute(erasure.insert().values(hash=value, erased_at=at, asked=dict(asked)))
    else:
        both = {**before, **asked}
        veil.connection.execute(erasure.update().where(erasure.c.hash == value).values(asked=both))
    hashes = {hash_of_digest(veil.key, digest) for digest in digests}
    known = set(veil.connection.scalars(sa.select(erasure.c.hash).where(erasure.c.hash.in_(hashes))))
    for new in sorted(hashes - known):
        veil.connection.execute(erasure.insert().values(hash=new, erased_at=at, asked={}))
    return pseudonym_of_person(value)


# Readings ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Veiled:
    """Readings as they may be written down. `back`: who stands there to be mailed again, and was forgotten here."""

    readings: Sequence[Reading]
    back: Sequence[Identity] = ()


def veil_readings(connection: Connection, account: str, readings: Sequence[Reading]) -> Veiled:
    """Readings without anything personal of those who were erased; what a call to them needs goes in transit."""
    if not readings or (veil := veil_of(connection)) is None:
        return Veiled(readings)
    erased = veil.among({r.observation.identity for r in readings if r.observation.identity is not None})
    nameless = veil.digests({r.observation.address for r in readings if r.observation.identity is None})
    if not erased and not nameless:
        return Veiled(readings)
    written: list[Reading] = []
    back: list[Identity] = []
    for reading in readings:
        seen = reading.observation
        if seen.identity is None and seen.address in nameless:
            continue  # a digest can neither be mailed nor unsubscribed: nothing of it is kept
        if seen.identity is None or seen.identity not in erased:
            written.append(reading)
            continue
        veiled = _veiled(seen, erased[seen.identity])
        written.append(Reading(veiled, b""))  # known again by no digest: it would be one of what is not to be kept
        if veiled.status in PRESENT - SUPPRESSED and carry(connection, account, erased[seen.identity], seen.address):
            back.append(erased[seen.identity])
    _forget_bases(connection, account, [r.observation for r in written if r.digest == b""])
    return Veiled(written, back)


def _veiled(seen: Observation, pseudonym: Identity) -> Observation:
    assert seen.identity is not None
    names = (seen.identity, seen.address)
    return seen._replace(
        key=veiled_key(seen.key, names, pseudonym),
        address=pseudonym,
        identity=pseudonym,
        fields={},
        raw=b"",
        remote_id=None if seen.remote_id is None else veiled_key(seen.remote_id, names, pseudonym),
        counters=None,
    )


def veiled_key(key: str, names: Iterable[str], pseudonym: str) -> str:
    """A provider's id as it is, or the pseudonym where the id is made of the address."""
    lowered = key.lower()
    return pseudonym if any(name and name.lower() in lowered for name in names) else key


def _forget_bases(connection: Connection, account: str, veiled: Sequence[Observation]) -> None:
    """A record that went by another address until now: what it showed then belongs to nobody any more."""
    for seen in veiled:
        place = (cell.c.account == account, cell.c.container == seen.container, cell.c.key == seen.key)
        connection.execute(cell.update().where(*place, cell.c.base.is_not(None)).values(base=None))


# Addresses in transit ------------------------------------------------------------------------------------------------


def carry(connection: Connection, account: str, pseudonym: Identity, address: str) -> bool:
    """Keep an address for the calls that are to follow. False if one is in transit for them already."""
    place = (transit.c.account == account, transit.c.identity == pseudonym)
    if connection.execute(transit.update().where(*place).values(address=address)).rowcount:
        return False
    known = connection.scalar(sa.select(transit.c.address).where(transit.c.identity == pseudonym).limit(1))
    connection.execute(transit.insert().values(account=account, identity=pseudonym, address=address))
    return known is None


def addresses(connection: Connection, account: str, identities: Iterable[Identity]) -> dict[Identity, str]:
    """The addresses in transit behind pseudonyms: the spelling of this account, or any."""
    hidden = sorted({identity for identity in identities if is_pseudonym(identity)})
    found: dict[Identity, str] = {}
    for part in chunks(hidden, IN_MAX):
        query = sa.select(transit).where(transit.c.identity.in_(part)).order_by(transit.c.account)
        for row in connection.execute(query):
            if row.account == account or row.identity not in found:
                found[Identity(row.identity)] = row.address
    return found


def unknown_among(connection: Connection, things: Iterable[Change | LookUp]) -> set[Identity]:
    """Pseudonyms behind which no address is in transit: nobody can be asked or told about them."""
    hidden = {thing.identity for thing in things if is_pseudonym(thing.identity)}
    return hidden - addresses(connection, ANYWHERE, hidden).keys() if hidden else set()


_ANY_IN_TRANSIT = sa.select(transit.c.identity).limit(1)


def arrive(connection: Connection) -> int:
    """Drop addresses that nothing open needs any more. Returns how many."""
    if connection.scalar(_ANY_IN_TRANSIT) is None:
        return 0
    open_words = [state.value for state in OPEN]
    busy = sa.or_(
        sa.exists().where(op.c.identity == transit.c.identity, op.c.state.in_(open_words)),
        sa.exists().where(lookup.c.identity == transit.c.identity, lookup.c.given_up == ""),
        # The person is looked at once more: `erased+TAG@HASH` stands on the agenda as `erased@HASH`.
        sa.exists().where(agenda.c.person_key == sa.literal("erased") + sa.func.substr(transit.c.identity, 24)),
    )
    return connection.execute(transit.delete().where(~busy)).rowcount


def in_transit(connection: Connection, person: SuppressionKey) -> bool:
    """Whether an address of this pseudonym is still kept."""
    behind = f"%{person.removeprefix('erased')}"
    query = sa.select(transit.c.identity).where(transit.c.identity.like(behind)).limit(1)
    return connection.scalar(query) is not None
