"""E-mail addresses and phone numbers as providers spell them, read into one form.

Both libraries are slow beside the rest of a pull (tens of microseconds each), so they see only records that changed,
and addresses only when they have not the plain shape that `domain.identity` accepts at once. For the same reason they
are imported where they are used: most rounds need neither.
"""

from __future__ import annotations

from syncd.domain.identity import Identity, identity_of


def read_address(raw: str) -> Identity | None:
    """The identity behind an address, or None if nobody can be mailed there."""
    if identity := identity_of(raw):
        return identity
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        return identity_of(validate_email(raw.strip(), check_deliverability=False).normalized)
    except EmailNotValidError:
        return None


def read_phone(raw: str, region: str | None = None) -> str | None:
    """E.164, or None if it is not a possible number. `region` (`SE`) is needed for numbers without a country code."""
    import phonenumbers  # noqa: PLC0415

    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def split_name(full: str) -> tuple[str, str]:
    """First and last name out of one field: the first word and the rest."""
    first, _, last = " ".join(full.split()).partition(" ")
    return first, last


def join_name(first: str, last: str) -> str:
    return " ".join(part for part in (first.strip(), last.strip()) if part)
