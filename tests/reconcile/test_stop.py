"""What goes on while an invariant is broken."""

from __future__ import annotations

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level
from syncd.domain.records import ContainerId
from syncd.reconcile.stop import goes_on
from tests.reconcile.factories import NEWS, OFFERS, cell, person, topology

UNSUBSCRIBE = ChangeKind.UNSUBSCRIBE
TOPO = topology()
NO = Level.UNSUBSCRIBED


@pytest.mark.parametrize(
    ("kind", "where", "said", "rests_on", "goes"),
    [
        pytest.param(UNSUBSCRIBE, "rocs", {NEWS: NO}, {}, True, id="their own word"),
        pytest.param(UNSUBSCRIBE, "rocs", {GLOBAL: NO}, {}, True, id="to everything"),
        pytest.param(UNSUBSCRIBE, "rocs", {}, {}, False, id="nobody's word"),
        pytest.param(UNSUBSCRIBE, "rocs", {OFFERS: NO}, {}, False, id="a word about another list"),
        pytest.param(ChangeKind.SUBSCRIBE, "rocs", {}, {}, False, id="an addition"),
        pytest.param(ChangeKind.UPDATE, "rocs", {NEWS: NO}, {}, False, id="a correction"),
        pytest.param(UNSUBSCRIBE, "rocs", {NEWS: NO}, {"inferred_scopes": {NEWS}}, False, id="a conclusion"),
        pytest.param(UNSUBSCRIBE, "rocs", {NEWS: NO}, {"mass_scopes": {NEWS}}, False, id="a listing that flipped"),
        pytest.param(
            UNSUBSCRIBE, "rocs", {NEWS: NO, GLOBAL: NO}, {"mass_scopes": {NEWS}}, True, id="more than that listing"
        ),
        pytest.param(UNSUBSCRIBE, "rokt", {NEWS: NO}, {}, True, id="told to a provider without lists"),
        pytest.param(UNSUBSCRIBE, "rokt", {GLOBAL: NO}, {}, True, id="told it of everything"),
        pytest.param(UNSUBSCRIBE, "rokt", {OFFERS: NO}, {}, False, id="which another list does not concern"),
        pytest.param(UNSUBSCRIBE, "rokt", {NEWS: NO}, {"inferred_scopes": {NEWS}}, False, id="nor a conclusion"),
    ],
)
def test_what_people_said_themselves_goes_on(kind: ChangeKind, where: str, said, rests_on, goes: bool):
    more = {name: frozenset(scopes) for name, scopes in rests_on.items()}
    who = person(cell(), said=said, **more)
    container = ContainerId({"rocs": "R1", "rokt": "*"}[where])
    assert goes_on(who, TOPO, where, container, kind) is goes
