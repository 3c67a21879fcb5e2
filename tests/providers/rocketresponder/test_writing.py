"""Unsubscribes, subscriptions, names, new lists."""

import json
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from syncd.domain.changes import ChangeKind, Outcome
from syncd.domain.errors import MalformedError, RefusedError
from syncd.domain.records import Status
from syncd.providers.protocol import CanCreateList, CanList
from syncd.wire import Response, converse

BASE_URL = "http://127.0.0.1:8703/api"

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE


def test_an_unsubscribe_is_taken_and_reads_back(line, emulator, adapter, lid, change, target):
    there = emulator.add_subscriber(lid, "Ann@Example.org")
    (ack,) = line(adapter.apply([change(UNSUBSCRIBE, "Ann@Example.org")]))
    assert (ack.outcome, ack.receipt, ack.keys, ack.seen) == (Outcome.ACCEPTED, there.id, ("ann@example.org",), ())
    (seen,) = line(adapter.lookup(target("Ann@Example.org")))
    assert seen.status is Status.UNSUBSCRIBED
    request = line.sent[0]
    assert (request.label, request.repeatable, request.token) == ("subscriber/unsubscribe", True, False)


def test_an_unsubscribe_repeated_changes_nothing(line, emulator, adapter, lid, change, clock):
    there = emulator.add_subscriber(lid, "ann@example.org")
    line(adapter.apply([change(UNSUBSCRIBE, "ann@example.org")]))
    first = there.unsub_time
    clock.forward(hours=1)
    (ack,) = line(adapter.apply([change(UNSUBSCRIBE, "ann@example.org")]))
    assert (ack.outcome, there.unsub_time, there.unsubscribed) == (Outcome.ACCEPTED, first, 1)


def test_an_unsubscribe_of_a_stranger_is_refused(line, adapter, lid, change):
    (ack,) = line(adapter.apply([change(UNSUBSCRIBE, "nobody@example.org")]))
    assert ack.outcome is Outcome.REFUSED
    assert "not found" in ack.reason
    assert "@" not in ack.reason


def test_a_newcomer_is_looked_up_and_subscribed(line, emulator, adapter, lid, change):
    new = change(SUBSCRIBE, "New.One@Example.org", first_name="New", last_name="One", phone="+46701234567")
    (ack,) = line(adapter.apply([new]))
    there = emulator.subscriber(lid, "new.one@example.org")
    assert there is not None
    assert (ack.outcome, ack.receipt, ack.keys) == (Outcome.ACCEPTED, there.id, ("new.one@example.org",))
    assert (there.email, there.name, there.status) == ("New.One@Example.org", "New One", "Unconfirmed")
    assert [(r.label, r.repeatable) for r in line.sent] == [
        ("subscriber/lookup", True),
        ("subscriber/subscribe", False),
    ]
    assert line.fields().keys() == {"email", "LID", "name", "Time"}


def test_a_newcomer_without_a_name_is_subscribed_without_one(line, emulator, make_adapter, lid, change):
    line(make_adapter(confirm_url="https://x.example/thanks").apply([change(SUBSCRIBE, "new@example.org")]))
    assert line.fields().keys() == {"email", "LID", "ConfirmURL", "Time"}
    there = emulator.subscriber(lid, "new@example.org")
    assert there is not None
    assert there.confirm_url == "https://x.example/thanks"


def test_each_list_may_have_its_own_page_for_who_confirmed(line, emulator, make_adapter, lid, change):
    emulator.add_list("Events", lid="155")
    own = make_adapter(confirm_url="https://x.example/thanks", confirm_urls={lid: "https://x.example/tips"})
    line(own.apply([change(SUBSCRIBE, "new@example.org", lid), change(SUBSCRIBE, "new@example.org", "155")]))
    landing = {key[0]: one.confirm_url for key, one in emulator.subscribers.items()}
    assert landing == {lid: "https://x.example/tips", "155": "https://x.example/thanks"}


