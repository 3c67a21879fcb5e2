"""Correlated random states: what everybody agreed on about one person, moved twice, with work under way.

Independent random cells hardly ever tell a story. These begin from one state in which all places agree, move it once
to what was last compared and once more to what is seen now, and put operations, consent and refusals on top that
speak of the same places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, ConsentState, Level, Scope
from syncd.domain.identity import Identity
from syncd.domain.records import SUPPRESSED, ContainerId, Status
from syncd.reconcile.person import Cell, Exemption, No, Operation, OpState, Person, Topology
from tests.reconcile.factories import (
    ANN,
    ANN_TAGGED,
    FACTS,
    KEY,
    LONG_AGO,
    NEWS,
    NOW,
    OFFERS,
    account,
    mailing_list,
    topology,
)

SPELLINGS = (ANN, ANN_TAGGED, Identity("a.nn@example.org"))
PLACES = (
    ("rocs", "*"),
    ("rocs", "R1"),
    ("rocs", "R2"),
    ("rocs", "R9"),  # a list that is not ours
    ("rokt", "*"),
    ("rokt", "lead-7"),
    ("salesrocks", "S1"),
    ("rocketresponder", "L1"),
    ("rocketresponder", "L2"),
)
AGREED_SEQ, BASE_SEQ, SEEN_SEQ = 10, 20, 30
"""When everybody agreed, when it was last compared, and what was read since."""

VALUES = st.sampled_from(["Ann", "Anna Maria", "Maria Berg", "+4670", "SE"])
FIELDS = st.dictionaries(st.sampled_from(["first_name", "last_name", "phone", "country"]), VALUES, max_size=3)
SCOPES = (GLOBAL, NEWS, OFFERS, Scope("rocs/R9"))
STATES = st.builds(ConsentState, st.integers(0, 2), st.sampled_from(Level), st.sampled_from([0, 5, 15, 25, 35]))
DOINGS = st.sampled_from(["nothing", "nothing", "again", "again", "status", "status", "field", "spelling", "missing"])
STATUSES = st.sampled_from(list(Status))
AGREED = st.sampled_from([Status.SUBSCRIBED] * 4 + [Status.UNSUBSCRIBED, Status.PENDING])
SINCE = st.sampled_from([LONG_AGO, NOW - timedelta(seconds=5)])
ENDED_AT = st.sampled_from([LONG_AGO, NOW - timedelta(seconds=1)])
MOSTLY = st.sampled_from([True, True, True, False])
RARELY = st.sampled_from([False, False, False, False, True])
SUBSET = st.integers(0, 2**9 - 1)
"""Which of the nine places hold the person, as bits."""
KINDS = {kind: st.sampled_from(kinds) for kind, kinds in (("rokt", [ChangeKind.UNSUBSCRIBE]), ("", list(ChangeKind)))}
MARKS = st.lists(
    st.tuples(st.integers(0, 99), st.sampled_from(list(ChangeKind)), st.integers(1, 4), FIELDS), max_size=2
)
SOME_SCOPES = st.frozensets(st.sampled_from(SCOPES), max_size=1)
SEQS = st.sampled_from([5, 15, 25, 35])
NOES = st.lists(st.builds(No, st.sampled_from(SCOPES), SEQS), max_size=2)
OWN_TIMES = st.sampled_from([(None, None), (None, "100"), ("200", "100"), ("200", "300"), ("200", None)])
CONSENT: st.SearchStrategy[dict[Scope, ConsentState]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(SCOPES, STATES)),
)


def shown(where: str, fields: Mapping[str, str]) -> dict[str, str]:
    """What of these fields an account can show."""
    return {name: value for name, value in fields.items() if name in FACTS[where].fields or where == "rokt"}


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    accounts = [
        account("rocs", spread=draw(MOSTLY), joined=draw(MOSTLY)),
        account("rokt", spread=draw(MOSTLY)),
        account("salesrocks", absence_is_unsubscribe=draw(RARELY), joined=draw(MOSTLY)),
        account("rocketresponder", joined=draw(MOSTLY)),
    ]
    merged = draw(RARELY)
    lists = [mailing_list("news", spread=draw(MOSTLY)), mailing_list("offers", scope="news" if merged else "offers")]
    whole = [("rocs", "R1"), ("rocs", "R2"), ("salesrocks", "S1")]
    seq = draw(st.sampled_from([1, SEEN_SEQ + 1]))
    return topology(accounts=accounts, lists=lists, whole=dict.fromkeys(whole[: draw(st.integers(1, 3))], seq))


def _moved(draw: st.DrawFn, cell: Cell, seq: int) -> Cell:
    """One step of somebody's doing at one place; mostly nothing happens."""
    match draw(DOINGS):
        case "status":
            status = draw(STATUSES)
            if status is cell.status:
                return replace(cell, seq=seq)
            since = draw(SINCE)
            said_no = seq if status in SUPPRESSED else cell.said_no_seq
            return replace(cell, status=status, seq=seq, status_seq=seq, status_at=since, said_no_seq=said_no)
        case "field":
            return replace(cell, seq=seq, fields=dict(cell.fields) | shown(cell.account, draw(FIELDS)))
        case "spelling":
            return replace(
                cell, seq=seq, address=draw(st.sampled_from([str(cell.identity), str(cell.identity).upper()]))
            )
        case "missing":
            return replace(cell, missing_seq=seq, missing_count=cell.missing_count + 1)
        case "again":
            return replace(cell, seq=seq)
        case _:
            return cell


