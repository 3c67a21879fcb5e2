"""Tokens that nobody else can make: a few words about somebody, signed for one purpose.

Nothing has to be kept for each of them. They are signed, not sealed: whoever holds one can read the address in it, and
needs no more to have it already. The purpose is signed too, so that one made for one thing is never good for another.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from enum import StrEnum
from hashlib import sha256

from syncd.store import journal
from syncd.store.session import Engine, writing

KEY_BYTES = 32
TOKEN_MAX = 2048

_KEY = "one_click_key"
_MAC_BYTES = sha256().digest_size


class Purpose(StrEnum):
    """What a token is good for."""

    ONE_CLICK = "one-click"
    PREFERENCES = "preferences"
    CONFIRM = "confirm"


def signing_key(engine: Engine) -> bytes:
    """The key of this mirror, made when it is first asked for. It moves with the mirror and its backups."""
    with writing(engine) as connection:
        known = journal.get_value(connection, _KEY)
        if known is None:
            known = secrets.token_bytes(KEY_BYTES).hex()
            journal.set_value(connection, _KEY, known)
    return bytes.fromhex(known)


def sign(key: bytes, purpose: Purpose, payload: bytes) -> str:
    return base64.urlsafe_b64encode(_mac(key, purpose, payload) + payload).decode().rstrip("=")


def opened(key: bytes, purpose: Purpose, token: str) -> bytes | None:
    """What was signed, or None if it was not signed with this key for this purpose."""
    if len(token) > TOKEN_MAX:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    return payload if hmac.compare_digest(mac, _mac(key, purpose, payload)) else None


def _mac(key: bytes, purpose: Purpose, payload: bytes) -> bytes:
    return hmac.new(key, f"syncd {purpose}\n".encode() + payload, sha256).digest()
