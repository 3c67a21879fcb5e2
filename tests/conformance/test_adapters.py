"""Every adapter is held to every sentence of the protocol that binds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncd.providers import protocol
from syncd.providers.registry import REGISTRY
from tests.conformance.bench import Bench
from tests.conformance.benches import BENCHES
from tests.conformance.suite import SENTENCES

BOUND = [
    pytest.param(bench, name, id=f"{bench.__name__}-{name}")
    for bench in BENCHES
    for name, sentence in SENTENCES.items()
    if sentence.binds(bench)
]


@pytest.mark.parametrize(("bench", "name"), BOUND)
def test_the_adapter_keeps_the_sentence(bench: type[Bench], name: str) -> None:
    SENTENCES[name].check(bench())


def test_each_sentence_of_the_protocol_has_its_check_and_no_check_is_without_one() -> None:
    text = Path(protocol.__file__).read_text()
    named = re.findall(r'^\s*(?:""")?\* ([a-z]+(?:-[a-z]+)*): ', text, re.MULTILINE)
    assert sorted(named) == sorted(set(named))
    assert set(named) == set(SENTENCES)


def test_every_registered_provider_is_on_the_bench() -> None:
    assert {bench.provider for bench in BENCHES} - {"postbox"} == set(REGISTRY)
