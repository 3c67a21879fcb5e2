"""Who newly joined one of our lists joins it at the others; nobody else does."""

from __future__ import annotations

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level
from syncd.domain.records import NAMELESS, Status
from syncd.reconcile.desired import Desired, LookUp, Why
from syncd.reconcile.spread import spread
from tests.reconcile.factories import (
    ANN,
    ANN_TAGGED,
    FACTS,
    NEWS,
    OFFERS,
    account,
    cell,
    mailing_list,
    person,
    topology,
)

LISTED = topology("rocs", "salesrocks")
FIELDS = {"first_name": "Ann"}


def joins(who, topo=LISTED, identity=ANN) -> list[tuple[str, str]]:
    found = [item for item in spread(who, topo, identity, FIELDS) if isinstance(item, Desired)]
    assert all(item.change.kind is ChangeKind.SUBSCRIBE and item.why is Why.JOINED for item in found)
    assert not any(item.explicit for item in found), "an addition never rests on somebody's own word to us"
    return [(item.account, str(item.change.container)) for item in found]


def asks(who, topo) -> list[tuple[str, str]]:
    found = [item for item in spread(who, topo, ANN, FIELDS) if isinstance(item, LookUp)]
    return [(item.account, str(item.container)) for item in found]


@pytest.mark.parametrize(
    ("seen", "places"),
    [
        pytest.param([cell()], [("salesrocks", "S1")], id="joined at ROCS"),
        pytest.param([cell("salesrocks")], [("rocs", "R1")], id="joined at Sales.Rocks"),
        pytest.param([cell(), cell("salesrocks")], [], id="is there already"),
        pytest.param([cell(), cell("salesrocks", Status.ABSENT)], [("salesrocks", "S1")], id="asked, never was there"),
        pytest.param([cell(), cell("salesrocks", Status.REMOVED)], [], id="was removed there: not added again"),
        pytest.param([cell(), cell("salesrocks", Status.UNSUBSCRIBED)], [], id="said no there"),
        pytest.param([cell(), cell("salesrocks", Status.BOUNCED)], [], id="bounces there"),
        pytest.param([cell(), cell("salesrocks", Status.PENDING)], [], id="pending there"),
        pytest.param([cell(), cell("salesrocks", Status.UNKNOWN)], [], id="there, in whatever standing"),
        pytest.param([cell(status=Status.PENDING)], [], id="pending is no consent to hand on"),
        pytest.param([cell(status=Status.UNKNOWN)], [], id="unknown is none either"),
        pytest.param([cell(status=Status.BOUNCED)], [], id="nobody hands on an address that takes no mail"),
        pytest.param([cell(key="a"), cell(status=Status.BOUNCED, key="b")], [], id="one of two records bounces"),
        pytest.param([cell(status=Status.COMPLAINED)], [], id="nobody hands on somebody who complained"),
        pytest.param([cell(container="*")], [], id="a customer is on no list yet"),
        pytest.param([cell(container="R2")], [], id="a list that does not live there"),
        pytest.param([cell(container="R9")], [], id="a list that is not ours"),
        pytest.param([cell(identity=ANN_TAGGED)], [], id="consent of another spelling is not this one's"),
        pytest.param([cell(unread=frozenset({NAMELESS}))], [], id="whose record it is by now cannot be read"),
    ],
)
def test_who_is_added_where(seen, places):
    assert joins(person(*seen)) == places


@pytest.mark.parametrize(
    ("said", "joined"),
    [
        pytest.param({NEWS: Level.UNSUBSCRIBED}, False, id="said no to this list"),
        pytest.param({GLOBAL: Level.UNSUBSCRIBED}, False, id="said no to everything"),
        pytest.param({NEWS: Level.COMPLAINT}, False, id="complained"),
        pytest.param({NEWS: Level.ERASED}, False, id="erased"),
        pytest.param({OFFERS: Level.UNSUBSCRIBED}, True, id="said no to another list"),
        pytest.param({NEWS: Level.SUBSCRIBED}, True, id="said yes"),
        pytest.param({NEWS: Level.PENDING}, True, id="said nothing yet"),
    ],
)
def test_nobody_who_said_no_is_added(said, joined: bool):
    assert bool(joins(person(cell(), said=said))) is joined


