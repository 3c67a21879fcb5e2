"""Carries exchanges over HTTP for one account: the only place where bytes leave for a provider.

An adapter says what to send and what an answer means; here is everything between: the deadline, the cap on an answer,
the token, the pace, the repetition of what may be repeated. Errors say what the caller may believe: `UnreachableError`
means that nothing was sent, `AnswerLostError` that something may have happened.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime
from socket import gaierror
from typing import Any, TypeVar

import httpx
import stamina
from structlog.typing import FilteringBoundLogger

from syncd.domain.errors import (
    AnswerLostError,
    MalformedError,
    ProviderError,
    RefusedError,
    UnauthorisedError,
    UnreachableError,
)
from syncd.providers.protocol import CanLogin, Provider, Token
from syncd.wire import Exchange, Request, Response, retry_after

T = TypeVar("T")

REPEAT_ON = frozenset({429, 502, 503, 504})
"""Statuses after which a repeatable request is sent again. Not 500: at ROCS it may be our own bad input."""

HEADERS = {"accept": "*/*", "user-agent": "syncd", "accept-encoding": "gzip"}
"""Sent with every request, unless it brings its own."""

PAUSE_GROWTH = 16
"""How many times the first one the longest wait between two attempts is, before chance is added."""

CONNECT_SHARE = 1 / 3
"""Of the deadline of a request: what TCP may take, and TLS again."""

LEEWAY_MAX_S = 60.0
LEEWAY_SHARE = 0.1
"""A token is renewed this much before its end: a share of its life, at most a minute."""

LOGIN_PAUSE_S = 30.0
"""A refused login is tried again no sooner, after each further one twice as late, at the latest after
`retry_after_max_s`: providers lock accounts that keep trying."""


class Carrier:
    """Carries exchanges for one account. May be used by many tasks at once; belongs to the loop it first runs in."""

    def __init__(
        self,
        account: str,
        provider: Provider,
        *,
        now: Callable[[], datetime],
        timeout_s: float,
        answer_bytes_max: int,
        retry_after_max_s: float,
        log: FilteringBoundLogger,
        requests_per_second: float | None = None,
        attempts: int = 3,
        backoff_s: float = 0.5,
        transport: httpx.AsyncBaseTransport | None = None,
        on_request: Callable[[str, int | None], None] | None = None,
        on_wait: Callable[[float], None] = lambda _seconds: None,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        """`timeout_s` bounds one request as a whole, from the wait for a connection to the last byte of the answer.

        `on_request` is told the label and the status (None: no answer) of every request that was tried, `on_wait` of
        every wait, before it begins, how long it can last. `permit` is asked right before each request and raises where
        nothing may be sent any more.
        `backoff_s` is the first wait between two attempts; later ones grow to sixteen times that.
        """
        self._account = account
        self._login = provider if isinstance(provider, CanLogin) else None
        self._now = now
        self._timeout_s = timeout_s
        # httpx has no deadline for a request as a whole, only for each wait inside it; one byte now and then keeps
        # those from ever passing: the deadline is `asyncio.timeout`'s. Only connecting keeps a limit of httpx, a
        # shorter one, because a handshake that is cancelled from outside leaves its socket to the garbage collector.
        self._timeouts = httpx.Timeout(None, connect=timeout_s * CONNECT_SHARE).as_dict()
        self._answer_bytes_max = answer_bytes_max
        self._retry_after_max_s = retry_after_max_s
        self._log = log
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._pause_max_s = backoff_s * (PAUSE_GROWTH + 1)
        self._on_request = on_request
        self._on_wait = on_wait
        self._permit = permit
        self._spacing_s = 1 / requests_per_second if requests_per_second else 0.0
        self._turn_at = 0.0
        self._token: Token | None = None
        self._token_until = 0.0
        self._logins_ended = 0
        self._login_error: ProviderError | None = None
        self._login_not_before = 0.0
        self._logins_refused = 0
        self._login_lock = asyncio.Lock()
        # The bare transport of httpx: what its client adds (redirects, cookies, proxies out of the environment) is what
        # must not happen here, and costs as much again.
        self._transport = transport or httpx.AsyncHTTPTransport(trust_env=False)

    async def carry(self, exchange: Exchange[T]) -> T:
        """Drive an exchange to its result. Whatever is raised on the way closes it."""
        return await self._converse(exchange, self._answer_authorised)

    async def send(self, request: Request) -> Response:
        """One request as it is: no token, no repetition. For what an emulated provider sends to us."""
        return await self._once(request)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _converse(self, exchange: Exchange[T], answer: Callable[[Request], Any]) -> T:
        try:
            request = next(exchange)
            while True:
                request = exchange.send(await answer(request))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            exchange.close()

    # -- token ------------------------------------------------------------------------------------------------------

    async def _answer_authorised(self, request: Request) -> Response:
        """With the account's token; a refused one is replaced once, and the second refusal is the adapter's to name."""
        if self._login is None or not request.token:
            return await self._answer(request)
        token = await self._valid_token(self._login)
        response = await self._answer(self._login.authorise(request, token))
        if response.status not in self._login.login_again_on:
            return response
        token = await self._valid_token(self._login, refused=token)
        return await self._answer(self._login.authorise(request, token))

    async def _valid_token(self, provider: CanLogin, *, refused: Token | None = None) -> Token:
        """The token at hand, or a new one. One login at a time, whose outcome, good or bad, is that of all who waited.

        Lifetimes are counted on the loop's monotonic clock: the provider's wall clock and ours need not agree.
        """
        ended_before = self._logins_ended
        clock = asyncio.get_running_loop().time
        async with self._login_lock:
            if self._token is not None and self._token is not refused and clock() < self._token_until:
                return self._token
            waited = self._logins_ended > ended_before  # fifty callers must not make fifty attempts
            if self._login_error is not None and (waited or clock() < self._login_not_before):
                raise self._login_error
            asked_at = clock()
            try:
                token = await self._converse(provider.login(), self._answer)
            except ProviderError as error:
                self._token, self._login_error = None, error
                self._logins_ended += 1
                if isinstance(error, UnauthorisedError):
                    self._login_not_before = clock() + self._login_pause_s()
                    self._logins_refused += 1
                raise
            self._token, self._login_error, self._logins_refused = token, None, 0
            self._token_until = asked_at + token.lifetime_s - min(LEEWAY_MAX_S, token.lifetime_s * LEEWAY_SHARE)
            self._logins_ended += 1
            return token

    def _login_pause_s(self) -> float:
        return min(self._retry_after_max_s, LOGIN_PAUSE_S * 2.0 ** min(self._logins_refused, 16))

    # -- repetition -------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        """Send once, or, where a repetition changes nothing, until an answer is worth handing to the adapter."""
        if not request.repeatable:
            return await self._once(request)
        attempts = stamina.retry_context(
            on=_again,
            attempts=self._attempts,
            timeout=None,
            wait_initial=self._backoff_s,
            wait_max=self._backoff_s * PAUSE_GROWTH,
            wait_jitter=self._backoff_s,
        ).with_name(f"{self._account}: {request.label}", (), {})
        try:
            async for attempt in attempts:
                with attempt:
                    return self._settled(await self._once(request))
        except _ComeAgainError as last:
            return last.response
        raise AssertionError("stamina ends with a result or an error")

    def _settled(self, response: Response) -> Response:
        """The answer, unless it asks for another attempt within what we are ready to wait."""
        if response.status not in REPEAT_ON:
            return response
        wait_s = retry_after(response, self._now())
        if wait_s is not None and wait_s > self._retry_after_max_s:
            return response
        self._on_wait(wait_s or self._pause_max_s)
        raise _ComeAgainError(response, wait_s)

    async def _take_turn(self) -> None:
        """Space requests evenly; whoever comes at once with others is given a later place."""
        if not self._spacing_s:
            return
        now = asyncio.get_running_loop().time()
        at = max(now, self._turn_at)
        self._turn_at = at + self._spacing_s
        if at > now:
            self._on_wait(at - now)
            await asyncio.sleep(at - now)

    # -- one request ------------------------------------------------------------------------------------------------

    async def _once(self, request: Request) -> Response:
        """One request, one whole answer, within the deadline."""
        await self._take_turn()
        self._permit()
        clock = asyncio.get_running_loop().time
        started, progress = clock(), _Progress()
        failure: ProviderError | None = None
        self._on_wait(self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._transmit(request, progress)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnicodeEncodeError, _UnusableError) as error:
            failure = self._named(error, request, progress)
            # Not chained: messages of httpx and h11 quote addresses and bytes of the answer, and tracebacks are logged.
            raise failure from None
        finally:
            self._log.debug(
                "request.carried",
                label=request.label,
                status=progress.status,
                ms=round((clock() - started) * 1000),
                bytes=progress.bytes_read,
                **({} if failure is None else {"failure": failure.message}),
            )
            if self._on_request is not None:
                self._on_request(request.label, progress.status)
            if failure is not None:
                self._on_wait(self._pause_max_s)

    async def _transmit(self, request: Request, progress: _Progress) -> Response:
        outgoing = httpx.Request(
            request.method,
            request.url,
            headers={**HEADERS, **request.headers},
            content=request.body,
            extensions={"trace": progress.trace, "timeout": self._timeouts},
        )
        answer = await self._transport.handle_async_request(outgoing)
        try:
            progress.status = answer.status_code
            if 300 <= answer.status_code < 400:
                raise _UnusableError(f"answered {answer.status_code}; redirects are not followed")
            coding = answer.headers.get("content-encoding", "")
            if "," in coding:
                # Each layer may inflate a thousandfold before the cap below sees a byte.
                raise _UnusableError("the answer is compressed more than once")
            chunks: list[bytes] = []
            # The cap counts decoded bytes. One step decodes what one read from the socket brought (64 KiB at most in
            # httpcore), so memory stays bounded beyond it too.
            async for chunk in answer.aiter_bytes():
                progress.bytes_read += len(chunk)
                if progress.bytes_read > self._answer_bytes_max:
                    raise _UnusableError(f"the answer is larger than {self._answer_bytes_max} bytes")
                chunks.append(chunk)
        finally:
            await answer.aclose()
        return Response(answer.status_code, dict(answer.headers.items()), b"".join(chunks))

    def _named(self, error: Exception, request: Request, progress: _Progress) -> ProviderError:
        """What a failure means for the caller: nothing was sent, or something may have happened, or it never can."""
        kind, reason = _meaning(error, progress)
        if isinstance(error, TimeoutError):
            reason = f"{reason} within {self._timeout_s:g} s"
        redirected = progress.status is not None and 300 <= progress.status < 400
        if kind is MalformedError and not request.repeatable and not redirected:
            # A write that was answered, in a way that nobody can read: it may well have been done.
            kind = AnswerLostError
        return kind(f"{self._account}: {request.label or request.method}: {reason}", call=request.label)


class _Progress:
    """How far one request came. Fed by httpcore's trace; other transports tell nothing, which reads as "maybe sent"."""

    def __init__(self) -> None:
        self.connecting = False
        self.sent = False
        self.status: int | None = None
        self.bytes_read = 0

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        del info  # holds addresses and headers
        if event == "connection.connect_tcp.started":
            self.connecting = True
        elif event.endswith("send_request_headers.started"):
            self.connecting = False
        elif event.endswith("send_request_headers.complete"):
            self.sent = True


