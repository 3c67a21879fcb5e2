"""What the status page shows, as plain values. What names a person is only among them for whoever may see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncd.store import inspect, ledger, meters, plans
from syncd.store import overview as stored
from syncd.store.inspect import Shown, shown_time
from syncd.store.session import reading
from syncd.sync.charts import campaign_plot, runs_chart, waits_chart
from syncd.sync.context import Context
from syncd.sync.standing import next_step

RUNS_MAX = 600
RUNS_LISTED = 12
WAITS_MAX = 200
CAMPAIGNS_MAX = 12
SAMPLES_MAX = 200
ROWS_MAX = 50
"""Rows of what waits for a person, each kind: whoever has more asks the command for all."""

VERDICTS = {
    "converged": ("good", "Nothing is left to do, and every account was read lately and well."),
    "pending": ("busy", "The next rounds will see to it."),
    "waits": ("warn", "Something waits for a person."),
    "unreachable": ("bad", "An account fails, or refuses our credentials."),
    "overdue": ("late", "An unsubscribe was not accepted in time."),
    "broken": ("broken", "An invariant does not hold: only unsubscribes that people said are sent."),
}
"""For each word that `syncd status` may say first: the mark beside it, and what it means."""

STATES = {"ok": "good", "new": "busy", "failing": "bad", "quarantined": "broken", "paused": "paused"}
"""The mark of each state of an account."""

OPEN = (
    ("changes on their way", "outbox"),
    ("people to look at", "due"),
    ("to ask about", "look_ups"),
    ("deliveries to read", "deliveries"),
    ("held", "held"),
    ("claims", "claims"),
    ("said no and can be mailed", "reachable"),
    ("ambiguous records", "ambiguous"),
)
"""What `distance` is made of, in words."""

RETRIED = frozenset({"change", "delivery", "look-up"})
"""What a person can have tried again; the rest is mended elsewhere."""


def overview(context: Context, status: Mapping[str, Any], *, people: bool) -> dict[str, Any]:
    """Everything on the status page. `status`: what `standing` gives; `people`: whether persons may be named."""
    now, names = context.now(), list(context.lanes)
    with reading(context.engine) as connection:
        runs = meters.last_runs(connection, RUNS_MAX)
        waits = stored.latencies(connection, names, WAITS_MAX)
        found, campaigns = stored.campaigns(connection, names, limit=CAMPAIGNS_MAX, samples_max=SAMPLES_MAX)
        waiting = [row for row in plans.load_plans(connection) if row.account in names]
        claims = plans.open_claims(connection, ROWS_MAX)
        parked = inspect.rows_of(connection, "parked", limit=ROWS_MAX)
        late = ledger.rows_of(connection, now, limit=ROWS_MAX, overdue=True)
    return {
        "now": now,
        "people": people,
        "verdict": verdict_of(status),
        "status": status,
        "accounts": [account_of(entry) for entry in status.get("accounts", ())],
        "plans": [plan_of(row) for row in waiting[:ROWS_MAX]],
        "claims": [claim_of(row, people=people) for row in claims if row.account in names],
        "parked": [parked_of(row) for row in parked] if people else _counted(parked),
        "late": [late_of(row, people=people) for row in late],
        "more": ROWS_MAX,
        "runs": runs_chart([run for run in runs if run.account in names], names, now),
        "listed": runs[:RUNS_LISTED],
        "waits": waits_chart(waits),
        "campaigns": [_campaign(entry) for entry in found],
        "campaigns_in_all": campaigns,
    }


def verdict_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """The one word to know first, what it means, what it is made of, and what to do."""
    word = status.get("condition", "pending")
    mark, meaning = VERDICTS[word]
    counts = [(said, _size(status, key)) for said, key in OPEN]
    stale = [entry["name"] for entry in status.get("accounts", ()) if entry["stale"]]
    return {
        "word": word,
        "mark": mark,
        "meaning": meaning,
        "distance": status.get("distance", 0),
        "open": [(said, count) for said, count in counts if count],
        "stale": stale,
        "next": next_step(status) if "condition" in status else "",
    }


def _size(status: Mapping[str, Any], key: str) -> int:
    if key == "outbox":
        return sum(entry["outbox"] for entry in status.get("accounts", ()))
    return int(status.get(key) or 0)


def account_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One account, with the mark of its state and everything worth saying about it."""
    said = []
    if entry["reason"]:
        said.append(f"{entry['reason']} (`{entry['hint']}`)" if entry["hint"] else entry["reason"])
    elif entry["stale"]:
        said.append(f"no good read within three intervals (`syncd sync {entry['name']}`)")
    if entry["protected"]:
        said.append(f"protected ({entry['protected_why']}): nothing but unsubscribes goes out")
    return {**entry, "mark": STATES.get(entry["state"], "busy"), "said": said}


def plan_of(row: Any) -> Shown:
    """A plan that waits, without anybody in it."""
    return {
        "id": row.id,
        "account": row.account,
        "remote_list": row.container,
        "kind": row.kind,
        "hold": row.hold,
        "count": row.count,
        "reason": row.reason,
        "created_at": shown_time(row.created_at),
        "release_at": shown_time(row.release_at),
    }


def claim_of(row: Any, *, people: bool) -> Shown:
    """Somebody who said no and reads subscribed again."""
    who = {"id": row.id, "email": row.identity} if people else {}
    about = {"account": row.account, "remote_list": row.container, "scope": row.scope}
    return {**about, "seen_at": shown_time(row.seen_at), "times": row.times, "fight": row.fight, **who}


def parked_of(row: Shown) -> Shown:
    """Something parked. Its id and its reason may name a person."""
    return {**row, "retried": row["what"] in RETRIED}


def _counted(rows: Iterable[Shown]) -> list[Shown]:
    """The same by number, which names nobody."""
    counts = Counter((row["account"], row["what"], row["kind"] or "") for row in rows)
    return [
        {"account": account, "what": what, "kind": kind, "count": count}
        for (account, what, kind), count in sorted(counts.items())
    ]


_LATE = ("account", "provider", "remote_list", "state", "learnt_at", "deadline", "time_left_s")


def late_of(row: Shown, *, people: bool) -> Shown:
    """An unsubscribe that was not accepted in time."""
    return {name: row[name] for name in _LATE} | ({"email": row["known_as"]} if people else {})


def _campaign(entry: stored.Campaign) -> dict[str, Any]:
    return {
        "account": entry.account,
        "campaign_id": entry.campaign_id,
        "name": entry.name or entry.campaign_id,
        "status": entry.status,
        "observed_at": shown_time(entry.observed_at),
        "plot": campaign_plot(entry.samples, stored.COUNTERS),
    }


# One plan ------------------------------------------------------------------------------------------------------------


def plan_page(row: Any, items: Sequence[Any], *, people: bool) -> dict[str, Any]:
    """One plan with a part of who is in it, or with nobody."""
    return {
        "plan": plan_of(row),
        "items": [
            {"email": one.identity, "fields": dict(one.fields), "why": one.why, "since": shown_time(one.created_at)}
            for one in (items if people else ())
        ],
    }
