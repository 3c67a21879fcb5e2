from __future__ import annotations

import json

import pytest

from syncd.domain.changes import Change, ChangeKind, Outcome
from syncd.domain.errors import FailedError, MalformedError, ThrottledError, UnauthorisedError, UnavailableError
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Status
from syncd.emulators.emulator import Fault, FaultKind
from syncd.wire import Response, converse

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE


@pytest.fixture
def crm(crm):
    crm.emulator.add_list("L-1", "Spring")
    return crm


def answered(crm, kind, *responses, container=WHOLE_ACCOUNT, **more):
    """Apply against given answers; the last one repeats."""
    replies = list(responses)
    change = Change(kind, ContainerId(container), Identity("ann@example.org"), "ann@example.org", **more)
    (ack,) = converse(crm.adapter.apply([change]), lambda _: replies.pop(0) if len(replies) > 1 else replies[0])
    return ack


def ok(**body):
    return Response(200, {}, json.dumps(body).encode())


def customers(*found):
    return ok(page=1, pageSize=500, totalCount=len(found), customers=found)


# Unsubscribe


def test_an_unsubscribe_of_the_account_withdraws_the_consent(crm):
    key = crm.emulator.add_customer("ann@example.org")
    ack = crm.change(UNSUBSCRIBE, "ann@example.org", keys=(key,))
    assert (ack.outcome, ack.receipt, ack.keys) == (Outcome.ACCEPTED, key, (key,))
    assert crm.emulator.customers[key].consent is False
    assert json.loads(crm.asked[-1].body) == {"emailConsent": False}
    assert crm.asked[-1].repeatable


def test_an_unsubscribe_reaches_all_who_share_the_address(crm):
    keys = tuple(crm.emulator.add_customer("ann@example.org") for _ in range(3))
    ack = crm.change(UNSUBSCRIBE, "ann@example.org", keys=keys[:2], account_key=keys[2])
    assert (ack.outcome, ack.keys) == (Outcome.ACCEPTED, keys)
    assert {one.consent for one in crm.emulator.customers.values()} == {False}


