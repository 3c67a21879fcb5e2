"""Who may see persons and decide: an operator who gave the token. And who may see the page at all.

A session is a cookie that is signed with a key of the mirror, the process and the token, so it ends with any of them.
Every form carries a token of its session, so that no other site can send one in an operator's name.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from syncd.receiver.answers import PRIVATE, rejected
from syncd.settings import ReceiverSettings
from syncd.sync import one_click
from syncd.sync.context import Context

COOKIE = "syncd_session"
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""What proxies add to what they pass on."""

ATTEMPTS_WITHIN = timedelta(minutes=15)
REMEMBERED_MAX = 1000
"""How many peers, sessions that ended and things to be said are kept in mind at most."""


@dataclass(frozen=True, slots=True)
class Session:
    """An operator who is logged in. `form_token` goes into every form."""

    id: str
    form_token: str


@dataclass(frozen=True, slots=True)
class Said:
    """What came of an act, told once. `moved` names people: see `ApprovalError`."""

    text: str
    good: bool = True
    hint: str = ""
    plan: str | None = None
    moved: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Sessions:
    """What is known of sessions for as long as the process lives, however often the receiver is configured anew.

    `nonce` is in every session, so none outlives the process: nobody would know any more which of them had ended.
    """

    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    failures: OrderedDict[str, list[datetime]] = field(default_factory=OrderedDict)
    ended: OrderedDict[str, None] = field(default_factory=OrderedDict)
    said: OrderedDict[str, Said] = field(default_factory=OrderedDict)


class Operator:
    """Sessions of one mirror, one process and one token. Without a token nobody can log in."""

    def __init__(self, context: Context, settings: ReceiverSettings, sessions: Sessions | None = None) -> None:
        sessions = sessions or Sessions()
        self._context = context
        self._settings = settings
        token = settings.operator_token.get_secret_value() if settings.operator_token else ""
        self._digest = sha256(token.encode()).digest()
        secret = b"syncd operator\n" + sessions.nonce + self._digest
        self._key = hmac.digest(one_click.signing_key(context.engine), secret, sha256)
        self.configured = bool(token)
        self._failures, self._ended, self._said = sessions.failures, sessions.ended, sessions.said

    # Who sees what ---------------------------------------------------------------------------------------------------

    def session(self, request: Request) -> Session | None:
        """The session that a request belongs to, if it is one of ours and goes on."""
        text = request.cookies.get(f"__Host-{COOKIE}") or request.cookies.get(COOKIE) or ""
        payload, _, mac = text.rpartition(".")
        if not self.configured or not payload or not _same(mac, self._mac("session", payload)):
            return None
        until, _, session_id = payload.partition(".")
        if float(until) <= self._context.now().timestamp() or session_id in self._ended:
            return None
        return Session(session_id, self._mac("form", session_id))

    def near(self, request: Request) -> bool:
        """Whether somebody on this machine asks, themselves: no proxy passed it on, and no other site's name did.

        Only they see the page without logging in. nginx passes on as HTTP/1.0 where nothing else is configured.
        """
        if request.scope.get("http_version") == "1.0" or any(name in request.headers for name in FORWARDED):
            return False
        client = request.client
        if client is not None and not _loopback(client.host):
            return False
        return _loopback(_host_of(request))

    def turned_away(self, request: Request) -> Response | None:
        """What is answered to somebody who may not see the page; None to whoever may."""
        if self.session(request) is not None or self.near(request):
            return None
        if self.configured:
            return RedirectResponse("/login", 303, PRIVATE)
        self._context.log.info("page.not_shown", hint="set receiver.operator_token, and log in")
        return rejected(404, "not found")

    # Logging in ------------------------------------------------------------------------------------------------------

    def blocked(self, request: Request) -> bool:
        """Whether too many wrong tokens came from there of late."""
        return len(self._recent(_peer(request))) >= self._settings.operator_attempts_max

    def log_in(self, request: Request, token: str) -> Response | None:
        """Begin a session with the right token, and lead on; None with a wrong one. Looks at every byte."""
        if not self.configured or not hmac.compare_digest(sha256(token.encode()).digest(), self._digest):
            peer = _peer(request)
            self._failures[peer] = [*self._recent(peer), self._context.now()]
            _forget(self._failures)
            self._context.log.warning("operator.refused")
            return None
        self._failures.pop(_peer(request), None)
        lasts = self._settings.operator_session
        until = self._context.now() + timedelta(seconds=lasts)
        payload = f"{until.timestamp():.0f}.{self._context.new_id()}"
        secure = self._secure(request)
        answer = RedirectResponse("/", 303, PRIVATE)
        answer.set_cookie(
            f"__Host-{COOKIE}" if secure else COOKIE,
            f"{payload}.{self._mac('session', payload)}",
            max_age=int(lasts),
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        self._context.log.info("operator.logged_in")
        return answer

    def log_out(self, session: Session) -> Response:
        """End a session, here and in the browser."""
        self._ended[session.id] = None
        _forget(self._ended)
        answer = RedirectResponse("/", 303, PRIVATE)
        for name, secure in ((COOKIE, False), (f"__Host-{COOKIE}", True)):
            answer.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    # Forms -----------------------------------------------------------------------------------------------------------

    def is_ours(self, request: Request, session: Session, token: str) -> bool:
        """Whether a form was sent from a page of ours, in this session."""
        return same_site(request) and _same(token, session.form_token)

    def say(self, session: Session, said: Said) -> None:
        """Keep what came of an act until the next page of this session."""
        self._said[session.id] = said
        _forget(self._said)

    def said(self, session: Session | None) -> Said | None:
        return None if session is None else self._said.pop(session.id, None)

    # -----------------------------------------------------------------------------------------------------------------

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{text}".encode(), sha256).hexdigest()

    def _recent(self, peer: str) -> list[datetime]:
        since = self._context.now() - ATTEMPTS_WITHIN
        return [at for at in self._failures.get(peer, ()) if at > since]

    def _secure(self, request: Request) -> bool:
        """Over TLS, as far as we can know: not where somebody on this machine asks us in plain HTTP."""
        return (self._settings.public_url or "").startswith("https://") and not self.near(request)


def same_site(request: Request) -> bool:
    """Whether a browser says that a form came from our own page, or says nothing."""
    return request.headers.get("sec-fetch-site", "none") in {"same-origin", "none"}


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def _peer(request: Request) -> str:
    return request.client.host if request.client is not None else "socket"


def _host_of(request: Request) -> str:
    """The name by which we were asked, without a port."""
    text = request.headers.get("host", "")
    return text[1:].partition("]")[0] if text.startswith("[") else text.rpartition(":")[0] or text


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forget(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > REMEMBERED_MAX:
        kept.popitem(last=False)
