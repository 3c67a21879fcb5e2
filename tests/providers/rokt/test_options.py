from __future__ import annotations

import pytest
from pydantic import ValidationError

from syncd.providers.rokt.options import PARAMETERS, each

BASIC = {"kind": "basic", "username": "u", "password": "p"}


def test_an_account_without_inbound_credentials_is_refused(options):
    with pytest.raises(ValidationError, match="inbound_auth"):
        options(inbound_auth=None)


def test_get_is_taken_only_where_it_is_asked_for(options):
    assert options().methods == ("POST", "PUT")
    assert options(methods=["GET"]).methods == ("GET",)
    with pytest.raises(ValidationError):
        options(methods=["DELETE"])
    with pytest.raises(ValidationError):
        options(methods=[])


@pytest.mark.parametrize(
    "auth",
    [
        BASIC,
        {"kind": "api_key", "header": "X-Key", "key": "k"},
        {"kind": "client", "client_id": "i", "client_secret": "s"},
    ],
)
def test_each_kind_of_credential_is_read(options, auth):
    assert options(inbound_auth=auth).inbound_auth.kind == auth["kind"]


@pytest.mark.parametrize("auth", [{"kind": "none"}, {"kind": "basic", "username": "u"}, {"kind": "basic", "key": "k"}])
def test_other_credentials_are_refused(options, auth):
    with pytest.raises(ValidationError):
        options(inbound_auth=auth)


def test_a_secret_may_be_several_and_is_never_printed(options):
    one = options(inbound_auth=BASIC | {"password": ["old-one", " new-one\n"]})
    assert each(one.inbound_auth.password) == ("old-one", "new-one")
    assert "old-one" not in repr(one)
    assert "rokt-key" not in repr(one)
    with pytest.raises(ValidationError):
        options(inbound_auth=BASIC | {"password": []})
    with pytest.raises(ValidationError):
        options(inbound_auth=BASIC | {"password": [""]})


def test_query_keys_come_together_or_not_at_all(options):
    assert not options().reports
    with pytest.raises(ValidationError, match="missing: query_token_url, app_secret, account_id"):
        options(query_url="https://api.rokt.com/v1/query", app_id="a")


def test_fields_rename_parameters_and_leave_the_rest(options):
    assert options(fields={"email": "EMAIL"}).parameters == {**PARAMETERS, "email": "EMAIL"}


def test_a_field_nobody_knows_is_named(options):
    with pytest.raises(ValidationError, match="no such field: first_nam;"):
        options(fields={"first_nam": "firstname"})


def test_one_parameter_cannot_stand_for_two_fields(options):
    with pytest.raises(ValidationError, match="lastname"):
        options(fields={"first_name": "lastname"})


def test_what_is_required_and_asked_for_are_fields_that_are_known(options):
    chosen = options(required=["email", "first_name"], optional=["campaign", "first_name"])
    assert (chosen.required, chosen.asked_for) == (("email", "first_name"), ("campaign",))
    assert set(options(required=["email"]).asked_for) == PARAMETERS.keys() - {"email"}
    for key in ("required", "optional"):
        with pytest.raises(ValidationError, match="no such field: firstname;"):
            options(**{key: ["firstname"]})


def test_fields_of_ones_own_are_required_and_asked_for_by_the_names_that_the_account_gives_them(options):
    own = {"shoe_size": "schuh", "source": "utm-source"}
    told = options(context={"fields": {"shoe_size", "colour"}}, fields=own, required=["shoe_size"])
    assert [told.parameters[name] for name in told.required] == ["schuh"]
    assert {"source", "first_name"} <= set(told.asked_for)
    chosen = options(context={"fields": {"shoe_size"}}, fields=own, optional=["shoe_size", "source"])
    assert chosen.asked_for == ("shoe_size", "source")
    for key in ("required", "optional"):
        with pytest.raises(ValidationError, match="colour is called nothing here: name it in `fields`"):
            options(context={"fields": {"shoe_size", "colour"}}, fields=own, **{key: ["colour"]})
        with pytest.raises(ValidationError, match="no such field: colour;"):
            options(fields={}, **{key: ["colour"]})


@pytest.mark.parametrize("tests", [{"addresses": ["nobody"]}, {"query": "a b"}, {"keep": "soon"}, {"colour": "red"}])
def test_marks_of_test_leads_that_cannot_mark_anything_are_refused(options, tests):
    with pytest.raises(ValidationError):
        options(test_leads=tests)
