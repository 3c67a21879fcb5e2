"""Configuration: layers, faults all at once, and no secret in any message."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from syncd.config import find, load, masked, origin
from syncd.domain.errors import ConfigurationError, Problem
from syncd.providers.options import AccountOptions, Duration, Options, seconds
from syncd.providers.protocol import CanLogin
from syncd.providers.registry import REGISTRY, provider_for
from syncd.settings import LIST_KEYS, SECTIONS, GuardSettings, Settings
from tests import example

EXAMPLE = Path(__file__).parent.parent / "deploy" / "syncd.toml.example"
CANARY = "canary-9f3a"

WHOLE = f"""
[mirror]
url = "sqlite:////var/lib/syncd/mirror.db"

[accounts.crm]
provider = "rocs"
token_url = "https://login.example.org/token"
client_id = "id"
client_secret = "{CANARY}-1"
resource = "https://api.example.org"

[accounts.sales]
provider = "salesrocks"
username = "u"
password = "{CANARY}-2"

[accounts.mail]
provider = "rocketresponder"
public_key = "p"
private_key = "{CANARY}-3"
webhook_secret = ["{CANARY}-4", "{CANARY}-5"]

[accounts.leads]
provider = "rokt"
api_key = "{CANARY}-6"
inbound_auth = {{ kind = "basic", username = "rokt", password = "{CANARY}-7" }}

[lists.newsletter]
crm = "L-1"
sales = ["whczyk8bluyl", "w2"]
mail = 154
leads = "*"
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "syncd.toml"


@pytest.fixture
def settings_of(file):
    """Settings from a text and an environment."""

    def read(text: str = WHOLE, **environ: str) -> Settings:
        file.write_text(text)
        file.chmod(0o600)
        return load(file, environ)

    return read


@pytest.fixture
def problems_of(settings_of):
    """The problems of a text, by where they are; fails if there are none, or one shows a secret."""

    def read(text: str = WHOLE, **environ: str) -> dict[str, Problem]:
        with pytest.raises(ConfigurationError) as error:
            settings_of(text, **environ)
        assert CANARY not in f"{error.value} {error.value!r} {error.value.problems} {error.value.__cause__}"
        assert len({problem.where for problem in error.value.problems}) == len(error.value.problems)
        return {problem.where: problem for problem in error.value.problems}

    return read


def replaced(old: str, new: str) -> str:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def secret(settings: Settings, account: str, key: str) -> Any:
    value: Any = settings.accounts[account]
    for step in key.split("."):
        value = getattr(value, step)
    return [one.get_secret_value() for one in value] if isinstance(value, tuple) else value.get_secret_value()


# -- a good file ----------------------------------------------------------------------------------------------------


def test_a_whole_file_is_read(settings_of):
    settings = settings_of()
    assert settings.mirror.url == "sqlite:////var/lib/syncd/mirror.db"
    assert (settings.receiver.host, settings.receiver.port) == ("127.0.0.1", 8480)
    assert (settings.schedule.interval, settings.schedule.full_every, settings.schedule.settle) == (300, 86400, 30)
    assert (settings.guard.max_share, settings.guard.max_count, settings.guard.first_sync) == (0.05, 20, "hold")
    assert settings.guard.release_after == 12 * 3600
    assert settings.push.attempts_max == 8
    assert {name: type(one) for name, one in settings.accounts.items()} == {
        "crm": REGISTRY["rocs"].options,
        "sales": REGISTRY["salesrocks"].options,
        "mail": REGISTRY["rocketresponder"].options,
        "leads": REGISTRY["rokt"].options,
    }
    newsletter = settings.lists["newsletter"]
    assert newsletter.accounts == {
        "crm": ("L-1",),
        "sales": ("whczyk8bluyl", "w2"),
        "mail": ("154",),
        "leads": ("*",),
    }
    assert (newsletter.scope, newsletter.spread) == ("newsletter", True)
    assert secret(settings, "mail", "webhook_secret") == [f"{CANARY}-4", f"{CANARY}-5"]
    assert settings.warnings == ()


def test_a_list_may_name_its_scope_and_not_spread(settings_of):
    settings = settings_of(WHOLE + 'scope = "global"\nspread = false\n')
    assert (settings.lists["newsletter"].scope, settings.lists["newsletter"].spread) == ("global", False)


def test_an_account_may_have_its_own_schedule(settings_of):
    settings = settings_of(replaced('username = "u"', 'username = "u"\ninterval = "1m"\nsettle = "0s"'))
    own = settings.schedule_of("sales")
    assert (own.interval, own.full_every, own.settle) == (60, 86400, 0)
    assert settings.schedule_of("crm") == settings.schedule


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:8480", "::1", 8480),
        ("localhost:0", "localhost", 0),
        ("unix:/run/syncd/http.sock", "", 0),
    ],
)
def test_where_to_listen(settings_of, listen, host, port):
    settings = settings_of(f'{WHOLE}[receiver]\nlisten = "{listen}"\n')
    assert (settings.receiver.host, settings.receiver.port) == (host, port)


def test_the_operators_token_is_a_secret_like_any_other(settings_of, tmp_path):
    file = tmp_path / "token"
    file.write_text("a-token-from-a-file\n")
    file.chmod(0o600)
    settings = settings_of(f'{WHOLE}[receiver]\noperator_token_file = "{file}"\n')
    assert settings.receiver.operator_token.get_secret_value() == "a-token-from-a-file"
    assert "a-token" not in str(masked(settings))
    assert "a-token" not in repr(settings.receiver)


