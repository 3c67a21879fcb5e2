"""What an adapter is: the base every one has, and a `Can…` protocol for each thing it may be able to do.

Adapters are pure. They converse (yield a `Request`, receive a `Response`) and translate; they keep no state between
calls, open no socket, never sleep, retry or log. What a provider cannot do is visible in its type: it lacks the method.

Rules that hold for every exchange
* An answer that cannot be read raises `MalformedError`; nothing is ever inferred from it.
* 401 (and whatever else the provider uses for it) raises `UnauthorisedError`, 429 `ThrottledError`, 5xx
`UnavailableError`,
  unless the provider's documentation gives them another meaning.
* Error messages and `Request.label` name no person and no secret.
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
    """One account at one provider."""

    facts: Facts

    def check(self) -> Exchange[None]:
        """The cheapest harmless call that proves address and credentials; raises what is wrong."""
        ...


@runtime_checkable
class CanLogin(Protocol):
    """Needs a token. The carrier asks for one when it has none, one login at a time, and once more after a refusal."""

    login_again_on: frozenset[int]

    def login(self) -> Exchange[Token]: ...
    def authorise(self, request: Request, token: Token) -> Request: ...


@runtime_checkable
class CanList(Protocol):
    """Names its lists."""

    def containers(self) -> Exchange[Sequence[Container]]:
        """All lists, whole, in one exchange. Includes `WHOLE_ACCOUNT` where contacts exist apart from lists."""
        ...


@runtime_checkable
class CanSnapshot(Protocol):
    """Lists everyone in a container: the one place where absence is a fact."""

    def snapshot(self, container: ContainerId, at: str | None) -> Exchange[Page]:
        """One page; `at` is None for the first and the last page's `next` afterwards."""
        ...

    def read(self, container: ContainerId, record: Record) -> Observation:
        """Translate one record. Pure; never raises for odd content: an unusable address or status is marked as such."""
        ...


@runtime_checkable
class CanFeed(Protocol):
    """Lists what changed since a watermark;

    absence says nothing. `since` is inclusive, so the last one is seen again.
    """

    def feed(self, container: ContainerId, since: str, at: str | None) -> Exchange[Page]: ...
    def read(self, container: ContainerId, record: Record) -> Observation: ...


@runtime_checkable
class CanLookup(Protocol):
    """Can be asked about one person."""

    def lookup(self, target: Target) -> Exchange[Sequence[Observation] | None]:
        """All records that stand for the person in the container. Empty: not there. None: this provider cannot tell
        from what is known (no key, no search by address); only a whole listing can.
        """
        ...


@runtime_checkable
class CanReport(Protocol):
    def campaigns(self, known_addresses: Sequence[str], since: datetime | None) -> Exchange[Sequence[CampaignStats]]:
        """Statistics of every campaign that can be found.

        `known_addresses` cover all lists with few addresses, for providers whose campaigns are found through a contact.
        `since` is when the last whole report was read (None: never), for providers that report by day.
        """
        ...


@runtime_checkable
class CanVet(Protocol):
    """Can say how sound an address and a phone number are, of anybody."""

    def vet(self, address: str, phone: str) -> Exchange[Verification]:
        """`phone`: E.164, empty if there is none."""
        ...


@runtime_checkable
class CanApply(Protocol):
    """Takes writes."""

    accepts: frozenset[ChangeKind]

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Send changes of one kind for one container, at most `facts.batch[kind]` (else one). One `Ack` each, in order.

        Raises for the call as a whole; the caller then treats every change in it alike.
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
        """
        ...


@runtime_checkable
class CanNotify(Protocol):
    """Sends to us."""

    def verify(self, delivery: Delivery) -> None:
        """Raise `DeliveryError` unless this came from the provider; runs before anything is stored. Constant time."""
        ...

    def delivery_id(self, delivery: Delivery) -> str:
        """The same for a repetition of the same delivery, different for another one."""
        ...

    def read_delivery(self, delivery: Delivery) -> Sequence[Observation | Hint]:
        """Raise `DeliveryError(400)` for a body that cannot be read."""
        ...


@runtime_checkable
class CanBeTried(Protocol):
    """Sends us deliveries that only try whether we can be reached."""

    @property
    def tests_kept(self) -> Retention: ...

    def is_test(self, delivery: Delivery) -> bool:
        """Whether nothing may follow from a delivery that was verified and can be read."""
        ...


@runtime_checkable
class CanRegister(Protocol):
    """Wants to be told where to send notices."""

    def register(self, callback_url: str, *, anew: bool = False) -> Exchange[str]:
        """Make sure that exactly one registration for this address exists;

        returns its id. Repeating changes nothing. `anew`: whatever is registered gives way to a new one, since the
        secret is another by now and no provider shows which one it has.
        """
        ...


@runtime_checkable
class CanPost(Protocol):
    """Posts notices to addresses that a person enters there by hand, where no call takes them (see `CanRegister`)."""

    def webhook_urls(self, public_url: str, account: str, container: ContainerId) -> Mapping[str, str]:
        """For each action on one list the address to enter. It holds a secret: printed on demand, and never logged."""
        ...


@runtime_checkable
class CanCreateList(Protocol):
    """Takes new lists."""

    new_list_keys: Mapping[str, bool]
    """What a list is given besides its name; True where it must be."""

    def create_list(self, name: str, given: Mapping[str, str]) -> Exchange[Container]:
        """Make a list, of which repeating this may make another. `given` holds what must be given, and known keys only.

        Raises `RefusedError`, with nothing sent, for what is known not to be taken.
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
