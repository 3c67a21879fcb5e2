"""What an answer of ROCS or of its token service means for the caller.

The page of ROCS (section on status codes) has three: 200 for every success, 401 for authentication, 500 for everything
else. A 500 is therefore both "your mobile number is not valid" and "our disk is full", and nothing on the page tells
them apart: it is a `FailedError`, and whether the service serves others says which of the two it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec

from syncd.domain.errors import (
    FailedError,
    MalformedError,
    ProviderError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.providers.json_text import in_utf8, mended
from syncd.wire import Response

T = TypeVar("T")

REASON_MAX = 200  # characters of a provider's message that are kept

_ADDRESS = re.compile(r"[^\s\"'<>(),;:]+(?:@|%40)[^\s\"'<>(),;:]+", re.IGNORECASE)
_PHONE = re.compile(r"\+?\d[\d ()./-]{5,}\d")
_AADSTS = re.compile(r"AADSTS\d{4,10}")
_OAUTH_WORD = re.compile(r"[a-z_]{3,40}")
_NOT_FOUND = re.compile(
    r"not[ _-]?found|no such|does ?n[o']t exist|unknown (?:customer|id\b|member|contact)", re.IGNORECASE
)


def text_of(response: Response) -> bytes:
    """The body in UTF-8. The one page that can be seen of this host is itself encoded wrongly: its word is checked."""
    return in_utf8(response.body, response.headers.get("content-type", "")).removeprefix(b"\xef\xbb\xbf")


def decode(body: bytes, as_: type[T], *, call: str) -> T:
    """JSON of the expected shape; anything else, an error inside a 200 too, is a `MalformedError`."""
    try:
        return loosely(body, as_)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        what = "an error inside a success" if _error_member(body) else "not the documented shape"
        # The decoder's own message may quote the body, and the body holds persons.
        raise MalformedError(f"{call}: {what}", call=call) from None


def loosely(body: bytes, as_: type[T]) -> T:
    """Decode; what no JSON may hold is replaced where it stands, and spoils nothing beside it."""
    try:
        return msgspec.json.decode(body, type=as_)
    except (ValueError, RecursionError):
        return msgspec.json.decode(mended(body), type=as_)


def raise_for(response: Response, *, call: str, now: Callable[[], datetime], sent: Iterable[str] = ()) -> None:
    """Nothing for a success; else the error that says what to do next. `sent` are values to keep out of its text."""
    if 200 <= response.status < 300:
        return
    raise error_of(response, call=call, now=now, sent=sent)


def error_of(response: Response, *, call: str, now: Callable[[], datetime], sent: Iterable[str] = ()) -> ProviderError:
    status = response.status
    text = f"{call}: HTTP {status}"
    if status in {401, 403}:  # 403 is not on the page of ROCS; gateways before it use it for the same thing
        return UnauthorisedError(text, call=call, hint="syncd account check")
    if status == 429:
        return ThrottledError(text, call=call, retry_after_s=retry_after(response, now()))
    if message := said(response, sent):
        text = f"{text}: {message}"
    if status == 500:
        return FailedError(text, call=call)
    if status > 500 or status == 408:
        return UnavailableError(text, call=call)
    if status >= 400:
        return RefusedError(text, call=call)
    return MalformedError(f"{call}: HTTP {status}, which is neither an answer nor an error here", call=call)


def token_error(response: Response, *, now: Callable[[], datetime]) -> ProviderError:
    """Azure AD names the fault in a code. Its description holds ids and line breaks, so only the code is kept."""
    if response.status == 429 or response.status >= 500:
        return error_of(Response(response.status, response.headers), call="token", now=now)
    answer = _object(text_of(response))
    word = answer.get("error")
    code = _AADSTS.search(str(answer.get("error_description", "")))
    codes = answer.get("error_codes")
    if code:
        named = code.group()
    elif isinstance(codes, list) and codes and isinstance(codes[0], int):
        named = f"AADSTS{codes[0]}"
    elif isinstance(word, str) and _OAUTH_WORD.fullmatch(word):
        named = word
    else:
        named = f"HTTP {response.status}"
    if word == "temporarily_unavailable":
        return UnavailableError(f"token: {named}", call="token")
    return UnauthorisedError(f"token refused: {named}", call="token", hint="syncd account check")


def is_secret_refused(response: Response) -> bool:
    """Whether the token service refused this very secret (unknown, AADSTS7000215, or expired, AADSTS7000222)."""
    if response.status not in {400, 401}:
        return False
    answer = _object(text_of(response))
    codes = answer.get("error_codes")
    listed = isinstance(codes, list) and any(code in {7000215, 7000222} for code in codes if isinstance(code, int))
    return listed or bool(re.search(r"AADSTS70002(?:15|22)\b", str(answer.get("error_description", ""))))


def is_not_found(response: Response) -> bool:
    """Whether a 500 reads as if the id were unknown. A guess from prose: good enough to say "cannot tell", no more."""
    return response.status in {404, 410} or (response.status == 500 and bool(_NOT_FOUND.search(_message(response))))


def said(response: Response, sent: Iterable[str] = ()) -> str:
    """The provider's own message on one line, without addresses, numbers that may be phones, or anything we sent."""
    text = " ".join(_message(response).split())
    for value in sorted({value for value in sent if len(value) > 1}, key=len, reverse=True):
        text = re.sub(re.escape(value), "…", text, flags=re.IGNORECASE)
    text = _PHONE.sub("…", _ADDRESS.sub("…", text))
    return "".join(ch for ch in text if ch.isprintable())[:REASON_MAX]


def retry_after(response: Response, now: datetime) -> float | None:
    """Seconds to wait; the header holds seconds or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - now).total_seconds())


def _message(response: Response) -> str:
    message = _object(text_of(response)).get("message")
    return message if isinstance(message, str) else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        return loosely(body, dict[str, Any])
    except (ValueError, RecursionError):
        return {}


def _error_member(body: bytes) -> bool:
    return bool({"error", "message"} & _object(body).keys())
