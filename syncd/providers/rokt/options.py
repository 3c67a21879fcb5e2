"""The keys of an account at Rokt, and the three ways in which Rokt can prove itself to us.

The inbound credential has no default: a receiver without one would take leads and unsubscribes from anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from syncd.providers.contact_points import read_address
from syncd.providers.options import AccountOptions, Duration, Options, Secret, Text, Url, custom_fields

PARAMETERS: Mapping[str, str] = {
    # Rokt's own attribute names (Web SDK and conversion attribute lists). A client may ask for any other names,
    # since the parameter names of a connection are the client's to choose (Referral export via API).
    "email": "email",
    "email_sha256": "emailsha256",
    "email_md5": "emailmd5",
    "first_name": "firstname",
    "last_name": "lastname",
    "phone": "mobile",
    "country": "country",
    "postal_code": "zipcode",
    "language": "language",
    "birth_date": "dob",
    # One of the attributes that the export page calls common; it is not in the lists and has no name there.
    "source": "source",
    "campaign": "campaign_id",
}

QUERY_KEYS = ("query_url", "query_token_url", "app_id", "app_secret", "account_id")

Secrets = Secret | Annotated[tuple[Secret, ...], Field(min_length=1)]
"""One secret, or several of which any is good: the old and the new one while they are being exchanged."""


def each(secrets: SecretStr | tuple[SecretStr, ...]) -> tuple[str, ...]:
    """The plain values of one or several secrets."""
    several = secrets if isinstance(secrets, tuple) else (secrets,)
    return tuple(secret.get_secret_value() for secret in several)


class BasicAuth(Options):
    """User name and password, as HTTP Basic."""

    kind: Literal["basic"]
    username: Text
    password: Secrets


class ApiKeyAuth(Options):
    """One header that holds a key and nothing else."""

    kind: Literal["api_key"]
    header: Text = "X-Api-Key"
    key: Secrets


class ClientAuth(Options):
    """A client id and its secret, in two headers or as HTTP Basic; either is the same proof."""

    kind: Literal["client"]
    client_id: Text
    client_secret: Secrets
    client_id_header: Text = "X-Client-Id"
    client_secret_header: Text = "X-Client-Secret"  # noqa: S105 - the name of a header, not a secret


InboundAuth = Annotated[BasicAuth | ApiKeyAuth | ClientAuth, Field(discriminator="kind")]


class LeadTests(Options):
    """How a lead is known that only tries whether we can be reached. Any one of these marks it.

    `parameter` with `value`: one parameter of the lead. `addresses`, `domains`: whom it names; by digest, too. `query`:
    a parameter of the address, so that the same address with `?test=true` is the one for tests; "" for none.
    """

    parameter: Text | None = None
    value: Text = "true"
    addresses: tuple[Text, ...] = ()
    domains: tuple[Text, ...] = ()
    query: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*$")] = "test"
    keep: Duration = 7 * 86_400.0
    keep_max: Annotated[int, Field(ge=1, le=100_000)] = 1000

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if any(read_address(address) is None for address in addresses):
            raise ValueError("not e-mail addresses, all of them")
        return addresses


class Contact(Options):
    """Whom Rokt asks when a delivery fails, or whether a test lead has arrived."""

    name: Text
    role: Text | None = None
    email: Text | None = None
    phone: Text | None = None


class RoktOptions(AccountOptions):
    provider: Literal["rokt"]
    unsubscribe_url: Url = "https://api.data.rokt.com/1.0/nurture/unsubscribe"
    api_key: Secret
    methods: Annotated[tuple[Literal["POST", "PUT", "GET"], ...], Field(min_length=1)] = ("POST", "PUT")
    inbound_auth: InboundAuth
    required: tuple[Text, ...] = ()
    optional: tuple[Text, ...] | None = None
    test_leads: LeadTests = LeadTests()
    contact: Contact | None = None
    environments: dict[Text, Url] = Field(default_factory=dict)
    query_url: Url | None = None
    query_token_url: Url | None = None
    app_id: Text | None = None
    app_secret: Secret | None = None
    account_id: Text | None = None
    report_window_days: Annotated[int, Field(ge=1, le=366)] = 31
    report_back_days: Annotated[int, Field(ge=1, le=3660)] = 730
    restated_days: Annotated[int, Field(ge=0, le=366)] = 7
    end_date_inclusive: bool = False
    report_timezone: Text | None = None
    report_currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if unknown := sorted(fields.keys() - PARAMETERS.keys() - custom_fields(info)):
            raise ValueError(f"no such field: {', '.join(unknown)}; known are {', '.join(PARAMETERS)}")
        names = list({**PARAMETERS, **fields}.values())
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"one parameter cannot stand for two fields: {', '.join(twice)}")
        return fields

    @field_validator("required", "optional")
    @classmethod
    def _known_names(cls, names: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        """A field of one's own is asked for by the name that `fields` gives it."""
        named = {**PARAMETERS, **info.data.get("fields", {})}
        unknown = sorted(set(names or ()) - named.keys())
        if unnamed := [name for name in unknown if name in custom_fields(info)]:
            raise ValueError(f"{', '.join(unnamed)} is called nothing here: name it in `fields`")
        if unknown:
            raise ValueError(f"no such field: {', '.join(unknown)}; known are {', '.join(named)}")
        return names

    @model_validator(mode="after")
    def _all_query_keys_or_none(self) -> RoktOptions:
        missing = [key for key in QUERY_KEYS if getattr(self, key) is None]
        if missing and len(missing) < len(QUERY_KEYS):
            raise ValueError(f"campaign statistics need all of {', '.join(QUERY_KEYS)}; missing: {', '.join(missing)}")
        return self

    @property
    def parameters(self) -> Mapping[str, str]:
        """Canonical name -> the name of the parameter in what Rokt sends."""
        return {**PARAMETERS, **self.fields}

    @property
    def asked_for(self) -> tuple[str, ...]:
        """Canonical names that a lead may carry besides the required ones, as the sheet asks for them."""
        names = self.optional if self.optional is not None else tuple(self.parameters)
        return tuple(name for name in names if name not in self.required)

    @property
    def reports(self) -> bool:
        """Whether the Query API is configured."""
        return self.query_url is not None
