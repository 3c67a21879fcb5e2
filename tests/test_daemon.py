"""The daemon over emulators, with its receiver on a real loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog

from syncd.app import App, Outside, wall_clock
from syncd.config import load
from syncd.daemon import PACE, Pace, _Daemon, _listening, address_of, notify, run_until_signalled, serve
from syncd.domain.errors import ConfigurationError, MirrorError, UnavailableError
from syncd.domain.identity import Identity
from syncd.domain.records import Delivery
from syncd.emulators.emulator import FaultKind
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.store import journal, meters
from syncd.store.session import reading, writing
from syncd.sync import cycle, one_click
from syncd.sync.ingest import UNSUBSCRIBES, accept, unsubscribe
from tests.emulated import transport_for
from tests.world import CONFIG, hasty

pytestmark = pytest.mark.loopback

FAST = replace(PACE, tick_s=0.05, keep_s=0.1, drain_s=0.5, pause_s=0.05, pause_max_s=0.2, register_again_s=0.1)
AUTH = httpx.BasicAuth("rokt", "rokt-secret")
ANN = {"email": "ann@example.org"}
DEADLINE_S = 30.0


class Gate(httpx.AsyncBaseTransport):
    """The emulators, of which one may be made to hang."""

    def __init__(self, inner: httpx.MockTransport) -> None:
        self._inner = inner
        self.hanging = ""
        self.hung = 0
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.urls.append(str(request.url))
        if self.hanging and self.hanging in str(request.url):
            self.hung += 1
            await asyncio.Event().wait()
        return await self._inner.handle_async_request(request)


class Scene:
    """Four providers that know Ann and Bob, and the settings of one syncd."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.rocs = RocsEmulator(wall_clock, resource="https://api.msp-cloud.com")
        self.sales = SalesRocksEmulator(wall_clock)
        self.mail = RocketResponderEmulator(wall_clock)
        self.mail.double_opt_in = False
        self.rokt = RoktEmulator(wall_clock)
        self.rocs.add_list("L-1", "Newsletter")
        self.sales_list = self.sales.add_list("Newsletter")
        self.mail.add_list("Newsletter", lid="154")
        for email in ("ann@example.org", "bob@example.org"):
            self.rocs.add_member("L-1", self.rocs.add_customer(email))
        self.gate = Gate(
            transport_for(
                {
                    "127.0.0.1:8701": self.rocs,
                    "127.0.0.1:8702": self.sales,
                    "127.0.0.1:8703": self.mail,
                    "127.0.0.1:8704": self.rokt,
                }
            )
        )
        self._path = folder / "syncd.toml"
        self._path.write_text(
            CONFIG.format(
                url=url,
                first_sync="go",
                max_count=20,
                on_unsubscribe="remove",
                on_absence="ignore",
                sales_list=self.sales_list,
            )
        )
        self.apps: list[App] = []

    def app(self, *, interval: str = "1h", **environ: str) -> App:
        given = {
            "SYNCD_MIRROR__URL": self.url,
            "SYNCD_RECEIVER__LISTEN": "127.0.0.1:0",
            "SYNCD_SCHEDULE__INTERVAL": interval,
            "SYNCD_SCHEDULE__SETTLE": "0s",
        }
        app = App(
            load(self._path, given | environ), Outside(transport=self.gate, read_backoff_s=0.001, engine_for=hasty)
        )
        self.apps.append(app)
        return app

    @property
    def in_mail(self) -> dict[str, str]:
        return {email: one.status for (_, email), one in self.mail.subscribers.items()}

    @property
    def in_sales(self) -> set[str]:
        return {row["email"] for row in self.sales.contacts_of(self.sales_list)}

    @property
    def in_rocs(self) -> dict[str, str]:
        return {member.email: member.status for member in self.rocs.lists["L-1"].members.values()}

    def everywhere(self, email: str) -> bool:
        return email in self.in_sales and self.in_mail.get(email, "").lower() not in {"", "unsubscribed"}

    def nowhere(self, email: str) -> bool:
        return (
            email not in self.in_sales
            and self.in_mail.get(email, "unsubscribed").lower() == "unsubscribed"
            and self.in_rocs.get(email, "unsubscribed") == "unsubscribed"
        )


