"""Where Rokt's documents contradict themselves, each other or what clients see: what we rely on, and what not."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from syncd.domain.changes import Change, ChangeKind, Outcome
from syncd.domain.errors import DeliveryError, MalformedError
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT
from syncd.providers.protocol import CanFeed, CanList, CanLookup, CanSnapshot, Token
from syncd.providers.rokt.options import RoktOptions
from syncd.providers.rokt.paper import markdown_of
from syncd.providers.rokt.sheet import About, bases_of, sheet_of
from syncd.providers.rokt.translate import query_body
from syncd.wire import Request, Response, converse

LEAVE = Change(ChangeKind.UNSUBSCRIBE, WHOLE_ACCOUNT, Identity("ann@example.org"), "ann@example.org")


def unsubscribing(adapter):
    return next(adapter.apply([LEAVE]))


def everything(adapter, clock):
    """Every call that our adapter ever makes."""
    today = clock().date()
    yield adapter.apply([LEAVE])
    yield adapter.check()
    yield adapter.account()
    yield adapter.accounts()
    yield adapter.words("campaigns")
    yield adapter.words("transactions")
    yield adapter.transactions(today - timedelta(days=7), today)
    yield adapter.campaigns((), None)


def asked_by_hand(adapter, rokt, path, body):
    """The status of a query that our adapter would not make."""
    rokt.tokens["t"] = rokt.now() + timedelta(hours=1)
    request = adapter._query("POST", f"/accounts/{rokt.account_id}{path}", "by hand", json.dumps(body).encode())
    return rokt.handle(adapter.authorise(request, Token("t", 60.0))).status


@pytest.mark.quirk("rokt-400-labelled-unauthorised")
def test_a_wrong_credential_is_401_a_bad_lead_400_and_nothing_403(adapter, options, lead):
    with pytest.raises(DeliveryError) as stranger:
        adapter().verify(lead(b"{}", headers={}))
    with pytest.raises(DeliveryError) as nobody:
        adapter().read_delivery(lead(b'{"firstname":"Ann"}'))
    assert (stranger.value.status, nobody.value.status) == (401, 400)
    said = markdown_of(sheet_of(About("leads", options(), bases_of(options(), "https://a.example"), 4096)))
    assert "403 is never answered" in said
    assert "| 401 | rejected | `{" in said


@pytest.mark.quirk("rokt-import-names-no-key")
def test_the_one_key_of_the_import_is_the_one_that_only_its_example_names(adapter, rokt):
    request = unsubscribing(adapter())
    assert json.loads(request.body) == {"email": "ann@example.org"}
    assert rokt.handle(request).status == 201
    digests = Request(request.method, request.url, request.headers, b'{"emailsha256":"' + b"a" * 64 + b'"}')
    assert rokt.handle(digests).status == 400, "whether any other was ever taken is not known"


@pytest.mark.quirk("rokt-import-accept-lost-its-stars")
def test_the_import_is_asked_for_json_by_its_name(adapter, rokt):
    request = unsubscribing(adapter())
    assert request.headers["accept"] == "application/json"
    slash = Request(request.method, request.url, {**request.headers, "accept": "/"}, request.body)
    assert (rokt.handle(slash).status, rokt.handle(request).status) == (400, 201)


@pytest.mark.quirk("rokt-one-platform-three-hosts")
def test_each_interface_has_an_address_of_its_own(adapter, reporting):
    plain = RoktOptions.model_validate(
        {"provider": "rokt", "api_key": "k", "inbound_auth": {"kind": "api_key", "key": "k"}}
    )
    assert plain.unsubscribe_url == "https://api.data.rokt.com/1.0/nurture/unsubscribe"
    elsewhere = reporting(query_url="https://query.example/v1", query_token_url="https://tokens.example/t")
    assert next(elsewhere.check()).url.startswith("https://query.example/v1/accounts/")
    assert next(elsewhere.login()).url == "https://tokens.example/t"
    assert unsubscribing(elsewhere).url == unsubscribing(adapter()).url


@pytest.mark.quirk("rokt-three-ways-to-prove-oneself")
def test_the_import_takes_a_bare_key_the_login_a_pair_and_the_query_a_token(reporting):
    adapter = reporting()
    query = adapter.authorise(next(adapter.check()), Token("t", 3600.0))
    proofs = [request.headers["authorization"] for request in (unsubscribing(adapter), next(adapter.login()), query)]
    assert proofs == ["rokt-key", "Basic cm9rdC1hcHA6cm9rdC1hcHAtc2VjcmV0", "Bearer t"]


@pytest.mark.quirk("rokt-names-change-between-generations")
def test_queries_speak_the_words_of_the_query_api_alone(reporting, rokt, drive, clock):
    adapter = reporting(report_timezone="Australia/Sydney", report_currency="AUD")
    rokt.add_campaign("7", "A", {"2026-11-20": {"gross_cost": 2}})
    assert len(drive(adapter, adapter.campaigns((), clock()))) == 1
    sent = json.loads(rokt.calls[-1].body)
    assert sent.keys() == {
        "interval", "startDate", "endDate", "metrics", "dimensions", "timezoneVariation", "currencyCode"
    }  # fmt: skip
    assert all(metric == metric.lower() for metric in sent["metrics"])
    older = {"dateStart": "2026-11-01", "dateEnd": "2026-11-02", "currency": "AUD"}
    assert asked_by_hand(adapter, rokt, "/campaigns/", older) == 400


@pytest.mark.quirk("rokt-samples-that-are-no-json")
def test_nothing_is_asked_of_interfaces_whose_samples_are_no_json_and_nothing_concluded_from_such(
    reporting, rokt, drive, clock
):
    adapter = reporting()
    for exchange in everything(adapter, clock):
        drive(adapter, exchange)
    paths = {call.path.replace(rokt.account_id, "ID") for call in rokt.calls}
    assert paths == {
        "/1.0/nurture/unsubscribe", "/auth/oauth2/token", "/v1/query/accounts", "/v1/query/accounts/ID",
        "/v1/query/accounts/ID/campaigns/", "/v1/query/accounts/ID/campaigns/help",
        "/v1/query/accounts/ID/transactions", "/v1/query/accounts/ID/transactions/help",
    }  # fmt: skip
    two_objects = b'{"data":{"impressions":1}}\n{"data":{"impressions":2}}'
    for exchange in list(everything(adapter, clock))[1:]:
        with pytest.raises(MalformedError):
            converse(exchange, lambda _: Response(200, {}, two_objects))


@pytest.mark.quirk("rokt-files-are-kept-for-a-week-or-two")
def test_no_file_of_theirs_is_ever_read(reporting):
    assert not [key for key in RoktOptions.model_fields if "ftp" in key or "file" in key or "csv" in key]
    assert not isinstance(reporting(), CanList | CanSnapshot | CanFeed | CanLookup)


@pytest.mark.quirk("rokt-profiles-by-others-are-wrong")
def test_the_import_goes_without_a_token_and_a_foreign_limit_header_says_nothing(reporting):
    adapter = reporting()
    assert not unsubscribing(adapter).token
    answer = Response(201, {"x-mp-rate-limit-percentage-used": "100"}, b'{"id":"x"}')
    (ack,) = converse(adapter.apply([LEAVE]), lambda _: answer)
    assert (ack.outcome, ack.receipt) == (Outcome.ACCEPTED, "x")


@pytest.mark.quirk("rokt-datetime-is-no-column")
def test_no_query_is_ordered(reporting, rokt, clock):
    today = clock().date()
    assert b"orderBys" not in query_body(today, today)
    plain = json.loads(query_body(today, today + timedelta(days=1)))
    assert asked_by_hand(reporting(), rokt, "/campaigns/", plain) == 200
    assert asked_by_hand(reporting(), rokt, "/campaigns/", plain | {"orderBys": [{"column": "datetime"}]}) == 400


@pytest.mark.quirk("rokt-last-slash")
def test_the_query_of_campaigns_ends_with_a_slash_and_that_of_transactions_with_none(reporting, rokt, drive, clock):
    """The emulator answers 404 to the other spelling of either."""
    adapter, today = reporting(), clock().date()
    rokt.add_campaign("7", "A", {today.isoformat(): {"referrals": 4}})
    rokt.transactions[today] = {"transactions": 5}
    assert len(drive(adapter, adapter.campaigns((), clock()))) == 1
    assert len(drive(adapter, adapter.transactions(today, today + timedelta(days=1)))) == 1
    account = f"/v1/query/accounts/{rokt.account_id}"
    asked = {call.path for call in rokt.calls if call.method == "POST" and "query" in call.path}
    assert asked == {f"{account}/campaigns/", f"{account}/transactions"}
    counted = {"metrics": ["transactions"], "dimensions": []}
    plain = json.loads(query_body(today, today + timedelta(days=1)))
    assert asked_by_hand(adapter, rokt, "/campaigns", plain) == 404
    assert asked_by_hand(adapter, rokt, "/transactions/", plain | counted) == 404


@pytest.mark.quirk("rokt-money-in-dollars")
def test_figures_in_money_are_kept_as_they_came_whatever_currency_was_asked_for(reporting, rokt, drive, clock):
    rokt.add_campaign("7", "A", {clock().date().isoformat(): {"gross_cost": 12.5}})
    told = []
    for currency in (None, "AUD"):
        adapter = reporting(report_currency=currency)
        (stats,) = drive(adapter, adapter.campaigns((), clock()))
        told.append((json.loads(rokt.calls[-1].body).get("currencyCode"), stats.extra))
    assert [currency for currency, _ in told] == [None, "AUD"]
    assert told[0][1] == told[1][1] == {"impressions": 0, "referrals": 0, "gross_cost": 12.5, "acquisitions": 0}


# The rest of the Query API ------------------------------------------------------------------------------------------


def test_the_accounts_and_what_each_of_them_can_be_asked(reporting, rokt, drive):
    adapter = reporting()
    rokt.metrics = ("impressions", "referrals")
    (found,) = drive(adapter, adapter.accounts())
    assert asdict(found) == {
        "id": "2581697744617019994", "name": "Example Brand", "currency": "USD", "timezone": "America/New_York",
        "timezone_offset_min": -300, "owner": "Rokt", "country": "US",
    }  # fmt: skip
    assert drive(adapter, adapter.account()) == found
    words = drive(adapter, adapter.words("campaigns"))
    assert (words.metrics, words.dimensions) == (("impressions", "referrals"), ("campaign_id", "campaign_name"))


def test_an_account_that_tells_less_is_an_account(reporting):
    body = b'[{"accountId": 9007199254740993, "accountName": "A", "somethingNew": {"x": 1}}]'
    (found,) = converse(reporting().accounts(), lambda _: Response(200, {}, body))
    assert (found.id, found.owner, found.country, found.timezone_offset_min) == ("9007199254740993", None, None, None)


def test_transactions_are_asked_for_with_all_that_the_account_counts(reporting, rokt, drive, clock):
    today = clock().date()
    for ago in (0, 1, 40):
        rokt.transactions[today - timedelta(days=ago)] = {"transactions": 5 + ago, "transaction_value": 2.5}
    for inclusive in (False, True):
        rokt.end_date_inclusive = inclusive
        adapter = reporting(end_date_inclusive=inclusive)
        rows = drive(adapter, adapter.transactions(today - timedelta(days=7), today + timedelta(days=1)))
        assert [row["transactions"] for row in rows] == [6, 5]
        assert {row["transaction_value"] for row in rows} == {2.5}
