"""Lost answers, kills, lagging replicas and foreign programs: one effect each, and never a doubt that writes."""

from __future__ import annotations

import json

import pytest

from syncd.domain.consent import GLOBAL
from syncd.emulators.emulator import Fault, FaultKind
from syncd.sync.approve import grant
from syncd.sync.cycle import run_round
from syncd.sync.ingest import ingest, unsubscribe
from syncd.sync.push import push
from tests.scenes import (
    JOINED,
    LEFT,
    calls,
    contacts,
    marks,
    member,
    memberships,
    names_of,
    notices,
    operations,
    people,
    person,
    plans,
    standing,
    subscriber,
    suppressed,
    values,
    written,
)
from tests.virtual import run
from tests.world import World

LOST = FaultKind.ANSWER_LOST
CARRIER_TRIES = 3


def agreed(world: World, count: int = 1) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def claims(world: World) -> list[str]:
    return [row["identity"] for row in world.rows("SELECT identity FROM claim WHERE state = 'open'")]


# Lost answers --------------------------------------------------------------------------------------------------------


def test_an_unsubscribe_whose_answer_never_came_is_looked_up_before_any_other_call(open_world):
    world = open_world()
    (email,) = agreed(world)
    world.rocs.unsubscribe_member("L-1", email)
    # The carrier may repeat what changes nothing; once it has given up, only a look-up may follow.
    world.mail.faults.append(Fault(LOST, "/subscriber/unsubscribe", times=CARRIER_TRIES))
    before = marks(world)
    world.round()
    asked = names_of(calls(world, before)["rocketresponder"])
    assert asked[asked.index("unsubscribe") :] == ["unsubscribe"] * CARRIER_TRIES + ["lookup"]
    (op,) = operations(world, account="mail", kind="unsubscribe")
    assert (op["state"], op["attempts"]) == ("verified", 1)
    assert standing(world, email) == LEFT
    assert len(world.mail.subscribers["154", email].custom) == 0
    assert world.mail.subscribers["154", email].unsubscribed == 1


def test_an_addition_that_timed_out_after_it_was_made_ends_as_one_row(open_world):
    world = open_world()
    agreed(world)
    world.sales.faults.append(Fault(LOST, "/addToList"))
    person(world, "new@example.org")
    world.round()
    for _ in range(3):
        world.wait(60)
        world.round()
    assert len(contacts(world, "new@example.org")) == 1
    assert names_of(calls(world)["salesrocks"]).count("addToList") == 2, "one for those of the first round, one now"
    (op,) = [row for row in operations(world, account="sales") if row["identity"] == "new@example.org"]
    assert op["state"] == "verified"


def test_an_addition_that_was_lost_before_it_was_made_is_made_once(open_small_world):
    world = open_small_world()
    agreed(world)
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "/addToList"))
    person(world, "new@example.org")
    world.round()
    for _ in range(3):
        world.wait(60)
        world.round()
    assert len(contacts(world, "new@example.org")) == 1


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("/addToList", FaultKind.HTML),
        ("/addToList", FaultKind.TRUNCATED),
        ("/deleteListData", FaultKind.HTML),
        ("/subscriber/subscribe", FaultKind.EMPTY),
        ("/subscriber/unsubscribe", FaultKind.HTML),
        ("/lists/L-1/members/", FaultKind.HTML),
        ("/lists/L-1/members/", FaultKind.TRUNCATED),
        ("/customers", LOST),
        ("/nurture/unsubscribe", FaultKind.HTML),
    ],
)
def test_a_write_answered_by_nonsense_has_one_effect_in_the_end(open_small_world, call, kind):
    world = open_small_world()
    (leaves,) = agreed(world)
    for emulator in world.emulators.values():
        emulator.faults.append(Fault(kind, call, times=1 if kind is not LOST else CARRIER_TRIES))
    world.sales.add_contact(world.sales_list, "new@example.org", "New Comer")
    person(world, "other@example.org")
    world.rocs.withdraw_consent(leaves)
    for _ in range(4):
        world.round()
        world.wait(600)
    assert standing(world, leaves) == LEFT
    assert standing(world, "new@example.org") == standing(world, "other@example.org") == JOINED
    assert len([one for one in world.rocs.customers.values() if one.email == "new@example.org"]) == 1
    assert world.rows("SELECT * FROM v_outbox") == []
    before = world.writes
    world.settle(2)
    assert world.writes == before


