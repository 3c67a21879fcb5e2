from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.errors import MalformedError, RefusedError, ThrottledError, UnauthorisedError
from syncd.emulators.emulator import Fault, FaultKind
from syncd.providers.protocol import Token
from syncd.providers.rokt.adapter import RoktReportingAdapter
from syncd.providers.rokt.options import RoktOptions
from syncd.providers.rokt.translate import explanation_of
from syncd.wire import Response, converse

BIG = "9007199254740993"  # 2^53 + 1, the first whole number that a float cannot hold


def asked(adapter, since, data=()):
    """The bodies that the adapter asks with."""
    bodies = []

    def answer(request):
        bodies.append(json.loads(request.body))
        return Response(200, {}, json.dumps({"accountId": "1", "data": list(data)}).encode())

    return converse(adapter.campaigns((), since), answer), bodies


def seeded(rokt):
    rokt.add_campaign(
        BIG, "Autumn", {"2026-11-01": {"impressions": 900, "referrals": 40, "gross_cost": 12.5, "acquisitions": 8}}
    )
    rokt.add_campaign(
        "77", "Winter", {"2026-11-20": {"impressions": 10, "acquisitions": 16}, "2025-01-05": {"referrals": 3}}
    )


@pytest.mark.parametrize("numeric", [False, True])
def test_a_first_report_reaches_back_and_has_each_campaign_and_day_once(reporting, rokt, drive, numeric):
    seeded(rokt)
    rokt.numeric_ids = numeric
    stats = drive(reporting(), reporting().campaigns((), None))
    by_day = {(one.campaign_id, one.day): one for one in stats}
    assert set(by_day) == {(BIG, "2026-11-01"), ("77", "2026-11-20"), ("77", "2025-01-05")}
    assert len(stats) == 3
    autumn = by_day[BIG, "2026-11-01"]
    assert autumn.name == "Autumn"
    assert autumn.extra == {"impressions": 900, "referrals": 40, "gross_cost": 12.5, "acquisitions": 8}
    assert set(autumn.counters.values()) == {None}


@pytest.mark.quirk("rokt-recent-days-are-restated")
def test_a_later_report_reads_the_restated_days_again(reporting, rokt, drive, clock):
    seeded(rokt)
    first = {(one.campaign_id, one.day): one for one in drive(reporting(), reporting().campaigns((), None))}
    since = clock()
    clock.skip(days=5)
    later = {(one.campaign_id, one.day): one for one in drive(reporting(), reporting().campaigns((), since))}
    assert set(later) == {("77", "2026-11-20")}
    key = ("77", "2026-11-20")
    assert first[key].extra["acquisitions"] < later[key].extra["acquisitions"] < 16


@pytest.mark.quirk("rokt-end-date-open-or-closed")
def test_today_is_in_the_report_under_either_reading_of_the_end(reporting, rokt, drive):
    rokt.add_campaign("77", "Winter", {"2026-11-21": {"referrals": 5}})
    for inclusive in (False, True):
        rokt.end_date_inclusive = inclusive
        adapter = reporting(end_date_inclusive=inclusive)
        assert [one.day for one in drive(adapter, adapter.campaigns((), None))] == ["2026-11-21"]


def test_a_future_end_that_is_refused_says_what_to_set(reporting, rokt, drive):
    rokt.end_date_inclusive = True
    with pytest.raises(RefusedError, match="endDate cannot be in the future") as caught:
        drive(reporting(), reporting().campaigns((), None))
    assert "end_date_inclusive = true" in caught.value.hint


def test_a_day_on_the_border_of_two_windows_is_counted_once(reporting, rokt, drive, clock):
    # The service counts the last day in and the adapter believes it does not, so the border days come twice. Its clock
    # runs a day ahead, or it would refuse our tomorrow.
    rokt.end_date_inclusive = True
    rokt.now = lambda: clock() + timedelta(days=1)
    today = clock().date()
    days = {(today - timedelta(days=n)).isoformat(): {"referrals": 1} for n in range(40)}
    rokt.add_campaign("77", "Winter", days)
    adapter = reporting(report_window_days=5, report_back_days=50)
    stats = drive(adapter, adapter.campaigns((), None))
    assert sorted(one.day for one in stats) == sorted(days)
    assert {one.extra["referrals"] for one in stats} == {1}


