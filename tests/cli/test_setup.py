"""Before the first round, and around upgrades: init, config, db, and everything that can be wrong with them."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncd.cli import main
from syncd.cli.skeleton import PROVIDERS, skeleton
from syncd.config import load
from syncd.domain.errors import ConfigurationError
from syncd.emulators.emulator import Fault, FaultKind
from syncd.store.backup import save
from syncd.store.session import known_head
from tests.cli.conftest import Desk
from tests.postgres import Postgres, candidates

# Version -------------------------------------------------------------------------------------------------------------


def test_the_version_is_told_in_half_a_second() -> None:
    command = [sys.executable, "-c", "import sys; from syncd.cli import main; sys.exit(main(['--version']))"]
    best = 9.0
    for _ in range(10):  # the fastest counts: other tests run beside this one
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        best = min(best, time.monotonic() - began)
        assert done.stdout.startswith("syncd ")
        if best < 0.5:
            return
    pytest.fail(f"the fastest of ten took {best:.2f} s")


def test_the_version_beside_other_options(small: Desk) -> None:
    assert small.run_bare("--version").out == small.run_bare("--version", "status").out


# Init ----------------------------------------------------------------------------------------------------------------


def test_init_writes_a_private_file_that_lacks_nothing_but_secrets(small: Desk) -> None:
    path = small.folder / "new" / "syncd.toml"
    done = small.run_bare("init", "--config", str(path))
    assert done.code == 0
    assert "config check" in done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    assert {problem.what.partition(" ")[0] for problem in caught.value.problems} == {"cannot"}
    assert all(problem.where.endswith("_file") for problem in caught.value.problems)


def test_a_skeleton_whose_secrets_are_there_is_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    for named in re.findall(r'"(credentials/.*?)"', skeleton()):
        (tmp_path / named).write_text("secret")
    path = tmp_path / "syncd.toml"
    path.write_text(skeleton())
    settings = load(path, {})
    assert [account.provider for account in settings.accounts.values()] == list(PROVIDERS)
    path.write_text(re.sub(r"^#(?=\S)", "", skeleton(), flags=re.MULTILINE))
    settings = load(path, {})
    assert {account.provider for account in settings.accounts.values()} == {*PROVIDERS, "http"}
    assert settings.lists["newsletter"].accounts["partner"] == ("*",)
    path.write_text(skeleton(["rokt"], "sqlite:////tmp/other.db"))
    settings = load(path, {})
    assert (list(settings.accounts), settings.mirror.url) == (["leads"], "sqlite:////tmp/other.db")


def test_init_overwrites_nothing(small: Desk) -> None:
    before = small.config.read_text()
    done = small.run("init", "--json")
    assert done.code == 1
    assert "exists already" in done.data("error")["error"]["message"]
    assert small.config.read_text() == before


def test_init_says_where_it_wrote(small: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small.folder / "by-variable.toml"
    monkeypatch.setenv("SYNCD_CONFIG", str(path))
    assert small.run_bare("init", "--json").data("init")["path"] == str(path)
    assert path.exists()


def test_init_in_a_folder_that_cannot_be_made(small: Desk) -> None:
    done = small.run_bare("init", "--config", "/proc/nowhere/syncd.toml")
    assert done.code == 1
    assert "cannot be written" in done.err
    assert "next: ls -ld" in done.err


# Config --------------------------------------------------------------------------------------------------------------

FAULTY = """
[mirror]
url = "mysql://db/x"
[schedule]
intervall = "5m"
[accounts.crm]
provider = "rocs"
base_url = "http://api.example.org"
[accounts.mail]
provider = "rocketrespond"
[lists.news]
crn = "1"
"""


def test_all_faults_of_a_configuration_are_told_at_once(small: Desk) -> None:
    small.config.write_text(FAULTY)
    done = small.run("status")
    assert done.code == 78
    assert done.out == ""
    for fault in (
        "mirror.url", "schedule.intervall", "accounts.crm.base_url", "accounts.crm.token_url",
        "did you mean `rocketresponder`?", "lists.news.crn",
    ):  # fmt: skip
        assert fault in done.err
    error = small.run("status", "--json").data("error")["error"]
    assert {problem["where"] for problem in error["problems"]} >= {
        "mirror.url",
        "accounts.mail.provider",
        "lists.news.crn",
    }
    assert error["exit"] == 78


@pytest.mark.parametrize("arguments", [("config", "check"), ("sync",), ("db", "status"), ("inspect", "contacts")])
def test_without_any_configuration_every_command_says_how_to_get_one(small: Desk, arguments: tuple[str, ...]) -> None:
    done = small.run_bare(*arguments, "--config", str(small.folder / "none.toml"))
    assert done.code == 78
    assert "syncd init" in done.err


def test_the_configuration_comes_from_the_variable_too(small: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_CONFIG", str(small.config))
    assert small.run_bare("config", "check").code == 0


def test_check_counts_and_warns(small: Desk) -> None:
    small.config.chmod(0o644)
    done = small.run("config", "check")
    assert done.code == 0
    assert "4 accounts, 1 lists" in done.out
    assert "can be read by everybody" in done.err
    shown = small.data("config", "check")
    assert (shown["ok"], shown["accounts"], shown["online"]) == (True, ["crm", "sales", "mail", "leads"], None)


def test_check_online_calls_every_account(small: Desk) -> None:
    shown = small.data("config", "check", "--online")
    assert shown["ok"]
    assert [entry["ok"] for entry in shown["online"]["accounts"]] == [True] * 4
    assert all(emulator.calls for emulator in (small.rocs, small.sales, small.mail))
    assert not any(emulator.writes for emulator in small.emulators.values())


def test_check_online_says_what_is_wrong_with_each(small: Desk) -> None:
    small.sales.password = "another"
    small.rocs.faults.append(Fault(FaultKind.NO_CONNECTION, times=9))
    done = small.run("config", "check", "--online", "--json")
    assert done.code == 3
    online = done.data("config-check")["online"]
    assert {entry["account"]: entry["kind"] for entry in online["accounts"]} == {
        "crm": "UnreachableError",
        "sales": "UnauthorisedError",
        "mail": None,
        "leads": None,
    }


def test_check_online_of_a_mirror_that_cannot_be_used_still_asks_the_accounts(small: Desk) -> None:
    small.url = "sqlite:////proc/nowhere/mirror.db"
    small.configure()
    done = small.run("config", "check", "--online", "--json")
    assert done.code == 78
    online = done.data("config-check")["online"]
    assert not online["mirror"]["ok"]
    assert [entry["ok"] for entry in online["accounts"]] == [True] * 4


def test_show_stars_secrets_and_says_where_values_came_from(small: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_SCHEDULE__INTERVAL", "7m")
    done = small.run("config", "show", "--origin")
    assert "schedule.interval = 420.0  # env" in done.out
    assert 'accounts.crm.base_url = "http://127.0.0.1:8701"  # file' in done.out
    assert "# default" in done.out
    shown = small.data("config", "show", "--origin")
    assert shown["origin"]["schedule.interval"] == "env"
    for secret in ("rocs-secret", "sales-secret", "priv_emulated", "rokt-key", "mail-hook"):
        assert secret not in done.out
        assert secret not in str(shown)
    assert small.data("config", "show")["origin"] is None


def test_show_names_the_links_that_commands_made_beside_the_file(small: Desk) -> None:
    small.config.write_text(small.config.read_text().replace('leads = "*"', 'leads = "66"'))
    assert small.data("config", "show")["by_command"] == []
    for campaign in ("77", "88"):
        small.run("leads", "link", campaign, "newsletter")
    small.run("leads", "unlink", "88", "newsletter")
    since = "2026-11-21T12:00:00.000Z"
    linked = {"list": "newsletter", "account": "leads", "id": "77", "since": since}
    assert small.data("config", "show")["by_command"] == [linked]
    printed = small.run("config", "show").out.splitlines()
    assert f'# lists.newsletter.leads: also "77", by command since {since}' in printed
    small.url = f"sqlite:///{small.folder / 'none.db'}"
    small.configure()
    assert small.data("config", "show")["by_command"] is None
    assert not (small.folder / "none.db").exists()


# The mirror ----------------------------------------------------------------------------------------------------------


def test_an_empty_mirror_is_set_up_and_setting_it_up_again_changes_nothing(
    mirror_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(mirror_url, tmp_path, capsys)
    before = desk.run("db", "status", "--json")
    assert before.code == 3
    assert before.data("db-status")["state"] == "empty"
    upgraded = desk.data("db", "upgrade")
    assert (upgraded["before"], upgraded["revision"], upgraded["state"]) == (None, known_head(), "current")
    assert desk.data("db", "upgrade")["before"] == known_head()
    done = desk.run("db", "status")
    assert done.code == 0
    assert "current" in done.out


def test_asking_for_the_status_of_a_mirror_makes_none(small: Desk) -> None:
    small.url = f"sqlite:///{small.folder / 'none.db'}"
    small.configure()
    assert small.run("db", "status").code == 3
    assert not (small.folder / "none.db").exists()


def test_a_mirror_of_a_newer_program_is_left_alone(small: Desk) -> None:
    with sqlite3.connect(small.url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for arguments in (("status",), ("sync",), ("db", "upgrade"), ("approve", "x"), ("run",)):
        done = small.run(*arguments, "--json")
        assert done.code == 78
        error = done.data("error")["error"]
        assert error["kind"] == "MirrorError"
        assert "newer" in error["message"]
    assert small.run("db", "status", "--json").data("db-status")["state"] == "newer"
    assert small.run("db", "status").code == 78


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_configuration(small: Desk) -> None:
    small.url = "sqlite:////proc/nowhere/mirror.db"
    small.configure()
    done = small.run("sync", "--json")
    assert done.code == 78
    assert done.data("error")["error"]["hint"] == "mkdir -p /proc/nowhere"


def test_a_backup_brings_back_what_was_there(small: Desk) -> None:
    small.customer("ann@example.org")
    assert small.run("sync").code == 0
    saved = small.data("db", "backup", str(small.folder / "saved.db"))
    assert saved["bytes"] > 0
    assert stat.S_IMODE(Path(saved["file"]).stat().st_mode) == 0o600
    small.customer("bob@example.org")
    small.run("sync")
    assert small.run("inspect", "contact", "bob@example.org").code == 0
    restored = small.data("db", "restore", str(small.folder / "saved.db"))
    assert small.run("inspect", "contact", "bob@example.org").code == 1
    assert small.run("inspect", "contact", "ann@example.org").code == 0
    with sqlite3.connect(restored["kept"]) as kept:
        assert kept.execute("SELECT count(*) FROM cell WHERE identity = 'bob@example.org'").fetchone()[0]
    kept.close()


def test_a_backup_overwrites_nothing(small: Desk) -> None:
    (small.folder / "saved.db").write_text("precious")
    assert small.run("db", "backup", str(small.folder / "saved.db")).code == 78
    assert (small.folder / "saved.db").read_text() == "precious"


def test_only_a_backup_of_a_mirror_is_restored(small: Desk) -> None:
    path = small.folder / "other.db"
    for content in ("no database at all", None):
        if content is None:
            path.unlink()
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE t (x)")
            other.close()
        else:
            path.write_text(content)
        done = small.run("db", "restore", str(path), "--json")
        assert done.code == 78
        assert done.data("error")["error"]["kind"] == "MirrorError"
    assert small.run("db", "restore", str(small.folder / "none.db")).code == 78
    assert small.run("status", "--json").data("status")["accounts"]


def test_a_damaged_mirror_is_replaced_and_kept(small: Desk) -> None:
    small.run("db", "backup", str(small.folder / "saved.db"))
    mirror = Path(small.url.removeprefix("sqlite:///"))
    for suffix in ("-wal", "-shm"):
        mirror.with_name(mirror.name + suffix).unlink(missing_ok=True)
    mirror.write_bytes(b"not a database" * 1000)
    assert small.run("status").code == 78
    kept = small.data("db", "restore", str(small.folder / "saved.db"))["kept"]
    assert Path(kept).read_bytes().startswith(b"not a database")
    assert small.data("status")["accounts"]


def test_nothing_is_restored_under_somebody_who_works_on_the_mirror(small: Desk, another_holder) -> None:
    small.run("db", "backup", str(small.folder / "saved.db"))
    another_holder(small)
    done = small.run("db", "restore", str(small.folder / "saved.db"))
    assert done.code == 78
    assert "daemon/1 works on the mirror" in done.err
    assert small.data("db", "status")["holder"] == "daemon/1"


def test_a_postgres_mirror_is_saved_and_put_back_by_its_own_programs(
    postgres: Postgres,
    postgres_template: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = next(candidates([])).folder  # of the server's own version
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    url = postgres.create(template=postgres_template)
    desk = Desk(url, tmp_path, capsys)
    desk.customer("ann@example.org")
    assert desk.run("sync").code == 0
    saved = desk.data("db", "backup", str(tmp_path / "saved.dump"))
    assert saved["bytes"] > 1000
    desk.customer("bob@example.org")
    desk.run("sync")
    desk.run("unsubscribe", "ann@example.org", "--no-push")
    restored = desk.data("db", "restore", saved["file"])
    assert (restored["kept"], restored["merged"]) == (None, 1)
    assert [row["email"] for row in desk.data("inspect", "contacts")] == ["ann@example.org"]
    assert [row["level"] for row in desk.data("inspect", "consent")] == ["unsubscribed"]
    status = desk.run("status", "--json").data("status")
    assert {row["name"]: row["protected"] for row in status["accounts"]} == dict.fromkeys(
        ("crm", "sales", "mail", "leads"), True
    )
    assert "protected (put back from saved.dump)" in desk.run("status").out
    done = desk.run("db", "restore", str(desk.config))
    assert done.code == 78
    assert "pg_restore could not do it" in done.err
    postgres.drop(url)


def test_without_the_programs_of_postgres_its_mirror_cannot_be_saved(
    postgres: Postgres,
    postgres_template: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = postgres.create(template=postgres_template)
    monkeypatch.setenv("PATH", "/nowhere")
    done = Desk(url, tmp_path, capsys).run("db", "backup", str(tmp_path / "saved.dump"))
    assert done.code == 78
    assert "pg_dump is not installed" in done.err
    postgres.drop(url)


def test_a_password_is_no_argument_of_a_program_wherever_the_address_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$PGPASSWORD" "$@" >>{tmp_path / "told"}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for url in ("postgresql+psycopg://s:canary@db/x", "postgresql+psycopg://s@db/x?password=canary&sslmode=require"):
        save(url, tmp_path / "saved.dump")
    for line in (tmp_path / "told").read_text().splitlines():
        password, _, arguments = line.partition(" ")
        assert password == "canary"
        assert "canary" not in arguments
        assert "--dbname=postgresql://s@db/x" in arguments


def test_no_command_at_all_shows_what_there_is(small: Desk) -> None:
    assert main([], small.outside) == 2
