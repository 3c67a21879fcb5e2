"""Who is heir to what is said under an address that gave way, and what is news to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncd.domain.consent import Level
from syncd.domain.identity import Identity
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.exempt import ends_something
from syncd.reconcile.learn import learn
from syncd.reconcile.person import Exemption, No, Rename
from syncd.reconcile.rename import heirs
from tests.reconcile.factories import ANN, ANN_TAGGED, NEWS, NOW, OFFERS, cell, person, topology

MAIL = "rocketresponder"
LIST = ContainerId("L1")
ANNA, HANNA = Identity("anna@example.net"), Identity("hanna@example.net")
READ, READ_LATER = (No(NEWS, seq, 0, "rocs", "R1", ANN) for seq in (10, 90))
BY_COMMAND = No(NEWS, 90, 0, "operator", "", ANN)


def gone(successor: Identity | None = ANNA, **more: Any) -> Rename:
    """The address gave way at 40, at 1000 of the provider's clock."""
    known: dict[str, Any] = {"seq": 40, "at": NOW - timedelta(days=1), "retired_at": "1000"}
    return Rename(MAIL, LIST, ANN, **(known | more), successor=successor)


def there(status: Status = Status.SUBSCRIBED, **more: Any) -> Any:
    """How the address stands in the place where it gave way, as read at 50."""
    return cell(MAIL, status, **({"status_seq": 50, "seq": 50} | more))


@pytest.mark.parametrize(
    ("renames", "cells", "found"),
    [
        pytest.param([gone()], [], [ANNA], id="it gave way"),
        pytest.param([gone(retired_at=None)], [], [], id="it may yet give way"),
        pytest.param([gone(None)], [], [], id="nobody knows to which"),
        pytest.param([gone(ANN_TAGGED)], [], [], id="to a spelling of its own"),
        pytest.param([gone(), gone()], [], [ANNA], id="twice to the same"),
        pytest.param([gone(), gone(HANNA, retired_at="")], [], [ANNA, HANNA], id="to several"),
        pytest.param([gone()], [there(status_seq=30)], [ANNA], id="it stood there before"),
        pytest.param([gone()], [there(Status.REMOVED)], [ANNA], id="it is gone there since"),
        pytest.param([gone()], [there(Status.UNSUBSCRIBED)], [ANNA], id="it was unsubscribed there since"),
        pytest.param([gone()], [there(Status.PENDING)], [], id="it was entered there anew"),
        pytest.param([gone()], [there()], [], id="it stands there again"),
        pytest.param([gone()], [there(Status.UNSUBSCRIBED, confirmed_at="2000")], [], id="confirmed anew, and left"),
        pytest.param([gone()], [there(Status.UNSUBSCRIBED, confirmed_at="900")], [ANNA], id="it was confirmed before"),
        pytest.param([gone(retired_at="")], [there(Status.UNSUBSCRIBED)], [], id="a record was made under it anew"),
        pytest.param([gone()], [cell("rocs", status_seq=50)], [ANNA], id="it stands elsewhere"),
        pytest.param([gone(), gone(HANNA, seq=60)], [there()], [HANNA], id="it came back, and gave way once more"),
    ],
)  # fmt: skip
def test_who_goes_by_another_address_since(renames, cells, found):
    assert [successor for _, successor in heirs(person(*cells, renames=renames))] == found


@pytest.mark.parametrize(
    ("who", "news"),
    [
        pytest.param(person(), False, id="nothing was ever said"),
        pytest.param(person(exemptions=[Exemption(MAIL, LIST, ANN, 7)]), True, id="it ends an exemption"),
        pytest.param(
            person(cell(status=Status.UNSUBSCRIBED, seq=20), noes=[READ]),
            True,
            id="a confirmation may have come since it was last read as no",
        ),
        pytest.param(
            person(cell(status=Status.UNSUBSCRIBED, seq=20), noes=[No(NEWS, 30, 0, "rocs", "R1", ANN)]),
            False,
            id="a no that is known is later than any reading",
        ),
        pytest.param(person(cell(status=Status.UNSUBSCRIBED, seq=20)), False, id="what was read is not learnt yet"),
    ],
)
def test_when_a_no_that_stands_already_is_news(who, news):
    assert ends_something(who) is news


@pytest.mark.parametrize(
    ("undone", "noes", "again"),
    [
        pytest.param([], [READ], False, id="nobody took it back"),
        pytest.param([(NEWS, 60)], [READ], True, id="the next address took it back since"),
        pytest.param([(None, 60)], [READ], True, id="the next address came back somewhere"),
        pytest.param([(OFFERS, 60)], [READ], False, id="it took back something else"),
        pytest.param([(NEWS, 0)], [READ], False, id="it took it back after that"),
        pytest.param([(NEWS, 60)], [READ_LATER], False, id="a later reading is known already"),
        pytest.param([(NEWS, 60)], [BY_COMMAND], True, id="a command's number proves nothing"),
    ],
)  # fmt: skip
def test_a_no_that_is_read_again_is_news_where_the_next_address_took_it_back(undone, noes, again):
    taken_back = tuple((scope, NOW - timedelta(minutes=minutes)) for scope, minutes in undone)
    who = person(
        cell("rocs", Status.UNSUBSCRIBED, seq=50, status_seq=50, status_at=NOW - timedelta(minutes=1)),
        said={NEWS: Level.UNSUBSCRIBED},
        noes=noes,
        renames=[gone(undone=taken_back)],
    )
    events = learn(who, topology("rocs"), NOW, 70)
    assert [(event.scope, event.again) for event in events] == ([(NEWS, True)] if again else [])