@pytest.fixture
def scene(sqlite_template: Path, tmp_path: Path) -> Iterator[Scene]:
    copy = tmp_path / "mirror.db"
    copy.write_bytes(sqlite_template.read_bytes())
    found = Scene(f"sqlite:///{copy}", tmp_path)
    yield found
    for app in found.apps:
        app.engine.dispose()


@pytest.fixture
def scene_on_both(migrated_url: str, tmp_path: Path) -> Iterator[Scene]:
    found = Scene(migrated_url, tmp_path)
    yield found
    for app in found.apps:
        app.engine.dispose()


class Running:
    def __init__(self, app: App, address: str, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.app = app
        self.address = address
        self.stop = stop
        self.task = task

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, trust_env=False, timeout=DEADLINE_S)

    async def says_no(self, person: dict[str, str]) -> httpx.Response:
        async with self.client() as client:
            return await client.post("/in/leads/unsubscribes", json=person, auth=AUTH)


@contextlib.asynccontextmanager
async def running(app: App, pace: Pace = FAST) -> AsyncIterator[Running]:
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, stop=stop, ready=address.set_result, pace=pace))
    waited: set[asyncio.Future[Any]] = {task, address}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    if task.done():
        await task
    try:
        yield Running(app, await address, stop, task)
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=DEADLINE_S)
        await app.aclose()
    await task


