"""How far from agreement: once nothing outside changes any more, it never grows from round to round, and ends at what
waits for a person.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from syncd.emulators.emulator import FaultKind
from syncd.sync.check import check
from syncd.sync.ingest import unsubscribe
from syncd.sync.standing import standing
from tests.scenes import Open, contacts, member, person, subscriber
from tests.world import World

FAULTS = (FaultKind.UNAVAILABLE, FaultKind.THROTTLED, FaultKind.ANSWER_LOST, FaultKind.NO_CONNECTION)
ROUNDS = 6


@pytest.mark.parametrize("part", range(6))
def test_the_distance_only_falls_once_nothing_changes_any_more(
    open_small_world: Open, part: int, seed_base: int
) -> None:
    rng = random.Random(seed_base + part)
    world = open_small_world(
        seed=seed_base + part,
        max_count=rng.choice([1, 20]),
        on_unsubscribe=rng.choice(["remove", "field"]),
    )
    # One step a round, so that there is something to see between two of them.
    world.app.context.policy = replace(world.app.context.policy, passes_max=1, backoff_s=5.0, backoff_max_s=30.0)
    _happen(world, rng)
    seen: list[int] = []
    waits = 0
    for _ in range(ROUNDS):
        world.round()
        verdict, shown = standing(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))
        seen.append(verdict.distance)
        waits = shown["held"] + shown["claims"]
        world.wait(40)
    assert seen == sorted(seen, reverse=True), seen
    assert seen[-1] == waits, seen
    assert not check(world.app.context, full=True).broken


def _happen(world: World, rng: random.Random) -> None:
    """People act everywhere, and rounds go on meanwhile, in which much goes wrong; nothing does any more afterwards."""
    for emulator in world.emulators.values():
        emulator.fault_kinds, emulator.fault_rate = FAULTS, 0.3
    for _ in range(4):
        world.round()
        world.wait(rng.choice([1, 20, 40]))
        for _ in range(rng.randrange(4, 9)):
            _act(world, rng, f"p{rng.randrange(9)}@example.org")
    for emulator in world.emulators.values():
        emulator.fault_rate = 0.0
        emulator.faults.clear()


def _act(world: World, rng: random.Random, email: str) -> None:
    customer = next((one.id for one in world.rocs.customers.values() if one.email == email), None)
    match rng.randrange(8):
        case 0 | 1 if customer is None:
            person(world, email)
        case 0 | 1 if customer is not None:
            world.rocs.edit_customer(customer, first_name=rng.choice(["Ann", "Bea", "Cid"]))
            world.rocs.add_member("L-1", customer)  # also somebody who has left: a foreign program imports them again
        case 2 if not contacts(world, email):
            world.sales.add_contact(world.sales_list, email, "New Comer")
        case 3 if subscriber(world, email) is None:
            world.mail.add_subscriber("154", email, "New Comer")
        case 4:
            world.rokt.send_lead(email, "New", "Comer")
        case 5 if member(world, email):
            world.rocs.unsubscribe_member("L-1", email)
        case 6:
            world.rokt.person_unsubscribes(email)
        case 7:
            unsubscribe(world.app.context, email, source="operator", evidence="by phone")
        case _:
            pass