def test_a_write_at_rocs_that_is_answered_503_is_repeated_later_and_later(open_small_world):
    world = open_small_world()
    (email,) = agreed(world)
    before = marks(world)
    world.rocs.faults.append(Fault(FaultKind.UNAVAILABLE, "/members/", times=4 * CARRIER_TRIES))
    world.mail.person_unsubscribes("154", email)
    waits = []
    for _ in range(40):
        world.round()
        (op,) = operations(world, account="crm", kind="unsubscribe")
        if op["state"] == "verified":
            break
        waits.append(op["attempts"])
        assert op["state"] == "ready"
        world.wait(30)
    assert waits[0] == 1
    assert sorted(set(waits)) == [1, 2, 3, 4]
    assert waits.count(4) > waits.count(2), "each wait is longer than the one before"
    assert member(world, email) == "unsubscribed"
    tried = [call for call in calls(world, before)["rocs"] if call.write]
    assert len(tried) == 4 * CARRIER_TRIES + 1


# Kills ---------------------------------------------------------------------------------------------------------------


def killed(world: World, path: str, *, after_effect: bool) -> bool:
    """Play rounds that are killed at ever later requests, until one is killed at the call of this name."""
    inner = world.transport._inner
    counted = 0

    class Counting:
        async def handle_async_request(self, request):
            nonlocal counted
            if str(request.url).rpartition("?")[0].endswith(path) or path in str(request.url):
                counted += 1
                if counted == 1:
                    world.transport.kill_at(1, after_effect=after_effect, snapshot=world._snapshot)
                    world.transport._inner = inner
                    return await world.transport.handle_async_request(request)
            return await inner.handle_async_request(request)

    world.transport._inner = Counting()  # type: ignore[assignment]
    try:
        return world.killed_round([], request=10_000, after_effect=after_effect)
    finally:
        world.transport._inner = inner


KILLED_AT = {
    "rocs: leaving a list": ("/lists/L-1/members/", "no"),
    "rocs: withdrawing consent": ("/customers/C-", "no"),
    "salesrocks: taking off the list": ("/deleteListData", "no"),
    "rocketresponder: unsubscribe": ("/subscriber/unsubscribe", "no"),
    "rokt: unsubscribe": ("/nurture/unsubscribe", "no"),
    "salesrocks: adding": ("/addToList", "yes"),
    "rocketresponder: subscribing": ("/subscriber/subscribe", "yes"),
}


@pytest.mark.parametrize("after_effect", [False, True], ids=["before it arrives", "after it took effect"])
@pytest.mark.parametrize("what", KILLED_AT)
def test_a_process_killed_at_a_write_leaves_one_effect_in_the_end(open_small_world, what, after_effect):
    path, said = KILLED_AT[what]
    world = open_small_world()
    stays, leaves = agreed(world, 2)
    before = marks(world)
    if said == "no":
        world.app.context.log.info("a person says no", account="operator")
        from syncd.sync.ingest import unsubscribe

        unsubscribe(world.app.context, leaves, source="operator", evidence="by phone")
    else:
        person(world, "new@example.org")
    assert killed(world, path, after_effect=after_effect)
    under_way = [row for row in operations(world) if row["state"] in {"inflight", "unknown"}]
    assert len(under_way) >= 1
    for _ in range(3):
        world.round()
        world.wait(60)
    done = written(world, before)
    assert len([1 for _, where, _ in done if path in where]) <= (1 if said == "yes" else 2)
    if said == "no":
        assert standing(world, leaves) == LEFT
    else:
        assert standing(world, "new@example.org") == JOINED
    assert standing(world, stays) == JOINED
    assert world.rows("SELECT * FROM v_outbox") == []
    writes = world.writes
    world.settle(2)
    assert world.writes == writes


