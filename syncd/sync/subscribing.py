"""Somebody wants to be on a list: asked for, confirmed by a link that was mailed to them, and then as if seen anywhere.

Until the link is opened and its button pressed, nothing is known but that a mail is to be sent. A confirmed wish is an
observation in the account of our own forms (`FORMS`): it spreads, waits and is verified like a subscriber of any other
account. For somebody who had said no it is also their own new word, as far as they asked for it and no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, NamedTuple

import msgspec

from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId, Observation, Status
from syncd.providers.forms import FORMS
from syncd.store import letters, people, plans
from syncd.store.session import Connection, reading, writing
from syncd.sync.context import Context
from syncd.sync.ingest import record, take_observation
from syncd.sync.signed import Purpose, opened, sign
from syncd.sync.veil import veiled_identity

NAMES = ("first_name", "last_name")
"""What somebody may say of themselves besides their address."""


class Wish(NamedTuple):
    """What a confirmation link says: this person asked for these lists, then."""

    identity: Identity
    lists: tuple[str, ...]
    fields: Mapping[str, str]
    asked_at: datetime


class Confirmed(Enum):
    """What became of a wish. `SPENT`: they said no after they had asked. `NOT_OURS`: nothing can come of it."""

    DONE = auto()
    SPENT = auto()
    NOT_OURS = auto()


class _Payload(msgspec.Struct, omit_defaults=True):
    identity: str
    lists: tuple[str, ...]
    asked_at: datetime
    until: int
    fields: dict[str, str] = {}


# Asking --------------------------------------------------------------------------------------------------------------


def ask(
    context: Context, identity: Identity, lists: Sequence[str], fields: Mapping[str, str], *, queue_max: int
) -> bool:
    """Have a link mailed to somebody. Durable when this returns; False if too many wait already.

    Who asks twice before the mail is out gets one.
    """
    now = context.now()
    with writing(context.engine) as connection:
        if letters.waits(connection, identity, lists):
            return True
        if letters.count(connection) >= queue_max:
            return False
        letters.put(connection, context.new_id(), suppression_key(identity), identity, lists, fields, now)
    return True


def due(context: Context, limit: int) -> list[letters.Letter]:
    """Mails to send, the oldest first."""
    with reading(context.engine) as connection:
        return letters.due(connection, context.now(), limit)


def mailable(context: Context, letter: letters.Letter, retry_for_s: float) -> bool:
    """Whether a mail is still to be sent: not to somebody who was erased, and not one that is too old."""
    with writing(context.engine) as connection:
        identity = Identity(letter.address)
        late = context.now() - letter.asked_at > timedelta(seconds=retry_for_s)
        if late or veiled_identity(connection, identity) != identity:
            letters.drop(connection, letter.id)
            return False
    return True


def sent(context: Context, letter: letters.Letter) -> None:
    with writing(context.engine) as connection:
        letters.drop(connection, letter.id)


def not_sent(context: Context, letter: letters.Letter, wait_s: float) -> None:
    with writing(context.engine) as connection:
        letters.postpone(connection, letter.id, context.now() + timedelta(seconds=wait_s))


# Confirming ----------------------------------------------------------------------------------------------------------


def make_token(key: bytes, wish: Wish, until: datetime) -> str:
    payload = _Payload(wish.identity, wish.lists, wish.asked_at, int(until.timestamp()), dict(wish.fields))
    return sign(key, Purpose.CONFIRM, msgspec.json.encode(payload))


def read_token(key: bytes, token: str, now: datetime) -> Wish | None:
    """What a link says, or None if it was not made with this key or is good no more."""
    payload = opened(key, Purpose.CONFIRM, token)
    if payload is None:
        return None
    said = msgspec.json.decode(payload, type=_Payload)
    if now.timestamp() > said.until:
        return None
    return Wish(Identity(said.identity), said.lists, said.fields, said.asked_at)


def link(public_url: str, token: str) -> str:
    return f"{public_url.rstrip('/')}/confirm/{token}"


def confirm(context: Context, wish: Wish) -> Confirmed:
    """Take down that somebody confirmed what they asked for. Durable when this returns; again, it changes nothing."""
    chosen = {name: context.lists[name].scope for name in wish.lists if name in context.lists}
    if FORMS not in context.lanes or not chosen:
        return Confirmed.NOT_OURS
    said_seq, seen_seq = context.sequence.take(), context.sequence.take()
    key, scopes = suppression_key(wish.identity), set(chosen.values())
    with writing(context.engine) as connection:
        if veiled_identity(connection, wish.identity) != wish.identity:
            return Confirmed.NOT_OURS
        if people.said_no_since(connection, key, {GLOBAL, *scopes}, wish.asked_at):
            return Confirmed.SPENT
        _lift(connection, context, wish, scopes, said_seq)
        for name in chosen:
            take_observation(connection, context.lanes[FORMS], context, _observed(wish, name), seen_seq)
    return Confirmed.DONE


def _lift(connection: Connection, context: Context, wish: Wish, scopes: set[Scope], seq: int) -> None:
    """End what they said no to, of what they asked for. A "no" to everything stays for all other lists of ours."""
    key = suppression_key(wish.identity)
    known = people.load_consent(connection, key)
    ended = {scope for scope in scopes if scope in known and known[scope].level.suppresses}
    told: dict[str, Any] = {"source": FORMS, "seq": seq}
    if GLOBAL in known and known[GLOBAL].level.suppresses:
        others = {entry.scope for entry in context.lists.values()} - scopes - {GLOBAL}
        kept = "they said no to everything, and asked for other lists since"
        for scope in sorted(others):
            record(connection, context, wish.identity, scope, Level.UNSUBSCRIBED, evidence=kept, **told)
        ended.add(GLOBAL)
    evidence = f"asked for by form on {wish.asked_at:%Y-%m-%d %H:%M} UTC, confirmed by a link mailed to them"
    for scope in sorted(ended):
        record(connection, context, wish.identity, scope, Level.SUBSCRIBED, evidence=evidence, **told)
        plans.grant_claims(connection, key, scope)


def _observed(wish: Wish, name: str) -> Observation:
    raw = {"email": wish.identity, "list": name, **wish.fields}
    return Observation(
        container=ContainerId(name),
        key=wish.identity,
        address=wish.identity,
        identity=wish.identity,
        status=Status.SUBSCRIBED,
        fields=wish.fields,
        raw=msgspec.json.encode(raw),
    )
