"""What there is at the pretend RocketResponder, and what people and the operator do with it; no HTTP yet.

Whatever happens to a subscriber, whoever did it, moves the times and counters that the service shows and posts the
webhook of that action where the list has one.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from syncd.emulators.emulator import Emulator
from syncd.wire import Request

Key = tuple[str, str]
"""List id and lower-cased address."""


@dataclass(slots=True)
class MailList:
    lid: str
    name: str
    permalink: str
    from_email: str = "news@lists.example"
    from_name: str = "News"
    address: str = ""
    notify: str = "0"
    header: str = ""
    footer: str = ""


@dataclass(slots=True)
class Subscriber:
    """Times are Unix seconds, 0 where it has not happened. `replaces`: who leaves when this address confirms."""

    id: str
    lid: str
    email: str
    name: str
    status: str
    join_ip: str = ""
    join_time: int = 0
    join_url: str = ""
    confirm_ip: str = ""
    confirm_time: int = 0
    confirm_url: str = ""
    action_time: int = 0
    action_ip: str = ""
    action_type: str = "None"
    unsub_time: int = 0
    unsub_ip: str = ""
    sent: int = 0
    opened: int = 0
    clicked: int = 0
    bounced: int = 0
    custom: dict[str, str] = field(default_factory=dict)
    subscribed: int = 1
    unsubscribed: int = 0
    replaces: str | None = None

    @property
    def key(self) -> Key:
        return self.lid, self.email.lower()


class RocketResponderState(Emulator):
    """Lists, subscribers and webhooks."""

    delivered_on = (200,)  # webhooks page: anything else is sent again

    def __init__(self, now: Callable[[], datetime], *, seed: int = 0) -> None:
        super().__init__(now, seed=seed)
        self.lists: dict[str, MailList] = {}
        self.subscribers: dict[Key, Subscriber] = {}
        self.webhook_urls: dict[tuple[str, str], str] = {}  # (list id, action) -> where to post

        self.stale_for_s = 0.0  # `lookup` shows what was so many seconds ago
        self.status_words = {
            "confirmed": "Confirmed",
            "unconfirmed": "Unconfirmed",
            "unsubscribed": "Unsubscribed",
            "complained": "Complained",
            "bounced": "Bounced",
        }

        self._next_list_id = 154
        self._next_subscriber_id = 2352
        self._history: dict[Key, list[tuple[datetime, Subscriber]]] = {}

    # --- persons and the operator -----------------------------------------------------------------

    def add_list(self, name: str, permalink: str | None = None, lid: str | None = None) -> str:
        if lid is None:
            while str(self._next_list_id) in self.lists:
                self._next_list_id += 1
            lid = str(self._next_list_id)
        self.lists[lid] = MailList(lid, name, permalink or f"list{lid}")
        return lid

    def add_subscriber(
        self, lid: str, email: str, name: str = "", status: str = "Confirmed", custom: dict[str, str] | None = None
    ) -> Subscriber:
        """Somebody who is on the list since now, in the given word. No webhook is sent."""
        words = self.status_words
        subscriber = self._new(lid, email, name)
        subscriber.status = status
        subscriber.custom = dict(custom or {})
        if status != words["unconfirmed"]:
            subscriber.confirm_time, subscriber.confirm_ip = subscriber.join_time, subscriber.join_ip
            subscriber.action_type = "Confirmed"
        if status == words["unsubscribed"]:
            # A second later, so that it is told apart from the confirmation.
            subscriber.unsub_time, subscriber.unsub_ip = subscriber.join_time + 1, subscriber.join_ip
            subscriber.unsubscribed = 1
        self._acted(subscriber, None, None)
        return subscriber

    def subscriber(self, lid: str, email: str) -> Subscriber | None:
        return self.subscribers.get((lid, email.strip().lower()))

    def confirm(self, lid: str, email: str) -> None:
        """The person follows the link in the confirmation mail. An address that this one replaces leaves now.

        Where it complained it has left for good already, and goes on to say so.
        """
        subscriber = self._known(lid, email)
        subscriber.status = self.status_words["confirmed"]
        # Later than any unsubscribe, also within the same second: it happened after it.
        subscriber.confirm_time = (
            max(self._unix(), subscriber.unsub_time + 1) if subscriber.unsub_time else self._unix()
        )
        subscriber.confirm_ip = subscriber.join_ip
        self._acted(subscriber, "Confirmed", "confirm")
        if subscriber.replaces is not None:
            old, subscriber.replaces = self.subscriber(lid, subscriber.replaces), None
            if old is not None and old.status != self.status_words["complained"]:
                self._leave(old)

    def person_joins(self, lid: str, email: str, name: str = "") -> None:
        """A stranger enters their address in the form of the list; the confirmation mail is on its way to them."""
        self._acted(self._new(lid, email, name), "Subscribe", "subscribe")

    def person_joins_again(self, lid: str, email: str) -> None:
        """Somebody who left enters the address in the form, and has yet to follow the link in the confirmation mail."""
        subscriber = self._known(lid, email)
        subscriber.subscribed += 1
        subscriber.status = self.status_words["unconfirmed"]
        self._acted(subscriber, "Subscribe", "subscribe")

    def person_changes_address(self, lid: str, email: str, new: str) -> None:
        """Somebody enters another address for themselves, which has yet to be confirmed; one that is free."""
        if self.subscriber(lid, new) is None:
            self._change_address(self._known(lid, email), new)

    def edit_name(self, lid: str, email: str, name: str) -> None:
        """The operator gives a subscriber another name."""
        self._rename(self._known(lid, email), name)

    def person_unsubscribes(self, lid: str, email: str) -> None:
        """The person follows the link in a mail."""
        self._leave(self._known(lid, email))

    def complain(self, lid: str, email: str) -> None:
        """The person marks a mail as spam. No webhook is documented for it, and no time is kept."""
        subscriber = self._known(lid, email)
        subscriber.status = self.status_words["complained"]
        self._acted(subscriber, None, None)

    def bounce(self, lid: str, email: str) -> None:
        subscriber = self._known(lid, email)
        subscriber.status = self.status_words["bounced"]
        subscriber.bounced += 1
        self._acted(subscriber, None, "bounce")

    def mail(self, lid: str) -> None:
        """The list is mailed: one more sent to each confirmed subscriber."""
        for subscriber in self.subscribers.values():
            if subscriber.lid == lid and subscriber.status == self.status_words["confirmed"]:
                subscriber.sent += 1
                self._acted(subscriber, None, None)

    def open_mail(self, lid: str, email: str) -> None:
        subscriber = self._known(lid, email)
        subscriber.opened += 1
        self._acted(subscriber, "Open", "open")

    def click(self, lid: str, email: str) -> None:
        subscriber = self._known(lid, email)
        subscriber.clicked += 1
        self._acted(subscriber, "Click", "click")

    # --- state ------------------------------------------------------------------------------------

    def _known(self, lid: str, email: str) -> Subscriber:
        return self.subscribers[lid, email.strip().lower()]

    def _new(self, lid: str, email: str, name: str) -> Subscriber:
        subscriber = Subscriber(
            str(self._next_subscriber_id), lid, email.strip(), name.strip(), self.status_words["unconfirmed"]
        )
        self._next_subscriber_id += 1
        subscriber.join_ip = subscriber.action_ip = f"192.0.2.{self.rng.randrange(1, 255)}"
        subscriber.join_time = subscriber.action_time = self._unix()
        subscriber.join_url = f"https://www.rocketresponder.com/subscribe/{self.lists[lid].permalink}"
        self.subscribers[subscriber.key] = subscriber
        return subscriber

    def _rename(self, subscriber: Subscriber, name: str) -> None:
        subscriber.name = name
        self._acted(subscriber, None, "modify")

    def _change_address(self, subscriber: Subscriber, new: str, name: str = "", confirm_url: str = "") -> None:
        """The new address has to confirm; until it does, the old one goes on receiving."""
        renamed = self._new(subscriber.lid, new, name or subscriber.name)
        renamed.replaces = subscriber.email
        renamed.confirm_url = confirm_url
        self._acted(renamed, "Reverify", None)
        self._acted(subscriber, None, "modify")

    def _leave(self, subscriber: Subscriber) -> None:
        if subscriber.status == self.status_words["unsubscribed"]:
            return
        subscriber.status = self.status_words["unsubscribed"]
        subscriber.unsub_time = max(self._unix(), subscriber.confirm_time + 1)  # after it, also within one second
        subscriber.unsub_ip = subscriber.join_ip
        subscriber.unsubscribed += 1
        self._acted(subscriber, None, "unsubscribe")

    def _acted(self, subscriber: Subscriber, action_type: str | None, action: str | None) -> None:
        """Note the change, and post the webhook of the action if the list has one."""
        if action_type is not None:
            subscriber.action_type = action_type
            subscriber.action_time = self._unix()
        self._history.setdefault(subscriber.key, []).append((self.now(), copy(subscriber)))
        url = self.webhook_urls.get((subscriber.lid, action)) if action else None
        if url is not None:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            body = urlencode(webhook_fields(subscriber)).encode()
            self.outgoing.append(Request("POST", url, headers, body, label=f"webhook/{action}", token=False))

    def _as_read(self, key: Key) -> Subscriber | None:
        if not self.stale_for_s:
            return self.subscribers.get(key)
        then = self.now() - timedelta(seconds=self.stale_for_s)
        return next((state for at, state in reversed(self._history.get(key, [])) if at <= then), None)

    def _unix(self) -> int:
        return int(self.now().timestamp())


def webhook_fields(one: Subscriber) -> dict[str, str]:
    """Exactly what the webhooks page names: no event, no list, no standing, no old address."""
    return {
        "Name": one.name,
        "Email": one.email,
        "JoinIP": one.join_ip,
        "JoinTime": str(one.join_time),
        "JoinURL": one.join_url,
        "ConfirmIP": one.confirm_ip,
        "ConfirmTime": str(one.confirm_time or ""),
        "ConfirmLink": one.confirm_url,
        "ActionTime": str(one.action_time),
        "ActionType": one.action_type,
        "ActionIP": one.action_ip,
        "UnsubIP": one.unsub_ip,
        "Sent": str(one.sent),
        "Open": str(one.opened),
        "Click": str(one.clicked),
        "Bounce": str(one.bounced),
        "Subscribe": str(one.subscribed),
        "Unsubscribe": str(one.unsubscribed),
    }
