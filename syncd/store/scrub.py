"""Take somebody out of every table.

What must stay, so that nothing is sent twice or forgotten, stands under a pseudonym.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from syncd.domain.consent import GLOBAL, ConsentEvent, ConsentState, Level
from syncd.domain.erasure import digests_of, pseudonym_of
from syncd.domain.identity import Identity, SuppressionKey, identity_of, suppression_key
from syncd.domain.records import PRESENT, Delivery, Status
from syncd.reconcile.desired import LookUp
from syncd.reconcile.person import OpState
from syncd.store import erasure, inbox, lookups, people, plans
from syncd.store.erasure import Veil, veiled_key
from syncd.store.tables import (
    AgendaRow,
    CautionRow,
    CellRow,
    ClaimRow,
    ConsentEventRow,
    ConsentRow,
    CounterSampleRow,
    ExemptionRow,
    HygieneRow,
    InboxRow,
    LeadTestRow,
    LookUpRow,
    OpRow,
    PersonRow,
    PlanItemRow,
    PlanMoveRow,
    PropagationRow,
    RenameRow,
)

agenda = AgendaRow.__table__  # type: ignore[attr-defined]
caution = CautionRow.__table__  # type: ignore[attr-defined]
cell = CellRow.__table__  # type: ignore[attr-defined]
claim = ClaimRow.__table__  # type: ignore[attr-defined]
consent = ConsentRow.__table__  # type: ignore[attr-defined]
consent_event = ConsentEventRow.__table__  # type: ignore[attr-defined]
counter_sample = CounterSampleRow.__table__  # type: ignore[attr-defined]
exemption = ExemptionRow.__table__  # type: ignore[attr-defined]
hygiene = HygieneRow.__table__  # type: ignore[attr-defined]
inbox_table = InboxRow.__table__  # type: ignore[attr-defined]
item = PlanItemRow.__table__  # type: ignore[attr-defined]
lead_test = LeadTestRow.__table__  # type: ignore[attr-defined]
lookup = LookUpRow.__table__  # type: ignore[attr-defined]
move = PlanMoveRow.__table__  # type: ignore[attr-defined]
op = OpRow.__table__  # type: ignore[attr-defined]
person = PersonRow.__table__  # type: ignore[attr-defined]
propagation = PropagationRow.__table__  # type: ignore[attr-defined]
rename = RenameRow.__table__  # type: ignore[attr-defined]

_fields = msgspec.json.Decoder(dict[str, str]).decode

_ADDRESS = re.compile(r"[^\s\"'<>()\[\]{},;:=&\\]+@[^\s\"'<>()\[\]{},;:=&\\]+")

REASON = "names somebody who was erased; nothing of it is kept"


@dataclass(slots=True)
class Known:
    """What is known of a person before they are erased; held in memory only.

    `spelt`: the address as each account spells it. `values`: all that stands in their fields, by name.
    """

    identities: set[Identity] = field(default_factory=set)
    spelt: dict[tuple[str, Identity], str] = field(default_factory=dict)
    values: list[Mapping[str, str]] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """Every way in which the address is written."""
        return {*self.identities, *self.spelt.values(), *self.digests}

    @property
    def digests(self) -> set[str]:
        """What a provider calls somebody whose address it does not give away."""
        return {digest for identity in self.identities for digest in digests_of(identity)}


def known_of(connection: Connection, key: SuppressionKey) -> Known:
    """What the mirror knows of everybody under one suppression key."""
    known = Known()
    for row in connection.execute(sa.select(cell).where(cell.c.person_key == key)):
        identity = Identity(row.identity)
        known.identities.add(identity)
        known.values.append(_fields(row.fields))
        if row.address:
            known.spelt[row.account, identity] = row.address
        if row.status not in {Status.ABSENT.value, Status.REMOVED.value}:
            known.accounts.add(row.account)
    for table in (person, op, item):
        for row in connection.execute(sa.select(table.c.identity, table.c.fields).where(table.c.person_key == key)):
            known.identities.add(Identity(row.identity))
            known.values.append(row.fields)
    for table in (consent_event, claim, hygiene):
        query = sa.select(table.c.identity).where(table.c.person_key == key).distinct()
        known.identities.update(Identity(identity) for identity in connection.scalars(query))
    known.identities.update(one for one in _unkeyed(connection) if suppression_key(one) == key)
    return known


def _unkeyed(connection: Connection) -> Iterator[Identity]:
    """Whom those tables name that know people by their addresses alone."""
    for table in (lookup, move):
        yield from (Identity(identity) for identity in connection.scalars(sa.select(table.c.identity).distinct()))


def scrub(veil: Veil, key: SuppressionKey, known: Known, *, seq: int, at: datetime, source: str) -> Counter[str]:
    """Take everybody under one suppression key out of the tables. Returns how many rows of each that concerned.

    They must have been noted as erased already. Whoever calls puts their addresses in transit and them on the agenda.
    """
    connection = veil.connection
    names = {identity: pseudonym_of(veil.key, identity) for identity in known.identities}
    done: Counter[str] = Counter()
    done["cell"] = _cells(connection, key, names, known, done)
    done["plan_item"] = _count(connection, item, key)
    plans.replace_items(connection, [key], [], [], at, at)
    done["op"] = _operations(connection, key, names, known, at)
    done["propagation"] = _ledger(connection, key, names)
    _hand_on(connection, key, seq, at, source)
    spellings = sorted(known.identities)
    done["rename"] += _bridge(connection, key, spellings)
    for table in (person, claim, agenda, caution, exemption, rename, hygiene):
        done[table.name] += connection.execute(table.delete().where(table.c.person_key == key)).rowcount
    done["lookup"] = _look_ups(connection, names, known, at)
    done["rename"] += connection.execute(rename.delete().where(rename.c.successor.in_(spellings))).rowcount
    done["plan_move"] = connection.execute(move.delete().where(move.c.identity.in_(spellings))).rowcount
    done["lead_test"] = _tests(connection, key, known)
    with people.erasing(connection):
        done["consent_event"] = _consent(connection, key, names)
    done["cell"] += _nameless(connection, spellings)
    _say_erased(connection, suppression_key(names[min(names)]), names[min(names)], seq, at, source)
    return done


def _bridge(connection: Connection, key: SuppressionKey, spellings: Sequence[Identity]) -> int:
    """Addresses whose place theirs took gave way to the one that took theirs: what is said there goes on to count.

    Returns how many rows that concerned.
    """
    over = (rename.c.retired_at.is_not(None), rename.c.successor.is_not(None))
    nexts = connection.scalars(sa.select(rename.c.successor).where(rename.c.person_key == key, *over).distinct())
    (successor, *others) = [one for one in nexts if one not in spellings] or [None]
    if successor is None or others:
        return 0
    before = (rename.c.successor.in_(spellings), rename.c.identity != successor, rename.c.person_key != key)
    return connection.execute(rename.update().where(*before, *over).values(successor=successor)).rowcount


def _hand_on(connection: Connection, key: SuppressionKey, seq: int, at: datetime, source: str) -> None:
    """What they said no to kept the address out that took the place of theirs: it does so from here on by itself."""
    said = people.load_consent(connection, key)
    query = sa.select(rename.c.successor).where(rename.c.person_key == key, rename.c.successor.is_not(None))
    for successor in sorted(connection.scalars(query.distinct())):
        theirs = suppression_key(Identity(successor))
        if theirs == key:
            continue
        later, known = people.said_later(connection, key, theirs), people.load_consent(connection, theirs)
        events = [
            ConsentEvent(
                key=theirs, identity=Identity(successor), scope=scope,
                epoch=known.get(scope, ConsentState()).epoch, level=state.level, at=at, seq=seq,
                source=source, route="rename", evidence="said under an address that was erased",
            )
            for scope, state in sorted(said.items())
            if state.level.suppresses and scope in later
        ]  # fmt: skip
        if people.record_consent(connection, events):
            people.put_on_agenda(connection, [theirs], at)


def _count(connection: Connection, table: Any, key: SuppressionKey) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.person_key == key)) or 0


def _cells(
    connection: Connection, key: SuppressionKey, names: Mapping[Identity, Identity], known: Known, done: Counter[str]
) -> int:
    """Records that are there stay, so that they can be unsubscribed and read back; all others go."""
    rows = connection.execute(sa.select(cell).where(cell.c.person_key == key)).all()
    for row in rows:
        place = (cell.c.account == row.account, cell.c.container == row.container, cell.c.key == row.key)
        pseudonym = names[Identity(row.identity)]
        counters = counter_sample.delete().where(
            counter_sample.c.account == row.account,
            counter_sample.c.container == row.container,
            counter_sample.c.key == row.key,
        )
        done["counter_sample"] += connection.execute(counters).rowcount
        if row.status not in PRESENT or row.key.lower() in known.digests:
            connection.execute(cell.delete().where(*place))
            continue
        connection.execute(
            cell.update()
            .where(*place)
            .values(
                key=veiled_key(row.key, known.names, pseudonym),
                person_key=suppression_key(pseudonym),
                identity=pseudonym,
                address=pseudonym,
                remote_id=None if row.remote_id is None else veiled_key(row.remote_id, known.names, pseudonym),
                fields="{}",
                base=None,
                raw="",
                digest=b"",
            )
        )
    return len(rows)


def _operations(
    connection: Connection, key: SuppressionKey, names: Mapping[Identity, Identity], known: Known, at: datetime
) -> int:
    """Their history stays as numbers. What was not sent yet does not go out; what is under way is still settled."""
    rows = connection.execute(sa.select(op).where(op.c.person_key == key)).all()
    for row in rows:
        pseudonym = names[Identity(row.identity)]
        values: dict[str, Any] = {
            "identity": pseudonym,
            "person_key": suppression_key(pseudonym),
            "address": pseudonym,
            "keys": [veiled_key(one, known.names, pseudonym) for one in row.keys],
            "account_key": None if row.account_key is None else veiled_key(row.account_key, known.names, pseudonym),
            "fields": {},
            "replaces": None,
        }
        if row.state == OpState.READY:
            values |= {"state": OpState.SUPERSEDED.value, "reason": "the person was erased", "closed_at": at}
        connection.execute(op.update().where(op.c.id == row.id).values(**values))
    return len(rows) + _takeovers(connection, known, at)


def _takeovers(connection: Connection, known: Known, at: datetime) -> int:
    """Operations by which another address takes the place of theirs: what was not sent yet is decided anew."""
    theirs = op.c.replaces.in_(sorted({*known.identities, *known.spelt.values()}))
    gone = {"state": OpState.SUPERSEDED.value, "reason": "their former address was erased", "closed_at": at}
    unsent = connection.execute(sa.select(op.c.person_key).where(theirs, op.c.state == OpState.READY.value)).all()
    connection.execute(op.update().where(theirs, op.c.state == OpState.READY.value).values(**gone))
    people.put_on_agenda(connection, [SuppressionKey(row.person_key) for row in unsent], at)
    return connection.execute(op.update().where(theirs).values(replaces=None)).rowcount


def _look_ups(connection: Connection, names: Mapping[Identity, Identity], known: Known, at: datetime) -> int:
    """Nobody is asked about under an address any more, and who was given up is not kept for a person to see.

    Under an address of which nothing else is known they are still asked about once, so that it is unsubscribed too.
    """
    mine = lookup.c.identity.in_(sorted(names))
    rows = connection.execute(sa.select(lookup).where(mine)).all()
    connection.execute(lookup.delete().where(mine))
    met = {identity for _, identity in known.spelt}
    wishes = [
        LookUp(
            row.account, row.container, names[row.identity], names[row.identity], "erased before they were asked about"
        )
        for row in rows
        if row.identity not in met and not row.given_up
    ]
    lookups.want(connection, wishes, at)
    return len(rows)


def _tests(connection: Connection, key: SuppressionKey, known: Known) -> int:
    """Leads that were only tests and name the person, in whichever of their attributes."""
    gone = []
    for row in connection.execute(sa.select(lead_test.c.id, lead_test.c.address, lead_test.c.attributes)):
        text = " ".join((row.address, *map(str, row.attributes.values()))).lower()
        named = any(suppression_key(identity) == key for identity in _identities(text))
        if named or any(digest.partition(":")[2] in text for digest in known.digests):
            gone.append(row.id)
    return connection.execute(lead_test.delete().where(lead_test.c.id.in_(gone))).rowcount


def _ledger(connection: Connection, key: SuppressionKey, names: Mapping[Identity, Identity]) -> int:
    """When each "no" arrived where is still proved, of nobody."""
    changed = 0
    for identity, pseudonym in names.items():
        values = {"person_key": suppression_key(pseudonym), "identity": pseudonym}
        mine = (propagation.c.person_key == key, propagation.c.identity == identity)
        changed += connection.execute(propagation.update().where(*mine).values(**values)).rowcount
    return changed


def _consent(connection: Connection, key: SuppressionKey, names: Mapping[Identity, Identity]) -> int:
    """What was said still counts; who said it, and how, is gone."""
    changed = 0
    for identity, pseudonym in names.items():
        said = (consent_event.c.person_key == key, consent_event.c.identity == identity)
        values = {"person_key": suppression_key(pseudonym), "identity": pseudonym, "evidence": "erased"}
        changed += connection.execute(consent_event.update().where(*said).values(**values)).rowcount
    new = suppression_key(next(iter(names.values())))
    connection.execute(consent.update().where(consent.c.person_key == key).values(person_key=new))
    return changed


def _nameless(connection: Connection, identities: Sequence[Identity]) -> int:
    """Records of theirs that a provider names by a digest of the address."""
    digests = [digest for identity in identities for digest in digests_of(identity)]
    return connection.execute(
        cell.delete().where(cell.c.identity.is_(None), sa.func.lower(cell.c.address).in_(digests))
    ).rowcount


def _say_erased(
    connection: Connection, key: SuppressionKey, identity: Identity, seq: int, at: datetime, source: str
) -> None:
    state = people.load_consent(connection, key).get(GLOBAL, ConsentState())
    event = ConsentEvent(
        key=key, identity=identity, scope=GLOBAL, epoch=state.epoch, level=Level.ERASED, at=at, seq=seq,
        source=source, route="command", evidence="erased",
    )  # fmt: skip
    people.record_consent(connection, [event])


def send_off(veil: Veil, known: Known) -> None:
    """Put the address in transit for the calls that follow: as each account spells it, and for the others as it is."""
    for identity in sorted(known.identities):
        erasure.carry(veil.connection, erasure.ANYWHERE, pseudonym_of(veil.key, identity), identity)
    for (account, identity), spelt in sorted(known.spelt.items()):
        erasure.carry(veil.connection, account, pseudonym_of(veil.key, identity), spelt)


# Deliveries ----------------------------------------------------------------------------------------------------------


def deliveries_naming(connection: Connection, key: SuppressionKey, known: Known) -> list[tuple[Any, Delivery]]:
    """Deliveries in which the person is named, in any spelling or by a digest."""
    digests = {digest.partition(":")[2] for identity in known.identities for digest in digests_of(identity)}
    found = []
    for row in connection.execute(sa.select(inbox_table)):
        texts = [*_texts(row)]
        named = any(suppression_key(identity) == key for text in texts for identity in _identities(text))
        if named or any(digest in text.lower() for text in texts for digest in digests):
            found.append((row, inbox.delivery_of(row)))
    return found


def _texts(row: Any) -> Iterator[str]:
    """What a delivery says, as it came and as its encodings read."""
    pairs = " ".join(f"{name}={value}" for name, value in row.query)
    for text in (bytes(row.body).decode("utf-8", "replace"), pairs):
        yield text
        yield unquote_plus(text)
        if "\\u" in text:
            yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)


def _identities(text: str) -> Iterator[Identity]:
    for word in _ADDRESS.findall(text):
        if (identity := identity_of(word)) is not None:
            yield identity


# The same person again -----------------------------------------------------------------------------------------------


def returned(veil: Veil) -> list[SuppressionKey]:
    """Suppression keys in plain of people who were erased: none, but where an older backup brought them back."""
    found: list[SuppressionKey] = []
    keys: set[SuppressionKey] = set()
    for table in (
        cell,
        person,
        consent,
        consent_event,
        op,
        item,
        claim,
        agenda,
        caution,
        exemption,
        propagation,
        rename,
        lead_test,
        hygiene,
    ):
        query = sa.select(table.c.person_key).where(table.c.person_key.is_not(None)).distinct()
        keys.update(SuppressionKey(key) for key in veil.connection.scalars(query))
    keys.update(suppression_key(identity) for identity in _unkeyed(veil.connection))
    for part in [sorted(keys)[start : start + 1000] for start in range(0, len(keys), 1000)]:
        found += [SuppressionKey(identity) for identity in veil.among([Identity(key) for key in part])]
    return found


def erase_again(connection: Connection, *, seq: int, at: datetime) -> int:
    """Erase who was erased and came back with an older backup. Returns how many people that were.

    Deliveries that nobody has read yet are left: they are emptied as they are read.
    """
    veil = erasure.veil_of(connection)
    if veil is None:
        return 0
    keys = returned(veil)
    for key in keys:
        known = known_of(connection, key)
        known.identities.add(Identity(key))
        for row, _ in deliveries_naming(connection, key, known):
            if row.state != "new":
                inbox.empty_delivery(connection, row.id, REASON)
        scrub(veil, key, known, seq=seq, at=at, source="operator")
        send_off(veil, known)
        people.put_on_agenda(connection, [veil.person(key)], at)
    return len(keys)
