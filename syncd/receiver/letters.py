"""Mails with confirmation links are handed to a program of the operator's: JSON on its standard input, 0 if it took it.

Each is tried until it is taken or too old. The program is started without a shell, sees nothing of our environment but
where programs are, and is stopped when it takes too long. No person is in its words, nor in any line of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from datetime import timedelta

import msgspec

from syncd.domain.identity import Identity
from syncd.settings import SubscribeFormSettings
from syncd.store.letters import Letter
from syncd.sync import signed, subscribing
from syncd.sync.context import Context

AT_ONCE = 20
WAIT_MAX_S = 3600.0

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class Letters:
    def __init__(self, context: Context, form: SubscribeFormSettings, public_url: str) -> None:
        self._context = context
        self._form = form
        self._public_url = public_url
        self._key = signed.signing_key(context.engine)

    async def send_due(self) -> None:
        """Hand over what is due."""
        for letter in subscribing.due(self._context, AT_ONCE):
            if not subscribing.mailable(self._context, letter, self._form.retry_for):
                self._context.log.warning("letter.dropped", lists=list(letter.lists), attempts=letter.attempts)
                continue
            fault = await self._hand_over(letter)
            if not fault:
                subscribing.sent(self._context, letter)
                self._context.log.info("letter.sent", lists=list(letter.lists))
                continue
            wait_s = min(self._form.retry_every * 2.0 ** min(letter.attempts, 16), WAIT_MAX_S)
            subscribing.not_sent(self._context, letter, wait_s)
            self._context.log.warning("letter.not_sent", reason=fault, attempts=letter.attempts + 1, again_in_s=wait_s)

    async def _hand_over(self, letter: Letter) -> str:
        """Start the program with one mail. Why it was not taken, or nothing."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._form.confirm_command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"the program cannot be started: {error.strerror}"
        try:
            async with asyncio.timeout(self._form.confirm_timeout):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    await process.communicate(self._content(letter))
                code = await process.wait()
        except TimeoutError:
            return f"the program took longer than {self._form.confirm_timeout:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return f"the program ended with {code}" if code else ""

    def _content(self, letter: Letter) -> bytes:
        until = self._context.now() + timedelta(seconds=self._form.link_lifetime)
        wish = subscribing.Wish(Identity(letter.address), letter.lists, letter.fields, letter.asked_at)
        token = subscribing.make_token(self._key, wish, until)
        return msgspec.json.encode(
            {
                "email": letter.address,
                "link": subscribing.link(self._public_url, token),
                "lists": letter.lists,
                "titles": [self._form.title(name) for name in letter.lists],
                "until": until,
                **letter.fields,
            }
        )