async def until(condition: Callable[[], Any], what: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not condition():
        assert loop.time() < deadline, f"in {DEADLINE_S:.0f} s not: {what}"
        await asyncio.sleep(0.01)


def rows(app: App, query: str) -> list[dict[str, Any]]:
    with reading(app.engine) as connection:
        return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


def quiet(app: App) -> bool:
    """Every first round is over, and nobody works anywhere."""
    ended = {row["account"] for row in rows(app, "SELECT account FROM run WHERE ended_at IS NOT NULL")}
    return ended == set(app.context.lanes) and not any(lane.lock.locked() for lane in app.context.lanes.values())


# Keeping everything in step ------------------------------------------------------------------------------------------


async def test_what_is_known_at_one_provider_comes_to_the_others_and_so_does_a_no(scene_on_both: Scene) -> None:
    scene = scene_on_both
    async with running(scene.app(interval="100ms")):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        scene.rocs.unsubscribe_member("L-1", "ann@example.org")
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
    assert scene.everywhere("bob@example.org")
    assert "ann@example.org" in scene.rokt.unsubscribed


async def test_a_delivery_is_pushed_at_once_and_not_at_the_next_interval(scene_on_both: Scene) -> None:
    scene = scene_on_both
    async with running(scene.app(interval="1h"), replace(FAST, tick_s=3600)) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        answer = await daemon.says_no(ANN)
        assert answer.status_code == 201
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
        assert scene.everywhere("bob@example.org")


async def test_a_click_is_pushed_at_once(scene: Scene) -> None:
    app = scene.app()
    token = one_click.make_token(one_click.signing_key(app.engine), Identity("ann@example.org"))
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        async with daemon.client() as client:
            assert (await client.get(f"/unsubscribe/{token}")).status_code == 200
            assert scene.everywhere("ann@example.org")
            assert (await client.post(f"/unsubscribe/{token}")).status_code == 200
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")


async def test_what_falls_due_is_done_without_anybody_asking(scene: Scene) -> None:
    app = scene.app()
    async with running(app):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        # As a command in another process would.
        unsubscribe(app.context, "ann@example.org", source="operator", evidence="called us")
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")


async def test_what_was_taken_in_before_a_stop_is_worked_on_after_the_next_start(scene: Scene) -> None:
    async with running(scene.app()):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
    app = scene.app()
    headers = {"content-type": "application/json", "authorization": "Basic cm9rdDpyb2t0LXNlY3JldA=="}
    body = b'{"email":"ann@example.org"}'
    accept(app.context.lanes["leads"], app.context, Delivery(UNSUBSCRIBES, "POST", headers, (), body, wall_clock()))
    async with running(app):
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")


# Invariants ----------------------------------------------------------------------------------------------------------


async def test_a_breach_is_found_by_itself_shown_in_the_metrics_and_lifted(scene: Scene) -> None:
    app = scene.app(SYNCD_SCHEDULE__CHECK_EVERY="50ms")
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        await until(lambda: "full_at" in value(app, "check"), "a first check, which is full")
        with writing(app.engine) as connection:
            connection.execute(sa.text("UPDATE container SET rows = rows + 1 WHERE container = 'L-1'"))
        await until(lambda: "counts-agree" in value(app, "broken"), "it is found")
        async with daemon.client() as client:
            assert "syncd_invariant_breaches 1" in (await client.get("/metrics")).text
            assert "counts-agree" in (await client.get("/")).text
        await daemon.says_no(ANN)
        await until(lambda: scene.nowhere("ann@example.org"), "Ann is nowhere")
        with writing(app.engine) as connection:
            connection.execute(sa.text("UPDATE container SET rows = rows - 1 WHERE container = 'L-1'"))
        await until(lambda: value(app, "broken") == "{}", "it is whole again")


async def test_checks_go_by_the_clock_and_not_by_starts(scene: Scene) -> None:
    async with running(scene.app()) as daemon:
        await until(lambda: value(daemon.app, "check"), "a first check")
        first = value(daemon.app, "check")
    async with running(scene.app()) as daemon:
        await until(lambda: quiet(daemon.app), "it is quiet")
        assert value(daemon.app, "check") == first


def value(app: App, key: str) -> str:
    with reading(app.engine) as connection:
        return journal.get_value(connection, key) or ""


# Nobody waits for another --------------------------------------------------------------------------------------------


async def test_an_account_that_hangs_keeps_no_other_waiting(scene: Scene) -> None:
    people = [f"p{number}@example.org" for number in range(8)]
    for email in people:
        scene.rocs.add_member("L-1", scene.rocs.add_customer(email))
    async with running(scene.app(interval="300ms")) as daemon:
        await until(lambda: all(scene.everywhere(email) for email in people), "all are everywhere")
        scene.gate.hanging = "127.0.0.1:8702"
        await until(lambda: scene.gate.hung, "a call hangs")
        for email in people:  # more than there are accounts, one after the other
            await daemon.says_no({"email": email})
            await until(lambda: scene.in_rocs[email] == "unsubscribed", "ROCS knows")  # noqa: B023  awaited at once
            await until(lambda: scene.in_mail[email].lower() == "unsubscribed", "RocketResponder knows")  # noqa: B023
        scene.rocs.add_member("L-1", scene.rocs.add_customer("new@example.org"))
        await until(lambda: "new@example.org" in scene.in_mail, "ROCS is still read")
        assert scene.in_sales >= set(people)
        scene.gate.hanging = ""


async def test_a_fault_in_one_account_is_written_down_and_stops_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = scene.app(interval="50ms")

    def broken() -> Any:
        raise RuntimeError("ann@example.org is at fault")

    monkeypatch.setattr(app.context.lanes["sales"].provider, "containers", broken)
    with structlog.testing.capture_logs() as lines:
        async with running(app):
            await until(lambda: scene.in_mail.get("ann@example.org"), "Ann is at RocketResponder")
            await until(
                lambda: sum(line["event"] == "account.fault" for line in lines) >= 2, "it was tried more than once"
            )
    faults = [line for line in lines if line["event"] == "account.fault"]
    assert {(line["account"], line["error"]) for line in faults} == {("sales", "RuntimeError")}
    assert not [line for line in lines if line["event"] == "daemon.broke"]
    assert "ann@" not in str(lines)


async def test_a_provider_that_is_away_is_not_called_at_every_tick(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = 0
    look = meters.anything_due

    def counted(*given: Any) -> bool:
        nonlocal ticks
        ticks += 1
        return look(*given)

    monkeypatch.setattr(meters, "anything_due", counted)
    async with running(scene.app(interval="1h")) as daemon:
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        scene.mail.fault_kinds, scene.mail.fault_rate = (FaultKind.NO_CONNECTION,), 1.0
        await daemon.says_no(ANN)
        await until(lambda: scene.in_rocs["ann@example.org"] == "unsubscribed", "ROCS knows")
        await until(
            lambda: rows(daemon.app, "SELECT 1 AS x FROM account WHERE name = 'mail' AND state = 'failing'"), "it fails"
        )
        calls = 0

        def ticks_without_a_call() -> int:
            nonlocal ticks, calls
            if calls != len(scene.gate.urls):  # between two passes of a round nothing is locked, and more is to come
                ticks, calls = 0, len(scene.gate.urls)
            return ticks

        await until(lambda: ticks_without_a_call() > 10, "some ticks have passed, and nobody was called")


async def test_nothing_is_sent_to_an_account_that_a_person_paused(scene: Scene) -> None:
    app = scene.app()
    async with running(app) as daemon:
        await until(lambda: scene.everywhere("ann@example.org") and quiet(app), "Ann is everywhere")
        with writing(app.engine) as connection:
            journal.update_account(connection, "mail", state="paused")
        calls = len(scene.mail.calls)
        await daemon.says_no(ANN)
        await until(lambda: scene.in_rocs["ann@example.org"] == "unsubscribed", "ROCS knows")
        await until(lambda: "ann@example.org" not in scene.in_sales, "Sales.Rocks knows")
    assert len(scene.mail.calls) == calls


# One process for a mirror --------------------------------------------------------------------------------------------


async def test_a_second_daemon_says_who_has_the_mirror_and_touches_nothing(scene: Scene) -> None:
    app = scene.app()
    with writing(app.engine) as connection:
        journal.take_mirror(connection, "elsewhere/17", wall_clock(), 60)
    with pytest.raises(MirrorError, match="elsewhere/17") as refused:
        await serve(app, stop=asyncio.Event(), pace=FAST)
    assert refused.value.hint
    assert scene.rocs.calls == []
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock()) == "elsewhere/17"
    await app.aclose()


async def test_a_daemon_that_loses_the_mirror_stops_at_once(scene: Scene) -> None:
    app = scene.app()

    async def robbed() -> None:
        async with running(app) as daemon:
            with writing(app.engine) as connection:
                connection.execute(sa.text("UPDATE holder SET token = token + 1, who = 'elsewhere/17'"))
            await until(daemon.task.done, "it stopped")

    with pytest.raises(MirrorError, match="taken over"):
        await robbed()
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock()) == "elsewhere/17", "its hold is not ended by us"