@st.composite
def cells(draw: st.DrawFn) -> list[Cell]:
    spellings = SPELLINGS[: draw(st.sampled_from([1, 1, 1, 2, 3]))]
    agreed = draw(AGREED)
    values = draw(FIELDS)
    found = []
    for identity in spellings:
        bits = draw(SUBSET)
        for where, container in (place for number, place in enumerate(PLACES) if bits >> number & 1):
            twice = FACTS[where].keeps_duplicates and draw(RARELY)
            for number in range(1 + twice):
                cell = Cell(
                    account=where,
                    container=ContainerId(container),
                    key=str(identity) if where in {"rokt", "rocketresponder"} else f"{container}-{identity}-{number}",
                    identity=identity,
                    address=str(identity),
                    status=agreed,
                    seq=AGREED_SEQ,
                    status_seq=AGREED_SEQ,
                    status_at=LONG_AGO,
                    route="listing",
                    fields=shown(where, values),
                    said_no_seq=AGREED_SEQ if agreed in SUPPRESSED else 0,
                )
                compared = _moved(draw, cell, BASE_SEQ)
                if draw(MOSTLY):
                    compared = replace(compared, base=dict(compared.fields))
                found.append(_moved(draw, compared, SEEN_SEQ))
    return found


@st.composite
def operations(draw: st.DrawFn, seen: list[Cell]) -> list[Operation]:
    places = [(cell.account, cell.container, cell.identity) for cell in seen]
    places += [(where, ContainerId(container), ANN) for where, container in PLACES]
    found: dict[tuple[str, ContainerId, Identity], Operation] = {}
    for number in range(1, draw(st.integers(0, 4)) + 1):
        where, container, identity = places[draw(st.integers(0, 99)) % len(places)]
        container = ContainerId("*") if where == "rokt" else container
        kind = draw(KINDS.get(where, KINDS[""]))
        state = draw(st.sampled_from([OpState.READY, OpState.INFLIGHT, OpState.UNKNOWN, OpState.ACCEPTED]))
        ended = state in {OpState.UNKNOWN, OpState.ACCEPTED}
        found[where, container, identity] = Operation(
            id=number,
            account=where,
            container=container,
            identity=identity,
            kind=kind,
            state=state,
            fields={} if kind is ChangeKind.UNSUBSCRIBE else shown(where, draw(FIELDS)),
            ended_seq=draw(st.sampled_from([15, 25, 35])) if ended else 0,
            ended_at=draw(ENDED_AT) if ended else None,
        )
    return list(found.values())


