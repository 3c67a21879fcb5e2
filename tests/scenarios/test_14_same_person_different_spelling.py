"""14: one mailbox spelt in three ways: a no reaches every spelling at its provider, a yes only its own."""

from __future__ import annotations

import pytest

from tests.scenes import IN, added, command, configured, contacts, marks, member, subscriber, suppressed, written
from tests.world import World

CRM, SALES, MAIL = "Dora@Example.com", "dora@example.com", "dora+x@example.com"
KEPT_APART = configured(**{"lists.newsletter": "spread = false"})


def three_spellings(world: World) -> str:
    """Each spelling is known to one provider and to no other."""
    customer = world.rocs.add_customer(CRM, "Dora", "Dee")
    world.rocs.add_member("L-1", customer)
    world.sales.add_contact(world.sales_list, SALES, "Dora Dee")
    world.mail.add_subscriber("154", MAIL, "Dora Dee")
    # RocketResponder lists nobody: it has to say of itself that it knows this one.
    world.mail.webhook_urls["154", "open"] = f"{IN}/mail/154/open/mail-hook"
    world.mail.open_mail("154", MAIL)
    world.settle(3)
    assert (member(world, CRM), len(contacts(world, SALES)), subscriber(world, MAIL)) == ("subscribed", 1, "Confirmed")
    return customer


SAYS_NO = {
    "in the spelling of ROCS": lambda world: world.rocs.withdraw_consent(CRM),
    "in the spelling of Sales.Rocks": lambda world: world.rokt.person_unsubscribes(SALES),
    "in the spelling of RocketResponder": lambda world: (
        world.mail.complain("154", MAIL),
        world.mail.open_mail("154", MAIL),  # no notice is documented for a complaint: the next one makes us look
    ),
}


@pytest.mark.parametrize("who", SAYS_NO)
def test_14_a_global_no_in_one_spelling_suppresses_all_three_as_each_provider_spells_them(open_world, who):
    world = open_world(config=KEPT_APART)
    customer = three_spellings(world)
    before = marks(world)
    SAYS_NO[who](world)
    world.settle(3)
    assert member(world, CRM) == "unsubscribed"
    assert world.rocs.customers[customer].consent is False
    assert contacts(world, SALES) == []
    assert subscriber(world, MAIL) in {"Unsubscribed", "Complained"}
    assert [one.email for one in world.rocs.customers.values()] == [CRM]
    told = [body for name, path, body in written(world, before) if path.endswith("/subscriber/unsubscribe")]
    if subscriber(world, MAIL) == "Unsubscribed":
        assert any("email=dora%2Bx%40example.com" in body for body in told)
    assert set(world.mail.subscribers) == {("154", MAIL)}
    rows = world.rows("SELECT person, level FROM v_consent WHERE scope = 'global'")
    assert [row["person"] for row in rows] == ["dora@example.com"]
    assert added(world, before) == []


def test_14_the_consent_of_one_spelling_never_grants_it_to_another(open_world):
    world = open_world(config=KEPT_APART)
    three_spellings(world)
    world.rokt.person_unsubscribes(SALES)
    world.settle(2)
    before = marks(world)
    granted = ["--evidence", "signed form of 21 November"]
    assert command(world, "resubscribe", MAIL, "--list", "global", *granted).code == 0
    world.mail.confirm("154", MAIL)
    world.mail.open_mail("154", MAIL)
    for _ in range(4):
        world.wait(60)
        world.round(full=True)
    assert added(world, before) == []
    assert member(world, CRM) == "unsubscribed"
    assert contacts(world, SALES) == []
    assert {one.email for one in world.rocs.customers.values()} == {CRM}
    assert set(world.mail.subscribers) == {("154", MAIL)}
    assert suppressed(world, "newsletter") <= {SALES, MAIL}
