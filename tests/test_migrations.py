"""The way from nothing to the newest mirror, and that an installed program finds it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

import syncd.store.tables
from syncd.store.session import Engine, current, head, migrations_path, open_engine, reading, upgrade, writing

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = frozenset(
    {
        "v_contacts",
        "v_memberships",
        "v_lists",
        "v_campaigns",
        "v_consent",
        "v_runs",
        "v_outbox",
        "v_parked",
        "v_propagation",
        "v_drift",
    }
)
"""The views that people outside may rely on."""


GUARDS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL "
    "SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
}
"""What the mirror refuses by itself, and on Postgres what says so."""


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    opened = open_engine(migrated_url)
    yield opened
    opened.dispose()


def shape(engine: Engine) -> dict[str, Any]:
    """Everything that tells one schema from another."""
    with reading(engine) as connection:
        looked = sa.inspect(connection)
        return {
            "views": sorted(looked.get_view_names()),
            "guards": sorted(connection.scalars(sa.text(GUARDS[connection.dialect.name]))),
            "tables": {
                name: (
                    [(c["name"], str(c["type"]), c["nullable"]) for c in looked.get_columns(name)],
                    looked.get_pk_constraint(name)["constrained_columns"],
                    sorted((index["name"] or "", bool(index["unique"])) for index in looked.get_indexes(name)),
                )
                for name in looked.get_table_names()
                if name != "alembic_version"
            },
        }


def alembic(url: str, engine: Engine, step: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_path()))
    config.attributes["url"] = url
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        getattr(command, step)(config, revision)


def test_an_empty_database_becomes_a_mirror_and_repeating_changes_nothing(mirror_url: str):
    upgrade(mirror_url)
    engine = open_engine(mirror_url)
    assert current(engine) == head()
    before = shape(engine)
    assert set(before["tables"]) == set(SQLModel.metadata.tables)
    with writing(engine) as connection:
        connection.execute(sa.text("INSERT INTO meta (key, value) VALUES ('kept', '1')"))
    upgrade(mirror_url)
    assert shape(engine) == before
    with reading(engine) as connection:
        assert connection.scalar(sa.text("SELECT value FROM meta WHERE key = 'kept'")) == "1"
    engine.dispose()


def test_the_migrations_make_exactly_the_tables_that_the_program_describes(engine: Engine):
    assert syncd.store.tables.CellRow.__tablename__ in SQLModel.metadata.tables
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda _o, name, kind, *_: not (kind == "table" and str(name).startswith("v_")),
            },
        )
        assert compare_metadata(context, SQLModel.metadata) == []


def test_down_to_nothing_and_up_again_is_the_same_mirror(engine: Engine, migrated_url: str):
    before = shape(engine)
    alembic(migrated_url, engine, "downgrade", "base")
    assert shape(engine) == {"views": [], "guards": [], "tables": {}}
    alembic(migrated_url, engine, "upgrade", "head")
    assert shape(engine) == before


def test_every_step_can_be_taken_back_and_again(engine: Engine, migrated_url: str):
    before = shape(engine)
    alembic(migrated_url, engine, "downgrade", "-1")
    assert shape(engine) != before
    alembic(migrated_url, engine, "upgrade", "+1")
    assert shape(engine) == before


def test_there_is_one_newest_revision_and_its_files_are_in_order():
    names = sorted(path.stem for path in (migrations_path() / "versions").glob("*.py"))
    assert [name.partition("_")[0] for name in names] == [f"{n:04}" for n in range(1, len(names) + 1)]
    assert names[-1].startswith(head())


# Views


def test_the_views_of_the_contract_are_there(engine: Engine):
    assert set(shape(engine)["views"]) >= CONTRACT


@pytest.mark.parametrize("view", sorted(CONTRACT))
def test_each_view_answers_and_names_its_columns(engine: Engine, view: str):
    with reading(engine) as connection:
        result = connection.execute(sa.text(f"SELECT * FROM {view}"))
        assert list(result) == []
        names = list(result.keys())
    assert len(names) == len(set(names))
    assert all(name.isidentifier() and name.islower() for name in names)


def test_both_engines_show_the_same_columns(tmp_path: Path, postgres, postgres_template: str):
    url = f"sqlite:///{tmp_path / 'mirror.db'}"
    upgrade(url)
    copy = postgres.create(template=postgres_template)
    columns = []
    for here in (url, copy):
        engine = open_engine(here)
        with reading(engine) as connection:
            looked = sa.inspect(connection)
            columns.append({view: [c["name"] for c in looked.get_columns(view)] for view in sorted(CONTRACT)})
        engine.dispose()
    postgres.drop(copy)
    assert columns[0] == columns[1]


# Installed


def test_a_wheel_takes_migrations_and_schemas_along():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["syncd"]
    assert wheel["force-include"] == {"alembic": "syncd/_migrations", "schemas": "syncd/_schemas"}
    for source in wheel["force-include"]:
        assert (ROOT / source).is_dir()
        assert f"/{source}" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_an_installed_program_migrates_itself_from_any_folder(tmp_path: Path):
    """Laid out as a wheel lays it out, far from the checkout, with nothing of the checkout on the path."""
    site = tmp_path / "site"
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "syncd", site / "syncd", ignore=leave_out)
    shutil.copytree(ROOT / "alembic", site / "syncd" / "_migrations", ignore=leave_out)
    shutil.copytree(ROOT / "schemas", site / "syncd" / "_schemas", ignore=leave_out)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = """
import json, sys
sys.path.insert(0, sys.argv[1])
import syncd.store.session as session
session.upgrade(sys.argv[2])
engine = session.open_engine(sys.argv[2])
print(json.dumps({
    "module": session.__file__, "migrations": str(session.migrations_path()),
    "current": session.current(engine), "head": session.known_head(),
}))
engine.dispose()
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program, str(site), f"sqlite:///{elsewhere / 'mirror.db'}"],
        cwd=elsewhere,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    said = json.loads(outcome.stdout)
    assert Path(said["module"]).is_relative_to(site)
    assert Path(said["migrations"]) == site / "syncd" / "_migrations"
    assert said["current"] == said["head"] == head()


def test_from_a_checkout_the_migrations_are_those_at_its_top():
    assert migrations_path() == ROOT / "alembic"
    spec = importlib.util.find_spec("alembic")
    assert spec is not None
    assert not Path(str(spec.origin)).is_relative_to(ROOT / "alembic"), "the folder of that name is not the package"
