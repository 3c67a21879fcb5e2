"""What is shipped for Prometheus and Grafana fits what `/metrics` says and what operations.md explains."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from syncd.receiver.exposition import exposition
from syncd.store.meters import Meters
from syncd.sync.counted import Counted

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
BOARD = json.loads((ROOT / "deploy/grafana/syncd.json").read_text())
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

FULL_STATUS: dict[str, Any] = {
    "condition": "converged",
    "accounts": [{"name": "crm", "provider": "rocs", "state": "ok", "last_good_read": "2026-11-21T11:59:00.000Z"}],
    "dark": [{"account": "crm", "dark": 1}],
    "grades": {"verified": 1},
}


def exposed() -> dict[str, set[str]]:
    """Every series that can be: its labels by its name."""
    counted = Counted()
    counted.requests_of("crm")("label", 200)
    counted.add("crm", {"rows": 1})
    found = Meters(
        last_success={"crm": NOW},
        took_s={"crm": 1.0},
        left_alone_until={"crm": NOW},
        arrived_s={"crm": [1.0]},
        drift={("crm", "fight"): 1},
        notices={"webhook": 1},
        inbox_since=NOW,
        unsubscribe_since=NOW,
    )
    text = exposition(FULL_STATUS, found, counted, "sqlite", NOW).decode()
    return {
        sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    }


def expressions() -> Iterator[str]:
    for rule in RULES:
        yield rule["expr"]
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield BOARD["templating"]["list"][1]["query"]["query"]


def test_every_metric_that_is_watched_is_one_and_has_the_labels_that_are_asked_for() -> None:
    known = exposed()
    used = set()
    for expression in expressions():
        for name, labels in re.findall(r"\b(syncd_\w+)(?:\{([^}]*)\})?", expression):
            assert name in known, expression
            assert set(re.findall(r"(\w+)\s*=", labels)) <= known[name], expression
            used.add(name)
    assert len(used) > 20


def test_every_metric_is_explained_and_no_other() -> None:
    section = OPERATIONS.partition("\n## Watching\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(syncd_\w+)`", section)) == set(exposed())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_alerts_name_only_labels_that_their_metric_has() -> None:
    known = exposed()
    for rule in RULES:
        (name, *_) = re.findall(r"\b(syncd_\w+|up)\b", rule["expr"])
        asked = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert asked <= known.get(name, set()), rule["alert"]


def test_whatever_needs_a_person_at_once_is_alerted_of() -> None:
    watched = " ".join(rule["expr"] for rule in RULES)
    for name in (
        "syncd_account_stale",
        "syncd_unsubscribes_overdue",
        "syncd_parked",
        "syncd_account_held",
        "syncd_account_quarantined",
        "syncd_invariant_breaches",
        'up{job="syncd"}',
    ):
        assert name in watched


def test_the_panels_of_the_dashboard_do_not_overlap_and_have_names_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
