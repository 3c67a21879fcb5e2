"""What Rokt asks to be told before it connects: eight points (Referral export via API), and the unsubscribe export.

Written from the configuration of one account, so that it says what the receiver really does. It names where a secret
goes and never the secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

from syncd.providers.rokt.options import ApiKeyAuth, BasicAuth, ClientAuth, RoktOptions
from syncd.providers.rokt.paper import Code, Paper, Section, Table

PRODUCTION = "production"

MEANINGS: Mapping[str, tuple[str, str]] = {
    # Canonical name -> what it is, and how it may be spelt.
    "email": ("e-mail address", "plain; or, where only a hash may be given away, its SHA-256 or MD5 in hex"),
    "email_sha256": ("SHA-256 of the trimmed, lower-case address", "64 hex digits in either case"),
    "email_md5": ("MD5 of the same", "32 hex digits in either case"),
    "first_name": ("first name", "text"),
    "last_name": ("last name", "text"),
    "phone": ("mobile number", "international with `+`, or national beside the country"),
    "country": ("country", "two letters (ISO 3166), or its English name"),
    "postal_code": ("postal code", "text: leading zeros are kept"),
    "language": ("language", "two letters (ISO 639)"),
    "birth_date": ("date of birth", "`yyyymmdd`, `yyyy-mm-dd`, or the day number of a spreadsheet"),
    "source": ("where the lead came from", "text"),
    "campaign": ("campaign", "its id, as text or as a number of any length"),
}

EXAMPLES: Mapping[str, str] = {
    "email": "ann@example.org",
    "email_sha256": "F9F9A5D3…",
    "email_md5": "238afb9e…",
    "first_name": "Ann",
    "last_name": "Bee",
    "phone": "0412 345 678",
    "country": "AU",
    "postal_code": "0200",
    "language": "en",
    "birth_date": "19911127",
    "source": "checkout",
    "campaign": "2581697744617019994",
}


def meaning_of(field: str) -> tuple[str, str]:
    """What a field is and how it is written; a field of the operator's own is its name and text."""
    return MEANINGS.get(field, (field.replace("_", " "), "text"))


DIGESTS = ("email_sha256", "email_md5")


@dataclass(frozen=True, slots=True)
class About:
    """The account that a sheet is about. `bases`: environment -> the address under which our receiver is reached."""

    account: str
    options: RoktOptions
    bases: Mapping[str, str]
    body_bytes_max: int

    def url(self, environment: str, route: str) -> str:
        return f"{self.bases[environment]}{self.path(route)}"

    def path(self, route: str) -> str:
        return f"/in/{quote(self.account, safe='')}/{route}"

    @property
    def lead_methods(self) -> tuple[str, ...]:
        return self.options.methods

    @property
    def unsubscribe_methods(self) -> tuple[str, ...]:
        return tuple(method for method in self.options.methods if method != "GET")

    @property
    def required(self) -> tuple[str, ...]:
        """Canonical names. Somebody has to be named, so the address is required where nothing more special is."""
        return ("email", *(name for name in self.options.required if name != "email"))


def bases_of(options: RoktOptions, public_url: str) -> dict[str, str]:
    """Where our receiver is reached, by environment; production first."""
    return {PRODUCTION: public_url, **options.environments}


def sheet_of(about: About) -> Paper:
    """The document that is sent to Rokt, point by point in its own order."""
    return Paper(
        f"Lead delivery to {about.account}",
        "How Rokt delivers leads, and unsubscribes, to our system: one HTTP request for each person, as it happens.",
        (
            Section("1. API documentation", _documentation(about)),
            Section("2. Technical contact", _contact(about)),
            Section("3. Endpoints", _endpoints(about)),
            Section("4. Method", _methods(about)),
            Section("5. Authentication", _authentication(about)),
            Section("6. Body encoding", _encodings(about)),
            Section("7. Parameters", _parameters(about)),
            Section("8. Responses", _responses(about)),
            Section("Test leads", _tests(about)),
            Section("Unsubscribe export", _unsubscribes(about)),
        ),
    )


def _documentation(about: About) -> Sequence[str | Table | Code]:
    method = about.lead_methods[0]
    return (
        "This document is complete. The same as OpenAPI 3.1 comes with it.",
        (
            f"A lead is created by one `{method}` to `{about.url(PRODUCTION, 'leads')}`. One request is one person. "
            "It may be repeated at will: the same content on the same UTC day is recognised in every method and "
            "encoding, and answered as a duplicate. Any other lead is new."
        ),
        f"A request may have {about.body_bytes_max} bytes and is sent within 30 seconds. Bodies are not compressed.",
    )


