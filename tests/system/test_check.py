"""Every invariant is seen to catch what breaks it, planted by hand; what stops then, what goes on, what lifts it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from syncd.domain.consent import Scope
from syncd.emulators.emulator import FaultKind
from syncd.store.invariants import INVARIANTS
from syncd.store.session import writing
from syncd.sync.check import EXAMPLES, check
from syncd.sync.ingest import resubscribe, unsubscribe
from syncd.sync.standing import standing as status_of
from tests.scenes import JOINED, LEFT, Open, operations, people, person, plans, standing
from tests.world import World, quiet

HOUR = 3600.0
ANN, BOB, CID = "ann@example.org", "bob@example.org", "cid@example.org"


def plant(world: World, *statements: str) -> None:
    """What no program of ours does, done to the mirror by hand."""
    with writing(world.app.engine) as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def without_triggers(world: World, table: str) -> None:
    """Whoever changes a mirror by hand may drop what guards it, too."""
    with writing(world.app.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            return
        query = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name")
        for name in list(connection.scalars(query, {"name": table})):
            connection.execute(sa.text(f"DROP TRIGGER IF EXISTS {name}"))


def broken(world: World, *, full: bool = False) -> set[str]:
    return set(check(world.app.context, full=full).broken)


def event_ids(world: World, email: str) -> list[str]:
    return [str(row["id"]) for row in world.rows("SELECT id FROM consent_event WHERE identity = :e", e=email)]


def agreed(world: World) -> World:
    """Ann and Cid are everywhere; Bob said no, and everybody knows."""
    for email in (ANN, BOB, CID):
        person(world, email)
    world.settle(2)
    world.wait(60)
    unsubscribe(world.app.context, BOB, Scope("newsletter"), source="operator", evidence="by phone")
    world.wait(1)
    world.settle(3)
    assert standing(world, BOB) == LEFT
    assert broken(world, full=True) == set()
    return world


# What is found -------------------------------------------------------------------------------------------------------

Plant = Callable[[World], None]


def _sent_after_the_no(world: World) -> None:
    """An operation that began after his no is turned into an addition, and nothing tells that Bob is not there."""
    without_triggers(world, "op")
    plant(
        world,
        "UPDATE op SET kind = 'subscribe', state = 'accepted', closed_at = NULL"
        f" WHERE identity = '{BOB}' AND account = 'crm' AND container = 'L-1' AND kind = 'unsubscribe'",
    )


def _about_to_be_added(world: World) -> None:
    """Ann's no arrives beside the planner, so that nothing withdraws what waits for her in the outbox."""
    plant(world, *_open_change(ANN), *_no_of(ANN))


def _open_change(
    email: str, state: str = "ready", attempts: int = 1, due: str = "2099-01-01 00:00:00+00:00"
) -> list[str]:
    columns = (
        "account, container, identity, person_key, kind, address, keys, fields, state, priority, why, guarded,"
        " attempts, not_before, created_at, began_seq, ended_seq, settled_seq, closed_seq, reason"
    )
    fields = f"'mail', '154', '{email}', '{email}', 'update', '{email}', '[]', '{{}}', '{state}', 1, 'by hand', false"
    return [
        f"INSERT INTO op ({columns}) VALUES ({fields}, {attempts}, '{due[:19]}', '2026-11-21 00:00:00', 0, 0, 0, 0, '')"
    ]


def _no_of(email: str, *, route: str = "listing", **given: Any) -> list[str]:
    more = {"seq": 1, "epoch": 0, "level": 3, "evidence": "'read'", "inferred": "false", "container": "''"} | given
    event = (
        "INSERT INTO consent_event (seq, at, person_key, identity, scope, epoch, level, source, container, route,"
        f" evidence, inferred, mass) VALUES ({more['seq']}, '2026-11-21 00:00:00', '{email}', '{email}', 'newsletter',"
        f" {more['epoch']}, {more['level']}, 'crm', {more['container']}, '{route}', {more['evidence']},"
        f" {more['inferred']}, false)"
    )
    state = (
        "INSERT INTO consent (person_key, scope, epoch, level, seq, since, source, event_id) VALUES"
        f" ('{email}', 'newsletter', {more['epoch']}, {more['level']}, {more['seq']}, '2026-11-21 00:00:00', 'crm',"
        " (SELECT MAX(id) FROM consent_event))"
    )
    return [event, state]


