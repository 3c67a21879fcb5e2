"""Configuration, login and what every error of the provider turns into."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from syncd.domain.changes import ChangeKind
from syncd.domain.errors import (
    MalformedError,
    ProviderError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.emulators.emulator import Fault, FaultKind
from syncd.providers.protocol import Token
from syncd.providers.salesrocks.answers import read_token, scrub
from syncd.wire import Request, Response, converse

# -- configuration ----------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract(account):
    options = account.options
    assert (options.on_unsubscribe, options.unsubscribe_field, options.unsubscribe_value) == (
        "remove",
        "status",
        "unsubscribed",
    )
    assert (options.on_absence, options.timezone, options.page_size, options.name_field, options.batch_size) == (
        "ignore",
        "UTC",
        1000,
        "name",
        500,
    )
    facts = account.adapter.facts
    assert facts.batch == dict.fromkeys(ChangeKind, 500)
    assert facts.fields == {"first_name", "last_name"}
    assert facts.keeps_duplicates
    assert facts.one_name_field
    assert facts.unsubscribe_removes
    assert account.adapter.removes_on_unsubscribe
    assert not facts.absence_is_unsubscribe
    assert not account.adapter.absence_is_unsubscribe


def test_facts_follow_the_configuration(account_with):
    fields = {"first_name": "fn", "phone": "mobile", "email": "mail"}
    adapter = account_with(on_unsubscribe="field", on_absence="unsubscribe", fields=fields).adapter
    assert not adapter.facts.one_name_field
    assert not adapter.facts.unsubscribe_removes
    assert not adapter.removes_on_unsubscribe
    assert adapter.facts.absence_is_unsubscribe
    assert adapter.absence_is_unsubscribe
    assert adapter.facts.fields == {"first_name", "last_name", "phone"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timezone": "Mars/Olympus"}, "no such time zone"),
        ({"timezone": "../etc/passwd"}, "no such time zone"),
        ({"timezone": "Europe"}, "no such time zone"),
        ({"on_unsubscribe": "delete"}, "'remove' or 'field'"),
        ({"page_size": 0}, "greater than or equal"),
        ({"fields": {"surname": "last"}}, "no such field: surname"),
        ({"fields": {"phone": "_id"}}, "belongs to Sales.Rocks"),
        ({"fields": {"phone": "name"}}, "two meanings: name"),
        ({"fields": {"phone": "x", "country": "x"}}, "two meanings: x"),
        ({"unsubscribe_field": "email"}, "two meanings: email"),
        ({"subscribe_value": "Unsubscribed"}, "must differ"),
        ({"base_url": "http://api.sales.rocks"}, "must be https"),
        ({"hygiene_bands": {"likely": 45}}, "must rise in this order"),
        ({"hygiene_bands": {"good": 45}}, "'risky', 'likely'"),
        ({"hygiene_bands": {"valid": 101}}, "less than or equal"),
        ({"hygiene_spreads_from": "invalid"}, "'risky', 'likely'"),
        ({"hygiene_per_round": 0}, "greater than or equal"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_a_faulty_configuration_is_refused_in_words(account_with, options, words):
    with pytest.raises(ValidationError, match=words):
        account_with(**options)


def test_bands_are_the_documented_ones_unless_configured(account_with):
    assert account_with().options.least_scores == {"risky": 50, "likely": 70, "full_inbox": 80, "valid": 90}
    assert account_with(hygiene_bands={"likely": 60}).options.least_scores["likely"] == 60
    options = account_with(hygiene_max_age="30d").options
    assert (options.hygiene, options.hygiene_spreads_from, options.hygiene_max_age) == (False, "likely", 30 * 86_400)


def test_the_password_is_not_printed(account):
    assert account.emulator.password not in repr(account.options)


# -- login ------------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("salesrocks-token-key")
@pytest.mark.quirk("salesrocks-lifetime-number-or-string")
@pytest.mark.parametrize("token_key", ["access_token", "AccessToken", "both"])
@pytest.mark.parametrize("expires_as", ["number", "string"])
def test_a_login_is_read_in_both_spellings(account, token_key, expires_as):
    account.emulator.token_key, account.emulator.expires_as = token_key, expires_as
    token = converse(account.adapter.login(), account.answer)
    assert token.lifetime_s == 3600
    assert token.value in account.emulator.tokens
    assert not account.requests[0].token
    account.token = token
    account.talk(account.adapter.check())
    assert account.last_body() == {"page": 1, "size": 1}


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (1800, 1800),
        ("1800", 1800),
        ("", 3600),
        ("soon", 3600),
        (None, 3600),
        (True, 3600),
        (0, 3600),
        (-5, 3600),
        ("nan", 3600),
    ],
)
def test_a_lifetime_that_says_nothing_is_the_documented_hour(expires_in, lifetime):
    body = json.dumps({"access_token": "t", "expires_in": expires_in}).encode()
    assert read_token(body, "accessToken") == Token("t", lifetime)
    assert read_token(b'{"access_token":"t"}', "accessToken").lifetime_s == 3600


@pytest.mark.parametrize(
    "body", [{}, {"access_token": 5}, {"access_token": ""}, {"AccessToken": "a b"}, {"access_token": "t\n"}]
)
def test_an_answer_without_a_token_is_no_login(account, answered, body):
    with pytest.raises(MalformedError):
        converse(account.adapter.login(), answered(body))


def test_an_array_is_no_login(account, answered):
    with pytest.raises(MalformedError):
        converse(account.adapter.login(), answered([]))


def test_the_other_spelling_serves_where_the_first_is_unusable():
    assert read_token(b'{"access_token":null,"AccessToken":"t"}', "accessToken").value == "t"


def test_wrong_credentials_are_unauthorised(account_with):
    account = account_with(password="wrong-secret")
    with pytest.raises(UnauthorisedError) as error:
        converse(account.adapter.login(), account.answer)
    assert "wrong-secret" not in str(error.value)


def test_a_refused_login_that_repeats_the_password_is_told_without_it(account_with):
    account = account_with(password="p&w-canary")
    told = {"status": "error", "error": {"status_code": 400, "message": "no user1p&w-canary1, p&amp;w-canary"}}
    with pytest.raises(UnauthorisedError) as error:
        converse(account.adapter.login(), lambda _: Response(400, {}, json.dumps(told).encode()))
    assert "no user1" in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, UnauthorisedError),
        (401, UnauthorisedError),
        (403, UnauthorisedError),
        (422, UnauthorisedError),
        (404, RefusedError),
        (429, ThrottledError),
        (500, UnavailableError),
    ],
)
def test_a_refused_login_is_unauthorised_and_an_outage_is_not(account, answered, status, kind):
    body = {"error": {"status_code": status, "message": f"no {account.options.username} {account.emulator.password}"}}
    with pytest.raises(ProviderError) as error:
        converse(account.adapter.login(), answered(body, status))
    assert type(error.value) is kind or isinstance(error.value, kind)
    assert account.emulator.password not in str(error.value)
    assert "example.org" not in str(error.value)


@pytest.mark.quirk("salesrocks-401-and-403")
@pytest.mark.quirk("salesrocks-no-refresh-token")
@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_token_is_replaced_once(account, status):
    account.emulator.expired_status = status
    account.talk(account.adapter.check())
    account.later(3601)
    account.talk(account.adapter.check())
    assert account.paths(logins=True) == ["accessToken", "getLists", "getLists", "accessToken", "getLists"]


def test_a_token_that_stays_refused_is_unauthorised(account, answered):
    for status in (401, 403):
        body = {"error": {"status_code": status, "message": "No valid API key provided"}}
        with pytest.raises(UnauthorisedError):
            converse(account.adapter.check(), answered(body, status))
        with pytest.raises(UnauthorisedError):
            converse(account.adapter.check(), answered(body, 200))


def test_authorising_leaves_the_request_as_it_was(account):
    request = Request("POST", "http://127.0.0.1:8702/x", {"a": "b"}, b"{}", "x", True)
    authorised = account.adapter.authorise(request, Token("t", 1))
    assert authorised.headers == {"a": "b", "authorization": "Bearer t"}
    assert request.headers == {"a": "b"}
    assert (authorised.body, authorised.label, authorised.repeatable) == (b"{}", "x", True)


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.quirk("salesrocks-status-twice")
@pytest.mark.quirk("salesrocks-error-envelope")
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, RefusedError),
        (401, UnauthorisedError),
        (403, UnauthorisedError),
        (404, RefusedError),
        (408, UnavailableError),
        (413, RefusedError),
        (429, ThrottledError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
def test_an_error_in_the_body_counts_whatever_the_http_status(account, answered, status, code, kind):
    for body in (
        {"error": {"status_code": code, "message": "no"}},
        {"error": {"status_code": str(code), "message": "no"}},
        {"status": "error", "status_code": code, "message": "no"},
    ):
        with pytest.raises(kind, match=f"getLists: {code} no"):
            converse(account.adapter.check(), answered(body, status))


@pytest.mark.parametrize("body", ["", "<html>", b"\xff", "[", {"data": 5}, [1]])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, UnauthorisedError),
        (403, UnauthorisedError),
        (413, RefusedError),
        (429, ThrottledError),
        (502, UnavailableError),
    ],
)
def test_an_http_error_counts_whatever_the_body(account, answered, body, status, kind):
    with pytest.raises(kind):
        converse(account.adapter.check(), answered(body, status))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        '{"data":[',
        b"\xff",
        "5",
        "null",
        '"text"',
        '{"data":[tru]}',
        '{"data":["\\ud800"',
        "[" * 100000,
        '{"error":"boom"}',
        '{"error":{}}',
        '{"error":{"message":"odd"}}',
        '{"status":"failed"}',
        '{"data":null}',
        "{}",
    ],
)
def test_an_answer_that_cannot_be_read_proves_nothing(account, answered, body):
    with pytest.raises(MalformedError):
        converse(account.adapter.check(), answered(body))


def test_a_redirect_is_not_an_answer(account, answered):
    with pytest.raises(MalformedError):
        converse(account.adapter.check(), answered({"data": []}, 302))


@pytest.mark.parametrize("error", [None, False, "", []])
def test_an_empty_error_is_none(account, answered, error):
    converse(account.adapter.check(), answered({"status_code": 200, "error": error, "data": []}))


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        ("Sat, 21 Nov 2026 09:01:00 GMT", 60.0),
        ("Sat, 21 Nov 2026 08:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(account, answered, header, wait):
    with pytest.raises(ThrottledError) as error:
        converse(account.adapter.check(), answered({}, 429, retry_after=header))
    assert error.value.retry_after_s == wait


@pytest.mark.quirk("salesrocks-limits-not-stated")
def test_too_many_calls_are_throttled_without_a_wait(account):
    account.emulator.calls_per_minute = 2
    account.talk(account.adapter.check())
    with pytest.raises(ThrottledError) as error:
        account.talk(account.adapter.check())
    assert error.value.retry_after_s is None
    account.later(60)
    account.talk(account.adapter.check())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (FaultKind.THROTTLED, ThrottledError),
        (FaultKind.UNAVAILABLE, UnavailableError),
        (FaultKind.FAILED, UnavailableError),
        (FaultKind.HTML, MalformedError),
        (FaultKind.TRUNCATED, MalformedError),
        (FaultKind.EMPTY, MalformedError),
    ],
)
def test_every_fault_has_its_error(account, fault, kind):
    account.emulator.faults.append(Fault(fault, "getLists"))
    with pytest.raises(kind):
        account.talk(account.adapter.check())
    account.talk(account.adapter.check())


@pytest.mark.parametrize(
    ("message", "scrubbed"),
    [
        ("Invalid email ann.o'neil+x@example.org, twice <b@x.org>", "Invalid email …, twice <…>"),
        ("mail=ann%40example.org is bad", "… is bad"),
        ("bad token eyJhbGciOi.eyJpYXQ.c2ln", "bad token …"),
        ("phone +46 70 174 06 05 refused", "phone … refused"),
        ("Contact Ann Smith of ANN has 3 faults", "Contact … of … has 3 faults"),
        ("Annual status_code 400", "Annual status_code 400"),
        ("x" * 500, "x" * 200),
    ],
)
def test_messages_lose_persons_and_secrets(message, scrubbed):
    assert scrub(message, ["Ann", "Ann Smith", " "]) == scrubbed


def test_no_error_of_a_write_names_a_person(account, answered, subscribe):
    echo = {"error": {"status_code": 500, "message": "Ann Smith <ann@example.org> failed"}}
    change = subscribe("u", "ann@example.org", first_name="Ann", last_name="Smith")
    with pytest.raises(UnavailableError) as error:
        converse(account.adapter.apply([change]), answered(echo))
    assert str(error.value) == "addToList: 500 … … <…> failed"


def test_labels_and_reprs_hold_no_person(account, subscribe):
    account.emulator.add_list("News", "u" * 20)
    account.apply(subscribe("u" * 20, "ann@example.org", first_name="Ann"))
    for request in account.requests:
        assert "example" not in repr(request)
        assert request.label == request.url.rpartition("/")[2]
