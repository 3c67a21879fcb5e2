"""Lists at the providers: made by command, and the addresses for notices about them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from syncd.domain.records import Delivery
from syncd.emulators.emulator import Fault, FaultKind
from syncd.providers.rocketresponder.webhook import ACTIONS, verify
from tests.cli.conftest import Desk

KEYS = ("permalink=tips", "from_name=John", "from_email=john@example.org", "address=PO Box 1 = the only one")
TIPS = ("list", "create", "mail", "Great Tips", *(word for key in KEYS for word in ("--set", key)))
OUTSIDE = '\n[receiver]\npublic_url = "https://sync.example.org"\n'
TWO = '\n[lists.events]\nmail = "15/5"\n'


def test_a_list_is_made_and_the_line_for_the_configuration_is_said(small: Desk) -> None:
    made = small.data(*TIPS)
    assert {key: made[key] for key in ("account", "provider", "name")} == {
        "account": "mail", "provider": "rocketresponder", "name": "Great Tips",
    }  # fmt: skip
    assert f'mail = "{made["remote_list"]}"' in made["next"]
    there = small.mail.lists[made["remote_list"]]
    assert (there.permalink, there.from_name, there.address) == ("tips", "John", "PO Box 1 = the only one")


def test_a_command_whose_answer_was_lost_may_be_repeated(small: Desk) -> None:
    small.mail.faults.append(Fault(FaultKind.ANSWER_LOST, "list/create"))
    lost = small.run(*TIPS)
    assert (lost.code, "looks first" in lost.err) == (7, True)
    again = small.run(*TIPS, "--json")
    assert again.code == 1
    assert 'write mail = "155"' in again.data("error")["error"]["hint"]
    assert [one.name for one in small.mail.lists.values()] == ["Newsletter", "Great Tips"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("mail", "T"), 2, "needs permalink, from_name, from_email, address"),
        (("mail", "T", "--set", "permlink=t"), 2, "did you mean `permalink`"),
        (("mail", "T", "--set", "permalink"), 2, "write KEY=VALUE"),
        (("mail", "T", "--set", "notify=1", "--set", "notify=2"), 2, "given twice"),
        (("leads", "T"), 2, "no call of rokt makes a list"),
        (("mial", "T"), 2, "did you mean `mail`"),
    ],
)
def test_what_makes_no_list_is_said_before_anything_is_sent(small: Desk, words: tuple[str, ...], code: int, said: str):
    done = small.run("list", "create", *words)
    assert (done.code, said in done.err) == (code, True), done.err
    assert small.mail.writes == 0


def test_a_list_that_is_not_taken_is_refused(small: Desk) -> None:
    done = small.run(*(word.replace("example.org", "yahoo.com") for word in TIPS))
    assert (done.code, "Yahoo" in done.err, small.mail.writes) == (1, True, 0)
    small.run(*TIPS)
    done = small.run(*(word.replace("Great Tips", "Other") for word in TIPS))
    assert (done.code, "Permalink must be unique" in done.err) == (1, True)


def test_each_list_and_action_has_its_line_and_leads_back(small: Desk) -> None:
    small.configure(more=OUTSIDE + TWO)
    rows = small.data("webhooks")
    assert [(row["list"], row["remote_list"], row["action"]) for row in rows] == [
        (ours, theirs, action) for ours, theirs in (("newsletter", "154"), ("events", "15/5")) for action in ACTIONS
    ]
    assert rows[7]["url"] == "https://sync.example.org/in/mail/15%2F5/subscribe/mail-hook"
    printed = small.run("webhooks", "mail")
    assert [line.split()[-1] for line in printed.out.splitlines()] == [row["url"] for row in rows]
    assert "mail-hook" not in printed.err
    for row in rows[:7]:
        route = tuple(urlsplit(row["url"]).path.split("/")[3:])
        verify(Delivery(route, "POST", {}, (), b"", small.at), ["mail-hook"])


def test_a_list_that_is_configured_by_another_of_its_names_has_its_own_id_in_the_address(small: Desk) -> None:
    small.configure(more=OUTSIDE)
    small.mail.lists["154"].permalink = "letters"
    small.config.write_text(small.config.read_text().replace('mail = "154"', 'mail = "letters"'))
    assert "has shown no list letters yet; next: syncd sync mail" in small.run("webhooks").err
    small.run("sync", "mail")
    done = small.run("webhooks", "--json")
    assert {row["remote_list"] for row in done.data("webhooks")} == {"154"}
    assert done.err == ""


def test_of_several_secrets_the_first_is_printed(small: Desk) -> None:
    small.configure(more=OUTSIDE)
    text = small.config.read_text().replace('"mail-hook"', '["newer", "older"]')
    small.config.write_text(text)
    assert {row["url"].rpartition("/")[2] for row in small.data("webhooks", "mail")} == {"newer"}


def test_what_the_addresses_are_made_of_must_be_there(small: Desk) -> None:
    text = small.config.read_text()
    small.config.write_text(text.replace('webhook_secret = "mail-hook"\n', ""))
    done = small.run("webhooks", "--json")
    assert done.code == 78
    assert [problem["where"] for problem in done.data("error")["error"]["problems"]] == [
        "accounts.mail.webhook_secret", "receiver.public_url",
    ]  # fmt: skip


def test_where_nothing_is_entered_by_hand_nothing_is_printed(small: Desk) -> None:
    assert small.run("webhooks", "crm").code == 2
    assert small.run("webhooks", "cmr").code == 2
    text = small.config.read_text()
    start = text.index("[accounts.mail]")
    small.config.write_text(text[:start] + text[text.index("[accounts.leads]") :].replace('mail = "154"\n', ""))
    done = small.run("webhooks")
    assert (done.code, done.out) == (0, "")
    assert small.data("webhooks") == []
