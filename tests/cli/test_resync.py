"""Begin again from the command line: exactly one way, by hand or beside the daemon."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.engine import Engine

from tests.cli.conftest import Desk

Holder = Callable[[Desk], Engine]


@pytest.mark.parametrize("given", [(), ("--reread", "--rebase")])
def test_exactly_one_way_is_named(small: Desk, given: tuple[str, ...]) -> None:
    done = small.run("resync", *given, "--json")
    assert done.code == 2
    assert "exactly one of" in done.data("error")["error"]["message"]


def test_what_is_not_there_cannot_be_resynced(small: Desk) -> None:
    assert "`crm`" in small.run("resync", "--reread", "--account", "crn").err
    assert "`newsletter`" in small.run("resync", "--reread", "--list", "newsletters").err
    done = small.run("resync", "--reread", "--email", "nobody@example.org", "--json")
    assert done.code == 1
    assert done.data("unknown")["known"] is False


@pytest.mark.parametrize("way", ["--reread", "--reassert", "--rebase"])
def test_it_is_written_down_while_another_process_holds_the_mirror(
    small: Desk, another_holder: Holder, way: str
) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    another_holder(small)
    shown = small.data("resync", way, "--email", "Ann@Example.org", "--account", "sales")
    assert (shown["people"], shown["would"]) == (1, None)
    assert (shown["email"], shown["account"]) == ("ann@example.org", "sales")
    assert shown["look_ups"] == (way == "--reread")


def test_a_rehearsal_names_who_would_be_told(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org")
    desk.wait(60)
    desk.run("sync")
    shown = desk.data("resync", "--reassert", "--dry-run")
    assert [(row["email"], row["account"], row["held"]) for row in shown["would"]] == [
        ("ann@example.org", "leads", None)
    ]
    told = desk.run("resync", "--reassert", "--dry-run")
    assert "would reassert: 1 people, 1 told again" in told.out
    assert "ann@example.org" in told.out
    assert "next: the same without --dry-run" in told.err
    assert desk.run("resync", "--reassert").code == 0