async def test_the_hold_is_renewed_and_left_at_the_end(scene: Scene) -> None:
    app = scene.app()

    def held_until() -> Any:
        return rows(app, "SELECT until FROM holder")[0]["until"]

    async with running(app):
        first = held_until()
        await until(lambda: held_until() > first, "it was renewed")
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock() + timedelta(seconds=1)) is None


# What people ask for -------------------------------------------------------------------------------------------------


async def test_a_round_that_somebody_asks_for_is_done_and_answered(scene: Scene) -> None:
    app = scene.app()
    async with running(app):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
        scene.rocs.add_member("L-1", scene.rocs.add_customer("cat@example.org"))
        with writing(app.engine) as connection:
            journal.ask_for_round(connection, "wish-1", ["crm"], False, wall_clock())
            journal.ask_for_round(connection, "wish-2", ["nobody"], False, wall_clock())

        def answered(wish: str) -> dict[str, Any] | None:
            with reading(app.engine) as connection:
                return journal.round_outcome(connection, wish)

        await until(lambda: answered("wish-1") and answered("wish-2"), "both are answered")
        done, refused = answered("wish-1"), answered("wish-2")
        assert scene.everywhere("cat@example.org")
    assert done is not None
    assert {entry["account"]: entry["result"] for entry in done["accounts"]}["crm"] == "success"
    assert refused == {"error": "no such account: nobody"}


