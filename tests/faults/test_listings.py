"""S-3, S-5 to S-8, S-11 to S-13 and S-19 to S-21: lists, listings, whole accounts, and figures that do not hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from syncd.domain.consent import Scope
from syncd.reconcile.convergence import Condition
from syncd.sync.approve import reject
from syncd.sync.cycle import run_round
from syncd.sync.ingest import unsubscribe
from syncd.sync.standing import standing as how_it_stands
from syncd.sync.steer import resume
from syncd.wire import Request, Response
from tests.faults.agreement import answering, converged, inferred
from tests.scenes import (
    DAY,
    JOINED,
    LEFT,
    QUERY_API,
    account,
    added,
    agreed,
    calls,
    configured,
    last_run,
    logged,
    marks,
    member,
    memberships,
    operations,
    people,
    person,
    plans,
    standing,
    suppressed,
    written,
)
from tests.virtual import run
from tests.world import World

P0, P1 = "p0@example.org", "p1@example.org"
HOUR = 3600.0


def condition(world: World) -> Condition:
    verdict, _ = how_it_stands(world.app.context, dict.fromkeys(world.app.context.lanes, 300.0))
    return verdict.condition


def rounds(world: World, count: int = 3) -> None:
    for _ in range(count):
        world.wait(61)
        world.round()


@contextmanager
def contents(world: World, rows: dict[str, str]) -> Iterator[None]:
    """The list at Sales.Rocks holds others meanwhile: name by address."""
    entry = world.sales.lists[world.sales_list]
    before = dict(entry.contacts)
    for oid in before:
        world.sales._delete(oid)
    for email, name in rows.items():
        world.sales.add_contact(world.sales_list, email, name)
    yield
    for oid in list(entry.contacts):
        world.sales._delete(oid)
    entry.contacts |= before
    world.sales._home |= dict.fromkeys(before, entry.uuid)
    world.sales._pages.clear()


# Lists that come and go ----------------------------------------------------------------------------------------------


def test_s03_a_list_that_is_gone_for_a_while_or_renamed_changes_nobody(open_world):
    world = open_world(on_absence="unsubscribe")
    agreed(world, 3)
    world.sales.add_list("Another")
    world.round(["sales"])
    entry, known, before = world.sales.lists.pop(world.sales_list), inferred(world), world.writes
    rounds(world)
    assert (inferred(world), world.writes) == (known, before)
    assert last_run(world, "sales")["result"] != "success", "and it is seen"
    entry.name = "Newsletter (old)"
    world.sales.lists[world.sales_list] = entry
    person(world, "new@example.org", "New", "Comer")
    converged(world, p0=JOINED, p1=JOINED, new=JOINED)


def test_s03_a_list_whose_id_is_used_for_another_is_held_although_it_is_as_long_as_before(open_world):
    world = open_world(on_absence="unsubscribe", max_count=2)
    known_people = agreed(world, 5)
    before = world.writes
    with contents(world, {f"x{number}@example.org": f"Ex {number}" for number in range(5)}):
        rounds(world)
        assert {memberships(world, email)["sales", world.sales_list] for email in known_people} == {"subscribed"}
        assert suppressed(world, "newsletter") == set()
        assert world.writes == before
        assert "absence" in {row["hold"] for row in plans(world, account="sales")}
        assert "gone at once" in last_run(world, "sales")["reason"]
        assert "guard" in {row["hold"] for row in plans(world)}, "nor are the others added elsewhere"
    rounds(world, 2)
    for row in plans(world):
        reject(world.app.context, row["id"])
    converged(world, p0=JOINED, p1=JOINED)


EMPTY = {
    "sales": ("/getListData", b'{"status":"success","status_code":200,"data":[]}'),
    "crm": ("/lists/L-1/members", b'{"members":[],"page":1,"pageSize":100,"totalCount":0}'),
}


@pytest.mark.parametrize("name", EMPTY)
def test_s05_a_list_that_answers_empty_is_held(open_world, name):
    world = open_world(on_absence="unsubscribe")
    agreed(world, 3)
    known, before = inferred(world), world.writes
    path, body = EMPTY[name]
    emulator = {"sales": world.sales, "crm": world.rocs}[name]
    with answering(emulator, path, Response(200, {"content-type": "application/json"}, body)):
        for _ in range(3):
            world.wait(61)
            world.round(full=True)
        assert (inferred(world), world.writes) == (known, before)
        assert "empty, where 3 were known" in last_run(world, name)["reason"]
        assert {row["hold"] for row in plans(world)} == {"absence"}
        assert condition(world) is Condition.WAITS
    converged(world, p0=JOINED, p1=JOINED)


# Listings that do not hold -------------------------------------------------------------------------------------------


def test_s06_pages_that_shift_show_one_twice_and_miss_one_and_nobody_is_absent(open_world):
    world = open_world(on_absence="unsubscribe", config=configured(sales="page_size = 2"))
    emails = agreed(world, 6)
    real = world.sales._get_list_data
    top = iter(range(100))

    def shifting(body: dict[str, Any]) -> Any:
        answer = real(body)
        if body["page"] == 1:  # one joins at the top, one further down leaves the provider's own view for a moment
            entry = world.sales.lists[world.sales_list]
            order = list(entry.contacts.items())
            turn = next(top)
            entry.contacts = dict(order[1:] + order[:1]) if turn % 2 else dict(order[-1:] + order[:-1])
            world.sales._pages.clear()
        return answer

    world.sales._get_list_data = shifting
    before = world.writes
    for _ in range(5):
        rounds(world, 1)
        assert world.rows("SELECT key FROM cell WHERE missing_count > 0") == [], "missing is not absent"
    assert world.writes == before
    assert suppressed(world, "newsletter") == set()
    assert {memberships(world, email)["sales", world.sales_list] for email in emails} == {"subscribed"}
    world.sales._get_list_data = real
    converged(world, p0=JOINED, p1=JOINED)


def same_for_ever(world: World) -> None:
    real = world.sales._get_list_data
    world.sales._get_list_data = lambda body: real(body | {"page": 1})  # type: ignore[method-assign,assignment]


def two_in_turn(world: World) -> None:
    real = world.sales._get_list_data
    world.sales._get_list_data = lambda body: real(body | {"page": 2 - body["page"] % 2})  # type: ignore[method-assign,assignment]


def two_in_turn_and_shuffled(world: World) -> None:
    real = world.sales._get_list_data

    def turned(body: dict[str, Any]) -> Any:
        answer = real(body | {"page": 2 - body["page"] % 2})
        return answer | {"data": answer["data"][:: -1 if body["page"] % 3 else 1], "page": body["page"]}

    world.sales._get_list_data = turned  # type: ignore[method-assign,assignment]


def zero_is_one(world: World) -> None:
    real = world.sales._get_list_data
    world.sales._get_list_data = lambda body: real(body | {"page": max(1, body["page"] - 1)})  # type: ignore[method-assign,assignment]


def lists_for_ever(world: World) -> None:
    real = world.sales._get_lists
    world.sales._get_lists = lambda body: real(body | {"page": 1, "size": 1})  # type: ignore[method-assign,assignment]


LIES: dict[str, Callable[[World], None]] = {
    "the same page for ever": same_for_ever,
    "two pages in turn": two_in_turn,
    "two pages in turn, shuffled": two_in_turn_and_shuffled,
    "page 0 is page 1": zero_is_one,
    "the same lists for ever": lists_for_ever,
}


@pytest.mark.parametrize("lie", LIES)
def test_s07_a_listing_that_goes_in_circles_ends_and_is_not_whole(open_world, lie):
    world = open_world(on_absence="unsubscribe", config=configured(sales="page_size = 2\nlists_page_size = 1"))
    agreed(world, 5)
    world.sales.add_list("Another")
    world.round(["sales"])
    known, before, writes = inferred(world), marks(world), world.writes
    LIES[lie](world)
    for _ in range(3):
        world.wait(61)
        world.round(["sales"])
        assert last_run(world, "sales")["result"] != "success"
        assert last_run(world, "sales")["reason"]
    assert len(calls(world, before)["salesrocks"]) < 60
    assert (inferred(world), world.writes) == (known, writes)
    for name in ("_get_list_data", "_get_lists"):
        world.sales.__dict__.pop(name, None)
    world.sales._pages.clear()
    converged(world, p0=JOINED, p1=JOINED)


@pytest.mark.parametrize("counts", [(9,), (5, 9, 5), (9, 5, 5)], ids=["too many", "more in the middle", "fewer"])
def test_s07_a_count_that_is_not_reached_or_moves_makes_a_listing_not_whole(open_world, counts):
    world = open_world(config=configured(crm="page_size = 2"))
    agreed(world, 5)
    known, writes = inferred(world), world.writes

    def counted(real: Response) -> Response:
        told = json.loads(real.body)
        told["totalCount"] = counts[min(told["page"], len(counts)) - 1]
        return Response(real.status, real.headers, json.dumps(told).encode())

    with answering(world.rocs, "/customers", counted):
        world.wait(61)
        world.round(["crm"], full=True)
        assert last_run(world, "crm")["result"] == "partial"
        assert "the provider counts 9 and listed" in last_run(world, "crm")["reason"]
    assert (inferred(world), world.writes) == (known, writes)
    world.round(["crm"], full=True)
    converged(world, p0=JOINED, p1=JOINED)


@pytest.mark.parametrize("count", [4, 5])
def test_s07_pages_that_are_cut_short_and_an_empty_last_one_are_read_whole(open_world, count):
    world = open_world(on_absence="unsubscribe", config=configured(sales="page_size = 3"))
    agreed(world, count)
    world.sales.page_size_max, world.rocs.page_size_max = 2, 2
    before = world.writes
    for _ in range(2):
        world.wait(61)
        assert world.round(full=True).failed == []
    assert world.writes == before
    converged(world, **{f"p{number}": JOINED for number in range(count)})


# Another account -----------------------------------------------------------------------------------------------------


def another_at_crm(world: World) -> Callable[[], None]:
    lists, customers = world.rocs.lists, world.rocs.customers
    world.rocs.lists, world.rocs.customers = {}, {}
    world.rocs.add_list("X-1", "Shoes")
    world.rocs.add_member("X-1", world.rocs.add_customer("stranger@example.org", "Sam", "Stranger"))

    def back() -> None:
        world.rocs.lists, world.rocs.customers = lists, customers

    return back


def another_at_sales(world: World) -> Callable[[], None]:
    lists = world.sales.lists
    world.sales.lists = {}
    world.sales.add_contact(world.sales.add_list("Shoes"), "stranger@example.org", "Sam Stranger")
    return lambda: setattr(world.sales, "lists", lists)


def another_at_mail(world: World) -> Callable[[], None]:
    lists = world.mail.lists
    world.mail.lists = {}
    world.mail.add_subscriber(world.mail.add_list("Shoes", lid="900"), "stranger@example.org", "Sam Stranger")
    return lambda: setattr(world.mail, "lists", lists)


STRANGERS = {"crm": another_at_crm, "sales": another_at_sales, "mail": another_at_mail}


@pytest.mark.parametrize("name", STRANGERS)
def test_s08_where_the_credentials_are_another_accounts_nothing_is_written(open_world, name):
    world = open_world()
    agreed(world, 2)
    put_right = STRANGERS[name](world)
    emulator = {"crm": world.rocs, "sales": world.sales, "mail": world.mail}[name]
    before, cells = emulator.writes, world.rows("SELECT * FROM cell WHERE account = :name ORDER BY key", name=name)
    world.round([name])
    unsubscribe(world.app.context, P0, Scope("newsletter"), source="operator", evidence="by phone")
    world.rokt.send_lead("lea@example.org", "Lea", "Dee")
    world.deliver()
    run(world.loop, run_round(world.app.context, pull_first=False))  # nor by a round that reads nothing before
    rounds(world)
    assert account(world, name)["state"] == "quarantined"
    assert "another account" in account(world, name)["reason"]
    assert condition(world) is Condition.UNREACHABLE
    assert emulator.writes == before
    assert world.rows("SELECT * FROM cell WHERE account = :name ORDER BY key", name=name) == cells
    assert "stranger@example.org" not in {row["email"] for row in world.rows("SELECT email FROM v_memberships")}
    put_right()
    converged(world, p0=LEFT, p1=JOINED, lea=JOINED)


def test_s08_a_person_who_knows_that_it_is_the_account_says_so(open_world):
    world = open_world()
    agreed(world, 2)
    lists = dict(world.sales.lists)
    world.sales.lists.clear()
    world.sales.add_list("All anew")
    rounds(world, 2)
    assert account(world, "sales")["state"] == "quarantined"
    resume(world.app.context, "sales")
    world.sales.lists |= lists
    converged(world, p0=JOINED, p1=JOINED)


# Answers that change their shape -------------------------------------------------------------------------------------

DRIFTS: dict[str, dict[str, Any]] = {
    "a new member": {"loyalty": {"tier": "gold", "since": [2020, None]}},
    "a new word": {"emailConsent": "on-hold"},
    "text for a flag": {"emailConsent": "yes"},
    "nested where it was flat": {"firstName": {"value": "First0"}},
    "a number for text": {"mobile": 46701234567},
    "a list for an address": {"email": [P0]},
    "another kind of id": {"id": {"$oid": "100001"}},
    "times that are none": {"modifiedAt": "yesterday", "createdAt": 0},
}


@pytest.mark.beside_the_schemas
@pytest.mark.parametrize("drift", DRIFTS)
def test_s11_a_record_of_another_shape_is_kept_and_nothing_follows_from_it(open_world, drift):
    world = open_world()
    agreed(world, 2)
    (key,) = (one.id for one in world.rocs.customers.values() if one.email == P0)
    before = marks(world)
    world.rocs.edit_customer(key, odd=DRIFTS[drift])
    with logged() as lines:
        for _ in range(3):
            world.wait(61)
            world.round(full=True)
    assert len([line for line in lines if line["log_level"] in {"warning", "error"}]) <= 1, "said once"
    assert not [one for one in written(world, before) if one[0] != "rocs" and "last" not in one[2].lower()]
    assert added(world, before) == []
    assert suppressed(world, "global") == suppressed(world, "newsletter") == set()
    world.mail.person_unsubscribes("154", P1)
    world.wait(61)
    world.round()
    assert standing(world, P1)["sales"] == [], "the others go on"
    world.rocs.edit_customer(key, odd={})
    converged(world, p0=JOINED, p1=LEFT)


def test_s11_an_envelope_of_another_shape_is_an_alarm_once_and_no_crash(open_world):
    world = open_world()
    agreed(world, 2)
    known = inferred(world)

    def drifted(real: Response) -> Response:
        told = json.loads(real.body)
        return Response(200, real.headers, json.dumps({"result": {"items": told}}).encode())

    for emulator, name in ((world.rocs, "crm"), (world.sales, "sales"), (world.mail, "mail")):
        path = {"crm": "/lists", "sales": "/getLists", "mail": "/list/all"}[name]
        with answering(emulator, path, drifted), logged() as lines:
            for _ in range(3):
                world.wait(61)
                assert [outcome.name for outcome in world.round([name]).failed] == [name]
        assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["account.failed"]
        assert inferred(world) == known
        world.round([name])
    converged(world, p0=JOINED, p1=JOINED)


# Writes that are not what they seem ----------------------------------------------------------------------------------


def test_s12_reads_that_lag_behind_our_writes_are_no_news(open_world):
    world = open_world()
    agreed(world, 2)
    world.rocs.stale_for_s = world.sales.stale_for_s = world.mail.stale_for_s = 20.0
    world.wait(600)
    before = marks(world)
    world.rokt.person_unsubscribes(P0)
    world.sales.add_contact(world.sales_list, "new@example.org", "New Comer")
    for _ in range(10):
        world.round()
        world.wait(15)
    unsubscribes = [
        name
        for name, path, body in written(world, before)
        if "unsubscribe" in f"{path}{body}" or "deleteListData" in path
    ]
    assert len(unsubscribes) == len(set(unsubscribes)), "each was told once"
    assert world.rows("SELECT * FROM claim") == []
    assert len(added(world, before)) == len(set(added(world, before)))
    world.rocs.stale_for_s = world.sales.stale_for_s = world.mail.stale_for_s = 0.0
    converged(world, p0=LEFT, p1=JOINED, new=JOINED)


@contextmanager
def swallowing(world: World) -> Iterator[None]:
    """ROCS says yes to what is written to a list, and keeps what it had."""
    real, members = world.rocs.answer, world.rocs.lists["L-1"].members

    def swallowed(request: Request) -> Response:
        before = dict(members)
        response = real(request)
        if request.method == "PUT" and "/members/" in request.url:
            members.clear()
            members.update(before)
        return response

    world.rocs.answer = swallowed  # type: ignore[method-assign]
    yield
    world.rocs.answer = real  # type: ignore[method-assign]


def test_s13_an_unsubscribe_that_is_acknowledged_and_not_applied_is_sent_again_and_seen(open_world):
    world = open_world()
    agreed(world, 2)
    with swallowing(world):
        world.mail.person_unsubscribes("154", P0)
        for _ in range(8):
            world.round()
            world.wait(3 * HOUR)
        assert member(world, P0) == "subscribed"
        assert len(operations(world, account="crm", identity=P0, kind="unsubscribe")) > 2, (
            "again and again, and counted"
        )
        _, shown = how_it_stands(world.app.context, dict.fromkeys(world.app.context.lanes, 1e6))
        assert shown["converged"] is False
        assert shown["reachable"] >= 1
    converged(world, p0=LEFT, p1=JOINED)


def test_s13_where_it_cannot_be_read_back_the_next_sign_of_the_person_has_it_told_again(open_world):
    world = open_world()
    agreed(world, 2)
    world.mail.person_unsubscribes("154", P0)
    world.rokt.apply_delay_s = HOUR
    world.round()
    assert len(world.rokt.receipts) == 1
    world.rokt._imports.clear()  # accepted, and lost there
    world.rokt.apply_delay_s = 0.0
    world.wait(DAY)
    world.rokt.send_lead(P0, "First0", "Last0")
    world.round()
    assert len(world.rokt.receipts) == 2
    for row in world.rows("SELECT id FROM claim WHERE state = 'open'"):
        reject(world.app.context, row["id"])
    converged(world, p0=LEFT, p1=JOINED)


@pytest.mark.parametrize("limit", [1, 2])
def test_s20_of_a_batch_that_was_taken_in_part_each_is_read_back_and_the_rest_is_sent(open_world, limit):
    world = open_world()
    agreed(world, 2)
    for number in range(3):
        person(world, f"new{number}@example.org", "New", f"Comer{number}")
    world.sales.insert_limit = limit
    world.round()
    assert {row["state"] for row in operations(world, account="sales") if row["identity"].startswith("new")} != {
        "verified"
    }
    rounds(world, 4)
    world.sales.insert_limit = None
    converged(world, **{f"new{number}": JOINED for number in range(3)})


# Figures -------------------------------------------------------------------------------------------------------------


def in_new_york(real: Response) -> Response:
    """Days of a zone of their own, of which the one that summer time ends on has 25 hours."""
    told = real.body
    for day in (b"2026-10-25", b"2026-11-01"):
        told = told.replace(day + b"T00:00:00Z", day + b"T00:00:00-04:00")
    return Response(real.status, real.headers, told.replace(b"T00:00:00Z", b"T00:00:00-05:00"))


@pytest.mark.beside_the_schemas
def test_s19_figures_are_kept_as_they_came_and_decide_nothing_about_people(open_world):
    world = open_world(config=configured(leads=QUERY_API))
    days = {"2026-10-25": {"impressions": 10}, "2026-11-01": {"impressions": 7}, "2026-11-02": {"impressions": 5}}
    world.rokt.add_campaign("9007199254740993", "Shoes", days)
    with answering(world.rokt, "/campaigns/", in_new_york):
        agreed(world, 2)
    world.rocs.add_campaign("K-1", "Spring", sent=100, opened=50, unsubscribed=3)
    world.wait(HOUR + 1)
    world.round()
    shoes = world.rows("SELECT day, extra FROM campaign_sample WHERE account = 'leads' ORDER BY day")
    assert [row["day"] for row in shoes] == list(days), "each once, and under the date that it has there"
    assert ["10" in str(row["extra"]) for row in shoes] == [True, False, False]
    before = world.writes
    odd: list[dict[str, Any]] = [
        {"sent": 90, "opened": 40},
        {"sent": 10**6, "opened": 0},
        {"sent": 10**30, "opened": 2**63},
        {"sent": -5, "opened": 1.5},
        {"sent": "7", "opened": None},
        {"sent": 120, "opened": 60, "unsubscribed": 3},
    ]
    for stats in odd:
        world.rocs.count("K-1", **stats)
        world.wait(HOUR + 1)
        assert world.round().failed == []
    with answering(
        world.rocs, "/stats", lambda real: Response(200, real.headers, real.body.replace(b'"sent":120', b'"sent":NaN'))
    ):
        world.wait(HOUR + 1)
        world.round(["crm"])
    seen = world.rows("SELECT * FROM campaign_sample WHERE campaign_id = 'K-1' ORDER BY id")
    assert [row["sent"] for row in seen][:3] == [100, 90, 10**6]
    assert seen[-1]["sent"] == 120
    assert world.writes == before
    assert [standing(world, email) for email in (P0, P1)] == [JOINED, JOINED]
    converged(world, p0=JOINED, p1=JOINED)


# Everybody at once ---------------------------------------------------------------------------------------------------


def test_s21_when_everybody_reads_unsubscribed_they_are_held_here_at_once_and_spread_only_later(open_world):
    world = open_world(max_count=3, on_unsubscribe="field")
    emails = list(people(world, 6))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * 6
    for email in emails:
        world.sales.set_field(world.sales_list, email, "status", "unsubscribed")
    before = marks(world)
    world.wait(61)
    world.round()
    assert suppressed(world, "newsletter") == set(emails)
    assert written(world, before) == []
    assert {row["hold"] for row in plans(world)} == {"mass"}
    assert condition(world) is Condition.WAITS
    world.wait(11 * HOUR)
    world.round()
    assert written(world, before) == [], "there is time to look at it"
    # Put back by the provider: nobody is subscribed again by that, and nobody is added.
    world.sales.set_field(world.sales_list, emails[0], "status", "subscribed")
    world.wait(HOUR)
    rounds(world, 3)
    assert added(world, before) == []
    for row in world.rows("SELECT id FROM claim WHERE state = 'open'"):
        reject(world.app.context, row["id"])
    converged(world, **{f"p{number}": LEFT | {"sales": ["unsubscribed"]} for number in range(6)})
