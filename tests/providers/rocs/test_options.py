from __future__ import annotations

import pytest
from pydantic import ValidationError

from syncd.domain.records import Status
from syncd.providers.rocs.options import RocsOptions
from syncd.providers.rocs.table import NAMES, PATHS, STATUS_WORDS, WORDS_MEAN, shared_name

BASE = {
    "provider": "rocs",
    "token_url": "https://login.microsoftonline.com/T/oauth2/token",
    "client_id": "app",
    "client_secret": " hush\n",
    "resource": "https://api.msp-cloud.com",
}


def made(**changes):
    return RocsOptions.model_validate({key: value for key, value in (BASE | changes).items() if value is not None})


def faults(**changes):
    with pytest.raises(ValidationError) as raised:
        made(**changes)
    return {str(error["loc"][0]): error["msg"] for error in raised.value.errors()}


def test_defaults_are_those_of_the_contract():
    options = made()
    assert options.base_url == "https://api.msp-cloud.com"
    assert (options.page_size, options.campaign_page_size) == (500, 100)
    assert options.table().paths == PATHS
    assert options.table().names == NAMES
    assert options.table().status_words == STATUS_WORDS


def test_secrets_are_trimmed_and_never_printed():
    options = made(webhook_secret="also-hush")
    assert options.client_secrets() == ("hush",)
    assert "hush" not in repr(options)


@pytest.mark.parametrize(("resource", "scope", "word"), [(None, None, "neither"), ("r", "s", "both")])
def test_exactly_one_of_resource_and_scope(resource, scope, word):
    assert word in faults(resource=resource, scope=scope)["scope"]


def test_both_audiences_missing_is_reported_beside_other_faults():
    assert faults(resource=None, token_url="http://login.example.org/t").keys() == {"scope", "token_url"}


def test_scope_alone_is_enough():
    assert made(resource=None, scope="api://x/.default").scope == "api://x/.default"


@pytest.mark.parametrize("given", [["new", " old "], "new\n old\n", ("new", "old")])
def test_several_webhook_secrets_newest_first(given):
    assert made(webhook_secret=given).webhook_secrets() == (b"new", b"old")


def test_one_webhook_secret_and_none():
    assert made(webhook_secret="one").webhook_secrets() == (b"one",)
    assert made().webhook_secrets() == ()


@pytest.mark.parametrize("given", [[""], ["  "], [3]])
def test_an_empty_webhook_secret_is_refused(given):
    assert "webhook_secret" in faults(webhook_secret=given)


@pytest.mark.parametrize(
    ("key", "given", "nearest"),
    [
        ("paths", {"custmers": "/x"}, "customers"),
        ("names", {"customer.mail": "x"}, "customer.email"),
        ("status_words", {"active": "subscribd"}, "subscribed"),
        ("fields", {"frist_name": "x"}, "first_name"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_named(key, given, nearest):
    assert f"'{nearest}'" in faults(**{key: given})[key]


@pytest.mark.parametrize("path", ["/kunden/{nr}", "/kunden", "/kunden/{id}/{id}", "kunden/{id}", "/kunden/{id}}"])
def test_a_path_must_hold_the_placeholders_of_its_default(path):
    assert "customer" in faults(paths={"customer": path})["paths"]


def test_a_word_cannot_mean_that_a_record_is_not_there():
    assert "status_words" in faults(status_words={"gone": "removed"})
    assert Status.ABSENT not in WORDS_MEAN


@pytest.mark.parametrize(
    "given",
    [
        {"fields": {"first_name": "email"}},
        {"fields": {"country": "firstName"}},
        {"fields": {"country": "emailConsent"}},
        {"fields": {"country": "dynamic:x", "language": "dynamic:x"}},
        {"names": {"customer.email": "id"}},
        {"names": {"customer.consent": "firstName"}},
    ],
)
def test_one_name_has_one_meaning(given):
    assert "names" in faults(**given)


def test_a_dynamic_field_needs_a_name():
    assert "fields" in faults(fields={"country": "dynamic:"})


def test_the_default_table_has_no_name_twice_in_one_object():
    assert shared_name(NAMES) is None


def test_fields_are_split_into_standard_and_dynamic():
    options = made(fields={"phone": "cell", "country": "dynamic:land"}, names={"customer.last_name": "surname"})
    assert options.standard_fields() == {"first_name": "firstName", "last_name": "surname", "phone": "cell"}
    assert options.dynamic_fields() == {"country": "land"}


def test_an_unknown_option_is_refused():
    assert "webhook_secrets" in faults(webhook_secrets=["x"])
