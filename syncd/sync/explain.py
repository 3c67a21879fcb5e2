"""Why somebody stands as they do at each provider: what was seen, which rule decides, what was sent and answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.domain.identity import Identity, suppression_key
from syncd.domain.records import NAMELESS, SUPPRESSED, UNREAD_FIELD, WHOLE_ACCOUNT, ContainerId, Status
from syncd.providers.fields import Kind
from syncd.reconcile.decide import Decision, decide
from syncd.reconcile.exempt import lifted
from syncd.reconcile.learn import learn, taught
from syncd.reconcile.person import OPEN, Person, Topology
from syncd.reconcile.rename import heirs
from syncd.reconcile.suppress import suppressing_at
from syncd.store import erasure, inspect, journal, ledger, people
from syncd.store.inspect import History, Shown
from syncd.store.session import reading
from syncd.sync.context import Context

_OPEN_WORDS = frozenset(state.value for state in OPEN)
_LINES_MAX = 1000
_BEFORE_ANYTHING_ELSE = 2**62
"""Stands for the sequence number of a reading that is only thought of."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One person with everything that explains them."""

    person: Person
    topology: Topology
    decision: Decision
    history: History
    ledger: list[Shown]
    states: dict[str, str]
    policy_holds_first: bool
    kinds: Mapping[str, Mapping[str, str]]


def explain(context: Context, identity: Identity) -> dict[str, Any] | None:
    """The facts and the sentences made of them, or None if nobody ever heard of this address."""
    key = suppression_key(identity)
    with reading(context.engine) as connection:
        topology = context.topology(connection)
        person = people.load_people(connection, [key])[0].at_accounts(topology.accounts)
        history = inspect.history(connection, key)
        consent = inspect.consent_of(connection, key)
        arrivals = ledger.rows_of(connection, context.now(), limit=_LINES_MAX, key=key)
        states = {row.name: row.state for row in journal.load_accounts(connection)}
    if not history.cells and not history.events and not history.operations:
        return None
    person = taught(person, learn(person, topology, context.now(), _BEFORE_ANYTHING_ELSE))
    decision = decide(person, topology, context.now())
    kinds = {name: lane.rules.kinds for name, lane in context.lanes.items()}
    case = _Case(person, topology, decision, history, arrivals, states, context.policy.hold_first_contact, kinds)
    return {
        "email": str(identity),
        "person": str(key),
        "consent": consent,
        "events": history.events,
        "claims": history.claims,
        "exemptions": history.exemptions,
        "renames": history.renames,
        "hygiene": history.hygiene,
        "accounts": [_account(case, name) for name in topology.accounts],
        "by_hand": list(decision.by_hand),
        "sentences": _about_consent(case)
        + [f"What {rename.identity} says no to, {heir} says no to." for rename, heir in heirs(person)]
        + [_vetted(row) for row in history.hygiene if row["checked_at"] or row["state"] == "waiting"],
    }


def erased(context: Context, identity: Identity) -> dict[str, Any] | None:
    """Of somebody who was erased: when, and where their records stand, as far as a keyed hash tells. None of others."""
    with reading(context.engine) as connection:
        found = erasure.find(connection, suppression_key(identity))
        if found is None:
            return None
        seen = inspect.history(connection, found.person).cells
        waiting = inspect.open_operations(connection, found.person)
        consent = inspect.consent_of(connection, found.person)
    return {
        "email": str(identity),
        "known": False,
        "erased_at": inspect.shown_time(found.erased_at),
        "asked": dict(found.asked),
        "waiting": waiting,
        "memberships": [
            {
                "account": row["account"],
                "remote_list": row["container"],
                "status": row["status"],
                "grade": row["grade"],
                "observed_at": row["observed_at"],
            }
            for row in seen
            if row["status"] != Status.ABSENT
        ],
        "consent": [{name: row[name] for name in ("scope", "level", "since", "source")} for row in consent],
    }


