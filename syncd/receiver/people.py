"""Where people say "no" by themselves: the page and the call behind a signed link."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from syncd import pages
from syncd.receiver.answers import SHOW, Route, html_page
from syncd.sync import ingest, one_click
from syncd.sync.context import Context

ONE_CLICK = "one-click"
"""What `wake` is told when it was a person, and no account, that said something."""


class People:
    def __init__(self, context: Context, wake: Callable[[str], None]) -> None:
        self._context = context
        self._wake = wake
        self._key = one_click.signing_key(context.engine)

    def routes(self) -> tuple[Route, ...]:
        return (("/unsubscribe/{token}", (*SHOW, "POST"), self.unsubscribe),)

    async def unsubscribe(self, request: Request) -> Response:
        """POST acts, whatever its body; GET and HEAD never do, since programs follow links (RFC 8058, 3.1 and 4)."""
        ticket = one_click.read_token(self._key, request.path_params["token"])
        if ticket is None:
            return html_page(pages.no_such_link_page(), 404)
        if request.method != "POST":
            return html_page(pages.unsubscribe_page(ticket.scope))
        evidence = "the person used a one-click link"
        ingest.unsubscribe(self._context, ticket.identity, ticket.scope, source=ONE_CLICK, evidence=evidence)
        self._context.log.info("one_click.taken", scope=ticket.scope)
        self._wake(ONE_CLICK)
        return html_page(pages.unsubscribed_page(ticket.scope))
