"""Take note of what was said, as every record shows it, before anything is decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from syncd.domain.identity import SuppressionKey
from syncd.domain.records import ContainerId
from syncd.reconcile.exempt import ended_by, grants
from syncd.reconcile.fights import fights
from syncd.reconcile.learn import claims, learn, taught
from syncd.reconcile.person import Person, Topology
from syncd.reconcile.rename import heirs
from syncd.store import containers, exemptions, people, plans
from syncd.store.session import Connection
from syncd.sync.context import Context
from syncd.sync.heirs import Gone, hand_over, noes, pass_on, retire


@dataclass(slots=True)
class Learnt:
    """What was written down. `retired`: addresses that gave way to others; `exempted`: exemptions that began or ended.

    `them`: the people, if they are still what they were loaded as, and no more than one chunk.
    """

    events: int = 0
    retired: int = 0
    exempted: int = 0
    claims: int = 0
    them: list[Person] | None = None


def learn_all(
    connection: Connection, context: Context, topology: Topology, seq: int, by_chunk: Iterable[list[SuppressionKey]]
) -> Learnt:
    """Take note of all that was said, of whoever came back, and of addresses that gave way to others."""
    learnt = Learnt()
    behind = people.last_event(connection)
    them: list[Person] = []
    gone: list[Gone] = []
    gave: list[SuppressionKey] = []
    chunk_count = 0
    for chunk_count, chunk in enumerate(by_chunk, 1):  # noqa: B007
        them = load(connection, context, topology, chunk)
        for person in them:
            events = learn(person, topology, context.now(), seq)
            learnt.events += len(people.record_consent(connection, events))
            knowing = taught(person, events)
            gone += retire(connection, context, topology, knowing)
            gave += [person.key] if noes(knowing) and any(heirs(person)) else []
            _judge_claims(connection, context, topology, knowing, seq, learnt)
    if learnt.events:
        flag_mass(connection, context, behind)
    learnt.retired = len(gone)
    heard = hand_over(connection, context, topology, gone, seq)
    passed = pass_on(connection, context, topology, [*gave, *heard], seq) or bool(heard)
    untouched = not (learnt.events or passed or learnt.retired or learnt.exempted)
    learnt.them = them if untouched and chunk_count == 1 else None
    return learnt


def take_note(
    connection: Connection, context: Context, topology: Topology, seq: int, chunk: Sequence[SuppressionKey]
) -> list[SuppressionKey]:
    """Take note of what these people said, and of nothing that follows from it: the rest have yet to be heard.

    Returns those whose address gave way to another, or may have.
    """
    them = load(connection, context, topology, chunk)
    for person in them:
        people.record_consent(connection, learn(person, topology, context.now(), seq))
    return [person.key for person in them if person.renames]


def load(connection: Connection, context: Context, topology: Topology, chunk: Sequence[SuppressionKey]) -> list[Person]:
    """People as they stand, and nothing of a mass flip that was not rejected for so long that it holds."""
    them = people.load_people(connection, chunk)
    outlived = context.now() - timedelta(seconds=context.policy.mass_release_s)
    if people.release_outlived(connection, [person.key for person in them if person.mass_scopes], outlived):
        them = people.load_people(connection, chunk)
    return [person.at_accounts(topology.accounts) for person in them]


def flag_mass(connection: Connection, context: Context, behind: int) -> None:
    """A listing in which too many said no at once is believed for the people in it, and spreads only after a person,
    or time, let it. `behind`: the event behind which was learnt what is judged.
    """
    since = context.now() - timedelta(seconds=context.policy.limits.window_s)
    places = people.listed_behind(connection, behind)
    sizes = containers.sizes(connection) if places else {}
    for source, container in places:
        within = people.count_events(connection, source, container, since)
        if context.policy.limits.exceeded(within, sizes.get((source, ContainerId(container)), 0)):
            people.flag_mass(connection, source, container, behind)


def _judge_claims(
    connection: Connection, context: Context, topology: Topology, person: Person, seq: int, learnt: Learnt
) -> None:
    """End the exemptions that a later "no" ends; grant the claims that need nobody; write down those that wait."""
    now = context.now()
    for exemption in person.exemptions:
        if (scope := ended_by(person, topology, exemption)) is not None:
            exemptions.end(connection, exemption, scope, seq=seq, at=now)
            learnt.exempted += 1
    granted = grants(person, topology, now)
    for grant in granted:
        cell = grant.cell
        exemptions.grant(connection, person.key, cell.place, grant.evidence, seq=seq, at=now)
        plans.grant_claims_of(connection, cell.account, cell.container, cell.identity)
        learnt.exempted += 1
    places = {grant.cell.place for grant in granted}
    waiting = [(claim, False) for claim in claims(person, topology, now) if claim.cell.place not in places]
    waiting += [(fight.claim, True) for fight in fights(person, topology, now)]
    learnt.claims += sum(
        plans.record_claim(
            connection, account=claim.cell.account, container=claim.cell.container, key=claim.cell.key, at=now,
            identity=claim.cell.identity, scope=claim.scope, status_seq=claim.cell.status_seq, fight=fight,
        )
        for claim, fight in waiting
    )  # fmt: skip
