"""What lies in deploy/ does what it says: queries run, proxies pass on what they should, containers are set right."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from syncd.config import load

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
SECRET_PATH = "/in/mail/154/unsubscribe/hook-secret"

FOR_OPERATORS = re.compile(r"/|/(livez|readyz|metrics|openapi\.json|docs|login|logout|act|contact|plan)(/.*)?")
"""Routes that ask nobody who they are, or only operators: a proxy passes on none of them."""


# The unit ------------------------------------------------------------------------------------------------------------


def test_every_line_of_the_sandbox_says_why_it_is_there() -> None:
    text = (DEPLOY / "systemd/syncd.service").read_text()
    lines = text[text.index("# The sandbox") : text.index("[Install]")].splitlines()
    settings = [at for at, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(settings) > 25
    assert [lines[at] for at in settings if not lines[at - 1].startswith("# ")] == []


# Datasette -----------------------------------------------------------------------------------------------------------


def test_every_query_for_datasette_runs_and_every_table_has_its_place(sqlite_template: Path) -> None:
    told = json.loads((DEPLOY / "datasette.json").read_text())["databases"]["mirror"]
    assert len(told["queries"]) >= 10
    with sqlite3.connect(f"file:{sqlite_template}?mode=ro", uri=True) as mirror:
        for name, query in told["queries"].items():
            assert query["title"]
            assert set(re.findall(r":(\w+)", query["sql"])) <= {"email"}, name
            mirror.execute(query["sql"], {"email": "ann@example.org"}).fetchall()
        there = dict(mirror.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall())
    mirror.close()
    views = {name for name, kind in there.items() if kind == "view"}
    tables = {name for name, kind in there.items() if kind == "table" and not name.startswith("sqlite_")}
    assert {name for name, about in told["tables"].items() if "description" in about} == views
    hidden = {name for name, about in told["tables"].items() if about.get("hidden")}
    assert hidden == tables, "what is no view is not shown: it may change with any release"


# Proxies -------------------------------------------------------------------------------------------------------------


class _Upstream(BaseHTTPRequestHandler):
    """Stands where the receiver would, and remembers what came."""

    seen: ClassVar[list[tuple[str, str, str | None]]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, self.headers.get("X-Forwarded-For")))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815  http.server's name

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    _Upstream.seen.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """The shipped file on a loopback port, without TLS, which needs a certificate; everything else as it is."""
    text = (DEPLOY / "nginx/syncd.conf").read_text()
    shipped = text.replace("127.0.0.1:8480", f"127.0.0.1:{upstream}").replace("/var/log/nginx/", f"{folder}/")
    shipped = re.sub(r"^ +listen \[::\]:.*\n|^ +ssl_.*\n", "", shipped, flags=re.MULTILINE)
    shipped = shipped.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    shipped = shipped.replace("listen 80;", f"listen 127.0.0.1:{_free_port()};")
    (folder / "syncd.conf").write_text(shipped)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/main.log; events {{}} http {{ {temporary}"
        f" access_log {folder}/access.log; include {folder}/syncd.conf; }}"
    )
    return [_program("nginx"), "-e", f"{folder}/main.log", "-c", f"{folder}/nginx.conf"]


def _caddy(folder: Path, port: int, upstream: int) -> list[str]:
    text = (DEPLOY / "caddy/Caddyfile").read_text()
    shipped = text.replace("127.0.0.1:8480", f"127.0.0.1:{upstream}")
    shipped = shipped.replace("sync.example.org {", f"http://127.0.0.1:{port} {{")
    shipped = shipped.replace("auto_https disable_redirects", "auto_https off\n\tadmin off")
    (folder / "Caddyfile").write_text(shipped)
    return [_program("caddy"), "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


def _ask(method: str, url: str, body: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _program(name: str) -> str:
    """Also where only root's path leads."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"there is no {name} here (apt-get install {name})")
    return found


@contextmanager
def _proxy(kind: str, folder: Path, upstream: int) -> Iterator[str]:
    port = _free_port()
    command = (_nginx if kind == "nginx" else _caddy)(folder, port, upstream)
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder)}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        until = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < until:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        assert process.poll() is None, (folder / "out").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.loopback
@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_proxy_passes_on_what_strangers_need_and_nothing_else(kind: str, tmp_path: Path, upstream: int) -> None:
    paths = list(json.loads((ROOT / "schemas/receiver.openapi.json").read_text())["paths"])
    public = [re.sub(r"\{\w+\}", "x", path) for path in paths if not FOR_OPERATORS.fullmatch(path)]
    assert len(public) >= 5
    private = ["/", "/metrics", "/livez", "/readyz", "/docs", "/openapi.json", "/login", "/act", "/plan/x", "/contact"]
    with _proxy(kind, tmp_path, upstream) as proxy:
        assert {path: _ask("POST", f"{proxy}{path}", b"{}") for path in public} == dict.fromkeys(public, 201)
        _Upstream.seen.clear()
        assert {path: _ask("GET", f"{proxy}{path}") for path in private} == dict.fromkeys(private, 404)
        assert _ask("GET", f"{proxy}/in/../metrics") == 404
        assert _Upstream.seen == []
        assert _ask("POST", f"{proxy}/in/leads/leads", b"x" * 400_000) == 413
        assert _ask("POST", f"{proxy}{SECRET_PATH}?email=ann@example.org", b"x" * 200_000) == 201
        assert _Upstream.seen[-1] == ("POST", f"{SECRET_PATH}?email=ann@example.org", "127.0.0.1")


