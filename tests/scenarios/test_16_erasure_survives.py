"""16: whoever was erased and is listed again stays unknown here, and is taken off there; a keyed hash alone tells."""

from __future__ import annotations

import json
from collections.abc import Callable

from syncd.domain.identity import Identity
from syncd.store.traces import Forms, left_of
from syncd.sync.erase import erase, wipe_and_look
from tests.scenes import (
    DORA,
    PHONE,
    SPELT,
    TAGGED,
    Open,
    added,
    command,
    known_everywhere,
    marks,
    member,
    operations,
    person,
    stands_nowhere,
    values,
    written,
)
from tests.world import World


def imported_at_crm(world: World) -> None:
    """The record that said no is written over."""
    world.rocs.give_consent(DORA)
    world.rocs.mark_member("L-1", DORA, "subscribed")


def again_at_crm(world: World) -> None:
    person(world, SPELT, "Dora", "Deer", mobile=PHONE)


def again_at_sales(world: World) -> None:
    world.sales.add_contact(world.sales_list, "DORA+shop@example.org", "Dora Deer", phone=PHONE)


def again_at_mail(world: World) -> None:
    """Told by a notice, looked up by its address."""
    world.mail.subscribers.pop(("154", TAGGED), None)
    world.mail.add_subscriber("154", TAGGED, "Dora Deer")
    world.mail.open_mail("154", TAGGED)


def again_as_a_lead(world: World) -> None:
    world.rokt.send_lead(SPELT, "Dora", "Deer", mobile=PHONE, encoding="xml")


RETURNS: dict[Callable[[World], None], str] = {
    imported_at_crm: "rocs",
    again_at_crm: "rocs",
    again_at_sales: "salesrocks",
    again_at_mail: "rocketresponder",
    again_as_a_lead: "rokt",
}
"""How they come back, and who has to be asked to take them off again."""


def listed_again(world: World, returns: Callable[[World], None], forms: Forms) -> None:
    """At no moment on the way is anything of them in the mirror but for the calls that it takes."""
    before, last = marks(world), operations(world)[-1]["id"]
    returns(world)
    world.deliver()
    assert not [one for one in left_of(world.app.engine, forms) if one.place == "inbox"]
    world.round(full=True)
    for name in ("cell", "person", "inbox", "op", "counter_sample", "lookup", "agenda", "claim"):
        assert not [one for one in left_of(world.app.engine, forms) if one.place == name], name
    world.settle(4)
    world.round(full=True)
    asked = {name for name, _, _ in written(world, before)}
    assert RETURNS[returns] in asked
    assert asked <= {RETURNS[returns], "rokt"}, "which is told of every spelling, as nobody can look there"
    assert added(world, before) == []
    assert stands_nowhere(world)
    assert left_of(world.app.engine, forms) == []
    assert values(world, "transit") == values(world, "claim") == 0
    assert {op["kind"] for op in operations(world) if op["id"] > last} == {"unsubscribe"}
    quiet = marks(world)
    world.round()
    assert written(world, quiet) == []


def test_16_whoever_was_erased_and_is_listed_again_anywhere_is_taken_off_there_and_stays_unknown(open_world: Open):
    world = open_world()
    known_everywhere(world)
    assert command(world, "erase", DORA, "--verify", "--json").code == 1, "what is looked for can be found"
    done = erase(world.app.context, Identity(DORA))
    world.settle()
    assert wipe_and_look(world.app.context, done).clean
    for returns in RETURNS:
        listed_again(world, returns, done.forms)
    verified = command(world, "erase", DORA, "--verify", "--json")
    assert (verified.code, verified.data["clean"]) == (0, True)
    # The hash is all that tells, under every spelling, and of nobody else.
    (row,) = world.rows("SELECT person_key, level FROM consent WHERE scope = 'global'")
    assert row["person_key"] == done.person
    assert done.person.startswith("erased@")
    for spelling in (SPELT, TAGGED):
        told = command(world, "explain", spelling, "--json")
        assert (told.code, told.data["consent"][0]["level"]) == (0, "erased")
        assert not [word for word in ("Deer", PHONE) if word in json.dumps(told.data)]
    assert [row["email"] for row in world.rows("SELECT email FROM v_contacts")] == ["bob@example.org"]
    assert member(world, "bob@example.org") == "subscribed"
