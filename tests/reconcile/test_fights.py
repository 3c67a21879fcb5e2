"""How often is too often."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level
from syncd.domain.records import Status
from syncd.reconcile.fights import fights, flaps_at
from syncd.reconcile.person import Operation, OpState
from syncd.reconcile.suppress import suppress
from tests.reconcile.factories import ANN, NEWS, NOW, SETTLE_S, cell, operation, person, topology

SAID_NO = {NEWS: Level.UNSUBSCRIBED}
PLACE = cell().place
AN_HOUR_AGO = NOW - timedelta(hours=1)


def undone(number: int, state: OpState = OpState.VERIFIED, where: str = "rocs", **more: Any) -> Operation:
    known: dict[str, Any] = {"number": number, "ended_seq": 10 * number, "ended_at": AN_HOUR_AGO}
    return operation(ChangeKind.UNSUBSCRIBE, state, where, **(known | more))


THRICE = [undone(1), undone(2), undone(3)]


@pytest.mark.parametrize(
    ("seen", "ops", "flaps"),
    [
        pytest.param([cell(status_seq=35)], THRICE, 3, id="three times undone, and there again"),
        pytest.param([cell(status_seq=25)], THRICE, 2, id="not read again since the last one"),
        pytest.param([cell(status=Status.UNSUBSCRIBED, status_seq=35)], THRICE, 2, id="undone, and quiet"),
        pytest.param([cell(status_seq=35)], [], 0, id="never undone: merely not sent yet"),
        pytest.param([cell(status_seq=35)], [undone(3)], 1, id="once"),
        pytest.param([cell(status_seq=35)], [undone(2), undone(3, OpState.ACCEPTED)], 1, id="not read back yet"),
        pytest.param([cell(status_seq=35)], [undone(2, ended_at=NOW - timedelta(days=2)), undone(3)], 1, id="long ago"),
        pytest.param([cell(status_seq=35)], [undone(2, container="R2"), undone(3)], 1, id="on another list"),
    ],
)
def test_a_flap_is_an_unsubscribe_that_had_to_be_sent_again(seen, ops, flaps: int):
    assert flaps_at(person(*seen, said=SAID_NO, carried_out=ops), topology(), PLACE, NOW) == flaps


def test_what_was_sent_before_the_person_s_own_latest_word_is_no_flap():
    said = {NEWS: ConsentState(1, Level.UNSUBSCRIBED, 25)}
    assert flaps_at(person(cell(status_seq=35), said=said, carried_out=THRICE), topology(), PLACE, NOW) == 1


def test_a_fight_is_noticed_while_it_stands_subscribed_and_only_then():
    who = person(cell(status_seq=35), said=SAID_NO, carried_out=THRICE)
    assert [(fight.claim.scope, fight.flaps) for fight in fights(who, topology(), NOW)] == [(NEWS, 3)]
    assert fights(who, replace(topology(), flaps_max=4), NOW) == []
    assert fights(replace(who, cells=[cell(status=Status.REMOVED, status_seq=35)]), topology(), NOW) == []
    quiet = replace(who, cells=[cell(status=Status.UNSUBSCRIBED, status_seq=35)])
    assert fights(quiet, replace(topology(), flaps_max=2), NOW) == []


def test_where_a_provider_has_no_lists_it_is_everything_that_said_no():
    told = [undone(number, OpState.DONE, "rokt") for number in (1, 2, 3)]
    who = person(cell("rokt", status_seq=35), said=SAID_NO | {GLOBAL: Level.UNSUBSCRIBED}, carried_out=told)
    assert [fight.claim.scope for fight in fights(who, topology(), NOW)] == [GLOBAL, NEWS]


def test_in_a_fight_the_next_unsubscribe_waits_until_the_provider_has_settled():
    here = cell(status_seq=35, status_at=NOW - timedelta(seconds=5))
    who = person(here, said=SAID_NO, carried_out=THRICE)
    topo = topology("rocs")
    assert list(suppress(who, topo, ANN, NOW)) == [NOW + timedelta(seconds=SETTLE_S - 5)]
    assert len(list(suppress(who, topo, ANN, NOW + timedelta(seconds=SETTLE_S)))) == 1
    assert [type(item).__name__ for item in suppress(replace(who, carried_out=[]), topo, ANN, NOW)] == ["Desired"]