@st.composite
def people(draw: st.DrawFn, *, work: bool = True) -> Person:
    seen = draw(cells())
    marks = []
    if work and seen:
        for number, kind, tries, values in draw(MARKS):
            cell = seen[number % len(seen)]
            marks.append((((cell.account, cell.container, cell.identity), kind), tries, values))
    seen = [_timed(draw, cell) if cell.account == "rocketresponder" else cell for cell in seen]
    places = draw(st.lists(st.sampled_from([cell.place for cell in seen]), max_size=2, unique=True)) if seen else []
    return Person(
        key=KEY,
        cells=seen,
        consent=draw(CONSENT),
        operations=draw(operations(seen)) if work else [],
        fields={cell.identity: dict(cell.base) for cell in seen if cell.base is not None},
        refuted={mark: tries for mark, tries, _ in marks},
        parked={mark: values for mark, tries, values in marks if tries > 2},
        mass_scopes=draw(SOME_SCOPES),
        inferred_scopes=draw(SOME_SCOPES),
        noes=draw(NOES),
        exemptions=[Exemption(*place, seq=draw(SEQS)) for place in places],
        carried_out=[_carried_out(draw, number, cell) for number, cell in enumerate(seen, 900) if draw(RARELY)],
    )


def _timed(draw: st.DrawFn, cell: Cell) -> Cell:
    """With the times that the provider keeps on its own clock."""
    left, confirmed = draw(OWN_TIMES)
    moved = draw(st.sampled_from([AGREED_SEQ, cell.status_seq])) if confirmed else 0
    if cell.said_no_seq and draw(RARELY):
        cell = replace(cell, said_no_seq=cell.status_seq)
    return replace(cell, unsubscribed_at=left, confirmed_at=confirmed, confirmed_seq=moved)


def _carried_out(draw: st.DrawFn, number: int, cell: Cell) -> Operation:
    state, closed_seq = draw(st.sampled_from([(OpState.ACCEPTED, 0), (OpState.VERIFIED, 25), (OpState.VERIFIED, 36)]))
    ended_seq = draw(st.sampled_from([5, 15, 24]))
    return Operation(
        number,
        *cell.place,
        ChangeKind.UNSUBSCRIBE,
        state,
        ended_seq=ended_seq,
        ended_at=LONG_AGO,
        closed_seq=closed_seq,
    )


class Case:
    """One person in one configuration, printed so that a failure can be read."""

    def __init__(self, topo: Topology, who: Person) -> None:
        self.topo, self.who = topo, who

    def __iter__(self) -> Iterator[Any]:
        return iter((self.topo, self.who))

    def __repr__(self) -> str:
        topo, who = self.topo, self.who
        lines = [
            *(f"list {x.name}: scope {x.scope}, spread {x.spread}" for x in topo.lists.values()),
            *(f"account {a.name}: joined {a.joined}, spread {a.spread}" for a in topo.accounts.values()),
            f"whole {dict(topo.whole)}",
            *(f"consent {scope}: {state}" for scope, state in who.consent.items()),
            *(
                f"cell {c.account}/{c.container} {c.key} of {c.identity}: {c.status}, read {c.seq}, turned"
                f" {c.status_seq} at {c.status_at:%d %H:%M}, said no {c.said_no_seq}, missing {c.missing_count}"
                f" at {c.missing_seq}, {dict(c.fields)}, base {c.base}, left {c.unsubscribed_at}, confirmed"
                f" {c.confirmed_at} read {c.confirmed_seq}"
                for c in who.cells
            ),
            *(
                f"op {op.id}: {op.kind} {op.account}/{op.container} of {op.identity}: {op.state}, ended {op.ended_seq}"
                f" at {op.ended_at}, {dict(op.fields)}"
                for op in who.operations
            ),
            f"exemptions {who.exemptions}, noes {who.noes}, carried out {who.carried_out}",
            f"fields {who.fields}, refuted {who.refuted}, parked {who.parked}",
        ]
        return "\n  ".join(["Case", *lines])


def cases(*, work: bool = True) -> st.SearchStrategy[Case]:
    @st.composite
    def case(draw: st.DrawFn) -> Case:
        topo = draw(topologies())
        return Case(topo, draw(people(work=work)))

    return case()


CASES, IDLE = cases(), cases(work=False)
