"""A new lead is verified before it spreads; whoever is not sound stays where they are, and is added nowhere else.

A new lead is somebody who reads subscribed at one account only, in whatever list there. Whoever stands at two has been
agreed on before, or was added by a person, and needs no verifier. Nothing but additions is ever kept back by this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from syncd.domain.hygiene import Checked, Hygiene
from syncd.domain.identity import Identity
from syncd.domain.records import Status
from syncd.reconcile.desired import Desired, LookUp, Withheld
from syncd.reconcile.person import Person, Topology


def screen(
    person: Person, topology: Topology, identity: Identity, found: Sequence[Desired | LookUp], phone: str, now: datetime
) -> Iterator[Desired | LookUp | Withheld | datetime]:
    """What of the additions `found` may follow now; of the rest, that it is kept back, and when to look again."""
    rules = topology.hygiene
    additions = [item for item in found if isinstance(item, Desired)]
    if rules is None or not additions or not new_lead(person):
        yield from found
        return
    yield from (item for item in found if isinstance(item, LookUp))
    checked = person.checked.get(identity)
    first_contact = _new_accounts(person, topology, additions)
    if checked is None or not believed(checked, rules, phone, now):
        yield Withheld(identity, rules.account, phone, "", first_contact)
    elif reason := unsound(checked, rules):
        yield Withheld(identity, rules.account, phone, reason, first_contact)
        yield _until(checked, rules)
    else:
        yield from additions


def _new_accounts(person: Person, topology: Topology, additions: Sequence[Desired]) -> tuple[str, ...]:
    """The accounts whose first contact additions belong to: where they go, and where the person stands."""
    places = {wish.account for wish in additions if wish.first_contact}
    if places:
        places |= {cell.account for cell in person.cells if cell.status is Status.SUBSCRIBED}
    return tuple(sorted(name for name in places if not topology.accounts[name].joined))


def new_lead(person: Person) -> bool:
    """Whether they read subscribed at no more than one account."""
    return len({cell.account for cell in person.cells if cell.status is Status.SUBSCRIBED}) <= 1


def believed(checked: Checked, rules: Hygiene, phone: str, now: datetime) -> bool:
    """Whether what was said is young enough, and said of the number they have now."""
    return now < _until(checked, rules) and (not phone or phone == checked.said.phone)


def unsound(checked: Checked, rules: Hygiene) -> str:
    """Why somebody does not spread, or nothing."""
    band = rules.band(checked.said)
    if not rules.takes(band):
        score = "no score" if checked.said.score is None else f"score {checked.said.score}"
        return f"the e-mail address is {band.value} ({score})"
    return "" if checked.said.phone_sound else f"the phone number cannot be called ({checked.said.phone_word})"


def _until(checked: Checked, rules: Hygiene) -> datetime:
    return checked.at + timedelta(seconds=rules.max_age_s)
