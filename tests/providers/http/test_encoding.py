"""No value breaks out of its place: whatever a person is called, a receiver reads exactly the parameters we sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.providers.http.encoding import values_of
from tests.providers.http.conftest import adapter, receiver, send, subscribe

CLOSERS = st.sampled_from(
    ["</first_name><admin>1</admin>", "\nadmin=1\n", "&admin=1", '","admin":"1', "]]>", "\u2028admin=1", "\x85", "\x00"]
)
ANYTHING = st.lists(st.one_of(st.text(max_size=8), CLOSERS), max_size=5).map("".join)


@pytest.mark.parametrize("encoding", ["json", "form", "text", "xml"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@given(first=ANYTHING, last=ANYTHING)
def test_no_value_breaks_out_of_its_encoding(method: str, encoding: str, first: str, last: str):
    crm = receiver(method=method, encoding=encoding)
    change = subscribe(first_name=first, last_name=last)
    send(adapter(method=method, encoding=encoding), change, crm)
    (record,) = crm.deliveries
    known: dict[str, Any] = {name: value for name, value in values_of(change).items() if name != "list"}
    assert record == known


@given(value=st.text(max_size=30))
def test_what_is_sent_is_one_line_and_otherwise_as_it_was(value: str):
    sent = values_of(subscribe(first_name=value)).get("first_name", "")
    assert len(sent.splitlines()) <= 1
    sent.encode()
    if value.isprintable():
        assert sent == value.strip()