def test_settings_cannot_be_changed(settings_of):
    with pytest.raises(ValueError, match="frozen"):
        settings_of().guard.max_count = 5


def test_every_configured_account_gets_the_adapter_of_its_provider(settings_of):
    settings = settings_of()
    made = {
        name: provider_for(options, linked=frozenset({"1"}), now=lambda: datetime(2026, 11, 21, tzinfo=UTC))
        for name, options in settings.accounts.items()
    }
    assert {name: type(one).__name__ for name, one in made.items()} == {
        "crm": "RocsAdapter",
        "sales": "SalesRocksAdapter",
        "mail": "RocketResponderAdapter",
        "leads": "RoktAdapter",
    }
    assert {name for name, one in made.items() if isinstance(one, CanLogin)} == {"crm", "sales"}


# -- where it is ----------------------------------------------------------------------------------------------------


def test_the_named_file_comes_before_the_variable_and_that_before_the_usual_places(tmp_path):
    home = tmp_path / "syncd" / "syncd.toml"
    home.parent.mkdir()
    home.write_text(WHOLE)
    environ = {"SYNCD_CONFIG": "/v.toml", "XDG_CONFIG_HOME": str(tmp_path)}
    assert find(Path("/named.toml"), environ) == Path("/named.toml")
    assert find(None, environ) == Path("/v.toml")
    assert find(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == home
    assert load(None, {"XDG_CONFIG_HOME": str(tmp_path)}).source == home


def test_the_home_folder_is_looked_in_where_xdg_says_nothing(tmp_path):
    home = tmp_path / ".config" / "syncd" / "syncd.toml"
    home.parent.mkdir(parents=True)
    home.touch()
    assert find(None, {"HOME": str(tmp_path)}) == home


def test_no_file_anywhere_says_where_was_looked(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        load(None, {"HOME": str(tmp_path)})
    (problem,) = error.value.problems
    assert str(tmp_path / ".config/syncd/syncd.toml") in problem.what
    assert "syncd init" in problem.hint


def test_a_named_file_that_is_not_there_is_a_problem(tmp_path):
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path / "none.toml", {})
    assert error.value.problems[0].what == "cannot be read: No such file or directory"


def test_the_environment_alone_is_enough(tmp_path):
    settings = load(
        None,
        {
            "HOME": str(tmp_path),
            "SYNCD_MIRROR__URL": "sqlite:////m.db",
            "SYNCD_ACCOUNTS__SALES__PASSWORD": "p",
            "SYNCD_ACCOUNTS__SALES__PROVIDER": "salesrocks",
            "SYNCD_ACCOUNTS__SALES__USERNAME": "u",
            "SYNCD_LISTS__NEWS__SALES": '["a", "b"]',
        },
    )
    assert settings.source is None
    assert secret(settings, "sales", "password") == "p"
    assert settings.lists["news"].accounts == {"sales": ("a", "b")}


# -- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("SYNCD_SCHEDULE__INTERVAL", "10m", "schedule.interval", 600),
        ("SYNCD_SCHEDULE__INTERVAL", "90", "schedule.interval", 90),
        ("SYNCD_GUARD__MAX_COUNT", "7", "guard.max_count", 7),
        ("SYNCD_GUARD__MAX_SHARE", "0.5", "guard.max_share", 0.5),
        ("SYNCD_MIRROR__URL", "sqlite:////other.db", "mirror.url", "sqlite:////other.db"),
        ("SYNCD_ACCOUNTS__SALES__SPREAD", "false", "accounts.sales.spread", False),
        ("SYNCD_ACCOUNTS__Sales__Username", "w", "accounts.sales.username", "w"),
        ("SYNCD_ACCOUNTS__LEADS__METHODS", '["POST", "GET"]', "accounts.leads.methods", ["POST", "GET"]),
        ("SYNCD_ACCOUNTS__CRM__FIELDS", '{ country = "Land" }', "accounts.crm.fields.country", "Land"),
        ("SYNCD_LISTS__NEWSLETTER__MAIL", "200", "lists.newsletter.mail", ["200"]),
        ("SYNCD_LISTS__NEWSLETTER__SCOPE", "all", "lists.newsletter.scope", "all"),
        ("SYNCD_ACCOUNTS__LEADS__INBOUND_AUTH__USERNAME", "r", "accounts.leads.inbound_auth.username", "r"),
    ],
)
def test_a_variable_wins_over_the_file(settings_of, variable, value, key, expected):
    settings = settings_of(**{variable: value})
    shown: Any = masked(settings)
    for step in key.split("."):
        shown = shown[step]
    assert shown == expected
    assert origin(settings)[key] == "env"


def test_a_name_with_a_hyphen_is_written_with_an_underscore(settings_of):
    text = WHOLE.replace("accounts.sales", "accounts.sales-eu").replace("sales = [", "sales-eu = [")
    settings = settings_of(text, SYNCD_ACCOUNTS__SALES_EU__PASSWORD="x", SYNCD_LISTS__NEWSLETTER__SALES_EU="y")
    assert secret(settings, "sales-eu", "password") == "x"
    assert settings.lists["newsletter"].accounts["sales-eu"] == ("y",)


