"""Emulators on loopback ports, over real sockets and the real carrier."""

from __future__ import annotations

import asyncio
import signal
import statistics
from datetime import UTC, datetime

import httpx
import pytest
import structlog

from syncd.carrier import Carrier
from syncd.domain.errors import AnswerLostError, UnreachableError
from syncd.domain.facts import Facts
from syncd.emulators.emulator import Emulator, Fault, FaultKind
from syncd.emulators.serve import address_of, bind_loopback, serving
from syncd.wire import Request, Response
from tests.emulated import transport_for

pytestmark = pytest.mark.loopback

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Echo(Emulator):
    """Answers with what it was asked."""

    name = "echo"

    def answer(self, request):
        told = f"{request.method} {request.url} {request.headers.get('x-mark', '-')} ".encode() + request.body
        return Response(201, {"Content-Type": "text/plain", "X-Name": self.name}, told)

    def is_write(self, request):
        return request.method != "GET"


class Plain:
    facts = Facts()

    def check(self):
        yield Request("GET", "/")


@pytest.fixture
async def carrier():
    one = Carrier(
        "demo",
        Plain(),
        now=lambda: NOW,
        timeout_s=5,
        answer_bytes_max=100_000_000,
        retry_after_max_s=1,
        backoff_s=0.001,
        log=structlog.get_logger(),
    )
    yield one
    await one.aclose()
    await asyncio.sleep(0)


async def accepting(_request):
    return Response(200)


async def test_a_request_reaches_the_emulator_whole_and_so_does_its_answer(carrier):
    sock = bind_loopback(0)
    emulator = Echo(lambda: NOW)
    body = bytes(range(256)) * 1000
    async with serving([(emulator, sock)], send=accepting) as served:
        (address,) = served.addresses
        response = await carrier.send(Request("PUT", f"{address}/a%20b/c?x=%C3%A9&y=1", {"X-Mark": "m"}, body))
    assert address.startswith("http://127.0.0.1:")
    assert response.status == 201
    assert (response.headers["content-type"], response.headers["x-name"]) == ("text/plain", "echo")
    assert response.body == f"PUT {address}/a%20b/c?x=%C3%A9&y=1 m ".encode() + body
    assert [call.path for call in emulator.calls] == ["/a%20b/c"]


async def test_several_emulators_have_a_port_each_and_give_it_back(carrier):
    sockets = [bind_loopback(0), bind_loopback(0)]
    emulators = [Echo(lambda: NOW), Echo(lambda: NOW)]
    addresses = [address_of(sock) for sock in sockets]
    async with serving(list(zip(emulators, sockets, strict=True)), send=accepting) as served:
        assert list(served.addresses) == addresses
        for address in addresses:
            await carrier.send(Request("GET", f"{address}/"))
    assert [len(emulator.calls) for emulator in emulators] == [1, 1]
    with pytest.raises(UnreachableError):
        await carrier.send(Request("GET", f"{addresses[0]}/"))


@pytest.mark.parametrize(("kind", "happened"), [(FaultKind.ANSWER_LOST, 1), (FaultKind.NO_CONNECTION, 0)])
async def test_a_fault_of_the_network_ends_the_connection_without_an_answer(carrier, caplog, kind, happened):
    emulator = Echo(lambda: NOW)
    async with serving([(emulator, bind_loopback(0))], send=accepting) as served:
        emulator.faults.append(Fault(kind))
        with pytest.raises(AnswerLostError, match="the connection"):
            await carrier.send(Request("POST", f"{served.addresses[0]}/", body=b"x"))
        assert len(emulator.calls) == happened
        response = await carrier.send(Request("POST", f"{served.addresses[0]}/", body=b"x"))
    assert response.status == 201
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_answers_come_without_the_pause_of_nagle(carrier):
    async with serving([(Echo(lambda: NOW), bind_loopback(0))], send=accepting) as served:
        clock = asyncio.get_running_loop().time
        took = []
        for _ in range(50):
            began = clock()
            await carrier.send(Request("POST", f"{served.addresses[0]}/", body=b"x"))
            took.append(clock() - began)
    assert statistics.median(took) < 0.04


