"""2: an unsubscribe that took effect and whose answer was lost with the process is looked up, and not sent again."""

from __future__ import annotations

from tests.scenes import LEFT, agreed, calls, explained, marks, names_of, operations, standing


def test_02_an_unsubscribe_whose_answer_was_lost_is_looked_up_before_any_second_call(open_world):
    world = open_world()
    (email,) = agreed(world)
    world.rocs.unsubscribe_member("L-1", email)
    before = marks(world)
    assert world.killed_round([], request=1, path="/subscriber/unsubscribe", after_effect=True)
    assert world.mail.subscribers["154", email].status == "Unsubscribed"
    (op,) = operations(world, account="mail", kind="unsubscribe")
    assert (op["state"], op["attempts"]) == ("unknown", 1)
    world.settle(3)
    asked = names_of(calls(world, before)["rocketresponder"])
    assert asked.count("unsubscribe") == 1
    assert "lookup" in asked[asked.index("unsubscribe") :]
    (op,) = operations(world, account="mail", kind="unsubscribe")
    assert (op["state"], op["attempts"]) == ("verified", 1)
    assert world.mail.subscribers["154", email].unsubscribed == 1, "it left once"
    (sent,) = [row for row in explained(world, email)["mail"]["sent"] if row["kind"] == "unsubscribe"]
    assert sent["state"] == "verified"
    # Nothing else was done twice either: one operation for each place, each sent once.
    done = operations(world, kind="unsubscribe")
    assert len({(row["account"], row["container"]) for row in done}) == len(done)
    assert {row["attempts"] for row in done} == {1}
    assert standing(world, email) == LEFT