def test_an_unsubscribe_from_a_list_leaves_the_consent_alone(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.add_member("L-1", key)
    ack = crm.change(UNSUBSCRIBE, "ann@example.org", "L-1", keys=(key,))
    assert ack.outcome is Outcome.ACCEPTED
    assert crm.emulator.lists["L-1"].members[key].status == "unsubscribed"
    assert crm.emulator.customers[key].consent is True
    assert crm.everyone("L-1")[key].status is Status.UNSUBSCRIBED


def test_without_a_key_the_customers_are_looked_for(crm):
    keys = {crm.emulator.add_customer("ann@example.org") for _ in range(2)}
    ack = crm.change(UNSUBSCRIBE, "ann@example.org")
    assert set(ack.keys) == keys
    assert {one.consent for one in crm.emulator.customers.values()} == {False}


def test_nobody_to_unsubscribe_is_refused(crm):
    ack = crm.change(UNSUBSCRIBE, "ann@example.org")
    assert ack.outcome is Outcome.REFUSED
    assert crm.emulator.writes == 0


def test_a_failing_record_does_not_keep_the_others_subscribed(crm):
    first, second = (crm.emulator.add_customer("ann@example.org") for _ in range(2))
    crm.emulator.poison.add(first)
    with pytest.raises(UnavailableError):
        crm.change(UNSUBSCRIBE, "ann@example.org", keys=(first, second))
    assert crm.emulator.customers[second].consent is False


def test_an_unsubscribe_twice_changes_nothing_more(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.add_member("L-1", key)
    for _ in range(2):
        crm.pass_time()
        crm.change(UNSUBSCRIBE, "ann@example.org", "L-1", keys=(key,))
    assert crm.everyone("L-1")[key].unsubscribed_at == "2026-11-21T12:01:00.000Z"


def test_some_refused_and_some_taken_is_uncertain(crm):
    ack = answered(
        crm, UNSUBSCRIBE, ok(id="1", emailConsent=False), Response(409, {}, b'{"message":"locked"}'), keys=("1", "2")
    )
    assert ack.outcome is Outcome.UNCERTAIN
    assert ack.keys == ("1",)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"id":"1"', b'{"error":"x"}', b'{"id":"1","emailConsent":true}', b'{"id":"1"}']
)
def test_a_success_that_does_not_show_the_change_is_uncertain(crm, body):
    ack = answered(crm, UNSUBSCRIBE, Response(200, {}, body), keys=("1",))
    assert ack.outcome is Outcome.UNCERTAIN
    assert ack.keys == ()
    assert ack.reason


def test_a_complaint_is_as_good_as_an_unsubscribe(crm):
    ack = answered(crm, UNSUBSCRIBE, ok(customerId="1", status="complained"), container="L-1", keys=("1",))
    assert ack.outcome is Outcome.ACCEPTED
    ack = answered(crm, UNSUBSCRIBE, ok(customerId="1", status="bounced"), container="L-1", keys=("1",))
    assert ack.outcome is Outcome.UNCERTAIN


# Subscribe


def test_a_new_person_is_created_and_joins_the_list(crm):
    ack = crm.change(
        SUBSCRIBE, "Ann@example.org", "L-1", fields={"first_name": "Ann", "phone": "+46701234567", "country": "SE"}
    )
    (customer,) = crm.emulator.customers.values()
    assert (ack.outcome, ack.keys, ack.receipt) == (Outcome.ACCEPTED, (customer.id,), customer.id)
    assert (customer.email, customer.first_name, customer.mobile) == ("Ann@example.org", "Ann", "+46701234567")
    assert customer.consent is True
    assert crm.emulator.lists["L-1"].members[customer.id].status == "subscribed"
    assert crm.writes() == [("POST", "/customers"), ("PUT", f"/lists/L-1/members/{customer.id}")]
    assert not any(request.repeatable for request in crm.asked if request.method != "GET" and request.token)


def test_a_known_customer_joins_and_is_not_changed(crm):
    key = crm.emulator.add_customer("ann@example.org", "Ann")
    ack = crm.change(SUBSCRIBE, "ann@example.org", "L-1", account_key=key, fields={"first_name": "Anna"})
    assert (ack.outcome, ack.keys) == (Outcome.ACCEPTED, (key,))
    assert crm.emulator.customers[key].first_name == "Ann"
    assert crm.writes() == [("PUT", f"/lists/L-1/members/{key}")]


@pytest.mark.parametrize("container", ["L-1", WHOLE_ACCOUNT])
def test_who_has_withdrawn_consent_is_not_subscribed_but_reported(crm, container):
    key = crm.emulator.add_customer("ann@example.org", consent=False)
    ack = crm.change(SUBSCRIBE, "ann@example.org", container, account_key=key)
    assert ack.outcome is Outcome.STALE
    assert [(one.key, one.status) for one in ack.seen] == [(key, Status.UNSUBSCRIBED)]
    assert crm.emulator.writes == 0


def test_one_withdrawal_among_several_customers_is_enough(crm):
    crm.emulator.add_customer("ann@example.org")
    crm.emulator.add_customer("ann@example.org", consent=False)
    ack = crm.change(SUBSCRIBE, "ann@example.org", "L-1")
    assert ack.outcome is Outcome.STALE
    assert len(ack.seen) == 2
    assert crm.emulator.writes == 0


@pytest.mark.parametrize("container", ["L-1", WHOLE_ACCOUNT])
def test_of_two_customers_none_is_used(crm, container):
    keys = [crm.emulator.add_customer("ann@example.org") for _ in range(2)]
    ack = crm.change(SUBSCRIBE, "ann@example.org", container, account_key=keys[0])
    assert (ack.outcome, ack.reason) == (Outcome.REFUSED, "two customers share the address")
    assert crm.emulator.writes == 0


def test_a_linked_customer_who_moved_to_another_address_is_planned_again(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.edit_customer(key, email="new@example.org")
    ack = crm.change(SUBSCRIBE, "ann@example.org", "L-1", account_key=key)
    assert ack.outcome is Outcome.STALE
    assert [one.identity for one in ack.seen] == ["new@example.org"]
    assert crm.emulator.writes == 0


def test_a_linked_customer_who_seems_gone_is_not_made_anew(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.remove_customer(key)
    with pytest.raises(UnavailableError):
        crm.change(SUBSCRIBE, "ann@example.org", "L-1", account_key=key)
    assert crm.emulator.writes == 0


def test_the_account_alone_takes_only_new_people(crm):
    ack = crm.change(SUBSCRIBE, "ann@example.org", fields={"last_name": "Berg"})
    assert ack.outcome is Outcome.ACCEPTED
    assert crm.emulator.customers[ack.keys[0]].last_name == "Berg"
    again = crm.change(SUBSCRIBE, "ann@example.org")
    assert again.outcome is Outcome.STALE
    assert [one.key for one in again.seen] == list(ack.keys)
    assert crm.emulator.writes == 1


def test_a_look_that_fails_sends_nothing(crm):
    crm.carry(crm.adapter.check())
    crm.emulator.faults.append(Fault(FaultKind.TRUNCATED, "/customers"))
    with pytest.raises(MalformedError):
        crm.change(SUBSCRIBE, "ann@example.org", "L-1")
    assert crm.emulator.writes == 0


def test_a_creation_whose_answer_cannot_be_read_is_uncertain(crm):
    ack = answered(crm, SUBSCRIBE, customers(), Response(200, {}, b"<html>"), container="L-1")
    assert (ack.outcome, ack.keys) == (Outcome.UNCERTAIN, ())
    ack = answered(crm, SUBSCRIBE, customers(), ok(email="ann@example.org"), container="L-1")
    assert (ack.outcome, ack.keys) == (Outcome.UNCERTAIN, ())


def test_a_half_done_subscription_is_finished_by_the_next_attempt(crm):
    crm.carry(crm.adapter.check())
    crm.emulator.faults.append(Fault(FaultKind.FAILED, "/lists/L-1/members/"))
    with pytest.raises(UnavailableError):
        crm.change(SUBSCRIBE, "ann@example.org", "L-1")
    ack = crm.change(SUBSCRIBE, "ann@example.org", "L-1")
    assert ack.outcome is Outcome.ACCEPTED
    assert len(crm.emulator.customers) == 1


def test_dynamic_fields_of_a_new_customer_are_filled_as_far_as_they_fit(crm):
    crm.use(fields={"country": "dynamic:land", "postal_code": "dynamic:zip", "language": "dynamic:nowhere"})
    crm.emulator.define_dynamic("land")
    crm.emulator.define_dynamic("zip", "number")
    fields = {"first_name": "Ann", "country": "SE", "postal_code": "SW1A 1AA", "language": "sv"}
    ack = crm.change(SUBSCRIBE, "ann@example.org", "L-1", fields=fields)
    assert ack.outcome is Outcome.ACCEPTED
    (customer,) = crm.emulator.customers.values()
    assert customer.dynamic == {"land": "SE"}


# Update


def test_an_update_sends_only_what_differs(crm):
    key = crm.emulator.add_customer("ann@example.org", "Ann", "Berg", mobile="+46701234567")
    ack = crm.change(UPDATE, "ann@example.org", keys=(key,), fields={"last_name": "Borg"})
    assert (ack.outcome, ack.keys) == (Outcome.ACCEPTED, (key,))
    customer = crm.emulator.customers[key]
    assert (customer.first_name, customer.last_name, customer.mobile) == ("Ann", "Borg", "+46701234567")
    assert json.loads(crm.asked[-1].body) == {"lastName": "Borg"}
    assert not crm.asked[-1].repeatable


def test_an_update_can_go_to_the_dynamic_fields_in_their_types(crm):
    crm.use(fields={"country": "dynamic:land", "postal_code": "dynamic:zip", "language": "dynamic:flag"})
    for name, kind in (("land", "string"), ("zip", "number"), ("flag", "boolean")):
        crm.emulator.define_dynamic(name, kind)
    key = crm.emulator.add_customer("ann@example.org")
    fields = {"first_name": "Ann", "country": "SE", "postal_code": "11122", "language": "true"}
    ack = crm.change(UPDATE, "ann@example.org", account_key=key, fields=fields)
    assert (ack.outcome, ack.keys) == (Outcome.ACCEPTED, (key,))
    assert crm.emulator.customers[key].dynamic == {"land": "SE", "zip": 11122, "flag": True}
    assert crm.emulator.customers[key].first_name == "Ann"
    (seen,) = crm.look("ann@example.org")
    assert seen.fields == fields


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("number", "SW1A 1AA", "takes a number"),
        ("number", "007", "takes a number"),
        ("boolean", "yes", "true or false"),
        (None, "x", "no dynamic field"),
    ],
)
def test_a_dynamic_value_that_does_not_fit_leaves_nothing_half_done(crm, kind, value, reason):
    crm.use(fields={"postal_code": "dynamic:zip"})
    if kind:
        crm.emulator.define_dynamic("zip", kind)
    key = crm.emulator.add_customer("ann@example.org")
    ack = crm.change(UPDATE, "ann@example.org", keys=(key,), fields={"first_name": "Ann", "postal_code": value})
    assert ack.outcome is Outcome.REFUSED
    assert reason in ack.reason
    assert crm.emulator.writes == 0


@pytest.mark.parametrize(
    ("container", "more", "reason"),
    [
        (WHOLE_ACCOUNT, {"keys": ("1", "2"), "fields": {"first_name": "Ann"}}, "two customers share the address"),
        (WHOLE_ACCOUNT, {"keys": ("1",), "account_key": "2", "fields": {"first_name": "Ann"}}, "two customers"),
        (WHOLE_ACCOUNT, {"fields": {"first_name": "Ann"}}, "no customer is known"),
        (WHOLE_ACCOUNT, {"keys": ("1",), "fields": {"country": "SE"}}, "none of the fields"),
        ("L-1", {"keys": ("1",), "fields": {"first_name": "Ann"}}, "membership has no fields"),
    ],
)
def test_updates_that_can_never_be_are_refused_without_a_call(crm, container, more, reason):
    ack = crm.change(UPDATE, "ann@example.org", container, **more)
    assert ack.outcome is Outcome.REFUSED
    assert reason in ack.reason
    assert crm.asked == []


# Answers to writes


@pytest.mark.quirk("rocs-500-means-anything")
def test_a_500_on_a_write_may_be_an_outage_whatever_it_says(crm):
    key = crm.emulator.add_customer("ann@example.org", "Ann")
    with pytest.raises(FailedError, match="validation: 'mobile' is not a phone number") as raised:
        crm.change(UPDATE, "ann@example.org", keys=(key,), fields={"phone": "x"})
    assert raised.value.call == "put-customer"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, UnauthorisedError),
        (403, UnauthorisedError),
        (429, ThrottledError),
        (503, UnavailableError),
        (302, MalformedError),
    ],
)
def test_answers_about_the_account_are_raised(crm, status, error):
    with pytest.raises(error):
        answered(crm, UNSUBSCRIBE, Response(status, {}, b"{}"), keys=("1",))


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_other_refusals_park_the_record_with_a_reason_that_names_nobody(crm, status):
    body = json.dumps({"message": "Ann Berg <ann@example.org>,\r\nann%40example.org, +46 70 123 45 67: bad mobile"})
    ack = answered(
        crm, UPDATE, Response(status, {}, body.encode()), keys=("1",), fields={"first_name": "Ann", "last_name": "Berg"}
    )
    assert ack.outcome is Outcome.REFUSED
    assert str(status) in ack.reason
    assert "bad mobile" in ack.reason
    for private in ("Ann", "Berg", "example", "123", "\n"):
        assert private not in ack.reason


