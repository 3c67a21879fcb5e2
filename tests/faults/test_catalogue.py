"""No number of the catalogue is left out: H-1 to H-20 and S-1 to S-21 have a test each, by number."""

from __future__ import annotations

import re
from pathlib import Path

NUMBERS = [f"h{number:02}" for number in range(1, 21)] + [f"s{number:02}" for number in range(1, 22)]


def test_each_fault_has_a_test_by_its_number():
    text = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.py")))
    assert sorted(set(re.findall(r"^def test_([hs]\d\d)_", text, re.MULTILINE))) == sorted(NUMBERS)
