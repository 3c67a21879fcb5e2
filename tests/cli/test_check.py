"""Whether everything holds, as a person and as a script see it; what is sent while it does not."""

from __future__ import annotations

import sqlite3

import pytest

from syncd.store.invariants import INVARIANTS
from tests.cli.conftest import Desk


def by_hand(desk: Desk, statement: str) -> None:
    with sqlite3.connect(desk.url.removeprefix("sqlite:///")) as connection:
        connection.execute(statement)
    connection.close()


def test_a_mirror_that_is_whole(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org")
    done = desk.run("check", "--json")
    assert done.code == 0
    shown = done.data("check")
    assert (shown["whole"], shown["full"], shown["breach"]) == (True, False, [])
    assert [one["name"] for one in shown["invariants"]] == [invariant.name for invariant in INVARIANTS]
    assert {one["state"] for one in shown["invariants"]} == {"ok"}
    assert desk.run("check", "--full").code == 0
    assert desk.data("check", "--full")["full"]


@pytest.mark.parametrize("arguments", [("check",), ("status",), ("sync",)])
def test_a_mirror_that_is_not_ends_with_6_and_says_what_to_do(small: Desk, arguments: tuple[str, ...]) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    by_hand(small, "INSERT INTO link (list, account, container, scope) VALUES ('newsletter', 'gone', '7', 'x')")
    by_hand(small, "UPDATE container SET rows = 9 WHERE container = 'L-1'")
    small.run("check")
    small.wait(60)
    done = small.run(*arguments)
    assert done.code == 6
    assert "counts-agree" in done.out
    assert "syncd check --full" in done.err
    if arguments != ("sync",):  # which reads the list again
        shown = small.run(*arguments, "--json").data(arguments[0])
        (entry,) = shown["breach"]
        assert (entry["invariant"], entry["since"]) == ("counts-agree", "2026-11-21T12:00:00.000Z")
        assert entry["examples"] == ["crm/L-1: 9 listed, 1 kept"]


def test_it_is_whole_again_after_what_the_hint_says(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    by_hand(small, "UPDATE container SET rows = 9 WHERE container = 'L-1'")
    done = small.run("check")
    assert done.code == 6
    assert "syncd sync ACCOUNT --full" in done.out
    small.rocs.add_member("L-1", small.rocs.add_customer("bob@example.org"))
    small.wait(60)
    assert small.run("sync", "crm", "--full").code == 6
    assert not small.mail.subscriber("154", "bob@example.org")
    assert small.run("check").code == 0
    assert small.run("sync").code == 0
    assert small.mail.subscriber("154", "bob@example.org")


def test_a_loss_is_accepted_when_somebody_says_so(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    small.run("unsubscribe", "ann@example.org")
    assert small.run("check").code == 0
    for table in ("consent", "consent_event"):
        with sqlite3.connect(small.url.removeprefix("sqlite:///")) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
            )
            for (name,) in names.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        connection.close()
        by_hand(small, f"DELETE FROM {table}")
    assert small.run("check").code == 6
    assert small.run("check", "--accept").code == 0
    assert small.run("check", "--full").code == 0
