"""Changes that wait for a person: a plan's name is its content, so that nobody approves what was not seen."""

from __future__ import annotations

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.records import Status
from syncd.reconcile.guard import Held, Hold
from syncd.reconcile.person import Cell
from syncd.store import plans, superseded
from syncd.store.session import Engine, reading, writing
from tests.store.factories import ANN, HOUR, KEY, NOW, R1, key_of, later, person, rows, wish

SUBSCRIBE, UNSUBSCRIBE, UPDATE = ChangeKind.SUBSCRIBE, ChangeKind.UNSUBSCRIBE, ChangeKind.UPDATE
RELEASE_AT = NOW + 12 * HOUR


def held(number: int = 1, kind: ChangeKind = SUBSCRIBE, hold: Hold = Hold.GUARD, **more) -> Held:
    return Held(wish(kind, person(number), explicit=False, **more), hold)


def replace(engine: Engine, *entries: Held, people=None, wished=None, at=NOW) -> None:
    who = [entry.desired.change.identity for entry in entries] if people is None else people
    with writing(engine) as connection:
        wishes = [entry.desired for entry in entries] if wished is None else wished
        plans.replace_items(connection, [key_of(identity) for identity in who], entries, wishes, at, RELEASE_AT)


def waiting(engine: Engine):
    with reading(engine) as connection:
        return plans.load_plans(connection)


def items(engine: Engine) -> list[str]:
    return sorted(row.identity for row in rows(engine, plans.item))


def decide(engine: Engine, plan_id: str, state: str = "approved"):
    with writing(engine) as connection:
        row = plans.find_plan(connection, plan_id)
        return row, plans.decide_plan(connection, row, state, NOW)


def found(engine: Engine, plan_id: str):
    with reading(engine) as connection:
        return plans.find_plan(connection, plan_id)


def test_what_waits_is_grouped_by_account_container_kind_and_reason(engine: Engine):
    replace(
        engine,
        held(1),
        held(2),
        held(3, hold=Hold.FIRST_CONTACT),
        held(4, UNSUBSCRIBE, Hold.MASS),
        held(5, account="salesrocks"),
    )
    found = {(row.account, row.container, row.kind, row.hold): row for row in waiting(engine)}
    assert {group: row.count for group, row in found.items()} == {
        ("rocs", "R1", "subscribe", "guard"): 2,
        ("rocs", "R1", "subscribe", "first-contact"): 1,
        ("rocs", "R1", "unsubscribe", "mass"): 1,
        ("salesrocks", "R1", "subscribe", "guard"): 1,
    }
    assert [row.release_at for row in waiting(engine) if row.release_at] == [RELEASE_AT], "only a mass goes by itself"
    assert all(row.reason for row in found.values())
    with reading(engine) as connection:
        guarded = found["rocs", "R1", "subscribe", "guard"]
        pages = [plans.load_items(connection, guarded, 1, skip) for skip in range(3)]
        assert [[row.identity for row in page] for page in pages] == [[person(1)], [person(2)], []]


@pytest.mark.parametrize(
    ("second", "same"),
    [
        pytest.param([held(1, fields={"a": "1"}), held(2)], True, id="the same"),
        pytest.param([held(1, fields={"a": "2"}), held(2)], False, id="another value"),
        pytest.param([held(1, fields={"a": "1"})], False, id="somebody less"),
        pytest.param([held(1, fields={"a": "1"}), held(2), held(3)], False, id="somebody more"),
    ],
)
def test_the_name_of_a_plan_changes_with_its_content(engine: Engine, second, same: bool):
    first = [held(1, fields={"a": "1"}), held(2)]
    replace(engine, *first)
    (before,) = waiting(engine)
    replace(engine, *second, people=[person(n) for n in (1, 2, 3)], at=later(1))
    (after,) = waiting(engine)
    assert (after.id == before.id) is same
    assert after.created_at == NOW, "since when it waits stays known"


