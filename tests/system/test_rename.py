"""Another address of the same person: what gives way to it said no to nothing; whoever does not confirm, left."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity
from syncd.emulators.emulator import Fault, FaultKind
from syncd.reconcile.close import ASKED_PERHAPS
from syncd.sync.ingest import unsubscribe
from tests.scenes import (
    DAY,
    JOINED,
    TWO_LISTS,
    changes_address,
    command,
    configured,
    explained,
    marks,
    member,
    memberships,
    notices,
    operations,
    person,
    standing,
    subscriber,
    suppressed,
    with_two_lists,
    written,
)
from tests.world import World

OLD, NEW = Identity("olga@example.org"), Identity("olga.new@example.net")


@pytest.mark.parametrize("somebody", ["a stranger", "a namesake much later", "two of that name"])
def test_who_leaves_as_somebody_else_turns_up_said_no(open_small_world, somebody):
    world = open_small_world()
    changes_address(world, OLD, NEW)
    before = marks(world)
    world.mail.person_unsubscribes("154", OLD)
    world.wait(60 if somebody == "a namesake much later" else 0)
    name = "Somebody Else" if somebody == "a stranger" else "Olga Old"
    for number in range(2 if somebody == "two of that name" else 1):
        world.mail.add_subscriber("154", f"other{number}@example.org", name)
        world.mail.open_mail("154", f"other{number}@example.org")
    world.round()
    assert suppressed(world, "newsletter") == set(), "the new address may yet be seen"
    assert not [path for _, path, body in written(world, before) if OLD in body]
    world.wait(900)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
    assert member(world, OLD) == "unsubscribed"


def test_nobody_is_added_while_it_is_open_whether_they_left(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    changes_address(world, OLD, NEW)
    world.mail.person_unsubscribes("154", OLD)
    world.round(["mail"])
    before = marks(world)
    world.rocs.add_member("L-2", next(iter(world.rocs.customers)))
    world.round()
    assert written(world, before) == []
    world.wait(900)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}
    assert subscriber(world, OLD, "155") == "Confirmed", "another list, to which they said nothing"


def test_the_new_address_inherits_every_no_of_the_person(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    changes_address(world, OLD, NEW, lists=("L-1", "L-2"))
    unsubscribe(world.app.context, OLD, Scope("events"), source="operator", evidence="by phone")
    world.settle(2)
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()
    assert suppressed(world, "events") == {OLD, NEW}


def test_who_leaves_again_after_coming_back_to_the_old_address_said_no(open_small_world):
    world = open_small_world()
    changes_address(world, OLD, NEW)
    world.mail.confirm("154", NEW)
    world.settle(2)
    world.mail.person_joins_again("154", OLD)
    world.mail.confirm("154", OLD)
    world.settle(2)
    world.wait(600)
    world.mail.person_unsubscribes("154", OLD)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD}


def test_the_echo_of_a_name_that_we_wrote_begins_nothing(open_small_world):
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.rocs.edit_customer(customer, last_name="Young")
    world.settle(2)
    told = [row["route"] for row in world.rows("SELECT route FROM inbox WHERE account = 'mail'")]
    assert any("modify" in route for route in told), "they tell us of what we did ourselves"
    assert world.rows("SELECT * FROM rename") == []
    world.mail.person_unsubscribes("154", OLD)
    world.settle(2)
    assert suppressed(world, "newsletter") == {OLD}, "nobody waits for another address"
    assert member(world, OLD) == "unsubscribed"


def test_a_name_that_somebody_else_wrote_may_be_more_than_a_name(open_small_world):
    world = open_small_world()
    notices(world)
    person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.mail.edit_name("154", OLD, "Olga Young")
    world.settle(2)
    assert [row["identity"] for row in world.rows("SELECT identity FROM rename")] == [OLD]
    assert member(world, OLD) == "subscribed"


# What we begin ourselves ---------------------------------------------------------------------------------------------

THANKS = "https://x.example/thanks"


def moves(world: World, new: str = NEW) -> dict[str, int]:
    """Somebody who is everywhere goes by another address in the CRM; returns the marks from before that."""
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    assert standing(world, OLD) == JOINED
    world.wait(600)
    before = marks(world)
    world.rocs.edit_customer(customer, email=new, last_name="New")
    return before


def asked(world: World, before: dict[str, int]) -> list[tuple[str, str]]:
    """Calls that put somebody on a list at RocketResponder, and whom they name."""
    written_ = [(path.rpartition("/")[2], dict(parse_qsl(body))) for _, path, body in written(world, before)]
    return [(call, form.get("newemail", form.get("email", ""))) for call, form in written_ if "LID" in form]


@pytest.mark.quirk("rocketresponder-new-address-waits")
@pytest.mark.parametrize("shown", [True, False])
def test_whose_record_goes_by_another_address_is_asked_there_to_confirm_it(open_small_world, shown):
    world = open_small_world(config=configured(mail=f"confirm_url = '{THANKS}'"))
    world.mail.shows_unconfirmed_changes = shown
    before = moves(world)
    world.settle(4)
    world.wait(3600)
    world.settle(2)
    # A pending confirmation is no confirmed state: the old address goes on, the new one is nobody's yes.
    assert asked(world, before) == [("modify", NEW)], "once, and nobody is subscribed beside the old address"
    assert [subscriber(world, email) for email in (OLD, NEW)] == ["Confirmed", "Unconfirmed"]
    pending = world.mail.subscriber("154", NEW)
    assert pending is not None
    assert (pending.confirm_url, pending.name) == (THANKS, "Olga New")
    assert memberships(world, OLD)["mail", "154"] == "subscribed"
    assert memberships(world, NEW).get(("mail", "154")) == ("pending" if shown else None)
    (op,) = operations(world, account="mail", identity=NEW)
    assert op["state"] == ("verified" if shown else "done"), "it was taken, and waits for nobody but them"
    assert f"{NEW} is to take its place, and has yet to confirm" in " ".join(explained(world, OLD)["mail"]["sentences"])
    world.mail.add_subscriber("154", "else@example.org", "Olga Old")  # a namesake confirms at that very moment
    world.mail.confirm("154", NEW)
    world.mail.open_mail("154", "else@example.org")
    world.settle(3)
    assert [subscriber(world, email) for email in (OLD, NEW)] == ["Unsubscribed", "Confirmed"]
    assert operations(world, kind="unsubscribe") == world.rows("SELECT * FROM consent_event") == []
    assert standing(world, NEW) == JOINED
    assert asked(world, before) == [("modify", NEW)]


def test_who_leaves_under_the_old_address_before_the_new_one_confirms_said_no(open_small_world):
    world = open_small_world()
    moves(world)
    world.settle(3)
    world.mail.person_unsubscribes("154", OLD)
    world.settle(2)
    assert suppressed(world, "newsletter") == set(), "the new address may yet be seen"
    world.wait(900)
    world.settle(2)
    assert suppressed(world, "newsletter") == {OLD, NEW}, "their record goes by the new one already"
    assert subscriber(world, NEW) == "Unsubscribed"


def test_nobody_is_moved_who_said_no_where_they_are_to_be_moved(open_small_world):
    world = open_small_world()
    before = moves(world)
    world.mail.webhook_urls = {}
    world.mail.person_unsubscribes("154", OLD)  # and nobody tells us
    world.settle(4)
    assert asked(world, before) == []
    assert suppressed(world, "newsletter") == {OLD, NEW}
    assert subscriber(world, NEW) is None, "they said no under the address before this one"


def test_who_is_not_there_any_more_is_joined_as_anybody(open_small_world):
    world = open_small_world()
    before = moves(world)
    del world.mail.subscribers["154", OLD]
    world.settle(4)
    assert asked(world, before) == [("subscribe", NEW)]


def test_an_answer_that_is_lost_asks_for_no_second_confirmation(open_small_world):
    world = open_small_world()
    before = moves(world)
    world.mail.faults.append(Fault(FaultKind.ANSWER_LOST, "modify"))
    world.settle(4)
    assert asked(world, before) == [("modify", NEW)]
    assert subscriber(world, NEW) == "Unconfirmed"
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert [subscriber(world, email) for email in (OLD, NEW)] == ["Unsubscribed", "Confirmed"]


def test_where_nothing_tells_if_it_was_asked_nobody_is_asked_twice(open_small_world):
    world = open_small_world()
    world.mail.shows_unconfirmed_changes = False
    before = moves(world)
    world.mail.faults.append(Fault(FaultKind.ANSWER_LOST, "modify"))
    world.settle(3)
    world.wait(20 * DAY)
    world.settle(3)
    assert asked(world, before) == [("modify", NEW)]
    (op,) = operations(world, account="mail", identity=NEW)
    assert op["state"] == "parked", "a person can look there"
    assert ASKED_PERHAPS in op["reason"]
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert [subscriber(world, email) for email in (OLD, NEW)] == ["Unsubscribed", "Confirmed"]
    assert standing(world, NEW) == JOINED
    assert world.rows("SELECT * FROM consent_event") == []


def test_it_is_asked_again_when_a_person_has_seen_that_it_never_was(open_small_world):
    world = open_small_world()
    world.mail.shows_unconfirmed_changes = False
    before = moves(world)
    world.mail.faults.append(Fault(FaultKind.ANSWER_LOST, "modify"))
    world.settle(3)
    del world.mail.subscribers["154", NEW]
    (op,) = operations(world, account="mail", identity=NEW, state="parked")
    assert command(world, "parked", "retry", str(op["id"])).code == 0
    world.settle(3)
    assert asked(world, before) == [("modify", NEW)] * 2
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert standing(world, NEW) == JOINED


@pytest.mark.parametrize("why", ["refused", "not taken now"])
def test_no_no_waits_for_an_address_that_was_not_asked_to_confirm(open_small_world, why):
    world = open_small_world()
    world.mail.strict_emails = True
    new = "olga.new@example.museum" if why == "refused" else NEW
    moves(world, new)
    world.mail.faults.append(Fault(FaultKind.THROTTLED, "modify", times=99))
    world.settle(2)
    (op,) = operations(world, account="mail", identity=new)
    assert (op["state"], op["replaces"]) == ("parked" if why == "refused" else "ready", OLD)
    world.mail.person_unsubscribes("154", OLD)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, new}
    assert subscriber(world, new) is None


def test_a_change_that_began_otherwise_goes_on_though_ours_is_refused(open_small_world):
    world = open_small_world()
    world.mail.shows_unconfirmed_changes = False
    before = moves(world)
    world.mail.person_changes_address("154", OLD, NEW)
    world.settle(4)
    assert asked(world, before) == [("modify", NEW)], "which is refused, as the address waits there already"
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert world.rows("SELECT * FROM consent_event") == []
    assert standing(world, NEW) == JOINED


def test_a_record_takes_every_no_along_to_the_address_that_it_goes_by_now(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS))
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    unsubscribe(world.app.context, OLD, Scope("events"), source="operator", evidence="by phone")
    world.settle(2)
    world.rocs.edit_customer(customer, email=NEW)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()
    assert suppressed(world, "events") == {OLD, NEW}


def test_of_somebody_erased_nothing_is_left_in_what_was_about_to_be_asked(open_small_world):
    world = open_small_world()
    moves(world)
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "modify", times=9))
    world.settle(2)
    assert [op["replaces"] for op in operations(world, account="mail", kind="subscribe", state="ready")] == [OLD]
    world.mail.faults.clear()
    before = marks(world)
    assert command(world, "erase", OLD, "--yes").code == 0
    world.settle(3)
    assert {op["replaces"] for op in operations(world)} == {None}
    assert asked(world, before) == [("unsubscribe", OLD), ("subscribe", NEW)]
