"""Every path, member, parameter and word at once under another name: nothing of the assumed table is elsewhere too."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from syncd.domain.changes import ChangeKind, Outcome
from syncd.domain.records import Status
from syncd.providers.rocs.table import NAMES, PATHS
from syncd.wire import Request, Response
from tests.providers.rocs.conftest import Crm, delivery

MARK = "zz-"
"""Stands before every name there."""

WORDS = {name for row, name in NAMES.items() if row.startswith("event.")} | {"subscribed", "unsubscribed"}
MEMBERS = {name for row, name in NAMES.items() if not row.startswith(("event.", "query."))} - {"X-ROCS-Signature"}
HOOK = "http://127.0.0.1:8480/in/crm/webhook"


def told(value: Any) -> Any:
    """What ROCS says, in the other names."""
    if isinstance(value, dict):
        return {MARK + key if key in MEMBERS else key: told(one) for key, one in value.items()}
    if isinstance(value, list):
        return [told(one) for one in value]
    return MARK + value if isinstance(value, str) and value in WORDS else value


def meant(value: Any) -> Any:
    """What we say, in the assumed ones. A name that is not one of the others is left out, and so is missing there."""
    if isinstance(value, dict):
        named = {key: one for key, one in value.items() if key.startswith(MARK) or key not in MEMBERS}
        return {key.removeprefix(MARK): meant(one) for key, one in named.items()}
    if isinstance(value, list):
        return [meant(one) for one in value]
    return value.removeprefix(MARK) if isinstance(value, str) else value


class Elsewhere(Crm):
    """ROCS with other names for everything."""

    def send(self, request: Request) -> Response:
        if request.label == "token":
            return super().send(request)
        url = urlsplit(request.url)
        assert url.path.startswith(f"/{MARK}"), f"the path of {request.label} is not in the table"
        query = [(key, value) for key, value in parse_qsl(url.query)]
        assert all(key.startswith(MARK) for key, _ in query), f"a parameter of {request.label} is not in the table"
        there = url._replace(
            path=url.path.replace(f"/{MARK}", "/", 1),
            query=urlencode([(key.removeprefix(MARK), value) for key, value in query]),
        )
        body = json.dumps(meant(json.loads(request.body))).encode() if request.body else b""
        response = super().send(replace(request, url=urlunsplit(there), body=body))
        return replace(response, body=json.dumps(told(json.loads(response.body))).encode())


@pytest.fixture
def crm() -> Crm:
    found = Elsewhere()
    found.use(
        paths={row: path.replace("/", f"/{MARK}", 1) for row, path in PATHS.items()},
        names={row: MARK + name for row, name in NAMES.items()},
        status_words={f"{MARK}subscribed": "subscribed", f"{MARK}unsubscribed": "unsubscribed"},
        fields={"country": "dynamic:land"},
    )
    return found


@pytest.mark.quirk("rocs-names-are-assumed")
def test_nothing_of_the_table_is_spelt_anywhere_else(crm):
    there = crm.emulator
    there.add_list("L-1", "Spring")
    there.define_dynamic("land")
    there.add_campaign("K-1", "Autumn", sent=7, unsubscribed=2)
    assert [(one.id, one.name, one.active) for one in crm.carry(crm.adapter.containers())][1:] == [("L-1", "Spring", 0)]

    fields = {"first_name": "Ann", "last_name": "Berg", "phone": "+46701234567", "country": "SE"}
    ack = crm.change(ChangeKind.SUBSCRIBE, "ann@example.org", "L-1", fields=fields)
    assert ack.outcome is Outcome.ACCEPTED
    (key,) = ack.keys
    assert crm.look("ann@example.org", keys=(key,))[0].fields == fields
    assert crm.everyone()[key].status is crm.everyone("L-1")[key].status is Status.SUBSCRIBED

    crm.pass_time()
    since = {place: crm.pages(place)[-1].watermark for place in ("*", "L-1")}
    update = crm.change(ChangeKind.UPDATE, "ann@example.org", keys=(key,), fields={"country": "NO", "last_name": "Dal"})
    no = crm.change(ChangeKind.UNSUBSCRIBE, "ann@example.org", "L-1", keys=(key,))
    assert update.outcome is no.outcome is Outcome.ACCEPTED
    assert crm.everyone("L-1", since=since["L-1"])[key].status is Status.UNSUBSCRIBED
    assert crm.everyone(since=since["*"])[key].fields["last_name"] == "Dal"
    assert crm.change(ChangeKind.UNSUBSCRIBE, "ann@example.org", keys=(key,)).outcome is Outcome.ACCEPTED
    assert crm.look("ann@example.org", keys=(key,))[0].status is Status.UNSUBSCRIBED

    (stats,) = crm.carry(crm.adapter.campaigns([], None))
    assert (stats.campaign_id, stats.name, stats.sent, stats.unsubscribed) == ("K-1", "Autumn", 7, 2)
    assert stats.remote_at is not None
    crm.carry(crm.adapter.delete_customer(key))
    assert there.customers == {}


@pytest.mark.quirk("rocs-names-are-assumed")
def test_notices_come_under_the_other_names_too(crm):
    crm.emulator.register_webhook(HOOK, "older", ["customer.created"])
    crm.carry(crm.adapter.register(HOOK))
    (registered,) = crm.emulator.registrations.values()
    assert (registered.url, registered.secret, len(registered.events)) == (HOOK, "notice-secret", 5)
    crm.emulator.add_list("L-1", "Spring")
    key = crm.emulator.add_customer("ann@example.org")
    crm.emulator.add_member("L-1", key)
    crm.emulator.unsubscribe_member("L-1", "ann@example.org")
    crm.emulator.remove_customer(key)
    seen = []
    for one in crm.deliveries():
        body = json.dumps(told(json.loads(one.body))).encode()
        proof = f"sha256={hmac.new(b'notice-secret', body, sha256).hexdigest()}"
        there = delivery(body, {f"{MARK}x-rocs-signature": proof})
        crm.adapter.verify(there)
        assert crm.adapter.delivery_id(there) == json.loads(one.body)["id"]
        seen += crm.adapter.read_delivery(there)
    assert [getattr(one, "status", "hint") for one in seen] == [
        Status.SUBSCRIBED,
        Status.SUBSCRIBED,
        Status.UNSUBSCRIBED,
        "hint",
    ]
