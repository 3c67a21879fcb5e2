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
from syncd.reconcile.close import close
from syncd.reconcile.decide import decide
from syncd.reconcile.desired import Closing, Desired, Why
from syncd.reconcile.learn import learn
from syncd.reconcile.person import Candidate, Cell, Former, OpState, Rename
from syncd.reconcile.rename import Reading, gave_way, inherited, reading_of, waiting
from syncd.reconcile.spread import spread
from tests.reconcile.factories import ANN, NEWS, NOW, OFFERS, account, cell, mailing_list, operation, person, topology

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


# What is known to give way -------------------------------------------------------------------------------------------

MOVING = account("rocketresponder", changes_addresses=True)
GONE = Status.REMOVED


@pytest.mark.parametrize(
    ("seen", "rename", "known"),
    [
        pytest.param(left(), changed(anna(name="Anna New")), None, id="a stranger, for all we know"),
        pytest.param(left(), changed(anna(name="Anna New"), successor=ANNA), "1000", id="whom we asked for"),
        pytest.param(left(), changed(anna(), anna(), successor=ANNA), "1000", id="and not whoever came beside them"),
        pytest.param(left(), changed(anna(), successor=ANN), "1000", id="or the one who came instead"),
        pytest.param(left(status=GONE), changed(successor=ANNA), "", id="the record goes by another address"),
        pytest.param(left(status=GONE), changed(), None, id="gone, and nobody knows to whom"),
        pytest.param(left(status=GONE), changed(successor=ANNA, retired_at=""), None, id="known to have given way"),
        pytest.param(left(status=Status.SUBSCRIBED), changed(successor=ANNA), None, id="stands there still"),
        pytest.param(left(status=GONE, container="L2"), changed(successor=ANNA), None, id="gone from another list"),
    ],
)
def test_what_an_address_gave_way_to(seen, rename: Rename, known: str | None):
    found = [(who, at) for _, who, at in gave_way(person(seen, renames=[rename]), TOPO)]
    assert found == ([] if known is None else [(ANNA, known)])


def former(**more: Any) -> Former:
    """Anna took the place of Ann at ROCS; Ann stands on both lists at RocketResponder."""
    stands = {("rocketresponder", ContainerId(place)): f"Ann{place}@example.org" for place in ("L1", "L2")}
    known: dict[str, Any] = {"account": "rocs", "container": ContainerId("*"), "gave_way": True, "noes": frozenset()}
    return Former(ANN, ANNA, **(known | {"stands": stands} | more))


HERE = frozenset({("rocketresponder", ContainerId("L1"))})
NOT_YET = {"gave_way": False, "account": "rocketresponder", "container": ContainerId("L1")}


@pytest.mark.parametrize(
    ("formers", "replaces"),
    [
        pytest.param([former()], "AnnL1@example.org", id="stands there"),
        pytest.param([former(stands={})], None, id="stands nowhere: joins as anybody"),
        pytest.param([], None, id="never had another"),
        pytest.param([former()._replace(successor=ANN)], None, id="took nobody's place: gave way"),
        pytest.param([former(gave_way=False)], None, id="about to, elsewhere"),
        pytest.param([former(**NOT_YET)], "nobody joins", id="about to, here: waits for their word"),
        pytest.param([former(stands={}, busy=HERE)], "nobody joins", id="something is under way for it there"),
        pytest.param([former(stands={}, waits=True)], "nobody joins", id="may have said no: that is not decided"),
        pytest.param([former(noes=frozenset({NEWS}))], "nobody joins", id="said no to the list before"),
        pytest.param([former(noes=frozenset({GLOBAL}))], "nobody joins", id="said no to everything before"),
        pytest.param([former(noes=frozenset({OFFERS}))], "AnnL1@example.org", id="said no to another list"),
    ],
)
def test_who_moved_takes_the_place_of_the_former_address_where_that_is_possible(formers, replaces):
    topo = topology("rocs", "rocketresponder", accounts=[MOVING])
    absent = cell("rocketresponder", Status.ABSENT, identity=ANNA)
    who = person(cell(identity=ANNA), absent, formers=formers)
    joined = [(wish.change.replaces, wish.why) for wish in spread(who, topo, ANNA, {}) if isinstance(wish, Desired)]
    if replaces == "nobody joins":
        assert joined == []
    else:
        assert joined == [(replaces, Why.MOVED if replaces else Why.JOINED)]


def test_the_place_is_the_container_in_which_the_former_one_stands():
    both = mailing_list("news", rocs=("R1",), rocketresponder=("L1", "L2"))
    stands = {("rocketresponder", ContainerId("L2")): "ann@example.org"}
    absent = [cell("rocketresponder", Status.ABSENT, place, identity=ANNA) for place in ("L1", "L2")]
    who = person(cell(identity=ANNA), *absent, formers=[former(stands=stands)])
    for account_, place in ((MOVING, "L2"), (account("rocketresponder"), "L1")):
        topo = topology("rocs", "rocketresponder", accounts=[account_], lists=[both])
        (wish,) = spread(who, topo, ANNA, {})
        assert isinstance(wish, Desired)
        assert (wish.change.container, wish.change.replaces) == (place, "ann@example.org" if place == "L2" else None)


@pytest.mark.parametrize(
    ("state", "formers", "became"),
    [
        (OpState.ACCEPTED, [former(**NOT_YET)], OpState.DONE),
        (OpState.ACCEPTED, [former()], OpState.REFUTED),
        (OpState.UNKNOWN, [former(**NOT_YET)], OpState.REFUTED),
    ],
)
def test_who_is_to_confirm_may_be_shown_only_then(state: OpState, formers, became: OpState):
    op = operation(
        ChangeKind.SUBSCRIBE, state, "rocketresponder", identity=ANNA, ended_seq=20, ended_at=NOW - timedelta(days=1)
    )
    absent = cell("rocketresponder", Status.ABSENT, identity=ANNA, seq=21)
    (closing,) = close(person(absent, operations=[op], formers=formers), topology(accounts=[MOVING]), NOW)
    assert isinstance(closing, Closing)
    assert closing.state is became
