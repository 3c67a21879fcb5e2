"""Whom to ask about: by name first, the urgent before the rest, then known pairs that are due."""

from __future__ import annotations

from syncd.domain.changes import Target
from syncd.domain.identity import Identity
from syncd.domain.records import Container, ContainerId, Status
from syncd.reconcile.desired import LookUp
from syncd.store import containers, lookups
from syncd.store.session import Engine, reading, writing
from tests.store.factories import ANN, HOUR, NOW, R1, later, observe, person, seen


def look(identity: Identity = ANN, *, account: str = "rocs", container: str = "R1", reason: str = "because") -> LookUp:
    return LookUp(account, ContainerId(container), identity, str(identity).upper(), reason)


def want(engine: Engine, *wishes: LookUp, at=NOW, urgent: bool = False) -> int:
    with writing(engine) as connection:
        return lookups.want(connection, wishes, at, urgent=urgent)


def wanted(engine: Engine, limit: int = 99) -> list[Target]:
    with reading(engine) as connection:
        return lookups.wanted(connection, "rocs", later(100_000), limit)


def test_somebody_is_wanted_once(engine: Engine):
    assert want(engine, look(), look(), look(container="R2"), look(account="salesrocks")) == 3
    assert want(engine, look(reason="another")) == 0
    assert [(t.container, t.identity, t.address) for t in wanted(engine)] == [
        ("R1", ANN, "ANN@EXAMPLE.ORG"),
        ("R2", ANN, "ANN@EXAMPLE.ORG"),
    ]
    with reading(engine) as connection:
        assert (lookups.count_wanted(connection), lookups.count_wanted(connection, "rocs")) == (3, 2)
        assert lookups.accounts_wanting(connection) == {"rocs", "salesrocks"}


def test_the_urgent_come_first_then_the_oldest(engine: Engine):
    want(engine, look(person(1)), at=later(1))
    want(engine, look(person(2)), at=NOW)
    want(engine, look(person(3)), at=later(5), urgent=True)
    want(engine, look(person(1)), at=later(9), urgent=True)
    want(engine, look(person(3)), at=later(9))
    assert [t.identity for t in wanted(engine)] == [person(1), person(3), person(2)]
    assert [t.identity for t in wanted(engine, limit=1)] == [person(1)]


def test_who_was_given_up_is_asked_about_again_as_soon_as_there_is_news_and_polled_no_more_than_others(engine: Engine):
    lists(engine)
    observe(engine, seen("1"), seq=5)
    want(engine, look())
    with writing(engine) as connection:
        lookups.note_failure(connection, "rocs", "R1", ANN, until=later(60), given_up="HTTP 500, 8 times")
    assert wanted(engine) == []
    assert due(engine, older_than=later(59)) == [], "nobody starves behind them"
    assert due(engine, older_than=later(61)) == [ANN]
    want(engine, look(), at=later(9))
    assert wanted(engine) == [], "not news"
    want(engine, look(), at=later(9), urgent=True)
    assert [t.identity for t in wanted(engine)] == [ANN]


def test_who_was_asked_about_is_not_wanted_any_more(engine: Engine):
    want(engine, look(), look(container="R2"))
    with writing(engine) as connection:
        lookups.done(connection, "rocs", "R1", ANN)
    assert [t.container for t in wanted(engine)] == ["R2"]


def test_a_target_names_the_records_that_are_there(engine: Engine):
    observe(
        engine, seen("1"), seen("2", Status.UNSUBSCRIBED), seen("3", Status.REMOVED), seen("4", Status.ABSENT), seq=5
    )
    observe(engine, seen("c-7", container="*"), seq=5)
    want(engine, look())
    (target,) = wanted(engine)
    assert (target.keys, target.account_key) == (("1", "2"), "c-7")
    observe(engine, seen("c-8", container="*"), seq=6)
    assert wanted(engine)[0].account_key is None, "of two customers neither is picked"
    with reading(engine) as connection:
        assert lookups.target_of(connection, "rocs", "R1", ANN, "x") == Target(R1, ANN, "x", ("1", "2"), None)


# Known pairs that are due


def due(engine: Engine, *, older_than=NOW - HOUR, limit: int = 99, of=("R1", "R2")) -> list[Identity]:
    with reading(engine) as connection:
        return [target.identity for target in lookups.due(connection, "rocs", of, older_than, limit)]


def lists(engine: Engine, **moved_at) -> None:
    with writing(engine) as connection:
        containers.save_containers(connection, "rocs", [Container(ContainerId(name), name) for name in ("R1", "R2")])
        for name, at in moved_at.items():
            containers.update_container(connection, "rocs", name, moved_at=at)


def test_only_who_was_read_too_long_ago_is_due_oldest_first(engine: Engine):
    lists(engine)
    for number, hours in ((1, 3), (2, 5), (3, 0.5), (4, 1)):
        observe(engine, seen(str(number), identity=person(number)), seq=5, at=NOW - hours * HOUR)
    observe(engine, seen("9", identity=None), seq=5, at=NOW - 9 * HOUR)
    assert due(engine) == [person(2), person(1), person(4)]
    assert due(engine, limit=1) == [person(2)]
    assert due(engine, of=("R2",)) == []


def test_lists_whose_count_moved_come_first_until_everybody_was_read_since(engine: Engine):
    lists(engine, R2=NOW - 0.5 * HOUR)
    observe(engine, seen("1", identity=person(1)), seq=5, at=NOW - 9 * HOUR)
    observe(engine, seen("2", identity=person(2), container="R2"), seq=5, at=NOW - 0.75 * HOUR)
    observe(engine, seen("3", identity=person(3), container="R2"), seq=5, at=NOW - 0.25 * HOUR)
    assert due(engine) == [person(2), person(1)]
    with reading(engine) as connection:
        assert lookups.moved_left(connection, "rocs", "R2") == 1
        assert lookups.moved_left(connection, "rocs", "R1") == 0


def test_who_can_be_mailed_is_asked_about_before_the_rest(engine: Engine):
    lists(engine)
    observe(engine, seen("1", Status.UNSUBSCRIBED, identity=person(1)), seq=5, at=NOW - 9 * HOUR)
    observe(engine, seen("2", identity=person(2)), seq=5, at=NOW - 2 * HOUR)
    assert due(engine) == [person(2), person(1)]
