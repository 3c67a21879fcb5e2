"""A desk: the program's own command line, four emulated providers behind it, a clock that stands still."""

from __future__ import annotations

import itertools
import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from jsonschema import Draft202012Validator
from sqlalchemy.engine import Engine

from syncd.app import Outside
from syncd.cli import main
from syncd.emulators.emulator import Emulator
from syncd.emulators.http import HttpEmulator
from syncd.emulators.rocketresponder import RocketResponderEmulator
from syncd.emulators.rocs import RocsEmulator
from syncd.emulators.rokt import RoktEmulator
from syncd.emulators.salesrocks import SalesRocksEmulator
from syncd.store import journal
from syncd.store.session import open_engine, writing
from tests.emulated import transport_for
from tests.world import CONFIG, hasty

SCHEMAS = Path(__file__).parents[2] / "schemas" / "cli"


@cache
def validator(name: str) -> Draft202012Validator:
    """The published shape; here also nothing that was not published may be printed."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(closed(schema), format_checker=Draft202012Validator.FORMAT_CHECKER)


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return inner | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


@dataclass
class Done:
    """What one command did."""

    code: int
    out: str
    err: str

    def data(self, name: str) -> Any:
        """What was printed, which must be exactly one line of JSON of the published shape."""
        assert self.out.count("\n") == 1, self.out
        printed = json.loads(self.out)
        validator(name).validate(printed)
        return printed


class Desk:
    def __init__(self, url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.at = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        self.rocs = RocsEmulator(self.now, base_url="http://127.0.0.1:8701", resource="https://api.msp-cloud.com")
        self.sales = SalesRocksEmulator(self.now, base_url="http://127.0.0.1:8702")
        self.mail = RocketResponderEmulator(self.now, base_url="http://127.0.0.1:8703/api")
        self.mail.double_opt_in = False
        self.rokt = RoktEmulator(self.now, base_url="http://127.0.0.1:8704")
        self.partner = HttpEmulator(self.now, base_url="http://127.0.0.1:8705")
        self.emulators: dict[str, Emulator] = {
            "127.0.0.1:8701": self.rocs,
            "127.0.0.1:8702": self.sales,
            "127.0.0.1:8703": self.mail,
            "127.0.0.1:8704": self.rokt,
            "127.0.0.1:8705": self.partner,
        }
        self.rocs.add_list("L-1", "Newsletter")
        self.sales_list = self.sales.add_list("Newsletter")
        self.mail.add_list("Newsletter", lid="154")
        self.url = url
        self.folder = folder
        self.config = folder / "syncd.toml"
        self._capsys = capsys
        self._ids = itertools.count(1)
        self.configure()

    def now(self) -> datetime:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def configure(self, *, first_sync: str = "go", more: str = "", **given: Any) -> None:
        keys = {"max_count": 20, "on_unsubscribe": "remove", "on_absence": "ignore"} | given
        text = CONFIG.format(url=self.url, first_sync=first_sync, sales_list=self.sales_list, **keys)
        self.config.write_text(text + more)
        self.config.chmod(0o600)

    @property
    def outside(self) -> Outside:
        return Outside(
            now=self.now,
            jitter=lambda: 0.5,
            new_id=lambda: f"id-{next(self._ids):08d}",
            transport=transport_for(self.emulators),
            read_backoff_s=0.001,
            engine_for=hasty,
        )

    def run(self, *arguments: str) -> Done:
        """One command, as typed, on this desk's configuration."""
        return self.run_bare(*arguments, "--config", str(self.config))

    def run_bare(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = main(arguments, self.outside)
        out, err = self._capsys.readouterr()
        return Done(code, out, err)

    def data(self, *arguments: str) -> Any:
        """What a command prints with `--json`, held against its schema, which is named for the command."""
        words = list(itertools.takewhile(lambda word: word.isalpha() and word.islower(), arguments))
        deep = words[0] in {"config", "db", "inspect", "account", "parked", "list", "leads", "connection"}
        return self.run(*arguments, "--json").data("-".join(words[: 2 if deep else 1]))

    def data_of_status(self) -> Any:
        """The status, whatever its exit code."""
        return self.run("status", "--json").data("status")

    def customer(self, email: str, first: str = "Ann", last: str = "Lee") -> str:
        """A customer at ROCS who is on the newsletter there."""
        customer = self.rocs.add_customer(email, first, last)
        self.rocs.add_member("L-1", customer)
        return customer


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Commands set up logging for their whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    random.seed(0)  # stamina draws its jitter from here
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def desk(migrated_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Once on each engine."""
    return Desk(migrated_url, tmp_path, capsys)


@pytest.fixture
def small(sqlite_template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """On SQLite alone: for what no engine can change."""
    shutil.copyfile(sqlite_template, tmp_path / "small.db")
    return Desk(f"sqlite:///{tmp_path / 'small.db'}", tmp_path, capsys)


@pytest.fixture
def another_holder() -> Iterator[Callable[[Desk], Engine]]:
    """Another process that works on the mirror of a desk."""
    engines: list[Engine] = []

    def hold(desk: Desk) -> Engine:
        engine = open_engine(desk.url)
        engines.append(engine)
        with writing(engine) as connection:
            assert journal.take_mirror(connection, "daemon/1", desk.at, 3600) is not None
        return engine

    yield hold
    for engine in engines:
        engine.dispose()
