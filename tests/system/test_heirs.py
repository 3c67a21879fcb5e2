"""A "no" under an address that gave way to another is one of the address that the person goes by since."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.identity import Identity
from syncd.sync.ingest import resubscribe, unsubscribe
from syncd.sync.plan import plan_at_once
from tests.scenes import (
    JOINED,
    LEFT,
    command,
    contacts,
    person,
    standing,
    subscriber,
    suppressed,
)
from tests.system.test_rename import NEW, OLD, moves
from tests.world import World

THIRD = Identity("olga.third@example.com")


def moved(world: World) -> None:
    """Who is everywhere went by another address, and confirmed it; the old mailbox still has our mails."""
    moves(world)
    world.settle(4)
    world.mail.confirm("154", NEW)
    world.settle(3)
    world.wait(3600)
    world.settle(2)
    assert standing(world, NEW) == JOINED
    assert suppressed(world, "newsletter") == suppressed(world, "global") == set()


def by_phone(world: World, scope: Scope = GLOBAL) -> None:
    unsubscribe(world.app.context, OLD, scope, source="operator", evidence="by phone")


def by_reading(world: World) -> None:
    world.sales.set_field(world.sales_list, OLD, "status", "unsubscribed")


def by_delivery(world: World) -> None:
    world.rokt.person_unsubscribes(OLD)


def by_command(world: World) -> None:
    by_phone(world, Scope("newsletter"))


def by_link(world: World) -> None:
    unsubscribe(world.app.context, OLD, GLOBAL, source="one-click", evidence="link")


ROUTES: list[Callable[[World], None]] = [by_reading, by_delivery, by_command, by_link]


@pytest.mark.parametrize("says_no", ROUTES, ids=lambda route: route.__name__)
def test_a_no_under_the_address_before_is_one_of_the_address_they_go_by(open_small_world, says_no):
    world = open_small_world(on_unsubscribe="field" if says_no is by_reading else "remove")
    moved(world)
    says_no(world)
    world.settle(3)
    assert {subscriber(world, NEW), *(row.get("status") for row in contacts(world, NEW))} <= {
        "Unsubscribed",
        "unsubscribed",
    }
    assert standing(world, NEW)["crm"] == "unsubscribed"
    assert standing(world, NEW)["leads"] == "told"
    events = world.rows("SELECT * FROM consent_event")
    world.wait(90_000)
    world.settle(3)
    assert world.rows("SELECT * FROM consent_event") == events, "said once, and written down once"
    due = world.rows("SELECT DISTINCT account, state FROM v_propagation WHERE known_as = :who", who=NEW)
    assert {row["account"] for row in due} == {"crm", "sales", "mail", "leads"}
    assert {row["state"] for row in due} == {"verified", "done"}


def test_a_complaint_under_the_address_before_ends_everything(open_small_world):
    world = open_small_world()
    moves(world)  # and never confirmed: the old address goes on to be mailed there
    world.settle(4)
    world.mail.complain("154", OLD)
    world.wait(90_000)
    world.settle(4)
    assert {row["level"] for row in world.rows("SELECT level FROM v_consent WHERE email = :who", who=NEW)} == {
        "complaint"
    }
    assert standing(world, NEW) == LEFT | {"mail": "Unsubscribed"}


@pytest.mark.parametrize("in_order", [True, False])
def test_it_goes_down_to_the_last_address(open_small_world, in_order):
    world = open_small_world()
    moved(world)
    if in_order:
        world.rocs.edit_customer(next(iter(world.rocs.customers)), email=THIRD)
        world.settle(4)
        by_phone(world)
        plan_at_once(world.app.context)
        assert suppressed(world, "global") == {OLD, NEW, THIRD}, "at once: the one between may stand nowhere any more"
    else:
        by_phone(world)
        world.rocs.edit_customer(next(iter(world.rocs.customers)), email=THIRD)
    world.settle(4)
    assert suppressed(world, "global") == {OLD, NEW, THIRD}
    assert standing(world, THIRD)["crm"] == "unsubscribed"
    assert subscriber(world, THIRD) != "Confirmed"


def test_their_own_yes_since_then_stands_until_the_old_mailbox_says_no_again(open_small_world):
    world = open_small_world()
    moved(world)
    for _ in range(3):
        by_phone(world)
        world.settle(3)
        assert suppressed(world, "global") == {OLD, NEW}
        resubscribe(world.app.context, NEW, GLOBAL, evidence="signed form")
        world.settle(3)
        world.wait(90_000)
        world.settle(3)
        assert suppressed(world, "global") == {OLD}


def test_so_it_is_where_the_old_one_is_read_to_say_no_again(open_small_world):
    """Another program subscribes the old address again, and it leaves again."""
    world = open_small_world(on_unsubscribe="field")
    moved(world)
    by_reading(world)
    world.settle(3)
    resubscribe(world.app.context, NEW, Scope("newsletter"), evidence="signed form")
    world.settle(3)
    world.wait(600)
    world.sales.set_field(world.sales_list, OLD, "status", "")
    world.round()
    by_reading(world)
    world.settle(3)
    assert suppressed(world, "newsletter") == {OLD, NEW}


def test_who_came_back_to_the_old_address_is_somebody_of_their_own(open_small_world):
    world = open_small_world()
    moved(world)
    person(world, OLD, "Olga", "Other")
    world.settle(3)
    by_phone(world)
    world.settle(3)
    assert suppressed(world, "global") == {OLD}


def test_a_conclusion_is_one_for_the_next_address_too(open_small_world):
    """Who vanished from a listing said nothing; where that counts as a no, it stands under the guard."""
    world = open_small_world(on_absence="unsubscribe")
    moved(world)
    world.sales.remove_contact(world.sales_list, OLD)
    world.wait(90_000)
    world.settle(4)
    found = world.rows("SELECT identity, inferred FROM consent_event")
    assert {(row["identity"], bool(row["inferred"])) for row in found} == {(OLD, True), (NEW, True)}


def test_explain_says_where_it_came_from(open_small_world):
    world = open_small_world()
    moved(world)
    by_phone(world)
    world.settle(3)
    told = command(world, "explain", NEW).out
    assert "learnt from crm by rename (said under the address that this one took the place of)" in told
    assert f"What {OLD} says no to, {NEW} says no to." in command(world, "explain", OLD).out
