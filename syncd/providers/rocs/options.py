"""The configuration of an account at ROCS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from syncd.providers.fields import CANONICAL
from syncd.providers.options import AccountOptions, Duration, Secret, Text, Url, custom_fields
from syncd.providers.rocs.table import NAMES, PATHS, WORDS_MEAN, Table, path_fault, shared_name, unknown_key

DYNAMIC = "dynamic:"
"""Prefix of a field name in `fields` that lives in the customer's dynamic fields."""

STANDARD = {
    "first_name": "customer.first_name",
    "last_name": "customer.last_name",
    "phone": "customer.phone",
}
"""Canonical fields that a customer has by itself, and the rows of the table that name them there."""


def _several(value: Any) -> Any:
    # One text is one secret; a secret file may hold one secret a line while they are being rotated.
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty")
    if isinstance(value, str):
        return tuple(line for line in value.splitlines() if line.strip())
    return value if isinstance(value, (list, tuple)) else (value,)


class RocsOptions(AccountOptions):
    provider: Literal["rocs"]
    base_url: Url = "https://api.msp-cloud.com"
    token_url: Url
    client_id: Text
    client_secret: Annotated[
        tuple[Secret, ...], BeforeValidator(_several, json_schema_input_type=str | list[str]), Field(min_length=1)
    ]
    resource: Text | None = None
    scope: Annotated[Text | None, Field(validate_default=True)] = None
    webhook_secret: Annotated[
        tuple[Secret, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])
    ] = ()
    webhook_timestamp_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    webhook_window: Annotated[Duration, Field(gt=0)] = 300.0
    paths: dict[str, Text] = Field(default_factory=dict)
    names: Annotated[dict[str, Text], Field(default_factory=dict, validate_default=True)]
    status_words: dict[str, Text] = Field(default_factory=dict)
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    campaign_page_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    campaigns_max: Annotated[int, Field(ge=1)] = 10_000
    max_age: Duration = 86_400.0  # of dynamic fields, which only a look-up shows
    lookups_per_round: Annotated[int, Field(ge=1)] = 500
    unread_max: Annotated[int, Field(ge=0, le=1000)] = 10
    phone_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None

    @field_validator("scope")
    @classmethod
    def _one_audience(cls, scope: str | None, info: ValidationInfo) -> str | None:
        # Azure AD v1.0 takes `resource`, v2.0 takes `scope`, and each refuses the other's.
        if "resource" in info.data and (scope is None) == (info.data["resource"] is None):
            count = "neither is" if scope is None else "both are"
            raise ValueError(f"exactly one of resource (Azure AD v1.0) and scope (v2.0) is needed; {count} set")
        return scope

    @field_validator("paths")
    @classmethod
    def _known_paths(cls, paths: dict[str, str]) -> dict[str, str]:
        faults = [unknown_key(row, PATHS) for row in paths if row not in PATHS]
        faults += [fault for row, path in paths.items() if row in PATHS and (fault := path_fault(row, path))]
        return _faultless(paths, faults)

    @field_validator("status_words")
    @classmethod
    def _known_meanings(cls, words: dict[str, str]) -> dict[str, str]:
        known = sorted(meaning.value for meaning in WORDS_MEAN)
        return _faultless(words, [f"{word}: {unknown_key(to, known)}" for word, to in words.items() if to not in known])

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        known = CANONICAL.keys() | custom_fields(info)
        faults = [unknown_key(field, sorted(known)) for field in fields if field not in known]
        faults += [f"{field}: no name after {DYNAMIC!r}" for field, to in fields.items() if to == DYNAMIC]
        return _faultless(fields, faults)

    @field_validator("names")
    @classmethod
    def _known_names(cls, names: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if faults := [unknown_key(row, NAMES) for row in names if row not in NAMES]:
            return _faultless(names, faults)
        if fault := shared_name(NAMES | names):
            faults.append(fault)
        # A canonical field may not be pointed at what carries identity or consent, nor two at one place.
        taken = {(NAMES | names)[f"customer.{row}"] for row in ("id", "email", "consent", "modified")}
        for field, name in _field_names(names, info.data.get("fields", {})).items():
            if name in taken:
                faults.append(f"fields.{field}: {name!r} already has another meaning")
            taken.add(name)
        return _faultless(names, faults)

    def table(self) -> Table:
        return Table.overridden(self.paths, self.names, self.status_words)

    def standard_fields(self) -> dict[str, str]:
        """Canonical name to the customer's own member."""
        own = _field_names(self.names, self.fields)
        return {field: name for field, name in own.items() if not name.startswith(DYNAMIC)}

    def dynamic_fields(self) -> dict[str, str]:
        """Canonical name to the name of a dynamic field."""
        return {field: to.removeprefix(DYNAMIC) for field, to in self.fields.items() if to.startswith(DYNAMIC)}

    def client_secrets(self) -> tuple[str, ...]:
        """All secrets that may open the account, newest first."""
        return tuple(secret.get_secret_value() for secret in self.client_secret)

    def webhook_secrets(self) -> tuple[bytes, ...]:
        """All secrets that a notice may be signed with, newest first."""
        return tuple(secret.get_secret_value().encode() for secret in self.webhook_secret)


def _field_names(names: Mapping[str, str], fields: Mapping[str, str]) -> dict[str, str]:
    return {field: (NAMES | dict(names))[row] for field, row in STANDARD.items()} | dict(fields)


def _faultless(value: dict[str, str], faults: list[str]) -> dict[str, str]:
    if faults:
        raise ValueError("; ".join(faults))
    return value
