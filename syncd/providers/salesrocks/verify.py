"""The two verifiers (docs.sales.rocks, Validation): does mail reach an address, is a number one that can be called?

Answers keep the names of the document. Words that say yes or no are read as such; whatever is missing, or is neither,
is None, and nothing is concluded from it. A verdict is taken by what it says it is about, never by its place: one about
somebody else is none about ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncd.domain.errors import MalformedError
from syncd.providers.contact_points import read_address
from syncd.providers.salesrocks.answers import count, read_rows
from syncd.providers.salesrocks.calls import Calls, flag, read_object, text
from syncd.wire import Exchange


@dataclass(frozen=True, slots=True)
class EmailVerdict:
    """What the e-mail verifier says. `status`: Valid, Invalid or Accept All; `confidence_score`: 0 to 99, or None."""

    email: str
    status: str | None
    confidence_score: int | None
    confidence_description: str | None
    type: str | None
    provider: str | None
    format: str | None
    top_level_domain: bool | None
    disposable: bool | None
    full_inbox: bool | None
    mx_records: tuple[str, ...]
    message: str | None


@dataclass(frozen=True, slots=True)
class PhoneVerdict:
    """What the phone verifier says of one number. `status`: VALID, INVALID or INVALID FORMAT."""

    input: str
    status: str
    message: str | None
    default: str | None
    country_code: str | None
    country_isoCode: str | None  # noqa: N815  as the document spells it
    local: str | None
    international: str | None
    number_type: str | None
    country: str | None
    location: str | None
    timezone: tuple[str, ...]


def verify_email(calls: Calls, email: str) -> Exchange[EmailVerdict]:
    """Raises `MalformedError` for an answer that is not about this address, or gives neither a status nor a score."""
    call = "emailVerifier"
    found = yield from calls.find(f"toolkit/{call}", {"email": email})
    if _address(text(found.get("email")) or "") != _address(email):
        raise MalformedError(f"{call}: the answer is not about the address that was asked about", call=call)
    status, score = text(found.get("status")), count(found.get("confidence_score"))
    if status is None and score is None:
        raise MalformedError(f"{call}: the answer holds neither a status nor a score", call=call)
    return EmailVerdict(
        email=email,
        status=status,
        confidence_score=score,
        confidence_description=text(found.get("confidence_description")),
        type=text(found.get("type")),
        provider=text(found.get("provider")),
        format=text(found.get("format")),
        top_level_domain=flag(found.get("top_level_domain"), yes="yes", no="no"),
        disposable=flag(found.get("disposable"), yes="yes", no="no"),
        full_inbox=flag(found.get("full_inbox"), yes="full", no="not full"),
        mx_records=_words(found.get("mx_records")),
        message=text(found.get("message")),
    )


def verify_phones(calls: Calls, phones: Sequence[str]) -> Exchange[Sequence[PhoneVerdict]]:
    """One verdict for each number, in the order asked. Raises `MalformedError` unless there is one for each."""
    if not phones:
        return []
    call = "phoneVerifier"
    answer = yield from calls.post(f"toolkit/{call}", {"phones": list(phones)}, private=phones)
    known: dict[str, Mapping[str, Any]] = {}
    for raw in read_rows(answer.content, call):
        row = read_object(raw, call)
        about = _number(text(row.get("input")) or "")
        if known.setdefault(about, row) != row:
            raise MalformedError(f"{call}: two verdicts about one number", call=call)
    rows = [known.get(_number(asked), {}) for asked in phones]
    if any(text(row.get("status")) is None for row in rows):
        raise MalformedError(f"{call}: {len(phones)} numbers were given, and not each has a verdict", call=call)
    return [_phone(asked, row) for asked, row in zip(phones, rows, strict=True)]


def kind_of(number: PhoneVerdict) -> str:
    """What sort of number it is, in one spelling: the page writes both "Fixed Line" and "Fixed line"."""
    return re.sub(r"[\s_-]+", "_", (number.number_type or "").strip().lower())


def _address(raw: str) -> str:
    return read_address(raw) or raw.strip().lower()


def _number(raw: str) -> str:
    """A number without the signs that only part its digits."""
    return re.sub(r"[\s().+-]+", "", raw).lower()


def _phone(asked: str, row: Mapping[str, Any]) -> PhoneVerdict:
    return PhoneVerdict(
        input=asked,
        status=(text(row.get("status")) or "").upper(),
        message=text(row.get("message")),
        default=text(row.get("default")),
        country_code=text(row.get("country_code")),
        country_isoCode=text(row.get("country_isoCode")),
        local=text(row.get("local")),
        international=text(row.get("international")),
        number_type=text(row.get("number_type")),
        country=text(row.get("country")),
        location=text(row.get("location")),
        timezone=_words(row.get("timezone")),
    )


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word for entry in value if (word := text(entry))) if isinstance(value, list) else ()
