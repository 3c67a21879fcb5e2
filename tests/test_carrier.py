"""The carrier: what is repeated, what an error means, one login for many, and limits on time and size."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from syncd.carrier import Carrier
from syncd.domain.errors import (
    AnswerLostError,
    MalformedError,
    RefusedError,
    ThrottledError,
    UnauthorisedError,
    UnreachableError,
)
from syncd.domain.facts import Facts
from syncd.providers.protocol import Token
from syncd.wire import Exchange, Request, Response, retry_after

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
URL = "https://api.example.test"


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeping costs nothing: the clock jumps to the next timer. Only for transports without sockets."""

    def __init__(self):
        super().__init__()
        self._virtual = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout):
            events = select(0)
            if not events and timeout:
                self._virtual += timeout
            return events

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self):
        return self._virtual


def virtually(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


class Plain:
    """A provider without a login."""

    facts = Facts()

    def check(self) -> Exchange[None]:
        yield get()


class WithLogin(Plain):
    """A provider whose calls want a token."""

    login_again_on = frozenset({401})

    def __init__(self, lifetime_s=3600.0):
        self.lifetime_s = lifetime_s

    def login(self) -> Exchange[Token]:
        response = yield Request("POST", f"{URL}/token", label="login", repeatable=True, token=False)
        if response.status != 200:
            raise UnauthorisedError("the login was refused", call="login")
        return Token(response.body.decode(), self.lifetime_s)

    def authorise(self, request: Request, token: Token) -> Request:
        headers = {**request.headers, "authorization": f"Bearer {token.value}"}
        return Request(request.method, request.url, headers, request.body, request.label, request.repeatable)


class Service:
    """A pretend service: a script of answers (the last one repeats), and what it was asked."""

    def __init__(self, *script, delay_s=0.0):
        self.script = list(script) or [httpx.Response(200, content=b"ok")]
        self.asked: list[httpx.Request] = []
        self.at: list[float] = []
        self.delay_s = delay_s

    async def __call__(self, request):
        self.asked.append(request)
        self.at.append(asyncio.get_running_loop().time())
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)


class TokenService:
    """Hands out numbered tokens and accepts only the newest, or none."""

    def __init__(self, *, accepts=True, grants=True):
        self.logins = self.logins_begun = 0
        self.accepts, self.grants = accepts, grants
        self.refused = 0

    async def __call__(self, request):
        self.logins_begun += request.url.path == "/token"
        await asyncio.sleep(0.01)
        if request.url.path == "/token":
            self.logins += 1
            return httpx.Response(200, content=b"t%d" % self.logins) if self.grants else httpx.Response(400)
        if self.accepts and request.headers.get("authorization") == f"Bearer t{self.logins}":
            return httpx.Response(200, content=b"ok")
        self.refused += 1
        return httpx.Response(401)


def get(label="contacts.read", *, repeatable=True, path="/contacts") -> Request:
    return Request("GET", f"{URL}{path}", label=label, repeatable=repeatable)


def post(label="contact.add") -> Request:
    return Request("POST", f"{URL}/contacts", {"content-type": "application/json"}, b"{}", label=label)


def once(request: Request) -> Exchange[Response]:
    response = yield request
    if response.status == 401:
        raise UnauthorisedError("refused", call=request.label)
    if response.status == 429:
        raise ThrottledError("wait", call=request.label)
    return response


def carrier(service=None, provider=None, **options) -> Carrier:
    settings = {
        "now": lambda: NOW,
        "timeout_s": 5.0,
        "answer_bytes_max": 1_000_000,
        "retry_after_max_s": 900.0,
        "backoff_s": 0.001,
        "log": structlog.get_logger(),
        "transport": None if service is None else httpx.MockTransport(service),
    }
    return Carrier("crm", provider or Plain(), **{**settings, **options})


# -- exchanges ------------------------------------------------------------------------------------------------------


async def test_an_exchange_of_several_requests_is_carried_to_its_result():
    def two():
        first = yield get(path="/a")
        second = yield get(path="/b")
        return first.body + second.body

    service = Service(httpx.Response(200, content=b"1"), httpx.Response(200, content=b"2"))
    assert await carrier(service).carry(two()) == b"12"
    assert [request.url.path for request in service.asked] == ["/a", "/b"]


