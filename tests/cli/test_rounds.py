"""Rounds by hand, what they would do, and what a person decides; with and without a daemon that holds the mirror."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from syncd.app import HOLD_S, App
from syncd.emulators.emulator import Fault, FaultKind
from syncd.store import journal
from syncd.store.session import open_engine, reading, writing
from syncd.wire import Request, Response
from tests.cli.conftest import Desk

Holder = Callable[[Desk], Engine]


# A round -------------------------------------------------------------------------------------------------------------


def test_a_round_brings_the_accounts_together_and_says_what_it_did(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.sales.add_contact(desk.sales_list, "sam@example.org", "Sam Sung")
    shown = desk.data("sync")
    accounts = {entry["account"]: entry for entry in shown["accounts"]}
    assert (accounts["crm"]["pulled"], accounts["crm"]["new"]) == (2, 2)
    assert accounts["mail"]["accepted"] == 2
    assert shown["pending"] == {"outbox": 0, "look_ups": 0, "due": 0}
    assert shown["by"] == "this command"
    assert {row["email"] for row in desk.sales.contacts_of(desk.sales_list)} == {"ann@example.org", "sam@example.org"}
    again = desk.run("sync")
    assert again.code == 0
    assert "planned 0, held 0, claims 0" in again.out
    assert "next: syncd status" in again.err


def test_only_the_named_accounts_are_read(small: Desk) -> None:
    small.customer("ann@example.org")
    shown = small.run("sync", "sales", "--json").data("sync")
    assert [entry["account"] for entry in shown["accounts"]] == ["sales"]
    assert not small.rocs.calls


def test_full_reads_whole_lists_where_changes_would_do(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    small.wait(60)
    assert small.data("sync", "crm", "--full")["accounts"][0]["pulled"] == 2
    whole = [row["whole_at"] for row in small.data("inspect", "lists", "--account", "crm")]
    assert whole == ["2026-11-21T12:01:00.000Z"] * 2


def test_an_unknown_account_is_a_usage_error_with_the_nearest_name(small: Desk) -> None:
    done = small.run("sync", "mial", "--json")
    assert done.code == 2
    assert done.data("error")["error"]["hint"] == "did you mean `mail`?"


def test_one_account_that_fails_leaves_work_and_says_so(small: Desk) -> None:
    small.customer("ann@example.org")
    small.sales.password = "another"
    done = small.run("sync")
    assert done.code == 3
    assert "sales:" in done.out
    assert "failed" in done.out
    assert {row["email"] for row in small.data("inspect", "contacts")} == {"ann@example.org"}


def test_when_all_chosen_accounts_fail_nothing_was_reached(small: Desk) -> None:
    small.rocs.faults.append(Fault(FaultKind.NO_CONNECTION, times=9))
    done = small.run("sync", "crm", "--json")
    assert done.code == 7
    assert done.data("sync")["accounts"][0]["result"] == "failed"


def test_a_paused_account_waits_for_a_person(small: Desk) -> None:
    small.run("account", "pause", "crm")
    done = small.run("sync", "crm", "--json")
    assert done.code == 4
    assert done.data("sync")["paused"] == ["crm"]
    assert not small.rocs.calls
    assert small.run("sync", "sales").code == 0


def test_what_is_left_in_the_outbox_is_pending(small: Desk) -> None:
    small.customer("ann@example.org")
    small.sales.faults.append(Fault(FaultKind.UNAVAILABLE, path="addToList", times=9))
    done = small.run("sync", "--json")
    assert done.code == 3
    assert done.data("sync")["pending"]["outbox"] == 1


def test_a_round_leaves_the_mirror_for_others_to_take(small: Desk) -> None:
    small.run("sync")
    assert small.data("db", "status")["holder"] is None


# Through the daemon --------------------------------------------------------------------------------------------------


def test_a_running_daemon_is_asked_and_its_answer_shown(desk: Desk, another_holder: Holder) -> None:
    engine = another_holder(desk)
    crm: dict[str, object] = dict.fromkeys(
        ("pulled", "new", "changed", "looked_up", "sent", "accepted", "parked", "unknown", "postponed"), 0
    )
    crm |= {"account": "crm", "provider": "rocs", "result": "failed", "reason": "asked to wait", "hint": "wait"}
    outcome = {"accounts": [crm], "planned": 3, "learnt": 0, "by_hand": {}, "deliveries": 0, "passes": 1}
    asked: list[Any] = []

    def daemon() -> None:
        deadline = time.monotonic() + 20
        while not asked and time.monotonic() < deadline:
            with reading(engine) as connection:
                asked.extend(journal.asked_rounds(connection))
            time.sleep(0.01)
        with writing(engine) as connection:
            journal.answer_round(connection, asked[0].id, outcome, desk.at)

    thread = threading.Thread(target=daemon)
    thread.start()
    done = desk.run("sync", "crm", "sales", "--full", "--json")
    thread.join()
    assert done.code == 3
    assert (asked[0].accounts, asked[0].full) == (["crm", "sales"], True)
    shown = done.data("sync")
    assert (shown["planned"], shown["by"]) == (3, "daemon/1")
    assert "daemon/1 works on this mirror" in done.err
    assert not desk.rocs.calls


def test_a_daemon_that_broke_off_is_a_failure(small: Desk, another_holder: Holder) -> None:
    engine = another_holder(small)

    def daemon() -> None:
        asked: list[Any] = []
        while not asked:
            with reading(engine) as connection:
                asked = journal.asked_rounds(connection)
            time.sleep(0.01)
        with writing(engine) as connection:
            journal.answer_round(connection, asked[0].id, {"error": "the round broke off"}, small.at)

    thread = threading.Thread(target=daemon)
    thread.start()
    done = small.run("sync", "--json")
    thread.join()
    assert done.code == 1
    assert "the round broke off" in done.data("error")["error"]["message"]


def test_a_daemon_that_takes_long_is_not_waited_for_for_ever(small: Desk, another_holder: Holder) -> None:
    engine = another_holder(small)
    done = small.run("sync", "--timeout", "0.3")
    assert done.code == 3
    assert "did not answer within 0.3 s" in done.err
    with reading(engine) as connection:
        assert len(journal.asked_rounds(connection)) == 1


def test_the_daemon_itself_refuses_a_mirror_that_another_one_has(small: Desk, another_holder: Holder) -> None:
    another_holder(small)
    done = small.run("run", "--json")
    assert done.code == 78
    assert "daemon/1" in done.data("error")["error"]["message"]


def test_a_round_that_loses_the_mirror_stops(
    small: Desk, monkeypatch: pytest.MonkeyPatch, another_holder: Holder
) -> None:
    monkeypatch.setattr("syncd.cli.rounds.RENEW_S", 0)
    taken: list[Engine] = []
    answer = small.rocs.answer

    def taken_over(request: Request) -> Response:
        if not taken:
            small.wait(HOLD_S + 1)
            taken.append(another_holder(small))
        return answer(request)

    monkeypatch.setattr(small.rocs, "answer", taken_over)
    done = small.run("sync", "--json")
    assert done.code == 78
    assert "taken over" in done.data("error")["error"]["message"]
    assert small.data("db", "status")["holder"] == "daemon/1"


def test_a_round_goes_on_holding_the_mirror(small: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.cli.rounds.RENEW_S", 0)
    kept: list[bool] = []
    keep = App.keep

    def noted(app: App) -> bool:
        kept.append(keep(app))
        return kept[-1]

    monkeypatch.setattr(App, "keep", noted)
    small.customer("ann@example.org")
    assert small.run("sync").code == 0
    assert kept
    assert all(kept)


@pytest.mark.loopback
def test_the_daemon_runs_until_it_is_told_to_stop(small: Desk) -> None:
    small.configure(more='\n[receiver]\nlisten = "127.0.0.1:0"\n')
    small.customer("ann@example.org")
    engine = open_engine(small.url)

    def stop() -> None:
        deadline = time.monotonic() + 20
        good = None
        while good is None and time.monotonic() < deadline:
            with reading(engine) as connection:
                good = journal.load_account(connection, "crm").last_good_read
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    with writing(engine) as connection:
        journal.ensure_accounts(connection, {"crm": "rocs"})
    thread = threading.Thread(target=stop)
    thread.start()
    done = small.run("run")
    thread.join()
    engine.dispose()
    assert done.code == 0
    assert "ready; status page and receiver: http://127.0.0.1:" in done.err
    assert '"event": "daemon.stopped"' in done.err
    assert small.run("inspect", "contact", "ann@example.org").code == 0
    assert small.data("db", "status")["holder"] is None


# What a round would do -----------------------------------------------------------------------------------------------


def test_a_plan_names_who_why_and_what_waits_and_keeps_nothing(desk: Desk) -> None:
    desk.configure(first_sync="hold")
    desk.customer("ann@example.org")
    assert desk.run("sync").code == 4
    writes = desk.sales.writes + desk.mail.writes
    done = desk.run("plan", "--json")
    assert done.code == 4
    shown = done.data("plan")
    held = {entry["account"]: entry["held"] for entry in shown["accounts"]}
    assert held["sales"] == {"first-contact": 1}
    assert {(p["email"], p["account"], p["held"]) for p in shown["people"]} >= {
        ("ann@example.org", "sales", "first-contact")
    }
    assert all("joined the list elsewhere" in person["why"] for person in shown["people"])
    assert {plan["account"] for plan in shown["plans"]} == {"sales", "mail"}
    assert shown["plans"][0]["approve"] == f"syncd approve {shown['plans'][0]['id']}"
    assert desk.run("sync", "--dry-run", "--json").data("plan") == shown
    assert desk.sales.writes + desk.mail.writes == writes
    assert desk.data("inspect", "outbox") == []


def test_a_plan_for_a_person_names_people_only_when_asked(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    assert "ann@example.org" not in small.run("plan").out
    named = small.run("plan", "sales", "--people")
    assert "ann@example.org" in named.out
    assert "first-contact" in named.out
    assert "rocketresponder" not in named.out
    assert "154" not in named.out


def test_a_plan_of_nothing_waits_for_nobody(small: Desk) -> None:
    assert small.run("plan").code == 0
    assert small.data("plan")["people"] == []


# Decisions -----------------------------------------------------------------------------------------------------------


def plans_of(desk: Desk) -> dict[str, str]:
    return {plan["account"]: plan["id"] for plan in desk.run("plan", "--json").data("plan")["plans"]}


def test_an_approved_plan_goes_with_the_next_round(desk: Desk) -> None:
    desk.configure(first_sync="hold")
    desk.customer("ann@example.org")
    desk.run("sync")
    assert not desk.sales.contacts_of(desk.sales_list)
    ids = plans_of(desk)
    shown = desk.data("approve", *ids.values())
    assert {(one["account"], one["hold"], one["people"]) for one in shown["approved"]} == {
        ("sales", "first-contact", 1),
        ("mail", "first-contact", 1),
    }
    assert desk.run("sync").code == 0
    assert [row["email"] for row in desk.sales.contacts_of(desk.sales_list)] == ["ann@example.org"]
    assert desk.mail.subscriber("154", "ann@example.org") is not None
    assert not any(account["first_contact"] for account in desk.data("status")["accounts"])


def test_first_contact_ends_with_the_last_plan_of_an_account(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    small.run("approve", plans_of(small)["sales"])
    state = {
        account["name"]: account["first_contact"]
        for account in small.run("status", "--json").data("status")["accounts"]
    }
    assert (state["sales"], state["mail"]) == (False, True)


def test_a_plan_that_moved_is_not_approved(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    old = plans_of(small)["sales"]
    small.customer("bob@example.org")
    small.run("sync")
    done = small.run("approve", old, "--json")
    assert done.code == 4
    error = done.data("error")["error"]
    assert (error["kind"], error["hint"]) == ("ApprovalError", f"syncd plan {plans_of(small)['sales']}")
    assert not small.sales.contacts_of(small.sales_list)


def test_of_several_plans_those_that_are_there_are_approved(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    done = small.run("approve", plans_of(small)["sales"], "no-such-plan")
    assert done.code == 4
    assert "approved" in done.out
    assert "no-such-plan" in done.err
    assert "sales" not in plans_of(small)


def test_a_rejected_plan_stays_rejected(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    small.data("reject", *plans_of(small).values())
    assert small.run("sync").code == 0
    assert not small.sales.contacts_of(small.sales_list)
    assert "was rejected by a person" in small.run("explain", "ann@example.org").out


def test_approving_an_absence_accepts_the_smaller_list(small: Desk) -> None:
    small.configure(max_count=2)
    ids = [small.customer(f"p{n}@example.org") for n in range(8)]
    small.run("sync")
    for customer in ids[:7]:
        small.rocs.remove_member("L-1", customer)
    small.wait(600)
    assert small.run("sync", "crm", "--full").code == 4
    [plan] = [p for p in small.run("plan", "--json").data("plan")["plans"] if p["hold"] == "absence"]
    assert (plan["kind"], plan["count"]) == ("absence", 1)
    assert small.data("approve", plan["id"])["approved"][0]["hold"] == "absence"
    small.wait(600)
    small.run("sync", "crm", "--full")
    [listed] = [row for row in small.data("inspect", "lists", "--account", "crm") if row["remote_list"] == "L-1"]
    assert (listed["listed"], listed["doubt"]) == (1, "")


def test_a_mass_flip_spreads_once_it_is_approved(small: Desk) -> None:
    small.configure(max_count=2)
    for n in range(8):
        small.customer(f"p{n}@example.org")
    small.run("sync")
    for n in range(7):
        small.rocs.unsubscribe_member("L-1", f"p{n}@example.org")
    small.wait(60)
    assert small.run("sync").code == 4
    still = len(small.sales.contacts_of(small.sales_list))
    plans = [p for p in small.run("plan", "--json").data("plan")["plans"] if p["hold"] == "mass"]
    assert plans
    assert all(plan["release_at"] for plan in plans)
    small.data("approve", *(plan["id"] for plan in plans))
    small.run("sync")
    assert still == 8
    assert [row["email"] for row in small.sales.contacts_of(small.sales_list)] == ["p7@example.org"]
    # From here on it counts as said: nothing that follows from it is held again.
    small.sales.add_contact(small.sales_list, "p0@example.org")
    for _ in range(2):
        small.wait(60)
        small.run("sync")
    assert [row["email"] for row in small.sales.contacts_of(small.sales_list)] == ["p7@example.org"]


@pytest.fixture
def claimed(small: Desk) -> Desk:
    """Somebody said no, and was subscribed again at ROCS by somebody else."""
    small.customer("ann@example.org")
    small.run("sync")
    small.rocs.unsubscribe_member("L-1", "ann@example.org")
    small.wait(60)
    small.run("sync")
    small.rocs.mark_member("L-1", "ann@example.org", "subscribed")
    for _ in range(3):
        small.wait(60)
        small.rocs.mark_member("L-1", "ann@example.org", "subscribed")
        small.run("sync", "crm", "--full")
    return small


def test_a_claim_can_be_rejected_and_not_approved(claimed: Desk) -> None:
    shown = claimed.run("plan", "--json").data("plan")
    claim = shown["claims"][0]
    assert (claim["email"], claim["scope"]) == ("ann@example.org", "newsletter")
    assert "syncd reject ID" in claimed.run("plan").out
    done = claimed.run("approve", claim["id"], "--json")
    assert done.code == 4
    assert "resubscribe" in done.data("error")["error"]["hint"]
    for open_claim in shown["claims"]:
        assert claimed.data("reject", open_claim["id"])["rejected"][0]["what"] == "claim"
    assert claimed.run("plan", "--json").data("plan")["claims"] == []


def test_a_claim_is_granted_by_the_persons_own_word(claimed: Desk) -> None:
    shown = claimed.data(
        "resubscribe", "ann@example.org", "--list", "newsletter", "--evidence", "letter of 20 November"
    )
    assert shown["claims"] >= 1
    assert claimed.run("plan", "--json").data("plan")["claims"] == []
    with_evidence = [e["evidence"] for e in claimed.data("explain", "ann@example.org")["events"]]
    assert with_evidence[-1] == "letter of 20 November"


# A plan by its id ----------------------------------------------------------------------------------------------------


def test_a_plan_that_waits_shows_everybody_in_it_and_why(desk: Desk) -> None:
    desk.configure(first_sync="hold")
    desk.customer("ann@example.org")
    desk.run("sync")
    plan_id = next(row["id"] for row in desk.data("plan")["plans"] if row["account"] == "sales")
    done = desk.run("inspect", "plan", plan_id, "--json")
    assert done.code == 4
    shown = done.data("inspect-plan")
    assert [(row["email"], row["fields"]["first_name"]) for row in shown["people"]] == [("ann@example.org", "Ann")]
    assert "joined the list elsewhere" in shown["people"][0]["why"]
    assert desk.run("plan", plan_id, "--json").data("inspect-plan") == shown
    told = desk.run("plan", plan_id)
    assert "ann@example.org" in told.out
    assert f"next: syncd approve {plan_id}" in told.err


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_plan_that_moved_is_refused_and_what_moved_is_named_on_stdout_alone(small: Desk, verb: str) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    seen = next(row["id"] for row in small.data("plan")["plans"] if row["account"] == "sales")
    small.customer("bob@example.org")
    small.wait(300)
    small.run("sync")
    now = next(row["id"] for row in small.data("plan")["plans"] if row["account"] == "sales")
    done = small.run(verb, seen, "--json")
    assert done.code == 4
    error = done.data("error")["error"]
    assert error["plan"] == now != seen
    assert error["moved"] == [
        {
            "email": "bob@example.org",
            "account": "sales",
            "remote_list": small.sales_list,
            "kind": "subscribe",
            "what": "added",
        }
    ]
    told = small.run(verb, seen)
    assert told.code == 4
    assert "bob@example.org" in told.out
    assert "@" not in told.err
    assert f"next: syncd plan {now}" in told.err
    assert small.run("plan", seen).code == 4
    assert small.run(verb, now).code == 0
