"""What must not stop everything else: accounts that were taken out, deliveries and answers nobody foresaw."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from syncd.app import App, Outside
from syncd.domain.identity import identity_of, suppression_key
from syncd.domain.records import WHOLE_ACCOUNT, Delivery, Observation, Status
from syncd.emulators.emulator import Fault, FaultKind
from syncd.store import mirror
from syncd.store.session import reading, writing
from syncd.sync.cycle import run_round
from syncd.sync.ingest import ingest
from tests.scenes import people
from tests.virtual import run
from tests.world import World


def settled(world: World, count: int) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    return emails


def test_an_account_that_is_not_configured_any_more_stops_no_plan(open_world):
    world = open_world()
    emails = settled(world, 4)
    world.rocs.unsubscribe_member("L-1", emails[0])
    world.mail.faults.append(Fault(FaultKind.UNAVAILABLE, "/subscriber/unsubscribe", times=99))
    world.round()
    settings = world.app.settings
    newsletter = settings.lists["newsletter"]
    fewer = settings.model_copy(
        update={
            "accounts": {name: entry for name, entry in settings.accounts.items() if name != "mail"},
            "lists": {
                "newsletter": newsletter.model_copy(
                    update={"accounts": {name: ids for name, ids in newsletter.accounts.items() if name != "mail"}}
                )
            },
        }
    )
    run(world.loop, world.app.aclose())
    world.app = App(fewer, Outside(now=world.clock, transport=world.transport))
    assert world.app.take()
    world.rocs.unsubscribe_member("L-1", emails[1])
    world.wait(60)
    done = run(world.loop, run_round(world.app.context))
    assert not done.failed
    assert emails[1] in world.rokt.unsubscribed


def test_a_no_from_a_provider_that_was_being_told_of_one_is_not_older_news(open_world):
    world = open_world()
    email = identity_of("ann@example.org")
    assert email is not None
    context = world.app.context
    with writing(context.engine) as connection:
        mirror.write_told(connection, "leads", WHOLE_ACCOUNT, email, seq=60, at=world.clock(), receipt="r")
    known_before = Observation(WHOLE_ACCOUNT, email, email, email, Status.UNSUBSCRIBED, {}, b"{}", None, "2026")
    joined_before = known_before._replace(status=Status.SUBSCRIBED)
    for seen, news in ((joined_before, set()), (known_before, {suppression_key(email)})):
        with writing(context.engine) as connection:
            known = mirror.known_cells(connection, "leads", WHOLE_ACCOUNT, [email])
            readings = [mirror.Reading(seen, b"d")]
            got = mirror.observe(connection, "leads", readings, known, seq=50, at=world.clock(), route="delivery")
        assert got.people == news


def test_a_refused_look_up_says_nothing_about_somebody_who_is_known_there(open_world):
    world = open_world()
    emails = settled(world, 3)
    world.mail.strict_emails = True
    world.mail.subscribers = {
        key: replace(one, email=f"o'{one.email}") if key[1] == emails[0] else one
        for key, one in world.mail.subscribers.items()
    }
    with world.app.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE cell SET address = 'o''x@example.org' WHERE account = 'mail' AND identity = :who"),
            {"who": emails[0]},
        )
    world.wait(2 * 86_400)
    world.round()
    (row,) = world.rows("SELECT status FROM cell WHERE account = 'mail' AND identity = :who", who=emails[0])
    assert row["status"] == "subscribed"


def test_a_delivery_that_breaks_our_own_code_is_parked_and_the_next_one_is_read(open_world):
    world = open_world()
    settled(world, 2)
    lane = world.app.context.lanes["leads"]
    real = lane.provider

    class Broken:
        """The adapter of another version, which stumbles over what an older one took in."""

        def __getattr__(self, name):
            return getattr(real, name)

        def read_delivery(self, delivery: Delivery):
            if b"stumble" in delivery.body:
                raise KeyError("stumble")
            return real.read_delivery(delivery)

    world.rokt.send_lead("stumble@example.org", "S", "T")
    world.rokt.person_unsubscribes("later@example.org")
    world.deliver()
    lane.provider = Broken()
    ingest(world.app.context)
    with reading(world.app.engine) as connection:
        rows = connection.execute(sa.text("SELECT state, reason FROM inbox WHERE state <> 'done'")).all()
        done = connection.scalar(sa.text("SELECT count(*) FROM inbox WHERE state = 'done'"))
    assert [tuple(row) for row in rows] == [("parked", "a fault of syncd while reading it: KeyError")]
    assert done
