"""What was seen: cells, pages, containers. Only observations come in here, never intentions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.erasure import is_pseudonym
from syncd.domain.facts import Grade
from syncd.domain.identity import Identity, SuppressionKey, suppression_key
from syncd.domain.records import (
    NAMELESS,
    PRESENT,
    SUPPRESSED,
    UNREAD_FIELD,
    ContainerId,
    Observation,
    Status,
    keyless,
    later,
)
from syncd.reconcile.learn import OWN_ANSWER
from syncd.store import renames
from syncd.store.bulk import chunks, insert_rows, native_time, one_of
from syncd.store.records import of_address
from syncd.store.tables import CellRow, ContainerRow, CounterSampleRow, PageRow

cell = CellRow.__table__  # type: ignore[attr-defined]
container = ContainerRow.__table__  # type: ignore[attr-defined]
page = PageRow.__table__  # type: ignore[attr-defined]
counter_sample = CounterSampleRow.__table__  # type: ignore[attr-defined]

IN_MAX = 1000
"""Keys in one `IN`: SQLite takes 32,766 parameters, Postgres plans badly long before that."""

_encode = msgspec.json.Encoder().encode
_VERIFIED = str(Grade.VERIFIED)
_COLUMNS = tuple(column.name for column in cell.columns)


class Reading(NamedTuple):
    """An observation and the digest of the record it was read from."""

    observation: Observation
    digest: bytes


class Known(NamedTuple):
    """What the mirror holds of a record, as far as a new reading of it needs."""

    digest: bytes
    identity: str | None
    status: str
    status_seq: int
    status_at: datetime
    said_no_seq: int
    seq: int
    missing_seq: int
    unsubscribed_at: str | None
    confirmed_at: str | None
    confirmed_seq: int
    route: str
    address: str


@dataclass(slots=True)
class Observed:
    """What a batch of readings changed.

    `newcomers` were not known in this container and stand subscribed; `people` are all others of whom something
    changed. `nameless`: the keys of known records that do not show any more whose they are.
    """

    new: int = 0
    changed: int = 0
    people: set[SuppressionKey] = field(default_factory=set)
    newcomers: set[SuppressionKey] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)


def holds_any(connection: Connection, account: str, container: ContainerId) -> bool:
    """Whether anything is known of this container."""
    return connection.scalar(_ANY_IN, {"of_account": account, "of_container": container}) is not None


_HERE = (cell.c.account == sa.bindparam("of_account"), cell.c.container == sa.bindparam("of_container"))
_ANY_IN = sa.select(cell.c.key).where(*_HERE).limit(1)


def known_cells(connection: Connection, account: str, container: ContainerId, keys: Sequence[str]) -> dict[str, Known]:
    """What is known of these records."""
    rows = _select(connection, account, container, keys, Known._fields)
    return {row[0]: Known(*row[1:]) for row in rows}


def fields_of(
    connection: Connection, account: str, container: ContainerId, keys: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The fields of these records as they were last seen."""
    rows = _select(connection, account, container, keys, ("fields",))
    return {row.key: msgspec.json.decode(row.fields) for row in rows}


def known_digests(
    connection: Connection, account: str, container: ContainerId, keys: Sequence[str]
) -> dict[str, tuple[bytes, int]]:
    """Digest and `missing_seq` of these records: enough to tell which are as they were."""
    rows = _select(connection, account, container, keys, ("digest", "missing_seq"))
    return {row.key: (row.digest, row.missing_seq) for row in rows}


def _select(
    connection: Connection, account: str, container: ContainerId, keys: Sequence[str], names: tuple[str, ...]
) -> Sequence[Any]:
    if not keys:
        return []
    place = {"of_account": account, "of_container": container, "keys": keys}
    return connection.execute(_selection(names), place).all()


