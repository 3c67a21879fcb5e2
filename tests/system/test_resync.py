"""Read anew, sent anew, agreed on anew: each does its own thing, and none of them adds anybody by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.domain.identity import Identity
from syncd.store.session import writing
from syncd.store.tables import AccountRow
from syncd.sync.approve import approve
from syncd.sync.resync import Verb, resync
from tests.scenes import (
    JOINED,
    LEFT,
    calls,
    contacts,
    last_run,
    marks,
    memberships,
    names_of,
    operations,
    people,
    person,
    plans,
    standing,
    subscriber,
    values,
    written,
)
from tests.world import World

VERBS = pytest.mark.parametrize("verb", list(Verb), ids=str)


def agreed(world: World, count: int) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def alter(world: World, statement: str, **given: Any) -> None:
    """What no round would do: change the mirror behind its back."""
    with writing(world.app.engine) as connection:
        assert connection.execute(sa.text(statement), given).rowcount


def everything(world: World) -> dict[str, list[Any]]:
    tables = [name for name in AccountRow.metadata.tables if name != "meta"]  # where the sequence stands
    return {name: sorted(map(repr, world.rows(f'SELECT * FROM "{name}"'))) for name in tables}


def rounds(world: World, count: int = 3) -> None:
    for _ in range(count):
        world.wait(300)
        world.round()


# Reread --------------------------------------------------------------------------------------------------------------


def test_what_looks_the_same_is_read_again_when_a_person_wants_it(open_world):
    world = open_world()
    emails = agreed(world, 3)
    # A fault of long ago: the mirror holds other than what the same bytes say today.
    for name in ("crm", "sales"):
        alter(
            world,
            "UPDATE cell SET status = 'pending' WHERE account = :name AND identity = :email AND status = 'subscribed'",
            name=name,
            email=emails[0],
        )
    rounds(world, 1)
    wrong = memberships(world, emails[0])
    assert {wrong["sales", world.sales_list], wrong["crm", "L-1"]} == {"pending"}, "no round looks there again"
    before, since = world.writes, marks(world)
    done = resync(world.app.context, Verb.REREAD)
    assert (done.people, done.look_ups) == (3, 3)
    rounds(world)
    found = memberships(world, emails[0])
    assert {found["sales", world.sales_list], found["crm", "L-1"]} == {"subscribed"}
    assert len([name for name in names_of(calls(world, since)["rocketresponder"]) if "lookup" in name.lower()]) >= 3
    assert world.writes == before, "no change of meaning"
    assert plans(world) == []
    assert values(world, "caution") == 0, "nothing follows any more"
    # Afterwards it is as before: pages that are the same are not worked on.
    rounds(world, 1)
    counts = last_run(world, "sales")["counts"]
    counts = json.loads(counts) if isinstance(counts, str) else counts
    assert counts["pages_same"] == counts["pages"]


def test_one_person_is_asked_about_where_that_is_possible_and_nobody_else_is_read(open_small_world):
    world = open_small_world()
    emails = agreed(world, 3)
    done = resync(world.app.context, Verb.REREAD, identity=Identity(emails[1]))
    assert (done.people, done.containers) == (1, 0)
    assert {row["identity"] for row in world.rows("SELECT identity FROM lookup")} == {emails[1]}
    assert {row["account"] for row in world.rows("SELECT account FROM lookup")} == {"crm", "sales", "mail"}
    before = world.writes
    world.round()
    assert values(world, "lookup") == 0
    assert world.writes == before


def test_an_account_and_a_list_narrow_it_down(open_small_world):
    world = open_small_world()
    agreed(world, 2)
    assert resync(world.app.context, Verb.REREAD, account="leads").containers == 0
    done = resync(world.app.context, Verb.REREAD, account="crm", list_name="newsletter")
    assert (done.containers, done.look_ups) == (1, 0)
    marked = world.rows("SELECT account, container FROM container WHERE reread")
    assert marked == [{"account": "crm", "container": "L-1"}]
    world.wait(300)
    world.round()
    assert world.rows("SELECT account, container FROM container WHERE reread") == []


# Reassert ------------------------------------------------------------------------------------------------------------


def test_a_provider_that_cannot_be_asked_is_told_again_and_once(open_world):
    world = open_world()
    gone, stays = agreed(world, 2)
    world.mail.person_unsubscribes("154", gone)
    world.settle(2)
    assert standing(world, gone) == LEFT
    del world.rokt.unsubscribed[gone]  # it lost what it was sent
    rounds(world, 1)
    assert gone not in world.rokt.unsubscribed
    since = marks(world)
    assert resync(world.app.context, Verb.REASSERT).told_again == 1
    rounds(world)
    assert gone in world.rokt.unsubscribed
    assert [name for name, _, _ in written(world, since)] == ["rokt"], "once, and nobody else needs it"
    assert standing(world, stays) == JOINED
    assert values(world, "caution") == 0


def test_an_unsubscribe_that_waits_to_be_tried_again_goes_now(open_small_world):
    world = open_small_world()
    gone, _ = agreed(world, 2)
    world.rocs.unsubscribe_member("L-1", gone)
    world.round()
    later = "state = 'ready', not_before = '2027-01-01 00:00:00.000000'"
    alter(world, f"UPDATE op SET {later} WHERE account = 'mail' AND kind = 'unsubscribe'")
    rounds(world, 1)
    assert operations(world, account="mail", state="ready") != []
    assert resync(world.app.context, Verb.REASSERT, account="mail").reopened == 1
    rounds(world, 1)
    assert operations(world, account="mail", state="ready") == []


# Rebase --------------------------------------------------------------------------------------------------------------


def test_fields_as_they_are_become_the_base_and_none_is_overwritten(open_world):
    world = open_world(first_sync="hold")
    customer = person(world, "ann@example.org", "Ann", "Bee")
    world.sales.add_contact(world.sales_list, "ann@example.org", "Anna Bee")
    world.settle(2)
    assert {row["kind"] for row in plans(world, account="sales")} == {"update"}
    done = resync(world.app.context, Verb.REBASE, identity=Identity("ann@example.org"))
    assert (done.people, done.records) == (1, 2)
    rounds(world)
    assert plans(world, kind="update") == []
    (contact,) = contacts(world, "ann@example.org")
    assert (contact["name"], world.rocs.customers[customer].first_name) == ("Anna Bee", "Ann")
    # Whoever edits one from here on is followed.
    for row in plans(world):
        approve(world.app.context, row["id"])
    rounds(world)
    world.rocs.edit_customer(customer, first_name="Annette")
    rounds(world)
    assert contacts(world, "ann@example.org")[0]["name"] == "Annette Bee"


def test_a_change_of_fields_that_was_not_sent_yet_is_not_sent_any_more(open_small_world):
    world = open_small_world()
    (email,) = agreed(world, 1)
    alter(world, "UPDATE account SET held_until = '2030-01-01 00:00:00.000000' WHERE name = 'sales'")
    world.rocs.edit_customer(next(iter(world.rocs.customers)), first_name="Anna")
    rounds(world, 1)
    assert operations(world, account="sales", kind="update", state="ready") != []
    resync(world.app.context, Verb.REBASE)
    alter(world, "UPDATE account SET held_until = NULL WHERE name = 'sales'")
    rounds(world)
    assert contacts(world, email)[0]["name"] == "First0 Last0"
    assert operations(world, account="sales", kind="update", state="ready") == []


# All three -----------------------------------------------------------------------------------------------------------


@VERBS
def test_nobody_is_added_because_of_it_before_somebody_has_looked(open_small_world, verb: Verb):
    world = open_small_world(first_sync="go")
    emails = agreed(world, 3)
    suppressed = emails[2]
    world.mail.person_unsubscribes("154", suppressed)
    world.settle(2)
    # Nobody looks at them again, and the mirror has forgotten that they were there: an addition would follow.
    for contact in contacts(world, emails[0]):
        world.sales.remove_contact(world.sales_list, str(contact["email"]))
    alter(world, "DELETE FROM cell WHERE account = 'sales' AND identity = :email", email=emails[0])
    del world.mail.subscribers["154", emails[1]]
    alter(world, "DELETE FROM cell WHERE account = 'mail' AND identity = :email", email=emails[1])
    alter(world, "UPDATE container SET rows = rows - 1 WHERE account = 'sales' AND container <> '*'")
    since = marks(world)
    resync(world.app.context, verb)
    rounds(world)
    assert not [path for _, path, _ in written(world, since) if path.endswith(("/addToList", "/subscribe"))]
    assert standing(world, suppressed) == LEFT
    waiting = {(row["account"], row["kind"], row["hold"], row["count"]) for row in plans(world)}
    assert waiting == {("sales", "subscribe", "resync", 1), ("mail", "subscribe", "resync", 1)}
    for row in plans(world):
        approve(world.app.context, row["id"])
    rounds(world)
    assert [standing(world, email) for email in emails] == [JOINED, JOINED, LEFT]
    assert plans(world) == []
    assert values(world, "caution") == 0
    person(world, "new@example.org")
    rounds(world)
    assert standing(world, "new@example.org") == JOINED, "who joins afterwards is no matter of it"


@VERBS
def test_a_rehearsal_says_what_it_would_come_to_and_writes_nothing(open_world, verb: Verb):
    world = open_world()
    gone, _ = agreed(world, 2)
    world.mail.person_unsubscribes("154", gone)
    world.settle(2)
    before = everything(world)
    rehearsed = resync(world.app.context, verb, dry_run=True)
    assert everything(world) == before
    if verb is Verb.REASSERT:
        assert rehearsed.planned is not None
        assert [(wish.account, str(wish.change.identity)) for wish in rehearsed.planned.wishes] == [("leads", gone)]
    done = resync(world.app.context, verb)
    names = ("people", "containers", "look_ups", "told_again", "records")
    assert [getattr(done, name) for name in names] == [getattr(rehearsed, name) for name in names]
    assert subscriber(world, gone) == "Unsubscribed"