@pytest.mark.quirk("rocketresponder-confirm-url-and-confirm-link")
def test_the_page_for_who_confirmed_has_two_names_and_we_read_neither(
    line, emulator, make_adapter, lid, change, target
):
    emulator.webhook_urls = {(lid, "subscribe"): "https://x.example/subscribe"}
    adapter = make_adapter(confirm_url="https://x.example/thanks")
    line(adapter.apply([change(SUBSCRIBE, "new@example.org")]))
    sent = dict(parse_qsl(emulator.outgoing[0].body.decode(), keep_blank_values=True))
    assert (sent["ConfirmLink"], "ConfirmURL" in sent) == ("https://x.example/thanks", False)
    (seen,) = line(adapter.lookup(target("new@example.org")))
    assert json.loads(seen.raw)["ConfirmURL"] == "https://x.example/thanks"
    assert "https://x.example/thanks" not in repr(seen._replace(raw=b""))


@pytest.mark.quirk("rocketresponder-names-in-mixed-case")
@pytest.mark.parametrize(
    ("kind", "fields", "names"),
    [
        (UNSUBSCRIBE, {}, {"email", "LID"}),
        (SUBSCRIBE, {"first_name": "Ann"}, {"email", "LID", "name"}),
        (UPDATE, {"first_name": "Ann", "last_name": "Bee"}, {"email", "LID", "newemail", "name"}),
    ],
)
def test_parameters_are_spelt_as_the_page_spells_them(line, emulator, adapter, lid, change, kind, fields, names):
    if kind is not SUBSCRIBE:
        emulator.add_subscriber(lid, "ann@example.org")
    (ack,) = line(adapter.apply([change(kind, "ann@example.org", **fields)]))
    assert ack.outcome is Outcome.ACCEPTED
    assert line.fields().keys() == {*names, "Time"}


@pytest.mark.quirk("rocketresponder-post-only")
def test_everything_is_posted_and_nothing_stands_in_an_address(line, emulator, adapter, lid, change, target):
    line(adapter.containers())
    line(adapter.lookup(target("ann@example.org")))
    line(adapter.apply([change(kind, "ann@example.org", first_name="A", last_name="B") for kind in ChangeKind]))
    line(adapter.create_list("N", NEW))
    assert len({request.label for request in line.sent}) == 6
    assert {request.method for request in line.sent} == {"POST"}
    assert {request.url for request in line.sent} == {f"{BASE_URL}/{request.label}" for request in line.sent}


@pytest.mark.quirk("rocketresponder-subscribe-may-bring-back")
@pytest.mark.parametrize("word", ["Unsubscribed", "Confirmed", "Unconfirmed", "Complained", "Whatever"])
def test_nobody_who_is_there_is_ever_subscribed_again(line, emulator, adapter, lid, change, word):
    there = emulator.add_subscriber(lid, "ann@example.org", status=word)
    (ack,) = line(adapter.apply([change(SUBSCRIBE, "ann@example.org")]))
    assert ack.outcome is Outcome.STALE
    assert [seen.remote_id for seen in ack.seen] == [there.id]
    assert (emulator.writes, there.status, there.subscribed) == (0, word, 1)


def test_the_emulated_service_would_have_resubscribed(emulator, adapter, lid, line, change):
    # Why the look before is there: told outright, the service brings back who left.
    there = emulator.add_subscriber(lid, "ann@example.org", status="Unsubscribed")
    line(adapter._write("subscriber/subscribe", change(SUBSCRIBE, "ann@example.org"), ()))
    assert (there.status, there.subscribed) == ("Unconfirmed", 2)


def test_who_came_back_by_hand_reads_subscribed_only_after_confirming(line, emulator, adapter, lid, target, clock):
    emulator.add_subscriber(lid, "ann@example.org")
    clock.forward(days=1)
    emulator.person_unsubscribes(lid, "ann@example.org")
    clock.forward(days=1)
    there = emulator.subscriber(lid, "ann@example.org")
    assert there is not None
    there.status = "Unconfirmed"
    assert line(adapter.lookup(target("ann@example.org")))[0].status is Status.UNSUBSCRIBED
    clock.forward(days=1)
    emulator.confirm(lid, "ann@example.org")
    assert line(adapter.lookup(target("ann@example.org")))[0].status is Status.SUBSCRIBED


