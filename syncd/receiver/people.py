"""Where people say themselves what they want: one click, their preference page, and the form with which they subscribe.

Behind each stands a link that only its person was given, or a form that asks for one to be mailed. GET never changes
anything, since programs follow links. No answer tells whether somebody is known.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from syncd import pages
from syncd.domain.consent import GLOBAL, Scope
from syncd.domain.errors import DeliveryError
from syncd.domain.identity import Identity
from syncd.providers.contact_points import read_address
from syncd.receiver.answers import RETRY_AFTER_S, SHOW, Route, html_page
from syncd.receiver.forms import read_form
from syncd.receiver.limits import Limit
from syncd.settings import ReceiverSettings, SubscribeFormSettings
from syncd.sync import ingest, one_click, preferences, subscribing
from syncd.sync.context import Context
from syncd.sync.preferences import Choice
from syncd.sync.subscribing import Confirmed

ONE_CLICK = "one-click"
"""What `wake` is told when it was a person, and no account, that said something."""

HONEYPOT = "website"
"""A field that no person sees and programs fill in."""

NAME_MAX = 200

_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class People:
    def __init__(
        self, context: Context, settings: ReceiverSettings, form: SubscribeFormSettings, wake: Callable[[str], None]
    ) -> None:
        self._context = context
        self._form = form
        self._wake = wake
        self._key = one_click.signing_key(context.engine)
        self._links = Limit(settings.links_per_minute)
        self._senders = Limit(form.sends_per_minute)
        self._mails = Limit(form.mails_per_hour, window_s=3600.0)

    def routes(self) -> tuple[Route, ...]:
        return (
            ("/unsubscribe/{token}", (*SHOW, "POST"), self.unsubscribe),
            ("/preferences/{token}", (*SHOW, "POST"), self.preferences),
            ("/subscribe/{list}", (*SHOW, "POST"), self.subscribe),
            ("/confirm/{token}", (*SHOW, "POST"), self.confirm),
        )

    # Their "no" ------------------------------------------------------------------------------------------------------

    async def unsubscribe(self, request: Request) -> Response:
        """POST acts, whatever its body; GET and HEAD never do (RFC 8058, 3.1 and 4)."""
        token = request.path_params["token"]
        ticket = one_click.read_token(self._key, token, self._context.now())
        if ticket is None:
            return html_page(pages.no_such_link_page(), 404)
        scope = self._reached_by(ticket.scope)
        if request.method != "POST":
            return html_page(pages.unsubscribe_page(scope))
        if wait_s := self._links.take(_digest(token)):
            return _too_many(wait_s)
        evidence = "the person used a one-click link"
        if scope != ticket.scope:
            evidence += f", made for {ticket.scope}, which no list has any more"
        ingest.unsubscribe(self._context, ticket.identity, scope, source=ONE_CLICK, evidence=evidence)
        self._context.log.info("one_click.taken", scope=scope, asked=ticket.scope)
        self._wake(ONE_CLICK)
        return html_page(pages.unsubscribed_page(scope))

    def _reached_by(self, scope: Scope) -> Scope:
        """What a link ends. It is good for ever, and lists are renamed: where none has its scope, it ends everything,
        since nothing less is sure to reach what the person means.
        """
        return scope if scope in {entry.scope for entry in self._context.lists.values()} else GLOBAL

    # What they get ---------------------------------------------------------------------------------------------------

    async def preferences(self, request: Request) -> Response:
        token = request.path_params["token"]
        identity = preferences.read_token(self._key, token, self._context.now())
        chosen = None if identity is None else preferences.choices(self._context, identity)
        if identity is None or chosen is None:
            return html_page(pages.no_such_link_page(), 404)
        if request.method != "POST":
            return self._choices(chosen)
        if wait_s := self._links.take(_digest(token)):
            return _too_many(wait_s)
        try:
            given = await read_form(request)
        except DeliveryError as error:
            return _unreadable(error)
        turned_off = self._turn_off(identity, chosen, given)
        asked = "" if "everything" in given else self._turn_on(identity, chosen, given)
        if asked is None:
            return _too_many(RETRY_AFTER_S, 503)
        return self._choices(preferences.choices(self._context, identity) or [], turned_off=turned_off, asked=asked)

    def _choices(self, chosen: list[Choice], *, turned_off: bool = False, asked: str = "") -> Response:
        rows = [
            {
                "scope": choice.scope,
                "title": ", ".join(self._form.title(name) for name in choice.lists),
                "on": choice.on,
                "open": choice.on or bool(self._offered(choice)),
            }
            for choice in chosen
        ]
        return html_page(pages.render("preferences.html", rows=rows, turned_off=turned_off, asked=asked))

    def _offered(self, choice: Choice) -> tuple[str, ...]:
        """The lists of an area that can be turned on here: those that a link can be mailed for."""
        return tuple(name for name in choice.lists if name in self._form.lists)

    def _turn_off(self, identity: Identity, chosen: list[Choice], given: dict[str, str]) -> bool:
        """Their "no" to what the page showed as on and they did not leave so; or to everything."""
        scopes = [choice.scope for choice in chosen if _shown(given, choice) == "on" and not _wanted(given, choice)]
        if "everything" in given:
            scopes = [GLOBAL]
        for scope in scopes:
            ingest.unsubscribe(self._context, identity, scope, source=preferences.SOURCE, evidence=preferences.EVIDENCE)
            self._context.log.info("preferences.off", scope=scope)
        if scopes:
            self._wake(ONE_CLICK)
        return bool(scopes)

    def _turn_on(self, identity: Identity, chosen: list[Choice], given: dict[str, str]) -> str | None:
        """Have a link mailed for what they want and do not get. The titles of it; None: too many mails wait."""
        wanted = [choice for choice in chosen if not choice.on and _shown(given, choice) and _wanted(given, choice)]
        lists = [name for choice in wanted for name in self._offered(choice)]
        if lists and not self._mail(identity, lists, {}):
            return None
        return ", ".join(self._form.title(name) for name in lists)

    # Their "yes" -----------------------------------------------------------------------------------------------------

    async def subscribe(self, request: Request) -> Response:
        name = request.path_params["list"]
        if name not in self._form.lists:
            return html_page(pages.no_such_link_page(), 404)
        if request.method != "POST":
            return self._page("subscribe.html", name)
        if wait_s := self._senders.take(_sender(request)):
            return _too_many(wait_s)
        try:
            given = await read_form(request)
        except DeliveryError as error:
            return _unreadable(error)
        identity = read_address(given.get("email", ""))
        if identity is None:
            return self._page("subscribe.html", name, status=400, fault="That is not an e-mail address.")
        if not given.get(HONEYPOT, "").strip() and not self._mail(identity, [name], _names(given)):
            return _too_many(RETRY_AFTER_S, 503)
        self._context.log.info("subscribe.asked", list=name)
        return self._page("asked.html", name)

    def _mail(self, identity: Identity, lists: list[str], fields: dict[str, str]) -> bool:
        """Have a link mailed, but no more often than anybody wants such mails. False: too many wait."""
        if self._mails.take(_digest(identity)):
            return True
        return subscribing.ask(self._context, identity, lists, fields, queue_max=self._form.queue_max)

    async def confirm(self, request: Request) -> Response:
        token = request.path_params["token"]
        wish = subscribing.read_token(self._key, token, self._context.now())
        if wish is None:
            return html_page(pages.no_such_link_page(), 404)
        titles = ", ".join(self._form.title(name) for name in wish.lists)
        if request.method != "POST":
            return html_page(pages.render("confirm.html", titles=titles))
        if wait_s := self._links.take(_digest(token)):
            return _too_many(wait_s)
        outcome = subscribing.confirm(self._context, wish)
        if outcome is Confirmed.NOT_OURS:
            return html_page(pages.no_such_link_page(), 404)
        if outcome is Confirmed.SPENT:
            return html_page(pages.render("spent.html", titles=titles), 409)
        self._context.log.info("subscribe.confirmed", lists=list(wish.lists))
        self._wake(ONE_CLICK)
        return html_page(pages.render("confirmed.html", titles=titles))

    def _page(self, template: str, name: str, *, status: int = 200, fault: str = "") -> Response:
        """A page that others may show within theirs."""
        answer = html_page(pages.render(template, title=self._form.title(name), fault=fault, honeypot=HONEYPOT), status)
        if self._form.frame_ancestors:
            allowed = f"frame-ancestors {' '.join(self._form.frame_ancestors)}"
            policy = answer.headers["content-security-policy"]
            answer.headers["content-security-policy"] = policy.replace("frame-ancestors 'none'", allowed)
        return answer


def _shown(given: dict[str, str], choice: Choice) -> str:
    """How the page showed it: "on", "off", or nothing if it was not on the page."""
    return given.get(f"was.{choice.scope}", "")


def _wanted(given: dict[str, str], choice: Choice) -> bool:
    return f"on.{choice.scope}" in given


def _names(given: dict[str, str]) -> dict[str, str]:
    """Names as people spell them: of what they sent, what can be one."""
    spelt = {name: " ".join(given.get(name, "").split()) for name in subscribing.NAMES}
    return {name: text for name, text in spelt.items() if 0 < len(text) <= NAME_MAX and text.isprintable()}


def _sender(request: Request) -> str:
    """Who sends: the other side of the connection or, where that is a proxy on this machine, whom it names last."""
    host = request.client.host if request.client is not None else ""
    if host and host not in _LOOPBACK:
        return host
    return request.headers.get("x-forwarded-for", host).rpartition(",")[2].strip()


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _too_many(wait_s: int, status: int = 429) -> Response:
    return _refusal(status, "Too many at once. Please try again later.", {"retry-after": str(wait_s)})


def _unreadable(error: DeliveryError) -> Response:
    return _refusal(error.status, "The form could not be read. Nothing was changed.", {})


def _refusal(status: int, message: str, headers: dict[str, Any]) -> Response:
    answer = html_page(pages.render("not_now.html", title=HTTPStatus(status).phrase, message=message), status)
    answer.headers.update(headers)
    return answer
