"""Vet new leads before they spread: a few in every round, and never in the way of an unsubscribe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from syncd.domain.errors import ProviderError, RefusedError
from syncd.domain.identity import Identity
from syncd.providers.protocol import CanVet
from syncd.store import hygiene, people
from syncd.store.session import reading, writing
from syncd.sync.context import Context, Lane

BATCH = 50


@dataclass(slots=True)
class Vetted:
    """Who was vetted at one account in a round. `trouble`: why it went no further, and `hint` what to do about it."""

    tried: set[Identity] = field(default_factory=set)
    done: int = 0
    trouble: str = ""
    hint: str = ""


async def vet_leads(lane: Lane, context: Context, vetted: Vetted, between: Callable[[], Awaitable[None]]) -> None:
    """Ask about those who wait, as far as this round may. Who cannot be verified waits on, with the reason.

    A verifier that fails says nothing of the account, whose lists may well be read and written: it is not raised.
    `between` is awaited before every person.
    """
    provider = lane.provider
    if lane.hygiene is None or not isinstance(provider, CanVet):
        return
    while not vetted.trouble and (left := lane.hygiene_per_round - len(vetted.tried)) > 0:
        with reading(context.engine) as connection:
            batch = hygiene.waiting(connection, lane.name, min(BATCH, left), vetted.tried)
        if not batch:
            return
        for identity, phone in batch:
            await between()
            await _vet(lane, context, provider, vetted, identity, phone)
            if vetted.trouble:
                break


async def _vet(lane: Lane, context: Context, provider: CanVet, vetted: Vetted, identity: Identity, phone: str) -> None:
    vetted.tried.add(identity)
    try:
        said = await lane.carrier.carry(provider.vet(identity, phone))
    except ProviderError as error:
        refused = isinstance(error, RefusedError)  # which may concern this one only
        with writing(context.engine) as connection:
            news = hygiene.note_trouble(connection, identity, error.message, context.now(), refused=refused)
        if not refused:
            vetted.trouble = f"new leads wait to be verified: {error.message}"
            vetted.hint = error.hint or f"syncd account check {lane.name}"
        # Said when it begins; a night of the same is one line.
        tell = context.log.warning if news else context.log.debug
        tell("hygiene.failed", account=lane.name, error=type(error).__name__, call=error.call)
        return
    with writing(context.engine) as connection:
        key = hygiene.record(connection, identity, said, context.now())
        if key is not None:
            people.put_on_agenda(connection, [key], context.now())
    vetted.done += 1
