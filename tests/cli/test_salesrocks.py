"""What Sales.Rocks can be asked besides lists: each call as a command, its answer in the published shape."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.cli.conftest import Desk

SECRET = "mailbox-password-9"


def asked(desk: Desk, name: str, *arguments: str) -> Any:
    """What a command prints with `--json`, held against its schema."""
    done = desk.run("salesrocks", name, *arguments, "--json")
    assert done.code == 0, done.err
    found = done.data(f"salesrocks-{name}")
    assert found["account"] == "sales"
    return found["result"]


def connection(desk: Desk, *more: str) -> list[str]:
    file = desk.folder / "secret"
    file.write_text(f"{SECRET}\n")
    return [
        "--email", "Outreach@Example.org", "--sender-name", "Example", "--secret-file", str(file), "--smtp-host",
        "smtp.example.org", "--test-to", "me@example.org", *more,
    ]  # fmt: skip


def test_every_call_of_the_document_has_a_command_that_prints_what_it_brought(small: Desk) -> None:
    small.sales.add_contact(small.sales_list, "ann@example.org")
    campaign = small.sales.add_campaign("First", [small.sales_list])
    assert asked(small, "verify-email", "Ann@catchall.example")["confidence_score"] == 56
    [valid, broken] = asked(small, "verify-phone", "38922037347", "3897820b4075")["phones"]
    assert (valid["status"], valid["country_isoCode"], broken["status"]) == ("VALID", "MK", "INVALID FORMAT")
    assert asked(small, "email-patterns", "example.com")["email_patterns"]
    assert asked(small, "linkedin-contacts", "Example.com")["contact_linkedin_handles"]
    page = "https://www.linkedin.com/company/example-gmbh/?trk=x"
    assert asked(small, "company-email", page) == {"company_email": "info@example-gmbh.com"}
    assert asked(small, "contact-emails", "example-gmbh")["contact_emails"]
    assert asked(small, "contact-email", "jane-doe-12")["contact_email"] == "jane.doe@example.com"
    assert asked(small, "email-by-company", "Jane", "Doe", "Example")["email"] == "jane.doe@example.com"
    assert asked(small, "email-by-domain", "Jane", "Doe", "example.com")["confidence"] >= 50
    assert "jdoe@example.com" in asked(small, "generate-email", "Jane", "Doe", "example.com")["emails"]
    [found] = asked(small, "list-names", "ann@example.org")["lists"]
    assert found["campaigns"] == [{"id": campaign, "name": "First"}]
    made = asked(small, "create-connection", *connection(small, "--imap-host", "imap.example.org"))
    assert (made["email"], made["imap_port"], made["permission"]) == ("outreach@example.org", "993", "private")
    warming = asked(
        small, "create-warmer", "--email", "outreach@example.org", "--start", "2026-11-22 09:00:00", "--mature"
    )
    assert (warming["connection_id"], warming["mature"], warming["stop_on_limit_reach"]) == (made["id"], True, False)
    assert len(asked(small, "create-list", "Prospects")["list_id"]) == 12
    paths = {call.path for call in small.sales.calls}
    assert paths >= set(small.sales.services.calls)


def test_a_person_reads_the_same_as_lines(small: Desk) -> None:
    done = small.run("salesrocks", "verify-email", "ann@likely.example")
    assert "confidence_score: 75" in done.out
    assert "disposable: no" in done.out
    assert "VALID" in small.run("salesrocks", "verify-phone", "38922037347").out


def test_nothing_found_is_an_answer(small: Desk) -> None:
    for way in ("empty", "404"):
        small.sales.services.finds_nothing = way
        assert asked(small, "email-patterns", "unknown.example") == {"email_patterns": []}
        assert asked(small, "company-email", "unknown-inc") == {"company_email": None}
        assert asked(small, "email-by-company", "Jane", "Doe", "Unknown Inc")["email"] is None


@pytest.mark.quirk("salesrocks-secret-comes-back")
def test_a_mailbox_s_password_is_sent_and_neither_printed_nor_kept(small: Desk) -> None:
    """Nor is the form of it that the answer brings back."""
    done = small.run("salesrocks", "create-connection", *connection(small), "--json", "-vv")
    given = small.sales.services.connections["outreach@example.org"]["data"]["secret"]
    sent = small.sales.calls[-1].body.decode()
    assert done.code == 0
    assert SECRET in sent
    small.sales.faults.append(Fault(FaultKind.TRUNCATED, "createEmailConnection"))
    failed = small.run("salesrocks", "create-connection", *connection(small), "-vv")
    assert failed.code == 7
    mirror = Path(small.url.removeprefix("sqlite:///"))
    kept = mirror.read_bytes() + b"".join(path.read_bytes() for path in mirror.parent.glob(f"{mirror.name}-*"))
    for secret in (SECRET, given):
        assert secret not in done.out + done.err + failed.out + failed.err
        assert secret.encode() not in kept


def test_the_answer_of_a_refused_connection_does_not_echo_the_password(small: Desk) -> None:
    small.sales.services.refuses_logins = True
    done = small.run("salesrocks", "create-connection", *connection(small), "--json")
    assert done.code == 1
    assert SECRET not in done.out + done.err
    error = done.data("error")["error"]
    assert (error["kind"], error["call"]) == ("RefusedError", "createEmailConnection")
    assert "Login of … with … failed" in error["message"]


def test_what_goes_wrong_says_where_and_what_to_do_next(small: Desk) -> None:
    small.sales.faults.append(Fault(FaultKind.NO_CONNECTION, times=9))
    done = small.run("salesrocks", "verify-email", "ann@example.org", "--json")
    assert done.code == 7
    assert done.data("error")["error"]["hint"] == "syncd account check sales"
    small.sales.faults.clear()
    small.sales.faults.append(Fault(FaultKind.ANSWER_LOST, "createList"))
    before = len(small.sales.lists)
    lost = small.run("salesrocks", "create-list", "Twice")
    assert lost.code == 7
    assert "before you ask again" in lost.err
    assert len(small.sales.lists) == before + 1, "it was sent once"
    unknown = small.run("salesrocks", "create-warmer", "--email", "x@example.org", "--start", "2026-11-22 09:00:00")
    assert unknown.code == 1
    assert "404" in unknown.err


def test_what_cannot_be_asked_is_not_sent(small: Desk) -> None:
    for arguments in (
        ["verify-email", "nobody"],
        ["verify-phone"],
        ["email-patterns", "no domain"],
        ["email-patterns", "-x.com"],
        ["company-email", "https://www.linkedin.com/"],
        ["email-by-domain", " ", "Doe", "example.com"],
        ["create-list", "x", "--permission", "world"],
        ["create-warmer", "--email", "x@example.org", "--start", "tomorrow"],
        ["verify-email", "ann@example.org", "--account", "crm"],
        ["verify-email", "ann@example.org", "--account", "salse"],
    ):
        done = small.run("salesrocks", *arguments)
        assert done.code == 2, arguments
    assert small.sales.calls == []


def test_a_password_file_that_is_missing_or_empty_is_told(small: Desk) -> None:
    missing = small.run("salesrocks", "create-connection", *connection(small), "--secret-file", "/nowhere/x")
    assert missing.code == 2
    (small.folder / "empty").write_text("\n")
    empty = small.run(
        "salesrocks", "create-connection", *connection(small), "--secret-file", str(small.folder / "empty")
    )
    assert (empty.code, "is empty" in empty.err) == (2, True)


def test_one_of_several_accounts_is_to_be_named(small: Desk) -> None:
    small.configure(more='\n[accounts.sales2]\nprovider = "salesrocks"\nusername = "x"\npassword = "y"\n')
    done = small.run("salesrocks", "verify-email", "ann@example.org")
    assert done.code == 2
    assert "sales, sales2" in done.err
    assert small.run("salesrocks", "verify-email", "ann@example.org", "--account", "sales").code == 0


def test_the_mirror_learns_nothing_of_what_is_asked_by_hand(small: Desk) -> None:
    asked(small, "verify-email", "somebody@example.org")
    with sqlite3.connect(small.url.removeprefix("sqlite:///")) as mirror:
        dump = "\n".join(mirror.iterdump())
    mirror.close()
    assert "somebody@example.org" not in dump