def test_a_name_is_changed_under_the_same_address(line, emulator, adapter, lid, change):
    there = emulator.add_subscriber(lid, "Ann@Example.org", "Ann Bee")
    (ack,) = line(adapter.apply([change(UPDATE, "Ann@Example.org", first_name="Anna", last_name="Cee")]))
    assert (ack.outcome, ack.receipt, there.name) == (Outcome.ACCEPTED, there.id, "Anna Cee")
    (request,) = line.sent
    assert (request.label, request.repeatable) == ("subscriber/modify", False)
    assert line.fields()["newemail"] == line.fields()["email"] == "Ann@Example.org"
    assert len(emulator.subscribers) == 1


def test_half_a_name_is_completed_by_a_look(line, emulator, adapter, lid, change):
    there = emulator.add_subscriber(lid, "ann@example.org", "Ann Bee")
    (ack,) = line(adapter.apply([change(UPDATE, "ann@example.org", last_name="Cee", first_name="")]))
    assert (ack.outcome, there.name) == (Outcome.ACCEPTED, "Ann Cee")
    assert [seen.fields for seen in ack.seen] == [{"first_name": "Ann", "last_name": "Bee"}]


def test_half_a_name_of_nobody_is_stale(line, emulator, adapter, lid, change):
    (ack,) = line(adapter.apply([change(UPDATE, "nobody@example.org", last_name="Cee")]))
    assert (ack.outcome, emulator.writes) == (Outcome.STALE, 0)


@pytest.mark.parametrize("fields", [{}, {"phone": "+46701234567"}, {"first_name": " "}])
def test_an_update_without_a_name_is_refused_unsent(line, adapter, lid, change, fields):
    (ack,) = line(adapter.apply([change(UPDATE, "ann@example.org", **fields)]))
    assert ack.outcome is Outcome.REFUSED
    assert line.sent == []


def test_a_name_of_nobody_is_refused(line, adapter, lid, change):
    (ack,) = line(adapter.apply([change(UPDATE, "nobody@example.org", first_name="A", last_name="B")]))
    assert ack.outcome is Outcome.REFUSED


# --- another address -------------------------------------------------------------------------------------------------


def moving(change, new="new@example.net", old="Old@Example.org", **fields):
    return replace(change(SUBSCRIBE, new, **fields), replaces=old)


@pytest.mark.parametrize("shown", [True, False])
def test_an_address_is_changed_by_asking_the_new_one_to_confirm(
    line, emulator, make_adapter, lid, change, target, shown
):
    emulator.shows_unconfirmed_changes = shown
    old = emulator.add_subscriber(lid, "Old@Example.org", "Olga Old")
    adapter = make_adapter(confirm_url="https://x.example/any", confirm_urls={lid: "https://x.example/tips"})
    (ack,) = line(adapter.apply([moving(change, first_name="Olga", last_name="New")]))
    assert (ack.outcome, ack.keys) == (Outcome.ACCEPTED, ())
    assert [(r.label, r.repeatable) for r in line.sent] == [
        ("subscriber/lookup", True),
        ("subscriber/lookup", True),
        ("subscriber/modify", False),
    ]
    sent = line.fields()
    assert sent.pop("Time")
    assert sent == {
        "email": "Old@Example.org",
        "LID": lid,
        "newemail": "new@example.net",
        "name": "Olga New",
        "ConfirmURL": "https://x.example/tips",
    }
    assert old.status == "Confirmed"
    found = line(adapter.lookup(target("new@example.net")))
    assert [seen.status for seen in found] == ([Status.PENDING] if shown else [])
    emulator.confirm(lid, "new@example.net")
    assert [line(adapter.lookup(target(email)))[0].status for email in (old.email, "new@example.net")] == [
        Status.UNSUBSCRIBED,
        Status.SUBSCRIBED,
    ]


