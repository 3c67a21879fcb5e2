"""What Rokt does and nobody documents, and what becomes of it here: deliveries, imports, campaigns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.scenes import (
    DAY,
    JOINED,
    QUERY_API,
    agreed,
    calls,
    command,
    configured,
    marks,
    member,
    operations,
    standing,
    values,
)
from tests.world import World


def imports(world: World, since: dict[str, int]) -> list[str]:
    """Whom the import was told of, call by call."""
    return [json.loads(call.body)["email"] for call in calls(world, since)["rokt"] if call.write]


def told(world: World, email: str) -> Any:
    (op,) = operations(world, account="leads", kind="unsubscribe", identity=email)
    return op


def leads_of_all_campaigns(world: World) -> int:
    return sum(row["leads"] for row in command(world, "leads", "campaigns", "--json").data)


# Deliveries ----------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("rokt-no-order-is-promised")
@pytest.mark.parametrize("seed", range(3))
def test_deliveries_that_repeat_and_overtake_each_other_end_alike(open_small_world, seed):
    world = open_small_world()
    world.rokt.repeats = 2
    world.rokt.rng.seed(seed)
    names = ("ann", "bob", "cid", "dan")
    for name in names:
        world.rokt.send_lead(f"{name}@example.org", name.title())
    for name in ("bob", "dan"):
        world.rokt.person_unsubscribes(f"{name}@example.org")
    first = list(world.rokt.outgoing)
    world.rokt.shuffle_outgoing()
    assert list(world.rokt.outgoing) != first
    assert world.deliver() == 18
    world.settle(3)
    assert values(world, "inbox") == 6, "a repetition is known by its content, whatever came between"
    assert [member(world, f"{name}@example.org") for name in names] == ["subscribed", None, "subscribed", None]
    leads = world.rows("SELECT identity, COUNT(*) AS n FROM cell WHERE account = 'leads' GROUP BY identity, container")
    assert {row["n"] for row in leads} == {1}


@pytest.mark.quirk("rokt-unlinked-campaigns-keep-their-leads")
def test_of_a_campaign_that_is_not_linked_there_only_the_figures_are_seen(open_small_world):
    world = open_small_world(config=configured(leads=QUERY_API))
    world.rokt.add_campaign("77", "Autumn")
    world.rokt.unlinked.add("77")
    world.rokt.send_lead("bob@example.org", "Bob", campaign="77")
    world.settle(2)
    figures = world.rows("SELECT campaign_id, extra FROM campaign_sample WHERE account = 'leads'")[-1]
    assert (figures["campaign_id"], json.loads(figures["extra"])["referrals"]) == ("77", 1)
    assert member(world, "bob@example.org") is None, "a referral that is counted is nobody"
    assert leads_of_all_campaigns(world) == 0
    world.rokt.unlinked.clear()
    world.rokt.send_lead("ann@example.org", "Ann", campaign="77")
    world.settle(2)
    assert member(world, "ann@example.org") == "subscribed"
    assert leads_of_all_campaigns(world) == 1


# The import ----------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("rokt-import-is-not-idempotent")
def test_an_import_whose_answer_was_lost_is_sent_again_and_has_the_receipt_of_the_one_that_came(open_small_world):
    world = open_small_world()
    agreed(world)
    email = "p0@example.org"
    before = marks(world)
    world.rokt.faults.append(Fault(FaultKind.ANSWER_LOST, "unsubscribe"))
    world.mail.person_unsubscribes("154", email)
    world.round()
    assert imports(world, before) == [email], "never twice in one breath: the carrier repeats no import"
    assert told(world, email)["state"] != "done"
    world.wait(DAY)
    world.settle(3)
    assert imports(world, before) == [email, email]
    lost, kept = world.rokt.receipts
    assert lost != kept
    assert (told(world, email)["receipt"], standing(world, email)["leads"]) == (kept, "told")
    world.wait(DAY)
    world.settle(2)
    assert len(imports(world, before)) == 2, "a receipt ends it"


@pytest.mark.quirk("rokt-201-comes-before-it-is-done")
def test_what_was_only_received_is_called_accepted_and_is_neither_awaited_nor_sent_again(open_small_world):
    world = open_small_world()
    agreed(world)
    email = "p0@example.org"
    world.rokt.apply_delay_s = 2 * DAY
    world.rokt.echoes_imports = True
    before = marks(world)
    world.mail.person_unsubscribes("154", email)
    world.settle(2)
    assert email not in world.rokt.unsubscribed
    assert told(world, email)["receipt"] in world.rokt.receipts
    (line,) = world.rows("SELECT grade, state FROM v_propagation WHERE account = 'leads' AND email = :e", e=email)
    assert line["grade"] == "accepted"
    world.wait(DAY)
    world.settle(2)
    assert imports(world, before) == [email], "nobody waits for it, and it is not said twice"
    # A lead of the same person before the import was applied: their "no" stands, and Rokt is told of it once more.
    world.rokt.send_lead(email, "Pia")
    world.settle(3)
    assert member(world, email) == "unsubscribed"
    assert imports(world, before) == [email, email]
    world.wait(3 * DAY)
    world.settle(3)
    assert email in world.rokt.unsubscribed
    assert imports(world, before) == [email, email], "nor for the echo of its own import"
    assert standing(world, email) == JOINED | {
        "crm": "unsubscribed",
        "sales": [],
        "mail": "Unsubscribed",
        "leads": "told",
    }
