"""A pretend RocketResponder: documented calls, its signature, its webhooks, and switches for what nobody knows.

The signature is worked out here once more, over bytes and in received order as a PHP server would, and shares nothing
with the adapter. What is only assumed (error texts, all status words but one, HTTP statuses) is a switch.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import unquote_to_bytes, urlsplit

from syncd.emulators.rocketresponder_state import MailList, RocketResponderState, Subscriber
from syncd.wire import Request, Response

FAILURES = {  # texts and codes are assumed; the devzone only promises some text
    "method": ("Request must be a POST", "10"),
    "credentials": ("Missing API key or signature", "20"),
    "public_key": ("Invalid API key", "21"),
    "expired": ("Request time is invalid or has expired", "22"),
    "signature": ("Invalid signature", "23"),
    "list": ("List not found", "30"),
    "email": ("Invalid email address", "31"),
    "subscriber": ("Subscriber not found", "32"),
    "left": ("This subscriber has unsubscribed and must join by a form", "33"),
    "taken": ("The new email address is on this list", "34"),
    "required": ("A required parameter is missing", "40"),
    "permalink": ("Permalink must be unique and contain only letters and numbers", "41"),
    "from_email": ("FromEmail is not acceptable", "42"),
    "notify": ("Notify must be 0, 1 or 2", "43"),
}

_VALID_S = 600
# What the provider's SDK takes for an address: a plain local part, and two to four letters at the end.
_SDK_ADDRESS = re.compile(r"[_a-z0-9+-]+(\.[_a-z0-9+-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,4}$", re.IGNORECASE)
_LOOSE_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


class RocketResponderEmulator(RocketResponderState):
    """Switches are attributes; whoever acts at RocketResponder does so by the methods of `RocketResponderState`."""

    name = "rocketresponder"

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        seed: int = 0,
        base_url: str = "http://127.0.0.1:8703/api",
        signing_url: str | None = None,
        public_key: str = "pub_emulated",
        private_key: str = "priv_emulated",
    ) -> None:
        super().__init__(now, seed=seed)
        self.base_url = base_url.rstrip("/")
        self.signing_url = (signing_url or base_url).rstrip("/")
        self.public_key = public_key
        self.private_key = private_key

        self.failure_status: Literal[200, 401, 403, 500] = 200
        self.error_code_suffix = False  # "Message|code"
        self.empty_error = False  # a present but empty `error` on success
        self.list_id_key: Literal["LID", "ID", "both"] = "LID"
        self.numbers_as_strings = False
        self.unset_times: Literal["zero", "empty"] = "zero"
        self.unknown_lookup: Literal["empty", "failed"] = "empty"
        self.active_counts: Literal["confirmed", "all"] = "confirmed"  # all: everyone who has not left
        self.strict_emails = False
        self.double_opt_in = True  # False: confirmed at once
        self.shows_unconfirmed_changes = True  # `lookup` finds an address that waits to take the place of another
        self.resubscribes = True  # `subscribe` brings back who has unsubscribed

        self._endpoints: dict[str, Callable[[dict[str, str]], Response]] = {
            "/list/all": self._list_all,
            "/list/create": self._list_create,
            "/subscriber/subscribe": self._subscribe,
            "/subscriber/lookup": self._lookup,
            "/subscriber/modify": self._modify,
            "/subscriber/unsubscribe": self._unsubscribe,
        }

    # --- the service ------------------------------------------------------------------------------

    def is_write(self, request: Request) -> bool:
        endpoint = self._endpoint(request)
        return endpoint in self._endpoints and endpoint not in {"/list/all", "/subscriber/lookup"}

    def answer(self, request: Request) -> Response:
        endpoint = self._endpoint(request)
        call = self._endpoints.get(endpoint)
        if call is None:
            return Response(404, self._headers("text/html"), b"<!doctype html><title>404 Not Found</title>")
        if request.method != "POST":
            return self._failed("method")
        headers = {name.lower(): value for name, value in request.headers.items()}
        fields = _received(headers, request.body)
        if problem := self._unsigned(headers, self.signing_url + endpoint, fields):
            return self._failed(problem)
        return call(
            {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()}
        )

    def _endpoint(self, request: Request) -> str:
        return urlsplit(request.url).path.removeprefix(urlsplit(self.base_url).path)

    def _unsigned(self, headers: dict[str, str], url: str, fields: dict[bytes, bytes]) -> str | None:
        """Why the request is not taken, or None."""
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            user, colon, signature = b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return "credentials"
        if scheme.lower() != "basic" or not colon:
            return "credentials"
        if user != self.public_key:
            return "public_key"
        time = fields.get(b"Time", b"")
        if not time.isdigit() or abs(self.now().timestamp() - int(time)) > _VALID_S:
            return "expired"
        return None if signature == php_signature(self.private_key, url, fields) else "signature"

    def _list_all(self, _fields: dict[str, str]) -> Response:
        return self._succeeded(list=[self._list_object(one) for one in self.lists.values()])

    def _list_create(self, fields: dict[str, str]) -> Response:
        if any(not fields.get(name, "").strip() for name in ("Name", "Permalink", "FromEmail", "FromName", "Address")):
            return self._failed("required")
        permalink, notify = fields["Permalink"], fields.get("Notify", "")
        taken = {one.permalink for one in self.lists.values()}
        if permalink in taken or not (permalink.isascii() and permalink.isalnum()):
            return self._failed("permalink")
        if not self._is_address(fields["FromEmail"]) or re.search(r"@yahoo\.", fields["FromEmail"], re.IGNORECASE):
            return self._failed("from_email")
        if notify not in {"", "0", "1", "2"}:
            return self._failed("notify")
        one = self.lists[self.add_list(fields["Name"], permalink)]
        one.from_email, one.from_name, one.address = fields["FromEmail"], fields["FromName"], fields["Address"]
        one.notify, one.header, one.footer = notify or "0", fields.get("Header", ""), fields.get("Footer", "")
        return self._succeeded(list=self._list_object(one))

    def _subscribe(self, fields: dict[str, str]) -> Response:
        if problem := self._unusable(fields):
            return self._failed(problem)
        lid, email = fields["LID"], fields["email"].strip()
        known = self.subscriber(lid, email)
        if known is not None and known.status != self.status_words["unsubscribed"]:
            return self._succeeded(subscriber=self._subscriber_object(known))
        if known is not None and not self.resubscribes:
            return self._failed("left")
        if known is None:
            known = self._new(lid, email, fields.get("name", ""))
            known.confirm_url = fields.get("ConfirmURL", "")
        else:
            known.subscribed += 1
        known.status = self.status_words["unconfirmed"]
        self._acted(known, "Subscribe", "subscribe")
        if not self.double_opt_in:
            self.confirm(lid, email)
        return self._succeeded(subscriber=self._subscriber_object(known))

    def _lookup(self, fields: dict[str, str]) -> Response:
        if problem := self._unusable(fields):
            return self._failed(problem)
        known = self._as_read((fields["LID"], fields["email"].strip().lower()))
        if known is not None and (known.replaces is None or self.shows_unconfirmed_changes):
            return self._succeeded(subscriber=self._subscriber_object(known))
        return self._failed("subscriber") if self.unknown_lookup == "failed" else self._succeeded(subscriber={})

    def _modify(self, fields: dict[str, str]) -> Response:
        """A name changes at once. A new address waits for its confirmation, and the old one goes on receiving."""
        if problem := self._unusable(fields) or ("" if self._is_address(fields.get("newemail", "")) else "email"):
            return self._failed(problem)
        lid, new = fields["LID"], fields["newemail"].strip()
        known = self.subscriber(lid, fields["email"])
        if known is None:
            return self._failed("subscriber")
        name = fields.get("name", "").strip() or known.name
        if new.lower() == known.email.lower():
            self._rename(known, name)
            return self._succeeded(subscriber=self._subscriber_object(known))
        if self.subscriber(lid, new) is not None:
            return self._failed("taken")
        self._change_address(known, new, name, fields.get("ConfirmURL", ""))
        return self._succeeded(subscriber=self._subscriber_object(known))

    def _unsubscribe(self, fields: dict[str, str]) -> Response:
        if problem := self._unusable(fields):
            return self._failed(problem)
        known = self.subscriber(fields["LID"], fields["email"])
        if known is None:
            return self._failed("subscriber")
        self._leave(known)
        return self._succeeded(subscriber=self._subscriber_object(known))

    def _unusable(self, fields: dict[str, str]) -> str | None:
        if fields.get("LID", "") not in self.lists:
            return "list"
        return None if self._is_address(fields.get("email", "")) else "email"

    def _is_address(self, text: str) -> bool:
        if self.strict_emails:
            return _SDK_ADDRESS.match(text) is not None
        return _LOOSE_ADDRESS.fullmatch(text.strip()) is not None

    # --- answers ----------------------------------------------------------------------------------

    def _headers(self, content_type: str) -> dict[str, str]:
        return {"content-type": content_type, "date": format_datetime(self.now(), usegmt=True)}

    def _succeeded(self, **objects: object) -> Response:
        error = {"error": ""} if self.empty_error else {}
        return Response(200, self._headers("application/json"), _php_encoded({"status": "Success", **error, **objects}))

    def _failed(self, problem: str) -> Response:
        text, code = FAILURES[problem]
        error = f"{text}|{code}" if self.error_code_suffix else text
        body = _php_encoded({"status": "Failed", "error": error})
        return Response(self.failure_status, self._headers("application/json"), body)

    def _list_object(self, one: MailList) -> dict[str, Any]:
        standing = [subscriber.status for subscriber in self.subscribers.values() if subscriber.lid == one.lid]
        if self.active_counts == "confirmed":
            active = standing.count(self.status_words["confirmed"])
        else:
            active = len(standing) - standing.count(self.status_words["unsubscribed"])
        names = ("ID", "LID") if self.list_id_key == "both" else (self.list_id_key,)
        return {
            **{name: self._number(one.lid) for name in names},
            "Permalink": one.permalink,
            "Name": one.name,
            "FromEmail": one.from_email,
            "FromName": one.from_name,
            "Active": self._number(active),
        }

    def _subscriber_object(self, one: Subscriber) -> dict[str, Any]:
        first, _, last = one.name.partition(" ")
        return {
            "ID": self._number(one.id),
            "LID": self._number(one.lid),
            "Email": one.email,
            "Name": one.name,
            "First": first,
            "Last": last,
            "Status": one.status,
            "JoinIP": one.join_ip,
            "JoinTime": self._time(one.join_time),
            "JoinURL": one.join_url,
            "ConfirmIP": one.confirm_ip,
            "ConfirmTime": self._time(one.confirm_time),
            "ConfirmURL": one.confirm_url,
            "ActionTime": self._time(one.action_time),
            "ActionIP": one.action_ip,
            "UnsubTime": self._time(one.unsub_time),
            "UnsubIP": one.unsub_ip,
            "Sent": self._number(one.sent),
            "Open": self._number(one.opened),
            "Click": self._number(one.clicked),
            "Bounce": self._number(one.bounced),
            "Custom": dict(one.custom),
        }

    def _number(self, value: str | int) -> str | int:
        text = str(value)
        return text if self.numbers_as_strings or not text.isdigit() else int(text)

    def _time(self, seconds: int) -> str | int:
        return "" if not seconds and self.unset_times == "empty" else self._number(seconds)


# --- PHP's side of the signature -----------------------------------------------------------------


def php_signature(private_key: str, url: str, fields: dict[bytes, bytes]) -> str:
    """What a PHP server expects for a form with these fields, in the order received (devzone, AUTHENTICATION)."""
    by_value = sorted(fields.items(), key=lambda item: item[1])
    try:
        members = [_php_string(name) + ":" + _php_string(value) for name, value in by_value]
        encoded = "{" + ",".join(members) + "}"
    except UnicodeDecodeError:
        encoded = ""  # json_encode gives false, and false is an empty string to md5
    parameters = hashlib.md5(encoded.encode()).hexdigest()
    return hashlib.md5((private_key + url + parameters).encode()).hexdigest()


_PHP_SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 47: "\\/", 92: "\\\\"}


def _php_string(raw: bytes) -> str:
    out = []
    for character in raw.decode("utf-8"):
        point = ord(character)
        if point in _PHP_SHORT:
            out.append(_PHP_SHORT[point])
        elif 0x20 <= point <= 0x7F:
            out.append(character)
        elif point <= 0xFFFF:
            out.append(f"\\u{point:04x}")
        else:
            high, low = divmod(point - 0x10000, 0x400)
            out.append(f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}")
    return '"' + "".join(out) + '"'


def _received(headers: dict[str, str], body: bytes) -> dict[bytes, bytes]:
    """`$_POST`: empty for another content type; a name given twice keeps its place and takes the last value."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    fields = {}
    for pair in body.split(b"&"):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        if name:
            fields[unquote_to_bytes(name)] = unquote_to_bytes(value)
    return fields


def _php_encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()
