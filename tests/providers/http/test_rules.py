"""What answers mean: the first rule that fits decides, and every answer comes to exactly one thing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.providers.http.rules import USUAL, Judged, Rule, Verdict, judge
from syncd.wire import Response


def rule(**given: Any) -> Rule:
    return Rule.model_validate({"verdict": "delivered"} | given)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "delivered"), (201, "delivered"), (204, "delivered"), (299, "delivered"),
        (409, "duplicate"),
        (400, "rejected"), (402, "rejected"), (422, "rejected"), (415, "rejected"),
        (408, "retry"), (425, "retry"), (429, "retry"), (500, "retry"), (503, "retry"), (599, "retry"),
        (401, "stop"), (403, "stop"), (404, "stop"), (405, "stop"), (407, "stop"), (410, "stop"),
        (100, None), (302, None), (600, None),
    ],
)  # fmt: skip
def test_the_usual_meaning(status: int, verdict: str | None):
    assert judge(Response(status), ()).verdict == verdict


BODIES = [
    # rule, body, fits
    ({"contains": "Successfully delivered"}, b"OK: successfully DELIVERED.", True),
    ({"contains": "successfully delivered"}, b'{"success": false}', False),
    ({"pointer": "/status", "equals": "duplicate"}, b'{"status": "duplicate"}', True),
    ({"pointer": "/status", "equals": "duplicate"}, b'{"status": "Duplicate"}', False),
    ({"pointer": "/status", "contains": "dup"}, b'{"status": "Duplicate"}', True),
    ({"pointer": "/success", "equals": False}, b'{"success": false}', True),
    ({"pointer": "/success", "equals": False}, b'{"success": true}', False),
    ({"pointer": "/success", "equals": True}, b'{"success": 1}', False),
    ({"pointer": "/code", "equals": 0}, b'{"code": 0}', True),
    ({"pointer": "/code", "equals": 0}, b'{"code": "0"}', True),
    ({"pointer": "/code", "equals": 9007199254740993}, b'{"code": 9007199254740992}', False),
    ({"pointer": "/results/1/state", "equals": "ok"}, b'{"results": [{}, {"state": "ok"}]}', True),
    ({"pointer": "/results/7/state", "equals": "ok"}, b'{"results": []}', False),
    ({"pointer": "/a~1b/~0c", "equals": "x"}, b'{"a/b": {"~c": "x"}}', True),
    ({"pointer": "", "equals": "OK"}, b'"OK"', True),
    ({"pointer": "/status", "equals": "x"}, b"not JSON", False),
    ({"pointer": "/status", "equals": "x"}, b"\xff\xfe", False),
    ({"pointer": "/status", "equals": "x"}, b"[" * 5000, False),
    ({"contains": "x"}, b"\xff\xfex", True),
]


@pytest.mark.parametrize(("test", "body", "fits"), BODIES)
def test_the_body_decides_where_the_rule_says_so(test: dict[str, Any], body: bytes, fits: bool):
    assert rule(status=["200"], **test).fits(Response(200, {}, body)) is fits
    assert rule(status=["201"], **test).fits(Response(200, {}, body)) is False
    assert rule(**test).fits(Response(500, {}, body)) is fits


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["2xx"], (200, 299), (199, 300)),
        (["500-503"], (500, 503), (499, 504)),
        (["200", "409"], (200, 409), (201, 410)),
        ([204], (204,), (200,)),
        (418, (418,), (417,)),
    ],
)
def test_statuses_are_numbers_ranges_and_hundreds(patterns: Any, inside: tuple[int, ...], outside: tuple[int, ...]):
    found = rule(status=patterns)
    assert all(found.names(status) for status in inside)
    assert not any(found.names(status) for status in outside)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": ["6xx"]},
        {"status": ["503-500"]},
        {"status": [True]},
        {"status": ["2x"]},
        {},
        {"status": ["200"], "verdict": "fine"},
        {"status": ["200"], "pointer": "/a"},
        {"status": ["200"], "pointer": "/a", "equals": "x", "contains": "y"},
        {"status": ["200"], "equals": "x"},
        {"status": ["200"], "pointer": "a", "equals": "x"},
        {"status": ["200"], "contains": ""},
        {"status": ["200"], "body": "x"},
    ],
)
def test_a_rule_that_cannot_mean_anything_is_refused(fault: dict[str, Any]):
    with pytest.raises(ValidationError):
        rule(**fault)


def test_who_says_when_200_is_delivered_says_that_otherwise_it_is_not():
    rules = [rule(status=["200"], contains="yes")]
    assert judge(Response(200, {}, b"yes"), rules).verdict is Verdict.DELIVERED
    assert judge(Response(200, {}, b"no"), rules) == Judged(200, None, "")
    assert judge(Response(201, {}, b"no"), rules).rule == "as usual: 2xx: delivered"
    assert judge(Response(409), rules).verdict is Verdict.DUPLICATE


def test_a_rule_without_a_status_leaves_the_usual_ones_in_force():
    rules = [rule(contains="already", verdict="duplicate")]
    assert judge(Response(400, {}, b"already there"), rules).verdict is Verdict.DUPLICATE
    assert judge(Response(400, {}, b"bad"), rules).verdict is Verdict.REJECTED


def test_what_decided_can_be_read():
    rules = [rule(status=["200", "201"], pointer="/success", equals=False, verdict="rejected"), rule(contains="gone")]
    assert judge(Response(200, {}, b'{"success": false}'), rules).rule == (
        "rule 1: 200 or 201 and /success is false: rejected"
    )
    assert judge(Response(503, {}, b"gone"), rules).rule == "rule 2: the body holds gone: delivered"


PATTERNS = st.sampled_from(["1xx", "2xx", "4xx", "5xx", "200", "201", "409", "422", "400-429", "500-503"])
WORDS = st.sampled_from(["created", "duplicate", "rejected", "later"])
RULES = st.builds(
    lambda status, test, verdict: Rule.model_validate({"status": status, "verdict": verdict} | test),
    st.lists(PATTERNS, min_size=1, max_size=3),
    st.one_of(
        st.just({}),
        WORDS.map(lambda word: {"contains": word}),
        WORDS.map(lambda word: {"pointer": "/status", "equals": word}),
    ),
    st.sampled_from(list(Verdict)),
)
ANSWERS = st.builds(
    lambda status, body: Response(status, {}, body),
    st.integers(100, 599),
    st.one_of(st.binary(max_size=20), WORDS.map(lambda word: json.dumps({"status": word}).encode())),
)


@given(rules=st.lists(RULES, max_size=6), answer=ANSWERS)
def test_the_first_rule_that_fits_decides_and_every_answer_comes_to_one_thing(rules: list[Rule], answer: Response):
    judged = judge(answer, rules)
    assert judged == judge(answer, rules)
    fitting = [(number, one) for number, one in enumerate(rules, 1) if one.fits(answer)]
    usual = [one for one in USUAL if one.fits(answer)]
    if fitting:
        number, first = fitting[0]
        assert judged == Judged(answer.status, first.verdict, f"rule {number}: {first}")
    elif any(one.names(answer.status) for one in rules) or not usual:
        assert judged == Judged(answer.status, None, "")
    else:
        assert judged == Judged(answer.status, usual[0].verdict, f"as usual: {usual[0]}")


@given(rules=st.lists(RULES, max_size=4), more=st.lists(RULES, max_size=3), answer=ANSWERS)
def test_a_rule_that_is_added_at_the_end_changes_nothing_that_was_decided(
    rules: list[Rule], more: list[Rule], answer: Response
):
    judged = judge(answer, rules)
    if judged.rule.startswith("rule "):
        assert judge(answer, [*rules, *more]) == judged
