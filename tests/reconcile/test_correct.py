"""Ordinary fields: written only where they differ, only in containers of ours, never of somebody who said no there."""

from __future__ import annotations

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level
from syncd.domain.records import NAMELESS, Status
from syncd.reconcile.correct import correct
from syncd.reconcile.desired import Why
from tests.reconcile.factories import ANN, ANN_TAGGED, NEWS, OFFERS, account, cell, person, topology

OLD, NEW = {"phone": "1"}, {"phone": "2"}


def written(who, topo=None, fields=NEW, identity=ANN) -> list[tuple[str, str, tuple[str, ...], dict[str, str]]]:
    found = list(correct(who, topo or topology(), identity, fields))
    assert all(item.change.kind is ChangeKind.UPDATE and item.why is Why.EDITED for item in found)
    return [(item.account, str(item.change.container), item.change.keys, dict(item.change.fields)) for item in found]


@pytest.mark.parametrize(
    ("seen", "places"),
    [
        pytest.param([cell(fields=OLD)], ["rocs/R1"], id="a list of ours"),
        pytest.param([cell(fields=NEW)], [], id="nothing differs"),
        pytest.param([cell(fields={})], [], id="a record that shows no fields at all"),
        pytest.param([cell(fields=OLD), cell("salesrocks", fields=OLD)], ["rocs/R1", "salesrocks/S1"], id="everywhere"),
        pytest.param([cell(container="R9", fields=OLD)], [], id="a list that is not ours"),
        pytest.param([cell(container="*", fields=OLD)], [], id="a customer on no list of ours"),
        pytest.param([cell(container="*", fields=OLD), cell(fields={})], ["rocs/*"], id="the customer behind a member"),
        pytest.param(
            [cell(container="*", fields=OLD), cell(container="R9", fields={})],
            [],
            id="the customer behind a member of another list",
        ),
        pytest.param([cell(status=Status.PENDING, fields=OLD)], ["rocs/R1"], id="pending"),
        pytest.param([cell(status=Status.BOUNCED, fields=OLD)], ["rocs/R1"], id="bounced"),
        pytest.param([cell(status=Status.UNSUBSCRIBED, fields=OLD)], [], id="unsubscribed there"),
        pytest.param([cell(status=Status.REMOVED, fields=OLD)], [], id="removed"),
        pytest.param([cell("rocketresponder", fields=OLD)], [], id="it cannot hold the field"),
        pytest.param([cell(identity=ANN_TAGGED, fields=OLD)], [], id="another spelling of the address"),
        pytest.param([cell(unread=frozenset({"phone"}))], [], id="what stands there cannot be read"),
        pytest.param([cell(unread=frozenset({"last_name"}))], ["rocs/R1"], id="another field cannot be read"),
        pytest.param([cell(fields=OLD, unread=frozenset({NAMELESS}))], [], id="whose it is by now cannot be read"),
    ],
)
def test_where_a_field_is_written(seen, places):
    assert [f"{where}/{container}" for where, container, _, _ in written(person(*seen))] == places


@pytest.mark.parametrize(
    ("said", "places"),
    [
        pytest.param({}, ["rocs/*", "rocs/R1", "rocs/R2"], id="nobody said no"),
        pytest.param({NEWS: Level.UNSUBSCRIBED}, ["rocs/*", "rocs/R2"], id="a no to one list"),
        pytest.param({NEWS: Level.UNSUBSCRIBED, OFFERS: Level.UNSUBSCRIBED}, ["rocs/*"], id="a no to both lists"),
        pytest.param({GLOBAL: Level.UNSUBSCRIBED}, [], id="a no to everything"),
    ],
)
def test_nothing_is_written_where_a_no_reaches(said, places):
    who = person(cell(container="*", fields=OLD), cell(fields=OLD), cell(container="R2", fields=OLD), said=said)
    assert [f"{where}/{container}" for where, container, _, _ in written(who)] == places


def test_all_records_of_a_person_are_written_at_once_where_a_provider_keeps_duplicates():
    who = person(cell("salesrocks", key="a", fields=OLD), cell("salesrocks", key="b", fields={"first_name": "Ann"}))
    fields = {"phone": "2", "first_name": "Ann"}
    assert written(who, fields=fields) == [("salesrocks", "S1", ("a", "b"), fields)]


def test_what_one_of_two_records_holds_unread_is_written_to_neither():
    odd = cell("salesrocks", key="b", fields={"first_name": "Anne"}, unread=frozenset({"phone"}))
    who = person(cell("salesrocks", key="a", fields=OLD), odd)
    first = {"first_name": "Ann"}
    assert written(who, fields=NEW | first) == [("salesrocks", "S1", ("a", "b"), first)]


@pytest.mark.parametrize("other", [Status.UNSUBSCRIBED, Status.COMPLAINED])
def test_one_record_that_says_no_keeps_the_others_from_being_written(other: Status):
    who = person(cell("salesrocks", key="a", fields=OLD), cell("salesrocks", other, key="b", fields=OLD))
    assert written(who) == []


@pytest.mark.parametrize("other", [Status.REMOVED, Status.ABSENT])
def test_what_an_earlier_absence_left_behind_keeps_nobody_from_being_written(other: Status):
    who = person(cell("salesrocks", key="a", fields=OLD), cell("salesrocks", other, key="b", fields=OLD))
    assert written(who) == [("salesrocks", "S1", ("a",), NEW)]


def test_two_records_of_one_address_where_there_should_be_one_are_left_alone():
    who = person(cell("rocketresponder", key="a", fields={"first_name": "A"}), cell("rocketresponder", key="b"))
    assert written(who, fields={"first_name": "Ann"}) == []


def test_an_account_that_takes_no_updates_gets_none():
    topo = topology(accounts=[account("rocs", accepts={ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE})])
    assert written(person(cell(fields=OLD)), topo) == []


@pytest.mark.parametrize("joined", [True, False])
def test_a_correction_says_whether_the_account_is_new(joined: bool):
    topo = topology(accounts=[account("rocs", joined=joined)])
    (found,) = correct(person(cell(fields=OLD)), topo, ANN, NEW)
    assert (found.first_contact, found.lists, found.explicit) == (not joined, ("news",), False)