@pytest.mark.parametrize("value", ["12345", "[not toml", "{x}", "  padded \n", "true"])
def test_a_secret_from_outside_is_never_read_as_anything_but_text(settings_of, value):
    settings = settings_of(SYNCD_ACCOUNTS__SALES__PASSWORD=value)
    assert secret(settings, "sales", "password") == value.strip()


def test_environment_before_credential_before_file_before_default(settings_of, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for key in ("accounts__crm__client_secret", "accounts__sales__password", "schedule__settle", "guard__max_count"):
        (credentials / f"syncd_{key}").write_text("3\n")
    (credentials / "unrelated").write_text("x")
    settings = settings_of(
        WHOLE + "[guard]\nmax_count = 1\nmax_share = 0.2\n",
        CREDENTIALS_DIRECTORY=str(credentials),
        SYNCD_ACCOUNTS__CRM__CLIENT_SECRET="env",
    )
    assert secret(settings, "crm", "client_secret") == ["env"]
    assert secret(settings, "sales", "password") == "3"
    assert (settings.schedule.settle, settings.guard.max_count) == (3, 3)
    came_from = origin(settings)
    assert came_from["accounts.crm.client_secret"] == "env"
    assert came_from["accounts.sales.password"] == "credential"
    assert came_from["guard.max_count"] == "credential"
    assert came_from["guard.max_share"] == "file"
    assert came_from["guard.window"] == "default"
    assert came_from["lists.newsletter.crm"] == "file"
    assert came_from["lists.newsletter.scope"] == "default"
    assert came_from["accounts.leads.inbound_auth.password"] == "file"


def test_what_comes_from_outside_replaces_the_file_behind_a_key_too(settings_of):
    text = replaced(f'password = "{CANARY}-2"', 'password_file = "/not/there"')
    assert secret(settings_of(text, SYNCD_ACCOUNTS__SALES__PASSWORD="p"), "sales", "password") == "p"


def test_a_file_named_by_a_variable_replaces_the_value_in_the_file(settings_of, tmp_path):
    (tmp_path / "p").write_text("from elsewhere\n")
    (tmp_path / "p").chmod(0o600)
    settings = settings_of(SYNCD_ACCOUNTS__SALES__PASSWORD_FILE=str(tmp_path / "p"))
    assert secret(settings, "sales", "password") == "from elsewhere"
    assert origin(settings)["accounts.sales.password"] == "env"


def test_other_variables_are_nobodys_business(settings_of):
    settings_of(SYNCD_CONFIG="/x", SYNCD_DEBUG="1", OTHER__KEY="1")


@pytest.mark.parametrize(
    ("variable", "what", "hint"),
    [
        ("SYNCD_SCHEDUL__INTERVAL", "names no setting", "did you mean `schedule`?"),
        ("SYNCD_ACCOUNTS__CMR__CLIENT_SECRET", "there is no account `cmr`", "did you mean `crm`?"),
        ("SYNCD_ACCOUNTS__CRM", "names no setting", "write a key after it: SYNCD_ACCOUNTS__CRM__KEY"),
        ("SYNCD_ACCOUNTS__CRM__CLIENT_ID__X", "names no setting", ""),
    ],
)
def test_a_variable_that_means_nothing_is_a_problem(problems_of, variable, what, hint):
    assert problems_of(**{variable: CANARY}) == {variable: Problem(variable, what, hint)}


def test_a_fault_that_came_from_a_variable_says_so(problems_of):
    problems = problems_of(SYNCD_GUARD__MAX_COUNT="-1", SYNCD_ACCOUNTS__CRM__CLIENT_SECERT="x")
    assert problems["guard.max_count"].what.endswith("(from SYNCD_GUARD__MAX_COUNT)")
    wrong = problems["accounts.crm.client_secert"]
    assert wrong.what == "unknown key (from SYNCD_ACCOUNTS__CRM__CLIENT_SECERT)"
    assert wrong.hint == "did you mean `client_secret`?"


# -- secrets in files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "key", "given"),
    [
        ("crm", "client_secret", f'client_secret = "{CANARY}-1"'),
        ("sales", "password", f'password = "{CANARY}-2"'),
        ("mail", "private_key", f'private_key = "{CANARY}-3"'),
        ("leads", "api_key", f'api_key = "{CANARY}-6"'),
        ("leads", "inbound_auth.password", f'password = "{CANARY}-7"'),
    ],
)
def test_any_secret_may_lie_in_a_file_of_its_own(settings_of, tmp_path, account, key, given):
    held = tmp_path / "held"
    held.write_text("\n  from a file \n")
    held.chmod(0o600)
    name = key.rpartition(".")[2]
    settings = settings_of(replaced(given, f'{name}_file = "{held}"'))
    assert secret(settings, account, key) in ("from a file", ["from a file"])
    assert settings.warnings == ()
    assert origin(settings)[f"accounts.{account}.{key}"] == "file"


def test_a_relative_path_begins_at_the_folder_of_the_configuration(settings_of, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "sales").write_text("here")
    settings = settings_of(replaced(f'password = "{CANARY}-2"', 'password_file = "keys/sales"'))
    assert secret(settings, "sales", "password") == "here"