@lru_cache(maxsize=8)
def _selection(names: tuple[str, ...]) -> sa.Select[Any]:
    return sa.select(cell.c.key, *(cell.c[name] for name in names)).where(
        cell.c.account == sa.bindparam("of_account"),
        cell.c.container == sa.bindparam("of_container"),
        one_of(cell.c.key, "keys"),
    )


def observe(
    connection: Connection,
    account: str,
    readings: Sequence[Reading],
    known: Mapping[str, Known],
    *,
    seq: int,
    at: datetime,
    route: str,
) -> Observed:
    """Write readings of one container down. `seq` is when the request that showed them began.

    A reading older than what is known is dropped: a page may be read before and worked on after a newer look at the
    same record.
    """
    outcome = Observed()
    fresh: dict[str, tuple[Any, ...]] = {}
    moved: dict[str, dict[str, Any]] = {}
    samples: list[dict[str, Any]] = []
    left: list[tuple[str, Identity, Identity | None]] = []
    now = native_time(connection, at)
    for reading in readings:
        observation = reading.observation
        person_key = None if observation.identity is None else suppression_key(observation.identity)
        before = known.get(observation.key)
        if before is not None and before.seq > seq and not _beside_our_words(before, observation):
            continue
        if before is None:
            if observation.key not in fresh:
                outcome.new += 1
            fresh[observation.key] = _new_row(account, reading, person_key, seq, now, route)
        else:
            outcome.changed += 1
            moved[observation.key] = _changed_row(reading, before, person_key, seq, at, route)
            if before.identity is not None and before.identity != observation.identity:
                outcome.people.add(suppression_key(Identity(before.identity)))
                left.append((observation.key, Identity(before.identity), observation.identity))
        if person_key is not None:
            plain = before is None and observation.status is Status.SUBSCRIBED
            (outcome.newcomers if plain else outcome.people).add(person_key)
        if observation.counters is not None:
            samples.append(_sample(account, observation, at))
    insert_rows(connection, cell, _COLUMNS, list(fresh.values()))
    if moved:
        _update(connection, account, readings[0].observation.container, moved)
    for key, identity, now_called in left:
        place = readings[0].observation.container
        _leave_behind(connection, account, place, key, identity, seq=seq, at=at)
        if now_called is not None and not is_pseudonym(identity) and not is_pseudonym(now_called):
            renames.note_moved(connection, account, place, identity, now_called, seq=seq, at=at)
    if samples:
        _append_counters(connection, samples)
    return outcome


def _new_row(
    account: str, reading: Reading, person_key: str | None, seq: int, now: datetime | str, route: str
) -> tuple[Any, ...]:
    seen = reading.observation
    fields = _fields_text(seen.fields) if seen.fields else "{}"
    return (  # in the order of the table's columns
        account, seen.container, seen.key, person_key, seen.identity, _kept(seen.address), seen.remote_id,
        str.__str__(seen.status), fields, None, seen.raw.decode("utf-8", "replace"), reading.digest,
        seq, now, seq, now, seq if seen.status in SUPPRESSED else 0, 0, 0, seen.unsubscribed_at,
        seen.confirmed_at, seq if seen.confirmed_at else 0, route, _VERIFIED, None,
        None,
    )  # fmt: skip


def _beside_our_words(before: Known, seen: Observation) -> bool:
    """Whether the row only holds what a provider accepted from us: a "no" of the person's own is news beside it."""
    return before.route == OWN_ANSWER and seen.status in SUPPRESSED


def _kept(text: str) -> str:
    """Postgres keeps no NUL in a text; a provider's record may hold one all the same."""
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _fields_text(fields: Mapping[str, str]) -> str:
    text = _encode(fields)
    if b"\\u0000" in text:  # a NUL, or a backslash and u0000 as somebody typed them
        text = _encode({name: _kept(value) for name, value in fields.items()})
    return text.decode()


