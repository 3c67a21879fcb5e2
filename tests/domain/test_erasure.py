"""What is left of somebody who was erased: enough to know them again, and nothing to know them by."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syncd.domain.erasure import (
    KEY_BYTES,
    digests_of,
    hash_of,
    hash_of_digest,
    is_pseudonym,
    pseudonym_of,
    pseudonym_of_person,
)
from syncd.domain.identity import Identity, suppression_key

KEY, OTHER = bytes(KEY_BYTES), bytes([1]) * KEY_BYTES
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(\+[a-z0-9]{1,5})?", fullmatch=True)
ADDRESSES = st.builds(lambda name: Identity(f"{name}@example.org"), NAMES)


@given(ADDRESSES)
def test_a_pseudonym_folds_as_the_address_folds(one: Identity):
    stands_in = pseudonym_of(KEY, one)
    assert suppression_key(stands_in) == pseudonym_of_person(hash_of(KEY, suppression_key(one)))
    assert is_pseudonym(stands_in)
    assert not is_pseudonym(one)
    assert "." not in stands_in.partition("@")[2], "nothing can be mailed to it"
    assert pseudonym_of(KEY, one) == stands_in, "the same each time"


@given(ADDRESSES, ADDRESSES)
def test_two_addresses_share_what_their_mailboxes_share(one: Identity, other: Identity):
    assume(one != other)
    assert pseudonym_of(KEY, one) != pseudonym_of(KEY, other)
    same_mailbox = suppression_key(one) == suppression_key(other)
    assert (hash_of(KEY, suppression_key(one)) == hash_of(KEY, suppression_key(other))) is same_mailbox


@given(ADDRESSES)
def test_without_the_key_nobody_is_known_by_it(one: Identity):
    assert hash_of(KEY, suppression_key(one)) != hash_of(OTHER, suppression_key(one))
    assert pseudonym_of(KEY, one) != pseudonym_of(OTHER, one)
    assert one not in pseudonym_of(KEY, one)


def test_digests_are_those_that_providers_give_and_are_known_again_in_any_case():
    sha256, md5 = digests_of(Identity("ann@example.org"))
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", sha256)
    assert re.fullmatch(r"md5:[0-9a-f]{32}", md5)
    assert hash_of_digest(KEY, sha256.upper()) == hash_of_digest(KEY, sha256) != hash_of_digest(KEY, md5)
    assert hash_of_digest(KEY, "ann@example.org") != hash_of(KEY, suppression_key(Identity("ann@example.org")))


@pytest.mark.parametrize(
    "near", ["erased+0123456789abcdef@example.org", "erased@" + "0" * 64, "erased+x@" + "0" * 64, "ann@example.org"]
)
def test_what_only_looks_like_one_is_an_address(near: str):
    assert not is_pseudonym(near)
