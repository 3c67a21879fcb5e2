"""17: what a provider accepts and does not keep is given up after three rounds, and said so."""

from __future__ import annotations

from tests.scenes import agreed, calls, command, contacts, explained, marks, names_of, operations, standing


def test_17_after_three_rounds_a_write_that_does_not_stick_is_blocked_explained_and_never_sent_again(open_world):
    world = open_world()
    email, other = agreed(world, 2)
    world.sales.keeps_case = True
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == email)
    world.rocs.edit_customer(customer, first_name="FIRST0")
    before = marks(world)
    for _ in range(6):
        world.round()
        world.wait(300)
    tried = [call for call in calls(world, before)["salesrocks"] if call.write]
    assert [call.status for call in tried] == [200, 200, 200], "it said yes each time"
    states = [row["state"] for row in operations(world, account="sales", kind="update")]
    assert states == ["refuted", "refuted", "blocked"]
    assert contacts(world, email)[0]["name"] == "First0 Last0"
    told = explained(world, email)["sales"]
    assert "did not stick" in " ".join(told["sentences"])
    assert told["sent"][-1]["state"] == "blocked"
    assert told["sent"][-1]["reason"]
    assert "did not stick after 3 tries" in command(world, "explain", email).out
    # From here on not one request is for this record, whether or not it is looked at again.
    quiet = marks(world)
    for _ in range(5):
        world.wait(300)
        assert world.round(full=True).planned.put == 0
    asked = calls(world, quiet)["salesrocks"]
    assert not [call for call in asked if call.write]
    assert "getContact" not in names_of(asked)
    # The others go on, and so does this person's own no.
    (row,) = (one.id for one in world.rocs.customers.values() if one.email == other)
    world.rocs.edit_customer(row, first_name="Berta")
    world.mail.person_unsubscribes("154", email)
    world.settle(2)
    assert contacts(world, other)[0]["name"] == "Berta Last1"
    assert standing(world, email)["sales"] == []
