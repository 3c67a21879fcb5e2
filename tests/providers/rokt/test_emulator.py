from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from syncd.emulators.rokt import RoktEmulator, Rule
from syncd.emulators.serve import bind_loopback, serving
from syncd.wire import Request, Response

BASE = "http://127.0.0.1:8704"
IMPORT = f"{BASE}/1.0/nurture/unsubscribe"
ACCOUNT = f"{BASE}/v1/query/accounts/2581697744617019994"
HEADERS = {"Authorization": "rokt-key", "Content-Type": "application/json", "Accept": "*/*"}
GOOD = b'{"email":"ann@example.org"}'
ASK = {
    "interval": "day",
    "startDate": "2026-11-01",
    "endDate": "2026-11-22",
    "metrics": ["referrals"],
    "dimensions": ["campaign_id"],
}


def leave(rokt, body=GOOD, method="POST", **headers):
    return rokt.handle(
        Request(method, IMPORT, HEADERS | {k.replace("_", "-").title(): v for k, v in headers.items()}, body)
    )


def bearer(rokt):
    rokt.tokens["t"] = rokt.now() + timedelta(hours=1)
    return {"authorization": "Bearer t", "content-type": "application/json"}


def ask(rokt, path="/campaigns/", **changes):
    return rokt.handle(Request("POST", ACCOUNT + path, bearer(rokt), json.dumps(ASK | changes).encode()))


@pytest.mark.quirk("rokt-import-is-not-idempotent")
def test_each_import_has_a_new_id_even_for_the_same_person(rokt):
    first, second = leave(rokt), leave(rokt)
    assert (first.status, second.status) == (201, 201)
    assert json.loads(first.body).keys() == {"id"}
    assert first.body != second.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'"a@b.org"',
        b'{"email":"a@b.org","x":1}',
        b'{"emails":["a@b.org"]}',
        b'{"email":5}',
        b'{"email":"nobody"}',
        b'{"email":"a b@c.org"}',
    ],
)
def test_the_import_wants_a_map_with_exactly_the_address(rokt, body):
    assert leave(rokt, body).status == 400
    assert not rokt.unsubscribed


def test_the_import_wants_json_said_and_accepted(rokt):
    assert leave(rokt, content_type="application/x-www-form-urlencoded").status == 400
    assert leave(rokt, content_type="").status == 400
    assert leave(rokt, accept="text/html").status == 400
    assert leave(rokt, content_type="application/json; charset=utf-8").status == 201


@pytest.mark.parametrize("status", [400, 401, 403])
def test_the_key_is_bare(rokt, status):
    rokt.bad_key_status = status
    for key in ("", "other", "Bearer rokt-key", "Basic rokt-key"):
        assert leave(rokt, authorization=key).status == status
    assert leave(rokt, method="PUT").status == 405
    assert not rokt.unsubscribed


@pytest.mark.quirk("rokt-201-comes-before-it-is-done")
def test_an_import_is_applied_after_its_delay(rokt, clock):
    rokt.send_lead("Ann@example.org")
    rokt.apply_delay_s = 60
    assert leave(rokt).status == 201
    clock.skip(seconds=59)
    assert not rokt.unsubscribed
    clock.skip(seconds=1)
    assert rokt.unsubscribed == {"ann@example.org": clock()}
    assert rokt.leads["ann@example.org"].unsubscribed


def test_an_import_may_be_echoed_once(rokt):
    rokt.echoes_imports = True
    leave(rokt)
    leave(rokt)
    assert [request.url for request in rokt.outgoing if rokt.unsubscribed] == [
        "http://127.0.0.1:8480/in/leads/unsubscribes"
    ]


def test_only_an_import_is_a_write(rokt):
    leave(rokt)
    ask(rokt)
    assert rokt.writes == 1
    assert len(rokt.calls) == 2


@pytest.mark.quirk("rokt-last-slash")
def test_the_last_slash_tells_the_two_queries_apart(rokt):
    rokt.add_campaign("7", "A", {"2026-11-02": {"referrals": 4}})
    assert ask(rokt, "/campaigns/").status == 200
    assert ask(rokt, "/campaigns").status == 404
    counted = {"metrics": ["transactions"], "dimensions": []}
    assert ask(rokt, "/transactions", **counted).status == 200
    assert ask(rokt, "/transactions/", **counted).status == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"orderBys": [{"column": "datetime", "direction": "asc"}]},
        {"metrics": []},
        {"metrics": ["nonsense"]},
        {"dimensions": ["nonsense"]},
        {"startDate": None},
        {"endDate": "2026-11-01"},
        {"interval": "hour"},
        {"colour": "red"},
    ],
)
def test_a_query_that_is_not_understood_is_400(rokt, changes):
    assert ask(rokt, **changes).status == 400


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"{", "application/json"), (b"[]", "application/json"), (b"{}", "")]
)
def test_a_query_that_is_no_json_object_is_400(rokt, body, content_type):
    headers = bearer(rokt) | {"content-type": content_type}
    assert rokt.handle(Request("POST", f"{ACCOUNT}/campaigns/", headers, body)).status == 400


