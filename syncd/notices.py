"""How a notice reaches somebody: the log, a program, a signed webhook, and whatever Apprise can send to.

A notice goes out until it has arrived, in order and by each channel on its own: one that is down keeps no other back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

from syncd.carrier import Carrier
from syncd.domain.errors import ProviderError
from syncd.domain.facts import Facts
from syncd.reconcile.notices import RAISED, RECOVERED
from syncd.settings import NotifySettings, Settings
from syncd.store import notices
from syncd.store.inspect import shown_time
from syncd.store.notices import Due
from syncd.store.session import reading, writing
from syncd.sync.context import Context
from syncd.sync.notices import look
from syncd.wire import Exchange, Request

Content = Mapping[str, Any]
Send = Callable[[Content], Awaitable[str]]
"""Brings a notice to somebody. Returns why it did not arrive, without a secret, or nothing if it did."""

PAUSE_S = 10.0
PAUSE_MAX_S = 3600.0
"""Between two tries of one channel: the first, which doubles, and the longest."""

ANSWER_MAX = 65_536

KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What a program that is run for a notice gets of our environment, which may hold secrets."""


class Notices:
    """Looks how things stand and has people told, again and again. `settings` gives those that hold right now."""

    def __init__(self, context: Context, settings: Callable[[], Settings]) -> None:
        self._context = context
        self._settings = settings

    async def step(self) -> None:
        """Look once, and send what is due."""
        settings = self._settings()
        channels = channels_of(settings.notify, self._context.now, self._context.log)
        intervals = {name: settings.schedule_of(name).interval for name in self._context.lanes}
        notify = settings.notify
        await asyncio.to_thread(
            look, self._context, intervals, list(channels), patience_s=notify.patience, quiet_s=notify.quiet
        )
        give_up = timedelta(seconds=notify.give_up_after)
        await asyncio.gather(*(deliver(self._context, name, send, give_up) for name, send in channels.items()))

    def wait_s(self) -> float:
        return self._settings().notify.every


async def deliver(context: Context, channel: str, send: Send, give_up_after: timedelta) -> None:
    """Send what is due by one channel, the oldest first, until one does not arrive."""
    while True:
        with reading(context.engine) as connection:
            due = notices.first(connection, channel, context.now())
        if due is None:
            return
        try:
            fault = await send(due.content)
        except Exception as error:  # noqa: BLE001  of a channel that is not ours; its message may hold an address
            fault = f"broke: {type(error).__name__}"
        with writing(context.engine) as connection:
            late = context.now() - due.created_at >= give_up_after
            if fault and not late:
                notices.postpone(connection, due, context.now() + _pause(due))
            else:
                notices.done(connection, due)
        if fault:
            tell = context.log.error if late else context.log.warning
            event = "notice.given_up" if late else "notice.not_delivered"
            tell(event, channel=channel, notice=due.id, attempts=due.attempts + 1, reason=fault)
        if fault and not late:
            return


def _pause(due: Due) -> timedelta:
    return timedelta(seconds=min(PAUSE_MAX_S, PAUSE_S * 2.0 ** min(due.attempts, 16)))


async def try_all(notify: NotifySettings, id: str, now: Callable[[], datetime], log: Any) -> dict[str, str]:
    """Send a notice that is only a test by every channel, once. For each: why it did not arrive, or nothing."""
    content: Content = {
        "id": id,
        "type": "test.raised",
        "timestamp": shown_time(now()),
        "data": {
            "about": "test",
            "state": RAISED,
            "account": None,
            "details": [],
            "count": 0,
            "since": shown_time(now()),
            "text": "a test of syncd: nothing is wrong",
            "next": None,
        },
    }
    channels = channels_of(notify, now, log)
    faults = await asyncio.gather(*(send(content) for send in channels.values()))
    return dict(zip(channels, faults, strict=True))


# The channels --------------------------------------------------------------------------------------------------------


def channels_of(notify: NotifySettings, now: Callable[[], datetime], log: Any) -> dict[str, Send]:
    """Every way in which people are told, by the name that it has in the log."""
    channels: dict[str, Send] = {"log": lambda content: _by_log(content, log)}
    if notify.command:
        channels["command"] = lambda content: _by_command(content, notify.command, notify.timeout)
    if notify.webhook_url is not None:
        channels["webhook"] = lambda content: _by_webhook(content, notify, now, log)
    for number, url in enumerate(notify.urls, 1):
        channels[f"url {number}"] = _by_apprise(url.get_secret_value(), notify.timeout)
    return channels


async def _by_log(content: Content, log: Any) -> str:
    data = {key: value for key, value in content["data"].items() if value not in (None, [], "")}
    tell = log.info if data.get("state") == RECOVERED else log.warning
    tell("notice", notice=content["id"], **data)
    return ""


async def _by_command(content: Content, command: tuple[str, ...], timeout_s: float) -> str:
    """The program gets the notice as one line of JSON on its standard input; what it prints is nobody's business."""
    environ = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    nowhere = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=nowhere,
            stderr=nowhere,
            env=environ,
            start_new_session=True,  # so that what it starts ends with it
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    try:
        async with asyncio.timeout(timeout_s):
            await process.communicate(json.dumps(content).encode() + b"\n")
    except TimeoutError:
        return f"did not end within {timeout_s:g} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return f"ended with {process.returncode}" if process.returncode else ""


async def _by_webhook(content: Content, notify: NotifySettings, now: Callable[[], datetime], log: Any) -> str:
    """Signed as Standard Webhooks says, with every secret that holds, so that they can be exchanged without a gap."""
    body, at = json.dumps(content), now()
    signatures = [Webhook(secret.get_secret_value()).sign(content["id"], at, body) for secret in notify.webhook_secret]
    headers = {
        "content-type": "application/json",
        "webhook-id": str(content["id"]),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    carrier = Carrier(
        "notify",
        _Nobody(),
        now=now,
        timeout_s=notify.timeout,
        answer_bytes_max=ANSWER_MAX,
        retry_after_max_s=0,
        log=log,
    )
    try:
        response = await carrier.send(Request("POST", str(notify.webhook_url), headers, body.encode(), "webhook"))
    except ProviderError as error:
        return error.message
    finally:
        await carrier.aclose()
    return "" if 200 <= response.status < 300 else f"answered {response.status}"


class _Nobody:
    """The provider of a carrier that only ever sends single requests."""

    facts = Facts()

    def check(self) -> Exchange[None]:
        yield from ()


def _by_apprise(url: str, timeout_s: float) -> Send:
    async def send(content: Content) -> str:
        data = content["data"]
        text = data["text"] + (f"\n\n{data['next']}" if data["next"] else "")
        try:
            async with asyncio.timeout(timeout_s):
                # The first one loads every way that Apprise knows, which takes its time.
                sender = await asyncio.to_thread(_sender, url)
                if sender is None:
                    return "not an address that Apprise knows"
                kind = "success" if data["state"] == RECOVERED else "warning"
                sent = await sender.async_notify(body=text, title=f"syncd: {data['text']}", notify_type=kind)
        except TimeoutError:
            return f"did not end within {timeout_s:g} s"
        return "" if sent else "was not taken"

    return send


def _sender(url: str) -> Any:
    """What sends to an address of Apprise, or None where that knows no such thing. It keeps nothing on the disk."""
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415  an extra
    from apprise.common import PersistentStoreMode  # noqa: PLC0415

    sender = Apprise(asset=AppriseAsset(app_id="syncd", storage_mode=PersistentStoreMode.MEMORY))
    return sender if sender.add(url) else None