def test_the_order_in_which_things_were_found_does_not_change_the_name(engine: Engine):
    replace(engine, held(1), held(2))
    (before,) = waiting(engine)
    replace(engine, people=[person(1), person(2)])
    assert (waiting(engine), items(engine)) == ([], [])
    replace(engine, held(2), held(1))
    assert waiting(engine)[0].id == before.id


def test_only_the_people_looked_at_are_replaced(engine: Engine):
    replace(engine, held(1), held(2))
    replace(engine, people=[person(1)])
    assert items(engine) == [person(2)]
    assert waiting(engine)[0].count == 1


def test_a_change_that_waits_for_another_reason_moves_to_its_plan(engine: Engine):
    replace(engine, held(1))
    replace(engine, held(1, hold=Hold.FIRST_CONTACT))
    assert [(row.hold, row.count) for row in waiting(engine)] == [("first-contact", 1)]


# Deciding


def test_an_approved_plan_lets_its_changes_pass_and_is_gone(engine: Engine):
    replace(engine, held(1), held(2))
    (plan,) = waiting(engine)
    row, concerned = decide(engine, plan.id)
    assert (row.count, sorted(concerned)) == (2, [key_of(person(1)), key_of(person(2))])
    assert waiting(engine) == []
    with reading(engine) as connection:
        approved = plans.decided_items(connection, concerned, "approved")
        assert approved == {plans.mark_of(held(1).desired), plans.mark_of(held(2).desired)}
        assert plans.decided_items(connection, concerned, "rejected") == set()
        assert {mark for mark, _ in plans.approved_items(connection, concerned)} == approved


@pytest.mark.parametrize("plan_id", ["nonsense", ""])
def test_what_does_not_wait_cannot_be_decided(engine: Engine, plan_id: str):
    replace(engine, held(1))
    assert found(engine, plan_id) is None


def test_a_plan_that_moved_since_it_was_seen_cannot_be_approved(engine: Engine):
    replace(engine, held(1))
    (before,) = waiting(engine)
    replace(engine, held(1), held(2))
    assert found(engine, before.id) is None
    assert {row.state for row in rows(engine, plans.item)} == {"held"}


def test_a_plan_is_decided_once(engine: Engine):
    replace(engine, held(1))
    (plan,) = waiting(engine)
    decide(engine, plan.id)
    assert found(engine, plan.id) is None
    with reading(engine) as connection:
        assert superseded.find(connection, plan.id).ended == "approved"


def test_an_approval_covers_exactly_what_was_in_it(engine: Engine):
    replace(engine, held(1, fields={"a": "1"}))
    decide(engine, waiting(engine)[0].id)
    with reading(engine) as connection:
        approved = plans.decided_items(connection, [key_of(person(1))], "approved")
    assert plans.mark_of(held(1, fields={"a": "1"}).desired) in approved
    assert plans.mark_of(held(1, fields={"a": "2"}).desired) not in approved


@pytest.mark.parametrize(
    ("state", "still_wished", "left"),
    [
        pytest.param("rejected", True, 1, id="rejected, and still wanted: the mark stays"),
        pytest.param("rejected", False, 0, id="rejected, and not wanted any more"),
        pytest.param("approved", True, 0, id="approved, and on its way"),
    ],
)
def test_a_rejected_change_keeps_its_mark_while_it_is_wanted(engine: Engine, state: str, still_wished: bool, left: int):
    replace(engine, held(1))
    decide(engine, waiting(engine)[0].id, state)
    replace(engine, people=[person(1)], wished=[held(1).desired] if still_wished else [])
    assert len(items(engine)) == left
    assert waiting(engine) == []


def test_a_rejected_change_with_another_value_waits_again(engine: Engine):
    replace(engine, held(1, fields={"a": "1"}))
    decide(engine, waiting(engine)[0].id, "rejected")
    replace(engine, held(1, fields={"a": "2"}))
    assert [(row.state, row.fields) for row in rows(engine, plans.item)] == [("held", {"a": "2"})]
    assert waiting(engine)[0].count == 1