async def test_signals_stay_with_the_process():
    before = signal.getsignal(signal.SIGTERM)
    async with serving([(Echo(lambda: NOW), bind_loopback(0))], send=accepting):
        assert signal.getsignal(signal.SIGTERM) is before


async def test_a_port_that_is_taken_says_so():
    sock = bind_loopback(0)
    try:
        with pytest.raises(OSError, match="in use"):
            bind_loopback(sock.getsockname()[1])
    finally:
        sock.close()


def notice(number: int) -> Request:
    return Request("POST", f"http://127.0.0.1:1/{number}")


async def test_what_an_emulator_wants_to_send_is_carried_in_order():
    got = []

    async def send(request):
        got.append(request.url[-1])
        return Response(200)

    emulator = Echo(lambda: NOW)
    async with serving([(emulator, bind_loopback(0))], send=send, poll_s=0.001) as served:
        emulator.outgoing.extend(notice(number) for number in range(3))
        await served.settled()
        assert (served.delivered, served.given_up) == (3, 0)
    assert got == ["0", "1", "2"]


@pytest.mark.parametrize("failure", [Response(503), Response(302), Response(400), UnreachableError("down")])
async def test_what_is_not_taken_is_sent_again_and_at_last_given_up(failure):
    got = []

    async def send(request):
        got.append(request.url[-1])
        if request.url.endswith("/0"):
            if isinstance(failure, Exception):
                raise failure
            return failure
        return Response(200)

    emulator = Echo(lambda: NOW)
    emulator.outgoing.extend([notice(0), notice(1)])
    async with serving([(emulator, bind_loopback(0))], send=send, retry_s=0.001, poll_s=0.001) as served:
        await served.settled()
    assert got == ["0"] * 5 + ["1"]
    assert (served.delivered, served.given_up) == (1, 1)


async def test_a_notice_that_is_taken_at_the_second_try_is_sent_no_more():
    answers = [Response(500), Response(204)]

    async def send(_request):
        return answers.pop(0)

    emulator = Echo(lambda: NOW)
    emulator.outgoing.append(notice(0))
    async with serving([(emulator, bind_loopback(0))], send=send, retry_s=0.001, poll_s=0.001) as served:
        await served.settled()
    assert not answers
    assert (served.delivered, served.given_up) == (1, 0)


async def test_behind_a_transport_the_longest_address_that_fits_wins():
    api, token = Echo(lambda: NOW), Echo(lambda: NOW)
    transport = transport_for({"https://api.test": api, "https://api.test/token": token, "127.0.0.1:8001": token})
    async with httpx.AsyncClient(transport=transport) as client:
        for url in (
            "https://api.test/x",
            "https://api.test/token?a=1",
            "https://api.test/tokens",
            "http://127.0.0.1:8001/",
        ):
            assert (await client.get(url)).status_code == 201
        with pytest.raises(httpx.ConnectError):
            await client.get("https://api.test.evil/")
    assert [call.path for call in api.calls] == ["/x", "/tokens"]
    assert [call.path for call in token.calls] == ["/token", "/"]


@pytest.mark.parametrize(
    ("kind", "error", "happened"),
    [(FaultKind.ANSWER_LOST, httpx.ReadTimeout, 1), (FaultKind.NO_CONNECTION, httpx.ConnectError, 0)],
)
async def test_behind_a_transport_faults_of_the_network_are_those_of_httpx(kind, error, happened):
    emulator = Echo(lambda: NOW)
    emulator.faults.append(Fault(kind))
    async with httpx.AsyncClient(transport=transport_for({"https://api.test": emulator})) as client:
        with pytest.raises(error):
            await client.post("https://api.test/", content=b"x")
    assert len(emulator.calls) == happened
