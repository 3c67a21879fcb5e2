"""What is written to ROCS: one change, one customer record at a time.

ROCS keeps duplicates: two customers may share an address. An unsubscribe reaches all of them; nothing else is written
to any of them until a person has decided which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome
from syncd.domain.errors import MalformedError, RefusedError, UnavailableError
from syncd.domain.records import SUPPRESSED, WHOLE_ACCOUNT, Observation, Status
from syncd.providers.rocs.answer import decode, text_of
from syncd.providers.rocs.calls import Calls
from syncd.providers.rocs.translate import id_of
from syncd.wire import Exchange, Request

TWO = "two customers share the address"

Confirms = Callable[[Mapping[str, Any]], bool]


class Writes:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._translator = calls.translator
        self._names = calls.table.names

    def apply(self, change: Change) -> Exchange[Ack]:
        match change.kind:
            case ChangeKind.UNSUBSCRIBE:
                return (yield from self._unsubscribe(change))
            case ChangeKind.SUBSCRIBE:
                return (yield from self._subscribe(change))
            case ChangeKind.UPDATE:
                return (yield from self._update(change))

    # Unsubscribe

    def _unsubscribe(self, change: Change) -> Exchange[Ack]:
        """Every record is tried, whatever became of the others; then the first failure is raised."""
        keys = _keys(change)
        if not keys:
            found = yield from self._calls.search(change.address, change.identity)
            keys = tuple(one.key for one in found)
        if not keys:
            return Ack(Outcome.REFUSED, reason="no customer has this address")
        acks, failure = [], None
        for key in keys:
            try:
                acks.append((yield from self._unsubscribe_one(change, key)))
            except UnavailableError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return _joined(acks)

    def _unsubscribe_one(self, change: Change, key: str) -> Exchange[Ack]:
        if change.container == WHOLE_ACCOUNT:
            body = self._translator.consent_body(consent=False)
            # Repeating it changes nothing, and no newer wish is undone by it: a no is a no.
            request = self._calls.request("PUT", "customer", body=body, repeatable=True, ids={"id": key})
            consent = self._names["customer.consent"]
            return (yield from self._send(request, change, key, lambda answer: answer.get(consent) is False))
        return (yield from self._put_member(change, key, Status.UNSUBSCRIBED))

    def _put_member(self, change: Change, key: str, status: Status) -> Exchange[Ack]:
        no = status is Status.UNSUBSCRIBED
        body = self._translator.member_body(status)
        request = self._calls.request(
            "PUT", "member", body=body, repeatable=no, ids={"list": change.container, "id": key}
        )
        word = self._names["member.status"]

        def confirms(answer: Mapping[str, Any]) -> bool:
            shown = self._translator.status(answer.get(word))
            return shown in SUPPRESSED if no else shown is Status.SUBSCRIBED

        return (yield from self._send(request, change, key, confirms))

    # Subscribe

    def _subscribe(self, change: Change) -> Exchange[Ack]:
        """Look first. An existing customer's consent is never changed to yes: a no there prevails."""
        found = yield from self._calls.search(change.address, change.identity)
        if known := change.account_key:
            found += yield from self._named(known, found)
        if any(one.status is Status.UNSUBSCRIBED or one.identity != change.identity for one in found):
            return Ack(Outcome.STALE, seen=tuple(found), reason="the customer has withdrawn consent or changed address")
        if len(found) > 1:
            return Ack(Outcome.REFUSED, reason=TWO)
        if change.container == WHOLE_ACCOUNT:
            if found:
                return Ack(Outcome.STALE, seen=tuple(found), reason="the customer exists already")
            return (yield from self._create(change))
        if found:
            return (yield from self._put_member(change, found[0].key, Status.SUBSCRIBED))
        created = yield from self._create(change)
        if created.outcome is not Outcome.ACCEPTED:
            return created
        (key,) = created.keys
        joined = yield from self._put_member(change, key, Status.SUBSCRIBED)
        yield from self._fill_dynamic(change, key)
        return joined

    def _named(self, key: str, found: list[Observation]) -> Exchange[list[Observation]]:
        """The customer that the mirror links, where the search by address did not show it."""
        if any(one.key == key for one in found):
            return []
        one = yield from self._calls.customer(key)
        if one is None:
            raise UnavailableError("get-customer: the linked customer seems to be gone", call="get-customer")
        return [one]

    def _create(self, change: Change) -> Exchange[Ack]:
        body = self._translator.new_customer(change.address, change.fields)
        request = self._calls.request("POST", "customers", body=body)
        return (yield from self._send(request, change, None, lambda _: True))

    def _fill_dynamic(self, change: Change, key: str) -> Exchange[None]:
        """Dynamic fields of a customer just made. What does not fit its type is left for an update to report."""
        wanted = {field: text for field, text in change.fields.items() if field in self._translator.dynamic}
        if not wanted:
            return
        types = yield from self._calls.dynamic_types()
        fitting = {field: text for field, text in wanted.items() if self._fits(field, text, types)}
        if fitting:
            body = self._translator.dynamic_body(fitting, types)
            assert isinstance(body, bytes)
            request = self._calls.request("PUT", "customer_dynamic", body=body, ids={"id": key})
            yield from self._send(request, change, key, lambda _: True)

    def _fits(self, field: str, text: str, types: Mapping[str, str]) -> bool:
        return isinstance(self._translator.dynamic_body({field: text}, types), bytes)

    # Update

    def _update(self, change: Change) -> Exchange[Ack]:
        if change.container != WHOLE_ACCOUNT:
            return Ack(Outcome.REFUSED, reason="a membership has no fields; they are the customer's")
        keys = _keys(change)
        if len(keys) != 1:
            return Ack(Outcome.REFUSED, reason=TWO if keys else "no customer is known for this address")
        own = {field: text for field, text in change.fields.items() if field in self._translator.standard}
        wanted = {field: text for field, text in change.fields.items() if field in self._translator.dynamic}
        if not own and not wanted:
            return Ack(Outcome.REFUSED, reason="none of the fields exists there")
        dynamic = b""
        if wanted:
            # Asked before anything is written, so that a value that does not fit leaves nothing half done.
            body = self._translator.dynamic_body(wanted, (yield from self._calls.dynamic_types()))
            if isinstance(body, str):
                return Ack(Outcome.REFUSED, reason=body)
            dynamic = body
        acks = []
        if own:
            request = self._calls.request(
                "PUT", "customer", body=self._translator.fields_body(own), ids={"id": keys[0]}
            )
            acks.append((yield from self._send(request, change, keys[0], lambda _: True)))
        if dynamic:
            request = self._calls.request("PUT", "customer_dynamic", body=dynamic, ids={"id": keys[0]})
            acks.append((yield from self._send(request, change, keys[0], lambda _: True)))
        return _joined(acks)

    # One write

    def _send(self, request: Request, change: Change, key: str | None, confirms: Confirms) -> Exchange[Ack]:
        """Send, and read the resource that a PUT and a creating POST answer with (ROCS page, status codes)."""
        response = yield request
        if not 200 <= response.status < 300:
            error = self._calls.failed(response, request, (change.address, *change.fields.values()))
            if isinstance(error, RefusedError):
                return Ack(Outcome.REFUSED, reason=error.message)
            raise error
        try:
            answer = decode(text_of(response), dict[str, Any], call=request.label)
        except MalformedError as error:
            return Ack(Outcome.UNCERTAIN, reason=error.message)
        if "error" in answer:
            return Ack(Outcome.UNCERTAIN, reason=f"{request.label}: an error inside a success")
        key = key or id_of(answer.get(self._names["customer.id"]))
        if key is None or not confirms(answer):
            return Ack(Outcome.UNCERTAIN, reason=f"{request.label}: the answer does not show the change")
        return Ack(Outcome.ACCEPTED, receipt=key, keys=(key,))


def _keys(change: Change) -> tuple[str, ...]:
    """The customers that stand for the person: a member's key is its customer's id, so all of them count."""
    return tuple(dict.fromkeys(key for key in (*change.keys, change.account_key) if key))


def _joined(acks: list[Ack]) -> Ack:
    """One answer for several records: as good as the worst, and unclear where they disagree."""
    outcomes = {ack.outcome for ack in acks}
    outcome = outcomes.pop() if len(outcomes) == 1 else Outcome.UNCERTAIN
    keys = tuple(dict.fromkeys(key for ack in acks for key in ack.keys))
    reason = "; ".join(dict.fromkeys(ack.reason for ack in acks if ack.reason))
    return Ack(outcome, receipt=keys[0] if keys else None, keys=keys, reason=reason)
