"""An adapter in the whole system: it and the reference as the two accounts of one mirror, with one list in common."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from syncd.app import App, Outside
from syncd.config import load
from syncd.store.session import reading
from syncd.sync.cycle import run_round
from syncd.sync.ingest import accept, unsubscribe
from tests.conformance.bench import Bench
from tests.conformance.benches import Postbox
from tests.emulated import transport_for
from tests.virtual import Clock, VirtualLoop, run
from tests.world import hasty

HEAD = """
[mirror]
url = "{url}"

[schedule]
settle = "30s"

[guard]
first_sync = "go"

[lists.newsletter]
one = "{one}"
two = "news"
"""


class Pair:
    """`one` is the provider that is looked at, `two` the reference."""

    def __init__(self, bench: type[Bench], url: str, folder: Path) -> None:
        self.loop = VirtualLoop()
        clock = Clock(self.loop)
        self.one, self.two = bench(), Postbox()
        for side in (self.one, self.two):
            side.emulator.now = clock
            if "CanNotify" in side.able:
                side.listens()
                side.emulator.outgoing.clear()
        there = "http://127.0.0.1:8710"
        sections = [section("one", self.one, {}), section("two", self.two, {"base_url": there})]
        path = folder / "syncd.toml"
        path.write_text(HEAD.format(url=url, one=self.one.place) + "\n".join(sections))
        ids = itertools.count(1)
        transport = transport_for({self.one.at: self.one.emulator, there: self.two.emulator})
        outside = Outside(
            now=clock, jitter=lambda: 0.5, new_id=lambda: f"id-{next(ids):08d}", transport=transport, read_backoff_s=0.1
        )
        self.app = App(load(path, {"SYNCD_MIRROR__URL": url}), outside, engine=hasty(url))
        assert self.app.take()

    def settle(self, rounds: int) -> None:
        """Rounds with enough time between them to read back; what the providers tell is delivered before each."""
        for _ in range(rounds):
            self.loop.pass_time(60)
            self._round()

    def _round(self) -> None:
        for name, side in (("one", self.one), ("two", self.two)):
            for delivery in side.deliveries():
                accept(self.app.context.lanes[name], self.app.context, delivery)
        done = run(self.loop, run_round(self.app.context, []))
        assert {account.result for account in done.accounts.values()} == {"success"}, done

    def says_no(self, email: str) -> None:
        """Somebody tells us that they want nothing any more."""
        unsubscribe(self.app.context, email, source="one-click", evidence="a link")

    def held(self, email: str) -> dict[str, str]:
        """Status by account, as the mirror has it for the list."""
        query = "SELECT account, status FROM v_memberships WHERE email = :email AND remote_list IN (:one, 'news')"
        return {row["account"]: row["status"] for row in self.rows(query, email=email, one=self.one.place)}

    def rows(self, query: str, **values: Any) -> list[Mapping[str, Any]]:
        with reading(self.app.engine) as connection:
            return [dict(row._mapping) for row in connection.execute(sa.text(query), values)]

    @property
    def writes(self) -> int:
        return int(self.one.emulator.writes + self.two.emulator.writes)

    def close(self) -> None:
        run(self.loop, self.app.aclose())
        self.loop.close()


def section(name: str, bench: Bench, keys: Mapping[str, Any]) -> str:
    """An account's table as a configuration file has it."""
    lines = [f"[accounts.{name}]", f'provider = "{bench.provider}"']
    lines += [f"{key} = {_toml(value)}" for key, value in {**bench.keys, **keys}.items()]
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)
