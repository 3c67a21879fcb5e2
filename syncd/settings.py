"""What can be configured: the models of the file's sections, and how they are shown to a person.

`config.py` fills them. An account's keys are its provider's own (`providers/<name>/options.py`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from syncd.domain.stars import without_keys
from syncd.providers.fields import CANONICAL, Kind
from syncd.providers.options import AccountOptions, Duration, Endpoint, Options, Secret, Text, Url

HOLDS_PASSWORD = object()
"""Marks a plain text that may carry a password, so that it too can come from a file or a credential."""


def _engine(url: str) -> str:
    if url.startswith(("postgresql://", "postgres://")):
        raise ValueError("names no driver; write postgresql+psycopg://")
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must begin with sqlite:/// or postgresql+psycopg://")
    if url == "sqlite:///":
        raise ValueError("names no file")
    return url


UNIX = "unix:"
SOCKET_PATH_MAX = 107
"""What a kernel takes for the path of a Unix socket (unix(7))."""

TOKEN_MIN = 16


def _listen(text: str) -> str:
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path.startswith("/") or path.endswith("/") or len(path.encode()) > SOCKET_PATH_MAX:
            raise ValueError(f"must name a file: unix:/run/syncd/http.sock, of at most {SOCKET_PATH_MAX} bytes")
        return text
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8480, or unix:/run/syncd/http.sock")
    return text


def _long(token: SecretStr) -> SecretStr:
    if len(token.get_secret_value()) < TOKEN_MIN:
        raise ValueError(f"is shorter than {TOKEN_MIN} characters and can be guessed; openssl rand -hex 32 makes one")
    return token


PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
"""How often something is taken; as many may come at once."""


_ORIGIN = re.compile(r"https://(\*\.)?[A-Za-z0-9.-]+(:\d+)?|http://(localhost|127\.0\.0\.1)(:\d+)?|'self'|\*")


def _ancestor(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("must be an origin such as https://www.example.org, https://*.example.org, 'self' or *")
    return origin


class MirrorSettings(Options):
    url: Annotated[str, AfterValidator(_engine), HOLDS_PASSWORD]


class ReceiverSettings(Options):
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8480"
    public_url: Url | None = None
    body_bytes_max: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 262_144
    operator_token: Annotated[Secret, AfterValidator(_long)] | None = None
    operator_session: Annotated[Duration, Field(ge=60)] = 43_200.0
    operator_attempts_max: Annotated[int, Field(ge=1, le=1000)] = 10

    @property
    def path(self) -> Path | None:
        """The Unix socket to listen on, or None where it is a host and a port."""
        return Path(self.listen.removeprefix(UNIX)) if self.listen.startswith(UNIX) else None

    body_timeout: Annotated[Duration, Field(gt=0)] = 10.0
    depth_max: Annotated[int, Field(ge=2, le=20)] = 20
    headers_max: Annotated[int, Field(ge=20, le=10_000)] = 100
    header_bytes_max: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 16_384
    header_timeout: Annotated[Duration, Field(gt=0)] = 10.0
    connections_max: Annotated[int, Field(ge=8, le=100_000)] = 512
    leads_per_minute: PerMinute = 1200
    notices_per_minute: PerMinute = 3000
    unsubscribes_per_minute: PerMinute = 6000
    refused_per_minute: PerMinute = 120
    links_per_minute: PerMinute = 30
    access_log: bool = True

    @property
    def host(self) -> str:
        """Empty for a Unix socket."""
        return "" if self.path else self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 for a Unix socket."""
        return 0 if self.path else int(self.listen.rpartition(":")[2])


class ScheduleSettings(Options):
    interval: Annotated[Duration, Field(gt=0)] = 300.0
    full_every: Annotated[Duration, Field(gt=0)] = 86_400.0
    settle: Duration = 30.0
    check_every: Annotated[Duration, Field(gt=0)] = 3600.0
    check_full_every: Annotated[Duration, Field(gt=0)] = 86_400.0
    register_every: Annotated[Duration, Field(gt=0)] = 3600.0


class GuardSettings(Options):
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    max_count: Annotated[int, Field(ge=0)] = 20
    window: Annotated[Duration, Field(gt=0)] = 86_400.0
    first_sync: Literal["hold", "go"] = "hold"
    release_after: Duration = 43_200.0
    unsubscribe_within: Annotated[Duration, Field(gt=0)] = 172_800.0
    flaps_max: Annotated[int, Field(ge=1)] = 3


class PushSettings(Options):
    attempts_max: Annotated[int, Field(ge=1, le=100)] = 8
    backoff: Annotated[Duration, Field(gt=0)] = 30.0
    backoff_max: Annotated[Duration, Field(gt=0)] = 3600.0
    breaker_after: Annotated[int, Field(ge=1, le=100)] = 5
    breaker_max: Annotated[Duration, Field(gt=0)] = 300.0


class DaemonSettings(Options):
    """`control`: where the control socket is; None for the place that systemd made for us."""

    drain: Annotated[Duration, Field(gt=0)] = 8.0
    hang_after: Annotated[Duration, Field(gt=0)] = 60.0
    control: Text | None = None


def _several(value: Any) -> Any:
    """One value for a list of one."""
    return [value] if isinstance(value, str) else value


def _signs(secret: SecretStr) -> SecretStr:
    """A secret as Standard Webhooks has them: so long that nobody guesses it."""
    try:
        key = b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("must be 24 to 64 bytes in base64; make one: openssl rand -base64 32")
    return secret


