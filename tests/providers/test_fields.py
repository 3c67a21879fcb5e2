"""One form for every kind of value, whatever a provider writes; and back into what it wants to read."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.providers.countries import COUNTRIES, LANGUAGES
from syncd.providers.fields import Kind, Rules, form_fault

TODAY = date(2026, 11, 21)
KINDS = {
    "first_name": Kind.TEXT, "phone": Kind.PHONE, "birth_date": Kind.DATE, "country": Kind.COUNTRY,
    "language": Kind.LANGUAGE, "postal_code": Kind.POSTAL_CODE, "since": Kind.DATE,
}  # fmt: skip


def rules(region: str | None = None, **forms: str) -> Rules:
    return Rules(KINDS, forms, region, lambda: TODAY)


@pytest.mark.parametrize(
    ("name", "came", "kept"),
    [
        ("first_name", " Ann ", "Ann"),
        ("phone", "+46 70-123 45 67", "+46701234567"),
        ("phone", "0046701234567", None),
        ("phone", "12", None),
        ("birth_date", "1990-12-31", "1990-12-31"),
        ("birth_date", "1990-12-31T00:00:00Z", "1990-12-31"),
        ("birth_date", "19901231", "1990-12-31"),
        ("birth_date", "33569", "1991-11-27"),
        ("birth_date", "1990", None),
        ("birth_date", "31/12/1990", None),
        ("birth_date", "1990-02-31", None),
        ("birth_date", "2026-11-22", None),
        ("country", "se", "SE"),
        ("country", "United  Kingdom", "GB"),
        ("country", "uk", "GB"),
        ("country", "Bosnia and Herzegovina", "BA"),
        ("country", "Atlantis", None),
        ("language", "EN", "en"),
        ("language", "en_us", "en-US"),
        ("language", "German", "de"),
        ("language", "ger", "de"),
        ("language", "en-XX", None),
        ("postal_code", " 01234 ", "01234"),
        ("postal_code", "sw1a  1aa", "SW1A 1AA"),
        ("shoe_size", "41", "41"),
        ("first_name", "An\ufffd", None),
    ],
)
def test_a_value_has_one_form_or_is_kept_as_it_came(name, came, kept):
    read = rules().read({name: came})
    assert read == ({name: kept} if kept else {f"?{name}": came})


def test_a_blank_is_no_value_and_nothing_to_tell_of():
    assert rules().read({"first_name": " ", "birth_date": ""}) == {}


def test_a_number_without_its_country_is_read_by_the_accounts_region_or_the_persons_country():
    assert rules("SE").read({"phone": "070-123 45 67"}) == {"phone": "+46701234567"}
    read = rules().read({"phone": "0151 12345678", "country": "Germany"})
    assert read == {"phone": "+4915112345678", "country": "DE"}


def test_an_accounts_own_form_is_read_and_written():
    own = rules(birth_date="DD.MM.YYYY", country="name", phone="digits")
    assert own.read({"birth_date": "01.02.1990", "country": "Sweden", "phone": "46701234567"}) == {
        "birth_date": "1990-02-01", "country": "SE", "phone": "+46701234567",
    }  # fmt: skip
    assert own.spelt({"birth_date": "1990-02-01", "country": "SE", "phone": "+46701234567", "first_name": "Ann"}) == {
        "birth_date": "01.02.1990", "country": "Sweden", "phone": "46701234567", "first_name": "Ann",
    }  # fmt: skip
    assert rules(phone="national").spelt({"phone": "+46701234567"}) == {"phone": "070-123 45 67"}


DATES = st.dates(date(1800, 1, 1), TODAY).map(date.isoformat)
FORMS = st.permutations(["YYYY", "MM", "DD"]).flatmap(
    lambda parts: st.sampled_from(list("./- ")).map(lambda s: s.join(parts))
)


@given(DATES, FORMS)
def test_what_is_written_in_any_form_of_a_date_reads_as_the_same_day(day, form):
    assert form_fault(Kind.DATE, form) is None
    own = rules(birth_date=form)
    assert own.read(own.spelt({"birth_date": day})) == {"birth_date": day}


@given(st.sampled_from(sorted(COUNTRIES)), st.sampled_from(["code", "name"]))
def test_what_is_written_of_a_country_reads_as_the_same_country(code, form):
    own = rules(country=form)
    assert own.read(own.spelt({"country": code})) == {"country": code}


@given(st.sampled_from(sorted(LANGUAGES)), st.none() | st.sampled_from(sorted(COUNTRIES)))
def test_a_language_in_its_one_form_stays_as_it_is(code, region):
    value = code if region is None else f"{code}-{region}"
    assert rules().read({"language": value}) == {"language": value}
    assert rules().read({"language": LANGUAGES[code].upper()}) == {"language": code}


@given(st.dictionaries(st.sampled_from(sorted(KINDS)), st.text(max_size=12), max_size=4))
def test_reading_twice_changes_nothing_and_invents_nothing(came):
    once = rules("SE").read(came)
    assert {name.lstrip("?") for name in once} <= came.keys()
    good = {name: value for name, value in once.items() if not name.startswith("?")}
    assert rules("SE").read(good) == good


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (Kind.DATE, "DD.MM.YY"),
        (Kind.DATE, "MM.YYYY"),
        (Kind.DATE, "DD.MM.YYYY DD"),
        (Kind.PHONE, "loud"),
        (Kind.COUNTRY, "flag"),
        (Kind.TEXT, "upper"),
    ],
)
def test_a_form_that_does_not_exist_is_told(kind, form):
    assert form_fault(kind, form)


def test_what_is_none_of_its_kind_is_left_out_of_what_is_written():
    """As from before a field had a kind: it must not stop the change that it is a part of."""
    told = rules("DE", birth_date="DD.MM.YYYY", phone="national")
    assert told.spelt({"birth_date": "unknown", "phone": "none", "first_name": "Ann"}) == {"first_name": "Ann"}
