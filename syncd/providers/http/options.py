"""The keys of an outbound connection: where new subscribers are delivered, how, and what an answer means."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, field_validator, model_validator

from syncd.domain.stars import SECRET_NAMES, STARS
from syncd.providers.http.rules import Rule
from syncd.providers.options import AccountOptions, Endpoint, Options, Secret, Text

Method = Literal["POST", "PUT", "GET"]
Encoding = Literal["json", "form", "text", "xml"]
Plain = str | bool | int | float
"""A constant that is sent as it stands."""

EMAIL = "email"
LIST = "list"
"""Fields that are no fields of a person's record: the address, and the id under which the list is linked."""

FIELDS = {EMAIL: "email", "first_name": "first_name", "last_name": "last_name"}
"""What is delivered where nothing is configured."""

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset({"content-type", "content-length", "host", "transfer-encoding", "connection"})


def _path(text: str) -> str:
    """A name that no encoding can misread: letters, digits, `_` and `-`, dots between the steps."""
    if not _PATH.fullmatch(text):
        raise ValueError("not a name for a parameter: letters, digits, _ and -, and dots between nested ones")
    return text


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError("not a name for a header")
    return text


def _visible(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("a header holds printable ASCII only")
    return text


def _shown(constants: dict[str, Plain]) -> dict[str, Plain]:
    return {name: STARS if SECRET_NAMES.search(name) else value for name, value in constants.items()}


Path = Annotated[str, AfterValidator(_path)]
Constants = Annotated[dict[Path, Plain], PlainSerializer(_shown, when_used="json")]
HeaderName = Annotated[Text, AfterValidator(_header)]
HeaderValue = Annotated[Text, AfterValidator(_visible)]


class NoAuth(Options):
    """The receiver asks for nothing, or for what the endpoint's own address says."""

    kind: Literal["none"] = "none"


class BasicAuth(Options):
    """User name and password, as HTTP Basic."""

    kind: Literal["basic"]
    username: Text
    password: Secret


class ApiKeyAuth(Options):
    """One header that holds a key and nothing else."""

    kind: Literal["api_key"]
    header: HeaderName = "X-Api-Key"
    key: Secret


class ClientAuth(Options):
    """A client id and its secret, in two headers."""

    kind: Literal["client"]
    client_id: Text
    client_secret: Secret
    client_id_header: HeaderName = "X-Client-Id"
    client_secret_header: HeaderName = "X-Client-Secret"  # noqa: S105 - the name of a header, not a secret


class BearerAuth(Options):
    """A token that was given once and for all."""

    kind: Literal["bearer"]
    token: Secret


Auth = Annotated[NoAuth | BasicAuth | ApiKeyAuth | ClientAuth | BearerAuth, Field(discriminator="kind")]


class Unsubscribe(Options):
    """Where the receiver is told of a "no", in the connection's own encoding, with its credentials."""

    endpoint: Endpoint
    method: Literal["POST", "PUT", "GET", "DELETE"] = "POST"
    fields: dict[Text, Path] = Field(default_factory=lambda: {EMAIL: "email"})
    constants: Constants = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


class HttpOptions(AccountOptions):
    provider: Literal["http"]
    endpoint: Endpoint
    test_endpoint: Endpoint | None = None
    method: Method = "POST"
    encoding: Encoding = "json"
    auth: Auth = NoAuth()
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    fields: dict[str, Text] = Field(default_factory=lambda: dict(FIELDS))
    constants: Constants = Field(default_factory=dict)
    required: tuple[Text, ...] = (EMAIL,)
    test_constants: Constants = Field(default_factory=lambda: dict[Path, Plain](test="true"))
    xml_root: Path = "lead"
    rules: tuple[Rule, ...] = ()
    repeat_lost: bool = False
    unsubscribe: Unsubscribe | None = None

    @field_validator("fields")
    @classmethod
    def _names_the_person(cls, fields: dict[str, str]) -> dict[str, str]:
        if EMAIL not in fields:
            raise ValueError('must say what the address is called there: email = "…"')
        return {field: _path(path) for field, path in fields.items()}

    @field_validator("headers")
    @classmethod
    def _hold_no_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if SECRET_NAMES.search(name):
                raise ValueError(f"{name} carries a secret: give it in `auth`, so that it is never printed")
            if name.lower() in _OURS:
                raise ValueError(f"{name} follows from the request and cannot be set")
        return headers

    @model_validator(mode="after")
    def _is_of_one_piece(self) -> HttpOptions:
        if missing := [field for field in self.required if field not in self.fields]:
            raise ValueError(f"required, and not among the fields that are sent: {', '.join(missing)}")
        _must_not_collide([*self.fields.values(), *self.constants, *self.test_constants])
        if self.unsubscribe is not None:
            if EMAIL not in self.unsubscribe.fields:
                raise ValueError('unsubscribe.fields must say what the address is called there: email = "…"')
            _must_not_collide([*self.unsubscribe.fields.values(), *self.unsubscribe.constants])
        if "." in self.xml_root:
            raise ValueError("xml_root is one name")
        return self


def _must_not_collide(paths: list[str]) -> None:
    """No two values in one place, and none where others are to be nested."""
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"one parameter cannot stand for two values: {path}")
        if any(other.startswith(f"{path}.") for other in paths):
            raise ValueError(f"{path} cannot be a value and hold others")
