"""Opt-outs that are counted and known to nobody are shown, and nothing is done to anybody because of them."""

from __future__ import annotations

from typing import Any

from syncd.store import dark
from syncd.store.session import reading
from tests.scenes import JOINED, people, person, standing, suppressed
from tests.world import World

HOUR = 3600.0


def agreed(world: World, count: int) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def shown(world: World) -> list[tuple[str, str, int]]:
    with reading(world.app.engine) as connection:
        return [(row.account, row.what, row.dark) for row in dark.load_dark(connection, list(world.app.context.lanes))]


def drift(world: World) -> list[Any]:
    return [row["detail"] for row in world.rows("SELECT detail FROM v_drift WHERE kind = 'dark'")]


def later(world: World, rounds: int = 2) -> None:
    for _ in range(rounds):
        world.wait(HOUR + 60)
        world.round()


def test_a_campaign_s_total_that_rose_without_known_people_is_dark_until_they_are_known(open_world):
    world = open_world()
    campaign = world.sales.add_campaign("Spring", [world.sales_list], opted_out=1, sent=9)
    emails = agreed(world, 4)
    later(world)
    assert shown(world) == [], "where counting begins"
    before = world.writes
    world.sales.campaigns[campaign].stats["opted_out"] = 3
    later(world)
    assert shown(world) == [("sales", "campaign", 2)]
    assert drift(world) == [f"2 opted out of campaign {campaign} whom nobody knows"]
    assert world.writes == before
    assert suppressed(world, "global") == suppressed(world, "newsletter") == set()
    # One of them turns out to be somebody.
    world.mail.person_unsubscribes("154", emails[0])
    later(world)
    assert shown(world) == [("sales", "campaign", 1)]
    world.rokt.person_unsubscribes(emails[1])
    later(world)
    assert shown(world) == []
    assert drift(world) == []


def test_a_total_that_known_people_explain_is_not_dark(open_small_world):
    world = open_small_world(on_absence="ignore")
    campaign = world.sales.add_campaign("Spring", [world.sales_list], opted_out=0)
    emails = agreed(world, 4)
    later(world)
    world.sales.campaigns[campaign].stats["opted_out"] = 1
    world.mail.person_unsubscribes("154", emails[0])
    later(world)
    assert shown(world) == []
    # What known people did long ago explains nothing that comes later.
    world.sales.campaigns[campaign].stats["opted_out"] = 2
    later(world)
    assert shown(world) == [("sales", "campaign", 1)]


def test_a_list_s_count_that_fell_without_known_people_is_dark_until_they_are_known(open_world):
    world = open_world()
    world.mail.add_subscriber("154", "stranger@example.org", "Sue Stranger")
    emails = agreed(world, 3)
    later(world)
    assert shown(world) == []
    before = world.writes
    world.mail.person_unsubscribes("154", "stranger@example.org")
    world.mail.outgoing.clear()
    later(world)
    assert shown(world) == [("mail", "list", 1)]
    assert drift(world) == ["1 opted out of list 154 whom nobody knows"]
    assert world.writes == before
    assert [standing(world, email) for email in emails] == [JOINED] * 3
    person(world, "stranger@example.org")
    later(world)
    assert shown(world) == []
    assert standing(world, "stranger@example.org")["mail"] == "Unsubscribed"


def test_a_list_s_count_that_known_people_explain_is_not_dark(open_small_world):
    world = open_small_world()
    emails = agreed(world, 3)
    world.mail.person_unsubscribes("154", emails[0])
    world.mail.outgoing.clear()
    later(world)
    assert "Unsubscribed" in str(standing(world, emails[0]))
    assert shown(world) == []
    person(world, "new@example.org")
    later(world)
    assert shown(world) == []
