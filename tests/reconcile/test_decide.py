"""One decision per person: at most one change for a cell, unsubscribes first, nothing that is under way already."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.close import STICKS_MAX
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.desired import LookUp
from syncd.reconcile.person import OpState
from tests.reconcile.factories import (
    ANN,
    ANN_TAGGED,
    NEWS,
    NOW,
    SETTLE_S,
    account,
    cell,
    mailing_list,
    operation,
    person,
    topology,
)

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE
TWO = topology("rocs", "salesrocks")
SAID_NO = {NEWS: Level.UNSUBSCRIBED}
R1 = ("rocs", ContainerId("R1"), ANN)
S1 = ("salesrocks", ContainerId("S1"), ANN)


def kinds(decision: Decision) -> list[str]:
    return [f"{w.change.kind} {w.account}/{w.change.container}" for w in decision.desired]


def test_about_somebody_of_whom_nothing_is_known_nothing_is_decided():
    assert decide(person(), topology(), NOW) == Decision()


def test_fields_are_merged_for_each_identity_apart():
    who = person(
        cell(fields={"first_name": "Ann"}),
        cell(identity=ANN_TAGGED, fields={"first_name": "Anni"}),
        fields={ANN: {"phone": "1"}},
    )
    assert decide(who, TWO, NOW).fields == {
        ANN: {"first_name": "Ann", "phone": "1"},
        ANN_TAGGED: {"first_name": "Anni"},
    }


def test_the_order_of_the_accounts_decides_whose_value_prevails():
    who = person(
        cell(fields={"first_name": "Anna"}, base={"first_name": "Ann"}),
        cell("salesrocks", fields={"first_name": "Anni"}, base={"first_name": "Ann"}),
        fields={ANN: {"first_name": "Ann"}},
    )
    decision = decide(who, TWO, NOW)
    assert decision.fields[ANN] == {"first_name": "Anna"}
    assert kinds(decision) == ["update salesrocks/S1"]


def test_a_no_replaces_whatever_else_is_wanted():
    seen = [
        cell(fields={"phone": "2"}, base={"phone": "1"}),
        cell("salesrocks", fields={"phone": "1"}, base={"phone": "1"}),
    ]
    who = person(*seen, fields={ANN: {"phone": "1"}})
    assert kinds(decide(who, TWO, NOW)) == ["update salesrocks/S1"]
    said = person(*seen, fields={ANN: {"phone": "1"}}, said=SAID_NO)
    assert kinds(decide(said, TWO, NOW)) == ["unsubscribe rocs/R1", "unsubscribe salesrocks/S1"]


# What is under way


@pytest.mark.parametrize(
    ("kind", "state", "fields", "sent"),
    [
        pytest.param(UNSUBSCRIBE, OpState.READY, {}, [], id="the same, unsent"),
        pytest.param(UNSUBSCRIBE, OpState.INFLIGHT, {}, [], id="the same, under way"),
        pytest.param(UNSUBSCRIBE, OpState.ACCEPTED, {}, [], id="the same, accepted"),
        pytest.param(UNSUBSCRIBE, OpState.UNKNOWN, {}, [], id="the same, in doubt"),
        pytest.param(UPDATE, OpState.READY, {"phone": "1"}, ["unsubscribe rocs/R1"], id="another, unsent: replaced"),
        pytest.param(UPDATE, OpState.INFLIGHT, {"phone": "1"}, [], id="another, under way: keeps its cell"),
        pytest.param(UPDATE, OpState.ACCEPTED, {"phone": "1"}, [], id="another, accepted: keeps its cell"),
    ],
)
def test_one_operation_for_a_cell(kind: ChangeKind, state: OpState, fields, sent: list[str]):
    op = operation(kind, state, fields=fields, ended_seq=50, ended_at=NOW)
    assert kinds(decide(person(cell(), said=SAID_NO, operations=[op]), topology("rocs"), NOW)) == sent


@pytest.mark.parametrize(("held", "sent"), [("1", ["update rocs/R1"]), ("2", [])])
def test_a_newer_value_replaces_an_unsent_one(held: str, sent: list[str]):
    op = operation(UPDATE, OpState.READY, fields={"phone": held})
    who = person(cell(fields={"phone": "0"}), fields={ANN: {"phone": "2"}}, operations=[op])
    assert kinds(decide(who, topology("rocs"), NOW)) == sent


@pytest.mark.parametrize(
    ("keys", "state", "sent"),
    [
        pytest.param(("a", "c", "m"), OpState.READY, [], id="all that stands: it keeps its place"),
        pytest.param(("a", "m"), OpState.READY, [("a", "c", "m")], id="another record stands by now"),
        pytest.param(("a", "b", "c", "m"), OpState.READY, [("a", "c", "m")], id="one of its records is gone"),
        pytest.param(("a", "c", "d", "m"), OpState.READY, [], id="one reads as asked, and it does no harm there"),
        pytest.param(("b",), OpState.UNKNOWN, [], id="in doubt: it keeps its cell"),
        pytest.param((), OpState.READY, [], id="it names none: it is for whatever stands there"),
    ],
)
def test_an_unsubscribe_is_for_the_records_that_stand_there_and_for_those_that_moved(keys, state, sent):
    seen = [
        cell(key="a"), cell(key="b", status=Status.REMOVED), cell(key="c"), cell(key="d", status=Status.UNSUBSCRIBED),
        cell(key="m as ann", status=Status.REMOVED),
    ]  # fmt: skip
    op = operation(UNSUBSCRIBE, state, keys=keys, ended_seq=50, ended_at=NOW)
    decision = decide(person(*seen, said=SAID_NO, operations=[op]), topology("rocs"), NOW)
    assert [wish.change.keys for wish in decision.desired] == sent


def test_what_became_of_an_operation_frees_its_cell():
    op = operation(UNSUBSCRIBE, OpState.ACCEPTED, ended_seq=5, ended_at=NOW - timedelta(seconds=SETTLE_S))
    decision = decide(person(cell(), said=SAID_NO, operations=[op]), topology("rocs"), NOW)
    assert [closing.state for closing in decision.closings] == [OpState.REFUTED]
    assert kinds(decision) == ["unsubscribe rocs/R1"]


def test_after_an_operation_held_its_cell_is_looked_at_again_before_anything_else_is_sent_there():
    op = operation(UPDATE, OpState.ACCEPTED, fields={"phone": "1"}, ended_seq=5, ended_at=NOW)
    who = person(cell(fields={"phone": "1"}), said=SAID_NO, operations=[op])
    decision = decide(who, topology("rocs"), NOW)
    assert [closing.state for closing in decision.closings] == [OpState.VERIFIED]
    assert (decision.desired, decision.again_at) == ((), NOW)


def test_a_contradiction_that_may_only_lag_is_looked_at_again():
    op = operation(UNSUBSCRIBE, OpState.ACCEPTED, ended_seq=5, ended_at=NOW)
    decision = decide(person(cell(), said=SAID_NO, operations=[op]), topology("rocs"), NOW)
    assert (decision.desired, decision.closings) == ((), ())
    assert decision.again_at == NOW + timedelta(seconds=SETTLE_S)


def test_the_earliest_of_several_times_is_when_to_look_again():
    ops = [
        operation(UNSUBSCRIBE, OpState.ACCEPTED, ended_seq=5, ended_at=NOW, number=1),
        operation(
            UNSUBSCRIBE, OpState.ACCEPTED, "salesrocks", ended_seq=5, ended_at=NOW - timedelta(seconds=9), number=2
        ),
    ]
    decision = decide(person(cell(), cell("salesrocks"), said=SAID_NO, operations=ops), TWO, NOW)
    assert decision.again_at == NOW + timedelta(seconds=SETTLE_S - 9)


# What no interface can do, what does not stick, what was refused


def test_what_no_interface_can_do_is_said():
    topo = topology("rocs", accounts=[account("rocs", accepts=set())])
    decision = decide(person(cell(), said=SAID_NO), topo, NOW)
    assert decision.desired == ()
    (line,) = decision.by_hand
    assert line.startswith("unsubscribe at rocs")
    assert "@" not in line, "it is logged"


@pytest.mark.parametrize(
    ("kind", "tries", "sent"),
    [
        pytest.param(UPDATE, STICKS_MAX - 1, True, id="tried again"),
        pytest.param(UPDATE, STICKS_MAX, False, id="given up"),
        pytest.param(UNSUBSCRIBE, STICKS_MAX * 9, True, id="an unsubscribe is never given up"),
    ],
)
def test_a_write_that_does_not_stick_is_given_up(kind: ChangeKind, tries: int, sent: bool):
    said = SAID_NO if kind is UNSUBSCRIBE else {}
    who = person(cell(fields={"phone": "0"}), fields={ANN: {"phone": "1"}}, said=said, refuted={(R1, kind): tries})
    decision = decide(who, topology("rocs"), NOW)
    assert bool(decision.desired) is sent
    assert bool(decision.by_hand) is not sent


@pytest.mark.parametrize(
    ("kind", "parked", "sent"),
    [
        pytest.param(UPDATE, {"phone": "1"}, False, id="refused as it is"),
        pytest.param(UPDATE, {"phone": "2"}, True, id="another value was refused"),
        pytest.param(UNSUBSCRIBE, {}, True, id="an unsubscribe never ends among the parked"),
    ],
)
def test_what_was_refused_for_good_is_not_sent_again(kind: ChangeKind, parked, sent: bool):
    said = SAID_NO if kind is UNSUBSCRIBE else {}
    who = person(cell(fields={"phone": "0"}), fields={ANN: {"phone": "1"}}, said=said, parked={(R1, kind): parked})
    decision = decide(who, topology("rocs"), NOW)
    assert bool(decision.desired) is sent
    assert decision.by_hand == ()


def test_what_was_refused_at_one_place_is_sent_at_another():
    who = person(
        cell(fields={"phone": "0"}),
        cell("salesrocks", fields={"phone": "0"}),
        fields={ANN: {"phone": "1"}},
        parked={(S1, UPDATE): {"phone": "1"}},
    )
    assert kinds(decide(who, TWO, NOW)) == ["update rocs/R1"]


# Questions


@pytest.mark.parametrize(
    ("missing", "status", "asked"),
    [
        pytest.param(0, Status.SUBSCRIBED, False, id="listed"),
        pytest.param(1, Status.SUBSCRIBED, False, id="missing once"),
        pytest.param(2, Status.SUBSCRIBED, True, id="missing twice"),
        pytest.param(3, Status.UNSUBSCRIBED, True, id="missing three times, having said no"),
        pytest.param(2, Status.REMOVED, False, id="gone already"),
        pytest.param(2, Status.ABSENT, False, id="never was there"),
    ],
)
def test_whoever_is_missing_from_two_whole_listings_is_asked_about(missing: int, status: Status, asked: bool):
    who = person(cell(status=status, missing_count=missing, missing_seq=9 if missing else 0))
    assert bool(decide(who, topology("rocs"), NOW).look_ups) is asked


@pytest.mark.parametrize(
    ("where", "state", "cells", "address"),
    [
        pytest.param("rocs", OpState.UNKNOWN, [cell()], "Ann@Example.Org", id="in the provider's spelling"),
        pytest.param("rocs", OpState.UNKNOWN, [], "ann@example.org", id="by identity where it is not known there"),
        pytest.param("rocs", OpState.ACCEPTED, [cell()], None, id="accepted: read back in its time"),
        pytest.param("rocs", OpState.READY, [cell()], None, id="not sent yet"),
        pytest.param("rokt", OpState.UNKNOWN, [], None, id="a provider that cannot be asked"),
    ],
)
def test_a_call_of_which_nobody_knows_what_became_is_asked_after(
    where: str, state: OpState, cells, address: str | None
):
    op = operation(UPDATE, state, where, ended_seq=50, ended_at=NOW, fields={"phone": "1"})
    found = decide(person(*cells, operations=[op]), topology("rocs", "rokt"), NOW).look_ups
    assert [look.address for look in found] == ([] if address is None else [address])


def test_a_call_that_was_read_back_is_not_asked_after():
    op = operation(UPDATE, OpState.UNKNOWN, ended_seq=5, ended_at=NOW, fields={"phone": "1"})
    decision = decide(person(cell(fields={"phone": "1"}), operations=[op]), topology("rocs"), NOW)
    assert [closing.state for closing in decision.closings] == [OpState.VERIFIED]
    assert decision.look_ups == ()


def test_nobody_is_asked_about_twice_for_the_same_reason():
    missing = [cell(key=key, missing_count=2, missing_seq=9, address="ann@example.org") for key in "ab"]
    look_ups = decide(person(*missing), topology("rocs"), NOW).look_ups
    assert look_ups == (LookUp("rocs", ContainerId("R1"), ANN, "ann@example.org", "gone from two whole listings"),)


def test_two_lists_that_share_a_container_send_one_change():
    topo = topology("rocs", "salesrocks", lists=[mailing_list("x", rocs=("R1",), salesrocks=("S1",))])
    assert kinds(decide(person(cell(said_no_seq=0)), topo, NOW)) == ["subscribe salesrocks/S1"]
    said = person(cell(), said={GLOBAL: Level.UNSUBSCRIBED})
    assert kinds(decide(said, topo, NOW)) == ["unsubscribe rocs/R1"]
