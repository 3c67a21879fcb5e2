"""S-1, S-2, S-4, S-9, S-10 and S-14 to S-18: what a provider says of a person, and does not mean, or not any more."""

from __future__ import annotations

import pytest

from syncd.domain.consent import Scope
from syncd.domain.identity import Identity
from syncd.reconcile.convergence import Condition
from syncd.sync.approve import reject
from syncd.sync.erase import erase
from syncd.sync.ingest import unsubscribe
from tests.faults.agreement import converged
from tests.scenes import (
    DAY,
    EVENTS,
    IN,
    JOINED,
    LEFT,
    TWO_LISTS,
    added,
    agreed,
    changes_address,
    command,
    contacts,
    marks,
    member,
    memberships,
    notices,
    operations,
    person,
    standing,
    subscriber,
    suppressed,
    values,
    with_two_lists,
    written,
)
from tests.world import World

P0, P1 = "p0@example.org", "p1@example.org"


def customer_of(world: World, email: str) -> str:
    return next(one.id for one in world.rocs.customers.values() if one.email == email)


def gone(world: World) -> None:
    """P0 said no to everything, and everybody knows; P1 stays."""
    agreed(world, 2)
    world.rokt.person_unsubscribes(P0)
    world.settle(2)
    assert standing(world, P0) == LEFT
    world.wait(600)


def dismissed(world: World) -> None:
    """Whatever waits for a person is decided: the "no" stays."""
    for row in world.rows("SELECT id FROM claim WHERE state = 'open'"):
        reject(world.app.context, row["id"])


# Subscribed again, by whatever ---------------------------------------------------------------------------------------


def imported_at_crm(world: World) -> None:
    world.rocs.give_consent(P0)
    world.rocs.mark_member("L-1", P0, "subscribed")


def imported_at_sales(world: World) -> None:
    world.sales.add_contact(world.sales_list, P0, "First0 Last0", status="subscribed")


def restored_at_mail(world: World) -> None:
    """A backup of before they left."""
    old = world.mail.subscribers["154", P0]
    old.status, old.unsub_time = "Confirmed", 0
    world.mail.webhook_urls["154", "open"] = f"{IN}/mail/154/open/mail-hook"
    world.mail.open_mail("154", P0)


@pytest.mark.parametrize("comes_back", [imported_at_crm, imported_at_sales, restored_at_mail])
def test_s01_who_said_no_and_reads_subscribed_is_taken_off_again_and_nobody_is_added(open_world, comes_back):
    world = open_world()
    gone(world)
    before, noes = marks(world), len(operations(world, kind="unsubscribe"))
    comes_back(world)
    for _ in range(4):
        world.round()
        world.wait(61)
    assert standing(world, P0) == LEFT
    assert added(world, before) == []
    assert suppressed(world, "global") == {P0}
    assert len(operations(world, kind="unsubscribe")) > noes, "sent again, and counted"
    dismissed(world)
    converged(world, p0=LEFT, p1=JOINED)


@pytest.mark.beside_the_schemas
@pytest.mark.parametrize("word", ["archived", "cleaned", "non-subscribed", ""])
def test_s02_a_word_that_nobody_knows_is_never_a_yes_and_what_follows_it_is_no_news(open_world, word):
    world = open_world()
    gone(world)
    before = marks(world)
    world.rocs.mark_member("L-1", P0, word)
    world.rocs.add_member("L-1", person(world, "new@example.org", "New", "Comer", lists=()), word)
    world.settle(3)
    assert memberships(world, P0)["crm", "L-1"] in {"unknown", "unsubscribed"}
    assert memberships(world, "new@example.org")["crm", "L-1"] == "unknown"
    assert contacts(world, "new@example.org") == []
    assert added(world, before) == []
    world.wait(600)
    for email in (P0, "new@example.org"):
        world.rocs.mark_member("L-1", email, "subscribed")
    world.settle(4)
    dismissed(world)
    converged(world, p0=LEFT, p1=JOINED, new=JOINED)


