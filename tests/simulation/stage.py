"""Four providers with people at them, and every happening as something done there or to us.

`noes` is the truth: who said no to what, and never took it back by their own word. It holds what anybody can know: a
word that was lost before it could reach us, or that another program wrote over before we read it, is in nobody's power.
`words` says where they said it, as one can see it there, and when last.
`back` holds the lists at RocketResponder where somebody confirmed anew since: there, and only there, they may stay.
What was said under an address that a person went by before counts for the one that they go by, see `moves`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from syncd.app import App
from syncd.config import load
from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.errors import DeliveryError, SyncdError
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import Delivery
from syncd.emulators.emulator import Emulator, Fault, FaultKind
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.sync import approve, ingest, steer
from syncd.wire import Request
from tests.scenes import EVENTS, IN, TWO_LISTS
from tests.simulation.moves import Moves
from tests.simulation.process import KilledError, Mirror, skewed
from tests.simulation.script import ACCOUNTS, ADDRESSES, PEOPLE

NEWSLETTER = "NewsletterSalesRocks"
PLACES = {
    "newsletter": {"crm": "L-1", "sales": NEWSLETTER, "mail": "154", "leads": "*"},
    "events": {"crm": "L-2", "sales": EVENTS, "mail": "155"},
}
LIST_OF = {container: name for name, places in PLACES.items() for container in places.values() if container != "*"}

LOOKS_LIKE_ONE_S = 15.0
"""Who leaves, and so soon before or after confirms another address there, cannot be told from one who changed it."""

No = tuple[str, str]
"""An address and what was said no to: a list of ours, or everything."""


class Stage:
    """The providers, and what happens there."""

    def __init__(self, seed: int, clock: Callable[[], Any], mirror: Mirror) -> None:
        rng = random.Random(f"stage/{seed}")
        self.clock, self.mirror = clock, mirror
        self.skews = {name: rng.choice((0.0, 0.0, -240.0, 240.0)) for name in ACCOUNTS}
        now = {name: skewed(clock, seconds) for name, seconds in self.skews.items()}
        self.crm = RocsEmulator(
            now["crm"], seed=seed, base_url="http://127.0.0.1:8701", resource="https://api.msp-cloud.com"
        )
        self.sales = SalesRocksEmulator(now["sales"], seed=seed, base_url="http://127.0.0.1:8702")
        self.mail = RocketResponderEmulator(now["mail"], seed=seed, base_url="http://127.0.0.1:8703/api")
        self.leads = RoktEmulator(now["leads"], seed=seed, base_url="http://127.0.0.1:8704")
        self.emulators: dict[str, Emulator] = dict(
            zip(ACCOUNTS, (self.crm, self.sales, self.mail, self.leads), strict=True)
        )
        self.hosts = {f"127.0.0.1:{8701 + n}": name for n, name in enumerate(ACCOUNTS)}
        self.mail.double_opt_in = False
        self.crm.echo = rng.random() < 0.5
        self.options: dict[str, Any] = {
            "url": "sqlite:////nowhere/mirror.db",  # the engine is given
            "first_sync": rng.choice(("go", "go", "hold")),
            "max_count": rng.choice((1000, 1000, 2)),
            "on_unsubscribe": rng.choice(("remove", "field")),
            "on_absence": rng.choice(("ignore", "unsubscribe")),
            "sales_list": NEWSLETTER,
        }
        self.moves = Moves()
        self.noes: set[No] = set()
        self.ever: set[No] = set()
        self.words: dict[tuple[str, str, str], tuple[Scope, datetime]] = {}
        self.waived: set[str] = set()
        self.doubled: set[str] = set()
        self.back: dict[No, datetime] = {}
        self.left_leads: dict[str, datetime] = {}
        self._furnish(rng)

    def settings(self, folder: Path) -> Any:
        path = folder / "syncd.toml"
        path.write_text(TWO_LISTS.format(**self.options))
        return load(path, {})

    def _furnish(self, rng: random.Random) -> None:
        for name, places in PLACES.items():
            self.crm.add_list(places["crm"], name)
            self.sales.add_list(name, places["sales"])
            self.mail.add_list(name, lid=places["mail"])
        if rng.random() < 0.7:
            self.crm.register_webhook(f"{IN}/crm/webhook", "hook-secret")
        if rng.random() < 0.7:
            for lid in self.mail.lists:
                for action in ("subscribe", "confirm", "unsubscribe", "modify"):
                    self.mail.webhook_urls[lid, action] = f"{IN}/mail/{lid}/{action}/mail-hook"
        for email in PEOPLE[:3]:
            customer = self.crm.add_customer(email, "First", email[:2].upper())
            for name, places in PLACES.items():
                match rng.randrange(4):
                    case 0 | 1:
                        self.crm.add_member(places["crm"], customer)
                    case 2:
                        self.sales.add_contact(places["sales"], email, "First Last")
                    case _ if name == "events":
                        self.mail.add_subscriber(places["mail"], email, "First Last")

    # Who is where ----------------------------------------------------------------------------------------------------

    def members(self, email: str, name: str) -> set[str]:
        """The words of all that go by this address there: it may be two by now."""
        found = self.crm.lists[PLACES[name]["crm"]].members
        return {found[one.id].status for one in self.customers(email) if one.id in found}

    def customers(self, email: str) -> list[Any]:
        return [one for one in self.crm.customers.values() if one.email.lower() == email]

    def rows(self, email: str, name: str) -> list[dict[str, Any]]:
        found = self.sales.contacts_of(PLACES[name]["sales"])
        return [row for row in found if str(row.get("email", "")).lower() == email]

    def subscriber(self, email: str, name: str) -> str | None:
        found = self.mail.subscriber(PLACES[name]["mail"], email)
        return None if found is None else found.status

    def no(self, email: str, scope: str, account: str = "", container: str = "", at: datetime | None = None) -> None:
        """Somebody says no to this, or said so at that time. Given the place, it can be seen at that record."""
        said = at or self.clock()
        repeated = (email, scope) in self.noes
        self.words[email, account, container] = Scope(scope), self.clock()
        self.ever.add((email, scope))
        self.noes.add((email, scope))
        self._ends_back(email, scope, said)
        for heir in self.moves.after(email):
            self.noes.add((heir, scope))
            # Whether what is only read, and was known before, came after a confirmation under another address elsewhere
            # can be told by nobody.
            if not (repeated and account):
                self._ends_back(heir, scope, said)

    def _ends_back(self, email: str, scope: str, said: datetime) -> None:
        for name in PLACES:
            if scope in {name, GLOBAL} and self.back.get((email, name), said) <= said:
                self.back.pop((email, name), None)

    def move(self, old: str, new: str) -> None:
        """They go by the other address from here on, and it inherits every "no"."""
        self.moves.move(old, new)
        for heir in self.moves.after(old):
            self.noes |= {(heir, scope) for email, scope in self.noes if email == old}

    def formers(self, email: str) -> list[str]:
        return [old for old in ADDRESSES if email in self.moves.after(old)]

    def said_no(self, email: str, name: str) -> bool:
        return (email, name) in self.noes or (email, GLOBAL) in self.noes

    def known_no(self, email: str, name: str) -> bool:
        """Whether the mirror knows of a "no" that reaches this list."""
        key = suppression_key(Identity(email))
        return bool(
            self.mirror.rows(
                "SELECT 1 FROM consent WHERE person_key = :key AND scope IN (:list, 'global') AND level >= 3",
                key=key,
                list=name,
            )
        )

    def known(self, email: str) -> bool:
        return bool(self.mirror.rows("SELECT 1 FROM cell WHERE identity = :email LIMIT 1", email=email))

    # What people do: each says whether anything came of it -----------------------------------------------------------

    def act(self, kind: str, args: tuple[Any, ...]) -> bool:
        self.look_at_moves()
        done = getattr(self, "_" + kind.replace(" ", "_").replace("-", "_"))(*args)
        return done is not False

    def _join(self, email: str, name: str, account: str) -> bool:
        """Somebody new joins at one place. Who said no does not: that would be a word of theirs."""
        here = (self.members(email, name), self.subscriber(email, name))
        if self.said_no(email, name) or any(here) or self.rows(email, name) or email in self.leads.leads:
            return False
        if account == "leads":
            if name != "newsletter" or self.said_no(email, "events"):
                return False
            self.leads.send_lead(email, "New", "Comer")
        elif account == "sales":
            self.sales.add_contact(PLACES[name]["sales"], email, "New Comer")
        elif account == "mail":
            self.mail.add_subscriber(PLACES[name]["mail"], email, "New Comer")
        else:
            if not self.customers(email):
                self.crm.add_customer(email, "New", "Comer")
            self.crm.add_member(PLACES[name]["crm"], self.customers(email)[0].id)
        self.moves.came_back(email)
        return True

    def _leave_crm(self, email: str, name: str) -> bool:
        if "subscribed" not in self.members(email, name):
            return False
        self.crm.mark_member(PLACES[name]["crm"], email, "unsubscribed")
        self.no(email, name, "crm", PLACES[name]["crm"])
        return True

    def _withdraw(self, email: str) -> bool:
        if not any(one.consent for one in self.customers(email)):
            return False
        # No time comes with this consent: one that was given and withdrawn again between two reads is seen by nobody.
        query = "SELECT 1 FROM cell WHERE account = 'crm' AND container = '*' AND identity = :email AND status = :no"
        if self.mirror.rows(query, email=email, no="unsubscribed"):
            return False
        self.crm.withdraw_consent(email)
        self.no(email, GLOBAL, "crm", "*")
        return True

    def _leave_mail(self, email: str, name: str) -> bool:
        # RocketResponder cannot list its subscribers: of one whom no other provider names, nobody can ever learn.
        if self.subscriber(email, name) != "Confirmed" or not self.known(email):
            return False
        self.mail.person_unsubscribes(PLACES[name]["mail"], email)
        self.no(email, name, "mail", PLACES[name]["mail"])
        return True

    def _complain(self, email: str, name: str) -> bool:
        if self.subscriber(email, name) != "Confirmed" or not self.known(email):
            return False
        self.mail.complain(PLACES[name]["mail"], email)
        self.no(email, GLOBAL, "mail", PLACES[name]["mail"])
        return True

    def _leave_sales(self, email: str, name: str) -> bool:
        standing = [row for row in self.rows(email, name) if row.get("status") != "unsubscribed"]
        if not standing or not self.sales.set_field(PLACES[name]["sales"], email, "status", "unsubscribed"):
            return False
        self.no(email, name, "sales", PLACES[name]["sales"])
        return True

    def _leave_leads(self, email: str) -> None:
        self.left_leads[email] = self.clock()
        self.leads.person_unsubscribes(email)  # a "no" once it has reached us: nothing can be read there

    def _edit_crm(self, email: str, first: str) -> bool:
        for one in self.customers(email):
            self.crm.edit_customer(one.id, first_name=first)
        return bool(self.customers(email))

    def _edit_sales(self, email: str, name: str, whole: str) -> bool:
        return bool(self.sales.set_field(PLACES[name]["sales"], email, "name", whole))

    def _vanish_sales(self, email: str, name: str) -> bool:
        if not self._read_everywhere(email, name):
            return False
        return bool(self.sales.remove_contact(PLACES[name]["sales"], email))

    def _re_subscribe(self, email: str, name: str, account: str) -> bool:
        """Another program subscribes somebody again. It writes over no word that we have not had a chance to read."""
        if not self.known_no(email, name) or not self._read_everywhere(email, name):
            return False
        if account == "crm" and self.customers(email):
            self.crm.add_member(PLACES[name]["crm"], self.customers(email)[0].id)
            if (email, GLOBAL) in self.noes:
                self.crm.give_consent(email)
        elif account == "sales":
            self.sales.add_contact(PLACES[name]["sales"], email, "Re Import")
            self.doubled.add(email)
        elif account == "mail" and self.subscriber(email, name) is not None:
            # That is more than a word set by a program: the person follows the link of a confirmation mail.
            self._confirms(email, name)
        elif account == "leads" and name == "newsletter":
            self.leads.send_lead(email, "Re", "Import")
        else:
            return False
        return True

    def _move_crm(self, old: str, new: str) -> bool:
        """A record goes by another address. What it was called, and what was said at it, has been read before."""
        here = self.customers(old)
        query = "SELECT container, key FROM cell WHERE account = 'crm' AND identity = :old AND status != 'removed'"
        seen = {(row.container, row.key) for row in self.mirror.rows(query, old=old)}
        if not here or not all(self._read_everywhere(old, name) for name in PLACES):
            return False
        (one, *_) = here
        containers = [places["crm"] for places in PLACES.values() if one.id in self.crm.lists[places["crm"]].members]
        if not all(
            any(container == c and key.startswith(one.id) for c, key in seen) for container in ("*", *containers)
        ):
            return False
        self.crm.edit_customer(one.id, email=new)
        self.moves.shared(old, new)
        self._may_be_doubled(new)
        if not self.customers(old):
            self.move(old, new)
        return True

    def _move_mail(self, old: str, new: str, name: str) -> bool:
        """Somebody enters another address of theirs at RocketResponder, which has yet to confirm."""
        if self.subscriber(old, name) != "Confirmed" or self.subscriber(new, name) or not self.known(old):
            return False
        self.mail.person_changes_address(PLACES[name]["mail"], old, new)
        return True

    def _confirm_mail(self, number: int) -> bool:
        """One of those who were asked to confirm, by themselves or by us, does."""
        waiting = [(one.email, name) for name, one in self._unconfirmed()]
        if not waiting:
            return False
        return self._confirms(*waiting[number % len(waiting)])

    def _unconfirmed(self) -> Iterator[tuple[str, Any]]:
        for name, places in PLACES.items():
            for email in ADDRESSES:
                if self.subscriber(email, name) == "Unconfirmed":
                    yield name, self.mail.subscriber(places["mail"], email)

    def _confirms(self, email: str, name: str) -> bool:
        lid = PLACES[name]["mail"]
        found = self.mail.subscriber(lid, email)
        assert found is not None
        former = (found.replaces or "").lower()
        stands = former and self.subscriber(former, name) == "Confirmed"
        left = self.mail.subscriber(lid, former) if former and not stands else None
        if left is not None and abs(self.clock().timestamp() + self.skews["mail"] - left.unsub_time) < LOOKS_LIKE_ONE_S:
            return False
        self.mail.confirm(lid, email)
        self.moves.came_back(email, lid)
        self._may_be_doubled(email)
        if stands:
            self.moves.retire(former, email, lid, self.clock())
        if self.said_no(email, name):
            self.back[email, name] = self.clock()
        return True

    def _may_be_doubled(self, email: str) -> None:
        """Whoever turns up under an address at one place, while its row at Sales.Rocks was not read yet, may be added
        there beside it: nobody can be looked for by address, and a list takes an address twice.
        """
        query = "SELECT 1 FROM cell WHERE account = 'sales' AND container = :place AND key = :key"
        for places in PLACES.values():
            for row in self.sales.contacts_of(places["sales"]):
                if str(row.get("email", "")).lower() == email and not self.mirror.rows(
                    query, place=places["sales"], key=row["_id"]["$oid"]
                ):
                    self.doubled.add(email)

    def look_at_moves(self) -> None:
        """What has been seen to give way at RocketResponder by now."""
        for old, new in list(self.moves.seen_to_give_way(self.mirror)):
            self.move(old, new)

    def _read_everywhere(self, email: str, name: str) -> bool:
        """Whether everything this person said about the list, or about everything, is known to the mirror."""
        key = suppression_key(Identity(email))
        query = "SELECT scope FROM consent WHERE person_key = :key AND level >= 3"
        scopes = {scope for (scope,) in self.mirror.rows(query, key=key)}
        return all(scope in scopes for said, scope in self.noes if said == email and scope in {name, GLOBAL})

    # What goes wrong -------------------------------------------------------------------------------------------------

    def _fault(self, account: str, kind: str, times: int) -> None:
        retry_after = "20" if kind == FaultKind.THROTTLED else None
        self.emulators[account].faults.append(Fault(FaultKind(kind), times=times, retry_after=retry_after))

    def _lag(self, account: str, seconds: float) -> None:
        self.emulators[account].stale_for_s = seconds  # type: ignore[attr-defined]

    def _log_out(self, account: str) -> None:
        self.emulators[account].revoke_tokens()  # type: ignore[attr-defined]

    def _lose_delivery(self, account: str) -> bool:
        """A notice is lost for ever; what it tells of can be read. What Rokt sends can be read nowhere."""
        waiting = self.emulators[account].outgoing
        if not waiting:
            return False
        waiting.popleft()
        return True

    def calm(self) -> None:
        for emulator in self.emulators.values():
            emulator.faults.clear()
        for replica in (self.crm, self.sales, self.mail):
            replica.stale_for_s = 0.0


# What reaches us -----------------------------------------------------------------------------------------------------


def hand_in(app: App, request: Request, at: Any) -> Delivery:
    """As the receiver does it. Durable when this returns: the sender is told 2xx."""
    path, _, query = request.url.partition("://")[2].partition("/")[2].partition("?")
    _, account, *route = path.split("/")
    pairs = tuple((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair))
    headers = {name.lower(): value for name, value in request.headers.items()}
    delivery = Delivery(tuple(route), request.method, headers, pairs, request.body, at)
    ingest.accept(app.context.lanes[account], app.context, delivery)
    return delivery


class Operators:
    """Commands of people, as two of them give them at the same time: none knows of the other."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def command(self, app: App, kind: str, args: tuple[Any, ...]) -> bool:
        try:
            return getattr(self, "_" + kind)(app, *args) is not False
        except (SyncdError, DeliveryError):
            return False  # the command was refused, and says why
        except KilledError:
            raise

    def _approve(self, app: App, number: int) -> bool:
        found = self._stage.mirror.rows("SELECT id FROM plan ORDER BY account, container, kind, hold")
        if found:
            approve.approve(app.context, found[number % len(found)].id)
        return bool(found)

    def _reject(self, app: App, number: int) -> bool:
        plans = self._stage.mirror.rows("SELECT id, kind, account, container, hold FROM plan ORDER BY id")
        claims = self._stage.mirror.rows("SELECT id, 'claim' AS kind FROM claim WHERE state = 'open' ORDER BY id")
        found = [*plans, *claims]
        if not found:
            return False
        row = found[number % len(found)]
        if row.kind == "unsubscribe":
            # What a person forbids to conclude need not arrive anywhere.
            query = (
                "SELECT identity FROM plan_item WHERE account = :account AND container = :container AND kind = :kind"
            )
            place = {"account": row.account, "container": row.container, "kind": row.kind}
            self._stage.waived.update(item.identity for item in self._stage.mirror.rows(query, **place))
        approve.reject(app.context, row.id)
        return True

    def _pause(self, app: App, account: str) -> None:
        steer.pause(app.context, account)

    def _resume(self, app: App, account: str) -> None:
        steer.resume(app.context, account)

    def _retry(self, app: App, number: int) -> bool:
        found = self._stage.mirror.rows("SELECT id FROM op WHERE state IN ('parked', 'blocked') ORDER BY id")
        if found:
            steer.retry(app.context, str(found[number % len(found)].id))
        return bool(found)

    def _unsubscribe(self, app: App, email: str, scope: str) -> None:
        # Said before it is written down: a command that is cut off is given again, by somebody who was told no.
        self._stage.no(email, scope)
        ingest.unsubscribe(app.context, email, Scope(scope), source="operator", evidence="by phone")

    def _resubscribe(self, app: App, email: str, scope: str) -> None:
        """The person's own word, with evidence. What they said of other lists, or of everything, stands."""
        approve.grant(app.context, email, Scope(scope), evidence="signed form")
        self._stage.noes.discard((email, scope))