def _forgotten(world: World) -> None:
    plant(world, *_no_of(CID))


def _other_than_its_events(world: World) -> None:
    without_triggers(world, "consent")
    plant(world, f"UPDATE consent SET level = 2 WHERE person_key = '{BOB}'")


def _yes_out_of_nothing(world: World) -> None:
    resubscribe(world.app.context, BOB, Scope("newsletter"), evidence="in writing")
    without_triggers(world, "consent_event")
    plant(world, f"UPDATE consent_event SET evidence = ' ' WHERE identity = '{BOB}' AND epoch = 1")


def _lost(world: World) -> None:
    without_triggers(world, "consent_event")
    without_triggers(world, "consent")
    plant(
        world, f"DELETE FROM consent WHERE person_key = '{BOB}'", f"DELETE FROM consent_event WHERE identity = '{BOB}'"
    )


def _inferred_from_nothing(world: World) -> None:
    plant(world, *_no_of("zoe@example.org", inferred="true", container="'L-1'"))


def _two_at_once(world: World) -> None:
    plant(world, "DROP INDEX uq_op_open_cell", *_open_change(ANN), *_open_change(ANN))


def _nobody_sends_it(world: World) -> None:
    plant(world, *_open_change(ANN, attempts=0, due="2026-11-20 00:00:00+00:00"))
    plant(world, "UPDATE op SET account = 'leads' WHERE state = 'ready'")  # where such a thing is never sent
    world.wait(2 * HOUR)
    plant(world, "UPDATE run SET started_at = '2026-11-20 06:00:00' WHERE account = 'leads'")


def _under_way_without_anybody(world: World) -> None:
    plant(
        world,
        *_open_change(ANN, state="inflight"),
        "UPDATE op SET began_seq = 5, sent_at = '2026-11-20 00:00:00' WHERE state = 'inflight'",
    )


def _more_than_the_guard_lets_pass(world: World) -> None:
    # Three additions at RocketResponder, where a world that lets two pass knows but three people.
    plant(world, "UPDATE op SET guarded = true, created_at = (SELECT MAX(created_at) FROM op) WHERE account = 'mail'")


def _left_lying(world: World) -> None:
    world.rokt.send_lead("lea@example.org", "Lea", "Dee")
    world.deliver()
    plant(world, "UPDATE inbox SET state = 'lost'")


def _of_no_account(world: World) -> None:
    plant(world, "INSERT INTO link (list, account, container, scope) VALUES ('newsletter', 'gone', '7', 'newsletter')")


def _not_what_was_read(world: World) -> None:
    plant(world, "UPDATE container SET rows = rows + 1 WHERE account = 'crm' AND container = 'L-1'")


def _of_another_program(world: World) -> None:
    plant(world, "UPDATE alembic_version SET version_num = '0000'")


PLANTED: dict[str, list[Plant]] = {
    "nobody-is-added-after-a-no": [_sent_after_the_no, _about_to_be_added],
    "every-no-is-on-its-way": [_forgotten],
    "consent-is-its-events": [_other_than_its_events],
    "every-yes-has-evidence": [_yes_out_of_nothing],
    "suppression-only-grows": [_lost],
    "absence-is-seen-in-whole-pulls": [_inferred_from_nothing],
    "one-open-operation-each": [_two_at_once],
    "the-outbox-moves": [_nobody_sends_it, _under_way_without_anybody],
    "the-guard-was-kept": [_more_than_the_guard_lets_pass],
    "the-inbox-adds-up": [_left_lying],
    "everything-has-a-place": [_of_no_account],
    "counts-agree": [_not_what_was_read],
    "the-database-is-sound": [_of_another_program],
}
CASES = [pytest.param(name, planted, id=planted.__name__[1:]) for name, found in PLANTED.items() for planted in found]


def test_a_breach_of_every_invariant_is_planted_here() -> None:
    assert list(PLANTED) == [invariant.name for invariant in INVARIANTS]


