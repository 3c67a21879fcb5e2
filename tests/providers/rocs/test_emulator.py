from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from syncd.emulators.emulator import Fault, FaultKind, LostAnswerError, NoConnectionError
from syncd.emulators.rocs import RocsEmulator
from syncd.wire import Request

FORM = {"content-type": "application/x-www-form-urlencoded"}
GRANT = b"grant_type=client_credentials&client_id=rocs-client&client_secret=rocs-secret"


class Clock:
    def __init__(self):
        self.now = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rocs(clock):
    return RocsEmulator(clock)


@pytest.fixture
def call(rocs, schemas):
    token = json.loads(rocs.handle(Request("POST", rocs.token_url, FORM, GRANT + b"&resource=r")).body)["access_token"]

    def ask(method, path, body=None, status=200, **headers):
        head = {"authorization": f"Bearer {token}", "content-type": "application/json"} | headers
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        response = rocs.handle(Request(method, f"{rocs.base_url}{path}", head, raw))
        assert response.status == status, response.body
        if status != 200:
            schemas("error.schema.json").validate(json.loads(response.body))
        return json.loads(response.body)

    return ask


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        (b"", 400, 900144),
        (GRANT, 400, 900144),
        (GRANT + b"&resource=r&scope=s/.default", 400, 901002),
        (GRANT + b"&scope=s", 400, 70011),
        (GRANT.replace(b"client_credentials", b"password") + b"&resource=r", 400, 70003),
        (GRANT.replace(b"rocs-client", b"x") + b"&resource=r", 400, 700016),
        (GRANT.replace(b"rocs-secret", b"x") + b"&resource=r", 401, 7000215),
    ],
)
def test_the_token_service_refuses_as_azure_ad_does(rocs, schemas, form, status, code):
    response = rocs.handle(Request("POST", rocs.token_url, FORM, form))
    body = json.loads(response.body)
    schemas("token.error.schema.json").validate(body)
    assert (response.status, body["error_codes"]) == (status, [code])
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert "\r\n" in body["error_description"]


def test_a_token_request_must_be_a_form(rocs):
    response = rocs.handle(
        Request("POST", rocs.token_url, {"content-type": "application/json"}, GRANT + b"&resource=r")
    )
    assert response.status == 400


def test_a_token_lives_one_second_short_of_the_hour_on_its_own_clock(rocs, call, clock):
    clock.now += timedelta(seconds=3598)
    call("GET", "/lists")
    clock.now += timedelta(seconds=1)
    call("GET", "/lists", status=401)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x", "Basic x"])
def test_a_token_that_it_did_not_issue_is_refused(call, value):
    call("GET", "/lists", status=401, authorization=value)


def test_revoked_tokens_are_refused(rocs, call):
    rocs.revoke_tokens()
    call("GET", "/lists", status=401)


def test_creating_and_deleting_answer_200(call, rocs):
    made = call("POST", "/customers", {"email": "ann@example.org", "emailConsent": True})
    assert made["id"] in rocs.customers
    assert call("DELETE", f"/customers/{made['id']}") == {}
    assert rocs.customers == {}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/customers/C-0", None),
        ("PUT", "/customers/C-0", {"firstName": "x"}),
        ("DELETE", "/customers/C-0", None),
        ("GET", "/nothing", None),
        ("PATCH", "/customers", {}),
        ("POST", "/customers", {"firstName": "Ann"}),
        ("POST", "/customers", {"id": "C-1", "email": "a@example.org"}),
        ("POST", "/customers", {"email": "nobody"}),
        ("POST", "/customers", {"email": "a@example.org", "emailConsent": "yes"}),
        ("POST", "/customers", {"email": "a@example.org", "mobile": "call me"}),
        ("POST", "/customers", {"email": "a@example.org", "shoes": 41}),
        ("POST", "/customers", b"<x/>"),
        ("POST", "/customers", b"[]"),
        ("GET", "/customers?page=0", None),
        ("GET", "/customers?pageSize=all", None),
        ("GET", "/customers?modifiedSince=yesterday", None),
        ("GET", "/customers?mail=x", None),
        ("GET", "/lists/L-0/members", None),
        ("PUT", "/lists/L-1/members/C-0", {"status": "subscribed"}),
        ("GET", "/campaigns/K-0/stats", None),
        ("POST", "/webhooks", {"url": "ftp://x", "events": ["customer.created"], "secret": "s"}),
        ("POST", "/webhooks", {"url": "https://x", "events": ["customer.sneezed"], "secret": "s"}),
        ("POST", "/webhooks", {"url": "https://x", "events": ["customer.created"]}),
        ("DELETE", "/webhooks/W-0", None),
    ],
)
def test_every_fault_of_the_caller_is_a_500_and_changes_nothing(rocs, call, method, path, body):
    rocs.add_list("L-1", "Spring")
    assert call(method, path, body, status=500)["message"]
    assert rocs.customers == {}
    assert rocs.registrations == {}


