"""What an answer of Sales.Rocks amounts to: what was asked for, or one of our errors; and what a login brought.

Success comes in four envelopes (docs.sales.rocks): status + status_code + message, status_code + data, status + data,
and a bare array. So an answer is looked at for an error first, whatever the HTTP status, and for its data afterwards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import msgspec

from syncd.domain.errors import (
    MalformedError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.providers.protocol import Token
from syncd.wire import Response

LIFETIME_S = 3600.0
"""What a token lives if the answer does not say: 60 minutes (docs.sales.rocks, Using the access token)."""

FAILURE_WORDS = frozenset({"error", "fail", "failed", "failure"})
NOTHING = frozenset({b"", b"null"})
NO_ERROR = NOTHING | {b"false", b'""', b"[]"}

# Invalid JSON, a wrong shape, bytes that are not UTF-8, nesting without end: answers that cannot be read.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class NotFoundError(RefusedError):
    """The provider itself, in its own envelope, says that it has no such thing."""


class ForbiddenError(UnauthorisedError):
    """403, which here means "not authenticated" as well as "not permitted" (docs.sales.rocks, Status codes)."""


# --- Answers ---------------------------------------------------------------------------------------------------------


class Answer(msgspec.Struct):
    """An answer that is not an error; members that were not sent are empty."""

    data: msgspec.Raw = msgspec.Raw(b"")
    ids: msgspec.Raw = msgspec.Raw(b"")
    message: Any = None
    body: msgspec.Raw = msgspec.Raw(b"")

    @property
    def content(self) -> msgspec.Raw:
        """What was asked for: `data`, or the whole answer where the call has no envelope."""
        return self.data if bytes(self.data) else self.body


class _Envelope(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"")
    status: Any = None
    status_code: Any = None
    message: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")
    ids: msgspec.Raw = msgspec.Raw(b"")
    body: msgspec.Raw = msgspec.Raw(b"")


class _Listing(msgspec.Struct, kw_only=True):
    """The envelope of a listing, read in one pass with the places of its rows."""

    error: msgspec.Raw = msgspec.Raw(b"")
    status: Any = None
    status_code: Any = None
    message: Any = None
    data: list[msgspec.Raw]


class _Error(msgspec.Struct):
    status_code: Any = None
    message: Any = None


_envelope = msgspec.json.Decoder(_Envelope)
_listing = msgspec.json.Decoder(_Listing)
_error = msgspec.json.Decoder(_Error)
_rows = msgspec.json.Decoder(list[msgspec.Raw])


def read_answer(response: Response, call: str, now: datetime, private: Iterable[str] = ()) -> Answer:
    """What a call brought, or the error that it amounts to. `private`: values we sent, to be kept out of messages."""
    body = response.body.strip()
    envelope = _opened(body)
    if envelope is None:
        if response.status < 400:
            raise MalformedError(f"{call}: the answer is not JSON of a documented shape", call=call)
        if response.status == 404:
            # Every error of theirs is JSON, so this is somebody between us: nobody's absence follows from it.
            raise MalformedError(f"{call}: a 404 that Sales.Rocks did not write", call=call, hint="check base_url")
        _fail(response.status, response, call, now, "")
    code, message = _failure(envelope)
    if code or not 200 <= response.status < 300:
        _fail(code or response.status, response, call, now, scrub(message, private))
    if message:
        raise MalformedError(f"{call}: an error without a code: {scrub(message, private)}", call=call)
    return Answer(envelope.data, envelope.ids, envelope.message, envelope.body)


def read_listing(response: Response, call: str, now: datetime) -> list[msgspec.Raw]:
    """The rows that a call brought, or the error that it amounts to."""
    if response.status == 200:
        try:
            listing = _listing.decode(response.body)
        except UNREADABLE:
            pass  # an error, another envelope, or something to be mended
        else:
            if _failure(listing) == (0, ""):
                return _records(listing.data, call)
    return _records(read_rows(read_answer(response, call, now).data, call), call)


def _records(rows: list[msgspec.Raw], call: str) -> list[msgspec.Raw]:
    """Rows of which one at least is an object: an odd one is kept, and of nothing but odd ones nothing is believed."""
    if rows and not any(bytes(row).lstrip().startswith(b"{") for row in rows):
        raise MalformedError(f"{call}: the answer holds no record", call=call)
    return rows


_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def _opened(body: bytes) -> _Envelope | None:
    try:
        return _decoded(body)
    except UNREADABLE:
        # Half a surrogate pair (an emoji cut in two) is JSON to some writers and not to our reader; it must not cost
        # the whole page.
        whole = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], body)
    try:
        return _decoded(whole) if whole != body else None
    except UNREADABLE:
        return None


def _decoded(body: bytes) -> _Envelope:
    if body.startswith(b"["):
        _rows.decode(body)
        return _Envelope(data=msgspec.Raw(body), body=msgspec.Raw(body))
    envelope = _envelope.decode(body)
    envelope.body = msgspec.Raw(body)  # whatever it says by that name
    return envelope


def _failure(envelope: _Envelope | _Listing) -> tuple[int, str]:
    """The code (0: none) and the words of the error in a body; no words: there is none."""
    if bytes(envelope.error) not in NO_ERROR:
        code, message = 0, ""
        try:
            error = _error.decode(envelope.error)
        except UNREADABLE:
            # OAuth style: a bare word. It is an error all the same.
            message = bytes(envelope.error).decode(errors="replace").strip('"')
        else:
            code, message = _code(error.status_code), words(error.message)
        return code or _code(envelope.status_code), message or words(envelope.message) or "no message"
    code = _code(envelope.status_code)
    if code or (isinstance(envelope.status, str) and envelope.status.lower() in FAILURE_WORDS):
        return code, words(envelope.message) or "no message"
    return 0, ""


def _code(value: Any) -> int:
    """An HTTP error status, or 0."""
    number = count(value)
    return number if number is not None and 400 <= number < 600 else 0


def _fail(code: int, response: Response, call: str, now: datetime, message: str) -> NoReturn:
    text = f"{call}: {code} {message}".rstrip()
    if code < 400:
        raise MalformedError(text, call=call, hint="check base_url")
    match code:
        case 401:
            raise UnauthorisedError(text, call=call)
        case 403:
            raise ForbiddenError(text, call=call)
        case 404:
            raise NotFoundError(text, call=call)
        case 429:
            raise ThrottledError(text, call=call, retry_after_s=_wait(response.headers.get("retry-after"), now))
        case 408:
            raise UnavailableError(text, call=call)
        case _ if code >= 500:
            raise UnavailableError(text, call=call)
        case _:
            raise RefusedError(text, call=call)


def _wait(header: str | None, now: datetime) -> float | None:
    """Retry-After, in seconds or as a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", header, re.ASCII):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())