@given(
    window=st.integers(1, 40),
    back=st.integers(1, 120),
    restated=st.integers(0, 20),
    ago=st.none() | st.integers(-3, 90),
    inclusive=st.booleans(),
)
def test_windows_cover_every_day_once_and_end_with_today(window, back, restated, ago, inclusive):
    now = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    options = RoktOptions.model_validate(
        {
            "provider": "rokt",
            "api_key": "k",
            "inbound_auth": {"kind": "api_key", "key": "k"},
            "query_url": "https://q.example",
            "query_token_url": "https://t.example",
            "app_id": "a",
            "app_secret": "s",
            "account_id": "1",
            "report_window_days": window,
            "report_back_days": back,
            "restated_days": restated,
            "end_date_inclusive": inclusive,
        }
    )
    adapter = RoktReportingAdapter(options, linked=frozenset(), now=lambda: now)
    since = None if ago is None else now - timedelta(days=ago)
    _, bodies = asked(adapter, since)
    days = []
    for body in bodies:
        start, end = date.fromisoformat(body["startDate"]), date.fromisoformat(body["endDate"])
        count = (end - start).days + (1 if inclusive else 0)
        assert 1 <= count <= window
        days += [start + timedelta(days=n) for n in range(count)]
    first = now.date() - timedelta(days=back if ago is None else max(ago, 0) + restated)
    assert days == [first + timedelta(days=n) for n in range((now.date() - first).days + 1)]


def row(**values):
    return {"datetime": "2026-11-20T00:00:00Z", "campaign_id": "7", "campaign_name": "A", "referrals": 1} | values


@pytest.mark.quirk("rokt-odd-rows")
def test_odd_rows_are_skipped_and_the_rest_is_kept(reporting):
    odd = [
        [],
        None,
        7,
        row(campaign_id=None),
        row(campaign_id=""),
        row(campaign_id=1.5),
        row(datetime="today"),
        row(datetime=None),
        row(referrals=[1]),
        row(datetime="2027-01-01T00:00:00Z"),
    ]
    stats, _ = asked(reporting(), datetime(2026, 11, 21, tzinfo=UTC), [*odd, row(campaign_id="8")])
    assert [one.campaign_id for one in stats] == ["8"]


def test_a_campaign_renamed_within_a_day_is_one(reporting):
    rows = [row(referrals=2, gross_cost="1.25"), row(campaign_name="B", referrals=3, gross_cost=1, impressions="n/a")]
    (one,), _ = asked(reporting(), datetime(2026, 11, 21, tzinfo=UTC), rows)
    assert (one.name, one.extra) == ("B", {"referrals": 5, "gross_cost": 2.25})


def test_ids_above_2_to_the_53_stay_exact(reporting):
    rows = [row(campaign_id=int(BIG)), row(campaign_id=99999999999999999999999)]
    stats, _ = asked(reporting(), datetime(2026, 11, 21, tzinfo=UTC), rows)
    assert [one.campaign_id for one in stats] == [BIG, "99999999999999999999999"]


@pytest.mark.parametrize(
    "body", [b"", b"<!doctype html>", b'{"data":[', b"[]", b'{"data":{}}', b"{}", b"\xff", b"[" * 5000]
)
def test_an_answer_that_cannot_be_read_is_no_report(reporting, body):
    with pytest.raises(MalformedError):
        converse(reporting().campaigns((), None), lambda _: Response(200, {}, body))


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.TRUNCATED, FaultKind.EMPTY])
def test_a_check_wants_a_whole_answer(reporting, rokt, kind):
    rokt.tokens["t"] = rokt.now() + timedelta(hours=1)
    rokt.faults.append(Fault(kind, "/accounts/"))

    def answer(request):
        return rokt.handle(reporting().authorise(request, Token("t", 60.0)))

    with pytest.raises(MalformedError):
        converse(reporting().check(), answer)
    assert converse(reporting().check(), answer) is None


def test_an_error_inside_200_is_an_error(reporting):
    body = b'{"error":{"message":"quota of ann@example.org is used up by rokt-app-secret, rokt%2Dapp%2Dsecret"}}'
    with pytest.raises(RefusedError, match="quota of") as caught:
        converse(reporting().campaigns((), None), lambda _: Response(200, {}, body))
    assert "example.org" not in str(caught.value)
    assert "app" not in str(caught.value)


