"""Whoever confirmed at our own form goes where every other new subscriber goes."""

from __future__ import annotations

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.identity import Identity
from syncd.sync import ingest
from syncd.sync.subscribing import Confirmed, Wish, confirm
from tests.scenes import Open, command
from tests.world import CONFIG, World

ANN = Identity("ann@example.org")
FORMED = (
    CONFIG
    + """
[receiver]
public_url = "https://sync.example.org"

[subscribe_form]
lists = ["newsletter"]
confirm_command = ["/bin/true"]
"""
)


def confirms(world: World, first_name: str = "Ann") -> Confirmed:
    wish = Wish(ANN, ("newsletter",), {"first_name": first_name}, world.clock())
    world.wait(60)
    return confirm(world.app.context, wish)


def found(world: World) -> dict[str, str]:
    """How Ann stands at each provider that has her."""
    rows = world.rows("SELECT account, status FROM cell WHERE identity = :ann ORDER BY account", ann=ANN)
    return {row["account"]: row["status"] for row in rows if row["status"] != "absent"}


def test_a_confirmed_subscriber_is_added_everywhere_and_a_no_reaches_them_everywhere(open_small_world: Open) -> None:
    world = open_small_world(config=FORMED)
    world.settle()
    assert confirms(world) is Confirmed.DONE
    world.settle()
    assert found(world) == dict.fromkeys(("crm", "forms", "mail", "sales"), "subscribed")
    assert ("154", ANN) in world.mail.subscribers
    named = world.rows("SELECT account FROM cell WHERE fields LIKE '%Ann%'")
    assert {row["account"] for row in named} == {"crm", "forms", "mail", "sales"}
    writes = world.writes
    world.settle()
    assert world.writes == writes
    assert command(world, "status").code == 0, "converged"
    world.mail.person_unsubscribes("154", ANN)
    world.settle()
    left = found(world)
    assert left.pop("sales") == "removed"
    assert set(left.values()) == {"unsubscribed"}
    assert set(left) == {"crm", "forms", "mail", "leads"}
    assert command(world, "status").code == 0
    assert command(world, "check", "--full").code == 0


def test_the_first_who_come_by_the_form_wait_for_approval_where_first_contact_is_held(open_small_world: Open) -> None:
    world = open_small_world(config=FORMED, first_sync="hold")
    confirms(world)
    world.settle()
    assert found(world) == {"forms": "subscribed"}
    assert {row["hold"] for row in world.rows("SELECT hold FROM plan")} == {"first-contact"}


def test_somebody_who_said_no_and_confirms_may_be_mailed_again_and_is_no_claim(open_small_world: Open) -> None:
    world = open_small_world(config=FORMED)
    world.settle()
    confirms(world)
    world.settle()
    ingest.unsubscribe(world.app.context, ANN, Scope("newsletter"), source="one-click", evidence="clicked")
    world.settle()
    assert found(world)["forms"] == "unsubscribed"
    assert confirms(world) is Confirmed.DONE
    world.settle()
    assert found(world)["forms"] == "subscribed"
    assert world.rows("SELECT id FROM claim WHERE state = 'open'") == []
    level = world.rows("SELECT level FROM consent WHERE scope = 'newsletter'")
    assert [row["level"] for row in level] == [2]


def test_a_no_to_everything_that_was_lifted_by_the_form_subscribes_nobody_elsewhere(open_small_world: Open) -> None:
    world = open_small_world(config=FORMED)
    world.settle()
    ingest.unsubscribe(world.app.context, ANN, GLOBAL, source="operator", evidence="a letter")
    world.settle()
    confirms(world)
    world.settle()
    assert found(world)["forms"] == "subscribed"
    assert world.rows("SELECT scope FROM consent WHERE level >= 3") == []
