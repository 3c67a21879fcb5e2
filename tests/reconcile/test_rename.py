"""A change of address: what explains an unsubscribe, what does not, and what goes with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.decide import decide
from syncd.reconcile.learn import learn
from syncd.reconcile.person import Candidate, Cell, OpState, Rename
from syncd.reconcile.rename import Reading, inherited, reading_of, waiting
from tests.reconcile.factories import ANN, NEWS, NOW, OFFERS, account, cell, operation, person, topology

NO = Status.UNSUBSCRIBED
ANNA = Identity("anna@example.net")
NAME = {"first_name": "Ann", "last_name": "Bee"}
TOPO = topology(accounts=[replace(account("rocketresponder"), rename_wait_s=600.0, rename_tolerance_s=2.0)])


def left(minutes_ago: float = 1, **more: Any) -> Cell:
    """Read unsubscribed at 50, a minute ago; it left at 1000 of the provider's clock."""
    known: dict[str, Any] = {
        "status": NO,
        "unsubscribed_at": "1000",
        "status_seq": 50,
        "seq": 50,
        "status_at": NOW - timedelta(minutes=minutes_ago),
        "fields": NAME,
    }
    return cell("rocketresponder", **(known | more))


def changed(*candidates: Candidate, **more: Any) -> Rename:
    opened: dict[str, Any] = {"seq": 40, "at": NOW - timedelta(days=1)}
    return Rename("rocketresponder", ContainerId("L1"), ANN, **(opened | more), candidates=candidates)


def anna(confirmed_at: str | None = "1000", name: str = "Ann Bee") -> Candidate:
    return Candidate(ANNA, confirmed_at, name)


@pytest.mark.parametrize(
    ("seen", "rename", "reading"),
    [
        pytest.param(left(), changed(anna()), Reading.RETIRED, id="gave way to another at that very moment"),
        pytest.param(left(), changed(anna("1002")), Reading.RETIRED, id="as far apart as may be"),
        pytest.param(left(), changed(anna("998", "ann BEE")), Reading.RETIRED, id="before it, in other letters"),
        pytest.param(left(), changed(anna("1003")), Reading.WAITS, id="too far apart"),
        pytest.param(left(), changed(anna(name="Bob Bee")), Reading.WAITS, id="a stranger"),
        pytest.param(
            left(fields={}, unread=frozenset({"first_name"})), changed(anna(name="")), Reading.WAITS, id="a name unread"
        ),
        pytest.param(left(), changed(anna(), anna()), Reading.WAITS, id="two of them"),
        pytest.param(left(), changed(anna(None)), Reading.WAITS, id="of unknown time"),
        pytest.param(left(unsubscribed_at=None), changed(anna()), Reading.WAITS, id="left at an unknown time"),
        pytest.param(left(), changed(), Reading.WAITS, id="nobody yet"),
        pytest.param(left(10), changed(), Reading.NO, id="nobody for as long as may be"),
        pytest.param(left(10), changed(anna()), Reading.RETIRED, id="found late"),
        pytest.param(left(), changed(anna(), seq=50), Reading.NO, id="changed only after it was read so"),
        pytest.param(left(), changed(anna(), at=NOW - timedelta(days=40)), Reading.NO, id="changed long ago"),
        pytest.param(left(status=Status.COMPLAINED), changed(anna()), Reading.NO, id="a complaint is one"),
        pytest.param(left(container="L2"), changed(anna()), Reading.NO, id="changed on another list"),
        pytest.param(left(), changed(retired_at="1000"), Reading.RETIRED, id="known to have given way"),
        pytest.param(left(), changed(retired_at="900"), Reading.NO, id="left anew since it gave way"),
    ],
)
def test_what_an_unsubscribe_after_a_change_is(seen, rename: Rename, reading: Reading):
    who = person(seen, renames=[rename])
    assert reading_of(who, TOPO, seen, NOW) is reading
    assert bool(learn(who, TOPO, NOW, 77)) is (reading is Reading.NO)
    assert list(waiting(who, TOPO, NOW)) == ([NOW + timedelta(minutes=9)] if reading is Reading.WAITS else [])


@pytest.mark.parametrize(
    ("rename", "reading"),
    [
        pytest.param(changed(), Reading.NO, id="nothing else need explain it"),
        pytest.param(changed(anna()), Reading.RETIRED, id="unless another came at that very moment"),
    ],
)
def test_what_we_wrote_ourselves_waits_for_nobody(rename: Rename, reading: Reading):
    sent = operation(ChangeKind.UNSUBSCRIBE, OpState.VERIFIED, "rocketresponder", ended_seq=49, closed_seq=50)
    who = person(left(), said={NEWS: Level.UNSUBSCRIBED}, renames=[rename], carried_out=[sent])
    assert reading_of(who, TOPO, left(), NOW) is reading
    assert list(waiting(who, TOPO, NOW)) == []


def test_nobody_is_added_and_the_person_is_looked_at_again_as_long_as_it_waits():
    seen = [left(), cell(container="R2")]
    waits = decide(person(*seen, renames=[changed()]), TOPO, NOW)
    assert waits.again_at == NOW + timedelta(minutes=9)
    assert [wish.change.kind for wish in waits.desired] == []
    there = cell("rocketresponder", Status.ABSENT, "L2")
    joined = decide(person(*seen, there, renames=[changed(anna())]), TOPO, NOW)
    assert [wish.change.kind for wish in joined.desired] == [ChangeKind.SUBSCRIBE]
    assert decide(person(*seen, there, renames=[changed()]), TOPO, NOW).desired == ()


def test_the_new_address_gets_every_no_and_no_yes():
    said: dict[Scope, ConsentState | Level] = {
        GLOBAL: Level.COMPLAINT,
        NEWS: ConsentState(2, Level.SUBSCRIBED, 9),
        OFFERS: ConsentState(1, Level(3), 9),
    }
    events = inherited(person(said=said), ANNA, {OFFERS: ConsentState(4, Level.SUBSCRIBED, 7)}, changed(), NOW, 77)
    assert [(event.identity, event.scope, event.epoch, event.level) for event in events] == [
        (ANNA, GLOBAL, 0, Level.COMPLAINT),
        (ANNA, OFFERS, 4, Level.UNSUBSCRIBED),
    ]
