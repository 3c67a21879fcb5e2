"""What every test stands on: fresh mirrors on both engines, fixed time and seed, no way out, no silent skip."""

from __future__ import annotations

import gc
import ipaddress
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.canary import CANARY, Canary, summed

if TYPE_CHECKING:
    from tests.postgres import Postgres

DEFAULT_SEED = 20261121

settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
# Where a change is to land, the same change gets the same answer; everywhere else each run looks somewhere new.
settings.register_profile("deterministic", settings.get_profile("dev"), derandomize=True, database=None)
settings.register_profile("soak", settings.get_profile("dev"), max_examples=5000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("deterministic" if os.environ.get("CI") else "dev")
settings.load_profile(PROFILE)


# Mirrors


@pytest.fixture(params=["sqlite", "postgres"])
def mirror_kind(request: pytest.FixtureRequest) -> str:
    """A test that asks for this, or for a mirror, runs once on each engine."""
    kind: str = request.param
    return kind


@pytest.fixture
def mirror_url(mirror_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, empty database of this test alone."""
    if mirror_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'mirror.db'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def migrated_url(mirror_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database of this test alone, migrated to head: a copy of one that is migrated once in a run."""
    if mirror_kind == "sqlite":
        copy = tmp_path / "migrated.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), copy)
        yield f"sqlite:///{copy}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.create(template=request.getfixturevalue("postgres_template"))
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for each worker, started by the first test that needs it. Never skipped: without one they fail."""
    from tests.postgres import serve  # heavy, and most tests need no mirror

    server = serve()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from syncd.store.session import upgrade

    path = tmp_path_factory.mktemp("template") / "migrated.db"
    upgrade(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    # Everything into the one file that is copied.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    from syncd.store.session import upgrade

    url = postgres.create()
    upgrade(url)
    return url


# Time and chance


@pytest.fixture(scope="session")
def at() -> datetime:
    """The moment at which tests that need one moment take place."""
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def seed_base(pytestconfig: pytest.Config) -> int:
    """The number from which a simulation derives all its chances; a failure prints it, `--seed` sets it."""
    seed: int = pytestconfig.getoption("seed")
    return seed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, default=DEFAULT_SEED, metavar="N", help="where simulations begin their chances"
    )


def pytest_collection_finish() -> None:
    """What is imported by now stays, so no collection need look at it; nor at what tests drop as often as usual: that
    takes a fifteenth of their time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_report_header(config: pytest.Config) -> str:
    return f"syncd: --seed {config.getoption('seed')}, Hypothesis profile {PROFILE}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and "seed_base" in getattr(item, "fixturenames", ()):
        seed = item.config.getoption("seed")
        report.sections.append(("Seed", f"the same again: pytest --seed {seed} '{item.nodeid}'"))
    return report


# No way out of the machine, nothing of its owner's in


class OutsideError(AssertionError):
    """A test reached for something beyond loopback. Not an OSError: code under test would take it for an outage."""


class LoopbackOnly:
    """Guards the sockets of this process. What was attempted stays on record, however the code took the refusal."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, self._guarded(getattr(socket.socket, name)))
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            self._refuse_name(host)
            return resolve(host, *args, **kwargs)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)

    def _guarded(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(this: socket.socket, *args: Any) -> Any:
            address = args[-1]
            if this.family in {socket.AF_INET, socket.AF_INET6} and not _loopback(address[0]):
                self._refuse(f"{original.__name__} to {address[0]}")
            return original(this, *args)

        return call

    def _refuse_name(self, host: Any) -> None:
        text = host.decode() if isinstance(host, bytes) else host
        if text and not _loopback(text) and not _address(text):
            self._refuse(f"look-up of {text}")

    def _refuse(self, what: str) -> None:
        self.attempts.append(what)
        raise OutsideError(f"tests stay on this machine: {what}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Some tests read the log, others send it elsewhere. What none does is looked through, see `tests/canary.py`."""
    yield
    structlog.reset_defaults()
    CANARY.listen()


# Nobody in what is emitted


@pytest.fixture(scope="session", autouse=True)
def canary() -> Iterator[Canary]:
    with CANARY.watching():
        yield CANARY


@pytest.fixture(autouse=True)
def _nobody_in_what_is_emitted(canary: Canary) -> Iterator[None]:
    yield
    if found := canary.look():
        pytest.fail(f"{len(found)} times a person or a secret: {found[0]}", pytrace=False)


class Emitted:
    """Sums up what all processes of the run looked through, and fails it where the end of one still had a canary."""

    def __init__(self) -> None:
        self.outputs: list[Mapping[str, int]] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.outputs += [output["canary"] for output in [getattr(node, "workeroutput", {})] if "canary" in output]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.outputs.append(looked(CANARY))
        if any(output["hits"] for output in self.outputs) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(summed(self.outputs))


def looked(canary: Canary) -> dict[str, int]:
    canary.look()
    return {"pieces": canary.pieces, "bytes": canary.bytes, "hits": canary.hits}


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["canary"] = looked(CANARY)


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[LoopbackOnly]:
    guard = LoopbackOnly()
    with pytest.MonkeyPatch.context() as patch:
        guard.install(patch)
        yield guard


@pytest.fixture(autouse=True)
def _nothing_reached_outside(loopback_only: LoopbackOnly) -> Iterator[None]:
    yield
    attempts, loopback_only.attempts[:] = list(loopback_only.attempts), []
    if attempts:
        pytest.fail(f"reached for the outside: {', '.join(attempts)}", pytrace=False)


# Nothing past the schemas


@pytest.fixture(autouse=True)
def _nothing_beside_the_schemas(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    witness = sys.modules.get("tests.schemas")  # heavy, and most tests call no provider
    if witness is not None and witness.VIOLATIONS:
        found, witness.VIOLATIONS[:] = list(witness.VIOLATIONS), []
        if request.node.get_closest_marker("beside_the_schemas") is None:
            pytest.fail(f"{len(found)} calls beside the schemas: {found[0]}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    # Settings of syncd, or of libpq, that whoever runs the tests has for a real installation.
    for name in [n for n in os.environ if n.startswith(("SYNCD_", "PG")) and n != "SYNCD_TEST_POSTGRES"]:
        del os.environ[name]
    if not hasattr(config, "workerinput"):  # the one process that sees every report
        config.pluginmanager.register(Skips(), "syncd-skips")
        config.pluginmanager.register(Emitted(), "syncd-emitted")


# No silent skip


class Skips:
    """Counts what did not run; a skip (or an expected failure) that does not say why fails the run."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexplained and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.reasons:
            terminalreporter.section(f"{len(self.reasons)} skipped, {len(self.unexplained)} without a reason")
        for node in self.unexplained:
            terminalreporter.write_line(f"FAILED (skipped without a reason) {node}", red=True)

    @property
    def unexplained(self) -> list[str]:
        return sorted(node for node, reason in self.reasons.items() if not reason)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped:
            return
        expected_failure = getattr(report, "wasxfail", None)
        if expected_failure is not None:
            reason = expected_failure.removeprefix("reason: ")
        else:
            said = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
            reason = said.removeprefix("Skipped").removeprefix(": ")
        # What pytest itself fills in where the test says nothing.
        generic = reason == "unconditional skip" or reason.startswith("condition: ")
        self.reasons[report.nodeid] = "" if generic else reason.strip()
