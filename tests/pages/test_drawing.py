"""Charts lie inside their frames, keep the order of what they show, and words say what numbers are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from syncd import pages
from syncd.pages.words import ago, clock, lasting, marked, moment, number, plain
from syncd.sync.charts import CARD_HEIGHT, CARD_WIDTH, campaign_plot, quantile, runs_chart, waits_chart

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
seconds = st.floats(0, 10**7, allow_nan=False)


def run(number: int, began: float, took: float | None, result: str, account: str) -> Any:
    started = NOW - timedelta(seconds=began)
    ended = None if took is None else started + timedelta(seconds=took)
    return SimpleNamespace(
        id=str(number), account=account, started_at=started, ended_at=ended, result=result, reason=""
    )


runs = st.lists(
    st.tuples(
        st.floats(0, 10**7),
        st.none() | seconds,
        st.sampled_from(["success", "failed", "strange"]),
        st.sampled_from("ab"),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: [run(number, *row) for number, row in enumerate(rows)])


@given(runs)
def test_every_run_is_one_dot_in_the_row_of_its_account_and_longer_ones_are_higher(rows: list[Any]) -> None:
    chart = runs_chart(rows, ["a", "b", "c"], NOW)
    assert chart is not None
    assert [row.name for row in chart.rows] == ["a", "b", "c"]
    for row in chart.rows:
        mine = [one for one in rows if one.account == row.name]
        assert len(row.marks) == len(mine)
        for mark in row.marks:
            assert chart.left <= mark.x <= chart.right
            assert row.top <= mark.y <= row.bottom
        took = {one.id: ((one.ended_at or NOW) - one.started_at).total_seconds() for one in mine}
        raised = [up for _, up in sorted((took[one.id], -mark.y) for one, mark in zip(mine, row.marks, strict=True))]
        assert raised == sorted(raised)
        across = [mark.x for mark in row.marks]
        assert sorted(across) == [x for _, x in sorted(zip((one.started_at for one in mine), across, strict=True))]
    assert all(0 <= tick.at <= chart.width for tick in chart.ticks)
    assert len(chart.ticks) <= 10


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(seconds, max_size=40)))
def test_every_unsubscribe_is_one_dot_and_half_of_them_are_left_of_the_line(found: dict[str, list[float]]) -> None:
    chart = waits_chart(found)
    there = {name: values for name, values in found.items() if values}
    if not there:
        assert chart is None
        return
    assert chart is not None
    assert {row.name: len(row.marks) for row in chart.rows} == {name: len(values) for name, values in there.items()}
    for row in chart.rows:
        half, most = row.lines
        assert sum(mark.x <= half.at for mark in row.marks) * 2 >= len(row.marks)
        assert sum(mark.x <= most.at for mark in row.marks) >= 0.99 * len(row.marks)
        for mark in row.marks:
            assert chart.left <= mark.x <= chart.right
            assert row.top <= mark.y <= row.bottom


@given(st.lists(seconds, min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_one_of_the_values_and_no_smaller_would_do(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


counts = st.none() | st.integers(0, 10**12)


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=40), st.booleans())
def test_every_counter_that_is_known_is_a_line_inside_the_frame(rows: list[tuple[Any, Any]], daily: bool) -> None:
    samples = [
        SimpleNamespace(
            at=NOW + timedelta(days=day),
            day=f"{NOW + timedelta(days=day):%Y-%m-%d}" if daily else "",
            counters={"sent": sent, "opened": opened},
        )
        for day, (sent, opened) in enumerate(rows)
    ]
    plot = campaign_plot(samples, ["sent", "opened"])
    known = [name for at, name in enumerate(["sent", "opened"]) if any(row[at] is not None for row in rows)]
    if not known:
        assert plot is None
        return
    assert plot is not None
    assert [line.name for line in plot.lines] == known
    for line in plot.lines:
        for x, y in line.dots:
            assert plot.left <= x <= CARD_WIDTH
            assert 0 <= y <= CARD_HEIGHT
    assert len({line.number for line in plot.lines}) == len(plot.lines)


def test_a_day_that_is_none_is_drawn_where_it_was_seen() -> None:
    samples = [SimpleNamespace(at=NOW, day="week 12", counters={"sent": 1})]
    assert campaign_plot(samples, ["sent"]) is not None


def test_no_runs_and_no_waits_are_no_charts() -> None:
    assert runs_chart([], ["a"], NOW) is None
    assert waits_chart({"a": []}) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0, "0 s"), (0.42, "0.42 s"), (2.5, "2.5 s"), (12.4, "12 s"), (180, "3 min"), (3600, "1 h"),
     (7500, "2 h 5 min"), (172_800, "2 d")],
)  # fmt: skip
def test_how_long(value: float | None, said: str) -> None:
    assert lasting(value) == said


def test_times_and_numbers() -> None:
    assert ago(NOW - timedelta(minutes=3), NOW) == "3 min ago"
    assert ago("2026-11-21T12:05:00.000Z", NOW) == "in 5 min"
    assert (ago(NOW, NOW), ago(None, NOW), ago("", NOW)) == ("now", "never", "never")
    assert (clock("2026-11-21T12:05:00.000Z"), clock(None)) == ("2026-11-21 12:05:00Z", "-")
    assert moment(datetime(2026, 11, 21)) == datetime(2026, 11, 21, tzinfo=UTC)  # noqa: DTZ001
    assert (number(1234567), number(None)) == ("1\u202f234\u202f567", "-")


@given(st.text())
def test_no_text_gets_through_as_markup_or_turns_a_line_about(text: str) -> None:
    shown = pages.render("unsubscribe.html", scope=text)
    inside = re.search(r"Stop (.*)\?</p>", shown, re.DOTALL)
    assert inside is not None
    assert set(re.findall(r"<[^>]*>", inside[1])) <= {'<b class="who">', "</b>"}
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00]", shown)
    assert not re.search(r"<(?!/?code>)", str(marked(text)))


def test_what_cannot_be_seen_is_named_and_what_people_write_is_left_alone() -> None:
    assert plain("\u202elive\u202c\x00") == "[U+202E]live[U+202C][U+0000]"
    for text in ("שלום", "🦄\u200d🦄", "Åse\tØ\n", 7, Markup("<b>")):
        assert plain(text) == text


def test_a_value_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(Exception, match="scope"):
        pages.render("unsubscribe.html")


def test_no_template_has_a_style_or_a_script_of_its_own_which_the_policy_would_refuse() -> None:
    from pathlib import Path

    folder = Path(pages.__file__).parent / "templates"
    for file in folder.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\bstyle=|<script|\son[a-z]+=|https?://|\|\s*safe", text), file.name
