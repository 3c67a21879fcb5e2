"""Ordinary fields: whoever moved wins, a blank moves nothing, and what does not stick is left alone."""

from __future__ import annotations

from typing import Any

from tests.scenes import (
    JOINED,
    calls,
    configured,
    contacts,
    marks,
    operations,
    people,
    person,
    standing,
    values,
    written,
)
from tests.world import World


def agreed(world: World, count: int = 2) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def customer(world: World, email: str) -> Any:
    (found,) = (one for one in world.rocs.customers.values() if one.email == email)
    return found


def names(world: World, email: str) -> dict[str, str]:
    """The whole name at each provider that keeps one."""
    found = world.mail.subscriber("154", email)
    assert found is not None
    at_crm = customer(world, email)
    return {
        "crm": f"{at_crm.first_name} {at_crm.last_name}".strip(),
        "sales": contacts(world, email)[0]["name"],
        "mail": found.name,
    }


def everywhere(name: str) -> dict[str, str]:
    return dict.fromkeys(("crm", "sales", "mail"), name)


def test_an_edit_at_rocs_reaches_the_other_two_that_keep_it_and_no_other_record(open_world):
    world = open_world()
    email, other = agreed(world)
    before = marks(world)
    world.rocs.edit_customer(customer(world, email).id, first_name="Anna", mobile="+4915112345678")
    world.settle(2)
    assert names(world, email) == everywhere("Anna Last0")
    assert names(world, other) == everywhere("First1 Last1")
    done = written(world, before)
    assert sorted((name, path.rpartition("/")[2]) for name, path, _ in done) == [
        ("rocketresponder", "modify"), ("salesrocks", "updateListData"),
    ]  # fmt: skip
    assert all("First1" not in body and other.split("@")[0] not in body for _, _, body in done)
    assert "4915112345678" not in str(done), "no place for it is configured there"


def test_an_edit_at_salesrocks_or_rocketresponder_reaches_rocs(open_small_world):
    world = open_small_world()
    one, two = agreed(world)
    world.sales.set_field(world.sales_list, one, "name", "Anna Last0")
    found = world.mail.subscriber("154", two)
    assert found is not None
    found.name = "Berta Last1"
    world.round()
    world.wait(86_500)  # by then everybody was asked about at RocketResponder
    world.settle(2)
    assert names(world, one) == everywhere("Anna Last0")
    assert names(world, two) == everywhere("Berta Last1")


def test_of_two_edits_apart_that_of_the_account_first_in_the_configuration_wins(open_small_world):
    world = open_small_world()
    email, _ = agreed(world)
    world.rocs.edit_customer(customer(world, email).id, first_name="Anna")
    world.sales.set_field(world.sales_list, email, "name", "Berta Last0")
    world.settle(2)
    assert names(world, email) == everywhere("Anna Last0")
    before = world.writes
    world.settle(2)
    assert world.writes == before


def test_two_edits_of_different_fields_are_both_kept(open_small_world):
    world = open_small_world(config=configured(sales='fields = {{ phone = "phone" }}'))
    email, _ = agreed(world)
    world.rocs.edit_customer(customer(world, email).id, first_name="Anna")
    world.sales.set_field(world.sales_list, email, "phone", "+4915112345678")
    world.settle(2)
    assert names(world, email) == everywhere("Anna Last0")
    assert customer(world, email).mobile == "+4915112345678"


def test_a_blank_deletes_nothing_and_is_filled_again(open_world):
    world = open_world()
    email, other = agreed(world)
    world.rocs.edit_customer(customer(world, email).id, first_name="", last_name="")
    world.sales.set_field(world.sales_list, other, "name", "")
    world.settle(2)
    assert names(world, email) == everywhere("First0 Last0")
    assert names(world, other) == everywhere("First1 Last1")


def test_a_name_that_is_cut_elsewhere_is_no_edit(open_small_world):
    world = open_small_world()
    email = "ann@example.org"
    person(world, email, "Anna Maria", "von Au")
    world.settle(2)
    assert names(world, email) == everywhere("Anna Maria von Au")
    before = world.writes
    world.wait(86_500)
    world.round(full=True)
    world.settle(2)
    assert world.writes == before
    assert (customer(world, email).first_name, customer(world, email).last_name) == ("Anna Maria", "von Au")
    # An edit on the other side of that name is one, and its halves are those of ROCS where they still fit.
    world.sales.set_field(world.sales_list, email, "name", "Anna Maria von Bach")
    world.settle(2)
    assert names(world, email) == everywhere("Anna Maria von Bach")


def test_a_provider_that_says_yes_and_keeps_the_old_value_is_left_alone_after_three_tries(open_world):
    world = open_world()
    email, other = agreed(world)
    world.sales._merge = lambda oid, _: oid in world.sales._home
    world.rocs.edit_customer(customer(world, email).id, first_name="Anna")
    before = marks(world)
    for _ in range(8):
        world.round()
        world.wait(300)
    tried = [call for call in calls(world, before)["salesrocks"] if call.write]
    assert len(tried) == 3
    assert [row["state"] for row in operations(world, account="sales", kind="update")] == [
        "refuted",
        "refuted",
        "blocked",
    ]
    assert names(world, email) == {"crm": "Anna Last0", "sales": "First0 Last0", "mail": "Anna Last0"}
    # Only this: another field, another person, and above all a "no" still go there.
    world.rocs.unsubscribe_member("L-1", email)
    world.round()
    assert contacts(world, email) == []
    assert standing(world, other) == JOINED


def test_somebody_who_said_no_is_not_written_to_however_much_is_edited_elsewhere(open_small_world):
    world = open_small_world(on_unsubscribe="field")
    email, _ = agreed(world)
    world.rocs.unsubscribe_member("L-1", email)
    world.settle(2)
    before = world.writes
    world.rocs.edit_customer(customer(world, email).id, first_name="Anna")
    world.settle(3)
    assert world.writes == before
    assert contacts(world, email)[0]["name"] == "First0 Last0"


def test_values_that_differ_at_first_contact_fill_blanks_and_change_nobody(open_small_world):
    world = open_small_world()
    email = "ann@example.org"
    person(world, email, "Anna", "Au")
    world.sales.add_contact(world.sales_list, email, "Anne Au")
    world.settle(3)
    (row,) = world.rows("SELECT fields FROM v_contacts WHERE email = :email", email=email)
    assert '"Anna"' in row["fields"]
    assert values(world, "person") == 1
    assert len(contacts(world, email)) == 1
    before = world.writes
    world.settle(2)
    assert world.writes == before
