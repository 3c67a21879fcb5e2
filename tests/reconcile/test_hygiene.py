"""Who is verified before they spread, what is believed of it, and that it keeps back additions and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain.changes import ChangeKind
from syncd.domain.consent import GLOBAL, Level
from syncd.domain.hygiene import Band, Checked, Hygiene, Verification
from syncd.domain.records import Status
from syncd.reconcile.decide import decide
from syncd.reconcile.hygiene import new_lead
from syncd.reconcile.person import Person, Topology
from tests.reconcile.factories import ANN, NOW, account, cell, person, topology

LEAST = {Band.RISKY: 50, Band.LIKELY: 70, Band.FULL_INBOX: 80, Band.VALID: 90}
RULES = Hygiene("salesrocks", LEAST, max_age_s=86_400.0)
PHONE = "+46701740605"


def clean(rules: Hygiene | None = RULES, **more: object) -> Topology:
    return replace(topology(**more), hygiene=rules)  # type: ignore[arg-type]


def checked(score: int | None = 95, word: str = "valid", age_s: float = 0.0, **more: object) -> Checked:
    return Checked(Verification(score, word, **more), NOW - timedelta(seconds=age_s))  # type: ignore[arg-type]


def lead(*more: object, said: Checked | None = None, **fields: str) -> Person:
    who = person(cell("rokt", fields=fields), *more)  # type: ignore[arg-type]
    return replace(who, checked={} if said is None else {ANN: said})


def joined(who: Person, topo: Topology) -> set[str]:
    """The accounts at which somebody is to be added."""
    wishes = decide(who, topo, NOW).desired
    return {wish.account for wish in wishes if wish.change.kind is ChangeKind.SUBSCRIBE}


EVERYWHERE = joined(lead(), topology())


def test_without_rules_everybody_spreads():
    assert {"rocs", "salesrocks"} <= EVERYWHERE
    assert joined(lead(), clean(None)) == EVERYWHERE


def test_a_new_lead_waits_to_be_verified_with_the_number_they_have():
    decision = decide(lead(phone=PHONE), clean(), NOW)
    assert decision.desired == ()
    [held] = decision.withheld
    assert (held.identity, held.account, held.phone, held.reason) == (ANN, "salesrocks", PHONE, "")
    assert decision.again_at is None, "the answer of the verifier brings them back"
    assert {look.account for look in decision.look_ups} == {"rocketresponder"}, "asking is no addition"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (checked(), ""),
        (checked(70), ""),
        (checked(85), ""),
        (checked(69), "the e-mail address is risky (score 69)"),
        (checked(12), "the e-mail address is invalid (score 12)"),
        (checked(None, "invalid"), "the e-mail address is invalid (no score)"),
        (checked(None, "accept all"), "the e-mail address is risky (no score)"),
        (checked(None, "valid"), ""),
        (checked(95, phone=PHONE, phone_sound=False, phone_word="pager"), "the phone number cannot be called (pager)"),
        (checked(12, phone=PHONE, phone_sound=False), "the e-mail address is invalid (score 12)"),
    ],
)
def test_only_who_is_sound_spreads(said, reason):
    who = lead(said=said, **({"phone": said.said.phone} if said.said.phone else {}))
    decision = decide(who, clean(), NOW)
    assert [held.reason for held in decision.withheld] == ([reason] if reason else [])
    assert joined(who, clean()) == (set() if reason else EVERYWHERE)
    assert decision.again_at == (NOW + timedelta(days=1) if reason else None)


def test_the_bands_that_spread_are_configured():
    risky = lead(said=checked(56))
    assert joined(risky, clean(replace(RULES, spreads_from=Band.RISKY))) == EVERYWHERE
    assert joined(lead(said=checked(85)), clean(replace(RULES, spreads_from=Band.VALID))) == set()
    assert joined(risky, clean(replace(RULES, least=LEAST | {Band.LIKELY: 55}))) == EVERYWHERE


@pytest.mark.parametrize("score", [95, 12])
def test_what_was_said_is_believed_until_it_is_old(score):
    young, old = lead(said=checked(score, age_s=86_399)), lead(said=checked(score, age_s=86_400))
    assert [held.reason == "" for held in decide(young, clean(), NOW).withheld] == ([] if score == 95 else [False])
    assert [held.reason for held in decide(old, clean(), NOW).withheld] == [""]


def test_another_number_is_verified_anew_and_none_needs_none():
    said = checked(phone=PHONE)
    assert joined(lead(said=said, phone=PHONE), clean()) == EVERYWHERE
    assert joined(lead(said=said), clean()) == EVERYWHERE
    [held] = decide(lead(said=said, phone="+46701740606"), clean(), NOW).withheld
    assert (held.reason, held.phone) == ("", "+46701740606")


@pytest.mark.parametrize(
    ("more", "new"),
    [
        ((), True),
        ((cell("rocs", Status.PENDING),), True),
        ((cell("rocs", Status.ABSENT),), True),
        ((cell("rocs", Status.BOUNCED),), True),
        ((cell("rokt", key="again"),), True),
        ((cell("rocs"),), False),
        ((cell("rocs", container="*"),), False),
        ((cell("salesrocks"),), False),
    ],
)
def test_a_new_lead_reads_subscribed_at_one_account_only(more, new):
    assert new_lead(lead(*more)) is new


def test_whoever_stands_at_two_accounts_spreads_unverified():
    who = lead(cell("rocs", container="*"), cell("rocs"))
    assert decide(who, clean(), NOW).withheld == ()
    assert "salesrocks" in joined(who, clean())


def test_first_contact_is_told_so_that_it_does_not_end_meanwhile():
    new = clean(accounts=[account("rocs", joined=False)])
    assert decide(lead(), new, NOW).withheld[0].first_contact == ("rocs",)
    assert decide(lead(), clean(), NOW).withheld[0].first_contact == ()


def test_the_first_contact_that_waits_is_that_of_where_they_go_and_where_they_come_from_and_no_other():
    new = clean(accounts=[account(name, joined=False) for name in ("rocs", "rokt", "rocketresponder")])
    assert decide(lead(), new, NOW).withheld[0].first_contact == ("rocs", "rokt")


@given(
    st.lists(st.sampled_from(["rocs", "salesrocks", "rokt", "rocketresponder"]), min_size=1, max_size=4, unique=True),
    st.sampled_from([Status.SUBSCRIBED, Status.UNSUBSCRIBED, Status.PENDING, Status.ABSENT]),
    st.one_of(st.none(), st.builds(checked, st.one_of(st.none(), st.integers(0, 99)), st.sampled_from(["valid", ""]))),
    st.sampled_from([None, Level.UNSUBSCRIBED, Level.COMPLAINT]),
)
def test_rules_take_additions_away_and_change_nothing_else(places, status, said, no):
    """With and without rules the same unsubscribes, questions and updates follow, and never an addition more."""
    cells = [cell(where, status if n else Status.SUBSCRIBED) for n, where in enumerate(places)]
    who = replace(person(*cells, said={} if no is None else {GLOBAL: no}), checked={} if said is None else {ANN: said})
    free, kept = decide(who, topology(), NOW), decide(who, clean(), NOW)

    def others(decision: object) -> list[object]:
        return [wish for wish in decision.desired if wish.change.kind is not ChangeKind.SUBSCRIBE]  # type: ignore[attr-defined]

    assert others(kept) == others(free)
    assert set(kept.look_ups) == set(free.look_ups)
    assert [wish for wish in free.desired if wish in kept.desired] == list(kept.desired)
    assert not (kept.withheld and joined(who, clean()))
    assert bool(kept.withheld) is (joined(who, clean()) != joined(who, topology()))
    if no is not None:
        assert kept.withheld == ()
