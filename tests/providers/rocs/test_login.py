from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from syncd.domain.errors import MalformedError, ThrottledError, UnauthorisedError, UnavailableError
from syncd.wire import Request, Response, converse


def log_in(crm, *answers):
    replies = iter(answers)
    return converse(crm.adapter.login(), lambda _: next(replies))


@pytest.mark.quirk("rocs-two-token-endpoints")
def test_a_resource_is_told_to_the_v1_endpoint_which_states_the_lifetime_as_text(crm):
    token = converse(crm.adapter.login(), crm.send)
    (request,) = crm.asked
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["client_credentials"]
    assert form["resource"] == ["https://api.msp-cloud.com"]
    assert "scope" not in form
    assert token.lifetime_s == 3599
    assert request.token is False
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.quirk("rocs-two-token-endpoints")
def test_a_scope_is_told_to_the_v2_endpoint_which_states_the_lifetime_as_a_number(crm):
    crm.use(scope="api://rocs/.default")
    token = converse(crm.adapter.login(), crm.send)
    assert b"scope=api%3A%2F%2Frocs%2F.default" in crm.asked[0].body
    assert b"resource" not in crm.asked[0].body
    assert token.lifetime_s == 3599


@pytest.mark.quirk("rocs-secret-url-encoded")
def test_a_secret_with_reserved_characters_arrives_whole(crm):
    crm.emulator.client_secret = "a+b&c=d %~é"
    crm.use()
    assert converse(crm.adapter.login(), crm.send).value


@pytest.mark.quirk("rocs-several-client-secrets")
def test_while_secrets_are_rotated_the_first_that_is_taken_opens(crm):
    crm.emulator.expired_secrets.add("old")
    crm.use(client_secret=["not known there yet", "old", "rocs-secret", "never tried"])
    assert converse(crm.adapter.login(), crm.send).value
    tried = [parse_qs(request.body.decode())["client_secret"][0] for request in crm.asked]
    assert tried == ["not known there yet", "old", "rocs-secret"]


def test_with_every_secret_refused_the_last_refusal_is_told(crm):
    crm.emulator.expired_secrets.add("old")
    crm.use(client_secret="new\nold")
    with pytest.raises(UnauthorisedError, match="AADSTS7000222"):
        converse(crm.adapter.login(), crm.send)


def test_only_a_refused_secret_makes_the_next_one_tried(crm):
    crm.use(client_secret=["one", "rocs-secret"], client_id="somebody")
    with pytest.raises(UnauthorisedError, match="AADSTS700016"):
        converse(crm.adapter.login(), crm.send)
    assert len(crm.asked) == 1


def test_neither_token_nor_secret_is_printed(crm):
    token = converse(crm.adapter.login(), crm.send)
    request = crm.adapter.authorise(Request("GET", "http://x/"), token)
    assert token.value not in repr(token) + repr(request)
    assert crm.emulator.client_secret not in repr(crm.asked[0])
    assert request.headers["authorization"] == f"Bearer {token.value}"


@pytest.mark.quirk("rocs-token-errors-hold-ids")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"client_secret": "wrong"}, "AADSTS7000215"),
        ({"client_id": "somebody"}, "AADSTS700016"),
        ({"scope": "api://rocs"}, "AADSTS70011"),
    ],
)
def test_a_refusal_is_named_by_its_code_and_nothing_else(crm, options, code):
    crm.use(**options)
    with pytest.raises(UnauthorisedError) as raised:
        converse(crm.adapter.login(), crm.send)
    assert raised.value.message == f"token refused: {code}"


def test_an_unknown_resource_is_refused(crm):
    crm.emulator.resource = "https://elsewhere.example"
    with pytest.raises(UnauthorisedError, match="AADSTS500011"):
        converse(crm.adapter.login(), crm.send)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"error":"invalid_client","error_codes":[7000222]}', "AADSTS7000222"),
        (b'{"error":"invalid_client"}', "invalid_client"),
        (b'{"error":"Ann Berg\\r\\nannoys"}', "HTTP 400"),
        (b"<html>Ann</html>", "HTTP 400"),
    ],
)
def test_whatever_a_refusal_holds_only_a_code_gets_out(crm, body, named):
    with pytest.raises(UnauthorisedError) as raised:
        log_in(crm, Response(400, {}, body))
    assert raised.value.message == f"token refused: {named}"


def test_an_error_inside_a_200_is_a_refusal(crm):
    with pytest.raises(UnauthorisedError, match="invalid_client"):
        log_in(crm, Response(200, {}, b'{"error":"invalid_client"}'))


def test_an_outage_of_the_token_service_is_no_refusal(crm):
    with pytest.raises(UnavailableError):
        log_in(crm, Response(503, {}, b""))
    with pytest.raises(UnavailableError):
        log_in(crm, Response(400, {}, b'{"error":"temporarily_unavailable","error_description":"AADSTS90033: x"}'))
    with pytest.raises(ThrottledError) as raised:
        log_in(crm, Response(429, {"retry-after": "7"}, b""))
    assert raised.value.retry_after_s == 7


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"access_token":7}', b'{"access_token":""}', b'{"access_token":"a\\r\\nb"}'],
)
def test_an_answer_without_a_usable_token_cannot_be_read(crm, body):
    with pytest.raises(MalformedError):
        log_in(crm, Response(200, {}, body))


@pytest.mark.quirk("rocs-lifetime-text-or-number")
@pytest.mark.parametrize(
    ("stated", "lifetime"),
    [
        (b'"3599"', 3599),
        (b"3599", 3599),
        (b"3599.5", 3599.5),
        (b'"soon"', 300),
        (b"null", 300),
        (b"true", 300),
        (b"-1", 300),
        (b'"inf"', 300),
        (b'"nan"', 300),
        (b"1e99", 300),
    ],
)
def test_the_lifetime_is_read_in_every_spelling_and_short_where_it_makes_no_sense(crm, stated, lifetime):
    token = log_in(crm, Response(200, {}, b'{"access_token":"t","expires_in":' + stated + b"}"))
    assert token.lifetime_s == lifetime


@pytest.mark.quirk("rocs-401-and-no-refresh")
def test_an_expired_token_is_refused_and_a_new_one_is_taken(crm):
    crm.carry(crm.adapter.check())
    crm.pass_time(3598)
    crm.carry(crm.adapter.check())
    assert crm.logins == 1
    crm.pass_time(1)
    crm.carry(crm.adapter.check())
    assert crm.logins == 2


def test_exchanges_never_log_in_by_themselves(crm):
    with pytest.raises(UnauthorisedError):
        converse(crm.adapter.check(), crm.send)
    assert [request.label for request in crm.asked] == ["get-lists"]
    assert crm.adapter.login_again_on == {401}