# What moved


def plan_again(engine: Engine, seq: int, *entries: Held, cells=None) -> None:
    """A whole planning, of people 1 to 4."""
    who = [key_of(person(number)) for number in range(1, 5)]
    wishes = [entry.desired for entry in entries]
    with writing(engine) as connection:
        for part in (entries[:1], entries[1:]) if len(entries) > 1 else (entries,):
            concerned = [entry.desired.change.identity for entry in part]
            keys = [key_of(identity) for identity in concerned]
            plans.replace_items(connection, keys, part, wishes, NOW, RELEASE_AT, seq=seq, cells=cells)
        rest = [key for key in who if key not in {key_of(entry.desired.change.identity) for entry in entries}]
        plans.replace_items(connection, rest, [], wishes, NOW, RELEASE_AT, seq=seq, cells=cells)


def moved(engine: Engine, plan_id: str) -> dict[str, str]:
    with reading(engine) as connection:
        was = superseded.find(connection, plan_id)
        assert was.ended == "moved"
        return {one.identity: one.what for one in superseded.moved_since(connection, plans.group_of(was), was.seq)}


def test_an_id_that_was_shown_is_remembered_with_what_moved_since(engine: Engine):
    plan_again(engine, 10, held(1), held(2), held(3, fields={"a": "1"}))
    (first,) = waiting(engine)
    plan_again(engine, 20, held(1), held(3, fields={"a": "2"}), held(4))
    assert moved(engine, first.id) == {person(2): "gone", person(3): "changed", person(4): "added"}
    (second,) = waiting(engine)
    plan_again(engine, 30, held(1), held(2), held(3, fields={"a": "2"}))
    assert moved(engine, first.id) == {person(2): "changed", person(3): "changed"}, "four came and went"
    assert moved(engine, second.id) == {person(2): "added", person(4): "gone"}
    plan_again(engine, 40)
    assert moved(engine, second.id) == {person(1): "gone", person(3): "gone", person(4): "gone"}
    assert len(rows(engine, superseded.past)) == 3, "not those that no planning ended with"


def test_a_change_on_other_records_than_were_shown_is_another_plan(engine: Engine):
    def record(seq: int) -> list[Cell]:
        return [Cell("rocs", R1, "1", person(1), "p", Status.ABSENT, seq=9, status_seq=seq, status_at=NOW, route="x")]

    plan_again(engine, 10, held(1), cells={person(1): record(5)})
    (first,) = waiting(engine)
    plan_again(engine, 20, held(1), cells={person(1): record(5)})
    assert waiting(engine)[0].id == first.id
    plan_again(engine, 30, held(1), cells={person(1): record(6)})
    assert waiting(engine)[0].id != first.id
    assert moved(engine, first.id) == {person(1): "changed"}


def test_what_ended_long_ago_is_forgotten(engine: Engine):
    plan_again(engine, 10, held(1))
    plan_again(engine, 20, held(1), held(2))
    with writing(engine) as connection:
        plans.hold_absence(connection, "rocs", "R1", "gone", 50, NOW)
        plans.drop_absence(connection, "rocs", "R1", NOW + superseded.KEPT + HOUR)
    assert [row.kind for row in rows(engine, superseded.past)] == ["absence"]
    assert rows(engine, superseded.move) == []


# Counting, releasing


