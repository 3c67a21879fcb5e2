"""What was said under a former address goes on to count, and taking its place is nobody's no."""

from __future__ import annotations

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity
from syncd.emulators.emulator import Fault, FaultKind
from syncd.sync.ingest import unsubscribe
from tests.scenes import (
    JOINED,
    TWO_LISTS,
    command,
    marks,
    notices,
    person,
    standing,
    subscriber,
    suppressed,
    with_two_lists,
)
from tests.system.test_rename import NEW, OLD, asked, moves

THIRD = Identity("olga.third@example.com")


def test_after_a_lost_answer_a_confirmation_is_no_no(open_small_world):
    """modify arrives, answer lost; the person confirms: nobody said no."""
    world = open_small_world()
    moves(world)
    world.mail.faults.append(Fault(FaultKind.ANSWER_LOST, "modify"))
    world.settle(4)
    world.mail.confirm("154", NEW)
    world.settle(3)
    world.wait(1000)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()
    assert standing(world, NEW) == JOINED


def test_after_a_kill_at_the_change_a_confirmation_is_no_no(open_small_world):
    world = open_small_world()
    before = moves(world)
    killed = False
    for _ in range(4):
        if world.killed_round([], request=1, after_effect=True, path="/subscriber/modify"):
            killed = True
            break
    assert killed
    world.settle(4)
    assert asked(world, before) == [("modify", NEW)]
    world.mail.confirm("154", NEW)
    world.settle(3)
    world.wait(1000)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()


def test_a_change_that_is_there_by_the_time_it_is_repeated_is_no_no(open_small_world):
    """modify arrives and is answered with 500; no notices; NEW confirms before the retry: nobody said no."""
    world = open_small_world()
    moves(world)
    world.mail.webhook_urls = {}
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "modify", times=1))
    world.round()
    world.mail.person_changes_address("154", OLD, NEW)
    world.mail.confirm("154", NEW)
    world.settle(4)
    world.wait(100000)
    world.settle(4)
    assert suppressed(world, "newsletter") == set()


def test_a_change_of_ours_is_known_although_the_name_there_cannot_be_read(open_small_world):
    """What stands in the name there cannot be read; we asked for the change ourselves: no "no" of anybody."""
    world = open_small_world()
    moves(world)
    world.settle(3)
    world.mail.webhook_urls = {}
    world.mail.subscriber("154", OLD).name = "Olga \ud800"
    world.wait(100000)
    world.settle(2)
    world.mail.confirm("154", NEW)
    world.wait(100000)
    world.settle(3)
    world.wait(1000)
    world.settle(3)
    assert suppressed(world, "newsletter") == set()


def test_a_no_from_before_the_move_that_is_read_with_it_goes_along(open_small_world):
    """The "no" at mail was said (and delivered) before the record took another address; both seen in one round."""
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.mail.person_unsubscribes("154", OLD)
    world.wait(1)
    world.rocs.edit_customer(customer, email=NEW)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, NEW}


def test_while_it_is_open_if_the_former_address_said_no_nobody_is_added(open_small_world):
    """A change at OLD is open (a name was edited at mail); OLD leaves; in the same round the record takes NEW."""
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.mail.edit_name("154", OLD, "Olga Young")
    world.settle(2)
    world.wait(3600)
    before = marks(world)
    world.mail.person_unsubscribes("154", OLD)
    world.rocs.edit_customer(customer, email=NEW)
    world.settle(3)
    assert asked(world, before) == []
    world.wait(1000)
    world.settle(3)
    assert suppressed(world, "newsletter") >= {OLD}
    assert asked(world, before) == []


def test_a_no_keeps_out_the_address_after_the_next_too(open_small_world):
    """A -> B -> C; A said no in between: C is not added."""
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    world.mail.webhook_urls = {}
    world.rocs.edit_customer(customer, email=NEW)
    world.mail.person_unsubscribes("154", OLD)
    world.settle(4)
    assert OLD in suppressed(world, "newsletter")
    assert subscriber(world, NEW) is None
    world.rocs.edit_customer(customer, email=THIRD)
    world.settle(4)
    assert subscriber(world, THIRD) is None


