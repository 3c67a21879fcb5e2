"""Who is who: narrow for consent, wide for suppression, and the same answer on the fast road and on the slow one."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from syncd.domain.identity import (
    ADDRESS_MAX,
    LOCAL_MAX,
    Identity,
    _normalised,
    digests_of,
    identity_of,
    suppression_key,
)

ATOM = st.text(alphabet=string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=8)
LABEL = st.from_regex(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
TOP = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,8}", fullmatch=True)
PLAIN = st.builds(
    lambda local, labels, top: f"{'.'.join(local)}@{'.'.join([*labels, top])}",
    st.lists(ATOM, min_size=1, max_size=3),
    st.lists(LABEL, min_size=1, max_size=3),
    TOP,
)
LETTERS = st.characters(categories=["L", "M", "N"])
ODD = st.builds(
    lambda local, domain, top, end: f"{local}@{domain}.{top}{end}",
    st.text(st.one_of(LETTERS, st.sampled_from(".+-_ \t\u00a0\u200b\u037eİß")), min_size=1, max_size=8),
    st.text(st.one_of(LETTERS, st.sampled_from(".-\u3002ßİ\uff20")), min_size=1, max_size=8),
    st.text(LETTERS, min_size=1, max_size=4),
    st.sampled_from(["", ".", " ", "\n"]),
)
ANYTHING = st.one_of(PLAIN, ODD, st.text(max_size=20))


@pytest.mark.parametrize(
    ("raw", "identity"),
    [
        pytest.param("ann@example.org", "ann@example.org", id="plain"),
        pytest.param("  Ann@Example.ORG\t\n", "ann@example.org", id="case and space around"),
        pytest.param("\u00a0ann@example.org\u2003", "ann@example.org", id="blanks that are not ASCII"),
        pytest.param("Ann.Berg+News@example.org", "ann.berg+news@example.org", id="dots and tags are kept"),
        pytest.param("ann@example.org.", "ann@example.org", id="trailing dot of a domain"),
        pytest.param("ann@bücher.example", "ann@xn--bcher-kva.example", id="international domain"),
        pytest.param("ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example", id="international domain as ASCII"),
        pytest.param("ann@B\u00dcCHER.example", "ann@xn--bcher-kva.example", id="international domain in capitals"),
        pytest.param("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example", id="international domain, decomposed"),
        pytest.param("ann@\uff45\uff58ample.org", "ann@example.org", id="full-width domain"),
        pytest.param("ann@example\u3002org", "ann@example.org", id="ideographic full stop"),
        pytest.param("René@example.org", "ren\u00e9@example.org", id="another script's local part"),
        pytest.param("Rene\u0301@example.org", "ren\u00e9@example.org", id="local part, decomposed"),
        pytest.param("İpek@example.org", "i\u0307pek@example.org", id="İ becomes two characters"),
        pytest.param("ΆΝΝΑΣ@example.org", "άννας@example.org", id="final sigma"),
        pytest.param("o'hara@example.org", "o'hara@example.org", id="apostrophe"),
        pytest.param(f"{'a' * LOCAL_MAX}@example.org", f"{'a' * LOCAL_MAX}@example.org", id="longest local part"),
    ],
)
def test_spellings_of_one_address_share_an_identity(raw: str, identity: str):
    assert identity_of(raw) == identity


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blank"),
        pytest.param("ann", id="no at"),
        pytest.param("@example.org", id="no local part"),
        pytest.param("ann@", id="no domain"),
        pytest.param("ann@localhost", id="no top-level domain"),
        pytest.param("ann@192.0.2.1", id="a number for a domain"),
        pytest.param("ann@-example.org", id="label begins with a hyphen"),
        pytest.param("ann@example-.org", id="label ends with a hyphen"),
        pytest.param("ann@example..org", id="empty label"),
        pytest.param(f"ann@{'a' * 64}.org", id="label too long"),
        pytest.param("ann berg@example.org", id="space within"),
        pytest.param("rené berg@example.org", id="space within, slow road"),
        pytest.param(".ann@example.org", id="leading dot"),
        pytest.param("ann.@example.org", id="trailing dot of the local part"),
        pytest.param("rené..berg@example.org", id="two dots"),
        pytest.param("ann@berg@example.org", id="two ats"),
        pytest.param('"ann berg"@example.org', id="quoted local part"),
        pytest.param("Ann <ann@example.org>", id="with a display name"),
        pytest.param("ann\u200b@example.org", id="invisible character"),
        pytest.param("ann\x00@example.org", id="control character"),
        pytest.param(f"{'a' * (LOCAL_MAX + 1)}@example.org", id="local part too long"),
        pytest.param(f"ann@{'.'.join(['a' * 60] * 5)}.org", id="address too long"),
        pytest.param("d41d8cd98f00b204e9800998ecf8427e", id="a digest"),
    ],
)
def test_what_cannot_be_mailed_has_no_identity(raw: str):
    assert identity_of(raw) is None


@given(ANYTHING)
@example("\u1fefann@example.org")  # NFC turns this into another character
@example("K@K.org")  # the Kelvin sign folds to a letter
@example("a@İ.org")
def test_an_identity_is_its_own_identity(raw: str):
    identity = identity_of(raw)
    assume(identity is not None)
    assert identity_of(str(identity)) == identity


@given(PLAIN)
def test_the_fast_road_and_the_slow_road_agree(raw: str):
    text = raw.lower()
    assume(len(text) <= ADDRESS_MAX)
    assert identity_of(raw) == text
    assert _normalised(text) == text


@given(PLAIN, st.sampled_from(["", " ", "\t", "\n", "\u00a0"]), st.sampled_from([str.lower, str.upper, str.title]))
def test_case_and_space_never_matter(raw: str, blank: str, case):
    assert identity_of(f"{blank}{case(raw)}{blank}") == identity_of(raw)


@given(ODD, st.sampled_from(["NFC", "NFD"]))
def test_the_unicode_form_never_matters(raw: str, form):
    # U+2126 and its like are other characters once composed; only text that survives composing is a spelling.
    assume(unicodedata.normalize("NFC", raw) == raw)
    assert identity_of(unicodedata.normalize(form, raw)) == identity_of(raw)


@given(ANYTHING)
def test_an_identity_is_lower_case_and_within_limits(raw: str):
    identity = identity_of(raw)
    assume(identity is not None)
    local, _, domain = str(identity).rpartition("@")
    assert 0 < len(local) <= LOCAL_MAX
    assert len(str(identity)) <= ADDRESS_MAX
    assert domain.isascii()
    assert domain == domain.lower()
    assert not any(ch.isspace() for ch in str(identity))


@pytest.mark.parametrize(
    ("identity", "key"),
    [
        pytest.param("john@example.org", "john@example.org", id="plain"),
        pytest.param("jo.hn@example.org", "john@example.org", id="dots"),
        pytest.param("john+news@example.org", "john@example.org", id="tag"),
        pytest.param("j.o.h.n+a.b+c@example.org", "john@example.org", id="dots and tags"),
        pytest.param("+tag@example.org", "+tag@example.org", id="nothing but a tag"),
        pytest.param("john@mail.example.org", "john@mail.example.org", id="dots of the domain stay"),
    ],
)
def test_a_suppression_key_folds_tags_and_dots(identity: str, key: str):
    assert suppression_key(Identity(identity)) == key


def test_two_identities_of_one_mailbox_are_suppressed_together_and_subscribed_apart():
    plain, tagged = identity_of("dora@example.org"), identity_of("Dora+News@example.org")
    assert plain is not None
    assert tagged is not None
    assert plain != tagged
    assert suppression_key(plain) == suppression_key(tagged)


@given(PLAIN, ATOM)
def test_a_tag_or_a_dot_never_leads_around_a_no(raw: str, tag: str):
    identity = identity_of(raw)
    assume(identity is not None and not str(identity).startswith("+"))
    local, _, domain = str(identity).rpartition("@")
    key = suppression_key(Identity(str(identity)))
    assert suppression_key(Identity(f"{local}+{tag.lower()}@{domain}")) == key
    if len(local) > 1 and "+" not in local and "." not in local:
        assert suppression_key(Identity(f"{local[0]}.{local[1:]}@{domain}")) == key


@given(ANYTHING)
def test_a_suppression_key_is_never_narrower_than_the_identity(raw: str):
    identity = identity_of(raw)
    assume(identity is not None)
    key = suppression_key(Identity(str(identity)))
    assert suppression_key(Identity(key)) == key
    assert key.rpartition("@")[2] == str(identity).rpartition("@")[2], "another domain is another mailbox"
    assert key.rpartition("@")[0], "two people must not meet in an empty key"


def test_an_address_is_known_again_by_its_digests():
    found = digests_of(" ann@example.org ")
    assert found == (
        "sha256:438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331",
        "md5:8b5a6a28fc840441be692d74a81ccd1a",
    )
    assert digests_of("Ann@example.org") != found, "as it is spelt"
