"""Small makers for what a decision is made of: four accounts as they really are, two lists of ours, cells, operations.

`news` lives everywhere; `offers` at two. `rocs` keeps customers (the whole account) and lists, `rokt` can only be told,
`salesrocks` forgets whoever is unsubscribed, `rocketresponder` can only be asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd.domain.changes import Change, ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.facts import Capabilities, Facts
from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import ContainerId, Status
from syncd.reconcile.desired import Desired, Why
from syncd.reconcile.person import Account, Cell, MailingList, Operation, OpState, Person, Topology

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)
SETTLE_S = 60.0
ANN = Identity("ann@example.org")
ANN_TAGGED = Identity("ann+news@example.org")
KEY = suppression_key(ANN)
NEWS, OFFERS = Scope("news"), Scope("offers")

ALL_KINDS = frozenset(ChangeKind)
STANDARD = frozenset({"first_name", "last_name", "phone", "country"})

FACTS = {
    "rocs": Facts(fields=STANDARD, keeps_duplicates=True, looks_before_subscribe=True),
    "rokt": Facts(has_lists=False, blind_unsubscribe=True, unsubscribe_is_global=True),
    "salesrocks": Facts(
        fields=STANDARD - {"country"},
        keeps_duplicates=True,
        unsubscribe_removes=True,
        batch=dict.fromkeys(ChangeKind, 50),
    ),
    "rocketresponder": Facts(
        fields=frozenset({"first_name", "last_name"}), one_name_field=True, looks_before_subscribe=True
    ),
}

PLACES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "news": {"rocs": ("R1",), "rokt": ("*",), "salesrocks": ("S1",), "rocketresponder": ("L1",)},
    "offers": {"rocs": ("R2",), "rocketresponder": ("L2",)},
}


def capabilities(name: str, **facts: Any) -> Capabilities:
    kinds = frozenset({ChangeKind.UNSUBSCRIBE}) if name == "rokt" else ALL_KINDS
    return Capabilities(
        facts=replace(FACTS[name], **facts),
        accepts=kinds,
        snapshot=name in {"rocs", "salesrocks"},
        feed=name == "rocs",
        lookup=name != "rokt",
        report=True,
        notify=name in {"rocs", "rokt"},
    )


def account(name: str, *, spread: bool = True, joined: bool = True, accepts: Any = None, **facts: Any) -> Account:
    able = capabilities(name, **facts)
    if accepts is not None:
        able = replace(able, accepts=frozenset(accepts))
    return Account(name=name, provider=name, capabilities=able, settle_s=SETTLE_S, spread=spread, joined=joined)


def mailing_list(name: str, *, scope: str | None = None, spread: bool = True, **places: tuple[str, ...]) -> MailingList:
    at: Mapping[str, tuple[str, ...]] = places or PLACES[name]
    return MailingList(
        name=name,
        scope=Scope(scope or name),
        places={where: tuple(ContainerId(c) for c in ids) for where, ids in at.items()},
        spread=spread,
    )


def topology(
    *names: str,
    accounts: Sequence[Account] = (),
    lists: Sequence[MailingList] = (),
    whole: Mapping[tuple[str, str], int] | None = None,
) -> Topology:
    """The four accounts (or those named), with any of them or of the lists replaced by one of the same name."""
    chosen = {name: account(name) for name in names or FACTS}
    chosen |= {entry.name: entry for entry in accounts}
    ours = {name: mailing_list(name) for name in PLACES}
    ours |= {entry.name: entry for entry in lists}
    ours = {
        name: replace(entry, places={where: ids for where, ids in entry.places.items() if where in chosen})
        for name, entry in ours.items()
    }
    listed = (
        {("rocs", "*"): 1, ("rocs", "R1"): 1, ("rocs", "R2"): 1, ("salesrocks", "S1"): 1} if whole is None else whole
    )
    return Topology(
        accounts=chosen,
        lists=ours,
        whole={(where, ContainerId(c)): seq for (where, c), seq in listed.items() if where in chosen},
    )


HOME = {"rocs": "R1", "rokt": "*", "salesrocks": "S1", "rocketresponder": "L1"}


def cell(
    where: str = "rocs",
    status: Status = Status.SUBSCRIBED,
    container: str | None = None,
    *,
    identity: Identity = ANN,
    key: str | None = None,
    seq: int = 10,
    status_seq: int | None = None,
    **more: Any,
) -> Cell:
    place = ContainerId(container or HOME[where])
    defaults: dict[str, Any] = {
        "address": str(identity).title(),
        "status_at": LONG_AGO,
        "route": "listing",
        "said_no_seq": seq if status in {Status.UNSUBSCRIBED, Status.COMPLAINED} else 0,
    }
    return Cell(
        account=where,
        container=place,
        key=key or f"{where}-{place}-{identity}",
        identity=identity,
        status=status,
        seq=seq,
        status_seq=seq if status_seq is None else status_seq,
        **(defaults | more),
    )


def person(*cells: Cell, said: Mapping[Scope, ConsentState | Level] | None = None, **more: Any) -> Person:
    consent = {
        scope: state if isinstance(state, ConsentState) else ConsentState(0, state)
        for scope, state in (said or {}).items()
    }
    return Person(key=KEY, cells=cells, consent=consent, **more)


def operation(
    kind: ChangeKind,
    state: OpState,
    where: str = "rocs",
    container: str | None = None,
    *,
    identity: Identity = ANN,
    number: int = 1,
    ended_seq: int = 0,
    ended_at: datetime | None = None,
    **more: Any,
) -> Operation:
    return Operation(
        id=number,
        account=where,
        container=ContainerId(container or HOME[where]),
        identity=identity,
        kind=kind,
        state=state,
        ended_seq=ended_seq,
        ended_at=ended_at,
        **more,
    )


def wish(
    kind: ChangeKind,
    where: str = "rocs",
    container: str | None = None,
    *,
    identity: Identity = ANN,
    explicit: bool = False,
    fields: Mapping[str, str] | None = None,
    **more: Any,
) -> Desired:
    change = Change(
        kind=kind,
        container=ContainerId(container or HOME[where]),
        identity=identity,
        address=str(identity),
        fields=dict(fields or {}),
    )
    return Desired(account=where, change=change, why=Why.JOINED, explicit=explicit, **more)


def said_no_somewhere(who: Person, topo: Topology, where: str, container: str) -> bool:
    """Whether a "no" reaches this container, worked out from the consent state alone.

    Written apart from `suppressing`, against which it is used.
    """
    levels = {scope: state.level for scope, state in who.consent.items()}
    if levels.get(GLOBAL, Level.UNKNOWN) >= Level.UNSUBSCRIBED:
        return True
    for entry in topo.lists.values():
        ids = entry.places.get(where, ())
        if (container in ids or "*" in ids) and levels.get(entry.scope, Level.UNKNOWN) >= Level.UNSUBSCRIBED:
            return True
    return False
