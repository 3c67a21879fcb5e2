"""The keys of an account."""

import pytest
from pydantic import ValidationError

from syncd.domain.records import Status
from syncd.providers.rocketresponder.options import RocketResponderOptions

KEYS = {"provider": "rocketresponder", "public_key": "pub_x", "private_key": "priv_x"}


def options(**keys):
    return RocketResponderOptions.model_validate({**KEYS, **keys})


def secrets(given):
    return [secret.get_secret_value() for secret in given.webhook_secret]


def test_defaults():
    given = options()
    assert given.base_url == given.signed_base == "https://www.rocketresponder.com/api"
    assert (given.max_age, given.lookups_per_round, given.webhook_secret) == (86400.0, 500, ())


def test_the_signed_url_follows_the_base_url_unless_given():
    assert options(base_url="http://127.0.0.1:8703/api/").signed_base == "http://127.0.0.1:8703/api"
    behind = options(base_url="https://proxy.example/rr", signing_url="https://www.rocketresponder.com/api")
    assert behind.signed_base == "https://www.rocketresponder.com/api"


@pytest.mark.quirk("rocketresponder-signed-url-has-www")
@pytest.mark.parametrize(
    ("base", "signed"),
    [
        ("https://rocketresponder.com/api", "https://www.rocketresponder.com/api"),
        ("https://www.rocketresponder.com/api/", "https://www.rocketresponder.com/api"),
        ("https://rocketresponder.com.example/api", "https://rocketresponder.com.example/api"),
    ],
)
def test_what_is_signed_has_www_in_it_whatever_is_called(base, signed):
    assert options(base_url=base).signed_base == signed


def test_keys_lose_the_blanks_they_were_pasted_with():
    given = options(public_key="pub_x ", private_key=" priv_x\n")
    assert given.public_key == "pub_x"
    assert given.private_key.get_secret_value() == "priv_x"


def test_secrets_are_not_printed():
    given = options(webhook_secret=["hush-1"])
    assert "priv_x" not in repr(given)
    assert "hush-1" not in repr(given)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("one", ["one"]), (["one", "two"], ["one", "two"]), ("one\n two \n\n", ["one", "two"]), (None, [])],
)
def test_the_webhook_secret_is_one_or_several(value, expected):
    assert secrets(options(webhook_secret=value)) == expected


def test_an_empty_webhook_secret_is_refused():
    with pytest.raises(ValidationError):
        options(webhook_secret=["", "two"])


@pytest.mark.parametrize(
    "keys",
    [
        {"max_age": "0s"},
        {"max_age": "soon"},
        {"lookups_per_round": 0},
        {"base_url": "http://www.rocketresponder.com/api"},
        {"confirm_url": "thanks"},
        {"confirm_urls": {"154": "thanks"}},
        {"private_key": " "},
        {"public_key": ""},
        {"status_words": {"Done": "finished"}},
        {"status_words": {"Gone": "absent"}},
        {"status_words": {"Unsubscribed": "subscribed"}},
        {"list": "154"},
    ],
)
def test_what_cannot_be_is_refused(keys):
    with pytest.raises(ValidationError):
        options(**keys)


def test_status_words_are_folded():
    assert options(status_words={" Opted In ": "subscribed"}).status_words == {"opted in": Status.SUBSCRIBED}