@pytest.mark.parametrize(
    ("topo", "joined"),
    [
        pytest.param(
            topology("rocs", "salesrocks", lists=[mailing_list("news", spread=False)]),
            False,
            id="the list does not spread",
        ),
        pytest.param(
            topology("rocs", "salesrocks", accounts=[account("rocs", spread=False)]),
            False,
            id="the account it comes from does not spread",
        ),
        pytest.param(
            topology("rocs", "salesrocks", accounts=[account("salesrocks", spread=False)]),
            True,
            id="the account it goes to need not spread",
        ),
        pytest.param(
            topology("rocs", "salesrocks", whole={("rocs", "R1"): 1}), False, id="the other place was never read whole"
        ),
        pytest.param(topology("rocs"), False, id="there is no other place"),
    ],
)
def test_what_stops_spreading(topo, joined: bool):
    assert bool(joins(person(cell()), topo)) is joined


def test_where_a_list_lives_in_two_containers_both_must_be_read_and_the_first_is_joined():
    two = mailing_list("news", rocs=("R1",), salesrocks=("S1", "S2"))
    half = topology("rocs", "salesrocks", lists=[two])
    both = topology("rocs", "salesrocks", lists=[two], whole={("salesrocks", "S1"): 1, ("salesrocks", "S2"): 1})
    assert joins(person(cell()), half) == []
    assert joins(person(cell()), both) == [("salesrocks", "S1")]


def test_an_addition_brings_all_known_fields_and_the_customer_it_is_for():
    who = person(cell("salesrocks"), cell(container="*", key="7"))
    (found,) = (item for item in spread(who, LISTED, ANN, FIELDS) if isinstance(item, Desired))
    assert (found.change.fields, found.change.keys, found.change.account_key) == (FIELDS, (), "7")
    assert (found.change.address, found.lists) == (str(ANN), ("news",))


@pytest.mark.parametrize(
    ("from_joined", "to_joined", "first_contact"),
    [
        pytest.param(True, True, False, id="both known"),
        pytest.param(False, True, True, id="it comes from a new account"),
        pytest.param(True, False, True, id="it goes to a new account"),
        pytest.param(False, False, True, id="both new"),
    ],
)
def test_an_addition_that_concerns_a_new_account_is_first_contact(from_joined, to_joined, first_contact):
    topo = topology(
        "rocs", "salesrocks", accounts=[account("rocs", joined=from_joined), account("salesrocks", joined=to_joined)]
    )
    (found,) = (item for item in spread(person(cell()), topo, ANN, FIELDS) if isinstance(item, Desired))
    assert found.first_contact is first_contact


def test_with_one_known_source_an_addition_is_no_first_contact():
    topo = topology(accounts=[account("rocs", joined=False)], whole={("rocs", "R1"): 1, ("salesrocks", "S1"): 1})
    who = person(cell(), cell("rocketresponder"))
    (found,) = (item for item in spread(who, topo, ANN, FIELDS) if isinstance(item, Desired))
    assert (found.account, found.first_contact) == ("salesrocks", False)


# Providers that can only be asked


def test_where_nobody_can_be_listed_everybody_known_is_asked_about_once():
    topo = topology("rocs", "rocketresponder")
    assert asks(person(cell()), topo) == [("rocketresponder", "L1"), ("rocketresponder", "L2")]
    assert joins(person(cell()), topo) == [], "nobody is added before the answer"


@pytest.mark.parametrize(
    ("answer", "added"),
    [
        pytest.param(Status.ABSENT, True, id="is not there"),
        pytest.param(Status.SUBSCRIBED, False, id="is there"),
        pytest.param(Status.UNSUBSCRIBED, False, id="said no there"),
        pytest.param(Status.REMOVED, False, id="was there"),
    ],
)
def test_after_the_answer_only_who_never_was_there_is_added(answer: Status, added: bool):
    topo = topology("rocs", "rocketresponder")
    who = person(cell(), cell("rocketresponder", answer))
    assert asks(who, topo) == [("rocketresponder", "L2")]
    assert joins(who, topo) == ([("rocketresponder", "L1")] if added else [])


def test_even_somebody_who_said_no_is_asked_about_so_that_the_no_reaches_them_there():
    assert asks(person(cell(), said={GLOBAL: Level.UNSUBSCRIBED}), topology("rocs", "rocketresponder"))


def test_nobody_is_added_to_a_provider_without_lists():
    assert not FACTS["rokt"].has_lists
    assert joins(person(cell()), topology("rocs", "rokt")) == []


def test_a_lead_of_a_provider_without_lists_joins_the_list_it_is_configured_for():
    who = person(cell("rokt", container="lead-7"))
    assert joins(who, topology("rocs", "rokt")) == [("rocs", "R1")]
