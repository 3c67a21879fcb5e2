"""3: an addition that cannot be repeated is looked for before it is tried again, and ends as one row."""

from __future__ import annotations

import pytest

from syncd.emulators.emulator import Fault, FaultKind
from tests.scenes import agreed, calls, contacts, marks, names_of, operations, person, standing

NEW = "new@example.org"


@pytest.mark.parametrize(
    ("kind", "additions"), [(FaultKind.ANSWER_LOST, 1), (FaultKind.UNAVAILABLE, 2)], ids=["inserted", "not inserted"]
)
def test_03_an_addition_that_timed_out_is_looked_for_first_and_ends_as_exactly_one_row(open_world, kind, additions):
    world = open_world()
    agreed(world)
    person(world, NEW)
    before = marks(world)
    world.sales.faults.append(Fault(kind, "/addToList"))
    world.settle(4)
    asked = names_of(calls(world, before)["salesrocks"])
    assert asked.count("addToList") == additions
    first, *again = [place for place, name in enumerate(asked) if name == "addToList"]
    assert "getListData" in asked[first + 1 : again[0] if again else None], (
        "there is no search by address but a listing"
    )
    assert len(contacts(world, NEW)) == 1
    assert standing(world, NEW)["mail"] == "Confirmed"
    assert operations(world, account="sales", identity=NEW)[-1]["state"] == "verified"
    world.wait(300)
    assert world.round(full=True).planned.put == 0
    assert len(contacts(world, NEW)) == 1
