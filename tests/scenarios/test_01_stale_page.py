"""1: a page that was read before a removal and is worked on after it tells nothing of who was removed."""

from __future__ import annotations

import asyncio

from syncd.store import containers
from syncd.store.session import reading
from syncd.sync.cycle import run_round
from syncd.sync.pull import read_whole
from syncd.sync.pulled import Pulled
from tests.scenes import LEFT, added, agreed, configured, contacts, logged, marks, memberships, operations, standing
from tests.virtual import run
from tests.world import World

PAGE_3 = b'"page":3'


async def overtaken(world: World) -> None:
    """A full listing whose third page is on its way to us while a removal is sent, accepted and read back.

    The listing runs beside the round and not within one, where the account's lock would make the removal wait: the
    fence alone must do.
    """
    context = world.app.context
    lane = context.lanes["sales"]
    with reading(context.engine) as connection:
        row = next(row for row in containers.load_containers(connection, "sales") if row.container == world.sales_list)
    page = world.transport.keep_back("/getListData", PAGE_3)
    listing = asyncio.create_task(read_whole(lane, context, row, Pulled()))
    await page.given.wait()
    await run_round(context, pull_first=False)
    (op,) = operations(world, account="sales", kind="unsubscribe")
    assert op["state"] == "verified"
    page.arrives.set()
    await listing


def test_01_a_page_read_before_a_removal_and_worked_on_after_it_is_not_believed_about_who_was_removed(open_world):
    world = open_world(config=configured(sales="page_size = 2"))
    emails = agreed(world, 6)
    ann, beside = emails[4], emails[5]
    assert [row["email"] for row in world.sales.contacts_of(world.sales_list)][4:] == [ann, beside]
    before = marks(world)
    # Both rows of the page are other than last time, so that it is worked on.
    for email in (ann, beside):
        world.sales.set_field(world.sales_list, email, "city", "Bern")
    world.rokt.person_unsubscribes(ann)
    world.deliver()
    with logged() as lines:
        run(world.loop, overtaken(world))
    (line,) = [line for line in lines if line["event"] == "page.inadmissible"]
    assert (line["account"], line["container"], line["cells"]) == ("sales", world.sales_list, 1)
    assert ann not in str(lines)
    rows = world.rows("SELECT key, raw FROM cell WHERE account = 'sales' AND identity = :email", email=beside)
    assert "Bern" in rows[0]["raw"], "the rest of the page was taken"
    assert memberships(world, ann)["sales", world.sales_list] == "removed"
    for _ in range(3):
        world.wait(60)
        assert world.round(full=True).planned.put == 0
    assert contacts(world, ann) == []
    assert standing(world, ann) == LEFT
    assert memberships(world, ann)["sales", world.sales_list] == "removed"
    assert world.rows("SELECT * FROM claim") == world.rows("SELECT * FROM v_drift") == []
    assert added(world, before) == []
    assert len(operations(world, account="sales", identity=ann, kind="unsubscribe")) == 1
