"""An account that comes to others which were agreed with long ago: its people are added nowhere before a person has
looked, and its first contact lasts until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from syncd.domain.identity import Identity
from syncd.emulators.emulator import Fault, FaultKind
from syncd.store import lookups, protection
from syncd.store.session import writing
from syncd.sync.approve import approve, reject
from syncd.sync.steer import pause, resume, retry
from tests.scenes import EVENTS, account, agreed, contacts, person, plans, subscriber
from tests.world import World

SHOP = f"""
[accounts.shop]
provider = "salesrocks"
base_url = "http://127.0.0.1:8702"
username = "sales@example.org"
password = "sales-secret"

[lists.newsletter]
shop = "{EVENTS}\""""

IDA, JIM = "ida@example.org", "jim@example.org"


def with_shop(world: World, *emails: str) -> None:
    """Everybody is agreed on everywhere; then an account more is configured, with them and these people."""
    (known,) = agreed(world, 1)
    world.sales.add_list("Shop", EVENTS)
    world.sales.add_contact(EVENTS, known, "First0 Last0")
    for email in emails:
        world.sales.add_contact(EVENTS, email, "Ida Ing")
    config = world._config.replace("\n[lists.newsletter]", SHOP)
    world._config = config.replace('first_sync = "go"', 'first_sync = "hold"')
    world.restart()


def of_two(world: World) -> World:
    """An account more, with Ida, shares a list with RocketResponder and nobody else."""
    with_shop(world, IDA)
    world.mail.add_list("Shop", lid="155")
    world._config = (
        world._config.replace(f'\nshop = "{EVENTS}"', "")
        + f"""
[lists.shop]
shop = "{EVENTS}"
mail = "155"
"""
    )
    world.restart()
    return world


def rounds(world: World, count: int = 3) -> None:
    for _ in range(count):
        world.wait(300)
        world.round()


def where(world: World, email: str) -> tuple[int, str | None]:
    """Rows at the old account of Sales.Rocks, and the word of RocketResponder."""
    return len(contacts(world, email)), subscriber(world, email)


def waiting(world: World) -> Mapping[str, Any]:
    return {f"{row['account']} {row['kind']}": row["id"] for row in plans(world, hold="first-contact")}


NOWHERE, EVERYWHERE = (0, None), (1, "Confirmed")


def test_a_new_account_is_not_joined_while_its_people_wait_to_be_added_elsewhere(open_small_world):
    world = open_small_world()
    with_shop(world, IDA)
    rounds(world)
    assert set(waiting(world)) == {"crm subscribe", "mail subscribe", "sales subscribe"}
    assert not account(world, "shop")["joined"]
    for name in ("crm subscribe", "sales subscribe"):
        approve(world.app.context, waiting(world)[name])
        rounds(world)
        assert not account(world, "shop")["joined"], "some of its people wait still"
    assert where(world, IDA) == (1, None), "one approval covers one plan"
    approve(world.app.context, waiting(world)["mail subscribe"])
    rounds(world)
    assert where(world, IDA) == EVERYWHERE
    assert account(world, "shop")["joined"]
    world.sales.add_contact(EVENTS, JIM, "Jim Joy")
    rounds(world)
    assert where(world, JIM) == EVERYWHERE


def test_a_new_account_of_which_nothing_waits_is_joined_at_once(open_small_world):
    world = open_small_world()
    with_shop(world)
    world.round()
    assert account(world, "shop")["joined"]


def test_first_contact_ends_when_what_waited_is_void_or_was_rejected(open_small_world):
    world = open_small_world()
    with_shop(world, IDA, JIM)
    rounds(world, 1)
    world.sales.remove_contact(EVENTS, IDA)
    world.rokt.person_unsubscribes(IDA)
    rounds(world)
    assert not account(world, "shop")["joined"], "Jim waits"
    for plan in waiting(world).values():
        reject(world.app.context, plan)
    rounds(world)
    assert account(world, "shop")["joined"]
    assert where(world, IDA) == where(world, JIM) == NOWHERE
    assert plans(world) == []