@pytest.mark.parametrize("path", ["/", "/v2/events", "/v1/query/nothing"])
def test_there_is_nothing_elsewhere(rokt, path):
    assert rokt.handle(Request("GET", BASE + path, bearer(rokt))).status == 404


def test_a_query_may_be_ordered_by_what_it_asks_for(rokt):
    assert ask(rokt, orderBys=[{"column": "referrals", "direction": "desc"}]).status == 200


def test_without_an_interval_there_are_no_days(rokt):
    rokt.odd_rows = False
    rokt.add_campaign("7", "A", {"2026-11-02": {"referrals": 4}, "2026-11-03": {"referrals": 5}})
    body = {key: value for key, value in ASK.items() if key != "interval"}
    response = rokt.handle(Request("POST", f"{ACCOUNT}/campaigns/", bearer(rokt), json.dumps(body).encode()))
    assert json.loads(response.body)["data"] == [{"campaign_id": "7", "referrals": 9}]


def test_odd_rows_are_among_the_rest(rokt):
    rokt.add_campaign("7", "A", {"2026-11-02": {"referrals": 4}})
    rows = json.loads(ask(rokt).body)["data"]
    assert [] in rows
    assert any(row and row["campaign_id"] is None for row in rows)


def test_the_end_of_a_query_is_open_or_closed(rokt):
    rokt.odd_rows = False
    rokt.add_campaign("7", "A", {"2026-11-20": {"referrals": 4}})
    assert json.loads(ask(rokt, endDate="2026-11-20").body)["data"] == []
    rokt.end_date_inclusive = True
    assert len(json.loads(ask(rokt, endDate="2026-11-20").body)["data"]) == 1
    assert ask(rokt, endDate="2026-11-22").status == 400


@pytest.mark.parametrize("path", ["/campaigns/help", "/transactions/help", ""])
def test_the_account_describes_itself(rokt, path):
    request = Request("GET", ACCOUNT + path, bearer(rokt))
    response = rokt.handle(request)
    witnessed(request, response)
    assert rokt.handle(Request("GET", ACCOUNT + path)).status == 401


def test_all_accounts_come_bare(rokt):
    request = Request("GET", f"{BASE}/v1/query/accounts", bearer(rokt))
    response = rokt.handle(request)
    witnessed(request, response)
    assert json.loads(response.body)[0]["accountId"] == "2581697744617019994"


def witnessed(request, response):
    folder = Path(__file__).parents[3] / "schemas" / "providers" / "rokt"
    index = json.loads((folder / "index.json").read_text())
    path = request.url.removeprefix(BASE).replace("2581697744617019994", "{account_id}")
    schema = json.loads((folder / index[f"{request.method} {path}"]["response"][str(response.status)]).read_text())
    Draft202012Validator(schema).validate(json.loads(response.body))


@pytest.mark.parametrize("form", [b"", b"grant_type=password", b"grant_type=client_credentials&scope=x"])
def test_a_login_wants_client_credentials(rokt, form):
    headers = {
        "authorization": "Basic cm9rdC1hcHA6cm9rdC1hcHAtc2VjcmV0",
        "content-type": "application/x-www-form-urlencoded",
    }
    assert rokt.handle(Request("POST", f"{BASE}/auth/oauth2/token", headers, form)).status == 400
    good = Request("POST", f"{BASE}/auth/oauth2/token", headers, b"grant_type=client_credentials")
    assert rokt.handle(good).status == 200
    assert rokt.handle(Request("GET", f"{BASE}/auth/oauth2/token", headers)).status == 405


@pytest.mark.quirk("rokt-unlinked-campaigns-keep-their-leads")
def test_leads_count_as_referrals_of_their_day_and_unlinked_campaigns_keep_theirs(rokt):
    rokt.add_campaign("7", "A")
    rokt.send_lead("ann@example.org", campaign="7")
    rokt.unlinked.add("7")
    rokt.send_lead("bob@example.org", campaign="7")
    assert sum(day["referrals"] for day in rokt.campaigns["7"].days.values()) == 2
    assert len(rokt.outgoing) == 1
    assert set(rokt.leads) == {"ann@example.org", "bob@example.org"}


