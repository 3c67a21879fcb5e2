"""What became of what was sent: only a reading that began after it ended says so, and a contradiction waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level
from syncd.domain.records import NAMELESS, Status
from syncd.reconcile.close import STICKS_MAX, close
from syncd.reconcile.desired import Closing
from syncd.reconcile.person import Operation, OpState
from tests.reconcile.factories import (
    ANN_TAGGED,
    NEWS,
    NOW,
    OFFERS,
    SETTLE_S,
    cell,
    mailing_list,
    operation,
    person,
    topology,
)

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE
NO, YES = Status.UNSUBSCRIBED, Status.SUBSCRIBED
SETTLED = NOW - timedelta(seconds=SETTLE_S)
ENDED = 20
"""The number at which the operations below ended."""


def outcome(op, *cells, said=None, topo=None) -> OpState | datetime | None:
    found = list(close(person(*cells, operations=[op], said=said), topo or topology(), NOW))
    assert len(found) <= 1
    return None if not found else found[0].state if isinstance(found[0], Closing) else found[0]


def sent(kind: ChangeKind, *, ended_at: datetime | None = SETTLED, **more: Any) -> Operation:
    return operation(kind, OpState.ACCEPTED, ended_seq=ENDED, ended_at=ended_at, **more)


@pytest.mark.parametrize("state", [OpState.ACCEPTED, OpState.UNKNOWN])
@pytest.mark.parametrize(
    ("op", "cells", "became"),
    [
        pytest.param(sent(UNSUBSCRIBE), [cell(status=NO, seq=21)], OpState.VERIFIED, id="reads unsubscribed"),
        pytest.param(sent(UNSUBSCRIBE), [cell(status=YES, seq=21)], OpState.REFUTED, id="still reads subscribed"),
        pytest.param(sent(UNSUBSCRIBE), [cell(status=NO, seq=20)], None, id="read before it ended: says nothing"),
        pytest.param(sent(UNSUBSCRIBE), [cell(status=YES, seq=19)], None, id="read long before: says nothing"),
        pytest.param(
            sent(UNSUBSCRIBE), [cell(status=Status.COMPLAINED, seq=21)], OpState.VERIFIED, id="complained since"
        ),
        pytest.param(sent(UNSUBSCRIBE), [cell(status=Status.REMOVED, seq=21)], OpState.VERIFIED, id="gone is as good"),
        pytest.param(
            sent(UNSUBSCRIBE), [cell(status=Status.ABSENT, seq=21)], OpState.VERIFIED, id="never there is as good"
        ),
        pytest.param(
            sent(UNSUBSCRIBE), [cell(status=Status.BOUNCED, seq=21)], OpState.REFUTED, id="bounced is reachable"
        ),
        pytest.param(
            sent(UNSUBSCRIBE),
            [cell(status=YES, seq=10, missing_seq=21, missing_count=1)],
            OpState.VERIFIED,
            id="missing from a whole listing",
        ),
        pytest.param(
            sent(UNSUBSCRIBE),
            [cell(status=YES, seq=10, missing_seq=19, missing_count=1)],
            None,
            id="missing from before",
        ),
        pytest.param(
            sent(UNSUBSCRIBE),
            [cell(status=NO, seq=21, key="a"), cell(status=YES, seq=21, key="b")],
            OpState.REFUTED,
            id="one of two records still stands",
        ),
        pytest.param(
            sent(UNSUBSCRIBE),
            [cell(status=NO, seq=21, key="a"), cell(status=YES, seq=10, key="b")],
            None,
            id="one of two was not read since",
        ),
        pytest.param(
            sent(UNSUBSCRIBE),
            [cell(status=NO, seq=21, key="a"), cell(status=Status.REMOVED, seq=10, key="b")],
            OpState.VERIFIED,
            id="what is left of a record that was gone before says nothing",
        ),
        pytest.param(
            sent(UPDATE, fields={"phone": "2"}),
            [cell(seq=21, fields={"phone": "2"}, key="a"), cell(status=Status.REMOVED, seq=21, key="b")],
            OpState.VERIFIED,
            id="nor does it show what it need not",
        ),
        pytest.param(sent(UNSUBSCRIBE), [cell(status=Status.REMOVED, seq=10)], None, id="gone from before"),
        pytest.param(sent(UNSUBSCRIBE), [], None, id="nothing is known there"),
        pytest.param(
            sent(UNSUBSCRIBE), [cell(status=NO, seq=21, identity=ANN_TAGGED)], None, id="another spelling says nothing"
        ),
        pytest.param(sent(SUBSCRIBE), [cell(status=YES, seq=21)], OpState.VERIFIED, id="reads subscribed"),
        pytest.param(
            sent(SUBSCRIBE), [cell(status=Status.PENDING, seq=21)], OpState.VERIFIED, id="waits for its confirmation"
        ),
        pytest.param(sent(SUBSCRIBE), [cell(status=NO, seq=21)], OpState.VERIFIED, id="is there, and said no since"),
        pytest.param(sent(SUBSCRIBE), [cell(status=Status.ABSENT, seq=21)], OpState.REFUTED, id="asked, and not there"),
        pytest.param(sent(SUBSCRIBE), [cell(status=Status.ABSENT, seq=19)], None, id="asked before"),
        pytest.param(sent(SUBSCRIBE), [cell(status=YES, seq=19)], None, id="a record from before says nothing"),
        pytest.param(
            sent(SUBSCRIBE), [cell(status=Status.REMOVED, seq=21)], None, id="removed since: somebody else's doing"
        ),
        pytest.param(
            sent(UPDATE, fields={"phone": "2"}),
            [cell(seq=21, fields={"phone": "2"})],
            OpState.VERIFIED,
            id="shows the value",
        ),
        pytest.param(
            sent(UPDATE, fields={"phone": "2"}),
            [cell(seq=21, fields={"phone": "1"})],
            OpState.REFUTED,
            id="shows another value",
        ),
        pytest.param(sent(UPDATE, fields={"phone": "2"}), [cell(seq=21)], OpState.REFUTED, id="shows no value"),
        pytest.param(
            sent(UPDATE, fields={"phone": "2"}), [cell(seq=19, fields={"phone": "1"})], None, id="shows what was before"
        ),
        pytest.param(
            sent(UPDATE, fields={"phone": "2"}),
            [cell(seq=10, fields={"phone": "2"}, missing_seq=21, missing_count=1)],
            OpState.REFUTED,
            id="gone is no good",
        ),
        pytest.param(
            sent(UPDATE, fields={"first_name": "Anna Maria", "last_name": "Berg"}),
            [cell(seq=21, fields={"first_name": "Anna", "last_name": "Maria Berg"})],
            OpState.VERIFIED,
            id="a name cut elsewhere is the same name",
        ),
        pytest.param(
            sent(UPDATE, fields={"first_name": "Ann"}),
            [cell(seq=21, fields={"first_name": "Ann", "last_name": "Berg"})],
            OpState.VERIFIED,
            id="half of a name was written",
        ),
        pytest.param(
            sent(UPDATE, fields={"first_name": "Anna"}),
            [cell(seq=21, fields={"first_name": "Ann", "last_name": "Berg"})],
            OpState.REFUTED,
            id="another name",
        ),
    ],
)
def test_what_a_reading_says_of_an_operation(state: OpState, op, cells, became: OpState | None):
    op = operation(op.kind, state, fields=op.fields, ended_seq=op.ended_seq, ended_at=op.ended_at)
    assert outcome(op, *cells, topo=topology(whole={})) == became


@pytest.mark.parametrize(
    ("ended_s_ago", "became"),
    [
        pytest.param(SETTLE_S, OpState.REFUTED, id="it had time to settle"),
        pytest.param(SETTLE_S - 1, NOW + timedelta(seconds=1), id="it had none: looked at again then"),
        pytest.param(0, NOW + timedelta(seconds=SETTLE_S), id="it ended this moment"),
    ],
)
def test_a_contradiction_counts_only_after_the_provider_had_time_to_settle(ended_s_ago: float, became):
    op = sent(UNSUBSCRIBE, ended_at=NOW - timedelta(seconds=ended_s_ago))
    assert outcome(op, cell(status=YES, seq=21)) == became


@pytest.mark.parametrize(
    ("kind", "tries", "became"),
    [
        pytest.param(UPDATE, STICKS_MAX - 2, OpState.REFUTED, id="planned again"),
        pytest.param(UPDATE, STICKS_MAX - 1, OpState.BLOCKED, id="given up"),
        pytest.param(UNSUBSCRIBE, STICKS_MAX * 9, OpState.REFUTED, id="an unsubscribe is never given up"),
    ],
)
def test_a_write_that_does_not_hold_is_given_up_after_some_tries(kind: ChangeKind, tries: int, became: OpState):
    op = sent(kind, fields={} if kind is UNSUBSCRIBE else {"phone": "2"})
    who = person(cell(seq=21), operations=[op], refuted={((op.account, op.container, op.identity), kind): tries})
    assert [item.state for item in close(who, topology(), NOW) if isinstance(item, Closing)] == [became]


def test_a_confirmation_counts_at_once():
    assert outcome(sent(UNSUBSCRIBE, ended_at=NOW), cell(status=NO, seq=21)) is OpState.VERIFIED


def test_an_operation_whose_end_nobody_noted_is_given_the_whole_time():
    op = sent(UNSUBSCRIBE, ended_at=None)
    assert outcome(op, cell(status=YES, seq=21)) == NOW + timedelta(seconds=SETTLE_S)


# Whole listings that had nothing new to say


@pytest.mark.parametrize(
    ("op", "cells", "whole", "became"),
    [
        pytest.param(sent(UNSUBSCRIBE), [cell(status=YES, seq=10)], 21, OpState.REFUTED, id="listed again as it was"),
        pytest.param(sent(UNSUBSCRIBE), [cell(status=YES, seq=10)], 20, None, id="that listing began before"),
        pytest.param(
            sent(UNSUBSCRIBE),
            [cell(status=YES, seq=10, missing_seq=20, missing_count=1)],
            21,
            None,
            id="it is missing, so it was not listed",
        ),
        pytest.param(sent(SUBSCRIBE), [], 21, OpState.REFUTED, id="a whole listing does not show somebody added"),
        pytest.param(sent(SUBSCRIBE), [], 20, None, id="that listing began before the addition"),
    ],
)
def test_a_whole_listing_reads_every_record_it_shows(op, cells, whole: int, became: OpState | None):
    assert outcome(op, *cells, topo=topology(whole={("rocs", "R1"): whole})) == became


# What was not sent yet


@pytest.mark.parametrize(
    ("op", "cells", "said", "became"),
    [
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [],
            {NEWS: Level.UNSUBSCRIBED},
            OpState.SUPERSEDED,
            id="an addition of somebody who said no since",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [],
            {GLOBAL: Level.COMPLAINT},
            OpState.SUPERSEDED,
            id="an addition of somebody who complained since",
        ),
        pytest.param(
            operation(UPDATE, OpState.READY),
            [cell()],
            {NEWS: Level.UNSUBSCRIBED},
            OpState.SUPERSEDED,
            id="a correction of somebody who said no since",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [cell()],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="an unsubscribe always goes out",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [cell()],
            {},
            None,
            id="even if nothing asks for it any more",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY, keys=("a", "b")),
            [cell(status=NO, key="a"), cell(status=Status.REMOVED, key="b")],
            {NEWS: Level.UNSUBSCRIBED},
            OpState.SUPERSEDED,
            id="unless all its records are gone, or read as asked",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY, keys=("b",)),
            [cell(status=Status.BOUNCED, key="a"), cell(status=Status.REMOVED, key="b")],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="not while one can be mailed, were it another",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [cell(missing_seq=11, missing_count=1)],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="not as soon as one is missing",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [cell(status=NO, unread=frozenset({NAMELESS}))],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="nor where it cannot be read whose one is",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY, keys=("a", "b")),
            [cell(status=NO, key="a"), cell(status=Status.REMOVED, key="b as ann")],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="nor where one goes by another address by now",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="nor where nothing is known of any",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY, "rokt"),
            [cell("rokt", status=NO)],
            {NEWS: Level.UNSUBSCRIBED},
            None,
            id="nor where nothing can be read",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [cell()],
            {NEWS: ConsentState(1, Level.SUBSCRIBED)},
            OpState.SUPERSEDED,
            id="unless the person themselves said yes since",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY),
            [cell()],
            {NEWS: ConsentState(1, Level.SUBSCRIBED), GLOBAL: Level.UNSUBSCRIBED},
            None,
            id="which ends no no to everything",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY, "rokt"),
            [],
            {NEWS: ConsentState(1, Level.SUBSCRIBED)},
            OpState.SUPERSEDED,
            id="nor is a provider without lists told of it then",
        ),
        pytest.param(
            operation(UNSUBSCRIBE, OpState.READY, "rokt"),
            [],
            {GLOBAL: ConsentState(1, Level.SUBSCRIBED), NEWS: Level.UNSUBSCRIBED},
            None,
            id="but it is of the no that is left",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [cell("salesrocks")],
            {OFFERS: Level.UNSUBSCRIBED},
            None,
            id="a no to another list",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [cell()],
            {},
            OpState.SUPERSEDED,
            id="an addition of somebody who is there by now",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [cell(status=Status.REMOVED)],
            {},
            OpState.SUPERSEDED,
            id="an addition of somebody who was there",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [cell(status=Status.ABSENT), cell("salesrocks")],
            {},
            None,
            id="an addition of somebody who never was there",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [cell("salesrocks", Status.REMOVED)],
            {},
            OpState.SUPERSEDED,
            id="an addition of somebody who is on the list nowhere any more",
        ),
        pytest.param(
            operation(SUBSCRIBE, OpState.READY),
            [cell("salesrocks", container="S2")],
            {},
            OpState.SUPERSEDED,
            id="an addition of somebody who came in where no list of ours lives any more",
        ),
        pytest.param(operation(UPDATE, OpState.READY), [cell()], {}, None, id="a correction that is still wanted"),
        pytest.param(
            operation(UPDATE, OpState.READY, fields={"phone": "1"}),
            [cell(unread=frozenset({"phone"}))],
            {},
            OpState.SUPERSEDED,
            id="a correction of what cannot be read by now",
        ),
        pytest.param(
            operation(UPDATE, OpState.READY, fields={"phone": "1"}),
            [cell(unread=frozenset({"country"}))],
            {},
            None,
            id="a correction beside what cannot be read",
        ),
        pytest.param(
            operation(UPDATE, OpState.READY, fields={"phone": "1"}),
            [cell(unread=frozenset({NAMELESS}))],
            {},
            OpState.SUPERSEDED,
            id="a correction of a record that may be another's by now",
        ),
    ],
)
def test_what_is_still_wanted(op, cells, said, became: OpState | None):
    assert outcome(op, *cells, said=said) == became


def test_an_addition_to_a_whole_account_that_is_a_list_of_ours_is_not_wanted_after_a_no_to_that_list():
    topo = topology(lists=[mailing_list("news", rocs=("*",), salesrocks=("S1",))])
    op = operation(SUBSCRIBE, OpState.READY, container="*")
    assert outcome(op, cell("salesrocks"), said={NEWS: Level.UNSUBSCRIBED}, topo=topo) is OpState.SUPERSEDED
    assert outcome(op, cell("salesrocks"), said={OFFERS: Level.UNSUBSCRIBED}, topo=topo) is None


def test_an_operation_under_way_is_left_alone():
    op = operation(SUBSCRIBE, OpState.INFLIGHT)
    assert outcome(op, cell(status=NO, seq=99), said={GLOBAL: Level.COMPLAINT}) is None


@pytest.mark.parametrize(
    ("state", "became"),
    [(OpState.UNKNOWN, OpState.PARKED), (OpState.ACCEPTED, OpState.REFUTED)],
    ids=["no answer", "accepted"],
)
def test_a_change_of_address_that_nobody_answered_for_is_not_asked_again(state, became):
    op = replace(sent(SUBSCRIBE, replaces="olga@example.org"), state=state)
    assert outcome(op, cell(status=Status.ABSENT, seq=21)) is became
