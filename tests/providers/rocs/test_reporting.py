from __future__ import annotations

import json

import pytest

from syncd.domain.errors import MalformedError, UnavailableError
from syncd.wire import Response, converse

COUNTERS = {"sent": 100, "delivered": 97, "opened": 40, "clicked": 9, "bounced": 3, "unsubscribed": 2, "complained": 1}


def report(crm):
    return crm.carry(crm.adapter.campaigns([], None))


def test_counters_of_a_campaign(crm):
    crm.emulator.add_campaign("K-1", "Spring", **COUNTERS)
    crm.pass_time()
    crm.emulator.count("K-1", opened=41)
    (stats,) = report(crm)
    assert (stats.campaign_id, stats.name, stats.status) == ("K-1", "Spring", "sent")
    assert stats.counters == {"sent": 100, "opened": 41, "clicked": 9, "bounced": 3, "unsubscribed": 2}
    assert stats.extra == {"delivered": 97, "complained": 1, "sent_at": "2026-11-21T12:00:00.000Z"}
    assert stats.remote_at == "2026-11-21T12:01:00.000Z"
    assert stats.day is None


def test_all_pages_of_campaigns_are_read(crm):
    crm.use(campaign_page_size=2)
    for n in range(5):
        crm.emulator.add_campaign(f"K-{n}", f"No. {n}", sent=n)
    assert [(one.campaign_id, one.sent) for one in report(crm)] == [(f"K-{n}", n) for n in range(5)]
    assert sum(request.label == "get-campaigns" for request in crm.asked) == 3


def test_the_number_of_campaigns_is_bounded(crm):
    crm.use(campaign_page_size=2, campaigns_max=2)
    for n in range(5):
        crm.emulator.add_campaign(f"K-{n}", f"No. {n}")
    assert len(report(crm)) == 2


def test_a_campaign_whose_statistics_fail_is_kept_without_counters(crm):
    crm.emulator.add_campaign("K-1", "Spring", **COUNTERS)
    crm.emulator.add_campaign("K-2", "Summer", **COUNTERS)
    crm.emulator.broken_stats.add("K-1")
    broken, whole = report(crm)
    assert (broken.campaign_id, broken.name) == ("K-1", "Spring")
    assert set(broken.counters.values()) == {None}
    assert whole.sent == 100


def answer_with(stats, campaigns=({"id": "K"},)):
    def answer(request):
        if "/stats" in request.url:
            return stats
        body = {"page": 1, "pageSize": 100, "totalCount": len(campaigns), "campaigns": list(campaigns)}
        return Response(200, {}, json.dumps(body).encode())

    return answer


def test_counters_of_a_wrong_type_are_unknown(crm):
    stats = Response(
        200, {}, b'{"sent":"100","opened":true,"clicked":-1,"bounced":1.5,"unsubscribed":null,"delivered":"x"}'
    )
    (found,) = converse(crm.adapter.campaigns([], None), answer_with(stats))
    assert set(found.counters.values()) == {None}
    assert found.extra == {}
    assert found.name == "K"


def test_a_campaign_without_id_cannot_be_asked_for(crm):
    found = converse(
        crm.adapter.campaigns([], None), answer_with(Response(200, {}, b'{"sent":1}'), ({"name": "x"}, {"id": 7}))
    )
    assert [one.campaign_id for one in found] == ["7"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"error":"x"}'])
def test_statistics_of_another_shape_are_malformed(crm, body):
    with pytest.raises(MalformedError):
        converse(crm.adapter.campaigns([], None), answer_with(Response(200, {}, body)))


def test_an_outage_is_not_taken_for_a_broken_campaign(crm):
    with pytest.raises(UnavailableError):
        converse(crm.adapter.campaigns([], None), answer_with(Response(503, {}, b"")))
