"""What an adapter is: the base every one has, and a `Can…` protocol for each thing it may be able to do.

Adapters are pure. They converse (yield a `Request`, receive a `Response`) and translate; they never sleep, retry or
log. What a provider cannot do is visible in its type: it lacks the method.

Each rule below has a name. Under that name `tests/conformance` holds every adapter to it, against its emulator, and
shows that an adapter which breaks it is noticed.

Rules for every exchange
* pure: Driving an exchange touches no socket, file or environment, reads no clock and no chance, and waits for nothing;
  what time it is, only `now` says.
* no-state: Nothing is kept between calls: a new adapter with the same options asks the same and answers the same.
* no-retry: What was answered with 429 or 5xx is not asked again within the exchange: repetition is the carrier's.
* repeatable: A request marked `repeatable` may arrive twice: the provider then stands as if it had come once, and a
  "no" that somebody said there in between still stands.
* unreadable: An answer that cannot be read raises `MalformedError` or makes an `Ack` uncertain; nothing is inferred
  from it. (Where the documentation makes the status alone the answer, there is nothing to read.)
* named-faults: 401 (and whatever else the provider uses for it) raises `UnauthorisedError`, 429 `ThrottledError` with
  the seconds of its Retry-After, 5xx `UnavailableError`, unless the documentation gives them another meaning.
* discreet: Messages, hints, the reasons of an `Ack` and `Request.label` name no person and no secret, also where the
  provider's own words repeat what it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from syncd.domain.changes import Ack, Change, ChangeKind, Target
from syncd.domain.facts import Capabilities, Facts
from syncd.domain.hygiene import Verification
from syncd.domain.records import CampaignStats, Container, ContainerId, Delivery, Hint, Observation, Page, Record
from syncd.wire import Exchange, Request


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gave. Not printed."""

    value: str = field(repr=False)
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Retention:
    """How long something is kept, and how many of it at most."""

    seconds: float
    most: int


class Provider(Protocol):
    """One account at one provider.

    * capabilities: It can exactly what the table of its provider says, whatever is configured besides.
    """

    facts: Facts

    def check(self) -> Exchange[None]:
        """The cheapest call that proves address and credentials; raises what is wrong.

        * check-harmless: It changes nothing at the provider.
        * check-proves: Where it asks anything, wrong credentials raise `UnauthorisedError`.
        """
        ...


@runtime_checkable
class CanLogin(Protocol):
    """Needs a token. The carrier asks for one when it has none, one login at a time, and once more after a refusal.

    * login-apart: A login is repeatable, wants no token itself, and gives one that lives and is not printed.
    * login-carries: `authorise` adds the token to the headers and changes nothing else.
    * login-again: A token that is not valid any more is refused with a status in `login_again_on`.
    """

    login_again_on: frozenset[int]

    def login(self) -> Exchange[Token]: ...
    def authorise(self, request: Request, token: Token) -> Request: ...


@runtime_checkable
class CanList(Protocol):
    """Names its lists."""

    def containers(self) -> Exchange[Sequence[Container]]:
        """All lists, in one exchange.

        * lists-whole: Every list is there, once, however the provider cuts its answers; else it raises.
        * lists-account: `WHOLE_ACCOUNT` is among them where contacts exist apart from lists.
        """
        ...


@runtime_checkable
class CanSnapshot(Protocol):
    """Lists everyone in a container: the one place where absence is a fact."""

    def snapshot(self, container: ContainerId, at: str | None) -> Exchange[Page]:
        """One page; `at` is None for the first and the last page's `next` afterwards.

        * everybody-once: From None to None everybody is shown, once, however the provider cuts its pages.
        * page-whole: A page that failed or was cut short raises: a listing never ends because of a fault.
        * page-goes-on: `at` is all that is needed to go on, also for an adapter that has just been made.
        * page-counts: `count` is how many records there are, and nobody at all is a page of none.
        * record-stays: A record has the same key and the same bytes at each reading while nothing about it changes, and
          other bytes once its standing does.
        """
        ...

    def read(self, container: ContainerId, record: Record) -> Observation:
        """Translate one record.

        * read-pure: The same record reads the same, under its own key and container.
        * read-total: It never raises for odd content, and what cannot be mailed has no identity.
        * read-no-guess: A status that no table knows is `UNKNOWN`, never `SUBSCRIBED`.
        * read-blank: A field that is missing or empty there is not in `fields`.
        """
        ...


@runtime_checkable
class CanFeed(Protocol):
    """Lists what changed since a watermark; absence says nothing.

    * feed-inclusive: `since` is inclusive: what a page's `watermark` was taken from is seen again.
    * feed-news: Whatever changed after that is in it, and reads as a listing would show it.
    """

    def feed(self, container: ContainerId, since: str, at: str | None) -> Exchange[Page]: ...
    def read(self, container: ContainerId, record: Record) -> Observation: ...


@runtime_checkable
class CanLookup(Protocol):
    """Can be asked about one person."""

    def lookup(self, target: Target) -> Exchange[Sequence[Observation] | None]:
        """All records that stand for the person in the container. None: this provider cannot tell from what is known
        (no key, no search by address); only a whole listing can.

        * lookup-all: Each record of the person is there, in the container asked about, and nobody else's.
        * lookup-nobody: Somebody who is not there gives an empty answer or None, and no error.
        * lookup-harmless: It changes nothing at the provider.
        """
        ...


