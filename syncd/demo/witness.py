"""What the providers themselves say, read from the emulators' own state: the proof beside the mirror."""

from __future__ import annotations

from syncd.demo.stage import IDS, Stage
from syncd.emulators.people import LISTS, MAIL_LISTS, NEWSLETTER, ROCS_LISTS, ROKT_CAMPAIGN, SALES_LISTS

LISTING = ("rocs", "salesrocks", "rocketresponder")
"""Providers that keep lists."""

NO = frozenset({"unsubscribed", "Unsubscribed"})
"""The words that say no, of all four."""


def keepers(entry: str) -> list[str]:
    """The providers at which one of our lists is kept."""
    return [provider for provider in LISTING if entry in IDS[provider]]


class Witness:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def words(self, provider: str, entry: str) -> dict[str, str]:
        """Who is on one of our lists at a provider, and in that provider's own word."""
        if entry not in IDS[provider]:
            return {}
        match provider:
            case "rocs":
                members = self._stage.rocs.lists[ROCS_LISTS[entry]].members.values()
                return {one.email.lower(): one.status for one in members}
            case "salesrocks":
                rows = self._stage.sales.contacts_of(SALES_LISTS[entry])
                return {row["email"].lower(): row.get("status", "on the list") for row in rows}
            case "rocketresponder":
                lid = MAIL_LISTS[entry]
                return {email: one.status for (at, email), one in self._stage.mail.subscribers.items() if at == lid}
            case _:
                left = self._stage.rokt.unsubscribed
                return dict.fromkeys(self._stage.rokt.leads, "lead") | dict.fromkeys(left, "unsubscribed")

    def split(self, provider: str, entry: str) -> tuple[int, int]:
        """How many are on a list there, and how many have left it."""
        mailable = len(self.mailable(provider, entry))
        return mailable, len(self.words(provider, entry)) - mailable

    def mailable(self, provider: str, entry: str) -> set[str]:
        return {email for email, word in self.words(provider, entry).items() if word not in NO}

    def nameable(self) -> set[str]:
        """Everybody of whom somebody other than RocketResponder can tell us."""
        listed = [self.words(provider, entry).keys() for provider in ("rocs", "salesrocks") for entry in LISTS]
        customers = {one.email.lower() for one in self._stage.rocs.customers.values()}
        return customers.union(self._stage.rokt.leads, *listed)

    def said_no(self, entry: str) -> set[str]:
        """Who stands unsubscribed from a list at a place where syncd could read it."""
        nameable = self.nameable()
        return {
            email
            for provider in keepers(entry)
            for email, word in self.words(provider, entry).items()
            if word in NO and email in nameable
        }

    def leaks(self) -> set[str]:
        """Who said no to a list at one provider and can be mailed through it at another."""
        return {
            email
            for entry in LISTS
            for provider in keepers(entry)
            for email in self.said_no(entry) & self.mailable(provider, entry)
        }

    def added(self) -> set[str]:
        """Who is on a list now, and was not there in the beginning."""
        places = self._stage.town.places
        return {
            email
            for provider, lists in places.items()
            for entry, place in lists.items()
            for email in self.words(provider, entry).keys() - {person.email for person in place.members}
        }

    def on_all_lists(self) -> list[str]:
        """People who are on every list of ours wherever it is kept, and confirmed where that is asked for."""
        places = [self.mailable(provider, entry) for entry in LISTS for provider in keepers(entry)]
        words = self.words("rocketresponder", NEWSLETTER)
        return sorted({email for email, word in words.items() if word == "Confirmed"}.intersection(*places))

    def figures(self) -> dict[str, float]:
        """The campaigns' own numbers, one or two of each."""
        rocs = {f"rocs {one.name}": one.stats.get("opened", 0) for one in self._stage.rocs.campaigns.values()}
        sales = {f"salesrocks {one.name}": one.stats.get("opened", 0) for one in self._stage.sales.campaigns.values()}
        days = self._stage.rokt.campaigns[ROKT_CAMPAIGN].days.values()
        rokt = {f"rokt {name}": sum(day.get(name, 0) for day in days) for name in ("impressions", "referrals")}
        return {**rocs, **sales, **rokt}
