"""Who comes back: one cell is opened by evidence of its own, nothing else follows, and the next "no" ends it."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.domain.consent import Scope
from syncd.sync.approve import grant
from syncd.sync.ingest import unsubscribe
from tests.scenes import (
    CID,
    LEFT,
    account,
    comes_back,
    consent,
    contacts,
    gone,
    marks,
    operations,
    person,
    standing,
    subscriber,
    suppressed,
    written,
)
from tests.world import World

SAID_BY_PHONE = "SELECT evidence FROM consent_event WHERE source = 'operator' ORDER BY id"
OPENED = LEFT | {"mail": "Confirmed"}


def exemptions(world: World) -> list[Any]:
    return world.rows("SELECT * FROM exemption ORDER BY id")


def claims(world: World) -> list[str]:
    return [row["account"] for row in world.rows("SELECT account FROM claim WHERE state = 'open'")]


@pytest.mark.parametrize("no", ["one list at rocs", "the list itself", "by phone"])
def test_the_next_no_ends_it_and_the_cell_is_unsubscribed_again(open_small_world, no):
    world = open_small_world()
    gone(world)
    comes_back(world)
    world.settle(3)
    assert standing(world, CID) == OPENED
    match no:
        case "one list at rocs":  # a foreign program had put them back, and they leave again
            (customer,) = (one.id for one in world.rocs.customers.values() if one.email == CID)
            world.rocs.add_member("L-1", customer)
            world.round(["crm"])
            world.rocs.unsubscribe_member("L-1", CID)
        case "the list itself":
            world.mail.person_unsubscribes("154", CID)
        case _:
            unsubscribe(world.app.context, CID, source="operator", evidence="by phone")
    world.settle(3)
    (row,) = exemptions(world)
    assert row["ended_seq"] > row["granted_seq"]
    assert standing(world, CID) == LEFT
    assert world.rows("SELECT * FROM v_outbox") == []


def test_it_can_be_granted_and_ended_again_and_its_history_is_kept(open_small_world):
    world = open_small_world()
    gone(world)
    for _ in range(2):
        comes_back(world)
        world.settle(3)
        assert standing(world, CID) == OPENED
        world.wait(86_400)
        unsubscribe(world.app.context, CID, source="operator", evidence="by phone")
        world.settle(2)
        assert standing(world, CID) == LEFT
        world.wait(600)
        world.mail.click("154", CID)
        world.settle(2)  # read once more as unsubscribed, after that "no"
    assert [row["ended_by"] for row in exemptions(world)] == ["global", "global"]


def test_a_no_that_may_have_come_after_the_confirmation_makes_it_wait_for_a_person(open_small_world):
    world = open_small_world()
    gone(world)
    unsubscribe(world.app.context, CID, Scope("newsletter"), source="operator", evidence="by phone")
    world.round(["leads"])
    comes_back(world)  # nothing showed the cell unsubscribed since that "no" was known
    world.settle(4)
    assert exemptions(world) == []
    assert set(claims(world)) == {"mail"}
    assert standing(world, CID) == LEFT, "meanwhile it is unsubscribed again"


def test_a_no_that_only_repeats_what_stands_keeps_a_confirmation_before_it_from_counting(open_small_world):
    world = open_small_world()
    gone(world)
    unsubscribe(world.app.context, CID, source="operator", evidence="by phone")
    world.settle(2)
    world.wait(600)
    world.mail.click("154", CID)
    world.settle(2)  # read once more as unsubscribed, after that "no"
    comes_back(world)  # which nobody has read yet
    unsubscribe(world.app.context, CID, source="operator", evidence="by phone, once more")
    unsubscribe(world.app.context, CID, source="operator", evidence="and at once again")
    world.settle(4)
    assert exemptions(world) == []
    assert standing(world, CID) == LEFT
    assert [row["evidence"] for row in world.rows(SAID_BY_PHONE)] == ["by phone", "by phone, once more"]


def test_a_delivered_no_that_only_repeats_what_stands_keeps_a_confirmation_before_it_from_counting(open_small_world):
    world = open_small_world()
    gone(world)
    comes_back(world)  # which nobody has read yet
    world.wait(3600)
    world.rokt.person_unsubscribes(CID)
    world.settle(4)
    assert exemptions(world) == []
    assert set(claims(world)) == {"mail"}
    assert standing(world, CID) == LEFT


def test_a_foreign_program_that_sets_the_word_is_no_evidence(open_small_world):
    world = open_small_world()
    gone(world)
    world.mail._known("154", CID).status = "Confirmed"
    world.mail.click("154", CID)
    before = marks(world)
    world.settle(3)
    # The unsubscribe is later than the confirmation, by the provider's own clock: the word says nothing.
    assert (exemptions(world), claims(world)) == ([], [])
    assert written(world, before) == []


def test_an_import_that_brings_back_who_left_is_undone_and_waits(open_small_world):
    """Scenario: left at Rokt, imported again as subscribed elsewhere. Nobody is subscribed, a claim without evidence
    is held."""
    world = open_small_world()
    gone(world)
    before = marks(world)
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == CID)
    world.rocs.add_member("L-1", customer)
    world.sales.add_contact(world.sales_list, CID, "Cid Cee")
    world.settle(4)
    assert standing(world, CID) == LEFT
    assert claims(world) == ["crm"]
    assert exemptions(world) == []
    for name, path, _ in written(world, before):
        assert not path.endswith(("/addToList", "/subscribe")), name


def test_a_lead_of_somebody_who_said_no_is_a_claim_and_waits(open_small_world):
    world = open_small_world()
    gone(world)
    before = marks(world)
    world.rokt.send_lead(CID, "Cid", "Cee")
    world.settle(3)
    assert claims(world) == ["leads"]
    assert standing(world, CID) == LEFT
    assert [name for name, _, _ in written(world, before)] == ["rokt"], "told once more that they said no"


def test_a_no_between_two_readings_is_seen_by_the_time_that_moved(open_world):
    """Left and came back while nobody looked: the word is the same, and the "no" is one."""
    world = open_world()
    person(world, CID, "Cid", "Cee")
    world.settle(2)
    world.wait(600)
    world.mail.person_unsubscribes("154", CID)
    world.wait(60)
    comes_back(world)
    world.wait(2 * 86_400)  # asked about at last
    world.settle(3)
    assert suppressed(world, "newsletter") == {CID}
    assert claims(world) == ["mail"]
    assert exemptions(world) == []
    assert standing(world, CID) == LEFT | {"leads": standing(world, CID)["leads"]}
    assert consent(world, CID) == [True], "a list, not everything"
    assert contacts(world, CID) == []


def test_nothing_is_undone_before_it_was_looked_at_twice(open_small_world):
    """Seen once, and then nothing was read for longer than it takes to settle."""
    world = open_small_world()
    gone(world)
    comes_back(world)
    world.round(["mail"])
    world.mail.webhook_urls.clear()
    world.wait(300)
    world.round(["crm"])
    assert subscriber(world, CID) == "Confirmed"
    assert [row["account"] for row in exemptions(world)] == ["mail"]


def test_our_own_unsubscribe_read_back_late_is_no_new_no_after_their_own_yes(open_world):
    """The word of the person that an operator vouched for stands: what we wrote before it says nothing against it."""
    world = open_world()
    person(world, CID, "Cid", "Cee")
    world.settle(2)
    world.rocs.stale_for_s = 20.0  # what we write there shows late
    world.mail.person_unsubscribes("154", CID)
    world.wait(86_400)
    world.round(["mail"])
    (op,) = operations(world, account="crm", kind="unsubscribe")
    assert op["state"] == "accepted", "not read back yet"
    grant(world.app.context, CID, Scope("newsletter"), evidence="wrote to us")
    world.wait(60)
    world.settle(3)
    (op,) = operations(world, account="crm", kind="unsubscribe")
    assert op["state"] == "verified"
    assert suppressed(world, "newsletter") == set()
    world.rocs.add_member("L-1", next(iter(world.rocs.customers)))
    world.round()
    world.rocs.unsubscribe_member("L-1", CID)
    world.settle(2)
    assert suppressed(world, "newsletter") == {CID}, "and their next no is one"
    assert account(world, "crm")["state"] == "ok"