def test_a_body_must_be_called_json(rocs, call):
    call("POST", "/customers", {"email": "a@example.org"}, status=500, **{"content-type": "text/plain"})
    assert rocs.customers == {}


def test_member_words_other_than_two_are_not_taken(rocs, call):
    rocs.add_list("L-1", "Spring")
    key = rocs.add_customer("ann@example.org")
    call("PUT", f"/lists/L-1/members/{key}", {"status": "bounced"}, status=500)
    assert rocs.lists["L-1"].members == {}


@pytest.mark.parametrize(
    ("kind", "value"), [("string", 1), ("number", "1"), ("number", True), ("boolean", 1), ("date", 1)]
)
def test_dynamic_fields_have_types_and_are_apart_from_the_customer(rocs, call, kind, value):
    rocs.define_dynamic("x", kind)
    key = rocs.add_customer("ann@example.org")
    call("PUT", f"/customers/{key}/dynamic", {"x": value}, status=500)
    call("PUT", f"/customers/{key}/dynamic", {"y": "z"}, status=500)
    call("PUT", f"/customers/{key}", {"x": value}, status=500)
    assert rocs.customers[key].dynamic == {}


def test_poison_makes_only_its_own_writes_fail(rocs, call):
    by_id, by_address, other = (rocs.add_customer(f"p{n}@example.org") for n in range(3))
    rocs.poison |= {by_id, "p1@example.org", "new@example.org"}
    for key in (by_id, by_address):
        call("PUT", f"/customers/{key}", {"firstName": "x"}, status=500)
        call("GET", f"/customers/{key}")
    call("POST", "/customers", {"email": "new@example.org"}, status=500)
    call("PUT", f"/customers/{other}", {"firstName": "x"})


def test_times_move_with_every_change_and_only_then(rocs, call, clock):
    key = rocs.add_customer("ann@example.org")
    shown = call("GET", f"/customers/{key}")
    assert shown["modifiedAt"] == "2026-11-21T12:00:00.123Z"
    clock.now += timedelta(seconds=1)
    call("PUT", f"/customers/{key}", {"emailConsent": True})
    assert call("GET", f"/customers/{key}") == shown
    call("PUT", f"/customers/{key}", {"emailConsent": False})
    assert call("GET", f"/customers/{key}")["modifiedAt"] == "2026-11-21T12:00:01.123Z"
    clock.now += timedelta(seconds=1)
    rocs.touch_unchanged = True
    call("PUT", f"/customers/{key}", {"emailConsent": False})
    assert call("GET", f"/customers/{key}")["modifiedAt"] == "2026-11-21T12:00:02.123Z"


def test_a_new_address_shows_in_every_list_and_in_its_feed(rocs, call, clock):
    rocs.add_list("L-1", "Spring")
    key = rocs.add_customer("old@example.org")
    rocs.add_member("L-1", key)
    clock.now += timedelta(seconds=1)
    rocs.edit_customer(key, email="new@example.org")
    (member,) = call("GET", "/lists/L-1/members?changedSince=2026-11-21T12:00:01Z")["members"]
    assert member["email"] == "new@example.org"


def test_a_removed_customer_leaves_the_lists_and_no_trace_in_the_feeds(rocs, call):
    rocs.add_list("L-1", "Spring")
    key = rocs.add_customer("ann@example.org")
    rocs.add_member("L-1", key)
    rocs.remove_customer(key)
    assert call("GET", "/lists/L-1/members")["totalCount"] == 0
    assert call("GET", "/customers?modifiedSince=2020-01-01T00:00:00Z")["totalCount"] == 0
    with pytest.raises(KeyError):
        rocs.unsubscribe_member("L-1", "ann@example.org")


def test_a_page_past_the_end_is_empty(rocs, call):
    rocs.add_customer("ann@example.org")
    page = call("GET", "/customers?page=9&pageSize=5")
    assert (page["customers"], page["totalCount"]) == ([], 1)


def test_what_counts_as_a_write(rocs, call):
    key = rocs.add_customer("ann@example.org")
    call("GET", "/lists")
    call("POST", "/webhooks", {"url": "https://x", "events": ["customer.created"], "secret": "s"})
    assert rocs.writes == 0
    call("PUT", f"/customers/{key}", {"firstName": "x"})
    assert rocs.writes == 1


def test_notices_go_out_for_people_and_for_calls_only_when_asked(rocs, call):
    rocs.register_webhook("https://sync.example.org/x", "s", ["customer.created", "customer.updated"])
    key = rocs.add_customer("ann@example.org")
    rocs.remove_customer(key)
    assert len(rocs.outgoing) == 1
    call("POST", "/customers", {"email": "bo@example.org"})
    assert len(rocs.outgoing) == 1
    rocs.echo = True
    call("POST", "/customers", {"email": "cy@example.org"})
    assert len(rocs.outgoing) == 2