def _contact(about: About) -> Sequence[str | Table | Code]:
    contact = about.options.contact
    if contact is None:
        return (f"Not named yet: `contact` in `[accounts.{about.account}]` of the configuration.",)
    lines = {"Name": contact.name, "Role": contact.role, "E-mail": contact.email, "Telephone": contact.phone}
    rows = [(name, value) for name, value in lines.items() if value]
    return (Table(("contact", ""), rows), "Ask here whether a test lead has arrived, or why a delivery was refused.")


def _endpoints(about: About) -> Sequence[str | Table | Code]:
    rows = [(name, "leads", f"`{about.url(name, 'leads')}`") for name in about.bases]
    rows += [(name, "unsubscribes", f"`{about.url(name, 'unsubscribes')}`") for name in about.bases]
    if query := about.options.test_leads.query:
        rows += [(f"{name}, tests", "test leads", f"`{about.url(name, 'leads')}?{query}=true`") for name in about.bases]
    return (Table(("environment", "what", "address"), rows),)


def _methods(about: About) -> Sequence[str | Table | Code]:
    others = about.lead_methods[1:]
    text = f"`{about.lead_methods[0]}`" + (
        f"; also {', '.join(f'`{method}`' for method in others)}." if others else "."
    )
    if "GET" in about.lead_methods:
        text += " With `GET` all parameters stand in the address, and there is no body."
    return (text, "Any other method is answered with 405 and an `Allow` header.")


def headers_of(options: RoktOptions) -> Sequence[tuple[str, str]]:
    """The headers that prove who sends, and what stands in them, without any secret."""
    auth = options.inbound_auth
    match auth:
        case BasicAuth():
            return (("Authorization", f"`Basic` and base64 of `{auth.username}:PASSWORD`"),)
        case ApiKeyAuth():
            return ((auth.header, "the key and nothing else"),)
        case ClientAuth():
            return (
                (auth.client_id_header, f"the client id, `{auth.client_id}`"),
                (auth.client_secret_header, "the client secret"),
            )


def _authentication(about: About) -> Sequence[str | Table | Code]:
    kind = {"basic": "User name and password (HTTP Basic)", "api_key": "An API key", "client": "Client id and secret"}
    auth = about.options.inbound_auth
    rows = [(f"`{name}`", text) for name, text in headers_of(about.options)]
    blocks: list[str | Table | Code] = [f"{kind[auth.kind]}, in each request:", Table(("header", "value"), rows)]
    if isinstance(auth, ClientAuth):
        blocks.append("HTTP Basic with the client id as user name and the client secret as password is taken as well.")
    blocks.append("The secret is handed over by another way. A request without it is answered with 401.")
    return blocks


def _encodings(about: About) -> Sequence[str | Table | Code]:
    names = ("email", *(name for name in ("first_name", "last_name", "campaign") if name in _named(about)))
    lead = {about.options.parameters[name]: EXAMPLES[name] for name in names}
    found: list[str | Table | Code] = [
        (
            "Any of these, named in `Content-Type`; UTF-8 unless a `charset` says otherwise (UTF-16, ISO-8859-1 and "
            "Windows-1252 are read). Names of parameters are taken as they are written here."
        )
    ]
    for title, content_type, text in encoded(lead, [about.options.parameters[name] for name in _named(about)]):
        found += [f"{title}, `{content_type}`:", Code(text)]
    return found


_ELEMENT = re.compile(r"[^\W\d][\w.-]*")


def encoded(lead: Mapping[str, str], names: Iterable[str] = ()) -> Sequence[tuple[str, str, str]]:
    """One lead in each encoding that can carry its names and these besides: title, content type, text."""
    every = [*lead, *names]
    found = [
        ("JSON", "application/json", json.dumps(lead, ensure_ascii=False)),
        ("URL-encoded", "application/x-www-form-urlencoded", urlencode(lead)),
    ]
    if not any(re.search("[=:\\s]", name) for name in every):
        found.append(("Plain text", "text/plain", "\n".join(f"{name}={value}" for name, value in lead.items())))
    if all(_ELEMENT.fullmatch(name) for name in every):
        root = Element("lead")
        for name, value in lead.items():
            SubElement(root, name).text = value
        found.append(("XML", "application/xml", tostring(root, encoding="unicode")))
    return found