def _changed_row(
    reading: Reading, before: Known, person_key: str | None, seq: int, at: datetime, route: str
) -> dict[str, Any]:
    seen = reading.observation
    # The provider's own time of the unsubscribe moved: a new "no", even if the word stayed, or became, another.
    said_again = before.status in PRESENT and _moved(before.unsubscribed_at, seen.unsubscribed_at)
    turned = seen.status != before.status or said_again
    said_no_seq = before.said_no_seq
    if seen.status in SUPPRESSED or said_again:
        said_no_seq = seq
    elif before.status in SUPPRESSED:
        said_no_seq = max(said_no_seq, before.seq)  # the last reading that still showed it so
    confirmed = _moved(before.confirmed_at, seen.confirmed_at)
    return {
        "person_key": person_key,
        "identity": seen.identity,
        "address": _kept(seen.address),
        "remote_id": seen.remote_id,
        "status": seen.status.value,
        "fields": _fields_text(seen.fields),
        "raw": seen.raw.decode("utf-8", "replace"),
        "digest": reading.digest,
        "seq": seq,
        "observed_at": at,
        "status_seq": seq if turned else before.status_seq,
        "status_at": at if turned else before.status_at,
        "said_no_seq": said_no_seq,
        "missing_seq": 0,
        "missing_count": 0,
        "unsubscribed_at": seen.unsubscribed_at if said_again else before.unsubscribed_at or seen.unsubscribed_at,
        "confirmed_at": seen.confirmed_at if confirmed else before.confirmed_at,
        "confirmed_seq": seq if confirmed else before.confirmed_seq,
        "route": route,
        "grade": Grade.VERIFIED.value,
    }


def _moved(before: str | None, now: str | None) -> bool:
    """Whether a provider's own time is another than before, and not an earlier one that a lagging replica shows."""
    return now is not None and now != before and not later(before, now)


def _leave_behind(
    connection: Connection, account: str, container: str, key: str, identity: Identity, *, seq: int, at: datetime
) -> None:
    """A record goes by another address now: the former one was here and is gone, and nothing brings it back."""
    kept = f"{key} as {identity}"
    if known_cells(connection, account, ContainerId(container), [kept]):
        return
    now = native_time(connection, at)
    row = (
        account, container, kept, suppression_key(identity), identity, identity, key, Status.REMOVED.value, "{}", None,
        "", b"", seq, now, seq, now, 0, 0, 0, None, None, 0, "listing", _VERIFIED, None,
        None,
    )  # fmt: skip
    insert_rows(connection, cell, _COLUMNS, [row])


def _update(connection: Connection, account: str, container: str, rows: Mapping[str, dict[str, Any]]) -> None:
    place = {"of_account": account, "of_container": container}
    connection.execute(_UPDATE, [{**place, "of_key": key, **row} for key, row in rows.items()])


_UPDATE = cell.update().where(*_HERE, cell.c.key == sa.bindparam("of_key"))


def touch(connection: Connection, account: str, container: str, keys: Sequence[str], seq: int, at: datetime) -> None:
    """These records were read one by one and are as they were: only the moment of the reading moves."""
    for part in chunks(keys, IN_MAX):
        place = {"of_account": account, "of_container": container, "keys": part, "until": seq}
        connection.execute(_TOUCH, {**place, "seq": seq, "observed_at": at})


_TOUCH = (
    cell.update()
    .where(*_HERE, one_of(cell.c.key, "keys"), cell.c.seq <= sa.bindparam("until"))
    .values(missing_seq=0, missing_count=0, grade=_VERIFIED)
)


