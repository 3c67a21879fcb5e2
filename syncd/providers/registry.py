"""Which providers there are: for each name its keys in the configuration and how its adapter is made.

Explicit on purpose: a provider exists because it is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from syncd.providers.forms import FORMS, FormsAdapter, FormsOptions
from syncd.providers.http.adapter import http_adapter
from syncd.providers.http.options import HttpOptions
from syncd.providers.options import AccountOptions
from syncd.providers.protocol import Provider
from syncd.providers.rocketresponder.adapter import RocketResponderAdapter
from syncd.providers.rocketresponder.options import RocketResponderOptions
from syncd.providers.rocs.adapter import RocsAdapter
from syncd.providers.rocs.options import RocsOptions
from syncd.providers.rokt.adapter import rokt_adapter
from syncd.providers.rokt.options import RoktOptions
from syncd.providers.salesrocks.adapter import SalesRocksAdapter
from syncd.providers.salesrocks.options import SalesRocksOptions

O_contra = TypeVar("O_contra", bound=AccountOptions, contravariant=True)
O = TypeVar("O", bound=AccountOptions)  # noqa: E741  the usual letter for options beside T, no digit is near


class Factory(Protocol[O_contra]):
    """Makes the adapter of one account. `linked` are the ids of lists there that the configuration links to ours."""

    def __call__(self, options: O_contra, *, linked: frozenset[str], now: Callable[[], datetime]) -> Provider: ...


@dataclass(frozen=True, slots=True)
class Registered(Generic[O]):
    options: type[O]
    adapter: Factory[O]


REGISTRY: dict[str, Registered[Any]] = {
    "rocs": Registered(RocsOptions, RocsAdapter),
    "salesrocks": Registered(SalesRocksOptions, SalesRocksAdapter),
    "rocketresponder": Registered(RocketResponderOptions, RocketResponderAdapter),
    "rokt": Registered(RoktOptions, rokt_adapter),
    "http": Registered(HttpOptions, http_adapter),
}


OWN: dict[str, Registered[Any]] = {FORMS: Registered(FormsOptions, FormsAdapter)}
"""What is no provider, and stands in the place of one. Nobody configures an account there."""


def provider_for(options: AccountOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> Provider:
    """The adapter of one configured account."""
    registered = {**REGISTRY, **OWN}[options.provider]
    provider: Provider = registered.adapter(options, linked=linked, now=now)
    return provider
