"""Providers that take it are told where to send notices, where there is a secret for them to sign with."""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import quote

from pydantic import SecretStr

from syncd.app import App
from syncd.daemon.faults import report
from syncd.daemon.pace import Pace
from syncd.domain.errors import ProviderError
from syncd.providers.options import AccountOptions
from syncd.providers.protocol import CanRegister
from syncd.store import journal
from syncd.store.session import reading, writing
from syncd.sync.context import Lane


class Registration:
    def __init__(self, app: App, pace: Pace) -> None:
        self._app = app
        self._pace = pace
        self._log = app.log
        self._unregistered = False
        self._one_at_a_time = asyncio.Lock()

    async def register(self) -> None:
        """Tell providers where to send notices, where they take that and have a secret to sign with."""
        async with self._one_at_a_time:
            self._unregistered = False
            for name in list(self._app.context.lanes):
                await self._register(name)

    async def _register(self, name: str) -> None:
        # All of it as it is now: a reload may have exchanged it since the account before was asked.
        lane, options = self._app.context.lanes.get(name), self._app.settings.accounts.get(name)
        public_url = self._app.settings.receiver.public_url
        if (
            public_url is None
            or lane is None
            or options is None  # taken out of the configuration
            or not isinstance(lane.provider, CanRegister)
            or not getattr(options, "webhook_secret", ())
        ):
            return
        callback_url = f"{public_url}/in/{quote(name, safe='')}/webhook"
        await self._register_at(lane, lane.provider, callback_url, mark_of(callback_url, options))

    async def again(self) -> None:
        """Once more, beside what is done from time to time."""
        try:
            await self.register()
        except Exception as error:  # noqa: BLE001  the next time is not far
            report(self._log, "register", error)

    async def _register_at(self, lane: Lane, provider: CanRegister, callback_url: str, mark: str) -> None:
        """Registered once, and once more where it was lost there or where our secret is another one by now."""
        place = f"webhook/{lane.name}"
        with reading(self._app.engine) as connection:
            before = journal.get_value(connection, place)
        rotated = before is not None and before != mark
        try:
            await lane.carrier.carry(
                provider.register(callback_url, anew=True) if rotated else provider.register(callback_url)
            )
        except ProviderError as error:
            self._unregistered = True
            self._log.warning("webhook.not_registered", account=lane.name, call=error.call, reason=error.message)
        else:
            if before != mark:
                with writing(self._app.engine) as connection:
                    journal.set_value(connection, place, mark)
                self._log.info("webhook.registered", account=lane.name, rotated=rotated)

    def wait_s(self) -> float:
        every = self._app.settings.schedule.register_every
        return min(self._pace.register_again_s, every) if self._unregistered else every


def mark_of(callback_url: str, options: AccountOptions) -> str:
    """Of an address and the newest secret: other if either is, and nothing that a secret could be guessed from."""
    newest = getattr(options, "webhook_secret", ("",))[0]
    secret = newest.get_secret_value() if isinstance(newest, SecretStr) else str(newest)
    return hashlib.scrypt(secret.encode(), salt=callback_url.encode(), n=2**14, r=8, p=1, dklen=8).hex()
