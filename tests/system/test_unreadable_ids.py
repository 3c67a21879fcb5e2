"""A record whose own id cannot be read: behind it may be anybody who is missing, so of nobody is it inferred."""

from __future__ import annotations

import re

import pytest

from syncd.wire import Response
from tests.faults.agreement import answering
from tests.scenes import agreed, contacts, member, memberships, person, suppressed
from tests.world import World


def oid_of(world: World, email: str) -> str:
    (found,) = (oid for oid, row in world.sales.lists[world.sales_list].contacts.items() if row["email"] == email)
    return found


def rounds(world: World, count: int = 3) -> None:
    for _ in range(count):
        world.wait(300)
        world.round(full=True)


@pytest.mark.parametrize("odd", [b"null", b'{"$oid":["?"]}'])
@pytest.mark.parametrize("address", [b"p0@example.org", b"p0\xff@example.org"])
def test_nobody_is_missing_while_a_record_is_listed_whose_id_cannot_be_read(open_small_world, odd, address):
    world = open_small_world(on_absence="unsubscribe")
    email, gone, _ = agreed(world, 3)
    oid = oid_of(world, email)

    def spoilt(real: Response) -> Response:
        body, hits = re.subn(rb'"_id":\s*\{"\$oid":\s*"%b"\}' % oid.encode(), lambda _: b'"_id":' + odd, real.body)
        assert hits in {0, 1}
        return Response(real.status, real.headers, body.replace(email.encode(), address))

    world.sales.remove_contact(world.sales_list, gone)
    before = world.writes
    with answering(world.sales, "/getListData", spoilt):
        rounds(world)
    assert world.rows("SELECT key FROM cell WHERE key LIKE '~%'") != []
    assert suppressed(world, "newsletter") == set()
    assert {memberships(world, one)["sales", world.sales_list] for one in (email, gone)} == {"subscribed"}
    assert world.writes == before
    if address == email.encode():  # whose it is not is certain: who is new there can be added
        person(world, "new@example.org")
        with answering(world.sales, "/getListData", spoilt):
            rounds(world, 1)
        assert len(contacts(world, "new@example.org")) == 1
    # Once every id can be read, who is gone is missed, and nobody else.
    rounds(world)
    assert suppressed(world, "newsletter") == {gone}
    assert memberships(world, email)["sales", world.sales_list] == "subscribed"
    assert world.rows("SELECT key FROM cell WHERE key LIKE '~%'") == []


def test_behind_a_member_of_rocs_without_a_readable_id_may_be_anybody_who_is_missing_or_new(open_small_world):
    world = open_small_world()
    email, gone, other = agreed(world, 3)
    ids = {one.email: one.id for one in world.rocs.customers.values()}

    def spoilt(real: Response) -> Response:
        return Response(real.status, real.headers, real.body.replace(f'"{ids[email]}"'.encode(), b"null"))

    world.rocs.remove_member("L-1", ids[gone])
    with answering(world.rocs, "/lists/L-1/members", spoilt):
        rounds(world)
        assert len(world.rows("SELECT key FROM cell WHERE key LIKE '?%'")) == 1
        assert {memberships(world, one)["crm", "L-1"] for one in (email, gone, other)} == {"subscribed"}
        world.sales.add_contact(world.sales_list, "new@example.org", "New Comer")
        rounds(world)
        assert member(world, "new@example.org") is None
    rounds(world)
    assert member(world, "new@example.org") == "subscribed"
    assert memberships(world, gone)["crm", "L-1"] == "removed"
    assert world.rows("SELECT key FROM cell WHERE key LIKE '?%'") == []
