"""No number of the catalogue is left out: H-1 to H-20 and S-1 to S-21 have a test each, by number.

Each of these tests ends in agreement (`converged`), in a world that is opened on both engines (`conftest.py`).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

NUMBERS = [f"h{number:02}" for number in range(1, 21)] + [f"s{number:02}" for number in range(1, 22)]
FAULTS = {
    node.name: node
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef) and re.match(r"test_[hs]\d\d_", node.name)
}


def test_each_fault_has_a_test_by_its_number():
    assert {name[5:8] for name in FAULTS} == set(NUMBERS)


def test_each_fault_ends_in_agreement_on_both_engines():
    for name, test in FAULTS.items():
        said = {
            node.func.id for node in ast.walk(test) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "converged" in said, name
        assert {"open_world", "open_wired"} & {one.arg for one in test.args.args}, name
