"""Accounts and parked things, one at a time."""

from __future__ import annotations

from syncd.emulators.emulator import Fault, FaultKind
from tests.cli.conftest import Desk
from tests.cli.test_inspect import park_delivery
from tests.cli.test_people import left


def test_an_account_that_answers_is_ok_and_nothing_is_written_there(small: Desk) -> None:
    assert small.data("account", "check", "crm") == {
        "account": "crm", "provider": "rocs", "ok": True, "kind": None, "message": "", "hint": "",
    }  # fmt: skip
    assert small.rocs.writes == 0
    assert small.run("account", "check", "crm").out == "crm: ok\n"


def test_an_account_that_does_not_answer_says_what_is_wrong(small: Desk) -> None:
    small.rocs.faults.append(Fault(FaultKind.NO_CONNECTION, times=9))
    done = small.run("account", "check", "crm", "--json")
    assert done.code == 7
    assert done.data("account-check")["kind"] == "UnreachableError"
    small.rocs.faults.clear()
    small.rocs.client_secret = "another"
    done = small.run("account", "check", "crm", "--json")
    assert done.code == 7
    assert done.data("account-check")["kind"] == "UnauthorisedError"
    assert "rocs-secret" not in done.out


def test_an_account_that_is_not_there(small: Desk) -> None:
    for what in ("check", "pause", "resume"):
        assert small.run("account", what, "cmr").code == 2


def test_a_paused_account_is_left_alone_until_it_is_resumed(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    assert desk.data("account", "pause", "mail")["next"] == "syncd account resume mail"
    calls = len(desk.mail.calls)
    done = desk.run("unsubscribe", "ann@example.org")
    assert done.code == 3
    desk.run("sync")
    assert len(desk.mail.calls) == calls
    assert desk.data("account", "resume", "mail")["state"] == "ok"
    desk.wait(60)
    assert desk.run("sync").code == 0
    assert left(desk, "ann@example.org")


def test_an_account_that_was_never_read_is_resumed_as_new(small: Desk) -> None:
    small.run("account", "pause", "mail")
    assert small.data("account", "resume", "mail")["state"] == "new"


def test_a_quarantined_account_comes_back(small: Desk) -> None:
    small.sales.password = "another"
    small.run("sync", "sales")
    small.sales.password = "sales-secret"
    small.run("account", "resume", "sales")
    assert small.run("sync", "sales").code == 0
    assert small.run("status", "--json").data("status")["accounts"][1]["state"] == "ok"


def test_a_parked_change_is_tried_again(desk: Desk) -> None:
    desk.mail.strict_emails = True
    desk.customer("o'hara@example.org")
    desk.run("sync")
    [parked] = desk.data("inspect", "parked")
    desk.mail.strict_emails = False
    desk.wait(60)
    desk.run("sync")
    assert desk.mail.subscriber("154", "o'hara@example.org") is None
    assert desk.data("parked", "retry", parked["id"])["what"] == "change"
    assert desk.data("inspect", "parked") == []
    desk.run("sync")
    assert desk.mail.subscriber("154", "o'hara@example.org") is not None


def test_a_parked_delivery_is_read_again(desk: Desk) -> None:
    assert desk.run("parked", "retry", park_delivery(desk)).code == 0
    assert desk.data("inspect", "parked") == []
    desk.run("sync")
    assert "leads" in {m["account"] for m in desk.data("inspect", "contact", "lea@example.org")["memberships"]}


def test_a_record_without_an_address_waits_for_its_own_provider(small: Desk) -> None:
    small.customer("not an address")
    small.run("sync")
    [parked] = {row["id"] for row in small.data("inspect", "parked") if row["id"].startswith("crm/*")}
    done = small.run("parked", "retry", parked, "--json")
    assert done.code == 1
    assert done.data("error")["error"]["hint"] == "mend the address at crm"


def test_nothing_is_parked_under_that_id(small: Desk) -> None:
    done = small.run("parked", "retry", "4711")
    assert done.code == 1
    assert "next: syncd inspect parked" in done.err
