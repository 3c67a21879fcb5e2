"""Write down what was seen, and lose no "no" by it: one that a newer reading covers is taken note of first.

A "no" is read off the cells when people are planned. Between a reading that shows one and that moment another may come
in for the same record (two deliveries at once; a late notice behind a page): the cell then says "subscribed", and
nothing but this would remember that anybody had said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import SUPPRESSED
from syncd.providers.fields import unread
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

    A record that names nobody any more is still that of whom it named, and not missing. What only a look-up shows stays
    as the last one showed it, and so it does where one was made `in_part`.
    """
    named, nameless = _named(readings, known, seq)
    readings = [_in_one_form(reading, lane) for reading in named]
    if in_part or route != "lookup":
        readings = _with_looked_up(connection, lane, readings, known)
    _take_note(connection, context, _covered(readings, known))
    seen = mirror.observe(connection, lane.name, readings, known, seq=seq, at=context.now(), route=route)
    if nameless:
        container = nameless[0].observation.container
        keys = [reading.observation.key for reading in nameless]
        news = mirror.hide_fields(connection, lane.name, container, keys, seq=seq)
        if news:  # said when it begins, and not by each listing until it is over
            context.log.warning("record.nameless", account=lane.name, container=container, records=len(news))
        seen.people |= {suppression_key(Identity(str(known[key].identity))) for key in news}
        seen.nameless |= set(keys)
    return seen


def _in_one_form(reading: Reading, lane: Lane) -> Reading:
    seen = reading.observation
    if not seen.fields or (fields := lane.rules.read(seen.fields)) == seen.fields:
        return reading
    return reading._replace(observation=seen._replace(fields=fields))


def _with_looked_up(
    connection: Connection, lane: Lane, readings: list[Reading], known: Mapping[str, Known]
) -> list[Reading]:
    names = lane.capabilities.facts.looked_up
    if not names or not known:
        return readings
    shown = (
        mirror.fields_of(connection, lane.name, readings[0].observation.container, sorted(known)) if readings else {}
    )
    kept = names | {unread(name) for name in names}
    carried = {key: {name: value for name, value in fields.items() if name in kept} for key, fields in shown.items()}
    return [
        reading._replace(
            observation=reading.observation._replace(fields={**carried[key], **reading.observation.fields})
        )
        if carried.get(key := reading.observation.key)
        else reading
        for reading in readings
    ]


def _named(readings: Sequence[Reading], known: Mapping[str, Known], seq: int) -> tuple[list[Reading], list[Reading]]:
    """Readings that say whom they are about, and those of known records that do not say it any more.

    A member that is missing or spoilt in one answer deletes nothing: the record stays as it was. If it is missing and
    the record says no, that is the "no" of whom it named before. Where an address stands that cannot be read, the
    record may be another's by now: nobody said anything.
    """
    named, nameless = [], []
    for reading in readings:
        seen, before = reading.observation, known.get(reading.observation.key)
        if seen.identity is not None or before is None or before.identity is None:
            named.append(reading)
        elif seen.status in SUPPRESSED and not seen.address.strip():
            theirs = seen._replace(identity=Identity(before.identity), address=before.address)
            named.append(reading._replace(observation=theirs))
        elif before.seq <= seq:
            nameless.append(reading)
    return named, nameless


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