def test_a_third_address_is_not_set_beside_the_first_that_still_stands(open_small_world):
    """A -> B asked to confirm, then the record goes by C: A must not be mailed beside C."""
    world = open_small_world()
    before = moves(world)
    world.settle(3)
    customer = next(iter(world.rocs.customers))
    world.rocs.edit_customer(customer, email=THIRD)
    world.settle(4)
    assert ("subscribe", THIRD) not in asked(world, before)


def test_erasing_the_former_address_adds_nobody(open_small_world):
    """OLD said no, so NEW is not added; OLD is erased; a phone number changes at ROCS: NEW is still not added."""
    world = open_small_world()
    moves(world)
    world.mail.webhook_urls = {}
    world.mail.person_unsubscribes("154", OLD)
    world.settle(4)
    assert subscriber(world, NEW) is None
    assert command(world, "erase", OLD, "--yes").code == 0
    world.settle(2)
    world.rocs.edit_customer(next(iter(world.rocs.customers)), last_name="Newer")
    world.settle(4)
    assert subscriber(world, NEW) is None


def test_another_record_of_the_former_address_that_moves_elsewhere_adds_nobody(open_small_world):
    """OLD said no, so NEW is not added; another customer takes OLD, and goes by a third address: NEW still is not."""
    world = open_small_world()
    moves(world)
    world.mail.webhook_urls = {}
    world.mail.person_unsubscribes("154", OLD)
    world.settle(4)
    assert subscriber(world, NEW) is None
    other = person(world, OLD, "Olga", "Other")
    world.settle(3)
    world.rocs.edit_customer(other, email=THIRD)
    world.settle(3)
    world.rocs.edit_customer(next(iter(world.rocs.customers)), last_name="Newer")
    world.settle(3)
    assert subscriber(world, NEW) is None


def test_a_no_under_the_former_address_stops_what_waits_to_be_sent(open_small_world):
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    for name in ("sales", "mail"):
        command(world, "account", "pause", name)
    world.rocs.edit_customer(customer, email=NEW)
    world.settle(2)
    unsubscribe(world.app.context, OLD, Scope("newsletter"), source="operator", evidence="by phone")
    for name in ("sales", "mail"):
        command(world, "account", "resume", name)
    world.settle(3)
    assert subscriber(world, NEW) is None
    assert standing(world, NEW)["sales"] == []


def test_while_something_is_under_way_for_the_former_address_nobody_is_set_beside_it(open_small_world):
    """A name is on its way to OLD as the record takes NEW: nobody is subscribed beside OLD."""
    world = open_small_world()
    notices(world)
    customer = person(world, OLD, "Olga", "Old")
    world.settle(2)
    world.wait(600)
    before = marks(world)
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "modify", times=1))
    world.rocs.edit_customer(customer, last_name="Young")
    world.round()
    world.rocs.edit_customer(customer, email=NEW)
    world.settle(4)
    assert ("subscribe", NEW) not in asked(world, before)


def test_a_no_that_is_seen_on_the_way_to_a_change_of_address_is_one_of_the_new_one_too(open_world):
    """They leave one list under the former address after the new one was to take its place there, and nobody tells."""
    world = with_two_lists(open_world(config=TWO_LISTS))
    customer = person(world, OLD, "Olga", "Old", lists=("L-1", "L-2"))
    world.settle(2)
    assert subscriber(world, OLD, "155") is not None
    world.wait(600)
    world.rocs.edit_customer(customer, email=NEW)
    world.mail.person_unsubscribes("155", OLD)
    world.round(["crm"])
    world.settle(3)
    assert subscriber(world, NEW, "155") is None
    assert suppressed(world, "events") == {OLD, NEW}
    assert suppressed(world, "newsletter") == set()