async def test_a_round_that_breaks_is_answered_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    app = scene.app()
    async with running(app):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")

        def broken(*_: Any) -> Any:
            raise RuntimeError

        monkeypatch.setattr(cycle, "ingest", broken)
        with writing(app.engine) as connection:
            journal.ask_for_round(connection, "wish", [], False, wall_clock())

        def outcome() -> dict[str, Any] | None:
            with reading(app.engine) as connection:
                return journal.round_outcome(connection, "wish")

        await until(outcome, "it is answered")
        assert "error" in (outcome() or {})


# Webhooks ------------------------------------------------------------------------------------------------------------


async def test_the_webhook_is_registered_at_the_start_and_a_failure_is_tried_again(scene: Scene) -> None:
    scene.rocs.faults.clear()
    app = scene.app(SYNCD_RECEIVER__PUBLIC_URL="https://sync.example.org")
    register = app.context.lanes["crm"].provider.register  # type: ignore[attr-defined]
    tries = 0

    def failing_once(callback_url: str) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise UnavailableError("crm: post-webhooks: answered 503", call="post-webhooks")
        return register(callback_url)

    app.context.lanes["crm"].provider.register = failing_once  # type: ignore[attr-defined]
    with structlog.testing.capture_logs() as lines:
        async with running(app):
            await until(lambda: scene.rocs.registrations, "it is registered")
    assert [one.url for one in scene.rocs.registrations.values()] == ["https://sync.example.org/in/crm/webhook"]
    assert [line["account"] for line in lines if line["event"] == "webhook.not_registered"] == ["crm"]


async def test_a_registration_that_is_lost_there_or_has_an_old_secret_is_made_anew(scene: Scene) -> None:
    scene.rocs.faults.clear()
    public = {"SYNCD_RECEIVER__PUBLIC_URL": "https://sync.example.org", "SYNCD_SCHEDULE__REGISTER_EVERY": "100ms"}

    def secrets() -> list[str]:
        return [one.secret for one in scene.rocs.registrations.values()]

    async with running(scene.app(**public)):
        await until(lambda: secrets() == ["hook-secret"], "it is registered")
        scene.rocs.registrations.clear()
        await until(lambda: secrets() == ["hook-secret"], "it is registered anew")
    rotated = {"SYNCD_ACCOUNTS__CRM__WEBHOOK_SECRET": "newer\nhook-secret"}
    async with running(scene.app(**(public | rotated))):
        await until(lambda: secrets() == ["newer"], "it is registered with the new secret")
    posts = [call for call in scene.rocs.calls if call.method == "POST" and call.path == "/webhooks"]
    assert len(posts) == 3


async def test_no_webhook_is_registered_without_an_address_to_send_to(scene: Scene) -> None:
    async with running(scene.app()):
        await until(lambda: scene.everywhere("ann@example.org"), "Ann is everywhere")
    assert scene.rocs.registrations == {}


# Start and stop ------------------------------------------------------------------------------------------------------


