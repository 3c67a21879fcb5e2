"""Four providers come to agree, stay so without a single write, and a "no" at any of them arrives at the others."""

from __future__ import annotations

import json

import pytest

from syncd.sync.steer import pause, resume
from tests.scenes import (
    DAY,
    EVENTS,
    IN,
    JOINED,
    LEFT,
    OTHERS,
    QUERY_API,
    TWO_LISTS,
    calls,
    command,
    configured,
    consent,
    contacts,
    marks,
    member,
    memberships,
    names_of,
    notices,
    operations,
    people,
    person,
    plans,
    sent_to,
    standing,
    subscriber,
    suppressed,
    values,
    with_two_lists,
    written,
)
from tests.world import World


def somebody_everywhere(world: World) -> None:
    """People who began at different providers."""
    people(world, 3)
    world.sales.add_contact(world.sales_list, "sam@example.org", "Sam Sung")
    world.mail.add_subscriber("154", "mary@example.org", "Mary Jane")
    world.rokt.send_lead("lea@example.org", "Lea", "Dee")


@pytest.mark.parametrize("on_unsubscribe", ["remove", "field"])
def test_after_one_round_all_agree_and_from_then_on_nothing_is_written_or_planned(open_world, on_unsubscribe):
    world = open_world(on_unsubscribe=on_unsubscribe)
    somebody_everywhere(world)
    world.settle(2)
    for email in ("p0@example.org", "p1@example.org", "p2@example.org", "sam@example.org", "lea@example.org"):
        assert standing(world, email) == JOINED
    before, planned = world.writes, values(world, "op")
    assert not any(world.rows("SELECT * FROM v_outbox"))
    for seconds in (60, 300, DAY + 60, 60):
        world.wait(seconds)
        done = world.round()
        assert not done.failed
        assert world.writes == before
        assert values(world, "op") == planned
        assert world.rows("SELECT * FROM v_outbox") == []
    world.round(full=True)
    assert (world.writes, values(world, "op")) == (before, planned)


def everybody_joined(world: World, count: int = 2) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def test_an_unsubscribe_from_a_rocs_list_arrives_at_the_other_three(open_world):
    world = open_world()
    gone, stays = everybody_joined(world)
    world.rocs.unsubscribe_member("L-1", gone)
    world.round()
    assert standing(world, gone) == LEFT
    assert standing(world, stays) == JOINED
    assert consent(world, gone) == [True], "a no to one list is no no to everything"


@pytest.mark.parametrize("noticed", ["by its notice", "by its count"])
def test_an_unsubscribe_at_rocketresponder_arrives_at_the_other_three(open_small_world, noticed):
    world = open_small_world()
    gone, stays = everybody_joined(world)
    if noticed == "by its notice":
        notices(world)
    world.mail.person_unsubscribes("154", gone)
    world.round()
    assert standing(world, gone) == LEFT
    assert standing(world, stays) == JOINED


def test_an_unsubscribe_at_rokt_ends_everything_at_the_other_three(open_small_world):
    world = open_small_world()
    gone, stays = everybody_joined(world)
    world.rokt.person_unsubscribes(gone)
    world.round()
    assert standing(world, gone) == LEFT
    assert consent(world, gone) == [False]
    assert standing(world, stays) == JOINED
    assert not any(name == "rokt" for name, _, _ in written(world)), "Rokt knows it already"


def test_a_mark_at_salesrocks_arrives_at_the_other_three(open_world):
    world = open_world(on_unsubscribe="field")
    gone, stays = everybody_joined(world)
    world.sales.set_field(world.sales_list, gone, "status", "unsubscribed")
    world.round()
    assert standing(world, gone) == LEFT | {"sales": ["unsubscribed"]}
    assert standing(world, stays) == JOINED


def test_where_absence_is_an_opt_out_it_takes_two_whole_listings_and_a_question_about_the_one_record(open_world):
    world = open_world(on_absence="unsubscribe")
    gone, stays = everybody_joined(world)
    world.sales.remove_contact(world.sales_list, gone)
    before = world.writes
    world.round()
    assert world.writes == before, "once is not enough"
    assert memberships(world, gone)["sales", world.sales_list] == "subscribed"
    world.wait(300)
    seen = marks(world)
    world.round()
    assert names_of(calls(world, seen)["salesrocks"]).count("getContact") == 1
    assert memberships(world, gone)["sales", world.sales_list] == "removed"
    assert standing(world, gone) == LEFT
    assert standing(world, stays) == JOINED


