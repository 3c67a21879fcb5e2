"""How everything stands, from a mirror that real rounds have filled; each exit code by what leads to it."""

from __future__ import annotations

from syncd.emulators.emulator import Fault, FaultKind
from tests.cli.conftest import Desk

HOURS = 3600


def test_nothing_read_yet_is_far_from_agreement(desk: Desk) -> None:
    done = desk.run("status", "--json")
    assert done.code == 3
    shown = done.data("status")
    assert (shown["converged"], shown["distance"], shown["oldest_read"]) == (False, 4, None)
    assert {account["state"] for account in shown["accounts"]} == {"new"}


def test_after_a_round_all_agree(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    done = desk.run("status")
    assert done.code == 0
    assert "converged\n" in done.out
    shown = desk.data("status")
    assert (shown["converged"], shown["distance"], shown["condition"]) == (True, 0, "converged")
    assert shown["grades"] == {"verified": 4, "accepted": 0, "assumed": 0, "unknown": 0}
    assert shown["oldest_read"] == "2026-11-21T12:00:00.000Z"
    assert shown["daemon"] is None


def test_grades_are_of_lists_of_ours_and_of_accounts_as_a_whole(small: Desk) -> None:
    other = small.sales.add_list("Prospects")
    small.sales.add_contact(other, "paul@example.org", "Paul Poe")
    small.customer("ann@example.org")
    small.run("sync")
    assert sum(small.data("status")["grades"].values()) == 4
    assert small.run("inspect", "contact", "paul@example.org").code == 0


def test_a_no_that_rokt_was_told_of_is_accepted_and_no_more(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    small.run("unsubscribe", "ann@example.org")
    assert small.data("status")["grades"]["accepted"] == 1


def test_an_account_not_read_for_three_intervals_is_stale(small: Desk) -> None:
    small.run("sync")
    small.wait(3 * 300)
    assert small.run("status").code == 0
    small.wait(1)
    done = small.run("status", "--json")
    assert done.code == 3
    assert done.data("status")["distance"] == 4
    assert "no good read within three intervals" in small.run("status").out


def test_credentials_that_are_refused_quarantine_the_account(small: Desk) -> None:
    small.run("sync")
    small.sales.password = "another"
    small.sales.revoke_tokens()
    small.wait(60)
    small.run("sync")
    done = small.run("status", "--json")
    assert done.code == 7
    states = {account["name"]: account["state"] for account in done.data("status")["accounts"]}
    assert states == {"crm": "ok", "sales": "quarantined", "mail": "ok", "leads": "ok"}
    assert "next: syncd account check sales" in small.run("status").err


def test_held_plans_wait_for_a_person(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    done = small.run("status", "--json")
    assert done.code == 4
    shown = done.data("status")
    assert (shown["held"], shown["distance"]) == (2, 2)
    assert {account["name"]: account["held"] for account in shown["accounts"]}["sales"] == 1


def test_an_unsubscribe_that_no_provider_took_for_two_days_is_overdue(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.mail.faults.append(Fault(FaultKind.NO_CONNECTION, times=99))
    assert desk.run("unsubscribe", "ann@example.org").code == 3
    desk.wait(47 * HOURS)
    desk.run("sync", "crm", "sales", "leads")
    assert desk.run("status", "--json").data("status")["overdue"] == 0
    desk.wait(2 * HOURS)
    done = desk.run("status", "--json")
    assert done.code == 5
    shown = done.data("status")
    assert shown["overdue"] == 1
    assert shown["reachable"] == 1
    assert "next: syncd inspect propagation --overdue" in desk.run("status").err


def test_a_no_that_nobody_worked_on_for_two_days_is_overdue(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org", "--no-push")
    assert desk.run("status", "--json").data("status")["due"] == 1
    desk.wait(49 * HOURS)
    done = desk.run("status", "--json")
    assert done.code == 5
    # Two records at ROCS, one at each of the other two, and Rokt, which is told.
    assert done.data("status")["overdue"] == 4 + 1


def test_an_old_no_of_somebody_who_was_imported_today_is_not_overdue(small: Desk) -> None:
    small.run("sync")
    small.run("unsubscribe", "ann@example.org")
    small.wait(72 * HOURS)
    small.customer("ann@example.org")
    small.rocs.poison.add("ann@example.org")  # no write of ours reaches her record
    small.run("sync")
    shown = small.data_of_status()
    assert shown["reachable"] == 2
    assert shown["overdue"] == 0


def test_a_parked_change_is_shown_and_does_not_count(small: Desk) -> None:
    small.mail.strict_emails = True
    small.customer("o'hara@example.org")
    small.run("sync")
    done = small.run("status", "--json")
    assert done.code == 0
    assert {account["name"]: account["parked"] for account in done.data("status")["accounts"]}["mail"] == 1


def test_what_is_left_of_an_account_that_is_not_configured_any_more_counts_nowhere(small: Desk) -> None:
    small.customer("ann@example.org")
    small.mail.faults.append(Fault(FaultKind.NO_CONNECTION, times=99))
    small.run("sync")
    text = small.config.read_text()
    without = text[: text.index("[accounts.mail]")] + text[text.index("[accounts.leads]") :].replace('mail = "154"', "")
    small.config.write_text(without)
    shown = small.data_of_status()
    assert [account["name"] for account in shown["accounts"]] == ["crm", "sales", "leads"]
    assert shown["look_ups"] == 0
    assert small.run("sync").code == 0
    assert small.data("status")["converged"]


def test_dark_opt_outs_are_told(small: Desk) -> None:
    campaign = small.sales.add_campaign("Spring", [small.sales_list], opted_out=0)
    small.customer("ann@example.org")
    for opted_out in (0, 2):
        small.sales.campaigns[campaign].stats["opted_out"] = opted_out
        for _ in range(2):
            small.run("sync")
            small.wait(3700)
    small.run("sync")
    (entry,) = small.run("status", "--json").data("status")["dark"]
    assert (entry["account"], entry["what"], entry["name"], entry["dark"]) == ("sales", "campaign", "Spring", 2)
    assert "sales, campaign Spring: 2 dark opt-outs" in small.run("status").out
    assert [row["kind"] for row in small.data("inspect", "drift")] == ["dark"]
    assert campaign in small.run("inspect", "drift").out
