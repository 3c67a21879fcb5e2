"""Between the providers, who speak of people, and the mirror, which knows those who were erased by pseudonym only.

Whatever comes in passes `veiled` before it is compared or written down; whatever goes out passes `spoken`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from syncd.domain.changes import Change, Target
from syncd.domain.erasure import is_pseudonym
from syncd.domain.identity import Identity, suppression_key
from syncd.providers.contact_points import read_address
from syncd.reconcile.desired import LookUp
from syncd.store import erasure, lookups
from syncd.store.mirror import Reading
from syncd.store.outbox import Sendable
from syncd.store.session import Connection
from syncd.sync.context import Context

Spoken = TypeVar("Spoken", Change, Target)


def veiled(connection: Connection, context: Context, account: str, readings: Sequence[Reading]) -> Sequence[Reading]:
    """Readings as they may be written down.

    Somebody who was erased and can be mailed again at one place is asked about wherever only asking shows anybody:
    their address is at hand now, and will be forgotten again.
    """
    passed = erasure.veil_readings(connection, account, readings)
    if passed.back:
        topology = context.topology(connection)
        places = [
            (lane.name, container)
            for lane in context.lanes.values()
            if lane.asks_only and lane.name != account
            for entry in topology.lists.values()
            for container in entry.places.get(lane.name, ())
        ]
        wishes = [
            LookUp(*place, who, who, "erased, and listed again elsewhere") for who in passed.back for place in places
        ]
        lookups.want(connection, wishes, context.now())
    return passed.readings


def veiled_identity(connection: Connection, identity: Identity) -> Identity:
    """The identity, or its pseudonym: somebody may be erased while a call about them is under way."""
    veil = erasure.veil_of(connection)
    return identity if veil is None else veil.identity(identity)


def veiled_operations(connection: Connection, batch: Sequence[Sendable]) -> list[Sendable]:
    """Operations as the mirror knows them now."""
    veil = erasure.veil_of(connection)
    if veil is None:
        return list(batch)
    erased = veil.among({op.change.identity for op in batch})
    return [
        op
        if (name := erased.get(op.change.identity)) is None
        else replace(op, key=suppression_key(name), change=replace(op.change, identity=name, address=name, fields={}))
        for op in batch
    ]


def spoken(connection: Connection, account: str, things: Sequence[Spoken]) -> list[Spoken | None]:
    """Changes or targets as the provider is to hear them; None where nobody knows any more whom one is about."""
    known = erasure.addresses(connection, account, [thing.identity for thing in things])
    return [_named(thing, known.get(thing.identity)) if is_pseudonym(thing.identity) else thing for thing in things]


def _named(thing: Spoken, address: str | None) -> Spoken | None:
    identity = None if address is None else read_address(address)
    if address is None or identity is None:
        return None
    return replace(thing, identity=identity, address=address)