def test_a_change_of_address_names_no_page_and_no_name_where_none_is_known(line, emulator, adapter, lid, change):
    emulator.add_subscriber(lid, "old@example.org", "Olga Old")
    line(adapter.apply([moving(change)]))
    assert line.fields().keys() == {"email", "LID", "newemail", "Time"}


@pytest.mark.parametrize("word", ["Unsubscribed", "Unconfirmed", "Complained", "Bounced", "Whatever"])
def test_whoever_does_not_stand_under_the_former_address_is_not_moved(line, emulator, adapter, lid, change, word):
    there = emulator.add_subscriber(lid, "old@example.org", status=word)
    (ack,) = line(adapter.apply([moving(change)]))
    assert (ack.outcome, [seen.remote_id for seen in ack.seen]) == (Outcome.STALE, [there.id])
    assert emulator.writes == 0


def test_whoever_is_not_there_under_the_former_address_joins_as_anybody(line, emulator, adapter, lid, change):
    (ack,) = line(adapter.apply([moving(change)]))
    assert (ack.outcome, line.sent[-1].label) == (Outcome.ACCEPTED, "subscriber/subscribe")
    assert emulator.subscriber(lid, "new@example.net") is not None


def test_whoever_is_there_under_the_new_address_is_not_asked_again(line, emulator, adapter, lid, change):
    emulator.add_subscriber(lid, "old@example.org")
    line(adapter.apply([moving(change)]))
    (ack,) = line(adapter.apply([moving(change)]))
    assert (ack.outcome, emulator.writes) == (Outcome.STALE, 1)


@pytest.mark.parametrize("shown", ["old@example.org", "new@example.net", "else@example.org"])
def test_a_success_may_show_either_address_and_no_third(emulator, adapter, lid, change, shown):
    emulator.add_subscriber(lid, "old@example.org")

    def carried(request):
        answer = emulator.handle(request)
        if request.label != "subscriber/modify":
            return answer
        said = json.loads(answer.body)
        said["subscriber"]["Email"] = shown
        return Response(200, answer.headers, json.dumps(said).encode())

    (ack,) = converse(adapter.apply([moving(change)]), carried)
    assert ack.outcome is (Outcome.UNCERTAIN if shown == "else@example.org" else Outcome.ACCEPTED)


@pytest.mark.quirk("rocketresponder-narrow-addresses")
def test_an_address_the_service_does_not_take_is_refused(line, emulator, adapter, lid, change):
    emulator.strict_emails = True
    (ack,) = line(adapter.apply([change(UNSUBSCRIBE, "ann@example.technology")]))
    assert (ack.outcome, ack.reason) == (Outcome.REFUSED, "subscriber/unsubscribe: Invalid email address")


def test_changes_are_acknowledged_in_order(line, emulator, adapter, lid, change):
    emulator.add_subscriber(lid, "b@example.org")
    acks = line(adapter.apply([change(UNSUBSCRIBE, "a@example.org"), change(UNSUBSCRIBE, "b@example.org")]))
    assert [ack.outcome for ack in acks] == [Outcome.REFUSED, Outcome.ACCEPTED]


def test_text_that_cannot_be_signed_is_refused_unsent(line, adapter, lid, change):
    (ack,) = line(adapter.apply([change(UPDATE, "ann@example.org", first_name="A\ud800", last_name="B")]))
    assert (ack.outcome, line.sent) == (Outcome.REFUSED, [])
    assert "not valid Unicode" in ack.reason


# --- odd answers to writes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "subscriber", [{"ID": 1, "Email": "other@x.org"}, {"ID": 1, "LID": 99}, [1], "yes", {"ID": [], "Email": "o@x.org"}]
)
def test_a_success_about_somebody_else_or_nothing_readable_is_not_trusted(adapter, replying, change, subscriber):
    answer = {"status": "Success", "subscriber": subscriber}
    (ack,) = replying(adapter.apply([change(UNSUBSCRIBE, "ann@example.org")]), answer)
    if subscriber == {"ID": [], "Email": "o@x.org"}:
        assert (ack.outcome, ack.receipt) == (Outcome.ACCEPTED, None)  # without an id there is no echo to distrust
    else:
        assert ack.outcome is Outcome.UNCERTAIN