def record_absence(
    connection: Connection, account: str, container: str, identity: Identity, address: str, *, seq: int, at: datetime
) -> SuppressionKey:
    """A look-up found nobody: what was known there is removed; somebody who never was there is noted as absent."""
    place = of_address(account, container, identity)
    key = suppression_key(identity)
    result = connection.execute(
        cell.update()
        .where(*place, cell.c.status.not_in([Status.REMOVED.value, Status.ABSENT.value]), cell.c.seq <= seq)
        .values(_asked_and_gone(seq, at))
    )
    if result.rowcount:
        return key
    known = connection.execute(
        cell.update().where(*place, cell.c.seq <= seq).values(seq=seq, observed_at=at, missing_seq=0, missing_count=0)
    )
    if not known.rowcount and connection.scalar(sa.select(sa.func.count()).where(*place)) == 0:
        absent = {"address": address, "status": Status.ABSENT.value, "route": "lookup", "grade": Grade.VERIFIED.value}
        connection.execute(cell.insert().values(_unread(account, container, identity, seq, at) | absent))
    return key


def any_missing(connection: Connection, account: str, container: str) -> bool:
    """Whether somebody was not in the listing before this one."""
    query = sa.select(cell.c.key).where(
        cell.c.account == account,
        cell.c.container == container,
        cell.c.missing_count > 0,
        cell.c.status.not_in([Status.REMOVED.value, Status.ABSENT.value]),
    )
    return connection.scalar(query.limit(1)) is not None


def mark_missing(
    connection: Connection, account: str, container: str, gone: Iterable[str], *, seq: int
) -> list[SuppressionKey]:
    """After a whole listing that began at `seq`: the records in `gone` were listed before and are not any more; those
    that were missing already are
    missing once more. Returns the people concerned.
    """
    place = (cell.c.account == account, cell.c.container == container)
    still = sa.and_(cell.c.missing_count > 0, cell.c.missing_seq < seq)
    present = cell.c.status.not_in([Status.REMOVED.value, Status.ABSENT.value])
    again = {"missing_seq": seq, "missing_count": cell.c.missing_count + 1}
    connection.execute(cell.update().where(*place, present, still).values(again))
    for part in chunks(sorted(gone), IN_MAX):
        connection.execute(
            cell.update()
            .where(*place, present, cell.c.key.in_(part), cell.c.missing_count == 0, cell.c.seq <= seq)
            .values(missing_seq=seq, missing_count=1)
        )
    query = sa.select(cell.c.person_key).where(
        *place, present, cell.c.missing_count > 0, cell.c.missing_seq == seq, cell.c.person_key.is_not(None)
    )
    return [SuppressionKey(key) for key in connection.scalars(query)]


def forget_digests(connection: Connection, account: str) -> None:
    """Every record of this account is read anew when it is next listed, whether it has changed or not."""
    connection.execute(cell.update().where(cell.c.account == account).values(digest=b""))
    connection.execute(page.update().where(page.c.account == account).values(digest=b""))
    connection.execute(container.update().where(container.c.account == account).values(watermark=None))


def reappeared(connection: Connection, account: str, container: str, keys: Sequence[str]) -> None:
    """These records are listed again, unchanged: they are not missing any more."""
    for part in chunks(keys, IN_MAX):
        connection.execute(
            cell.update()
            .where(
                cell.c.account == account, cell.c.container == container, cell.c.key.in_(part), cell.c.missing_count > 0
            )
            .values(missing_seq=0, missing_count=0)
        )


def hide_fields(
    connection: Connection, account: str, container: ContainerId, keys: Sequence[str], *, seq: int
) -> list[str]:
    """These known records were shown by a request that began at `seq`, without an address that can be read.

    They are not missing, and stand as they did. Whose they are by now is not certain, so their fields count as unread
    until it is. Returns the keys of those of which that is news.
    """
    place = (cell.c.account == account, cell.c.container == container)
    for part in chunks(keys, IN_MAX):
        listed = (cell.c.key.in_(part), cell.c.missing_count > 0, cell.c.missing_seq < seq)
        connection.execute(cell.update().where(*place, *listed).values(missing_seq=0, missing_count=0))
    news = []
    for key, fields in fields_of(connection, account, container, keys).items():
        hidden = {f"{UNREAD_FIELD}{NAMELESS}": ""} | {
            name if name.startswith(UNREAD_FIELD) else f"{UNREAD_FIELD}{name}": text for name, text in fields.items()
        }
        if hidden != fields:
            # Without a digest: read anew as soon as it changes, also back into what it was.
            values = {"fields": _fields_text(hidden), "digest": b""}
            connection.execute(cell.update().where(*place, cell.c.key == key).values(values))
            news.append(key)
    return news


