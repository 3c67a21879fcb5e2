"""Text as it really comes: cut letters, other encodings, bytes that are none. It costs a value, and never a page."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.records import WHOLE_ACCOUNT, Record, Status
from syncd.emulators.rocs_state import HALF
from syncd.providers.json_text import in_utf8, mended
from syncd.wire import Response, converse

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(ANYTHING, st.booleans())
def test_a_sound_document_means_the_same_afterwards(document, escaped):
    text = json.dumps(document, ensure_ascii=escaped).encode()
    assert json.loads(mended(text)) == document


@given(st.text(alphabet='ab\\"\ud83d\ude00\ud800\n', max_size=20))
def test_half_a_letter_becomes_a_mark_and_whole_ones_stay(value):
    text = json.dumps(value).encode()  # spells surrogates as escapes
    assert json.loads(mended(text)) == json.loads(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.quirk("rocs-half-a-letter")
def test_half_a_letter_in_a_name_costs_that_name_and_no_record(crm):
    cut = crm.emulator.add_customer("ann@example.org", f"Ann{HALF}", "Berg", consent=False)
    other = crm.emulator.add_customer("bob@example.org", "Bob")
    seen = crm.everyone()
    assert seen[cut].status is Status.UNSUBSCRIBED
    assert seen[cut].fields == {"?first_name": "Ann\ufffd", "last_name": "Berg"}
    assert seen[other].fields == {"first_name": "Bob"}
    assert crm.look("ann@example.org")[0].fields == {"?first_name": "Ann\ufffd", "last_name": "Berg"}


def test_half_a_letter_in_an_address_makes_that_record_nobodys(crm):
    cut = crm.emulator.add_customer("ann@example.org")
    crm.emulator.edit_customer(cut, email=f"a{HALF}@example.org")
    other = crm.emulator.add_customer("bob@example.org")
    seen = crm.everyone()
    assert seen[cut].identity is None
    assert seen[other].identity == "bob@example.org"


def test_half_a_letter_in_a_notice_keeps_no_unsubscribe_from_us(crm):
    crm.emulator.register_webhook("http://127.0.0.1:8480/in/crm/webhook", "notice-secret")
    crm.emulator.add_customer("ann@example.org", f"Ann{HALF}", consent=False)
    (told,) = crm.deliveries()
    crm.adapter.verify(told)
    (seen,) = crm.adapter.read_delivery(told)
    assert (seen.identity, seen.status) == ("ann@example.org", Status.UNSUBSCRIBED)
    assert crm.adapter.delivery_id(told) == json.loads(mended(told.body))["id"]


@pytest.mark.quirk("rocs-charset-checked")
def test_an_answer_in_another_charset_is_read_in_the_one_it_names(crm):
    crm.emulator.charset = "windows-1252"
    key = crm.emulator.add_customer("jorg@example.org", "Jörg", "Łoś")
    assert crm.everyone()[key].fields == {"first_name": "Jörg", "last_name": "Łoś"}


@pytest.mark.quirk("rocs-charset-checked")
def test_bytes_that_are_not_what_they_claim_to_be_cost_their_value_alone(crm):
    raw = '{"id":"C-1","email":"j@example.org","emailConsent":false,"firstName":"Jörg","lastName":"Berg"}'
    body = f'{{"page":1,"pageSize":500,"totalCount":1,"customers":[{raw}]}}'.encode("latin-1")
    page = converse(crm.adapter.snapshot(WHOLE_ACCOUNT, None), lambda _: Response(200, {}, body))
    seen = crm.adapter.read(WHOLE_ACCOUNT, page.records[0])
    assert (seen.status, seen.fields) == (Status.UNSUBSCRIBED, {"?first_name": "J\ufffdrg", "last_name": "Berg"})


@pytest.mark.parametrize("named", ["", "application/json", "x; charset=", "x; charset=klingon", "x; charset=ascii"])
def test_an_encoding_that_is_none_of_these_bytes_changes_nothing(named):
    assert in_utf8("Jörg".encode(), named) == "Jörg".encode()


def test_an_id_that_cannot_be_read_whole_is_nobodys(crm):
    raw = mended(rb'{"id":"C-\ud800","email":"ann@example.org"}')
    assert crm.adapter.read(WHOLE_ACCOUNT, Record("?", raw)).identity is None