def test_notices_can_be_lost_doubled_and_shuffled(clock):
    def sent(**switches):
        rocs = RocsEmulator(clock, seed=3)
        rocs.register_webhook("https://sync.example.org/x", "s")
        for name, value in switches.items():
            setattr(rocs, name, value)
        for n in range(20):
            rocs.add_customer(f"p{n}@example.org")
        return [json.loads(one.body)["customer"]["email"] for one in rocs.outgoing]

    plain = sent()
    assert plain == [f"p{n}@example.org" for n in range(20)]
    assert sent(delivery_drop_rate=1.0) == []
    assert sent(delivery_duplicate_rate=1.0) == [one for one in plain for _ in range(2)]
    shuffled = sent(delivery_shuffle=True)
    assert shuffled != plain
    assert sorted(shuffled) == sorted(plain)
    assert sent(delivery_shuffle=True) == shuffled
    assert 0 < len(sent(delivery_drop_rate=0.5)) < 20


def test_stale_reads_show_what_was_and_then_what_is(rocs, call, clock):
    rocs.stale_for_s = 10
    rocs.add_list("L-1", "Spring")
    key = rocs.add_customer("ann@example.org")
    rocs.add_member("L-1", key)
    assert call("GET", "/customers")["totalCount"] == 0
    clock.now += timedelta(seconds=10)
    assert call("GET", f"/customers/{key}")["emailConsent"] is True
    rocs.withdraw_consent("ann@example.org")
    rocs.unsubscribe_member("L-1", "ann@example.org")
    assert call("GET", f"/customers/{key}")["emailConsent"] is True
    assert call("GET", "/lists/L-1/members")["members"][0]["status"] == "subscribed"
    clock.now += timedelta(seconds=10)
    assert call("GET", f"/customers/{key}")["emailConsent"] is False
    rocs.remove_customer(key)
    assert call("GET", "/lists")[0]["memberCount"] == 1
    assert call("GET", "/lists/L-1/members")["members"][0]["status"] == "unsubscribed"
    clock.now += timedelta(seconds=10)
    assert call("GET", "/customers")["totalCount"] == 0


def test_the_same_seed_is_the_same_story(clock):
    def story(seed):
        rocs = RocsEmulator(clock, seed=seed)
        rocs.register_webhook("https://sync.example.org/x", "s")
        rocs.add_customer("ann@example.org")
        token = rocs.handle(Request("POST", rocs.token_url, FORM, GRANT + b"&resource=r"))
        return rocs.outgoing[0].body, token.body

    assert story(1) == story(1) != story(2)


def test_faults_of_the_network(rocs, call):
    rocs.faults += [Fault(FaultKind.NO_CONNECTION), Fault(FaultKind.ANSWER_LOST)]
    with pytest.raises(NoConnectionError):
        call("POST", "/customers", {"email": "ann@example.org"})
    assert rocs.customers == {}
    with pytest.raises(LostAnswerError):
        call("POST", "/customers", {"email": "ann@example.org"})
    assert len(rocs.customers) == 1


def test_a_base_address_with_a_path_is_left_off(clock):
    rocs = RocsEmulator(clock, base_url="http://127.0.0.1:8701/rocs/")
    assert rocs.token_url == "http://127.0.0.1:8701/rocs/oauth2/token"
    assert rocs.handle(Request("POST", rocs.token_url, FORM, GRANT + b"&resource=r")).status == 200


def test_there_is_a_schema_for_each_call_and_no_schema_too_many():
    from pathlib import Path

    folder = Path(__file__).parents[3] / "schemas" / "providers" / "rocs"
    entries = json.loads((folder / "index.json").read_text())
    named = {entry.get(part) for entry in entries.values() for part in ("request", "query")} | {
        file for entry in entries.values() for file in entry["response"].values()
    }
    assert named - {None} == {path.name for path in folder.glob("*.schema.json")}
    calls = {(name.partition(" ")[0], name.partition(" ")[2].count("/")) for name in entries}
    routes = {
        (method, pattern.pattern.count("/") - pattern.pattern.count("[^/]"))
        for method, pattern, _ in RocsEmulator._routes
    }
    assert routes <= calls
    for path in folder.glob("*.schema.json"):
        schema = json.loads(path.read_text())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert "2026-11-21" in schema["$comment"]


def test_acting_on_what_is_not_there_is_an_error_of_the_test(rocs):
    rocs.add_list("L-1", "Spring")
    rocs.add_customer("ann@example.org")
    with pytest.raises(KeyError):
        rocs.unsubscribe_member("L-1", "ann@example.org")
    with pytest.raises(ValueError, match="string, number"):
        rocs.define_dynamic("x", "colour")
