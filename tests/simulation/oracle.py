"""What must hold, judged from outside: by what the providers were asked to do, and how people stand there."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from datetime import datetime

import httpx

from syncd.domain.consent import GLOBAL
from syncd.domain.identity import Identity, suppression_key
from tests.simulation.script import ADDRESSES
from tests.simulation.stage import LIST_OF, PLACES, No, Stage

ROUNDS_TO_CONVERGE = 3


class BrokenError(AssertionError):
    """A promise was broken. `kind` stays the same however small the history is made."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind = kind


class Oracle:
    """`heard` are the words that reached us by themselves, with a number of ours: what began before it is not judged
    by it. `undone` are those that were taken back, in the same numbers.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.heard: dict[No, int] = {}
        self.undone: dict[No, int] = {}
        self.opened: dict[No, str] = {}
        self.adds = 0

    # At any time -----------------------------------------------------------------------------------------------------

    def sending(self, account: str, request: httpx.Request) -> None:
        """No call adds, subscribes or opts in anybody whose "no" could be known when it was decided to send it."""
        for email, name in added_by(account, request, self._stage):
            self.adds += 1
            self._judge(account, email, name, request.url.path)

    def _judge(self, account: str, email: str, name: str | None, path: str) -> None:
        query = (
            "SELECT began_seq, sent_at FROM op WHERE account = :account AND identity = :email AND state = 'inflight'"
            " AND kind = 'subscribe'"
        )
        under_way = self._stage.mirror.rows(query, account=account, email=email)
        if not under_way:
            raise BrokenError("unjournalled", f"{path} at {account} adds {email}, and no journal says so")
        began, sent_at = max((row.began_seq, str(row.sent_at)) for row in under_way)
        for former in (email, *self._known_formers(email, began)):
            known_as = email if former == email else f"{email} (before: {former})"
            for scope in (GLOBAL, name):
                if scope is None or (email, scope) not in self._stage.noes:
                    continue
                undone = max(self.undone.get((one, scope), -1) for one in (email, former))
                if undone < self.heard.get((former, scope), began) < began:
                    raise BrokenError("wrongful", f"{path} at {account} adds {known_as}, who had told us no to {scope}")
            self._judge_by_cells(account, email, former, name, f"{path} at {account} adds {known_as}", sent_at)

    def _known_formers(self, email: str, began: int) -> Iterator[str]:
        """The addresses that this one took the place of, as far as it was seen before this change began to be sent."""
        query = (
            "SELECT identity FROM rename WHERE successor = :email AND retired_at IS NOT NULL AND opened_seq < :began"
        )
        seen = [row.identity for row in self._stage.mirror.rows(query, email=email, began=began)]
        yield from sorted(set(seen) & set(self._stage.formers(email)))

    def _judge_by_cells(self, account: str, email: str, former: str, name: str | None, what: str, sent_at: str) -> None:
        query = (
            "SELECT account, container, observed_at FROM cell WHERE identity = :former"
            " AND status IN ('unsubscribed', 'complained') AND route != 'answer'"
        )
        for row in self._stage.mirror.rows(query, former=former):
            # What reads so because we wrote it there is no word of the person's.
            word = self._stage.words.get((former, row.account, row.container))
            if word is None or word[0] not in {GLOBAL, name}:
                continue
            scope, said_at = word
            if self._written_since(former, row.account, row.container, as_kept(said_at)):
                continue  # we unsubscribed them there too, for something else, before it was read: nobody can tell
            stands = (email, scope) in self._stage.noes and as_kept(said_at) > self.opened.get((email, scope), "")
            if stands and as_kept(said_at) <= str(row.observed_at) < sent_at:
                raise BrokenError("wrongful", f"{what}, who was seen to say no at {row.account}/{row.container}")

    def _nobody_could_tell(self, email: str, scope: str) -> bool:
        """Whether it was said only where we unsubscribed them too, for something else, before that was read."""
        said = [
            (account, container, as_kept(at))
            for (who, account, container), (what, at) in self._stage.words.items()
            if who == email and what == scope
        ]
        query = "SELECT 1 FROM consent_event WHERE identity = :email AND scope = :scope AND level >= 3 AND at >= :since"
        return bool(said) and all(
            self._written_since(email, account, container, at)
            and not self._stage.mirror.rows(query, email=email, scope=scope, since=at)
            for account, container, at in said
        )

    def _written_since(self, email: str, account: str, container: str, said_at: str) -> bool:
        query = (
            "SELECT 1 FROM op WHERE account = :account AND container = :container AND identity = :email"
            " AND kind = 'unsubscribe' AND sent_at >= :said_at"
        )
        place = {"account": account, "container": container, "email": email}
        return bool(self._stage.mirror.rows(query, **place, said_at=said_at))

    # In the end ------------------------------------------------------------------------------------------------------

    def everybody_agrees(self) -> None:
        """Each "no" is at every provider that knows the person, nobody was added twice, and nobody is taken to have
        said no who did not.
        """
        stage = self._stage
        stage.look_at_moves()
        for email, scope in sorted(stage.noes):
            if email not in stage.waived and not self._nobody_could_tell(email, scope):
                self._left(email, scope)
        for email in sorted(set(ADDRESSES) - stage.doubled):
            for name in PLACES:
                if len(stage.rows(email, name)) > 1:
                    raise BrokenError("doubled", f"{email} has several rows on {name} at sales")
        self._nobody_is_misread()

    def _nobody_is_misread(self) -> None:
        stage = self._stage
        said = stage.ever | set(self._taken_for_a_no())
        of_key = {suppression_key(Identity(email)): email for email in ADDRESSES}
        for row in stage.mirror.rows("SELECT person_key, scope FROM consent WHERE level >= 3"):
            email = of_key[row.person_key]
            # What we wrote for a "no" to everything goes on to be read at each list, also once that was taken back.
            if not any({(one, row.scope), (one, GLOBAL)} & said for one in stage.moves.same(email)):
                raise BrokenError("misread", f"{email} is taken to have said no to {row.scope}, and never did")

    def _taken_for_a_no(self) -> Iterator[No]:
        """What nobody said, and what nobody could know to be none: a row that vanished, where that counts as a no; an
        address that left at RocketResponder for another one of which nothing had been seen by then.
        """
        stage = self._stage
        for row in stage.mirror.rows("SELECT * FROM consent_event WHERE level >= 3 AND route != 'rename'"):
            if row.inferred:
                yield row.identity, row.scope
            retired = stage.moves.retired.get((row.identity, row.container)) if row.source == "mail" else None
            if retired is None:
                continue
            query = (
                "SELECT 1 FROM cell JOIN rename r ON r.account = cell.account AND r.container = cell.container"
                " WHERE cell.account = 'mail' AND cell.container = :lid AND cell.identity = :new"
                " AND cell.status = 'subscribed' AND cell.status_at <= :at AND r.identity = :old"
            )
            if not stage.mirror.rows(query, lid=row.container, new=retired[0], at=row.at, old=row.identity):
                yield row.identity, row.scope

    def _left(self, email: str, scope: str) -> None:
        stage = self._stage
        for name in PLACES if scope == GLOBAL else (scope,):
            if stage.members(email, name) - {"unsubscribed"}:
                raise BrokenError("lost", f"{email} said no to {scope} and is subscribed to {name} at crm")
            if any(row.get("status") != "unsubscribed" for row in stage.rows(email, name)):
                raise BrokenError("lost", f"{email} said no to {scope} and is on {name} at sales")
            reachable = stage.subscriber(email, name) not in {None, "Unsubscribed", "Complained"}
            if reachable and (email, name) not in stage.back:
                raise BrokenError("lost", f"{email} said no to {scope} and is on {name} at mail")
        if scope == GLOBAL and any(one.consent for one in stage.customers(email)):
            raise BrokenError("lost", f"{email} said no to everything and may be mailed by crm")
        if scope in {GLOBAL, "newsletter"} and email not in stage.leads.unsubscribed:
            raise BrokenError("lost", f"{email} said no to {scope} and leads was not told")


def as_kept(at: datetime) -> str:
    """A time as the mirror keeps it."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def added_by(account: str, request: httpx.Request, stage: Stage) -> Iterator[tuple[str, str | None]]:
    """Whom a request would add, subscribe or opt in, and to which list (None: to the account)."""
    path, body = request.url.path, request.content
    if account == "sales" and path.endswith("/addToList"):
        sent = json.loads(body)
        place = next(str(value) for value in sent.values() if str(value) in LIST_OF)
        yield from ((row["email"], LIST_OF[place]) for row in sent["data"])
    elif account == "sales" and path.endswith("/updateListData"):
        # Which row it was is not in the call; what matters is that no mark of a "no" is ever taken away.
        if any(str(row.get("status", "unsubscribed")) != "unsubscribed" for row in json.loads(body)["data"]):
            raise BrokenError("wrongful", "the mark of a no was taken away at sales")
    elif account == "mail" and path.endswith("/subscriber/subscribe"):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        yield form["email"], LIST_OF[form["LID"]]
    elif account == "mail" and path.endswith("/subscriber/modify"):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if form.get("newemail", form["email"]) != form["email"]:
            yield form["newemail"], LIST_OF[form["LID"]]
    elif account == "crm" and request.method == "PUT" and "/members/" in path:
        if json.loads(body)["status"] == "subscribed":
            _, _, container, _, customer = path.rsplit("/", 4)
            yield stage.crm.customers[customer].email.lower(), LIST_OF[container]
    elif account == "crm" and request.method == "POST" and path.endswith("/customers"):
        yield json.loads(body)["email"], None
    elif account == "crm" and "/customers/" in path and b'"emailConsent":true' in body.replace(b" ", b""):
        raise BrokenError("wrongful", "a consent was given by us at crm")
