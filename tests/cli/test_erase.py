"""Erase a person, and look for what is left."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import sys
from typing import Any

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.cli.conftest import Desk

ANN = "ann@example.org"


class Terminal(io.StringIO):
    """Somebody types."""

    def isatty(self) -> bool:
        return True


def known(desk: Desk) -> None:
    desk.customer("Ann@Example.org", "Ann", "Leeward")
    desk.customer("bob@example.org", "Bob", "Leeward")
    desk.run("sync")


def verified(desk: Desk, *more: str) -> tuple[int, Any]:
    done = desk.run("erase", ANN, "--verify", "--json", *more)
    return done.code, done.data("erase-verify")


def test_a_person_is_erased_everywhere_in_one_command_and_the_search_proves_it(desk: Desk) -> None:
    known(desk)
    code, before = verified(desk)
    assert code == 1
    assert {"cell", "person", "op"} <= {place["place"] for place in before["places"]}
    shown = desk.data("erase", ANN)
    assert shown["clean"], shown["places"]
    assert shown["asked"] == {"crm": "unsubscribe", "sales": "remove", "mail": "unsubscribe", "leads": "unsubscribe"}
    assert shown["again"] is False
    assert "backups" in shown["out_of_reach"][0]
    assert verified(desk)[0] == 0
    assert ANN in desk.rokt.unsubscribed
    assert [row["email"] for row in desk.sales.contacts_of(desk.sales_list)] == ["bob@example.org"]


def test_who_was_erased_is_told_apart_from_who_was_never_known(small: Desk) -> None:
    known(small)
    small.run("erase", ANN)
    for command in (("explain",), ("inspect", "contact")):
        done = small.run(*command, "ANN+shop@example.org", "--json")
        assert done.code == 0
        found = done.data("erased")
        assert found["erased_at"] == "2026-11-21T12:00:00.000Z"
        assert found["consent"][0]["level"] == "erased"
        assert {one["status"] for one in found["memberships"]} == {"unsubscribed", "removed"}
        assert "was erased at 2026-11-21T12:00:00.000Z" in small.run(*command, ANN).out
    assert small.run("explain", "carl@example.org").code == 1


def test_erasing_twice_does_no_harm_and_nobody_can_say_yes_for_the_erased(small: Desk) -> None:
    known(small)
    small.run("erase", ANN)
    writes = small.rocs.writes, small.sales.writes, small.mail.writes, small.rokt.writes
    again = small.data("erase", ANN)
    assert (again["again"], again["clean"], again["rows"]) == (True, True, {})
    assert again["erased_at"] == "2026-11-21T12:00:00.000Z"
    assert (small.rocs.writes, small.sales.writes, small.mail.writes, small.rokt.writes) == writes
    refused = small.run("resubscribe", ANN, "--list", "newsletter", "--evidence", "a form", "--json")
    assert refused.code == 1
    assert "erased" in refused.data("error")["error"]["message"]
    assert small.run("unsubscribe", ANN, "--evidence", "a letter from Ann Leeward").code == 0
    assert verified(small)[0] == 0


def test_while_a_provider_does_not_answer_the_address_waits_for_it_and_the_search_says_so(small: Desk) -> None:
    known(small)
    small.mail.faults.append(Fault(FaultKind.UNAVAILABLE, times=500))
    done = small.run("erase", ANN, "--json")
    shown = done.data("erase")
    assert done.code == 3
    assert shown["waiting"] == 1
    assert {place["place"] for place in shown["places"] if place["place"] != "small.db"} == {"transit"}
    small.mail.faults.clear()
    small.wait(3600)
    small.run("sync")
    assert verified(small)[0] == 0
    subscriber = small.mail.subscriber("154", ANN)
    assert subscriber is not None
    assert subscriber.status == "Unsubscribed"


@pytest.mark.parametrize(
    "form",
    [
        "ANN@example.org",
        "ann%40example.org",
        "616e6e406578616d706c652e6f7267",
        "x=YW5uQGV4YW1wbGUub3Jn",
        "sha256",
        "md5",
    ],
)
def test_the_search_finds_every_form_in_any_column_and_in_free_pages(small: Desk, form: str) -> None:
    small.run("status")
    value = hashlib.new(form, ANN.encode()).hexdigest() if form in {"sha256", "md5"} else form
    path = small.url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as mirror:
        mirror.execute("INSERT INTO meta VALUES ('note', ?)", (f"see {value}, please",))
    mirror.close()
    code, shown = verified(small)
    assert code == 1
    assert ("meta", "value", "note") in {(p["place"], p["column"], p["row"]) for p in shown["places"]}
    with sqlite3.connect(path) as mirror:
        mirror.execute("PRAGMA secure_delete=OFF")
        mirror.execute("DELETE FROM meta WHERE key = 'note'")
        mirror.commit()
    mirror.close()
    code, shown = verified(small)
    assert (code, {p["place"] for p in shown["places"]}) == (1, {"small.db"})


def test_a_person_at_a_terminal_is_asked_and_can_still_think_again(
    small: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(small)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert small.run("erase", ANN).code == 1
    assert verified(small)[0] == 1
    assert small.run("erase", ANN, "--yes").code == 0