# Two signs that disagree ---------------------------------------------------------------------------------------------


def flag_beside_the_word(world: World) -> None:
    world.sales.set_field(world.sales_list, P0, "status", "subscribed")
    world.sales.set_field(world.sales_list, P0, "unsubscribed", True)


def time_beside_the_word(world: World) -> None:
    one = world.mail.subscribers["154", P0]
    one.unsub_time = one.confirm_time + 60
    world.mail.open_mail("154", P0)


def word_without_a_time(world: World) -> None:
    world.mail.subscribers["154", P0].status = "Unsubscribed"
    world.mail.open_mail("154", P0)


@pytest.mark.parametrize("disagree", [flag_beside_the_word, time_beside_the_word, word_without_a_time])
def test_s04_where_two_signs_disagree_the_more_restrictive_wins(open_world, disagree):
    world = open_world(on_unsubscribe="field" if disagree is flag_beside_the_word else "remove")
    notices(world)
    agreed(world, 2)
    world.wait(600)
    disagree(world)
    world.settle(2)
    assert suppressed(world, "newsletter") == {P0}
    assert standing(world, P0)["crm"] == "unsubscribed"
    assert standing(world, P0)["leads"] == "told"
    # In the end both signs say the same.
    world.mail.subscribers["154", P0].status = "Unsubscribed"
    sales = ["subscribed"] if disagree is flag_beside_the_word else []
    converged(world, p0=LEFT | {"sales": sales}, p1=JOINED)


# One mailbox, many spellings -----------------------------------------------------------------------------------------

