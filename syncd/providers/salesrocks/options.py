"""The configuration of an account at Sales.Rocks."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationInfo, field_validator, model_validator

from syncd.domain.hygiene import Band
from syncd.providers.fields import CANONICAL
from syncd.providers.options import AccountOptions, Duration, Secret, Text, Url, custom_fields

BANDS = {Band.RISKY: 50, Band.LIKELY: 70, Band.FULL_INBOX: 80, Band.VALID: 90}
"""The lowest score of each (docs.sales.rocks, Confidence score further explained)."""

Kind = Literal[
    "fixed_line", "mobile", "fixed_line_or_mobile", "toll_free", "premium_rate", "shared_cost", "voip",
    "personal_number", "pager", "uan", "voicemail", "unknown",
]  # fmt: skip
"""What sort of number one is (docs.sales.rocks, Phone Verifier)."""

RESERVED = frozenset({"_id", "list_id"})
"""Members of a contact that are the provider's own: its identity and its place."""


class SalesRocksOptions(AccountOptions):
    """Limits are ours: the provider states none for `size`, for a batch or for calls a minute (docs.sales.rocks)."""

    provider: Literal["salesrocks"]
    base_url: Url = "https://api.sales.rocks"
    username: Text
    password: Secret
    on_unsubscribe: Literal["remove", "field"] = "remove"
    unsubscribe_field: Text = "status"
    unsubscribe_value: Text = "unsubscribed"
    subscribe_value: Text = "subscribed"
    on_absence: Literal["ignore", "unsubscribe"] = "ignore"
    timezone: Text = "UTC"
    page_size: Annotated[int, Field(ge=1, le=10_000)] = 1000
    lists_page_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    name_field: Text = "name"
    phone_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    hygiene: bool = False
    hygiene_bands: dict[Literal["risky", "likely", "full_inbox", "valid"], Annotated[int, Field(ge=0, le=100)]] = Field(
        default_factory=dict
    )
    hygiene_spreads_from: Literal["risky", "likely", "full_inbox", "valid"] = "likely"
    hygiene_refused_numbers: tuple[Kind, ...] = ("premium_rate", "shared_cost", "pager", "voicemail")
    hygiene_max_age: Duration = 90 * 86_400.0
    hygiene_per_round: Annotated[int, Field(ge=1, le=100_000)] = 200

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        _zone(name)
        return name

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if unknown := sorted(fields.keys() - {*CANONICAL, "email"} - custom_fields(info)):
            raise ValueError(f"no such field: {', '.join(unknown)}; known are email, {', '.join(CANONICAL)}")
        return fields

    @model_validator(mode="after")
    def _one_meaning_each(self) -> SalesRocksOptions:
        names = [self.name_field, self.unsubscribe_field, self.email_field, *self.member_of.values()]
        if taken := sorted(RESERVED & set(names)):
            raise ValueError(f"{', '.join(taken)} belongs to Sales.Rocks and cannot hold a value of ours")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"one member of a contact cannot have two meanings: {', '.join(twice)}")
        if self.unsubscribe_value.lower() == self.subscribe_value.lower():
            raise ValueError("unsubscribe_value and subscribe_value must differ")
        return self

    @model_validator(mode="after")
    def _bands_rise(self) -> SalesRocksOptions:
        least = [self.least_scores[band] for band in BANDS]
        if least != sorted(least):
            raise ValueError(f"hygiene_bands must rise in this order: {', '.join(BANDS)}; they are {least}")
        return self

    @property
    def least_scores(self) -> dict[Band, int]:
        """The lowest score of each band; those that the page documents, but for what is configured."""
        return BANDS | {Band(name): least for name, least in self.hygiene_bands.items()}

    @property
    def zone(self) -> tzinfo:
        """The zone of the provider's times, which name none."""
        return _zone(self.timezone)

    @property
    def email_field(self) -> str:
        return self.fields.get("email", "email")

    @property
    def one_name_field(self) -> bool:
        """Whether a name is written to `name_field` whole; naming a member for either half says otherwise."""
        return not self.fields.keys() & {"first_name", "last_name"}

    @property
    def member_of(self) -> dict[str, str]:
        """Canonical field -> member of a contact. The store is free of schema, so only names have a default place."""
        own = {field: member for field, member in self.fields.items() if field != "email"}
        return {"first_name": "first_name", "last_name": "last_name"} | own


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # there also on machines without a zone database
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no such time zone: {name!r}; write an IANA name such as 'Europe/Skopje'") from None
