"""What stands for somebody who was erased: a keyed hash in the shape of an address.

It has the two widths of an address: all spellings of one mailbox share the part behind the `@`, each has its own tag
before it. So `suppression_key` folds pseudonyms as it folds addresses, and the core decides about them as about others.
No pseudonym can be mailed: its domain has no dot.
"""

from __future__ import annotations

import hmac
import re
from hashlib import md5, sha256

from syncd.domain.identity import Identity, SuppressionKey, suppression_key

KEY_BYTES = 32

_PSEUDONYM = re.compile(r"erased\+[0-9a-f]{16}@[0-9a-f]{64}")


def hash_of(key: bytes, person: SuppressionKey) -> str:
    """The one thing that is kept of somebody who was erased."""
    return _keyed(key, "person", person)


def pseudonym_of(key: bytes, identity: Identity) -> Identity:
    """What stands in every row in the place of an identity."""
    return Identity(f"erased+{_keyed(key, 'identity', identity)[:16]}@{hash_of(key, suppression_key(identity))}")


def pseudonym_of_person(hash: str) -> SuppressionKey:
    """What stands in the place of a suppression key: `suppression_key` of any of the person's pseudonyms."""
    return SuppressionKey(f"erased@{hash}")


def is_pseudonym(identity: str) -> bool:
    return identity.startswith("erased+") and _PSEUDONYM.fullmatch(identity) is not None


def digests_of(identity: Identity) -> tuple[str, str]:
    """How a provider names somebody whose address it does not give away."""
    plain = identity.encode()
    return f"sha256:{sha256(plain).hexdigest()}", f"md5:{md5(plain, usedforsecurity=False).hexdigest()}"


def hash_of_digest(key: bytes, digest: str) -> str:
    """Under which such a digest is known again."""
    return _keyed(key, "digest", digest.lower())


def _keyed(key: bytes, purpose: str, text: str) -> str:
    # The purpose is hashed too: no hash made for one thing can ever be taken for another.
    return hmac.digest(key, f"syncd erasure {purpose}\n{text}".encode(), "sha256").hex()