@pytest.mark.loopback
@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_proxy_writes_down_neither_secrets_nor_addresses_even_where_it_fails(kind: str, tmp_path: Path) -> None:
    with _proxy(kind, tmp_path, _free_port()) as proxy:
        assert _ask("POST", f"{proxy}{SECRET_PATH}?email=ann@example.org", b"{}") == 502
        assert _ask("GET", f"{proxy}/metrics?email=ann@example.org") == 404
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"hook-secret" not in written
    assert b"ann@" not in written


@pytest.mark.loopback
def test_nginx_answers_too_many_requests_with_429(tmp_path: Path, upstream: int) -> None:
    with _proxy("nginx", tmp_path, upstream) as proxy:
        answers = [_ask("POST", f"{proxy}/unsubscribe/token") for _ in range(40)]
    assert answers[:20] == [201] * 20
    assert 429 in answers


def test_the_files_as_they_are_shipped_are_good(tmp_path: Path) -> None:
    """With their TLS: nginx wants to see a certificate, Caddy makes its own."""
    for tool in ("nginx", "caddy", "openssl"):
        _program(tool)
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=sync.example.org"]
    subprocess.run(
        [*made, "-keyout", tmp_path / "privkey.pem", "-out", tmp_path / "fullchain.pem"],
        check=True,
        capture_output=True,
    )
    text = (DEPLOY / "nginx/syncd.conf").read_text()
    text = text.replace("/etc/ssl/syncd", str(tmp_path)).replace("/var/log/nginx", str(tmp_path))
    (tmp_path / "syncd.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}} http {{ include {tmp_path}/syncd.conf; }}"
    )
    told = subprocess.run(
        [_program("nginx"), "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False
    )
    # nginx -t binds; where something listens on 443 already, that is no fault of the file.
    assert told.returncode == 0 or "Address already in use" in told.stderr, told.stderr
    caddy = [_program("caddy"), "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "caddy/Caddyfile")]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(caddy, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


# Containers ----------------------------------------------------------------------------------------------------------


def _compose() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())
    return told


def test_in_a_container_the_daemon_finds_its_settings_and_every_secret(tmp_path: Path) -> None:
    compose = _compose()
    service = compose["services"]["syncd"]
    for name in service["secrets"]:
        value = "postgresql+psycopg://syncd:secret@postgres/syncd" if name == "syncd_mirror__url" else "a-secret"
        (tmp_path / name).write_text(value)
    example = (DEPLOY / "syncd.toml.example").read_text()
    text = re.sub(r"^\w+_file = .*\n", "", example, flags=re.MULTILINE)
    text = text.replace(', password_file = "/etc/syncd/credentials/leads_password"', "")
    # The outbound connection is for whoever needs one, with a secret of its own.
    text = re.sub(r"^\[accounts\.partner\]\n(?:[^\[].*\n|\n)*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^partner = .*\n", "", text, flags=re.MULTILINE)
    file = tmp_path / "syncd.toml"
    file.write_text(text)
    assert service["environment"]["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    settings = load(file, {**service["environment"], "CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.mirror.url.startswith("postgresql+psycopg://syncd:")
    assert settings.receiver.listen == "0.0.0.0:8480"
    assert {name.split("__")[1] for name in service["secrets"] if "accounts" in name} == set(settings.accounts)


def test_a_container_may_no_more_than_the_unit_allows() -> None:
    compose = _compose()
    assert {name for one in compose["services"].values() for name in one["secrets"]} == set(compose["secrets"])
    for name in ("mirror", "syncd"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "ports" not in service or all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert compose["networks"]["inside"] == {"internal": True}
    assert compose["services"]["postgres"]["networks"] == ["inside"]


def test_the_image_is_made_of_what_is_there_and_runs_as_nobody() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    copied = [rest.split()[:-1] for step, rest in steps if step == "COPY" and not rest.startswith("--from")]
    assert {name for names in copied for name in names} >= {"syncd", "alembic", "schemas", "pyproject.toml", "uv.lock"}
    assert all((ROOT / name).exists() for names in copied for name in names)
    ignored = (DEPLOY / "docker/Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == {name for names in copied for name in names}
    assert [rest for step, rest in steps if step == "USER"] == ["10001"]
    assert json.loads(next(rest for step, rest in reversed(steps) if step == "CMD"))[0] == "run"