def _about_consent(case: _Case) -> list[str]:
    if not case.history.events:
        return ["Nobody ever said no for this person, nor yes to us directly."]
    return [_said(event) for event in case.history.events]


def _vetted(row: Shown) -> str:
    """What a verifier said of them as a new lead, and what follows."""
    asked = f"{row['identity']} is a new lead"
    if row["state"] == "waiting":
        why = f" It could not yet: {row['trouble']}." if row["trouble"] else ""
        return f"{row['since']}: {asked}, which {row['account']} verifies before they are added elsewhere.{why}"
    score = "no score" if row["score"] is None else f"score {row['score']}"
    phone = "" if row["phone_sound"] else f", and a number that cannot be called ({row['phone_word']})"
    said = (
        f"{row['checked_at']}: {row['account']} verified {row['identity']}: {row['word'] or 'no word'}, {score}{phone}"
    )
    kept = f"; {row['reason']}, so they are added nowhere else" if row["state"] == "withheld" else ""
    return f"{said}{kept}."


def _said(event: Shown) -> str:
    how = [event["evidence"]]
    if event["inferred"]:
        how.append("concluded and not said")
    if event["mass"]:
        how.append("one of very many at once")
    learnt = f"learnt from {event['source']} by {event['route']} ({', '.join(how)})"
    return f"{event['at']}: {event['level']} for {_scope(event['scope'])}, {learnt}."


def _scope(scope: str) -> str:
    return "everything" if scope == "global" else f"`{scope}`"


# At one account ------------------------------------------------------------------------------------------------------


def _account(case: _Case, name: str) -> dict[str, Any]:
    def of(rows: Iterable[Shown]) -> list[Shown]:
        return [row for row in rows if row["account"] == name]

    seen, sent, held, asked = (
        of(rows) for rows in (case.history.cells, case.history.operations, case.history.held, case.history.look_ups)
    )
    unread = [_unread(row) for row in seen]
    for row, kept in zip(seen, unread, strict=True):
        row["unread_fields"] = kept
    arrivals = of(case.ledger)
    rules = _rules(case, name) + [_exempted(row) for row in of(case.history.exemptions)]
    rules += [_claimed(row) for row in of(case.history.claims) if row["state"] == "open"]
    rules += [_renamed(row) for row in of(case.history.renames)]
    upcoming = _next(case, name, sent, held, asked)
    return {
        "account": name,
        "provider": case.topology.accounts[name].provider,
        "state": case.states.get(name, "new"),
        "seen": seen,
        "rules": rules,
        "sent": sent,
        "propagation": arrivals,
        "held": held,
        "look_ups": asked,
        "next": upcoming,
        "sentences": [
            *(_seen(row) for row in seen),
            *(line for row in seen for line in _left_alone(row, case.kinds[name])),
            *([] if seen else ["Nothing was ever seen of this person here."]),
            *rules,
            *(_sent(row) for row in sent),
            *(_arrived(row) for row in arrivals if row["state"] != "withdrawn"),
            *upcoming,
        ],
    }


def _unread(row: Shown) -> dict[str, str]:
    """Fields that the record shows, and that could not be brought into their one form."""
    fields: dict[str, str] = row.pop("fields")
    return {name.removeprefix(UNREAD_FIELD): text for name, text in fields.items() if name.startswith(UNREAD_FIELD)}


def _left_alone(row: Shown, kinds: Mapping[str, str]) -> Iterator[str]:
    """What in a record is kept as it came, and written over by nobody."""
    where, unread = _where(row["container"]), row["unread_fields"]
    if NAMELESS in unread:
        yield (
            f"The record {row['remote_id'] or row['key']} in {where} shows no address any more that can be read: it is "
            "taken for the same person's, it adds nobody and unsubscribes nobody, and its fields are left alone."
        )
        return
    for field, text in unread.items():
        yield (
            f"{field} is kept as it came in {where}, {text!r}: it cannot be read as {kinds.get(field, Kind.TEXT)}, "
            "is told to nobody, and nothing is written over it."
        )


