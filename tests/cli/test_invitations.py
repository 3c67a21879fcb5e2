"""Links that an operator puts into mails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncd.domain.consent import GLOBAL
from syncd.store.session import open_engine
from syncd.sync import one_click, preferences, signed
from tests.cli.conftest import Desk

URL = "https://sync.example.org"


@pytest.fixture
def open_desk(small: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("SYNCD_RECEIVER__PUBLIC_URL", URL)
    return small


def key_of(desk: Desk) -> bytes:
    engine = open_engine(desk.url)
    key = signed.signing_key(engine)
    engine.dispose()
    return key


def test_a_link_ends_everything_and_comes_with_the_two_headers(open_desk: Desk) -> None:
    printed = open_desk.run("unsubscribe-link", "Ann@Example.org")
    url, *headers = printed.out.splitlines()
    assert printed.code == 0
    assert headers == [f"List-Unsubscribe: <{url}>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]
    token = url.removeprefix(f"{URL}/unsubscribe/")
    assert one_click.read_token(key_of(open_desk), token) == ("ann@example.org", GLOBAL)
    assert "their mail alone" in printed.err


def test_a_link_of_one_list_that_is_good_for_a_while(open_desk: Desk) -> None:
    done = open_desk.run("unsubscribe-link", "ann@example.org", "--list", "newsletter", "--expires", "90d", "--json")
    shown = done.data("unsubscribe-link")
    assert (shown["scope"], shown["list"], shown["expires_at"]) == (
        "newsletter",
        "newsletter",
        "2027-02-19T12:00:00.000Z",
    )
    assert shown["headers"]["List-Unsubscribe"] == f"<{shown['url']}>"
    token, key = shown["url"].rpartition("/")[2], key_of(open_desk)
    assert one_click.read_token(key, token, open_desk.now() + timedelta(days=90)) is not None
    assert one_click.read_token(key, token, open_desk.now() + timedelta(days=90, seconds=1)) is None


def test_the_link_to_a_persons_own_page(open_desk: Desk) -> None:
    shown = open_desk.run("preferences-link", "ann@example.org", "--json").data("preferences-link")
    token = shown["url"].removeprefix(f"{URL}/preferences/")
    assert preferences.read_token(key_of(open_desk), token, open_desk.now()) == "ann@example.org"
    assert (shown["email"], shown["expires_at"]) == ("ann@example.org", None)
    assert open_desk.run("preferences-link", "ann@example.org").out == f"{shown['url']}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("unsubscribe-link", "nobody"), 2, "not an e-mail address"),
        (("preferences-link", "nobody"), 2, "not an e-mail address"),
        (("unsubscribe-link", "ann@example.org", "--list", "newslettr"), 2, "newsletter"),
        (("unsubscribe-link", "ann@example.org", "--expires", "soon"), 2, "--expires"),
    ],
)
def test_what_cannot_be_made_is_told(open_desk: Desk, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = open_desk.run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert told in done.err


@pytest.mark.parametrize("command", ["unsubscribe-link", "preferences-link"])
def test_without_the_address_that_the_world_sees_there_is_no_link(small: Desk, command: str) -> None:
    done = small.run(command, "ann@example.org")
    assert done.code == 78
    assert "receiver.public_url" in done.err
