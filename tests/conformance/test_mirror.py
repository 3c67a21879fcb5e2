"""What an adapter does, through the real store on both engines: pulled, mirrored, decided, pushed, read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.records import Status
from syncd.providers.registry import REGISTRY
from tests.conformance.bench import ANN, BOB, CAT, Bench
from tests.conformance.benches import BENCHES, Postbox
from tests.conformance.pair import Pair
from tests.world import quiet

Open = Callable[[type[Bench]], Pair]
YES, NO = Status.SUBSCRIBED, Status.UNSUBSCRIBED


@pytest.fixture
def open_pair(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Once on each engine. The reference adapter is in no registry but this test's."""
    quiet()
    monkeypatch.setitem(REGISTRY, Postbox.provider, Postbox.registry)
    opened: list[Pair] = []

    def opening(bench: type[Bench]) -> Pair:
        opened.append(Pair(bench, migrated_url, tmp_path))
        return opened[-1]

    yield opening
    for pair in opened:
        pair.close()


def stands(bench: Bench, email: str) -> set[Status]:
    return {row.status for row in bench.of(email)}


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.__name__)
def test_what_is_seen_is_mirrored_and_what_is_decided_is_sent_and_read_back(
    open_pair: Open, bench: type[Bench]
) -> None:
    pair = open_pair(bench)
    one, two = pair.one, pair.two
    removes = one.adapter().facts.unsubscribe_removes
    readable = bool(bench.able & {"CanSnapshot", "CanLookup"})
    campaigns = [one.runs_campaign("Autumn")] if "CanReport" in bench.able else []
    pair.settle(3)
    counted = pair.rows("SELECT campaign_id, name FROM v_campaigns WHERE account = 'one'")
    assert counted == [{"campaign_id": number, "name": "Autumn"} for number in campaigns]
    # Everybody who is at the reference is where this provider takes them, and the mirror says so.
    assert stands(two, ANN) == {YES}
    if ChangeKind.SUBSCRIBE in one.accepts:
        assert stands(one, ANN) == {YES}
    if readable:
        assert pair.held(ANN) == {"one": YES, "two": YES}

    pair.says_no(ANN)
    pair.settle(2)
    assert stands(two, ANN) == {NO}
    if ChangeKind.UNSUBSCRIBE in one.accepts:
        assert stands(one, ANN) == (set() if removes else {NO})
    if readable:
        assert pair.held(ANN) == {"one": "removed" if removes else NO, "two": NO}
    states = {
        row["account"]: row["state"] for row in pair.rows("SELECT account, state FROM op WHERE kind = 'unsubscribe'")
    }
    sent = {"one": "verified" if readable else "done"} if ChangeKind.UNSUBSCRIBE in one.accepts else {}
    assert states == {**sent, "two": "verified"}

    # A "no" that is said there is one here.
    if not removes and (readable or "CanNotify" in bench.able):
        one.leaves(BOB)
        pair.settle(3)
        assert stands(two, BOB) == {NO}

    # And nothing follows any more, of anybody.
    writes = pair.writes
    pair.settle(1)
    assert pair.writes == writes
    assert stands(two, CAT) == {YES}
