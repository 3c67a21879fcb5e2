"""The calls of Sales.Rocks that concern no list: verifiers, search, connections, warm-ups, as its page describes them.

What they find follows from what is asked, so that the same question has the same answer: an address at a domain that
begins with `catchall.`, `likely.`, `full.` or `invalid.` gets that verdict, one at `trash.` is disposable, everybody
else is valid; a company whose name begins with `unknown` is not found. What a test needs otherwise is a switch.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import phonenumbers
from phonenumbers import timezone

PERSONAL = {"gmail.com": "Google", "yahoo.com": "Yahoo", "outlook.com": "Microsoft"}
SCORES = {"invalid": 12, "trash": 31, "catchall": 56, "likely": 75, "full": 85}
"""First label of a domain -> the score of every address there."""
VALID = 95
PATTERNS = ("{first}", "{first}.{last}", "{first}{last}", "{f}{last}", "{f}.{last}", "{last}")
KINDS = {
    phonenumbers.PhoneNumberType.FIXED_LINE: "Fixed Line",
    phonenumbers.PhoneNumberType.MOBILE: "Mobile",
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE: "Fixed line or Mobile",
    phonenumbers.PhoneNumberType.TOLL_FREE: "Toll Free",
    phonenumbers.PhoneNumberType.PREMIUM_RATE: "Premium Rate",
    phonenumbers.PhoneNumberType.SHARED_COST: "Shared Cost",
    phonenumbers.PhoneNumberType.VOIP: "VOIP",
    phonenumbers.PhoneNumberType.PERSONAL_NUMBER: "Personal Number",
    phonenumbers.PhoneNumberType.PAGER: "Pager",
    phonenumbers.PhoneNumberType.UAN: "UAN",
    phonenumbers.PhoneNumberType.VOICEMAIL: "Voicemail",
}
"""All that the page names but "Unknown", which is the rest. It writes "Fixed line", and "Fixed Line" in its sample."""
COUNTRIES = {"MK": "Macedonia", "DE": "Germany", "GB": "United Kingdom", "NL": "Netherlands", "SE": "Sweden"}
"""Some. The library knows them all, and takes seconds to load them."""
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*\.[a-z]{2,}", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")


class RefusalError(Exception):
    """An error in the documented envelope."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Body:
    """Which members a body must and may have. Of others, and of one that misses, the service says 400."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()

    def check(self, body: Mapping[str, Any]) -> None:
        if unknown := sorted(body.keys() - self.required - self.optional):
            raise RefusalError(400, f"Invalid request body: unknown {', '.join(unknown)}")
        if missing := sorted(self.required - body.keys()):
            raise RefusalError(400, f"Invalid request body: {', '.join(missing)} is required")


def body(required: str, optional: str = "") -> Body:
    return Body(frozenset(required.split()), frozenset(optional.split()))


CONNECTION = (
    "sender_name email username secret smtp_host smtp_port smtp_encryption permission receiving_email",
    "imap_host imap_port imap_encryption bcc",
)


@dataclass(slots=True)
class Services:
    """State is in `connections` and `warmers`; `local` writes a time as the server does."""

    now: Callable[[], datetime]
    rng: random.Random
    local: Callable[[datetime], str]
    scores: dict[str, int] = field(default_factory=dict)  # address -> score, whatever its domain says
    bare: bool = False  # the verifier answers as in the first sample: words of its own, and no score
    confidence_as: Literal["number", "string"] = "number"
    finds_nothing: Literal["empty", "404"] = "empty"  # how a search says that there is nothing
    refuses: int | None = None  # the verifiers refuse everything with this status
    refused: set[str] = field(default_factory=set)  # addresses that the verifier does not take
    reverses: bool = False  # verdicts of numbers come in another order than the numbers did
    mixes_up: set[str] = field(default_factory=set)  # verifiers that answer about somebody else than was asked
    tells_more: bool = False  # a contact by handle has a name and a title, which the page does not document
    refuses_logins: bool = False  # a mailbox cannot be logged in to, which is said in as many words
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)  # address -> as it was made
    warmers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def calls(self) -> dict[str, tuple[Body, Callable[[dict[str, Any]], Any]]]:
        domain, handle, name = body("domain"), body("linkedin_handle"), "first_name last_name"
        return {
            "/toolkit/emailVerifier": (body("email"), self.email_verifier),
            "/toolkit/phoneVerifier": (body("phones"), self.phone_verifier),
            "/search/emailPatternsByDomain": (domain, self.email_patterns),
            "/search/linkedinContactsByDomain": (domain, self.linkedin_contacts),
            "/search/companyEmailByCompanyLinkedinHandle": (handle, self.company_email),
            "/search/contactEmailsByCompanyLinkedinHandle": (handle, self.contact_emails),
            "/search/contactEmailByContactLinkedinHandle": (handle, self.contact_email),
            "/search/emailByFirstLastAndCompanyName": (body(f"{name} company_name"), self.email_by_company),
            "/search/emailByFirstLastNameAndCompanyDomain": (body(f"{name} company_domain"), self.email_by_domain),
            "/connections/createEmailConnection": (body(*CONNECTION), self.create_connection),
            "/enrichment/generateEmail": (body(f"{name} domain"), self.generate_email),
            "/email-warmer/createEmailWarmer": (
                body("connection_email ramp_up_increment ramp_up_limit start_date timezone mature stop_on_limit_reach"),
                self.create_warmer,
            ),
        }

    # -- validation -------------------------------------------------------------------------------------------------

    def email_verifier(self, asked: dict[str, Any]) -> Any:
        self._serve()
        email = "mixed@invalid.example" if "emailVerifier" in self.mixes_up else _address(asked, "email")
        if email.lower() in self.refused:
            raise RefusalError(400, f"Cannot verify {email}")
        domain = email.rpartition("@")[2].lower()
        score = self.scores.get(email.lower(), SCORES.get(domain.partition(".")[0], VALID))
        status = "Invalid" if score < 50 else "Accept All" if score < 80 else "Valid"
        hosts = [f"mx{n}.{domain}" for n in (1, 2)] if score >= 50 else []
        found = {
            "email": email,
            "top_level_domain": "Yes",
            "type": "Personal" if domain in PERSONAL else "Professional",
            "disposable": "Yes" if domain.startswith("trash.") else "No",
            "mx_records": [f"{host.upper()}." for host in hosts] if self.bare else hosts,
            "provider": PERSONAL.get(domain, "Google"),
            "status": status,
            "format": "Ok" if self.bare else "Correct",
            "full_inbox": "Full" if 80 <= score < 90 else "Not full",
        }
        if self.bare:
            return found | {"message": "Success" if hosts else "Domain does not have email service set up"}
        return found | {"confidence_score": score, "confidence_description": band(score)}

    def phone_verifier(self, asked: dict[str, Any]) -> Any:
        self._serve()
        phones = asked["phones"]
        if not isinstance(phones, list) or not phones or not all(isinstance(one, str) for one in phones):
            raise RefusalError(400, "phones must be a list of strings")
        if "phoneVerifier" in self.mixes_up:
            phones = ["3897841883" for _ in phones]
        return [_phone(one) for one in (reversed(phones) if self.reverses else phones)]

    def _serve(self) -> None:
        if self.refuses is not None:
            raise RefusalError(self.refuses, "Not part of your plan")

    # -- search -----------------------------------------------------------------------------------------------------

    def email_patterns(self, asked: dict[str, Any]) -> Any:
        domain = _domain(asked, "domain")
        count = 0 if self._unknown(domain) else 1 + _number(domain) % 3
        return {"email_patterns": list(PATTERNS[1 : 1 + count])}

    def linkedin_contacts(self, asked: dict[str, Any]) -> Any:
        domain = _domain(asked, "domain")
        names = () if self._unknown(domain) else _people(domain)
        return {"contact_linkedin_handles": [f"{first}-{last}-{_number(domain) % 90000}" for first, last in names]}

    def company_email(self, asked: dict[str, Any]) -> Any:
        handle = _text(asked, "linkedin_handle")
        return {"company_email": None if self._unknown(handle) else f"info@{_at(handle)}"}

    def contact_emails(self, asked: dict[str, Any]) -> Any:
        handle = _text(asked, "linkedin_handle")
        names = () if self._unknown(handle) else _people(handle)
        return {"contact_emails": [f"{first}.{last}@{_at(handle)}" for first, last in names]}

    def contact_email(self, asked: dict[str, Any]) -> Any:
        handle = _text(asked, "linkedin_handle")
        words = [word for word in handle.split("-") if word.isalpha()] or ["somebody"]
        found: dict[str, Any] = {"contact_email": None if self._unknown(handle) else f"{'.'.join(words)}@example.com"}
        if self.tells_more:
            found |= {"full_name": " ".join(words).title(), "job_title": "Head of Sales"}
        return found

    def email_by_company(self, asked: dict[str, Any]) -> Any:
        company = _text(asked, "company_name")
        return self._made_out(asked, company, _at(company))

    def email_by_domain(self, asked: dict[str, Any]) -> Any:
        domain = _domain(asked, "company_domain")
        return self._made_out(asked, domain, domain)

    def _made_out(self, asked: dict[str, Any], company: str, domain: str) -> Any:
        first, last = _text(asked, "first_name").lower(), _text(asked, "last_name").lower()
        found = not self._unknown(company)
        confidence = 50 + _number(f"{first} {last} {company}") % 50 if found else 0
        shown = confidence if self.confidence_as == "number" else str(confidence)
        return {"email": f"{first}.{last}@{domain}" if found else None, "confidence": shown}

    def generate_email(self, asked: dict[str, Any]) -> Any:
        first, last = _text(asked, "first_name").lower(), _text(asked, "last_name").lower()
        domain = _domain(asked, "domain")
        return {"emails": [f"{p.format(first=first, last=last, f=first[0])}@{domain}" for p in PATTERNS]}

    def _unknown(self, name: str) -> bool:
        unknown = name.lower().startswith("unknown")
        if unknown and self.finds_nothing == "404":
            raise RefusalError(404, "Not found")
        return unknown

    # -- connections and warm-ups -----------------------------------------------------------------------------------

    def create_connection(self, asked: dict[str, Any]) -> Any:
        for name in CONNECTION[0].split():
            _text(asked, name)
        if asked["username"] != asked["email"]:
            raise RefusalError(400, "username must be identical to email")
        if asked["permission"] not in {"company", "private"}:
            raise RefusalError(400, "permission must be company or private")
        if self.refuses_logins:
            raise RefusalError(400, f"Login of {asked['username']} with {asked['secret']} failed")
        made = {
            "id": 1336 + len(self.connections),
            "user_id": 634,
            "type": "smtp",
            "name": asked["sender_name"],
            "email": asked["email"],
            "bcc": asked.get("bcc"),
            "data": {
                "username": asked["username"],
                # In some other form than it came (docs.sales.rocks, sample), and no less to be kept.
                "secret": hashlib.sha256(asked["secret"].encode() + self.rng.randbytes(8)).hexdigest(),
                "permission": asked["permission"],
                **{name: asked[f"smtp_{name}"] for name in ("host", "port", "encryption")},
                **{name: asked.get(name) for name in ("imap_host", "imap_port", "imap_encryption")},
            },
        }
        self.connections[asked["email"].lower()] = made
        return {"status": "success", "data": made}

    def create_warmer(self, asked: dict[str, Any]) -> Any:
        email = _address(asked, "connection_email").lower()
        steps = [asked["ramp_up_increment"], asked["ramp_up_limit"]]
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in steps):
            raise RefusalError(400, "ramp_up_increment and ramp_up_limit must be positive integers")
        if not all(isinstance(asked[name], bool) for name in ("mature", "stop_on_limit_reach")):
            raise RefusalError(400, "mature and stop_on_limit_reach must be true or false")
        if not _TIME.fullmatch(_text(asked, "start_date")):
            raise RefusalError(400, "start_date must be YYYY-MM-DD HH:MM:SS")
        if email not in self.connections:
            raise RefusalError(404, "Connection not found")
        at = self.local(self.now())
        made = {
            "id": 3071 + len(self.warmers),
            "created_at": at,
            "updated_at": at,
            "user_ID": 634,
            "connection_ID": self.connections[email]["id"],
            "ramp_up_increment": asked["ramp_up_increment"],
            "ramp_up_limit": asked["ramp_up_limit"],
            "stop_on_limit_reach": str(int(asked["stop_on_limit_reach"])),
            "start_date": asked["start_date"],
            "scheduled_today": 0,
            "timezone": _text(asked, "timezone"),
            "mature": str(int(asked["mature"])),
            "status": "1",
        }
        self.warmers.append(made)
        return {"status_code": 200, "data": made}


def band(score: int) -> str:
    """The documented word for a score."""
    words = {90: "Valid", 80: "Valid with full inbox", 70: "Likely", 50: "Risky"}
    return next((word for least, word in words.items() if score >= least), "Invalid")


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked[name]
    if not isinstance(value, str) or not value.strip():
        raise RefusalError(400, f"{name} is required")
    return value.strip()


def _address(asked: Mapping[str, Any], name: str) -> str:
    value = _text(asked, name)
    if "@" not in value:
        raise RefusalError(400, f"{name} must be an e-mail address")
    return value


def _domain(asked: Mapping[str, Any], name: str) -> str:
    value = _text(asked, name)
    if not _DOMAIN.fullmatch(value):
        raise RefusalError(400, f"{name} must be a domain")
    return value.lower()


def _number(word: str) -> int:
    """A number that belongs to a word."""
    return int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:4])


def _people(company: str) -> Sequence[tuple[str, str]]:
    first, last = ("jane", "john", "ann", "omar"), ("doe", "lee", "novak", "haddad")
    start = _number(company)
    return [(first[(start + n) % 4], last[(start // 4 + n) % 4]) for n in range(2 + start % 3)]


def _at(company: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", company.lower()).strip("-") + ".com"


def _phone(raw: str) -> dict[str, Any]:
    """As Google's library sees it, which the page says is behind this call; numbers come with their country code."""
    if not re.fullmatch(r"\+?[\d ().-]+", raw):
        message = "The string supplied did not seem to be a phone number."
        return {"input": raw, "status": "INVALID FORMAT", "message": message}
    try:
        number = phonenumbers.parse(raw if raw.startswith("+") else f"+{raw}")
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        return {"input": raw, "status": "INVALID", "message": "The phone number entered is not valid."}
    written = phonenumbers.PhoneNumberFormat
    return {
        "input": raw,
        "status": "VALID",
        "message": "Success",
        "default": phonenumbers.format_number(number, written.E164).removeprefix("+"),
        "country_code": f"+{number.country_code}",
        "country_isoCode": phonenumbers.region_code_for_number(number),
        "local": phonenumbers.format_number(number, written.NATIONAL),
        "international": phonenumbers.format_number(number, written.INTERNATIONAL),
        "number_type": KINDS.get(phonenumbers.number_type(number), "Unknown"),
        "country": COUNTRIES.get(phonenumbers.region_code_for_number(number) or "", "Elsewhere"),
        "location": "",
        "timezone": list(timezone.time_zones_for_number(number)),
    }
