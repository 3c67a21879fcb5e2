"""What is written for people holds: every command runs, every name is there, every word is explained."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.cli import main
from syncd.cli.exits import Exit
from syncd.config import Settings, load
from syncd.domain.changes import ChangeKind
from syncd.domain.facts import Capabilities, Grade
from syncd.providers.protocol import capabilities_of
from syncd.providers.registry import REGISTRY, provider_for
from syncd.reconcile.convergence import Condition
from syncd.reconcile.guard import Hold
from syncd.reconcile.person import OpState
from syncd.settings import LIST_KEYS, SECTIONS
from syncd.store.invariants import INVARIANTS
from syncd.store.tables import AccountRow

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MIRROR = (ROOT / "docs/mirror.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

EXEMPT = {
    "make demo": "tests/test_demo.py runs the command behind it, to its end",
    "make test": "CI runs it (.ci/run): it is what runs this test",
    "make env": "CI runs it: every target begins with it",
    ".uv/bin/uv build --wheel": "it needs the package index, which tests do not reach; nothing of syncd runs in it",
}
"""Lines of code blocks that are not run here, each with the reason."""

MAY_WAIT = {"sync": {0, 3, 4}, "plan": {0, 4}, "status": {0, 3, 4}, "unsubscribe": {0, 3}}
"""Commands whose exit code tells how things stand; all others must end with 0."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def lines_of(text: str) -> list[str]:
    """The commands of all blocks, without what is said behind a #."""
    lines = [line for block in blocks(text, "(?:sh|console)") for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def table_under(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without their header."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return rows[2:]


def words_under(text: str, heading: str) -> set[str]:
    return {row[0].strip("`") for row in table_under(text, heading)}


# README --------------------------------------------------------------------------------------------------------------


@contextmanager
def served(*providers: str) -> Iterator[str]:
    """Emulators as a process of their own; gives the configuration that leads to them."""
    command = [sys.executable, "-c", "import sys; from syncd.cli import main; sys.exit(main())", "emulate", *providers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("[lists.product]"):
                    break
            lines += [process.stdout.readline() for _ in range(2)]
            yield "".join(lines)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.mark.loopback
def test_every_command_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(README)
    assert len(lines) > 20
    assert set(EXEMPT) <= set(lines), "an exemption for a line that is not there"
    with served("rocs", "salesrocks", "rokt") as configuration:
        file = tmp_path / "syncd.toml"
        file.write_text(configuration.replace("127.0.0.1:8480", f"127.0.0.1:{_free_port()}"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SYNCD_CONFIG", str(file))
        for line in lines:
            if line not in EXEMPT:
                _run(line, file, capsys)


def _run(line: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line)
    assert words[0] == "syncd", f"not run by this test: {line}"
    if words[1] == "run":
        return _run_daemon(file)
    if words[1] == "emulate":
        return None  # it serves everything else here
    arguments = [_filled(word, capsys) for word in words[1:]]
    code = main(arguments)
    said = capsys.readouterr()
    assert code in MAY_WAIT.get(words[1], {0}), f"{line}: {code}\n{said.out}\n{said.err}"
    return None


def _filled(word: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a reader writes for a word in capitals."""
    if word == "PLAN":
        plans = _asked(capsys, "plan")["plans"]
        assert plans, "nothing waits although the README says so"
        return str(plans[0]["id"])
    if word == "EMAIL":
        return str(_asked(capsys, "inspect", "contacts")[0]["email"])
    return word


def _asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def _run_daemon(file: Path) -> None:
    listen = tomllib.loads(file.read_text())["receiver"]["listen"]
    command = [sys.executable, "-c", "import sys; from syncd.cli import main; sys.exit(main())", "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        alive = False
        while not alive and time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{listen}/livez", timeout=5) as answer:
                    alive = answer.status == 200
            except OSError:
                time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert alive, said
    assert process.returncode == 0, said


def _free_port() -> int:
    from syncd.emulators.serve import bind_loopback

    with bind_loopback(0) as sock:
        return int(sock.getsockname()[1])


def test_every_query_of_the_readme_runs_on_both_engines(migrated_url: str) -> None:
    queries = [query.strip() for block in blocks(README, "sql") for query in block.split(";") if query.strip()]
    assert len(queries) >= 4
    engine = sa.create_engine(migrated_url)
    with engine.connect() as connection:
        for query in queries:
            connection.execute(sa.text(query)).all()
    engine.dispose()


def test_the_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    [block] = blocks(README, "toml")
    settings = loaded(block, tmp_path)
    assert {entry.provider for entry in settings.accounts.values()} == {"rocs", "salesrocks", "rocketresponder", "rokt"}
    assert set(settings.lists["newsletter"].accounts) == set(settings.accounts)


def test_the_table_of_what_providers_can_do_is_what_their_adapters_can(tmp_path: Path) -> None:
    found = _capabilities(tmp_path)
    providers = ["rocs", "salesrocks", "rocketresponder", "rokt"]
    asked = {
        "list everybody": lambda c: c.snapshot,
        "list what changed": lambda c: c.feed,
        "look up one person": lambda c: c.lookup,
        "take an unsubscribe": lambda c: ChangeKind.UNSUBSCRIBE in c.accepts,
        "take a new contact": lambda c: ChangeKind.SUBSCRIBE in c.accepts,
        "take a changed field": lambda c: ChangeKind.UPDATE in c.accepts,
        "campaign statistics": lambda c: c.report,
        "tell us by itself": lambda c: c.notify,
    }
    rows = table_under(README, "What each provider can do")
    assert {row[0] for row in rows} == set(asked)
    for name, *cells in rows:
        assert cells == ["yes" if asked[name](found[provider]) else "no" for provider in providers], name


def _capabilities(tmp_path: Path) -> dict[str, Capabilities]:
    from syncd.demo.stage import build, configuration

    stage = build(["rocs", "salesrocks", "rocketresponder", "rokt"])
    try:
        file = tmp_path / "syncd.toml"
        file.write_text(configuration(stage))
        settings = load(file, {})
    finally:
        stage.close()
    return {
        options.provider: capabilities_of(
            provider_for(options, linked=frozenset(), now=lambda: datetime(2026, 11, 21, tzinfo=UTC))
        )
        for options in settings.accounts.values()
    }


@pytest.mark.parametrize("text", [README, OPERATIONS], ids=["README", "operations"])
def test_every_exit_code_is_explained(text: str) -> None:
    assert words_under(text, "Exit codes") == {str(int(code)) for code in Exit}


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) <= 250


# The other pages -----------------------------------------------------------------------------------------------------


def test_every_view_is_described_with_its_columns(migrated_url: str) -> None:
    described = {
        name: re.findall(r"`([a-z_]+)`", body.split("\n\n")[-1])
        for name, body in re.findall(r"^### (v_[a-z]+)\n\n(.*?)(?=\n\n#|\Z)", MIRROR, re.MULTILINE | re.DOTALL)
    }
    engine = sa.create_engine(migrated_url)
    inspector = sa.inspect(engine)
    actual = {name: [column["name"] for column in inspector.get_columns(name)] for name in inspector.get_view_names()}
    engine.dispose()
    assert described == actual


def test_every_table_is_described() -> None:
    assert words_under(MIRROR, "The tables") == {*AccountRow.metadata.tables, "alembic_version"}


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("How everything stands", Condition),
        ("Why a plan is held", Hold),
        ("The life of a change", OpState),
        ("How well something is known", Grade),
    ],
)
def test_every_word_of_a_state_is_explained(heading: str, words: Any) -> None:
    assert words_under(OPERATIONS, heading) == {word.value for word in words}


def test_every_invariant_is_explained() -> None:
    assert words_under(OPERATIONS, "What must always hold") == {invariant.name for invariant in INVARIANTS}


def test_every_state_of_an_account_is_explained() -> None:
    said = re.search(r"`state`: ([a-z, ]+)\.", AccountRow.__doc__ or "")
    assert said is not None
    assert words_under(OPERATIONS, "States of an account") == set(said[1].split(", "))


def test_every_kind_of_parked_thing_is_explained() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("views", ROOT / "alembic/versions/0002_views.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = set(re.findall(r"'(change|delivery|look-up|record|lead)'", module.VIEWS["v_parked"]))
    assert words_under(OPERATIONS, "Why something is parked") == kinds
    assert len(kinds) == module.VIEWS["v_parked"].count("UNION ALL") + 1


PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy/README.md"]
}
on_each_page = pytest.mark.parametrize("page", PAGES)


@on_each_page
def test_every_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert link.startswith("https://") or ((ROOT / page).parent / link).exists(), link


@on_each_page
def test_every_command_that_is_named_is_understood(page: str) -> None:
    in_blocks = [line for line in lines_of(PAGES[page]) if line.startswith("syncd ")]
    for line in in_blocks:
        assert not (fault := misunderstood(line)), f"{line}: {fault}"
    for line in re.findall(r"`(syncd [a-z][^`]*)`", PAGES[page]):
        fault = misunderstood(line)
        assert not fault or fault.startswith("Missing "), f"{line}: {fault}"  # a name alone is no whole command


@cache
def program() -> Any:
    import typer

    from syncd.cli.commands import app

    return typer.main.get_command(app)


def misunderstood(line: str) -> str:
    """What the program would say against a command; nothing is run."""
    words = shlex.split(re.split(r"\s+(?:>|\||&&)", line.translate(dict.fromkeys(map(ord, "[]…"), " ")))[0])[1:]
    command = program()
    while hasattr(command, "commands") and words and not words[0].startswith("-") and not words[0].isupper():
        if words[0] not in command.commands:
            return f"No such command {words[0]}"
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        return ""  # a group: what follows is named elsewhere
    try:
        command.make_context("syncd", ["1" if word == "N" else word for word in words])
    except Exception as error:  # noqa: BLE001 - of click, or of the copy of it in typer
        return str(getattr(error, "message", "") or f"Missing {error}" if "Missing" in type(error).__name__ else error)
    return ""


@on_each_page
def test_every_piece_of_configuration_is_one(page: str, tmp_path: Path) -> None:
    for block in blocks(PAGES[page], "json"):
        json.loads(block)
    for number, block in enumerate(blocks(PAGES[page], "toml")):
        loaded(completed(block), tmp_path / str(number))


def loaded(text: str, folder: Path) -> Settings:
    """A configuration with a file for each secret that it keeps in one."""
    (folder / "credentials").mkdir(parents=True, mode=0o700)
    text = text.replace('"/etc/syncd/credentials/', '"credentials/')
    for name in re.findall(r'_file = "credentials/([a-z_]+)"', text):
        (folder / "credentials" / name).write_text("secret-of-some-length\n")
        (folder / "credentials" / name).chmod(0o600)
    (folder / "syncd.toml").write_text(text)
    return load(folder / "syncd.toml", {})


def completed(piece: str) -> str:
    """A piece of a configuration, with what the README has of the rest."""
    [readme] = blocks(README, "toml")
    given = tables(piece)
    text = piece
    for header, body in tables(readme).items():
        if header not in given:
            text += f"\n{header}\n{body}"
        elif "provider" not in given[header]:  # only some keys of a table: the others come from there
            others = [line for key, line in keyed(body).items() if key not in keyed(given[header])]
            text = text.replace(f"{header}", "\n".join([header, *others]), 1)
    return text


def tables(text: str) -> dict[str, str]:
    _, *parts = re.split(r"^(\[[^\[\]\n]+\])(?:[ \t]*#.*)?$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def keyed(body: str) -> dict[str, str]:
    return {line.partition(" =")[0]: line for line in body.splitlines() if " = " in line}


@pytest.mark.parametrize("provider", REGISTRY)
def test_every_key_on_the_page_of_a_provider_is_one(provider: str) -> None:
    [readme] = blocks(README, "toml")
    schema = REGISTRY[provider].options.model_json_schema()
    keys = {key for one in (schema, *schema.get("$defs", {}).values()) for key in one.get("properties", {})}
    keys |= {*SECTIONS, *LIST_KEYS, "lists", "fields", "accounts"}
    keys |= {f"{key}_file" for key in keys} | {*tomllib.loads(readme)["accounts"], "partner"}
    said = re.findall(r"`([a-z_]+)(?:\.[a-z_.]+)? = [^`]+`", PAGES[f"docs/providers/{provider}.md"])
    assert set(said) <= keys


def test_the_layers_are_those_that_are_enforced() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [layers] = [one["layers"] for one in tools["importlinter"]["contracts"] if one["id"] == "layers"]
    [said] = re.findall(r"^`(cli → [^`]+)`$", ARCHITECTURE, re.MULTILINE)
    assert " ".join(said.split()) == " → ".join(f"({layer})" if "|" in layer else layer for layer in layers)


def test_every_module_is_in_the_picture_of_the_folders_and_no_other() -> None:
    [block] = [block for block in blocks(ARCHITECTURE, "") if block.startswith("syncd/")]
    listed: set[str] = set()
    folder = ""
    for line in block.splitlines()[1:]:
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        if indent == 2:
            folder = name if name.endswith("/") else ""
        if name.endswith(".py"):
            listed.add(name if indent == 2 else folder + name)
    package = ROOT / "syncd"
    there = {str(path.relative_to(package)) for path in package.rglob("*.py") if path.name != "__init__.py"}
    there = {path for path in there if not path.startswith("_")}
    assert listed == there


def test_every_page_names_its_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(
        rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