async def test_what_is_sent_is_what_the_adapter_said_and_header_names_come_back_lower_case():
    service = Service(httpx.Response(201, headers={"X-Request-Id": "7"}, content=b"made"))
    response = await carrier(service).carry(once(post()))
    sent = service.asked[0]
    assert (sent.method, str(sent.url), sent.content) == ("POST", f"{URL}/contacts", b"{}")
    assert sent.headers["content-type"] == "application/json"
    assert (response.status, response.headers["x-request-id"], response.body) == (201, "7", b"made")


async def test_an_error_on_the_way_closes_the_exchange():
    closed = []

    def exchange():
        try:
            yield get(repeatable=False)
        finally:
            closed.append(True)

    with pytest.raises(UnreachableError):
        await carrier(Service(httpx.ConnectError("no"))).carry(exchange())
    assert closed == [True]


async def test_an_error_of_the_adapter_after_a_write_passes_unchanged():
    mine = MalformedError("200 with a page", call="contact.add")

    def exchange():
        yield post()
        raise mine

    with pytest.raises(MalformedError) as raised:
        await carrier(Service()).carry(exchange())
    assert raised.value is mine


async def test_no_cookie_of_one_answer_is_sent_with_the_next_request():
    service = Service(httpx.Response(200, headers={"set-cookie": "session=1; Path=/"}))
    one = carrier(service)
    await one.carry(once(get()))
    await one.carry(once(get()))
    assert "cookie" not in service.asked[1].headers


# -- what an error means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "meaning"),
    [
        (httpx.ConnectError("x"), UnreachableError),
        (httpx.ConnectTimeout("x"), UnreachableError),
        (httpx.PoolTimeout("x"), UnreachableError),
        (httpx.ReadTimeout("x"), AnswerLostError),
        (httpx.WriteTimeout("x"), AnswerLostError),
        (httpx.ReadError("x"), AnswerLostError),
        (httpx.WriteError("x"), AnswerLostError),
        (httpx.RemoteProtocolError("x"), AnswerLostError),
        (httpx.UnsupportedProtocol("x"), RefusedError),
        (httpx.LocalProtocolError("x"), RefusedError),
    ],
)
async def test_a_write_is_tried_once_and_its_failure_is_named(raised, meaning):
    service = Service(raised)
    with pytest.raises(meaning) as error:
        await carrier(service).carry(once(post()))
    assert len(service.asked) == 1
    assert error.value.call == "contact.add"
    assert error.value.message.startswith("crm: contact.add: ")


async def test_a_refused_certificate_is_named():
    cause = ssl.SSLCertVerificationError("failed")
    cause.verify_message = "certificate has expired"
    error = httpx.ConnectError("tls")
    error.__cause__ = cause
    with pytest.raises(UnreachableError, match="TLS: certificate has expired"):
        await carrier(Service(error)).carry(once(post()))


async def test_an_address_that_cannot_be_called_is_refused():
    with pytest.raises(RefusedError):
        await carrier(Service()).carry(once(Request("GET", "https://api.example.test:port/", label="x")))


async def test_a_header_that_cannot_be_sent_is_refused_without_showing_it():
    with pytest.raises(RefusedError) as error:
        await carrier(Service()).carry(once(Request("POST", URL, {"x-key": "clé-of-mine"}, label="x")))
    assert "of-mine" not in str(error.value)


async def test_messages_and_log_lines_hold_no_url_no_body_no_header():
    request = Request("POST", f"{URL}/c?email=ann@example.org", {"x-key": "hunter2"}, b"ann@example.org", label="c.add")
    with capture_logs() as lines, pytest.raises(AnswerLostError) as error:
        await carrier(Service(httpx.ReadError("ann@example.org hunter2"))).carry(once(request))
    told = f"{error.value} {error.value.__cause__} {error.value.hint} {lines}"
    assert error.value.__suppress_context__
    assert "ann@" not in told
    assert "hunter2" not in told
    assert "example" not in told


async def test_one_debug_line_and_one_count_for_each_request():
    counted = []
    service = Service(httpx.Response(503), httpx.ReadError("x"), httpx.Response(200, content=b"four"))
    with capture_logs() as lines:
        await carrier(service, on_request=lambda label, status: counted.append((label, status))).carry(once(get()))
    carried = [line for line in lines if line["event"] == "request.carried"]
    assert [(line["label"], line["status"], line["bytes"]) for line in carried] == [
        ("contacts.read", 503, 0),
        ("contacts.read", None, 0),
        ("contacts.read", 200, 4),
    ]
    assert all(line["log_level"] == "debug" and line["ms"] >= 0 for line in carried)
    assert counted == [("contacts.read", 503), ("contacts.read", None), ("contacts.read", 200)]


