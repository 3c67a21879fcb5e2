"""Who is who: the normal form under which addresses at several providers are one person.

Two widths, on purpose. An *identity* is narrow: `dora@x.org` and `dora+news@x.org` are two, because consent
given for one is not consent for the other. A *suppression key* is wide: both fold to the same key, because
somebody who said no must not be reached through another spelling of the same mailbox.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import NewType

Identity = NewType("Identity", str)
"""A normalised address, for example ``ann@example.org``."""

SuppressionKey = NewType("SuppressionKey", str)
"""The widest form of an address: no tag, no dots in the local part."""

ADDRESS_MAX = 254  # RFC 5321, 4.5.3.1.3
LOCAL_MAX = 64

# The shape that nearly every address has. It is also its own normal form after lower-casing, so the
# common case costs one match; everything else takes the slow road through Unicode and IDNA.
_PLAIN = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)


def identity_of(raw: str) -> Identity | None:
    """The identity behind an address as somebody spelt it, or None if it is not one that can be mailed.

    Trimmed, NFC, case-folded by lower-casing on both sides (no provider here tells local parts apart by
    case), domain in its ASCII form without a trailing dot.
    """
    text = raw.strip().lower()
    if not _PLAIN.fullmatch(text):
        normal = _normalised(text)
        if normal is None:
            return None
        text = normal
    if len(text) > LOCAL_MAX and (len(text) > ADDRESS_MAX or text.rindex("@") > LOCAL_MAX):
        return None
    return Identity(text)


def suppression_key(identity: Identity) -> SuppressionKey:
    """The key under which a "no" is kept: `Jo.Hn+tag@x.org` and `john@x.org` share it."""
    local, _, domain = identity.rpartition("@")
    if "." not in local and "+" not in local:
        return SuppressionKey(identity)
    base = local.partition("+")[0].replace(".", "")
    return SuppressionKey(f"{base or local}@{domain}")


def digests_of(address: str) -> tuple[str, str]:
    """An address as those know it who give it away only as a digest."""
    raw = address.strip().encode()
    return f"sha256:{hashlib.sha256(raw).hexdigest()}", f"md5:{hashlib.md5(raw, usedforsecurity=False).hexdigest()}"


def _normalised(text: str) -> str | None:
    """The slow road: other scripts, IDN domains, trailing dots. None if no shape of it is an address."""
    # NFKC on the domain as IDNA asks; NFC on the local part, which must not change meaning. "İ".lower() is two
    # characters, so the normal form is taken after lower-casing.
    local, at, domain = unicodedata.normalize("NFC", text).rpartition("@")
    if not at or not local or any(ch.isspace() or not ch.isprintable() or ch in '()<>[]:;,\\"@' for ch in local):
        return None
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return None
    try:
        ascii_domain = unicodedata.normalize("NFKC", domain).rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return f"{local}@{ascii_domain}" if _PLAIN.fullmatch(f"a@{ascii_domain}") else None
