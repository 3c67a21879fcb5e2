"""The daemon reads accounts one by one: whoever was decided about too early is not forgotten."""

from __future__ import annotations

from tests.scenes import contacts, people


def test_who_was_known_before_a_list_was_read_whole_for_the_first_time_is_added_to_it(open_small_world):
    world = open_small_world()
    emails = list(people(world, 3))
    world.round(["crm"])
    assert [contacts(world, email) for email in emails] == [[], [], []]
    world.round(["sales"])
    assert [len(contacts(world, email)) for email in emails] == [1, 1, 1]