def test_a_protected_account_that_comes_back_last_is_so_until_its_people_were_looked_at(open_small_world):
    world = open_small_world()
    (known,) = agreed(world, 1)
    pause(world.app.context, "crm")
    with writing(world.app.engine) as connection:
        protection.protect(connection, "restored", world.clock())
    world.restart()
    rounds(world)
    assert account(world, "sales")["joined"]
    assert account(world, "mail")["joined"]
    person(world, IDA)
    world.sales.set_field(world.sales_list, known, "name", "Anna Last0")
    resume(world.app.context, "crm")
    rounds(world)
    assert set(waiting(world)) == {"sales subscribe", "mail subscribe", "crm update"}
    for name in ("sales subscribe", "mail subscribe", "crm update"):
        assert account(world, "crm")["protected"] == "restored"
        approve(world.app.context, waiting(world)[name])
        rounds(world)
    assert where(world, IDA) == EVERYWHERE
    assert not account(world, "crm")["protected"]
    assert account(world, "crm")["joined"]


def test_first_contact_goes_on_while_what_was_seen_was_not_decided_about(open_small_world):
    world = of_two(open_small_world())
    world.app.context.policy = replace(world.app.context.policy, passes_max=1)
    world.round()  # ends as soon as it was asked if Ida is at the other, and before anything follows
    assert subscriber(world, IDA, "155") is None
    assert not account(world, "shop")["joined"]
    rounds(world)
    assert set(waiting(world)) == {"mail subscribe"}
    reject(world.app.context, waiting(world)["mail subscribe"])
    rounds(world)
    assert account(world, "shop")["joined"]


def test_first_contact_goes_on_while_it_was_not_asked_yet_whether_its_people_are_elsewhere(open_small_world):
    world = open_small_world()
    with_shop(world, IDA)
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "/subscriber/lookup", times=10**6))
    rounds(world)
    for plan in waiting(world).values():
        approve(world.app.context, plan)
    rounds(world)
    assert where(world, IDA) == (1, None)
    assert not account(world, "shop")["joined"]
    world.mail.faults.clear()
    world.wait(3600)
    rounds(world)
    assert set(waiting(world)) == {"mail subscribe"}
    assert where(world, IDA) == (1, None)
    reject(world.app.context, waiting(world)["mail subscribe"])
    rounds(world)
    assert account(world, "shop")["joined"]


@pytest.mark.parametrize("why", ["given up", "paused"])
def test_what_follows_for_people_who_could_not_be_asked_about_waits_for_a_person(open_small_world, why):
    world = of_two(open_small_world())
    if why == "paused":
        pause(world.app.context, "mail")
    else:
        world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "/subscriber/lookup", times=10**6))
        rounds(world, 1)
        world.mail.faults.clear()
        with writing(world.app.engine) as connection:
            lookups.note_failure(
                connection, "mail", "155", Identity(IDA), until=world.clock(), given_up="HTTP 500, 8 times"
            )
        rounds(world)
        reject(world.app.context, waiting(world)["mail subscribe"])  # of whom it could be asked
    rounds(world)
    assert account(world, "shop")["joined"], "or it would wait for them for ever"
    if why == "paused":
        resume(world.app.context, "mail")
    else:
        (parked,) = world.rows("SELECT id FROM v_parked WHERE what = 'look-up'")
        retry(world.app.context, parked["id"])
    rounds(world)
    assert subscriber(world, IDA, "155") is None
    ((_, plan),) = [(row["hold"], row["id"]) for row in plans(world, account="mail", kind="subscribe")]
    approve(world.app.context, plan)
    rounds(world)
    assert subscriber(world, IDA, "155") == "Confirmed"
    assert world.rows("SELECT * FROM caution") == []
