"""Somebody is erased, and stays so: nothing personal is left, and nothing personal comes back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from syncd.domain.identity import Identity, identity_of, suppression_key
from syncd.emulators.emulator import Fault, FaultKind
from syncd.store import backup, caution
from syncd.store.session import writing
from syncd.store.traces import left_of
from syncd.sync import ingest
from syncd.sync.erase import Erased, Left, erase, look, wipe_and_look
from tests.postgres import candidates
from tests.scenes import (
    DAY,
    DORA,
    PHONE,
    SPELT,
    TAGGED,
    Open,
    calls,
    configured,
    consent,
    contacts,
    known_everywhere,
    marks,
    member,
    notices,
    person,
    stands_nowhere,
    subscriber,
    values,
    written,
)
from tests.world import World


def erased(world: World, address: str = DORA) -> tuple[Erased, Left]:
    done = erase(world.app.context, Identity(address))
    world.settle()
    return done, wipe_and_look(world.app.context, done)


def looked(world: World, address: str = DORA) -> Left:
    identity = identity_of(address)
    assert identity is not None
    return look(world.app.context, identity, address)


def test_who_is_erased_is_gone_from_the_mirror_and_from_every_list_and_others_are_not(open_world: Open) -> None:
    world = open_world()
    known_everywhere(world)
    assert looked(world).traces, "what is looked for can be found"
    done, left = erased(world)
    assert left.clean, left
    assert not left.waiting
    assert done.asked == {"crm": "unsubscribe", "sales": "remove", "mail": "unsubscribe", "leads": "unsubscribe"}
    assert done.rows["cell"] >= 5
    assert done.rows["inbox"] >= 2
    assert member(world, DORA) == "unsubscribed"
    assert consent(world, DORA) == [False]
    assert contacts(world, DORA) == []
    assert subscriber(world, TAGGED) == "Unsubscribed"
    assert DORA in world.rokt.unsubscribed
    assert not left_of(world.app.engine, done.forms)
    assert values(world, "transit") == 0
    assert {row["level"] for row in world.rows("SELECT level FROM v_consent WHERE scope = 'global'")} == {"erased"}
    assert [row["email"] for row in world.rows("SELECT email FROM v_contacts")] == ["bob@example.org"]
    assert member(world, "bob@example.org") == "subscribed"
    before = marks(world)
    world.round(full=True)
    assert written(world, before) == []


def test_a_lead_known_by_a_digest_alone_brings_nobody_back(open_small_world: Open) -> None:
    world = open_small_world()
    known_everywhere(world)
    world.rokt.send_lead(SPELT, "Dora", "Deer", hashed="sha256", mobile=PHONE)
    world.settle()
    done, left = erased(world)
    assert left.clean, left
    world.rokt.send_lead(SPELT, "Dora", "Deer", hashed="md5", mobile=PHONE)
    world.rokt.send_lead("carl@example.org", "Carl", "Crow", hashed="md5")
    world.settle()
    assert left_of(world.app.engine, done.forms) == []
    assert values(world, "cell WHERE address LIKE 'md5:%'") == 1


def test_erased_while_a_call_about_them_is_under_way_leaves_nothing(open_small_world: Open) -> None:
    """The answer comes after the erasure: what it says is taken down under the pseudonym."""
    world = open_small_world()
    notices(world)
    person(world, SPELT, "Dora", "Deer", mobile=PHONE)
    world.round(["crm"])
    held: list[Erased] = []

    class Meanwhile(httpx.AsyncBaseTransport):
        """Erases while Rokt is told."""

        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await self.inner.handle_async_request(request)
            if not held and request.url.port == 8704:
                held.append(erase(world.app.context, Identity(DORA)))
            return answer

    ingest.unsubscribe(world.app.context, DORA, source="operator", evidence="call")
    inner = world.transport._inner
    world.transport._inner = Meanwhile(inner)  # type: ignore[assignment]
    world.settle()
    assert held
    world.transport._inner = inner
    world.settle(4)
    left = wipe_and_look(world.app.context, held[0])
    assert left.clean, left
    assert member(world, DORA) == "unsubscribed"
    assert subscriber(world, DORA) in {None, "Unsubscribed"}
    assert contacts(world, DORA) == []


def asked_about(world: World, since: Mapping[str, int]) -> list[str]:
    """Calls that name Dora in any of her spellings."""
    return [
        call.path
        for entries in calls(world, since).values()
        for call in entries
        if b"dora" in call.body.lower() or "dora" in call.path.lower()
    ]


def nobody_is_asked_about(world: World, done: Erased) -> None:
    """No table holds a row by which she would be asked about, and for days she is not."""
    for table in ("agenda", "caution", "exemption", "hygiene", "lookup", "plan_item", "plan_move", "rename", "transit"):
        assert values(world, table) == 0, table
    assert world.rows("SELECT id FROM op WHERE state IN ('ready', 'inflight', 'unknown', 'accepted')") == []
    assert not left_of(world.app.engine, done.forms)
    before = marks(world)
    for _ in range(3):
        world.wait(DAY)
        world.round(full=True)
    assert asked_about(world, before) == []


def test_whoever_was_to_be_asked_about_is_asked_about_no_more_once_they_are_erased(open_world: Open) -> None:
    fields = 'fields = {{ country = "dynamic:Land" }}'
    world = open_world(config=configured(crm=fields, push="attempts_max = 1"))
    world.rocs.define_dynamic("Land")
    notices(world)
    customer = person(world, DORA, "Dora", "Deer")
    world.settle(2)
    # ROCS fails when asked about her, so she was given up there; RocketResponder tells of two more addresses, and is
    # down; and nothing was to be added of her before a person had looked.
    world.rocs.no_dynamic.add(customer)
    world.wait(DAY)
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "lookup", times=10**6))
    others = ["d.ora@example.org", TAGGED]
    for address in others:
        world.mail.add_subscriber("154", address, "Dora Deer")
        world.mail.open_mail("154", address)
    with writing(world.app.engine) as connection:
        caution.begin(connection, [suppression_key(Identity(DORA))], world.clock())
    world.round()
    rows = world.rows("SELECT identity, given_up <> '' AS given_up FROM lookup ORDER BY 1")
    assert [(row["identity"], bool(row["given_up"])) for row in rows] == [
        *((address, False) for address in others),
        (DORA, True),
    ]
    done, _ = erased(world)
    world.rocs.no_dynamic.clear()
    world.mail.faults.clear()
    for _ in range(5):
        world.wait(3600)
        world.round(full=True)
    words = {subscriber(world, address) for address in others}
    assert words == {"Unsubscribed"}, "asked about once more, and unsubscribed"
    nobody_is_asked_about(world, done)


def test_an_erased_person_at_whom_a_provider_fails_is_not_kept_for_anybody_to_see(open_small_world: Open) -> None:
    world = open_small_world(config=configured(push="attempts_max = 2"))
    customer = person(world, DORA, "Dora", "Deer")
    world.settle(2)
    world.rocs.unreadable.add(customer)
    world.rocs.faults.append(Fault(FaultKind.ANSWER_LOST, f"/customers/{customer}"))
    done = erase(world.app.context, Identity(DORA))
    for _ in range(6):
        world.wait(1200)
        world.round()
        assert values(world, "lookup WHERE given_up <> ''") == 0
    world.rocs.unreadable.clear()
    world.wait(DAY)
    world.settle(3)
    assert consent(world, DORA) == [False]
    nobody_is_asked_about(world, done)


# An older backup -----------------------------------------------------------------------------------------------------


def test_an_older_backup_brings_neither_the_erased_back_nor_a_no_away(
    open_world: Open, tmp_path: Path, mirror_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-6: what is suppressed only grows, before and after a restore."""
    if mirror_kind == "postgres":  # its programs, of the server's own version
        monkeypatch.setenv("PATH", f"{next(candidates([])).folder}:{os.environ['PATH']}")
    world = open_world()
    known_everywhere(world)
    saved = tmp_path / "older.backup"
    backup.save(world.url, saved)
    done, _ = erased(world)
    ingest.unsubscribe(world.app.context, "bob@example.org", source="operator", evidence="call")
    before = suppressions(world)
    world.put_back(saved)
    after = suppressions(world)
    assert all(after[place] >= level for place, level in before.items())
    assert done.person in {who for who, _ in after}
    world.settle(3)
    assert wipe_and_look(world.app.context, done).traces == []
    assert suppressions(world).items() >= after.items()
    assert member(world, "bob@example.org") == "unsubscribed"
    assert stands_nowhere(world)


def suppressions(world: World) -> dict[tuple[str, str], int]:
    rows = world.rows("SELECT person_key, scope, level FROM consent WHERE level >= 3")
    return {(row["person_key"], row["scope"]): row["level"] for row in rows}
