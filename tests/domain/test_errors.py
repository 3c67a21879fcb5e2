"""Errors are named for what the caller does next, and their sentences are all that is ever logged of them."""

from __future__ import annotations

import inspect

import pytest

from syncd.domain import errors
from syncd.domain.errors import (
    AnswerLostError,
    ApprovalError,
    ConfigurationError,
    DeliveryError,
    MalformedError,
    MirrorError,
    Problem,
    ProviderError,
    RefusedError,
    SyncdError,
    TakenOverError,
    ThrottledError,
    UnauthorisedError,
    UnavailableError,
    UnreachableError,
)

OF_PROVIDERS = [
    UnreachableError,
    AnswerLostError,
    ThrottledError,
    UnavailableError,
    UnauthorisedError,
    MalformedError,
    RefusedError,
]


def test_the_tree_is_the_one_that_its_docstring_draws():
    drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word.endswith("Error")}
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert drawn == defined


@pytest.mark.parametrize("kind", OF_PROVIDERS)
def test_what_goes_wrong_while_talking_is_one_family(kind: type[ProviderError]):
    error = kind("no answer", call="getLists", hint="syncd check rocs")
    assert isinstance(error, ProviderError)
    assert isinstance(error, SyncdError)
    assert (error.message, error.call, error.hint, str(error)) == (
        "no answer",
        "getLists",
        "syncd check rocs",
        "no answer",
    )


@pytest.mark.parametrize("kind", OF_PROVIDERS)
def test_no_error_of_a_provider_is_taken_for_another(kind: type[ProviderError]):
    assert [other for other in OF_PROVIDERS if isinstance(kind("…"), other)] == [kind]


@pytest.mark.parametrize("kind", [ConfigurationError, MirrorError, ApprovalError, DeliveryError])
def test_faults_of_our_own_are_none_of_a_provider(kind: type[SyncdError]):
    assert issubclass(kind, SyncdError)
    assert not issubclass(kind, ProviderError)


def test_a_throttled_call_says_for_how_long():
    assert ThrottledError("wait", retry_after_s=7.5).retry_after_s == 7.5
    assert ThrottledError("wait").retry_after_s is None


@pytest.mark.parametrize(("count", "words"), [(1, "1 problem"), (2, "2 problems")])
def test_a_configuration_error_brings_every_fault_at_once(count: int, words: str):
    problems = [Problem(f"accounts.a{n}", "is wrong") for n in range(count)]
    error = ConfigurationError("syncd.toml", problems)
    assert str(error) == f"syncd.toml: {words}"
    assert error.problems == tuple(problems)
    assert error.hint


def test_a_refused_delivery_carries_the_status_that_tells_the_sender_why():
    error = DeliveryError(401, "signature does not match")
    assert (error.status, str(error)) == (401, "signature does not match")


def test_what_moved_in_a_plan_is_for_whoever_decides_and_not_in_the_sentence():
    moved = [{"email": "ann@example.org", "what": "added"}]
    error = ApprovalError("plan 1 moved", hint="syncd plan 2", plan="2", moved=moved)
    assert (error.moved, error.plan, error.hint) == (tuple(moved), "2", "syncd plan 2")
    assert "ann@" not in f"{error}{error!r}"
    assert (ApprovalError("no plan 1").plan, ApprovalError("no plan 1").moved) == (None, ())


def test_whoever_lost_the_mirror_is_told_what_to_look_for():
    error = TakenOverError()
    assert isinstance(error, MirrorError)
    assert "another syncd" in error.message
    assert "syncd run" in error.hint
