"""Lists and look-ups."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.errors import MalformedError, RefusedError
from syncd.domain.records import Container, ContainerId, Status
from syncd.providers.protocol import (
    CanApply,
    CanCreateList,
    CanFeed,
    CanList,
    CanLogin,
    CanLookup,
    CanNotify,
    CanPost,
    CanRegister,
    CanReport,
    CanSnapshot,
    capabilities_of,
)
from syncd.providers.rocketresponder import translate
from syncd.providers.rocketresponder.translate import read_fields, read_status
from syncd.wire import converse

SUBSCRIBER = {
    "ID": 2352,
    "LID": 154,
    "Email": "Ann@Example.org",
    "Name": "Ann Bee",
    "First": "Ann",
    "Last": "Bee",
    "Status": "Confirmed",
    "ConfirmTime": 1412776807,
    "UnsubTime": "",
    "Sent": "10",
    "Open": 5,
    "Click": 3,
    "Bounce": 0,
    "Custom": {"Username": "annb", "Mobile": "+46 70 123 45 67"},
}


def success(**members):
    return {"status": "Success", **members}


# --- what it is ------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("rocketresponder-nobody-can-be-listed")
def test_its_type_shows_what_it_can_do(adapter):
    able = {CanList, CanLookup, CanApply, CanNotify, CanPost, CanCreateList}
    every = able | {CanLogin, CanSnapshot, CanFeed, CanReport, CanRegister}
    assert {p for p in every if isinstance(adapter, p)} == able
    capabilities = capabilities_of(adapter)
    assert capabilities.accepts == set(ChangeKind)
    assert capabilities.facts.one_name_field
    assert capabilities.facts.looks_before_subscribe
    assert capabilities.facts.fields == {"first_name", "last_name"}
    assert not capabilities.facts.blind_unsubscribe
    assert capabilities.facts.batch == {}


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("rocketresponder-list-id-is-lid")
@pytest.mark.parametrize("key", ["LID", "ID", "both"])
@pytest.mark.parametrize("as_strings", [False, True])
def test_lists_are_read_whichever_key_holds_their_id(line, emulator, adapter, key, as_strings):
    emulator.list_id_key = key
    emulator.numbers_as_strings = as_strings
    one, two = emulator.add_list("Tips", "tips"), emulator.add_list("News", "news", lid="9007199254740993")
    emulator.add_subscriber(one, "ann@example.org")
    emulator.add_subscriber(one, "bob@example.org", status="Unconfirmed")
    containers = line(adapter.containers())
    assert [(c.id, c.name, c.active, c.remote) for c in containers] == [
        (one, "Tips", 1, {"permalink": "tips"}),
        (two, "News", 0, {"permalink": "news"}),
    ]


def test_active_may_count_the_unconfirmed_as_well(line, emulator, adapter, lid):
    emulator.active_counts = "all"
    for email, word in (("a@x.org", "Confirmed"), ("b@x.org", "Unconfirmed"), ("c@x.org", "Unsubscribed")):
        emulator.add_subscriber(lid, email, status=word)
    assert line(adapter.containers())[0].active == 2


@pytest.mark.quirk("rocketresponder-list-holds-array-or-object")
@pytest.mark.parametrize(
    "lists",
    [
        [{"ID": 22, "Name": "Tips", "Active": "32"}],
        {"ID": "22", "Name": "Tips", "Active": 32},
        {"0": {"LID": " 22 ", "Name": "Tips", "Active": 32.0 and 32}},
        [{"LID": 22, "Name": "Tips", "Active": 32}, "noise", {"Name": "without an id"}],
    ],
)
def test_lists_come_as_an_array_an_object_or_keyed_by_index(adapter, replying, lists):
    (container,) = replying(adapter.containers(), success(list=lists))
    assert (container.id, container.name, container.active) == ("22", "Tips", 32)


def test_when_both_ids_differ_the_one_clients_use_wins_and_the_other_is_kept(adapter, replying):
    (container,) = replying(adapter.containers(), success(list=[{"ID": 1, "LID": 22, "Name": 5, "Active": "many"}]))
    assert (container.id, container.name, container.active, container.remote) == ("22", "", None, {"ID": "1"})


@pytest.mark.parametrize(
    "sender",
    [
        {},
        {"FromEmail": "john@johnstips.com", "FromName": "John's Tips"},
        {"FromEmail": None, "FromName": ["?"]},
        {"FromEmail": "22", "FromName": "22"},
    ],
)
def test_of_a_list_its_sender_is_not_kept(adapter, replying, sender):
    one = {"LID": 154, "Permalink": "tips", "Name": "Tips", "Active": 32}
    assert replying(adapter.containers(), success(list=[one | sender])) == [
        Container(ContainerId("154"), "Tips", 32, {"permalink": "tips"})
    ]


UNUSED = {
    "JoinIP": "192.0.2.1",
    "JoinTime": 1412776783,
    "JoinURL": "https://www.rocketresponder.com/subscribe/test",
    "ConfirmIP": "192.0.2.2",
    "ConfirmURL": "https://x.example/thanks",
    "ActionTime": 1412776807,
    "ActionIP": "192.0.2.3",
    "UnsubIP": "192.0.2.4",
}


@pytest.mark.parametrize("odd", [None, ["?"], {"a": 1}, "\ufffd"])
def test_what_nothing_follows_from_is_kept_as_it_came_and_spoils_nothing(adapter, replying, target, odd):
    def seen(**more):
        (one,) = replying(adapter.lookup(target("ann@example.org")), success(subscriber={**SUBSCRIBER, **more}))
        return one

    whole = seen(**UNUSED)
    assert UNUSED.items() <= json.loads(whole.raw).items()
    assert whole._replace(raw=b"") == seen()._replace(raw=b"") == seen(**dict.fromkeys(UNUSED, odd))._replace(raw=b"")


@pytest.mark.parametrize("answer", [success(), success(list=[]), success(list={}), success(list=None, error="")])
def test_an_account_may_have_no_lists(adapter, replying, answer):
    assert replying(adapter.containers(), answer) == []


@pytest.mark.parametrize("lists", ["none", 7, True, [1, 2], [{"Name": "Tips"}], {"Name": "Tips"}])
def test_lists_in_another_shape_are_malformed_rather_than_none(adapter, replying, lists):
    with pytest.raises(MalformedError):
        replying(adapter.containers(), success(list=lists))


def test_check_is_the_listing_of_lists(line, adapter):
    assert line(adapter.check()) is None
    (request,) = line.sent
    assert (request.label, request.repeatable, request.token) == ("list/all", True, False)


# --- look-up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_strings", [False, True])
def test_a_subscriber_is_observed_as_it_stands(line, emulator, adapter, lid, target, as_strings):
    emulator.numbers_as_strings = as_strings
    there = emulator.add_subscriber(lid, "Ann@Example.org", "Ann von Bee", custom={"Username": "annb"})
    emulator.mail(lid)
    emulator.open_mail(lid, "ann@example.org")
    (seen,) = line(adapter.lookup(target("Ann@Example.org")))
    assert (seen.container, seen.key, seen.remote_id) == (lid, "ann@example.org", there.id)
    assert (seen.address, seen.identity, seen.status) == ("Ann@Example.org", "ann@example.org", Status.SUBSCRIBED)
    assert seen.fields == {"first_name": "Ann", "last_name": "von Bee"}
    assert seen.counters == {"sent": 1, "opened": 1, "clicked": 0, "bounced": 0}
    assert seen.unsubscribed_at is None
    assert seen.raw.startswith(b'{"ID":')
    assert (line.sent[0].label, line.sent[0].repeatable, line.sent[0].token) == ("subscriber/lookup", True, False)


@pytest.mark.quirk("rocketresponder-nobody-is-a-success")
@pytest.mark.parametrize("unknown", ["empty", "failed"])
@pytest.mark.parametrize("suffix", [False, True])
def test_nobody_there_is_nobody_however_it_is_said(line, emulator, adapter, lid, target, unknown, suffix):
    emulator.unknown_lookup = unknown
    emulator.error_code_suffix = suffix
    assert list(line(adapter.lookup(target("nobody@example.org")))) == []


@pytest.mark.parametrize(
    "answer",
    [
        success(),
        success(error=""),
        success(subscriber=None),
        success(subscriber=False),
        success(subscriber=""),
        success(subscriber=[]),
        success(subscriber={}),
        success(subscriber={"ID": ""}),
        success(subscriber={"ID": "0", "Email": "ann@example.org"}),
        success(subscriber={"ID": None}),
        {"subscriber": {}},
        {"status": "SUCCESS"},
        {"status": "Failed", "error": "Subscriber not found|404"},
        {"status": "failed", "error": "No subscriber with that address"},
        {"status": "Failed", "error": "ann@example.org does not exist on list 154"},
        {"status": "Success", "error": "Subscriber doesn't exist"},
        {"error": "Subscriber not found"},
    ],
)
def test_every_known_form_of_nobody(adapter, replying, target, answer):
    assert list(replying(adapter.lookup(target("ann@example.org")), answer)) == []


@pytest.mark.quirk("rocketresponder-texts-are-not-listed")
@pytest.mark.parametrize(
    "error", ["List not found|30", "This list does not exist", "Not subscribed", "Something went wrong"]
)
def test_a_failure_that_is_not_about_the_person_says_nothing_of_them(adapter, replying, target, error):
    with pytest.raises(RefusedError):
        replying(adapter.lookup(target("ann@example.org")), {"status": "Failed", "error": error})


@pytest.mark.quirk("rocketresponder-list-id-is-an-integer")
def test_a_list_id_that_is_no_integer_is_refused_and_nobody_is_missing_for_it(emulator, adapter, lid, target):
    emulator.add_subscriber(lid, "ann@example.org")
    with pytest.raises(RefusedError, match="List not found"):
        converse(adapter.lookup(target("ann@example.org", f"{lid}abc")), emulator.handle)


@pytest.mark.quirk("rocketresponder-newline-in-address")
def test_a_newline_behind_an_address_makes_nobody_else_of_it(adapter, replying, target):
    there = {**SUBSCRIBER, "Email": "Ann@example.org\n"}
    (seen,) = replying(adapter.lookup(target("ann@example.org")), success(subscriber=there))
    assert (seen.identity, seen.address) == ("ann@example.org", "Ann@example.org")


@pytest.mark.quirk("rocketresponder-sample-looks-up-by-subscribing")
@pytest.mark.parametrize("email", ["ann@example.org", "nobody@example.org"])
def test_looking_somebody_up_adds_nobody(line, emulator, adapter, lid, target, email):
    there = emulator.add_subscriber(lid, "ann@example.org", status="Unsubscribed")
    line(adapter.lookup(target(email)))
    assert [request.label for request in line.sent] == ["subscriber/lookup"]
    assert (emulator.writes, len(emulator.subscribers), there.subscribed) == (0, 1, 1)


@pytest.mark.parametrize("changed", [{"Email": "other@example.org"}, {"LID": 155}, {"LID": "155"}])
def test_an_answer_about_somebody_else_is_malformed(adapter, replying, target, changed):
    with pytest.raises(MalformedError, match="another subscriber") as caught:
        replying(adapter.lookup(target("ann@example.org")), success(subscriber={**SUBSCRIBER, **changed}))
    assert "@" not in str(caught.value)


@pytest.mark.parametrize("subscriber", ["ann", 7, [SUBSCRIBER], True])
def test_a_subscriber_that_is_no_object_is_malformed(adapter, replying, target, subscriber):
    with pytest.raises(MalformedError):
        replying(adapter.lookup(target("ann@example.org")), success(subscriber=subscriber))


@pytest.mark.parametrize("email", [None, "", 7, ["ann@example.org"]])
def test_without_a_readable_address_a_record_is_kept_and_says_nothing(adapter, replying, target, email):
    (seen,) = replying(adapter.lookup(target("ann@example.org")), success(subscriber={**SUBSCRIBER, "Email": email}))
    assert (seen.identity, seen.status) == (None, Status.UNKNOWN)
    assert (seen.key, seen.address) == ("ann@example.org", "ann@example.org")


def test_odd_members_do_not_spoil_the_rest(adapter, replying, target):
    odd = {"ID": 7, "Email": " ANN@example.org ", "Status": ["?"], "First": {}, "Last": 5, "Sent": "-1", "Custom": []}
    (seen,) = replying(adapter.lookup(target("ann@example.org")), success(subscriber=odd, more={"new": 1}))
    assert (seen.address, seen.status, seen.fields) == ("ANN@example.org", Status.UNKNOWN, {"last_name": "5"})
    assert (seen.remote_id, seen.counters) == ("7", {})


# --- standing --------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("rocketresponder-one-status-word-is-documented")
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.UNSUBSCRIBED, ["Unsubscribed"]),
        (Status.SUBSCRIBED, ["Confirmed", "Active", "Subscribed", "Verified"]),
        (Status.PENDING, ["Unconfirmed", "Pending", "New", "Waiting"]),
        (Status.BOUNCED, ["Bounced", "Undeliverable"]),
        (Status.COMPLAINED, ["Complained", "Complaint", "Spam"]),
    ],
)
def test_known_words(status, words):
    for word in words:
        assert read_status({"Status": word}) is read_status({"Status": f" {word.upper()} "}) is status


@pytest.mark.parametrize("word", ["Sleeping", "", None, 1, True, "subscribed?"])
def test_unknown_words_are_unknown(word):
    assert read_status({"Status": word}) is Status.UNKNOWN


def test_words_can_be_taught_and_the_taught_one_wins(make_adapter, replying, target):
    adapter = make_adapter(status_words={"Opted In": "subscribed", "New": "subscribed"})
    for word in ("opted in", "NEW"):
        answer = success(subscriber={**SUBSCRIBER, "Status": word})
        (seen,) = replying(adapter.lookup(target("ann@example.org")), answer)
        assert seen.status is Status.SUBSCRIBED


@pytest.mark.parametrize(
    ("word", "confirmed", "left", "status"),
    [
        ("Confirmed", 100, 200, Status.UNSUBSCRIBED),
        ("Confirmed", "100", "200", Status.UNSUBSCRIBED),
        ("Confirmed", 200, 100, Status.SUBSCRIBED),  # came back after leaving
        ("Confirmed", 100, 100, Status.SUBSCRIBED),
        ("Confirmed", 100, 0, Status.SUBSCRIBED),
        ("Confirmed", 100, "", Status.SUBSCRIBED),
        ("Confirmed", 100, None, Status.SUBSCRIBED),
        ("Confirmed", 100, "0000-00-00 00:00:00", Status.SUBSCRIBED),
        ("Confirmed", 0, 100, Status.UNSUBSCRIBED),
        ("Confirmed", "", 100, Status.UNSUBSCRIBED),
        ("Confirmed", "yesterday", 100, Status.UNSUBSCRIBED),
        ("Confirmed", 100, "2014-10-08 14:00:47", Status.UNKNOWN),  # cannot be compared, so it is no consent
        ("Confirmed", 100, 200.0, Status.UNSUBSCRIBED),
        ("Confirmed", "100.2", "100.5", Status.UNSUBSCRIBED),
        ("Unconfirmed", 100, 200, Status.UNSUBSCRIBED),
        ("Whatever", 100, 200, Status.UNSUBSCRIBED),
        ("Bounced", None, 200, Status.UNSUBSCRIBED),
        ("Unsubscribed", 200, 100, Status.UNSUBSCRIBED),
        ("Complained", 100, 200, Status.COMPLAINED),  # the stronger no stays
    ],
)
def test_times_beat_words(word, confirmed, left, status):
    assert read_status({"Status": word, "ConfirmTime": confirmed, "UnsubTime": left}) is status


@given(
    word=st.sampled_from([*translate.STATUS_WORDS, "?"]),
    confirmed=st.integers(0, 2**33),
    left=st.integers(1, 2**33),
)
def test_who_left_after_confirming_never_reads_as_subscribed(word, confirmed, left):
    status = read_status({"Status": word, "ConfirmTime": str(confirmed), "UnsubTime": left})
    if left > confirmed:
        assert status in {Status.UNSUBSCRIBED, Status.COMPLAINED}
    else:
        assert status is translate.STATUS_WORDS.get(word, Status.UNKNOWN)


def test_the_time_of_leaving_is_kept_as_it_came(line, emulator, adapter, lid, target, clock):
    emulator.add_subscriber(lid, "ann@example.org")
    clock.forward(minutes=5)
    emulator.person_unsubscribes(lid, "ann@example.org")
    (seen,) = line(adapter.lookup(target("ann@example.org")))
    assert (seen.status, seen.unsubscribed_at) == (Status.UNSUBSCRIBED, str(int(clock().timestamp())))


@pytest.mark.quirk("rocketresponder-times-may-be-empty")
@pytest.mark.parametrize("unset", ["zero", "empty"])
@pytest.mark.parametrize("as_strings", [False, True])
def test_what_has_not_happened_has_no_time(line, emulator, adapter, lid, target, unset, as_strings):
    emulator.unset_times, emulator.numbers_as_strings = unset, as_strings
    emulator.add_subscriber(lid, "ann@example.org")
    (seen,) = line(adapter.lookup(target("ann@example.org")))
    assert (seen.status, seen.unsubscribed_at) == (Status.SUBSCRIBED, None)


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"First": "Ann", "Last": "Bee", "Name": "Other Name"}, {"first_name": "Ann", "last_name": "Bee"}),
        ({"First": "Ann", "Last": "", "Name": "Ann Bee"}, {"first_name": "Ann"}),
        ({"First": "", "Last": "", "Name": "  Ann  von Bee "}, {"first_name": "Ann", "last_name": "von Bee"}),
        ({"Name": "Ann"}, {"first_name": "Ann"}),
        ({"First": " ", "Name": ""}, {}),
        ({}, {}),
    ],
)
def test_names(members, fields):
    assert read_fields(members) == fields


def test_custom_members_only_when_mapped(make_adapter, replying, target):
    plain, mapped = make_adapter(), make_adapter(fields={"nickname": "custom:Username", "phone": "custom:Mobile"})
    answer = success(subscriber=SUBSCRIBER)
    (seen,) = replying(plain.lookup(target("ann@example.org")), answer)
    assert seen.fields == {"first_name": "Ann", "last_name": "Bee"}
    (seen,) = replying(mapped.lookup(target("ann@example.org")), answer)
    assert seen.fields == {"first_name": "Ann", "last_name": "Bee", "nickname": "annb", "phone": "+46701234567"}


@pytest.mark.parametrize(
    ("given_phone", "read"),
    [
        ("+46701234567", {"phone": "+46701234567"}),
        ("call me", {"phone": "call me"}),
        ("", {}),
        (["+46701234567"], {"?phone": "\ufffd"}),
        ([], {}),
    ],
)
def test_phones_are_read_as_numbers_or_kept_as_they_came(given_phone, read):
    assert read_fields({"Custom": {"Mobile": given_phone}}, {"phone": "custom:Mobile"}) == read


def test_a_name_read_from_elsewhere_cannot_be_written(make_adapter):
    assert make_adapter(fields={"first_name": "custom:Given"}).facts.fields == frozenset()
    assert make_adapter(fields={"phone": "custom:Mobile"}).facts.fields == {"first_name", "last_name"}


def test_ids_larger_than_a_double_survive(adapter, replying, target):
    big = ContainerId("90071992547409931")
    answer = success(subscriber={"ID": 90071992547409933, "LID": int(big), "Email": "ann@example.org"})
    (seen,) = replying(adapter.lookup(target("ann@example.org", big)), answer)
    assert (seen.container, seen.remote_id) == (big, "90071992547409933")