@pytest.fixture(scope="module")
def sqlite_agreed(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> str:
    """A mirror on which everybody agrees, made once, to be copied."""
    quiet()
    folder = tmp_path_factory.mktemp("agreed")
    shutil.copyfile(sqlite_template, folder / "mirror.db")
    agreed(World(f"sqlite:///{folder / 'mirror.db'}", folder=folder)).close()
    return str(folder / "mirror.db")


@pytest.fixture(scope="module")
def postgres_agreed(tmp_path_factory: pytest.TempPathFactory, postgres: Any, postgres_template: str) -> str:
    quiet()
    url: str = postgres.create(template=postgres_template)
    agreed(World(url, folder=tmp_path_factory.mktemp("agreed"))).close()
    return url


@pytest.fixture
def agreeing(mirror_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On each engine, a world whose mirror is a copy of that one."""
    quiet()
    template = request.getfixturevalue(f"{mirror_kind}_agreed")
    if mirror_kind == "sqlite":
        shutil.copyfile(template, tmp_path / "mirror.db")
        url = f"sqlite:///{tmp_path / 'mirror.db'}"
    else:
        url = request.getfixturevalue("postgres").create(template=template)
    world = World(url, folder=tmp_path, max_count=2)
    yield world
    world.close()
    if mirror_kind == "postgres":
        request.getfixturevalue("postgres").drop(url)


@pytest.mark.parametrize(("name", "planted"), CASES)
def test_a_planted_breach_is_found_and_named_without_anybody(agreeing: World, name: str, planted: Plant) -> None:
    planted(agreeing)
    found = check(agreeing.app.context)
    assert name in found.broken
    assert found.broken[name]["count"] > 0
    assert "@" not in str(found.broken)


def test_what_a_sample_may_miss_a_full_check_finds(agreeing: World) -> None:
    world = agreeing
    without_triggers(world, "consent_event")
    plant(
        world, "UPDATE consent_event SET seq = seq + 1", "DELETE FROM cell WHERE account = 'crm' AND container = 'L-1'"
    )
    assert broken(world) == set()
    assert broken(world, full=True) == {"suppression-only-grows", "counts-agree"}
    assert broken(world) == {"suppression-only-grows", "counts-agree"}, "a lesser check lifts nothing"


def test_a_damaged_page_is_found_and_everything_else_goes_on(open_small_world: Open) -> None:
    world = agreed(open_small_world())
    plant(world, "SELECT 1")
    world.app.engine.dispose()
    file = Path(world.url.removeprefix("sqlite:///"))
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_run_started_at'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\x0a\x00\x00\x00\x09" + bytes(8) + b"\xff" * 64)
    found = check(world.app.context)
    assert set(found.broken) == {"the-database-is-sound"}


def test_counts_and_examples_are_of_all_and_of_some(open_small_world: Open) -> None:
    world = open_small_world(max_count=100)
    emails = list(people(world, EXAMPLES + 2))
    world.settle(2)
    plant(world, *(statement for email in emails for statement in _no_of(email)))
    entry = check(world.app.context).broken["every-no-is-on-its-way"]
    assert (entry["count"], len(entry["examples"])) == (EXAMPLES + 2, EXAMPLES)
    assert set(entry["examples"]) <= {i for email in emails for i in event_ids(world, email)}


# What is not taken for a breach ---------------------------------------------------------------------------------------


def test_what_was_sent_before_the_no_was_learnt_is_no_breach(open_small_world: Open) -> None:
    world = agreed(open_small_world())
    world.sales.add_contact(world.sales_list, "dan@example.org", "Dan Dee")
    world.round()
    assert operations(world, identity="dan@example.org", account="mail", kind="subscribe", state="verified")
    world.wait(5)
    unsubscribe(world.app.context, "dan@example.org", Scope("newsletter"), source="operator", evidence="by phone")
    assert broken(world, full=True) == set(), "by a command"
    world.mail.fault_kinds, world.mail.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
    world.rocs.unsubscribe_member("L-1", CID)
    world.round(["crm"])
    assert event_ids(world, CID)
    assert standing(world, CID)["mail"] == "Confirmed"
    assert broken(world, full=True) == set(), "by a listing"


def test_whoever_comes_back_by_their_own_word_is_no_breach(open_small_world: Open) -> None:
    world = agreed(open_small_world())
    resubscribe(world.app.context, BOB, Scope("newsletter"), evidence="in writing")
    assert broken(world, full=True) == set(), "one no fewer, and it was taken back"
    _sent_after_the_no(world)
    plant(world, "UPDATE op SET sent_at = '2026-11-21 13:00:00' WHERE state = 'accepted'")
    assert broken(world, full=True) == set(), "added, and not against their word"
    world.wait(60)
    world.settle(2)
    assert broken(world, full=True) == set()
    unsubscribe(world.app.context, BOB, Scope("newsletter"), source="operator", evidence="by phone")
    assert broken(world, full=True) == set()


def test_a_mass_flip_that_waits_with_a_release_or_was_rejected_is_no_breach(open_small_world: Open) -> None:
    world = open_small_world(max_count=3, on_unsubscribe="field")
    emails = list(people(world, 6))
    world.settle(2)
    for email in emails[:4]:
        world.sales.set_field(world.sales_list, email, "status", "unsubscribed")
    world.wait(60)
    world.round()
    assert {row["hold"] for row in plans(world)} == {"mass"}
    assert broken(world, full=True) == set()
    plant(world, "UPDATE plan SET release_at = NULL")
    assert broken(world, full=True) == {"every-no-is-on-its-way"}


# What follows from a breach -------------------------------------------------------------------------------------------


def test_while_something_is_broken_noes_go_out_and_nothing_else_does_until_it_is_whole(open_world: Open) -> None:
    world = agreed(open_world())
    structlog.reset_defaults()
    world.app.context.log = structlog.get_logger("syncd")
    with structlog.testing.capture_logs() as lines:
        _not_what_was_read(world)
        for _ in range(2):
            assert broken(world) == {"counts-agree"}
        before = world.writes
        person(world, "new@example.org")
        customer = next(one.id for one in world.rocs.customers.values() if one.email == ANN)
        world.rocs.edit_customer(customer, first_name="Anna")
        world.rocs.unsubscribe_member("L-1", CID)
        world.wait(60)
        world.settle(3)
        assert standing(world, CID) == LEFT
        assert standing(world, "new@example.org")["sales"] == []
        assert operations(world, state="ready", identity="new@example.org"), "decided, and kept"
        assert world.writes["salesrocks"] == before["salesrocks"] + 1
        verdict, shown = status_of(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))
        assert (verdict.condition, [entry["invariant"] for entry in shown["breach"]]) == ("broken", ["counts-agree"])
        world.round(["crm"], full=True)
        assert broken(world) == set()
        world.wait(2 * HOUR)
        assert broken(world) == set(), "what could not be sent meanwhile is not stuck"
        world.settle(3)
    assert standing(world, "new@example.org") == JOINED
    told = [(line["event"], line["invariant"]) for line in lines if line["event"].startswith("invariant.")]
    assert told == [("invariant.broken", "counts-agree"), ("invariant.whole", "counts-agree")]
    assert "@" not in str([line for line in lines if line["event"].startswith("invariant.")])


def test_while_something_is_broken_conclusions_and_accounts_in_doubt_wait(open_small_world: Open) -> None:
    world = agreed(open_small_world(on_absence="unsubscribe"))
    _not_what_was_read(world)
    assert broken(world) == {"counts-agree"}
    world.sales.remove_contact(world.sales_list, ANN)
    for _ in range(3):
        world.wait(60)
        world.round(["sales"])
    unsubscribe(world.app.context, CID, Scope("newsletter"), source="operator", evidence="by phone")
    plant(world, "UPDATE account SET state = 'failing' WHERE name = 'mail'")
    world.round(["leads"])
    waiting = {(row["account"], row["identity"]) for row in operations(world, state="ready", kind="unsubscribe")}
    assert waiting == {("crm", ANN), ("mail", ANN), ("leads", ANN), ("mail", CID)}
    assert standing(world, CID)["crm"] == "unsubscribed"
    assert standing(world, CID)["leads"] == "told"


def test_whoever_was_added_after_a_no_is_shown_until_taken_off_again(open_small_world: Open) -> None:
    world = agreed(open_small_world())
    _sent_after_the_no(world)
    world.rocs.add_member("L-1", next(one.id for one in world.rocs.customers.values() if one.email == BOB))
    assert broken(world) == {"nobody-is-added-after-a-no"}
    world.wait(60)
    world.round()
    assert broken(world) == {"nobody-is-added-after-a-no"}, "read back, and he stands there"
    world.wait(60)
    world.settle(2)
    assert standing(world, BOB) == LEFT
    assert broken(world) == set()


def test_a_loss_that_is_known_of_can_be_accepted_and_is_missed_until_then(open_small_world: Open) -> None:
    world = agreed(open_small_world())
    _lost(world)
    for _ in range(2):
        assert broken(world) == {"suppression-only-grows"}
    assert set(check(world.app.context, accept=True).broken) == set()
    assert broken(world, full=True) == set()