class _UnusableError(Exception):
    """An answer that is not read any further, and why."""


class _ComeAgainError(Exception):
    """An answer that asks for another attempt. The text is what the log of repetitions shows."""

    def __init__(self, response: Response, wait_s: float | None) -> None:
        super().__init__(f"answered {response.status}")
        self.response = response
        self.wait_s = wait_s


def _again(error: Exception) -> bool | float:
    """Whether to repeat, and if the provider said so, after how long."""
    if isinstance(error, _ComeAgainError):
        return True if error.wait_s is None else error.wait_s
    return isinstance(error, (UnreachableError, AnswerLostError))


def _meaning(error: Exception, progress: _Progress) -> tuple[type[ProviderError], str]:
    match error:
        case _UnusableError():
            return MalformedError, str(error)
        case httpx.DecodingError():
            return MalformedError, "the answer cannot be decompressed"
        case httpx.ConnectError():
            return UnreachableError, _why_no_connection(error)
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return UnreachableError, "no connection in time"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return RefusedError, "the address is not one that can be called"
        case UnicodeEncodeError():
            return RefusedError, "a header holds characters that cannot be sent"
        case httpx.LocalProtocolError() if not progress.sent:
            return RefusedError, "a header holds characters that cannot be sent"
        case TimeoutError() if progress.connecting:
            return UnreachableError, "no connection"
        case TimeoutError():
            return AnswerLostError, "no whole answer"
        case httpx.TimeoutException():
            return AnswerLostError, "no answer in time"
        case httpx.RemoteProtocolError():
            return AnswerLostError, "the connection ended before the whole answer"
        case _:
            return AnswerLostError, "the connection broke"


def _why_no_connection(error: BaseException) -> str:
    """The cause in words: it lies somewhere down the chain, or inside a group where several addresses were tried."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    refused = False
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or 'no agreement with the server'}"
        if isinstance(cause, gaierror):
            return "the host's name cannot be resolved"
        refused = refused or isinstance(cause, ConnectionRefusedError)
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
    return "the connection was refused" if refused else "no connection"
