"""Nobody who said no is subscribed, added or moved by us: the whole system, four emulators, faults, kills, a virtual
clock.

What is simulated is the program itself: real rounds, real carriers, the real store. People act at random at all four
providers, a foreign program
re-imports people who left, answers are lost, pages are stale, clocks are skewed, the process is killed at any request
and started again on
what was committed. The providers' own call logs are the witness.
"""

from __future__ import annotations

import json
import random
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.domain.identity import identity_of
from syncd.emulators.emulator import Call, FaultKind
from syncd.sync.cycle import UNEXPECTED
from tests.world import World, quiet

ROUNDS = 250
SEEDS = 40
"""ROUNDS x SEEDS rounds on SQLite: at least ten thousand. A round is what the daemon runs when one account wakes."""

PEOPLE = [f"p{n}@example.org" for n in range(7)]
ACCOUNTS = ["crm", "sales", "mail", "leads"]
FAULTS = (
    FaultKind.THROTTLED,
    FaultKind.UNAVAILABLE,
    FaultKind.HTML,
    FaultKind.TRUNCATED,
    FaultKind.EMPTY,
    FaultKind.NO_CONNECTION,
    FaultKind.ANSWER_LOST,
)


@pytest.mark.simulation
@pytest.mark.parametrize("part", range(SEEDS))
def test_nobody_who_said_no_is_added_by_us_sqlite(
    part: int, seed_base: int, tmp_path: Path, sqlite_template: Path
) -> None:
    mirror = tmp_path / "mirror.db"
    mirror.write_bytes(sqlite_template.read_bytes())
    Simulation(f"sqlite:///{mirror}", seed_base + part, tmp_path, kills=True).run(ROUNDS)


@pytest.mark.simulation
@pytest.mark.parametrize("part", range(4))
def test_nobody_who_said_no_is_added_by_us_postgres(
    part: int, seed_base: int, tmp_path: Path, postgres: Any, postgres_template: str
) -> None:
    url = postgres.create(template=postgres_template)
    try:
        Simulation(url, seed_base + 1000 + part, tmp_path, kills=False).run(60)
    finally:
        postgres.drop(url)