def _where(container: str) -> str:
    return "the account as a whole" if container == WHOLE_ACCOUNT else f"list {container}"


def _seen(row: Shown) -> str:
    if row["status"] == Status.ABSENT:
        return f"{row['observed_at']}: asked about in {_where(row['container'])}, and not there."
    ours = "what it accepted from us" if row["status"] != Status.UNKNOWN else "what we sent and nobody answered for"
    how = {"delivery": "a notice that it sent", "answer": ours}.get(row["route"], f"a {row['route']}")
    gone = f", missing from the last {row['missing_count']} whole listings" if row["missing_count"] else ""
    return (
        f"{row['observed_at']}: {row['status']} in {_where(row['container'])} as {row['remote_id'] or row['key']}, "
        f"by {how}, {row['grade']}{gone}; so since {row['status_at']}."
    )


def _rules(case: _Case, name: str) -> list[str]:
    """Which rule decides in each container, also where it asks for nothing."""
    said = []
    cells = [cell for cell in case.person.cells if cell.account == name]
    for container in sorted({cell.container for cell in cells}):
        here = [cell for cell in cells if cell.container == container]
        said_no = sorted(suppressing_at(case.person, case.topology, here))
        scopes = " and ".join(_scope(scope) for scope in said_no)
        lists = [entry.name for entry in case.topology.lists_of(name, container)]
        brought = {entry.name: entry for cell in here for entry in case.topology.lists_reaching(cell)}
        lists += [f"{known}, unlinked" for known in brought if known not in lists]
        place = f"{_where(container)} ({', '.join(lists)})" if lists else _where(container)
        if any(lifted(case.person, case.topology, cell.place) for cell in here):
            said.append(f'A "no" for {scopes or "nothing"} reaches {place}, which is exempt.')
        elif said_no and any(cell.status not in SUPPRESSED and cell.status not in _GONE for cell in here):
            said.append(f'A "no" for {scopes} reaches {place}, which does not show it yet.')
        elif said_no:
            said.append(f'A "no" for {scopes} reaches {place}, and nobody can be mailed through it.')
        elif not lists and container != WHOLE_ACCOUNT:
            said.append(
                f"{place[:1].upper()}{place[1:]} is no list of ours: it is read, and only a global no is written."
            )
        else:
            said.append(f"Nothing suppresses {place}.")
    wishes = [wish for wish in case.decision.desired if wish.account == name]
    return said + [
        f"{wish.change.kind.value.capitalize()} in {_where(wish.change.container)}, because {wish.why.value}."
        for wish in wishes
    ]


def _renamed(row: Shown) -> str:
    became = "no other address has confirmed so far"
    if row["successor"] and not row["gave_way"]:
        became = f"{row['successor']} is to take its place, and has yet to confirm"
    elif row["successor"]:
        became = f'it gave way to {row["successor"]}, so that its being unsubscribed there is no "no"'
    return f"{row['opened_at']}: {row['identity']} was changed in {_where(row['container'])}: {became}."


def _claimed(row: Shown) -> str:
    where = f"{_where(row['container'])} for {row['identity']}"
    times = "" if row["times"] == 1 else f", {row['times']} times by now"
    what = "said no, and reads subscribed again"
    if row["fight"]:
        what = "said no, and somebody else subscribes them again as often as it is undone"
    decide = f"`syncd resubscribe` with their own word, or `syncd reject {row['id']}`"
    return f"{row['seen_at']}: {where}: {what}{times}. A person decides: {decide}."


def _exempted(row: Shown) -> str:
    where = f"{_where(row['container'])} exempt for {row['identity']}"
    ended = f"; ended at {row['ended_at']} by a no to {_scope(row['ended_by'])}" if row["ended_at"] else ""
    return f"{row['granted_at']}: {where}: {row['evidence']}{ended}."