@pytest.mark.quirk("rokt-no-order-is-promised")
def test_deliveries_repeat_and_overtake(rokt, clock):
    rokt.repeats = 1
    for name in ("a", "b", "c", "d"):
        rokt.send_lead(f"{name}@example.org")
    before = [request.body for request in rokt.outgoing]
    assert len(before) == 8
    rokt.shuffle_outgoing()
    after = [request.body for request in rokt.outgoing]
    assert after != before
    assert sorted(after) == sorted(before)


def test_the_test_button_sends_a_lead_that_is_nobody(rokt, adapter, arrived):
    rokt.press_test()
    delivery = arrived(rokt.outgoing.pop())
    adapter().verify(delivery)
    assert adapter().read_delivery(delivery)[0].identity == "test@example.com"
    assert not rokt.leads


@pytest.mark.quirk("rokt-retries-are-not-documented")
@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (2, 3)])
async def test_what_was_not_taken_is_sent_again_or_not(rokt, retries, tries):
    rokt.retries = retries
    rokt.send_lead("ann@example.org")
    got = []

    async def send(request):
        got.append(request.body)
        return Response(503)

    async with serving([(rokt, bind_loopback(0))], send=send, retry_s=0.001, poll_s=0.001) as served:
        await served.settled()
    assert (len(got), len(set(got)), served.given_up) == (tries, 1, 1)


def test_the_connection_proves_itself_as_it_was_told(rokt):
    rokt.sender_headers = {"x-api-key": "k"}
    rokt.send_lead("ann@example.org")
    rokt.press_test(query="test=true", method="GET")
    lead, test = rokt.outgoing
    assert (lead.headers["x-api-key"], "authorization" in lead.headers) == ("k", False)
    assert test.url.startswith("http://127.0.0.1:8480/in/leads/leads?test=true&email=test%40example.com")


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (201, b'{"status":"created"}', "delivered"),
        (200, b'{"status":"duplicate"}', "duplicate"),
        (200, b"ok", "rejected"),
        (400, b'{"status":"rejected"}', "rejected"),
        (503, b"", "rejected"),
    ],
)
def test_our_answers_are_filed(rokt, status, body, verdict):
    assert rokt.verdict(Response(status, {}, body)) == verdict


def test_answers_are_filed_by_status_alone_or_by_body_alone_where_the_rules_say_so(rokt):
    answers = [Response(201, {}, b"{}"), Response(200, {}, b'{"status":"duplicate"}'), Response(409, {}, b"")]
    rokt.rules = (Rule("delivered", 201), Rule("duplicate", 409))
    assert [rokt.verdict(answer) for answer in answers] == ["delivered", "rejected", "duplicate"]
    rokt.rules = (Rule("duplicate", holds=b'"duplicate"'), Rule("delivered", holds=b"{}"))
    assert [rokt.verdict(answer) for answer in answers] == ["delivered", "duplicate", "rejected"]


def test_one_seed_is_one_history(clock):
    answers = [leave(RoktEmulator(clock, seed=seed)).body for seed in (1, 1, 2)]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("name", ["lead", "person-unsubscribe"])
@pytest.mark.parametrize("hashed", [None, "sha256", "md5"])
def test_what_rokt_sends_is_what_our_receiver_describes(rokt, name, hashed):
    folder = Path(__file__).parents[3] / "schemas" / "providers" / "rokt"
    validator = Draft202012Validator(json.loads((folder / f"{name}.request.schema.json").read_text()))
    rokt.send_lead("ann@example.org", "Ann", campaign="7", hashed=hashed, zipcode="01234")
    rokt.person_unsubscribes("ann@example.org", hashed=hashed)
    for request in rokt.outgoing:
        validator.validate(json.loads(request.body))
        validator.validate({"data": json.loads(request.body)})
        validator.validate([json.loads(request.body)])
    wrongs: list[Any] = [{}, {"firstname": "Ann", "x": 1}, {"emailmd5": "f00"}, [], "x"]
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            validator.validate(wrong)


def test_every_schema_is_a_schema_and_names_its_source():
    folder = Path(__file__).parents[3] / "schemas" / "providers" / "rokt"
    index = json.loads((folder / "index.json").read_text())
    named = {entry.get(key) for entry in index.values() for key in ("request", "query")} | {
        file for entry in index.values() for file in entry["response"].values()
    }
    files = {path.name for path in folder.glob("*.schema.json")}
    assert named - {None} == files
    for file in files:
        schema = json.loads((folder / file).read_text())
        Draft202012Validator.check_schema(schema)
        assert "docs.rokt.com" in schema["$comment"]
        assert "2026-11-21" in schema["$comment"]