def test_an_unsubscribe_at_rocketresponder_cut_by_a_kill_is_looked_up_and_not_sent_again(open_small_world):
    world = open_small_world()
    (email,) = agreed(world)
    world.rocs.unsubscribe_member("L-1", email)
    before = marks(world)
    assert killed(world, "/subscriber/unsubscribe", after_effect=True)
    assert [row["state"] for row in operations(world, account="mail", kind="unsubscribe")] == ["unknown"]
    world.settle(2)
    asked = names_of(calls(world, before)["rocketresponder"])
    assert asked.count("unsubscribe") == 1
    assert asked[asked.index("unsubscribe") + 1 :][:2] == ["all", "lookup"]
    assert [row["state"] for row in operations(world, account="mail", kind="unsubscribe")] == ["verified"]


# Replicas and foreign programs ---------------------------------------------------------------------------------------


def test_reads_that_lag_behind_our_writes_cause_neither_a_claim_nor_a_second_write(open_world):
    world = open_world()
    stays, leaves = agreed(world, 2)
    for emulator in (world.rocs, world.sales, world.mail):
        emulator.stale_for_s = 20.0
    before = world.writes
    world.rokt.person_unsubscribes(leaves)
    for _ in range(6):
        world.round(full=True)
        world.wait(8)
    # One customer with one membership at ROCS, one row at Sales.Rocks, one subscriber.
    assert {name: world.writes[name] - before[name] for name in before} == {
        "rocs": 2, "salesrocks": 1, "rocketresponder": 1, "rokt": 0,
    }  # fmt: skip
    assert claims(world) == []
    assert standing(world, leaves) == LEFT
    assert standing(world, stays) == JOINED
    world.wait(120)
    world.settle(2)
    assert world.rows("SELECT * FROM v_outbox") == []
    assert {row["state"] for row in operations(world, kind="unsubscribe")} <= {"verified", "done"}


def test_somebody_subscribed_again_by_a_foreign_program_is_unsubscribed_again_and_a_claim_waits(open_world):
    world = open_world()
    (email,) = agreed(world)
    world.rokt.person_unsubscribes(email)
    world.settle(2)
    assert standing(world, email) == LEFT
    before = marks(world)
    (customer,) = (one.id for one in world.rocs.customers.values() if one.email == email)
    world.wait(120)
    world.rocs.add_member("L-1", customer)
    world.sales.add_contact(world.sales_list, email, "First0 Last0")
    world.round()
    # Seen once it may be a replica that lags, where a "no" was seen before; a new row can only be a new row.
    assert contacts(world, email) == []
    assert claims(world) == []
    world.wait(60)
    world.round()
    world.wait(60)
    world.round()
    assert claims(world) == [email]
    assert standing(world, email) == LEFT
    assert memberships(world, email)["crm", "L-1"] == "unsubscribed"
    for name, path, body in written(world, before):
        assert not path.endswith(("/addToList", "/subscribe")), name
        assert "members/" not in path or json.loads(body)["status"] == "unsubscribed"
    assert {row["why"] for row in operations(world, account="crm", container="L-1", kind="unsubscribe")} >= {
        "said no, and reads subscribed again"
    }


def test_a_lead_for_somebody_who_said_no_is_told_back_and_spreads_nowhere(open_small_world):
    world = open_small_world()
    (email,) = agreed(world)
    world.rocs.withdraw_consent(email)
    world.settle(2)
    assert standing(world, email) == LEFT
    before = marks(world)
    world.rokt.send_lead(email, "Back", "Again")
    world.settle(4)
    assert standing(world, email) == LEFT
    assert [(name, path) for name, path, _ in written(world, before)] == [("rokt", "/1.0/nurture/unsubscribe")]
    assert plans(world) == []
    told = operations(world, account="leads", kind="unsubscribe")
    assert [row["state"] for row in told] == ["done", "done"]


def test_a_first_lead_of_somebody_who_said_no_elsewhere_spreads_nowhere_either(open_small_world):
    world = open_small_world()
    world.rocs.add_customer("gone@example.org", "Gone", "Girl", consent=False)
    world.settle(2)
    world.rokt.send_lead("gone@example.org", "Gone", "Girl")
    world.settle(3)
    assert contacts(world, "gone@example.org") == []
    assert subscriber(world, "gone@example.org") is None
    assert member(world, "gone@example.org") is None
    assert "gone@example.org" in world.rokt.unsubscribed


