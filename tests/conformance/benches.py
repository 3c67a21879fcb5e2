"""Each provider on the bench. A new adapter is one more class here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from syncd.domain.changes import ChangeKind
from syncd.domain.records import Status
from syncd.emulators.http import HttpEmulator
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.providers.registry import Registered
from syncd.providers.rocketresponder.webhook import ACTIONS
from tests.conformance.bench import Bench, Row
from tests.conformance.postbox import PostboxEmulator
from tests.conformance.reference import PostboxAdapter, PostboxOptions

EVERY = frozenset(ChangeKind)
YES, NO = Status.SUBSCRIBED, Status.UNSUBSCRIBED


class Postbox(Bench):
    """The reference adapter. It is registered with nobody: here it brings its own entry."""

    provider, place, other, at = "postbox", "news", "events", "http://127.0.0.1:8709"
    keys: ClassVar = {"base_url": at, "api_key": "postbox-key", "webhook_secret": "postbox-hook"}
    secret_keys = ("api_key",)
    able = frozenset({"CanList", "CanSnapshot", "CanLookup", "CanApply", "CanNotify"})
    accepts = EVERY
    registry = Registered(PostboxOptions, PostboxAdapter)

    def pretend(self) -> Any:
        emulator = PostboxEmulator(self.clock)
        emulator.lists = {self.place: {}, self.other: {}}
        return emulator

    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        self.emulator.add_person(place or self.place, email, first, last)

    def leaves(self, email: str) -> None:
        self.emulator.leave(self.place, email)

    def census(self) -> Sequence[Row]:
        words = {"on": YES, "off": NO}
        return [
            Row(name, one["email"], words.get(one["status"], Status.UNKNOWN), f"{one['first']} {one['last']}".strip())
            for name, people in self.emulator.lists.items()
            for one in people.values()
        ]

    def goes_odd(self, email: str, word: str) -> None:
        self.emulator.lists[self.place][email]["status"] = word

    def cut(self, size: int) -> None:
        self.emulator.page_size = size

    def add_list(self, name: str) -> None:
        self.emulator.lists[name] = {}

    def lists(self) -> set[str]:
        return set(self.emulator.lists)

    def listens(self) -> None:
        self.emulator.hook = "http://127.0.0.1:8480/in/one/webhook"


class Rocs(Bench):
    provider, place, other, at = "rocs", "L-1", "L-2", "http://127.0.0.1:8701"
    keys: ClassVar = {
        "base_url": at,
        "token_url": f"{at}/oauth2/token",
        "client_id": "rocs-client",
        "client_secret": "rocs-secret",
        "resource": "https://api.msp-cloud.com",
        "webhook_secret": "hook-secret",
    }
    secret_keys = ("client_secret",)
    able = frozenset(
        {
            "CanLogin",
            "CanList",
            "CanSnapshot",
            "CanFeed",
            "CanLookup",
            "CanReport",
            "CanApply",
            "CanNotify",
            "CanRegister",
        }
    )
    accepts = EVERY
    updates_at = "*"

    def pretend(self) -> Any:
        emulator = RocsEmulator(self.clock, base_url=self.at, resource="https://api.msp-cloud.com")
        emulator.add_list(self.place, "News")
        emulator.add_list(self.other, "Events")
        return emulator

    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        known = [one.id for one in self.emulator.customers.values() if one.email == email and place]
        customer = known[0] if known else self.emulator.add_customer(email, first, last)
        self.emulator.add_member(place or self.place, customer)

    def leaves(self, email: str) -> None:
        self.emulator.unsubscribe_member(self.place, email)

    def census(self) -> Sequence[Row]:
        words = {"subscribed": YES, "unsubscribed": NO}
        rows = [
            Row("*", one.email, YES if one.consent else NO, f"{one.first_name} {one.last_name}".strip())
            for one in self.emulator.customers.values()
        ]
        return rows + [
            Row(place.id, one.email, words.get(one.status, Status.UNKNOWN), "")
            for place in self.emulator.lists.values()
            for one in place.members.values()
        ]

    def goes_odd(self, email: str, word: str) -> None:
        self.emulator.mark_member(self.place, email, word)

    def cut(self, size: int) -> None:
        self.emulator.page_size_max = size

    def add_list(self, name: str) -> None:
        self.emulator.add_list(name, name)

    def lists(self) -> set[str]:
        return {"*", *self.emulator.lists}

    def expire(self) -> None:
        self.emulator.revoke_tokens()

    def runs_campaign(self, name: str) -> str:
        number = f"C-{len(self.emulator.campaigns) + 1}"
        self.emulator.add_campaign(number, name, sent=7)
        return number

    def listens(self) -> None:
        self.emulator.register_webhook("http://127.0.0.1:8480/in/one/webhook", "hook-secret")

    def registered(self) -> list[str]:
        return [one.url for one in self.emulator.registrations.values()]


class SalesRocks(Bench):
    """A "no" is written by taking the record away."""

    provider, at = "salesrocks", "http://127.0.0.1:8702"
    place, other = "NewsListAtSalesRocks", "EventsAtSalesRocks01"
    keys: ClassVar = {
        "base_url": at,
        "username": "sales@example.org",
        "password": "sales-secret",
        "on_unsubscribe": "remove",
    }
    secret_keys = ("password",)
    able = frozenset({"CanLogin", "CanList", "CanSnapshot", "CanLookup", "CanReport", "CanApply", "CanVet"})
    accepts = EVERY

    def pretend(self) -> Any:
        emulator = SalesRocksEmulator(self.clock, base_url=self.at)
        emulator.add_list("News", self.place)
        emulator.add_list("Events", self.other)
        return emulator

    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        self.emulator.add_contact(place or self.place, email, f"{first} {last}".strip() or None)

    def leaves(self, email: str) -> None:
        self.emulator.set_field(self.place, email, "status", "unsubscribed")

    def census(self) -> Sequence[Row]:
        words = {"subscribed": YES, "unsubscribed": NO}
        return [
            Row(uuid, one["email"], words.get(one.get("status", "subscribed"), Status.UNKNOWN), one.get("name", ""))
            for uuid in self.emulator.lists
            for one in self.emulator.contacts_of(uuid)
        ]

    def goes_odd(self, email: str, word: str) -> None:
        # A list is free of schema and being on it is the membership: only a mark that speaks of a "no" is a status.
        self.emulator.set_field(self.place, email, "unsubscribed", word)

    def cut(self, size: int) -> None:
        self.emulator.page_size_max = size

    def add_list(self, name: str) -> None:
        self.emulator.add_list(name)

    def lists(self) -> set[str]:
        return set(self.emulator.lists)

    def expire(self) -> None:
        self.emulator.revoke_tokens()

    def runs_campaign(self, name: str) -> str:
        number: str = self.emulator.add_campaign(name, [self.place], sent=7)
        return number


class MarkingSalesRocks(SalesRocks):
    """A "no" is written into a member of the record."""

    keys: ClassVar = {**SalesRocks.keys, "on_unsubscribe": "field", "unsubscribe_field": "status"}


class RocketResponder(Bench):
    provider, place, other, at = "rocketresponder", "154", "155", "http://127.0.0.1:8703"
    keys: ClassVar = {
        "base_url": f"{at}/api",
        "public_key": "pub_emulated",
        "private_key": "priv_emulated",
        "webhook_secret": "mail-hook",
    }
    secret_keys = ("private_key",)
    able = frozenset({"CanList", "CanLookup", "CanApply", "CanNotify", "CanPost", "CanCreateList"})
    accepts = EVERY
    new_list: ClassVar = {
        "permalink": "autumn",
        "from_name": "News",
        "from_email": "news@example.org",
        "address": "1 High Street",
    }
    bad_list: ClassVar = {"permalink": "not a link!"}

    def pretend(self) -> Any:
        emulator = RocketResponderEmulator(self.clock, base_url=f"{self.at}/api")
        emulator.double_opt_in = False
        emulator.add_list("News", lid=self.place)
        emulator.add_list("Events", lid=self.other)
        return emulator

    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        self.emulator.add_subscriber(place or self.place, email, f"{first} {last}".strip())

    def leaves(self, email: str) -> None:
        self.emulator.person_unsubscribes(self.place, email)

    def census(self) -> Sequence[Row]:
        words = {"Confirmed": YES, "Unconfirmed": Status.PENDING, "Unsubscribed": NO}
        return [
            Row(one.lid, one.email, words.get(one.status, Status.UNKNOWN), one.name)
            for one in self.emulator.subscribers.values()
        ]

    def goes_odd(self, email: str, word: str) -> None:
        self.emulator.subscriber(self.place, email).status = word

    def add_list(self, name: str) -> None:
        self.emulator.add_list(name)

    def lists(self) -> set[str]:
        return set(self.emulator.lists)

    def listens(self) -> None:
        for action in ACTIONS:
            url = f"http://127.0.0.1:8480/in/one/{self.place}/{action}/mail-hook"
            self.emulator.webhook_urls[self.place, action] = url


class Rokt(Bench):
    """Leads come from it, unsubscribes go to it; it knows no lists, and answers nothing about a person."""

    provider, place, other, at = "rokt", "*", "*", "http://127.0.0.1:8704"
    keys: ClassVar = {
        "unsubscribe_url": f"{at}/1.0/nurture/unsubscribe",
        "api_key": "rokt-key",
        "inbound_auth": {"kind": "basic", "username": "rokt", "password": "rokt-secret"},
    }
    able = frozenset({"CanApply", "CanNotify", "CanBeTried"})
    accepts = frozenset({ChangeKind.UNSUBSCRIBE})
    status_alone = frozenset({"rokt unsubscribe"})

    def pretend(self) -> Any:
        return RoktEmulator(self.clock, base_url=self.at, deliver_to="http://127.0.0.1:8480/in/one")

    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        del place
        self.emulator.send_lead(email, first, last)

    def leaves(self, email: str) -> None:
        self.emulator.person_unsubscribes(email)

    def census(self) -> Sequence[Row]:
        gone, leads = self.emulator.unsubscribed, self.emulator.leads
        names = {email: f"{lead.first} {lead.last}" for email, lead in leads.items()}
        return [Row("*", email, NO if email in gone else YES, names.get(email, "")) for email in {**leads, **gone}]

    def listens(self) -> None:
        """It always does."""

    def tests(self) -> None:
        self.emulator.press_test(query="test=true")


class ReportingRokt(Rokt):
    """With the Query API."""

    keys: ClassVar = {
        **Rokt.keys,
        "query_url": f"{Rokt.at}/v1/query",
        "query_token_url": f"{Rokt.at}/auth/oauth2/token",
        "app_id": "rokt-app",
        "app_secret": "rokt-app-secret",
        "account_id": "2581697744617019994",
    }
    secret_keys = ("app_secret",)
    able = Rokt.able | {"CanLogin", "CanReport"}

    def expire(self) -> None:
        self.emulator.tokens.clear()

    def runs_campaign(self, name: str) -> str:
        number = str(2581697744617019990 + len(self.emulator.campaigns))
        self.emulator.add_campaign(number, name, {"2026-11-20": {"impressions": 7}})
        return number


class Http(Bench):
    """A CRM behind an outbound connection: it takes new subscribers, and tells nothing."""

    provider, place, other, at = "http", "*", "*", "http://127.0.0.1:8705"
    keys: ClassVar = {
        "endpoint": f"{at}/subscribers",
        "test_endpoint": f"{at}/test/subscribers",
        "auth": {"kind": "api_key", "key": "http-key"},
    }
    able = frozenset({"CanApply", "CanTry"})
    accepts = frozenset({ChangeKind.SUBSCRIBE})
    status_alone = frozenset({"http deliver", "http unsubscribe"})
    secrets: ClassVar = ["http-key"]

    def pretend(self) -> Any:
        return HttpEmulator(self.clock, base_url=self.at)

    def joins(self, email: str, first: str = "", last: str = "", place: str | None = None) -> None:
        del place
        self.emulator.subscribers[email] = {"email": email, "first_name": first, "last_name": last}

    def leaves(self, email: str) -> None:
        self.emulator.unsubscribed[email] = self.clock()

    def census(self) -> Sequence[Row]:
        gone = self.emulator.unsubscribed
        return [
            Row("*", one["email"], NO if email in gone else YES, f"{one['first_name']} {one['last_name']}")
            for email, one in self.emulator.subscribers.items()
        ]


class TellingHttp(Http):
    """The same, where it can be told of a "no"."""

    keys: ClassVar = {**Http.keys, "unsubscribe": {"endpoint": f"{Http.at}/unsubscribes"}}
    accepts = frozenset({ChangeKind.SUBSCRIBE, ChangeKind.UNSUBSCRIBE})


BENCHES: tuple[type[Bench], ...] = (
    Postbox,
    Rocs,
    SalesRocks,
    MarkingSalesRocks,
    RocketResponder,
    Rokt,
    ReportingRokt,
    Http,
    TellingHttp,
)
