"""A mirror that was lost or put back: everything is read anew, only a "no" goes out, and none is forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path

from syncd.domain.consent import Scope
from syncd.store import backup
from syncd.sync.approve import approve
from syncd.sync.ingest import unsubscribe
from syncd.sync.steer import pause
from tests.scenes import (
    JOINED,
    LEFT,
    account,
    consent,
    marks,
    memberships,
    operations,
    people,
    person,
    plans,
    standing,
    suppressed,
    values,
    written,
)
from tests.virtual import run
from tests.world import World

ADDS = ("/addToList", "/subscribe")
NAMES = ("crm", "sales", "mail", "leads")


def file_of(world: World) -> Path:
    return Path(world.url.removeprefix("sqlite:///"))


def stop(world: World) -> None:
    run(world.loop, world.app.aclose())


def start(world: World) -> None:
    world.app = world._start()


def protected(world: World) -> set[str]:
    return {name for name in NAMES if account(world, name)["protected"]}


def rounds(world: World, count: int = 3) -> None:
    for _ in range(count):
        world.wait(300)
        world.round()


def since_yesterday(world: World, saved: Path) -> dict[str, str]:
    """A backup, and what happened between it and the moment at which it is put back."""
    emails = list(people(world, 6))
    world.settle(2)
    backup.save(world.url, saved)
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


def test_after_a_restore_nothing_but_a_no_goes_out_and_no_no_is_lost(open_small_world, tmp_path):
    world = open_small_world(first_sync="go", on_absence="unsubscribe")
    who = since_yesterday(world, tmp_path / "saved.db")
    since = marks(world)
    done = backup.restore(world.url, tmp_path / "saved.db", world.clock())
    assert done.merged == 4, "three facts, and a delivery that nobody had read"
    start(world)
    assert protected(world) == set(NAMES)
    assert suppressed(world, "global") == {"stranger@example.org", who["told"]}
    assert suppressed(world, "newsletter") == {who["clicked"]}
    rounds(world, 4)
    assert suppressed(world, "global") == {"stranger@example.org", who["told"], who["unread"]}
    sent = written(world, since)
    assert not [path for _, path, _ in sent if path.endswith(ADDS)]
    assert not [body for _, _, body in sent if who["gone"].split("@")[0] in body], "nothing from an absence"
    assert not [body for _, _, body in sent if "Cee" in body], "no correction either"
    assert standing(world, who["unread"]) == LEFT
    assert consent(world, who["told"]) == [False]
    assert values(world, "lookup") == 0
    waiting = {(row["account"], row["kind"]): row["count"] for row in plans(world)}
    assert waiting["sales", "subscribe"] == waiting["mail", "subscribe"] == 1
    assert waiting["crm", "unsubscribe"] == waiting["mail", "unsubscribe"] == waiting["leads", "unsubscribe"] == 1
    assert {row["hold"] for row in plans(world)} == {"first-contact"}
    # Looked at and approved, it is as any mirror.
    for row in plans(world):
        approve(world.app.context, row["id"])
    rounds(world)
    assert protected(world) == set()
    assert standing(world, "eve@example.org") == JOINED
    assert standing(world, who["gone"]) == LEFT
    assert standing(world, who["stays"]) == JOINED
    assert plans(world) == []


def test_a_mirror_that_is_as_the_world_is_leaves_protection_by_itself(open_small_world, tmp_path):
    world = open_small_world(first_sync="go")
    emails = list(people(world, 3))
    world.settle(2)
    backup.save(world.url, tmp_path / "saved.db")
    stop(world)
    backup.restore(world.url, tmp_path / "saved.db", world.clock())
    start(world)
    before = world.writes
    rounds(world)
    assert protected(world) == set()
    assert world.writes == before
    assert all(account(world, name)["joined"] for name in NAMES)
    person(world, "new@example.org")
    rounds(world)
    assert standing(world, "new@example.org") == standing(world, emails[0]) == JOINED


def test_what_was_decided_before_the_backup_does_not_go_out_after_it(open_small_world, tmp_path):
    world = open_small_world(first_sync="go")
    person(world, "ann@example.org")
    world.settle(2)
    pause(world.app.context, "sales")
    person(world, "bob@example.org")
    rounds(world, 1)
    assert [row["identity"] for row in operations(world, account="sales", state="ready")] == ["bob@example.org"]
    backup.save(world.url, tmp_path / "saved.db")
    stop(world)
    backup.restore(world.url, tmp_path / "saved.db", world.clock())
    start(world)
    assert operations(world, account="sales", state="ready") == []


def test_a_copy_that_was_put_back_by_hand_is_noticed(open_small_world, tmp_path):
    world = open_small_world(first_sync="go")
    emails = list(people(world, 2))
    world.settle(2)
    copy = tmp_path / "copy.db"
    stop(world)
    shutil.copyfile(file_of(world), copy)
    start(world)
    assert protected(world) == set(), "the same mirror, taken again"
    rounds(world, 1)
    stop(world)
    for beside in file_of(world).parent.glob(f"{file_of(world).name}-*"):
        beside.unlink()
    shutil.copyfile(copy, file_of(world))
    person(world, "new@example.org")
    start(world)
    assert protected(world) == set(NAMES)
    assert "older copy" in account(world, "crm")["protected"]
    since = marks(world)
    rounds(world)
    assert not [path for _, path, _ in written(world, since) if path.endswith(ADDS)]
    assert {row["kind"] for row in plans(world)} == {"subscribe"}
    stop(world)
    start(world)
    assert protected(world) == {"sales", "mail"}, "and is not protected for ever"
    assert standing(world, emails[0]) == JOINED


def test_a_mirror_that_was_deleted_starts_protected_whatever_is_configured(open_small_world):
    world = open_small_world(first_sync="go")
    emails = list(people(world, 2))
    world.rocs.unsubscribe_member("L-1", emails[1])
    world.settle(2)
    stop(world)
    for beside in [file_of(world), *file_of(world).parent.glob(f"{file_of(world).name}-*")]:
        beside.unlink()
    from syncd.store.session import upgrade

    upgrade(world.url)
    person(world, "new@example.org")
    start(world)
    since = marks(world)
    rounds(world)
    assert not [path for _, path, _ in written(world, since) if path.endswith(ADDS)]
    assert {(row["kind"], row["hold"]) for row in plans(world)} == {("subscribe", "first-contact")}
    assert memberships(world, emails[1])["crm", "L-1"] == "unsubscribed"
    assert suppressed(world, "newsletter") == {emails[1]}


def test_a_mirror_that_cannot_be_read_any_more_says_that_nothing_was_taken_over(open_small_world, tmp_path):
    world = open_small_world()
    backup.save(world.url, tmp_path / "saved.db")
    stop(world)
    file_of(world).write_bytes(b"not a database" * 1000)
    done = backup.restore(world.url, tmp_path / "saved.db", world.clock())
    assert done.merged is None
    start(world)
    assert protected(world) == set(NAMES)