# -- repetition -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_read_is_repeated_after_a_passing_failure(status):
    service = Service(httpx.Response(status), httpx.Response(200))
    assert (await carrier(service).carry(once(get()))).status == 200
    assert len(service.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_a_read_is_not_repeated_after_an_answer_that_would_be_the_same(status):
    service = Service(httpx.Response(status))
    exchange = iter_status(get())
    assert await carrier(service).carry(exchange) == status
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_write_is_never_repeated_whatever_the_answer(status):
    service = Service(httpx.Response(status, headers={"retry-after": "0"}))
    assert await carrier(service).carry(iter_status(post())) == status
    assert len(service.asked) == 1


def iter_status(request: Request) -> Exchange[int]:
    return (yield request).status


async def test_after_the_last_attempt_the_adapter_names_the_answer():
    service = Service(httpx.Response(429))
    with pytest.raises(ThrottledError):
        await carrier(service, attempts=3).carry(once(get()))
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("raised", "meaning"), [(httpx.ConnectError("x"), UnreachableError), (httpx.ReadTimeout("x"), AnswerLostError)]
)
async def test_a_read_that_never_gets_through_fails_like_its_last_attempt(raised, meaning):
    service = Service(raised)
    with pytest.raises(meaning):
        await carrier(service, attempts=4).carry(once(get()))
    assert len(service.asked) == 4


async def test_a_lost_connection_is_repeated_for_a_read():
    service = Service(httpx.RemoteProtocolError("gone"), httpx.Response(200))
    assert (await carrier(service).carry(once(get()))).status == 200


def waits(header: dict[str, str], **options) -> tuple[list[float], int]:
    """The pauses between attempts on a virtual clock, and the final status."""
    service = Service(httpx.Response(429, headers=header), httpx.Response(200))

    async def main():
        one = carrier(service, backoff_s=0.5, **options)
        return await one.carry(iter_status(get()))

    status = virtually(main)
    return [after - before for before, after in zip(service.at, service.at[1:], strict=False)], status


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "900"}, 900),
        ({"retry-after": format_datetime(datetime(2026, 11, 21, 12, 2, tzinfo=UTC), usegmt=True)}, 120),
        # The provider's clock is a day behind: its own Date counts, not ours.
        (
            {
                "retry-after": "Fri, 20 Nov 2026 12:00:30 GMT",
                "date": "Fri, 20 Nov 2026 12:00:00 GMT",
            },
            30,
        ),
    ],
)
def test_the_wait_that_the_provider_asks_for_is_kept(header, wait_s):
    pauses, status = waits(header)
    assert status == 200
    assert pauses == pytest.approx([wait_s])


