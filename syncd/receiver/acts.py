"""What an operator does on the status page: the same functions as the commands, and the same refusals."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from syncd.domain.errors import DeliveryError, MirrorError, SyncdError
from syncd.receiver.answers import PRIVATE, Route
from syncd.receiver.forms import read_form
from syncd.receiver.operator import Operator, Said
from syncd.receiver.overview import Overview
from syncd.reconcile.guard import Hold
from syncd.sync import steer
from syncd.sync.approve import Decided, approve, reject
from syncd.sync.context import Context

OPERATOR = "operator"
"""What `wake` is told when an operator did something."""


class Acts:
    """Only an operator who is logged in acts, and only by a form of ours."""

    def __init__(self, context: Context, operator: Operator, page: Overview, wake: Callable[[str], None]) -> None:
        self._context = context
        self._operator = operator
        self._page = page
        self._wake = wake
        self._acts: dict[str, Callable[[str], str]] = {
            "approve": self._approve,
            "reject": self._reject,
            "retry": self._retry,
            "pause": self._pause,
            "resume": self._resume,
            "sync": self._sync,
        }

    def routes(self) -> tuple[Route, ...]:
        return (("/act", ("POST",), self.act),)

    async def act(self, request: Request) -> Response:
        """Do one thing, and lead back to the page, which says what came of it."""
        session = self._operator.session(request)
        if session is None:
            return self._operator.turned_away(request) or RedirectResponse("/login", 303, PRIVATE)
        try:
            form = await read_form(request)
        except DeliveryError as error:
            return self._page.refused(session, request, error.message, error.status)
        if not self._operator.is_ours(request, session, form.get("token", "")):
            return self._page.refused(session, request)
        what = form.get("what", "")
        if what not in self._acts:
            return self._page.refused(session, request, f"There is nothing called {what!r} to be done.", 400)
        try:
            said = Said(self._acts[what](form.get("id", "")))
        except MirrorError:
            raise
        except SyncdError as error:
            moved = tuple(getattr(error, "moved", ()))
            said = Said(error.message, good=False, hint=error.hint, plan=getattr(error, "plan", None), moved=moved)
        # An id may name a person: what was done is enough for a log.
        self._context.log.info("operator.acted", what=what, done=said.good)
        self._operator.say(session, said)
        self._wake(OPERATOR)
        return RedirectResponse("/", 303, PRIVATE)

    def _approve(self, plan_id: str) -> str:
        done = approve(self._context, plan_id)
        if done.hold == Hold.ABSENCE:
            where = f"{done.remote_list} at {done.account}"
            return f"Approved: the listing of {where} may be as small as {done.count} records."
        return f"{_decided('Approved', done)} They go out at once, or as soon as they can."

    def _reject(self, decision_id: str) -> str:
        return _decided("Rejected", reject(self._context, decision_id))

    def _retry(self, parked_id: str) -> str:
        return f"The {steer.retry(self._context, parked_id)} is tried again."

    def _pause(self, account: str) -> str:
        steer.pause(self._context, self._known(account))
        return f"Paused {account}: nothing is read there, and nothing sent, until it is resumed."

    def _resume(self, account: str) -> str:
        state = steer.resume(self._context, self._known(account))
        return f"Resumed {account}; its state is {state}."

    def _sync(self, account: str) -> str:
        steer.ask_for_round(self._context, [self._known(account)] if account else [])
        return f"A round {f'of {account}' if account else 'of all accounts'} is asked for, and begins at once."

    def _known(self, account: str) -> str:
        if account not in self._context.lanes:
            raise SyncdError(f"there is no account {account!r}", hint="syncd status")
        return account


def _decided(word: str, done: Decided) -> str:
    if done.what == "claim":
        return f"{word} the claim at {done.account}: the no stands."
    return f"{word}: {done.count} {done.kind} at {done.account}, {done.remote_list} ({done.hold})."
