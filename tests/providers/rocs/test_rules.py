"""Rules that hold for any payload."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Record, Status
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.rocs.answer import said
from syncd.providers.rocs.options import RocsOptions
from syncd.wire import Response, converse

ADAPTER = RocsAdapter(
    RocsOptions.model_validate({
        "provider": "rocs", "base_url": "http://127.0.0.1:1", "token_url": "http://127.0.0.1:1/t", "client_id": "a",
        "client_secret": "b", "resource": "r",
    }),
    linked=frozenset(),
    now=lambda: datetime(2026, 11, 21, tzinfo=UTC),
)  # fmt: skip

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = ("id", "customerId", "email", "emailConsent", "status", "mobile", "firstName", "modifiedAt", "changedAt", "x")
RECORDS = st.dictionaries(st.sampled_from(NAMES), VALUES) | VALUES
CONTAINERS = st.sampled_from([WHOLE_ACCOUNT, ContainerId("L-1")])


@given(CONTAINERS, RECORDS)
def test_any_record_is_read_and_only_a_plain_yes_is_subscribed(container: ContainerId, payload: Any) -> None:
    seen = ADAPTER.read(container, Record("k", json.dumps(payload).encode()))
    if seen.status is Status.SUBSCRIBED:
        if container == WHOLE_ACCOUNT:
            assert payload["emailConsent"] is True
        else:
            assert payload["status"].strip().lower() == "subscribed"
    assert all(bool(value) for value in seen.fields.values())


@given(CONTAINERS, st.lists(RECORDS, max_size=8), st.integers(0, 20), st.integers(1, 5), st.integers(1, 9))
def test_any_page_keeps_all_records_and_goes_on_only_while_there_is_more(container, payloads, total, number, size):
    name = "customers" if container == WHOLE_ACCOUNT else "members"
    body = {"page": number, "pageSize": size, "totalCount": total, name: payloads}
    page = converse(ADAPTER.snapshot(container, str(number)), lambda _: Response(200, {}, json.dumps(body).encode()))
    assert [json.loads(record.raw) for record in page.records] == payloads
    assert all(record.key for record in page.records)
    assert page.total == total
    assert page.next == (str(number + 1) if payloads and number * size < total else None)


@given(CONTAINERS, st.binary(max_size=60))
def test_bytes_that_are_no_json_never_raise_in_a_record(container, raw):
    assert ADAPTER.read(container, Record("k", raw)).raw == raw


LOCAL = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789.+_-ä", min_size=1, max_size=20)


@given(st.text(max_size=40), LOCAL, st.sampled_from(["@", "%40"]), st.text(max_size=40))
def test_no_address_gets_out_with_a_message(before, local, at, after):
    address = f"{local}{at}mail.example.org"
    message = json.dumps({"message": f"{before} {address} {after}"}).encode()
    text = said(Response(500, {}, message))
    assert address not in text
    assert "example.org" not in text


@given(st.lists(st.text(min_size=2, max_size=12), max_size=4), st.text(max_size=40))
def test_nothing_that_was_sent_gets_out_with_a_message(sent, around):
    plain = [value for value in sent if value.isascii() and value.isalpha()]
    message = json.dumps({"message": around + " ".join(plain)}).encode()
    text = said(Response(500, {}, message), plain)
    assert not any(value.lower() in text.lower() for value in plain)
