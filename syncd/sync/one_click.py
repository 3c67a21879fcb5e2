"""Links with which a person says "no" by one click, without logging in anywhere (RFC 8058).

A token is the address and the scope, signed: nothing has to be kept for each link, and nobody can make one for somebody
else. It is signed, not sealed: whoever holds a link can read the address in it, and needs no more to have it already.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from hashlib import sha256
from typing import NamedTuple

import msgspec

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.identity import Identity
from syncd.store import journal
from syncd.store.session import Engine, writing

KEY_BYTES = 32
TOKEN_MAX = 2048

_KEY = "one_click_key"
_MAC_BYTES = sha256().digest_size


class Ticket(NamedTuple):
    """What a token says: this person wants no more of this."""

    identity: Identity
    scope: Scope


class _Payload(msgspec.Struct):
    identity: str
    scope: str


def signing_key(engine: Engine) -> bytes:
    """The key of this mirror, made when it is first asked for. It moves with the mirror and its backups."""
    with writing(engine) as connection:
        known = journal.get_value(connection, _KEY)
        if known is None:
            known = secrets.token_bytes(KEY_BYTES).hex()
            journal.set_value(connection, _KEY, known)
    return bytes.fromhex(known)


def make_token(key: bytes, identity: Identity, scope: Scope | None = None) -> str:
    """The token of one person. Without a scope it ends everything."""
    payload = msgspec.json.encode(_Payload(identity, scope or GLOBAL))
    return base64.urlsafe_b64encode(_mac(key, payload) + payload).decode().rstrip("=")


def read_token(key: bytes, token: str) -> Ticket | None:
    """What a token says, or None if it was not made with this key."""
    if len(token) > TOKEN_MAX:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, payload)):
        return None
    said = msgspec.json.decode(payload, type=_Payload)
    return Ticket(Identity(said.identity), Scope(said.scope))


def link(public_url: str, token: str) -> str:
    """The address for `List-Unsubscribe`, which goes with `List-Unsubscribe-Post: List-Unsubscribe=One-Click`."""
    return f"{public_url.rstrip('/')}/unsubscribe/{token}"


def _mac(key: bytes, payload: bytes) -> bytes:
    # The purpose is signed too, so that the key can never be made to sign for another one.
    return hmac.new(key, b"syncd one-click\n" + payload, sha256).digest()
