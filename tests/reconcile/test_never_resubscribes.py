"""Whoever said no anywhere is never subscribed, added or moved by us afterwards: the promise that syncd stands on.

Checked over what a decision says, not over what it is meant to say: the scopes that a "no" reaches are worked out here
from the consent state and the configuration alone (`said_no_somewhere`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import Change, ChangeKind
from syncd.domain.consent import GLOBAL, ConsentEvent, ConsentState, Scope
from syncd.domain.records import SUPPRESSED, WHOLE_ACCOUNT, Status
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.exempt import ended_by, lifted
from syncd.reconcile.learn import OWN_ANSWER, learn, taught
from syncd.reconcile.person import OPEN, Cell, Operation, OpState, Person, Place, Topology, stands
from tests.reconcile.factories import NOW, SETTLE_S, said_no_somewhere
from tests.reconcile.states import CASES, IDLE, SEEN_SEQ, Case, shown

UNSUBSCRIBE, SUBSCRIBE, UPDATE = ChangeKind.UNSUBSCRIBE, ChangeKind.SUBSCRIBE, ChangeKind.UPDATE


def fold(known: dict[Scope, ConsentState], events: Sequence[ConsentEvent]) -> dict[Scope, ConsentState]:
    state = dict(known)
    for event in events:
        before = state.get(event.scope, ConsentState())
        seq = event.seq if event.epoch > before.epoch else before.seq
        state[event.scope] = before.join(ConsentState(event.epoch, event.level, seq))
    return state


def informed(who: Person, topo: Topology, seq: int = SEEN_SEQ + 9) -> Person:
    """The same person once everything that was read is known as consent: the state in which decisions are made."""
    events = learn(who, topo, NOW, seq)
    who = replace(who, noes=taught(who, events).noes)
    who = replace(who, exemptions=[entry for entry in who.exemptions if ended_by(who, topo, entry) is None])
    said = {event.scope for event in events if not event.inferred}
    return replace(
        who,
        consent=fold(dict(who.consent), events),
        inferred_scopes=who.inferred_scopes - said,
        mass_scopes=who.mass_scopes - said,
    )


def place_of(account: str, change: Change) -> Place:
    return account, change.container, change.identity


# Never


@given(CASES)
def test_nobody_who_said_no_is_subscribed_or_corrected(case: Case):
    topo, who = case
    who = informed(who, topo)
    for wish in decide(who, topo, NOW).desired:
        if wish.change.kind is not UNSUBSCRIBE:
            assert not said_no_somewhere(who, topo, wish.account, wish.change.container)
            for name in wish.lists:
                assert not who.suppressed(topo.lists[name].scope)


@given(CASES)
def test_not_even_when_the_consent_state_lags_behind_what_is_seen_by_one_decision(case: Case):
    """The state that was kept counts by itself, whatever the cells read."""
    topo, who = case
    for wish in decide(who, topo, NOW).desired:
        if wish.change.kind is not UNSUBSCRIBE:
            assert not said_no_somewhere(who, topo, wish.account, wish.change.container)


@given(CASES)
def test_nothing_unsent_survives_that_would_subscribe_or_correct_somebody_who_said_no(case: Case):
    topo, who = case
    who = informed(who, topo)
    closed = {closing.operation.id: closing.state for closing in decide(who, topo, NOW).closings}
    for op in who.operations:
        if op.state is not OpState.READY:
            continue
        if op.kind is UNSUBSCRIBE:
            taken_back = any(state.epoch > 0 and not state.level.suppresses for state in who.consent.values())
            told = {Status.UNSUBSCRIBED, Status.COMPLAINED, Status.REMOVED, Status.ABSENT}
            needless = {one.status for one in who.at(*op.place)} <= told
            taken_back = taken_back and not said_no_somewhere(who, topo, op.account, op.container)
            assert op.id not in closed or needless or taken_back, "a no goes out while somebody can be mailed there"
        elif said_no_somewhere(who, topo, op.account, op.container):
            assert closed.get(op.id) is OpState.SUPERSEDED


# Always


@given(CASES)
def test_every_reachable_record_of_somebody_who_said_no_is_unsubscribed(case: Case):
    topo, who = case
    who = informed(who, topo)
    decision = decide(who, topo, NOW)
    for identity in who.identities:
        for where, container in {(cell.account, cell.container) for cell in who.cells}:
            if not said_no_somewhere(who, topo, where, container):
                continue
            if topo.accounts[where].capabilities.facts.blind_unsubscribe:
                container = WHOLE_ACCOUNT  # noqa: PLW2901 (nobody can be told of less there)
                reachable = _untold(who, where, identity)
            else:
                reachable = [cell for cell in who.at(where, container, identity) if stands(cell)]
            if reachable and not lifted(who, topo, (where, container, identity)):
                assert _seen_to(decision, who, (where, container, identity), reachable), (where, container, identity)


def _untold(who: Person, where: str, identity) -> list[Cell]:
    cells = [cell for cell in who.cells if cell.account == where and cell.identity == identity]
    told = max((c.status_seq for c in cells if c.container == WHOLE_ACCOUNT and c.status in SUPPRESSED), default=0)
    return [cell for cell in cells if stands(cell) and cell.status_seq > told]


def _seen_to(decision: Decision, who: Person, place: Place, reachable: list[Cell]) -> bool:
    """Decided now, or under way, or to be looked at again as soon as a reading can be trusted."""
    keys = {cell.key for cell in reachable}
    for wish in decision.desired:
        if wish.change.kind is UNSUBSCRIBE and place_of(wish.account, wish.change) == place:
            return keys <= set(wish.change.keys)
    asked = {(look.account, look.container, look.identity) for look in decision.look_ups}
    if place in asked and decision.again_at is not None and all(cell.reverted for cell in reachable):
        return True
    closed = {closing.operation.id: closing.state for closing in decision.closings}
    for op in who.operations:
        if (op.account, op.container, op.identity) != place:
            continue
        if op.id not in closed and (op.state is not OpState.READY or op.kind is UNSUBSCRIBE):
            return True
        if closed.get(op.id) is OpState.VERIFIED:
            return decision.again_at == NOW
    waits = all(cell.reverted for cell in reachable)
    settled = max(cell.status_at for cell in reachable) + timedelta(seconds=SETTLE_S)
    return waits and decision.again_at is not None and settled > NOW and decision.again_at <= settled


@given(CASES)
def test_whoever_said_no_is_told_to_the_provider_that_can_only_be_told(case: Case):
    topo, who = case
    who = informed(who, topo)
    decision = decide(who, topo, NOW)
    said = said_no_somewhere(who, topo, "rokt", WHOLE_ACCOUNT)
    for identity in who.identities:
        place = ("rokt", WHOLE_ACCOUNT, identity)
        wished = [w for w in decision.desired if place_of(w.account, w.change) == place]
        told = [cell for cell in who.at(*place) if cell.status in SUPPRESSED]
        under_way = [op for op in who.operations if (op.account, op.container, op.identity) == place]
        if said:
            assert wished or told or under_way
        else:
            assert not wished


@given(CASES)
def test_an_exemption_opens_one_cell_and_changes_nothing_else(case: Case):
    topo, who = case
    who = informed(who, topo)
    opened = {entry.place for entry in who.exemptions if lifted(who, topo, entry.place)}
    with_them, without = decide(who, topo, NOW), decide(replace(who, exemptions=[]), topo, NOW)
    wished = {(place_of(w.account, w.change), w.change.kind) for w in with_them.desired}
    before = {(place_of(w.account, w.change), w.change.kind) for w in without.desired}
    assert wished == before - {(place, UNSUBSCRIBE) for place in opened if place[0] != "rokt"}


# A "no" that was read is known


@given(CASES)
def test_after_any_reading_that_says_no_its_scope_is_suppressed(case: Case):
    topo, who = case
    after = informed(who, topo)
    for cell in who.cells:
        if cell.status not in SUPPRESSED:
            continue
        scopes = [GLOBAL] if cell.status is Status.COMPLAINED else topo.scopes_of(cell.account, cell.container)
        for scope in scopes:
            before = who.consent.get(scope, ConsentState())
            if before.epoch == 0 or (cell.status_seq > before.seq and not who.own_echo(cell)):
                assert after.suppressed(scope)


@given(CASES, st.randoms())
def test_the_order_and_repetition_of_what_was_learnt_never_matter(case: Case, chance):
    topo, who = case
    events = learn(who, topo, NOW, 99)
    mixed = [*events, *(event for event in events if chance.random() < 0.5)]
    chance.shuffle(mixed)
    assert fold(dict(who.consent), mixed) == fold(dict(who.consent), events)
    assert learn(informed(who, topo), topo, NOW, 100) == [], "nothing is learnt twice"


@given(CASES)
def test_learning_never_lowers_what_is_known(case: Case):
    topo, who = case
    after = informed(who, topo)
    for scope, before in who.consent.items():
        assert after.consent[scope].epoch == before.epoch, "only a person's own word opens an epoch"
        assert after.consent[scope].level >= before.level


# The shape of a decision


@given(CASES, st.randoms())
def test_the_same_person_gives_the_same_decision_in_whatever_order_things_were_found(case: Case, chance):
    topo, who = case
    who = informed(who, topo)
    mixed = list(who.cells)
    chance.shuffle(mixed)
    there = decide(replace(who, cells=sorted(mixed, key=lambda c: (c.account, c.container, c.key))), topo, NOW)
    here = decide(replace(who, cells=sorted(who.cells, key=lambda c: (c.account, c.container, c.key))), topo, NOW)
    assert there == here
    assert {_mark(w) for w in decide(replace(who, cells=mixed), topo, NOW).desired} == {_mark(w) for w in here.desired}


def _mark(wish):
    return wish.account, wish.change.container, wish.change.identity, wish.change.kind, wish.change.keys


@given(CASES)
def test_a_decision_holds_at_most_one_change_for_a_cell_and_only_what_the_account_takes(case: Case):
    topo, who = case
    decision = decide(informed(who, topo), topo, NOW)
    places = [place_of(wish.account, wish.change) for wish in decision.desired]
    assert len(places) == len(set(places))
    closed = {closing.operation.id for closing in decision.closings}
    for wish in decision.desired:
        assert wish.change.kind in topo.accounts[wish.account].capabilities.accepts
        assert not (wish.change.kind is UNSUBSCRIBE and wish.change.fields)
    for op in who.operations:
        if op.state in OPEN and op.state is not OpState.READY and op.id not in closed:
            assert (op.account, op.container, op.identity) not in places, "one open operation for a cell"
    assert len(closed) == len(decision.closings)


# It ends


class World:
    """Carries decisions out as obedient providers would and reads everything back, until nothing follows."""

    def __init__(self, who: Person, topo: Topology) -> None:
        self.who, self.topo = who, topo
        self.now, self.seq, self.number = NOW, 100, 1000

    def step(self) -> Decision:
        events = learn(self.who, self.topo, self.now, self.seq)
        self.who = replace(taught(self.who, events), consent=fold(dict(self.who.consent), events))
        over = {entry for entry in self.who.exemptions if ended_by(self.who, self.topo, entry) is not None}
        self.who = replace(self.who, exemptions=[entry for entry in self.who.exemptions if entry not in over])
        decision = decide(self.who, self.topo, self.now)
        self._close(decision)
        self._keep(decision)
        self._send(decision)
        self._read(decision)
        return decision

    def _close(self, decision: Decision) -> None:
        gone = {closing.operation.id for closing in decision.closings}
        refuted = dict(self.who.refuted)
        for closing in decision.closings:
            op = closing.operation
            place = (op.account, op.container, op.identity)
            if closing.state is OpState.REFUTED:
                refuted[place, op.kind] = refuted.get((place, op.kind), 0) + 1
            elif closing.state is OpState.VERIFIED:
                refuted.pop((place, op.kind), None)
                if op.kind is UNSUBSCRIBE:
                    self._cells(place, lambda c: self._turned(c, Status.REMOVED) if c.missing_count else c)
                    self._cells(place, lambda c: replace(c, said_no_seq=max(c.said_no_seq, self.seq)))
        left = [op for op in self.who.operations if op.id not in gone]
        self.who = replace(self.who, operations=left, refuted=refuted)

    def _keep(self, decision: Decision) -> None:
        cells = [replace(cell, base=dict(cell.fields)) if cell.fields else cell for cell in self.who.cells]
        self.who = replace(self.who, cells=cells, fields=dict(self.who.fields) | dict(decision.fields))

    def _send(self, decision: Decision) -> None:
        places = {place_of(wish.account, wish.change) for wish in decision.desired}
        kept = [op for op in self.who.operations if (op.account, op.container, op.identity) not in places]
        self.seq += 10
        for wish in decision.desired:
            self.number += 1
            change = wish.change
            op = Operation(
                self.number, wish.account, change.container, change.identity, change.kind, OpState.READY, change.fields,
                keys=change.keys,
            )  # fmt: skip
            kept.append(op)
        sent = []
        for op in kept:
            if op.state in {OpState.READY, OpState.INFLIGHT}:
                self._carry_out(op)
                if self.topo.accounts[op.account].capabilities.facts.blind_unsubscribe:
                    continue  # accepted, and nothing will ever be read back
                sent.append(replace(op, state=OpState.ACCEPTED, ended_seq=self.seq, ended_at=self.now))
            else:
                sent.append(op)
        self.who = replace(self.who, operations=sent)

    def _carry_out(self, op: Operation) -> None:
        place = (op.account, op.container, op.identity)
        facts = self.topo.accounts[op.account].capabilities.facts
        here = [cell for cell in self.who.at(*place) if cell.status not in {Status.REMOVED, Status.ABSENT}]
        if op.kind is UNSUBSCRIBE and facts.blind_unsubscribe:
            rest = [cell for cell in self.who.cells if cell not in self.who.at(*place)]
            told = self._new(op, Status.UNSUBSCRIBED)
            self.who = replace(self.who, cells=[*rest, replace(told, said_no_seq=self.seq, route=OWN_ANSWER)])
        elif op.kind is UNSUBSCRIBE and facts.unsubscribe_removes:
            self._cells(place, lambda c: replace(c, missing_seq=self.seq + 5, missing_count=1) if stands(c) else c)
        elif op.kind is UNSUBSCRIBE:
            self._cells(place, lambda c: self._turned(c, Status.UNSUBSCRIBED) if stands(c) else c)
        elif op.kind is SUBSCRIBE and not here:
            # Where records are named by the address, one that comes back takes the place of what was noted before.
            named = op.account in {"rokt", "rocketresponder"}
            rest = [cell for cell in self.who.cells if not (named and cell in self.who.at(*place))]
            status = Status.PENDING if op.account == "rocketresponder" else Status.SUBSCRIBED
            self.who = replace(self.who, cells=[*rest, self._new(op, status)])
        elif op.kind is UPDATE:
            self._cells(place, lambda c: replace(c, fields=self._split(c.account, {**c.fields, **op.fields})))

    def _new(self, op: Operation, status: Status) -> Cell:
        named = op.account in {"rokt", "rocketresponder"}
        return Cell(
            account=op.account,
            container=op.container,
            key=str(op.identity) if named else f"new-{op.id}",
            identity=op.identity,
            address=str(op.identity),
            status=status,
            seq=self.seq,
            status_seq=self.seq,
            status_at=self.now,
            route="listing",
            fields=self._split(op.account, shown(op.account, op.fields)),
        )

    def _split(self, where: str, fields: dict[str, str]) -> dict[str, str]:
        """Where a name is one field it comes back cut after the first word."""
        if not self.topo.accounts[where].capabilities.facts.one_name_field:
            return fields
        whole = " ".join(f"{fields.pop('first_name', '')} {fields.pop('last_name', '')}".split())
        first, _, last = whole.partition(" ")
        return {**fields, **{k: v for k, v in (("first_name", first), ("last_name", last)) if v}}

    def _turned(self, cell: Cell, status: Status) -> Cell:
        seq = self.seq + 5
        said_no = seq if status in SUPPRESSED else cell.said_no_seq
        return replace(
            cell, status=status, status_seq=seq, status_at=self.now, seq=seq, said_no_seq=said_no,
            missing_seq=0, missing_count=0,
        )  # fmt: skip

    def _cells(self, place: Place, change) -> None:
        at = self.who.at(*place)
        self.who = replace(self.who, cells=[change(cell) if cell in at else cell for cell in self.who.cells])

    def _read(self, decision: Decision) -> None:
        """Whole listings, answers to every question, and time enough to settle."""
        self.now += timedelta(seconds=SETTLE_S * 2)
        self.seq += 10
        for look in decision.look_ups:
            place = (look.account, look.container, look.identity)
            self._cells(place, lambda c: self._turned(c, Status.REMOVED) if c.missing_count else c)
            if not self.who.at(*place):
                self.number += 1
                op = Operation(self.number, *place, SUBSCRIBE, OpState.DONE)
                absent = replace(self._new(op, Status.ABSENT), key=str(look.identity))
                self.who = replace(self.who, cells=[*self.who.cells, absent])
        cells = [cell if cell.account == "rokt" else self._listed(cell) for cell in self.who.cells]
        self.who = replace(self.who, cells=cells)
        self.topo = replace(self.topo, whole=dict.fromkeys(self.topo.whole, self.seq))

    def _listed(self, cell: Cell) -> Cell:
        if cell.missing_count:
            return replace(cell, missing_seq=self.seq, missing_count=cell.missing_count + 1)
        return replace(cell, seq=self.seq)

    def answer(self) -> None:
        """Answer what is asked and finish what listings began to miss: three rounds at most."""
        for _ in range(3):
            decision = self.step()
            if not decision.look_ups and not any(cell.missing_count for cell in self.who.cells):
                return


@given(IDLE)
def test_carried_out_and_read_back_within_three_steps_nothing_more_follows(case: Case):
    world = World(case.who, case.topo)
    world.answer()
    for _ in range(3):
        world.step()
    after = world.step()
    assert (after.desired, after.closings) == ((), ())


@given(CASES)
def test_with_work_under_way_it_ends_as_well_and_everybody_who_said_no_is_out_of_reach(case: Case):
    world = World(case.who, case.topo)
    for _ in range(8):
        world.step()
    after = world.step()
    assert (after.desired, after.closings) == ((), ())
    for cell in world.who.cells:
        if cell.account != "rokt" and stands(cell) and not lifted(world.who, world.topo, cell.place):
            assert not said_no_somewhere(world.who, world.topo, cell.account, cell.container)
