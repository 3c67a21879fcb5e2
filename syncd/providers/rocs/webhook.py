"""Notices from ROCS: who sent them, and what they say.

That there are webhooks is on the page of ROCS; events, body and signature are assumed. Nothing is promised about order,
repetition or arrival, so a notice is one more observation, never a command.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from syncd.domain.errors import DeliveryError
from syncd.domain.records import WHOLE_ACCOUNT, ContainerId, Delivery, Hint, Observation, Status
from syncd.providers.json_text import mended
from syncd.providers.rocs.answer import loosely
from syncd.providers.rocs.translate import Translator, id_of

ROUTE = ("webhook",)
_SECONDS = re.compile(r"[0-9]{1,12}")
ID_MAX = 200


class Signing(NamedTuple):
    """How a notice is signed: in which header, and, where one holds the time, what is signed with it.

    `window_s`: how far a notice may be from our clock, either way.
    """

    header: str
    timestamp_header: str | None = None
    window_s: float = 300.0


def verify(delivery: Delivery, secrets: Sequence[bytes], signing: Signing) -> None:
    """Raise unless the raw body is signed with one of the secrets. Without a secret nothing is taken.

    The signature is taken as it is spelt: `sha256=` and lower-case hexadecimal digits, once. Where a header tells the
    time, that and a dot are signed before the body, and what is older or newer than the window is refused.
    """
    if delivery.route != ROUTE:
        raise DeliveryError(404, "no such address at this account")
    if delivery.method != "POST":
        raise DeliveryError(405, "notices come by POST")
    given = delivery.headers.get(signing.header.lower(), "").encode()
    content, moment = delivery.body, ""
    if signing.timestamp_header is not None:
        moment = delivery.headers.get(signing.timestamp_header.lower(), "")
        content = moment.encode() + b"." + delivery.body
    # Every secret is tried, the right one too, so that the time says nothing of which one fitted.
    matches = [
        hmac.compare_digest(given, f"sha256={hmac.new(secret, content, sha256).hexdigest()}".encode())
        for secret in secrets
    ]
    if not any(matches):
        raise DeliveryError(401, "the signature does not fit" if secrets else "no webhook_secret is configured")
    if signing.timestamp_header is not None and not _near(moment, delivery, signing.window_s):
        raise DeliveryError(401, "the signature is too old, or from a clock that is off")


def _near(moment: str, delivery: Delivery, window_s: float) -> bool:
    """Whether seconds since 1970 are within the window of when a notice came."""
    if not _SECONDS.fullmatch(moment):
        return False
    return abs(delivery.received_at.timestamp() - int(moment)) <= window_s


def delivery_id(delivery: Delivery, translator: Translator) -> str:
    """The event's own id, which a repetition carries again; a body without one is its own name."""
    try:
        found = loosely(delivery.body, dict[str, Any])
    except (ValueError, RecursionError):
        found = {}
    own = id_of(found.get(translator.table.names["delivery.id"]))
    return own if own is not None and len(own) <= ID_MAX else f"sha256:{sha256(delivery.body).hexdigest()}"


def read_delivery(delivery: Delivery, translator: Translator) -> Sequence[Observation | Hint]:
    name = translator.table.names
    notice = _members(delivery.body)
    event = _word(notice.get(name["delivery.event"]))
    member, customer = (_object(notice.get(name[f"delivery.{about}"])) for about in ("member", "customer"))
    if member is not None and (container := _container(notice, translator)) is not None:
        return _about_member(container, member, event, translator)
    if customer is not None:
        return _about_customer(customer, event, translator)
    if event in translator.table.events():
        raise DeliveryError(400, "the notice does not say whom it is about")
    return ()  # an event of a kind that says nothing of anybody


def _about_customer(raw: bytes, event: str | None, translator: Translator) -> Sequence[Observation | Hint]:
    name = translator.table.names
    seen = translator.customer(translator.record(WHOLE_ACCOUNT, raw))
    if event is not None and event in {name["event.customer_created"], name["event.customer_updated"]}:
        return (seen,)
    # Gone, or an event that we do not know: a look-up decides. Deletion says nothing about consent.
    return _hint(WHOLE_ACCOUNT, seen)


def _about_member(
    container: ContainerId, raw: bytes, event: str | None, translator: Translator
) -> Sequence[Observation | Hint]:
    name = translator.table.names
    seen = translator.member(container, translator.record(container, raw))
    if event not in {name["event.list_subscribed"], name["event.list_unsubscribed"]}:
        return _hint(container, seen)
    if event == name["event.list_unsubscribed"] and name["member.status"] not in _members(raw):
        # The member's own word counts, being newer than the event if the notice is late; without one the event's does.
        seen = seen._replace(status=Status.UNSUBSCRIBED)
    return (seen,)


def _hint(container: ContainerId, seen: Observation) -> Sequence[Hint]:
    return (Hint(container, seen.address),) if seen.address else ()


def _container(notice: Mapping[str, msgspec.Raw], translator: Translator) -> ContainerId | None:
    name = translator.table.names
    raw = _object(notice.get(name["delivery.list"]))
    key = id_of(msgspec.json.decode(raw, type=dict[str, Any]).get(name["list.id"])) if raw is not None else None
    return ContainerId(key) if key is not None else None


def _members(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        body = _sound(body)
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        raise DeliveryError(400, "the notice is not a JSON object") from None


def _sound(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body)  # the whole of it: raw slices are not looked into
    except ValueError:
        body = mended(body)  # a name cut in the middle of a letter must not keep anybody's "no" from being read
        msgspec.json.decode(body)
    return body


def _object(raw: msgspec.Raw | None) -> bytes | None:
    found = bytes(raw).strip() if raw is not None else b""
    return found if found.startswith(b"{") else None


def _word(raw: msgspec.Raw | None) -> str | None:
    word = msgspec.json.decode(raw) if raw is not None else None
    return word if isinstance(word, str) else None
