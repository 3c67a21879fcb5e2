"""What was seen, read as consent: every "no" counts at once, nothing else counts at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.learn import OWN_ANSWER, claims, learn, taught
from syncd.reconcile.person import No, OpState
from tests.reconcile.factories import (
    ANN,
    ANN_TAGGED,
    KEY,
    LONG_AGO,
    NEWS,
    NOW,
    OFFERS,
    SETTLE_S,
    account,
    cell,
    operation,
    person,
    topology,
)

NO = Status.UNSUBSCRIBED


@pytest.mark.parametrize(
    ("seen", "scope", "level"),
    [
        pytest.param(cell(status=NO), NEWS, Level.UNSUBSCRIBED, id="unsubscribed from a list"),
        pytest.param(cell(status=NO, container="*"), GLOBAL, Level.UNSUBSCRIBED, id="the customer wants no e-mail"),
        pytest.param(cell("rokt", NO), GLOBAL, Level.UNSUBSCRIBED, id="Rokt knows no lists"),
        pytest.param(cell("rokt", NO, "lead-7"), GLOBAL, Level.UNSUBSCRIBED, id="whatever the container at Rokt"),
        pytest.param(cell(status=Status.COMPLAINED), GLOBAL, Level.COMPLAINT, id="a complaint ends everything"),
        pytest.param(
            cell(status=NO, container="R9"), Scope("rocs/R9"), Level.UNSUBSCRIBED, id="a list that is not ours"
        ),
        pytest.param(
            cell(status=NO, missing_count=2, missing_seq=20), NEWS, Level.UNSUBSCRIBED, id="said no, then went missing"
        ),
    ],
)
def test_a_no_is_learnt(seen, scope: Scope, level: Level):
    (event,) = learn(person(seen), topology(), NOW, 77)
    assert (event.scope, event.level, event.epoch, event.seq, event.at) == (scope, level, 0, 77, NOW)
    assert (event.key, event.identity, event.source, event.route) == (KEY, seen.identity, seen.account, seen.route)
    assert event.container == seen.container
    assert not event.inferred


@pytest.mark.parametrize("status", sorted(set(Status) - {NO, Status.COMPLAINED}))
@pytest.mark.parametrize("where", ["rocs", "salesrocks", "rocketresponder", "rokt"])
def test_nothing_but_a_no_is_a_consent_event(status: Status, where: str):
    assert learn(person(cell(where, status, missing_count=2, missing_seq=99)), topology(), NOW, 77) == []


@pytest.mark.parametrize(
    ("status", "container", "learnt"),
    [
        pytest.param(Status.REMOVED, "S1", True, id="removed from a list of ours"),
        pytest.param(Status.REMOVED, "S9", False, id="removed from a list that is not ours"),
        pytest.param(Status.ABSENT, "S1", False, id="never was there"),
        pytest.param(Status.BOUNCED, "S1", False, id="there, and bounces"),
    ],
)
def test_where_the_configuration_says_so_whoever_vanished_has_opted_out(status: Status, container: str, learnt: bool):
    topo = topology(accounts=[account("salesrocks", absence_is_unsubscribe=True)])
    events = learn(person(cell("salesrocks", status, container)), topo, NOW, 77)
    assert [(event.scope, event.level, event.inferred) for event in events] == (
        [(NEWS, Level.UNSUBSCRIBED, True)] if learnt else []
    )


@pytest.mark.parametrize(
    ("known", "status_seq", "learnt"),
    [
        pytest.param(ConsentState(0, Level.SUBSCRIBED, 50), 10, True, id="first epoch: a number says nothing"),
        pytest.param(ConsentState(0, Level.UNSUBSCRIBED, 0), 10, False, id="known already"),
        pytest.param(ConsentState(0, Level.COMPLAINT, 0), 10, False, id="more is known already"),
        pytest.param(ConsentState(1, Level.SUBSCRIBED, 50), 10, False, id="from before the person said yes again"),
        pytest.param(ConsentState(1, Level.SUBSCRIBED, 50), 50, False, id="the very reading of that moment"),
        pytest.param(ConsentState(1, Level.SUBSCRIBED, 50), 51, True, id="after the person said yes again"),
        pytest.param(ConsentState(1, Level.UNSUBSCRIBED, 50), 51, False, id="said no once more, known already"),
    ],
)
def test_only_news_are_learnt(known: ConsentState, status_seq: int, learnt: bool):
    events = learn(person(cell(status=NO, status_seq=status_seq), said={NEWS: known}), topology(), NOW, 77)
    assert [(event.epoch, event.level) for event in events] == ([(known.epoch, Level.UNSUBSCRIBED)] if learnt else [])


def test_several_records_of_one_no_are_one_event():
    seen = [cell(status=NO, key="a"), cell(status=NO, key="b"), cell("salesrocks", NO), cell("rocketresponder", NO)]
    assert [event.scope for event in learn(person(*seen), topology(), NOW, 77)] == [NEWS]


def test_a_complaint_after_a_no_is_news_of_its_own():
    events = learn(person(cell("rokt", NO), cell(status=Status.COMPLAINED)), topology(), NOW, 77)
    assert [(event.scope, event.level) for event in events] == [
        (GLOBAL, Level.UNSUBSCRIBED),
        (GLOBAL, Level.COMPLAINT),
    ]


def test_a_no_of_one_spelling_is_a_no_of_the_mailbox():
    (event,) = learn(person(cell(status=NO, identity=ANN_TAGGED), cell()), topology(), NOW, 77)
    assert (event.key, event.identity) == (KEY, ANN_TAGGED)


@given(st.lists(st.sampled_from(list(Status)), min_size=1, max_size=5), st.randoms())
def test_learning_twice_adds_nothing(statuses: list[Status], chance):
    places = [("rocs", "R1"), ("rocs", "*"), ("salesrocks", "S1"), ("rocketresponder", "L2"), ("rokt", "*")]
    seen = [cell(where, status, container) for (where, container), status in zip(places, statuses, strict=False)]
    events = learn(person(*seen), topology(), NOW, 77)
    chance.shuffle(events)
    state: dict[Scope, ConsentState] = {}
    for event in events:
        known = state.get(event.scope, ConsentState())
        state[event.scope] = known.join(ConsentState(event.epoch, event.level))
    assert learn(person(*seen, said=state), topology(), NOW, 78) == []


R1_OF_ANN = ("rocs", ContainerId("R1"), ANN)


@pytest.mark.parametrize(
    ("rests_on", "learnt"),
    [
        pytest.param({}, False, id="somebody's word: nothing new"),
        pytest.param({"inferred_scopes": frozenset({NEWS})}, True, id="a conclusion: this is somebody's word"),
        pytest.param({"mass_scopes": frozenset({NEWS})}, True, id="a mass flip: this is somebody's word"),
        pytest.param({"inferred_scopes": frozenset({OFFERS})}, False, id="a conclusion about another scope"),
        pytest.param(
            {"inferred_scopes": frozenset({NEWS}), "noes_written": frozenset({R1_OF_ANN})}, False, id="our own echo"
        ),
        pytest.param(
            {"mass_scopes": frozenset({NEWS}), "mass_sources": frozenset({(NEWS, "rocs", "R1")})},
            False,
            id="the listing that flipped, once more",
        ),
        pytest.param(
            {"mass_scopes": frozenset({NEWS}), "mass_sources": frozenset({(NEWS, "salesrocks", "S1")})},
            True,
            id="a listing other than the one that flipped",
        ),
    ],
)
def test_somebody_s_own_word_is_news_where_only_less_stood_for_it(rests_on, learnt: bool):
    who = person(cell(status=NO), said={NEWS: Level.UNSUBSCRIBED}, **rests_on)
    assert [event.scope for event in learn(who, topology(), NOW, 77)] == ([NEWS] if learnt else [])


@pytest.mark.parametrize(
    ("overall", "ours", "learnt"),
    [
        pytest.param(ConsentState(0, Level.UNSUBSCRIBED), True, False, id="our echo of a no to everything"),
        pytest.param(ConsentState(0, Level.COMPLAINT), True, False, id="our echo of a complaint"),
        pytest.param(
            ConsentState(0, Level.UNSUBSCRIBED), False, True, id="a word of its own, kept beside the larger no"
        ),
        pytest.param(ConsentState(1, Level.SUBSCRIBED), True, True, id="no such no stands"),
    ],
)
def test_a_no_to_a_list_is_kept_beside_a_no_to_everything_unless_we_wrote_it(
    overall: ConsentState, ours: bool, learnt: bool
):
    here = cell(status=NO)
    written = frozenset({(here.account, here.container, here.identity)} if ours else ())
    who = person(here, said={GLOBAL: overall}, noes_written=written)
    assert bool(learn(who, topology(), NOW, 77)) is learnt


def test_what_a_provider_accepted_from_us_is_no_news():
    assert learn(person(cell("rokt", NO, route=OWN_ANSWER)), topology(), NOW, 77) == []


# Claims


def reverted(**more):
    """Stood unsubscribed at 5, was seen subscribed at 10, and again at 12."""
    return cell(**({"said_no_seq": 5, "status_seq": 10, "seq": 12} | more))


@pytest.mark.parametrize(
    ("seen", "claimed"),
    [
        pytest.param(reverted(), True, id="said no, and reads subscribed twice"),
        pytest.param(reverted(said_no_seq=0), False, id="never stood unsubscribed: merely stale"),
        pytest.param(reverted(said_no_seq=10), True, id="left and came back between two readings"),
        pytest.param(reverted(said_no_seq=11), False, id="its no is newer than its status"),
        pytest.param(reverted(seq=10), False, id="seen once: may be a replica that lags"),
        pytest.param(reverted(status_at=NOW - timedelta(seconds=SETTLE_S - 1)), False, id="turned a moment ago"),
        pytest.param(reverted(status_at=NOW - timedelta(seconds=SETTLE_S)), True, id="turned as long ago as it takes"),
        pytest.param(reverted(status=Status.PENDING), False, id="pending is no claim"),
        pytest.param(reverted(container="R2"), False, id="another list, to which nobody said no"),
    ],
)
def test_a_claim_is_a_no_that_reads_yes_again_and_was_seen_twice(seen, claimed: bool):
    found = claims(person(seen, said={NEWS: Level.UNSUBSCRIBED}), topology(), NOW)
    assert [(claim.cell, claim.scope) for claim in found] == ([(seen, NEWS)] if claimed else [])


LEAD = cell("rokt", status_seq=30, seq=30, route="delivery")


@pytest.mark.parametrize(
    ("noes", "said", "claimed"),
    [
        pytest.param([No(GLOBAL, 20)], {GLOBAL: Level.UNSUBSCRIBED}, [GLOBAL], id="named after the no was known"),
        pytest.param([No(NEWS, 20)], {NEWS: Level.UNSUBSCRIBED}, [NEWS], id="a no to a list that lives there"),
        pytest.param([No(GLOBAL, 40)], {GLOBAL: Level.UNSUBSCRIBED}, [], id="named before"),
        pytest.param([No(OFFERS, 20)], {OFFERS: Level.UNSUBSCRIBED}, [], id="a no to another list"),
        pytest.param(
            [No(NEWS, 5), No(NEWS, 40, 1)],
            {NEWS: ConsentState(1, Level.UNSUBSCRIBED, 30)},
            [],
            id="before they left anew",
        ),
        pytest.param([No(NEWS, 5)], {NEWS: ConsentState(1, Level.SUBSCRIBED, 20)}, [], id="said yes since"),
    ],
)
def test_a_lead_of_somebody_of_whose_no_we_knew_is_a_claim_at_once(noes, said, claimed):
    found = claims(person(LEAD, said=said, noes=noes), topology(), NOW)
    assert [claim.scope for claim in found] == claimed


# Our own unsubscribe, read back late


@pytest.mark.parametrize(
    ("op", "seen", "learnt"),
    [
        pytest.param({}, {}, False, id="ours, read back after they said yes"),
        pytest.param({"closed_seq": 51, "state": OpState.VERIFIED}, {}, False, id="still, once it was read back"),
        pytest.param({"closed_seq": 45, "state": OpState.VERIFIED}, {}, True, id="theirs: ours was read back before"),
        pytest.param({"state": OpState.UNKNOWN}, {}, True, id="nobody knows whether ours arrived"),
        pytest.param({"ended_seq": 50}, {}, True, id="read before ours had ended"),
        pytest.param({"container": "R2"}, {}, True, id="ours was for another list"),
        pytest.param({}, {"confirmed_seq": 50}, True, id="they confirmed meanwhile, and then left"),
        pytest.param({}, {"status": Status.COMPLAINED}, True, id="more than we wrote"),
    ],
)
def test_what_we_wrote_before_a_yes_is_no_new_no_after_it(op, seen, learnt: bool):
    written = operation(ChangeKind.UNSUBSCRIBE, **({"state": OpState.ACCEPTED, "ended_seq": 30} | op))
    read = cell(**({"status": NO, "status_seq": 50, "seq": 50} | seen))
    who = person(read, said={NEWS: ConsentState(1, Level.SUBSCRIBED, 40)}, carried_out=[written])
    assert bool(learn(who, topology(), NOW, 77)) is learnt


def test_what_is_learnt_is_known_at_once():
    who = person(cell(status=NO))
    after = taught(who, learn(who, topology(), NOW, 77))
    assert after.said_no(NEWS)
    assert after.noes == [No(NEWS, 77, 0, "rocs", "R1", ANN)]


def test_without_a_no_nothing_is_claimed():
    assert claims(person(reverted()), topology(), NOW) == []


def test_a_list_is_claimed_from_somebody_who_said_no_to_everything():
    (claim,) = claims(person(reverted(container="R2"), said={GLOBAL: Level.COMPLAINT}), topology(), NOW)
    assert claim.scope == OFFERS
    assert claim.cell.status_at == LONG_AGO


def test_nobody_s_return_is_claimed_of_who_was_erased():
    back = cell(status_seq=30, said_no_seq=20, status_at=NOW - timedelta(days=1))
    assert claims(person(back, said={GLOBAL: Level.UNSUBSCRIBED}), topology(whole={("rocs", "R1"): 40}), NOW)
    assert claims(person(back, said={GLOBAL: Level.ERASED}), topology(whole={("rocs", "R1"): 40}), NOW) == []
