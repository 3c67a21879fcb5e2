"""docs/adding-a-provider.md leads through exactly the code that the suite runs; and registering is one entry."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from syncd.providers.registry import REGISTRY

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests/conformance"
GUIDE = (ROOT / "docs/adding-a-provider.md").read_text(encoding="utf-8")


def shown(file: str) -> list[str]:
    """The pieces of a file that the guide shows, in its order."""
    return re.findall(rf"^```python {re.escape(file)}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def plain(text: str) -> str:
    """Without blank lines, which a page leaves out between two blocks."""
    return "\n".join(line for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("file", [f"{HERE}/reference.py", f"{HERE}/postbox.py"])
def test_the_guide_shows_the_whole_of_the_reference_adapter_and_its_emulator(file: str) -> None:
    assert plain("\n".join(shown(file))) == plain((ROOT / file).read_text(encoding="utf-8"))


def test_the_guide_shows_the_bench_of_the_reference_adapter() -> None:
    [block] = shown(f"{HERE}/benches.py")
    text = (ROOT / HERE / "benches.py").read_text(encoding="utf-8")
    [bench] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "Postbox"]
    assert plain(block) == plain(ast.get_source_segment(text, bench) or "")


def test_the_reference_adapter_is_a_whole_provider_in_under_a_hundred_lines() -> None:
    assert len((ROOT / HERE / "reference.py").read_text(encoding="utf-8").splitlines()) < 100


def test_what_the_guide_points_to_is_there() -> None:
    for name in re.findall(r"`((?:syncd|tests|schemas|docs)/[a-z_/.-]+)`", GUIDE):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`([a-z]+\.(?:py|toml|json))`", GUIDE):
        assert name in {"test_mirror.py", "provider.toml", "index.json", "pyproject.toml", "syncd.toml"}, name


def test_every_registered_provider_is_a_stranger_to_the_others_and_has_its_page() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    [strangers] = [contract["modules"] for contract in contracts if contract["id"] == "adapters"]
    assert {name.rpartition(".")[2] for name in strangers} == set(REGISTRY)
    for name in REGISTRY:
        assert (ROOT / f"docs/providers/{name}.md").is_file(), name


def test_the_reference_adapter_cannot_be_configured() -> None:
    assert "postbox" not in REGISTRY
    assert not list((ROOT / "syncd").rglob("*postbox*"))