@pytest.mark.parametrize("several", ["old\nnew\n", None])
def test_a_secret_that_may_be_several_is_one_line_each_or_one_file_each(settings_of, tmp_path, several):
    paths = []
    for index, text in enumerate([several] if several else ["old", "new"]):
        paths.append(tmp_path / f"held{index}")
        paths[-1].write_text(text)
    written = json.dumps([str(path) for path in paths]) if not several else f'"{paths[0]}"'
    text = replaced(f'webhook_secret = ["{CANARY}-4", "{CANARY}-5"]', f"webhook_secret_file = {written}")
    text = text.replace(f'password = "{CANARY}-7"', f"password_file = {written}")
    settings = settings_of(text)
    assert secret(settings, "mail", "webhook_secret") == ["old", "new"]
    assert secret(settings, "leads", "inbound_auth.password") == ["old", "new"]


def test_the_address_of_the_mirror_may_lie_in_a_file_since_it_may_hold_a_password(settings_of, tmp_path):
    (tmp_path / "url").write_text(f"postgresql+psycopg://syncd:{CANARY}@db/x\n")
    settings = settings_of(replaced('url = "sqlite:////var/lib/syncd/mirror.db"', f'url_file = "{tmp_path / "url"}"'))
    assert settings.mirror.url == f"postgresql+psycopg://syncd:{CANARY}@db/x"
    assert CANARY not in json.dumps(masked(settings))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b" \n ", "{path} is empty"),
        (b"\xff\xfe", "{path} is not UTF-8 text"),
        (b"x" * 70_000, "{path} is larger than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_serve_is_named_and_its_key_not_called_missing(problems_of, tmp_path, content, what):
    path = tmp_path / "held"
    if content is not None:
        path.write_bytes(content)
    problems = problems_of(replaced(f'password = "{CANARY}-2"', f'password_file = "{path}"'))
    where = "accounts.sales.password_file"
    assert problems == {where: Problem(where, what.format(path=path))}


def test_a_file_that_may_not_be_read_is_a_problem(problems_of, tmp_path):
    (tmp_path / "held").mkdir()
    problems = problems_of(replaced(f'password = "{CANARY}-2"', f'password_file = "{tmp_path / "held"}"'))
    assert problems["accounts.sales.password_file"].what.endswith(": Is a directory")


@pytest.mark.parametrize("value", ["7", '""', '["a", 7]', "[]"])
def test_a_path_must_be_one(problems_of, value):
    problems = problems_of(replaced(f'password = "{CANARY}-2"', f"password_file = {value}"))
    assert problems["accounts.sales.password_file"].what == "must be the path of a file"


def test_both_a_secret_and_its_file_are_a_problem(problems_of):
    problems = problems_of(replaced(f'password = "{CANARY}-2"', f'password = "{CANARY}-2"\npassword_file = "/x"'))
    assert problems["accounts.sales.password_file"].what == "both password and password_file are given"


def test_a_secret_that_everybody_can_read_is_a_warning(settings_of, tmp_path, file):
    held = tmp_path / "held"
    held.write_text("p")
    held.chmod(0o644)
    settings = settings_of(replaced(f'password = "{CANARY}-2"', f'password_file = "{held}"'))
    assert settings.warnings == (f"accounts.sales.password_file: {held} can be read by everybody; chmod 600 {held}",)
    file.chmod(0o644)
    assert any("holds secrets" in warning for warning in load(file, {}).warnings)


# -- faults ---------------------------------------------------------------------------------------------------------

FAULTS = [
    # (what stands there, what is written instead, where, what, hint)
    ("[mirror]", "[miror]", "miror", "unknown section", "did you mean `mirror`?"),
    ('url = "sqlite:////var/lib/syncd/mirror.db"', "", "mirror.url", "missing", "SYNCD_MIRROR__URL"),
    (
        "sqlite:////var/lib/syncd/mirror.db",
        f"postgresql://s:{CANARY}@db/x",
        "mirror.url",
        "names no driver; write postgresql+psycopg://",
        "",
    ),
    ("sqlite:////var/lib/syncd/mirror.db", f"mysql://{CANARY}", "mirror.url", "must begin with sqlite:///", ""),
    ("sqlite:////var/lib/syncd/mirror.db", "sqlite:///", "mirror.url", "names no file", ""),
    ('provider = "rocs"', "", "accounts.crm.provider", "missing", "rocs, salesrocks"),
    ('"rocs"', '"rosc"', "accounts.crm.provider", "unknown provider `rosc`", "did you mean `rocs`?"),
    ('"rocs"', '"hubspot"', "accounts.crm.provider", "unknown provider `hubspot`", "one of rocs,"),
    ('"rocs"', "7", "accounts.crm.provider", "unknown provider `7`", "one of rocs,"),
    ("client_id =", "client_idd =", "accounts.crm.client_idd", "unknown key", "did you mean `client_id`?"),
    ('client_id = "id"', "", "accounts.crm.client_id", "missing", "SYNCD_ACCOUNTS__CRM__CLIENT_ID"),
    (
        f'client_secret = "{CANARY}-1"',
        "",
        "accounts.crm.client_secret",
        "missing",
        "set SYNCD_ACCOUNTS__CRM__CLIENT_SECRET, or give the credential syncd_accounts__crm__client_secret",
    ),
    (f'client_secret = "{CANARY}-1"', 'client_secret = ""', "accounts.crm.client_secret", "is empty", ""),
    (
        f'client_secret = "{CANARY}-1"',
        "client_secret = 7",
        "accounts.crm.client_secret",
        "should be a valid string",
        "",
    ),
    (
        f'client_secret = "{CANARY}-1"',
        'client_secret_fiel = "/x"',
        "accounts.crm.client_secret_fiel",
        "unknown key",
        "did you mean `client_secret_file`?",
    ),
    (
        "https://login.example.org/token",
        f"http://login.example.org/{CANARY}",
        "accounts.crm.token_url",
        "must be https",
        "",
    ),
    ("https://login.example.org/token", CANARY, "accounts.crm.token_url", "should be a valid URL", ""),
    ('resource = "https://api.example.org"', "", "accounts.crm.scope", "exactly one of resource", ""),
    ('username = "u"', 'username = "u"\ninterval = "soon"', "accounts.sales.interval", "not a duration: 'soon'", ""),
    ('username = "u"', 'username = "u"\ninterval = true', "accounts.sales.interval", "not a duration", ""),
    ('username = "u"', 'username = "u"\non_absence = "panic"', "accounts.sales.on_absence", "must be 'ignore' or", ""),
    ('kind = "basic"', 'kind = "basik"', "accounts.leads.inbound_auth", "kind must be one of 'basic', 'api_key'", ""),
    ('kind = "basic", ', "", "accounts.leads.inbound_auth", "says no kind", "write kind"),
    (
        f'password = "{CANARY}-7"',
        f'pasword = "{CANARY}-7"',
        "accounts.leads.inbound_auth.pasword",
        "unknown key",
        "did you mean `password`?",
    ),
    (
        f', password = "{CANARY}-7"',
        "",
        "accounts.leads.inbound_auth.password",
        "missing",
        "SYNCD_ACCOUNTS__LEADS__INBOUND_AUTH__PASSWORD",
    ),
    ('crm = "L-1"', 'cmr = "L-1"', "lists.newsletter.cmr", "neither an account nor a key", "did you mean `crm`?"),
    ('crm = "L-1"', 'scpe = "x"', "lists.newsletter.scpe", "neither an account nor a key", "did you mean `scope`?"),
    ('crm = "L-1"', "crm = true", "lists.newsletter.crm", "must be the id of a list there", ""),
    ('crm = "L-1"', "crm = []", "lists.newsletter.crm", "must be the id of a list there", ""),
    ('crm = "L-1"', 'crm = " "', "lists.newsletter.crm", "must be the id of a list there", ""),
    ('crm = "L-1"', 'crm = ["a", 1.5]', "lists.newsletter.crm", "must be the id of a list there", ""),
    ('crm = "L-1"', 'crm = ["a", "a"]', "lists.newsletter.crm", "names one list twice", ""),
    ('crm = "L-1"', 'crm = "L-1"\nspread = "maybe"', "lists.newsletter.spread", "should be a valid boolean", ""),
    (
        "[lists.newsletter]",
        "[lists.b]\ncrm = 'L-1'\n[lists.newsletter]",
        "lists.newsletter.crm",
        "`L-1` is already lists.b",
        "",
    ),
    ("[lists.newsletter]", "[lists.b]\n[lists.newsletter]", "lists.b", "lives at no account", ""),
    ("[lists.newsletter]", "[lists]\nb = 1\n[lists.newsletter]", "lists.b", "must be a table: write [lists.b]", ""),
    (
        "[lists.newsletter]",
        "[lists.News]\ncrm='x'\n[lists.newsletter]",
        "lists.News",
        "not a name for a list",
        "a to z",
    ),
    ("[mirror]", "guard = 1\n[mirror]", "guard", "must be a table: write [guard]", ""),
    ("[mirror]", "[guard]\nmax_share = 0\n[mirror]", "guard.max_share", "should be greater than 0", ""),
    ("[mirror]", "[guard]\nmax_share = 1.01\n[mirror]", "guard.max_share", "should be less than or equal to 1", ""),
    ("[mirror]", "[guard]\nmax_count = -1\n[mirror]", "guard.max_count", "should be greater than or equal to 0", ""),
    ("[mirror]", "[guard]\nmax_count = 1.5\n[mirror]", "guard.max_count", "should be a valid integer", ""),
    ("[mirror]", "[guard]\nfirst_sync = 'stop'\n[mirror]", "guard.first_sync", "must be 'hold' or 'go'", ""),
    (
        "[mirror]",
        "[schedule]\nintervall = '5m'\n[mirror]",
        "schedule.intervall",
        "unknown key",
        "did you mean `interval`?",
    ),
    ("[mirror]", "[schedule]\ninterval = '0s'\n[mirror]", "schedule.interval", "should be greater than 0", ""),
    ("[mirror]", "[receiver]\nlisten = '8480'\n[mirror]", "receiver.listen", "must be HOST:PORT", ""),
    ("[mirror]", "[receiver]\nlisten = 'h:99999'\n[mirror]", "receiver.listen", "must be HOST:PORT", ""),
    ("[mirror]", "[receiver]\nlisten = 'unix:http.sock'\n[mirror]", "receiver.listen", "must name a file", ""),
    ("[mirror]", "[receiver]\nlisten = 'unix:/run/'\n[mirror]", "receiver.listen", "must name a file", ""),
    (
        "[mirror]",
        "[receiver]\noperator_token = '123456789012345'\n[mirror]",
        "receiver.operator_token",
        "is shorter than 16 characters and can be guessed",
        "",
    ),
    ("[mirror]", "[receiver]\npublic_url = 'http://x.org'\n[mirror]", "receiver.public_url", "must be https", ""),
    ("[mirror]", "[accounts]\nx = 1\n[mirror]", "accounts.x", "must be a table: write [accounts.x]", ""),
]


@pytest.mark.parametrize(("old", "new", "where", "what", "hint"), FAULTS)
def test_a_fault_is_found_and_explained(problems_of, old, new, where, what, hint):
    problem = problems_of(replaced(old, new))[where]
    assert what in problem.what
    assert hint in problem.hint


FIELDS = """
[fields.shoe_size]
owner = "sales"

[fields.member_since]
kind = "date"

[fields.country]
owner = "crm"
"""
MAPPED = WHOLE.replace(
    "[accounts.sales]",
    'fields = { shoe_size = "dynamic:shoe", member_since = "dynamic:since" }\n'
    'formats = { member_since = "DD.MM.YYYY" }\n\n[accounts.sales]\nfields = { shoe_size = "shoe" }',
).replace(
    "[accounts.leads]", 'fields = { shoe_size = "custom:shoe" }\n\n[accounts.leads]\nfields = { shoe_size = "s" }'
)


def test_fields_of_our_own_are_declared_once_and_mapped_by_account(settings_of):
    settings = settings_of(MAPPED + FIELDS, SYNCD_FIELDS__COUNTRY__OWNER="mail")
    assert settings.owners == {"shoe_size": "sales", "country": "mail"}
    assert {settings.kinds[name].value for name in ("member_since", "birth_date")} == {"date"}
    assert settings.kinds["shoe_size"].value == "text"
    assert settings.accounts["crm"].formats == {"member_since": "DD.MM.YYYY"}
    assert masked(settings)["fields"]["member_since"] == {"owner": None, "kind": "date"}


@pytest.mark.parametrize(
    ("old", "new", "where", "what", "hint"),
    [
        ('owner = "sales"', 'owner = "slaes"', "fields.shoe_size.owner", "no account `slaes`", "mean `sales`"),
        ('kind = "date"', 'kind = "dtae"', "fields.member_since.kind", "must be 'text', 'phone', 'date'", ""),
        ('kind = "date"', 'kin = "date"', "fields.member_since.kin", "unknown key", "mean `kind`"),
        ('owner = "crm"', 'kind = "text"', "fields.country.kind", "country is always country", ""),
        ("[fields.country]", "[fields.Country]", "fields.Country", "not a name for a field", "a to z"),
        ("[fields.country]", "[fields.email]", "fields.email", "not a name for a field", "taken"),
        ("[fields.shoe_size]", "[fields.shoe_sizes]", "accounts.crm.fields", "'shoe_size'", ""),
        ("[fields.country]", "[fields.contry]", "fields.contry", "no account has this field", 'contry = "its name'),
        ("DD.MM.YYYY", "DD.MM.YY", "accounts.crm.formats.member_since", "written with YYYY, MM and DD", ""),
        (
            "formats = { member_since",
            "formats = { member_snce",
            "accounts.crm.formats.member_snce",
            "no such field",
            "_since",
        ),
        (
            'shoe_size = "custom:shoe"',
            'shoesize = "custom:shoe"',
            "accounts.mail.fields.shoesize",
            "no such field",
            "e_size",
        ),
    ],
)
def test_a_fault_about_fields_is_found_and_explained(problems_of, old, new, where, what, hint):
    text = MAPPED + FIELDS
    assert text.count(old) == 1
    problem = problems_of(text.replace(old, new))[where]
    assert what in problem.what
    assert hint in problem.hint


def test_a_key_of_another_kind_of_proof_is_not_suggested(problems_of):
    problems = problems_of(replaced('kind = "basic"', 'kind = "basic", headr = "X"'))
    assert problems["accounts.leads.inbound_auth.headr"] == Problem(
        "accounts.leads.inbound_auth.headr", "unknown key", ""
    )


def test_a_key_that_may_be_two_things_is_told_once(problems_of):
    problems = problems_of(replaced(f'password = "{CANARY}-7"', "password = 7"))
    assert list(problems) == ["accounts.leads.inbound_auth.password"]


@pytest.mark.parametrize("name", ["Crm", "_crm", "c.m", "c__m", "scope", "spread"])
def test_a_name_that_could_be_mistaken_is_refused(problems_of, name):
    text = f'[mirror]\nurl="sqlite:////m"\n[accounts."{name}"]\nprovider="salesrocks"\nusername="u"\npassword="p"\n'
    assert problems_of(text)[f"accounts.{name}"].what == "not a name for an account"


def test_no_account_at_all_is_a_problem(problems_of):
    problems = problems_of('[mirror]\nurl = "sqlite:////m.db"\n')
    assert list(problems) == ["accounts"]
    assert problems["accounts"].what == "there are none"


def test_all_faults_of_a_file_are_told_at_once(problems_of):
    text = WHOLE + "[schedule]\ninterval = 'x'\nintervall = 1\n[gaurd]\n[guard]\nmax_share = 2\n"
    for old, new in (
        ('client_id = "id"', ""),
        (f'client_secret = "{CANARY}-1"', 'client_secret_file = "/not/there"'),
        ('username = "u"', "user = 'u'"),
        ('"rocketresponder"', '"rocket"'),
        ("mail = 154", "male = 154"),
    ):
        text = text.replace(old, new)
    assert set(problems_of(text)) == {
        "schedule.interval",
        "schedule.intervall",
        "gaurd",
        "guard.max_share",
        "accounts.crm.client_id",
        "accounts.crm.client_secret_file",
        "accounts.sales.username",
        "accounts.sales.user",
        "accounts.mail.provider",
        "lists.newsletter.male",
    }


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[mirror\nurl = 1", "line 1, column 8", "not TOML: "),
        (f'[a]\nb = "{CANARY}\n', "line 2, column", "not TOML: "),
        ("[a]\n[a]\n", "line 2, column", "not TOML: Cannot declare"),
        ("a = ", "", "not TOML: "),
    ],
)
def test_a_file_that_is_not_toml_says_where(problems_of, text, where, what):
    ((at, problem),) = problems_of(text).items()
    assert at.startswith(where)
    assert problem.what.startswith(what)


