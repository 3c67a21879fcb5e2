"""A mirror that was lost or put back: everything is read anew, only a "no" goes out, and none is forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path

from syncd.store import backup
from syncd.sync.steer import pause
from tests.scenes import (
    JOINED,
    account,
    marks,
    operations,
    people,
    person,
    plans,
    standing,
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


def test_a_mirror_that_cannot_be_read_any_more_says_that_nothing_was_taken_over(open_small_world, tmp_path):
    world = open_small_world()
    backup.save(world.url, tmp_path / "saved.db")
    stop(world)
    file_of(world).write_bytes(b"not a database" * 1000)
    done = backup.restore(world.url, tmp_path / "saved.db", world.clock())
    assert done.merged is None
    start(world)
    assert protected(world) == set(NAMES)
