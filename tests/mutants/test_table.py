"""The table of planted bugs still fits the code: each can be planted at one place, and its tests are there.

A file stands for all of its tests.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_each_bug_can_be_planted_and_names_tests_that_there_are(mutant: Mutant):
    for old, new in mutant.edits:
        assert (ROOT / mutant.path).read_text().count(old) == 1
        assert new != old
    for test in mutant.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not name or name.partition("[")[0] in functions, test


def test_no_bug_is_listed_twice():
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS) >= 15
