"""RocketResponder's answers as our records.

Members of objects are read one by one and tolerantly: ids and numbers come as integers or as text, times may be empty,
and only one status word is documented (RocketResponder devzone, SUBSCRIBER OBJECT).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from syncd.domain.changes import Target
from syncd.domain.errors import MalformedError
from syncd.domain.records import SUPPRESSED, Container, ContainerId, Observation, Status, later, seconds_of
from syncd.providers.contact_points import join_name, read_address, read_phone, split_name
from syncd.providers.fields import unread
from syncd.providers.json_text import SPOILT, mended

STATUS_WORDS: Mapping[str, Status] = {
    "unsubscribed": Status.UNSUBSCRIBED,  # the only word that is documented; all others are our reading
    "confirmed": Status.SUBSCRIBED,
    "active": Status.SUBSCRIBED,
    "subscribed": Status.SUBSCRIBED,
    "verified": Status.SUBSCRIBED,
    # Opt-in is double: who has not confirmed has agreed to nothing yet.
    "unconfirmed": Status.PENDING,
    "pending": Status.PENDING,
    "new": Status.PENDING,
    "waiting": Status.PENDING,
    "bounced": Status.BOUNCED,
    "undeliverable": Status.BOUNCED,
    "complained": Status.COMPLAINED,
    "complaint": Status.COMPLAINED,
    "spam": Status.COMPLAINED,
}

FIELDS: Mapping[str, str] = {"first_name": "First", "last_name": "Last"}
"""Where canonical fields are found; `custom:<name>` names a member of `Custom`."""

_COUNTERS = {"sent": "Sent", "opened": "Open", "clicked": "Click", "bounced": "Bounce"}

_NOTIFY = frozenset({"", "0", "1", "2"})

_EMPTY: tuple[object, ...] = (None, "", "0", 0, [], {})
"""What PHP gives for nothing; `0` covers `false`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the documented shape. `error` is the part of its text before the first bar, as it came."""

    succeeded: bool
    error: str
    lists: bytes
    subscriber: bytes


class _Envelope(msgspec.Struct):
    status: Any = None
    error: Any = None
    lists: msgspec.Raw = msgspec.field(name="list", default=msgspec.Raw(b""))
    subscriber: msgspec.Raw = msgspec.Raw(b"")


_envelope = msgspec.json.Decoder(_Envelope)
_anything = msgspec.json.Decoder()


def read_answer(body: bytes, call: str) -> Answer:
    """Raise `MalformedError` unless the body is the object that RESPONSES in the devzone describes.

    Text that no JSON may hold costs the value that holds it, and neither the record nor all lists.
    """
    try:
        envelope = _envelope.decode(mended(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedError(f"{call}: the answer is not a JSON object", call=call) from None
    error = _error_text(envelope.error)
    lists, subscriber = bytes(envelope.lists), bytes(envelope.subscriber)
    word = envelope.status.strip().casefold() if isinstance(envelope.status, str) else envelope.status
    if word == "success" or (word is None and not error and (lists or subscriber)):
        return Answer(True, error, lists, subscriber)
    if word == "failed" or error:
        return Answer(False, error, lists, subscriber)
    raise MalformedError(f"{call}: the answer says neither Success nor Failed", call=call)


def read_lists(answer: Answer, call: str) -> list[Container]:
    """All lists in an answer: an array, as known clients read it, or one list, or an object keyed by index."""
    value = _decoded(answer.lists, call)
    if value in _EMPTY:
        return []
    if isinstance(value, dict):
        value = [value] if _list_id(value) else list(value.values())
    if not isinstance(value, list):
        raise MalformedError(f"{call}: the lists are neither an array nor an object", call=call)
    containers = [_container(item) for item in value if isinstance(item, dict) and _list_id(item)]
    if not containers:
        raise MalformedError(f"{call}: no list has an id", call=call)
    return containers


def list_problems(name: str, given: Mapping[str, str]) -> list[str]:
    """Why a list cannot be made like this (devzone, POST /api/list/create); empty if nothing is known against it."""
    permalink, sender, notify = (given.get(key, "") for key in ("permalink", "from_email", "notify"))
    problems = []
    if not name.strip():
        problems.append("the list has no name")
    if not (permalink.isascii() and permalink.isalnum()):
        problems.append("permalink: only letters and digits")
    identity = read_address(sender)
    if identity is None:
        problems.append("from_email: not an e-mail address")
    elif re.search(r"@(?:[^@]+\.)?yahoo\.[^@]+$", identity):
        problems.append("from_email: an address at Yahoo is not taken")
    if notify not in _NOTIFY:
        problems.append("notify: 0 never, 1 of each subscription, 2 of each confirmation")
    return problems


def subscriber_of(answer: Answer, call: str) -> Mapping[str, Any] | None:
    """The subscriber object, or None where there is nobody: missing, empty, or without an id."""
    value = _decoded(answer.subscriber, call)
    if value in _EMPTY:
        return None
    if not isinstance(value, dict):
        raise MalformedError(f"{call}: the subscriber is not an object", call=call)
    there = value["ID"] not in _EMPTY if "ID" in value else value.get("Email") not in _EMPTY
    return value if there else None


def subscriber_id(subscriber: Mapping[str, Any]) -> str | None:
    return _id_text(subscriber.get("ID")) or None


def contradicts(subscriber: Mapping[str, Any], target: Target) -> bool:
    """Whether the object is of another person or list than was asked about. What it omits contradicts nothing."""
    email, lid = subscriber.get("Email"), _id_text(subscriber.get("LID"))
    if lid and lid != target.container:
        return True
    if not isinstance(email, str) or not email.strip() or SPOILT in email:
        return False
    return email.strip().lower() != target.address.strip().lower() and read_address(email) != target.identity


def read_subscriber(
    subscriber: Mapping[str, Any],
    raw: bytes,
    target: Target,
    *,
    words: Mapping[str, Status] = STATUS_WORDS,
    fields: Mapping[str, str] = FIELDS,
) -> Observation:
    """One subscriber as it stands. Without a readable address the record is kept and says nothing about anybody.

    The key is the asked-for identity: every call of this API is addressed by e-mail, none by the subscriber's id.
    """
    email = subscriber.get("Email")
    address = email.strip() if isinstance(email, str) and SPOILT not in email else ""
    identity = target.identity if address else None
    return Observation(
        container=target.container,
        key=target.identity,
        address=address or target.address,
        identity=identity,
        status=read_status(subscriber, words) if identity else Status.UNKNOWN,
        fields=read_fields(subscriber, fields),
        raw=raw,
        remote_id=subscriber_id(subscriber),
        unsubscribed_at=_time_text(subscriber.get("UnsubTime")) or None,
        confirmed_at=_time_text(subscriber.get("ConfirmTime")) or None,
        counters={
            name: count for name, member in _COUNTERS.items() if (count := _count(subscriber.get(member))) is not None
        },
    )


def read_status(subscriber: Mapping[str, Any], words: Mapping[str, Status] = STATUS_WORDS) -> Status:
    """Times beat words: words are undocumented but one, and an unsubscribe after the last confirmation stands."""
    word = subscriber.get("Status")
    status = words.get(word.strip().casefold(), Status.UNKNOWN) if isinstance(word, str) else Status.UNKNOWN
    left = _time_text(subscriber.get("UnsubTime"))
    if not left or status in SUPPRESSED:  # a complaint is a stronger no than an unsubscribe, so it stays one
        return status
    confirmed = _time_text(subscriber.get("ConfirmTime"))
    if seconds_of(left) is None:
        return Status.UNKNOWN  # a time of unsubscribe that cannot be compared must not read as consent
    return Status.UNSUBSCRIBED if seconds_of(confirmed) is None or later(left, confirmed) else status


def read_fields(subscriber: Mapping[str, Any], fields: Mapping[str, str] = FIELDS) -> dict[str, str]:
    """Canonical fields that hold something. A name that comes in one piece only is split."""
    found = {name: value for name, source in fields.items() if (value := _member(subscriber, source))}
    if fields.get("first_name") == "First" and fields.get("last_name") == "Last" and not _names(found):
        first, last = split_name(_member(subscriber, "Name"))
        found |= {name: value for name, value in (("first_name", first), ("last_name", last)) if value}
    if (phone := found.get("phone")) and not _E164.fullmatch(phone):
        found["phone"] = read_phone(phone) or phone  # as it came: what it is worth is judged by its kind
    return {unread(name) if SPOILT in value else name: value for name, value in found.items()}


_E164 = re.compile(r"\+[1-9][0-9]{7,14}")


def full_name(fields: Mapping[str, str]) -> str:
    return join_name(fields.get("first_name", ""), fields.get("last_name", ""))


def _names(fields: Mapping[str, str]) -> bool:
    return "first_name" in fields or "last_name" in fields


# --- Error texts: no list of them is public, so they are read by the words in them ---------------

_ADDRESS = re.compile(r"[^\s<>\"',;:()|]+@[^\s<>\"',;()|]+")
_TEXT_MAX = 200

_ABOUT_CREDENTIALS = re.compile(
    r"signature"
    r"|(?<![a-z])(?:api|public|private)?keys?(?![a-z])"
    r"|(?<![a-z])(?:un)?auth(?:enti|ori[sz]|(?![a-z]))"
    r"|(?<!at this )(?<![a-z])time(?:stamp)?(?![a-z])"
    r"|(?<![a-z])expired?(?![a-z])"
)
_NOT_THERE = re.compile(r"not found|no (?:such )?subscriber|does(?: not|n't) exist")
_ABOUT_LIST = re.compile(r"(?<![a-z])list(?![a-z])")
_ABOUT_PERSON = re.compile(r"subscriber|address|e-?mail|(?<![a-z])(?:user|contact|member)(?![a-z])")


def scrubbed(text: str, said: Iterable[str]) -> str:
    """An error text that may be logged: without addresses and without what the request `said`, which it may echo."""
    text = " ".join(text.split())
    words = {value for value in said if value.strip()}
    words |= {word for value in words for word in value.split() if len(word) > 2}
    for word in sorted(words, key=len, reverse=True):
        shown = "(address)" if "@" in word else "(value)"
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", shown, text, flags=re.IGNORECASE)
    return _ADDRESS.sub("(address)", text)[:_TEXT_MAX]


def about_credentials(text: str) -> bool:
    return _ABOUT_CREDENTIALS.search(text.casefold()) is not None


def says_not_there(text: str) -> bool:
    """The person is not on the list. A list that does not exist says nothing about anybody."""
    folded = text.casefold()
    if not _NOT_THERE.search(folded):
        return False
    return not _ABOUT_LIST.search(folded) or _ABOUT_PERSON.search(folded) is not None


def says_already(text: str) -> bool:
    """What was asked for is so already, or the person is in another standing than we believe."""
    return re.search(r"\balready\b|\bis on (?:the|this|that|your) list\b", text.casefold()) is not None


def _error_text(error: Any) -> str:
    if error in _EMPTY:
        return ""
    text = error if isinstance(error, str) else msgspec.json.encode(error).decode()
    # A client that is known shows only what stands before the bar, so a code seems to follow it.
    return text.partition("|")[0].strip() or ("no reason given" if text.strip() else "")


# --- Single members ------------------------------------------------------------------------------


def _decoded(raw: bytes, call: str) -> Any:
    if not raw:
        return None
    try:
        return _anything.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedError(f"{call}: the answer holds text that cannot be read", call=call) from None


def _container(item: Mapping[str, Any]) -> Container:
    lid, documented = _list_id(item), _id_text(item.get("ID"))
    remote = {"permalink": _id_text(item.get("Permalink")), "ID": documented if documented != lid else ""}
    name = item.get("Name")
    return Container(
        ContainerId(lid),
        name if isinstance(name, str) else "",
        _count(item.get("Active")),
        {key: value for key, value in remote.items() if value},
    )


def _list_id(item: Mapping[str, Any]) -> str:
    # Documented as ID; every client that is known reads LID (devzone, LIST OBJECT).
    return _id_text(item.get("LID")) or _id_text(item.get("ID"))


def _id_text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    text = _id_text(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _time_text(value: Any) -> str:
    """A time as it came, or nothing where nothing happened: empty, zero, or a date of zeros."""
    if isinstance(value, float):
        value = str(value)
    text = _id_text(value)
    return text if text.strip("0-:. T") else ""


def _member(subscriber: Mapping[str, Any], source: str) -> str:
    kind, colon, name = source.partition(":")
    value = subscriber.get(source)
    if colon and kind == "custom":
        custom = subscriber.get("Custom")
        value = custom.get(name) if isinstance(custom, dict) else None  # empty, it may be a PHP list
    return SPOILT if isinstance(value, dict | list) and value else _id_text(value)
