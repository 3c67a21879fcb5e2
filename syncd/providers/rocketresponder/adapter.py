"""RocketResponder: an autoresponder that can be asked about one subscriber at a time.

It names its lists, looks up one address on one list, takes unsubscribes, subscriptions and names, and posts webhooks.
It cannot list subscribers and has no campaign statistics, so there is no snapshot, no feed and no report here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome, Target
from syncd.domain.errors import (
    MalformedError,
    ProviderError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.domain.facts import Facts
from syncd.domain.identity import identity_of
from syncd.domain.records import Container, ContainerId, Delivery, Hint, Observation, Status
from syncd.domain.stars import starred
from syncd.providers.fields import unread
from syncd.providers.rocketresponder import translate, webhook
from syncd.providers.rocketresponder.options import RocketResponderOptions
from syncd.providers.rocketresponder.signature import signed_form
from syncd.providers.rocketresponder.translate import Answer
from syncd.wire import Exchange, Request, Response

Pairs = Sequence[tuple[str, str]]

_VALID_S = 600  # devzone, AUTHENTICATION: a request is good for ten minutes after it was signed
_HINT = "check both keys, and the clock of this machine: a request is valid for ten minutes"


# What `list/create` takes besides `Name`: our key, its parameter, and whether it is required. The provider's own SDK
# sends the optional ones empty rather than not at all.
_NEW_LIST = (
    ("permalink", "Permalink", True),
    ("from_name", "FromName", True),
    ("from_email", "FromEmail", True),
    ("address", "Address", True),
    ("header", "Header", False),
    ("footer", "Footer", False),
    ("notify", "Notify", False),
)


class RocketResponderAdapter:
    """One key pair."""

    accepts = frozenset({ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE})
    new_list_keys: Mapping[str, bool] = {key: required for key, _, required in _NEW_LIST}

    def __init__(self, options: RocketResponderOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        self.linked = linked
        self._options = options
        self._now = now
        self._words = {**translate.STATUS_WORDS, **options.status_words}
        self._fields = {**translate.FIELDS, **options.fields}
        # Only the whole name can be written, so a name that is read from elsewhere cannot.
        names = frozenset(translate.FIELDS)
        written = names if all(self._fields[name] == translate.FIELDS[name] for name in names) else frozenset[str]()
        self.facts = Facts(fields=written, one_name_field=True, looks_before_subscribe=True, changes_addresses=True)

    # --- reading ----------------------------------------------------------------------------------

    def check(self) -> Exchange[None]:
        yield from self.containers()

    def containers(self) -> Exchange[Sequence[Container]]:
        call = "list/all"
        answer = yield from self._call(call, (), repeatable=True)
        return translate.read_lists(answer, call)

    def lookup(self, target: Target) -> Exchange[Sequence[Observation]]:
        call = "subscriber/lookup"
        params = (("email", target.address), ("LID", target.container))
        answer, error = yield from self._ask(call, params, repeatable=True)
        if error is not None:
            # Whether an unknown address is a success without a subscriber or a failure is not documented.
            if translate.says_not_there(error):
                return ()
            raise _refusal(call, answer, error)
        subscriber = translate.subscriber_of(answer, call)
        if subscriber is None:
            return ()
        if translate.contradicts(subscriber, target):
            raise MalformedError(f"{call}: the answer is about another subscriber", call=call)
        return (
            translate.read_subscriber(subscriber, answer.subscriber, target, words=self._words, fields=self._fields),
        )

    # --- writing ----------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        acks = []
        for change in changes:
            try:
                ack = yield from self._apply(change)
            except RefusedError as refused:
                # "Already" means that the person stands elsewhere than we believe: a look, not a verdict.
                outcome = Outcome.UNCERTAIN if translate.says_already(refused.message) else Outcome.REFUSED
                ack = Ack(outcome, reason=refused.message)
            acks.append(ack)
        return acks

    def _apply(self, change: Change) -> Exchange[Ack]:
        match change.kind:
            case ChangeKind.UNSUBSCRIBE:
                return (yield from self._write("subscriber/unsubscribe", change, (), repeatable=True))
            case ChangeKind.SUBSCRIBE:
                return (yield from self._subscribe(change))
            case ChangeKind.UPDATE:
                return (yield from self._change_name(change))

    def _subscribe(self, change: Change) -> Exchange[Ack]:
        # What `subscribe` does to an address that has unsubscribed is not documented; it may undo the unsubscribe.
        seen = yield from self.lookup(change.target)
        if seen:
            return Ack(Outcome.STALE, seen=tuple(seen), reason="already on the list")
        name = translate.full_name(change.fields) if self.facts.fields else ""
        confirm_url = self._options.confirm_urls.get(change.container, self._options.confirm_url)
        extra = [(key, value) for key, value in (("name", name), ("ConfirmURL", confirm_url)) if value]
        if change.replaces is not None:
            return (yield from self._change_address(change, change.replaces, extra))
        return (yield from self._write("subscriber/subscribe", change, extra))

    def _change_address(self, change: Change, former: str, extra: Pairs) -> Exchange[Ack]:
        """Ask the new address to confirm; until it does, the former goes on. Whoever left under that is not moved."""
        identity = identity_of(former)
        old = None if identity is None else Target(change.container, identity, former)
        there = () if old is None else (yield from self.lookup(old))
        if not there:
            return (yield from self._write("subscriber/subscribe", change, extra))
        if any(one.status is not Status.SUBSCRIBED for one in there):
            return Ack(Outcome.STALE, seen=tuple(there), reason="the former address does not stand there any more")
        extra = [("newemail", change.address), *extra]
        return (yield from self._write("subscriber/modify", change, extra, of=old))

    def _change_name(self, change: Change) -> Exchange[Ack]:
        call = "subscriber/modify"
        given = {name: value for name, value in change.fields.items() if name in self.facts.fields and value.strip()}
        if not given:
            raise RefusedError(f"{call}: none of the fields can be written here", call=call)
        seen: Sequence[Observation] = ()
        if given.keys() != self.facts.fields:
            # Only the differing half may be given, and the whole name is what gets replaced.
            seen = yield from self.lookup(change.target)
            if not seen:
                return Ack(Outcome.STALE, reason="not on the list")
            if any(unread(name) in seen[0].fields for name in self.facts.fields):
                return Ack(Outcome.STALE, seen=tuple(seen), reason="the name there cannot be read")
            given = {**seen[0].fields, **given}
        name = translate.full_name(given)
        # The old address as the new one: any other would start a change of address, which ends in an unsubscribe.
        extra = [("newemail", change.address), ("name", name)]
        return (yield from self._write(call, change, extra, seen=tuple(seen)))

    def _write(
        self,
        call: str,
        change: Change,
        extra: Pairs,
        *,
        repeatable: bool = False,
        seen: tuple[Observation, ...] = (),
        of: Target | None = None,
    ) -> Exchange[Ack]:
        """Send one change. `of`: whom the call is about, unless it is the person of the change."""
        about = of or change.target
        params = [("email", about.address), ("LID", str(change.container)), *extra]
        answer = yield from self._call(call, params, repeatable=repeatable)
        try:
            subscriber = translate.subscriber_of(answer, call)
        except MalformedError:
            return Ack(Outcome.UNCERTAIN, seen=seen, reason=f"{call}: success with a subscriber that cannot be read")
        if subscriber is None:
            return Ack(Outcome.ACCEPTED, seen=seen)
        if all(translate.contradicts(subscriber, one) for one in (about, change.target)):
            return Ack(Outcome.UNCERTAIN, seen=seen, reason=f"{call}: success about another subscriber")
        if of is not None:
            return Ack(Outcome.ACCEPTED, seen=seen)  # which of the two the answer shows is not documented
        return Ack(Outcome.ACCEPTED, receipt=translate.subscriber_id(subscriber), keys=(change.identity,), seen=seen)

    def create_list(self, name: str, given: Mapping[str, str]) -> Exchange[Container]:
        """Create a list; a repetition would fail on its permalink or make a second one."""
        call = "list/create"
        if problems := translate.list_problems(name, given):
            raise RefusedError(f"{call}: {'; '.join(problems)}", call=call)
        params = [("Name", name.strip()), *((parameter, given.get(key, "")) for key, parameter, _ in _NEW_LIST)]
        answer = yield from self._call(call, params)
        lists = translate.read_lists(answer, call)
        if len(lists) != 1:
            raise MalformedError(f"{call}: success without the new list", call=call)
        return lists[0]

    # --- deliveries -------------------------------------------------------------------------------

    def verify(self, delivery: Delivery) -> None:
        webhook.verify(delivery, [secret.get_secret_value() for secret in self._options.webhook_secret])

    def webhook_urls(self, public_url: str, account: str, container: ContainerId) -> Mapping[str, str]:
        newest = self._options.webhook_secret[0].get_secret_value()
        return webhook.webhook_urls(public_url, account, container, newest)

    def delivery_id(self, delivery: Delivery) -> str:
        return webhook.delivery_id(delivery)

    def read_delivery(self, delivery: Delivery) -> Sequence[Observation | Hint]:
        return webhook.read_delivery(delivery)

    # --- one call ---------------------------------------------------------------------------------

    def _call(self, call: str, params: Pairs, *, repeatable: bool = False) -> Exchange[Answer]:
        """One call that must succeed."""
        answer, error = yield from self._ask(call, params, repeatable=repeatable)
        if error is not None:
            raise _refusal(call, answer, error)
        return answer

    def _ask(self, call: str, params: Pairs, *, repeatable: bool) -> Exchange[tuple[Answer, str | None]]:
        """One call, and the reason if it failed, fit to be logged. Raises for what is not about this record alone."""
        options = self._options
        private_key = options.private_key.get_secret_value()
        try:
            time = int(self._now().timestamp())
            signed = signed_form(private_key, f"{options.signed_base}/{call}", params, time)
        except ValueError as unsignable:
            raise RefusedError(f"{call}: {unsignable}", call=call) from None
        credentials = b64encode(f"{options.public_key}:{signed.signature}".encode()).decode("ascii")
        response = yield Request(
            "POST",
            f"{options.base_url}/{call}",
            {
                "authorization": f"Basic {credentials}",
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
            },
            signed.body,
            label=call,
            repeatable=repeatable,
            token=False,
        )
        self._raise_for_status(call, response)
        answer = translate.read_answer(response.body, call)
        if answer.succeeded and not answer.error:
            if not 200 <= response.status < 300:
                raise MalformedError(f"{call}: HTTP {response.status} with a body that says Success", call=call)
            return answer, None
        said = [value for name, value in params if name != "LID"]
        ours = (options.public_key, private_key, signed.signature, credentials)
        error = translate.scrubbed(starred(answer.error, ours), said)
        if translate.about_credentials(error):
            raise UnauthorisedError(f"{call}: {error}", call=call, hint=self._hint(response))
        return answer, error or "no reason given"

    def _raise_for_status(self, call: str, response: Response) -> None:
        status = response.status
        if status in {401, 403}:
            raise UnauthorisedError(f"{call}: HTTP {status}", call=call, hint=self._hint(response))
        if status == 429:
            wait_s = _retry_after_s(response.headers, self._now())
            raise ThrottledError(f"{call}: HTTP {status}", call=call, retry_after_s=wait_s)
        if status >= 500:
            raise UnavailableError(f"{call}: HTTP {status}", call=call)

    def _hint(self, response: Response) -> str:
        theirs = _http_date(response.headers.get("date", ""))
        if theirs is None:
            return _HINT
        off_s = (self._now() - theirs).total_seconds()
        if abs(off_s) < _VALID_S / 2:
            return _HINT
        return f"the clock of this machine is {off_s / 60:+.0f} min off the provider's, and requests are valid for ten"


def _refusal(call: str, answer: Answer, error: str) -> ProviderError:
    if answer.succeeded:
        return MalformedError(f"{call}: Success with an error: {error}", call=call)
    return RefusedError(f"{call}: {error}", call=call)


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    at = _http_date(text)
    return None if at is None else max(0.0, (at - now).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
