from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from syncd.config import load, masked
from syncd.demo.stage import build, configuration
from syncd.domain.changes import Outcome
from syncd.domain.errors import ConfigurationError
from syncd.providers.http.adapter import http_adapter
from syncd.wire import converse
from tests.providers.http.conftest import BASE, now, options, subscribe, unsubscribe


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "http://crm.example.org/leads"},
        {"endpoint": "https://user:secret@crm.example.org/leads"},
        {"endpoint": "https://crm.example.org/leads#top"},
        {"endpoint": "https://crm.example.org/le ads"},
        {"test_endpoint": "http://crm.example.org/test"},
        {"method": "PATCH"},
        {"encoding": "yaml"},
        {"auth": {"kind": "digest"}},
        {"auth": {"kind": "basic", "username": "u"}},
        {"auth": {"kind": "api_key", "header": "X Key", "key": "k"}},
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"X-Api-Key": "x"}},
        {"headers": {"Cookie": "x"}},
        {"headers": {"Content-Type": "text/csv"}},
        {"headers": {"X-A": "one\r\nX-B: two"}},
        {"headers": {"X:A": "one"}},
        {"fields": {"first_name": "first"}},
        {"fields": {"email": "a b"}},
        {"fields": {"email": "a=b"}},
        {"fields": {"email": "a..b"}},
        {"fields": {"email": "<a>"}},
        {"fields": {"email": "1a"}},
        {"fields": {"email": "a", "phone": "a"}},
        {"fields": {"email": "a", "phone": "a.b"}},
        {"constants": {"email": "x"}},
        {"constants": {"a\nb": "x"}},
        {"required": ["email", "phone"]},
        {"xml_root": "a.b"},
        {"unsubscribe": {"endpoint": BASE, "fields": {"list": "list"}}},
        {"unsubscribe": {"endpoint": BASE, "constants": {"email": "x"}}},
        {"unsubscribe": {"endpoint": BASE, "method": "PATCH"}},
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError):
        options(**given)


def test_an_endpoint_is_called_as_it_is_written():
    assert options(endpoint="https://crm.example.org/leads/?f=1").endpoint == "https://crm.example.org/leads/?f=1"


FILE = """
[mirror]
url = "sqlite:////tmp/nowhere.db"

[accounts.partner]
provider = "http"
endpoint = "https://crm.example.org/subscribers"
auth = { kind = "client", client_id = "us", client_secret_file = "secret" }

[[accounts.partner.rules]]
status = 200
pointer = "/success"
equals = false
verdict = "rejected"
"""


def test_the_file_is_read_with_its_secret_and_rules_and_shown_without(tmp_path: Path):
    (tmp_path / "secret").write_text("canary-1\n")
    (tmp_path / "secret").chmod(0o600)
    file = tmp_path / "syncd.toml"
    file.write_text(FILE)
    settings = load(file, {})
    account: Any = settings.accounts["partner"]
    assert account.auth.client_secret.get_secret_value() == "canary-1"
    assert str(account.rules[0]) == "200 and /success is false: rejected"
    assert "canary-1" not in str(masked(settings))
    assert "canary-1" not in repr(settings)
    over = load(file, {"SYNCD_ACCOUNTS__PARTNER__AUTH__CLIENT_SECRET": "canary-2"})
    assert over.accounts["partner"].auth.client_secret.get_secret_value() == "canary-2"  # type: ignore[attr-defined]


def test_keys_in_addresses_and_constants_are_not_shown_either(tmp_path: Path):
    more = {
        "endpoint": "https://hooks.example.org/catch/canary-1/canary-2?code=canary-3",
        "test_endpoint": "https://hooks.example.org/catch/canary-4",
        "unsubscribe": {"endpoint": "https://hooks.example.org?canary-5", "constants": {"auth.key": "canary-6"}},
        "constants": {"api_token": "canary-7", "source": "newsletter"},
    }
    text = FILE.replace('endpoint = "https://crm.example.org/subscribers"', "")
    file = tmp_path / "syncd.toml"
    file.write_text(text.replace('_file = "secret"', ' = "canary-8"'))
    for key, value in more.items():
        file.write_text(file.read_text().replace("auth = ", f"{key} = {inline(value)}\nauth = "))
    settings = load(file, {})
    assert "canary" not in f"{masked(settings)} {settings!r}"
    shown = masked(settings)["accounts"]["partner"]
    assert shown["endpoint"] == shown["test_endpoint"] == "https://hooks.example.org/**********"
    assert shown["constants"] == {"api_token": "**********", "source": "newsletter"}
    account: Any = settings.accounts["partner"]
    assert account.endpoint == more["endpoint"], "what is called is the whole of it"


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {inline(inner)}' for key, inner in value.items()) + " }"
    return f'"{value}"'


def test_every_fault_of_a_rule_is_named_by_its_place(tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    file = tmp_path / "syncd.toml"
    file.write_text(FILE.replace("status = 200", 'status = "2x"'))
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    (problem,) = raised.value.problems
    assert problem.where.startswith("accounts.partner.rules.0")
    assert "not a status" in problem.what


def test_the_configuration_that_emulate_prints_leads_to_its_receiver(tmp_path: Path):
    stage = build(["rocs", "http"])
    try:
        file = tmp_path / "syncd.toml"
        file.write_text(configuration(stage))
        account: Any = load(file, {}).accounts["partner"]
        assert load(file, {}).lists["newsletter"].accounts["partner"] == ("*",)
        connection = http_adapter(account, linked=frozenset(), now=now)
        trial = connection.trial(None, live=False)
        assert trial is not None
        assert converse(trial.exchange, stage.partner.handle).verdict == "delivered"
        (ack,) = converse(connection.apply([subscribe()]), stage.partner.handle)
        (told,) = converse(connection.apply([unsubscribe()]), stage.partner.handle)
        assert (ack.outcome, told.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
    finally:
        stage.close()
