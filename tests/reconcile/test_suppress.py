"""Every "no" everywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level
from syncd.domain.facts import Grade
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.desired import Desired, LookUp, Why
from syncd.reconcile.person import Cell, Exemption, No
from syncd.reconcile.suppress import PATIENCE, suppress, suppressing
from tests.reconcile.factories import (
    ANN,
    ANN_TAGGED,
    NEWS,
    NOW,
    OFFERS,
    SETTLE_S,
    account,
    capabilities,
    cell,
    mailing_list,
    person,
    topology,
)

SAID_NO = {NEWS: Level.UNSUBSCRIBED}
SAID_NO_TO_ALL = {GLOBAL: Level.UNSUBSCRIBED}
WITHOUT_ROKT = topology("rocs", "salesrocks", "rocketresponder")


def sent(who, topo=WITHOUT_ROKT, identity=ANN) -> list[tuple[str, str]]:
    found = list(suppress(who, topo, identity, NOW))
    assert all(isinstance(item, Desired) and item.change.kind is ChangeKind.UNSUBSCRIBE for item in found)
    return [(item.account, str(item.change.container)) for item in found if isinstance(item, Desired)]


@pytest.mark.parametrize(
    ("said", "seen", "places"),
    [
        pytest.param({}, [cell()], [], id="nobody said no"),
        pytest.param({OFFERS: Level.UNSUBSCRIBED}, [cell()], [], id="a no to another list"),
        pytest.param(
            SAID_NO,
            [cell(), cell("salesrocks"), cell("rocketresponder")],
            [("rocs", "R1"), ("salesrocks", "S1"), ("rocketresponder", "L1")],
            id="a no reaches every place of the list",
        ),
        pytest.param(SAID_NO, [cell(container="R2")], [], id="but no other list"),
        pytest.param(SAID_NO, [cell(container="*")], [], id="nor the customer"),
        pytest.param(SAID_NO, [cell(container="R9")], [], id="nor a list that is not ours"),
        pytest.param(
            SAID_NO_TO_ALL,
            [cell(), cell(container="*"), cell(container="R9")],
            [("rocs", "*"), ("rocs", "R1"), ("rocs", "R9")],
            id="a no to everything reaches everything",
        ),
        pytest.param(SAID_NO, [cell(status=Status.PENDING)], [("rocs", "R1")], id="pending is reachable"),
        pytest.param(SAID_NO, [cell(status=Status.BOUNCED)], [("rocs", "R1")], id="bounced is reachable"),
        pytest.param(SAID_NO, [cell(status=Status.UNKNOWN)], [("rocs", "R1")], id="unknown is reachable"),
        pytest.param(SAID_NO, [cell(status=Status.UNSUBSCRIBED)], [], id="unsubscribed already"),
        pytest.param(SAID_NO, [cell(status=Status.COMPLAINED)], [], id="complained already"),
        pytest.param(SAID_NO, [cell(status=Status.REMOVED)], [], id="removed"),
        pytest.param(SAID_NO, [cell(status=Status.ABSENT)], [], id="never there"),
        pytest.param({NEWS: Level.ERASED}, [cell()], [("rocs", "R1")], id="erased"),
    ],
)
def test_whom_an_unsubscribe_reaches(said, seen, places):
    assert sent(person(*seen, said=said)) == places


def test_all_records_of_a_person_are_unsubscribed_at_once_in_the_provider_s_spelling():
    who = person(
        cell("salesrocks", key="b", address="Ann@Example.org"),
        cell("salesrocks", key="a", address="Ann@Example.org"),
        cell("salesrocks", Status.UNSUBSCRIBED, key="c"),
        said=SAID_NO,
    )
    (found,) = suppress(who, WITHOUT_ROKT, ANN, NOW)
    assert isinstance(found, Desired)
    assert (found.change.keys, found.change.address, found.change.fields) == (("a", "b"), "Ann@Example.org", {})
    assert (found.explicit, found.mass, found.lists, found.why) == (True, False, ("news",), Why.SUPPRESSED)


@pytest.mark.parametrize(
    ("customers", "account_key"),
    [
        pytest.param([], None, id="no customer"),
        pytest.param([cell(container="*", key="7")], "7", id="one customer"),
        pytest.param([cell(container="*", key="7"), cell(container="*", key="8")], None, id="two: neither is picked"),
        pytest.param(
            [cell(container="*", key="7"), cell(status=Status.REMOVED, container="*", key="8")], "7", id="one is gone"
        ),
    ],
)
def test_a_change_names_the_customer_behind_the_member(customers, account_key: str | None):
    found = list(suppress(person(cell(), *customers, said=SAID_NO), WITHOUT_ROKT, ANN, NOW))
    assert isinstance(found[0], Desired)
    assert found[0].change.account_key == account_key


def test_another_spelling_of_the_mailbox_is_unsubscribed_as_well():
    who = person(cell(), cell(identity=ANN_TAGGED), said=SAID_NO)
    assert sent(who, identity=ANN) == sent(who, identity=ANN_TAGGED) == [("rocs", "R1")]


# Reverted records


@pytest.mark.parametrize(
    ("age_s", "waits"),
    [
        pytest.param(0.0, True, id="this moment"),
        pytest.param(SETTLE_S - 1, True, id="before it can have settled"),
        pytest.param(SETTLE_S, False, id="as soon as it must have settled"),
        pytest.param(86_400.0, False, id="a day ago"),
    ],
)
def test_a_no_that_reads_yes_again_is_asserted_again_once_it_cannot_be_a_lagging_replica(age_s: float, waits: bool):
    turned = NOW - timedelta(seconds=age_s)
    seen = cell(said_no_seq=5, status_seq=10, seq=12, status_at=turned)
    (found,) = suppress(person(seen, said=SAID_NO), WITHOUT_ROKT, ANN, NOW)
    if waits:
        assert found == turned + timedelta(seconds=SETTLE_S)
    else:
        assert isinstance(found, Desired)
        assert found.why is Why.REASSERTED


def reverted(minutes_ago: float, **more: Any) -> Cell:
    """Said no at 5, reads subscribed since 10, and was not read again."""
    since = NOW - timedelta(minutes=minutes_ago)
    known: dict[str, Any] = {"said_no_seq": 5, "status_seq": 10, "status_at": since}
    return cell(**(known | more))


def test_what_was_seen_once_is_looked_at_once_more_before_it_is_undone():
    found = list(suppress(person(reverted(2), said=SAID_NO), WITHOUT_ROKT, ANN, NOW))
    assert [(item.account, item.container) for item in found if isinstance(item, LookUp)] == [("rocs", "R1")]
    assert found[1:] == [NOW + timedelta(seconds=SETTLE_S)]


def test_it_is_not_looked_at_where_nobody_can_be_asked_nor_for_ever():
    blind = replace(capabilities("rocs"), lookup=False)
    topo = topology("rocs", accounts=[replace(account("rocs"), capabilities=blind)])
    assert sent(person(reverted(2), said=SAID_NO), topo) == [("rocs", "R1")]
    assert sent(person(reverted(PATIENCE * SETTLE_S / 60), said=SAID_NO)) == [("rocs", "R1")]


def test_who_may_have_come_back_is_looked_at_for_as_long_as_it_takes():
    back = reverted(600, confirmed_at="30", confirmed_seq=10, unsubscribed_at="20")
    (look, _) = suppress(person(back, said=SAID_NO), WITHOUT_ROKT, ANN, NOW)
    assert isinstance(look, LookUp)


def test_an_exempt_cell_is_left_as_it_is_and_no_other():
    here = Exemption("rocs", ContainerId("R1"), ANN, seq=20)
    who = person(cell(), cell("salesrocks"), cell(identity=ANN_TAGGED), said=SAID_NO, exemptions=[here])
    assert sent(who) == [("salesrocks", "S1")]
    assert sent(who, identity=ANN_TAGGED) == [("rocs", "R1")]
    assert sent(replace(who, noes=[No(NEWS, 21)])) == [("rocs", "R1"), ("salesrocks", "S1")]
    assert sent(replace(who, noes=[No(NEWS, 20), No(OFFERS, 21)])) == [("salesrocks", "S1")]


def test_a_record_that_never_said_no_makes_the_others_wait_for_nothing():
    lagging = cell(key="a", said_no_seq=5, status_seq=10, status_at=NOW)
    (found,) = suppress(person(lagging, cell(key="b"), said=SAID_NO), WITHOUT_ROKT, ANN, NOW)
    assert isinstance(found, Desired)
    assert found.change.keys == ("a", "b")


# What a "no" rests on


def test_a_no_that_nobody_said_is_marked_as_inferred_and_one_of_a_mass_as_such():
    who = person(cell(), said=SAID_NO, inferred_scopes=frozenset({NEWS}), mass_scopes=frozenset({NEWS}))
    (found,) = suppress(who, WITHOUT_ROKT, ANN, NOW)
    assert isinstance(found, Desired)
    assert (found.explicit, found.mass) == (False, True)


def test_a_global_no_prevails_over_the_list_s_in_what_it_rests_on():
    who = person(
        cell(), said=SAID_NO | SAID_NO_TO_ALL, inferred_scopes=frozenset({NEWS}), mass_scopes=frozenset({NEWS})
    )
    (found,) = suppress(who, WITHOUT_ROKT, ANN, NOW)
    assert isinstance(found, Desired)
    assert (found.explicit, found.mass) == (True, False)


# Providers that can only be told


ROKT = topology("rokt")


@pytest.mark.parametrize(
    ("said", "seen", "why"),
    [
        pytest.param({}, [cell("rokt")], None, id="nobody said no"),
        pytest.param({OFFERS: Level.UNSUBSCRIBED}, [cell("rokt")], None, id="a no to a list that does not live there"),
        pytest.param(SAID_NO, [cell()], Why.TOLD, id="known elsewhere only"),
        pytest.param(SAID_NO_TO_ALL, [cell()], Why.TOLD, id="a no to everything"),
        pytest.param(SAID_NO, [cell("rokt", container="lead-7")], Why.TOLD, id="a lead of theirs"),
        pytest.param(SAID_NO, [cell("rokt", Status.UNSUBSCRIBED)], None, id="told already, or told us"),
        pytest.param(
            SAID_NO,
            [cell("rokt", Status.UNSUBSCRIBED, seq=20), cell("rokt", container="lead-7", seq=10)],
            None,
            id="a lead from before",
        ),
        pytest.param(
            SAID_NO,
            [cell("rokt", Status.UNSUBSCRIBED, seq=20), cell("rokt", container="lead-7", seq=30)],
            Why.REASSERTED,
            id="a lead from after",
        ),
        pytest.param(
            SAID_NO,
            [cell("rokt", Status.UNSUBSCRIBED, seq=20), cell("rokt", Status.REMOVED, "lead-7", seq=30)],
            None,
            id="a lead that is gone",
        ),
        pytest.param(
            SAID_NO,
            [cell("rokt", Status.UNSUBSCRIBED, grade=Grade.ASSUMED)],
            Why.REASSERTED,
            id="assumed to know, and to be told again",
        ),
        pytest.param(
            SAID_NO,
            [cell("rokt", Status.UNSUBSCRIBED, "lead-7", seq=20)],
            Why.TOLD,
            id="a no of one lead is not the account's",
        ),
    ],
)
def test_a_provider_without_lists_is_told_of_every_no_once(said, seen, why: Why | None):
    found = list(suppress(person(*seen, said=said), ROKT, ANN, NOW))
    assert [item.why for item in found if isinstance(item, Desired)] == ([why] if why else [])
    assert all(isinstance(item, Desired) and item.change.container == "*" for item in found)


@pytest.mark.parametrize(
    ("noes", "why"),
    [
        pytest.param([No(NEWS, 15, 1, "operator")], None, id="told after the no"),
        pytest.param([No(NEWS, 15, 0), No(NEWS, 25, 1)], Why.TOLD, id="told of one that was taken back since"),
        pytest.param([No(NEWS, 25, 1, "rokt"), No(NEWS, 25, 1)], None, id="they said it there"),
        pytest.param([], None, id="of which nothing more is known"),
    ],
)
def test_a_no_after_a_yes_is_told_anew(noes: list[No], why: Why | None):
    again = {NEWS: ConsentState(1, Level.UNSUBSCRIBED, 24)}
    who = replace(person(cell("rokt", Status.UNSUBSCRIBED, seq=20)), consent=again, noes=noes)
    assert [item.why for item in suppress(who, ROKT, ANN, NOW) if isinstance(item, Desired)] == ([why] if why else [])


@pytest.mark.parametrize(
    ("said", "inferred", "mass", "explicit", "waits"),
    [
        pytest.param(SAID_NO, {NEWS}, {NEWS}, False, True, id="concluded from a mass"),
        pytest.param(SAID_NO | SAID_NO_TO_ALL, {NEWS}, {NEWS}, True, False, id="one of two was said"),
        pytest.param(SAID_NO, set(), set(), True, False, id="said"),
    ],
)
def test_what_is_told_rests_on_the_best_that_is_known(said, inferred, mass, explicit: bool, waits: bool):
    who = person(cell(), said=said, inferred_scopes=frozenset(inferred), mass_scopes=frozenset(mass))
    (found,) = suppress(who, ROKT, ANN, NOW)
    assert isinstance(found, Desired)
    assert (found.explicit, found.mass) == (explicit, waits)


# Which scope reaches a container


@pytest.mark.parametrize(
    ("said", "where", "container", "scopes"),
    [
        pytest.param(SAID_NO, "rocs", "R1", {NEWS}, id="the list's own"),
        pytest.param(SAID_NO, "rocs", "R2", set(), id="another list"),
        pytest.param(SAID_NO, "rocs", "*", set(), id="not the whole account"),
        pytest.param(SAID_NO, "rocs", "R9", set(), id="not a list that is not ours"),
        pytest.param(SAID_NO | SAID_NO_TO_ALL, "rocs", "R1", {GLOBAL, NEWS}, id="both"),
        pytest.param(SAID_NO_TO_ALL, "rocs", "*", {GLOBAL}, id="the whole account"),
        pytest.param(SAID_NO_TO_ALL, "rocs", "R9", {GLOBAL}, id="a list that is not ours"),
        pytest.param({NEWS: Level.SUBSCRIBED}, "rocs", "R1", set(), id="nobody said no"),
    ],
)
def test_which_no_reaches_a_container(said, where: str, container, scopes):
    assert suppressing(person(said=said), topology(), where, container) == scopes


def test_a_word_to_the_list_itself_is_not_held_with_a_mass_flip_of_everything():
    both = {GLOBAL: Level.UNSUBSCRIBED, NEWS: Level.UNSUBSCRIBED}
    who = person(cell(), said=both, mass_scopes=frozenset({GLOBAL}), inferred_scopes=frozenset({GLOBAL}))
    wishes = [wish for wish in suppress(who, topology(), who.identities[0], NOW) if isinstance(wish, Desired)]
    here = [wish for wish in wishes if wish.change.container == cell().container]
    assert [(wish.mass, wish.explicit) for wish in here] == [(False, True)]


def test_where_a_list_is_the_whole_account_a_no_to_it_reaches_the_account():
    topo = topology("rocs", "salesrocks", lists=[mailing_list("news", rocs=("*",), salesrocks=("S1",))])
    assert suppressing(person(said=SAID_NO), topo, "rocs", cell(container="*").container) == {NEWS}
    assert sent(person(cell(container="*"), said=SAID_NO), topo) == [("rocs", "*")]


def test_in_a_container_of_two_lists_a_no_to_one_of_them_counts():
    topo = topology("rocs", lists=[mailing_list("x", rocs=("R1",))])
    who = person(cell(), said={topo.lists["x"].scope: Level.UNSUBSCRIBED})
    assert sent(who, topo) == [("rocs", "R1")]


def test_only_the_accounts_that_are_configured_are_written_to():
    who = person(cell(), cell("salesrocks"), said=SAID_NO)
    assert sent(who, topology("salesrocks")) == [("salesrocks", "S1")]
    assert sent(replace(who, cells=()), topology("salesrocks")) == []


def test_a_settle_time_is_the_account_s_own():
    slow = replace(account("rocs"), settle_s=600.0)
    seen = cell(said_no_seq=5, status_seq=10, status_at=NOW - timedelta(seconds=SETTLE_S))
    (found,) = suppress(person(seen, said=SAID_NO), topology("rocs", accounts=[slow]), ANN, NOW)
    assert found == seen.status_at + timedelta(seconds=600)


@pytest.mark.parametrize(
    ("came", "container", "told"), [(0, "lead-8", True), (1, "lead-8", False), (0, "lead-9", False)]
)
def test_a_provider_without_lists_is_told_of_whoever_came_while_a_list_lived_there(came, container, told: bool):
    until = NOW - timedelta(days=1)
    offers = replace(mailing_list("offers"), ended={("rokt", ContainerId("lead-8")): until})
    lead = cell("rokt", container=container, status_at=until + timedelta(seconds=came))
    found = list(suppress(person(lead, said={OFFERS: Level.UNSUBSCRIBED}), topology("rokt", lists=[offers]), ANN, NOW))
    assert [wish.lists for wish in found if isinstance(wish, Desired)] == ([("news", "offers")] if told else [])
