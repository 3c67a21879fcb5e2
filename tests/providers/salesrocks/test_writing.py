"""Changes: what is sent, and what each answer means for each change."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.domain.changes import Outcome
from syncd.domain.errors import MalformedError, RefusedError, ThrottledError, UnauthorisedError, UnavailableError
from syncd.domain.records import Status
from syncd.emulators.emulator import Fault, FaultKind
from syncd.wire import converse

L = "3eOWdnMBeufg1eXhALxM"
GONE = "0" * 24


def with_list(account):
    account.emulator.add_list("News", L)
    return account


def emails(account):
    return [row["email"] for row in account.emulator.contacts_of(L)]


# -- subscribe --------------------------------------------------------------------------------------------------------


def test_several_people_are_added_in_one_call_and_their_ids_come_back_in_order(account_with, subscribe):
    account = with_list(account_with(fields={"phone": "Mobile", "email": "email"}))
    acks = account.apply(
        subscribe(L, "ann@example.org", first_name="Ann", last_name="Smith", phone="+46701740605", country="SE"),
        subscribe(L, "Bob@example.org", first_name="Bob"),
        subscribe(L, "c@example.org"),
    )
    assert account.paths() == ["addToList"]
    assert account.last_body() == {
        "list_id": L,
        "data": [
            {"name": "Ann Smith", "email": "ann@example.org", "Mobile": "+46701740605"},
            {"name": "Bob", "email": "Bob@example.org"},
            {"name": "", "email": "c@example.org"},
        ],
    }
    assert [ack.outcome for ack in acks] == [Outcome.ACCEPTED] * 3
    assert [ack.keys for ack in acks] == [(row["_id"]["$oid"],) for row in account.emulator.contacts_of(L)]


def test_names_go_to_their_own_members_where_the_configuration_says(account_with, subscribe):
    account = with_list(account_with(name_field="full", fields={"first_name": "first", "last_name": "last"}))
    account.apply(subscribe(L, "ann@example.org", first_name="Ann", last_name="Smith"))
    assert account.last_body()["data"] == [
        {"full": "Ann Smith", "email": "ann@example.org", "first": "Ann", "last": "Smith"}
    ]
    assert account.walk(L)[0].fields == {"first_name": "Ann", "last_name": "Smith"}


def test_an_addition_is_never_to_be_repeated_and_all_else_is(account, subscribe, unsubscribe, update):
    with_list(account)
    (ack,) = account.apply(subscribe(L, "ann@example.org"))
    account.apply(update(L, "ann@example.org", *ack.keys, first_name="Ann"))
    account.apply(unsubscribe(L, "ann@example.org", *ack.keys))
    account.walk(L)
    account.talk(account.adapter.containers())
    repeatable = {request.label: request.repeatable for request in account.requests}
    assert not repeatable.pop("addToList")
    assert len(repeatable) == 6
    assert all(repeatable.values())


@pytest.mark.quirk("salesrocks-counts-in-english")
def test_a_batch_that_was_taken_in_part_is_in_doubt_as_a_whole(account, subscribe):
    with_list(account).emulator.insert_limit = 1
    acks = account.apply(subscribe(L, "ann@example.org"), subscribe(L, "bob@example.org"))
    assert [(ack.outcome, ack.keys) for ack in acks] == [(Outcome.UNCERTAIN, ())] * 2
    assert emails(account) == ["ann@example.org"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"message": "Inserted 1 documents.", "ids": [{"$oid": "k"}]}, Outcome.ACCEPTED),
        ({"message": "Inserted 1 documents.", "ids": ["k"]}, Outcome.ACCEPTED),
        ({"message": "Fine.", "ids": ["k"]}, Outcome.ACCEPTED),
        ({"ids": ["k"]}, Outcome.ACCEPTED),
        ({"message": "Inserted 2 documents.", "ids": ["k"]}, Outcome.UNCERTAIN),
        ({"message": "Inserted 0 documents.", "ids": ["k"]}, Outcome.UNCERTAIN),
        ({"message": "Inserted 1 documents.", "ids": []}, Outcome.UNCERTAIN),
        ({"message": "Inserted 1 documents.", "ids": ["k", "l"]}, Outcome.UNCERTAIN),
        ({"message": "Inserted 1 documents.", "ids": [""]}, Outcome.UNCERTAIN),
        ({"message": "Inserted 1 documents.", "ids": [5]}, Outcome.UNCERTAIN),
        ({"message": "Inserted 1 documents.", "ids": None}, Outcome.UNCERTAIN),
        ({"message": "Inserted 1 documents."}, Outcome.UNCERTAIN),
    ],
)
def test_only_an_id_for_everybody_proves_an_addition(account, answered, subscribe, answer, outcome):
    (ack,) = converse(account.adapter.apply([subscribe(L, "a@x.org")]), answered(answer))
    assert (ack.outcome, ack.keys) == (outcome, ("k",) if outcome is Outcome.ACCEPTED else ())


def test_one_id_for_two_people_proves_nothing(account, answered, subscribe):
    answer = answered({"message": "Inserted 2 documents.", "ids": ["k", "k"]})
    acks = converse(account.adapter.apply([subscribe(L, "a@x.org"), subscribe(L, "b@x.org")]), answer)
    assert {ack.outcome for ack in acks} == {Outcome.UNCERTAIN}


@pytest.mark.quirk("salesrocks-adding-doubles")
def test_who_is_there_already_gets_no_second_record(account, subscribe):
    oid = with_list(account).emulator.add_contact(L, "ann@example.org", "Ann")
    bob, ann, back = account.apply(
        subscribe(L, "bob@example.org"), subscribe(L, "ann@example.org", oid), subscribe(L, "c@example.org", GONE)
    )
    assert emails(account) == ["ann@example.org", "bob@example.org", "c@example.org"]
    assert (ann.outcome, ann.keys, [one.key for one in ann.seen]) == (Outcome.ACCEPTED, (oid,), [oid])
    rows = account.emulator.contacts_of(L)
    assert [bob.keys, back.keys] == [(rows[1]["_id"]["$oid"],), (rows[2]["_id"]["$oid"],)]


def test_who_comes_back_in_field_mode_has_every_no_taken_off(account_with, subscribe):
    account = with_list(account_with(on_unsubscribe="field"))
    one = account.emulator.add_contact(L, "ann@example.org", "Ann", status="unsubscribed")
    two = account.emulator.add_contact(L, "ann@example.org", "Ann", **{"Opted Out": True})
    three = account.emulator.add_contact(L, "ann@example.org", "Ann", status="vip")
    ack, new = account.apply(subscribe(L, "ann@example.org", one, two, three), subscribe(L, "bob@example.org"))
    assert (ack.outcome, ack.keys, new.outcome) == (Outcome.ACCEPTED, (one, two, three), Outcome.ACCEPTED)
    assert account.paths()[-2:] == ["updateListData", "addToList"]
    assert {seen.status for seen in account.walk(L)} == {Status.SUBSCRIBED}
    assert account.emulator.contacts_of(L)[2]["status"] == "vip"


def test_a_no_that_somebody_there_wrote_is_theirs_to_take_back_in_remove_mode(account, subscribe):
    oid = with_list(account).emulator.add_contact(L, "ann@example.org", status="unsubscribed")
    (ack,) = account.apply(subscribe(L, "ann@example.org", oid))
    assert (ack.outcome, ack.keys) == (Outcome.REFUSED, (oid,))
    assert [one.status for one in ack.seen] == [Status.UNSUBSCRIBED]
    assert account.emulator.writes == 0


# -- unsubscribe ------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("salesrocks-no-unsubscribe-call")
def test_a_no_takes_every_record_of_everybody_off_in_one_call(account, unsubscribe):
    with_list(account)
    one, two = (account.emulator.add_contact(L, "ann@example.org") for _ in range(2))
    bob = account.emulator.add_contact(L, "bob@example.org")
    account.emulator.add_contact(L, "c@example.org")
    acks = account.apply(unsubscribe(L, "ann@example.org", one, two, "~row"), unsubscribe(L, "bob@example.org", bob))
    assert account.paths() == ["deleteListData"]
    assert account.last_body() == {"ids": [one, two, bob]}
    assert [(ack.outcome, ack.keys) for ack in acks] == [(Outcome.ACCEPTED, ())] * 2
    assert emails(account) == ["c@example.org"]


def test_fewer_deleted_than_asked_were_gone_already(account, unsubscribe):
    oid = with_list(account).emulator.add_contact(L, "ann@example.org")
    for _ in range(2):
        (ack,) = account.apply(unsubscribe(L, "ann@example.org", oid, GONE))
        assert ack.outcome is Outcome.ACCEPTED
    assert emails(account) == []


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Successfully deleted 1 documents.", Outcome.ACCEPTED),
        ("deleted 0", Outcome.ACCEPTED),
        ("Successfully deleted 2 documents.", Outcome.UNCERTAIN),
        ("Done.", Outcome.UNCERTAIN),
        (None, Outcome.UNCERTAIN),
        (5, Outcome.UNCERTAIN),
    ],
)
def test_a_deletion_that_gives_no_plausible_count_is_in_doubt(account, answered, unsubscribe, message, outcome):
    (ack,) = converse(account.adapter.apply([unsubscribe(L, "a@x.org", "k")]), answered({"message": message}))
    assert ack.outcome is outcome


@pytest.mark.parametrize("mode", ["remove", "field"])
def test_whoever_has_no_record_that_a_call_could_name_is_planned_again(account_with, unsubscribe, mode):
    account = with_list(account_with(on_unsubscribe=mode))
    oid = account.emulator.add_contact(L, "ann@example.org")
    changes = [unsubscribe(L, "b@x.org"), unsubscribe(L, "ann@example.org", oid), unsubscribe(L, "c@x.org", "~row")]
    assert [ack.outcome for ack in account.apply(*changes)] == [Outcome.STALE, Outcome.ACCEPTED, Outcome.STALE]
    count = len(account.requests)
    assert [ack.outcome for ack in account.apply(changes[0])] == [Outcome.STALE]
    assert len(account.requests) == count


def test_in_field_mode_a_no_is_written_into_every_record(account_with, unsubscribe):
    account = with_list(account_with(on_unsubscribe="field", unsubscribe_field="mail", unsubscribe_value="NO"))
    oids = [account.emulator.add_contact(L, "ann@example.org", age=24) for _ in range(2)]
    (ack,) = account.apply(unsubscribe(L, "ann@example.org", *oids))
    assert account.last_body() == {"data": [{"_id": oid, "mail": "NO"} for oid in oids]}
    assert (ack.outcome, ack.keys) == (Outcome.ACCEPTED, tuple(oids))
    assert [(seen.status, seen.key) for seen in account.walk(L)] == [(Status.UNSUBSCRIBED, oid) for oid in oids]
    assert {row["age"] for row in account.emulator.contacts_of(L)} == {24}
    (again,) = account.apply(unsubscribe(L, "ann@example.org", *oids))
    assert again.outcome is Outcome.ACCEPTED


def test_fewer_matched_than_asked_is_in_doubt(account_with, unsubscribe, update):
    account = with_list(account_with(on_unsubscribe="field", fields={"phone": "phone"}))
    oid = account.emulator.add_contact(L, "ann@example.org")
    for change in (unsubscribe(L, "a@x.org", oid, GONE), update(L, "a@x.org", oid, GONE, phone="+46701740605")):
        (ack,) = account.apply(change)
        assert (ack.outcome, ack.reason) == (Outcome.UNCERTAIN, "updateListData matched 1 of 2")


@pytest.mark.parametrize("message", ["Done.", None])
def test_an_update_that_gives_no_count_is_in_doubt(account_with, answered, unsubscribe, message):
    adapter = account_with(on_unsubscribe="field").adapter
    (ack,) = converse(adapter.apply([unsubscribe(L, "a@x.org", "k")]), answered({"message": message}))
    assert ack.outcome is Outcome.UNCERTAIN


@pytest.mark.parametrize("mode", ["remove", "field"])
def test_a_no_for_somebody_who_is_not_there_is_looked_into_and_not_parked(account_with, answered, unsubscribe, mode):
    adapter = account_with(on_unsubscribe=mode).adapter
    answer = answered({"error": {"status_code": 404, "message": "Not found"}}, 404)
    (ack,) = converse(adapter.apply([unsubscribe(L, "a@x.org", "k")]), answer)
    assert (ack.outcome, ack.keys) == (Outcome.UNCERTAIN, ("k",))


# -- update -----------------------------------------------------------------------------------------------------------


def test_only_given_fields_are_written_and_the_rest_stays(account_with, update):
    account = with_list(account_with(fields={"phone": "Mobile", "first_name": "fn", "last_name": "ln"}))
    one = account.emulator.add_contact(L, "ann@example.org", "Ann", fn="Ann", ln="Old", age=24)
    two = account.emulator.add_contact(L, "bob@example.org", "Bob")
    acks = account.apply(
        update(L, "ann@example.org", one, last_name="Smith"),
        update(L, "bob@example.org", two, phone="+46701740605", country="SE"),
        update(L, "c@example.org", first_name="C"),
    )
    assert account.paths() == ["updateListData"]
    assert account.last_body() == {"data": [{"_id": one, "ln": "Smith"}, {"_id": two, "Mobile": "+46701740605"}]}
    assert [(ack.outcome, ack.keys) for ack in acks] == [
        (Outcome.ACCEPTED, (one,)),
        (Outcome.ACCEPTED, (two,)),
        (Outcome.STALE, ()),
    ]
    assert account.emulator.contacts_of(L)[0]["age"] == 24


def full_name(fields):
    return " ".join(fields[half] for half in ("first_name", "last_name") if half in fields)


NAMES = st.sampled_from(["Ann", "Eve", "Anna Maria"])


@settings(max_examples=150, deadline=None)
@given(
    row=st.fixed_dictionaries({}, optional={"name": st.sampled_from(["", "Ann", "Ann Smith"])}).flatmap(
        lambda name: st.fixed_dictionaries({}, optional={"first_name": NAMES, "last_name": NAMES}).map(name.__or__)
    ),
    given_names=st.fixed_dictionaries({}, optional={"first_name": NAMES, "last_name": NAMES}).filter(bool),
)
def test_a_name_that_was_written_is_the_name_that_is_read(account_with, update, row, given_names):
    account = with_list(account_with())
    oid = account.emulator.add_contact(L, "ann@example.org", **row)
    before = account.walk(L)[0].fields
    (ack,) = account.apply(update(L, "ann@example.org", oid, **given_names))
    assert ack.outcome is Outcome.ACCEPTED
    wanted = dict(before) | given_names
    assert full_name(account.walk(L)[0].fields) == full_name(wanted)
    if "first_name" not in row and "last_name" not in row:
        assert account.emulator.contacts_of(L)[0].keys() == {"_id", "email", "name", "list_id"}


def test_a_whole_name_beside_its_halves_is_kept_in_step(account, update):
    oid = with_list(account).emulator.add_contact(L, "ann@example.org", "Ann Old", last_name="Old")
    account.apply(update(L, "ann@example.org", oid, last_name="Smith"))
    assert account.last_body() == {"data": [{"_id": oid, "last_name": "Smith", "name": "Ann Smith"}]}


def test_a_record_that_is_gone_or_somebody_elses_is_not_given_a_new_name(account, update):
    other = with_list(account).emulator.add_contact(L, "bob@example.org", "Bob")
    (ack,) = account.apply(update(L, "ann@example.org", GONE, other, first_name="Ann"))
    assert ack.outcome is Outcome.STALE
    assert account.emulator.writes == 0


def test_nothing_to_write_is_nothing_sent(account, update):
    oid = with_list(account).emulator.add_contact(L, "ann@example.org")
    (ack,) = account.apply(update(L, "ann@example.org", oid, country="SE"))
    assert ack.outcome is Outcome.ACCEPTED
    assert not account.requests


def test_one_record_in_two_changes_is_one_row(account_with, update):
    account = with_list(account_with(fields={"phone": "phone", "country": "country"}))
    oid = account.emulator.add_contact(L, "ann@example.org")
    acks = account.apply(update(L, "ann@example.org", oid, phone="1"), update(L, "ann@example.org", oid, country="SE"))
    assert account.last_body() == {"data": [{"_id": oid, "phone": "1", "country": "SE"}]}
    assert {ack.outcome for ack in acks} == {Outcome.ACCEPTED}


# -- refusals and outages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_single_refusal_is_an_ack_and_a_batch_is_split_by_the_caller(account, answered, subscribe, update, status):
    answer = answered({"error": {"status_code": status, "message": "a@x.org is not welcome"}}, status)
    single = subscribe(L, "a@x.org")
    (ack,) = converse(account.adapter.apply([single]), answer)
    assert (ack.outcome, ack.reason) == (Outcome.REFUSED, f"addToList: {status} … is not welcome")
    with pytest.raises(RefusedError) as error:
        converse(account.adapter.apply([single, subscribe(L, "b@x.org")]), answer)
    assert "a@x.org" not in str(error.value)


def test_a_batch_that_is_too_large_is_refused_as_a_whole_and_changes_nothing(account, subscribe):
    with_list(account).emulator.batch_max = 1
    changes = [subscribe(L, "a@x.org"), subscribe(L, "b@x.org")]
    with pytest.raises(RefusedError):
        account.apply(*changes)
    assert emails(account) == []
    assert [account.apply(change)[0].outcome for change in changes] == [Outcome.ACCEPTED] * 2


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"error": {"status_code": 401, "message": ""}}, 401, UnauthorisedError),
        ({"error": {"status_code": 429, "message": ""}}, 429, ThrottledError),
        ({"error": {"status_code": 500, "message": ""}}, 200, UnavailableError),
        ("<html>", 200, MalformedError),
        ({"error": "?"}, 200, MalformedError),
    ],
)
def test_what_concerns_the_call_is_raised_for_all_its_changes(
    account_with, answered, subscribe, unsubscribe, update, body, status, kind
):
    adapter = account_with(fields={"phone": "phone"}).adapter
    for change in (subscribe(L, "a@x.org"), unsubscribe(L, "a@x.org", "k"), update(L, "a@x.org", "k", phone="1")):
        with pytest.raises(kind):
            converse(adapter.apply([change]), answered(body, status))


def test_a_failed_addition_leaves_earlier_steps_repeatable(account_with, subscribe):
    account = with_list(account_with(on_unsubscribe="field"))
    oid = account.emulator.add_contact(L, "ann@example.org", status="unsubscribed")
    changes = [subscribe(L, "bob@example.org"), subscribe(L, "ann@example.org", oid)]
    account.emulator.faults.append(Fault(FaultKind.UNAVAILABLE, "addToList"))
    with pytest.raises(UnavailableError):
        account.apply(*changes)
    assert [ack.outcome for ack in account.apply(*changes)] == [Outcome.ACCEPTED] * 2
    assert Counter(emails(account)) == Counter({"ann@example.org": 1, "bob@example.org": 1})


def test_no_changes_are_no_call(account):
    assert account.apply() == []
    assert not account.requests


# -- rule -------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    copies=st.lists(st.integers(1, 3), min_size=1, max_size=6),
    no=st.sets(st.integers(0, 5)),
    mode=st.sampled_from(["remove", "field"]),
)
def test_after_a_no_nobody_is_reachable_and_all_others_are(account_with, unsubscribe, copies, no, mode):
    account = with_list(account_with(on_unsubscribe=mode))
    people = {
        f"p{n}@example.org": [account.emulator.add_contact(L, f"p{n}@example.org") for _ in range(count)]
        for n, count in enumerate(copies)
    }
    said = [person for n, person in enumerate(people) if n in no]
    acks = account.apply(*(unsubscribe(L, person, *people[person]) for person in said))
    assert [ack.outcome for ack in acks] == [Outcome.ACCEPTED] * len(said)
    reachable = Counter(seen.identity for seen in account.walk(L) if seen.status is Status.SUBSCRIBED)
    assert reachable == {person: len(oids) for person, oids in people.items() if person not in said}
