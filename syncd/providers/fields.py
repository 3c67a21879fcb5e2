"""Fields of people: which there are, and the one form in which values of each kind are compared and kept.

A value that cannot be brought into that form stays as it came in the record of its provider, and is told to nobody.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from syncd.domain.records import UNREAD_FIELD
from syncd.providers.contact_points import read_phone
from syncd.providers.countries import COUNTRIES, country_code, language_code
from syncd.providers.json_text import SPOILT


class Kind(StrEnum):
    TEXT = "text"
    PHONE = "phone"  # E.164
    DATE = "date"  # ISO
    COUNTRY = "country"  # two letters
    LANGUAGE = "language"  # two letters, with a country where one is given
    POSTAL_CODE = "postal_code"  # text: leading zeros belong to it


CANONICAL: Mapping[str, Kind] = {
    "first_name": Kind.TEXT,
    "last_name": Kind.TEXT,
    "phone": Kind.PHONE,
    "country": Kind.COUNTRY,
    "language": Kind.LANGUAGE,
    "postal_code": Kind.POSTAL_CODE,
    "birth_date": Kind.DATE,
    "source": Kind.TEXT,  # where somebody came from, as whoever brought them says
}
"""Fields that need no declaration, and their kinds."""

_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_PATTERN = re.compile(r"(?=.*YYYY)(?=.*MM)(?=.*DD)(?:YYYY|MM|DD|[ ./-])+")
_SERIAL = re.compile(r"([0-9]{5})(?:\.[0-9]+)?")  # fewer digits may be a year
_SERIAL_ZERO = date(1899, 12, 30)

NAMES = ("first_name", "last_name")

PHONE_FORMS = ("e164", "digits", "national", "international")
WORD_FORMS = ("code", "name")


def unread(name: str) -> str:
    """The name under which what a field holds is kept as long as nobody can read it."""
    return name if name.startswith(UNREAD_FIELD) else f"{UNREAD_FIELD}{name}"


_UNREAD_NAMES = tuple(map(unread, NAMES))


def form_fault(kind: Kind, form: str) -> str | None:
    """Why values of this kind cannot be written in this form, or None."""
    match kind:
        case Kind.DATE:
            good = bool(_PATTERN.fullmatch(form)) and sorted(re.findall("YYYY|MM|DD", form)) == ["DD", "MM", "YYYY"]
            return None if good else "a date is written with YYYY, MM and DD, as in DD.MM.YYYY"
        case Kind.PHONE:
            return None if form in PHONE_FORMS else f"a phone number is written as one of {', '.join(PHONE_FORMS)}"
        case Kind.COUNTRY:
            return None if form in WORD_FORMS else f"a country is written as one of {', '.join(WORD_FORMS)}"
        case _:
            return f"a {kind} has one form only"


@dataclass(frozen=True, slots=True)
class Rules:
    """How one account's values are read and written. `kinds`: of every field; `forms`: where its own is another.
    `one_name`: it keeps a name in one field, which we cut in two.
    """

    kinds: Mapping[str, Kind] = field(default_factory=lambda: dict(CANONICAL))
    forms: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    today: Callable[[], date] = lambda: date.max
    one_name: bool = False

    def read(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Values in their one form. One that has none is kept under a name of its own, which no merge looks at."""
        found: dict[str, str] = {}
        for name, text in fields.items():
            value = None if name.startswith(UNREAD_FIELD) else self.normal(name, text, fields)
            if value:
                found[name] = value
            elif text.strip():
                found[unread(name)] = text
        if self.one_name and not found.keys().isdisjoint(_UNREAD_NAMES):  # a name is read whole, or not at all
            found |= {unread(name): found.pop(name) for name in NAMES if name in found}
        return found

    def normal(self, name: str, text: str, beside: Mapping[str, str]) -> str | None:
        """The one form of a value, or None if it is not of its kind."""
        text = text.strip() if SPOILT not in text else ""
        if not text:
            return None
        match self.kinds.get(name, Kind.TEXT):
            case Kind.TEXT:  # first, as most are
                return text
            case Kind.PHONE:
                country = country_code(beside.get("country", ""))
                return text if _E164.fullmatch(text) else _phone(text, self.region or country, self.forms.get(name))
            case Kind.DATE:
                return read_date(text, self.forms.get(name), self.today())
            case Kind.COUNTRY:
                return country_code(text)
            case Kind.LANGUAGE:
                return language_code(text)
            case Kind.POSTAL_CODE:
                return " ".join(text.upper().split())

    def spelt(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Values as this account wants them written. One that is none of its kind, as from before a field had one, is
        left out.
        """
        found = {}
        for name, value in fields.items():
            with contextlib.suppress(ValueError, LookupError):
                found[name] = self._spelt(name, value)
        return found

    def _spelt(self, name: str, value: str) -> str:
        form = self.forms.get(name)
        if form is None or not value:
            return value
        match self.kinds.get(name, Kind.TEXT):
            case Kind.DATE:
                year, month, day = value.split("-")
                return form.replace("YYYY", year).replace("MM", month).replace("DD", day)
            case Kind.PHONE:
                return _phone_as(value, form)
            case Kind.COUNTRY if form == "name":
                return COUNTRIES.get(value, value)
            case _:
                return value


def read_date(text: str, form: str | None, today: date) -> str | None:
    """The ISO date of a birthday or the like, not after today.

    ISO, `yyyymmdd`, a spreadsheet's day, or the account's own form. An order of day and month is never guessed at.
    """
    found = _by_form(text, form) if form else None
    if found is None:
        try:
            found = date.fromisoformat(text[:10] if len(text) > 10 and text[10] in "T " else text)
        except ValueError:
            serial = _SERIAL.fullmatch(text)
            if serial is None:
                return None
            found = _SERIAL_ZERO + timedelta(days=int(serial[1]))
    return found.isoformat() if date(1800, 1, 1) <= found <= today else None


def _by_form(text: str, form: str) -> date | None:
    pattern = form.replace("YYYY", "%Y").replace("MM", "%m").replace("DD", "%d")
    try:
        return datetime.strptime(text, pattern).date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None


def _phone(text: str, region: str | None, form: str | None) -> str | None:
    if form == "digits" and text.isascii() and text.isdigit():
        text = f"+{text}"
    return read_phone(text, region)


def _phone_as(value: str, form: str) -> str:
    import phonenumbers  # noqa: PLC0415 - most rounds need none of it

    if form == "digits":
        return value.removeprefix("+")
    if form == "e164":
        return value
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        raise ValueError("not a telephone number") from None
    kinds = phonenumbers.PhoneNumberFormat
    return str(phonenumbers.format_number(number, kinds.NATIONAL if form == "national" else kinds.INTERNATIONAL))