def test_a_reason_is_of_bounded_length(crm):
    ack = answered(crm, UNSUBSCRIBE, Response(400, {}, json.dumps({"message": "x " * 9999}).encode()), keys=("1",))
    assert len(ack.reason) < 300


@pytest.mark.quirk("rocs-success-is-always-200")
def test_create_update_and_delete_all_answer_200(crm):
    crm.change(SUBSCRIBE, "ann@example.org", fields={"first_name": "Ann"})
    (key,) = crm.emulator.customers
    crm.change(UPDATE, "ann@example.org", keys=(key,), fields={"first_name": "Anna"})
    crm.carry(crm.adapter.delete_customer(key))
    assert crm.emulator.customers == {}
    done = [(call.method, call.status) for call in crm.emulator.calls if call.write]
    assert done == [("POST", 200), ("PUT", 200), ("DELETE", 200)]


def test_a_deletion_that_fails_says_so(crm):
    with pytest.raises(UnavailableError, match="delete-customer: HTTP 500"):
        crm.carry(crm.adapter.delete_customer("C-1"))


def test_many_changes_are_answered_in_order(crm):
    keys = [crm.emulator.add_customer(f"p{n}@example.org") for n in range(3)]
    changes = [
        Change(UNSUBSCRIBE, WHOLE_ACCOUNT, Identity(f"p{n}@example.org"), f"p{n}@example.org", keys=(key,))
        for n, key in enumerate(keys)
    ]
    assert [ack.receipt for ack in crm.carry(crm.adapter.apply(changes))] == keys


