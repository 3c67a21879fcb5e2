"""People are told when something begins that needs one and when it is over: once, also over restarts, and of nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import structlog

from syncd.emulators.emulator import FaultKind
from syncd.notices import channels_of, deliver
from syncd.store import journal
from syncd.store.inspect import shown_time
from syncd.store.session import writing
from syncd.sync.notices import look
from tests.scenes import DAY, Open, agreed, command, people, person
from tests.world import World

CHANNELS = ("log", "pager")
GIVE_UP = timedelta(days=1)


def told(world: World, channels: tuple[str, ...] = CHANNELS) -> list[tuple[str, str]]:
    """What a look finds that people are to be told: about what, and at which account."""
    intervals = dict.fromkeys(world.app.context.lanes, 300.0)
    found = look(world.app.context, intervals, channels, patience_s=600, quiet_s=3600)
    return [(f"{notice.about}.{notice.state}", notice.account) for notice in found]


def contents(world: World, channel: str = "pager") -> list[dict[str, Any]]:
    """What has yet to be sent, in the order in which it will be."""
    rows = world.rows(
        "SELECT content FROM notice_due WHERE channel = :channel ORDER BY created_at, id", channel=channel
    )
    return [json.loads(row["content"]) if isinstance(row["content"], str) else row["content"] for row in rows]


def waiting(world: World, channel: str = "pager") -> list[str]:
    return [content["type"] for content in contents(world, channel)]


class Pager:
    """A channel that can be out of order."""

    def __init__(self) -> None:
        self.got: list[Mapping[str, Any]] = []
        self.fault = ""

    async def send(self, content: Mapping[str, Any]) -> str:
        if self.fault == "breaks":
            raise ValueError("mailto://user:password@example.org")
        if not self.fault:
            self.got.append(content)
        return self.fault


def delivered(world: World, pager: Pager) -> list[str]:
    before = len(pager.got)
    asyncio.run(deliver(world.app.context, "pager", pager.send, GIVE_UP))
    return [content["type"] for content in pager.got[before:]]


# What is told --------------------------------------------------------------------------------------------------------


def test_an_account_that_fails_is_told_of_when_it_lasts_and_when_it_is_over(open_world: Open) -> None:
    world = open_world()
    agreed(world)
    assert told(world) == []
    world.sales.fault_kinds, world.sales.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
    world.round()
    assert told(world) == []
    world.wait(601)
    assert told(world) == [("account.raised", "sales")]
    world.restart()
    world.round()
    world.wait(2 * 3600)
    world.round()
    assert told(world) == [], "a restart repeats nothing, and time neither"
    world.sales.fault_rate = 0.0
    world.round()
    assert told(world) == [("account.recovered", "sales")]
    assert told(world) == []
    world.wait(DAY)
    world.round()
    told(world)
    assert world.rows("SELECT * FROM notice") == []


def test_refused_credentials_are_told_of_at_once_also_where_it_failed_before(open_small_world: Open) -> None:
    world = open_small_world()
    agreed(world)
    world.sales.fault_kinds, world.sales.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
    world.round()
    told(world)
    world.wait(601)
    assert told(world) == [("account.raised", "sales")]
    world.sales.fault_rate, world.sales.password = 0.0, "other"
    world.sales.revoke_tokens()
    world.round()
    assert told(world) == [("account.raised", "sales")]
    assert contents(world)[-1]["data"] == {
        "about": "account",
        "state": "raised",
        "account": "sales",
        "details": ["quarantined"],
        "count": 0,
        "since": shown_time(world.clock()),
        "text": "sales refuses our credentials",
        "next": "syncd account check sales",
    }
    assert told(world) == []


def test_plans_that_wait_are_told_of_by_their_ids_and_end_with_the_last(open_small_world: Open) -> None:
    world = open_small_world(first_sync="hold")
    person(world, "ann@example.org")
    world.round()
    found = told(world)
    ids = {row["id"] for row in world.rows("SELECT id FROM plan")}
    assert ids
    assert {about for about, _ in found} == {"held.raised"}
    assert {detail for content in contents(world) for detail in content["data"]["details"]} == ids
    person(world, "bob@example.org")
    world.round()
    assert {row["id"] for row in world.rows("SELECT id FROM plan")}.isdisjoint(ids)
    assert told(world) == [], "the plans have other ids by now, and are the same ones"
    for row in world.rows("SELECT id FROM plan"):
        assert command(world, "reject", row["id"]).code in {0, 3}
    assert {about for about, _ in told(world)} == {"held.recovered"}


def test_what_else_may_need_a_person(open_small_world: Open) -> None:
    """An unsubscribe that is overdue, an account that stalls, a broken invariant, and a mirror that was put back."""
    world = open_small_world()
    (email,) = agreed(world)
    world.mail.fault_kinds, world.mail.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
    world.rocs.unsubscribe_member("L-1", email)
    world.round()
    told(world)
    world.wait(world.app.context.policy.unsubscribe_within_s + 1)
    found = told(world)
    assert {("overdue.raised", ""), ("account.raised", "mail"), ("stale.raised", "crm")} <= set(found)
    assert ("stale.raised", "mail") not in found, "that it fails says enough"
    with writing(world.app.engine) as connection:
        journal.note_broken(connection, {"counts-agree": {"since": "", "count": 1, "examples": []}})
        journal.update_account(connection, "leads", protected="put back from a.db")
        journal.update_account(connection, "sales", state="paused")
    assert told(world) == [("broken.raised", ""), ("protected.raised", "leads")] + [
        ("stale.recovered", name) for _, name in found if ("stale.raised", name) in found and name == "sales"
    ]
    world.mail.fault_rate = 0.0
    world.settle(2)
    assert {("overdue.recovered", ""), ("account.recovered", "mail")} <= set(told(world))


def test_parked_things_and_dark_opt_outs_and_claims_are_told_of(open_small_world: Open) -> None:
    world = open_small_world()
    agreed(world)
    with writing(world.app.engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO dark (account, what, id, name, total, known, dark, latest, since)"
            " VALUES ('mail', 'list', '154', 'Jane Doe', 0, 0, 3, 3, '2026-11-21 12:00:00')"
        )
        for number, fight in ((1, 0), (2, 1)):
            connection.exec_driver_sql(
                "INSERT INTO claim (id, account, container, key, identity, person_key, scope, status_seq, seen_at,"
                f" state, times, fight) VALUES ('c{number}', 'crm', 'L-1', 'k{number}', 'jane@example.org',"
                f" 'jane@example.org', 'newsletter', 1, '2026-11-21 12:00:00', 'open', 1, {fight})"
            )
    world.rokt.send_lead("lead@example.org", "Jane", "Doe", campaign="99")
    world.rocs.poison.update(people(world, 1, "poisoned"))
    world.settle(3)
    found = told(world)
    assert {("dark.raised", "mail"), ("claim.raised", "crm"), ("fight.raised", "crm")} <= set(found)
    text = str(world.rows("SELECT content FROM notice_due")) + str(world.rows("SELECT * FROM notice"))
    for never in ("@", "jane", "Jane", "lead", "poisoned"):
        assert never not in text.replace("'leads'", "").replace('"leads"', "").replace(" leads", ""), never


# How it reaches somebody ---------------------------------------------------------------------------------------------


def raise_and_end(world: World) -> None:
    with writing(world.app.engine) as connection:
        journal.note_broken(connection, {"counts-agree": {"since": "", "count": 1, "examples": []}})
    assert told(world) == [("broken.raised", "")]
    with writing(world.app.engine) as connection:
        journal.note_broken(connection, {})
    assert told(world) == [("broken.recovered", "")]


def test_a_channel_that_is_down_gets_everything_later_in_order_and_keeps_no_other_back(open_world: Open) -> None:
    world, pager = open_world(), Pager()
    agreed(world)
    pager.fault = "answered 503"
    raise_and_end(world)
    assert delivered(world, pager) == []
    pager.fault = "breaks"
    world.wait(10)
    assert delivered(world, pager) == []
    pager.fault = ""
    assert delivered(world, pager) == [], "not so soon"
    world.wait(20)
    assert delivered(world, pager) == ["broken.raised", "broken.recovered"]
    assert delivered(world, pager) == []
    assert waiting(world, "log") == ["broken.raised", "broken.recovered"]
    assert len({content["id"] for content in pager.got}) == 2


def test_tries_come_ever_later_and_end_after_a_day(open_small_world: Open) -> None:
    world, pager = open_small_world(), Pager()
    agreed(world)
    pager.fault = "answered 503"
    raise_and_end(world)
    tries = []
    while waiting(world):
        tries.append(world.loop.time())
        delivered(world, pager)
        due = world.rows("SELECT not_before FROM notice_due WHERE channel = 'pager' ORDER BY created_at, id")
        if due:
            soon = datetime.fromisoformat(due[0]["not_before"]).replace(tzinfo=UTC) - world.clock()
            world.wait(max(0.0, soon.total_seconds()))
    gaps = [round(later - earlier) for earlier, later in pairwise(tries)]
    assert gaps[:4] == [10, 20, 40, 80]
    assert max(gaps) == 3600
    assert DAY <= tries[-1] - tries[0] <= DAY + 2 * 3600
    assert len(tries) < 40


def test_what_no_channel_takes_any_more_is_dropped(open_small_world: Open) -> None:
    world = open_small_world()
    agreed(world)
    raise_and_end(world)
    assert len(waiting(world)) == 2
    assert told(world, ("log",)) == []
    assert waiting(world) == []
    assert len(waiting(world, "log")) == 2


def test_the_log_has_every_notice(open_small_world: Open) -> None:
    world = open_small_world()
    agreed(world)
    raise_and_end(world)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    with structlog.testing.capture_logs() as lines:
        send = channels_of(world.app.settings.notify, world.clock, structlog.get_logger())["log"]
        asyncio.run(deliver(world.app.context, "log", send, GIVE_UP))
    assert [(line["event"], line["log_level"], line["state"], line["about"]) for line in lines] == [
        ("notice", "warning", "raised", "broken"),
        ("notice", "info", "recovered", "broken"),
    ]
    assert lines[0]["next"] == "syncd check --full"