def test_echoes_of_our_own_writes_are_no_news(open_small_world):
    world = open_small_world()
    world.rocs.echo = True
    world.rokt.echoes_imports = True
    world.rocs.register_webhook("http://127.0.0.1:8480/in/crm/webhook", "hook-secret")
    stays, leaves = agreed(world, 2)
    world.mail.person_unsubscribes("154", leaves)
    world.settle(2)
    before, events = world.writes, values(world, "consent_event")
    for _ in range(3):
        world.wait(60)
        assert world.round().planned.put == 0
    assert (world.writes, values(world, "consent_event")) == (before, events)
    assert standing(world, stays) == JOINED


def test_a_replica_that_lagged_while_we_read_back_adds_nobody_twice(open_small_world):
    world = open_small_world()
    email = "ann@example.org"
    person(world, email)
    world.sales.stale_for_s = 20.0
    world.round()
    (op,) = operations(world, account="sales", kind="subscribe")
    assert op["state"] == "accepted"  # read back as if nothing had been done
    world.wait(40)  # the replica has caught up, and nobody has read since
    world.round(["crm"])
    world.settle(2)
    assert [call[1] for call in written(world)].count("/editable-lists/addToList") == 1
    assert len(contacts(world, email)) == 1
    (op,) = operations(world, account="sales", kind="subscribe")
    assert op["state"] == "verified"


@pytest.mark.parametrize(
    ("by_command", "becomes"),
    [
        pytest.param(True, "superseded", id="told to us"),
        pytest.param(False, "ready", id="taken in and not thought about yet"),
    ],
)
def test_a_no_that_comes_between_the_decision_and_the_call_is_heeded(open_small_world, by_command, becomes):
    world = open_small_world()
    email = "ann@example.org"
    person(world, email)
    world.sales.faults.append(Fault(FaultKind.NO_CONNECTION, "addToList"))
    world.round()
    (op,) = operations(world, account="sales", kind="subscribe")
    assert op["state"] == "ready"
    if by_command:
        unsubscribe(world.app.context, email, source="operator", evidence="by phone")
    else:
        world.rokt.person_unsubscribes(email)
        world.deliver()
        ingest(world.app.context)
    before = marks(world)
    run(world.loop, push(world.app.context.lanes["sales"], world.app.context))
    assert written(world, before) == []
    (op,) = operations(world, account="sales", kind="subscribe")
    assert op["state"] == becomes


def test_where_an_account_as_a_whole_reads_no_nobody_is_added_again_and_again(open_small_world):
    world = open_small_world()
    email = "ann@example.org"
    world.rocs.add_customer(email, "Ann", "Bee", consent=False)
    world.settle(2)
    grant(world.app.context, email, GLOBAL, evidence="a signed form")  # which ROCS has not heard of
    world.sales.add_contact(world.sales_list, email, "Ann Bee")
    world.settle(2)
    assert (member(world, email), subscriber(world, email)) == (None, "Confirmed")
    assert operations(world, account="crm") == []


def test_who_is_asked_about_before_the_lists_were_ever_read_stops_nothing(open_small_world):
    world = open_small_world()
    email = "ann@example.org"
    person(world, email)
    world.mail.add_subscriber("154", email, "Ann Bee")
    done = world.round(["crm"])  # whom it names is looked up at once where nobody can be listed
    assert done.failed == []
    world.settle(2)
    assert subscriber(world, email) == "Confirmed"


def test_a_notice_that_comes_in_during_the_first_listing_stops_nothing(open_small_world):
    world = open_small_world()
    context = world.app.context
    notices(world)
    emails = people(world, 3)

    def meanwhile(*_: object) -> None:
        world.deliver()
        ingest(context)

    context.progress = meanwhile  # told of every page before it is written down
    done = run(world.loop, run_round(context, ["crm"]))
    assert done.failed == []
    assert [memberships(world, email)["crm", "L-1"] for email in emails] == ["subscribed"] * 3


def test_a_no_that_something_newer_covers_before_it_was_thought_about_is_kept(open_small_world):
    world = open_small_world()
    email = "ann@example.org"
    world.rokt.person_unsubscribes(email)
    world.rokt.send_lead(email, "Ann", "Bee")
    world.settle(3)  # both were taken in before anything was planned
    assert suppressed(world, "global") == {email}
    assert claims(world) == [email]
    assert (member(world, email), contacts(world, email), subscriber(world, email)) == (None, [], None)