def test_ids_with_any_character_stay_one_part_of_the_path(crm):
    crm.emulator.add_list("a/b", "Odd")
    key = crm.emulator.add_customer("ann@example.org", customer_id="C/1?x=ä#")
    crm.change(UNSUBSCRIBE, "ann@example.org", "a/b", keys=(key,))
    assert crm.emulator.lists["a/b"].members[key].status == "unsubscribed"
    crm.change(UNSUBSCRIBE, "ann@example.org", keys=(key,))
    assert crm.emulator.customers[key].consent is False


def test_labels_of_writes_name_nobody(crm):
    key = crm.emulator.add_customer("ann@example.org")
    crm.change(UNSUBSCRIBE, "ann@example.org", keys=(key,))
    crm.change(UNSUBSCRIBE, "ann@example.org", "L-1", keys=(key,))
    crm.change(SUBSCRIBE, "bo@example.org")
    labels = {request.label for request in crm.asked if request.method != "GET"}
    assert labels == {"token", "put-customer", "put-member", "post-customers"}
    assert "ann" not in repr(crm.asked)


def test_an_error_inside_a_success_is_no_success(crm):
    ack = answered(crm, UPDATE, ok(error="no such field"), keys=("1",), fields={"first_name": "Ann"})
    assert ack.outcome is Outcome.UNCERTAIN
    ack = answered(crm, SUBSCRIBE, customers(), ok(id="1", error="half done"), container="L-1")
    assert (ack.outcome, ack.keys) == (Outcome.UNCERTAIN, ())
