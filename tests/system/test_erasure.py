"""Somebody is erased, and stays so: nothing personal is left, and nothing personal comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from syncd.domain.identity import Identity, identity_of
from syncd.store import backup
from syncd.store.traces import left_of
from syncd.sync import ingest
from syncd.sync.erase import Erased, Left, erase, look, wipe_and_look
from tests.postgres import candidates
from tests.scenes import (
    Open,
    consent,
    contacts,
    marks,
    member,
    notices,
    operations,
    person,
    subscriber,
    values,
    written,
)
from tests.world import World

DORA = "dora@example.org"
SPELT = "Dora@Example.org"
TAGGED = "dora+news@example.org"
PHONE = "+46701234567"


def known_everywhere(world: World) -> None:
    """Dora as each provider spells her, on every list and with a history, and Bob, who must not be touched."""
    notices(world)
    person(world, SPELT, "Dora", "Deer", mobile=PHONE)
    person(world, "bob@example.org", "Bob", "Deer")
    world.sales.add_contact(world.sales_list, DORA, "Dora Deer", phone=PHONE)
    world.mail.add_subscriber("154", TAGGED, "Dora Deer")
    world.settle()
    world.mail.webhook_urls["154", "open"] = "http://127.0.0.1:8480/in/mail/154/open/mail-hook"
    world.mail.open_mail("154", TAGGED)
    world.rokt.send_lead(DORA, "Dora", "Deer", mobile=PHONE)
    world.rokt.send_lead("bob@example.org", "Bob", "Deer", encoding="form")
    world.settle()
    assert looked(world).traces  # what is looked for can be found


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


# Listed again --------------------------------------------------------------------------------------------------------


def again_at_crm(world: World) -> None:
    person(world, SPELT, "Dora", "Deer", mobile=PHONE)


def imported_at_crm(world: World) -> None:
    """The record that said no is written over."""
    world.rocs.give_consent(DORA)
    world.rocs.mark_member("L-1", DORA, "subscribed")


def again_at_sales(world: World) -> None:
    world.sales.add_contact(world.sales_list, "DORA+shop@example.org", "Dora Deer", phone=PHONE)


def again_at_mail(world: World) -> None:
    """Told by a notice, looked up by its address."""
    world.mail.subscribers.pop(("154", TAGGED), None)
    world.mail.add_subscriber("154", TAGGED, "Dora Deer")
    world.mail.open_mail("154", TAGGED)


def again_as_a_lead(world: World) -> None:
    world.rokt.send_lead(SPELT, "Dora", "Deer", mobile=PHONE, encoding="xml")


def stands_nowhere(world: World) -> bool:
    rows = [row for row in world.sales.contacts_of(world.sales_list) if str(row["email"]).lower().startswith("dora")]
    words = [one.status for one in world.rocs.lists["L-1"].members.values() if one.email.lower() == DORA]
    mail = subscriber(world, TAGGED)
    told = DORA in world.rokt.unsubscribed
    return not rows and set(words) == {"unsubscribed"} and mail == "Unsubscribed" and told


@pytest.mark.parametrize("returns", [again_at_crm, imported_at_crm, again_at_sales, again_at_mail, again_as_a_lead])
def test_whoever_was_erased_and_is_listed_again_is_unsubscribed_there_and_stays_unknown_here(
    open_small_world: Open, returns: Callable[[World], None]
) -> None:
    world = open_small_world()
    known_everywhere(world)
    done, _ = erased(world)
    before, last = marks(world), operations(world)[-1]["id"]
    returns(world)
    world.deliver()
    assert not [one for one in left_of(world.app.engine, done.forms) if one.place == "inbox"]
    world.round(full=True)
    for name in ("cell", "person", "inbox", "op", "counter_sample", "lookup", "agenda", "claim"):
        assert not [one for one in left_of(world.app.engine, done.forms) if one.place == name], name
    world.settle(4)
    world.round(full=True)
    assert written(world, before), "the provider must be asked"
    assert stands_nowhere(world)
    assert left_of(world.app.engine, done.forms) == []
    assert values(world, "transit") == 0
    assert values(world, "claim") == 0
    assert {op["kind"] for op in operations(world) if op["id"] > last} == {"unsubscribe"}
    quiet = marks(world)
    world.round()
    assert written(world, quiet) == []


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
