"""The status page and what belongs to it: one plan, one person, and the way in for an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from syncd import pages
from syncd.domain.errors import ApprovalError, DeliveryError
from syncd.providers.contact_points import read_address
from syncd.receiver.answers import PRIVATE, SHOW, Route, html_page
from syncd.receiver.forms import read_form
from syncd.receiver.operator import ATTEMPTS_WITHIN, Operator, Session, same_site
from syncd.sync.approve import look_at
from syncd.sync.context import Context
from syncd.sync.explain import erased, explain
from syncd.sync.overview import STATES, overview, plan_page

ITEMS_MAX = 200
"""People of a plan on one page."""

REFRESH_S = 30


class Overview:
    """`status` gives what `syncd status --json` prints."""

    def __init__(self, context: Context, operator: Operator, status: Callable[[], Mapping[str, Any]]) -> None:
        self._context = context
        self._operator = operator
        self._status = status

    def routes(self) -> tuple[Route, ...]:
        return (
            ("/", SHOW, self.overview),
            ("/plan/{plan_id}", SHOW, self.plan),
            ("/contact", (*SHOW, "POST"), self.contact),
            ("/login", (*SHOW, "POST"), self.log_in),
            ("/logout", ("POST",), self.log_out),
        )

    async def overview(self, request: Request) -> Response:
        """How everything stands. Reading a large mirror takes a thread its time, and holds nobody up."""
        if (answer := self._operator.turned_away(request)) is not None:
            return answer
        session = self._operator.session(request)

        def gather() -> dict[str, Any]:
            return overview(self._context, self._status(), people=session is not None)

        found = await asyncio.to_thread(gather)
        refresh = REFRESH_S if request.query_params.get("refresh") else None
        return self._page("overview.html", session, request, **found, refresh=refresh, every=REFRESH_S)

    async def plan(self, request: Request) -> Response:
        """One held plan, and to an operator everybody in it, a page at a time."""
        if (answer := self._operator.turned_away(request)) is not None:
            return answer
        session = self._operator.session(request)
        number = request.query_params.get("page", "1")
        page = int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 1
        skip = (max(page, 1) - 1) * ITEMS_MAX
        try:
            row, items = look_at(self._context, request.path_params["plan_id"], limit=ITEMS_MAX, skip=skip)
        except ApprovalError as error:
            moved = error.moved if session is not None else ()
            return self._page("no_plan.html", session, request, code=404, error=error, moved=moved)
        shown = plan_page(row, items, people=session is not None)
        return self._page("plan.html", session, request, **shown, skip=skip, page=max(page, 1), size=ITEMS_MAX)

    async def contact(self, request: Request) -> Response:
        """Why one person stands as they do. Asked for by a form, so that no address is in one of ours."""
        if (answer := self._operator.turned_away(request)) is not None:
            return answer
        session = self._operator.session(request)
        if session is None:
            return RedirectResponse("/login", 303, PRIVATE)
        if request.method != "POST":
            return self._page("contact.html", session, request, email="", found=None, erased=None, trouble="")
        try:
            form = await read_form(request)
        except DeliveryError as error:
            return self.refused(session, request, error.message, error.status)
        if not self._operator.is_ours(request, session, form.get("token", "")):
            return self.refused(session, request)
        email = form.get("email", "")
        identity = read_address(email)
        found = gone = None
        if identity is not None:
            gone = erased(self._context, identity)
            found = explain(self._context, identity) if gone is None else None
        trouble = "That is not an e-mail address." if identity is None else ""
        if identity is not None and found is None and gone is None:
            trouble = "Nobody ever heard of this address."
        self._context.log.info("operator.explained")
        shown = {"email": email, "found": found, "erased": gone, "trouble": trouble, "marks": STATES}
        return self._page("contact.html", session, request, code=404 if trouble else 200, **shown)

    async def log_in(self, request: Request) -> Response:
        if request.method != "POST" or not self._operator.configured:
            if not self._operator.configured and (answer := self._operator.turned_away(request)) is not None:
                return answer
            return self._page("login.html", self._operator.session(request), request, trouble="")
        try:
            token = (await read_form(request)).get("operator_token", "").strip()
        except DeliveryError as error:
            return self._login_again(request, f"{error.message}.", error.status)
        if self._operator.blocked(request):
            wait = f"{ATTEMPTS_WITHIN.total_seconds():.0f}"
            answer = self._login_again(request, "Too many wrong tokens. Wait a quarter of an hour.", 429)
            answer.headers["retry-after"] = wait
            return answer
        if not same_site(request):
            return self._login_again(request, "This form was not sent from this page.", 403)
        return self._operator.log_in(request, token) or self._login_again(request, "That is not the token.", 401)

    async def log_out(self, request: Request) -> Response:
        session = self._operator.session(request)
        if session is None:
            return RedirectResponse("/", 303, PRIVATE)
        try:
            form = await read_form(request)
        except DeliveryError as error:
            return self.refused(session, request, error.message, error.status)
        if not self._operator.is_ours(request, session, form.get("token", "")):
            return self.refused(session, request)
        return self._operator.log_out(session)

    def refused(self, session: Session | None, request: Request, why: str = "", code: int = 403) -> Response:
        """To a form that is not taken."""
        return self._page("refused.html", session, request, code=code, why=why)

    def _login_again(self, request: Request, trouble: str, code: int) -> Response:
        return self._page("login.html", None, request, code=code, trouble=trouble)

    def _page(
        self, name: str, session: Session | None, request: Request, /, *, code: int = 200, **values: Any
    ) -> Response:
        said = self._operator.said(session) if request.method == "GET" else None
        about = {"session": session, "said": said, "can_log_in": self._operator.configured, "here": request.url.path}
        return html_page(pages.render(name, **about, **values), code)
