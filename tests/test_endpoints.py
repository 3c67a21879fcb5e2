"""The table of endpoints and quirks: complete, true, and the page made from it; and the checks that say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import endpoints
from tests.endpoints import DOCUMENTS, ROOT, TABLE, Table, TableError, page, problems, tables

THIS = "tests/test_endpoints.py"
HERE = f"{THIS}::test_a_whole_table_has_no_faults"


def test_every_row_is_complete_and_every_reference_leads_somewhere() -> None:
    assert problems(tables()) == []


def test_the_page_is_the_one_that_the_tables_make() -> None:
    assert (ROOT / TABLE).read_text(encoding="utf-8") == page(tables()), "make docs"


def test_every_provider_has_a_page_of_its_own() -> None:
    for table in tables():
        assert (ROOT / f"docs/providers/{table.provider}.md").is_file()


# The checks themselves, on small tables ------------------------------------------------------------------------------


def row(**changes: Any) -> dict[str, Any]:
    whole = {
        "document": "ROCS API",
        "name": "get lists",
        "call": "GET /lists",
        "implemented": "syncd.providers.rocs.adapter:RocsAdapter.containers",
        "emulated": "syncd.emulators.rocs:RocsEmulator._get_lists",
        "schema": ["lists.response.schema.json"],
        "test": HERE,
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def quirk(**changes: Any) -> dict[str, Any]:
    return {"id": "rocs-odd", "fact": "It is odd.", "test": f"{THIS}::test_marked", **changes}


def sample(*rows: dict[str, Any], quirks: tuple[dict[str, Any], ...] = ()) -> list[Table]:
    index = {"GET /lists": {"request": None, "response": {"200": "lists.response.schema.json"}}}
    others = tuple(row(document=name, name=name, call=None) for name in DOCUMENTS[1:])
    return [Table("rocs", (*rows, *others), quirks, index)]


def faults(found: list[Table]) -> list[str]:
    """Without those of the marks that the tests of the real providers carry."""
    return [fault for fault in problems(found) if "which no provider.toml has" not in fault]


def test_a_whole_table_has_no_faults() -> None:
    assert faults(sample(row())) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"emulated": None}, "emulated is missing"),
        ({"schema": []}, "schema is missing"),
        ({"test": ""}, "test is missing"),
        ({"notes": "x"}, "notes is no column"),
        ({"document": "ROCS"}, "no such document"),
        ({"implemented": "syncd.providers.rocs.adaptor:RocsAdapter"}, "there is no module"),
        ({"implemented": "syncd.providers.rocs.adapter:RocsAdapter.gone"}, "has no RocsAdapter.gone"),
        ({"implemented": "syncd.providers.rocs.adapter"}, "no name after the module"),
        ({"schema": ["gone.schema.json"]}, "there is no gone.schema.json"),
        ({"schema": ["members.response.schema.json"]}, "does not name members.response"),
        ({"test": "tests/test_gone.py::test_x"}, "there is no file"),
        ({"test": f"{THIS}::test_gone"}, "has no test test_gone"),
        ({"test": THIS}, "has no test"),
        ({"call": "GET /gone"}, "index.json has no 'GET /gone'"),
    ],
)
def test_a_row_that_says_too_little_or_leads_nowhere_is_told(changes: dict[str, Any], told: str) -> None:
    assert any(told in fault for fault in faults(sample(row(), row(name="other", **changes))))


def test_what_is_missing_or_there_twice_is_told() -> None:
    assert any("no row for 'GET /lists'" in fault for fault in faults(sample()))
    assert any("is there 2 times" in fault for fault in faults(sample(row(), row())))
    assert "no row for the document 'Rokt referrals'" in faults([Table("rocs", (row(),), (), {})])
    twice = faults(sample(row(), quirks=(quirk(), quirk())))
    assert "quirk 'rocs-odd' is there 2 times" in twice


def test_a_quirk_without_a_test_that_names_it_and_a_mark_without_a_quirk_are_told(tmp_path: Path) -> None:
    file = tmp_path / THIS
    file.parent.mkdir()
    marked = "@pytest.mark.quirk('rocs-odd')\ndef test_marked(): ...\n\nclass TestAll:\n"
    file.write_text(
        f"{marked}    @pytest.mark.quirk('rocs-lost')\n    async def test_more(self): ...\ndef test_plain(): ...\n"
    )
    known = [Table("rocs", (), (quirk(), quirk(id="rocs-lost", test=f"{THIS}::TestAll::test_more[x]")), {})]
    assert not [fault for fault in problems(known, tmp_path) if "quirk" in fault]
    told = problems([Table("rocs", (), (quirk(test=f"{THIS}::test_plain"), quirk(id="rocs-x", fact="")), {})], tmp_path)
    assert f'rocs: quirk rocs-odd: test: {THIS}::test_plain is not marked @pytest.mark.quirk("rocs-odd")' in told
    assert "rocs: quirk rocs-x: fact is missing" in told
    assert "a test is marked with the quirk 'rocs-lost', which no provider.toml has" in told


def test_a_provider_without_a_table_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "schemas/providers/fifth"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({}))
    with pytest.raises(TableError, match=r"schemas/providers/fifth/provider\.toml is missing"):
        tables(tmp_path)
    (folder / "provider.toml").write_text("[[endpoint]\n")
    with pytest.raises(TableError, match=r"provider\.toml: "):
        tables(tmp_path)


def test_the_page_shows_each_row_with_where_it_is() -> None:
    text = page(sample(row(), quirks=(quirk(fact="A | B."),)))
    assert "## ROCS API" in text
    assert "get lists<br>`GET /lists`" in text
    assert "`providers.rocs.adapter`<br>`RocsAdapter.containers`" in text
    assert "(../../schemas/providers/rocs/lists.response.schema.json)" in text
    assert "| `rocs-odd` | A \\| B. |" in text


def test_the_command_writes_nothing_while_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "schemas/providers/rocs"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({}))
    assert endpoints.main(tmp_path) == 1
    assert "provider.toml is missing" in capsys.readouterr().err
    (folder / "provider.toml").write_text('[[endpoint]]\ndocument = "ROCS API"\nname = "get lists"\n')
    assert endpoints.main(tmp_path) == 1
    assert "rocs: ROCS API, get lists: test is missing" in capsys.readouterr().err
    assert not (tmp_path / TABLE).exists()
