"""One click says "no"; a link that is only followed says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.receiver import ONE_CLICK
from syncd.store import journal
from syncd.store.session import reading
from syncd.sync import one_click
from syncd.sync.ingest import resubscribe, unsubscribe
from tests.receiver.door import ANN, Door


@pytest.fixture
def token(door: Door) -> Callable[..., str]:
    key = one_click.signing_key(door.app.engine)
    return lambda scope=None: one_click.make_token(key, ANN, scope)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_following_the_link_shows_a_button_and_changes_nothing(
    door: Door, token: Callable[..., str], method: str
) -> None:
    answer = await door.send(method, f"/unsubscribe/{token()}?List-Unsubscribe=One-Click")
    assert answer.status_code == 200
    assert ('method="post"' in answer.text) is (method == "GET")
    assert "ann@" not in answer.text
    assert (door.consent(), door.woken) == ({}, [])


@pytest.mark.parametrize(
    "about",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": b""},
        {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}},
    ],
    ids=["form", "multipart", "empty", "odd"],
)
async def test_one_click_ends_everything_at_once_and_repeating_it_changes_nothing(
    door: Door, token: Callable[..., str], about: dict[str, Any]
) -> None:
    for _ in range(3):
        answer = await door.send("POST", f"/unsubscribe/{token()}", **about)
        assert answer.status_code == 200
        assert "location" not in answer.headers
    assert door.consent() == {GLOBAL: Level.UNSUBSCRIBED}
    events = door.rows("SELECT source, scope FROM consent_event")
    assert events == [{"source": "one-click", "scope": "global"}]
    assert door.rows("SELECT person_key FROM agenda")
    assert door.woken == [ONE_CLICK] * 3


async def test_a_link_of_one_list_ends_that_list_alone(door: Door, token: Callable[..., str]) -> None:
    await door.send("POST", f"/unsubscribe/{token(Scope('newsletter'))}")
    assert door.consent() == {Scope("newsletter"): Level.UNSUBSCRIBED}


async def test_an_old_link_counts_again_after_the_person_came_back(door: Door, token: Callable[..., str]) -> None:
    link = token(Scope("newsletter"))
    unsubscribe(door.context, ANN, Scope("newsletter"), source="operator", evidence="called")
    resubscribe(door.context, ANN, Scope("newsletter"), evidence="called again")
    await door.send("POST", f"/unsubscribe/{link}")
    assert door.consent() == {Scope("newsletter"): Level.UNSUBSCRIBED}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_link_that_is_not_ours_is_not_found(door: Door, method: str) -> None:
    foreign = one_click.make_token(b"another mirror's key", ANN)
    for bad in (foreign, "x", "é", "a" * 5000, "%2e%2e"):
        answer = await door.send(method, f"/unsubscribe/{bad}")
        assert answer.status_code == 404
    assert door.consent() == {}


def test_the_key_is_made_once_and_kept(door: Door) -> None:
    first = one_click.signing_key(door.app.engine)
    assert len(first) == one_click.KEY_BYTES
    assert one_click.signing_key(door.app.engine) == first
    with reading(door.app.engine) as connection:
        assert journal.get_value(connection, "one_click_key") == first.hex()


@given(data=st.data(), scope=st.none() | st.text(max_size=20))
def test_a_token_says_what_it_was_made_for_and_none_can_be_altered(data: st.DataObject, scope: str | None) -> None:
    key = bytes(32)
    made = one_click.make_token(key, ANN, None if scope is None else Scope(scope))
    ticket = one_click.read_token(key, made)
    assert ticket == (ANN, Scope(scope) if scope else GLOBAL)
    at = data.draw(st.integers(0, len(made) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_=. /é"))
    # The bits that base64 leaves over at the end say nothing.
    assert one_click.read_token(key, made[:at] + other + made[at + 1 :]) in {None, ticket}
    assert one_click.read_token(key, made[:at]) is None or at == len(made)


def test_a_link_leads_to_the_route() -> None:
    assert one_click.link("https://sync.example.org/", "abc") == "https://sync.example.org/unsubscribe/abc"


async def test_a_link_for_what_no_list_has_any_more_ends_everything_and_says_so(
    door: Door, token: Callable[..., str]
) -> None:
    """It is good for ever, and the list may be called otherwise by now."""
    old = token(Scope("renamed since"))
    assert "renamed since" not in (await door.send("GET", f"/unsubscribe/{old}")).text
    answer = await door.send("POST", f"/unsubscribe/{old}")
    assert (answer.status_code, "renamed since" in answer.text) == (200, False)
    assert door.consent() == {GLOBAL: Level.UNSUBSCRIBED}
    (event,) = door.rows("SELECT evidence FROM consent_event")
    assert "made for renamed since" in event["evidence"]
