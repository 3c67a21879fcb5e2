"""The form with which people subscribe: nobody is on a list before their own mailbox has said so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import structlog

from syncd.config import load
from syncd.domain.consent import GLOBAL, Level, Scope
from syncd.domain.errors import ConfigurationError
from syncd.receiver.letters import Letters
from syncd.sync import ingest
from syncd.sync.erase import erase
from tests.receiver.door import ANN, FORMED, Door

TAKEN = "[accounts.forms]\nprovider = 'http'\nendpoint = 'https://a.example'\nauth = {{ kind = 'none' }}\n"
NEWS = Scope("newsletter")
EVENTS = Scope("events")
FORM = {"email": "Ann@Example.org", "first_name": " Ann  Mary ", "last_name": ""}


class Mailbox:
    """What the operator's program was handed, in the folder where it runs."""

    def __init__(self, door: Door, folder: Path) -> None:
        self.door, self.folder = door, folder
        self.letters = Letters(door.context, door.form, door.public_url)

    async def opened(self) -> list[dict[str, Any]]:
        """The mails that are sent now."""
        path = self.folder / "mails"
        path.write_bytes(b"")
        await self.letters.send_due()
        decoder, text, found = json.JSONDecoder(), path.read_text(), []
        while text:
            mail, end = decoder.raw_decode(text)
            found.append(mail)
            text = text[end:]
        return found

    def fails_with(self, code: int) -> None:
        (self.folder / "code").write_text(str(code))


