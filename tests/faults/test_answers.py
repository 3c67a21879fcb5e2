"""H-2 to H-8 and H-19: what a provider answers when it is unwell, in the form of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, cast

import pytest

from syncd.domain.errors import UnauthorisedError
from syncd.emulators.emulator import Fault, FaultKind
from syncd.reconcile.convergence import Condition
from syncd.store.meters import read_meters
from syncd.store.session import reading
from syncd.sync.cycle import run_round
from syncd.sync.standing import standing as how_it_stands
from syncd.wire import Request, Response
from tests.faults.agreement import answering, converged, inferred
from tests.scenes import (
    DAY,
    JOINED,
    LEFT,
    QUERY_API,
    account,
    agreed,
    calls,
    configured,
    marks,
    member,
    names_of,
    operations,
    person,
    standing,
    written,
)
from tests.virtual import Clock, run
from tests.world import World

ALWAYS = 1_000_000
HOUR = 3600.0
LONGEST_S = 900.0
"""No provider keeps us away for longer than this at a time."""

P0, P1 = "p0@example.org", "p1@example.org"


def condition(world: World) -> Condition:
    verdict, _ = how_it_stands(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))
    return verdict.condition


def customer_of(world: World, email: str) -> str:
    return next(one.id for one in world.rocs.customers.values() if one.email == email)


# Asked to wait -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        pytest.param(lambda _: "120", 120, 180, id="seconds"),
        pytest.param(
            lambda world: format_datetime(world.clock() + timedelta(seconds=120), usegmt=True), 119, 180, id="a date"
        ),
        pytest.param(lambda _: "315360000", LONGEST_S, LONGEST_S + 20, id="ten years"),
        pytest.param(lambda _: "Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_S, LONGEST_S + 20, id="the end of time"),
        pytest.param(lambda _: "-5", 0, 61, id="negative"),
        pytest.param(lambda _: "soon", 0, 61, id="words"),
        pytest.param(lambda _: None, 0, 61, id="nothing"),
    ],
)
def test_h02_a_wait_is_honoured_within_reason_and_unsubscribes_go_first(open_world, asked, least, most):
    world = open_world()
    agreed(world, 2)
    world.rocs.edit_customer(customer_of(world, P1), first_name="Anna")
    world.rokt.person_unsubscribes(P0)
    world.wait(60)
    world.mail.faults.append(Fault(FaultKind.THROTTLED, "/list/all", retry_after=asked(world)))
    before = marks(world)
    for names in ([], ["mail"], ["mail"]):
        world.round(names)
        world.wait(LONGEST_S / 2 + 5)
    told, *after = calls(world, before)["rocketresponder"]
    assert told.status == 429
    assert least <= (after[0].at - told.at).total_seconds() <= most
    writes = [path.rpartition("/")[2] for name, path, _ in written(world, before) if name == "rocketresponder"]
    assert writes == ["unsubscribe", "modify"]
    converged(world, p0=LEFT, p1=JOINED)


# Credentials ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crm", "sales"])
def test_h03_a_token_that_ends_in_the_middle_of_a_run_costs_one_login(open_world, name):
    world = open_world(config=configured(crm="page_size = 2", sales="page_size = 2"))
    agreed(world, 5)
    emulator: Any
    emulator, page, login = {
        "crm": (world.rocs, "/customers", "token"),
        "sales": (world.sales, "/getListData", "accessToken"),
    }[name]
    world.mail.person_unsubscribes("154", P0)
    world.wait(60)
    before = marks(world)
    real = emulator.answer

    def revoking(request: Request) -> Response:
        if page in request.url:
            emulator.answer = real
            emulator.revoke_tokens()
        return cast("Response", real(request))

    emulator.answer = revoking
    assert world.round(full=True).failed == []
    assert names_of(calls(world, before)[emulator.name]).count(login) == 1
    converged(world, p0=LEFT, p1=JOINED)


def login_at_crm(world: World) -> Callable[[], None]:
    world.rocs.client_secret = "another"
    world.rocs.revoke_tokens()
    return lambda: setattr(world.rocs, "client_secret", "rocs-secret")


def login_at_sales(world: World) -> Callable[[], None]:
    world.sales.password = "another"
    world.sales.revoke_tokens()
    return lambda: setattr(world.sales, "password", "sales-secret")


def calls_at_crm(world: World) -> Callable[[], None]:
    """Logins are taken, and each call is refused all the same."""
    real = world.rocs.answer
    refused = Response(401, {"content-type": "application/json"}, b'{"message":"Authorization has been denied"}')
    world.rocs.answer = lambda request: real(request) if "token" in request.url else refused  # type: ignore[method-assign]
    return lambda: setattr(world.rocs, "answer", real)


def calls_at_mail(world: World) -> Callable[[], None]:
    """There is no login: each call brings its own proof."""
    world.mail.private_key = "another"
    return lambda: setattr(world.mail, "private_key", "priv_emulated")


REFUSED = {
    "crm": (login_at_crm, "token"),
    "sales": (login_at_sales, "accessToken"),
    "crm, whose logins are taken": (calls_at_crm, ""),
    "mail": (calls_at_mail, ""),
}


@pytest.mark.parametrize("where", REFUSED)
def test_h04_refused_for_good_is_a_quarantine_with_an_alarm_and_no_hammering(open_world, where):
    world = open_world()
    agreed(world, 2)
    refuse, login = REFUSED[where]
    name = where.partition(",")[0]
    provider = {"crm": "rocs", "sales": "salesrocks", "mail": "rocketresponder"}[name]
    put_right = refuse(world)
    world.rokt.person_unsubscribes(P0)
    before = marks(world)

    def asked() -> int:
        """How often they could count us: logins, or calls where those are what is refused."""
        names = names_of(calls(world, before)[provider])
        return names.count(login) if login else len(names)

    world.round()
    assert account(world, name)["state"] == "quarantined"
    assert condition(world) is Condition.UNREACHABLE
    first = asked()
    for _ in range(50):  # a delivery every second wakes us
        world.wait(1)
        world.deliver()
        run(world.loop, run_round(world.app.context, pull_first=False))
    assert asked() - first <= 2
    for _ in range(60):
        world.wait(300)
        world.round([name])
    if login:
        assert asked() <= 5 * HOUR / LONGEST_S + 10, "over five hours ever fewer, down to one in a quarter of an hour"
    else:
        assert asked() - first <= 60 * 4 + 2, "once in a round and once after a login anew, whatever waits"
    assert {row["attempts"] for row in operations(world, account=name, kind="unsubscribe")} == {0}
    put_right()
    world.wait(LONGEST_S)
    converged(world, p0=LEFT, p1=JOINED)


def test_h04_fifty_callers_whose_token_was_refused_make_one_login(open_world):
    world = open_world()
    agreed(world, 2)
    world.rocs.revoke_tokens()
    before = marks(world)
    lane = world.app.context.lanes["crm"]

    async def together() -> None:
        await asyncio.gather(*(lane.carrier.carry(lane.provider.check()) for _ in range(50)))

    run(world.loop, together())
    assert names_of(calls(world, before)["rocs"]).count("token") == 1
    world.rocs.client_secret = "another"
    world.rocs.revoke_tokens()
    before = marks(world)

    async def refused() -> list[object]:
        asked = (lane.carrier.carry(lane.provider.check()) for _ in range(50))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert {type(one) for one in run(world.loop, refused())} == {UnauthorisedError}
    assert names_of(calls(world, before)["rocs"]).count("token") == 1
    world.rocs.client_secret = "rocs-secret"
    world.wait(LONGEST_S)
    converged(world, p0=JOINED, p1=JOINED)


# Outages -------------------------------------------------------------------------------------------------------------


def test_h05_hours_of_failures_stay_at_their_provider_are_probed_slowly_and_seen(open_world):
    world = open_world()
    agreed(world, 2)
    world.wait(60)
    world.mail.person_unsubscribes("154", P0)
    before, ages = marks(world), []
    for status in (500, 502, 503, 500, 502, 503):
        with answering(world.rocs, "", Response(status, {}, b"")):
            world.wait(HOUR)
            world.round()
        with reading(world.app.engine) as connection:
            since = read_meters(connection, world.app.context.lanes, world.clock()).unsubscribe_since
        assert since is not None
        ages.append((world.clock() - since).total_seconds())
    assert account(world, "crm")["state"] == "failing"
    assert condition(world) is Condition.UNREACHABLE
    assert standing(world, P0) == LEFT | {"crm": "subscribed"}
    assert len(calls(world, before)["rocs"]) <= 6 * 6, "a few calls a round, and no more for what waits"
    assert ages == sorted(ages)
    assert ages[-1] > 4 * HOUR
    converged(world, p0=LEFT, p1=JOINED)


def test_h06_a_failure_of_one_record_alone_is_no_outage_and_its_unsubscribe_an_alarm(open_world):
    world = open_world(config=configured(push="attempts_max = 3\nbackoff = '10s'\nbackoff_max = '20s'"))
    poisoned, other, edited = agreed(world, 3)
    world.rocs.poison |= {poisoned, edited}
    for email in (poisoned, other):
        world.mail.person_unsubscribes("154", email)
    world.sales.set_field(world.sales_list, edited, "name", "Anna Last2")
    for _ in range(6):
        world.wait(60)
        world.round()
    assert account(world, "crm")["state"] == "ok"
    assert (member(world, poisoned), member(world, other)) == ("subscribed", "unsubscribed")
    parked = {(row["email"], row["kind"]) for row in world.rows("SELECT * FROM v_parked")}
    assert parked == {(edited, "update"), (poisoned, "unsubscribe")}, "for a person to see"
    (op,) = operations(world, account="crm", identity=poisoned, kind="unsubscribe")
    assert op["state"] == "ready", "a no is never parked"
    for _ in range(5):
        world.wait(DAY / 2)
        world.round()
    assert condition(world) is Condition.OVERDUE
    world.rocs.poison.clear()
    converged(world, p0=LEFT, p1=LEFT)


SAYS_NO_IN_200 = {
    "crm": ("/lists/L-1/members/", b'{"error":"the record is locked"}'),
    "sales": ("/deleteListData", b'{"status":"failed","success":false,"message":"not now"}'),
    "mail": ("/subscriber/unsubscribe", b'{"status":"Failed","error":"Something went wrong"}'),
    "leads": ("/nurture/unsubscribe", b'{"error":"not accepted"}'),
}


@pytest.mark.parametrize("name", SAYS_NO_IN_200)
def test_h07_a_success_whose_body_says_no_is_a_failure(open_world, name):
    world = open_world(config=configured(push="backoff = '10s'\nbackoff_max = '20s'"))
    agreed(world, 2)
    path, body = SAYS_NO_IN_200[name]
    emulator = {"crm": world.rocs, "sales": world.sales, "mail": world.mail, "leads": world.rokt}[name]
    world.wait(60)
    with answering(emulator, path, Response(200, {"content-type": "application/json"}, body)):
        if name == "mail":
            world.rocs.unsubscribe_member("L-1", P0)
        else:
            world.mail.person_unsubscribes("154", P0)
        for _ in range(3):
            world.round()
            world.wait(60)
            states = {row["state"] for row in operations(world, account=name, kind="unsubscribe")}
            assert not states & {"accepted", "verified", "done"}
    assert standing(world, P0)[name] == JOINED[name]
    converged(world, p0=LEFT, p1=JOINED)


# Bodies --------------------------------------------------------------------------------------------------------------


def with_member(body: bytes, member: bytes) -> bytes:
    """One more member at the end of the outermost object, or of the first one in it."""
    at = body.rindex(b"}")
    return body[:at] + b"," + member + body[at:]


def emptied(body: bytes) -> bytes:
    """Every list at the top comes once more, and empty."""
    names = (b"customers", b"members", b"data", b"list")
    for name in names:
        if b'"%s":' % name in body:
            body = with_member(body, b'"%s":[]' % name)
    return body


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "a page to log in": lambda _: b"<!doctype html><title>Log in</title>",
    "empty": lambda _: b"",
    "null": lambda _: b"null",
    "cut": lambda body: body[: len(body) * 2 // 3],
    "sixty levels": lambda _: b"[" * 60 + b"]" * 60,
    "utf-16": lambda body: body.decode().encode("utf-16"),
    "nan": lambda body: with_member(body, b'"more":NaN'),
    "twice": emptied,
    "deep inside": lambda body: with_member(body, b'"more":' + b"[" * 60 + b"]" * 60),
    "latin-1": lambda body: body.replace("é".encode(), b"\xe9").replace(b"\\u00e9", b"\xe9"),
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
}
UNREADABLE = {"a page to log in", "empty", "null", "cut", "sixty levels", "utf-16"}
"""Nothing can be made of these; of the others more than nothing may be made, if it is the whole truth."""


def made(over: Callable[[bytes], bytes]) -> Callable[[Response], Response]:
    return lambda real: Response(real.status, real.headers, over(real.body))


PLACES = {
    "crm": ("rocs", "/customers"),
    "crm's lists": ("rocs", "/lists"),
    "crm's members": ("rocs", "/lists/L-1/members"),
    "sales": ("salesrocks", "/getListData"),
    "sales' lists": ("salesrocks", "/getLists"),
    "mail": ("rocketresponder", "/list/all"),
    "leads": ("rokt", "/campaigns/"),
}


@pytest.mark.parametrize("place", PLACES)
def test_h08_what_cannot_be_read_is_a_failed_pull_and_never_nobody(open_world, place):
    world = open_world(config=configured(leads=QUERY_API), on_absence="unsubscribe")
    person(world, "zoe@example.org", "Zoé", "Zé")
    agreed(world, 3)
    name, (provider, path) = place.partition("'")[0], PLACES[place]
    emulator = next(one for one in world.emulators.values() if one.name == provider)
    known, before = inferred(world), world.writes
    for what, made_over in BODIES.items():
        with answering(emulator, path, made(made_over)):
            for _ in range(1 if what in UNREADABLE else 2):  # an absence takes two
                world.wait(HOUR + 1)
                done = world.round([name], full=True)
                assert inferred(world) == known, what
                assert [one.name for one in done.failed] == [name] or what not in UNREADABLE, what
                if what in UNREADABLE:
                    assert account(world, name)["state"] == "failing"
    assert inferred(world) == known, "what could not be read once is read again"
    assert world.writes == before
    converged(world, zoe=JOINED, p0=JOINED, p1=JOINED)


def test_h08_a_look_up_that_cannot_be_read_says_nothing_about_the_person(open_world):
    world = open_world()
    agreed(world, 2)
    for what, made_over in BODIES.items():
        with answering(world.mail, "/subscriber/lookup", made(made_over)):
            world.wait(DAY + 1)
            world.round(["mail"])
            assert standing(world, P0) == JOINED, what
            assert world.rows("SELECT * FROM consent") == []
    converged(world, p0=JOINED, p1=JOINED)


# Clocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-2 * DAY, 2 * DAY], ids=["behind", "ahead"])
def test_h19_a_provider_whose_clock_is_off_is_believed_about_people_and_not_about_the_time(open_world, skew):
    world = open_world()
    for emulator in (world.rocs, world.sales, world.rokt):
        emulator.now = Clock(world.loop, skew)
    agreed(world, 2)
    before = marks(world)
    world.wait(600)
    world.rocs.unsubscribe_member("L-1", P0)
    for _ in range(5):
        world.wait(60)
        assert world.round().failed == []
    seen = calls(world, before)
    assert not {"token", "accessToken"} & set(names_of([*seen["rocs"], *seen["salesrocks"]]))
    assert standing(world, P0) == LEFT
    person(world, "new@example.org", "New", "Comer")
    converged(world, p0=LEFT, p1=JOINED, new=JOINED)