@pytest.mark.parametrize(
    "value", ["-5", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 99 Foo 2026 00:00:00 GMT", "nan", "inf"]
)
def test_a_wait_that_makes_no_sense_leaves_our_own_back_off(value):
    pauses, status = waits({"retry-after": value})
    assert status == 200
    assert len(pauses) == 1
    assert 0.5 <= pauses[0] <= 1.0


@pytest.mark.parametrize("value", ["901", "315360000", "9" * 400, "Sat, 21 Nov 2036 12:00:00 GMT"])
def test_a_wait_beyond_what_we_are_ready_for_goes_to_the_adapter_at_once(value):
    assert waits({"retry-after": value}) == ([], 429)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_breaks_the_reading_of_a_wait(text, date):
    wait_s = retry_after(Response(429, {"retry-after": text, "date": date}), NOW)
    assert wait_s is None or wait_s >= 0


def test_requests_of_many_tasks_keep_the_pace():
    service = Service(httpx.Response(200))

    async def main():
        one = carrier(service, requests_per_second=4)
        await asyncio.gather(*(one.carry(once(get())) for _ in range(9)))

    virtually(main)
    assert sorted(service.at) == pytest.approx([index * 0.25 for index in range(9)])


def test_a_pace_does_not_hold_up_what_comes_later_than_its_turn():
    service = Service(httpx.Response(200))

    async def main():
        one = carrier(service, requests_per_second=1)
        await one.carry(once(get()))
        await asyncio.sleep(60)
        await one.carry(once(get()))

    virtually(main)
    assert service.at == [0, 60]


# -- token ----------------------------------------------------------------------------------------------------------


async def test_fifty_callers_at_once_make_one_login():
    service = TokenService()
    one = carrier(service, WithLogin())
    answers = await asyncio.gather(*(one.carry(once(get())) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert (service.logins, service.refused) == (1, 0)


async def test_fifty_callers_with_a_token_that_ended_early_make_one_new_login():
    service = TokenService()
    one = carrier(service, WithLogin())
    await one.carry(once(get()))
    service.logins = 41  # the provider forgot our token
    answers = await asyncio.gather(*(one.carry(once(post())) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert service.logins == 42
    assert service.refused == 50


async def test_fifty_callers_share_one_refused_login():
    service = TokenService(grants=False)
    one = carrier(service, WithLogin())
    outcomes = await asyncio.gather(*(one.carry(once(get())) for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {UnauthorisedError}
    assert service.logins == 1


def test_a_refused_login_is_tried_again_later_and_later_and_at_once_after_one_that_went_well():
    async def main():
        service, at = TokenService(grants=False), []
        one, clock = carrier(service, WithLogin(lifetime_s=60.0), retry_after_max_s=100.0), asyncio.get_running_loop()
        for second in range(400):
            await asyncio.sleep(second - clock.time())
            made = service.logins
            with pytest.raises(UnauthorisedError):
                await one.carry(once(get()))
            at += [second] * (service.logins - made)
        service.grants = True
        await asyncio.sleep(100)
        await one.carry(once(get()))
        service.grants = False
        await asyncio.sleep(60)
        for _ in range(2):
            with pytest.raises(UnauthorisedError):
                await one.carry(once(get()))
            await asyncio.sleep(30)
        return at, service.logins - len(at)

    at, more = virtually(main)
    assert at == pytest.approx([0, 30, 90, 190, 290, 390], abs=6)
    assert more == 3


async def test_a_refusal_with_a_new_token_is_not_a_loop():
    service = TokenService(accepts=False)
    with pytest.raises(UnauthorisedError):
        await carrier(service, WithLogin()).carry(once(get()))
    assert (service.logins, service.refused) == (2, 2)


async def test_a_request_that_wants_no_token_gets_none():
    service = Service()
    await carrier(service, WithLogin()).carry(once(Request("GET", URL, label="x", token=False)))
    assert len(service.asked) == 1
    assert "authorization" not in service.asked[0].headers


async def test_a_provider_without_login_sees_its_refusal_at_once():
    service = Service(httpx.Response(401))
    with pytest.raises(UnauthorisedError):
        await carrier(service).carry(once(get()))
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("lifetime_s", "pause_s", "logins"),
    [
        (3600, 3530, 1),  # a minute before its end it is still good
        (3600, 3545, 2),  # and inside that minute it is not
        (100, 85, 1),  # a short one loses a tenth
        (100, 95, 2),
    ],
)
def test_a_token_is_renewed_a_little_before_its_end_on_the_monotonic_clock(lifetime_s, pause_s, logins):
    service = TokenService()

    async def main():
        one = carrier(service, WithLogin(lifetime_s))
        await one.carry(once(get()))
        await asyncio.sleep(pause_s)
        await one.carry(once(get()))

    virtually(main)
    assert (service.logins, service.refused) == (logins, 0)


def test_a_login_given_up_by_its_caller_is_made_by_the_next():
    service = TokenService()

    async def main():
        one = carrier(service, WithLogin())
        first = asyncio.create_task(one.carry(once(get())))
        second = asyncio.create_task(one.carry(once(get())))
        await asyncio.sleep(0.005)
        first.cancel()
        return await second

    assert virtually(main).status == 200
    assert (service.logins_begun, service.logins) == (2, 1)


# -- time and size --------------------------------------------------------------------------------------------------


def test_the_deadline_holds_on_a_virtual_clock_too():
    service = Service(delay_s=60)

    async def main():
        with pytest.raises(AnswerLostError, match="within 5 s"):
            await carrier(service).carry(once(post()))
        return asyncio.get_running_loop().time()

    assert virtually(main) == pytest.approx(5)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status):
    for request in (get(), post()):
        service = Service(httpx.Response(status, headers={"location": "http://169.254.169.254/"}))
        with pytest.raises(MalformedError, match="redirects are not followed"):
            await carrier(service).carry(once(request))
        assert len(service.asked) == 1


@asynccontextmanager
async def listening(answer: Callable[[asyncio.StreamWriter], Awaitable[None]], *, reads=True):
    """A real server whose behaviour is a function; gives its address."""
    under_way: set[asyncio.Task[Any]] = set()

    async def serve(reader, writer):
        task = asyncio.current_task()
        assert task
        under_way.add(task)
        try:
            if reads:
                await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way)
        await asyncio.sleep(0)  # lets the aborted connections end


def leap(seconds: float) -> None:
    """Time passes at once, in a loop with real sockets: no pace of the machine is part of what is tested."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]


async def ask(address: str, *, repeatable=False, scheme="http", **options) -> Response:
    one = carrier(**options)
    try:
        return await one.carry(once(Request("GET", f"{scheme}://{address}", label="x", repeatable=repeatable)))
    finally:
        await one.aclose()
        await asyncio.sleep(0)


@pytest.mark.loopback
async def test_an_answer_in_drips_ends_at_the_deadline():
    dripped = []

    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            dripped.append("x")
            leap(6)
            await asyncio.sleep(0)

    async with listening(drip) as address:
        with pytest.raises(AnswerLostError, match="within 60 s"):
            await ask(address, timeout_s=60)
    assert 10 <= len(dripped) < 1000


@pytest.mark.loopback
async def test_a_bomb_is_dropped_at_the_cap_and_not_unpacked_whole():
    packed = gzip.compress(b"\0" * 30_000_000)

    async def bomb(writer):
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
        for start in range(0, len(packed), 1024):
            writer.write(head + packed[start : start + 1024])
            head = b""
            await writer.drain()
            await asyncio.sleep(0)

    seen = []
    async with listening(bomb) as address:
        with capture_logs() as lines, pytest.raises(MalformedError, match="larger than 100000 bytes"):
            await ask(address, repeatable=True, answer_bytes_max=100_000)
        with pytest.raises(AnswerLostError, match="larger than 100000 bytes"):
            await ask(address, answer_bytes_max=100_000)
        seen += [line["bytes"] for line in lines if line["event"] == "request.carried"]
    assert len(seen) == 1, "an answer that is too large is not asked for again"
    assert seen[0] < 30_000_000


@pytest.mark.loopback
async def test_an_endless_body_is_dropped_at_the_cap():
    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with listening(endless) as address:
        with pytest.raises(MalformedError, match="larger than"):
            await ask(address, repeatable=True, answer_bytes_max=50_000)


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        pytest.param(
            b"gzip, gzip", gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "more than once", id="twice"
        ),
        pytest.param(b"gzip", b"not gzip at all", "decompressed", id="not at all"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_safely_is_malformed(coding, body, reason):
    async def answer(writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\ncontent-length: %d\r\n\r\n%s" % (coding, len(body), body)
        )
        await writer.drain()

    async with listening(answer) as address:
        with pytest.raises(MalformedError, match=reason):
            await ask(address, repeatable=True)


@pytest.mark.loopback
async def test_a_compressed_answer_is_unpacked():
    body = gzip.compress(b'{"a": 1}')

    async def answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async with listening(answer) as address:
        assert (await ask(address)).body == b'{"a": 1}'


@pytest.mark.loopback
async def test_an_answer_cut_short_is_lost_and_a_refused_connection_is_not():
    async def cut(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")
        await writer.drain()

    async with listening(cut) as address:
        with pytest.raises(AnswerLostError):
            await ask(address)
    with pytest.raises(UnreachableError, match="the connection was refused"):
        await ask(address)


@pytest.mark.loopback
async def test_plain_text_where_tls_is_expected_is_unreachable_and_named():
    async def plain(writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(plain, reads=False) as address:
        with pytest.raises(UnreachableError, match="TLS"):
            await ask(address, scheme="https")


@pytest.mark.loopback
async def test_a_server_that_never_speaks_tls_leaves_nothing_sent():
    async def mute(_writer):
        leap(61)
        await asyncio.Event().wait()

    async with listening(mute, reads=False) as address:
        with pytest.raises(UnreachableError, match=r"no connection (in time|within 60 s)"):
            await ask(address, scheme="https", timeout_s=60)


@pytest.mark.loopback
async def test_the_environment_does_not_reroute_requests(monkeypatch):
    async def answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with listening(answer) as address:
        assert (await ask(address)).body == b"ok"


async def test_send_carries_one_request_as_it_is():
    service = Service(httpx.Response(503))
    response = await carrier(service, WithLogin()).send(get())
    assert response.status == 503
    assert len(service.asked) == 1


async def test_a_closed_carrier_closes_its_connections():
    closed = []

    class Transport(httpx.AsyncBaseTransport):
        async def aclose(self):
            closed.append(True)

    await carrier(transport=Transport()).aclose()
    assert closed == [True]
