"""The six steps of the demo. What is shown is read from the mirror and, as proof, from the providers' own state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from syncd.app import App
from syncd.demo.screen import Screen
from syncd.demo.stage import ACCOUNTS, IDS, Stage
from syncd.demo.witness import LISTING, NO, Witness, keepers
from syncd.domain.errors import ApprovalError, SyncdError
from syncd.domain.identity import Identity, identity_of, suppression_key
from syncd.emulators.emulator import Fault, FaultKind
from syncd.emulators.people import (
    LISTS,
    MAIL_LISTS,
    NEWSLETTER,
    PRODUCT,
    ROCS_LISTS,
    ROKT_CAMPAIGN,
    SALES_LISTS,
    send_leads,
)
from syncd.store import inspect, journal, plans, tally
from syncd.store.session import reading, writing
from syncd.sync.approve import approve
from syncd.sync.standing import standing

NAMES: Mapping[str, str] = {
    "rocs": "ROCS",
    "salesrocks": "Sales.Rocks",
    "rocketresponder": "RocketResponder",
    "rokt": "Rokt",
}
POLL_S = 0.4
"""How often the mirror is asked how everything stands. The providers' own state is looked at more often."""


class NotSeenError(SyncdError):
    """Something that was waited for did not come to be in time."""


class Play:
    """One performance. `broken_off` says why it cannot go on, or nothing."""

    def __init__(self, app: App, stage: Stage, screen: Screen, broken_off: Callable[[], str | None]) -> None:
        self.app = app
        self.stage = stage
        self.screen = screen
        self.there = Witness(stage)
        self._broken_off = broken_off
        settings = app.settings
        self._intervals = {name: settings.schedule_of(name).interval for name in settings.accounts}

    async def perform(self) -> None:
        """All steps. Raises `NotSeenError` when one of them does not come to its end."""
        await self.pull_everybody()
        await self.agree_for_the_first_time()
        await self.say_no_at_each()
        await self.receive_a_lead()
        await self.show_campaigns()
        await self.write_nothing()

    # 1 ---------------------------------------------------------------------------------------------------------------

    async def pull_everybody(self) -> None:
        self.screen.step("Contacts pulled from every provider")
        planted = self._plant_faults()
        leads = send_leads(self.stage.town, self.stage.rokt)
        with self._bars():
            took = await self.until("everybody is read", self._all_read, within_s=70, poll_s=POLL_S)
        rows = [self._pulled(provider, entry) for entry in LISTS for provider in keepers(entry)]
        known = self._counted(NEWSLETTER, "rokt").get("subscribed", 0)
        rows.append([NEWSLETTER, NAMES["rokt"], len(self.stage.rokt.leads), None, known, None])
        columns = (
            "list",
            "provider",
            "there, by its own count",
            "known elsewhere",
            "in the mirror",
            "of these said no",
        )
        self.screen.table(f"Who is where, after {took:.1f} s", columns, rows)
        for _, name, there, elsewhere, mirrored, _ in rows:
            expected = there if elsewhere is None else elsewhere
            if mirrored != expected:
                self.screen.found(f"{name}: {expected} expected in the mirror, {mirrored} found", holds=False)
        self.screen.found(
            f"the mirror holds everybody; {leads} leads came from Rokt, in four encodings", holds=known == leads
        )
        self.screen.line(
            "RocketResponder cannot list anybody: people known from elsewhere were asked for by address; "
            "the others become known by its notices."
        )
        self._show_faults(planted)

    def _pulled(self, provider: str, entry: str) -> list[int | str | None]:
        words = self.there.words(provider, entry)
        counted = self._counted(entry, provider)
        elsewhere = len(words.keys() & self.there.nameable()) if provider == "rocketresponder" else None
        return [entry, NAMES[provider], len(words), elsewhere, sum(counted.values()), counted.get("unsubscribed", 0)]

    def _all_read(self) -> bool:
        """Everything was read and whatever may go without a person has gone."""
        _, shown = standing(self.app.context, self._intervals)
        read = all(account["last_good_read"] for account in shown["accounts"])
        outbox = sum(account["outbox"] for account in shown["accounts"])
        busy = outbox + sum(shown[name] for name in ("due", "look_ups", "deliveries", "reachable"))
        return read and not busy and not self.stage.rokt.outgoing

    # Faults that happen while everybody is read

    def _plant_faults(self) -> list[tuple[str, Fault, str]]:
        crm, sales, mail, rokt = self.stage.rocs, self.stage.sales, self.stage.mail, self.stage.rokt
        planted = [
            (crm, Fault(FaultKind.THROTTLED, "/lists/L-1/members", retry_after="0.2"), "waits as long as asked"),
            (crm, Fault(FaultKind.UNAVAILABLE, "/customers", times=2), "tries again, longer and longer apart"),
            (sales, Fault(FaultKind.HTML, "/getListData"), "infers nothing from it, reads again"),
            (sales, Fault(FaultKind.TRUNCATED, "/getLists"), "infers nothing from it, reads again"),
            (mail, Fault(FaultKind.THROTTLED, "/subscriber/lookup", times=2), "tries again, longer and longer apart"),
            (mail, Fault(FaultKind.TRUNCATED, "/list/all"), "infers nothing from it, reads again"),
            (rokt, Fault(FaultKind.NO_CONNECTION, "/campaigns/"), "tries again"),
        ]
        for emulator, fault, _ in planted:
            emulator.faults.append(fault)
        return [(emulator.name, fault, meaning) for emulator, fault, meaning in planted]

    def _show_faults(self, planted: list[tuple[str, Fault, str]]) -> None:
        rows = [(NAMES[name], fault.kind.value, fault.path, meaning) for name, fault, meaning in planted]
        self.screen.table("Faults on the way", ("provider", "answered with", "call", "what syncd does"), rows)
        left = sum(len(emulator.faults) for emulator in self.stage.emulators.values())
        with reading(self.app.engine) as connection:
            runs = inspect.rows_of(connection, "runs", limit=1000)
        failed = sum(run["result"] == "failed" for run in runs)
        self.screen.found(
            f"all of them struck; {failed} rounds ended early and the next ones made up for it", holds=not left
        )

    # 2 ---------------------------------------------------------------------------------------------------------------

    async def agree_for_the_first_time(self) -> None:
        self.screen.step("First contact: unsubscribes have gone out, additions wait for a person, then all agree")
        self.screen.found(
            "nobody who had said no anywhere can be mailed through the same list elsewhere",
            holds=not self.there.leaks(),
        )
        with reading(self.app.engine) as connection:
            waiting = plans.load_plans(connection)
        rows = [[row.id, row.account, self._list_name(row.container), row.kind, row.hold, row.count] for row in waiting]
        self.screen.table(
            "Plans that wait: `syncd plan`", ("plan", "account", "list", "kind", "why it waits", "people"), rows
        )
        self.screen.found("nobody was added anywhere without approval", holds=bool(rows) and not self.there.added())
        with self._bars():
            approved = await self._approve_until_converged(within_s=75)
        self.screen.line(f"{approved} plans approved: what `syncd approve PLAN` does")
        agreed_at = self.app.context.now()
        await self.until("every account is read once more", self._read_since(agreed_at), within_s=40, poll_s=POLL_S)
        rows = [[entry, NAMES[name], *self.there.split(name, entry)] for entry in LISTS for name in keepers(entry)]
        columns = ("list", "provider", "on the list", "unsubscribed")
        self.screen.table("The providers' own lists, afterwards", columns, rows)
        for entry in LISTS:
            crm, sales, *mail = (self.there.mailable(name, entry) for name in keepers(entry))
            more = ", all of them at RocketResponder" if mail else ""
            same = crm == sales and all(crm <= other for other in mail)
            self.screen.found(f"{entry}: the same {len(crm)} people at ROCS and Sales.Rocks{more}", holds=same)
            for other in mail:
                self.screen.line(
                    f"  RocketResponder has {len(other - crm)} more, whom nobody else knows and it cannot list"
                )
        self.screen.found("nobody who said no at one of them is subscribed at another", holds=not self.there.leaks())
        told = self.there.said_no(NEWSLETTER) <= set(self.stage.rokt.unsubscribed)
        self.screen.found(
            f"Rokt was told of everybody who said no ({len(self.stage.rokt.receipts)} receipts)", holds=told
        )

    def _read_since(self, at: datetime) -> Callable[[], bool]:
        def read() -> bool:
            with reading(self.app.engine) as connection:
                begun = [run for run in inspect.rows_of(connection, "runs", limit=100) if run["ended_at"] is not None]
            since = inspect.shown_time(at) or ""
            return {run["account"] for run in begun if run["started_at"] > since} == set(self._intervals)

        return read

    async def _approve_until_converged(self, within_s: float) -> int:
        approved: set[str] = set()

        def settled() -> bool:
            with reading(self.app.engine) as connection:
                waiting = [row.id for row in plans.load_plans(connection)]
            for plan_id in waiting:
                try:
                    approve(self.app.context, plan_id)
                except ApprovalError:
                    continue  # something in it moved meanwhile: it is looked at again under its new id
                approved.add(plan_id)
            return not waiting and self.converged()

        await self.until("all providers agree", settled, within_s=within_s, poll_s=POLL_S)
        return len(approved)

    # 3 ---------------------------------------------------------------------------------------------------------------

    async def say_no_at_each(self) -> None:
        self.screen.step("Four people unsubscribe, one at each provider")
        people = dict(zip(NAMES, self.there.on_all_lists()[:4], strict=True))
        self.stage.mail.faults.append(Fault(FaultKind.ANSWER_LOST, "/subscriber/unsubscribe"))
        self.screen.line(
            "ROCS: a member leaves the list. Sales.Rocks, which has no unsubscribe: a user there marks the contact, "
            "status = unsubscribed. RocketResponder: the link in a mail. Rokt: the same, exported to our receiver."
        )
        ways = await asyncio.gather(*(self._follow(name, email) for name, email in people.items()))
        arrived = dict(zip(people, ways, strict=True))
        rows = [[NAMES[name], people[name], *(arrived[name].get(to, "said here") for to in NAMES)] for name in people]
        self.screen.table(
            "Seconds until it had arrived, by the providers' own state", ("said at", "by", *NAMES.values()), rows
        )
        await self.until("all providers agree again", self.converged, within_s=40, poll_s=POLL_S)
        self._show_four(people)
        left = [self.stage.mail.subscriber(MAIL_LISTS[NEWSLETTER], email) for email in people.values()]
        once = all(one is not None and one.unsubscribed == 1 for one in left) and not self.stage.mail.faults
        self.screen.found(
            "RocketResponder did one of these and its answer was lost: syncd asked again, which changes nothing",
            holds=once,
        )
        kept = [people[name] for name in LISTING if people[name] not in self.there.said_no(PRODUCT)]
        self.screen.found(
            "the first three left the newsletter and are still on the list product; the no said to Rokt ended both",
            holds=len(kept) == len(LISTING) and people["rokt"] in self.there.said_no(PRODUCT),
        )

    async def _follow(self, said_at: str, email: str) -> dict[str, float]:
        """Let somebody say no at one provider; the seconds until each other shows it."""
        match said_at:
            case "rocs":
                self.stage.rocs.unsubscribe_member(ROCS_LISTS[NEWSLETTER], email)
            case "salesrocks":
                self.stage.sales.set_field(SALES_LISTS[NEWSLETTER], email, "status", "unsubscribed")
            case "rocketresponder":
                self.stage.mail.person_unsubscribes(MAIL_LISTS[NEWSLETTER], email)
            case _:
                self.stage.rokt.person_unsubscribes(email)
        others = [name for name in NAMES if name != said_at]
        waits = [
            self.until(
                f"the no said at {NAMES[said_at]} arrives at {NAMES[name]}", self._shows_no(name, email), within_s=30
            )
            for name in others
        ]
        return dict(zip(others, await asyncio.gather(*waits), strict=True))

    def _shows_no(self, provider: str, email: str) -> Callable[[], bool]:
        return lambda: self.there.words(provider, NEWSLETTER).get(email) in NO

    def _show_four(self, people: Mapping[str, str]) -> None:
        rows = []
        for name, email in people.items():
            with reading(self.app.engine) as connection:
                identity = _identity(email)
                consent = inspect.consent_of(connection, suppression_key(identity))
                way = tally.way_of(connection, identity)
            said = ", ".join(
                f"{entry['level']} for {entry['scope']}, from {entry['source']} by {entry['route']}"
                for entry in consent
            )
            sent = ", ".join(sorted({f"{row['account']} {row['state']}" for row in way}))
            rows.append([email, said, sent])
            words = {to: self.there.words(to, NEWSLETTER).get(email) for to in NAMES}
            everywhere = all(word in NO for word in words.values())
            self.screen.found(
                f"{email}: said no at {NAMES[name]}, and reads so at all four", holds=everywhere and bool(consent)
            )
        self.screen.table("The mirror on them: `syncd explain EMAIL`", ("person", "consent", "sent to"), rows)

    # 4 ---------------------------------------------------------------------------------------------------------------

    async def receive_a_lead(self) -> None:
        self.screen.step("A lead from Rokt joins the list that is linked to it")
        person = self.stage.town.late[0]
        before = {name: self.there.words(name, NEWSLETTER).get(person.email) for name in LISTING}
        self.stage.sales.faults.append(Fault(FaultKind.ANSWER_LOST, "/addToList"))
        self.stage.rokt.send_lead(person.email, person.first, person.last, campaign=ROKT_CAMPAIGN, encoding="form")
        waits = [
            self.until(f"the lead arrives at {NAMES[name]}", self._is_on_list(name, person.email), within_s=30)
            for name in LISTING
        ]
        took = dict(zip(LISTING, await asyncio.gather(*waits), strict=True))
        await self.until("all providers agree again", self.converged, within_s=40, poll_s=POLL_S)
        after = {name: self.there.words(name, NEWSLETTER).get(person.email) for name in LISTING}
        rows = [[NAMES[name], before[name], after[name], took[name]] for name in LISTING]
        self.screen.table(f"{person.email} on the newsletter", ("provider", "before", "after", "seconds"), rows)
        self.screen.found(
            "nobody knew the person before, all lists linked to Rokt hold them now", holds=not any(before.values())
        )
        rows_there = self.stage.sales.contacts_of(SALES_LISTS[NEWSLETTER])
        once = [row["email"] for row in rows_there].count(person.email) == 1 and not self.stage.sales.faults
        self.screen.found(
            "Sales.Rocks added them and its answer was lost: to ask again would add them twice, so syncd looked first",
            holds=once,
        )
        here = [name for name in LISTING if person.email in self.there.words(name, PRODUCT)]
        self.screen.found("the list product, which Rokt is not linked to, does not", holds=not here)
        self.screen.line(
            "Unconfirmed: RocketResponder asks the person to confirm, and until then that is no consent to spread."
        )

    def _is_on_list(self, provider: str, email: str) -> Callable[[], bool]:
        return lambda: email in self.there.words(provider, NEWSLETTER)

    # 5 ---------------------------------------------------------------------------------------------------------------

    async def show_campaigns(self) -> None:
        self.screen.step("Campaign statistics of every provider that has them")
        self.stage.rocs.count("C-11", opened=148, clicked=52)  # more people open the mail just now
        await self.until(
            "the mirror has every campaign's latest numbers",
            lambda: self._figures() == self.there.figures(),
            within_s=30,
            poll_s=0.2,
        )
        with reading(self.app.engine) as connection:
            found = inspect.rows_of(connection, "campaigns", limit=100)
            extras = tally.campaign_extras(connection)
            contacts = tally.counted_contacts(connection, ACCOUNTS["rocketresponder"])
        names = ("sent", "opened", "clicked", "bounced", "unsubscribed")
        rows = []
        for row in found:
            extra = extras.get((row["account"], row["campaign_id"]), {})
            besides = ", ".join(f"{name} {value:g}" for name, value in sorted(extra.items()))
            rows.append([NAMES[row["provider"]], row["name"], *(row[name] for name in names), besides or None])
        self.screen.table("In the mirror: `syncd inspect campaigns`", ("provider", "campaign", *names, "besides"), rows)
        self.screen.found(
            "the numbers are those of ROCS, Sales.Rocks and Rokt themselves, a change of just now included", holds=True
        )
        self.screen.line(
            "RocketResponder has no campaign statistics, only counters of each subscriber, "
            f"which are kept for {contacts} of them as telemetry."
        )

    def _figures(self) -> dict[str, float]:
        with reading(self.app.engine) as connection:
            rows = inspect.rows_of(connection, "campaigns", limit=100)
            extras = tally.campaign_extras(connection)
        rokt = extras.get((ACCOUNTS["rokt"], ROKT_CAMPAIGN), {})
        opened = {f"{row['provider']} {row['name']}": row["opened"] or 0 for row in rows if row["provider"] != "rokt"}
        return opened | {f"rokt {name}": rokt.get(name, 0) for name in ("impressions", "referrals")}

    # 6 ---------------------------------------------------------------------------------------------------------------

    async def write_nothing(self) -> None:
        self.screen.step("Once more everything is read, and nothing is left to write")
        await self.until("all providers agree", self.converged, within_s=30, poll_s=POLL_S)
        before, calls = self.stage.writes(), {name: len(e.calls) for name, e in self.stage.emulators.items()}
        wake_id, context = self.app.outside.new_id(), self.app.context
        with writing(self.app.engine) as connection:
            journal.ask_for_round(connection, wake_id, (), full=True, at=context.now())
        await self.until("the round that was asked for ends", lambda: self._outcome(wake_id) is not None, within_s=40)
        await self.until("all providers agree", self.converged, within_s=30, poll_s=POLL_S)
        after = self.stage.writes()
        rows = [[NAMES[n], len(e.calls) - calls[n], after[n] - before[n]] for n, e in self.stage.emulators.items()]
        self.screen.table(
            "What the providers saw meanwhile: `syncd sync --full`", ("provider", "calls", "writes"), rows
        )
        self.screen.found("the round wrote nothing", holds=before == after)
        verdict, shown = standing(context, self._intervals)
        columns = ("name", "provider", "state", "last_good_read", "outbox", "parked", "held")
        table = [[account[column] for column in columns] for account in shown["accounts"]]
        self.screen.table("syncd status", columns, table)
        grades = ", ".join(f"{number} {grade}" for grade, number in shown["grades"].items())
        self.screen.line(f"records: {grades}")
        self.screen.line("accepted: Rokt takes an unsubscribe and gives a receipt, and cannot be asked afterwards")
        self.screen.found(f"{verdict.condition.value}, distance {verdict.distance}", holds=verdict.converged)

    def _outcome(self, wake_id: str) -> Mapping[str, object] | None:
        with reading(self.app.engine) as connection:
            return journal.round_outcome(connection, wake_id)

    # Small things ----------------------------------------------------------------------------------------------------

    def converged(self) -> bool:
        return standing(self.app.context, self._intervals)[0].converged

    @contextmanager
    def _bars(self) -> Iterator[None]:
        context = self.app.context
        before = context.progress
        try:
            with self.screen.bars() as context.progress:
                yield
        finally:
            context.progress = before

    def _how_it_stands(self) -> str:
        verdict, shown = standing(self.app.context, self._intervals)
        names = ("due", "look_ups", "deliveries", "held", "claims", "reachable")
        left = [f"{shown[name]} {name}" for name in names if shown[name]]
        left += [f"{account['outbox']} to {account['name']}" for account in shown["accounts"] if account["outbox"]]
        return ", ".join([verdict.condition.value, *left])

    def _counted(self, entry: str, provider: str) -> Mapping[str, int]:
        with reading(self.app.engine) as connection:
            return tally.standings(connection).get((entry, ACCOUNTS[provider]), {})

    def _list_name(self, container: str) -> str:
        names = {remote: entry for lists in IDS.values() for entry, remote in lists.items() if remote != "*"}
        return names.get(container, container)

    async def until(self, what: str, condition: Callable[[], bool], *, within_s: float, poll_s: float = 0.05) -> float:
        """Wait for something; returns the seconds it took. Raises `NotSeenError` when it does not come in time."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while not condition():
            if (reason := self._broken_off()) is not None:
                raise NotSeenError(f"{reason}, before {what}")
            if clock() - began > within_s:
                raise NotSeenError(f"not seen within {within_s:g} s: {what} ({self._how_it_stands()})")
            await asyncio.sleep(poll_s)
        return round(clock() - began, 2)


def _identity(email: str) -> Identity:
    identity = identity_of(email)
    assert identity is not None
    return identity