@pytest.mark.parametrize("answer", [{"status": "success"}, {"status": "Success", "subscriber": [], "error": ""}])
def test_a_success_without_an_echo_is_accepted_without_a_receipt(adapter, replying, change, answer):
    (ack,) = replying(adapter.apply([change(UNSUBSCRIBE, "ann@example.org")]), answer)
    assert (ack.outcome, ack.receipt, ack.keys) == (Outcome.ACCEPTED, None, ())


def test_a_refusal_because_it_is_so_already_asks_for_a_look(adapter, replying, change):
    answer = {"status": "Failed", "error": "Already unsubscribed|7"}
    (ack,) = replying(adapter.apply([change(UNSUBSCRIBE, "ann@example.org")]), answer)
    assert ack.outcome is Outcome.UNCERTAIN


def test_a_reason_names_nobody(adapter, replying, change):
    text = "Cannot use John Doe <john.doe@test.com> (JOHN) for john.doe@test.com: bad name|9"
    update = change(UPDATE, "john.doe@test.com", first_name="John", last_name="Doe")
    (ack,) = replying(adapter.apply([update]), {"status": "Failed", "error": text})
    assert ack.outcome is Outcome.REFUSED
    for private in ("john", "doe", "test.com", "|9"):
        assert private not in ack.reason.lower()
    assert "bad name" in ack.reason


# --- lists -----------------------------------------------------------------------------------------------------------

NEW = {
    "permalink": "cafebar",
    "from_email": "hi@example.org",
    "from_name": "The Bar",
    "address": "Street 1",
    "notify": "2",
    "header": "Hello",
}


@pytest.mark.quirk("rocketresponder-permalink-is-unique")
def test_a_list_is_created_once(line, emulator, adapter):
    assert isinstance(adapter, CanCreateList)
    assert isinstance(adapter, CanList)
    made = line(adapter.create_list(" Café/Bar ", NEW))
    assert [c.id for c in line(adapter.containers())] == [made.id]
    there = emulator.lists[made.id]
    assert (made.name, there.address, there.notify, there.header, there.footer) == (
        "Café/Bar", "Street 1", "2", "Hello", "",
    )  # fmt: skip
    assert not line.sent[0].repeatable
    assert line.fields(0).keys() == {
        "Name", "Permalink", "FromName", "FromEmail", "Address", "Header", "Footer", "Notify", "Time",
    }  # fmt: skip
    with pytest.raises(RefusedError, match="Permalink"):
        line(adapter.create_list("Café/Bar", NEW))


@pytest.mark.quirk("rocketresponder-no-sender-at-yahoo")
@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"permalink": "cafe bar"}, "permalink"),
        ({"permalink": "café"}, "permalink"),
        ({"permalink": ""}, "permalink"),
        ({"from_email": "me@Yahoo.com"}, "Yahoo"),
        ({"from_email": "me@mail.yahoo.co.uk"}, "Yahoo"),
        ({"from_email": "me"}, "not an e-mail address"),
        ({"notify": "3"}, "notify"),
    ],
)
def test_what_is_known_not_to_make_a_list_is_refused_unsent(line, adapter, changed, problem):
    with pytest.raises(RefusedError, match=problem):
        line(adapter.create_list("N", {**NEW, **changed}))
    with pytest.raises(RefusedError, match="no name"):
        line(adapter.create_list(" ", NEW))
    assert line.sent == []


@pytest.mark.parametrize("sender", ["me@notyahoo.com", "yahoo@example.org", "me@yahoo-fans.example"])
def test_what_only_looks_like_yahoo_may_send(line, adapter, sender):
    assert line(adapter.create_list("N", {**NEW, "from_email": sender})).name == "N"


@pytest.mark.parametrize("answer", [{"status": "Success"}, {"status": "Success", "list": [{"ID": 1}, {"ID": 2}]}])
def test_a_created_list_that_is_not_named_is_malformed(adapter, replying, answer):
    with pytest.raises(MalformedError):
        replying(adapter.create_list("N", NEW), answer)
