"""What every account has in its section of the configuration, whichever provider it is at.

Each adapter adds its own keys in `providers/<name>/options.py`. These models are the only description of the keys:
the loader, `config check`, the generated example and the schema are made from them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
)

from syncd.domain.stars import host_alone

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> float:
    """``"5m"`` as seconds. Numbers are seconds already."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip().lower()
    for unit in ("ms", "s", "m", "h", "d"):
        head = text.removesuffix(unit).strip()
        if head != text:
            try:
                return float(head) * _UNITS[unit]
            except ValueError:
                break
    raise ValueError(f"not a duration: {text!r}; write a number and one of ms, s, m, h, d, such as '5m'")


def _https_or_loopback(url: str) -> str:
    parsed = AnyHttpUrl(url)
    if parsed.scheme != "https" and (parsed.host or "") not in LOOPBACK:
        raise ValueError("must be https (plain http is taken only for a loopback host)")
    return url.rstrip("/")


def _as_written(url: str) -> str:
    _https_or_loopback(url)
    if "@" in url.partition("://")[2].partition("/")[0] or "#" in url:
        raise ValueError("holds credentials or a fragment: the first belong in `auth`, the second nowhere")
    if any(ch.isspace() or not ch.isprintable() or not ch.isascii() for ch in url):
        raise ValueError("must be an address in ASCII, without blanks")
    return url


def _stripped(value: Any) -> Any:
    # Keys are pasted with blanks and newlines around them; RocketResponder's own samples show one (its devzone page).
    return value.strip() if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
"""Seconds; written ``"30s"``, ``"5m"``, ``"24h"``."""

Url = Annotated[str, AfterValidator(_https_or_loopback)]
"""An https address without a trailing slash; http only to a loopback host."""

Endpoint = Annotated[
    str,
    BeforeValidator(_stripped),
    AfterValidator(_as_written),
    PlainSerializer(host_alone, when_used="json"),
]
"""An https address that is called exactly as it is written, also with a trailing slash or a query.

Many receivers know their senders by a key in it, so that only its host is ever shown.
"""

_PLACEHOLDER = re.compile(r"\W*|<.*>|change[-_ ]?me|your[-_ ].*|x{3,16}|todo|tbd|placeholder|example", re.IGNORECASE)


def _is_real(secret: SecretStr) -> SecretStr:
    """What stands in examples for a secret is known to everybody."""
    if _PLACEHOLDER.fullmatch(secret.get_secret_value()):
        raise ValueError("still holds what an example has in its place")
    return secret


Secret = Annotated[SecretStr, BeforeValidator(_stripped), Field(min_length=1), AfterValidator(_is_real)]
"""Never printed. May also be given as `x_file`, by environment or by systemd credential."""

Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]


def custom_fields(info: ValidationInfo) -> frozenset[str]:
    """Fields that the configuration declares beside the canonical ones (`[fields.NAME]`), while it is read."""
    return frozenset((info.context or {}).get("fields", ()))


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __repr__(self) -> str:
        # Addresses and constants may hold keys too; `settings.masked` is what shows values.
        return f"<{type(self).__name__}: {', '.join(sorted(self.model_fields_set))}>"

    __str__ = __repr__


class AccountOptions(Options):
    """Keys that every account takes."""

    provider: str
    interval: Duration | None = None
    full_every: Duration | None = None
    settle: Duration | None = None
    report_every: Duration = 3600.0
    spread: bool = True
    fields: dict[str, Text] = Field(default_factory=dict)
    formats: dict[str, Text] = Field(default_factory=dict)
    timeout: Duration = 30.0
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    retry_after_max: Duration = 900.0
    answer_bytes_max: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    page_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