@pytest.fixture
def mailbox(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    monkeypatch.chdir(tmp_path)
    door = Door(sqlite_url, tmp_path, config=FORMED)
    yield Mailbox(door, tmp_path)
    door.app.engine.dispose()


async def asks(door: Door, name: str = "newsletter", **form: str) -> httpx.Response:
    return await door.send("POST", f"/subscribe/{name}", data=FORM | form)


async def link_of(mailbox: Mailbox, name: str = "newsletter", **form: str) -> str:
    assert (await asks(mailbox.door, name, **form)).status_code == 200
    (mail,) = await mailbox.opened()
    return str(urlsplit(mail["link"]).path)


def stands(door: Door) -> set[tuple[str, str, str]]:
    rows = door.rows("SELECT account, container, identity, status FROM cell")
    return {(row["container"], row["identity"], row["status"]) for row in rows if row["account"] == "forms"}


async def test_nobody_is_on_the_list_before_the_button_behind_the_mailed_link_is_pressed(mailbox: Mailbox) -> None:
    door = mailbox.door
    shown = await door.send("GET", "/subscribe/newsletter")
    asked = await asks(door)
    assert (shown.status_code, asked.status_code) == (200, 200)
    assert "Monthly news" in asked.text
    assert "ann" not in asked.text.lower().replace("and", "")
    (mail,) = await mailbox.opened()
    assert (mail["email"], mail["titles"], mail["first_name"]) == ("ann@example.org", ["Monthly news"], "Ann Mary")
    assert mail["link"].startswith("https://sync.example.org/confirm/")
    assert door.rows("SELECT id FROM letter") == [], "once it is sent nothing is known of them"
    assert await mailbox.opened() == []
    link = urlsplit(mail["link"]).path
    for method in ("GET", "HEAD"):
        assert (await door.send(method, link)).status_code == 200
        assert (stands(door), door.consent(), door.woken) == (set(), {}, [])
    for _ in range(2):
        pressed = await door.send("POST", link)
        assert (pressed.status_code, "From now on" in pressed.text) == (200, True)
    assert stands(door) == {("newsletter", "ann@example.org", "subscribed")}
    assert door.rows("SELECT fields FROM cell") == [{"fields": '{"first_name":"Ann Mary"}'}]
    assert door.woken == ["one-click"] * 2
    assert door.rows("SELECT person_key FROM agenda")


async def test_whoever_asks_is_told_the_same_whether_known_suppressed_erased_or_new(mailbox: Mailbox) -> None:
    door = mailbox.door
    await door.send("POST", await link_of(mailbox, email="known@example.org"))
    ingest.unsubscribe(door.context, "suppressed@example.org", source="operator", evidence="called")
    erase(door.context, ingest.unsubscribe(door.context, "erased@example.org", source="operator", evidence="called"))
    answers = [await asks(door, email=f"{who}@example.org") for who in ("new", "known", "suppressed", "erased", "new")]
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert {mail["email"] for mail in await mailbox.opened()} == {
        f"{who}@example.org" for who in ("new", "known", "suppressed")
    }, "whoever was erased is not written to"
    assert door.rows("SELECT id FROM letter") == []


async def test_whoever_is_erased_while_a_mail_waits_stands_in_no_queue(mailbox: Mailbox) -> None:
    await asks(mailbox.door)
    erase(mailbox.door.context, ANN)
    assert mailbox.door.rows("SELECT id FROM letter") == []
    assert await mailbox.opened() == []


async def test_somebody_who_had_said_no_says_yes_with_evidence_and_to_no_more_than_they_asked_for(
    mailbox: Mailbox,
) -> None:
    door = mailbox.door
    ingest.unsubscribe(door.context, ANN, source="operator", evidence="called")
    ingest.unsubscribe(door.context, ANN, NEWS, source="operator", evidence="called")
    door.now += timedelta(hours=1)
    link = await link_of(mailbox)
    assert not any(level is Level.SUBSCRIBED for level in door.consent().values())
    door.now += timedelta(minutes=1)
    await door.send("POST", link)
    assert door.consent() == {GLOBAL: Level.SUBSCRIBED, NEWS: Level.SUBSCRIBED, EVENTS: Level.UNSUBSCRIBED}
    said = door.rows("SELECT scope, source, epoch, evidence FROM consent_event WHERE level = 2 ORDER BY scope")
    assert [(row["scope"], row["source"], row["epoch"]) for row in said] == [
        ("global", "forms", 1),
        ("newsletter", "forms", 1),
    ]
    assert all("confirmed by a link" in row["evidence"] for row in said)


async def test_a_no_after_they_asked_is_stronger_than_the_link(mailbox: Mailbox) -> None:
    door = mailbox.door
    link = await link_of(mailbox)
    door.now += timedelta(minutes=5)
    ingest.unsubscribe(door.context, ANN, NEWS, source="one-click", evidence="clicked")
    door.now += timedelta(minutes=5)
    answer = await door.send("POST", link)
    assert (answer.status_code, "used up" in answer.text) == (409, True)
    assert (door.consent(), stands(door)) == ({NEWS: Level.UNSUBSCRIBED}, set())
    assert (await door.send("POST", await link_of(mailbox))).status_code == 200
    assert door.consent() == {NEWS: Level.SUBSCRIBED}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_link_that_is_old_or_not_ours_confirms_nothing(mailbox: Mailbox, method: str) -> None:
    door = mailbox.door
    link = await link_of(mailbox)
    door.now += timedelta(days=7, seconds=1)
    for path in (link, link[:-1], "/confirm/x", f"/confirm/{'a' * 5000}", link.replace("confirm", "preferences")):
        assert (await door.send(method, path)).status_code == 404
    assert (stands(door), door.consent()) == (set(), {})


async def test_programs_strangers_and_those_in_a_hurry_get_nowhere(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=FORMED, SYNCD_SUBSCRIBE_FORM__SENDS_PER_MINUTE="6")
    trapped = await asks(door, website="https://spam.example")
    unknown = await door.send("POST", "/subscribe/secret", data=FORM)
    nobody = await asks(door, email="nobody")
    assert (trapped.status_code, unknown.status_code, nobody.status_code) == (200, 404, 400)
    assert "That is not an e-mail address" in nobody.text
    assert "nobody" not in nobody.text
    assert door.rows("SELECT id FROM letter") == []
    answers = [(await asks(door)).status_code for _ in range(5)]
    assert answers == [200] * 4 + [429]
    elsewhere = await door.send("POST", "/subscribe/events", data=FORM, headers={"x-forwarded-for": "8.8.8.8, 1.2.3.4"})
    assert elsewhere.status_code == 200, "what the proxy says of who sends is believed"
    assert len(door.rows("SELECT id FROM letter")) == 1, "asked twice is mailed once, and nobody is mailed without end"
    door.app.engine.dispose()


async def test_no_more_mails_wait_than_are_allowed(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=FORMED, SYNCD_SUBSCRIBE_FORM__QUEUE_MAX="2")
    answers = [await asks(door, email=f"a{n}@example.org") for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert "retry-after" in answers[2].headers
    door.app.engine.dispose()


async def test_a_mail_that_is_not_taken_is_tried_again_and_given_up_when_it_is_too_old(mailbox: Mailbox) -> None:
    door = mailbox.door
    await asks(door)
    mailbox.fails_with(75)
    with structlog.testing.capture_logs() as lines:
        await mailbox.opened()
        assert door.rows("SELECT attempts FROM letter") == [{"attempts": 1}]
        assert await mailbox.opened() == [], "not at once"
        door.now += timedelta(seconds=61)
        mailbox.fails_with(0)
        assert len(await mailbox.opened()) == 1
        await asks(door)
        mailbox.fails_with(75)
        await mailbox.opened()
        door.now += timedelta(days=1, seconds=1)
        await mailbox.opened()
    assert door.rows("SELECT id FROM letter") == []
    told = [line["event"] for line in lines if line["event"].startswith("letter.")]
    assert told == ["letter.not_sent", "letter.sent", "letter.not_sent", "letter.dropped"]
    assert "ann" not in str(lines)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/nowhere/mailer"], "cannot be started"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "took longer than 0.3 s"),
        (["/bin/sh", "-c", "exec <&-; exit 3"], "ended with 3"),
    ],
    ids=["missing", "stuck", "deaf"],
)
async def test_a_program_that_is_missing_stuck_or_deaf_keeps_nothing_waiting(
    mailbox: Mailbox, command: list[str], reason: str
) -> None:
    form = mailbox.door.form.model_copy(update={"confirm_command": tuple(command), "confirm_timeout": 0.3})
    await asks(mailbox.door)
    with structlog.testing.capture_logs() as lines:
        await Letters(mailbox.door.context, form, "https://a.example").send_due()
    (line,) = lines
    assert reason in line["reason"]
    assert len(mailbox.door.rows("SELECT id FROM letter")) == 1


