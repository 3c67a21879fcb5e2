"""One word for how things stand: the same on the page, in `syncd status`, in its JSON and in the metrics."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from syncd.emulators.emulator import Fault, FaultKind
from syncd.reconcile.convergence import Condition
from syncd.store import journal
from syncd.store.session import writing
from syncd.sync import ingest, steer
from syncd.sync.approve import approve
from tests.pages.site import Site, held
from tests.scenes import Open, command, person
from tests.world import World

ALWAYS = 10**6
STATES = {"new", "ok", "failing", "quarantined", "paused"}


def told(world: World) -> tuple[str, dict[str, str]]:
    """The word, and the state of each account, on which all four agree."""
    shown = command(world, "status", "--json").data
    page = Site(world).ask("GET", "/").text
    metrics = Site(world).ask("GET", "/metrics").text
    said = {
        "json": (shown["condition"], {entry["name"]: entry["state"] for entry in shown["accounts"]}),
        "command": in_words(command(world, "status").out),
        "page": on_page(page),
        "metrics": (shown["condition"], in_numbers(metrics)),
    }
    word, states = said["json"]
    assert {name: one for name, one in said.items() if one != (word, states)} == {}
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    assert families["syncd_converged"].samples[0].value == (word == "converged")
    assert families["syncd_distance"].samples[0].value == shown["distance"]
    return word, states


def in_words(out: str) -> tuple[str, dict[str, str]]:
    """What the command prints for a person."""
    last = re.findall(r"^(?:not converged: )?([a-z]+)(?:, distance \d+)?$", out, re.MULTILINE)[-1]
    rows = re.findall(rf"^ *(crm|sales|mail|leads) +[a-z]+ +({'|'.join(STATES)}) ", out, re.MULTILINE)
    return last, dict(rows)


def on_page(page: str) -> tuple[str, dict[str, str]]:
    [word] = re.findall(r"<span data-verdict>([a-z]+)</span>", page)
    cells = re.findall(r'data-account="([a-z]+)" data-state>(.*?)</td>', page, re.DOTALL)
    return word, {name: re.sub(r"<[^>]+>", "", inner).strip() for name, inner in cells}


def in_numbers(text: str) -> dict[str, str]:
    [family] = [one for one in text_string_to_metric_families(text) if one.name == "syncd_account_state"]
    return {one.labels["account"]: one.labels["state"] for one in family.samples if one.value == 1}


def test_page_command_json_and_metrics_say_the_same_word_whatever_happens(open_small_world: Open) -> None:
    world = open_small_world(first_sync="hold")
    seen = [told(world)]
    assert seen[-1] == ("pending", dict.fromkeys(("crm", "sales", "mail", "leads"), "new"))
    person(world, "ann@example.org")
    world.settle(2)
    seen.append(told(world))
    assert seen[-1][0] == "waits"
    for plan in held(world):
        approve(world.app.context, plan.id)
    world.settle(3)
    seen.append(told(world))
    assert seen[-1] == ("converged", dict.fromkeys(("crm", "sales", "mail", "leads"), "ok"))
    steer.pause(world.app.context, "leads")
    world.sales.password = "another"
    world.sales.revoke_tokens()
    world.rocs.faults.append(Fault(FaultKind.NO_CONNECTION, times=ALWAYS))
    world.settle(2)
    seen.append(told(world))
    assert seen[-1] == ("unreachable", {"crm": "failing", "sales": "quarantined", "mail": "ok", "leads": "paused"})
    ingest.unsubscribe(world.app.context, "ann@example.org", source="operator", evidence="a letter")
    world.round()
    world.wait(49 * 3600)
    seen.append(told(world))
    assert seen[-1][0] == "overdue"
    with writing(world.app.engine) as connection:
        since = {"since": "2026-11-21T12:00:00.000Z", "count": 1, "examples": []}
        journal.note_broken(connection, {"counts-agree": since})
    seen.append(told(world))
    assert {word for word, _ in seen} == {word.value for word in Condition}
    assert {state for _, states in seen for state in states.values()} == STATES
