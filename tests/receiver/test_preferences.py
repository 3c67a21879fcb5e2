"""A person's own page: what they get, off at once, on by a link that is mailed to them, and nobody else's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.domain.identity import Identity
from syncd.sync import one_click, preferences, signed, subscribing
from syncd.sync.erase import erase
from syncd.sync.signed import Purpose
from tests.receiver.door import ANN, BASIC, FORMED, JSON, LEAD, Door

NEWS = Scope("newsletter")
EVENTS = Scope("events")
AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def formed(sqlite_url: str, tmp_path: Path) -> Iterator[Door]:
    """Ann gets the newsletter, and could get the events."""
    door = Door(sqlite_url, tmp_path, config=FORMED)
    yield door
    door.app.engine.dispose()


def page_of(door: Door, identity: Identity = ANN) -> str:
    return f"/preferences/{preferences.make_token(signed.signing_key(door.app.engine), identity)}"


async def lead(door: Door) -> None:
    assert (await door.send("POST", "/in/leads/leads", headers=BASIC | JSON, content=LEAD)).status_code in {200, 201}
    door.work()


def boxes(text: str) -> dict[str, bool]:
    """Each list on the page, and whether it is on."""
    found = re.findall(r'<input type="checkbox" name="on\.(\w+)"( checked)?', text)
    return {name: bool(checked) for name, checked in found}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_page_shows_what_they_get_and_following_the_link_changes_nothing(formed: Door, method: str) -> None:
    await lead(formed)
    formed.woken.clear()
    answer = await formed.send(method, page_of(formed) + "?everything=off")
    assert answer.status_code == 200
    if method == "GET":
        assert boxes(answer.text) == {"newsletter": True, "events": False}
        assert "Monthly news" in answer.text
        assert "ann@" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert (formed.consent(), formed.woken, formed.rows("SELECT id FROM letter")) == ({}, [], [])


async def test_what_is_turned_off_is_their_no_at_once(formed: Door) -> None:
    await lead(formed)
    sent = {"was.newsletter": "on", "was.events": "off"}
    for _ in range(2):
        answer = await formed.send("POST", page_of(formed), data=sent)
        assert answer.status_code == 200
        assert boxes(answer.text) == {"newsletter": False, "events": False}
    assert formed.consent() == {NEWS: Level.UNSUBSCRIBED}
    events = formed.rows("SELECT source, scope, route FROM consent_event")
    assert events == [{"source": "preferences", "scope": "newsletter", "route": "command"}]
    assert formed.rows("SELECT person_key FROM agenda")


async def test_everything_can_be_ended_whatever_is_ticked(formed: Door) -> None:
    await lead(formed)
    ticked = {"was.newsletter": "on", "on.newsletter": "on", "was.events": "off", "on.events": "on"}
    answer = await formed.send("POST", page_of(formed), data=ticked | {"everything": "off"})
    assert formed.consent() == {GLOBAL: Level.UNSUBSCRIBED}
    assert boxes(answer.text) == {"newsletter": False, "events": False}
    assert formed.rows("SELECT id FROM letter") == []


async def test_what_was_not_on_the_page_is_left_as_it_is(formed: Door) -> None:
    await lead(formed)
    await formed.send("POST", page_of(formed), data={"was.events": "off"})
    await formed.send("POST", page_of(formed), data={})
    await formed.send("POST", page_of(formed), data={"on.events": "on", "was.strangers": "on"})
    assert (formed.consent(), formed.rows("SELECT id FROM letter")) == ({}, [])


async def test_turning_on_waits_for_a_link_that_is_mailed_to_them(formed: Door) -> None:
    await lead(formed)
    await formed.send("POST", page_of(formed), data={"was.newsletter": "on"})
    sent = {"was.newsletter": "off", "on.newsletter": "on", "was.events": "off", "on.events": "on"}
    answer = await formed.send("POST", page_of(formed), data=sent)
    assert "We mail you a link for Monthly news, events" in answer.text
    assert formed.consent() == {NEWS: Level.UNSUBSCRIBED}, "the page alone says no yes"
    assert boxes(answer.text) == {"newsletter": False, "events": False}
    assert formed.rows("SELECT address, lists FROM letter") == [
        {"address": "ann@example.org", "lists": '["newsletter", "events"]'}
    ]


async def test_where_no_link_can_be_mailed_nothing_can_be_turned_on(sqlite_door: Door) -> None:
    sent = {"was.newsletter": "off", "on.newsletter": "on"}
    answer = await sqlite_door.send("POST", page_of(sqlite_door), data=sent)
    assert "disabled" in answer.text
    assert "write to us" in answer.text
    assert (sqlite_door.consent(), sqlite_door.rows("SELECT id FROM letter")) == ({}, [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_page_that_is_not_theirs_is_not_found(formed: Door, method: str) -> None:
    key = signed.signing_key(formed.app.engine)
    late = preferences.make_token(key, ANN, formed.now - timedelta(seconds=1))
    wish = subscribing.Wish(ANN, ("newsletter",), {}, formed.now)
    for token in (
        preferences.make_token(b"another mirror's key", ANN),
        one_click.make_token(key, ANN),
        subscribing.make_token(key, wish, formed.now + timedelta(days=1)),
        late,
        "x",
        "é",
        "a" * 5000,
    ):
        answer = await formed.send(method, f"/preferences/{token}", data={"everything": "off"})
        assert answer.status_code == 404
    assert formed.consent() == {}


async def test_one_link_acts_so_often_and_the_line_of_the_log_names_nobody(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=FORMED, SYNCD_RECEIVER__LINKS_PER_MINUTE="2")
    with structlog.testing.capture_logs() as lines:
        answers = [await door.send("POST", page_of(door), data={"was.newsletter": "on"}) for _ in range(3)]
        bob = await door.send("POST", page_of(door, Identity("bob@example.org")), data={})
    assert [answer.status_code for answer in (*answers, bob)] == [200, 200, 429, 200]
    assert answers[2].headers["retry-after"] == "30"
    assert "ann" not in str(lines)
    door.app.engine.dispose()


async def test_a_form_that_cannot_be_read_changes_nothing(formed: Door) -> None:
    for content, kind, status in (
        (b'{"everything": "off"}', "application/json", 415),
        (b"everything=off&" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"everything=%00", "application/x-www-form-urlencoded", 400),
    ):
        answer = await formed.send("POST", page_of(formed), content=content, headers={"content-type": kind})
        assert answer.status_code == status
    assert formed.consent() == {}


async def test_somebody_who_was_erased_has_no_page(formed: Door) -> None:
    await lead(formed)
    url = page_of(formed)
    erase(formed.context, ANN)
    assert (await formed.send("GET", url)).status_code == 404


# Tokens --------------------------------------------------------------------------------------------------------------

payloads = st.binary(max_size=200)


@given(payload=payloads, purpose=st.sampled_from(Purpose), data=st.data())
def test_what_is_signed_for_one_thing_is_good_for_nothing_else(
    payload: bytes, purpose: Purpose, data: st.DataObject
) -> None:
    key = data.draw(st.binary(min_size=32, max_size=32))
    token = signed.sign(key, purpose, payload)
    assert signed.opened(key, purpose, token) == payload
    assert all(signed.opened(key, other, token) is None for other in Purpose if other is not purpose)
    assert signed.opened(key[:-1] + bytes([key[-1] ^ 1]), purpose, token) is None
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("ABab09-_=. /é")) + token[at + 1 :]
    # The bits that base64 leaves over at the end say nothing.
    assert signed.opened(key, purpose, changed) in {None, payload}


@given(forged=st.binary(max_size=300) | st.text(max_size=100))
def test_nothing_that_was_not_signed_opens_a_page(forged: bytes | str) -> None:
    token = forged if isinstance(forged, str) else forged.hex()
    assert preferences.read_token(bytes(32), token, AT) is None
    assert subscribing.read_token(bytes(32), token, AT) is None
    assert one_click.read_token(bytes(32), token, AT) is None


@given(seconds=st.integers(-1000, 1000))
def test_a_token_is_good_until_its_time_and_for_ever_without_one(seconds: int) -> None:
    key, until = bytes(32), AT + timedelta(seconds=seconds)
    good = seconds >= 0
    assert (preferences.read_token(key, preferences.make_token(key, ANN, until), AT) is not None) is good
    assert (one_click.read_token(key, one_click.make_token(key, ANN, None, until), AT) is not None) is good
    assert preferences.read_token(key, preferences.make_token(key, ANN), AT + timedelta(days=9999)) == ANN
