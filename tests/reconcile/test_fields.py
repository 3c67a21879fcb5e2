"""Three-way merge: what each side last agreed on tells who moved; a blank is never a value."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.reconcile.fields import NAME_FIELDS, differing, full_name, merge
from tests.reconcile.factories import FACTS, STANDARD, account, cell

ACCOUNTS = {name: account(name) for name in FACTS}
ORDER = ("rocs", "salesrocks", "rocketresponder", "rokt")


def first(value: str | None, base: str | bool | None = False, where: str = "rocs", **more):
    """A record with one first name. `base`: what it showed at the last merge; False if there was none yet."""
    before = None if base is False else ({"first_name": base} if isinstance(base, str) else {})
    return cell(where, fields={} if value is None else {"first_name": value}, base=before, **more)


@pytest.mark.parametrize(
    ("held", "cells", "holds"),
    [
        pytest.param("Ann", [first("Ann", "Ann"), first("Ann", "Ann", "salesrocks")], "Ann", id="nobody moved"),
        pytest.param("Ann", [first("Anna", "Ann"), first("Ann", "Ann", "salesrocks")], "Anna", id="the first moved"),
        pytest.param("Ann", [first("Ann", "Ann"), first("Anna", "Ann", "salesrocks")], "Anna", id="the second moved"),
        pytest.param("Ann", [first("Anna", "Ann"), first("Anna", "Ann", "salesrocks")], "Anna", id="both to one value"),
        pytest.param(
            "Ann",
            [first("Anna", "Ann"), first("Anni", "Ann", "salesrocks")],
            "Anna",
            id="apart: the order of the configuration decides",
        ),
        pytest.param(
            "Ann",
            [first("Anni", "Ann", "salesrocks"), first("Anna", "Ann")],
            "Anna",
            id="whatever the order in which they were read",
        ),
        pytest.param(
            "Ann", [first(None, "Ann"), first("Ann", "Ann", "salesrocks")], "Ann", id="a blank is not a deletion"
        ),
        pytest.param(
            "Ann", [first("Anna"), first("Ann", "Ann", "salesrocks")], "Ann", id="at first contact nobody has moved yet"
        ),
        pytest.param(
            None,
            [first("Anna"), first("Anni", where="salesrocks")],
            "Anna",
            id="at first contact the first authority fills the blank",
        ),
        pytest.param(None, [first(None), first("Anni", where="salesrocks")], "Anni", id="or whoever has a value"),
        pytest.param(
            None,
            [first("Anna"), first("Anni", "Ann", "salesrocks")],
            "Anni",
            id="one who moved comes before one who was never compared",
        ),
        pytest.param("Ann", [first("Ann", None)], "Ann", id="a value appeared that we hold already: our own echo"),
        pytest.param("Ann", [first("Anna", None)], "Anna", id="a value appeared: it moved"),
        pytest.param("Ann", [first("Anna", "Anna")], "Ann", id="a record that still shows the old value did not move"),
        pytest.param("Ann", [], "Ann", id="nothing is seen any more"),
    ],
)
def test_who_moved(held: str | None, cells, holds: str):
    assert merge({"first_name": held} if held else {}, cells, ORDER, ACCOUNTS) == {"first_name": holds}


def test_each_field_is_merged_for_itself():
    here = cell(fields={"first_name": "Anna", "phone": "1"}, base={"first_name": "Ann", "phone": "1"})
    there = cell("salesrocks", fields={"first_name": "Ann", "phone": "2"}, base={"first_name": "Ann", "phone": "1"})
    assert merge({"first_name": "Ann", "phone": "1"}, [here, there], ORDER, ACCOUNTS) == {
        "first_name": "Anna",
        "phone": "2",
    }


def test_an_account_that_is_not_in_the_order_comes_last():
    cells = [first("Anna", "Ann"), first("Anni", "Ann", "salesrocks")]
    assert merge({"first_name": "Ann"}, cells, ("salesrocks",), ACCOUNTS) == {"first_name": "Anni"}


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        pytest.param(("Anna", "Maria Berg"), "Anna Maria Berg", id="as it was"),
        pytest.param(("Anna Maria", "Berg"), "Anna Maria Berg", id="another place of the cut"),
        pytest.param(("Anna", "Maria  Berg"), "Anna Maria Berg", id="another number of blanks"),
        pytest.param(("Eva", "Maria Berg"), "Eva Maria Berg", id="the first word moved: the rest comes along"),
        pytest.param(("Anna", "Maria Holm"), "Anna Maria Holm", id="the rest moved: the first word comes along"),
        pytest.param(("Anna", "Berg"), "Anna Berg", id="shorter, though each part is known from somewhere"),
    ],
)
def test_where_a_name_is_one_field_it_moves_as_a_whole(shown, name: str):
    def split(first_name: str, last_name: str):
        return {"first_name": first_name, "last_name": last_name}

    held = split("Anna Maria", "Berg")
    seen = cell("rocketresponder", fields=split(*shown), base=split("Anna", "Maria Berg"))
    assert full_name(merge(held, [seen], ORDER, ACCOUNTS)) == name


@pytest.mark.parametrize(
    ("known", "shown", "name"),
    [
        pytest.param({}, ("Anna", "Maria Berg"), ("Anna", "Maria Berg"), id="nothing known: as it is cut"),
        pytest.param(
            {"first_name": "Anna Maria"}, ("Anna", "Maria"), ("Anna Maria", None), id="the first name alone, cut"
        ),
        pytest.param({"last_name": "Berg"}, ("Berg", None), (None, "Berg"), id="the last name alone"),
        pytest.param(
            {"first_name": "Anna Maria"}, ("Anna", "Maria Berg"), ("Anna Maria", "Berg"), id="a last name is added"
        ),
        pytest.param({"last_name": "Berg"}, ("Anna", "Maria Berg"), ("Anna Maria", "Berg"), id="a first name is added"),
        pytest.param(
            {"first_name": "Eva"}, ("Anna", "Berg"), ("Eva", "Berg"), id="another name: what is blank is filled"
        ),
        pytest.param({"first_name": "Eva", "last_name": "Holm"}, ("Anna", "Berg"), ("Eva", "Holm"), id="all known"),
    ],
)
@pytest.mark.parametrize("held", [True, False])
def test_words_of_a_name_in_one_field_are_not_taken_for_the_other_half(held: bool, known, shown, name):
    names = ("first_name", "last_name")
    one = cell("rocketresponder", fields={k: v for k, v in zip(names, shown, strict=True) if v})
    two = cell("salesrocks", fields=known)
    merged = merge(known if held else {}, [one] if held else [one, two], ("rocketresponder", "salesrocks"), ACCOUNTS)
    assert (merged.get("first_name"), merged.get("last_name")) == name


VALUES = st.dictionaries(st.sampled_from(sorted(STANDARD)), st.sampled_from(["a", "b", "a b", "c"]), max_size=4)
CELLS = st.lists(
    st.builds(
        lambda where, key, fields, base: cell(where, key=key, fields=fields, base=base),
        st.sampled_from(["rocs", "salesrocks", "rocketresponder"]),
        st.sampled_from("xyz"),
        VALUES,
        st.none() | VALUES,
    ),
    max_size=4,
    unique_by=lambda c: (c.account, c.key),
)


OWNERS = st.dictionaries(st.sampled_from(sorted(STANDARD)), st.sampled_from(ORDER), max_size=3)


@given(VALUES, CELLS, st.randoms(), OWNERS)
def test_the_order_of_reading_never_matters(held, cells, chance, owners):
    mixed = list(cells)
    chance.shuffle(mixed)
    assert merge(held, mixed, ORDER, ACCOUNTS, owners) == merge(held, cells, ORDER, ACCOUNTS, owners)


@pytest.mark.parametrize(
    ("held", "cells", "holds"),
    [
        pytest.param(
            "Ann", [first("Anna", "Ann"), first("Anni", "Ann", "salesrocks")], "Anni", id="apart: the owner's counts"
        ),
        pytest.param(
            "Ann", [first("Anna", "Ann"), first("Ann", "Ann", "salesrocks")], "Anna", id="the owner did not move"
        ),
        pytest.param("Ann", [first("Anna", "Ann")], "Anna", id="the owner shows nothing"),
        pytest.param(
            "Ann", [first("Anna", "Ann"), first(None, "Ann", "salesrocks")], "Anna", id="a blank of the owner's"
        ),
        pytest.param(
            None, [first("Anna"), first("Anni", where="salesrocks")], "Anni", id="at first contact the owner fills"
        ),
        pytest.param(
            None,
            [first("Anna", "Anna"), first("Anni", "Anni", "salesrocks")],
            "Anni",
            id="compared, never agreed on: the owner decides",
        ),
    ],
)
def test_an_owner_comes_before_the_order_of_the_configuration(held: str | None, cells, holds: str):
    owners = {"first_name": "salesrocks"}
    assert merge({"first_name": held} if held else {}, cells, ORDER, ACCOUNTS, owners) == {"first_name": holds}


@given(VALUES, CELLS, OWNERS)
def test_where_an_owner_moved_its_value_holds_and_nobody_elses(held, cells, owners):
    merged = merge(held, cells, ORDER, ACCOUNTS, owners)
    for name, owner in owners.items():
        its = [c for c in cells if c.account == owner and name in c.fields and c.base is not None]
        moved = {c.fields[name] for c in its if c.fields[name] not in {c.base.get(name), held.get(name)}}
        if moved and name not in NAME_FIELDS:
            assert merged[name] in moved


@given(VALUES, CELLS)
def test_who_owns_nothing_changes_nothing(held, cells):
    assert merge(held, cells, ORDER, ACCOUNTS, {}) == merge(held, cells, ORDER, ACCOUNTS)


def test_a_field_that_is_only_seen_late_was_there_all_along():
    late = {**ACCOUNTS, "rocs": replace(account("rocs"), late=frozenset({"country"}))}
    seen = cell(fields={"country": "SE"}, base={})
    assert merge({"country": "DE"}, [seen], ORDER, ACCOUNTS) == {"country": "SE"}
    assert merge({"country": "DE"}, [seen], ORDER, late) == {"country": "DE"}
    assert merge({}, [seen], ORDER, late) == {"country": "SE"}
    edited = cell(fields={"country": "NO"}, base={"country": "SE"})
    assert merge({"country": "DE"}, [edited], ORDER, late) == {"country": "NO"}


@given(VALUES, CELLS, OWNERS)
def test_merging_invents_and_loses_nothing(held, cells, owners):
    merged = merge(held, cells, ORDER, ACCOUNTS, owners)
    seen = {name for c in cells for name in c.fields}
    # Nobody decides between records that were compared, differ, and never agreed on anything.
    compared = {
        name: {c.fields[name] for c in cells if name in c.fields.keys() & (c.base or {}).keys()} for name in seen
    }
    open_questions = {name for name, values in compared.items() if len(values) > 1} - held.keys()
    assert held.keys() <= merged.keys() <= held.keys() | seen | set(NAME_FIELDS)
    assert seen - set(NAME_FIELDS) - open_questions <= merged.keys()
    for name, value in merged.items():
        known = {held.get(name), *(c.fields.get(name) for c in cells)}
        assert value in known or (name in NAME_FIELDS and any(value in full_name(c.fields) for c in cells))


@given(VALUES, CELLS)
def test_once_everybody_has_been_compared_merging_again_changes_nothing(held, cells):
    merged = merge(held, cells, ORDER, ACCOUNTS)
    compared = [cell(c.account, key=c.key, fields=c.fields, base=c.fields) for c in cells]
    assert merge(merged, compared, ORDER, ACCOUNTS) == merged


# What to write


@pytest.mark.parametrize(
    ("where", "held", "shown", "differs"),
    [
        pytest.param("rocs", {"phone": "1"}, {"phone": "1"}, {}, id="the same"),
        pytest.param("rocs", {"phone": "1"}, {"phone": "2"}, {"phone": "1"}, id="another value"),
        pytest.param("rocs", {"phone": "1"}, {}, {"phone": "1"}, id="a blank is filled"),
        pytest.param("rocs", {}, {"phone": "2"}, {}, id="nothing is ever blanked"),
        pytest.param("rocs", {"phone": ""}, {"phone": "2"}, {}, id="an empty value neither"),
        pytest.param("rocs", {"shoe_size": "41"}, {}, {}, id="a field the account cannot hold"),
        pytest.param("salesrocks", {"country": "SE", "phone": "1"}, {}, {"phone": "1"}, id="only fields it can hold"),
        pytest.param(
            "rocs",
            {"first_name": "Ann", "last_name": "Berg"},
            {"first_name": "Ann"},
            {"last_name": "Berg"},
            id="half of a name",
        ),
        pytest.param(
            "rocketresponder",
            {"first_name": "Ann", "last_name": "Berg"},
            {"first_name": "Ann"},
            {"first_name": "Ann", "last_name": "Berg"},
            id="one name field: the whole name",
        ),
        pytest.param(
            "rocketresponder",
            {"first_name": "Anna Maria", "last_name": "Berg"},
            {"first_name": "Anna", "last_name": "Maria Berg"},
            {},
            id="one name field: another cut is the same name",
        ),
        pytest.param(
            "rocketresponder",
            {"first_name": "Ann"},
            {"first_name": "Ann", "last_name": "Berg"},
            {},
            id="one name field: nothing differs",
        ),
    ],
)
def test_only_what_differs_is_written(where: str, held, shown, differs):
    assert differing(held, cell(where, fields=shown), ACCOUNTS[where]) == differs


@given(VALUES, VALUES, st.sampled_from(sorted(FACTS)))
def test_after_writing_what_differs_nothing_differs(held, shown, where: str):
    written = differing(held, cell(where, fields=shown), ACCOUNTS[where])
    assert not set(written) - FACTS[where].fields
    assert differing(held, cell(where, fields=shown | written), ACCOUNTS[where]) == {}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, ""),
        ({"first_name": "Ann"}, "Ann"),
        ({"last_name": "Berg"}, "Berg"),
        ({"first_name": " Anna  Maria ", "last_name": "Berg"}, "Anna Maria Berg"),
    ],
)
def test_a_full_name_has_single_blanks(fields, name: str):
    assert full_name(fields) == name


VALUES = st.sampled_from(["", "Ann", "Anna", "Mary Ann"])


@given(st.lists(st.tuples(st.sampled_from(ORDER[:3]), VALUES, VALUES, st.sampled_from(["", "1", "2"])), max_size=4))
def test_where_records_were_compared_and_nothing_is_agreed_on_none_is_overwritten(drawn):
    cells = []
    for where, given_name, family_name, phone in drawn:
        shown = {"first_name": given_name, "last_name": family_name, "phone": phone}
        fields = {name: value for name, value in shown.items() if value}
        cells.append(cell(where, fields=fields, base=dict(fields)))
    merged = merge({}, cells, ORDER, ACCOUNTS)
    for entry in cells:
        for name, value in differing(merged, entry, ACCOUNTS[entry.account]).items():
            before = entry.fields.get(name)
            if before is not None and before != value:  # a name in one field is written as a whole
                assert name in NAME_FIELDS
                assert full_name(merged).startswith(full_name(entry.fields))


def test_a_field_that_records_dispute_is_agreed_on_once_one_of_them_moves():
    cells = [first("Ann", "Ann"), first("Anna", "Anna", "salesrocks")]
    assert merge({}, cells, ORDER, ACCOUNTS) == {}
    moved = [first("Ann", "Ann"), first("Annette", "Anna", "salesrocks")]
    assert merge({}, moved, ORDER, ACCOUNTS) == {"first_name": "Annette"}