def _named(about: About) -> tuple[str, ...]:
    """Canonical names that the sheet speaks of."""
    return (*about.required, *(name for name in about.options.asked_for if name not in about.required))


def _parameters(about: About) -> Sequence[str | Table | Code]:
    names = about.options.parameters
    rows = [
        (f"`{names[field]}`", "required" if field in about.required else "optional", *meaning_of(field))
        for field in _named(about)
    ]
    blocks: list[str | Table | Code] = [Table(("parameter", "", "meaning", "how it is written"), rows)]
    if "email" not in about.options.required:
        hashed = " or ".join(f"`{names[name]}`" for name in DIGESTS)
        blocks.append(f"In the place of `{names['email']}` a lead may carry {hashed}.")
    blocks.append("Anything else that is sent is kept with the lead as it came. What is empty counts as not sent.")
    return blocks


REJECTIONS: Sequence[tuple[str, str, str]] = (
    ("400", "a required parameter is missing, or the body cannot be read; `error` says which", "mend the set-up"),
    ("401", "the credential is missing or wrong", "mend the credential"),
    ("404, 405", "no such address; a method that is not taken there", "mend the set-up"),
    ("413, 415", "too large; in none of the encodings", "mend the set-up"),
    (
        "408, 429, 503",
        "nothing was taken: the body was too slow, too many came at once, or we cannot write now",
        "send it again, after `Retry-After`",
    ),
)


def _responses(about: About) -> Sequence[str | Table | Code]:
    rows = [
        ("201", "delivered", '`{"status": "created", "id": "…"}`', "none"),
        ("200", "duplicate", '`{"status": "duplicate", "id": "…"}`', "none"),
        *(
            (status, "rejected", '`{"status": "rejected", "error": "…"}`', f"{why}: {what}")
            for status, why, what in REJECTIONS
        ),
    ]
    return (
        Table(("status", "counts as", "body", "what to do"), rows),
        (
            "Each answer is JSON, and status and body say the same: rules may go by either. 201 and 200 come only once "
            f"the lead is on disk. 403 is never answered. An example of a rejection is `{_rejection(about)}`."
        ),
    )


def _rejection(about: About) -> str:
    lacking = about.options.parameters[about.required[-1]]
    return json.dumps({"status": "rejected", "error": f"{lacking}: missing"})


def _tests(about: About) -> Sequence[str | Table | Code]:
    tests = about.options.test_leads
    marks = []
    if tests.query:
        marks.append(f"it is sent to the address for test leads, `…?{tests.query}=true`")
    if tests.parameter:
        marks.append(f"its parameter `{tests.parameter}` is `{tests.value}`")
    if tests.addresses:
        marks.append(f"it names {', '.join(f'`{one}`' for one in tests.addresses)}")
    if tests.domains:
        marks.append(f"its address is at {', '.join(f'`{one}`' for one in tests.domains)}")
    if not marks:
        return ("None is told apart: whatever is delivered is a real lead.",)
    return (
        (
            f"A lead is a test if {', or '.join(marks)}. It is answered exactly as a real one would be, refusals "
            f"included; nobody is created by it, nothing is handed on, and it is forgotten after {_days(tests.keep)}. "
            "The contact above can see that it has arrived."
        ),
    )


def _days(seconds: float) -> str:
    days, hours = seconds / 86_400, seconds / 3600
    return f"{days:g} days" if days >= 2 else f"{hours:g} hours"


def _unsubscribes(about: About) -> Sequence[str | Table | Code]:
    names = about.options.parameters
    who = ", ".join(f"`{names[name]}`" for name in ("email", *DIGESTS))
    methods = " or ".join(f"`{method}`" for method in about.unsubscribe_methods) or "none: allow POST or PUT"
    return (
        (
            "A second connection of the same kind tells us who unsubscribed at Rokt. It has the same authentication, "
            "encodings and responses."
        ),
        Table(
            ("", ""),
            [
                ("address", f"`{about.url(PRODUCTION, 'unsubscribes')}`"),
                ("method", f"{methods}; never `GET`"),
                ("parameters", f"one of {who}, required"),
            ],
        ),
        "It ends all our mail to the person. No marker makes it a test: use an address that belongs to nobody.",
    )