@runtime_checkable
class CanReport(Protocol):
    def campaigns(self, known_addresses: Sequence[str], since: datetime | None) -> Exchange[Sequence[CampaignStats]]:
        """Statistics of every campaign that can be found.

        `known_addresses` cover all lists with few addresses, for providers whose campaigns are found through a contact.
        `since` is when the last whole report was read (None: never), for providers that report by day.

        * report-every: Each campaign is there once (once a day, where it is by day), under its id and name.
        * report-no-zero: A counter that the provider does not give is None, not 0.
        """
        ...


@runtime_checkable
class CanVet(Protocol):
    """Can say how sound an address and a phone number are, of anybody."""

    def vet(self, address: str, phone: str) -> Exchange[Verification]:
        """`phone`: E.164, empty if there is none.

        * vet-anybody: Whoever is asked about, known there or not, gets a verdict that names the number it is about.
        * vet-harmless: It changes nothing at the provider.
        """
        ...


@runtime_checkable
class CanApply(Protocol):
    """Takes writes."""

    accepts: frozenset[ChangeKind]

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Send changes of one kind for one container, at most `facts.batch[kind]` (else one).

        Raises for the call as a whole; the caller then treats every change in it alike.

        * ack-each: One `Ack` for each change, in their order.
        * accepted-is-so: What is accepted is so at the provider.
        * refused-is-not: What is refused or stale changed nothing there.
        * nobody-else: Nobody and nothing but what a change names is changed: no other person, list or field.
        * no-everywhere: An unsubscribe reaches every record that it names, and no other list unless
          `facts.unsubscribe_is_global` says so.
        * no-again: An unsubscribe that is repeated is not refused and changes nothing.
        * yes-once: Where `facts.looks_before_subscribe`, a repeated SUBSCRIBE adds nobody twice.
        * yes-in-place: Where `facts.changes_addresses`, one that replaces an address leaves that as it stands, and
          subscribes nobody before they confirm; if that one said no there meanwhile, nothing is changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial came to. `rule`: what in the configuration decided; no verdict: nothing did. `body`: the answer."""

    status: int
    rule: str
    verdict: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One marked record on its way: the request as a person may see it, without secrets, and the exchange."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str
    exchange: Exchange[Tried]


@runtime_checkable
class CanTry(Protocol):
    """Can send a record that stands for nobody."""

    def trial(self, address: str | None, *, live: bool) -> Trial | None:
        """To the place for tests or, if `live`, to the real one; None where there is no such place.

        Whatever the receiver says of it is told, and nothing follows from it.

        * try-apart: Without `live` nobody is delivered to the real place; None where there is no other.
        * try-shows: What is shown of the request and of the answer holds no secret.
        """
        ...


@runtime_checkable
class CanNotify(Protocol):
    """Sends to us."""

    def verify(self, delivery: Delivery) -> None:
        """Raise `DeliveryError` unless this came from the provider; runs before anything is stored. Constant time.

        * delivery-proved: What the provider sends is taken; with any credential missing or altered it is refused.
        """
        ...

    def delivery_id(self, delivery: Delivery) -> str:
        """* delivery-again: The same for a repetition of the same delivery, different for another one."""
        ...

    def read_delivery(self, delivery: Delivery) -> Sequence[Observation | Hint]:
        """What it says, or whom to look up.

        * delivery-read: It is about the person whom the provider tells of.
        * delivery-unreadable: A body that cannot be read raises `DeliveryError(400)`.
        """
        ...


@runtime_checkable
class CanBeTried(Protocol):
    """Sends us deliveries that only try whether we can be reached."""

    @property
    def tests_kept(self) -> Retention: ...

    def is_test(self, delivery: Delivery) -> bool:
        """Whether nothing may follow from a delivery that was verified and can be read.

        * test-told: What the provider sends as a test is one; what it tells of a person is none.
        """
        ...


@runtime_checkable
class CanRegister(Protocol):
    """Wants to be told where to send notices."""

    def register(self, callback_url: str, *, anew: bool = False) -> Exchange[str]:
        """Make sure that a registration for this address exists; returns its id. `anew`: whatever is registered gives
        way to a new one, since the secret is another by now and no provider shows which one it has.

        * register-once: Afterwards there is exactly one for this address, and repeating changes nothing.
        * register-only-ours: Registrations for other addresses stay.
        * register-anew: With `anew` there is exactly one afterwards, and it is a new one.
        """
        ...


@runtime_checkable
class CanPost(Protocol):
    """Posts notices to addresses that a person enters there by hand, where no call takes them (see `CanRegister`)."""

    def webhook_urls(self, public_url: str, account: str, container: ContainerId) -> Mapping[str, str]:
        """For each action on one list the address to enter. It holds a secret: printed on demand, and never logged.

        * post-addresses: No two are the same, and what is posted to one of them is taken.
        """
        ...


@runtime_checkable
class CanCreateList(Protocol):
    """Takes new lists."""

    new_list_keys: Mapping[str, bool]
    """What a list is given besides its name; True where it must be."""

    def create_list(self, name: str, given: Mapping[str, str]) -> Exchange[Container]:
        """Make a list, of which repeating this may make another. `given` holds what must be given, and known keys only.

        * list-made: The list that is returned is then among the lists.
        * list-refused: What is known not to be taken raises `RefusedError`, with nothing sent.
        """
        ...


def capabilities_of(provider: Provider) -> Capabilities:
    """Ask the type once and hand the core plain data; it cannot claim what is not implemented."""
    return Capabilities(
        facts=provider.facts,
        accepts=provider.accepts if isinstance(provider, CanApply) else frozenset(),
        snapshot=isinstance(provider, CanSnapshot),
        feed=isinstance(provider, CanFeed),
        lookup=isinstance(provider, CanLookup),
        report=isinstance(provider, CanReport),
        notify=isinstance(provider, CanNotify),
    )
