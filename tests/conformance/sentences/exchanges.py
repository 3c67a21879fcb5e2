"""What the protocol says of every exchange and of every adapter: purity, faults, discretion, checks, logins."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from syncd.domain.changes import Ack, Outcome
from syncd.domain.errors import (
    MalformedError,
    ProviderError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
)
from syncd.domain.records import Status
from syncd.providers.protocol import Token
from syncd.wire import Exchange, Request, Response
from tests.conformance.bench import ABILITIES, ANN, BOB, NEW, PEOPLE, Bench, Say, emulator_of
from tests.conformance.sentences.sentence import outcome_of, sentence

# Every exchange ------------------------------------------------------------------------------------------------------

CLOCKS = {"now", "utcnow", "today", "fromtimestamp"}
OUTSIDE = {"time", "posix", "_socket", "_random", "_ssl", "select", "_io", "io"}
HARMLESS = {"fspath", "StringIO", "BytesIO"}


@contextmanager
def watched(found: list[str]) -> Iterator[None]:
    """Note whatever is called meanwhile that reaches out of the process: clock, chance, files, sockets, environment."""

    def look(frame: Any, event: str, called: Any) -> None:
        del frame
        if event != "c_call":
            return
        name, owner = getattr(called, "__name__", ""), getattr(called, "__self__", None)
        if name in CLOCKS - {"fromtimestamp"} and isinstance(owner, type) and issubclass(owner, date):
            found.append(f"{owner.__name__}.{name}")
        elif getattr(called, "__module__", None) in OUTSIDE and name not in HARMLESS:
            found.append(f"{called.__module__}.{name}")
        elif type(owner).__module__ in OUTSIDE and type(owner).__name__ not in HARMLESS:
            found.append(f"{type(owner).__name__}.{name}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


@sentence("pure")
def pure(bench: Bench) -> None:
    for warm in (True, False):  # what is imported where it is first used is read from disk then
        for name, talk in bench.talks().items():
            found: list[str] = []

            def drive(exchange: Exchange[Any], answer: Say, found: list[str] = found) -> Any:
                try:
                    with watched(found):
                        request = next(exchange)
                    while True:
                        response = answer(request)
                        with watched(found):
                            request = exchange.send(response)
                except StopIteration as stop:
                    return stop.value

            adapter = bench.adapter()
            bench.carry(adapter, talk(adapter), drive=drive)
            assert warm or not found, f"{name} reaches out of its exchange: {found}"
        bench = bench.twin()


@sentence("no-state")
def keeps_nothing_between_calls(bench: Bench) -> None:
    other, used = bench.twin(), bench.adapter()
    for again in range(2):
        for name, talk in bench.talks().items():
            if again and name in {"subscribe", "unsubscribe", "update"}:
                continue
            bench.sent, other.sent = [], []
            fresh = other.adapter()
            here, there = outcome_of(bench, used, talk(used)), outcome_of(other, fresh, other.talks()[name](fresh))
            asked = [(one.method, one.url, one.body) for one in bench.sent]
            wanted = [(one.method, one.url, one.body) for one in other.sent]
            assert asked == wanted, f"{name}: a used adapter asks otherwise"
            assert type(here) is type(there), name


def each_request(bench: Bench) -> Iterator[tuple[str, int, Request]]:
    """Every request of every talk, by its place in it."""
    for name in bench.talks():
        twin = bench.twin()
        adapter = twin.adapter()
        exchange = twin.talks()[name](adapter)
        twin.sent.clear()
        twin.carry(adapter, exchange)
        for place, request in enumerate(list(twin.sent)):
            yield name, place, request


def answered(
    bench: Bench, talk: str, place: int, change: Callable[[Request, Response], Response], *, lasts: bool = False
) -> tuple[Any, Any]:
    """What becomes of a talk on a fresh bench if the answer to one of its requests is another; and that bench.

    `lasts`: and to all that follow it.
    """
    twin = bench.twin()
    adapter = twin.adapter()
    exchange = twin.talks()[talk](adapter)
    twin.sent.clear()

    def say(count: int, request: Request, honest: Say) -> Response:
        spoilt = count == place or (lasts and count > place)
        return change(request, honest(request)) if spoilt else honest(request)

    return outcome_of(twin, adapter, exchange, say), twin


@sentence("no-retry")
def leaves_repetition_to_the_carrier(bench: Bench) -> None:
    for talk, place, request in each_request(bench):
        for status in (429, 503):
            _, twin = answered(bench, talk, place, lambda _, __, status=status: Response(status))  # type: ignore[misc]
            later = [(one.method, one.url, one.body) for one in twin.sent[place + 1 :]]
            assert (request.method, request.url, request.body) not in later, f"{talk}: asked again after {status}"


@sentence("repeatable")
def what_is_repeatable_may_come_twice(bench: Bench) -> None:
    for name in bench.talks():
        once, twice = bench.twin(), bench.twin()
        for one in (once, twice):
            adapter = one.adapter()

            def say(_: int, request: Request, honest: Say, again: bool = one is twice) -> Response:
                if again and request.repeatable:
                    honest(request)
                return honest(request)

            one.carry(adapter, one.talks()[name](adapter), say)
        assert sorted(once.census()) == sorted(twice.census()), f"{name}: a repeated request changed something"
        assert sorted(registrations(once)) == sorted(registrations(twice)), name
    for name, email in (("subscribe", NEW), ("update", ANN)):
        if name in bench.talks():
            undoes_no_no(bench.twin(), name, email)


def undoes_no_no(bench: Bench, name: str, email: str) -> None:
    """Somebody says no between a repeatable write and its repetition."""
    adapter = bench.adapter()
    left = False

    def say(_: int, request: Request, honest: Say) -> Response:
        nonlocal left
        response = honest(request)
        if request.repeatable and emulator_of(bench).is_write(request) and bench.of(email) and not left:
            left = True
            bench.leaves(email)
            return honest(request)
        return response

    bench.carry(adapter, bench.talks()[name](adapter), say)
    assert not left or Status.SUBSCRIBED not in {row.status for row in bench.of(email)}, f"{name}: a no was undone"


def registrations(bench: Bench) -> list[str]:
    return bench.registered() if "CanRegister" in bench.able else []


@sentence("unreadable")
def infers_nothing_from_what_cannot_be_read(bench: Bench) -> None:
    spoilt: dict[str, Callable[[bytes], bytes]] = {
        "nothing": lambda _: b"",
        "a page": lambda _: b"<!doctype html><title>Maintenance</title>",
        "half of it": lambda body: body[: len(body) // 2],
        "no text": lambda _: b"\xff\xfe\x00",
    }
    for talk, place, request in each_request(bench):
        if request.label in bench.status_alone:
            continue
        for what, spoil in spoilt.items():
            result, _ = answered(
                bench,
                talk,
                place,
                lambda _, sound, spoil=spoil: Response(sound.status, sound.headers, spoil(sound.body)),  # type: ignore[misc]
            )
            acks = result if isinstance(result, list) and result and isinstance(result[0], Ack) else []
            doubted = bool(acks) and all(ack.outcome is Outcome.UNCERTAIN for ack in acks)
            assert isinstance(result, MalformedError) or doubted, f"{talk}: {what} as {request.label} gave {result!r}"


@sentence("named-faults")
def names_faults_for_what_is_done_next(bench: Bench) -> None:
    named = {
        401: UnauthorisedError,
        429: ThrottledError,
        500: UnavailableError,
        502: UnavailableError,
        503: UnavailableError,
    }
    for talk, place, request in each_request(bench):
        for status, kind in named.items():
            result, _ = answered(
                bench,
                talk,
                place,
                lambda _, __, status=status: Response(status, {"retry-after": "7"}),  # type: ignore[misc]
                lasts=True,  # a provider that says 500 to one bad record may be asked for less
            )
            if meaning := bench.otherwise.get((request.label, status)):
                told = result[0].outcome.value if isinstance(result, list) else type(result).__name__
                assert told == meaning, f"{talk}: {status} as {request.label} gave {result!r}"
                continue
            assert isinstance(result, kind), f"{talk}: {status} as {request.label} gave {result!r}"
            if isinstance(result, ThrottledError):
                assert result.retry_after_s == 7, f"{talk}: how long to wait is lost"


@sentence("discreet")
def names_no_person_and_no_secret(bench: Bench) -> None:
    private = [*bench.secrets, ANN, BOB, NEW, "Zenobia", "Newt", *PEOPLE[ANN], "Comer"]
    for talk, place, request in each_request(bench):
        assert not [word for word in private if word.lower() in f"{request!r}{request.label}".lower()], talk
        for status in (200, 400, 401, 403, 404, 409, 422, 429, 500):

            def parrot(asked: Request, _: Response, status: int = status) -> Response:
                """Whatever it was sent, it says again in plain words."""
                words = f"failed for {' and '.join(told_in(asked))}"
                told = {"message": words, "error": words, "error_description": words, "status": "Failed"}
                return Response(status, {"content-type": "application/json"}, json.dumps(told).encode())

            result, _ = answered(bench, talk, place, parrot)
            if isinstance(result, ProviderError):
                texts = [result.message, result.hint, result.call, str(result), repr(result.__cause__ or "")]
            else:
                texts = [ack.reason for ack in result if isinstance(ack, Ack)] if isinstance(result, list) else []
            told = " ".join(texts).lower()
            found = [word for word in [*private, *credentials(request)] if word.lower() in told]
            assert not found, f"{talk}: {status} as {request.label} lets out {found}: {texts}"


def told_in(request: Request) -> list[str]:
    """Every value that a request carries, as the provider reads it."""
    text = request.body.decode()
    try:
        found = strings_in(json.loads(text)) if text else []
    except ValueError:
        found = [value for _, value in parse_qsl(text)]
    query = [value for _, value in parse_qsl(urlsplit(request.url).query)]
    return [
        *found,
        *query,
        *(unquote(part) for part in urlsplit(request.url).path.split("/")[2:]),
        *credentials(request),
    ]


def strings_in(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in strings_in(one)]
    return [value] if isinstance(value, str) else []


def credentials(request: Request) -> list[str]:
    """The headers that prove who we are, and what they hold in another spelling."""
    given = [value for name, value in request.headers.items() if name.lower() in {"authorization", "x-api-key"}]
    plain = [
        b64decode(value.partition(" ")[2]).decode().partition(":")[2] for value in given if value.startswith("Basic ")
    ]
    return [*given, *plain]


# What every provider has ---------------------------------------------------------------------------------------------


@sentence("capabilities")
def can_what_the_table_says(bench: Bench) -> None:
    adapter = bench.adapter()
    assert {name for name, kind in ABILITIES.items() if isinstance(adapter, kind)} == bench.able
    assert getattr(adapter, "accepts", frozenset()) == bench.accepts
    assert all(size >= 1 for size in adapter.facts.batch.values())


@sentence("check-harmless")
def a_check_changes_nothing(bench: Bench) -> None:
    adapter, before, writes = bench.adapter(), bench.census(), emulator_of(bench).writes
    bench.carry(adapter, adapter.check())
    assert bench.census() == before
    assert emulator_of(bench).writes == writes


@sentence("check-proves")
def a_check_proves_the_credentials(bench: Bench) -> None:
    for key in bench.secret_keys:
        adapter = bench.adapter(**{key: "another-secret"})
        with pytest.raises(UnauthorisedError):
            bench.carry(adapter, adapter.check())


# Logging in ----------------------------------------------------------------------------------------------------------


@sentence("login-apart", "CanLogin")
def a_login_stands_for_itself(bench: Bench) -> None:
    adapter = bench.adapter()
    token = bench.carry(adapter, adapter.login())
    assert all(one.repeatable and not one.token for one in bench.sent[-1:])
    assert token.lifetime_s > 0
    assert token.value not in repr(token)
    assert token.value not in str(token)


@sentence("login-carries", "CanLogin")
def authorise_adds_the_token_and_nothing_else(bench: Bench) -> None:
    request = Request("PUT", f"{bench.at}/x?y=1", {"accept": "a/b"}, b"{}", label="x", repeatable=True)
    given = bench.adapter().authorise(request, Token("tok-3", 60))
    assert replace(given, headers=request.headers) == request
    assert {name: value for name, value in given.headers.items() if name in request.headers} == request.headers
    assert any("tok-3" in value for value in given.headers.values())


@sentence("login-again", "CanLogin")
def a_token_that_ended_is_refused_by_a_status_that_asks_for_another(bench: Bench) -> None:
    adapter = bench.adapter()
    old = bench.carry(adapter, adapter.login())
    bench.expire()
    talk = bench.talks()["check"]
    request = next(talk(adapter))
    refused = emulator_of(bench).handle(adapter.authorise(request, old))
    assert refused.status in adapter.login_again_on
    bench.carry(adapter, talk(adapter))
