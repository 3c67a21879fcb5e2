"""What Prometheus is told: it can be read, names nobody, and is what the mirror and the commands say."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from syncd.emulators.emulator import FaultKind
from syncd.receiver import receiver
from syncd.receiver.exposition import exposition
from syncd.store.meters import Meters
from syncd.sync.counted import ROWS, Counted
from syncd.sync.standing import standing
from tests.scenes import Open, agreed, person
from tests.world import World

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(world: World) -> Samples:
    """Everything that `/metrics` says, as Prometheus reads it."""
    intervals = dict.fromkeys(world.app.context.lanes, 300.0)
    app = receiver(
        world.app.context,
        world.app.settings.receiver,
        wake=lambda _: None,
        status=lambda: standing(world.app.context, intervals)[1],
    )

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://syncd.test") as client:
            return await client.get("/metrics")

    answer = asyncio.run(get())
    assert answer.status_code == 200
    return read(answer.text)


def read(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"said twice: {key}"
            found[key] = sample.value
    return found


def said(samples: Samples, name: str, **labels: str) -> float | None:
    """The one value of that name with these labels, whatever its others."""
    fitting = [
        value
        for (of, given), value in samples.items()
        if of == f"syncd_{name}" and labels.items() <= dict(given).items()
    ]
    assert len(fitting) <= 1, fitting
    return fitting[0] if fitting else None


def test_the_numbers_are_those_of_the_mirror_and_the_process(open_small_world: Open) -> None:
    world = open_small_world(first_sync="hold")
    person(world, "ann@example.org")
    world.round()
    waiting = scraped(world)
    shown = standing(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))[1]
    held = {one["name"]: one["held"] for one in shown["accounts"]}
    assert sum(held.values()) > 0
    assert {name: said(waiting, "account_held", account=name) for name in held} == held
    assert said(waiting, "held") == sum(held.values())
    assert said(waiting, "condition", condition=shown["condition"]) == 1
    assert said(waiting, "account_protected", account="mail", provider="rocketresponder") == 1
    codes = Counter(str(call.status) for call in world.rocs.calls)
    assert {code: said(waiting, "provider_requests_total", account="crm", code=code) for code in codes} == codes
    (run,) = [json.loads(row["counts"]) for row in world.rows("SELECT counts FROM run WHERE account = 'crm'")]
    counted = {word: said(waiting, "rows_total", account="crm", op=word) for word in ROWS.values()}
    assert counted == {word: run.get(name, 0) for name, word in ROWS.items()}
    assert counted["read"]
    assert said(waiting, "rows_total", account="crm", op="sent") == 0


def test_the_metrics_follow_a_no_until_it_has_arrived(open_world: Open) -> None:
    world = open_world()
    (email,) = agreed(world)
    world.sales.fault_kinds, world.sales.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
    world.mail.person_unsubscribes("154", email)
    world.wait(world.app.context.policy.unsubscribe_within_s / 2)
    world.settle()
    late = scraped(world)
    assert said(late, "account_state", account="sales", state="failing") == 1
    assert said(late, "account_stale", account="sales") == 1
    assert said(late, "unsubscribes_open") == 1
    assert said(late, "propagation_seconds", account="sales", quantile="1") is None
    assert said(late, "propagation_seconds", account="crm", quantile="0.5") is not None
    assert said(late, "propagation_count", account="crm") == 1
    assert (said(late, "last_good_read_age_seconds", account="sales") or 0) > 86_400
    assert (said(late, "provider_requests_total", account="sales", code="none") or 0) > 1
    assert said(late, "drift", account="sales", kind="reachable") == 1
    world.wait(world.app.context.policy.unsubscribe_within_s)
    assert said(scraped(world), "unsubscribes_overdue") == 1
    world.sales.fault_rate = 0.0
    world.settle()
    there = scraped(world)
    assert [said(there, name) for name in ("unsubscribes_open", "unsubscribes_overdue", "converged")] == [0, 0, 1]


def test_labels_name_accounts_and_words_and_nobody(open_small_world: Open) -> None:
    world = open_small_world()
    agreed(world, 2)
    samples = scraped(world)
    allowed = {"account", "provider", "state", "condition", "op", "code", "kind", "quantile", "grade"}
    for name, labels in samples:
        assert name.startswith("syncd_")
        if name != "syncd_build_info":
            assert set(dict(labels)) <= allowed, name
    assert not re.search(r"@|L-1|newsletter|Newsletter|154", str(list(samples)))
    assert not [metric for metric in REGISTRY.collect() if metric.name.startswith("syncd")], "nothing of ours is global"


def test_an_account_that_a_reload_adds_at_this_very_moment_is_told_of_the_next_time(open_small_world: Open) -> None:
    world = open_small_world()
    agreed(world)
    before = {name: seconds for name, seconds in world.app.intervals.items() if name != "mail"}
    _, shown = standing(world.app.context, before)
    assert {account["name"] for account in shown["accounts"]} == before.keys()


def test_whatever_an_account_is_called_can_be_read_back(at: Any) -> None:
    """A name or a reason with quotes and line ends stays one label."""
    odd = 'a"b\\c\nd'
    status: Mapping[str, Any] = {"accounts": [{"name": odd, "provider": "rocs", "state": odd}], "condition": odd}
    found = Meters({}, {odd: 2.5}, {}, {odd: [1.0]}, {(odd, odd): 3}, {odd: 2}, None, None)
    samples = read(exposition(status, found, Counted(), "sqlite", at).decode())
    assert samples["syncd_run_duration_seconds", (("account", odd), ("provider", "rocs"))] == 2.5
    assert samples["syncd_notices_waiting", (("channel", odd),)] == 2
    assert samples["syncd_drift", (("account", odd), ("kind", odd), ("provider", "rocs"))] == 3


def test_quantiles_are_values_that_were_seen(at: Any) -> None:
    seconds = [float(number) for number in range(1, 201)]
    found = Meters({}, {}, {}, {"crm": seconds, "mail": [7.0]}, {}, {}, None, None)
    samples = read(exposition({}, found, Counted(), "sqlite", at).decode())
    told = {
        (dict(labels)["account"], dict(labels)["quantile"]): value
        for (name, labels), value in samples.items()
        if name == "syncd_propagation_seconds"
    }
    assert [told["crm", share] for share in ("0.5", "0.99", "1")] == [100, 198, 200]
    assert {told["mail", share] for share in ("0.5", "0.99", "1")} == {7}