def remove(connection: Connection, account: str, container: str, identity: Identity, *, seq: int, at: datetime) -> int:
    """Records whose absence is established:

    two whole listings without them where nobody can be asked, or taken away by us and gone. Returns how many.
    """
    return connection.execute(
        cell.update()
        .where(*of_address(account, container, identity), cell.c.missing_count > 0)
        .values(
            status=Status.REMOVED.value,
            status_seq=cell.c.missing_seq,
            status_at=at,
            seq=seq,
            digest=b"",
            missing_seq=0,
            missing_count=0,
            grade=Grade.VERIFIED.value,
        )
    ).rowcount


def _asked_and_gone(seq: int, at: datetime) -> dict[str, Any]:
    """What becomes of a record that was asked for by itself and is not there any more."""
    return {
        "status": Status.REMOVED.value,
        "status_seq": seq,
        "status_at": at,
        "seq": seq,
        "observed_at": at,
        "digest": b"",
        "missing_seq": 0,
        "missing_count": 0,
        "route": "lookup",
        "grade": Grade.VERIFIED.value,
    }


def remove_records(
    connection: Connection, account: str, container: str, keys: Sequence[str], *, seq: int, at: datetime
) -> None:
    """These records were asked for one by one and are not there any more."""
    for part in chunks(keys, IN_MAX):
        connection.execute(
            cell.update()
            .where(cell.c.account == account, cell.c.container == container, cell.c.key.in_(part), cell.c.seq <= seq)
            .values(_asked_and_gone(seq, at))
        )


def forget_unread(connection: Connection, account: str, container: str, prefix: str, besides: Sequence[str]) -> None:
    """What stood for records that could not be read is gone, but for `besides`: by now they can be, or are others."""
    here = (cell.c.account == account, cell.c.container == container, cell.c.identity.is_(None))
    connection.execute(cell.delete().where(*here, cell.c.key.startswith(prefix), cell.c.key.not_in(besides)))


def forget_keyless(connection: Connection, account: str, container: str, listed: Sequence[str]) -> set[str]:
    """Records without an id of their own that are not `listed` any more are gone, where the same address stands under
    its id, or under another record that is listed, or where there is no address: nobody is missed with them.

    Returns their keys. Whoever stands nowhere else is left: they may be missing.
    """
    here = (cell.c.account == account, cell.c.container == container)
    rows = connection.execute(
        sa.select(cell.c.key, cell.c.identity).where(
            *here, sa.or_(cell.c.key.startswith("~"), cell.c.key.startswith("?"))
        )
    )
    old = {key: identity for key, identity in rows if keyless(key) and key not in listed}
    others: set[str] = set()
    for part in chunks(sorted({name for name in old.values() if name is not None}), IN_MAX):
        found = connection.execute(sa.select(cell.c.key, cell.c.identity).where(*here, cell.c.identity.in_(part)))
        others |= {identity for key, identity in found if key not in old}
    done = {key for key, identity in old.items() if identity is None or identity in others}
    for part in chunks(sorted(done), IN_MAX):
        connection.execute(cell.delete().where(*here, cell.c.key.in_(part)))
    return done


def any_nameless(connection: Connection, account: str, container: str, keys: Sequence[str]) -> bool:
    """Whether one of these records shows no address that can be read."""
    here = (cell.c.account == account, cell.c.container == container, cell.c.identity.is_(None))
    return any(
        connection.scalar(sa.select(cell.c.key).where(*here, cell.c.key.in_(part)).limit(1)) is not None
        for part in chunks(keys, IN_MAX)
    )


