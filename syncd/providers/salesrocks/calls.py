"""How one call is made: a POST with a JSON body, and its answer held against an error first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from syncd.domain.errors import MalformedError
from syncd.providers.salesrocks.answers import NOTHING, UNREADABLE, Answer, read_answer
from syncd.wire import Exchange, Request

JSON = {"content-type": "application/json", "accept": "application/json"}

_object = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Calls:
    """What every call of one account needs. `now` only serves to read a Retry-After that is a date."""

    base_url: str
    now: Callable[[], datetime]

    def request(self, path: str, body: Mapping[str, Any], *, repeatable: bool = True) -> Request:
        call = path.rpartition("/")[2]
        encoded = msgspec.json.encode(body)
        return Request("POST", f"{self.base_url}/{path}", JSON, encoded, label=call, repeatable=repeatable)

    def post(
        self, path: str, body: Mapping[str, Any], *, repeatable: bool = True, private: Iterable[str] = ()
    ) -> Exchange[Answer]:
        """`private`: values we send, to be kept out of messages."""
        request = self.request(path, body, repeatable=repeatable)
        response = yield request
        return read_answer(response, request.label, self.now(), private)

    def find(self, path: str, body: Mapping[str, Any], *, repeatable: bool = True) -> Exchange[Mapping[str, Any]]:
        """The object that a call answers, bare or as `data`. All that we send is kept out of messages."""
        sent = [value for value in body.values() if isinstance(value, str)]
        answer = yield from self.post(path, body, repeatable=repeatable, private=sent)
        return read_object(answer.content, path.rpartition("/")[2])


def read_object(raw: msgspec.Raw, call: str) -> Mapping[str, Any]:
    """Raises `MalformedError` for anything but an object; PHP's empty array and null stand for one without members."""
    if bytes(raw).strip() in NOTHING | {b"[]"}:
        return {}
    try:
        return _object.decode(raw)
    except UNREADABLE:
        raise MalformedError(f"{call}: the answer holds no object", call=call) from None


def text(value: Any) -> str | None:
    """Text, or a number as text; None for what says nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def texts(found: Mapping[str, Any], member: str, call: str) -> tuple[str, ...]:
    """A list of texts. Null is an empty one; a member that is missing or something else cannot be read."""
    values = found.get(member, 0) if found else None
    if values is None:
        return ()
    if not isinstance(values, list):
        raise MalformedError(f"{call}: the answer holds no list {member}", call=call)
    return tuple(value for entry in values if (value := text(entry)))


def flag(value: Any, *, yes: str, no: str) -> bool | None:
    """A word that says yes or no, or a flag; None if it is neither. Flags also come as `"1"` and `"0"`."""
    if isinstance(value, bool):
        return value
    word = (text(value) or "").lower()
    return True if word in {yes.lower(), "1", "true"} else False if word in {no.lower(), "0", "false"} else None