_GONE = frozenset({Status.REMOVED, Status.ABSENT})

_ANSWERS = {
    "ready": "not sent yet",
    "inflight": "under way",
    "unknown": "sent, and no answer tells what became of it",
    "accepted": "accepted, not read back yet",
    "verified": "accepted and read back",
    "done": "accepted; cannot be read back there",
    "refuted": "accepted, and read back otherwise",
    "superseded": "given up",
    "parked": "refused",
    "blocked": "did not stick",
}


def _sent(row: Shown) -> str:
    when = row["sent_at"] or row["created_at"]
    receipt = f", receipt {row['receipt']}" if row["receipt"] else ""
    reason = f": {row['reason']}" if row["reason"] and row["state"] != "verified" else ""
    what = f"{row['kind']} in {_where(row['container'])}, because {row['why']}"
    return f"{when}: {what}; {_ANSWERS[row['state']]}{reason}{receipt}."


def _arrived(row: Shown) -> str:
    """How long a "no" took to a place, or how long it may still take."""
    what = f'The "no" of {row["learnt_at"]} for {_scope(row["scope"])} at {_where(row["remote_list"])}'
    left = row["time_left_s"]
    if row["state"] == "already":
        return f"{what} needed nothing: it read so already."
    if row["read_back_at"] or row["accepted_at"]:
        accepted = "" if row["accepted_after_s"] is None else f"accepted {row['accepted_after_s']:.0f} s later"
        read = "" if row["read_back_after_s"] is None else f"read back {row['read_back_after_s']:.0f} s later"
        margin = f"{left:.0f} s before" if left >= 0 else f"{-left:.0f} s after"
        return f"{what}: {', '.join(word for word in (accepted, read) if word)}, {margin} its deadline."
    late = f"overdue for {-left:.0f} s" if left < 0 else f"{left:.0f} s are left"
    return f"{what}: not accepted yet; {late} (deadline {row['deadline']})."


def _next(case: _Case, name: str, sent: list[Shown], held: list[Shown], asked: list[Shown]) -> list[str]:
    """What happens from here on, at this account."""
    said = []
    if case.states.get(name) == "paused":
        said.append(f"The account is paused: nothing happens before `syncd account resume {name}`.")
    said += [_open(row) for row in sent if row["state"] in _OPEN_WORDS]
    said += [
        f"{row['kind'].capitalize()} refused: `syncd parked retry {row['id']}`."
        for row in sent
        if row["state"] == "parked"
    ]
    waiting = {(row["container"], row["identity"], row["kind"]): row for row in held}
    for wish in case.decision.desired:
        if wish.account != name:
            continue
        change = wish.change
        place: tuple[ContainerId, Identity, str] = (change.container, change.identity, change.kind.value)
        if (row := waiting.get(place)) is not None and row["state"] != "approved":
            verb = "waits for a person" if row["state"] == "held" else "was rejected by a person"
            said.append(f"{change.kind.value.capitalize()} {verb} ({row['hold']}): `syncd plan`.")
        elif wish.first_contact and case.policy_holds_first and row is None:
            said.append(f"{change.kind.value.capitalize()} will wait for a person: this is first contact.")
        else:
            said.append(f"The next round sends {change.kind.value} to {_where(change.container)}.")
    said += [
        f"Given up asking about them in {_where(row['container'])}: {row['given_up']}. `syncd inspect parked`"
        if row["given_up"]
        else f"Will be asked about in {_where(row['container'])}: {row['reason']}."
        for row in asked
    ]
    said += [f"By hand: {sentence}." for sentence in case.decision.by_hand if f" at {name}" in sentence]
    return said or ["Nothing more is to be done here."]


def _open(row: Shown) -> str:
    if row["state"] == "ready":
        return f"{row['kind'].capitalize()} goes out with the next round, not before {row['not_before']}."
    return f"{row['kind'].capitalize()} is {_ANSWERS[row['state']]}: the next reading there settles it."