class NotifySettings(Options):
    """How people are told what needs them, beside the log. `command`: a program and its arguments, no shell."""

    command: tuple[Text, ...] = ()
    webhook_url: Endpoint | None = None
    webhook_secret: Annotated[
        tuple[Annotated[Secret, AfterValidator(_signs)], ...],
        BeforeValidator(_several, json_schema_input_type=str | list[str]),
    ] = ()
    urls: Annotated[tuple[Secret, ...], BeforeValidator(_several, json_schema_input_type=str | list[str])] = ()
    every: Annotated[Duration, Field(gt=0)] = 30.0
    patience: Duration = 600.0
    quiet: Duration = 3600.0
    timeout: Annotated[Duration, Field(gt=0, le=300)] = 30.0
    give_up_after: Annotated[Duration, Field(gt=0)] = 86_400.0

    @field_validator("command")
    @classmethod
    def _whole_path(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not Path(command[0]).is_absolute():
            raise ValueError("must begin with the whole path of a program; nothing looks it up, and no shell reads it")
        return command

    @field_validator("urls")
    @classmethod
    def _has_what_sends(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if urls and find_spec("apprise") is None:
            raise ValueError("needs Apprise, which is not installed: pip install syncd[notify]")
        return urls

    @model_validator(mode="after")
    def _signed(self) -> NotifySettings:
        if (self.webhook_url is None) != (not self.webhook_secret):
            raise ValueError("webhook_url and webhook_secret are given together: what is sent there is signed")
        return self


class FieldSettings(Options):
    """One field of people. `owner`: the account whose value wins where several moved apart."""

    owner: Text | None = None
    kind: Kind | None = None


class ListSettings(Options):
    """One list of ours: its ids at each account, by the account's name."""

    accounts: dict[str, tuple[Text, ...]]
    scope: Text
    spread: bool = True


class SubscribeFormSettings(Options):
    """The form with which people subscribe at our door, and the mails that confirm it. None without `lists`."""

    lists: tuple[Text, ...] = ()
    titles: dict[str, Text] = Field(default_factory=dict)
    confirm_command: tuple[Text, ...] = ()
    confirm_timeout: Annotated[Duration, Field(gt=0)] = 30.0
    retry_every: Annotated[Duration, Field(gt=0)] = 60.0
    retry_for: Annotated[Duration, Field(gt=0)] = 86_400.0
    link_lifetime: Annotated[Duration, Field(gt=0)] = 7 * 86_400.0
    queue_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    sends_per_minute: PerMinute = 30
    mails_per_hour: Annotated[int, Field(ge=1, le=1000)] = 3
    frame_ancestors: tuple[Annotated[str, AfterValidator(_ancestor)], ...] = ()

    def title(self, name: str) -> str:
        """What people are shown for a list of ours."""
        return self.titles.get(name, name)


class Settings(Options):
    mirror: MirrorSettings
    receiver: ReceiverSettings = ReceiverSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    guard: GuardSettings = GuardSettings()
    push: PushSettings = PushSettings()
    daemon: DaemonSettings = DaemonSettings()
    subscribe_form: SubscribeFormSettings = SubscribeFormSettings()
    notify: NotifySettings = NotifySettings()
    accounts: dict[str, SerializeAsAny[AccountOptions]]
    lists: dict[str, ListSettings] = Field(default_factory=dict)
    fields: dict[str, FieldSettings] = Field(default_factory=dict)
    source: Path | None = None
    warnings: tuple[str, ...] = ()
    origins: dict[str, str] = Field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of every field, canonical or declared."""
        return {**CANONICAL, **{name: CANONICAL.get(name, one.kind or Kind.TEXT) for name, one in self.fields.items()}}

    @property
    def owners(self) -> dict[str, str]:
        return {name: one.owner for name, one in self.fields.items() if one.owner}

    def schedule_of(self, account: str) -> ScheduleSettings:
        """The schedule with what the account says otherwise."""
        own = {key: getattr(self.accounts[account], key, None) for key in ScheduleSettings.model_fields}
        return self.schedule.model_copy(update={key: value for key, value in own.items() if value is not None})


SECTIONS: dict[str, type[Options]] = {
    "mirror": MirrorSettings,
    "receiver": ReceiverSettings,
    "schedule": ScheduleSettings,
    "guard": GuardSettings,
    "push": PushSettings,
    "daemon": DaemonSettings,
    "subscribe_form": SubscribeFormSettings,
    "notify": NotifySettings,
}
TABLES = (*SECTIONS, "accounts", "lists", "fields")
LIST_KEYS = ("scope", "spread")


def masked(settings: Settings) -> dict[str, Any]:
    """Everything as plain values; secrets are starred, and what may be one: passwords, queries, paths of strangers."""
    shown = settings.model_dump(mode="json", exclude={"source", "warnings", "origins", "lists"})
    shown["lists"] = {
        name: {
            **{account: list(ids) for account, ids in one.accounts.items()},
            "scope": one.scope,
            "spread": one.spread,
        }
        for name, one in settings.lists.items()
    }
    return {key: _starred(value) for key, value in shown.items()}


def origin(settings: Settings) -> dict[str, str]:
    """Where each value came from, by dotted key: `env`, `credential`, `file` or `default`."""
    return {key: settings.origins.get(key, "default") for key in leaves(masked(settings))}


def _starred(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _starred(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_starred(inner) for inner in value]
    return without_keys(value) if isinstance(value, str) else value


def leaves(table: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Dotted keys of everything that is not a table with something in it."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}"