def test_the_token_is_used_for_an_hour_and_then_renewed(reporting, rokt, drive, clock):
    adapter = reporting()
    token = converse(adapter.login(), rokt.handle)
    assert token.lifetime_s == 3600
    assert token.value not in repr(token)
    request = adapter.authorise(next(adapter.check()), token)
    assert rokt.handle(request).status == 200
    clock.skip(hours=1)
    assert rokt.handle(request).status == 401
    assert drive(adapter, adapter.check()) is None


def test_the_driver_logs_in_again_when_the_token_ends_between_two_windows(reporting, rokt, drive):
    rokt.add_campaign("77", "Winter", {"2025-01-05": {"referrals": 3}, "2026-11-20": {"referrals": 4}})
    adapter = reporting()
    rokt.token_lifetime_s = 1
    real = rokt.answer
    spent: list[None] = []

    def ageing(request):
        response = real(request)
        if "campaigns" in request.url and response.status == 200 and not spent:
            spent.append(rokt.tokens.clear())
        return response

    rokt.answer = ageing
    assert len(drive(adapter, adapter.campaigns((), None))) == 2
    assert sum(call.path == "/auth/oauth2/token" for call in rokt.calls) == 2


@pytest.mark.parametrize(("key", "value"), [("app_secret", "wrong"), ("app_id", "wrong")])
def test_a_wrong_client_is_unauthorised(reporting, drive, key, value):
    adapter = reporting(**{key: value})
    with pytest.raises(UnauthorisedError):
        drive(adapter, adapter.check())


def test_a_login_refused_with_400_is_unauthorised_too(reporting):
    with pytest.raises(UnauthorisedError, match="invalid_client"):
        converse(reporting().login(), lambda _: Response(400, {}, b'{"error":"invalid_client"}'))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"access_token":""}',
        b'{"access_token":5}',
        b'{"access_token":"t","expires_in":"x"}',
        b'{"access_token":"t","expires_in":"inf"}',
    ],
)
def test_a_login_without_a_token_cannot_be_read(reporting, body):
    with pytest.raises(MalformedError):
        converse(reporting().login(), lambda _: Response(200, {}, body))


def test_a_login_without_a_lifetime_is_good_for_an_hour(reporting):
    token = converse(reporting().login(), lambda _: Response(200, {}, b'{"access_token":"t"}'))
    assert (token.value, token.lifetime_s) == ("t", 3600.0)


def test_a_login_asks_for_no_token_and_may_be_repeated(reporting):
    request = next(reporting().login())
    assert (request.token, request.repeatable) == (False, True)
    assert request.body == b"grant_type=client_credentials"


def test_an_account_that_is_not_there_is_said_to_be_so(reporting, drive):
    adapter = reporting(account_id="1")
    with pytest.raises(MalformedError, match="404"):
        drive(adapter, adapter.check())


def test_throttling_is_told(reporting):
    with pytest.raises(ThrottledError):
        converse(reporting().campaigns((), None), lambda _: Response(429, {"retry-after": "3"}, b""))


@pytest.mark.quirk("rokt-shape-of-errors")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"message":"m","error":"e"}', "m"),
        (b'{"error":"e"}', "e"),
        (b'{"detail":[{"message":"a"},{"message":"b"}]}', "a; b"),
        (b'{"errors":["x",{"detail":"y"}]}', "x; y"),
        (b'{"message":"to Ann@x.org, <bob%40y.org>"}', "to …, <…>"),
        (b'{"message":"key abcdefghijklmnopqrstuvwxyz0123"}', "key …"),
        (b'{"message":"a\\u0000b\\nc"}', "a b c"),
        (b"<html>", ""),
        (b"[1]", ""),
        (b'{"message":5}', ""),
    ],
)
def test_what_an_error_says_is_shown_without_persons_and_keys(body, told):
    assert explanation_of(body) == told


def test_what_an_error_says_is_short_and_never_cut_inside_an_address():
    assert len(explanation_of(json.dumps({"message": "word " * 5000}).encode())) == 200
    long = json.dumps({"message": "a" * 1994 + " someone@example.org"}).encode()
    assert "some" not in explanation_of(long)
