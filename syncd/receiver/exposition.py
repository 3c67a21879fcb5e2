"""How things stand as Prometheus reads it. Labels name accounts, providers and words of ours, never a person or a list.

Everything is read anew for each scrape into a registry of its own; what the process counts itself begins with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from math import ceil
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from syncd.store.meters import Meters
from syncd.sync.counted import Counted

QUANTILES = (0.5, 0.99, 1.0)

Values = Iterable[tuple[tuple[str, ...], float]]


def exposition(status: Mapping[str, Any], found: Meters, counted: Counted, engine: str, now: datetime) -> bytes:
    """The text format, 0.0.4. `status` is what `syncd status --json` prints."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(status, found, counted, engine, now))
    return generate_latest(registry)


class _Scrape(Collector):
    def __init__(self, status: Mapping[str, Any], found: Meters, counted: Counted, engine: str, now: datetime) -> None:
        self._status = status
        self._found = found
        self._counted = counted
        self._engine = engine
        self._now = now
        self._accounts: list[Mapping[str, Any]] = list(status.get("accounts", ()))
        self._providers = {str(entry["name"]): str(entry.get("provider", "")) for entry in self._accounts}

    def collect(self) -> Iterator[Metric]:
        yield from self._whole()
        yield from self._by_account()
        yield from self._times()
        yield from self._people()
        yield from self._process()

    # All in all ------------------------------------------------------------------------------------------------------

    def _whole(self) -> Iterator[Metric]:
        status = self._status
        build = version("syncd"), str(status.get("schema") or ""), self._engine
        yield _gauge("build_info", "1 for the version that runs", [(build, 1)], ("version", "schema", "engine"))
        yield _one("converged", "1 if nothing is left to do", int(bool(status.get("converged"))))
        word = str(status.get("condition", ""))
        yield _gauge("condition", "1 for the word that says how everything stands", [((word,), 1)], ("condition",))
        yield _one("distance", "How much is left to do", _number(status.get("distance")))
        yield _one("invariant_breaches", "Invariants that do not hold", len(status.get("breach") or ()))
        yield _one("held", "Changes that wait for approval", sum(_number(one.get("held")) for one in self._accounts))
        yield _one("deliveries_unread", "Deliveries that nobody has read yet", _number(status.get("deliveries")))

    # Each account ----------------------------------------------------------------------------------------------------

    def _by_account(self) -> Iterator[Metric]:
        states = [((*self._who(one), str(one.get("state", ""))), 1.0) for one in self._accounts]
        yield _gauge("account_state", "1 for the state each account is in", states, (*WHO, "state"))
        yield self._each("account_held", "Changes at the account that wait for approval", lambda one: one.get("held"))
        yield self._each(
            "account_quarantined",
            "1 if the account refuses our credentials",
            lambda one: one.get("state") == "quarantined",
        )
        yield self._each(
            "account_protected", "1 if nothing but unsubscribes goes out", lambda one: one.get("protected")
        )
        yield self._each(
            "account_stale", "1 if the account was not read well within three intervals", lambda one: one.get("stale")
        )
        yield self._each("outbox_depth", "Changes on their way to the account", lambda one: one.get("outbox"))
        yield self._each(
            "parked", "What was given up and waits for a person, or for its provider", lambda one: one.get("parked")
        )
        drift = [((*self._of(name), kind), number) for (name, kind), number in sorted(self._found.drift.items())]
        yield _gauge("drift", "Where things are not as they should be, by kind", drift, (*WHO, "kind"))
        dark: dict[str, int] = {}
        for entry in self._status.get("dark", ()):
            dark[str(entry["account"])] = dark.get(str(entry["account"]), 0) + _number(entry.get("dark"))
        yield self._some("dark_opt_outs", "Opt-outs counted there and known to nobody", dark)

    # When, and how long ----------------------------------------------------------------------------------------------

    def _times(self) -> Iterator[Metric]:
        found = self._found
        reads = {
            str(one["name"]): datetime.fromisoformat(one["last_good_read"])
            for one in self._accounts
            if one.get("last_good_read")
        }
        yield self._some(
            "last_good_read_age_seconds",
            "How long ago the account was last read well; absent where it never was",
            {name: self._age(at) for name, at in reads.items()},
        )
        yield self._some(
            "run_last_success_timestamp_seconds",
            "When the latest run ended that succeeded",
            {name: at.timestamp() for name, at in found.last_success.items()},
        )
        yield self._some("run_duration_seconds", "How long the latest run took that ended", found.took_s)
        yield self._some(
            "account_left_alone_seconds",
            "How much longer the account is left alone, as its provider asked",
            {name: -self._age(at) for name, at in found.left_alone_until.items()},
        )
        yield _one("inbox_oldest_seconds", "Age of the oldest delivery nobody has read", self._age(found.inbox_since))
        yield _one(
            "oldest_unpushed_unsubscribe_seconds",
            "Age of the oldest unsubscribe that no provider has accepted yet",
            self._age(found.unsubscribe_since),
        )

    # What people said ------------------------------------------------------------------------------------------------

    def _people(self) -> Iterator[Metric]:
        unsubscribes = self._status.get("unsubscribes") or {}
        for name, about in (
            ("open", "Unsubscribes that were not accepted yet"),
            ("overdue", "Unsubscribes that were not accepted in time"),
            ("refused", "Unsubscribes that a provider does not take"),
        ):
            yield _one(f"unsubscribes_{name}", about, _number(unsubscribes.get(name)))
        arrived = self._found.arrived_s
        yield _gauge(
            "propagation_seconds",
            "How long it took until an account had accepted an unsubscribe, of those of late",
            [
                ((*self._of(name), f"{share:g}"), _quantile(seconds, share))
                for name, seconds in sorted(arrived.items())
                for share in QUANTILES
            ],
            (*WHO, "quantile"),
        )
        yield self._some(
            "propagation_count",
            "How many unsubscribes that is said of",
            {name: len(seconds) for name, seconds in arrived.items()},
        )
        grades = [((str(name),), _number(count)) for name, count in (self._status.get("grades") or {}).items()]
        yield _gauge("records", "How well records are known", grades, ("grade",))

    # The process -----------------------------------------------------------------------------------------------------

    def _process(self) -> Iterator[Metric]:
        asked = CounterMetricFamily(
            "syncd_provider_requests", "Requests to the provider, by the status of the answer", labels=(*WHO, "code")
        )
        for (name, code), number in sorted(self._counted.requests.items()):
            asked.add_metric((*self._of(name), code), number)
        yield asked
        rows = CounterMetricFamily("syncd_rows", "Records and changes, by what became of them", labels=(*WHO, "op"))
        for (name, word), number in sorted(self._counted.rows.items()):
            rows.add_metric((*self._of(name), word), number)
        yield rows
        late = [((channel,), number) for channel, number in sorted(self._found.notices.items())]
        yield _gauge("notices_waiting", "Notices that have yet to reach somebody", late, ("channel",))

    # -----------------------------------------------------------------------------------------------------------------

    def _who(self, entry: Mapping[str, Any]) -> tuple[str, str]:
        return self._of(str(entry["name"]))

    def _of(self, name: str) -> tuple[str, str]:
        return name, self._providers.get(name, "")

    def _each(self, name: str, about: str, value: Callable[[Mapping[str, Any]], Any]) -> Metric:
        return _gauge(name, about, [(self._who(one), _number(value(one))) for one in self._accounts], WHO)

    def _some(self, name: str, about: str, values: Mapping[str, float]) -> Metric:
        return _gauge(name, about, [(self._of(account), value) for account, value in sorted(values.items())], WHO)

    def _age(self, at: datetime | None) -> float:
        return (self._now - at).total_seconds() if at else 0.0


WHO = ("account", "provider")


def _one(name: str, about: str, value: float) -> Metric:
    return _gauge(name, about, [((), value)], ())


def _gauge(name: str, about: str, values: Values, labels: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(f"syncd_{name}", about, labels=labels)
    for what, value in values:
        family.add_metric(what, value)
    return family


def _number(value: Any) -> int:
    return int(value or 0)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that so great a share of them does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
