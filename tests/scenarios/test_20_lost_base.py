"""20: a mirror that was put back or lost is protected: only a no goes out, and what is planned takes nobody away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from syncd.domain.consent import Scope
from syncd.store import backup
from syncd.store.session import open_engine, upgrade
from syncd.sync.ingest import unsubscribe
from syncd.sync.steer import pause
from tests.postgres import candidates
from tests.scenes import (
    DAY,
    JOINED,
    LEFT,
    added,
    agreed,
    command,
    consent,
    marks,
    memberships,
    person,
    plans,
    standing,
    suppressed,
    values,
    written,
)
from tests.virtual import run
from tests.world import World

NAMES = {"crm", "sales", "mail", "leads"}


@pytest.fixture(autouse=True)
def _programs_of_postgres(mirror_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the server's own version."""
    if mirror_kind == "postgres":
        monkeypatch.setenv("PATH", f"{next(candidates([])).folder}:{os.environ['PATH']}")


def stop(world: World) -> None:
    run(world.loop, world.app.aclose())


def start(world: World) -> None:
    world.app = world._start()


def protected(world: World) -> set[str]:
    """Which accounts `status` says are."""
    return {row["name"] for row in command(world, "status", "--json").data["accounts"] if row["protected"]}


def rounds(world: World, count: int) -> None:
    for _ in range(count):
        world.wait(300)
        world.round()


def deleted(world: World) -> None:
    """The mirror is gone, and an operator makes a new one."""
    stop(world)
    if world.url.startswith("sqlite"):
        file = Path(world.url.removeprefix("sqlite:///"))
        for beside in [file, *file.parent.glob(f"{file.name}-*")]:
            beside.unlink()
    else:
        engine = open_engine(world.url)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        engine.dispose()
    upgrade(world.url)


def since_yesterday(world: World, saved: Path) -> dict[str, str]:
    """A backup, and what happened between it and the moment at which it is put back."""
    emails = agreed(world, 6)
    backup.save(world.url, saved)
    world.wait(DAY)
    # Told to us alone, of somebody in nobody's records; by a link; told at a provider.
    unsubscribe(world.app.context, "stranger@example.org", source="operator", evidence="by phone")
    unsubscribe(world.app.context, emails[0], Scope("newsletter"), source="one-click", evidence="link")
    world.rokt.person_unsubscribes(emails[1])
    rounds(world, 2)
    assert standing(world, emails[0]) == LEFT
    # Acknowledged, and not read yet.
    pause(world.app.context, "crm")
    world.rokt.person_unsubscribes(emails[2])
    world.deliver()
    stop(world)
    world.sales.remove_contact(world.sales_list, emails[3])
    world.rocs.edit_customer(next(c.id for c in world.rocs.customers.values() if c.email == emails[4]), last_name="Cee")
    person(world, "eve@example.org")
    return dict(zip(("clicked", "told", "unread", "gone", "edited", "stays"), emails, strict=True))


def test_20_a_mirror_put_back_from_yesterday_sends_nothing_but_a_no_and_has_forgotten_none(open_world, tmp_path):
    world = open_world(first_sync="go", on_absence="unsubscribe")
    who = since_yesterday(world, tmp_path / "saved")
    since = marks(world)
    done = backup.restore(world.url, tmp_path / "saved", world.clock())
    assert done.merged == 4, "three facts, and a delivery that nobody had read"
    start(world)
    assert protected(world) == NAMES
    assert suppressed(world, "global") == {"stranger@example.org", who["told"]}
    assert suppressed(world, "newsletter") == {who["clicked"]}
    rounds(world, 4)
    assert suppressed(world, "global") == {"stranger@example.org", who["told"], who["unread"]}
    assert protected(world) >= {"sales", "mail"}
    assert added(world, since) == []
    sent = written(world, since)
    assert not [body for _, _, body in sent if who["gone"].split("@")[0] in body], "nothing from an absence"
    assert not [body for _, _, body in sent if "Cee" in body], "no correction either"
    assert standing(world, who["unread"]) == LEFT
    assert consent(world, who["told"]) == [False]
    assert values(world, "lookup") == 0
    # What waits takes nobody off who is listed and said nothing: who was seen missing is all that it is about.
    status = command(world, "status", "--json")
    assert (status.code, status.data["condition"]) == (4, "waits")
    waiting = command(world, "plan", "--json").data["plans"]
    assert {(row["account"], row["kind"], row["hold"], row["count"]) for row in waiting} == {
        ("sales", "subscribe", "first-contact", 1), ("mail", "subscribe", "first-contact", 1),
        ("crm", "unsubscribe", "first-contact", 1), ("mail", "unsubscribe", "first-contact", 1),
        ("leads", "unsubscribe", "first-contact", 1),
        ("sales", "update", "first-contact", 1), ("mail", "update", "first-contact", 1),
    }  # fmt: skip
    # Looked at and approved, it is as any mirror.
    assert command(world, "approve", *(row["id"] for row in waiting)).code == 0
    rounds(world, 3)
    assert protected(world) == set()
    assert standing(world, "eve@example.org") == JOINED
    assert standing(world, who["gone"]) == LEFT
    assert standing(world, who["stays"]) == JOINED
    assert plans(world) == []


