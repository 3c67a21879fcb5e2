"""Whatever comes in: nothing is inferred from it, the other accounts go on, and it heals without help."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from syncd.emulators.emulator import Emulator, Fault, FaultKind
from syncd.emulators.salesrocks_services import RefusalError
from syncd.wire import Request, Response
from tests.scenes import (
    JOINED,
    LEFT,
    account,
    calls,
    configured,
    contacts,
    last_run,
    marks,
    member,
    memberships,
    names_of,
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
from tests.world import World

ALWAYS = 1_000_000


def agreed(world: World, count: int = 2) -> list[str]:
    emails = list(people(world, count))
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * count
    return emails


def emulator_of(world: World, name: str) -> Emulator:
    return {"crm": world.rocs, "sales": world.sales, "mail": world.mail, "leads": world.rokt}[name]


@contextmanager
def answering(emulator: Emulator, path: str, response: Response) -> Iterator[None]:
    """Calls whose path contains `path` get this answer; nothing else happens at the provider."""
    real = emulator.answer
    emulator.answer = lambda request: response if path in request.url else real(request)  # type: ignore[method-assign]
    yield
    emulator.answer = real  # type: ignore[method-assign]


def inferred(world: World) -> tuple[object, ...]:
    """Everything that a bad answer must leave as it is."""
    cells = world.rows("SELECT account, container, key, status, fields, missing_count FROM cell ORDER BY 1, 2, 3")
    return cells, values(world, "consent"), plans(world), values(world, "op")


def failed_alone(world: World, name: str) -> tuple[str, str]:
    """A round in which this one account failed; reason and hint."""
    world.wait(300)
    done = world.round()
    results = {outcome.name: outcome.result for outcome in done.accounts.values()}
    assert results == dict.fromkeys(results, "success") | {name: "failed"}
    assert last_run(world, name)["result"] == "failed"
    row = account(world, name)
    assert last_run(world, name)["reason"].startswith(row["reason"])
    assert row["hint"]
    assert row["hint"] == done.accounts[name].hint
    return row["reason"], row["hint"]


def healed(world: World, name: str) -> None:
    world.wait(300)
    assert world.round().failed == []
    assert {key: account(world, name)[key] for key in ("state", "reason", "hint", "failures")} == {
        "state": "ok", "reason": "", "hint": "", "failures": 0,
    }  # fmt: skip


# Answers that cannot be read -----------------------------------------------------------------------------------------

READS = {"crm": "/customers", "sales": "/getListData", "mail": "/list/all"}
BAD_ANSWERS = {
    "a redirect": Response(302, {"location": "http://127.0.0.1:9/elsewhere"}, b""),
    "too large": Response(200, {"content-type": "application/json"}, b"[" + b" " * 40_000 + b"]"),
    "of another shape": Response(200, {"content-type": "application/json"}, b'"fine"'),
    "not text": Response(200, {"content-type": "application/json"}, b"\xff\xfe\x00"),
}
SMALL = configured(
    crm="answer_bytes_max = 32768", sales="answer_bytes_max = 32768", mail="answer_bytes_max = 32768"
)  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_an_answer_that_cannot_be_read_says_so_stays_at_its_account_and_teaches_nothing(open_small_world, name):
    world = open_small_world(config=SMALL)
    _, leaves = agreed(world)
    emulator, path = emulator_of(world, name), READS[name]
    known = inferred(world)
    for kind in (FaultKind.HTML, FaultKind.TRUNCATED, FaultKind.EMPTY, FaultKind.UNAVAILABLE, FaultKind.ANSWER_LOST):
        emulator.faults.append(Fault(kind, path, times=ALWAYS))
        reason, _ = failed_alone(world, name)
        assert "<" not in reason
        assert account(world, name)["state"] == "failing"
        emulator.faults.clear()
    for what, response in BAD_ANSWERS.items():
        with answering(emulator, path, response):
            reason, _ = failed_alone(world, name)
        assert reason, what
    assert inferred(world) == known
    healed(world, name)
    # While it cannot be read, what others say goes on, and reaches it as soon as it can be.
    emulator.faults.append(Fault(FaultKind.HTML, path, times=ALWAYS))
    world.rokt.person_unsubscribes(leaves)
    failed_alone(world, name)
    there = {"crm": "crm", "sales": "sales", "mail": "mail"}[name]
    assert {key: standing(world, leaves)[key] for key in LEFT if key != there} == {
        key: LEFT[key] for key in LEFT if key != there
    }
    emulator.faults.clear()
    healed(world, name)
    assert standing(world, leaves) == LEFT


# Credentials ---------------------------------------------------------------------------------------------------------


def wrong_secret(world: World) -> Callable[[], None]:
    world.rocs.client_secret = "rotated"
    world.rocs.revoke_tokens()
    return lambda: setattr(world.rocs, "client_secret", "rocs-secret")


def wrong_password(world: World) -> Callable[[], None]:
    world.sales.password = "rotated"
    world.sales.revoke_tokens()
    return lambda: setattr(world.sales, "password", "sales-secret")


def wrong_private_key(world: World) -> Callable[[], None]:
    world.mail.private_key = "rotated"
    return lambda: setattr(world.mail, "private_key", "priv_emulated")


def wrong_rokt_key(world: World) -> Callable[[], None]:
    world.rokt.api_key = "rotated"
    return lambda: setattr(world.rokt, "api_key", "rokt-key")


CREDENTIALS = {"crm": wrong_secret, "sales": wrong_password, "mail": wrong_private_key, "leads": wrong_rokt_key}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_refused_credentials_quarantine_the_account_and_cost_no_operation_an_attempt(open_small_world, name):
    world = open_small_world(config=configured(push="attempts_max = 3"))
    _, leaves = agreed(world)
    put_right = CREDENTIALS[name](world)
    unsubscribed = world.mail.person_unsubscribes if name != "mail" else world.rocs.unsubscribe_member
    unsubscribed("154" if name != "mail" else "L-1", leaves)
    for _ in range(3):  # as often as an operation is tried
        failed_alone(world, name)
    reason, hint = failed_alone(world, name)
    assert account(world, name)["state"] == "quarantined"
    assert reason
    assert hint
    assert not any(secret in reason + hint for secret in ("rocs-secret", "sales-secret", "priv_emulated", "rokt-key"))
    assert [row["attempts"] for row in operations(world, account=name, kind="unsubscribe")] == [0]
    assert {key: standing(world, leaves)[key] for key in LEFT if key != name} == {
        key: LEFT[key] for key in LEFT if key != name
    }
    put_right()
    healed(world, name)
    assert standing(world, leaves) == LEFT


@pytest.mark.parametrize("name", ["crm", "sales"])
def test_a_token_that_ends_in_the_middle_of_a_run_costs_one_login_and_no_more(open_small_world, name):
    world = open_small_world(config=configured(crm="page_size = 2", sales="page_size = 2"))
    agreed(world, 5)
    emulator: Any = world.rocs if name == "crm" else world.sales
    page, login = ("/customers", "token") if name == "crm" else ("/getListData", "accessToken")
    real, seen = emulator.answer, marks(world)

    def revoking(request: Request) -> Response:
        if page in request.url:
            emulator.answer = real
            emulator.revoke_tokens()
        return cast("Response", real(request))

    emulator.answer = revoking
    world.wait(60)
    assert world.round([name], full=True).failed == []
    assert names_of(calls(world, seen)[emulator.name]).count(login) == 1


# Records -------------------------------------------------------------------------------------------------------------


def test_a_status_word_that_nobody_knows_is_kept_as_it_came_and_nothing_follows_from_it(open_small_world):
    world = open_small_world()
    stays, odd = agreed(world)
    world.rocs.mark_member("L-1", odd, "snoozed")
    person(world, "new@example.org", lists=())
    world.rocs.add_member("L-1", next(reversed(world.rocs.customers)), "snoozed")
    before = world.writes
    world.settle(3)
    assert world.writes == before
    rows = world.rows("SELECT status, raw FROM v_memberships WHERE email = :e AND remote_list = 'L-1'", e=odd)
    assert rows[0]["status"] == "unknown"
    assert '"snoozed"' in rows[0]["raw"]
    assert memberships(world, "new@example.org") == {("crm", "*"): "subscribed", ("crm", "L-1"): "unknown"}
    assert contacts(world, "new@example.org") == []
    assert suppressed(world, "newsletter") == set()
    assert standing(world, stays) == JOINED


def test_an_address_that_cannot_be_mailed_is_mirrored_and_shown_and_never_pushed(open_world):
    world = open_world()
    agreed(world)
    world.sales.add_contact(world.sales_list, "not an address", "No Body")
    world.sales.add_contact(world.sales_list, "", "No Thing")
    world.rocs.add_customer("broken@", "Bro", "Ken")
    before = world.writes
    world.settle(3)
    assert world.writes == before
    parked = world.rows("SELECT what, account, email, reason FROM v_parked ORDER BY account, email")
    assert [(row["what"], row["account"], row["email"]) for row in parked] == [
        ("record", "crm", "broken@"), ("record", "sales", ""), ("record", "sales", "not an address"),
    ]  # fmt: skip
    assert all("cannot be mailed" in row["reason"] for row in parked)
    world.sales.set_field(world.sales_list, "not an address", "email", "mended@example.org")
    world.settle(2)
    assert member(world, "mended@example.org") == "subscribed"


def test_an_address_that_rocketresponder_refuses_is_parked_with_its_reason_and_the_others_go_on(open_small_world):
    world = open_small_world()
    agreed(world)
    world.mail.strict_emails = True
    person(world, "curator@gallery.museum")
    person(world, "next@example.org")
    world.settle(3)
    assert standing(world, "next@example.org") == JOINED
    assert standing(world, "curator@gallery.museum") == JOINED | {"mail": None}
    (row,) = world.rows("SELECT * FROM v_parked")
    assert (row["what"], row["account"], row["email"]) == ("change", "mail", "curator@gallery.museum")
    assert "Invalid email address" in row["reason"]
    assert "curator" not in row["reason"]
    before = world.writes
    world.settle(3)
    assert world.writes == before, "what is parked waits for a person"


def test_a_record_at_rocs_that_always_fails_is_parked_after_its_attempts_and_the_others_go_on(open_world):
    world = open_world(config=configured(push="attempts_max = 3\nbackoff = '10s'\nbackoff_max = '20s'"))
    poisoned, other = agreed(world)
    world.rocs.poison.add(poisoned)
    for email in (poisoned, other):
        world.sales.set_field(world.sales_list, email, "name", "Anna Last")
    for _ in range(5):
        world.wait(60)
        world.round()
    (row,) = world.rows("SELECT * FROM v_parked")
    assert (row["account"], row["email"], row["kind"]) == ("crm", poisoned, "update")
    assert "could not be saved" in row["reason"]
    assert "3 times" in row["reason"]
    names = {one.email: one.first_name for one in world.rocs.customers.values()}
    assert (names[poisoned], names[other]) == ("First0", "Anna")
    tried = len([1 for name, path, _ in written(world) if name == "rocs" and "/customers/" in path])
    world.settle(3)
    assert tried == len([1 for name, path, _ in written(world) if name == "rocs" and "/customers/" in path])
    assert account(world, "crm")["state"] == "ok"


def test_an_unsubscribe_that_always_fails_is_never_given_up_and_holds_nobody_back(open_small_world):
    world = open_small_world(config=configured(push="attempts_max = 3\nbackoff = '10s'\nbackoff_max = '20s'"))
    poisoned, other = agreed(world)
    world.rocs.poison.add(poisoned)
    for email in (poisoned, other):
        world.mail.person_unsubscribes("154", email)
    for _ in range(8):
        world.wait(60)
        world.round()
    assert (member(world, poisoned), member(world, other)) == ("subscribed", "unsubscribed")
    (op,) = operations(world, account="crm", identity=poisoned, kind="unsubscribe")
    assert op["state"] == "ready"
    assert op["attempts"] > 3
    world.rocs.poison.clear()
    world.wait(60)
    world.round()
    assert member(world, poisoned) == "unsubscribed"


def test_a_batch_with_one_refused_record_is_taken_apart(open_small_world):
    world = open_small_world()
    agreed(world)
    real = world.sales._add_to_list

    def choosy(body):
        if any(row["email"].startswith("bad") for row in body["data"]):
            raise RefusalError(400, "Invalid contact")
        return real(body)

    world.sales._add_to_list = choosy
    for email in ("a@example.org", "bad@example.org", "c@example.org"):
        person(world, email)
    world.settle(3)
    assert [len(contacts(world, email)) for email in ("a@example.org", "bad@example.org", "c@example.org")] == [1, 0, 1]
    (row,) = world.rows("SELECT * FROM v_parked")
    assert (row["account"], row["email"], row["kind"]) == ("sales", "bad@example.org", "subscribe")
    assert "Invalid contact" in row["reason"]
    assert subscriber(world, "bad@example.org") == "Confirmed"


# Asked to wait -------------------------------------------------------------------------------------------------------


def test_a_short_wait_that_a_provider_asks_for_is_waited_within_the_round(open_small_world):
    world = open_small_world()
    agreed(world)
    world.sales.faults.append(Fault(FaultKind.THROTTLED, "/getListData", retry_after="120"))
    seen = marks(world)
    world.wait(300)
    assert world.round().failed == []
    asked = [call for call in calls(world, seen)["salesrocks"] if call.path.endswith("getListData")]
    assert [call.status for call in asked] == [429, 200, 200]
    assert (asked[1].at - asked[0].at).total_seconds() >= 120


def test_for_a_long_wait_the_account_is_left_alone_and_the_others_go_on(open_small_world):
    world = open_small_world()
    _, leaves = agreed(world)
    world.sales.faults.append(Fault(FaultKind.THROTTLED, "/getListData", retry_after="1800"))
    failed_alone(world, "sales")
    seen = marks(world)
    world.rokt.person_unsubscribes(leaves)
    for _ in range(5):
        failed_alone(world, "sales")
    assert calls(world, seen)["salesrocks"] == [], "not one call in 25 minutes"
    assert standing(world, leaves) == LEFT | {"sales": ["listed"]}
    world.wait(300)
    world.round()
    assert standing(world, leaves) == LEFT
    assert account(world, "sales")["state"] == "ok"


@pytest.mark.parametrize("asked", ["99999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_absurd_wait_is_cut_to_the_longest_that_makes_sense(open_small_world, asked):
    world = open_small_world()
    _, leaves = agreed(world)
    for path in ("/getListData", "/deleteListData"):
        world.sales.faults.append(Fault(FaultKind.THROTTLED, path, retry_after=asked))
    failed_alone(world, "sales")
    world.rokt.person_unsubscribes(leaves)
    for _ in range(3):
        world.wait(3600)
        world.round()
    assert standing(world, leaves) == LEFT
    assert account(world, "sales")["state"] == "ok"
    assert math.isfinite(world.loop.time())


def test_a_provider_that_was_down_for_hours_gets_everything_it_missed(open_world):
    world = open_world()
    _, leaves = agreed(world)
    world.rocs.faults.append(Fault(FaultKind.NO_CONNECTION, times=ALWAYS))
    world.mail.person_unsubscribes("154", leaves)
    world.sales.add_contact(world.sales_list, "new@example.org", "New Comer")
    for _ in range(6):
        world.wait(3600)
        failed_alone(world, "crm")
    assert standing(world, leaves) == LEFT | {"crm": "subscribed"}
    assert standing(world, "new@example.org") == JOINED | {"crm": None}
    assert {row["attempts"] for row in operations(world, account="crm", state="ready")} == {0}
    world.rocs.faults.clear()
    healed(world, "crm")
    assert standing(world, leaves) == LEFT
    assert standing(world, "new@example.org") == JOINED
