"""Each of RocketResponder's seven notices makes us look, and what is seen then stands in the mirror."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from syncd.providers.rocketresponder.webhook import ACTIONS, webhook_urls
from syncd.sync.ingest import ingest
from tests.scenes import DAY, Open
from tests.world import World

EMAIL = "fay@example.org"
URLS = webhook_urls("http://127.0.0.1:8480", "mail", "154", "mail-hook")


def seen(world: World) -> dict[str, Any]:
    row = world.rows(
        "SELECT m.status, m.fields, c.counters FROM v_memberships m JOIN v_counters c ON c.email = m.email"
        f" AND c.account = m.account WHERE m.account = 'mail' AND m.email = '{EMAIL}'"
    )[0]
    return {"status": row["status"], **json.loads(row["fields"]), **json.loads(row["counters"])}


@pytest.mark.parametrize("leaves", [False, True])
def test_what_each_notice_points_at_is_mirrored_at_once(open_small_world: Open, leaves: bool) -> None:
    world = open_small_world()
    mail = world.mail
    acts: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
        "subscribe": (lambda: mail.person_joins("154", EMAIL, "Fay Fo"), {"status": "pending", "first_name": "Fay"}),
        "confirm": (lambda: mail.confirm("154", EMAIL), {"status": "subscribed"}),
        "open": (lambda: mail.open_mail("154", EMAIL), {"opened": 1}),
        "click": (lambda: mail.click("154", EMAIL), {"clicked": 1}),
        "modify": (lambda: mail.edit_name("154", EMAIL, "Fay Gray"), {"last_name": "Gray"}),
        "unsubscribe": (lambda: mail.person_unsubscribes("154", EMAIL), {"status": "unsubscribed"}),
        "bounce": (lambda: mail.bounce("154", EMAIL), {"status": "bounced", "bounced": 1}),
    }
    assert sorted(acts) == sorted(ACTIONS)
    world.settle(2)
    for action in [name for name in acts if name != ("bounce" if leaves else "unsubscribe")]:
        act, expected = acts[action]
        mail.webhook_urls = {("154", action): URLS[action]}
        world.wait(600)
        act()
        (notice,) = mail.outgoing
        mail.outgoing.append(notice)  # they send again what they believe was not taken
        taken = len(world.rows("SELECT id FROM inbox"))
        world.deliver()
        ingest(world.app.context)
        wanted = world.rows("SELECT identity, urgent FROM lookup WHERE account = 'mail'")
        assert [(row["identity"], bool(row["urgent"])) for row in wanted] == [(EMAIL, True)], action
        world.round()
        assert len(world.rows("SELECT id FROM inbox")) == taken + 1
        assert expected.items() <= seen(world).items(), action
    mail.webhook_urls = {}
    world.wait(2 * DAY)
    before = seen(world)
    world.settle(2)
    assert seen(world) == before