def test_20_a_mirror_that_was_deleted_starts_protected_and_its_first_plan_takes_nobody_away(open_world, mirror_kind):
    world = open_world(first_sync="go", on_absence="unsubscribe")
    stays, left, gone = agreed(world, 3)
    world.rocs.unsubscribe_member("L-1", left)
    world.settle(2)
    deleted(world)
    if mirror_kind == "postgres":
        # It has no place for a note of ours that outlives the database: there the configured caution is what holds.
        world._config = world._config.replace('first_sync = "go"', 'first_sync = "hold"')
    world.sales.remove_contact(world.sales_list, gone)
    person(world, "new@example.org")
    start(world)
    assert protected(world) == NAMES
    since = marks(world)
    rounds(world, 1)
    # The union of what both sides have: additions, all of which wait.
    first = command(world, "plan", "--json").data
    assert {(row["kind"], row["hold"]) for row in first["plans"]} == {("subscribe", "first-contact")}
    assert {(row["email"], row["kind"]) for row in first["people"]} <= {
        (gone, "subscribe"), ("new@example.org", "subscribe"),
    }  # fmt: skip
    rounds(world, 2)
    assert protected(world) >= {"sales", "mail"}
    assert added(world, since) == []
    assert {row["kind"] for row in plans(world)} == {"subscribe"}
    # A no of before is read where it stands, and one that is said now goes out.
    assert memberships(world, left)["crm", "L-1"] == "unsubscribed"
    assert suppressed(world, "newsletter") == {left}
    world.rokt.person_unsubscribes(stays)
    rounds(world, 2)
    assert standing(world, stays) == LEFT
    assert added(world, since) == []


def test_20_opt_outs_that_are_counted_and_known_to_nobody_are_shown_as_so_many(open_world):
    world = open_world(first_sync="go")
    campaign = world.sales.add_campaign("Spring", [world.sales_list], opted_out=1, sent=9)
    known, *_ = agreed(world, 3)
    rounds(world, 13)  # statistics are read hourly, and this is where counting begins
    assert dark(world) == ([], 0)
    since = marks(world)
    world.sales.campaigns[campaign].stats["opted_out"] = 3
    rounds(world, 13)
    assert dark(world) == ([f"2 opted out of campaign {campaign} whom nobody knows"], 2)
    assert "2 dark opt-outs" in command(world, "status").out
    assert written(world, since) == [], "nobody is taken for one of them"
    assert suppressed(world, "global") == suppressed(world, "newsletter") == set()
    # One turns out to be somebody.
    world.mail.person_unsubscribes("154", known)
    rounds(world, 13)
    assert dark(world)[1] == 1


def dark(world: World) -> tuple[list[str], int]:
    """What `inspect drift` says of them, and how many `status` counts."""
    rows = command(world, "inspect", "drift", "--json").data
    counted = command(world, "status", "--json").data["dark"]
    return [row["detail"] for row in rows if row["kind"] == "dark"], sum(row["dark"] for row in counted)
