"""The ledger of unsubscribes: every "no" at every place that has to learn of it, how it went there, and by when."""

from __future__ import annotations

from typing import Any

from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.identity import Identity, suppression_key
from syncd.emulators.emulator import Fault, FaultKind
from syncd.store import ledger
from syncd.store.session import reading
from syncd.sync.explain import explain
from syncd.sync.ingest import resubscribe, unsubscribe
from syncd.sync.standing import standing as status_of
from tests.scenes import DAY, JOINED, TWO_LISTS, configured, operations, person, standing, with_two_lists
from tests.world import World

ANN = Identity("ann@example.org")
HOUR = 3600.0


def agreed(world: World, *emails: str) -> None:
    for email in emails or (ANN,):
        person(world, email)
    world.settle(2)
    for email in emails or (ANN,):
        assert standing(world, email) == JOINED


def lines(world: World, email: str = ANN, **given: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The ledger of one person, by place; one "no" has one line at each."""
    with reading(world.app.engine) as connection:
        key = suppression_key(Identity(email))
        rows = ledger.rows_of(connection, world.clock(), limit=99, key=key, **given)
    found = {(row["account"], row["remote_list"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def status(world: World) -> dict[str, Any]:
    _, shown = status_of(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))
    return shown


def says_no(world: World, email: str = ANN, scope: Scope = GLOBAL) -> None:
    unsubscribe(world.app.context, email, scope, source="operator", evidence="a letter")


def explained(world: World) -> list[dict[str, Any]]:
    found = explain(world.app.context, ANN)
    assert found is not None
    accounts: list[dict[str, Any]] = found["accounts"]
    return accounts


def test_where_it_was_said_needs_nothing(open_small_world):
    world = open_small_world()
    agreed(world)
    world.mail.person_unsubscribes("154", ANN)
    world.wait(DAY)
    world.settle(3)
    found = lines(world)
    there = found.pop(("mail", "154"))
    assert (there["state"], there["grade"], there["receipt"], there["read_back_after_s"]) == (
        "already",
        "verified",
        None,
        0,
    )
    assert {place: row["state"] for place, row in found.items()} == {
        ("crm", "L-1"): "verified", ("sales", world.sales_list): "verified", ("leads", "*"): "done",
    }  # fmt: skip


def test_one_provider_that_takes_nothing_is_overdue_until_it_does_and_was_late_for_ever(open_world):
    world = open_world(config=configured(guard="unsubscribe_within = '2h'"))
    agreed(world)
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "/subscriber/unsubscribe", times=999))
    says_no(world)
    world.settle(2)
    shown = status(world)["unsubscribes"]
    assert (shown["open"], shown["overdue"], shown["worst"]["account"]) == (1, 0, "mail")
    assert 0 < shown["worst"]["time_left_s"] < 2 * HOUR
    assert lines(world, overdue=True) == {}
    world.wait(2 * HOUR)
    world.round()
    shown = status(world)
    assert (shown["condition"], shown["overdue"]) == ("overdue", 1)
    assert shown["unsubscribes"]["worst"]["time_left_s"] < 0
    late = lines(world, overdue=True)
    assert set(late) == {("mail", "154")}
    assert late["mail", "154"]["overdue"]
    assert late == {place: row for place, row in lines(world).items() if row["overdue"]}
    assert any("not accepted yet; overdue for" in text for account in explained(world) for text in account["sentences"])
    world.mail.faults.clear()
    world.wait(HOUR)
    world.settle(3)
    shown = status(world)
    assert (shown["converged"], shown["overdue"], shown["unsubscribes"]["worst"]) == (True, 0, None)
    row = lines(world)["mail", "154"]
    assert (row["state"], row["overdue"]) == ("verified", False)
    assert row["accepted_after_s"] > 3 * HOUR
    assert row["time_left_s"] < 0


def test_the_view_counts_by_the_clock_of_the_database(open_world):
    """The clock of these tests stands long before or after that one: then all, or nothing, is overdue there."""
    world = open_world()
    agreed(world)
    says_no(world)
    rows = world.rows("SELECT overdue, time_left_s, deadline FROM v_propagation")
    assert len(rows) == 5
    assert {bool(row["overdue"]) for row in rows} == {row["time_left_s"] < 0 for row in rows}


def test_whoever_says_yes_again_ends_what_was_still_open(open_small_world):
    world = open_small_world()
    agreed(world)
    says_no(world, scope=Scope("newsletter"))
    assert status(world)["unsubscribes"]["open"] == 4
    resubscribe(world.app.context, ANN, Scope("newsletter"), evidence="signed up at the fair")
    world.settle(2)
    assert {(row["state"], row["time_left_s"]) for row in lines(world).values()} == {("withdrawn", None)}
    world.wait(3 * DAY)
    world.settle(2)
    shown = status(world)
    assert (shown["overdue"], shown["unsubscribes"]["open"], shown["converged"]) == (0, 0, True)


def test_what_is_proved_stays_so_whatever_comes_after(open_small_world):
    world = open_small_world()
    agreed(world)
    says_no(world, scope=Scope("newsletter"))
    world.settle(2)
    proved = lines(world)
    resubscribe(world.app.context, ANN, Scope("newsletter"), evidence="signed up at the fair")
    world.sales.add_contact(world.sales_list, ANN, "Ann Bee")
    world.wait(3 * DAY)
    world.settle(2)
    assert lines(world) == proved


def test_a_second_no_where_rokt_was_told_already_cites_the_same_receipt(open_small_world):
    world = open_small_world()
    agreed(world)
    says_no(world, scope=Scope("newsletter"))
    world.settle(2)
    first = lines(world)["leads", "*"]
    world.wait(HOUR)
    says_no(world)
    world.settle(2)
    with reading(world.app.engine) as connection:
        rows = ledger.rows_of(connection, world.clock(), limit=99, account="leads")
    assert [(row["scope"], row["state"], row["receipt"]) for row in rows] == [
        ("global", "already", first["receipt"]), ("newsletter", "done", first["receipt"]),
    ]  # fmt: skip
    assert (rows[0]["accepted_after_s"], rows[0]["time_left_s"], rows[0]["grade"]) == (0, 2 * DAY, "accepted")


def test_whoever_turns_up_somewhere_later_has_to_be_taken_off_there_in_time_from_then(open_small_world):
    world = open_small_world()
    says_no(world)
    world.settle(2)
    assert set(lines(world)) == {("leads", "*")}
    world.wait(30 * DAY)
    world.sales.add_contact(world.sales_list, ANN, "Ann Bee")
    world.settle(3)
    row = lines(world)["sales", world.sales_list]
    assert row["known_at"] > row["learnt_at"]
    assert (row["grade"], row["time_left_s"] > DAY, row["accepted_after_s"] < HOUR) == ("verified", True, True)


def missing(world: World) -> list[tuple[Any, ...]]:
    """Worked out from the tables alone: "noes" that stand, at places that they reach, without a line in the ledger."""
    reached = """
        SELECT e.id AS event, c.account AS account, c.container AS container, c.identity AS identity
        FROM consent_event e JOIN consent s ON s.person_key = e.person_key AND s.scope = e.scope AND s.epoch = e.epoch
        JOIN cell c ON c.person_key = e.person_key AND c.account <> 'leads' AND c.status NOT IN ('absent', 'removed')
        WHERE e.level >= 3 AND (e.scope = 'global' OR EXISTS (SELECT 1 FROM link l WHERE l.scope = e.scope
              AND l.account = c.account AND l.container = c.container))
        UNION
        SELECT e.id, 'leads', '*', e.identity
        FROM consent_event e JOIN consent s ON s.person_key = e.person_key AND s.scope = e.scope AND s.epoch = e.epoch
        WHERE e.level >= 3 AND (e.scope = 'global'
              OR EXISTS (SELECT 1 FROM link l WHERE l.scope = e.scope AND l.account = 'leads'))"""
    rows = world.rows(
        f"SELECT * FROM ({reached}) r WHERE NOT EXISTS (SELECT 1 FROM propagation p WHERE p.event_id = r.event "
        "AND p.account = r.account AND p.container = r.container AND p.identity = r.identity)"
    )
    return [tuple(row.values()) for row in rows]


def test_whatever_fails_every_no_has_a_line_for_every_place_and_none_stays_open(open_small_world):
    world = with_two_lists(open_small_world(config=TWO_LISTS, max_count=99))
    emails = [f"p{n}@example.org" for n in range(3)]
    ids = {email: person(world, email, lists=("L-1", "L-2")) for email in emails}
    world.settle(3)
    for emulator in world.emulators.values():
        emulator.fault_rate, emulator.fault_kinds = 0.3, tuple(FaultKind)
    for step, email in enumerate(emails):
        match step % 3:
            case 0:
                world.rokt.person_unsubscribes(email)
            case 1:
                world.rocs.withdraw_consent(email)
            case _:
                says_no(world, email, Scope("events"))
                assert missing(world) == []
        says_no(world, "ann+tag@example.org", Scope("newsletter"))
        world.sales.add_contact(world.sales_list, emails[0], "Pat Poe")  # somebody brings them back
        world.rocs.edit_customer(ids[email], first_name=f"Pat{step}")
        world.round(full=step == 2)
        assert missing(world) == []
        world.wait(400)
    for emulator in world.emulators.values():
        emulator.fault_rate = 0.0
    world.wait(DAY)
    world.settle(5)
    assert missing(world) == []
    assert world.rows("SELECT * FROM propagation WHERE settled_at IS NULL") == []
    assert world.rows("SELECT * FROM v_propagation WHERE grade NOT IN ('verified', 'accepted')") == []
    events = world.rows("SELECT id FROM consent_event WHERE level >= 3")
    followed = world.rows("SELECT DISTINCT event FROM v_propagation WHERE account IS NOT NULL")
    assert len(followed) == len(events)


def test_what_only_the_mirror_knows_to_refuse_costs_nobody_else_their_round(open_world):
    """A "no" to a list that the configuration does not name any more, and the mirror's links still do."""
    world = open_world()
    agreed(world, "bob@example.org")
    says_no(world, scope=Scope("closed"))
    places = f"('closed', 'sales', '{world.sales_list}', 'closed'), ('closed', 'mail', '154', 'closed')"
    with world.app.engine.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO link (list, account, container, scope) VALUES {places}")
    person(world, ANN)
    person(world, "cid@example.org")
    done = world.round()
    assert not done.failed
    assert standing(world, "cid@example.org") == JOINED
    assert standing(world, ANN) == {"crm": "subscribed", "sales": [], "mail": None, "leads": None}
    mine = operations(world, identity=ANN)
    assert {(row["account"], row["state"]) for row in mine} == {("sales", "superseded"), ("mail", "superseded")}
    assert all("the mirror" in row["reason"] for row in mine)
