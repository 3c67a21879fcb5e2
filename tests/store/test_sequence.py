"""One ever-growing number: over restarts, over rollbacks, over several takers."""

from __future__ import annotations

import pytest

from syncd.store.sequence import BLOCK, Sequence
from syncd.store.session import Engine, reading, rehearsing, writing


def test_numbers_grow_by_one_over_the_end_of_a_block(engine: Engine):
    sequence = Sequence(engine)
    taken = [sequence.take() for _ in range(BLOCK + 5)]
    assert taken == list(range(1, BLOCK + 6))


def test_after_a_restart_every_number_is_above_all_before(engine: Engine):
    before = [Sequence(engine).take() for _ in range(3)]
    assert before == [1, BLOCK + 1, 2 * BLOCK + 1]


def test_two_takers_never_get_the_same_number(engine: Engine):
    one, two = Sequence(engine), Sequence(engine)
    taken = [taker.take() for _ in range(BLOCK + 3) for taker in (one, two)]
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("transaction", [writing, rehearsing])
def test_a_number_cannot_be_taken_inside_a_transaction_that_writes(engine: Engine, transaction):
    sequence = Sequence(engine)
    with transaction(engine), pytest.raises(AssertionError):
        sequence.take()
    assert sequence.take() == 1


def test_what_is_rolled_back_around_it_takes_no_number_back(engine: Engine):
    sequence = Sequence(engine)
    first = sequence.take()
    with rehearsing(engine):
        pass
    assert sequence.take() == first + 1
    assert Sequence(engine).take() > first + 1


def test_a_number_may_be_taken_while_reading(engine: Engine):
    sequence = Sequence(engine)
    sequence.take()
    with reading(engine):
        assert sequence.take() == 2
