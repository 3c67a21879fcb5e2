"""One person by hand: why they stand where they do, their "no", their "yes"."""

from __future__ import annotations

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.cli.conftest import Desk


def sentences(desk: Desk, email: str, account: str) -> str:
    shown = desk.data("explain", email)
    return "\n".join(next(a["sentences"] for a in shown["accounts"] if a["account"] == account))


def left(desk: Desk, email: str) -> bool:
    """Whether somebody stands unsubscribed at RocketResponder."""
    subscriber = desk.mail.subscriber("154", email)
    return subscriber is not None and subscriber.status == "Unsubscribed"


# Explain -------------------------------------------------------------------------------------------------------------


def test_a_subscription_that_we_made_is_explained_by_where_it_came_from(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    shown = desk.data("explain", "Ann@example.org")
    assert shown["email"] == "ann@example.org"
    assert shown["events"] == []
    by_name = {account["account"]: account for account in shown["accounts"]}
    assert [seen["status"] for seen in by_name["crm"]["seen"]] == ["subscribed", "subscribed"]
    [sent] = by_name["sales"]["sent"]
    assert (sent["kind"], sent["state"]) == ("subscribe", "verified")
    assert sent["why"] == "joined the list elsewhere, and nothing suppresses them"
    assert by_name["crm"]["sent"] == []
    printed = desk.run("explain", "ann@example.org").out
    assert "Nobody ever said no" in printed
    assert "subscribe in list 154, because joined the list elsewhere" in printed


def test_a_no_is_explained_by_its_evidence_and_by_what_each_provider_answered(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org", "--evidence", "call of 21 November")
    shown = desk.data("explain", "ann@example.org")
    [event] = shown["events"]
    assert (event["scope"], event["level"]) == ("global", "unsubscribed")
    assert (event["evidence"], event["route"]) == ("call of 21 November", "command")
    assert "call of 21 November" in shown["sentences"][0]
    assert "accepted; cannot be read back there, receipt " in sentences(desk, "ann@example.org", "leads")
    assert "accepted and read back" in sentences(desk, "ann@example.org", "mail")
    for account in ("crm", "sales", "mail", "leads"):
        assert "Nothing more is to be done here." in sentences(desk, "ann@example.org", account)


def test_what_is_seen_and_not_planned_yet_is_explained_as_the_next_round_will_do_it(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    small.run("unsubscribe", "ann@example.org", "--no-push")
    told = sentences(small, "ann@example.org", "mail")
    assert 'A "no" for everything reaches list 154 (newsletter), which does not show it yet.' in told
    assert "Unsubscribe in list 154, because somebody who said no is still reachable here." in told
    assert "The next round sends unsubscribe to list 154." in told
    assert small.data("inspect", "outbox") == []


def test_what_waits_for_an_answer_or_for_a_person_says_so(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.run("sync")
    assert "Subscribe waits for a person (first-contact): `syncd plan`." in sentences(small, "ann@example.org", "sales")
    small.run("account", "pause", "sales")
    assert "The account is paused" in sentences(small, "ann@example.org", "sales")


def test_an_answer_that_was_lost_is_explained(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    small.mail.faults.append(Fault(FaultKind.NO_CONNECTION, times=99))
    small.run("unsubscribe", "ann@example.org")
    told = sentences(small, "ann@example.org", "mail")
    assert "not sent yet" in told
    assert "goes out with the next round" in told


def test_a_refused_change_is_explained_with_the_way_to_try_again(small: Desk) -> None:
    small.mail.strict_emails = True
    small.customer("o'hara@example.org")
    small.run("sync")
    [parked] = small.data("inspect", "parked")
    told = sentences(small, "o'hara@example.org", "mail")
    assert f"syncd parked retry {parked['id']}" in told
    assert "refused" in told


def test_a_list_that_is_not_ours_is_only_read(small: Desk) -> None:
    other = small.sales.add_list("Prospects")
    small.sales.add_contact(other, "paul@example.org", "Paul Poe")
    small.run("sync")
    assert f"List {other} is no list of ours" in sentences(small, "paul@example.org", "sales")


def test_somebody_known_at_an_account_that_is_not_configured_any_more(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    text = small.config.read_text()
    after = text[text.index("[accounts.leads]") :].replace('mail = "154"', "")
    small.config.write_text(text[: text.index("[accounts.mail]")] + after)
    assert [a["account"] for a in small.data("explain", "ann@example.org")["accounts"]] == ["crm", "sales", "leads"]


@pytest.mark.parametrize("command", ["explain", "inspect contact"])
def test_an_address_nobody_ever_heard_of(small: Desk, command: str) -> None:
    done = small.run(*command.split(), "nobody@example.org")
    assert done.code == 1
    assert "unknown to all" in done.out
    assert small.run(*command.split(), "nobody@example.org", "--json").data("unknown")["email"] == "nobody@example.org"


# Unsubscribe ---------------------------------------------------------------------------------------------------------


def test_a_no_is_sent_everywhere_at_once(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    pulled = len([call for call in desk.sales.calls if "getListData" in call.path])
    shown = desk.data("unsubscribe", "ANN@example.org")
    assert (shown["email"], shown["scope"], shown["list"], shown["daemon"]) == ("ann@example.org", "global", None, None)
    assert {a["account"]: a["accepted"] for a in shown["round"]["accounts"]} == {
        "crm": 2,
        "sales": 1,
        "mail": 1,
        "leads": 1,
    }
    assert left(desk, "ann@example.org")
    assert "ann@example.org" in desk.rokt.unsubscribed
    assert desk.sales.contacts_of(desk.sales_list) == []
    assert len([call for call in desk.sales.calls if "getListData" in call.path]) == pulled


def test_a_no_to_one_list_leaves_the_account_as_a_whole(small: Desk) -> None:
    small.customer("ann@example.org")
    small.run("sync")
    assert small.data("unsubscribe", "ann@example.org", "--list", "newsletter")["scope"] == "newsletter"
    memberships = small.data("inspect", "contact", "ann@example.org")["memberships"]
    at = {(m["account"], m["remote_list"]): m["status"] for m in memberships}
    assert (at["crm", "*"], at["crm", "L-1"], at["mail", "154"]) == ("subscribed", "unsubscribed", "unsubscribed")


def test_a_no_to_a_list_that_is_not_there_is_not_recorded(small: Desk) -> None:
    done = small.run("unsubscribe", "ann@example.org", "--list", "newslettr", "--json")
    assert done.code == 2
    assert done.data("error")["error"]["hint"] == "did you mean `newsletter`?"
    assert small.data("inspect", "consent") == []


def test_what_is_no_address_cannot_say_no(small: Desk) -> None:
    done = small.run("unsubscribe", "nobody", "--json")
    assert done.code == 2
    assert done.data("error")["error"]["kind"] == "DeliveryError"


def test_a_no_that_could_not_be_sent_is_kept_and_says_so(desk: Desk) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    desk.mail.faults.append(Fault(FaultKind.NO_CONNECTION, times=9))
    done = desk.run("unsubscribe", "ann@example.org")
    assert done.code == 3
    assert "recorded: ann@example.org said no to everything" in done.out
    desk.mail.faults.clear()
    desk.wait(60)
    desk.run("sync")
    assert left(desk, "ann@example.org")


def test_a_held_plan_elsewhere_does_not_make_a_no_fail(small: Desk) -> None:
    small.configure(first_sync="hold")
    small.customer("ann@example.org")
    small.customer("bob@example.org")
    small.run("sync")
    assert small.run("unsubscribe", "ann@example.org").code == 0
    assert small.data("inspect", "consent")[0]["email"] == "ann@example.org"


def test_while_the_daemon_runs_a_no_is_written_down_for_it(desk: Desk, another_holder) -> None:
    desk.customer("ann@example.org")
    desk.run("sync")
    writes = desk.mail.writes
    another_holder(desk)
    shown = desk.data("unsubscribe", "ann@example.org")
    assert (shown["daemon"], shown["round"]) == ("daemon/1", None)
    assert desk.mail.writes == writes
    assert desk.run("status", "--json").data("status")["due"] == 1
    assert "daemon/1 sends it" in desk.run("unsubscribe", "ann@example.org").err


# Resubscribe ---------------------------------------------------------------------------------------------------------


def test_a_yes_needs_a_list_and_evidence(small: Desk) -> None:
    assert small.run("resubscribe", "ann@example.org").code == 2
    assert small.run("resubscribe", "ann@example.org", "--list", "newsletter").code == 2
    assert small.run("resubscribe", "ann@example.org", "--list", "nothing", "--evidence", "x").code == 2
    assert small.data("inspect", "consent") == []


def test_a_yes_opens_the_next_epoch_of_its_scope(desk: Desk) -> None:
    desk.run("unsubscribe", "ann@example.org", "--list", "newsletter")
    shown = desk.data("resubscribe", "ann@example.org", "--list", "newsletter", "--evidence", "letter")
    assert (shown["scope"], shown["still_global"], shown["claims"]) == ("newsletter", False, 0)
    [said] = desk.data("inspect", "consent")
    assert (said["level"], said["epoch"], said["evidence"], said["source"]) == ("subscribed", 1, "letter", "operator")


def test_a_yes_to_a_list_does_not_outweigh_a_no_to_everything(desk: Desk) -> None:
    desk.run("unsubscribe", "ann@example.org")
    done = desk.run("resubscribe", "ann@example.org", "--list", "newsletter", "--evidence", "letter")
    assert "their no to everything stands" in done.out
    shown = desk.data("resubscribe", "ann@example.org", "--list", "global", "--evidence", "letter")
    assert (shown["scope"], shown["still_global"]) == ("global", False)
