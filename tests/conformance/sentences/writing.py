"""What the protocol says of changes: what each kind does, once and again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from syncd.domain.changes import ChangeKind, Outcome
from syncd.domain.errors import ProviderError, RefusedError
from syncd.domain.records import Status
from tests.conformance.bench import ANN, BOB, CAT, NEW, NOBODY, PEOPLE, Bench
from tests.conformance.sentences.sentence import outcome_of, sentence


def changes_of(bench: Bench, *kinds: ChangeKind) -> dict[ChangeKind, tuple[str, Any]]:
    """For each kind that the provider takes, whom it is about and a change that is fine."""
    found = {
        ChangeKind.UNSUBSCRIBE: (BOB, {}),
        ChangeKind.SUBSCRIBE: (NEW, {"first_name": "Newt", "last_name": "Comer"}),
        ChangeKind.UPDATE: (ANN, {"first_name": "Zenobia", "last_name": "Quill"}),
    }
    wanted = [kind for kind in found if kind in bench.accepts and (not kinds or kind in kinds)]
    return {kind: (found[kind][0], bench.change(kind, found[kind][0], **found[kind][1])) for kind in wanted}


def is_so(bench: Bench, kind: ChangeKind, email: str) -> bool:
    """Whether the provider has somebody as an accepted change of this kind wants them."""
    rows = bench.of(email)
    match kind:
        case ChangeKind.UNSUBSCRIBE if bench.adapter().facts.unsubscribe_removes:
            return not rows
        case ChangeKind.UNSUBSCRIBE:
            return bool(rows) and all(row.status is Status.UNSUBSCRIBED for row in rows)
        case ChangeKind.SUBSCRIBE:
            return [row.status for row in rows] == [Status.SUBSCRIBED]
        case ChangeKind.UPDATE:
            return {row.name for row in bench.of(email, bench.updates_at)} == {"Zenobia Quill"}


@sentence("ack-each", "CanApply")
def one_answer_for_each_change_in_their_order(bench: Bench) -> None:
    for kind, (_, change) in changes_of(bench).items():
        assert len(bench.apply(change)) == 1, kind
    if bench.adapter().facts.batch.get(ChangeKind.UNSUBSCRIBE, 1) < 3:
        return
    lost = replace(bench.change(ChangeKind.UNSUBSCRIBE, NOBODY), keys=())
    sent = [bench.change(ChangeKind.UNSUBSCRIBE, CAT), lost, lost]
    acks = bench.apply(*sent)
    assert [ack.outcome is Outcome.ACCEPTED for ack in acks] == [True, False, False]


@sentence("accepted-is-so", "CanApply")
def what_is_accepted_is_so(bench: Bench) -> None:
    for kind, (email, change) in changes_of(bench).items():
        (ack,) = bench.apply(change)
        assert ack.outcome is Outcome.ACCEPTED, f"{kind}: {ack}"
        assert is_so(bench, kind, email), f"{kind}: accepted, and it is not so"


@sentence("refused-is-not", "CanApply")
def what_is_refused_changed_nothing(bench: Bench) -> None:
    bench.leaves(ANN)
    tried = [
        replace(bench.change(kind, NOBODY, first_name="No"), keys=()) for kind in bench.accepts - {ChangeKind.SUBSCRIBE}
    ]
    if ChangeKind.SUBSCRIBE in bench.accepts:
        tried += [bench.change(ChangeKind.SUBSCRIBE, ANN), bench.change(ChangeKind.SUBSCRIBE, CAT)]
    for change in tried:
        before = bench.census()
        adapter = bench.adapter()
        said = outcome_of(bench, adapter, adapter.apply([change]))
        outcome = said if isinstance(said, ProviderError) else said[0].outcome
        if outcome in {Outcome.REFUSED, Outcome.STALE} or isinstance(outcome, RefusedError):
            assert bench.census() == before, f"{change.kind}: {outcome}, and something changed"


@sentence("nobody-else", "CanApply")
def nobody_else_is_changed(bench: Bench) -> None:
    for kind, (email, change) in changes_of(bench).items():
        before, names = bench.others(email), [row.name for row in bench.of(email)]
        bench.apply(change)
        assert bench.others(email) == before, f"{kind} of one person changed another"
        if kind is not ChangeKind.UPDATE and bench.of(email) and names:
            assert [row.name for row in bench.of(email)] == names or names == [""], f"{kind} changed a field"
    for change in changes_of(bench, ChangeKind.UPDATE).values():
        status = [row.status for row in bench.of(change[0])]
        bench.apply(change[1])
        assert [row.status for row in bench.of(change[0])] == status, "an update changed a standing"


@sentence("no-everywhere", "CanApply", accepts=ChangeKind.UNSUBSCRIBE)
def a_no_reaches_what_it_names_and_nothing_more(bench: Bench) -> None:
    facts = bench.adapter().facts
    if facts.keeps_duplicates:
        bench.joins(BOB, *PEOPLE[BOB])
    elsewhere = [row for row in bench.census() if row.email == BOB and row.container != bench.place]
    bench.apply(bench.change(ChangeKind.UNSUBSCRIBE, BOB))
    assert is_so(bench, ChangeKind.UNSUBSCRIBE, BOB)
    left = [row for row in bench.census() if row.email == BOB and row.container != bench.place]
    if facts.unsubscribe_is_global:
        assert all(row.status is Status.UNSUBSCRIBED for row in left)
    else:
        assert left == elsewhere


@sentence("no-again", "CanApply", accepts=ChangeKind.UNSUBSCRIBE)
def a_no_may_be_said_twice(bench: Bench) -> None:
    change = bench.change(ChangeKind.UNSUBSCRIBE, BOB)
    bench.apply(change)
    before = bench.census()
    (ack,) = bench.apply(change)
    assert ack.outcome is not Outcome.REFUSED
    assert bench.census() == before


@sentence("yes-once", "CanApply", accepts=ChangeKind.SUBSCRIBE)
def a_yes_that_is_repeated_adds_nobody_twice(bench: Bench) -> None:
    email, change = changes_of(bench, ChangeKind.SUBSCRIBE)[ChangeKind.SUBSCRIBE]
    bench.apply(change)
    if not bench.adapter().facts.looks_before_subscribe:
        change = bench.change(ChangeKind.SUBSCRIBE, email)  # by then the record is known
    before = bench.census()
    outcome = bench.apply(change)[0].outcome
    assert bench.census() == before, f"{outcome}, and there is one more"


@sentence("yes-in-place", "CanApply", accepts=ChangeKind.SUBSCRIBE)
def who_takes_the_place_of_an_address_has_to_confirm(bench: Bench) -> None:
    if not bench.adapter().facts.changes_addresses:
        return
    change = changes_of(bench, ChangeKind.SUBSCRIBE)[ChangeKind.SUBSCRIBE][1]
    before = bench.census()
    (ack,) = bench.apply(replace(change, replaces=BOB))
    assert ack.outcome is Outcome.ACCEPTED
    assert bench.others(NEW) == before
    assert {row.status for row in bench.of(NEW)} <= {Status.PENDING}
    bench.leaves(CAT)
    before = bench.census()
    later = bench.change(ChangeKind.SUBSCRIBE, NOBODY)
    (ack,) = bench.apply(replace(later, replaces=CAT))
    assert ack.outcome is Outcome.STALE
    assert bench.census() == before