SPELLINGS = {
    "case": ("Ann@Example.org", "ann@example.org", "ANN@EXAMPLE.ORG"),
    "blanks": ("ann@example.org", " ann@example.org ", "ann@example.org"),
    "tag": ("ann@example.org", "ann@example.org", "ann+offers@example.org"),
    "dots": ("an.n@example.org", "an.n@example.org", "a.nn@example.org"),
    "a dot at the end": ("ann@example.org.", "ann@example.org", "ann@example.org"),
    "composed or not": ("ren\u00e9@example.org", "rene\u0301@example.org", "ren\u00e9@example.org"),
    "other letters in the domain": ("ann@b\u00fccher.example", "ann@xn--bcher-kva.example", "ann@B\u00dcCHER.example"),
    "a dotted capital I": ("\u0130lker@example.org", "i\u0307lker@example.org", "\u0130LKER@example.org"),
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_s09_one_mailbox_is_one_person_however_it_is_spelt(open_world, how):
    world = open_world()
    at_crm, at_sales, at_rokt = SPELLINGS[how]
    customer = person(world, at_crm, "Ann", "Bee")
    world.sales.add_contact(world.sales_list, at_sales, "Ann Bee")
    agreed(world, 2)
    world.settle(2)
    assert len(world.sales.contacts_of(world.sales_list)) == 3, "not added a second time"
    assert len(world.rocs.customers) == 3
    world.rokt.person_unsubscribes(at_rokt)
    world.settle(2)
    assert world.rocs.lists["L-1"].members[customer].status == "unsubscribed"
    assert {row["email"] for row in world.sales.contacts_of(world.sales_list)} == {P0, P1}
    (row,) = world.rows("SELECT person FROM v_consent WHERE scope = 'global'")
    assert "+" not in row["person"]
    converged(world, p0=JOINED, p1=JOINED)


# Fields that are not there -------------------------------------------------------------------------------------------


@pytest.mark.beside_the_schemas
@pytest.mark.parametrize("member_name", ["firstName", "email", "emailConsent"])
def test_s10_a_member_that_is_null_in_one_answer_deletes_nothing(open_world, member_name):
    world = open_world(on_absence="unsubscribe")
    agreed(world, 2)
    known, before = standing(world, P0), marks(world)
    world.rocs.edit_customer(customer_of(world, P0), odd={member_name: None})
    world.wait(61)
    world.round(full=True)
    assert {name for name, _, _ in written(world, before)} <= {"rocs"}, "at most it is told what it left out"
    assert (standing(world, P0), contacts(world, P0)[0]["name"]) == (known, "First0 Last0")
    assert suppressed(world, "global") == suppressed(world, "newsletter") == set()
    world.rocs.edit_customer(customer_of(world, P0), odd={})
    converged(world, p0=JOINED, p1=JOINED)


@pytest.mark.parametrize("on_absence", ["ignore", "unsubscribe"])
def test_s10_a_record_that_lost_its_address_is_still_that_of_whom_it_named(open_world, on_absence):
    world = open_world(on_absence=on_absence, on_unsubscribe="field")
    agreed(world, 2)
    before = world.writes
    world.sales.set_field(world.sales_list, P0, "email", None)
    for _ in range(3):
        world.wait(61)
        world.round()
    assert world.writes == before
    assert memberships(world, P0)["sales", world.sales_list] == "subscribed"
    # And the "no" that such a record says is theirs.
    (oid,) = [key for key, row in world.sales.lists[world.sales_list].contacts.items() if row["email"] is None]
    world.sales.lists[world.sales_list].contacts[oid] |= {"status": "unsubscribed"}
    world.sales._pages.clear()
    world.wait(61)
    world.round()
    assert suppressed(world, "newsletter") == {P0}
    assert member(world, P0) == "unsubscribed"
    world.sales.lists[world.sales_list].contacts[oid] |= {"email": P0}
    world.sales._pages.clear()
    converged(world, p0=LEFT | {"sales": ["unsubscribed"]}, p1=JOINED)


# Fights --------------------------------------------------------------------------------------------------------------


def test_s14_who_is_subscribed_again_by_another_program_stays_out_and_somebody_is_told(open_world):
    world = open_world()
    gone(world)
    for _ in range(3):
        world.rocs.mark_member("L-1", P0, "subscribed")
        world.settle(3)
        assert member(world, P0) == "unsubscribed", "undone each time"
        world.wait(600)
    assert [(row["kind"], row["account"]) for row in world.rows("SELECT kind, account FROM v_drift")] == [
        ("fight", "crm")
    ]
    assert command(world, "status", "--json").data["condition"] == Condition.WAITS
    dismissed(world)
    converged(world, p0=LEFT, p1=JOINED)


def test_s14_a_field_that_another_program_puts_back_is_given_up_and_said_so(open_world):
    world = open_world()
    agreed(world, 2)
    world.sales.keeps_case = True  # says yes, and keeps what it had
    world.rocs.edit_customer(customer_of(world, P0), first_name="FIRST0")
    before = marks(world)
    for _ in range(6):
        world.round()
        world.wait(300)
    tried = [path for name, path, _ in written(world, before) if name == "salesrocks"]
    assert len(tried) == 3, "twice more, and never again"
    (parked,) = world.rows("SELECT * FROM v_parked")
    assert (parked["account"], parked["kind"]) == ("sales", "update")
    world.sales.keeps_case = False
    world.mail.person_unsubscribes("154", P0)
    converged(world, p0=LEFT, p1=JOINED)


# Other addresses -----------------------------------------------------------------------------------------------------

OLD, NEW = "olga@example.org", "olga.new@example.org"


def test_s15_an_address_that_is_being_changed_keeps_what_its_person_said(open_world):
    world = open_world()
    changes_address(world, OLD, NEW)
    assert (subscriber(world, OLD), subscriber(world, NEW)) == ("Confirmed", "Unconfirmed"), "pending"
    assert suppressed(world, "newsletter") == set()
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert suppressed(world, "newsletter") == set(), "the old address left, and the person did not"
    assert standing(world, NEW) == JOINED
    world.rokt.person_unsubscribes(OLD)
    world.rokt.person_unsubscribes(NEW)
    world.settle(2)
    dismissed(world)
    converged(world, **{"olga": LEFT, "olga.new": LEFT})


def test_s15_a_no_while_it_is_pending_follows_the_person_to_the_new_address(open_world):
    world = with_two_lists(open_world(config=TWO_LISTS))
    changes_address(world, OLD, NEW, lists=("L-1", "L-2"))
    unsubscribe(world.app.context, OLD, Scope("events"), source="operator", evidence="by phone")
    world.settle(2)
    world.mail.confirm("154", NEW)
    world.settle(3)
    assert suppressed(world, "events") == {OLD, NEW}
    assert suppressed(world, "newsletter") == set()
    assert contacts(world, NEW, EVENTS) == []
    converged(world, **{"olga.new": JOINED})


def test_s15_an_address_that_is_never_confirmed_changes_nothing(open_world):
    world = open_world()
    changes_address(world, OLD, NEW)
    world.wait(14 * DAY)
    assert suppressed(world, "newsletter") == set()
    converged(world, olga=JOINED)
    assert contacts(world, NEW) == []


def test_s16_an_erased_address_that_another_person_uses_stays_suppressed_and_no_yes_is_taken_for_it(open_world):
    world = open_world()
    agreed(world, 2)
    erase(world.app.context, Identity(P0))
    world.settle(3)
    assert member(world, P0) in {None, "unsubscribed"}
    before = marks(world)
    for one in [one for one in world.rocs.customers.values() if one.email == P0]:
        world.rocs.remove_customer(one.id)
    person(world, P0, "Somebody", "Else")
    world.settle(3)
    assert member(world, P0) == "unsubscribed"
    assert added(world, before) == []
    refused = command(world, "resubscribe", P0, "--list", "newsletter", "--evidence", "form 117", "--json")
    assert refused.code == 1
    assert "was erased; no yes is taken for them any more" in refused.out, "and a person is told why"
    converged(world, p1=JOINED)


# Notices -------------------------------------------------------------------------------------------------------------


def test_s17_a_notice_of_what_a_pull_does_not_show_makes_nobody_at_the_provider(open_world):
    world = open_world()
    notices(world)
    agreed(world, 2)
    person(world, "short@example.org", "Short", "Stay")
    world.rocs.remove_customer(customer_of(world, "short@example.org"))
    before = marks(world)
    for _ in range(3):
        world.round(full=True)
        world.wait(61)
    assert not [name for name, _, _ in written(world, before) if name == "rocs"]
    assert "short@example.org" not in {one.email for one in world.rocs.customers.values()}
    assert world.rows("SELECT * FROM inbox WHERE state = 'new'") == []
    assert suppressed(world, "newsletter") == suppressed(world, "global") == set()
    converged(world, p0=JOINED, p1=JOINED)


@pytest.mark.quirk("rocs-notices-promise-nothing")
def test_s17_what_no_notice_told_of_is_found_by_the_pull(open_world):
    world = open_world()
    notices(world)
    agreed(world, 2)
    world.rocs.delivery_drop_rate = 1.0
    world.rocs.unsubscribe_member("L-1", P0)
    person(world, "new@example.org", "New", "Comer")
    assert not world.rocs.outgoing
    converged(world, p0=LEFT, p1=JOINED, new=JOINED)


@pytest.mark.quirk("rocs-notices-promise-nothing")
def test_s18_notices_twice_out_of_order_and_days_late_undo_no_no(open_world):
    world = open_world()
    notices(world)
    agreed(world, 2)
    world.rocs.delivery_duplicate_rate = 1.0
    world.wait(600)
    for word in ("unsubscribed", "subscribed", "unsubscribed"):
        world.wait(5)
        world.rocs.mark_member("L-1", P0, word)
    late = list(world.rocs.outgoing)
    world.rocs.outgoing.clear()
    world.settle(2)
    assert standing(world, P0) == LEFT
    world.wait(3 * DAY)
    taken = values(world, "inbox")
    world.rocs.outgoing.extend(reversed(late))
    before = marks(world)
    world.settle(3)
    assert (len(late), values(world, "inbox") - taken) == (6, 3), "each is taken once"
    assert added(world, before) == []
    assert standing(world, P0) == LEFT
    dismissed(world)
    converged(world, p0=LEFT, p1=JOINED)
