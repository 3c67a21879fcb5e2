"""A new lead is verified before it spreads, where an account is told to; nothing else waits for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from syncd.emulators.emulator import Fault, FaultKind
from syncd.store.session import writing
from syncd.sync.resync import Verb, resync
from tests.scenes import (
    JOINED,
    command,
    configured,
    explained,
    logged,
    names_of,
    notices,
    person,
    plans,
    standing,
    subscriber,
    written,
)
from tests.virtual import run
from tests.world import World

CLEAN = configured(sales="hygiene = true\nhygiene_max_age = '30d'")
LEAD: dict[str, Any] = {"crm": None, "sales": [], "mail": None, "leads": None}
DAY = 86_400.0
FEW = configured(sales="hygiene = true\nhygiene_per_round = 2")


def lead(world: World, email: str, **more: Any) -> str:
    """Somebody of whom only Rokt has told."""
    world.rokt.send_lead(email, "Lea", "Dee", **more)
    return email


def verified(world: World) -> list[str]:
    """The addresses that were asked about, in order."""
    return [json.loads(call.body)["email"] for call in world.sales.calls if call.path.endswith("emailVerifier")]


def drift(world: World) -> list[tuple[str, str, str]]:
    rows = world.rows("SELECT kind, email, detail FROM v_drift WHERE kind IN ('unverified', 'unsound') ORDER BY email")
    return [(row["kind"], row["email"], row["detail"]) for row in rows]


def row_of(world: World, email: str) -> Mapping[str, Any]:
    (row,) = world.rows("SELECT * FROM hygiene WHERE identity = :email", email=email)
    return row


def status(world: World) -> dict[str, Any]:
    data: dict[str, Any] = command(world, "status", "--json").data
    return data


def restarted(world: World) -> None:
    """The process stops, and starts with the configuration as it is by now."""
    run(world.loop, world.app.aclose())
    world.app = world._start()


def joined(world: World) -> set[str]:
    return {row["name"] for row in world.rows("SELECT name FROM account WHERE joined")}


def ready(world: World) -> World:
    """Past first contact, with somebody who is everywhere."""
    person(world, "bob@example.org", "Bob", "Bee")
    world.settle(2)
    assert standing(world, "bob@example.org") == JOINED
    world.wait(600)
    return world


def test_a_sound_lead_spreads_and_an_unsound_one_is_kept_with_the_reason(open_world):
    world = ready(open_world(config=CLEAN))
    before = verified(world)
    emails = {
        "ok@example.com": JOINED, "l@likely.example": JOINED, "f@full.example": JOINED,
        "r@catchall.example": LEAD, "i@invalid.example": LEAD,
    }  # fmt: skip
    for email in emails:
        lead(world, email)
    world.settle(2)
    assert {email: standing(world, email) for email in emails} == emails
    assert sorted(verified(world)[len(before) :]) == sorted(emails)
    assert drift(world) == [
        ("unsound", "i@invalid.example", "the e-mail address is invalid (score 12), so they are added nowhere else"),
        ("unsound", "r@catchall.example", "the e-mail address is risky (score 56), so they are added nowhere else"),
    ]
    told = command(world, "explain", "r@catchall.example", "--json").data["sentences"]
    assert any(
        "verified r@catchall.example: accept all, score 56; the e-mail address is risky" in line for line in told
    )
    assert status(world)["converged"]
    known = world.rows("SELECT email FROM v_contacts WHERE email = 'r@catchall.example'")
    assert len(known) == 1, "kept"


def test_a_number_that_cannot_be_called_keeps_a_lead_and_is_not_asked_about_where_there_is_none(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    lead(world, "bad@example.com", mobile="+3897841883")
    lead(world, "good@example.com", mobile="+46701740605")
    lead(world, "none@example.com")
    world.settle(2)
    assert standing(world, "good@example.com") == standing(world, "none@example.com") == JOINED
    asked = [json.loads(call.body) for call in world.sales.calls if call.path.endswith("phoneVerifier")]
    assert asked == [{"phones": ["3897841883"]}, {"phones": ["46701740605"]}]
    assert standing(world, "bad@example.com") == LEAD
    assert row_of(world, "bad@example.com")["reason"] == "the phone number cannot be called (not valid)"


def test_nobody_is_asked_about_twice_until_what_was_said_is_old(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    lead(world, "r@catchall.example")
    world.settle(4)
    assert verified(world).count("r@catchall.example") == 1
    world.sales.services.scores["r@catchall.example"] = 92
    world.wait(29 * DAY)
    world.settle(2)
    assert standing(world, "r@catchall.example") == LEAD
    world.wait(2 * DAY)
    world.settle(3)
    assert verified(world).count("r@catchall.example") == 2
    assert standing(world, "r@catchall.example") == JOINED
    assert drift(world) == []


def test_somebody_who_stands_at_two_accounts_is_no_new_lead(open_small_world):
    """So a person lets an unsound one through: they are added by hand at one more place."""
    world = ready(open_small_world(config=CLEAN))
    lead(world, "r@catchall.example")
    world.settle(2)
    assert standing(world, "r@catchall.example") == LEAD
    person(world, "r@catchall.example", "Lea", "Dee")
    world.settle(2)
    assert standing(world, "r@catchall.example") == JOINED
    assert drift(world) == []


def test_a_verifier_that_fails_makes_leads_wait_and_nothing_else(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    notices(world)
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "emailVerifier", times=10**6))
    lead(world, "ok@example.com")
    world.rokt.person_unsubscribes("bob@example.org")
    done = world.round()
    world.wait(60)
    world.round()
    assert standing(world, "bob@example.org")["sales"] == []
    assert subscriber(world, "bob@example.org") == "Unsubscribed"
    assert standing(world, "ok@example.com") == LEAD
    assert done.accounts["sales"].result == "partial"
    [(kind, email, detail)] = drift(world)
    assert (kind, email) == ("unverified", "ok@example.com")
    assert "emailVerifier: 503" in detail
    shown = status(world)
    assert (shown["converged"], shown["look_ups"]) == (False, 1)
    assert next(entry for entry in shown["accounts"] if entry["name"] == "sales")["state"] == "ok"
    assert any("It could not yet" in line for line in command(world, "explain", "ok@example.com").out.splitlines())
    world.sales.faults.clear()
    world.settle(2)
    assert standing(world, "ok@example.com") == JOINED
    assert drift(world) == []


def test_a_verifier_that_is_not_permitted_is_no_verdict_and_no_quarantine(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    world.sales.services.refuses = 403
    for email in ("one@example.com", "two@example.com"):
        lead(world, email)
    world.settle(2)
    assert [kind for kind, _, _ in drift(world)] == ["unverified", "unverified"]
    assert world.rows("SELECT state FROM account WHERE name = 'sales'")[0]["state"] == "ok"
    world.sales.services.refuses = None
    world.settle(2)
    assert standing(world, "one@example.com") == standing(world, "two@example.com") == JOINED


@pytest.mark.parametrize("about", ["emailVerifier", "phoneVerifier"])
def test_a_verdict_about_somebody_else_judges_nobody_and_is_asked_for_again(open_small_world, about):
    world = ready(open_small_world(config=CLEAN))
    world.sales.services.mixes_up.add(about)
    lead(world, "ok@example.com", mobile="+46701740605")
    done = world.settle(2)
    assert standing(world, "ok@example.com") == LEAD
    assert done.accounts["sales"].result == "partial"
    [(kind, email, detail)] = drift(world)
    assert (kind, email, row_of(world, "ok@example.com")["checked_at"]) == ("unverified", "ok@example.com", None)
    assert about in detail
    world.sales.services.mixes_up.clear()
    world.settle(2)
    assert standing(world, "ok@example.com") == JOINED
    assert drift(world) == []


def test_a_number_of_a_kind_that_is_not_called_keeps_a_lead(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    lead(world, "pager@example.com", mobile="+447640123456")
    lead(world, "voip@example.com", mobile="+445612345678")
    world.settle(2)
    assert standing(world, "pager@example.com") == LEAD
    assert standing(world, "voip@example.com") == JOINED
    assert row_of(world, "pager@example.com")["reason"] == "the phone number cannot be called (pager)"


def test_one_address_that_the_verifier_does_not_take_waits_and_stops_nobody_else(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    world.sales.services.refused.add("a@example.com")
    before = len(verified(world))
    for email in ("a@example.com", "b@example.com", "c@example.com"):
        lead(world, email)
    world.round()
    assert verified(world)[before:] == ["a@example.com", "b@example.com", "c@example.com"]
    world.settle(2)
    assert standing(world, "b@example.com") == standing(world, "c@example.com") == JOINED
    [(kind, email, detail)] = drift(world)
    assert (kind, email) == ("unverified", "a@example.com")
    assert detail.endswith("emailVerifier: 400 Cannot verify …")


def test_whose_addition_waits_for_a_person_still_does_once_they_are_verified(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    bob = "bob@example.org"
    # The mirror has forgotten that he was at the other two, and they have lost him: he reads as a new lead.
    world.sales.remove_contact(world.sales_list, bob)
    del world.mail.subscribers["154", bob]
    with writing(world.app.engine) as connection:
        connection.execute(
            sa.text("DELETE FROM cell WHERE account IN ('sales', 'mail') AND identity = :bob"), {"bob": bob}
        )
        connection.execute(sa.text("UPDATE container SET rows = rows - 1 WHERE account = 'sales' AND container <> '*'"))
        connection.execute(sa.text("DELETE FROM page WHERE account = 'sales'"))
        connection.execute(sa.text("DELETE FROM hygiene"))
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "emailVerifier", times=10**6))
    resync(world.app.context, Verb.REREAD)
    world.settle(2)
    assert [kind for kind, _, _ in drift(world)] == ["unverified"]
    world.sales.faults.clear()
    world.settle(2)
    assert {row["hold"] for row in plans(world)} == {"resync"}
    assert standing(world, bob)["sales"] == []


def test_a_round_verifies_no_more_than_it_may_and_all_come_to_their_turn(open_small_world):
    world = ready(open_small_world(config=FEW))
    before = len(verified(world))
    emails = [lead(world, f"p{n}@example.com") for n in range(5)]
    counts = []
    for _ in range(4):
        world.round()
        counts.append(len(verified(world)) - before)
        world.wait(60)
    assert counts == [2, 4, 5, 5]
    world.settle(2)
    assert [standing(world, email) for email in emails] == [JOINED] * 5


def test_who_cannot_be_verified_does_not_use_up_what_a_round_may(open_small_world):
    world = ready(open_small_world(config=FEW))
    world.sales.services.refused |= {"a@example.com", "b@example.com"}
    for email in ("a@example.com", "b@example.com", "c@example.com"):
        lead(world, email)
    world.settle(3)
    assert standing(world, "c@example.com") == JOINED
    assert [email for _, email, _ in drift(world)] == ["a@example.com", "b@example.com"]


def test_an_unsubscribe_of_a_lead_that_waits_goes_out_at_once(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "emailVerifier", times=10**6))
    lead(world, "ok@example.com")
    world.round()
    command(world, "unsubscribe", "ok@example.com")
    assert "ok@example.com" in world.rokt.unsubscribed
    world.sales.faults.clear()
    world.settle(2)
    assert drift(world) == []
    assert not [entry for entry in written(world) if "ok@example.com" in entry[2] and "addToList" in entry[1]]


def test_first_contact_does_not_end_before_those_who_wait_were_shown_to_a_person(open_small_world):
    world = open_small_world(config=CLEAN, first_sync="hold")
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "emailVerifier", times=10**6))
    person(world, "ann@example.org")
    world.settle(2)
    assert joined(world) == {"leads"}, "of nobody there is anything to approve"
    world.sales.faults.clear()
    world.settle(2)
    assert standing(world, "ann@example.org")["mail"] is None, "it waits for approval"
    assert world.rows("SELECT hold FROM plan") != []


def test_whom_the_verifier_refuses_or_finds_unsound_keeps_no_account_in_first_contact(open_small_world):
    world = open_small_world(config=CLEAN, first_sync="hold")
    world.sales.services.refused.add("odd@example.com")
    for email in ("odd@example.com", "i@invalid.example"):
        person(world, email, "Lea", "Dee")
    world.settle(3)
    assert [(kind, email) for kind, email, _ in drift(world)] == [
        ("unsound", "i@invalid.example"),
        ("unverified", "odd@example.com"),
    ]
    assert joined(world) == {"crm", "sales", "mail", "leads"}
    # Should the verifier take them one day, a person looks first: of whom nothing was shown nothing was agreed on.
    world.sales.services.refused.clear()
    world.settle(2)
    (waits,) = {row["id"] for row in plans(world, account="mail")}
    assert subscriber(world, "odd@example.com") is None
    assert command(world, "approve", waits).code in {0, 3, 4}
    world.settle(2)
    assert subscriber(world, "odd@example.com") == "Confirmed"


def test_without_the_option_nobody_is_verified(open_small_world):
    world = ready(open_small_world())
    lead(world, "r@catchall.example")
    world.settle(2)
    assert standing(world, "r@catchall.example") == JOINED
    assert "emailVerifier" not in names_of(world.sales.calls)


def test_turning_it_off_lets_those_go_who_were_kept_back(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    lead(world, "r@catchall.example")
    world.settle(2)
    assert standing(world, "r@catchall.example") == LEAD
    world._config = world._config.replace("hygiene = true", "hygiene = false")
    restarted(world)
    world.settle(2)
    assert standing(world, "r@catchall.example") == JOINED
    assert drift(world) == []


def test_a_verifier_that_goes_on_failing_is_logged_once(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    world.sales.faults.append(Fault(FaultKind.UNAVAILABLE, "emailVerifier", times=10**6))
    with logged() as lines:
        for n in range(3):
            lead(world, f"p{n}@example.com")
            world.round()
            world.wait(60)
    told = [line for line in lines if line["event"] == "hygiene.failed"]
    assert [(line["log_level"], line["call"]) for line in told] == [("warning", "emailVerifier")]
    assert "example.com" not in str(lines)


def test_who_is_erased_is_gone_from_what_was_said_of_them(open_world):
    world = ready(open_world(config=CLEAN))
    lead(world, "r@catchall.example", mobile="+46701740605")
    world.settle(2)
    assert row_of(world, "r@catchall.example")["score"] == 56
    assert command(world, "erase", "r@catchall.example", "--yes").code in {0, 3}
    world.settle(3)
    assert world.rows("SELECT * FROM hygiene WHERE identity LIKE '%catchall%'") == []
    assert world.rows("SELECT * FROM hygiene WHERE identity LIKE 'erased%'") == []
    assert command(world, "erase", "r@catchall.example", "--verify").code == 0
    assert drift(world) == []


def test_what_explains_a_lead_is_of_the_published_shape(open_small_world):
    world = ready(open_small_world(config=CLEAN))
    lead(world, "i@invalid.example")
    world.settle(2)
    assert explained(world, "i@invalid.example")["crm"]["next"] == ["Nothing more is to be done here."]


def test_whoever_was_unsound_in_first_contact_and_is_sound_later_waits_for_a_person(open_small_world):
    world = open_small_world(config=CLEAN, first_sync="hold")
    person(world, "i@invalid.example", "Lea", "Dee")
    world.settle(3)
    assert joined(world) == {"crm", "sales", "mail", "leads"}
    world.wait(31 * DAY)
    world.sales.services.scores["i@invalid.example"] = 99
    world.settle(4)
    assert subscriber(world, "i@invalid.example") is None
