"""Cells, people, and where our lists live."""

from __future__ import annotations

import pytest

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.records import Status
from syncd.reconcile.person import OPEN, OpState, stands
from tests.reconcile.factories import ANN, ANN_TAGGED, NEWS, OFFERS, cell, mailing_list, operation, person, topology


def test_everybody_with_a_record_or_merged_fields_is_one_of_the_identities():
    who = person(cell(identity=ANN_TAGGED), fields={ANN: {"first_name": "Ann"}})
    assert who.identities == (ANN_TAGGED, ANN)


@pytest.mark.parametrize(
    ("said", "scope", "suppressed", "exactly"),
    [
        pytest.param({}, NEWS, False, False, id="nothing known"),
        pytest.param({NEWS: Level.SUBSCRIBED}, NEWS, False, False, id="subscribed"),
        pytest.param({NEWS: Level.PENDING}, NEWS, False, False, id="pending"),
        pytest.param({NEWS: Level.UNSUBSCRIBED}, NEWS, True, True, id="said no here"),
        pytest.param({NEWS: Level.UNSUBSCRIBED}, OFFERS, False, False, id="said no elsewhere"),
        pytest.param({GLOBAL: Level.COMPLAINT}, NEWS, True, False, id="said no to everything"),
        pytest.param({GLOBAL: Level.ERASED}, GLOBAL, True, True, id="erased"),
        pytest.param({NEWS: ConsentState(1, Level.SUBSCRIBED)}, NEWS, False, False, id="said yes again"),
        pytest.param(
            {NEWS: ConsentState(1, Level.SUBSCRIBED), GLOBAL: Level.UNSUBSCRIBED},
            NEWS,
            True,
            False,
            id="yes to one list",
        ),
    ],
)
def test_whether_somebody_said_no(said, scope: Scope, suppressed: bool, exactly: bool):
    who = person(said=said)
    assert who.suppressed(scope) is suppressed
    assert who.said_no(scope) is exactly


def test_cells_are_found_by_place_and_by_identity():
    plain, tagged, other = cell(), cell(identity=ANN_TAGGED), cell(container="R2")
    who = person(plain, tagged, other)
    assert who.at("rocs", plain.container) == [plain, tagged]
    assert who.at("rocs", plain.container, ANN) == [plain]


@pytest.mark.parametrize(
    ("where", "container", "scopes"),
    [
        pytest.param("rocs", "R1", (NEWS,), id="a list of ours"),
        pytest.param("rocs", "*", (GLOBAL,), id="the whole account"),
        pytest.param("rokt", "*", (GLOBAL,), id="a provider without lists"),
        pytest.param("rokt", "lead-7", (GLOBAL,), id="any container of a provider without lists"),
        pytest.param("rocs", "R9", (Scope("rocs/R9"),), id="a container that no list of ours names"),
        pytest.param("rocs", "shared", (Scope("a"), Scope("b")), id="a container of two lists"),
    ],
)
def test_for_which_scopes_a_no_speaks(where: str, container, scopes):
    topo = topology(
        lists=[mailing_list("x", scope="b", rocs=("shared",)), mailing_list("y", scope="a", rocs=("shared",))]
    )
    assert topo.scopes_of(where, container) == scopes


def test_two_lists_merged_into_one_scope_speak_once():
    topo = topology(
        lists=[mailing_list("x", scope="a", rocs=("shared",)), mailing_list("y", scope="a", rocs=("shared",))]
    )
    assert topo.scopes_of("rocs", cell(container="shared").container) == (Scope("a"),)


def test_a_list_that_is_the_whole_account_holds_every_container_there():
    news = topology().lists["news"]
    assert news.holds("rokt", cell("rokt", container="lead-7").container)
    assert not news.holds("rocs", cell(container="R2").container)
    assert not news.holds("nowhere", cell().container)


def test_links():
    topo = topology()
    assert topo.linked("rocs", cell(container="R1").container)
    assert not topo.linked("rocs", cell(container="R9").container)
    assert [entry.name for entry in topo.lists_of("rocketresponder", cell(container="L2").container)] == ["offers"]


@pytest.mark.parametrize(
    ("status", "reachable"),
    [
        (Status.SUBSCRIBED, True),
        (Status.PENDING, True),
        (Status.BOUNCED, True),
        (Status.UNKNOWN, True),
        (Status.UNSUBSCRIBED, False),
        (Status.COMPLAINED, False),
        (Status.REMOVED, False),
        (Status.ABSENT, False),
    ],
)
def test_through_which_records_mail_could_still_reach_somebody(status: Status, reachable: bool):
    assert stands(cell(status=status)) is reachable


@pytest.mark.parametrize("state", list(OpState))
def test_an_operation_holds_its_cell_until_its_outcome_is_known(state: OpState):
    ended = {"verified", "done", "refuted", "superseded", "parked", "blocked"}
    assert (state in OPEN) is (state.value not in ended)


def test_of_an_account_that_is_not_configured_any_more_nothing_is_left_to_decide():
    here, gone = cell("rocs"), cell("salesrocks")
    ops = [operation(ChangeKind.UNSUBSCRIBE, OpState.READY, where) for where in ("rocs", "salesrocks")]
    who = person(here, gone, said={NEWS: Level.UNSUBSCRIBED}, operations=ops).at_accounts({"rocs", "rokt"})
    assert who.cells == (here,)
    assert who.operations == (ops[0],)
    assert who.said_no(NEWS), "what they said stands, wherever they said it"
