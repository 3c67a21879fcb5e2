"""Write down what was seen, and lose no "no" by it: one that a newer reading covers is taken note of first.

A "no" is read off the cells when people are planned. Between a reading that shows one and that moment another may come
in for the same record (two deliveries at once; a late notice behind a page): the cell then says "subscribed", and
nothing but this would remember that anybody had said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import SUPPRESSED
from syncd.reconcile.learn import learn
from syncd.store import mirror, people
from syncd.store.mirror import Known, Observed, Reading
from syncd.store.session import Connection
from syncd.sync.context import Context, Lane


def observe(
    connection: Connection,
    context: Context,
    lane: Lane,
    readings: Sequence[Reading],
    known: Mapping[str, Known],
    *,
    seq: int,
    route: str,
    in_part: bool = False,
) -> Observed:
    """As `mirror.observe`, now, with the values of fields in their one form.

    What only a look-up shows stays as the last one showed it, and so it does where one was made `in_part`.
    """
    readings = [
        reading._replace(observation=reading.observation._replace(fields=lane.rules.read(reading.observation.fields)))
        if reading.observation.fields
        else reading
        for reading in readings
    ]
    if in_part or route != "lookup":
        readings = _with_looked_up(connection, lane, readings, known)
    _take_note(connection, context, _covered(readings, known))
    return mirror.observe(connection, lane.name, readings, known, seq=seq, at=context.now(), route=route)


def _with_looked_up(
    connection: Connection, lane: Lane, readings: Sequence[Reading], known: Mapping[str, Known]
) -> Sequence[Reading]:
    names = lane.capabilities.facts.looked_up
    if not names or not known:
        return readings
    shown = (
        mirror.fields_of(connection, lane.name, readings[0].observation.container, sorted(known)) if readings else {}
    )
    carried = {key: {name: value for name, value in fields.items() if name in names} for key, fields in shown.items()}
    return [
        reading._replace(
            observation=reading.observation._replace(fields={**carried[key], **reading.observation.fields})
        )
        if carried.get(key := reading.observation.key)
        else reading
        for reading in readings
    ]


def _covered(readings: Sequence[Reading], known: Mapping[str, Known]) -> dict[SuppressionKey, int]:
    """Whose "no" would not be in its cell any more, and the number under which it was seen."""
    found: dict[SuppressionKey, int] = {}
    for reading in readings:
        before = known.get(reading.observation.key)
        if before is None or before.identity is None or before.status not in SUPPRESSED:
            continue
        if reading.observation.status not in SUPPRESSED:
            key = suppression_key(Identity(before.identity))
            found[key] = max(before.status_seq, found.get(key, 0))
    return found


def _take_note(connection: Connection, context: Context, covered: Mapping[SuppressionKey, int]) -> None:
    if not covered:
        return
    topology = context.topology(connection)
    for person in people.load_people(connection, sorted(covered)):
        events = learn(person.at_accounts(topology.accounts), topology, context.now(), covered[person.key])
        people.record_consent(connection, events)
