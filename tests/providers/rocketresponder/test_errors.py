"""Everything that can be wrong with an answer, and what it is called."""

import base64
import json
from datetime import timedelta
from urllib.parse import quote, unquote

import pytest

from syncd.domain.changes import ChangeKind, Outcome
from syncd.domain.errors import (
    MalformedError,
    ProviderError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.domain.records import Status
from syncd.emulators.emulator import Fault, FaultKind
from syncd.providers.rocketresponder import translate
from syncd.wire import Response, converse


@pytest.mark.quirk("rocketresponder-status-of-a-failure")
@pytest.mark.parametrize("failure_status", [200, 401, 403])
@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("keys", [{"private_key": "priv_wrong"}, {"public_key": "pub_wrong"}])
def test_wrong_keys(line, emulator, make_adapter, keys, failure_status, suffix):
    emulator.failure_status, emulator.error_code_suffix = failure_status, suffix
    with pytest.raises(UnauthorisedError) as caught:
        line(make_adapter(**keys).check())
    assert "keys" in caught.value.hint
    assert "ten minutes" in caught.value.hint


@pytest.mark.quirk("rocketresponder-keys-with-blanks")
def test_keys_with_blanks_around_them_work(line, make_adapter):
    line(make_adapter(public_key="pub_emulated ", private_key="priv_emulated\n").check())


@pytest.mark.quirk("rocketresponder-ten-minutes")
@pytest.mark.parametrize("minutes", [-11, 11])
def test_a_clock_that_is_off_is_named_as_such(line, make_adapter, clock, minutes):
    skewed = make_adapter(now=lambda: clock() + timedelta(minutes=minutes))
    with pytest.raises(UnauthorisedError) as caught:
        line(skewed.check())
    assert f"clock of this machine is {minutes:+d} min off" in caught.value.hint


@pytest.mark.parametrize("minutes", [-9, 0, 9])
def test_a_clock_within_ten_minutes_is_good_enough(line, make_adapter, clock, minutes):
    line(make_adapter(now=lambda: clock() + timedelta(minutes=minutes)).check())


def test_the_signed_url_is_not_where_the_request_goes(line, emulator, make_adapter, clock):
    emulator.signing_url = "https://www.rocketresponder.com/api"
    line(make_adapter(signing_url="https://www.rocketresponder.com/api").check())
    assert line.sent[0].url == "http://127.0.0.1:8703/api/list/all"
    with pytest.raises(UnauthorisedError):
        line(make_adapter().check())


def test_the_request_is_basic_with_the_public_key_and_a_signature(line, adapter, clock):
    line(adapter.check())
    (request,) = line.sent
    scheme, encoded = request.headers["authorization"].split()
    user, signature = base64.b64decode(encoded).decode().split(":")
    assert (scheme, user, len(signature)) == ("Basic", "pub_emulated", 32)
    assert request.body == f"Time={int(clock().timestamp())}".encode()
    assert "pub_emulated" not in repr(request)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.HTML, MalformedError),
        (FaultKind.TRUNCATED, MalformedError),
        (FaultKind.EMPTY, MalformedError),
        (FaultKind.THROTTLED, ThrottledError),
        (FaultKind.UNAVAILABLE, UnavailableError),
        (FaultKind.FAILED, UnavailableError),
    ],
)
def test_faults_have_names(line, emulator, adapter, lid, target, change, kind, error):
    emulator.add_subscriber(lid, "ann@example.org")
    unsubscribe = change(ChangeKind.UNSUBSCRIBE, "ann@example.org")
    for exchange in (adapter.containers(), adapter.lookup(target("ann@example.org")), adapter.apply([unsubscribe])):
        emulator.faults.append(Fault(kind))
        with pytest.raises(error) as caught:
            line(exchange)
        assert caught.value.call
        assert "ann" not in str(caught.value)


@pytest.mark.quirk("rocketresponder-page-instead-of-json")
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"Success"', b"{", b'{"status":"Success"', b"\xff", b"<html>"])
@pytest.mark.parametrize("status", [200, 302, 404])
def test_an_answer_that_is_no_json_object_is_malformed(adapter, replying, target, body, status):
    with pytest.raises(MalformedError):
        replying(adapter.lookup(target("ann@example.org")), body, status)


@pytest.mark.quirk("rocketresponder-status-or-error")
@pytest.mark.parametrize(
    "answer",
    [{}, {"message": "hello"}, {"status": "Maybe"}, {"status": 1}, {"status": True, "subscriber": {}}, {"error": ""}],
)
def test_an_answer_that_says_neither_is_malformed(adapter, replying, target, answer):
    with pytest.raises(MalformedError):
        replying(adapter.lookup(target("ann@example.org")), answer)


def test_a_known_object_without_a_status_is_taken(adapter, replying):
    (container,) = replying(adapter.containers(), {"list": [{"LID": 1, "Name": "Tips"}]})
    assert container.id == "1"


@pytest.mark.parametrize("status", [302, 404])
def test_success_under_an_http_error_is_malformed(adapter, replying, status):
    with pytest.raises(MalformedError, match=f"HTTP {status}"):
        replying(adapter.check(), {"status": "Success", "list": []}, status)


def test_success_with_an_error_is_malformed(adapter, replying, change):
    answer = {"status": "Success", "error": "Mailbox is odd", "subscriber": {"ID": 1}}
    with pytest.raises(MalformedError, match="Mailbox is odd"):
        replying(adapter.apply([change(ChangeKind.UNSUBSCRIBE, "ann@example.org")]), answer)


@pytest.mark.parametrize("status", [401, 403])
def test_forbidden_is_unauthorised_whatever_the_body(adapter, replying, status):
    with pytest.raises(UnauthorisedError, match=f"HTTP {status}"):
        replying(adapter.check(), b"<html>", status)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_is_one_whatever_the_body(adapter, replying, target, status):
    # Its text may be about a table as well as about a subscriber.
    with pytest.raises(UnavailableError):
        replying(adapter.lookup(target("ann@example.org")), {"status": "Failed", "error": "does not exist"}, status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"retry_after": "17"}, 17.0),
        ({"retry_after": "Sat, 21 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry_after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_throttling_says_for_how_long(adapter, replying, header, seconds):
    with pytest.raises(ThrottledError) as caught:
        replying(adapter.check(), b"", 429, **header)
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Invalid Signature|23",
        "API key not found",
        "Bad PublicKey",
        "Unknown private_key",
        "Authentication failed",
        "Not authorised",
        "Unauthorized",
        "Auth error",
        "Time is missing",
        "Bad timestamp",
        "Request expired",
    ],
)
def test_texts_about_credentials(adapter, replying, target, text):
    with pytest.raises(UnauthorisedError) as caught:
        replying(adapter.lookup(target("ann@example.org")), {"status": "Failed", "error": text})
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "Author is missing",
        "A monkey is no address",
        "Sometimes it fails",
        "Not possible at this time",
        "Invalid email|signature",
        "auth-key@time.org is not valid",
    ],
)
def test_texts_that_only_sound_like_it(adapter, replying, target, text):
    with pytest.raises(RefusedError):
        replying(adapter.lookup(target("ann@example.org")), {"status": "Failed", "error": text})


