"""Fields of our own and typed ones: mapped by account, kept in one form, written in each account's own."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.scenes import agreed, command, configured, contacts, explained, last_run, person
from tests.world import CONFIG, World

FIELDS = """
[fields.shoe_size]
owner = "sales"

[fields.birth_date]
owner = "sales"
"""
MAPPED = (
    configured(
        CONFIG,
        crm='fields = {{ shoe_size = "dynamic:Shoe", birth_date = "dynamic:Born", country = "dynamic:Land" }}\n'
        'formats = {{ country = "name" }}',
        sales='fields = {{ shoe_size = "shoe", birth_date = "geburtstag", phone = "tel", country = "land" }}\n'
        'formats = {{ birth_date = "DD.MM.YYYY", phone = "digits" }}',
        leads='fields = {{ shoe_size = "schuh" }}',
    )
    + FIELDS
)


def defined(world: World) -> World:
    for name, kind in {"Shoe": "number", "Born": "date", "Land": "string"}.items():
        world.rocs.define_dynamic(name, kind)
    return world


def at_rocs(world: World, email: str) -> Any:
    (found,) = (one for one in world.rocs.customers.values() if one.email == email)
    return found


def at_sales(world: World, email: str) -> dict[str, Any]:
    (found,) = contacts(world, email)
    return found


def rounds(world: World, count: int = 3, full: bool = False) -> None:
    for _ in range(count):
        world.wait(120)
        world.round(full=full)


def quiet(world: World) -> None:
    """Another day of rounds writes nothing."""
    before = world.writes
    world.wait(86_500)
    world.round(full=True)
    rounds(world, 2)
    assert world.writes == before
    assert last_run(world, "crm")["result"] == "success"


def test_a_custom_field_that_changes_at_one_provider_arrives_at_the_others_that_map_it(open_world):
    world = defined(open_world(config=MAPPED))
    (email,) = agreed(world)
    world.sales.set_field(world.sales_list, email, "shoe", "41")
    rounds(world)
    assert at_rocs(world, email).dynamic == {"Shoe": 41}
    world.rocs.set_dynamic(at_rocs(world, email).id, {"Shoe": 42})
    world.wait(86_500)  # nothing tells of it: it is asked about once a day
    rounds(world)
    assert at_sales(world, email)["shoe"] == "42"
    quiet(world)


@pytest.mark.quirk("rocs-dynamic-fields-apart")
def test_a_dynamic_field_is_read_at_once_where_its_customer_moved_and_forgotten_by_no_listing(open_small_world):
    world = defined(open_small_world(config=configured(MAPPED, crm="lookups_per_round = 1")))
    emails = agreed(world, 2)
    world.rocs.dynamic_touches = True
    for email in emails:
        world.rocs.set_dynamic(at_rocs(world, email).id, {"Shoe": 43})
    rounds(world, 3)
    assert [at_sales(world, email)["shoe"] for email in emails] == ["43", "43"]
    before = [call for call in world.rocs.calls if call.write]
    for email in emails:  # the listing shows no dynamic field, and only one of them can be asked about now
        world.rocs.edit_customer(at_rocs(world, email).id, first_name="Anna")
    rounds(world, 1)
    assert [at_sales(world, email)["name"] for email in emails] == ["Anna Last0", "Anna Last1"]
    assert [call for call in world.rocs.calls if call.write] == before


def a_day_of_feeds(world: World, moving: str = "") -> None:
    """A day and a half, three hours at a time, with somebody whose record moves each time, if any."""
    for hour in range(12):
        world.wait(10_800)
        if moving:
            world.rocs.edit_customer(at_rocs(world, moving).id, first_name=f"Anna{hour}")
        world.round()


def test_whoever_the_feed_shows_again_and_again_is_asked_about_all_the_same(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    *_, latest = agreed(world, 2)
    world.rocs.edit_customer(at_rocs(world, latest).id, first_name="Anna")  # the feed goes on from here, and shows it
    rounds(world)
    world.rocs.set_dynamic(at_rocs(world, latest).id, {"Shoe": 42})
    a_day_of_feeds(world)
    assert at_sales(world, latest)["shoe"] == "42"


def test_records_that_move_all_the_time_keep_no_other_from_being_asked_about(open_small_world):
    config = configured(MAPPED, crm="lookups_per_round = 1", schedule="full_every = '7d'")
    world = defined(open_small_world(config=config))
    gone, quiet_one, moving = agreed(world, 3)
    rounds(world, 4)
    world.rocs.customers.pop(at_rocs(world, gone).id)  # whoever cannot be told of takes nobody's turn either
    world.rocs.set_dynamic(at_rocs(world, quiet_one).id, {"Shoe": 42})
    a_day_of_feeds(world, moving)
    assert at_sales(world, quiet_one)["shoe"] == "42"


def test_dates_phones_and_countries_are_one_value_in_each_accounts_own_spelling(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    (email,) = agreed(world)
    for member, value in {"geburtstag": "31.12.1990", "tel": "46701234567", "land": "sweden"}.items():
        world.sales.set_field(world.sales_list, email, member, value)
    rounds(world)
    assert at_rocs(world, email).dynamic == {"Born": "1990-12-31", "Land": "Sweden"}
    assert at_rocs(world, email).mobile == "+46701234567"
    world.rocs.edit_customer(at_rocs(world, email).id, mobile="+46707654321")
    rounds(world)
    assert at_sales(world, email)["tel"] == "46707654321"
    assert (at_sales(world, email)["geburtstag"], at_sales(world, email)["land"]) == ("31.12.1990", "sweden")
    quiet(world)


def test_an_owner_beats_the_order_of_the_configuration(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    (email,) = agreed(world)
    world.sales.set_field(world.sales_list, email, "shoe", "40")
    rounds(world)
    world.rocs.dynamic_touches = True
    world.rocs.set_dynamic(at_rocs(world, email).id, {"Shoe": 41})
    world.rocs.edit_customer(at_rocs(world, email).id, first_name="Anna")
    world.sales.set_field(world.sales_list, email, "shoe", "42")
    world.sales.set_field(world.sales_list, email, "name", "Berta Last0")
    rounds(world)
    assert (at_rocs(world, email).dynamic["Shoe"], at_sales(world, email)["shoe"]) == (42, "42")
    assert at_sales(world, email)["name"] == "Anna Last0", "a name has no owner: the first account counts"
    quiet(world)


def test_a_value_that_is_none_of_its_kind_stays_where_it_is_and_is_explained(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    (email,) = agreed(world)
    for member, value in {"geburtstag": "31.02.1990", "land": "Atlantis", "shoe": "none"}.items():
        world.sales.set_field(world.sales_list, email, member, value)
    rounds(world)
    assert at_rocs(world, email).dynamic == {}
    assert at_sales(world, email)["geburtstag"] == "31.02.1990"
    told = explained(world, email)["sales"]
    assert told["seen"][0]["unread_fields"] == {"birth_date": "31.02.1990", "country": "Atlantis"}
    assert any("birth_date is kept as it came" in line and "read as date" in line for line in told["sentences"])
    parked = command(world, "inspect", "parked", "--json").data
    assert "takes a number" in str(parked), "a number is what ROCS wants of a shoe size"
    # Somebody may have meant something by it: a value from elsewhere is not written over it, but into a blank.
    world.rocs.dynamic_touches = True
    world.rocs.set_dynamic(at_rocs(world, email).id, {"Born": "1990-02-28"})
    rounds(world)
    assert at_sales(world, email)["geburtstag"] == "31.02.1990"
    world.sales.set_field(world.sales_list, email, "geburtstag", "")
    rounds(world)
    assert at_sales(world, email)["geburtstag"] == "28.02.1990"


def test_what_became_unreadable_is_not_written_over_and_told_from_an_edit_once_it_can_be_read(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    (email,) = agreed(world)
    for member, value in {"tel": "46701234567", "shoe": "41"}.items():
        world.sales.set_field(world.sales_list, email, member, value)
    rounds(world)
    before = world.writes["salesrocks"]
    world.sales.set_field(world.sales_list, email, "tel", "ask Ann")
    world.sales.set_field(world.sales_list, email, "name", "First0 Ann\ufffd")
    rounds(world)
    world.rocs.edit_customer(at_rocs(world, email).id, mobile="+46707654321", first_name="Anna")
    rounds(world, full=True)
    assert (at_sales(world, email)["tel"], at_sales(world, email)["name"]) == ("ask Ann", "First0 Ann\ufffd")
    assert world.writes["salesrocks"] == before
    told = [line for line in explained(world, email)["sales"]["sentences"] if "nothing is written over it" in line]
    assert sorted(line.partition(" ")[0] for line in told) == ["first_name", "last_name", "phone"]
    # The old values stand there again: nobody changed them, so what was changed elsewhere meanwhile holds.
    world.sales.set_field(world.sales_list, email, "tel", "46701234567")
    world.sales.set_field(world.sales_list, email, "name", "First0 Last0")
    rounds(world)
    assert (at_rocs(world, email).mobile, at_rocs(world, email).first_name) == ("+46707654321", "Anna")
    assert (at_sales(world, email)["tel"], at_sales(world, email)["name"]) == ("46707654321", "Anna Last0")
    quiet(world)


def test_an_update_that_waits_is_not_sent_once_the_value_there_cannot_be_read(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    (email,) = agreed(world)
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "updateListData", times=10**6))
    world.rocs.edit_customer(at_rocs(world, email).id, mobile="+46707654321")
    rounds(world, 1)
    world.sales.set_field(world.sales_list, email, "tel", "ask Ann")
    world.sales.faults.clear()
    rounds(world)
    assert at_sales(world, email)["tel"] == "ask Ann"
    assert command(world, "status", "--json").data["converged"]


def test_a_dynamic_field_that_cannot_be_read_is_left_alone_also_after_a_listing(open_small_world):
    world = defined(open_small_world(config=configured(MAPPED, crm="lookups_per_round = 1")))
    *emails, latest = agreed(world, 3)
    world.wait(120)
    world.rocs.edit_customer(at_rocs(world, latest).id, first_name="Last")  # the feed goes on from here
    for email in emails:
        world.rocs.set_dynamic(at_rocs(world, email).id, {"Land": "Atlantis"})
    world.wait(86_500)
    rounds(world)
    for email in emails:  # only one of them can be asked about now
        world.rocs.edit_customer(at_rocs(world, email).id, first_name="Anna")
        world.sales.set_field(world.sales_list, email, "land", "SE")
    rounds(world, 1)
    assert [at_rocs(world, email).dynamic for email in emails] == [{"Land": "Atlantis"}] * 2


def test_a_lead_brings_its_fields_along(open_small_world):
    world = defined(open_small_world(config=MAPPED))
    agreed(world)
    world.rokt.send_lead("new@example.org", "New", dob="19901231", country="Australia", schuh="39")
    rounds(world)
    assert at_rocs(world, "new@example.org").dynamic == {"Shoe": 39, "Born": "1990-12-31", "Land": "Australia"}
    shown = at_sales(world, "new@example.org")
    assert (shown["geburtstag"], shown["land"], shown["shoe"]) == ("31.12.1990", "AU", "39")
    quiet(world)


def test_a_field_that_is_mapped_later_is_read_from_all_and_is_nobodys_edit(open_small_world):
    world = defined(open_small_world(config=configured(CONFIG, crm='fields = {{ country = "dynamic:Land" }}')))
    email = "ann@example.org"
    world.rocs.set_dynamic(person(world, email), {"Land": "SE"})
    world.sales.add_contact(world.sales_list, email, "Ann Bee")
    world.sales.set_field(world.sales_list, email, "land", "DE")
    (other,) = agreed(world)
    world.sales.set_field(world.sales_list, other, "land", "NO")
    rounds(world)
    before = world.writes
    world._config = world._config.replace('username = "sales@', 'fields = { country = "land" }\nusername = "sales@')
    world.restart()
    rounds(world)
    assert at_rocs(world, email).dynamic == {"Land": "SE"}
    assert at_sales(world, email)["land"] == "SE"
    assert at_rocs(world, other).dynamic == {"Land": "NO"}
    assert world.writes["rocs"] == before["rocs"] + 1
    quiet(world)
