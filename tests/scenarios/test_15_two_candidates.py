"""15: two customers share an address: a no reaches both, and nothing else is written to either."""

from __future__ import annotations

from tests.scenes import added, calls, contacts, marks, operations, person, sent_to, subscriber, written

EMAIL = "twin@example.org"


def test_15_a_no_reaches_both_customers_of_one_address_and_no_field_is_written_to_either(open_world):
    world = open_world()
    tim = person(world, EMAIL, "Tim", "Twin")
    tom = person(world, EMAIL.upper(), "Tom", "Twin")
    world.settle(3)
    before = marks(world)
    # Elsewhere the name changes. Whose it is nobody can say.
    world.sales.set_field(world.sales_list, EMAIL, "name", "Tam Twin")
    world.settle(2)
    assert [one.name for one in world.mail.subscribers.values()] == ["Tam Twin"]
    assert operations(world, account="crm", kind="update") == [], "not even meant to be written"
    world.mail.person_unsubscribes("154", EMAIL)
    world.settle(3)
    members = world.rocs.lists["L-1"].members
    assert [members[key].status for key in (tim, tom)] == ["unsubscribed"] * 2
    at_rocs = [call for call in calls(world, before)["rocs"] if call.write]
    assert sorted(call.path.rpartition("/")[2] for call in at_rocs) == sorted([tim, tom])
    assert sent_to(at_rocs) == [{"status": "unsubscribed"}] * 2
    world.rokt.person_unsubscribes(EMAIL)
    world.settle(3)
    at_rocs = [call for call in calls(world, before)["rocs"] if call.write and "/members/" not in call.path]
    assert sent_to(at_rocs) == [{"emailConsent": False}] * 2, "consent, and no other field"
    assert [world.rocs.customers[key].consent for key in (tim, tom)] == [False, False]
    assert [world.rocs.customers[key].first_name for key in (tim, tom)] == ["Tim", "Tom"]
    assert contacts(world, EMAIL) == []
    assert subscriber(world, EMAIL) == "Unsubscribed"
    assert added(world, before) == []
    assert {row["kind"] for row in world.rows("SELECT kind FROM v_drift")} == {"two records"}
    settled = written(world)
    world.settle(2)
    assert written(world) == settled