def test_what_waits_under_the_guard_is_counted_without_those_being_planned(engine: Engine):
    replace(engine, held(1), held(2), held(3, hold=Hold.FIRST_CONTACT), held(4, UNSUBSCRIBE))
    with reading(engine) as connection:
        assert plans.count_held(connection, besides=[]) == {("rocs", R1, SUBSCRIBE): 2, ("rocs", R1, UNSUBSCRIBE): 1}
        assert plans.count_held(connection, besides=[key_of(person(1))])["rocs", R1, SUBSCRIBE] == 1
        assert plans.accounts_in_first_contact(connection, {"rocs", "salesrocks"}) == {"rocs"}
        assert plans.accounts_in_first_contact(connection, {"salesrocks"}) == set(), "it is not configured any more"


def test_a_mass_goes_by_itself_when_its_time_has_come(engine: Engine):
    replace(engine, held(1, UNSUBSCRIBE, Hold.MASS), held(2))
    (mass,) = (row for row in waiting(engine) if row.hold == "mass")
    with reading(engine) as connection:
        assert plans.due_releases(connection, RELEASE_AT - HOUR) == []
        assert [row.id for row in plans.due_releases(connection, RELEASE_AT)] == [mass.id]


# Absences


def test_a_listing_that_lost_too_many_waits_as_a_plan_of_its_own(engine: Engine):
    for count, at in ((50, NOW), (50, later(1)), (40, later(2))):
        with writing(engine) as connection:
            plans.hold_absence(connection, "rocs", "R1", "50 of 100 are gone at once", count, at)
    (plan,) = waiting(engine)
    assert (plan.kind, plan.hold, plan.count) == ("absence", "absence", 40)
    row, concerned = decide(engine, plan.id)
    assert (row.count, concerned, waiting(engine)) == (40, [], [])


def test_the_name_of_an_absence_is_the_size_it_would_accept(engine: Engine):
    names = []
    for count in (50, 50, 40):
        with writing(engine) as connection:
            plans.hold_absence(connection, "rocs", "R1", "gone", count, NOW)
        names.append(waiting(engine)[0].id)
    assert names[0] == names[1] != names[2]


def test_a_listing_that_is_whole_again_takes_its_doubt_away(engine: Engine):
    replace(engine, held(1))
    with writing(engine) as connection:
        plans.hold_absence(connection, "rocs", "R1", "gone", 50, NOW)
        plans.drop_absence(connection, "rocs", "R1", NOW)
    assert [row.kind for row in waiting(engine)] == ["subscribe"]


# Claims


def claim(
    engine: Engine, *, status_seq: int = 9, scope: str = "news", container: str = "R1", fight: bool = False
) -> bool:
    with writing(engine) as connection:
        return plans.record_claim(
            connection,
            account="rocs",
            container=container,
            key="1",
            fight=fight,
            identity=ANN,
            scope=scope,
            status_seq=status_seq,
            at=NOW,
        )


def claims(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return [row.id for row in plans.open_claims(connection)]


def test_one_claim_of_a_cell_is_open_and_counts_how_often_it_occurred(engine: Engine):
    assert [claim(engine), claim(engine), claim(engine, status_seq=12)] == [True, False, False]
    assert len(claims(engine)) == 1
    assert [claim(engine, status_seq=13, fight=True), claim(engine, status_seq=13, fight=True)] == [True, False]
    (row,) = rows(engine, plans.claim)
    assert (row.times, row.fight, row.status_seq) == (3, True, 13)


def test_a_dismissed_claim_is_not_raised_again(engine: Engine):
    claim(engine)
    (name,) = claims(engine)
    with writing(engine) as connection:
        assert plans.dismiss_claim(connection, name) is True
        assert plans.dismiss_claim(connection, name) is False
        assert plans.dismiss_claim(connection, "nonsense") is False
    assert claim(engine) is False
    assert claims(engine) == []


def test_a_person_s_word_grants_all_claims_of_that_scope(engine: Engine):
    claim(engine)
    claim(engine, container="R2")
    claim(engine, scope="offers")
    with writing(engine) as connection:
        assert plans.grant_claims(connection, KEY, "news") == 2
        assert plans.grant_claims(connection, KEY, "news") == 0
    assert len(claims(engine)) == 1
