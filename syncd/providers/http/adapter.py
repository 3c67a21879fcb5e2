"""The conversation with any CRM that takes subscribers by HTTP: one request for each person, and a verdict.

The mirror image of a Rokt referral connection. What was delivered can never be read back, so it is known as accepted
and no better; an answer that is lost leaves open whether the person arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from syncd.domain.changes import Ack, Change, ChangeKind, Outcome
from syncd.domain.errors import ThrottledError, UnauthorisedError, UnavailableError
from syncd.domain.facts import Facts
from syncd.domain.identity import Identity
from syncd.domain.records import WHOLE_ACCOUNT
from syncd.domain.stars import STARS, host_alone, starred
from syncd.providers.http.encoding import Parameters, parameters_of, proof_of, request_of, secrets_of, values_of
from syncd.providers.http.options import EMAIL, LIST, HttpOptions, Unsubscribe
from syncd.providers.http.rules import Judged, Verdict, judge
from syncd.providers.protocol import Trial, Tried
from syncd.wire import Exchange, Request, Response, retry_after

DELIVER = "http deliver"
UNSUBSCRIBE = "http unsubscribe"
TEST = "http test"

SHOWN_MAX = 2000

TESTER = "test@example.com"
"""Nobody: the domain is reserved (RFC 2606)."""

SAMPLE = {
    "first_name": "Test",
    "last_name": "Lead",
    "phone": "+12025550100",  # of a range that is never given to anybody
    "country": "US",
    "language": "en",
    "postal_code": "00000",
    "birth_date": "1970-01-01",
}


def http_adapter(options: HttpOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> HttpAdapter:
    """The adapter for what is configured: only one with an unsubscribe endpoint takes a "no", and its type says so."""
    if options.unsubscribe is None:
        return HttpAdapter(options, linked=linked, now=now)
    return HttpTellingAdapter(options, options.unsubscribe, linked=linked, now=now)


class HttpAdapter:
    """New subscribers to a CRM. Nothing comes back."""

    accepts = frozenset({ChangeKind.SUBSCRIBE})

    def __init__(self, options: HttpOptions, *, linked: frozenset[str], now: Callable[[], datetime]) -> None:
        del linked  # every list that is linked is delivered alike
        self.options = options
        self.now = now
        # A verdict `retry` is the receiver's word that it took nobody.
        self.facts = Facts(failure_adds_nobody=True, deduplicates=options.repeat_lost)

    def check(self) -> Exchange[None]:
        """Ask nothing: a receiver has one call, and it adds somebody. `syncd connection test` proves the rest."""
        yield from ()

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Deliver one person."""
        (change,) = changes
        if change.kind is not ChangeKind.SUBSCRIBE:
            return [Ack(Outcome.REFUSED, reason=f"this connection delivers subscribers, and takes no {change.kind}")]
        values = values_of(change)
        if missing := [field for field in self.options.required if field not in values]:
            return [Ack(Outcome.REFUSED, reason=f"required there, and not known: {', '.join(missing)}")]
        response = yield self._delivery(change, self.options.endpoint, DELIVER, marked=False)
        return [self._ack(judge(response, self.options.rules), response, DELIVER)]

    def trial(self, address: str | None, *, live: bool) -> Trial | None:
        """One marked record to the test endpoint or, if `live`, to the real one. None: there is no test endpoint."""
        url = self.options.endpoint if live else self.options.test_endpoint
        if url is None:
            return None
        whom = address or TESTER
        sample = {field: SAMPLE.get(field, "test") for field in self.options.fields if field not in {EMAIL, LIST}}
        change = Change(ChangeKind.SUBSCRIBE, WHOLE_ACCOUNT, Identity(whom), whom, fields=sample)
        request = self._delivery(change, url, TEST, marked=True)
        secret = proof_of(self.options.auth)
        headers = {name: STARS if name in secret else value for name, value in request.headers.items()}
        shown = host_alone(url) + self._shown(request.url.removeprefix(url))
        return Trial(request.method, shown, headers, self._shown(request.body.decode()), self._try(request))

    def _try(self, request: Request) -> Exchange[Tried]:
        response = yield request
        judged = judge(response, self.options.rules)
        told = self._excerpt(_text(response.body))
        return Tried(judged.status, judged.rule, judged.verdict, told)

    def _excerpt(self, text: str) -> str:
        """The beginning of an answer. Of a long one no more is looked through than may be shown, and what the cut makes
        half of a secret is not: it stands at an end that is cut off again, or behind the last stars.
        """
        told = self._shown(text[: SHOWN_MAX * 4])
        if len(text) > SHOWN_MAX * 4 and len(told) <= SHOWN_MAX:
            told = told[: told.rfind(STARS) + len(STARS)]
        return told[:SHOWN_MAX]

    def _shown(self, text: str) -> str:
        return starred(text, secrets_of(self.options))

    def _ack(self, judged: Judged, response: Response, call: str) -> Ack:
        """What a verdict makes of the change; raises where it concerns the account."""
        what = f"{call}: answered {judged.status}"
        match judged.verdict:
            case Verdict.DELIVERED:
                return Ack(Outcome.ACCEPTED)
            case Verdict.DUPLICATE:
                return Ack(Outcome.ACCEPTED, reason="known there already")
            case Verdict.REJECTED:
                return Ack(Outcome.REFUSED, reason=f"answered {judged.status} ({judged.rule})")
            case Verdict.RETRY if judged.status == 429:
                raise ThrottledError(what, call=call, retry_after_s=retry_after(response, self.now()))
            case Verdict.RETRY:
                raise UnavailableError(f"{what} ({judged.rule})", call=call)
            case Verdict.STOP:
                hint = "compare endpoint and auth with the receiver's documentation, then syncd connection test"
                raise UnauthorisedError(what, call=call, hint=hint)
            case None:
                return Ack(Outcome.UNCERTAIN, reason=f"answered {judged.status}, and no rule says what that means")

    def _delivery(self, change: Change, url: str, label: str, *, marked: bool) -> Request:
        options = self.options
        constants = {**options.constants, **(options.test_constants if marked else {})}
        parameters = parameters_of(values_of(change), options.fields, constants)
        return self._request(options.method, url, parameters, label)

    def _request(self, method: str, url: str, parameters: Parameters, label: str) -> Request:
        options = self.options
        headers = {**{name.lower(): value for name, value in options.headers.items()}, **proof_of(options.auth)}
        return request_of(method, url, parameters, options.encoding, headers, xml_root=options.xml_root, label=label)


class HttpTellingAdapter(HttpAdapter):
    """The same, where the receiver can be told that somebody it was given said no."""

    accepts = frozenset({ChangeKind.SUBSCRIBE, ChangeKind.UNSUBSCRIBE})

    def __init__(
        self, options: HttpOptions, told: Unsubscribe, *, linked: frozenset[str], now: Callable[[], datetime]
    ) -> None:
        super().__init__(options, linked=linked, now=now)
        self.told = told

    def apply(self, changes: Sequence[Change]) -> Exchange[Sequence[Ack]]:
        """Deliver one person, or take one back."""
        (change,) = changes
        if change.kind is not ChangeKind.UNSUBSCRIBE:
            return (yield from super().apply(changes))
        told = self.told
        parameters = parameters_of(values_of(change), told.fields, told.constants)
        response = yield self._request(told.method, told.endpoint, parameters, UNSUBSCRIBE)
        return [self._ack(judge(response, told.rules), response, UNSUBSCRIBE)]


def _text(body: bytes) -> str:
    """For a person to read, in whatever encoding: what is no UTF-8 has no less to show and to hide."""
    try:
        text = body.decode("utf-16" if body.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    return text.replace("\0", "")