def test_a_file_in_another_encoding_is_a_problem(file):
    file.write_bytes(b"# \xff\n")
    with pytest.raises(ConfigurationError) as error:
        load(file, {})
    assert error.value.problems == (Problem("byte 2", "the file is not UTF-8"),)


def test_no_secret_in_any_message_whatever_else_is_wrong(problems_of):
    for key in ("provider", "token_url", "client_id", "username", "public_key", "inbound_auth", "url", "mail"):
        problems_of(re.sub(rf"^{key} = .*$", f"{key} = {{ x = 7 }}", WHOLE, flags=re.MULTILINE))


# -- showing --------------------------------------------------------------------------------------------------------


def test_nothing_that_is_shown_holds_a_secret(settings_of):
    settings = settings_of(replaced("sqlite:////var/lib/syncd/mirror.db", f"postgresql+psycopg://s:{CANARY}@db/x"))
    told = f"{json.dumps(masked(settings))} {settings!r} {settings} {origin(settings)}"
    assert CANARY not in told
    for url in (f"postgresql+psycopg://s:{CANARY}/@x@db/x", f"postgresql+psycopg://db/x?password={CANARY}"):
        assert CANARY not in str(masked(settings_of(replaced("sqlite:////var/lib/syncd/mirror.db", url))))
    shown = masked(settings)
    assert shown["mirror"]["url"] == "postgresql+psycopg://**********@db/x"
    assert shown["accounts"]["crm"]["client_secret"] == ["**********"]
    assert shown["accounts"]["leads"]["inbound_auth"] == {"kind": "basic", "username": "rokt", "password": "**********"}
    assert shown["lists"]["newsletter"] == {
        "crm": ["L-1"],
        "sales": ["whczyk8bluyl", "w2"],
        "mail": ["154"],
        "leads": ["*"],
        "scope": "newsletter",
        "spread": True,
    }


