"""Notices of providers that send them."""

from __future__ import annotations

import json

import pytest

from syncd.domain.records import ContainerId
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.providers.protocol import CanPost
from syncd.sync.ingest import ingest
from tests.receiver.door import Door, signed


async def test_a_signed_notice_of_rocs_is_taken_once(door: Door) -> None:
    body = json.dumps(
        {"id": "evt-1", "event": "customer.updated", "customer": {"id": "7", "email": "ann@example.org"}}
    ).encode()
    first = await door.send("POST", "/in/crm/webhook", headers=signed(body), content=body)
    again = await door.send("POST", "/in/crm/webhook", headers=signed(body), content=body)
    assert (first.status_code, first.json()["status"]) == (200, "created")
    assert (again.status_code, again.json()) == (200, {"status": "duplicate", "id": first.json()["id"]})


@pytest.mark.quirk("rocketresponder-webhook-taken-by-exactly-200")
async def test_every_notice_of_rocketresponder_that_is_taken_gets_exactly_200(door: Door) -> None:
    mail = RocketResponderEmulator(lambda: door.now)
    mail.add_list("Newsletter", lid="154")
    mail.add_subscriber("154", "ann@example.org", "Ann")
    provider = door.context.lanes["mail"].provider
    assert isinstance(provider, CanPost)
    urls = provider.webhook_urls("http://syncd.test", "mail", ContainerId("154"))
    assert urls["click"] == "http://syncd.test/in/mail/154/click/mail%2Fhook%2B1"
    mail.webhook_urls = {("154", action): url for action, url in urls.items()}
    mail.person_changes_address("154", "ann@example.org", "ann@example.net")
    mail.open_mail("154", "ann@example.org")
    mail.click("154", "ann@example.org")
    mail.bounce("154", "ann@example.org")
    mail.person_unsubscribes("154", "ann@example.org")
    mail.person_joins_again("154", "ann@example.org")
    mail.confirm("154", "ann@example.org")
    assert sorted(request.url for request in mail.outgoing) == sorted(urls.values())
    for request in [*mail.outgoing, *mail.outgoing]:
        answer = await door.send(request.method, request.url, headers=dict(request.headers), content=request.body)
        assert answer.status_code == 200
    assert [row["account"] for row in door.rows("SELECT account FROM inbox")] == ["mail"] * 7
    ingest(door.context)
    assert [row["identity"] for row in door.rows("SELECT identity FROM lookup")] == ["ann@example.org"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/in/crm/webhook", 200),
        ("/in/mail/154/click/anything", 200),
        ("/in/nobody/webhook", 404),
        ("/in/sales/webhook", 404),
    ],
)
async def test_a_sender_may_look_whether_somebody_is_there(sqlite_door: Door, path: str, status: int) -> None:
    assert (await sqlite_door.send("HEAD", path)).status_code == status
    assert sqlite_door.rows("SELECT id FROM inbox") == []