class Simulation:
    """One seeded history. `said_no` holds the last word of each person who said no and never took it back at the
    provider they said it to.
    """

    def __init__(self, url: str, seed: int, folder: Path, *, kills: bool) -> None:
        quiet()
        random.seed(seed)  # stamina draws its jitter from here
        self.seed = seed
        self.rng = random.Random(seed)
        self.kills = kills
        self.world = World(
            url,
            seed=seed,
            folder=folder,
            max_count=1000,
            on_unsubscribe=self.rng.choice(["remove", "field"]),
            on_absence=self.rng.choice(["ignore", "unsubscribe"]),
        )
        self.oids: dict[str, str] = {}
        self.said_no: set[str] = set()
        self.read_mark: dict[str, int] = {}
        for emulator in self.world.emulators.values():
            emulator.fault_kinds = FAULTS
        self._populate()

    def run(self, rounds: int) -> None:
        try:
            for _ in range(rounds):
                for _ in range(self.rng.randrange(3)):
                    self._act()
                self._disturb()
                self._round()
                self.world.wait(self.rng.choice([0, 1, 20, 45, 300]))
            self._calm_down()
        except AssertionError as error:
            raise AssertionError(f"seed {self.seed}: {error}") from error
        finally:
            self.world.close()

    # What people do -------------------------------------------------------------------------------------------------

    def _populate(self) -> None:
        world = self.world
        for email in PEOPLE[:5]:
            customer = world.rocs.add_customer(email, "First", email[:2].upper())
            if self.rng.random() < 0.8:
                world.rocs.add_member("L-1", customer)
            self.oids[email] = customer

    def _act(self) -> None:
        email = self.rng.choice(PEOPLE)
        leaving = [self._leave_crm, self._withdraw, self._leave_mail, self._leave_rokt, self._leave_sales]
        act = self.rng.choice([self._join, self._join, self._edit, *leaving, self._reimport, self._ask_us])
        act(email)

    def _join(self, email: str) -> None:
        """Somebody new joins at one place. Who said no does not: that would be a word of theirs."""
        if email in self.said_no or self._known_anywhere(email):
            return
        match self.rng.randrange(4):
            case 0:
                self.world.sales.add_contact(self.world.sales_list, email, "New Comer")
            case 1:
                self.world.mail.add_subscriber("154", email, "New Comer")
            case 2:
                self.world.rokt.send_lead(email, "New", "Comer")
            case _:
                customer = self.oids.get(email) or self.world.rocs.add_customer(email, "New", "Comer")
                self.oids[email] = customer
                self.world.rocs.add_member("L-1", customer)

    def _known_anywhere(self, email: str) -> bool:
        world = self.world
        on_list = email in {str(row.get("email", "")).lower() for row in world.sales.contacts_of(world.sales_list)}
        member = any(m.customer_id == self.oids.get(email) for m in world.rocs.lists["L-1"].members.values())
        return on_list or member or world.mail.subscriber("154", email) is not None

    def _edit(self, email: str) -> None:
        if email in self.oids and self.oids[email] in self.world.rocs.customers:
            self.world.rocs.edit_customer(self.oids[email], first_name=self.rng.choice(["Ann", "Bea", "Cid"]))

    def _leave_crm(self, email: str) -> None:
        members = self.world.rocs.lists["L-1"].members.values()
        if any(member.customer_id == self.oids.get(email) for member in members):
            self.world.rocs.unsubscribe_member("L-1", email)
            self._no(email)

    def _withdraw(self, email: str) -> None:
        if self.oids.get(email) in self.world.rocs.customers:
            self.world.rocs.withdraw_consent(email)
            self._no(email)

    def _leave_mail(self, email: str) -> None:
        subscriber = self.world.mail.subscriber("154", email)
        contacts = {str(row.get("email", "")).lower() for row in self.world.sales.contacts_of(self.world.sales_list)}
        # RocketResponder cannot list its subscribers: of one whom no other provider names, nobody can ever learn.
        named_elsewhere = email in self.oids or email in contacts or email in self.world.rokt.leads
        if subscriber is not None and named_elsewhere and self.rng.random() < 0.5:
            self.world.mail.person_unsubscribes("154", email)
            self._no(email)

    def _leave_rokt(self, email: str) -> None:
        if self.rng.random() < 0.3:
            self.world.rokt.person_unsubscribes(email)
            self._no(email)

    def _leave_sales(self, email: str) -> None:
        if self.world.sales.set_field(self.world.sales_list, email, "status", "unsubscribed"):
            self._no(email)

    def _reimport(self, email: str) -> None:
        """A foreign program subscribes people again who left."""
        if email not in self.said_no:
            return
        match self.rng.randrange(3):
            case 0:
                self.world.sales.add_contact(self.world.sales_list, email, "Re Import")
            case 1 if self.oids.get(email) in self.world.rocs.customers:
                self.world.rocs.add_member("L-1", self.oids[email])
            case _:
                self.world.rokt.send_lead(email, "Re", "Import")

    def _ask_us(self, email: str) -> None:
        from syncd.sync.ingest import unsubscribe

        if self.rng.random() < 0.3:
            unsubscribe(self.world.app.context, email, source="operator", evidence="by phone")
            self._no(email)
            self.read_mark[email] = 0

    def _no(self, email: str) -> None:
        self.said_no.add(email)

    # What goes wrong ------------------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        for emulator in self.world.emulators.values():
            emulator.fault_rate = self.rng.choice([0.0, 0.0, 0.05, 0.3])
        self.world.rocs.stale_for_s = self.rng.choice([0.0, 0.0, 10.0])
        self.world.sales.stale_for_s = self.rng.choice([0.0, 0.0, 10.0])
        self.world.mail.stale_for_s = self.rng.choice([0.0, 0.0, 10.0])

    def _round(self) -> None:
        known_before = self._known_to_us()
        marks = {name: len(emulator.calls) for name, emulator in self.world.emulators.items()}
        accounts = self.rng.choice([[name] for name in ACCOUNTS] * 3 + [ACCOUNTS])
        if self.kills and self.rng.random() < 0.05:
            self.world.killed_round(accounts, request=self.rng.randint(1, 12), after_effect=self.rng.random() < 0.5)
        else:
            done = self.world.round(accounts)
            faults = [outcome.reason for outcome in done.failed if outcome.reason.startswith(UNEXPECTED)]
            assert not faults, faults
        self._nobody_was_added(marks, known_before)

    # What must hold -------------------------------------------------------------------------------------------------

    def _known_to_us(self) -> set[str]:
        return {row["email"] for row in self.world.rows("SELECT email FROM v_consent WHERE level = 'unsubscribed'")}

    def _nobody_was_added(self, marks: dict[str, int], suppressed: set[str]) -> None:
        """Anytime: no call of this round added or subscribed anybody whose "no" we knew when it began."""
        for name, emulator in self.world.emulators.items():
            for call in emulator.calls[marks[name] :]:
                for email in added_by(call, self.oids):
                    assert identity_of(email) not in suppressed, f"{email} was added by {call.method} {call.path}"

    def _calm_down(self) -> None:
        """Finally: once nothing goes wrong any more, a few rounds bring everybody to agree, and another one writes
        nothing.
        """
        for emulator in self.world.emulators.values():
            emulator.fault_rate = 0.0
            emulator.faults.clear()
        for replica in (self.world.rocs, self.world.sales, self.world.mail):
            replica.stale_for_s = 0.0
        self.world.wait(2 * 86_400)  # look-ups and whole listings are due, every pause is over
        for _ in range(4):
            self.world.round(full=True)
            self.world.wait(120)
        self._everybody_agrees()
        before = self.world.writes
        last = self.world.round()
        assert self.world.writes == before, f"a round with nothing changed wrote {self.world.writes} after {before}"
        assert not last.failed, [(outcome.name, outcome.reason) for outcome in last.failed]
        assert not self.world.rows("SELECT * FROM v_outbox"), self.world.rows("SELECT * FROM v_outbox")

    def _everybody_agrees(self) -> None:
        world = self.world
        for email in sorted(self.said_no):
            for member in world.rocs.lists["L-1"].members.values():
                if member.customer_id == self.oids.get(email):
                    assert member.status == "unsubscribed", f"{email} is {member.status} at rocs"
            for row in world.sales.contacts_of(world.sales_list):
                if str(row.get("email", "")).lower() == email:
                    assert row.get("status") == "unsubscribed", f"{email} is still on the list at salesrocks"
            subscriber = world.mail.subscriber("154", email)
            assert subscriber is None or subscriber.status == "Unsubscribed", (
                f"{email} is {subscriber} at rocketresponder"
            )
            assert email in world.rokt.unsubscribed, f"rokt was not told of {email}"
        rows = [str(row.get("email", "")).lower() for row in world.sales.contacts_of(world.sales_list)]
        ours = {email for email in PEOPLE if email not in self.said_no}
        assert all(rows.count(email) <= 1 for email in ours), f"doubled at salesrocks: {rows}"


def added_by(call: Call, oids: dict[str, str]) -> Iterator[str]:
    """Addresses that a successful call of ours added, subscribed or opted in at a provider."""
    if not call.write or call.status >= 300:
        return
    if call.path.endswith("/editable-lists/addToList"):
        yield from (row["email"] for row in json.loads(call.body)["data"])
    elif call.path.endswith("/editable-lists/updateListData"):
        # Which row it was is not in the call; what matters is that no mark of a "no" is ever taken away.
        assert all(str(row.get("status", "unsubscribed")) == "unsubscribed" for row in json.loads(call.body)["data"])
    elif call.path.endswith("/subscriber/subscribe"):
        yield dict(urllib.parse.parse_qsl(call.body.decode()))["email"]
    elif "/members/" in call.path and json.loads(call.body)["status"] == "subscribed":
        customer = call.path.rsplit("/", 1)[1]
        yield from (email for email, known in oids.items() if known == customer)
    elif call.path.endswith("/customers") and call.method == "POST":
        yield json.loads(call.body)["email"]
    elif "/customers/" in call.path and call.method == "PUT" and call.body:
        assert json.loads(call.body).get("emailConsent", False) is False, "a consent was given by us"