def test_every_value_shown_has_an_origin(settings_of):
    settings = settings_of()
    came_from = origin(settings)
    assert came_from["schedule.interval"] == "default"
    assert came_from["accounts.mail.webhook_secret"] == "file"
    assert came_from["accounts.crm.base_url"] == "default"
    assert set(came_from.values()) == {"file", "default"}
    for key in settings.origins:
        assert key in came_from


# -- how people are told --------------------------------------------------------------------------------------------


def told_by(lines: str) -> str:
    return replaced("[accounts.crm]", f"[notify]\n{lines}\n\n[accounts.crm]")


def test_people_are_told_by_whatever_is_configured(settings_of, tmp_path):
    (tmp_path / "urls").write_text("json://127.0.0.1:1/x\n\nmailto://u:pw@mail.example.org\n")
    (tmp_path / "urls").chmod(0o600)
    found = settings_of(
        told_by(
            f'command = ["/bin/true", "a b"]\nwebhook_url = "https://hooks.example.org/{CANARY}"\n'
            f'webhook_secret = ["whsec_{KEY}", "{KEY}"]\nurls_file = "urls"\nquiet = "2h"'
        )
    ).notify
    assert (found.command, found.quiet, len(found.webhook_secret)) == (("/bin/true", "a b"), 7200, 2)
    assert [url.get_secret_value() for url in found.urls] == ["json://127.0.0.1:1/x", "mailto://u:pw@mail.example.org"]
    shown = str(
        masked(settings_of(told_by(f'webhook_url = "https://h.example.org/{CANARY}"\nwebhook_secret = "{KEY}"')))
    )
    assert CANARY not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        ('command = ["tell", "me"]', "notify.command", "whole path"),
        ('command = "/bin/true"', "notify.command", "tuple"),
        (f'webhook_url = "https://hooks.example.org/{CANARY}"', "notify", "given together"),
        (f'webhook_secret = "{b64encode(CANARY.encode() * 3).decode()}"', "notify", "given together"),
        (f'webhook_url = "https://h.example.org"\nwebhook_secret = "{CANARY}"', "notify.webhook_secret", "24 to 64"),
        (f'webhook_url = "http://h.example.org/{CANARY}"', "notify.webhook_url", "must be https"),
        ("every = 0", "notify.every", "greater than 0"),
    ],
)
def test_a_way_to_tell_people_that_cannot_work_is_a_problem(problems_of, lines, where, what):
    found = problems_of(told_by(lines))
    assert what in found[where].what
    assert CANARY not in str(found)


