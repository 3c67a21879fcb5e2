"""Take a person out of the mirror for good, ask every provider that knows them to do the same, and look for the rest.

One transaction takes them out; the unsubscribes that follow are planned and sent as any others are. Their address stays
in transit until the last of them has been read back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from syncd.domain.changes import ChangeKind
from syncd.domain.erasure import digests_of
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.store import erasure, inbox, inspect, people, scrub, traces
from syncd.store.scrub import REASON, Known
from syncd.store.session import reading, writing
from syncd.store.traces import Forms, Trace
from syncd.sync.context import Context
from syncd.sync.ingest import read_now

OUT_OF_REACH = (
    "backups made before now, also what `syncd db restore` kept beside the mirror",
    "the database server's own log, archives and replicas, and copies of the disk below",
    "logs and histories that the providers keep",
)
"""What no command of ours reaches."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done. `forms`: what to look for afterwards; it names the person, so it is kept nowhere else."""

    person: SuppressionKey
    erased_at: datetime
    again: bool
    asked: Mapping[str, str]
    rows: Mapping[str, int]
    forms: Forms = field(repr=False)


def erase(context: Context, identity: Identity, *, source: str = "operator") -> Erased:
    """Erase everybody who shares a mailbox with this address. Repeating does no harm. Durable when this returns."""
    key = suppression_key(identity)
    seq, now = context.sequence.take(), context.now()
    with writing(context.engine) as connection:
        veil = erasure.veil_for_erasing(connection)
        before = erasure.find(connection, key)
        known = scrub.known_of(connection, key)
        known.identities |= {identity, Identity(key)}
        asked = _asked(context, known)
        digests = [digest for one in sorted(known.identities) for digest in digests_of(one)]
        person = erasure.note(veil, key, digests, asked, now)
        deliveries = scrub.deliveries_naming(connection, key, known)
        rows = scrub.scrub(veil, key, known, seq=seq, at=now, source=source)
        if before is None or rows.total():
            scrub.send_off(veil, known)
            people.put_on_agenda(connection, [person], now)
        for row, delivery in deliveries:
            if row.state == "new":
                read_now(connection, context, row, delivery)
            inbox.empty_delivery(connection, row.id, REASON)
        rows["inbox"] = len(deliveries)
        erased = erasure.find(connection, key)
        assert erased is not None
    shown = Counter({table: count for table, count in rows.items() if count})
    forms = traces.forms_of({*known.names, key}, known.values)
    return Erased(person, erased.erased_at, before is not None, erased.asked, shown, forms)


def _asked(context: Context, known: Known) -> dict[str, str]:
    """What becomes of the person at each account that knows them, or that is told of every "no"."""
    return {
        lane.name: "remove" if lane.capabilities.facts.unsubscribe_removes else "unsubscribe"
        for lane in context.lanes.values()
        if ChangeKind.UNSUBSCRIBE in lane.capabilities.accepts
        and (lane.name in known.accounts or lane.capabilities.facts.blind_unsubscribe)
    }


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a person. `waiting`: what providers were asked and did not confirm yet, so that the address stays
    in transit. `unwiped`: why free pages could not be written anew.
    """

    traces: list[Trace]
    waiting: int
    unwiped: str = ""

    @property
    def clean(self) -> bool:
        return not self.traces


def wipe_and_look(context: Context, erased: Erased) -> Left:
    """Write the mirror's pages anew and look for what is left."""
    unwiped = traces.wipe(context.engine)
    return _left(context, erased.person, erased.forms, unwiped)


def look(context: Context, identity: Identity, spelt: str) -> Left:
    """Look for an address in every form. Changes nothing."""
    key = suppression_key(identity)
    with reading(context.engine) as connection:
        found = erasure.find(connection, key)
    forms = traces.forms_of({identity, key, spelt})
    return _left(context, found.person if found is not None else key, forms)


def _left(context: Context, person: SuppressionKey, forms: Forms, unwiped: str = "") -> Left:
    with reading(context.engine) as connection:
        waiting = inspect.open_operations(connection, person)
    return Left(traces.left_of(context.engine, forms), waiting, unwiped)
