"""Links with which a person says "no" by one click, without logging in anywhere (RFC 8058)."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.identity import Identity
from syncd.sync.signed import KEY_BYTES, TOKEN_MAX, Purpose, opened, sign, signing_key

__all__ = ["KEY_BYTES", "TOKEN_MAX", "Ticket", "headers", "link", "make_token", "read_token", "signing_key"]


class Ticket(NamedTuple):
    """What a token says: this person wants no more of this."""

    identity: Identity
    scope: Scope


class _Payload(msgspec.Struct, omit_defaults=True):
    identity: str
    scope: str
    until: int = 0


def make_token(key: bytes, identity: Identity, scope: Scope | None = None, until: datetime | None = None) -> str:
    """The token of one person. Without a scope it ends everything; without `until` it is good for ever."""
    payload = _Payload(identity, scope or GLOBAL, 0 if until is None else int(until.timestamp()))
    return sign(key, Purpose.ONE_CLICK, msgspec.json.encode(payload))


def read_token(key: bytes, token: str, now: datetime | None = None) -> Ticket | None:
    """What a token says, or None if it was not made with this key or is good no more."""
    payload = opened(key, Purpose.ONE_CLICK, token)
    if payload is None:
        return None
    said = msgspec.json.decode(payload, type=_Payload)
    if said.until and now is not None and now.timestamp() > said.until:
        return None
    return Ticket(Identity(said.identity), Scope(said.scope))


def link(public_url: str, token: str) -> str:
    """The address for `List-Unsubscribe`, which goes with `List-Unsubscribe-Post: List-Unsubscribe=One-Click`."""
    return f"{public_url.rstrip('/')}/unsubscribe/{token}"


def headers(url: str) -> dict[str, str]:
    """The two headers of a mail that let the mail program show its own button (RFC 8058, 3.1)."""
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