def test_consent_withdrawn_at_rocs_ends_everything_in_every_list_also_in_those_that_are_not_linked(open_world):
    world = with_two_lists(open_world(config=TWO_LISTS))
    email = "ann@example.org"
    customer = person(world, email, lists=("L-1", "L-2", "L-9"))
    person(world, "bob@example.org", lists=("L-1", "L-2", "L-9"))
    world.sales.add_contact(OTHERS, email, "Ann Bee")
    world.settle(2)
    assert (standing(world, email), subscriber(world, email, "155")) == (JOINED, "Confirmed")
    world.rocs.edit_customer(customer, consent=False)
    world.settle(2)
    assert standing(world, email) == LEFT
    assert [member(world, email, one) for one in ("L-1", "L-2", "L-9")] == ["unsubscribed"] * 3
    assert [contacts(world, email, one) for one in (world.sales_list, EVENTS, OTHERS)] == [[], [], []]
    assert subscriber(world, email, "155") == "Unsubscribed"
    assert suppressed(world, "global") == {email}
    assert standing(world, "bob@example.org") == JOINED
    assert member(world, "bob@example.org", "L-9") == "subscribed"


def test_leaving_one_list_touches_no_other_list_and_no_consent(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    email = "ann@example.org"
    person(world, email, lists=("L-1", "L-2", "L-9"))
    world.sales.add_contact(OTHERS, email, "Ann Bee")
    world.settle(2)
    before = marks(world)
    world.mail.person_unsubscribes("154", email)
    world.settle(2)
    assert standing(world, email) == LEFT
    assert consent(world, email) == [True]
    assert [member(world, email, one) for one in ("L-2", "L-9")] == ["subscribed"] * 2
    assert [len(contacts(world, email, one)) for one in (EVENTS, OTHERS)] == [1, 1]
    assert subscriber(world, email, "155") == "Confirmed"
    assert suppressed(world, "newsletter") == {email}
    assert suppressed(world, "events") == suppressed(world, "global") == set()
    assert len(written(world, before)) == 3, "one call each at ROCS, Sales.Rocks and Rokt"
    seen = memberships(world, email)
    assert (seen["crm", "L-2"], seen["sales", EVENTS], seen["mail", "155"]) == ("subscribed",) * 3


def test_lists_that_are_not_linked_are_mirrored_and_never_written(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS, on_unsubscribe="field"))
    customer = person(world, "ann@example.org", lists=("L-1", "L-9"))
    person(world, "only@example.org", "Only", "Here", lists=("L-9",))
    world.sales.add_contact(OTHERS, "ann@example.org", "Ann Bee")
    world.sales.add_contact(OTHERS, "lone@example.org", "Lone Star")
    world.settle(2)
    # What happens in a list of nobody's stays there: joining it, leaving it, and another name.
    world.sales.set_field(OTHERS, "ann@example.org", "status", "unsubscribed")
    world.rocs.unsubscribe_member("L-9", "ann@example.org")
    world.rocs.edit_customer(customer, first_name="Anna")
    world.settle(3)
    assert memberships(world, "lone@example.org") == {("sales", OTHERS): "subscribed"}
    assert memberships(world, "only@example.org") == {("crm", "*"): "subscribed", ("crm", "L-9"): "subscribed"}
    assert memberships(world, "ann@example.org")["crm", "L-9"] == "unsubscribed"
    assert standing(world, "ann@example.org") == JOINED
    assert contacts(world, "ann@example.org")[0]["name"] == "Anna Bee"
    assert contacts(world, "ann@example.org", OTHERS)[0]["name"] == "Ann Bee"
    assert not contacts(world, "only@example.org")
    assert {row["container"] for row in operations(world)} <= {"*", "L-1", "154", world.sales_list}
    assert not any("/L-9/" in path or OTHERS in body for _, path, body in written(world))
    lists = {(row["account"], row["remote_list"]): row["list"] for row in world.rows("SELECT * FROM v_lists")}
    assert (lists["sales", OTHERS], lists["crm", "L-9"], lists["mail", "199"]) == (None, None, None)