def note_said_no(connection: Connection, account: str, container: str, identity: Identity) -> None:
    """The latest reading shows our unsubscribe: from here on, "subscribed" there is a claim and not merely old."""
    connection.execute(
        cell.update()
        .where(*of_address(account, container, identity), cell.c.said_no_seq < cell.c.seq)
        .values(said_no_seq=cell.c.seq)
    )


def write_told(
    connection: Connection,
    account: str,
    container: str,
    identity: Identity,
    status: Status = Status.UNSUBSCRIBED,
    *,
    seq: int,
    at: datetime,
    receipt: str | None,
    sent_at: datetime | None = None,
) -> None:
    """A provider that cannot be read accepted what we sent: that is all that will ever be known, and its grade says so.

    `UNKNOWN` stands for what was sent and never answered: they may be there. Since when they are, or may be, is said by
    `sent_at`: the answer may come when what they were sent for does not bring anybody there any more.
    """
    place = of_address(account, container, identity)
    grade = Grade.UNKNOWN if status is Status.UNKNOWN else Grade.ACCEPTED
    values = {
        "status": status.value, "status_seq": seq, "status_at": sent_at or at, "seq": seq, "observed_at": at,
        "grade": grade.value, "receipt": receipt, "route": OWN_ANSWER,
    }  # fmt: skip
    if status in SUPPRESSED:
        values["said_no_seq"] = seq
    moved: dict[str, Any] = dict(values)
    if sent_at is not None:  # who may have been there since a try before this one came by that
        lost = sa.and_(cell.c.status == Status.UNKNOWN.value, cell.c.grade == Grade.UNKNOWN.value)
        moved["status_at"] = sa.case((lost, cell.c.status_at), else_=sent_at)
    if connection.execute(cell.update().where(*place).values(moved)).rowcount:
        return
    connection.execute(cell.insert().values(_unread(account, container, identity, seq, at) | values))


def forget_lost(connection: Connection, account: str, container: str, identity: Identity) -> None:
    """A person has looked: what was sent there and never answered did not arrive."""
    place = of_address(account, container, identity)
    lost = (cell.c.status == Status.UNKNOWN.value, cell.c.grade == Grade.UNKNOWN.value, cell.c.route == OWN_ANSWER)
    connection.execute(cell.delete().where(*place, *lost))


def _unread(account: str, container: str, identity: Identity, seq: int, at: datetime) -> dict[str, Any]:
    """The row of somebody of whom no record was ever read here."""
    return {
        "account": account,
        "container": container,
        "key": identity,
        "person_key": suppression_key(identity),
        "identity": identity,
        "address": identity,
        "fields": "{}",
        "raw": "",
        "digest": b"",
        "seq": seq,
        "observed_at": at,
        "status_seq": seq,
        "status_at": at,
        "said_no_seq": 0,
        "missing_seq": 0,
        "missing_count": 0,
        "confirmed_seq": 0,
    }


def _sample(account: str, seen: Observation, at: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "container": seen.container,
        "key": seen.key,
        "observed_at": at,
        "counters": dict(seen.counters or {}),
    }


def _append_counters(connection: Connection, samples: Sequence[dict[str, Any]]) -> None:
    """Append only what differs from the latest sample of the same contact."""
    latest = (
        sa.select(sa.func.max(counter_sample.c.id))
        .where(
            counter_sample.c.account == sa.bindparam("a"),
            counter_sample.c.container == sa.bindparam("c"),
            counter_sample.c.key == sa.bindparam("k"),
        )
        .scalar_subquery()
    )
    query = sa.select(counter_sample.c.counters).where(counter_sample.c.id == latest)
    for sample in samples:
        known = connection.scalar(query, {"a": sample["account"], "c": sample["container"], "k": sample["key"]})
        if known != sample["counters"]:
            connection.execute(counter_sample.insert().values(sample))
