"""The sheet for Rokt in its three forms, and what the Query API says when it is asked by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from syncd.providers.rokt.options import PARAMETERS
from tests.cli.conftest import Desk
from tests.scenes import QUERY_API

AUTHS = {
    "basic": ('{ kind = "basic", username = "rokt", password = "TOPSECRET" }', ["Authorization"]),
    "api_key": ('{ kind = "api_key", header = "X-Rokt-Key", key = ["TOPSECRET", "TOPSECRET2"] }', ["X-Rokt-Key"]),
    "client": (
        '{ kind = "client", client_id = "c-1", client_secret = "TOPSECRET" }',
        ["X-Client-Id", "X-Client-Secret"],
    ),
}

POINTS = (
    "1. API documentation", "2. Technical contact", "3. Endpoints", "4. Method", "5. Authentication",
    "6. Body encoding", "7. Parameters", "8. Responses", "Test leads", "Unsubscribe export",
)  # fmt: skip

KEYS = """methods = ["PUT", "GET"]
required = ["email", "first_name"]
optional = ["campaign", "postal_code"]
fields = { first_name = "First-Name" }
test_leads = { parameter = "probe", value = "yes", keep = "36h" }
contact = { name = "Jo <Support>", role = "Technical Support", email = "jo@example.org", phone = "+4612345678" }
environments = { staging = "https://staging.example.org" }
"""


def set_up(desk: Desk, keys: str = KEYS, auth: str = "basic") -> None:
    text = desk.config.read_text()
    text = re.sub(r"inbound_auth = .*", f"inbound_auth = {AUTHS[auth][0]}\n{keys}", text)
    desk.config.write_text(text + '\n[receiver]\npublic_url = "https://sync.example.org"\n')


def sheet(desk: Desk, form: str) -> Any:
    printed = desk.data("leads", "sheet", "--format", form)
    assert (printed["account"], printed["format"]) == ("leads", form)
    return printed["document"]


class Outline(HTMLParser):
    """The headings of a page, its text, and whatever it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.fetched: list[str] = []
        self.said = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.fetched += [name for name, _ in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.said += data
        if self._inside == "h2" and data.strip():
            self.headings.append(data)


def test_the_sheet_makes_all_eight_points_with_what_is_configured(small: Desk) -> None:
    set_up(small)
    text = sheet(small, "markdown")
    assert tuple(re.findall(r"^## (.*)$", text, re.MULTILINE)) == POINTS
    for said in (
        "one `PUT` to `https://sync.example.org/in/leads/leads`", "is recognised in every method and encoding",
        "| Name | Jo <Support> |", "| E-mail | jo@example.org |",
        "| production | leads | `https://sync.example.org/in/leads/leads` |",
        "| staging | unsubscribes | `https://staging.example.org/in/leads/unsubscribes` |",
        "| production, tests | test leads | `https://sync.example.org/in/leads/leads?test=true` |",
        "`PUT`; also `GET`.", "`application/json`", "`application/x-www-form-urlencoded`", "`text/plain`",
        "`application/xml`", "| `First-Name` | required |", "| `email` | required |", "| `zipcode` | optional |",
        "| 201 | delivered |", "| 200 | duplicate |", "| 401 | rejected |", "First-Name: missing",
        "its parameter `probe` is `yes`", "36 hours", "`PUT`; never `GET`",
    ):  # fmt: skip
        assert said in text, said
    assert "lastname" not in text, "what is not asked for is not in it"
    assert small.run("leads", "sheet").out == text


@pytest.mark.parametrize(
    ("contact", "rows"),
    [
        ("", []),
        ('contact = { name = "Jo" }', ["| Name | Jo |"]),
        (
            'contact = { name = "Jo Doe", role = "Support", email = "jo@example.org", phone = "+4612345678" }',
            ["| Name | Jo Doe |", "| Role | Support |", "| E-mail | jo@example.org |", "| Telephone | +4612345678 |"],
        ),
    ],
)  # fmt: skip
def test_the_contact_is_named_with_all_that_is_known(small: Desk, contact: str, rows: list[str]) -> None:
    set_up(small, keys=contact)
    section = sheet(small, "markdown").partition("## 2. Technical contact")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| ")][2:] == rows
    assert ("Not named yet" in section) == (not rows)
    assert ("whether a test lead has arrived" in section) == bool(rows)
    assert ("contact is not set" in small.run("leads", "sheet").err) == (not rows)
    asked = sheet(small, "openapi")["info"].get("contact", {})
    assert asked.get("name") == (rows[0].split(" | ")[1].removesuffix(" |") if rows else None)


@pytest.mark.parametrize("auth", AUTHS)
def test_no_form_of_the_sheet_names_a_secret_and_each_says_how_to_send_it(small: Desk, auth: str) -> None:
    set_up(small, auth=auth)
    page = Outline()
    page.feed(sheet(small, "html"))
    document = sheet(small, "openapi")
    for text in (sheet(small, "markdown"), page.said, json.dumps(document)):
        assert "TOPSECRET" not in text
        assert "rokt-key" not in text
    for header in AUTHS[auth][1]:
        assert header in page.said
    schemes = document["components"]["securitySchemes"].values()
    assert {scheme.get("name", "Authorization") for scheme in schemes} >= set(AUTHS[auth][1])


def test_the_page_has_all_points_escapes_what_it_shows_and_fetches_nothing(small: Desk) -> None:
    set_up(small)
    text = sheet(small, "html")
    page = Outline()
    page.feed(text)
    assert tuple(page.headings) == POINTS
    assert page.fetched == []
    assert "url(" not in text
    assert "<Support>" not in text
    assert "Jo <Support>" in page.said


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(inner)


def test_the_openapi_form_is_valid_and_says_what_the_receiver_does(small: Desk) -> None:
    set_up(small)
    document = sheet(small, "openapi")
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["contact"] == {"name": "Jo <Support>", "email": "jo@example.org"}
    assert [server["url"] for server in document["servers"]] == [
        "https://sync.example.org",
        "https://staging.example.org",
    ]
    assert {path: set(item) for path, item in document["paths"].items()} == {
        "/in/leads/leads": {"put", "get"},
        "/in/leads/unsubscribes": {"put"},
    }
    lead = Draft202012Validator(document["components"]["schemas"]["Lead"])
    assert lead.is_valid({"email": "ann@example.org", "First-Name": "Ann", "campaign_id": 2581697744617019994})
    assert not lead.is_valid({"email": "ann@example.org"})
    asked = {one["name"]: one["required"] for one in document["paths"]["/in/leads/leads"]["get"]["parameters"]}
    assert asked == {"test": False, "email": True, "First-Name": True, "campaign_id": False, "zipcode": False}
    assert all(reference.startswith("#/components/") for reference in references(document))


OWN = """fields = { shoe_size = "Shoe-Size", first_name = "First Name", source = "utm=source" }
required = ["shoe_size"]
optional = ["source", "first_name"]
[fields.shoe_size]
owner = "leads"
"""


def test_the_sheet_asks_for_fields_of_ones_own_and_shows_only_what_can_be_written(small: Desk) -> None:
    set_up(small, keys=OWN)
    for text in (sheet(small, "markdown"), sheet(small, "html").replace("</code>", "`").replace("<code>", "`")):
        assert "`Shoe-Size`" in text
        assert "`utm=source`" in text
        assert "where the lead came from" in text
        assert "read by nobody" not in text, "what is not asked for is read all the same"
        assert "<First Name>" not in text
        assert "&lt;First Name&gt;" not in text
        assert "First Name=" not in text or "utm=source=" not in text
    document = sheet(small, "openapi")
    validate(document)
    lead = Draft202012Validator(document["components"]["schemas"]["Lead"])
    assert lead.is_valid({"email": "ann@example.org", "Shoe-Size": "41", "utm=source": "checkout"})
    assert not lead.is_valid({"email": "ann@example.org"})
    assert not lead.is_valid({"email": "ann@example.org", "Shoe-Size": "41", "utm=source": 3})
    assert "| `Shoe-Size` | required |" in sheet(small, "markdown")
    assert "Shoe-Size: missing" in sheet(small, "markdown")


def test_with_nothing_configured_the_sheet_says_what_is_missing(small: Desk) -> None:
    done = small.run("leads", "sheet")
    assert done.code == 0
    assert "receiver.public_url is not set" in done.err
    assert "contact is not set" in done.err
    assert "http://127.0.0.1:8480/in/leads/leads" in done.out
    assert all(name in done.out for name in PARAMETERS.values())
    validate(sheet(small, "openapi"))


def test_an_account_that_sends_no_leads_has_no_sheet(small: Desk) -> None:
    assert small.run("leads", "sheet", "--account", "crm").code == 2
    small.config.write_text(small.config.read_text() + TWO)
    done = small.run("leads", "sheet", "--json")
    assert done.code == 2
    assert "--account" in json.loads(done.out)["error"]["hint"]


TWO = """
[accounts.more]
provider = "rokt"
api_key = "rokt-key"
inbound_auth = { kind = "api_key", key = "k" }
"""


def test_the_query_api_is_asked_by_hand(small: Desk) -> None:
    assert small.run("leads", "query", "account").code == 2
    set_up(small, keys=QUERY_API)
    small.rokt.transactions[small.at.date()] = {"transactions": 3}
    (account,) = small.data("leads", "query", "accounts")
    assert small.data("leads", "query", "account") == [account]
    assert (account["id"], account["owner"], account["country"]) == ("2581697744617019994", "Rokt", "US")
    assert "referrals" in small.run("leads", "query", "campaigns-help").out
    printed = small.run("leads", "query", "transactions", "--days", "3", "--json").data("leads-query")
    assert [(row["datetime"][:10], row["transactions"]) for row in printed] == [("2026-11-21", 3)]


def test_campaigns_links_and_tests_are_printed_for_people_too(small: Desk) -> None:
    assert "77 linked" not in small.run("leads", "campaigns").out
    assert "by configuration" in small.run("leads", "link", "77", "newsletter").out
    small.config.write_text(small.config.read_text().replace('leads = "*"', 'leads = "66"'))
    assert small.data("leads", "link", "77", "newsletter")["changed"]
    assert "newsletter (command)" in small.run("leads", "campaigns").out
    assert [row["campaign_id"] for row in small.data("leads", "campaigns")] == ["66", "77"]
    assert small.data("leads", "unlink", "77", "newsletter")["state"] == "unlinked"
    assert "received_at" in small.run("leads", "test").out
