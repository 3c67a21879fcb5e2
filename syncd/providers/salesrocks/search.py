"""Search and enrichment (docs.sales.rocks): addresses, patterns and handles; on which lists an address is.

Found nothing is an answer: an empty list or None, and so is their own 404. Which of them the service gives is not said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncd.domain.errors import MalformedError
from syncd.providers.salesrocks import translate
from syncd.providers.salesrocks.answers import NotFoundError, count
from syncd.providers.salesrocks.calls import Calls, text, texts
from syncd.providers.salesrocks.translate import FoundList
from syncd.wire import Exchange


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact, by handle. A public client also reads `full_name` and `job_title`, which the page does not name."""

    contact_email: str | None
    full_name: str | None
    job_title: str | None


@dataclass(frozen=True, slots=True)
class FoundEmail:
    """An address made out for a name, and how sure the service is, 0 to 99."""

    email: str | None
    confidence: int | None


def email_patterns(calls: Calls, domain: str) -> Exchange[Sequence[str]]:
    """How addresses of a domain are made, such as ``{first}.{last}``."""
    return (yield from _all(calls, "search/emailPatternsByDomain", {"domain": domain}, "email_patterns"))


def linkedin_contacts(calls: Calls, domain: str) -> Exchange[Sequence[str]]:
    """The LinkedIn handles of people at a domain."""
    path = "search/linkedinContactsByDomain"
    return (yield from _all(calls, path, {"domain": domain}, "contact_linkedin_handles"))


def company_email(calls: Calls, handle: str) -> Exchange[str | None]:
    """A company's address, by its LinkedIn handle."""
    path = "search/companyEmailByCompanyLinkedinHandle"
    found = yield from _one(calls, path, {"linkedin_handle": handle}, "company_email")
    return text(found.get("company_email"))


def contact_emails(calls: Calls, handle: str) -> Exchange[Sequence[str]]:
    """The addresses of people at a company, by its LinkedIn handle."""
    path = "search/contactEmailsByCompanyLinkedinHandle"
    return (yield from _all(calls, path, {"linkedin_handle": handle}, "contact_emails"))


def contact_email(calls: Calls, handle: str) -> Exchange[Contact]:
    """One contact's address, by their LinkedIn handle."""
    path = "search/contactEmailByContactLinkedinHandle"
    found = yield from _one(calls, path, {"linkedin_handle": handle}, "contact_email")
    return Contact(text(found.get("contact_email")), text(found.get("full_name")), text(found.get("job_title")))


def email_by_company(calls: Calls, first_name: str, last_name: str, company_name: str) -> Exchange[FoundEmail]:
    """Somebody's address at a company, by its name."""
    body = {"first_name": first_name, "last_name": last_name, "company_name": company_name}
    return (yield from _address(calls, "search/emailByFirstLastAndCompanyName", body))


def email_by_domain(calls: Calls, first_name: str, last_name: str, company_domain: str) -> Exchange[FoundEmail]:
    """Somebody's address at a company, by its domain."""
    body = {"first_name": first_name, "last_name": last_name, "company_domain": company_domain}
    return (yield from _address(calls, "search/emailByFirstLastNameAndCompanyDomain", body))


def generate_emails(calls: Calls, first_name: str, last_name: str, domain: str) -> Exchange[Sequence[str]]:
    """Addresses that somebody may have. Nobody looked whether there is one: verify before use."""
    body = {"first_name": first_name, "last_name": last_name, "domain": domain}
    return (yield from _all(calls, "enrichment/generateEmail", body, "emails"))


def lists_of(calls: Calls, email: str) -> Exchange[Sequence[FoundList]]:
    """The lists that the service finds "for a given email address"; whose is not said. Raises what it refuses."""
    call = "getListNameAndIds"
    answer = yield from calls.post(f"search/{call}", {"email": email}, private=(email,))
    return translate.read_found(answer.content, call)


def _one(calls: Calls, path: str, body: Mapping[str, str], member: str) -> Exchange[Mapping[str, Any]]:
    """The answer, which must speak of `member` unless it is empty; empty too if they have no such thing."""
    call = path.rpartition("/")[2]
    try:
        found = yield from calls.find(path, body)
    except NotFoundError:
        return {}
    if found and member not in found:
        raise MalformedError(f"{call}: the answer holds no {member}", call=call)
    return found


def _all(calls: Calls, path: str, body: Mapping[str, str], member: str) -> Exchange[Sequence[str]]:
    found = yield from _one(calls, path, body, member)
    return texts(found, member, path.rpartition("/")[2])


def _address(calls: Calls, path: str, body: Mapping[str, str]) -> Exchange[FoundEmail]:
    found = yield from _one(calls, path, body, "email")
    return FoundEmail(text(found.get("email")), count(found.get("confidence")))