@pytest.mark.quirk("rocketresponder-code-behind-a-bar")
@pytest.mark.parametrize("suffix", [False, True])
def test_what_stands_behind_the_bar_is_no_part_of_the_text(line, emulator, adapter, lid, target, suffix):
    emulator.strict_emails, emulator.error_code_suffix = True, suffix
    with pytest.raises(RefusedError) as caught:
        line(adapter.lookup(target("ann@example.technology")))
    assert caught.value.message == "subscriber/lookup: Invalid email address"


@pytest.mark.quirk("rocketresponder-empty-error-on-success")
def test_an_error_that_is_there_and_empty_is_none(line, emulator, adapter, lid, target, change):
    emulator.empty_error = True
    there = emulator.add_subscriber(lid, "ann@example.org")
    assert len(line(adapter.containers())) == 1
    assert len(line(adapter.lookup(target("ann@example.org")))) == 1
    (ack,) = line(adapter.apply([change(ChangeKind.UNSUBSCRIBE, "ann@example.org")]))
    assert (ack.outcome, there.status) == (Outcome.ACCEPTED, "Unsubscribed")


@pytest.mark.parametrize("error", ["", None, "|12", {"code": 7}, ["bad"], 12])
def test_failures_without_a_usable_text_are_refusals_still(adapter, replying, error):
    with pytest.raises(RefusedError):
        replying(adapter.check(), {"status": "Failed", "error": error})


def test_a_text_never_carries_an_address_a_secret_or_a_novel(adapter, target):
    said = {}

    def echo(request):
        credentials = base64.b64decode(request.headers["authorization"].split()[1]).decode()
        said["signature"] = credentials.split(":")[1]
        sent = quote(request.headers["authorization"]).lower()  # joined to other words, and in another spelling
        text = f"Bad <ann@example.org>, also o'neil@x.org: {credentials} priv_emulated_1 {sent} " + "long " * 100
        return Response(200, {}, json.dumps({"status": "Failed", "error": text}).encode())

    with pytest.raises(ProviderError) as caught:
        converse(adapter.lookup(target("ann@example.org")), echo)
    for private in ("ann", "example.org", "x.org", "pub_emulated", "priv_emulated", said["signature"]):
        assert private not in unquote(str(caught.value))
    assert "basic%20**********" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_scrubbing_leaves_ordinary_words_alone():
    assert translate.scrubbed("Name  is too\nlong", ["Al", ""]) == "Name is too long"


SPOILT = [rb"\ud83d", rb"\udE00 Bee", rb"\ud83d\u0041", b"\xff", rb"\\\ud800"]


@pytest.mark.parametrize("spoilt", SPOILT)
def test_text_that_is_none_costs_its_own_value_and_nothing_else(adapter, replying, target, spoilt):
    head = b'{"status":"Success","subscriber":{"ID":7,"Email":"a@x.org","Status":"Confirmed","Last":"Bee","First":"'
    (seen,) = replying(adapter.lookup(target("a@x.org")), head + b"Ann " + spoilt + b'"}}')
    assert (seen.identity, seen.status) == ("a@x.org", Status.SUBSCRIBED)
    assert seen.fields.keys() == {"?first_name", "last_name"}, "there is something, and nobody could read it"
    (seen,) = replying(adapter.lookup(target("a@x.org")), head.replace(b"a@x", b"a" + spoilt + b"@x") + b'"}}')
    assert (seen.identity, seen.status) == (None, Status.UNKNOWN), "kept, and parked: it says nothing of anybody"


@pytest.mark.parametrize("spoilt", SPOILT)
def test_the_other_lists_are_read_where_the_name_of_one_is_spoilt(adapter, replying, spoilt):
    lists = b'[{"LID":1,"Name":"Tips ' + spoilt + b'"},{"LID":2,"Name":"News \\ud83d\\ude00"}]'
    one, two = replying(adapter.containers(), b'{"status":"Success","list":' + lists + b"}")
    assert (one.id, two.name) == ("1", "News 😀")
