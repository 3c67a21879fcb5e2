"""What was sent is read back, and no harder than it can be: where nobody can be asked, a feed that shows nothing yet is
left alone until the next round.
"""

from __future__ import annotations

from tests.scenes import agreed, calls, marks, member, operations
from tests.world import World


def test_a_feed_that_shows_nothing_yet_is_read_once_in_a_round(open_world):
    world: World = open_world()
    (email,) = agreed(world)
    world.rocs.stale_for_s = 3600.0
    world.rokt.person_unsubscribes(email)
    world.round()
    assert member(world, email) == "unsubscribed", "sent, and not to be seen yet"
    before = marks(world)
    world.wait(5)
    world.round()
    asked = [call.path for call in calls(world, before)["rocs"] if "/members" in call.path]
    assert len(asked) <= 2, "read with the account, and read back"
    world.rocs.stale_for_s = 0.0
    world.wait(5)
    world.round()
    assert {row["state"] for row in operations(world, account="crm", kind="unsubscribe")} <= {"verified", "done"}
