"""What counts as something of somebody, wherever it stands."""

from __future__ import annotations

import pytest

from syncd.store.traces import forms_of

OF_LEA = forms_of({"lea@example.org"}, [{"first_name": "Lea", "last_name": "Dée", "phone": "+46 70 174 06 05"}])
PSEUDONYM = "erased@" + "dee0" * 16


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ('{"first_name":"LEA","last_name":"DÉE"}', {"name"}),
        ("lea dée", {"name"}),
        ("dée, lea", {"name"}),
        ("lea\nsomebody", set()),
        ("leads\ndée", set()),
        (f"clear\n{PSEUDONYM}", set()),
        ("lea dée\nanother@example.org", set()),
        (f"lea dée\n{PSEUDONYM}", {"name"}),
        ("+46701740605", {"phone"}),
        ("0046701740605", {"phone"}),
        ("46701740605 another@example.org", set()),
    ],
)
def test_a_name_counts_in_whole_words_and_where_nobody_else_stands_beside_it(row: str, found: set[str]):
    assert OF_LEA.of_rest(row.encode()) == found


def test_a_name_out_of_letters_that_a_hash_has_is_not_found_in_one():
    plain = forms_of({"ada@example.org"}, [{"first_name": "Ada", "last_name": "Dee"}])
    assert plain.of_rest(f"leads\nerased@{'adadee' * 10}abcd".encode()) == set()
    assert plain.of_rest(b"leads\nAda Dee") == {"name"}