def test_without_the_extra_the_configuration_says_how_to_get_it(problems_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    found = problems_of(told_by(f'urls = "slack://{CANARY}"'))
    assert "pip install syncd[notify]" in found["notify.urls"].what
    assert CANARY not in str(found)


# -- the example that is shipped ------------------------------------------------------------------------------------

_KEY = re.compile(r"^#?(\w+) = ", re.MULTILINE)


KEY = b64encode(b"a key of thirty-two bytes, or so").decode()


@pytest.fixture
def shipped(tmp_path) -> str:
    """The example, with a file behind each secret."""
    text = EXAMPLE.read_text()
    for path in re.findall(r'"/etc/syncd/credentials/(\w+)"', text):
        (tmp_path / path).write_text(KEY)
        (tmp_path / path).chmod(0o600)
    return text.replace("/etc/syncd/credentials", str(tmp_path))


def tables_of(text: str) -> dict[str, str]:
    """The text of each table of the example, by its name."""
    name, *rest = re.split(r"^\[([\w.]+)\]$", text, flags=re.MULTILINE)
    assert not _KEY.findall(name)
    return dict(zip(rest[::2], rest[1::2], strict=True))


def test_the_example_is_a_good_file(settings_of, shipped):
    settings = settings_of(shipped)
    assert {one.provider for one in settings.accounts.values()} == set(REGISTRY)
    assert settings.warnings == ()


def test_the_example_shows_every_key(shipped):
    tables = tables_of(shipped)
    shown = {name: {key.removesuffix("_file") for key in _KEY.findall(text)} for name, text in tables.items()}
    for section, model in SECTIONS.items():
        assert shown[section] == set(model.model_fields), section
    providers = {tomllib.loads(text)["provider"]: name for name, text in tables.items() if name.startswith("accounts.")}
    assert set(providers) == set(REGISTRY)
    for provider, name in providers.items():
        own = set(REGISTRY[provider].options.model_fields) - set(AccountOptions.model_fields)
        assert own <= shown[name], provider
        assert shown[name] <= set(REGISTRY[provider].options.model_fields), provider
    assert set(AccountOptions.model_fields) <= shown["accounts.crm"]
    assert set(LIST_KEYS) <= shown["lists.newsletter"]


def test_the_example_shows_the_defaults_that_are_true(shipped):
    compared = 0
    for name, text in tables_of(shipped).items():
        shown = tomllib.loads("\n".join(line[1:] for line in text.splitlines() if re.match(r"#\w+ = ", line)))
        if name in SECTIONS:
            model: Any = SECTIONS[name]
        elif name.startswith("accounts."):
            model = REGISTRY[tomllib.loads(text)["provider"]].options
        else:
            continue
        for key, value in shown.items():
            about = model.model_fields.get(key)
            default = about.get_default(call_default_factory=True) if about else None
            if default in (None, {}, ()):
                continue  # an illustration of a key that has no default
            compared += 1
            held = type(default)(**value) if isinstance(default, BaseModel) else _as_default(value)
            assert held == default, f"{name}.{key}"
    assert compared > 30


def _as_default(value: Any) -> Any:
    """A TOML value as the model would hold it."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and re.fullmatch(r"\d+(ms|s|m|h|d)", value):
        return seconds(value)
    return value


def test_an_example_with_everything_set_names_no_unknown_key(problems_of, shipped):
    text = re.sub(r"^#(\w+ = )", r"\1", shipped, flags=re.MULTILINE)
    assert {where: one.what for where, one in problems_of(text).items()} == {
        "accounts.crm.scope": "exactly one of resource (Azure AD v1.0) and scope (v2.0) is needed; both are set"
    }


def test_the_example_is_what_the_models_make_of_it():
    result = example.generated(EXAMPLE.read_text())
    assert result.problems == []
    assert result.text == EXAMPLE.read_text(), "make docs"


class _Grown(GuardSettings):
    max_count: int = 21
    patience: Annotated[Duration, Field(gt=0)] = 7200.0
    """How long it waits."""
    unexplained: bool = False


class _Fresh(Options):
    # What it is called
    # in the morning.
    name: str = "sun"
    names: tuple[str, ...] = ("a", "b")  # what else


def test_a_key_that_is_new_gone_or_other_is_put_right_in_the_example(shipped):
    text = shipped.replace("#max_share = ", "#max_sharing = ").replace('"12h"', '"720m"')
    result = example.generated(text, {**SECTIONS, "guard": _Grown, "fresh": _Fresh})
    assert [problem.split(":")[0] for problem in result.problems] == ["[guard] max_share", "[guard] unexplained"]
    tables = tables_of(result.text)
    assert "max_sharing" not in result.text
    assert "#max_count = 21\n" in tables["guard"]
    assert '#release_after = "720m"\n' in tables["guard"], "as long as it is the same, it stays as it was written"
    assert '\n# How long it waits.\n#patience = "2h"\n' in tables["guard"]
    assert tables["fresh"].startswith(
        '\n# What it is called in the morning.\n#name = "sun"\n# what else\n#names = ["a", "b"]\n'
    )
    assert "# One table for each account" in tables["fresh"], "what introduces the accounts still stands before them"
    assert example.generated(result.text, {**SECTIONS, "guard": _Grown, "fresh": _Fresh}).text == result.text


def test_no_variable_of_this_machine_is_read(settings_of, monkeypatch):
    monkeypatch.setenv("SYNCD_GUARD__MAX_COUNT", "99")
    assert os.environ["SYNCD_GUARD__MAX_COUNT"] == "99"
    assert settings_of().guard.max_count == 20
