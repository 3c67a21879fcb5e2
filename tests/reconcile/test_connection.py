"""Where nobody can be read and new subscribers are delivered: what is known there is only what was accepted from us."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level
from syncd.domain.facts import Capabilities, Facts, Grade
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.close import lost
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.learn import OWN_ANSWER, learn
from syncd.reconcile.person import Account, MailingList, OpState, Person, Topology
from tests.reconcile.factories import NEWS, NOW, OFFERS, SETTLE_S, cell, mailing_list, operation, person, topology

SUBSCRIBE, UNSUBSCRIBE = ChangeKind.SUBSCRIBE, ChangeKind.UNSUBSCRIBE
NO = Level.UNSUBSCRIBED


def there(*, tells: bool = True, deduplicates: bool = False, joined: bool = True) -> Account:
    able = Capabilities(
        facts=Facts(failure_adds_nobody=True, deduplicates=deduplicates),
        accepts=frozenset({SUBSCRIBE, UNSUBSCRIBE} if tells else {SUBSCRIBE}),
        snapshot=False, feed=False, lookup=False, report=False, notify=False,
    )  # fmt: skip
    return Account("http", "http", able, SETTLE_S, joined=joined)


def connected(*lists: MailingList, **given: Any) -> Topology:
    linked = lists or (mailing_list("news", rocs=("R1",), http=("*",)),)
    return topology("rocs", accounts=(there(**given),), lists=linked)


def given_to(status: Status = Status.SUBSCRIBED, grade: Grade = Grade.ACCEPTED, container: str = "*") -> Any:
    return cell("http", status, container, route=OWN_ANSWER, grade=grade)


LOST = given_to(Status.UNKNOWN, Grade.UNKNOWN)


def sent(decision: Decision) -> list[tuple[str, str, str]]:
    return [(w.account, w.change.container, w.change.kind.value) for w in decision.desired if w.account == "http"]


def decided(who: Person, topo: Topology) -> list[tuple[str, str, str]]:
    return sent(decide(who, topo, NOW))


DELIVERED, TOLD = [("http", "*", "subscribe")], [("http", "*", "unsubscribe")]


def test_a_connection_is_where_subscribers_go_and_nobody_is_read():
    accounts = {**topology().accounts, "http": there()}
    assert [name for name, entry in accounts.items() if entry.capabilities.connection] == ["http"]
    assert sorted(name for name, entry in accounts.items() if not entry.capabilities.readable) == ["http", "rokt"]


def test_everybody_is_new_who_was_never_sent_there():
    assert decided(person(cell()), connected()) == DELIVERED
    assert decided(person(cell(), given_to()), connected()) == []
    assert decided(person(cell(), given_to(Status.UNSUBSCRIBED)), connected()) == []


def test_somebody_with_whom_nothing_was_agreed_yet_is_delivered_after_first_contact():
    (wish,) = [w for w in decide(person(cell()), connected(joined=False), NOW).desired if w.account == "http"]
    assert wish.first_contact


def test_nobody_is_delivered_of_a_list_that_was_unlinked_and_a_no_still_arrives():
    since, place = given_to().status_at, ("http", ContainerId("*"))
    for until, told in ((since, TOLD), (since - timedelta(seconds=1), [])):
        topo = connected(replace(mailing_list("news", rocs=("R1",)), ended={place: until}))
        assert decided(person(cell()), topo) == []
        assert decided(person(given_to(), said={NEWS: NO}), topo) == told


def test_what_was_delivered_makes_nobody_join_elsewhere():
    assert decide(person(given_to()), connected(), NOW).desired == ()


def test_a_no_to_one_of_several_lists_in_one_place_keeps_everybody_out_of_it():
    lists = mailing_list("news", rocs=("R1",), http=("*",)), mailing_list("offers", rocs=("R2",), http=("*",))
    assert decided(person(cell(), said={OFFERS: NO}), connected(*lists)) == []
    apart = mailing_list("news", rocs=("R1",), http=("N",)), mailing_list("offers", rocs=("R2",), http=("O",))
    assert decided(person(cell(), said={OFFERS: NO}), connected(*apart)) == [("http", "N", "subscribe")]


@given(
    scope=st.sampled_from([NEWS, GLOBAL]),
    level=st.sampled_from([Level.UNSUBSCRIBED, Level.COMPLAINT, Level.ERASED]),
    status=st.sampled_from(list(Status)),
    here=st.sampled_from([(), (LOST,), (given_to(),), (given_to(Status.UNSUBSCRIBED),)]),
    again=st.booleans(),
)
def test_nobody_who_said_no_is_ever_delivered(scope: Any, level: Level, status: Status, here: Any, again: bool):
    who = person(cell("rocs", status), *here, said={scope: level})
    assert not [wish for wish in decided(who, connected(deduplicates=again)) if wish[2] != "unsubscribe"]


def test_who_was_never_delivered_is_not_told_of_either():
    assert decided(person(cell(), said={GLOBAL: NO}), connected()) == []


def test_where_a_no_cannot_be_told_it_is_by_hand():
    decision = decide(person(given_to(), said={NEWS: NO}), connected(tells=False), NOW)
    assert sent(decision) == []
    assert decision.by_hand == (
        "unsubscribe at http, whose interface cannot: somebody who said no is still reachable here",
    )


def test_a_no_that_is_only_assumed_to_be_known_there_is_told_again():
    told = given_to(Status.UNSUBSCRIBED, Grade.ACCEPTED)
    assert decided(person(told, said={NEWS: NO}), connected()) == []
    assert decided(person(replace(told, grade=Grade.ASSUMED), said={NEWS: NO}), connected()) == TOLD
    at_rocs = cell("rocs", Status.UNSUBSCRIBED, grade=Grade.ASSUMED)
    assert decide(person(at_rocs, said={NEWS: NO}), connected(), NOW).desired == (), "that one can be read"


def test_what_we_wrote_there_is_no_news():
    assert learn(person(given_to(Status.UNSUBSCRIBED)), connected(), NOW, 1) == []


# A lost answer -------------------------------------------------------------------------------------------------------


def unanswered(kind: ChangeKind = SUBSCRIBE, **more: Any) -> Any:
    return operation(kind, OpState.UNKNOWN, "http", "*", ended_seq=20, ended_at=NOW, **more)


def test_a_delivery_nobody_answered_is_parked_with_what_to_do_next():
    decision = decide(person(cell(), operations=[unanswered(reason="no whole answer")]), connected(), NOW)
    (closing,) = decision.closings
    assert (closing.state, lost(closing)) == (OpState.PARKED, True)
    assert closing.reason.startswith("no whole answer; it may have arrived")
    assert "syncd parked retry" in closing.reason
    assert sent(decision) == [], "not in the same breath"
    assert decision.again_at == NOW, "and whoever said no meanwhile is decided about with what it may have left there"


def test_a_delivery_nobody_answered_is_sent_again_where_the_receiver_notices():
    decision = decide(person(cell(), operations=[unanswered()]), connected(deduplicates=True), NOW)
    (closing,) = decision.closings
    assert (closing.state, lost(closing), decision.again_at) == (OpState.REFUTED, True, NOW)
    assert decided(person(cell(), LOST), connected(deduplicates=True)) == DELIVERED


def test_a_no_nobody_answered_is_told_again_at_once():
    who = person(given_to(), operations=[unanswered(UNSUBSCRIBE)], said={NEWS: NO})
    decision = decide(who, connected(), NOW)
    (closing,) = decision.closings
    assert (closing.state, lost(closing)) == (OpState.REFUTED, False)
    assert sent(decision) == TOLD


def test_who_may_have_arrived_is_not_delivered_again_and_is_told_of():
    assert decided(person(cell(), LOST), connected()) == []
    assert decided(person(LOST, said={NEWS: NO}), connected()) == TOLD


@pytest.mark.parametrize(("here", "goes_on"), [((), True), ((LOST,), True), ((given_to(),), False)])
def test_what_waits_to_be_sent_again_waits_on_unless_they_are_there(here: Any, goes_on: bool):
    waiting = operation(SUBSCRIBE, OpState.READY, "http", "*")
    decision = decide(person(cell(), *here, operations=[waiting]), connected(deduplicates=True), NOW)
    assert [closing.state for closing in decision.closings] == ([] if goes_on else [OpState.SUPERSEDED])
