"""Outbound connections: the test button, links, and what is said about them."""

from __future__ import annotations

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.cli.conftest import Desk

PARTNER = """
[accounts.partner]
provider = "http"
endpoint = "http://127.0.0.1:8705/subscribers"
test_endpoint = "http://127.0.0.1:8705/test/subscribers"
auth = { kind = "api_key", key = "http-key" }
"""


@pytest.fixture
def joined(small: Desk) -> Desk:
    small.configure(more=PARTNER)
    return small


def test_a_test_record_is_sent_to_the_test_endpoint_and_shown_without_secrets(joined: Desk) -> None:
    shown = joined.data("connection", "test", "partner")
    assert (shown["status"], shown["verdict"], shown["rule"]) == (201, "delivered", "as usual: 2xx: delivered")
    assert shown["request"]["headers"]["x-api-key"] == "**********"
    assert [record["test"] for record in joined.partner.tests] == ["true"]
    assert joined.partner.subscribers == {}
    done = joined.run("connection", "test", "partner", "--email", "Ann@example.org")
    assert done.code == 0
    assert "Ann@example.org" not in done.err
    assert "http-key" not in done.out + done.err
    assert joined.partner.tests[1]["email"] == "ann@example.org"


def test_a_live_test_goes_to_the_real_endpoint_and_leaves_no_trace_here(joined: Desk) -> None:
    assert joined.data("connection", "test", "partner", "--live", "--email", "ann@example.org")["live"]
    assert list(joined.partner.subscribers) == ["ann@example.org"]
    assert joined.run("inspect", "contacts", "--json").out.strip() == "[]"


@pytest.mark.parametrize(
    ("fault", "code", "verdict"),
    [("unwanted", 1, "rejected"), ("proof", 7, "stop"), ("unavailable", 7, "retry"), ("other", 1, None)],
)
def test_the_exit_code_says_what_the_answer_means(joined: Desk, fault: str, code: int, verdict: str | None) -> None:
    match fault:
        case "unwanted":
            joined.partner.unwanted.add("test@example.com")
        case "proof":
            joined.partner.proof = {"x-api-key": "another"}
        case "unavailable":
            joined.partner.faults.append(Fault(FaultKind.UNAVAILABLE))
        case _:
            rule = '[[accounts.partner.rules]]\nstatus = 201\ncontains = "welcome"\nverdict = "delivered"\n'
            joined.configure(more=PARTNER + rule)
    done = joined.run("connection", "test", "partner", "--json")
    assert done.code == code
    assert done.data("connection-test")["verdict"] == verdict


def test_a_receiver_that_is_not_there_ends_with_7(joined: Desk) -> None:
    joined.partner.faults.append(Fault(FaultKind.NO_CONNECTION))
    done = joined.run("connection", "test", "partner", "--json")
    assert done.code == 7
    assert done.data("error")["error"]["kind"] == "UnreachableError"


def test_nobody_who_said_no_is_tested_with(joined: Desk) -> None:
    joined.run("unsubscribe", "ann@example.org", "--list", "newsletter", "--no-push")
    for more in ([], ["--live"]):
        done = joined.run("connection", "test", "partner", "--email", "Ann@example.org", *more)
        assert done.code == 1
        assert "said no" in done.err
    assert joined.partner.calls == []


def test_what_is_no_test_is_refused(joined: Desk) -> None:
    assert joined.run("connection", "test", "crm").code == 2
    assert joined.run("connection", "test", "partner", "--email", "nobody").code == 2
    joined.configure(more=PARTNER.replace("test_endpoint", "#test_endpoint"))
    done = joined.run("connection", "test", "partner")
    assert done.code == 2
    assert "syncd connection test partner --live" in done.err
    assert joined.partner.calls == []


def test_lists_are_linked_listed_and_unlinked(joined: Desk) -> None:
    assert joined.data("connection", "list")["connections"] == [
        {"account": "partner", "takes_noes": False, "links": [], "ended": []}
    ]
    assert joined.data("connection", "link", "partner", "newsletter")["state"] == "linked"
    (entry,) = joined.data("connection", "list")["connections"]
    assert entry["links"] == [
        {"list": "newsletter", "id": "*", "source": "command", "since": "2026-11-21T12:00:00.000Z"}
    ]
    assert "newsletter" in joined.run("connection", "list").out
    assert joined.data("connection", "unlink", "partner", "newsletter")["state"] == "unlinked"
    (entry,) = joined.data("connection", "list")["connections"]
    at = "2026-11-21T12:00:00.000Z"
    assert entry["links"] == []
    assert entry["ended"] == [{"list": "newsletter", "id": "*", "source": "command", "since": at, "until": at}]
    assert at in joined.run("connection", "list").out
    assert joined.run("connection", "unlink", "partner", "newsletter").code == 1
    assert "newsletter linked to * at partner" in joined.run("connection", "link", "partner", "newsletter").out
    assert joined.data("connection", "link", "partner", "newsletter")["changed"] is False


def test_what_the_configuration_links_no_command_changes(joined: Desk) -> None:
    joined.configure(more=PARTNER)
    text = joined.config.read_text().replace('leads = "*"', 'leads = "*"\npartner = "*"')
    joined.config.write_text(text)
    assert joined.data("connection", "list")["connections"][0]["links"][0]["source"] == "configuration"
    assert joined.data("connection", "link", "partner", "newsletter")["by"] == "configuration"
    for what in (("link", "--as", "nl"), ("unlink",)):
        done = joined.run("connection", what[0], "partner", "newsletter", *what[1:])
        assert done.code == 1
        assert "[lists.newsletter]" in done.err


def test_only_connections_and_lists_that_are_there_are_linked(joined: Desk) -> None:
    assert joined.run("connection", "link", "mail", "newsletter").code == 2
    assert joined.run("connection", "link", "partner", "newsleter").code == 2


def test_status_says_who_has_to_be_unsubscribed_by_hand(joined: Desk) -> None:
    joined.run("connection", "link", "partner", "newsletter")
    joined.customer("ann@example.org")
    joined.run("sync")
    assert "ann@example.org" in joined.partner.subscribers
    joined.run("unsubscribe", "ann@example.org")
    joined.wait(60)
    joined.run("sync")
    assert joined.data_of_status()["by_hand"] == 1
    assert "by hand: 1 said no" in joined.run("status").out