_ADDRESS = re.compile(r"[^\s\"<>,;:()]+(?:@|%40)[^\s\"'<>,;()]+")
_TOKEN = re.compile(r"\beyJ[\w.-]+")
_NUMBER = re.compile(r"\+?\d[\d ().-]{5,}\d")


def scrub(message: str, private: Iterable[str] = ()) -> str:
    """A provider's words without addresses, tokens, long numbers, and without what we had sent."""
    values = sorted({value.strip() for value in private} - {""}, key=len, reverse=True)
    message = _ADDRESS.sub("…", message)
    if values:
        message = re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, values))})(?!\w)", "…", message, flags=re.IGNORECASE)
    return " ".join(_NUMBER.sub("…", _TOKEN.sub("…", message)).split())[:200]


def words(value: Any) -> str:
    return value if isinstance(value, str) else ""


def read_rows(data: msgspec.Raw, call: str) -> list[msgspec.Raw]:
    try:
        return _rows.decode(data)
    except UNREADABLE:
        raise MalformedError(f"{call}: the answer holds no list of rows", call=call) from None


# --- Login -----------------------------------------------------------------------------------------------------------


class _Login(msgspec.Struct):
    access_token: Any = None
    AccessToken: Any = None
    expires_in: Any = None


_login = msgspec.json.Decoder(_Login)


def read_token(body: bytes, call: str) -> Token:
    """The page documents `access_token`; a public client (Advanced Form Integration) reads `AccessToken`."""
    try:
        login = _login.decode(body)
    except UNREADABLE:
        raise MalformedError(f"{call}: the answer cannot be read", call=call) from None
    for value in (login.access_token, login.AccessToken):
        # A header takes printable ASCII only; anything else is not a token.
        if isinstance(value, str) and re.fullmatch(r"[!-~]+", value):
            return Token(value, _lifetime(login.expires_in))
    raise MalformedError(f"{call}: the answer holds no token", call=call)


def _lifetime(value: Any) -> float:
    # A number in the sample, "string" in the table (docs.sales.rocks, Get access token).
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return LIFETIME_S
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return LIFETIME_S
    return seconds if math.isfinite(seconds) and seconds > 0 else LIFETIME_S


def count(value: Any) -> int | None:
    """A number of something, given as a number or as digits."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value, re.ASCII):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
