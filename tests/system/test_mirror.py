"""What is kept of what was seen, and what must never be written anywhere."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from syncd import telemetry
from syncd.emulators.emulator import FaultKind
from tests.scenes import DAY, QUERY_API, configured, notices, people, person, standing
from tests.virtual import START
from tests.world import World


def test_the_record_as_it_came_is_kept_beside_what_was_read_from_it(open_world):
    world = open_world()
    customer = person(world, "Ann@Example.org", "Änn", "Bee", mobile="+4915112345678")
    world.rocs.edit_customer(customer, odd={"loyaltyTier": "gold", "visits": 12345678901234567890})
    world.sales.add_contact(world.sales_list, "sam@example.org", "Sam Sung", shoe_size=43)
    world.rokt.send_lead("lea@example.org", "Lea", "Dee", offer="42")
    world.settle(2)
    rows = world.rows("SELECT email, account, remote_list, address, fields, raw FROM v_memberships")
    kept = {(row["account"], row["remote_list"], row["email"]): row for row in rows}
    at_crm = kept["crm", "*", "ann@example.org"]
    assert at_crm["address"] == "Ann@Example.org"
    assert json.loads(at_crm["fields"])["first_name"] == "Änn"
    raw = json.loads(at_crm["raw"])
    assert (raw["loyaltyTier"], raw["visits"], raw["firstName"]) == ("gold", 12345678901234567890, "Änn")
    assert json.loads(kept["sales", world.sales_list, "sam@example.org"]["raw"])["shoe_size"] == 43
    assert json.loads(kept["leads", "*", "lea@example.org"]["raw"])["offer"] == "42"
    assert json.loads(kept["mail", "154", "ann@example.org"]["raw"])["JoinIP"]


def test_the_raw_record_moves_with_what_is_shown_there(open_small_world):
    world = open_small_world()
    customer = person(world, "ann@example.org")
    world.settle(2)
    world.rocs.edit_customer(customer, first_name="Anna")
    world.settle(2)
    (row,) = world.rows("SELECT fields, raw FROM v_memberships WHERE account = 'crm' AND remote_list = '*'")
    assert json.loads(row["raw"])["firstName"] == json.loads(row["fields"])["first_name"] == "Anna"


def test_statistics_keep_every_value_they_had_and_the_view_shows_the_last(open_world):
    world = open_world(config=configured(leads=QUERY_API))
    world.rocs.add_campaign("K-1", "Spring", sent=10)
    world.rokt.add_campaign("900", "Offer", {"2026-11-20": {"referrals": 3, "acquisitions": 8}})
    seen = []
    for sent in (10, 20, 20, 30):
        world.rocs.count("K-1", sent=sent)
        world.round()
        seen.append(world.rows("SELECT sent FROM v_campaigns WHERE campaign_id = 'K-1'")[0]["sent"])
        world.wait(DAY)
    assert seen == [10, 20, 20, 30]
    history = world.rows("SELECT sent, observed_at FROM campaign_sample WHERE campaign_id = 'K-1' ORDER BY id")
    assert [row["sent"] for row in history] == [10, 20, 30]
    # Rokt restates a day until its acquisitions are all in: one sample for each value that the day had.
    restated = world.rows("SELECT day, extra FROM campaign_sample WHERE campaign_id = '900' ORDER BY id")
    assert {row["day"] for row in restated} == {"2026-11-20"}
    assert len(restated) == 4


def test_every_time_that_is_kept_is_utc_and_of_our_clock(open_world):
    world = open_world()
    people(world, 2)
    world.settle(2)
    world.rokt.person_unsubscribes("p0@example.org")
    world.settle(2)
    from syncd.store import containers, journal
    from syncd.store.session import reading

    with reading(world.app.engine) as connection:
        times = [row.last_good_read for row in journal.load_accounts(connection)]
        times += [row.whole_at for row in containers.load_containers(connection) if row.whole_at]
    assert times
    assert all(at.utcoffset() == timedelta(0) for at in times)
    columns = {
        "v_memberships": ["observed_at"], "v_runs": ["started_at", "ended_at"], "v_consent": ["since"],
        "v_propagation": ["learnt_at", "known_at", "decided_at", "answered_at", "accepted_at", "read_back_at"],
        "op": ["created_at", "sent_at", "ended_at"],
    }  # fmt: skip
    end = world.clock()
    for table, names in columns.items():
        for row in world.rows(f"SELECT {', '.join(names)} FROM {table}"):
            for value in filter(None, row.values()):  # a line of the ledger that needed no call has none
                at = datetime.fromisoformat(value) if isinstance(value, str) else value
                at = at if at.tzinfo else at.replace(tzinfo=UTC)
                assert at.utcoffset() == timedelta(0)
                assert START <= at <= end, (table, row)


# Logs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def restored_logs():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn.access", "apscheduler"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


SECRETS = (
    "rocs-secret", "sales-secret", "priv_emulated", "rokt-key", "rokt-secret", "hook-secret", "mail-hook",
    "rokt-app-secret", "sales@example.org",
)  # fmt: skip
NAMES = ("Quirina", "Zebulon", "Oddington", "Pumpernickel", "Quimby")


def noisy_history(world: World) -> set[str]:
    """People who come, change, leave and come back, while everything goes wrong at every provider."""
    notices(world)
    emails = ["quirina@quaint.example", "zebulon+tag@quaint.example", "o.dd@quaint.example", "pumper@quaint.example"]
    ids = {
        email: person(world, email, first, "Quimby")
        for email, first in zip(emails, NAMES, strict=False)
        if "@" in email
    }
    world.sales.add_contact(world.sales_list, "sam.quaint@quaint.example", "Pumpernickel Quimby")
    world.sales.add_contact(world.sales_list, "not quaint", "Oddington")
    world.rokt.send_lead("lead@quaint.example", "Zebulon", "Quimby", mobile="+4915112345678")
    world.mail.strict_emails = True
    world.rocs.poison.add(emails[2])
    for emulator in world.emulators.values():
        emulator.fault_rate = 0.25
        emulator.fault_kinds = tuple(FaultKind)
    for step in range(12):
        world.rocs.edit_customer(ids[emails[step % 4]], first_name=NAMES[step % 4] + "x" * (step % 3))
        if step == 3:
            world.mail.bounce("154", emails[0]) if world.mail.subscriber("154", emails[0]) else None
        if step == 4:
            world.rokt.person_unsubscribes(emails[1])
            world.sales.add_contact(world.sales_list, emails[1], "Zebulon Quimby")
        if step == 5:
            world.rocs.client_secret, world.sales.password = "other", "other"
            world.mail.private_key, world.rokt.api_key = "other", "other"
            world.rocs.revoke_tokens()
            world.sales.revoke_tokens()
        if step == 7:
            world.rocs.client_secret, world.sales.password = "rocs-secret", "sales-secret"
            world.mail.private_key, world.rokt.api_key = "priv_emulated", "rokt-key"
        world.round(full=step % 4 == 0)
        world.wait(400)
    for emulator in world.emulators.values():
        emulator.fault_rate = 0.0
    world.wait(DAY)
    world.settle(4)
    tokens = {*world.rocs.tokens, *world.sales.tokens, *world.rokt.tokens}
    addresses = {*emails, "sam.quaint@quaint.example", "lead@quaint.example", "not quaint", "quaint.example"}
    return addresses | set(NAMES) | set(SECRETS) | tokens | {"4915112345678"}


def test_no_person_no_secret_and_no_token_is_in_any_log_line_or_reason_whatever_went_wrong(
    open_small_world, restored_logs, monkeypatch
):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    world = open_small_world(config=configured(leads=QUERY_API, push="attempts_max = 3\nbackoff = '5s'"))
    stream = io.StringIO()
    telemetry.configure("debug", json=True, stream=stream)
    never = noisy_history(world)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 300
    events = {json.loads(line)["event"] for line in lines}
    assert {"run.closed", "account.failed", "request.carried"} <= events
    assert standing(world, "zebulon+tag@quaint.example")["crm"] == "unsubscribed"
    for word in sorted(never):
        found = [line for line in lines if word.lower() in line.lower()]
        assert not found, (word, found[0])
    told = [json.loads(line) for line in lines]
    runs = {row["id"]: row["account"] for row in world.rows("SELECT id, account FROM run")}
    assert not [line for line in told if not line.get("run_id") or line.get("account") not in set(runs.values())]
    assert {runs[line["run_id"]] for line in told if line["run_id"] in runs} == set(runs.values())
    assert not [line for line in told if runs.get(line["run_id"], line["account"]) != line["account"]]
    kept = [
        str(row["reason"])
        for table in ("account", "op", "run", "inbox", "plan")
        for row in world.rows(f"SELECT reason FROM {table} WHERE reason <> ''")
    ]
    assert len(kept) > 20
    for word in sorted(never):
        assert not [text for text in kept if word.lower() in text.lower()], word
