"""What the protocol says of what few providers offer besides: vetting people, making lists, trials."""

from __future__ import annotations

import pytest

from syncd.domain.errors import RefusedError
from syncd.domain.hygiene import Verification
from tests.conformance.bench import ANN, NOBODY, Bench, emulator_of
from tests.conformance.sentences.sentence import sentence


@sentence("vet-anybody", "CanVet")
def anybody_gets_a_verdict(bench: Bench) -> None:
    adapter = bench.adapter()
    for address in (ANN, NOBODY):
        for phone in ("", "+46701234567"):
            said = bench.carry(adapter, adapter.vet(address, phone))
            assert isinstance(said, Verification)
            assert said.phone == phone
            assert said.score is not None or said.word


@sentence("vet-harmless", "CanVet")
def vetting_changes_nothing(bench: Bench) -> None:
    adapter, before, writes = bench.adapter(), bench.census(), emulator_of(bench).writes
    bench.carry(adapter, adapter.vet(ANN, "+46701234567"))
    assert bench.census() == before
    assert emulator_of(bench).writes == writes


@sentence("list-made", "CanCreateList")
def a_list_that_was_made_is_a_list(bench: Bench) -> None:
    adapter = bench.adapter()
    made = bench.carry(adapter, adapter.create_list("Autumn", bench.new_list))
    assert (made.id, made.name) in {(one.id, one.name) for one in bench.carry(adapter, adapter.containers())}
    assert made.id in bench.lists()


@sentence("list-refused", "CanCreateList")
def what_is_known_not_to_be_taken_is_not_sent(bench: Bench) -> None:
    adapter = bench.adapter()
    with pytest.raises(RefusedError):
        bench.carry(adapter, adapter.create_list("Autumn", {**bench.new_list, **bench.bad_list}))
    assert bench.sent == []


@sentence("try-apart", "CanTry")
def a_trial_delivers_nobody(bench: Bench) -> None:
    adapter, before, writes = bench.adapter(), bench.census(), emulator_of(bench).writes
    trial = adapter.trial(None, live=False)
    bench.carry(adapter, trial.exchange)
    assert bench.census() == before
    assert emulator_of(bench).writes == writes
    assert bench.adapter(test_endpoint=None).trial(None, live=False) is None


@sentence("try-shows", "CanTry")
def a_trial_shows_no_secret(bench: Bench) -> None:
    adapter = bench.adapter()
    trial = adapter.trial(ANN, live=True)
    tried = bench.carry(adapter, trial.exchange)
    shown = f"{trial.url} {dict(trial.headers)} {trial.body} {tried}"
    assert bench.secrets
    assert not [secret for secret in bench.secrets if secret in shown]
    assert ANN in trial.body