async def test_the_program_sees_nothing_of_our_environment(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_ACCOUNTS__LEADS__API_KEY", "secret")
    form = mailbox.door.form.model_copy(update={"confirm_command": ("/bin/sh", "-c", "env >seen; cat >/dev/null")})
    await asks(mailbox.door)
    await Letters(mailbox.door.context, form, "https://a.example").send_due()
    seen = (mailbox.folder / "seen").read_text()
    assert "PATH=" in seen
    assert "secret" not in seen
    assert "ann@" not in seen


async def test_the_form_can_stand_in_pages_of_others_where_that_is_configured(sqlite_url: str, tmp_path: Path) -> None:
    door = Door(sqlite_url, tmp_path, config=FORMED)
    alone = (await door.send("GET", "/subscribe/newsletter")).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in alone
    door.app.engine.dispose()
    allowed = '["https://www.example.org", "https://*.example.net"]'
    door = Door(sqlite_url, tmp_path, config=FORMED, SYNCD_SUBSCRIBE_FORM__FRAME_ANCESTORS=allowed)
    answer = await door.send("GET", "/subscribe/newsletter")
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://www.example.org https://*.example.net")
    assert "default-src 'none'" in policy
    other = await door.send("GET", "/confirm/x")
    assert "frame-ancestors 'none'" in other.headers["content-security-policy"]
    door.app.engine.dispose()


@pytest.mark.parametrize(
    ("line", "instead", "where"),
    [
        ('lists = ["newsletter", "events"]', 'lists = ["newsletter", "evnts"]', "subscribe_form.lists"),
        ('public_url = "https://sync.example.org"', "", "receiver.public_url"),
        ("confirm_command =", "titles2 =", "subscribe_form"),
        ("titles = {{ newsletter", "titles = {{ newsleter", "subscribe_form.titles"),
        ("[receiver]", TAKEN + "[receiver]", "accounts.forms"),
        ("[subscribe_form]", "[subscribe_form]\nframe_ancestors = ['evil; script-src *']", "subscribe_form.frame"),
    ],
)
def test_a_form_that_cannot_work_keeps_it_from_starting(tmp_path: Path, line: str, instead: str, where: str) -> None:
    told = {"first_sync": "go", "max_count": 20, "on_unsubscribe": "remove", "on_absence": "ignore", "sales_list": "s"}
    assert line in FORMED
    (tmp_path / "syncd.toml").write_text(FORMED.replace(line, instead).format(url="sqlite:////nowhere.db", **told))
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path / "syncd.toml", {})
    assert any(problem.where.startswith(where) for problem in raised.value.problems)
