"""Outbound connections: who newly joins a linked list is delivered once, and nobody who said no ever is."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.scenes import (
    PARTNER,
    TWO_LISTS,
    Open,
    account,
    command,
    configured,
    explained,
    marks,
    memberships,
    notices,
    operations,
    person,
    plans,
    with_two_lists,
    written,
)
from tests.world import CONFIG, World

ANN, BEN, CID = (f"{name}@example.org" for name in ("ann", "ben", "cid"))

TELLS = 'unsubscribe = {{ endpoint = "http://127.0.0.1:8705/unsubscribes" }}\n'


def connected(lines: str = "", *, config: str = CONFIG, linked: bool = True) -> str:
    """The usual four and a connection, to which the newsletter is linked."""
    link = {"lists.newsletter": 'partner = "*"'} if linked else {}
    return configured(config, **link) + PARTNER + lines


def opened(open_world: Open, lines: str = "", **given: Any) -> World:
    """A world with nobody in it, in which first contact asks nobody."""
    return open_world(config=connected(lines), **given)


def delivered(world: World) -> list[str]:
    return [record["email"] for record in world.partner.deliveries]


def parked(world: World) -> list[tuple[str, str]]:
    rows = world.rows("SELECT email, reason FROM v_parked WHERE account = 'partner' ORDER BY id")
    return [(row["email"], row["reason"]) for row in rows]


def told(world: World) -> dict[str, Any]:
    return dict(command(world, "status", "--json").data)


# Who is delivered ----------------------------------------------------------------------------------------------------


def at_rocs(world: World) -> None:
    person(world, ANN, "Ann", "Bee")


def at_sales(world: World) -> None:
    world.sales.add_contact(world.sales_list, ANN, "Ann Bee")


def at_mail(world: World) -> None:
    notices(world)
    world.mail.add_subscriber("154", ANN, "Ann Bee", status="Pending")
    world.mail.confirm("154", ANN)


def at_rokt(world: World) -> None:
    world.rokt.send_lead(ANN, "Ann", "Bee")


@pytest.mark.parametrize("joins", [at_rocs, at_sales, at_mail, at_rokt])
def test_who_joins_a_linked_list_anywhere_is_delivered_exactly_once(open_small_world: Open, joins: Any):
    world = opened(open_small_world)
    joins(world)
    world.settle()
    assert delivered(world) == [ANN]
    since = marks(world)
    world.settle(2)
    assert written(world, since) == [], "a second round writes nothing"
    assert told(world)["converged"]


def test_only_what_is_new_goes_without_a_person(open_small_world: Open):
    world = open_small_world(config=connected(), first_sync="hold")
    person(world, ANN)
    world.settle(2)
    assert delivered(world) == [], "first contact is held"
    (plan,) = plans(world, account="partner")
    assert (plan["hold"], plan["kind"]) == ("first-contact", "subscribe")


# Who said no ---------------------------------------------------------------------------------------------------------


def test_who_said_no_is_never_delivered(open_small_world: Open):
    world = opened(open_small_world)
    assert command(world, "unsubscribe", ANN).code == 0
    person(world, ANN)
    world.settle()
    assert delivered(world) == []
    assert operations(world, account="partner") == []


def test_a_no_that_comes_between_decision_and_delivery_stops_it(open_small_world: Open):
    world = opened(open_small_world)
    world.partner.faults.append(Fault(FaultKind.NO_CONNECTION, times=1))
    person(world, ANN)
    world.round()
    assert [op["state"] for op in operations(world, account="partner")] == ["ready"]
    command(world, "unsubscribe", ANN, "--list", "newsletter", "--no-push")
    world.settle()
    assert delivered(world) == []


def test_a_receiver_that_can_be_told_of_a_no_is(open_world: Open):
    world = opened(open_world, TELLS)
    person(world, ANN)
    person(world, BEN)
    world.settle()
    assert sorted(delivered(world)) == [ANN, BEN]
    assert [(op["state"], op["kind"]) for op in operations(world, account="partner")] == [("done", "subscribe")] * 2
    (cell,) = world.rows("SELECT * FROM v_memberships WHERE account = 'partner' AND email = :email", email=ANN)
    assert (cell["status"], cell["grade"], cell["list"]) == ("subscribed", "accepted", "newsletter")
    command(world, "unsubscribe", ANN, "--list", "newsletter")
    command(world, "unsubscribe", CID)
    world.settle()
    assert set(world.partner.unsubscribed) == {ANN}, "of whom it was never given nobody tells it"
    assert memberships(world, ANN)["partner", "*"] == "unsubscribed"
    (entry,) = world.rows("SELECT * FROM v_propagation WHERE account = 'partner'")
    assert (entry["state"], entry["grade"]) == ("done", "accepted")
    assert told(world)["converged"]
    since = marks(world)
    world.settle(2)
    assert written(world, since) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_a_no_whose_answer_is_lost_is_told_again(open_small_world: Open, method: str):
    world = opened(open_small_world, TELLS.replace(" }}", f', method = "{method}" }}}}'))
    world.partner.unsubscribe_method = method
    person(world, ANN)
    world.settle()
    world.partner.faults.append(Fault(FaultKind.ANSWER_LOST, path="/unsubscribes"))
    command(world, "unsubscribe", ANN)
    world.settle()
    sent = [(call.method, call.path) for call in world.partner.calls]
    assert sent == [("POST", "/subscribers"), (method, "/unsubscribes"), (method, "/unsubscribes")]
    assert [op["state"] for op in operations(world, account="partner", kind="unsubscribe")] == ["done"]


def test_who_is_erased_is_taken_back_where_they_were_delivered_and_leaves_no_trace(open_small_world: Open):
    world = opened(open_small_world, TELLS)
    person(world, ANN)
    world.settle()
    assert command(world, "erase", ANN, "--yes", "--json").data["asked"]["partner"] == "unsubscribe"
    world.settle()
    assert set(world.partner.unsubscribed) == {ANN}
    assert command(world, "erase", ANN, "--verify").code == 0


def test_reassert_tells_again_of_every_no_and_delivers_nobody(open_small_world: Open):
    world = opened(open_small_world, TELLS)
    person(world, ANN)
    person(world, BEN)
    world.settle()
    command(world, "unsubscribe", ANN)
    world.settle()
    since = marks(world)
    command(world, "resync", "--reassert", "--account", "partner")
    world.settle(3)
    assert [(name, path) for name, path, _ in written(world, since)] == [("http", "/unsubscribes")]
    assert told(world)["converged"]


def test_where_a_no_cannot_be_told_it_is_left_to_a_person_and_said(open_small_world: Open):
    world = opened(open_small_world)
    person(world, ANN)
    world.settle()
    command(world, "unsubscribe", ANN)
    world.settle()
    shown = told(world)
    assert (shown["by_hand"], shown["reachable"], shown["converged"]) == (1, 0, True)
    assert any(line.startswith("By hand: unsubscribe at partner") for line in explained(world, ANN)["partner"]["next"])
    assert command(world, "check", "--full").code == 0, "no invariant asks for what nobody can do"


# What the receiver answers -------------------------------------------------------------------------------------------


def test_a_duplicate_counts_as_there(open_small_world: Open):
    world = opened(open_small_world)
    world.partner.subscribers[ANN] = {}
    person(world, ANN)
    world.settle()
    (op,) = operations(world, account="partner")
    assert (op["state"], op["reason"]) == ("done", "known there already")
    assert memberships(world, ANN)["partner", "*"] == "subscribed"


def test_one_that_is_rejected_is_parked_with_the_reason_and_keeps_nobody_back(open_small_world: Open):
    world = opened(open_small_world)
    world.partner.unwanted.add(ANN)
    for email in (ANN, BEN, CID):
        person(world, email)
    world.settle()
    assert sorted(delivered(world)) == [BEN, CID]
    ((email, reason),) = parked(world)
    assert email == ANN
    assert reason == "answered 422 (as usual: 4xx: rejected)"
    world.partner.unwanted.clear()
    (op,) = operations(world, state="parked")
    command(world, "parked", "retry", str(op["id"]))
    world.settle()
    assert sorted(delivered(world)) == [ANN, BEN, CID]


def test_one_that_lacks_what_is_required_waits_until_it_is_known(open_small_world: Open):
    world = opened(open_small_world, 'fields = {{ email = "email", phone = "phone" }}\nrequired = ["email", "phone"]\n')
    customer = person(world, ANN)
    world.settle()
    assert parked(world) == [(ANN, "required there, and not known: phone")]
    world.rocs.edit_customer(customer, mobile="+46701234567")
    world.settle()
    assert world.partner.deliveries == [{"email": ANN, "phone": "+46701234567"}]


@pytest.mark.parametrize(
    ("method", "kind"), [("POST", FaultKind.FAILED), ("PUT", FaultKind.THROTTLED), ("GET", FaultKind.UNAVAILABLE)]
)
def test_one_that_is_to_come_later_does(open_small_world: Open, method: str, kind: FaultKind):
    world = opened(open_small_world, f'method = "{method}"\n')
    world.partner.method = method
    world.partner.faults.append(Fault(kind))
    person(world, ANN)
    world.round()
    assert delivered(world) == []
    assert [op["state"] for op in operations(world, account="partner")] == ["ready"]
    world.settle()
    assert delivered(world) == [ANN]


def test_a_receiver_that_refuses_our_credentials_parks_nobody(open_small_world: Open):
    world = opened(open_small_world)
    world.partner.proof = {"x-api-key": "another"}
    for email in (ANN, BEN):
        person(world, email)
    world.settle()
    assert account(world, "partner")["state"] == "quarantined"
    assert parked(world) == []
    world.partner.proof = {"x-api-key": "http-key"}
    command(world, "account", "resume", "partner")
    world.settle()
    assert sorted(delivered(world)) == [ANN, BEN]


def test_an_answer_without_a_rule_is_not_taken_for_a_yes(open_small_world: Open):
    rules = '[[accounts.partner.rules]]\nstatus = 200\npointer = "/status"\nequals = "created"\nverdict = "delivered"\n'
    world = opened(open_small_world, rules)
    world.partner.says_by_body = True
    world.partner.faults.append(Fault(FaultKind.HTML))
    person(world, ANN)
    world.settle()
    ((email, reason),) = parked(world)
    assert email == ANN
    assert reason.startswith("answered 200, and no rule says what that means; it may have arrived")
    person(world, BEN)
    world.settle()
    assert delivered(world) == [BEN]


# A lost answer -------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("http-lost-answer")
def test_a_delivery_whose_answer_is_lost_is_not_repeated_and_waits_for_a_person(open_world: Open):
    world = opened(open_world)
    world.partner.faults.append(Fault(FaultKind.ANSWER_LOST))
    customer = person(world, ANN)
    world.settle()
    assert delivered(world) == [ANN]
    ((_, reason),) = parked(world)
    assert "it may have arrived" in reason
    assert "syncd parked retry" in reason
    (cell,) = world.rows("SELECT status, grade FROM v_memberships WHERE account = 'partner'")
    assert (cell["status"], cell["grade"]) == ("unknown", "unknown")
    assert any("what we sent and nobody answered for" in said for said in explained(world, ANN)["partner"]["sentences"])
    world.rocs.edit_customer(customer, first_name="Anna")
    world.settle(3)
    assert delivered(world) == [ANN], "also not when a field changes"


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_no_method_makes_a_lost_delivery_one_that_may_be_repeated(open_small_world: Open, method: str):
    world = opened(open_small_world, f'method = "{method}"\n')
    world.partner.method = method
    world.partner.faults.append(Fault(FaultKind.ANSWER_LOST))
    person(world, ANN)
    world.settle()
    assert [(call.method, call.path.partition("?")[0]) for call in world.partner.calls] == [(method, "/subscribers")]
    assert [email for email, _ in parked(world)] == [ANN]


def test_a_lost_delivery_goes_out_once_more_when_a_person_says_so(open_small_world: Open):
    world = opened(open_small_world)
    world.partner.faults.append(Fault(FaultKind.ANSWER_LOST))
    person(world, ANN)
    world.settle()
    world.partner.subscribers.clear()
    (op,) = operations(world, state="parked")
    assert command(world, "parked", "retry", str(op["id"])).code == 0
    world.settle()
    assert delivered(world) == [ANN, ANN]
    assert memberships(world, ANN)["partner", "*"] == "subscribed"


def test_who_may_have_arrived_is_told_of_when_they_say_no(open_small_world: Open):
    world = opened(open_small_world, TELLS)
    world.partner.faults.append(Fault(FaultKind.ANSWER_LOST))
    person(world, ANN)
    world.settle()
    command(world, "unsubscribe", ANN)
    world.settle()
    assert set(world.partner.unsubscribed) == {ANN}


def test_where_the_receiver_notices_repetitions_a_lost_delivery_is_repeated(open_small_world: Open):
    world = opened(open_small_world, "repeat_lost = true\n")
    world.partner.faults.append(Fault(FaultKind.ANSWER_LOST, times=2))
    person(world, ANN)
    world.settle(4)
    assert [call.status for call in world.partner.calls] == [201, 409, 409]
    assert delivered(world) == [ANN]
    assert parked(world) == []
    assert memberships(world, ANN)["partner", "*"] == "subscribed"


@pytest.mark.parametrize(("repeat", "after_effect"), [(False, True), (True, False)])
def test_a_delivery_during_which_the_process_died(open_small_world: Open, repeat: bool, after_effect: bool):
    world = opened(open_small_world, f"repeat_lost = {'true' if repeat else 'false'}\n")
    person(world, ANN)
    assert world.killed_round([], request=1, after_effect=after_effect, path="/subscribers")
    world.settle()
    assert delivered(world) == [ANN]
    assert ["syncd stopped during the call; it may have arrived" in reason for _, reason in parked(world)] == (
        [] if repeat else [True]
    )


# Links ---------------------------------------------------------------------------------------------------------------


def test_a_list_is_linked_and_unlinked_by_command(open_world: Open):
    world = open_world(config=connected(linked=False))
    person(world, ANN)
    world.settle()
    assert delivered(world) == []
    assert command(world, "connection", "link", "partner", "newsletter").code == 0
    world.settle()
    assert delivered(world) == [ANN]
    assert command(world, "connection", "unlink", "partner", "newsletter").code == 0
    person(world, BEN)
    world.settle()
    assert delivered(world) == [ANN]


def test_after_unlinking_a_no_still_reaches_who_was_delivered(open_small_world: Open):
    world = open_small_world(config=connected(TELLS, linked=False))
    command(world, "connection", "link", "partner", "newsletter")
    person(world, ANN)
    world.settle()
    command(world, "connection", "unlink", "partner", "newsletter")
    command(world, "unsubscribe", ANN, "--list", "newsletter")
    world.settle()
    assert set(world.partner.unsubscribed) == {ANN}


def test_who_was_on_a_list_when_it_was_linked_waits_for_a_person(open_small_world: Open):
    world = open_small_world(config=connected(linked=False), first_sync="hold")
    world.settle(2)
    person(world, ANN)
    world.settle(2)
    assert account(world, "partner")["joined"]
    command(world, "connection", "link", "partner", "newsletter")
    world.settle(2)
    assert delivered(world) == []
    assert [plan["hold"] for plan in plans(world, account="partner")] == ["first-contact"]


def test_what_waits_to_be_delivered_is_given_up_with_the_link(open_small_world: Open):
    world = open_small_world(config=connected(linked=False))
    command(world, "connection", "link", "partner", "newsletter")
    world.settle(2)
    world.partner.faults.append(Fault(FaultKind.UNAVAILABLE))
    person(world, ANN)
    world.round()
    assert [op["state"] for op in operations(world, account="partner")] == ["ready"]
    command(world, "connection", "unlink", "partner", "newsletter")
    world.settle()
    assert delivered(world) == []


def test_several_lists_without_ids_of_their_own_deliver_a_person_once(open_small_world: Open):
    world = with_two_lists(open_small_world(config=connected(TELLS, config=TWO_LISTS)))
    command(world, "connection", "link", "partner", "events")
    person(world, ANN, lists=("L-1", "L-2"))
    world.settle()
    assert delivered(world) == [ANN]
    command(world, "unsubscribe", BEN, "--list", "events")
    person(world, BEN, lists=("L-1",))
    world.settle()
    assert BEN not in delivered(world), "the receiver cannot tell one list from the other"
    assert operations(world, account="partner", identity=BEN) == []


def test_lists_with_ids_of_their_own_are_delivered_one_by_one(open_small_world: Open):
    fields = 'fields = {{ email = "email", list = "list" }}\n'
    world = with_two_lists(open_small_world(config=connected(fields, config=TWO_LISTS, linked=False)))
    world.partner.deduplicates = False
    command(world, "connection", "link", "partner", "events", "--as", "ev")
    command(world, "connection", "link", "partner", "newsletter", "--as", "nl")
    person(world, ANN, lists=("L-1", "L-2"))
    world.settle()
    assert sorted(record["list"] for record in world.partner.deliveries) == ["ev", "nl"]
    command(world, "unsubscribe", BEN, "--list", "events")
    person(world, BEN, lists=("L-1",))
    world.settle()
    assert {"email": BEN, "list": "nl"} in world.partner.deliveries
