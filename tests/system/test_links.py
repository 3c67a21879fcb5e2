"""Lists linked by command, to campaigns and connections: what unlinking stops, and which "no" is still owed."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.reconcile.spread import UNFOUNDED
from syncd.sync.push import push
from tests.scenes import (
    PARTNER,
    TWO_LISTS,
    Open,
    command,
    configured,
    explained,
    member,
    memberships,
    operations,
    person,
    plans,
    standing,
    values,
    with_two_lists,
)
from tests.virtual import run
from tests.world import CONFIG, World

ANN, BOB, CID, DAN = (f"{name}@example.org" for name in ("ann", "bob", "cid", "dan"))

BY_CAMPAIGN = TWO_LISTS.replace('leads = "*"', 'leads = "77"')
FIELDS = 'fields = {{ email = "email", list = "list" }}'
TELLS = f'unsubscribe = {{{{ endpoint = "http://127.0.0.1:8705/unsubscribes", {FIELDS} }}}}\n'
CONNECTED = f"{TWO_LISTS}{PARTNER}{FIELDS}\n{TELLS}"


def leads_of_events(open_world: Open, **given: Any) -> World:
    """Leads of campaign 88 go to `events`, and Bob is one of them."""
    world = with_two_lists(open_world(config=BY_CAMPAIGN, **given))
    command(world, "leads", "link", "88", "events")
    lead(world, BOB)
    return world


def lead(world: World, email: str, campaign: str = "88") -> None:
    world.wait(1)
    world.rokt.send_lead(email, email.partition("@")[0].title(), campaign=campaign)
    world.settle(2)


def told_to_rokt(world: World) -> set[str]:
    return set(world.rokt.unsubscribed)


def connected(open_world: Open, **given: Any) -> World:
    """The partner knows `events` as `ev`, and Ann was delivered."""
    world = with_two_lists(open_world(config=CONNECTED, **given))
    world.partner.deduplicates = False
    command(world, "connection", "link", "partner", "events", "--as", "ev")
    person(world, ANN, lists=("L-2",))
    world.settle()
    assert deliveries(world) == [(ANN, "ev")]
    return world


def deliveries(world: World) -> list[tuple[str, str]]:
    return [(record["email"], record["list"]) for record in world.partner.deliveries]


def taken_back(world: World) -> list[tuple[str, str]]:
    rows = operations(world, account="partner", kind="unsubscribe", state="done")
    return [(row["identity"], row["container"]) for row in rows]


def sound(world: World) -> bool:
    return command(world, "check", "--full").code == 0


# What unlinking still owes -------------------------------------------------------------------------------------------


def test_after_a_campaign_is_unlinked_the_no_of_whoever_came_in_by_it_reaches_rokt(open_world: Open):
    world = leads_of_events(open_world)
    person(world, DAN, lists=("L-2",))
    command(world, "leads", "unlink", "88", "events")
    lead(world, CID)
    person(world, CID, "Cid", lists=("L-2",))
    world.settle(2)
    assert [member(world, email, "L-2") for email in (BOB, CID, DAN)] == ["subscribed"] * 3
    for email in (BOB, CID, DAN):
        command(world, "unsubscribe", email, "--list", "events")
    world.settle(2)
    assert told_to_rokt(world) == {BOB}, "Cid came when the campaign led nowhere, and Dan never came from there"
    assert world.rows("SELECT * FROM v_drift WHERE account = 'leads'") == []
    (row,) = world.rows("SELECT * FROM v_propagation WHERE account = 'leads'")
    assert (row["email"], row["state"]) == (BOB, "done")
    assert sound(world)


def test_after_an_unlink_explain_says_why_a_no_goes_there(open_small_world: Open):
    world = leads_of_events(open_small_world)
    command(world, "leads", "unlink", "88", "events")
    command(world, "unsubscribe", BOB, "--list", "events", "--no-push")
    assert any("events, unlinked" in said for said in explained(world, BOB)["leads"]["rules"])
    world.settle(2)
    assert told_to_rokt(world) == {BOB}


def test_a_campaign_that_is_linked_elsewhere_owes_newcomers_nothing_for_the_list_it_left(open_small_world: Open):
    world = leads_of_events(open_small_world)
    command(world, "leads", "unlink", "88", "events")
    command(world, "leads", "link", "88", "newsletter")
    lead(world, CID)
    person(world, CID, lists=("L-2",))
    world.settle(2)
    for email in (BOB, CID):
        command(world, "unsubscribe", email, "--list", "events")
    world.settle(2)
    assert told_to_rokt(world) == {BOB}
    assert member(world, CID) == "subscribed"


def test_a_no_after_unlinking_reaches_who_was_delivered_and_nobody_who_came_by_another_list(open_small_world: Open):
    world = with_two_lists(open_small_world(config=CONNECTED))
    command(world, "connection", "link", "partner", "events")
    person(world, ANN, lists=("L-2",))
    world.settle()
    command(world, "connection", "link", "partner", "newsletter")
    command(world, "connection", "unlink", "partner", "events")
    world.wait(1)
    person(world, BOB, lists=("L-1", "L-2"))
    world.settle()
    assert [email for email, _ in deliveries(world)] == [ANN, BOB]
    for email in (ANN, BOB):
        command(world, "unsubscribe", email, "--list", "events")
    world.settle()
    assert taken_back(world) == [(ANN, "*")]
    assert memberships(world, BOB)["partner", "*"] == "subscribed"
    assert sound(world)


def test_who_is_answered_for_after_the_unlink_came_before_it(open_small_world: Open):
    world = with_two_lists(open_small_world(config=CONNECTED))
    command(world, "connection", "link", "partner", "events", "--as", "ev")
    person(world, ANN, lists=("L-2",))
    assert world.killed_round([], request=1, after_effect=True, path="/subscribers")
    command(world, "connection", "unlink", "partner", "events")
    world.wait(1)
    world.settle()
    command(world, "unsubscribe", ANN, "--list", "events")
    world.settle()
    assert taken_back(world) == [(ANN, "ev")]


def test_what_was_lost_on_its_way_came_by_the_list_it_was_sent_for_though_another_has_its_id(open_small_world: Open):
    world = with_two_lists(open_small_world(config=CONNECTED))
    for name in ("events", "newsletter"):
        command(world, "connection", "link", "partner", name, "--as", "ev")
    person(world, ANN, lists=("L-2",))
    assert world.killed_round([], request=1, after_effect=True, path="/subscribers")
    world.wait(1)
    command(world, "connection", "unlink", "partner", "events")
    world.wait(1)
    world.settle()
    person(world, BOB, lists=("L-1", "L-2"))
    world.settle()
    for email in (ANN, BOB):
        command(world, "unsubscribe", email, "--list", "events")
    world.settle()
    assert taken_back(world) == [(ANN, "ev")], "Bob came by the list that is delivered still"


# What unlinking stops ------------------------------------------------------------------------------------------------


def test_additions_of_an_unlinked_campaign_that_were_not_sent_are_withdrawn(open_small_world: Open):
    world = with_two_lists(open_small_world(config=BY_CAMPAIGN))
    for campaign in ("88", "99"):
        command(world, "leads", "link", campaign, "events")
    world.settle(2)
    for name in ("crm", "sales", "mail"):
        command(world, "account", "pause", name)
    lead(world, BOB)
    lead(world, CID, "99")
    assert {row["identity"] for row in operations(world, state="ready", kind="subscribe")} == {BOB, CID}
    command(world, "leads", "unlink", "88", "events")
    for name in ("crm", "sales", "mail"):
        command(world, "account", "resume", name)
    world.settle(2)
    assert [member(world, email, "L-2") for email in (BOB, CID)] == [None, "subscribed"]
    assert [row["email"] for row in world.rows("SELECT email FROM v_parked WHERE what = 'lead'")] == [BOB]


def test_an_addition_that_is_about_to_be_sent_when_its_campaign_is_unlinked_is_not(open_small_world: Open):
    world = with_two_lists(open_small_world(config=BY_CAMPAIGN))
    command(world, "leads", "link", "88", "events")
    world.settle(2)
    for name in ("crm", "sales", "mail"):
        command(world, "account", "pause", name)
    lead(world, BOB)
    command(world, "leads", "unlink", "88", "events")
    context = world.app.context
    assert run(world.loop, push(context.lanes["crm"], context)).sent == 0
    (op,) = operations(world, account="crm", kind="subscribe")
    assert (op["state"], op["reason"]) == ("superseded", UNFOUNDED)


def test_a_plan_that_waits_goes_with_the_link_that_it_came_from(open_small_world: Open):
    world = leads_of_events(open_small_world, first_sync="hold")
    assert {(plan["account"], plan["kind"]) for plan in plans(world)} >= {("crm", "subscribe")}
    command(world, "leads", "unlink", "88", "events")
    world.settle(2)
    assert plans(world) == []


# Links made anew -----------------------------------------------------------------------------------------------------


def test_under_another_id_the_list_is_delivered_anew_and_a_no_reaches_both(open_world: Open):
    world = connected(open_world)
    command(world, "connection", "link", "partner", "events", "--as", "events-2027")
    world.settle()
    assert deliveries(world) == [(ANN, "ev"), (ANN, "events-2027")]
    command(world, "connection", "unlink", "partner", "events")
    command(world, "unsubscribe", ANN, "--list", "events")
    world.settle()
    assert sorted(taken_back(world)) == [(ANN, "ev"), (ANN, "events-2027")]
    assert sound(world)


def test_who_was_delivered_under_an_id_is_not_delivered_again_when_it_is_linked_again(open_small_world: Open):
    world = connected(open_small_world)
    command(world, "connection", "unlink", "partner", "events")
    command(world, "connection", "link", "partner", "events", "--as", "ev")
    person(world, BOB, lists=("L-2",))
    world.settle()
    assert deliveries(world) == [(ANN, "ev"), (BOB, "ev")]


def test_an_id_that_the_configuration_names_later_ends_the_one_that_a_command_named(open_small_world: Open):
    world = connected(open_small_world)
    world._config = world._config.replace('mail = "155"', 'mail = "155"\npartner = "configured"')
    world.restart()
    world.settle()
    assert deliveries(world) == [(ANN, "ev"), (ANN, "configured")]
    command(world, "unsubscribe", ANN, "--list", "events")
    world.settle()
    assert sorted(taken_back(world)) == [(ANN, "configured"), (ANN, "ev")]


def test_a_link_is_of_the_provider_that_the_account_had(open_small_world: Open):
    world = connected(open_small_world)
    rokt = '[accounts.partner]\nprovider = "rokt"\napi_key = "k"\ninbound_auth = { kind = "api_key", key = "k" }\n'
    before = world._config
    world._config = before.partition("[accounts.partner]")[0] + rokt
    world.restart()
    assert world.rows("SELECT * FROM link WHERE account = 'partner'") == []
    shown = {
        row["campaign_id"]: row for row in command(world, "leads", "campaigns", "--account", "partner", "--json").data
    }
    assert all(row["lists"] == [] for row in shown.values())
    world._config = before
    world.restart()
    assert [row["container"] for row in world.rows("SELECT * FROM link WHERE account = 'partner'")] == ["ev"]


def test_a_list_that_is_configured_no_more_is_linked_to_nothing(open_small_world: Open):
    world = leads_of_events(open_small_world)
    world._config = configured(CONFIG).format(
        url=world.url, first_sync="go", max_count=20, on_unsubscribe="remove", on_absence="ignore",
        sales_list=world.sales_list,
    )  # fmt: skip
    world.restart()
    assert values(world, "link") == 4
    assert standing(world, BOB)["crm"] is None


@pytest.mark.parametrize("meanwhile", ["a lead, and the campaign unlinked", "a lead", "nothing"])
def test_a_no_after_a_yes_reaches_rokt_anew(open_small_world, meanwhile):
    """Bob came by 88 under events, left and said yes. Whatever was there since, Rokt hears of his next no."""
    world = leads_of_events(open_small_world)
    command(world, "unsubscribe", BOB, "--list", "events")
    world.settle(2)
    command(world, "resubscribe", BOB, "--list", "events", "--evidence", "form")
    world.settle(2)
    world.rokt.unsubscribed.clear()
    world.wait(60)
    if "lead" in meanwhile:
        lead(world, BOB)
    if "unlinked" in meanwhile:
        command(world, "leads", "unlink", "88", "events")
    command(world, "unsubscribe", BOB, "--list", "events")
    world.settle(2)
    assert told_to_rokt(world) == {BOB}