def test_a_lead_from_rokt_arrives_on_the_linked_lists_at_the_other_three(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    world.settle(2)
    world.rokt.send_lead("lea@example.org", "Lea", "Dee", mobile="+4915112345678")
    world.settle(2)
    assert standing(world, "lea@example.org") == JOINED
    (customer,) = (one for one in world.rocs.customers.values() if one.email == "lea@example.org")
    assert (customer.first_name, customer.last_name, customer.mobile) == ("Lea", "Dee", "+4915112345678")
    assert contacts(world, "lea@example.org")[0]["name"] == "Lea Dee"
    found = world.mail.subscriber("154", "lea@example.org")
    assert found is not None
    assert found.name == "Lea Dee"
    assert member(world, "lea@example.org", "L-2") is None
    assert contacts(world, "lea@example.org", EVENTS) == []
    assert subscriber(world, "lea@example.org", "155") is None


def test_campaigns_of_rocs_salesrocks_and_rokt_are_in_the_view_and_samples_are_added_on_change_only(open_world):
    world = open_world(config=configured(leads=QUERY_API))
    world.rocs.add_campaign("K-1", "Spring", sent=100, opened=40, clicked=9, bounced=2, unsubscribed=1)
    world.sales.add_contact(world.sales_list, "sam@example.org", "Sam Sung")
    drip = world.sales.add_campaign("Drip", [world.sales_list], sent=50, opened=20, clicked=5, bounced=1, opted_out=3)
    world.rokt.add_campaign("900", "Offer", {"2026-11-01": {"impressions": 10, "referrals": 2}})
    world.settle(2)
    rows = {row["campaign_id"]: dict(row) for row in world.rows("SELECT * FROM v_campaigns")}
    counted = ("account", "provider", "name", "sent", "opened", "clicked", "bounced", "unsubscribed")
    assert [rows["K-1"][name] for name in counted] == ["crm", "rocs", "Spring", 100, 40, 9, 2, 1]
    assert [rows[drip][name] for name in counted] == ["sales", "salesrocks", "Drip", 50, 20, 5, 1, 3]
    assert [rows["900"][name] for name in counted] == ["leads", "rokt", "Offer", None, None, None, None, None]
    samples = values(world, "campaign_sample")
    assert samples == 3
    world.wait(3700)
    asked = marks(world)
    world.round()
    assert "stats" in names_of(calls(world, asked)["rocs"]), "it was asked again"
    assert values(world, "campaign_sample") == samples
    world.rocs.count("K-1", opened=41)
    world.rokt.campaigns["900"].days[world.clock().date()] = {"referrals": 1}
    world.wait(3700)
    world.round()
    assert values(world, "campaign_sample") == samples + 2
    assert world.rows("SELECT opened FROM v_campaigns WHERE campaign_id = 'K-1'") == [{"opened": 41}]
    history = world.rows("SELECT opened FROM campaign_sample WHERE campaign_id = 'K-1' ORDER BY id")
    assert [row["opened"] for row in history] == [40, 41]


def test_campaigns_at_salesrocks_are_found_by_asking_about_the_fewest_people_who_cover_all_lists(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    for number, list_uuid in enumerate((world.sales_list, EVENTS, OTHERS)):
        for n in range(4):
            world.sales.add_contact(list_uuid, f"only{number}{n}@example.org", "Only One")
        world.sales.add_campaign(f"Drip {number}", [list_uuid], sent=number)
    for list_uuid in (world.sales_list, EVENTS):
        world.sales.add_contact(list_uuid, "zoe@example.org", "Both Ways")
    world.round(["sales"])
    asked = [call for call in calls(world)["salesrocks"] if call.path.endswith("getListNameAndIds")]
    assert len(asked) == 2, "one for the two lists that share somebody, one for the third"
    assert sent_to(asked)[0] == {"email": "zoe@example.org"}
    assert values(world, "v_campaigns") == 3


def test_counters_of_rocketresponder_subscribers_are_added_when_they_change(open_world):
    world = open_world()
    person(world, "ann@example.org")
    world.settle(2)
    notices(world)
    query = "SELECT counters FROM counter_sample WHERE account = 'mail' AND key = 'ann@example.org'"
    before = len(world.rows(query))
    assert before == 1
    world.mail.mail("154")
    world.mail.open_mail("154", "ann@example.org")
    world.round()
    assert len(world.rows(query)) == before + 1
    (latest,) = world.rows("SELECT counters FROM v_counters WHERE account = 'mail' AND email = 'ann@example.org'")
    assert json.loads(latest["counters"]) == {"sent": 1, "opened": 1, "clicked": 0, "bounced": 0}
    world.wait(300)
    world.mail.outgoing.clear()
    world.mail.webhook_urls["154", "open"] = f"{IN}/mail/154/open/mail-hook"
    world.wait(DAY)
    world.round()  # asked about again by age, and nothing moved
    assert len(world.rows(query)) == before + 1
    assert operations(world, account="mail", kind="update") == []


def test_custom_fields_of_rocketresponder_are_mirrored_as_they_came_and_mapped_where_that_is_configured(
    open_small_world,
):
    world = open_small_world(
        config=configured(
            mail='fields = {{ company = "custom:Company", phone = "custom:Mobile" }}',
            **{"fields.company": 'kind = "text"'},
        )
    )
    person(world, "ann@example.org")
    world.settle(2)
    there = world.mail.subscriber("154", "ann@example.org")
    there.custom = {"Company": "Bee & Sons", "Mobile": "+46 70 123 45 67", "Shoe": "43"}
    world.wait(DAY)
    world.settle(2)
    (row,) = world.rows("SELECT fields, raw FROM v_memberships WHERE account = 'mail' AND email = 'ann@example.org'")
    mapped = {"company": "Bee & Sons", "phone": "+46701234567"}
    assert json.loads(row["fields"]).items() >= mapped.items()
    assert json.loads(row["raw"])["Custom"] == there.custom
    (merged,) = world.rows("SELECT fields FROM v_contacts WHERE email = 'ann@example.org'")
    assert json.loads(merged["fields"]).items() >= mapped.items()


def test_a_round_at_salesrocks_with_nothing_changed_costs_the_lists_and_one_call_per_page(open_small_world):
    world = open_small_world(config=configured(sales="page_size = 2"))
    for n in range(5):
        world.sales.add_contact(world.sales_list, f"p{n}@example.org", "Ann Bee")
    world.settle(2)
    asked = marks(world)
    world.round(["sales"])
    # Two lists would not fit the first page of lists either: a short first page may have been cut in silence.
    assert names_of(calls(world, asked)["salesrocks"]) == ["getLists"] * 2 + ["getListData"] * 3


def test_a_short_first_page_costs_one_call_more(open_small_world):
    world = open_small_world()
    for n in range(5):
        world.sales.add_contact(world.sales_list, f"p{n}@example.org", "Ann Bee")
    world.settle(2)
    asked = marks(world)
    world.round(["sales"])
    assert names_of(calls(world, asked)["salesrocks"]) == ["getLists"] * 2 + ["getListData"] * 2


def test_no_plan_waits_and_nothing_is_parked_once_all_agree(open_small_world):
    world = open_small_world()
    somebody_everywhere(world)
    world.settle(3)
    assert plans(world) == []
    assert world.rows("SELECT * FROM v_parked") == []
    assert world.rows("SELECT * FROM v_drift") == []


def test_a_no_that_is_read_after_a_yes_by_command_counts_although_the_command_ran_beside_the_daemon(open_world):
    world = open_world()
    email, _ = everybody_joined(world)
    world.rocs.unsubscribe_member("L-1", email)
    world.settle(2)
    # Another process has numbers of its own, above those that the daemon still has to give.
    assert command(world, "resubscribe", email, "--list", "newsletter", "--evidence", "signed form").code == 0
    world.settle(2)
    assert suppressed(world, "newsletter") == set(), "what was seen before the yes is past"
    world.mail.confirm("154", email)
    world.wait(DAY)
    world.settle(2)
    world.mail.person_unsubscribes("154", email)
    world.settle(2)
    assert suppressed(world, "newsletter") == {email}


def test_what_waits_to_be_sent_does_not_undo_the_yes_that_came_meanwhile(open_world):
    world = open_world()
    email, other = everybody_joined(world)
    pause(world.app.context, "mail")
    for one in (email, other):
        world.rocs.unsubscribe_member("L-1", one)
    world.settle(1)
    assert {row["identity"] for row in operations(world, account="mail", state="ready")} == {email, other}
    assert command(world, "resubscribe", email, "--list", "newsletter", "--evidence", "signed form").code == 0
    resume(world.app.context, "mail")
    world.settle(2)
    assert (subscriber(world, email), subscriber(world, other)) == ("Confirmed", "Unsubscribed")
    assert suppressed(world, "newsletter") == {other}
    (kept,) = operations(world, account="mail", identity=email, kind="unsubscribe")
    assert (kept["state"], kept["reason"]) == ("superseded", "the person has said yes since")