async def test_the_receiver_answers_over_http_and_says_nothing_of_its_server(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    async with running(scene.app()) as daemon, daemon.client() as client:
        alive = await client.get("/livez")
        ready = await client.get("/readyz")
        page = await client.get("/")
        large = await client.post("/in/leads/leads", content=endless(), auth=AUTH)
        head = await client.head("/")
    assert (alive.status_code, ready.json(), page.status_code) == (200, {"ready": True}, 200)
    assert large.status_code == 413
    assert (head.status_code, head.content) == (200, b"")
    assert "server" not in alive.headers
    assert not [record for record in caplog.records if "livez" in record.getMessage()]


async def test_it_stops_when_asked_and_closes_the_door(scene: Scene) -> None:
    async with running(scene.app(interval="100ms")) as daemon, daemon.client() as client:
        await client.get("/livez")
        daemon.stop.set()
        await asyncio.wait_for(daemon.task, DEADLINE_S)
        with pytest.raises(httpx.ConnectError):
            async with daemon.client() as another:
                await another.get("/livez")
    assert not rows(scene.app(), "SELECT id FROM run WHERE result = 'running'")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_and_is_given_back(scene: Scene, number: signal.Signals) -> None:
    app, before, lived = scene.app(), signal.getsignal(number), []

    def ready(address: str) -> None:
        lived.append(address)
        assert signal.getsignal(number) != before, "or this would end the tests"
        os.kill(os.getpid(), number)

    await asyncio.wait_for(run_until_signalled(app, ready=ready), DEADLINE_S)
    assert len(lived) == 1
    assert signal.getsignal(number) in {before, signal.default_int_handler}
    await app.aclose()


@pytest.mark.parametrize("steps", range(4))
async def test_a_stop_is_not_lost_to_something_that_comes_in_with_it(scene: Scene, steps: int) -> None:
    daemon = _Daemon(scene.app(), FAST)
    task = asyncio.create_task(daemon._came(60.0))
    await asyncio.sleep(0.01)
    daemon._came_in.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if task.done():
        return  # it came in before the stop
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_a_round_that_takes_too_long_is_cut_off_and_known_as_such(scene: Scene) -> None:
    app = scene.app()
    scene.gate.hanging = "127.0.0.1:8702"
    async with running(app) as daemon:
        await until(lambda: scene.gate.hung, "a call hangs")
        daemon.stop.set()
        await asyncio.wait_for(daemon.task, DEADLINE_S)
    cut_off = {row["account"]: row["result"] for row in rows(scene.app(), "SELECT account, result FROM run")}
    assert cut_off["sales"] == "aborted"


async def test_a_round_under_way_may_end_before_the_stop(scene: Scene) -> None:
    app = scene.app()
    scene.gate.hanging = "127.0.0.1:8702"
    ended = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        if "8702" in str(request.url):
            scene.gate.hung += 1
            await ended.wait()
        return await Gate.handle_async_request(scene.gate, request)

    scene.gate.hanging = ""
    scene.gate.handle_async_request = slow  # type: ignore[method-assign]
    async with running(app, replace(FAST, drain_s=DEADLINE_S)) as daemon:
        await until(lambda: scene.gate.hung, "a call takes its time")
        daemon.stop.set()
        async with asyncio.timeout(DEADLINE_S):
            while not daemon.task.done():
                ended.set()
                await asyncio.sleep(0.01)
    results = {row["account"]: row["result"] for row in rows(scene.app(), "SELECT account, result FROM run")}
    assert results["sales"] == "success"


async def test_once_it_stops_it_is_not_ready(scene: Scene) -> None:
    app = scene.app()
    assert app.take()
    daemon, stop = _Daemon(app, FAST), asyncio.Event()

    async def readiness() -> httpx.Response:
        transport = httpx.ASGITransport(app=daemon._receiver())
        async with httpx.AsyncClient(transport=transport, base_url="http://syncd.test") as client:
            return await client.get("/readyz")

    assert (await readiness()).status_code == 200
    stop.set()
    with _listening(app.settings.receiver) as sock:
        await daemon.serve(sock, stop, None)
    assert (await readiness()).json() == {"ready": False, "reason": "syncd is stopping"}
    await app.aclose()


async def test_an_address_in_use_is_a_fault_of_the_configuration(scene: Scene) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        host, port = taken.getsockname()
        app = scene.app(SYNCD_RECEIVER__LISTEN=f"{host}:{port}")
        with pytest.raises(ConfigurationError) as refused:
            await serve(app, stop=asyncio.Event(), pace=FAST)
    assert [problem.where for problem in refused.value.problems] == ["receiver.listen"]
    with reading(app.engine) as connection:
        assert journal.holding(connection, wall_clock() + timedelta(seconds=1)) is None
    await app.aclose()


async def test_systemd_is_told_of_start_and_stop(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with running(scene.app()) as daemon:
            assert systemd.recv(1000).decode() == f"READY=1\nSTATUS=4 accounts; {daemon.address}"
        assert systemd.recv(1000).decode() == "STOPPING=1"


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody listens"))
    notify("READY=1")


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            sock.bind(("::", 0))
        assert address_of(sock).startswith("http://[::")
