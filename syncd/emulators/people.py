"""A town of invented people, and who of them is where: what the emulators hold in the demo and in a rehearsal.

The same seed gives the same people. Four hundred are customers at ROCS, most of them on one or two lists; the other
providers know some of those, and some that nobody else knows. A few have said no at one place and at no other. Nobody
here exists: all addresses are of domains that are reserved for examples.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from syncd.emulators.emulator import Emulator
from syncd.emulators.http import HttpEmulator
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator

NEWSLETTER = "newsletter"
PRODUCT = "product"
LISTS = (NEWSLETTER, PRODUCT)

ROCS_LISTS: Mapping[str, str] = {NEWSLETTER: "L-1", PRODUCT: "L-2"}
MAIL_LISTS: Mapping[str, str] = {NEWSLETTER: "154"}
SALES_LISTS: Mapping[str, str] = {NEWSLETTER: "p7Xc2mNwQe40-rTzK1vB", PRODUCT: "h3Jd9sLuYa81_fGoC6xM"}
ROKT_CAMPAIGN = "3104881920457728001"

FIRST = (
    "Ada", "Bela", "Carl", "Dora", "Emil", "Fay", "Gus", "Hedy", "Ivo", "Jana", "Karl", "Lea", "Max", "Nora", "Olaf",
    "Pia", "Rosa", "Sven", "Tess", "Uma", "Vera", "Will", "Yara", "Zoe",
)  # fmt: skip
LAST = (
    "Adler", "Berg", "Conti", "Dahl", "Engel", "Falk", "Gruber", "Holm", "Ivers", "Jansen", "Keller", "Lind", "Moreau",
    "Novak", "Olsen", "Petrov", "Quist", "Rossi", "Stern", "Toth", "Urban", "Vogel", "Weber", "Young", "Zeman",
)  # fmt: skip
DOMAINS = ("example.org", "example.net", "example.com")


@dataclass(frozen=True, slots=True)
class Person:
    email: str
    first: str
    last: str
    mobile: str | None = None

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


@dataclass(slots=True)
class Place:
    """Who is on one list at one provider. `left`: those of them who have said no there."""

    members: list[Person] = field(default_factory=list)
    left: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Town:
    """Everybody, and the places at which they are: provider -> list -> who.

    `leads` are customers who come from Rokt once more; `late` are people whom nobody knows yet, for what happens later.
    """

    places: Mapping[str, Mapping[str, Place]]
    customers: Sequence[Person]
    leads: Sequence[Person]
    late: Sequence[Person]


def invent(seed: int = 0) -> Town:
    """The town of this seed."""
    rng = random.Random(f"people/{seed}")
    everybody = _persons(rng)
    customers = [next(everybody) for _ in range(400)]
    elsewhere = [next(everybody) for _ in range(60)]
    readers, users = rng.sample(customers, 220), rng.sample(customers, 150)
    places = {
        "rocs": {NEWSLETTER: Place(readers), PRODUCT: Place(users)},
        "salesrocks": {
            NEWSLETTER: Place([*rng.sample(readers, 160), *elsewhere[:20]]),
            PRODUCT: Place([*rng.sample(users, 110), *elsewhere[15:25]]),
        },
        "rocketresponder": {NEWSLETTER: Place([*rng.sample(readers, 165), *elsewhere[25:60]])},
    }
    # So few at each place that no listing looks as if it had turned many people at once.
    for place, number in zip((p for lists in places.values() for p in lists.values()), (9, 6, 5, 4, 6), strict=True):
        place.left = {person.email for person in rng.sample(place.members, number)}
    said_no = {email for lists in places.values() for place in lists.values() for email in place.left}
    leads = [person for person in readers if person.email not in said_no][:20]
    return Town(places, customers, leads, [next(everybody) for _ in range(10)])


def _persons(rng: random.Random) -> Iterator[Person]:
    """One after the other without end; the number keeps them apart, also where dots and tags do not count."""
    for number in range(1, 10**6):
        first, last = rng.choice(FIRST), rng.choice(LAST)
        # A range that the regulator of the United Kingdom keeps free for films.
        mobile = f"+447700900{rng.randrange(1000):03d}" if rng.random() < 0.3 else None
        yield Person(f"{first}.{last}{number}@{rng.choice(DOMAINS)}".lower(), first, last, mobile)


# Moving in -----------------------------------------------------------------------------------------------------------


def settle(town: Town, emulator: Emulator) -> None:
    """Put the people of the town, their lists and some campaigns into one emulator."""
    match emulator:
        case RocsEmulator():
            _settle_rocs(town, emulator)
        case SalesRocksEmulator():
            _settle_salesrocks(town, emulator)
        case RocketResponderEmulator():
            _settle_rocketresponder(town, emulator)
        case RoktEmulator():
            _settle_rokt(emulator)
        case HttpEmulator():
            pass  # whoever is there was delivered by us
        case _:
            raise ValueError(f"nobody lives at {emulator.name}")


def send_leads(town: Town, rokt: RoktEmulator) -> int:
    """Rokt hands over its leads, in all encodings that it may use. Returns how many."""
    for number, person in enumerate(town.leads):
        encoding = ("json", "form", "text", "xml")[number % 4]
        rokt.send_lead(person.email, person.first, person.last, campaign=ROKT_CAMPAIGN, encoding=encoding)  # type: ignore[arg-type]
    return len(town.leads)


def _settle_rocs(town: Town, rocs: RocsEmulator) -> None:
    ids = {p.email: rocs.add_customer(p.email, p.first, p.last, mobile=p.mobile) for p in town.customers}
    for name, place in town.places["rocs"].items():
        rocs.add_list(ROCS_LISTS[name], name.title())
        for person in place.members:
            status = "unsubscribed" if person.email in place.left else "subscribed"
            rocs.add_member(ROCS_LISTS[name], ids[person.email], status)
    rocs.add_campaign(
        "C-11", "Autumn letter", sent=291, delivered=288, opened=131, clicked=44, bounced=3, unsubscribed=5
    )
    rocs.add_campaign(
        "C-12", "Version 4 is out", sent=174, delivered=173, opened=96, clicked=58, bounced=1, unsubscribed=2
    )
    rocs.add_campaign("C-13", "Winter letter", "scheduled")


def _settle_salesrocks(town: Town, sales: SalesRocksEmulator) -> None:
    for name, place in town.places["salesrocks"].items():
        uuid = sales.add_list(name.title(), SALES_LISTS[name])
        for person in place.members:
            mark = {"status": "unsubscribed"} if person.email in place.left else {}
            sales.add_contact(uuid, person.email, person.name, company=f"{person.last} Ltd", **mark)
    news, product = (SALES_LISTS[name] for name in LISTS)
    sales.add_campaign(
        "Introductions", [news, product], to_send=240, sent=212, total_scheduled=28, opened=97, clicked=31, replied=12,
        bounced=4, opted_out=6,
    )  # fmt: skip
    sales.add_campaign("Follow-up", [product], to_send=96, sent=96, opened=41, clicked=17, replied=9, opted_out=3)


def _settle_rocketresponder(town: Town, mail: RocketResponderEmulator) -> None:
    for name, place in town.places["rocketresponder"].items():
        lid = mail.add_list(name.title(), lid=MAIL_LISTS[name])
        for person in place.members:
            word = "unsubscribed" if person.email in place.left else "confirmed"
            subscriber = mail.add_subscriber(lid, person.email, person.name, mail.status_words[word])
            subscriber.sent, subscriber.opened = 12, mail.rng.randrange(13)
            subscriber.clicked = mail.rng.randrange(subscriber.opened + 1)


def _settle_rokt(rokt: RoktEmulator) -> None:
    today = rokt.now().date()
    days = {
        (today - timedelta(days=back)).isoformat(): {
            "impressions": 900 + 13 * back,
            "referrals": 21 + back,
            "gross_cost": 63.0 + 3 * back,
            "net_cost": 54.5 + 3 * back,
            "acquisitions": 4 + back % 3,
        }
        for back in range(1, 15)
    }
    rokt.add_campaign(ROKT_CAMPAIGN, "Thank-you page", days)
